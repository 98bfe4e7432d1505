//! `metav1.Table`: what `kubectl get` shows, made by the server.

use serde_json::{Map, Value, json};

/// One column: name, type (`string`, `integer`, `date` ...), format (`name` or empty), priority (0: always
/// shown, above: with `-o wide`) and description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// OpenAPI type of the cells.
    pub kind: String,
    /// OpenAPI format; `name` marks the column that names the object.
    pub format: String,
    /// 0 is shown always.
    pub priority: i32,
    /// For people.
    pub description: String,
}

/// How much of each object a row carries (`includeObject`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// `PartialObjectMetadata`; the default.
    #[default]
    Metadata,
    /// The whole object.
    Object,
}

impl IncludeObject {
    /// Reads the query parameter; none for an unknown word.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "" | "Metadata" => Some(Self::Metadata),
            "None" => Some(Self::None),
            "Object" => Some(Self::Object),
            _ => None,
        }
    }
}

impl Column {
    /// A column that is always shown.
    pub fn new(name: &str, kind: &str) -> Self {
        Self { name: name.to_owned(), kind: kind.to_owned(), ..Self::default() }
    }

    /// `metav1.TableColumnDefinition`.
    pub fn to_value(&self) -> Value {
        json!({"name": self.name, "type": self.kind, "format": self.format, "description": self.description,
            "priority": self.priority})
    }
}

/// `metav1.TableRow` for cells and the object (its JSON) in the form that `include` asks for.
pub fn row(cells: Vec<Value>, object: &Value, include: IncludeObject) -> Value {
    let mut row = json!({"cells": cells});
    match include {
        IncludeObject::None => {}
        IncludeObject::Object => row["object"] = object.clone(),
        IncludeObject::Metadata => {
            let metadata = object.get("metadata").cloned().unwrap_or_default();
            row["object"] = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata});
        }
    }
    row
}

/// The table; `list_meta` is the metadata of the list or, for one object, its resource version.
pub fn table(columns: Option<&[Column]>, rows: Vec<Value>, list_meta: Map<String, Value>) -> Value {
    // In a watch only the first table has the columns; kubectl remembers them.
    let columns: Value = columns.map_or(Value::Null, |c| c.iter().map(Column::to_value).collect());
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": list_meta,
        "columnDefinitions": columns, "rows": rows})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape() {
        let r = row(
            vec!["web".into()],
            &json!({"metadata": {"name": "web"}, "spec": 1}),
            IncludeObject::Metadata,
        );
        let t = table(Some(&[Column::new("Name", "string")]), vec![r], Map::new());
        assert_eq!(t["rows"][0]["object"]["kind"], "PartialObjectMetadata");
        assert_eq!(t["columnDefinitions"][0]["name"], "Name");
        assert!(t["rows"][0]["object"].get("spec").is_none());
    }
}
