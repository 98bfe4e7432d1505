//! Value validation of custom objects (`k8s.io/kube-openapi/pkg/validation` as apiextensions uses it).

mod embedded;
mod format;

pub use format::is_known_format;
mod lists;
mod update;

use crate::model::{Cursor, Id, Rules, Schema, Type};
use meta::{FieldError, FieldPath};
use serde_json::{Map, Value};

/// Faults that one report holds; more don't help anybody.
const MAX_ERRORS: usize = 1000;

/// What is wrong with `value`: types, bounds, patterns, enumerations, required fields, combinators, and
/// repeated items of set and map lists.
pub fn validate(schema: &Schema, value: &Value) -> Vec<FieldError> {
    let mut errors = check(schema.cursor(), "", value);
    if let (Some(id), Some(metadata)) = (schema.0.names, value.get("metadata")) {
        errors.extend(check(schema.0.at(id), "metadata", metadata));
    }
    embedded::check(schema.cursor(), &FieldPath::default(), value, &mut errors);
    lists::check(schema.cursor(), &FieldPath::default(), value, &mut errors);
    errors.truncate(MAX_ERRORS);
    errors
}

/// What is wrong with a new custom object (`old` is none) or with a change of one: [`validate`] and, with the feature
/// `cel`, the kind's CEL rules. A change isn't blamed for faults in values that it left alone.
pub fn validate_change(schema: &Schema, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = validate(schema, new);
    if let Some(old) = old {
        errors.retain(|e| !update::left_alone(e, new, old));
    }
    #[cfg(feature = "cel")]
    if let Some(rules) = &schema.0.rules {
        if errors.iter().any(update::hides_rules) {
            let why = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            errors.push(FieldError::invalid(&FieldPath::default(), Value::Null, why));
        } else {
            errors.extend(rules.validate(new, old));
        }
    }
    errors
}

/// Validates without the list checks; what combinators look at.
fn check(at: Cursor<'_>, path: &str, value: &Value) -> Vec<FieldError> {
    let mut v = Validator { errors: Vec::new() };
    v.value(at, path, value);
    v.errors
}

struct Validator {
    errors: Vec<FieldError>,
}

/// The path of an error; upstream's root is the empty path, which prints as `<nil>`.
fn place(path: &str) -> FieldPath {
    let path = path.strip_prefix('.').unwrap_or(path);
    if path.is_empty() { FieldPath::default() } else { FieldPath::new(path) }
}

/// JSON's word for a value's type.
fn type_name(v: &Value) -> &'static str {
    match v {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The type that a schema wants, as upstream names it; none where anything goes.
fn wanted(ty: &Type) -> Option<&'static str> {
    Some(match ty {
        Type::Object => "object",
        Type::Array => "array",
        Type::String => "string",
        Type::Integer => "integer",
        Type::Number => "number",
        Type::Boolean => "boolean",
        Type::IntOrString => "integer,string",
        Type::Quantity => "number,string",
        Type::Any | Type::Ref(_) | Type::Foreign(_) => return None,
    })
}

fn fits(ty: &Type, v: &Value) -> bool {
    match (ty, v) {
        (Type::Object, Value::Object(_)) | (Type::Array, Value::Array(_)) => true,
        (Type::String | Type::IntOrString | Type::Quantity, Value::String(_)) => true,
        (Type::Number | Type::Quantity, Value::Number(_)) | (Type::Boolean, Value::Bool(_)) => true,
        (Type::Integer | Type::IntOrString, Value::Number(n)) => {
            !n.is_f64() || n.as_f64().is_some_and(|f| f.fract() == 0.0)
        }
        (Type::Any, _) => true,
        _ => false,
    }
}

impl Validator {
    fn invalid(&mut self, path: &str, value: &Value, what: impl std::fmt::Display) {
        let shown = if path.is_empty() { "" } else { path };
        self.errors.push(FieldError::invalid(&place(path), value.clone(), format!("{shown} in body {what}")));
    }

