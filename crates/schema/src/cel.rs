//! CEL rules of custom kinds (`x-kubernetes-validations`), by kube-cel, with upstream's wording
//! (`apiextensions-apiserver/pkg/apiserver/schema/cel`).
//!
//! What can be said of a rule before it runs is in [`types`].

mod types;

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
    /// Rules that nest too deep to be looked at: the parser, and whoever walks what it makes, would leave the stack.
    too_deep: Vec<FieldPath>,
}

impl CelRules {
    /// Compiles the rules of an `openAPIV3Schema`; none if it has none.
    pub fn compile(schema: &Value) -> Option<Self> {
        if !has_rules(schema) {
            return None;
        }
        let mut too_deep = Vec::new();
        deep_rules(schema, &FieldPath::default(), &mut too_deep);
        let nothing = Value::Null;
        let compiled = kube_cel::compile_schema(if too_deep.is_empty() { schema } else { &nothing });
        Some(Self { compiled, schema: schema.clone(), too_deep })
    }

    /// What is wrong with the rules themselves, for the schema at `path`.
    pub fn check(&self, path: &FieldPath) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for at in &self.too_deep {
            let at =
                FieldPath::new(&format!("{path}{}{at}", if at.as_str().starts_with('[') { "" } else { "." }));
            errors.push(FieldError::invalid_as_such(&at, TOO_DEEP));
        }
        if !errors.is_empty() {
            return errors;
        }
        let place = Place { path: path.clone(), times: 1.0, torn: None };
        let mut costs = Vec::new();
        walk(&self.compiled, &self.schema, &place, &mut errors, &mut costs);
        if costs.iter().map(|(_, cost)| cost).sum::<f64>() > types::SCHEMA_COST_MAX {
            total_cost(path, &costs, &mut errors);
        }
        errors.truncate(MAX_ERRORS);
        errors
    }

    /// Runs the rules over an object; `old` is what it was before an update. Rules that look at `oldSelf` only run
    /// where there is one.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        if !self.too_deep.is_empty() {
            return vec![FieldError::invalid_as_such(&FieldPath::default(), TOO_DEEP)];
        }
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

/// Operators of one expression: so deep it can nest at most. Upstream's parser gives up at 250 levels.
const MAX_OPERATORS: usize = 2_000;
const TOO_DEEP: &str = "compilation failed: ERROR: <input>:-1:0: expression recursion limit exceeded: 2000";

/// Whether an expression has more operators than may nest.
fn is_too_deep(expression: &str) -> bool {
    let signs = expression.bytes().filter(|b| b".+-*/%!?<>=&|[({".contains(b)).count();
    signs + expression.matches("in").count() > MAX_OPERATORS
}

