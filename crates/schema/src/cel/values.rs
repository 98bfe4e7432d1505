//! JSON as values that rules see (`apiserver/pkg/cel/common/values.go`).

use base64::Engine;
use kube_cel::cel::Value as Cel;
use kube_cel::cel::objects::{Key, Map};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// What a value of this schema is to a rule. Formats that have types of their own come from `typed`, by the name of the
/// function that makes them.
pub(super) fn of(value: &Value, schema: &Value, typed: &dyn Fn(&str, &str) -> Option<Cel>) -> Cel {
    match value {
        Value::String(s) => text(s, schema, typed),
        Value::Number(n) if schema.get("type").is_some_and(|t| t == "number") => {
            n.as_f64().map_or(Cel::Null, Cel::Float)
        }
        Value::Array(items) => {
            let below = schema.get("items").unwrap_or(&Value::Null);
            Cel::List(Arc::new(items.iter().map(|v| of(v, below, typed)).collect()))
        }
        Value::Object(fields) => {
            let properties = schema.get("properties").filter(|p| p.is_object());
            let additional = schema.get("additionalProperties").filter(|a| a.is_object());
            let field = |(name, v): (&String, &Value)| {
                let below = properties.and_then(|p| p.get(name)).or(additional);
                // The keys of a map are data, those of an object names.
                let key = if additional.is_some() { name.clone() } else { escape(name) };
                (Key::from(key), of(v, below.unwrap_or(&Value::Null), typed))
            };
            let mut map: HashMap<Key, Cel> = fields.iter().map(field).collect();
            if schema.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true)) {
                for name in ["apiVersion", "kind"] {
                    map.entry(Key::from(name)).or_insert_with(|| Cel::from(""));
                }
            }
            Cel::Map(Map { map: Arc::new(map) })
        }
        plain => scalar(plain),
    }
}

fn text(s: &str, schema: &Value, typed: &dyn Fn(&str, &str) -> Option<Cel>) -> Cel {
    let is_union = schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true));
    let format = schema.get("format").and_then(Value::as_str).filter(|_| !is_union);
    let found = match format {
        Some("date-time") => typed("timestamp", s),
        Some("date") => typed("timestamp", &format!("{s}T00:00:00Z")),
        Some("duration") => typed("duration", s),
        Some("byte") => {
            let decoded = base64::engine::general_purpose::STANDARD.decode(s).ok();
            decoded.map(|bytes| Cel::Bytes(Arc::new(bytes)))
        }
        _ => None,
    };
    found.unwrap_or_else(|| Cel::from(s))
}

fn scalar(value: &Value) -> Cel {
    match value {
        Value::Bool(b) => Cel::Bool(*b),
        Value::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(i), _) => Cel::Int(i),
            (None, Some(u)) => Cel::UInt(u),
            _ => n.as_f64().map_or(Cel::Null, Cel::Float),
        },
        _ => Cel::Null,
    }
}

/// A field's name as rules write it.
fn escape(name: &str) -> String {
    if crate::CEL_RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    if !name.contains(['.', '-', '/']) && !name.contains("__") {
        return name.to_owned();
    }
    let text = name.replace("__", "__underscores__").replace('.', "__dot__");
    text.replace('-', "__dash__").replace('/', "__slash__")
}
