//! CEL rules of custom kinds (`x-kubernetes-validations`), by kube-cel, with upstream's wording
//! (`apiextensions-apiserver/pkg/apiserver/schema/cel`).
//!
//! Rules are parsed and run, not type-checked: a reference to a field that the schema doesn't have is found when
//! the rule runs, and then refuses the object.

use kube_cel::{CompilationError, CompiledSchema, ErrorKind, ValidationError, Validator};
use meta::field::FieldErrorKind;
use meta::{FieldError, FieldPath};
use serde_json::Value;

/// Faults that one report holds.
const MAX_ERRORS: usize = 100;
/// Bytes of a rule that messages repeat.
const MAX_SHOWN: usize = 256;

/// The compiled rules of one version of a custom kind.
#[derive(Debug)]
pub struct CelRules {
    compiled: CompiledSchema,
    schema: Value,
}

impl CelRules {
    /// Compiles the rules of an `openAPIV3Schema`; none if it has none.
    pub fn compile(schema: &Value) -> Option<Self> {
        has_rules(schema).then(|| Self { compiled: kube_cel::compile_schema(schema), schema: schema.clone() })
    }

    /// What is wrong with the rules themselves, for the schema at `path`.
    pub fn check(&self, path: &FieldPath) -> Vec<FieldError> {
        let mut errors = Vec::new();
        walk(&self.compiled, &self.schema, path, &mut errors);
        errors.truncate(MAX_ERRORS);
        errors
    }

    /// Runs the rules over an object; `old` is what it was before an update. Rules that look at `oldSelf` only run
    /// where there is one.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        match Validator::new().validate_compiled(&self.compiled, object, old) {
            Ok(()) => Vec::new(),
            Err(errors) => {
                let mut faults: Vec<FieldError> =
                    errors.as_slice().iter().map(|e| fault(e, object)).collect();
                // The engine walks properties in no order; by path, and by rule within one, everybody reads the same.
                faults.sort_by(|a, b| a.path.cmp(&b.path));
                faults.truncate(MAX_ERRORS);
                faults
            }
        }
    }
}

fn has_rules(schema: &Value) -> bool {
    let own = schema.get("x-kubernetes-validations").and_then(Value::as_array).is_some_and(|r| !r.is_empty());
    own || match schema {
        Value::Object(m) => m.values().any(has_rules),
        Value::Array(a) => a.iter().any(has_rules),
        _ => false,
    }
}

fn walk(node: &CompiledSchema, schema: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    for (i, outcome) in node.validations.iter().enumerate() {
        let Err(e) = outcome else { continue };
        let at = path.child("x-kubernetes-validations").index(i);
        let rule = schema.pointer(&format!("/x-kubernetes-validations/{i}")).cloned().unwrap_or_default();
        let (at, why) = match e {
            CompilationError::Parse { source, .. } => {
                (at.child("rule"), format!("compilation failed: {source}"))
            }
            CompilationError::MessageExpressionParse { source, .. } => {
                let why = format!("messageExpression compilation failed: {source}");
                (at.child("messageExpression"), why)
            }
            other => (at.child("rule"), other.to_string()),
        };
        errors.push(FieldError::invalid(&at, rule, why));
    }
    let empty = Value::Null;
    let mut names: Vec<&String> = node.properties.keys().collect();
    names.sort();
    for name in names {
        let below = schema.get("properties").and_then(|p| p.get(name)).unwrap_or(&empty);
        walk(&node.properties[name], below, &path.child("properties").key(name), errors);
    }
    for (key, below) in [("items", &node.items), ("additionalProperties", &node.additional_properties)] {
        if let Some(below) = below {
            walk(below, schema.get(key).unwrap_or(&empty), &path.child(key), errors);
        }
    }
}