    fn value(&mut self, at: Cursor<'_>, path: &str, value: &Value) {
        if self.errors.len() >= MAX_ERRORS || (value.is_null() && at.nullable()) {
            return;
        }
        if !fits(at.ty(), value) {
            let (Some(want), got) = (wanted(at.ty()), type_name(value)) else { return };
            let text = format!("{path} in body must be of type {want}: {got:?}");
            self.errors.push(FieldError::type_invalid(&place(path), got, text));
            return;
        }
        for rules in at.rules() {
            self.rules(at, rules, path, value);
        }
        match value {
            Value::String(s) => self.format(at, path, s),
            Value::Number(n) => self.width(at, path, n.as_i64()),
            Value::Array(items) => {
                let Some(item) = at.items() else { return };
                for (i, v) in items.iter().enumerate() {
                    self.value(item, &format!("{path}[{i}]"), v);
                }
            }
            Value::Object(map) => self.object(at, path, map),
            _ => {}
        }
    }

    /// A number of 32 bits.
    fn width(&mut self, at: Cursor<'_>, path: &str, n: Option<i64>) {
        let is_narrow = matches!(at.ty(), Type::Integer) && at.node.format.as_deref() == Some("int32");
        if is_narrow && n.is_some_and(|n| i32::try_from(n).is_err()) {
            let why = format!("Checked value must be of type integer with format int32 in {path}");
            self.errors.push(FieldError::invalid(&FieldPath::default(), "", why));
        }
    }

    fn format(&mut self, at: Cursor<'_>, path: &str, s: &str) {
        let Some(name) = at.node.format.as_deref() else { return };
        if matches!(at.ty(), Type::String) && !format::is(name, s) {
            let text = format!("{path} in body must be of type {name}: {s:?}");
            self.errors.push(FieldError::type_invalid(&place(path), s, text));
        }
    }

    fn object(&mut self, at: Cursor<'_>, path: &str, map: &Map<String, Value>) {
        let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        for (key, v) in map {
            let named = at.property(key);
            let child = named.or_else(|| at.additional());
            if let Some(child) = child {
                let prefix = if named.is_none() && path.is_empty() { format!(".{key}") } else { below(key) };
                self.value(child, &prefix, v);
            }
        }
        for key in at.node.required.iter().filter(|k| !map.contains_key(k.as_ref())) {
            self.errors.push(FieldError::required(&place(&format!("{path}.{key}")), ""));
        }
    }

    fn rules(&mut self, at: Cursor<'_>, rules: &Rules, path: &str, value: &Value) {
        if !rules.allowed.is_empty() && !rules.allowed.iter().any(|a| same(a, value)) {
            let words: Vec<String> = rules
                .allowed
                .iter()
                .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
                .collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            self.errors.push(FieldError::not_supported(&place(path), value.clone(), &words));
        }
        match value {
            Value::String(s) => self.string(rules, path, s),
            Value::Number(n) => self.number(rules, path, value, n.as_f64().unwrap_or_default()),
            Value::Array(items) => self.array(rules, path, items),
            Value::Object(map) => self.counts(rules, path, map.len()),
            _ => {}
        }
        self.combinators(at, rules, path, value);
    }

    fn string(&mut self, rules: &Rules, path: &str, s: &str) {
        let len = s.chars().count() as u64;
        if let Some(max) = rules.max_length.filter(|max| len > *max) {
            self.errors.push(FieldError::too_long(&place(path), usize::try_from(max).unwrap_or(usize::MAX)));
        }
        if let Some(min) = rules.min_length.filter(|min| len < *min) {
            self.invalid(path, &s.into(), format_args!("should be at least {min} chars long"));
        }
        let Some(pattern) = &rules.pattern else { return };
        match pattern.regex() {
            Ok(re) if re.is_match(s) => {}
            Ok(_) => self.invalid(path, &s.into(), format_args!("should match '{}'", pattern.text)),
            Err(e) => {
                let text = format!("{}, but pattern is invalid: {e}", pattern.text);
                self.invalid(path, &s.into(), format_args!("should match '{text}'"));
            }
        }
    }

    fn number(&mut self, rules: &Rules, path: &str, value: &Value, n: f64) {
        if let Some(m) = rules.multiple_of.filter(|m| (n / m).fract() != 0.0) {
            self.invalid(path, value, format_args!("should be a multiple of {m}"));
        }
        if let Some(max) = rules.maximum {
            match rules.exclusive_maximum {
                true if n >= max => self.invalid(path, value, format_args!("should be less than {max}")),
                false if n > max => {
                    self.invalid(path, value, format_args!("should be less than or equal to {max}"))
                }
                _ => {}
            }
        }
        if let Some(min) = rules.minimum {
            match rules.exclusive_minimum {
                true if n <= min => self.invalid(path, value, format_args!("should be greater than {min}")),
                false if n < min => {
                    self.invalid(path, value, format_args!("should be greater than or equal to {min}"))
                }
                _ => {}
            }
        }
    }

