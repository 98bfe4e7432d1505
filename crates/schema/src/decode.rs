//! Decoding into a built-in kind: types are checked as Go's decoder checks them, with its messages
//! (`sigs.k8s.io/json`), unknown fields go, and nulls become absent.

use crate::model::{Additional, Cursor, Schema, Type, Zero};
use meta::{GroupVersionKind, Quantity, Status};
use serde_json::{Map, Number, Value, json};

/// Strict errors that one decoding keeps, as upstream.
const MAX_STRICT_ERRORS: usize = 100;

/// Makes `value` an object of the built-in kind that `schema` describes, written as Go's type writes it: what is empty
/// goes, or stands there as zero. Returns the strict errors, for example `unknown field "spec.foo"`; fails with Go's
/// text where a type is wrong.
pub fn decode(schema: &Schema, value: &mut Value) -> Result<Vec<String>, String> {
    let mut d = Decoder { zeros: true, ..Decoder::default() };
    d.value(schema.cursor(), value, None)?;
    Ok(d.unknown)
}

/// [`decode`] of a configuration that is to be applied: what is empty stays as it is, because the applier owns it.
pub fn decode_applied(schema: &Schema, value: &mut Value) -> Result<Vec<String>, String> {
    let mut d = Decoder::default();
    d.value(schema.cursor(), value, None)?;
    Ok(d.unknown)
}

/// The object of a built-in kind in which nothing is set, as Go's type writes it.
pub(crate) fn empty(schema: &Schema) -> Value {
    unset(schema.cursor())
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
    /// Whether what is empty is written as Go writes it.
    zeros: bool,
}

