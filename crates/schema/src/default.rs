//! Defaults (`apiextensions-apiserver/pkg/apiserver/schema/defaulting`).

use crate::model::{Cursor, Schema};
use serde_json::Value;

/// Removes nulls where the schema neither allows them nor has a default to put there. Comes before
/// [`default`] when a custom object is read.
pub fn drop_nulls(schema: &Schema, value: &mut Value) {
    nulls(Some(schema.cursor()), value);
}

fn nulls(at: Option<Cursor<'_>>, value: &mut Value) {
    match value {
        Value::Object(map) => map.retain(|key, v| {
            let below = at.and_then(|c| c.child(key));
            let unwanted = v.is_null() && below.is_some_and(|c| !c.nullable() && c.default().is_none());
            if !unwanted {
                nulls(below, v);
            }
            !unwanted
        }),
        Value::Array(items) => {
            let below = at.and_then(Cursor::items);
            items.iter_mut().for_each(|v| nulls(below, v));
        }
        _ => {}
    }
}

/// Puts defaults where a property is absent, or null though it can't be.
pub fn default(schema: &Schema, value: &mut Value) {
    fill(schema.cursor(), value);
}

fn fill(at: Cursor<'_>, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, id) in at.node.fields.iter() {
                let property = at.at(*id);
                let Some(d) = property.default() else { continue };
                let absent = map.get(name.as_ref()).is_none_or(|v| v.is_null() && !property.nullable());
                if absent {
                    map.insert(name.to_string(), d.clone());
                }
            }
            for (key, v) in map.iter_mut() {
                let Some(below) = at.child(key) else { continue };
                if v.is_null() && !below.nullable() {
                    *v = below.default().cloned().unwrap_or_default();
                }
                fill(below, v);
            }
        }
        Value::Array(items) => {
            let Some(below) = at.items() else { return };
            for v in items {
                if v.is_null() && !below.nullable() {
                    *v = below.default().cloned().unwrap_or_default();
                }
                fill(below, v);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn defaulted(schema: Value, value: Value) -> Value {
        let (s, mut v) = (Schema::from_json(&schema), value);
        drop_nulls(&s, &mut v);
        default(&s, &mut v);
        v
    }

    #[test]
    fn absent_and_null() {
        let s = json!({"type": "object", "properties": {
            "a": {"type": "integer", "default": 1},
            "n": {"type": "integer", "default": 2, "nullable": true},
            "o": {"type": "object", "default": {}, "properties": {"x": {"type": "string", "default": "y"}}},
            "p": {"type": "object", "properties": {"x": {"type": "string", "default": "y"}}},
            "l": {"type": "array", "items": {"type": "object", "properties": {"z": {"type": "boolean", "default": true}}}},
            "m": {"type": "object", "additionalProperties": {"type": "object", "properties": {"q": {"type": "integer", "default": 3}}}},
            "s": {"type": "string"}
        }});
        assert_eq!(
            defaulted(s, json!({"a": null, "n": null, "l": [{}, {"z": false}], "m": {"k": {}}, "s": null})),
            json!({"a": 1, "n": null, "o": {"x": "y"}, "l": [{"z": true}, {"z": false}], "m": {"k": {"q": 3}}})
        );
    }
}
