//! Taking out fields that the schema doesn't know, and naming them
//! (`apiextensions-apiserver/pkg/apiserver/schema/pruning`).

use crate::model::{Additional, Cursor, Schema};
use serde_json::Value;

/// Unknown fields that one report names.
const MAX_REPORTED: usize = 100;

/// Prunes an object of a custom kind; `metadata`, also that of embedded objects, has the fields that it has everywhere.
/// Returns the strict errors, sorted: `unknown field "spec.foo"`.
pub fn prune_custom(schema: &Schema, value: &mut Value) -> Vec<String> {
    run(schema, value, true)
}

/// Prunes any value. Returns the strict errors, sorted.
pub fn prune(schema: &Schema, value: &mut Value) -> Vec<String> {
    run(schema, value, false)
}

fn run(schema: &Schema, value: &mut Value, root: bool) -> Vec<String> {
    let meta = schema.cursor().child("metadata").filter(|_| root);
    let mut p = Pruner { path: String::new(), unknown: Vec::new(), meta };
    p.value(Some(schema.cursor()), value, root);
    p.unknown.sort();
    p.unknown.into_iter().map(|path| format!("unknown field {path:?}")).collect()
}

struct Pruner<'a> {
    path: String,
    unknown: Vec<String>,
    /// The schema of `metadata`.
    meta: Option<Cursor<'a>>,
}

fn is_meta(key: &str) -> bool {
    matches!(key, "apiVersion" | "kind" | "metadata")
}

impl<'a> Pruner<'a> {
    fn below(&mut self, step: &str, f: impl FnOnce(&mut Self)) {
        let len = self.path.len();
        if len > 0 && !step.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(step);
        f(self);
        self.path.truncate(len);
    }

    /// Metadata: of its fields only those are pruned that are structures, not what holds any field (`fieldsV1`).
    fn metadata(&mut self, at: Cursor<'a>, value: &mut Value) {
        match value {
            Value::Object(map) if !at.node.fields.is_empty() => map.retain(|key, v| match at.child(key) {
                Some(child) => {
                    self.below(key, |p| p.metadata(child, v));
                    true
                }
                None => self.unknown_field(key),
            }),
            Value::Array(items) => {
                let Some(item) = at.items() else { return };
                for (i, v) in items.iter_mut().enumerate() {
                    self.below(&format!("[{i}]"), |p| p.metadata(item, v));
                }
            }
            _ => {}
        }
    }

    fn value(&mut self, at: Option<Cursor<'a>>, value: &mut Value, root: bool) {
        match value {
            Value::Object(map) => map.retain(|key, v| {
                let Some(at) = at else { return self.unknown_field(key) };
                if (root || at.node.embedded) && is_meta(key) {
                    if let Some(meta) = self.meta.filter(|_| key == "metadata") {
                        self.below(key, |p| p.metadata(meta, v));
                    }
                    return true;
                }
                if let Some(child) = at.child(key) {
                    self.below(key, |p| p.value(Some(child), v, false));
                    return true;
                }
                at.node.preserve
                    || matches!(at.node.additional, Additional::Any)
                    || (is_meta(key) && self.path.is_empty())
                    || self.unknown_field(key)
            }),
            Value::Array(items) => {
                // Below a list that keeps everything, items without a schema keep everything too.
                if at.is_some_and(|c| c.node.preserve && c.node.items.is_none()) {
                    return;
                }
                let item = at.and_then(Cursor::items);
                for (i, v) in items.iter_mut().enumerate() {
                    self.below(&format!("[{i}]"), |p| p.value(item, v, false));
                }
            }
            _ => {}
        }
    }

    /// Records the field; says that it isn't kept.
    fn unknown_field(&mut self, key: &str) -> bool {
        if self.unknown.len() < MAX_REPORTED {
            let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
            self.unknown.push(path);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn metadata_has_no_fields_of_ones_own() {
        let meta = Schema::from_json(&json!({"type": "object", "properties": {"name": {"type": "string"},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "managedFields": {"type": "array", "items": {"type": "object", "properties": {
                "fieldsV1": {"type": "object"}}}}}}));
        let custom = json!({"type": "object", "properties": {"e": {"type": "object",
            "x-kubernetes-embedded-resource": true}}});
        let s = Schema::from_custom(&custom, &meta);
        let fields = json!([{"fieldsV1": {"f:spec": {"f:a": {}}}}]);
        let mut v = json!({"metadata": {"name": "x", "weird": 1, "labels": {"a": "b"}, "managedFields": fields},
            "e": {"metadata": {"name": "y", "odd": {"z": 1}}}});
        let unknown = prune_custom(&s, &mut v);
        assert_eq!(unknown, [r#"unknown field "e.metadata.odd""#, r#"unknown field "metadata.weird""#]);
        assert_eq!(
            v,
            json!({"metadata": {"name": "x", "labels": {"a": "b"}, "managedFields": fields}, "e": {"metadata": {"name": "y"}}})
        );
    }

    #[test]
    fn unknown_fields_go_and_are_named() {
        let s = Schema::from_json(&json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "a": {"type": "string"},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {"tight": {"type": "object", "properties": {"k": {"type": "string"}}}}},
                "any": {"type": "object", "additionalProperties": true},
                "l": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}},
                "e": {"type": "object", "x-kubernetes-embedded-resource": true}
            }}
        }}));
        let mut v = json!({"apiVersion": "x/v1", "metadata": {"weird": 1}, "extra": 1, "spec": {
            "a": "b", "b": 1, "free": {"x": {"y": 1}, "tight": {"k": "v", "z": 1}}, "any": {"q": [1]},
            "l": [{"n": 1, "m": 2}], "e": {"kind": "Pod", "metadata": {"name": "x"}, "spec": {}}}});
        let unknown = prune_custom(&s, &mut v);
        assert_eq!(
            unknown,
            [
                r#"unknown field "extra""#,
                r#"unknown field "spec.b""#,
                r#"unknown field "spec.e.spec""#,
                r#"unknown field "spec.free.tight.z""#,
                r#"unknown field "spec.l[0].m""#
            ]
        );
        assert_eq!(
            v,
            json!({"apiVersion": "x/v1", "metadata": {"weird": 1}, "spec": {
            "a": "b", "free": {"x": {"y": 1}, "tight": {"k": "v"}}, "any": {"q": [1]},
            "l": [{"n": 1}], "e": {"kind": "Pod", "metadata": {"name": "x"}}}})
        );
    }
}