    fn array(&mut self, rules: &Rules, path: &str, items: &[Value]) {
        let len = items.len();
        if let Some(min) = rules.min_items.filter(|min| (len as u64) < *min) {
            self.invalid(path, &len.into(), format_args!("should have at least {min} items"));
        }
        if let Some(max) = rules.max_items.filter(|max| len as u64 > *max) {
            self.errors.push(FieldError::too_many(
                &place(path),
                len,
                usize::try_from(max).unwrap_or(usize::MAX),
            ));
        }
        if rules.unique_items && (1..len).any(|i| items[..i].contains(&items[i])) {
            self.invalid(path, &"".into(), "shouldn't contain duplicates");
        }
    }

    fn counts(&mut self, rules: &Rules, path: &str, len: usize) {
        if let Some(min) = rules.min_properties.filter(|min| (len as u64) < *min) {
            self.invalid(path, &len.into(), format_args!("should have at least {min} properties"));
        }
        if let Some(max) = rules.max_properties.filter(|max| len as u64 > *max) {
            self.errors.push(FieldError::too_many(
                &place(path),
                len,
                usize::try_from(max).unwrap_or(usize::MAX),
            ));
        }
    }

    /// A combinator that failed; upstream gives it no path.
    fn combined(&mut self, path: &str, what: &str) {
        let text = format!("{path:?} must {what}");
        self.errors.push(FieldError::invalid(&FieldPath::default(), "", text));
    }

    fn combinators(&mut self, at: Cursor<'_>, rules: &Rules, path: &str, value: &Value) {
        let run = |ids: &[Id]| -> Vec<Vec<FieldError>> {
            ids.iter().map(|id| check(at.at(*id), path, value)).collect()
        };
        let any = run(&rules.any_of);
        if !any.is_empty() && !any.iter().any(Vec::is_empty) {
            self.combined(path, "validate at least one schema (anyOf)");
            self.errors.extend(fewest(any));
        }
        let one = run(&rules.one_of);
        let valid = one.iter().filter(|e| e.is_empty()).count();
        if !one.is_empty() && valid == 0 {
            self.combined(path, "validate one and only one schema (oneOf). Found none valid");
            self.errors.extend(fewest(one));
        } else if valid > 1 {
            self.combined(
                path,
                &format!("validate one and only one schema (oneOf). Found {valid} valid alternatives"),
            );
        }
        let all = run(&rules.all_of);
        let valid = all.iter().filter(|e| e.is_empty()).count();
        let failed = valid < all.len();
        self.errors.extend(all.into_iter().flatten());
        if failed {
            let none = if valid == 0 { ". None validated" } else { "" };
            self.combined(path, &format!("validate all the schemas (allOf){none}"));
        }
        if rules.not.is_some_and(|id| check(at.at(id), path, value).is_empty()) {
            self.combined(path, "not validate the schema (not)");
        }
    }
}

/// The faults of the alternative that came nearest.
fn fewest(all: Vec<Vec<FieldError>>) -> Vec<FieldError> {
    all.into_iter().min_by_key(Vec::len).unwrap_or_default()
}