fn deep_rules(schema: &Value, path: &FieldPath, found: &mut Vec<FieldPath>) {
    let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
    for (i, rule) in rules.into_iter().flatten().enumerate() {
        for key in ["rule", "messageExpression"] {
            if rule.get(key).and_then(Value::as_str).is_some_and(is_too_deep) && found.len() < MAX_ERRORS {
                found.push(path.child("x-kubernetes-validations").index(i).child(key));
            }
        }
    }
    match schema {
        Value::Object(map) => {
            for (key, below) in map.iter().filter(|(_, v)| v.is_object() || v.is_array()) {
                match (key.as_str(), below) {
                    ("properties", Value::Object(all)) => all.iter().for_each(|(name, below)| {
                        deep_rules(below, &path.child("properties").key(name), found)
                    }),
                    (_, Value::Array(all)) => {
                        let list = path.child(key);
                        all.iter()
                            .enumerate()
                            .for_each(|(i, below)| deep_rules(below, &list.index(i), found));
                    }
                    _ => deep_rules(below, &path.child(key), found),
                }
            }
        }
        Value::Array(all) => all.iter().enumerate().for_each(|(i, v)| deep_rules(v, &path.index(i), found)),
        _ => {}
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

/// Where the walk over a schema is.
#[derive(Clone)]
struct Place {
    path: FieldPath,
    /// How often values of this schema may stand in one object.
    times: f64,
    /// The list or map whose items can't be told to be those of before, if the place is within one.
    torn: Option<FieldPath>,
}

impl Place {
    fn below(&self, path: FieldPath, times: f64, is_torn: bool) -> Self {
        let torn = self.torn.clone().or_else(|| is_torn.then(|| self.path.clone()));
        Self { path, times: self.times * times, torn }
    }
}

fn walk(
    node: &CompiledSchema,
    schema: &Value,
    place: &Place,
    errors: &mut Vec<FieldError>,
    costs: &mut Vec<(FieldPath, f64)>,
) {
    for (i, outcome) in node.validations.iter().enumerate() {
        let at = place.path.child("x-kubernetes-validations").index(i);
        let rule = schema.pointer(&format!("/x-kubernetes-validations/{i}")).cloned().unwrap_or_default();
        match outcome {
            Ok(_) => look(&rule, schema, place, &at, errors, costs),
            Err(e) => errors.push(unparsed(e, &at, rule)),
        }
    }
    let empty = Value::Null;
    let mut names: Vec<&String> = node.properties.keys().collect();
    names.sort();
    let atomic = schema.get("x-kubernetes-map-type").is_some_and(|t| t == "atomic");
    for name in names {
        let below = schema.get("properties").and_then(|p| p.get(name)).unwrap_or(&empty);
        let at = place.below(place.path.child("properties").key(name), 1.0, atomic);
        walk(&node.properties[name], below, &at, errors, costs);
    }
    let keyed = schema.get("x-kubernetes-list-type").is_some_and(|t| t == "map");
    for (key, below, torn) in
        [("items", &node.items, !keyed), ("additionalProperties", &node.additional_properties, atomic)]
    {
        if let Some(below) = below {
            let at = place.below(place.path.child(key), types::most(schema), torn);
            walk(below, schema.get(key).unwrap_or(&empty), &at, errors, costs);
        }
    }
}

/// The fault of a rule that doesn't parse.
fn unparsed(e: &CompilationError, at: &FieldPath, rule: Value) -> FieldError {
    // The compiler of upstream indents the lines below its sentence.
    let shown = |source: &dyn std::fmt::Display| source.to_string().replace("\n|", "\n |");
    let (at, why) = match e {
        CompilationError::Parse { source, .. } => {
            (at.child("rule"), format!("compilation failed: {}", shown(source)))
        }
        CompilationError::MessageExpressionParse { source, .. } => {
            let why = format!("messageExpression compilation failed: {}", shown(source));
            (at.child("messageExpression"), why)
        }
        other => (at.child("rule"), other.to_string()),
    };
    FieldError::invalid(&at, rule, why)
}

/// What can be said of a rule that parses.
fn look(
    rule: &Value,
    schema: &Value,
    place: &Place,
    at: &FieldPath,
    errors: &mut Vec<FieldError>,
    costs: &mut Vec<(FieldPath, f64)>,
) {
    let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default();
    let field_path = text("fieldPath");
    if !field_path.is_empty() && !types::is_field_path(field_path, schema) {
        errors.push(FieldError::invalid(&at.child("fieldPath"), field_path, "must be a valid path"));
    }
    if let Some(found) = types::look(text("rule"), schema, types::Wanted::Truth) {
        let faults = found.faults.into_iter();
        errors.extend(faults.map(|why| FieldError::invalid(&at.child("rule"), rule.clone(), why)));
        let cost = found.cost * place.times;
        if cost > types::RULE_COST_MAX {
            let factor = factor(cost, types::RULE_COST_MAX);
            let why = format!("estimated rule cost exceeds budget by {factor}");
            errors.push(FieldError::forbidden(&at.child("rule"), why));
        }
        costs.push((at.child("rule"), cost));
        if let Some(torn) = place.torn.as_ref().filter(|_| found.uses_old) {
            let why =
                format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {torn}");
            errors.push(FieldError::invalid(&at.child("rule"), text("rule"), why));
        }
    }
    let message = text("messageExpression");
    if let Some(found) = types::look(message, schema, types::Wanted::Text).filter(|_| !message.is_empty()) {
        let prefixed =
            |why: String| why.replace("compilation failed", "messageExpression compilation failed");
        let faults = found.faults.into_iter().map(prefixed);
        errors
            .extend(faults.map(|why| FieldError::invalid(&at.child("messageExpression"), rule.clone(), why)));
    }
}

/// By how much a cost is too high, and what to do.
fn factor(cost: f64, budget: f64) -> String {
    let factor = cost / budget;
    let text = match factor > 100.0 {
        true => "more than 100x".to_owned(),
        false => format!("{factor:.1}x"),
    };
    format!(
        "factor of {text} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, \
         maps, and strings are declared)"
    )
}

/// The rules together are too much: those that cost the most are named.
fn total_cost(path: &FieldPath, costs: &[(FieldPath, f64)], errors: &mut Vec<FieldError>) {
    const NAMED: usize = 4;
    let mut dearest: Vec<&(FieldPath, f64)> =
        costs.iter().filter(|(_, c)| *c > types::RULE_COST_MAX).collect();
    dearest.sort_by(|a, b| b.1.total_cmp(&a.1));
    for (at, _) in dearest.into_iter().take(NAMED) {
        let why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
        errors.push(FieldError::forbidden(at, why));
    }
    let total: f64 = costs.iter().map(|(_, cost)| cost).sum();
    let why = format!(
        "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by {}",
        factor(total, types::SCHEMA_COST_MAX)
    );
    errors.push(FieldError::forbidden(path, why));
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
    fn rules_that_nest_too_deep_are_refused_before_they_are_parsed() {
        for rule in [
            "1+".repeat(60_000) + "1 == 1",
            format!("self{} == 1", ".a".repeat(60_000)),
            "!".repeat(3_000) + "true",
        ] {
            let deep = json!({"type": "object", "properties": {"a": {"type": "integer",
                "x-kubernetes-validations": [{"rule": rule}]}}});
            let rules = CelRules::compile(&deep).unwrap();
            let errors = rules.check(&FieldPath::new("s"));
            assert_eq!(
                errors[0].to_string(),
                format!("s.properties[a].x-kubernetes-validations[0].rule: Invalid value: {TOO_DEEP}")
            );
            assert_eq!(rules.validate(&json!({"a": 1}), None).len(), 1);
        }
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
