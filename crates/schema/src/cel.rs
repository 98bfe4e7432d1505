//! CEL rules of custom kinds (`x-kubernetes-validations`), by kube-cel, with upstream's wording
//! (`apiextensions-apiserver/pkg/apiserver/schema/cel`).
//!
//! What can be said of a rule before it runs is in [`types`]; [`walk`] runs them.

mod callable;
mod cost;
mod estimate;
mod macros;
mod run;
mod tree;
mod types;
mod values;
mod walk;

use meta::{FieldError, FieldPath};
use serde_json::{Value, json};
use tree::{Node, Rule};

/// Faults that one report holds.
const MAX_ERRORS: usize = 100;
/// Bytes of a rule that messages repeat.
const MAX_SHOWN: usize = 256;

/// The parsed rules of one version of a custom kind.
#[derive(Debug)]
pub struct CelRules {
    tree: Node,
    schema: Value,
    /// Rules that nest too deep to be looked at: the parser, and whoever walks what it makes, would leave the stack.
    too_deep: Vec<FieldPath>,
}

impl CelRules {
    /// Parses the rules of an `openAPIV3Schema`; none if it has none.
    pub fn compile(schema: &Value) -> Option<Self> {
        if !has_rules(schema) {
            return None;
        }
        let mut too_deep = Vec::new();
        deep_rules(schema, &FieldPath::default(), &mut too_deep);
        let tree = if too_deep.is_empty() { Node::of(schema) } else { Node::default() };
        Some(Self { tree, schema: schema.clone(), too_deep })
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
        let place = Place { path: path.clone(), times: Some(1.0), torn: None };
        let mut costs = Vec::new();
        walk(&self.tree, &self.schema, &place, &mut errors, &mut costs);
        if costs.iter().map(|(_, cost)| cost).sum::<f64>() > estimate::SCHEMA_COST_MAX {
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
        let mut run = walk::Walk::new();
        run.go(&self.tree, &self.schema, &FieldPath::default(), walk::At::root(object, old));
        let mut faults = run.errors;
        faults.truncate(MAX_ERRORS);
        faults
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
    /// How often values of this schema may stand in one object; none where nothing says.
    times: Option<f64>,
    /// The list or map whose items can't be told to be those of before, if the place is within one.
    torn: Option<FieldPath>,
}

impl Place {
    fn below(&self, path: FieldPath, times: Option<f64>, is_torn: bool) -> Self {
        let torn = self.torn.clone().or_else(|| is_torn.then(|| self.path.clone()));
        Self { path, times: self.times.zip(times).map(|(a, b)| a * b), torn }
    }
}

fn walk(
    node: &Node,
    schema: &Value,
    place: &Place,
    errors: &mut Vec<FieldError>,
    costs: &mut Vec<(FieldPath, f64)>,
) {
    for (i, rule) in node.rules.iter().enumerate() {
        let at = place.path.child("x-kubernetes-validations").index(i);
        look(rule, schema, place, &at, errors, costs);
    }
    let empty = Value::Null;
    let atomic = schema.get("x-kubernetes-map-type").is_some_and(|t| t == "atomic");
    for (name, node) in &node.properties {
        let below = schema.get("properties").and_then(|p| p.get(name)).unwrap_or(&empty);
        let at = place.below(place.path.child("properties").key(name), Some(1.0), atomic);
        walk(node, below, &at, errors, costs);
    }
    let keyed = schema.get("x-kubernetes-list-type").is_some_and(|t| t == "map");
    for (key, most, below, torn) in [
        ("items", "maxItems", &node.items, !keyed),
        ("additionalProperties", "maxProperties", &node.additional, atomic),
    ] {
        if let Some(below) = below {
            let times = schema.get(most).and_then(Value::as_f64);
            let at = place.below(place.path.child(key), times, torn);
            walk(below, schema.get(key).unwrap_or(&empty), &at, errors, costs);
        }
    }
}

/// A fault of a rule, with the rule in the form that upstream shows it in.
fn faulty(rule: &Rule, at: &FieldPath, key: &str, why: &str) -> FieldError {
    let text = |key: &str| go_json(&json!(rule.text(key)));
    let orless = |key: &str| go_json(rule.source.get(key).unwrap_or(&Value::Null));
    let shown = format!(
        r#"{{"Rule":{},"Message":{},"MessageExpression":{},"Reason":{},"FieldPath":{},"OptionalOldSelf":{}}}"#,
        text("rule"),
        text("message"),
        text("messageExpression"),
        orless("reason"),
        text("fieldPath"),
        orless("optionalOldSelf"),
    );
    FieldError::invalid_as_such(&at.child(key), format!("{shown}: {why}"))
}

/// JSON as Go writes it.
fn go_json(v: &Value) -> String {
    v.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// What can be said of a rule before it runs.
fn look(
    rule: &Rule,
    schema: &Value,
    place: &Place,
    at: &FieldPath,
    errors: &mut Vec<FieldError>,
    costs: &mut Vec<(FieldPath, f64)>,
) {
    let field_path = rule.text("fieldPath");
    if !field_path.is_empty() && !types::is_field_path(field_path, schema) {
        errors.push(FieldError::invalid(&at.child("fieldPath"), field_path, "must be a valid path"));
    }
    match &rule.expression {
        Some(Ok(expression)) => {
            let subject =
                types::Subject { rule: rule.text("rule"), schema, is_old_optional: rule.is_old_optional() };
            let found = types::look(expression, subject, types::Wanted::Truth);
            errors.extend(found.faults.iter().map(|why| faulty(rule, at, "rule", why)));
            // How often a rule runs that stands below an unbounded list: once for each value that fits in a request.
            let times = place.times.unwrap_or_else(|| estimate::most_in_request(schema));
            let cost = found.cost * times;
            if cost > estimate::RULE_COST_MAX {
                let factor = factor(cost, estimate::RULE_COST_MAX);
                let why = format!("estimated rule cost exceeds budget by {factor}");
                errors.push(FieldError::forbidden(&at.child("rule"), why));
            }
            costs.push((at.child("rule"), cost));
            if let Some(torn) = place.torn.as_ref().filter(|_| rule.uses_old) {
                let why = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {torn}"
                );
                errors.push(FieldError::invalid(&at.child("rule"), rule.text("rule"), why));
            }
            if rule.source.get("optionalOldSelf").is_some_and(Value::is_boolean) && !rule.uses_old {
                let why = "may not be set if oldSelf is not used in rule";
                let value = rule.source["optionalOldSelf"].clone();
                errors.push(FieldError::invalid(&at.child("optionalOldSelf"), value, why));
            }
        }
        Some(Err(why)) => errors.push(faulty(rule, at, "rule", &format!("compilation failed: {why}"))),
        None => {}
    }
    look_at_message(rule, schema, at, errors);
}

fn look_at_message(rule: &Rule, schema: &Value, at: &FieldPath, errors: &mut Vec<FieldError>) {
    let fault = |why: &str| faulty(rule, at, "messageExpression", why);
    match &rule.message {
        Some(Ok(expression)) => {
            let text = rule.text("messageExpression");
            let subject = types::Subject { rule: text, schema, is_old_optional: rule.is_old_optional() };
            let found = types::look(expression, subject, types::Wanted::Text);
            let prefixed =
                |why: &String| why.replace("compilation failed", "messageExpression compilation failed");
            errors.extend(found.faults.iter().map(|why| fault(&prefixed(why))));
            if found.cost > estimate::RULE_COST_MAX {
                let factor = factor(found.cost, estimate::RULE_COST_MAX);
                let why = format!("estimated messageExpression cost exceeds budget by {factor}");
                errors.push(FieldError::forbidden(&at.child("messageExpression"), why));
            }
        }
        Some(Err(why)) => errors.push(fault(&format!("messageExpression compilation failed: {why}"))),
        None => {}
    }
}

/// By how much a cost is too high, and what to do.
fn factor(cost: f64, budget: f64) -> String {
    let factor = cost / budget;
    let text = match factor > 100.0 {
        true => "more than 100x".to_owned(),
        // Upstream shows all digits of what is hardly too much.
        false if factor < 1.05 => format!("{factor:.6}x"),
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
        costs.iter().filter(|(_, c)| *c > estimate::RULE_COST_MAX).collect();
    dearest.sort_by(|a, b| b.1.total_cmp(&a.1));
    for (at, _) in dearest.into_iter().take(NAMED) {
        let why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
        errors.push(FieldError::forbidden(at, why));
    }
    let total: f64 = costs.iter().map(|(_, cost)| cost).sum();
    let why = format!(
        "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by {}",
        factor(total, estimate::SCHEMA_COST_MAX)
    );
    errors.push(FieldError::forbidden(path, why));
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

    fn checked(schema: Value, want: Expect) {
        let errors = CelRules::compile(&schema).unwrap().check(&FieldPath::new("s"));
        want.assert_eq(&errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }

    /// A rule over a list of numbers and a text.
    fn ruled(rule: &str) -> Value {
        json!({"type": "object", "x-kubernetes-validations": [{"rule": rule}], "properties": {
            "l": {"type": "array", "maxItems": 3000, "items": {"type": "integer"}}, "s": {"type": "string"}}})
    }

    fn ran(rule: &str, object: Value, want: Expect) {
        let errors = CelRules::compile(&ruled(rule)).unwrap().validate(&object, None);
        want.assert_eq(&errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn a_rule_that_costs_too_much_is_ended() {
        let many = json!({"l": (0..3000).collect::<Vec<_>>(), "s": "a".repeat(90_000)});
        let ended = |rule: &str| {
            let errors = CelRules::compile(&ruled(rule)).unwrap().validate(&many, None);
            assert_eq!(errors.len(), 1, "{rule}: {errors:?}");
            let text = errors[0].to_string();
            let one = format!(
                "further validation rules will be run due to call cost exceeds limit for rule: {rule}"
            );
            let all = "running out of cost budget, no further validation rules will be run";
            assert!(text.ends_with(&one) || text.ends_with(all), "{text}");
        };
        for rule in [
            "self.l.all(x, self.l.all(y, x + y >= 0))",
            "self.l.all(x, self.l.exists(y, self.l.exists(z, z == -1)) || true)",
            "self.l.all(x, !self.s.contains('b'))",
            "self.l.all(x, !self.s.matches('(a+)+b'))",
            "self.l.map(x, self.l).map(y, y + y).size() > 0",
            "lists.range(1000000000).size() > 0",
            "self.s.replace('a', self.s).replace('a', self.s).size() > 0",
            "self.l.all(x, self.s + self.s != '')",
            "self.l.all(x, sets.contains(self.l, self.l))",
            "self.l.all(x, self.l == self.l)",
            "self.l.all(x, self.l.sort().size() > 0)",
            "self.l.all(i, x, self.l.all(j, y, x + y >= 0))",
        ] {
            ended(rule);
        }
    }

    #[test]
    fn all_rules_of_an_object_share_a_budget() {
        let item = json!({"type": "integer", "x-kubernetes-validations": [{"rule": "[1,2,3,4,5,6,7,8].map(x, string(x + self)).join(',').contains('1') || true"}]});
        let schema = json!({"type": "array", "items": item});
        let errors = CelRules::compile(&schema).unwrap().validate(&json!(vec![0; 200_000]), None);
        let text = errors[0].to_string();
        assert!(
            text.ends_with(
                "validation failed due to running out of cost budget, no further validation rules will be run"
            ),
            "{text}"
        );
        assert_eq!(errors.len(), 1);
    }

    #[test]
    fn cheap_rules_run() {
        let few = json!({"l": [3, 1, 2], "s": "a,b"});
        for rule in [
            "self.l.all(x, self.l.exists(y, y == x))",
            "self.l.map(x, x * 2) == [6, 2, 4]",
            "self.l.filter(x, x > 1).size() == 2",
            "self.s.split(',') == ['a', 'b'] && self.s.matches('^a') && !self.s.matches('^b')",
            "self.?s.orValue('x') == 'a,b' && !self.?t.hasValue() && self.?l[?9].orValue(7) == 7",
            "self.l.all(i, x, i < 3 && x < 4) && self.l.exists(i, x, x == i)",
            "self.l.transformList(i, x, x > 1, x + i) == [3, 4]",
            "self.l.sortBy(x, x) == [1, 2, 3] && self.l.sum() == 6 && self.l.max() == 3",
            "cel.bind(n, self.l.size(), n * n == 9)",
            "type(self.s) == string && type(self.l.size()) == int",
            "1 / (self.l[0] - 3) == 1 || true",
            "[1, 2].exists(x, 1 / (x - 1) == 1)",
            "'%d %s'.format([1, 'a']) == '1 a' && 'b' in ['a', 'b'] && 2 in self.l",
        ] {
            ran(rule, few.clone(), expect![""]);
        }
        ran(
            "self.l[9] == 1",
            few.clone(),
            expect![[
                r#"<nil>: Invalid value: "object": index out of bounds: 9 evaluating rule: self.l[9] == 1"#
            ]],
        );
        ran(
            "1 / (self.l[0] - 3) == 1",
            few.clone(),
            expect![[
                r#"<nil>: Invalid value: "object": division by zero evaluating rule: 1 / (self.l[0] - 3) == 1"#
            ]],
        );
        ran(
            "self.t == 1",
            few,
            expect![[r#"<nil>: Invalid value: "object": no such key: t evaluating rule: self.t == 1"#]],
        );
    }

    #[test]
    fn what_was_before_is_found_by_key() {
        let schema = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}},
            "x-kubernetes-validations": [{"rule": "self.v >= oldSelf.v"}, {"rule": "self.v != 13"}]}});
        let rules = CelRules::compile(&schema).unwrap();
        let old = json!([{"k": "a", "v": 1}, {"k": "b", "v": 13}]);
        let turned = json!([{"k": "b", "v": 13}, {"k": "a", "v": 1}, {"k": "c", "v": 0}]);
        assert_eq!(rules.validate(&turned, Some(&old)), []);
        let errors = rules.validate(&json!([{"k": "b", "v": 12}, {"k": "a", "v": 13}]), Some(&old));
        expect![[r#"
            [0]: Invalid value: failed rule: self.v >= oldSelf.v
            [1]: Invalid value: failed rule: self.v != 13"#]]
        .assert_eq(&errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn rules_are_checked_before_they_run() {
        for (rule, want) in [
            (
                "self.s + 1 == 2",
                expect![[r#"
                s.x-kubernetes-validations[0].rule: Invalid value: {"Rule":"self.s + 1 == 2","Message":"","MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}: compilation failed: ERROR: <input>:1:8: found no matching overload for '_+_' applied to '(string, int)'
                 | self.s + 1 == 2
                 | .......^"#]],
            ),
            (
                "1 + 'a' == 2",
                expect![[
                    r#"s.x-kubernetes-validations[0].rule: Invalid value: {"Rule":"1 + 'a' == 2","Message":"","MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}: compilation failed: ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'
 | 1 + 'a' == 2
 | ..^"#
                ]],
            ),
            (
                "foo(self)",
                expect![[r#"
                s.x-kubernetes-validations[0].rule: Invalid value: {"Rule":"foo(self)","Message":"","MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}: compilation failed: ERROR: <input>:1:4: undeclared reference to 'foo' (in container '')
                 | foo(self)
                 | ...^"#]],
            ),
            (
                "self.s.matches('(')",
                expect![[r#"
                s.x-kubernetes-validations[0].rule: Invalid value: {"Rule":"self.s.matches('(')","Message":"","MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}: compilation failed: ERROR: <input>:1:16: invalid matches argument
                 | self.s.matches('(')
                 | ...............^"#]],
            ),
            (
                "self.s.contains(self.s)",
                expect![[r#"
                s.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)
                s.x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema
                s: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"#]],
            ),
            (
                "self.l.all(x, self.l.all(y, x == y))",
                expect![
                    "s.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of 4.5x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
                ],
            ),
            ("self.l.all(x, x > 0) && self.?s.hasValue()", expect![""]),
        ] {
            checked(ruled(rule), want);
        }
    }

    #[test]
    fn unbounded_lists_count_once() {
        let rule = json!([{"rule": "self > 1"}]);
        let item = json!({"type": "integer", "x-kubernetes-validations": rule});
        let nested =
            json!({"type": "array", "items": {"type": "array", "items": {"type": "array", "items": item}}});
        checked(nested, expect![""]);
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
            r#"s.properties[a].x-kubernetes-validations[0].rule: Invalid value: {"Rule":"self =","Message":"","MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}: compilation failed: "#
        ), "{}", errors[0]);
        assert!(CelRules::compile(&json!({"type": "object"})).is_none());
    }
}
