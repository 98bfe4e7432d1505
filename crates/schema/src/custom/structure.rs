//! The invariants of structural schemas, and that value validations only speak of fields that the structure has.

use super::{MAX_NESTING, Object, flag, list, object, properties, text};
use meta::{FieldError, FieldPath};
use serde_json::Value;

#[derive(Clone, Copy, PartialEq)]
enum Level {
    Root,
    Item,
    Field,
}

/// The faults, sorted by their text.
pub(super) fn check(root: &Object, path: &FieldPath) -> Vec<FieldError> {
    let mut c = Checker { errors: Vec::new(), depth: 0 };
    c.invariants(root, Level::Root, path);
    c.complete(root, Some(root), path, path);
    let mut errors = c.errors;
    errors.sort_by_key(ToString::to_string);
    errors
}

struct Checker {
    errors: Vec<FieldError>,
    depth: usize,
}

/// `anyOf: [{type: integer}, {type: string}]`, which may stand beside `x-kubernetes-int-or-string`.
fn is_int_or_string(s: &Object) -> bool {
    let types: Vec<(usize, &str)> = list(s, "anyOf").map(|(_, o)| (o.len(), text(o, "type"))).collect();
    types == [(1, "integer"), (1, "string")]
}

impl Checker {
    fn required(&mut self, path: FieldPath, why: &str) {
        self.errors.push(FieldError::required(&path, why));
    }

    fn forbidden(&mut self, path: FieldPath, why: &str) {
        self.errors.push(FieldError::forbidden(&path, why));
    }

    fn deeper(&mut self, f: impl FnOnce(&mut Self)) {
        if self.depth < MAX_NESTING {
            self.depth += 1;
            f(self);
            self.depth -= 1;
        }
    }

    fn invariants(&mut self, s: &Object, level: Level, path: &FieldPath) {
        if text(s, "type") == "array" && !s.contains_key("items") {
            self.required(path.child("items"), "must be specified");
        }
        if let Some(items) = object(s, "items") {
            self.deeper(|c| c.invariants(items, Level::Item, &path.child("items")));
        }
        for (key, p) in properties(s) {
            self.deeper(|c| c.invariants(p, Level::Field, &path.child("properties").key(key)));
        }
        if let Some(additional) = s.get("additionalProperties") {
            let below = path.child("additionalProperties");
            if level == Level::Root {
                self.forbidden(below.clone(), "must not be used at the root");
            }
            if let Some(a) = additional.as_object() {
                self.deeper(|c| c.invariants(a, Level::Field, &below));
            }
        }
        self.extensions(s, path);
        self.value_validation(
            s,
            path,
            is_int_or_string(s),
            list(s, "allOf").next().is_some_and(|(_, o)| is_int_or_string(o)),
        );
        self.types(s, level, path);
        self.frame(s, level, path);
    }

