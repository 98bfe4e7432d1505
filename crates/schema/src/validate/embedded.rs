//! Resources inside of custom objects (`x-kubernetes-embedded-resource`) name their version and kind
//! (`apiextensions-apiserver/pkg/apiserver/schema/objectmeta`).

use crate::model::Cursor;
use meta::{FieldError, FieldPath, names};
use serde_json::{Map, Value};

pub(super) fn check(at: Cursor<'_>, path: &FieldPath, value: &Value, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(map) => {
            if at.node.embedded {
                frame(map, path, errors);
            }
            for (key, v) in map {
                if let Some(child) = at.property(key) {
                    check(child, &path.child(key), v, errors);
                } else if let Some(child) = at.additional() {
                    check(child, &path.key(key), v, errors);
                }
            }
        }
        Value::Array(items) => {
            let Some(item) = at.items() else { return };
            for (i, v) in items.iter().enumerate() {
                check(item, &path.index(i), v, errors);
            }
        }
        _ => {}
    }
}

fn frame(map: &Map<String, Value>, path: &FieldPath, errors: &mut Vec<FieldError>) {
    for key in ["apiVersion", "kind"] {
        let at = path.child(key);
        let why = match map.get(key) {
            None => {
                errors.push(FieldError::required(&at, ""));
                continue;
            }
            Some(Value::String(s)) if s.is_empty() => "must not be empty".to_owned(),
            Some(Value::String(s)) if key == "kind" => match names::dns1035_label(&s.to_lowercase()) {
                wrong if wrong.is_empty() => continue,
                wrong => format!("may have mixed case, but should otherwise match: {}", wrong.join(",")),
            },
            Some(Value::String(s)) if s.matches('/').count() > 1 => {
                format!("unexpected GroupVersion string: {s}")
            }
            Some(Value::String(_)) => continue,
            Some(_) => "must be a string".to_owned(),
        };
        let value = map.get(key).cloned().unwrap_or_default();
        errors.push(FieldError::invalid(&at, value, why));
    }
}
