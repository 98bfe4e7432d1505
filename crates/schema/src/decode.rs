//! Decoding into a built-in kind: types are checked as Go's decoder checks them, with its messages
//! (`sigs.k8s.io/json`), unknown fields go, and nulls become absent.

use crate::model::{Additional, Cursor, Schema, Type};
use meta::{GroupVersionKind, Quantity, Status};
use serde_json::{Map, Number, Value, json};

/// Strict errors that one decoding keeps, as upstream.
const MAX_STRICT_ERRORS: usize = 100;

/// Makes `value` an object of the built-in kind that `schema` describes. Returns the strict errors, for
/// example `unknown field "spec.foo"`; fails with Go's text where a type is wrong.
pub fn decode(schema: &Schema, value: &mut Value) -> Result<Vec<String>, String> {
    let mut d = Decoder::default();
    d.value(schema.cursor(), value)?;
    Ok(d.unknown)
}

/// The 400 for an object that [`decode`] refused, or that strictness refuses (then `why` is
/// `strict decoding error: ...`).
pub fn decode_error(gvk: &GroupVersionKind, why: &str) -> Status {
    let (kind, version) = (&gvk.kind, &gvk.version);
    Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
}

#[derive(Default)]
struct Decoder {
    /// Path with indexes and map keys, for strict errors.
    path: String,
    /// Path of struct fields only, and the innermost struct: what Go's type errors name.
    fields: Vec<String>,
    within: String,
    unknown: Vec<String>,
}

/// Go's name for a type.
fn go_type(at: Cursor<'_>) -> String {
    match at.ty() {
        Type::String if at.node.format.as_deref() == Some("byte") => "[]uint8".to_owned(),
        Type::String => "string".to_owned(),
        Type::Boolean => "bool".to_owned(),
        Type::Integer | Type::IntOrString => match at.node.format.as_deref() {
            Some("int64") => "int64".to_owned(),
            _ => "int32".to_owned(),
        },
        Type::Number => "float64".to_owned(),
        Type::Array => format!("[]{}", at.items().map_or_else(|| "interface {}".to_owned(), go_type)),
        Type::Object => match (&at.node.name, at.additional()) {
            (Some(name), _) => {
                let mut steps = name.rsplit('.');
                let (last, package) = (steps.next().unwrap_or(""), steps.next().unwrap_or(""));
                format!("{package}.{last}")
            }
            (None, Some(v)) => format!("map[string]{}", go_type(v)),
            (None, None) => "map[string]interface {}".to_owned(),
        },
        _ => "interface {}".to_owned(),
    }
}

/// Go's word for a value.
fn go_kind(v: &Value) -> String {
    match v {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
    }
}

/// What a null list item or map value is in Go: the type's zero.
fn zero(at: Cursor<'_>) -> Value {
    match at.ty() {
        Type::String => "".into(),
        Type::Integer | Type::Number | Type::IntOrString => 0.into(),
        Type::Boolean => false.into(),
        Type::Quantity => "0".into(),
        Type::Object => json!({}),
        _ => Value::Null,
    }
}

impl Decoder {
    fn mismatch(&self, what: &str, go: &str) -> String {
        if self.fields.is_empty() {
            return format!("json: cannot unmarshal {what} into Go value of type {go}");
        }
        let (within, path) = (&self.within, self.fields.join("."));
        format!("json: cannot unmarshal {what} into Go struct field {within}.{path} of type {go}")
    }

    fn value(&mut self, at: Cursor<'_>, value: &mut Value) -> Result<(), String> {
        match (at.ty(), &mut *value) {
            (_, Value::Null) => Ok(()),
            (Type::Any, v) => self.alternative(at, v),
            (Type::Object, Value::Object(map)) => self.object(at, map),
            (Type::Array, Value::Array(items)) => self.array(at, items),
            (Type::String, Value::String(s)) => string(at, s),
            (Type::Boolean, Value::Bool(_)) | (Type::Number, Value::Number(_)) => Ok(()),
            (Type::Integer, Value::Number(n)) => self.integer(at, n),
            (Type::IntOrString, v) => int_or_string(v),
            (Type::Quantity, v) => quantity(v),
            (Type::String, other) if at.node.format.as_deref() == Some("date-time") => {
                Err(format!("json: cannot unmarshal {} into Go value of type string", go_kind(other)))
            }
            (_, other) => Err(self.mismatch(&go_kind(other), &go_type(at))),
        }
    }