    fn extensions(&mut self, s: &Object, path: &FieldPath) {
        if !flag(s, "x-kubernetes-int-or-string") {
            return;
        }
        for key in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
            if flag(s, key) {
                let why = "must be false if x-kubernetes-int-or-string is true";
                self.errors.push(FieldError::invalid(&path.child(key), true, why));
            }
        }
    }

    fn types(&mut self, s: &Object, level: Level, path: &FieldPath) {
        let ty = text(s, "type");
        let at = path.child("type");
        let embedded = flag(s, "x-kubernetes-embedded-resource");
        let free = flag(s, "x-kubernetes-int-or-string") || flag(s, "x-kubernetes-preserve-unknown-fields");
        if embedded && ty != "object" {
            let why = "must be object if x-kubernetes-embedded-resource is true";
            match ty {
                "" => self.required(at.clone(), why),
                ty => self.errors.push(FieldError::invalid(&at, ty, why)),
            }
        } else if ty.is_empty() && !free {
            let why = match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            };
            self.required(at.clone(), why);
        }
        if embedded && s.contains_key("additionalProperties") {
            self.forbidden(
                path.child("additionalProperties"),
                "must not be used if x-kubernetes-embedded-resource is set",
            );
        }
        if level == Level::Root && !ty.is_empty() && ty != "object" {
            self.errors.push(FieldError::invalid(&at, ty, "must be object at the root"));
        }
        if embedded && !flag(s, "x-kubernetes-preserve-unknown-fields") && properties(s).next().is_none() {
            let why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
            self.required(path.child("properties"), why);
        }
    }

    /// `kind`, `apiVersion` and `metadata` at the root and in embedded resources.
    fn frame(&mut self, s: &Object, level: Level, path: &FieldPath) {
        let checked = level == Level::Root || flag(s, "x-kubernetes-embedded-resource");
        for (key, p) in properties(s) {
            let at = path.child("properties").key(key);
            match key.as_str() {
                "kind" | "apiVersion" if checked && text(p, "type") != "string" => {
                    self.errors.push(FieldError::invalid(
                        &at.child("type"),
                        text(p, "type"),
                        "must be string",
                    ));
                }
                "metadata" => {
                    if checked && text(p, "type") != "object" {
                        let e = FieldError::invalid(&at.child("type"), text(p, "type"), "must be object");
                        self.errors.push(e);
                    }
                    let only_names =
                        properties(p).all(|(k, _)| matches!(k.as_str(), "name" | "generateName"));
                    let plain = p
                        .keys()
                        .all(|k| matches!(k.as_str(), "type" | "properties" | "description" | "default"));
                    if level == Level::Root && !(only_names && plain) {
                        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
                        self.forbidden(at, why);
                    }
                }
                _ => {}
            }
        }
    }

    fn value_validation(&mut self, v: &Object, path: &FieldPath, skip_any: bool, skip_first_all: bool) {
        for key in ["anyOf", "allOf", "oneOf"] {
            if key == "anyOf" && skip_any {
                continue;
            }
            for (i, n) in list(v, key) {
                let skip = key == "allOf" && i == 0 && skip_first_all;
                self.deeper(|c| c.nested(n, &path.child(key).index(i), skip));
            }
        }
        if let Some(not) = object(v, "not") {
            self.deeper(|c| c.nested(not, &path.child("not"), false));
        }
        let pattern = text(v, "pattern");
        if let Err(e) = regex::Regex::new(pattern) {
            let why = format!("must be a valid regular expression, but isn't: {e}");
            self.errors.push(FieldError::invalid(&path.child("pattern"), pattern, why));
        }
    }

    /// A schema below `allOf`, `anyOf`, `oneOf` or `not`, which may only validate values.
    fn nested(&mut self, v: &Object, path: &FieldPath, skip_any: bool) {
        const EMPTY: [&str; 4] = ["type", "title", "description", "x-kubernetes-list-map-keys"];
        const UNDEFINED: [&str; 4] =
            ["additionalProperties", "default", "x-kubernetes-list-type", "x-kubernetes-map-type"];
        const FALSE: [&str; 4] = [
            "nullable",
            "x-kubernetes-preserve-unknown-fields",
            "x-kubernetes-embedded-resource",
            "x-kubernetes-int-or-string",
        ];
        self.value_validation(v, path, skip_any, false);
        if let Some(items) = object(v, "items") {
            self.deeper(|c| c.nested(items, &path.child("items"), false));
        }
        for (key, p) in properties(v) {
            let at = path.child("properties").key(key);
            if key == "metadata" {
                self.forbidden(at.clone(), "must not be specified in a nested context");
            }
            self.deeper(|c| c.nested(p, &at, false));
        }
        let blank = |v: &Value| v.is_null() || v == "" || v.as_array().is_some_and(Vec::is_empty);
        for key in EMPTY.iter().chain(&["x-kubernetes-validations"]) {
            if v.get(*key).is_some_and(|v| !blank(v)) {
                self.forbidden(path.child(key), "must be empty to be structural");
            }
        }
        for key in UNDEFINED.iter().filter(|k| v.contains_key(**k)) {
            self.forbidden(path.child(key), "must be undefined to be structural");
        }
        for key in FALSE.iter().filter(|k| flag(v, k)) {
            self.forbidden(path.child(key), "must be false to be structural");
        }
    }

    /// Everything that the validations in `v` speak of must be in the structure `s` too.
    fn complete(&mut self, v: &Object, s: Option<&Object>, s_path: &FieldPath, v_path: &FieldPath) {
        for key in ["not", "allOf", "anyOf", "oneOf"] {
            if let Some(one) = object(v, key) {
                self.deeper(|c| c.complete_nested(one, s, s_path, &v_path.child(key)));
            }
            for (i, one) in list(v, key) {
                self.deeper(|c| c.complete_nested(one, s, s_path, &v_path.child(key).index(i)));
            }
        }
    }

    fn complete_nested(&mut self, v: &Object, s: Option<&Object>, s_path: &FieldPath, v_path: &FieldPath) {
        let because = |path: &FieldPath| format!("because it is defined in {path}");
        let Some(there) = s else {
            return self.required(s_path.clone(), &because(v_path));
        };
        self.complete(v, s, s_path, v_path);
        if let Some(items) = object(v, "items") {
            let (s_at, v_at) = (s_path.child("items"), v_path.child("items"));
            self.deeper(|c| c.complete_nested(items, object(there, "items"), &s_at, &v_at));
        }
        for (key, p) in properties(v) {
            let (s_at, v_at) = (s_path.child("properties").key(key), v_path.child("properties").key(key));
            match object(there, "properties").and_then(|m| m.get(key)).and_then(Value::as_object) {
                None => self.required(s_at, &because(&v_at)),
                found => self.deeper(|c| c.complete_nested(p, found, &s_at, &v_at)),
            }
        }
    }
}