fn same(a: &Value, b: &Value) -> bool {
    a == b || (a.is_number() && b.is_number() && a.as_f64() == b.as_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(schema: Value, value: Value, want: Expect) {
        let errors = validate(&Schema::from_json(&schema), &value);
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        want.assert_eq(&texts.join("\n"));
    }

    #[test]
    fn types() {
        let s = json!({"type": "object", "required": ["spec"], "properties": {"spec": {"type": "object",
            "required": ["size"], "properties": {
                "replicas": {"type": "integer"}, "on": {"type": "boolean"}, "port": {"x-kubernetes-int-or-string": true},
                "list": {"type": "array", "items": {"type": "string"}}, "maybe": {"type": "string", "nullable": true},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}}, "ratio": {"type": "number"}}}}});
        check(s.clone(), json!({}), expect!["spec: Required value"]);
        check(
            s.clone(),
            json!({"spec": {"replicas": "3", "on": 1, "port": true, "list": [1, "a", null], "labels": {"a": 1}, "ratio": 1}}),
            expect![[r#"
                spec.labels.a: Invalid value: "integer": spec.labels.a in body must be of type string: "integer"
                spec.list[0]: Invalid value: "integer": spec.list[0] in body must be of type string: "integer"
                spec.list[2]: Invalid value: "null": spec.list[2] in body must be of type string: "null"
                spec.on: Invalid value: "integer": spec.on in body must be of type boolean: "integer"
                spec.port: Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"
                spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"
                spec.size: Required value"#]],
        );
        check(s, json!({"spec": {"size": 1, "replicas": 3.0, "port": "http", "maybe": null}}), expect![""]);
    }

    #[test]
    fn bounds() {
        let s = json!({"type": "object", "properties": {
            "n": {"type": "integer", "minimum": 1, "maximum": 10}, "x": {"type": "number", "maximum": 1.5, "exclusiveMaximum": true},
            "s": {"type": "string", "minLength": 2, "maxLength": 3, "pattern": "^a"}, "e": {"type": "string", "enum": ["a", "b"]},
            "l": {"type": "array", "maxItems": 1, "items": {"type": "integer"}}, "m": {"type": "object", "minProperties": 1},
            "k": {"type": "integer", "multipleOf": 5}, "t": {"type": "string", "format": "date-time"}}});
        check(
            s.clone(),
            json!({"n": 0, "x": 1.5, "s": "b", "e": "c", "l": [1, 2], "m": {}, "k": 3, "t": "now"}),
            expect![[r#"
                e: Unsupported value: "c": supported values: "a", "b"
                k: Invalid value: 3: k in body should be a multiple of 5
                l: Too many: 2: must have at most 1 items
                m: Invalid value: 0: m in body should have at least 1 properties
                n: Invalid value: 0: n in body should be greater than or equal to 1
                s: Invalid value: "b": s in body should be at least 2 chars long
                s: Invalid value: "b": s in body should match '^a'
                t: Invalid value: "now": t in body must be of type date-time: "now"
                x: Invalid value: 1.5: x in body should be less than 1.5"#]],
        );
        check(
            s,
            json!({"n": 11, "s": "abcd"}),
            expect![[r#"
            n: Invalid value: 11: n in body should be less than or equal to 10
            s: Too long: may not be more than 3 bytes"#]],
        );
    }

    #[test]
    fn combinators() {
        let s = json!({"type": "object", "properties": {"a": {"type": "object", "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}},
            "oneOf": [{"required": ["x"]}, {"required": ["y"]}]},
            "b": {"type": "integer", "anyOf": [{"maximum": 1}, {"minimum": 5}], "not": {"enum": [7]}}}});
        check(
            s.clone(),
            json!({"a": {"x": 1, "y": 2}, "b": 7}),
            expect![[r#"
            <nil>: Invalid value: "": "a" must validate one and only one schema (oneOf). Found 2 valid alternatives
            <nil>: Invalid value: "": "b" must not validate the schema (not)"#]],
        );
        check(
            s,
            json!({"a": {}, "b": 3}),
            expect![[r#"
            <nil>: Invalid value: "": "a" must validate one and only one schema (oneOf). Found none valid
            a.x: Required value
            <nil>: Invalid value: "": "b" must validate at least one schema (anyOf)
            b: Invalid value: 3: b in body should be less than or equal to 1"#]],
        );
    }

    #[test]
    fn names_and_embedded_resources() {
        let metadata =
            crate::fixture::schemas().get("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").unwrap();
        let s = json!({"type": "object", "properties": {
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "pattern": "^a"}}},
            "e": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}}});
        let value = json!({"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "b", "labels": {"x": "y"}}, "e": {"kind": "P_"}});
        let errors = validate(&Schema::from_custom(&s, &metadata), &value);
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        expect![[r#"
            metadata.name: Invalid value: "b": metadata.name in body should match '^a'
            e.apiVersion: Required value
            e.kind: Invalid value: "P_": may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"#]]
        .assert_eq(&texts.join("\n"));
    }

    #[test]
    fn set_and_map_lists() {
        let s = json!({"type": "object", "properties": {
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n", "p"],
                "items": {"type": "object", "properties": {"n": {"type": "string"}, "p": {"type": "integer"}}}}}});
        check(
            s,
            json!({"set": ["a", "b", "a", "a"], "map": [{"n": "x", "p": 1}, {"n": "x", "p": 2}, {"n": "x", "p": 1}]}),
            expect![[r#"
            map[2]: Duplicate value: {"n":"x","p":1}
            set[2]: Duplicate value: "a""#]],
        );
    }
}