    /// A type that is one of several (only CRDs' own schemas have such) is the one of the value's kind.
    fn alternative(&mut self, at: Cursor<'_>, value: &mut Value) -> Result<(), String> {
        let mut choices = at.rules().flat_map(|r| r.one_of.iter()).map(|id| at.at(*id));
        let fits = |c: &Cursor<'_>| {
            matches!(
                (c.ty(), &*value),
                (Type::Object, Value::Object(_))
                    | (Type::Array, Value::Array(_))
                    | (Type::Boolean, Value::Bool(_))
            )
        };
        let chosen = choices.find(fits);
        chosen.map_or(Ok(()), |c| self.value(c, value))
    }

    fn integer(&self, at: Cursor<'_>, n: &Number) -> Result<(), String> {
        let fits = match at.node.format.as_deref() {
            Some("int32") => n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
            _ => n.as_i64().is_some(),
        };
        if fits { Ok(()) } else { Err(self.mismatch(&format!("number {n}"), &go_type(at))) }
    }

    fn array(&mut self, at: Cursor<'_>, items: &mut [Value]) -> Result<(), String> {
        let Some(item) = at.items() else { return Ok(()) };
        for (i, v) in items.iter_mut().enumerate() {
            if v.is_null() {
                *v = zero(item);
            }
            self.below(&format!("[{i}]"), |d| d.value(item, v))?;
        }
        Ok(())
    }

    fn object(&mut self, at: Cursor<'_>, map: &mut Map<String, Value>) -> Result<(), String> {
        let is_struct = !at.node.fields.is_empty();
        let outer = std::mem::take(&mut self.within);
        self.within = if is_struct { at.short_name().to_owned() } else { outer.clone() };
        let mut failed = None;
        map.retain(|key, v| {
            if failed.is_some() {
                return true;
            }
            match self.member(at, key, v, is_struct) {
                Ok(keep) => keep,
                Err(e) => {
                    failed = Some(e);
                    true
                }
            }
        });
        self.within = outer;
        failed.map_or(Ok(()), Err)
    }

    /// Decodes one member of an object; says whether it stays.
    fn member(&mut self, at: Cursor<'_>, key: &str, v: &mut Value, is_struct: bool) -> Result<bool, String> {
        if let Some(property) = at.property(key) {
            if v.is_null() && !matches!(property.ty(), Type::Any) {
                return Ok(false);
            }
            self.fields.push(key.to_owned());
            let done = self.below(key, |d| d.value(property, v));
            self.fields.pop();
            return done.map(|()| true);
        }
        if let Some(below) = at.additional() {
            if v.is_null() {
                *v = zero(below);
            }
            return self.below(key, |d| d.value(below, v)).map(|()| true);
        }
        if at.node.preserve || matches!(at.node.additional, Additional::Any) || !is_struct {
            return Ok(true);
        }
        let path = self.below(key, |d| d.path.clone());
        let text = format!("unknown field {path:?}");
        if self.unknown.len() < MAX_STRICT_ERRORS && !self.unknown.contains(&text) {
            self.unknown.push(text);
        }
        Ok(false)
    }

    fn below<T>(&mut self, step: &str, f: impl FnOnce(&mut Self) -> T) -> T {
        let len = self.path.len();
        if len > 0 && !step.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(step);
        let out = f(self);
        self.path.truncate(len);
        out
    }
}

fn string(at: Cursor<'_>, s: &str) -> Result<(), String> {
    use base64::Engine;
    match at.node.format.as_deref() {
        Some("byte") => {
            let decoded = base64::engine::general_purpose::STANDARD.decode(s.replace(['\r', '\n'], ""));
            decoded.map(drop).map_err(|e| match e {
                base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => {
                    format!("illegal base64 data at input byte {at}")
                }
                _ => format!("illegal base64 data at input byte {}", s.len() / 4 * 4),
            })
        }
        Some("date-time") => {
            let parsed = s.parse::<jiff::Timestamp>();
            let layout = if at.is_definition("MicroTime") { ".000000" } else { "" };
            parsed.map(drop).map_err(|_| {
                format!("parsing time {s:?} as \"2006-01-02T15:04:05{layout}Z07:00\": cannot parse {s:?} as \"2006\"")
            })
        }
        _ => Ok(()),
    }
}