fn fault(e: &ValidationError, object: &Value) -> FieldError {
    let path = if e.field_path.is_empty() { FieldPath::default() } else { FieldPath::new(&e.field_path) };
    let value = find(object, &e.field_path);
    if e.kind != ErrorKind::ValidationFailure {
        let shown: String = e.rule.chars().take(MAX_SHOWN).collect();
        let detail = format!("{} evaluating rule: {shown}", e.message);
        return FieldError::invalid(&path, value.map_or("object", type_name), detail);
    }
    let kind = match e.reason.as_deref() {
        Some("FieldValueForbidden") => FieldErrorKind::Forbidden,
        Some("FieldValueRequired") => FieldErrorKind::Required,
        Some("FieldValueDuplicate") => FieldErrorKind::Duplicate,
        _ => FieldErrorKind::Invalid,
    };
    let shows = matches!(kind, FieldErrorKind::Invalid | FieldErrorKind::Duplicate);
    let scalar = value.filter(|v| shows && !v.is_object() && !v.is_array());
    FieldError { kind, path, value: scalar.cloned(), detail: e.message.clone() }
}

fn type_name(v: &Value) -> &'static str {
    match v {
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::Object(_) | Value::Null => "object",
    }
}

/// The value at a path such as `spec.list[0].name`.
fn find<'v>(object: &'v Value, path: &str) -> Option<&'v Value> {
    let steps = path.split(['.', '[', ']']).filter(|s| !s.is_empty());
    steps.into_iter().try_fold(object, |v, step| match v {
        Value::Array(a) => a.get(step.parse::<usize>().ok()?),
        v => v.get(step),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn schema() -> Value {
        json!({"type": "object", "properties": {"spec": {"type": "object",
            "x-kubernetes-validations": [
                {"rule": "self.min <= self.max", "message": "min must not be above max"},
                {"rule": "!has(oldSelf.name) || self.name == oldSelf.name", "message": "name is immutable", "reason": "FieldValueForbidden"},
                {"rule": "self.max < 100", "messageExpression": "'max is ' + string(self.max)"}],
            "properties": {"min": {"type": "integer"}, "max": {"type": "integer"}, "name": {"type": "string"},
                "q": {"type": "string", "x-kubernetes-validations": [{"rule": "quantity(self).isGreaterThan(quantity('1Gi'))"}]},
                "list": {"type": "array", "items": {"type": "string", "x-kubernetes-validations": [{"rule": "self.startsWith('a')"}]}}}}}})
    }

    fn check(object: Value, old: Option<Value>, want: Expect) {
        let rules = CelRules::compile(&schema()).unwrap();
        let errors = rules.validate(&object, old.as_ref());
        want.assert_eq(&errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn rules_run() {
        check(json!({"spec": {"min": 1, "max": 2, "list": ["a"], "q": "2Gi"}}), None, expect![""]);
        check(
            json!({"spec": {"min": 300, "max": 200, "list": ["a", "b"], "q": "1Mi", "name": "n"}}),
            Some(json!({"spec": {"min": 1, "max": 2, "name": "o"}})),
            expect![[r#"
                spec: Invalid value: min must not be above max
                spec: Forbidden: name is immutable
                spec: Invalid value: max is 200
                spec.list[1]: Invalid value: "b": failed rule: self.startsWith('a')
                spec.q: Invalid value: "1Mi": failed rule: quantity(self).isGreaterThan(quantity('1Gi'))"#]],
        );
    }

    #[test]
    fn bad_rules_are_named() {
        let bad = json!({"type": "object", "properties": {"a": {"type": "string", "x-kubernetes-validations": [{"rule": "self ="}]}}});
        let errors = CelRules::compile(&bad).unwrap().check(&FieldPath::new("s"));
        assert!(errors[0].to_string().starts_with(
            r#"s.properties[a].x-kubernetes-validations[0].rule: Invalid value: {"rule":"self ="}: compilation failed: "#
        ), "{}", errors[0]);
        assert!(CelRules::compile(&json!({"type": "object"})).is_none());
    }
}