/// Go's name for a type. `known` is what its field says of it.
fn go_type(at: Cursor<'_>, known: Option<&str>) -> String {
    if let Some(known) = known {
        return known.to_owned();
    }
    match at.ty() {
        Type::String if at.node.format.as_deref() == Some("byte") => "[]uint8".to_owned(),
        Type::String => "string".to_owned(),
        Type::Boolean => "bool".to_owned(),
        Type::Integer | Type::IntOrString => match at.node.format.as_deref() {
            Some("int64") => "int64".to_owned(),
            _ => "int32".to_owned(),
        },
        Type::Number => "float64".to_owned(),
        Type::Array => {
            format!("[]{}", at.items().map_or_else(|| "interface {}".to_owned(), |i| go_type(i, None)))
        }
        Type::Object => match (&at.node.name, at.additional()) {
            (Some(name), _) => {
                let mut steps = name.rsplit('.');
                let (last, package) = (steps.next().unwrap_or(""), steps.next().unwrap_or(""));
                format!("{package}.{last}")
            }
            (None, Some(v)) => format!("map[string]{}", go_type(v, None)),
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

/// What Go writes for a field that nobody set, and that isn't left out.
fn unset(at: Cursor<'_>) -> Value {
    match at.ty() {
        // Times and bytes.
        Type::String if at.node.format.is_some() => Value::Null,
        Type::String => "".into(),
        Type::Integer | Type::Number | Type::IntOrString => 0.into(),
        Type::Boolean => false.into(),
        Type::Quantity => "0".into(),
        Type::Object if !at.node.fields.is_empty() => {
            Value::Object(at.always().map(|(name, below)| (name.to_owned(), unset_field(below))).collect())
        }
        _ => Value::Null,
    }
}

/// [`unset`] of a field: a pointer is nil.
fn unset_field(at: Cursor<'_>) -> Value {
    match at.go().is_some_and(|g| g.pointer) {
        true => Value::Null,
        false => unset(at),
    }
}

/// Whether Go leaves the value out: empty, and no pointer to something empty.
fn is_left_out(at: Cursor<'_>, v: &Value) -> bool {
    at.zero() == Zero::Drop
        && match (at.ty(), v) {
            (Type::String, Value::String(s)) => s.is_empty(),
            (Type::Integer | Type::Number, Value::Number(n)) => n.as_f64() == Some(0.0),
            (Type::Boolean, Value::Bool(b)) => !b,
            (Type::Array, Value::Array(items)) => items.is_empty(),
            (Type::Object, Value::Object(map)) => map.is_empty() && at.additional().is_some(),
            _ => false,
        }
}

/// The part of Go's name for a list or map that names its items.
fn go_item(go: Option<&str>) -> Option<&str> {
    let go = go?;
    go.strip_prefix("[]").or_else(|| go.strip_prefix("map[").and_then(|m| m.split_once(']')).map(|m| m.1))
}

impl Decoder {
    fn mismatch(&self, what: &str, go: &str) -> String {
        if self.fields.is_empty() {
            return format!("json: cannot unmarshal {what} into Go value of type {go}");
        }
        let (within, path) = (&self.within, self.fields.join("."));
        format!("json: cannot unmarshal {what} into Go struct field {within}.{path} of type {go}")
    }

    fn value(&mut self, at: Cursor<'_>, value: &mut Value, go: Option<&str>) -> Result<(), String> {
        match (at.ty(), &mut *value) {
            (_, Value::Null) => Ok(()),
            (Type::Any, v) => self.alternative(at, v),
            (Type::Object, Value::Object(map)) => self.object(at, map, go),
            (Type::Array, Value::Array(items)) => self.array(at, items, go),
            (Type::String, Value::String(s)) => string(at, s),
            (Type::Boolean, Value::Bool(_)) | (Type::Number, Value::Number(_)) => Ok(()),
            (Type::Integer, Value::Number(n)) => self.integer(at, n, go),
            (Type::IntOrString, v) => int_or_string(v),
            (Type::Quantity, v) => quantity(v),
            (Type::String, other) if at.node.format.as_deref() == Some("date-time") => {
                Err(format!("json: cannot unmarshal {} into Go value of type string", go_kind(other)))
            }
            (_, other) => Err(self.mismatch(&go_kind(other), &go_type(at, go))),
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
        chosen.map_or(Ok(()), |c| self.value(c, value, None))
    }

    fn integer(&self, at: Cursor<'_>, n: &Number, go: Option<&str>) -> Result<(), String> {
        let fits = match at.node.format.as_deref() {
            Some("int32") => n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
            _ => n.as_i64().is_some(),
        };
        if fits { Ok(()) } else { Err(self.mismatch(&format!("number {n}"), &go_type(at, go))) }
    }

    fn array(&mut self, at: Cursor<'_>, items: &mut [Value], go: Option<&str>) -> Result<(), String> {
        let Some(item) = at.items() else { return Ok(()) };
        for (i, v) in items.iter_mut().enumerate() {
            if v.is_null() {
                *v = zero(item);
            }
            self.below(&format!("[{i}]"), |d| d.value(item, v, go_item(go)))?;
        }
        Ok(())
    }

    fn object(
        &mut self,
        at: Cursor<'_>,
        map: &mut Map<String, Value>,
        go: Option<&str>,
    ) -> Result<(), String> {
        let is_struct = !at.node.fields.is_empty();
        let outer = std::mem::take(&mut self.within);
        self.within = if is_struct { at.short_name().to_owned() } else { outer.clone() };
        let mut failed = None;
        map.retain(|key, v| {
            if failed.is_some() {
                return true;
            }
            match self.member(at, key, v, go) {
                Ok(keep) => keep,
                Err(e) => {
                    failed = Some(e);
                    true
                }
            }
        });
        self.within = outer;
        if self.zeros {
            for (name, below) in at.always() {
                if !map.contains_key(name) {
                    map.insert(name.to_owned(), unset_field(below));
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Decodes one member of an object; says whether it stays.
    fn member(&mut self, at: Cursor<'_>, key: &str, v: &mut Value, go: Option<&str>) -> Result<bool, String> {
        let is_struct = !at.node.fields.is_empty();
        if let Some(property) = at.property(key) {
            if v.is_null() && !matches!(property.ty(), Type::Any) {
                return Ok(false);
            }
            let field = property.go();
            self.fields.push(match field.and_then(|g| g.embedded.as_deref()) {
                Some(embedded) => format!("{embedded}.{key}"),
                None => key.to_owned(),
            });
            let done = self.below(key, |d| d.value(property, v, field.and_then(|g| g.ty.as_deref())));
            self.fields.pop();
            return done.map(|()| !(self.zeros && is_left_out(property, v)));
        }
        if let Some(below) = at.additional() {
            if v.is_null() {
                *v = zero(below);
            }
            return self.below(key, |d| d.value(below, v, go_item(go))).map(|()| true);
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
            let plain = s.replace(['\r', '\n'], "");
            let decoded = base64::engine::general_purpose::STANDARD.decode(&plain);
            decoded.map(drop).map_err(|e| {
                let strange =
                    |b: u8| !(b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'\r' | b'\n'));
                // Go names the first byte that can't be there, and only then what is wrong at the end.
                let at = s.bytes().position(strange).unwrap_or(match e {
                    base64::DecodeError::InvalidByte(at, _)
                    | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                    _ => plain.len() / 4 * 4,
                });
                format!("illegal base64 data at input byte {at}")
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
        let secret = schemas().kind("", "v1", "Secret").unwrap();
        for (data, at) in [("...base64 encoded data...", 0), ("aGVsbG8", 4), ("aGVs\nbG8?", 8)] {
            let e = decode(&secret, &mut json!({"data": {"a": data}})).unwrap_err();
            assert_eq!(e, format!("illegal base64 data at input byte {at}"));
        }
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
            json!({"metadata": {"name": "x"}, "status": {},
                "spec": {"selector": null, "strategy": {}, "template": {"metadata": {}, "spec": {"containers":
                    [{"name": "a", "resources": {}}, {"name": "", "resources": {}}]}}}})
        );
        assert_eq!(
            unknown,
            [r#"unknown field "foo""#, r#"unknown field "spec.template.spec.containers[0].imagge""#]
        );
    }

    /// As Go's types write them: what `x-go-...` says of a field decides.
    fn go() -> Schema {
        let definitions = json!({
            "v1.Port": {"type": "object", "properties": {
                "name": {"type": "string"},
                "port": {"type": "integer", "format": "int32", "x-go-zero": "!"},
                "host": {"type": "integer", "format": "int32", "x-go-zero": "*"},
                "kind": {"type": "string", "x-go-type": "v1.Protocol"},
            }},
            "v1.Spec": {"type": "object", "properties": {
                "ports": {"type": "array", "items": {"$ref": "#/v1.Port"}, "x-go-zero": "!"},
                "modes": {"type": "array", "items": {"type": "string"}, "x-go-type": "[]v1.Mode"},
                "selector": {"$ref": "#/v1.Port", "x-go-zero": "*!"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "nfs": {"$ref": "#/v1.Port", "x-go-in": "Source"},
                "since": {"type": "string", "format": "date-time", "x-go-zero": "!"},
            }},
            "v1.Root": {"type": "object", "properties": {"spec": {"$ref": "#/v1.Spec", "x-go-zero": "!"}}},
        });
        crate::Schemas::from_openapi(&definitions).get("v1.Root").unwrap()
    }

    #[test]
    fn what_is_empty_is_written_as_go_writes_it() {
        let unset = json!({"spec": {"ports": null, "selector": null, "since": null}});
        assert_eq!(empty(&go()), unset);
        for (sent, want) in [
            (json!({}), unset),
            (
                json!({"spec": {"ports": [{"name": "", "host": 0, "kind": ""}, null], "modes": [], "labels": {},
                    "selector": {}, "nfs": {"name": "", "port": 7}}}),
                json!({"spec": {"ports": [{"port": 0, "host": 0}, {"port": 0}], "selector": {"port": 0},
                    "nfs": {"port": 7}, "since": null}}),
            ),
        ] {
            let mut v = sent.clone();
            decode(&go(), &mut v).unwrap();
            assert_eq!(v, want);
            let mut applied = sent.clone();
            decode_applied(&go(), &mut applied).unwrap();
            assert_eq!(applied.pointer("/spec/modes"), sent.pointer("/spec/modes"), "an applier owns it");
        }
    }

    #[test]
    fn types_have_gos_names() {
        for (value, want) in [
            (
                json!({"ports": [{"kind": 1}]}),
                "number into Go struct field Port.spec.ports.kind of type v1.Protocol",
            ),
            (json!({"modes": [1]}), "number into Go struct field Spec.spec.modes of type v1.Mode"),
            (json!({"modes": ""}), "string into Go struct field Spec.spec.modes of type []v1.Mode"),
            (
                json!({"nfs": {"name": 1}}),
                "number into Go struct field Port.spec.Source.nfs.name of type string",
            ),
        ] {
            let got = decode(&go(), &mut json!({ "spec": value })).unwrap_err();
            assert_eq!(got, format!("json: cannot unmarshal {want}"));
        }
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
