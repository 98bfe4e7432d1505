//! Runs the rules over an object: what was before is found, what it costs is counted, and a rule that a value broke before
//! may stay broken where the value stays (`apiextensions-apiserver/pkg/apiserver/schema/cel/validation.go`, KEP-4008).

use super::cost::{CALL_MAX, Halt, OBJECT_MAX};
use super::run::{Run, typed};
use super::tree::{Node, Rule};
use super::{MAX_ERRORS, MAX_SHOWN, values};
use kube_cel::cel::Value as Cel;
use kube_cel::cel::common::ast::IdedExpr;
use meta::field::FieldErrorKind;
use meta::{FieldError, FieldPath};
use serde_json::Value;

/// Bytes of a message that an expression makes (`MaxEvaluatedMessageExpressionSizeBytes`).
const MESSAGE_MAX: usize = 5 * 1024;
const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// One walk over an object.
pub(super) struct Walk {
    pub(super) errors: Vec<FieldError>,
    left: u64,
    /// Nothing runs any more.
    is_over: bool,
}

/// A value with what it was before.
#[derive(Clone, Copy)]
pub(super) struct At<'v> {
    new: &'v Value,
    /// What it was, where that can be told.
    old: Option<&'v Value>,
    /// Whether it is as it was, or something that holds it is.
    is_same: bool,
}

impl<'v> At<'v> {
    pub(super) fn root(new: &'v Value, old: Option<&'v Value>) -> Self {
        Self { new, old, is_same: old == Some(new) }
    }

    fn below(self, new: &'v Value, old: Option<&'v Value>) -> Self {
        let old = old.filter(|old| !old.is_null());
        let is_same = old.map_or(self.is_same, |old| old == new);
        Self { new, old, is_same }
    }
}

impl Walk {
    pub(super) fn new() -> Self {
        Self { errors: Vec::new(), left: OBJECT_MAX, is_over: false }
    }

    pub(super) fn go(&mut self, node: &Node, schema: &Value, path: &FieldPath, at: At<'_>) {
        if at.new.is_null() || self.is_over || self.errors.len() >= MAX_ERRORS {
            return;
        }
        self.rules(node, schema, path, at);
        for (i, branch) in node.all_of.iter().enumerate() {
            let below = schema.pointer(&format!("/allOf/{i}")).unwrap_or(&Value::Null);
            self.go(branch, below, path, at);
        }
        match at.new {
            Value::Array(items) => self.items(node, schema, path, items, at),
            Value::Object(fields) => {
                let atomic = schema.get("x-kubernetes-map-type").is_some_and(|t| t == "atomic");
                for (name, value) in fields {
                    let old = at.old.filter(|_| !atomic).and_then(|old| old.get(name));
                    let declared = node.properties.get(name);
                    let (below, schema, path) = match (declared, &node.additional) {
                        (Some(below), _) => {
                            (below, schema.get("properties").and_then(|p| p.get(name)), path.child(name))
                        }
                        (None, Some(below)) => (&**below, schema.get("additionalProperties"), path.key(name)),
                        (None, None) => continue,
                    };
                    self.go(below, schema.unwrap_or(&Value::Null), &path, at.below(value, old));
                }
            }
            _ => {}
        }
    }

    fn items(&mut self, node: &Node, schema: &Value, path: &FieldPath, items: &[Value], at: At<'_>) {
        let Some(below) = &node.items else { return };
        let schema_below = schema.get("items").unwrap_or(&Value::Null);
        let keys = keys(schema);
        let before: std::collections::HashMap<Vec<String>, &Value> =
            match (&keys, at.old.and_then(Value::as_array)) {
                (Some(keys), Some(old)) => old.iter().map(|item| (identity(item, keys), item)).collect(),
                _ => Default::default(),
            };
        for (i, item) in items.iter().enumerate() {
            let old = keys.as_ref().and_then(|keys| before.get(&identity(item, keys)).copied());
            self.go(below, schema_below, &path.index(i), at.below(item, old));
        }
    }

    /// The rules at one value.
    fn rules(&mut self, node: &Node, schema: &Value, path: &FieldPath, at: At<'_>) {
        if node.rules.is_empty() {
            return;
        }
        if self.left == 0 {
            return self.stop(path, schema, OUT_OF_BUDGET.to_owned());
        }
        let own = values::of(at.new, schema, &typed);
        let old = at.old.map(|old| values::of(old, schema, &typed));
        for rule in &node.rules {
            match &rule.expression {
                Some(Ok(expression)) => self.rule(rule, expression, schema, path, at, (&own, old.as_ref())),
                Some(Err(e)) => self.errors.push(invalid(path, schema, format!("rule compile error: {e}"))),
                None => {}
            }
            if self.is_over {
                return;
            }
        }
    }

