//! Keywords that aren't supported, and those that don't fit each other.

use super::{MAX_NESTING, Object, flag, list, object, properties, text};
use meta::{FieldError, FieldPath};
use serde_json::Value;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
const UNSUPPORTED: [&str; 6] =
    ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"];
const REASONS: [&str; 4] =
    ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

pub(super) fn check(root: &Object, path: &FieldPath, errors: &mut Vec<FieldError>) {
    walk(root, path, 0, errors);
}

fn walk(s: &Object, path: &FieldPath, depth: usize, errors: &mut Vec<FieldError>) {
    if depth >= MAX_NESTING {
        errors.push(FieldError::invalid(
            path,
            Value::Null,
            format!("must not be nested deeper than {MAX_NESTING}"),
        ));
        return;
    }
    unsupported(s, path, errors);
    if let Some(additional) = s.get("additionalProperties") {
        let at = path.child("additionalProperties");
        if properties(s).next().is_some() && *additional != true {
            let why = "additionalProperties and properties are mutual exclusive";
            errors.push(FieldError::forbidden(&at, why));
        }
        if let Some(a) = additional.as_object() {
            walk(a, &at, depth + 1, errors);
        }
    }
    for (key, p) in properties(s) {
        walk(p, &path.child("properties").key(key), depth + 1, errors);
    }
    if let Some(not) = object(s, "not") {
        walk(not, &path.child("not"), depth + 1, errors);
    }
    for key in ["allOf", "oneOf", "anyOf"] {
        for (i, one) in list(s, key) {
            walk(one, &path.child(key).index(i), depth + 1, errors);
        }
    }
    if let Some(items) = object(s, "items") {
        walk(items, &path.child("items"), depth + 1, errors);
    }
    extensions(s, path, errors);
    list_map(s, path, errors);
    for (i, rule) in list(s, "x-kubernetes-validations") {
        rule_text(rule, &path.child("x-kubernetes-validations").index(i), errors);
    }
}

fn unsupported(s: &Object, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let ty = text(s, "type");
    if !ty.is_empty() && !TYPES.contains(&ty) {
        errors.push(FieldError::not_supported(&path.child("type"), ty, &TYPES));
    }
    for key in UNSUPPORTED {
        let set = s
            .get(key)
            .is_some_and(|v| !v.is_null() && v != "" && !v.as_object().is_some_and(Object::is_empty));
        if set {
            errors.push(FieldError::forbidden(&path.child(key), format!("{key} is not supported")));
        }
    }
    if ty == "null" {
        let why = "type cannot be set to null, use nullable as an alternative";
        errors.push(FieldError::forbidden(&path.child("type"), why));
    }
    if s.get("items").is_some_and(Value::is_array) {
        let why = "items must be a schema object and not an array";
        errors.push(FieldError::forbidden(&path.child("items"), why));
    }
    if flag(s, "uniqueItems") {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(&path.child("uniqueItems"), why));
    }
}

/// `type` must be `want` where the extension `key` is set.
fn needs_type(s: &Object, want: &str, key: &str, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let why = format!("must be {want} if {key} is specified");
    match text(s, "type") {
        "" => errors.push(FieldError::required(&path.child("type"), why)),
        ty if ty != want => errors.push(FieldError::invalid(&path.child("type"), ty, why)),
        _ => {}
    }
}

fn extensions(s: &Object, path: &FieldPath, errors: &mut Vec<FieldError>) {
    const KEEP: &str = "x-kubernetes-preserve-unknown-fields";
    const MAP: &str = "x-kubernetes-map-type";
    const LIST: &str = "x-kubernetes-list-type";
    if s.get(KEEP) == Some(&Value::Bool(false)) {
        errors.push(FieldError::invalid(&path.child(KEEP), false, "must be true or undefined"));
    }
    if let Some(ty) = s.get(MAP).and_then(Value::as_str) {
        needs_type(s, "object", MAP, path, errors);
        if !matches!(ty, "atomic" | "granular") {
            errors.push(FieldError::not_supported(&path.child(MAP), ty, &["atomic", "granular"]));
        }
    }
    let Some(ty) = s.get(LIST).and_then(Value::as_str) else {
        if s.contains_key("x-kubernetes-list-map-keys") {
            let why = "must be map if x-kubernetes-list-map-keys is non-empty";
            errors.push(FieldError::required(&path.child(LIST), why));
        }
        return;
    };
    needs_type(s, "array", LIST, path, errors);
    if let ("set", Some(items)) = (ty, object(s, "items")) {
        let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
        let at = path.child("items");
        match (text(items, "type"), text(items, LIST), text(items, MAP)) {
            ("array", inner, _) if !matches!(inner, "" | "atomic") => {
                errors.push(FieldError::invalid(&at.child(LIST), inner, why));
            }
            ("object", _, inner) if inner != "atomic" => {
                errors.push(FieldError::invalid(&at.child(MAP), inner, why));
            }
            _ => {}
        }
    }
    if !matches!(ty, "atomic" | "set" | "map") {
        errors.push(FieldError::not_supported(&path.child(LIST), ty, &["atomic", "set", "map"]));
    }
    if ty != "map" && s.contains_key("x-kubernetes-list-map-keys") {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        errors.push(FieldError::invalid(&path.child(LIST), ty, why));
    }
}