fn int_or_string(v: &Value) -> Result<(), String> {
    match v {
        Value::String(_) => Ok(()),
        Value::Number(n) if n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => Ok(()),
        Value::Number(n) => Err(format!("json: cannot unmarshal number {n} into Go value of type int32")),
        other => Err(format!("json: cannot unmarshal {} into Go value of type int32", go_kind(other))),
    }
}

/// Checks a quantity and writes it as its canonical text, as upstream's typed round trip does.
fn quantity(v: &mut Value) -> Result<(), String> {
    let text = match &*v {
        Value::String(s) => s.trim().to_owned(),
        other => other.to_string(),
    };
    let parsed = Quantity::parse(&text).map_err(|e| e.to_string())?;
    *v = parsed.to_string().into();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::schemas;

    fn decoded(value: Value) -> Result<(Value, Vec<String>), String> {
        let s = schemas().kind("apps", "v1", "Deployment").unwrap();
        let mut v = value;
        decode(&s, &mut v).map(|unknown| (v, unknown))
    }

    #[test]
    fn types_are_gos() {
        for (value, want) in [
            (
                json!({"spec": {"replicas": "3"}}),
                "string into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                json!({"spec": {"replicas": 3.5}}),
                "number 3.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                json!({"spec": {"replicas": 3000000000u64}}),
                "number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (json!({"spec": []}), "array into Go struct field Deployment.spec of type v1.DeploymentSpec"),
            (
                json!({"metadata": {"labels": {"a": 1}}}),
                "number into Go struct field ObjectMeta.metadata.labels of type string",
            ),
            (
                json!({"metadata": {"labels": "x"}}),
                "string into Go struct field ObjectMeta.metadata.labels of type map[string]string",
            ),
            (
                json!({"spec": {"template": {"spec": {"containers": [{"name": true}]}}}}),
                "bool into Go struct field Container.spec.template.spec.containers.name of type string",
            ),
            (
                json!({"spec": {"template": {"spec": {"containers": {}}}}}),
                "object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
            ),
            (json!([]), "array into Go value of type v1.Deployment"),
        ] {
            assert_eq!(decoded(value).unwrap_err(), format!("json: cannot unmarshal {want}"));
        }
    }

    #[test]
    fn values_that_check_themselves() {
        let resources = |v: Value| json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": v}}}]}}}});
        assert_eq!(
            decoded(resources("x".into())).unwrap_err(),
            meta::quantity::QuantityError::Format.to_string()
        );
        let (v, _) = decoded(resources(json!(0.5))).unwrap();
        assert_eq!(v.pointer("/spec/template/spec/containers/0/resources/limits/cpu"), Some(&json!("500m")));
        let e = decoded(json!({"metadata": {"creationTimestamp": "yesterday"}})).unwrap_err();
        assert_eq!(
            e,
            r#"parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006""#
        );
        let e = decoded(json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": true}}}})).unwrap_err();
        assert_eq!(e, "json: cannot unmarshal bool into Go value of type int32");
    }

    #[test]
    fn unknown_fields_and_nulls_go() {
        let (v, unknown) = decoded(json!({"metadata": {"creationTimestamp": null, "name": "x"}, "foo": 1,
            "spec": {"replicas": null, "template": {"spec": {"containers": [{"name": "a", "imagge": "b"}, null]}}}}))
        .unwrap();
        assert_eq!(
            v,
            json!({"metadata": {"name": "x"},
            "spec": {"template": {"spec": {"containers": [{"name": "a"}, {}]}}}})
        );
        assert_eq!(
            unknown,
            [r#"unknown field "foo""#, r#"unknown field "spec.template.spec.containers[0].imagge""#]
        );
    }

    #[test]
    fn the_400() {
        let gvk = GroupVersionKind::from_api_version("apps/v1", "Deployment");
        assert_eq!(
            decode_error(&gvk, "why").message,
            "Deployment in version \"v1\" cannot be handled as a Deployment: why"
        );
    }
}