    fn rule(
        &mut self,
        rule: &Rule,
        expression: &IdedExpr,
        schema: &Value,
        path: &FieldPath,
        at: At<'_>,
        (own, old): (&Cel, Option<&Cel>),
    ) {
        let is_optional = rule.is_old_optional();
        if rule.uses_old && old.is_none() && !is_optional {
            return;
        }
        let mut names = vec![("self".to_owned(), own.clone())];
        if is_optional {
            names.push(("oldSelf".to_owned(), super::run::optional(old.cloned())));
        } else {
            names.extend(old.map(|old| ("oldSelf".to_owned(), old.clone())));
        }
        let shown: String = rule.shown().chars().take(MAX_SHOWN).collect();
        match self.eval(expression, names.clone()) {
            Ok(Cel::Bool(true)) => {}
            Ok(Cel::Bool(false)) => self.broken(rule, schema, path, at, names),
            Ok(_) => {
                let why = "'no such overload': call arguments did not match a supported operator, function or macro signature for rule";
                self.errors.push(invalid(path, schema, format!("{why}: {shown}")));
            }
            Err(Halt::Spent) => {
                let why = match self.left == 0 {
                    true => OUT_OF_BUDGET.to_owned(),
                    false => format!(
                        "'{}': no further validation rules will be run due to call cost exceeds limit for rule: {shown}",
                        Halt::Spent
                    ),
                };
                self.stop(path, schema, why);
            }
            Err(Halt::Failed(why)) => {
                let why = match why.starts_with("no such overload") {
                    true => format!(
                        "'{why}': call arguments did not match a supported operator, function or macro signature for rule: {shown}"
                    ),
                    false => format!("{why} evaluating rule: {shown}"),
                };
                self.errors.push(invalid(path, schema, why));
            }
        }
    }

    /// The value of an expression, paid out of what is left for the object. Nothing is left where that was what ended it.
    fn eval(&mut self, expression: &IdedExpr, names: Vec<(String, Cel)>) -> Result<Cel, Halt> {
        let mut run = Run::new(names, CALL_MAX.min(self.left));
        let found = run.eval(expression);
        let is_short = found == Err(Halt::Spent) && self.left <= CALL_MAX;
        self.left = if is_short { 0 } else { self.left.saturating_sub(run.spent()) };
        found
    }

    fn stop(&mut self, path: &FieldPath, schema: &Value, why: String) {
        self.is_over = true;
        self.errors.push(invalid(path, schema, why));
    }

    /// A rule that came to false.
    fn broken(
        &mut self,
        rule: &Rule,
        schema: &Value,
        path: &FieldPath,
        at: At<'_>,
        names: Vec<(String, Cel)>,
    ) {
        let plain = || match rule.text("message").trim() {
            "" => format!("failed rule: {}", rule.text("rule").trim()),
            message => message.to_owned(),
        };
        let own_path = match rule.text("fieldPath") {
            "" => path.clone(),
            below => below_path(path, below),
        };
        let mut detail = plain();
        if let Some(Ok(expression)) = &rule.message {
            match self.eval(expression, names) {
                Ok(Cel::String(text)) => {
                    let text = text.trim();
                    if !text.is_empty() && text.len() <= MESSAGE_MAX && !text.contains('\n') {
                        detail = text.to_owned();
                    }
                }
                Err(Halt::Spent) => {
                    let source = rule.text("messageExpression");
                    let why = match self.left == 0 {
                        true => "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run".to_owned(),
                        false => format!(
                            "no further validation rules will be run due to call cost exceeds limit for messageExpression: {source:?}"
                        ),
                    };
                    return self.stop(&own_path, schema, why);
                }
                _ => {}
            }
        }
        // What it breaks, it broke before, and nobody touched it.
        if at.is_same && !rule.uses_old {
            return;
        }
        let kind = match rule.text("reason") {
            "FieldValueForbidden" => FieldErrorKind::Forbidden,
            "FieldValueRequired" => FieldErrorKind::Required,
            "FieldValueDuplicate" => FieldErrorKind::Duplicate,
            _ => FieldErrorKind::Invalid,
        };
        let shows = matches!(kind, FieldErrorKind::Invalid | FieldErrorKind::Duplicate);
        let is_scalar = !at.new.is_object() && !at.new.is_array();
        let value = (shows && is_scalar).then(|| at.new.clone());
        // Upstream says of a duplicate only that it is one.
        let detail = if kind == FieldErrorKind::Duplicate { String::new() } else { detail };
        self.errors.push(FieldError { kind, path: own_path, value, detail });
    }
}

fn invalid(path: &FieldPath, schema: &Value, why: String) -> FieldError {
    let name = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    FieldError::invalid(path, name, why)
}

/// `path` and a rule's own `fieldPath` below it, such as `.spec['a.b']`.
fn below_path(path: &FieldPath, below: &str) -> FieldPath {
    let below = below.replace("['", "[").replace("']", "]");
    match path.as_str() {
        "" => FieldPath::new(below.trim_start_matches('.')),
        own => FieldPath::new(&format!("{own}{below}")),
    }
}

/// The keys that the items of a list are told apart by, if its items have any.
fn keys(schema: &Value) -> Option<Vec<&str>> {
    let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array)?;
    let is_map = schema.get("x-kubernetes-list-type").is_some_and(|t| t == "map");
    is_map.then(|| keys.iter().filter_map(Value::as_str).collect())
}

fn identity(item: &Value, keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| item.get(key).map(ToString::to_string).unwrap_or_default()).collect()
}