fn list_map(s: &Object, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let ty = text(s, "x-kubernetes-list-type");
    let (Some(items), true) = (object(s, "items"), matches!(ty, "set" | "map")) else { return };
    let at = path.child("items");
    let keys_at = path.child("x-kubernetes-list-map-keys");
    let empty = Vec::new();
    let keys = s.get("x-kubernetes-list-map-keys").and_then(Value::as_array).unwrap_or(&empty);
    if ty == "map" {
        if keys.is_empty() {
            errors.push(FieldError::required(&keys_at, "must not be empty if x-kubernetes-list-type is map"));
        }
        let item = text(items, "type");
        if item != "object" {
            let why = "must be object if parent array's x-kubernetes-list-type is map";
            errors.push(FieldError::invalid(&at.child("type"), item, why));
        }
    }
    if flag(items, "nullable") {
        let why = format!("cannot be nullable when x-kubernetes-list-type is {ty}");
        errors.push(FieldError::forbidden(&at.child("nullable"), why));
    }
    for (i, key) in keys.iter().filter_map(Value::as_str).enumerate().filter(|_| ty == "map") {
        if keys[..i].iter().any(|k| k == key) {
            errors.push(FieldError::invalid(&keys_at, keys.clone(), "must not contain duplicate entries"));
        }
        match object(items, "properties").and_then(|m| m.get(key)).and_then(Value::as_object) {
            None => {
                let why = "entries must all be names of item properties";
                errors.push(FieldError::invalid(&keys_at, keys.clone(), why));
            }
            Some(p) => list_map_key(items, key, p, &at.child("properties").key(key), errors),
        }
    }
}

fn list_map_key(items: &Object, key: &str, p: &Object, at: &FieldPath, errors: &mut Vec<FieldError>) {
    if matches!(text(p, "type"), "array" | "object") {
        let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
        errors.push(FieldError::invalid(&at.child("type"), text(p, "type"), why));
    }
    let required = items.get("required").and_then(Value::as_array);
    let is_required = required.is_some_and(|r| r.iter().any(|k| k == key));
    if !is_required && !p.contains_key("default") {
        let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
        errors.push(FieldError::required(&at.child("default"), why));
    }
    if flag(p, "nullable") {
        let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
        errors.push(FieldError::forbidden(&at.child("nullable"), why));
    }
}

/// The words of one `x-kubernetes-validations` rule.
fn rule_text(rule: &Object, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let (expression, message) = (text(rule, "rule"), text(rule, "message"));
    let broken = |s: &str| s.trim().contains(['\n', '\r']);
    let at = path.child("message");
    if expression.trim().is_empty() {
        errors.push(FieldError::required(&path.child("rule"), "rule is not specified"));
    } else if !message.is_empty() && message.trim().is_empty() {
        errors.push(FieldError::invalid(&at, message, "must be non-empty if specified"));
    } else if broken(message) {
        errors.push(FieldError::invalid(&at, message, "must not contain line breaks"));
    } else if broken(expression) && message.trim().is_empty() {
        errors.push(FieldError::required(&at, "message must be specified if rule contains line breaks"));
    }
    let blank = |key: &str| !text(rule, key).is_empty() && text(rule, key).trim().is_empty();
    if blank("messageExpression") {
        let why = "messageExpression must be non-empty if specified";
        errors.push(FieldError::required(&path.child("messageExpression"), why));
    }
    if let Some(reason) = rule.get("reason").and_then(Value::as_str).filter(|r| !REASONS.contains(r)) {
        errors.push(FieldError::not_supported(&path.child("reason"), reason, &REASONS));
    }
    let field_path = text(rule, "fieldPath");
    if blank("fieldPath") {
        errors.push(FieldError::invalid(
            &path.child("fieldPath"),
            field_path,
            "must be non-empty if specified",
        ));
    }
    if field_path.contains(['\n', '\r']) {
        errors.push(FieldError::invalid(
            &path.child("fieldPath"),
            field_path,
            "must not contain line breaks",
        ));
    }
}
