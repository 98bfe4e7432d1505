//! The shapes in which an object is shown: whole, metadata only, or as a row of a table.

use crate::accept::Shape;
use crate::catalog::Served;
use crate::codec;
use meta::{Object, Status};
use registry::Column;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use store::Entry;

/// What of the object stands beside a table's cells (`includeObject`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Include {
    /// `None`
    Nothing,
    /// `Metadata` (the default)
    Metadata,
    /// `Object`
    Object,
}

impl Include {
    /// Reads the parameter.
    pub(crate) fn parse(text: &str) -> Result<Self, Status> {
        match text {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::Nothing),
            "Object" => Ok(Self::Object),
            other => Err(Status::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', \
                 'Object', 'None', or empty"
            ))),
        }
    }
}

/// How stored objects of a kind are shown to one client.
#[derive(Clone)]
pub(crate) struct Render {
    pub(crate) served: Arc<Served>,
    pub(crate) shape: Shape,
    pub(crate) include: Include,
    pub(crate) now: jiff::Timestamp,
}

impl Render {
    /// Appends what stands for `entry` in a list of this shape: an object or a row.
    pub(crate) fn item(&self, entry: &Entry, out: &mut Vec<u8>) -> Result<(), Status> {
        match self.shape {
            Shape::Table(version) => append(out, &self.row(entry, version)?),
            Shape::Partial(version) => codec::partial(entry, version, out),
            _ if self.served.is_served_as_stored(entry.revision) => {
                self.append_unnamed(&entry.bytes, out);
                Ok(())
            }
            _ => {
                self.append_unnamed(&codec::served_bytes(&self.served, entry)?, out);
                Ok(())
            }
        }
    }

    /// The bytes of an object that its list names already: an item of a built-in kind has neither `kind` nor
    /// `apiVersion`, one of a custom kind has both (`k8s.io/apiserver/pkg/endpoints/handlers/response.go`).
    fn append_unnamed(&self, object: &[u8], out: &mut Vec<u8>) {
        match self.name_length(object) {
            0 => out.extend_from_slice(object),
            named => {
                out.push(b'{');
                out.extend_from_slice(&object[named..]);
            }
        }
    }

    /// How many bytes of an object, the opening bracket among them, come before the first that stays in a list.
    fn name_length(&self, object: &[u8]) -> usize {
        if self.served.custom.is_some() { 0 } else { codec::name_length(object) }
    }

    /// The size of an object in a list.
    pub(crate) fn item_size(&self, object: &[u8]) -> usize {
        object.len() - self.name_length(object).saturating_sub(1)
    }

    /// Appends what stands for `entry` alone, in an answer or an event: an object or a table of one row.
    pub(crate) fn single(&self, entry: &Entry, headings: bool, out: &mut Vec<u8>) -> Result<(), Status> {
        let version = match self.shape {
            Shape::Table(version) => version,
            Shape::Partial(version) => return codec::partial(entry, version, out),
            Shape::Whole | Shape::Discovery(_) => {
                out.extend_from_slice(&codec::served_bytes(&self.served, entry)?);
                return Ok(());
            }
        };
        let columns = if headings { self.columns() } else { Value::Array(Vec::new()) };
        let meta = json!({"resourceVersion": entry.revision.to_string()});
        let table = json!({"kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": meta,
            "columnDefinitions": columns, "rows": [self.row(entry, version)?]});
        append(out, &table)
    }

    /// A list of objects that are stored nowhere.
    pub(crate) fn values(&self, objects: Vec<Object>) -> Value {
        let (kind, api_version) = self.list_type();
        let mut list = json!({"kind": kind, "apiVersion": api_version, "metadata": {}});
        match self.shape {
            Shape::Table(version) => {
                list["columnDefinitions"] = self.columns();
                list["rows"] = objects.into_iter().map(|o| self.row_of(o, version)).collect();
            }
            Shape::Partial(version) => {
                list["items"] = objects.iter().map(|o| partial_value(o, version)).collect();
            }
            _ => list["items"] = objects.into_iter().map(Object::into_value).collect(),
        }
        list
    }

    fn row(&self, entry: &Entry, version: &str) -> Result<Value, Status> {
        Ok(self.row_of(codec::decode(&self.served, entry)?, version))
    }

    fn row_of(&self, object: Object, version: &str) -> Value {
        let cells = self.served.kind.cells(&object, self.now);
        let mut row = Map::new();
        row.insert("cells".into(), cells.into());
        match self.include {
            Include::Nothing => {}
            Include::Object => {
                row.insert("object".into(), object.into_value());
            }
            Include::Metadata => {
                row.insert("object".into(), partial_value(&object, version));
            }
        }
        Value::Object(row)
    }

    /// `columnDefinitions` of a table.
    pub(crate) fn columns(&self) -> Value {
        self.served.kind.columns.iter().map(column).collect()
    }

    /// `kind` and `apiVersion` of a list of this shape.
    pub(crate) fn list_type(&self) -> (String, String) {
        match self.shape {
            Shape::Table(v) => ("Table".into(), format!("meta.k8s.io/{v}")),
            Shape::Partial(v) => ("PartialObjectMetadataList".into(), format!("meta.k8s.io/{v}")),
            _ => (self.served.kind.list_kind.to_string(), self.served.kind.api_version()),
        }
    }
}

fn append(out: &mut Vec<u8>, v: &Value) -> Result<(), Status> {
    serde_json::to_writer(out, v).map_err(Status::internal)
}

fn partial_value(object: &Object, version: &str) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": object.metadata.to_value()})
}

fn column(c: &Column) -> Value {
    json!({"name": c.name, "type": c.r#type, "format": c.format, "description": c.description,
        "priority": c.priority})
}
