//! What a custom kind's schema may say: structural, pruned and valid defaults, no unsupported keywords
//! (`apiextensions-apiserver`: `pkg/apiserver/schema/validation.go`, `pkg/apis/apiextensions/validation`).

mod defaults;
mod keywords;
mod structure;

use meta::{FieldError, FieldPath};
use serde_json::{Map, Value};

/// Faults that one report holds.
const MAX_ERRORS: usize = 200;
/// Nesting that is followed.
const MAX_NESTING: usize = 64;

type Object = Map<String, Value>;

/// What is wrong with the `openAPIV3Schema` at `path`, for example `spec.versions[0].schema.openAPIV3Schema`.
pub fn check_custom(schema: &Value, path: &FieldPath) -> Vec<FieldError> {
    let Some(root) = schema.as_object() else {
        return vec![FieldError::required(path, "schemas are required")];
    };
    let mut errors = structure::check(root, path);
    if errors.is_empty() {
        errors = defaults::check(schema, path);
    }
    if flag(root, "nullable") {
        errors.push(FieldError::forbidden(&path.child("nullable"), "nullable cannot be true at the root"));
    }
    keywords::check(root, path, &mut errors);
    #[cfg(feature = "cel")]
    if errors.is_empty()
        && let Some(rules) = crate::cel::CelRules::compile(schema)
    {
        errors = rules.check(path);
    }
    errors.truncate(MAX_ERRORS);
    errors
}

fn flag(s: &Object, key: &str) -> bool {
    s.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn text<'a>(s: &'a Object, key: &str) -> &'a str {
    s.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn object<'a>(s: &'a Object, key: &str) -> Option<&'a Object> {
    s.get(key).and_then(Value::as_object)
}

fn list<'a>(s: &'a Object, key: &str) -> impl Iterator<Item = (usize, &'a Object)> {
    let items = s.get(key).and_then(Value::as_array).into_iter().flatten();
    items.enumerate().filter_map(|(i, v)| v.as_object().map(|o| (i, o)))
}

fn properties(s: &Object) -> impl Iterator<Item = (&String, &Object)> {
    object(s, "properties").into_iter().flatten().filter_map(|(k, v)| v.as_object().map(|o| (k, o)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(schema: Value, want: Expect) {
        let errors = check_custom(&schema, &FieldPath::new("s"));
        want.assert_eq(&errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn a_good_one() {
        check(
            json!({"type": "object", "properties": {
                "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}}},
                "spec": {"type": "object", "default": {"n": 1}, "properties": {
                    "n": {"type": "integer", "default": 3}, "p": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                    "l": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a"],
                        "items": {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}},
                    "e": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}},
                    "anyOf": [{"required": ["n"]}, {"properties": {"p": {"not": {"enum": [1]}}}}]}}}),
            expect![""],
        );
    }

    #[test]
    fn structure() {
        check(
            json!({"type": "object", "additionalProperties": {"type": "string"}, "not": {"properties": {"z": {"minimum": 1}}}, "properties": {
                "a": {"description": "no type"}, "l": {"type": "array"}, "m": {"type": "array", "items": {}},
                "q": {"type": "object", "anyOf": [{"type": "object"}]},
                "r": {"type": "string", "pattern": "("},
                "e": {"type": "string", "x-kubernetes-embedded-resource": true}}}),
            expect![[r#"
                s.additionalProperties: Forbidden: must not be used at the root
                s.properties[a].type: Required value: must not be empty for specified object fields
                s.properties[e].properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields
                s.properties[e].type: Invalid value: "string": must be object if x-kubernetes-embedded-resource is true
                s.properties[l].items: Required value: must be specified
                s.properties[m].items.type: Required value: must not be empty for specified array items
                s.properties[q].anyOf[0].type: Forbidden: must be empty to be structural
                s.properties[r].pattern: Invalid value: "(": must be a valid regular expression, but isn't: regex parse error:
                    (
                    ^
                error: unclosed group
                s.properties[z]: Required value: because it is defined in s.not.properties[z]
                s.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"#]],
        );
        check(
            json!({"type": "string"}),
            expect![[r#"s.type: Invalid value: "string": must be object at the root"#]],
        );
        check(
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
            expect![
                "s.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified"
            ],
        );
    }

    #[test]
    fn keywords() {
        check(
            json!({"type": "object", "properties": {
                "t": {"type": "int"}, "u": {"type": "array", "uniqueItems": true, "items": {"type": "string"}}, "$ref": {"type": "string"},
                "r": {"type": "object", "$ref": "#/x", "patternProperties": {"a": {}}},
                "l": {"type": "string", "x-kubernetes-list-type": "bag"}, "k": {"type": "array", "x-kubernetes-list-map-keys": ["a"], "items": {"type": "string"}},
                "m": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"],
                    "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
                "mt": {"type": "array", "x-kubernetes-map-type": "atomic", "items": {"type": "string"}}}}),
            expect![[r#"
                s.properties[k].x-kubernetes-list-type: Required value: must be map if x-kubernetes-list-map-keys is non-empty
                s.properties[l].type: Invalid value: "string": must be array if x-kubernetes-list-type is specified
                s.properties[l].x-kubernetes-list-type: Unsupported value: "bag": supported values: "atomic", "set", "map"
                s.properties[m].items.properties[a].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property
                s.properties[m].x-kubernetes-list-map-keys: Invalid value: ["a","b"]: entries must all be names of item properties
                s.properties[mt].type: Invalid value: "array": must be object if x-kubernetes-map-type is specified
                s.properties[r].patternProperties: Forbidden: patternProperties is not supported
                s.properties[r].$ref: Forbidden: $ref is not supported
                s.properties[t].type: Unsupported value: "int": supported values: "array", "boolean", "integer", "number", "object", "string"
                s.properties[u].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"#]],
        );
    }

    #[test]
    fn defaults_must_be_valid_and_pruned() {
        check(
            json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
                "n": {"type": "integer", "default": "x"}, "o": {"type": "object", "default": {"z": 1}, "properties": {"a": {"type": "string"}}}}}}}),
            expect![[r#"
                s.properties[spec].properties[n].default: Invalid value: "string":  in body must be of type integer: "string"
                s.properties[spec].properties[o].default: Invalid value: {"z":1}: must not have unknown fields"#]],
        );
    }
}
