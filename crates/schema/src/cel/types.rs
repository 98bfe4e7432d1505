//! What is wrong with a rule before it ever runs: fields that the schema doesn't have, names that nobody declared, a
//! result that is no truth value, and work without bounds
//! (`apiextensions-apiserver/pkg/apiserver/schema/cel/compilation.go`).
//!
//! Types are followed where the schema says them, and what isn't known is let through: a rule that upstream takes is
//! never refused. Of the cost the lower bound is told: how often the innermost loop runs at least, in the largest object
//! that a request can hold.

use kube_cel::cel::Program;
use kube_cel::cel::common::ast::{ComprehensionExpr, Expr, LiteralValue, SelectExpr};
use serde_json::Value;

/// What one rule may cost (`PerCallLimit` in estimates: `StaticEstimatedCostLimit`).
pub(super) const RULE_COST_MAX: f64 = 10_000_000.0;
/// What all rules of a schema may cost (`StaticEstimatedCRDCostLimit`).
pub(super) const SCHEMA_COST_MAX: f64 = 100_000_000.0;
/// Bytes of the largest request.
const REQUEST_MAX: f64 = 3_145_726.0;
/// Nesting of an expression that is looked into.
const DEPTH_MAX: usize = 128;

/// A type, as far as it is known.
#[derive(Clone, Debug, PartialEq)]
enum Type<'s> {
    Unknown,
    Bool,
    Int,
    Double,
    Text,
    /// An object with declared fields.
    Object(&'s Value),
    /// A list of this, of at most so many.
    List(Option<&'s Value>, f64),
    /// A map with values of this.
    Map(&'s Value, f64),
}

impl<'s> Type<'s> {
    /// The type that values of a schema have.
    fn of(schema: &'s Value) -> Self {
        let flag = |key: &str| schema.get(key) == Some(&Value::Bool(true));
        if flag("x-kubernetes-int-or-string") || schema.get("format").is_some() {
            return Self::Unknown;
        }
        match schema.get("type").and_then(Value::as_str).unwrap_or_default() {
            "boolean" => Self::Bool,
            "integer" => Self::Int,
            "number" => Self::Double,
            "string" => Self::Text,
            "array" => Self::List(schema.get("items"), most(schema)),
            "object" if schema.get("additionalProperties").is_some_and(Value::is_object) => {
                Self::Map(&schema["additionalProperties"], most(schema))
            }
            "object" => Self::Object(schema),
            _ => Self::Unknown,
        }
    }

    /// CEL's name of a type that has no fields.
    fn scalar(&self) -> Option<&'static str> {
        match self {
            Self::Bool => Some("bool"),
            Self::Int => Some("int"),
            Self::Double => Some("double"),
            Self::Text => Some("string"),
            _ => None,
        }
    }
}

/// Bytes of the smallest value of a schema.
fn least_bytes(schema: &Value) -> f64 {
    match schema.get("type").and_then(Value::as_str).unwrap_or_default() {
        "boolean" => 4.0,
        "string" | "array" | "object" => 2.0,
        _ => 1.0,
    }
}

/// The most items of a list, or entries of a map.
pub(super) fn most(schema: &Value) -> f64 {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    match schema.get("items") {
        Some(items) => bound("maxItems").unwrap_or_else(|| REQUEST_MAX / (least_bytes(items) + 1.0)),
        None => {
            let values = schema.get("additionalProperties").map_or(1.0, least_bytes);
            bound("maxProperties").unwrap_or(REQUEST_MAX / (values + 6.0))
        }
    }
    .floor()
}

/// What looking into a rule found.
pub(super) struct Findings {
    /// What doesn't fit, as CEL's compiler says it.
    pub(super) faults: Vec<String>,
    /// Whether it looks at what was before.
    pub(super) uses_old: bool,
    /// How often its innermost loop runs, at least.
    pub(super) cost: f64,
}

/// Looks into the rule at a schema. None where it doesn't parse.
pub(super) fn look(rule: &str, schema: &Value, wants: Wanted) -> Option<Findings> {
    let program = Program::compile(rule).ok()?;
    let mut walk = Walk { rule, faults: Vec::new(), names: Vec::new(), uses_old: false, cost: 1.0, depth: 0 };
    let own = Type::of(schema);
    walk.names.push(("self".to_owned(), own.clone()));
    walk.names.push(("oldSelf".to_owned(), own));
    let result = walk.infer(&program.expression().expr, 1.0);
    let fits = match (wants, &result) {
        (_, Type::Unknown) => true,
        (Wanted::Truth, result) => *result == Type::Bool,
        (Wanted::Text, result) => *result == Type::Text,
    };
    if !fits && walk.faults.is_empty() {
        walk.faults.push(wants.fault().to_owned());
    }
    Some(Findings { faults: walk.faults, uses_old: walk.uses_old, cost: walk.cost })
}

/// What an expression must come to.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    /// A rule.
    Truth,
    /// A message.
    Text,
}

impl Wanted {
    fn fault(self) -> &'static str {
        match self {
            Self::Truth => "cel expression must evaluate to a bool",
            Self::Text => "messageExpression must evaluate to a string",
        }
    }
}

struct Walk<'r, 's> {
    rule: &'r str,
    faults: Vec<String>,
    names: Vec<(String, Type<'s>)>,
    uses_old: bool,
    cost: f64,
    depth: usize,
}

impl<'s> Walk<'_, 's> {
    fn infer(&mut self, expr: &Expr, times: f64) -> Type<'s> {
        self.depth += 1;
        let found = if self.depth > DEPTH_MAX { Type::Unknown } else { self.infer_here(expr, times) };
        self.depth -= 1;
        found
    }

    fn infer_here(&mut self, expr: &Expr, times: f64) -> Type<'s> {
        match expr {
            Expr::Ident(name) => self.name(name),
            Expr::Literal(literal) => match literal {
                LiteralValue::Boolean(_) => Type::Bool,
                LiteralValue::Int(_) => Type::Int,
                LiteralValue::Double(_) => Type::Double,
                LiteralValue::String(_) => Type::Text,
                _ => Type::Unknown,
            },
            Expr::Select(select) => self.select(select, times),
            Expr::Call(call) => {
                let target = call.target.as_ref().map(|t| match &t.expr {
                    // `optional.none()`, `math.greatest()`: a library's name, not a value.
                    Expr::Ident(name) if self.known(name).is_none() => Type::Unknown,
                    t => self.infer(t, times),
                });
                let args: Vec<Type<'s>> = call.args.iter().map(|a| self.infer(&a.expr, times)).collect();
                self.call(&call.func_name, target.is_some(), &args)
            }
            Expr::Comprehension(all) => self.comprehension(all, times),
            Expr::List(list) => {
                list.elements.iter().for_each(|e| drop(self.infer(&e.expr, times)));
                Type::Unknown
            }
            _ => Type::Unknown,
        }
    }

    fn known(&self, name: &str) -> Option<&Type<'s>> {
        self.names.iter().rev().find(|(n, _)| n == name).map(|(_, t)| t)
    }

    fn name(&mut self, name: &str) -> Type<'s> {
        const TYPES: [&str; 12] = [
            "bool",
            "bytes",
            "double",
            "duration",
            "dyn",
            "int",
            "list",
            "map",
            "null_type",
            "string",
            "timestamp",
            "uint",
        ];
        self.uses_old |= name == "oldSelf";
        match self.known(name) {
            Some(found) => found.clone(),
            None if TYPES.contains(&name) || name == "type" || name.contains(['@', '.']) => Type::Unknown,
            None => {
                let why = format!("undeclared reference to '{name}' (in container '')");
                self.complain(&why, self.rule.find(name).unwrap_or(0));
                Type::Unknown
            }
        }
    }

    fn complain(&mut self, why: &str, at: usize) {
        let column = self.rule.get(..at).map_or(0, |s| s.chars().count());
        let pointer = ".".repeat(column);
        let fault = format!(
            "compilation failed: ERROR: <input>:1:{}: {why}\n | {}\n | {pointer}^",
            column + 1,
            self.rule
        );
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    fn select(&mut self, select: &SelectExpr, times: f64) -> Type<'s> {
        let holder = self.infer(&select.operand.expr, times);
        let at = |rule: &str| rule.find(&format!(".{}", select.field)).unwrap_or(0);
        let found = match &holder {
            Type::Object(schema) => match field(schema, &select.field) {
                Some(found) => found,
                None => {
                    let why = format!("undefined field '{}'", select.field);
                    self.complain(&why, at(self.rule));
                    Type::Unknown
                }
            },
            Type::Map(values, _) => Type::of(values),
            other => {
                if let Some(name) = other.scalar() {
                    let why = format!("type '{name}' does not support field selection");
                    self.complain(&why, at(self.rule));
                }
                Type::Unknown
            }
        };
        if select.test { Type::Bool } else { found }
    }

    fn call(&mut self, name: &str, has_target: bool, args: &[Type<'s>]) -> Type<'s> {
        match (name, args) {
            ("_==_" | "_!=_", [a, b]) => {
                if let (Some(a), Some(b)) = (a.scalar(), b.scalar())
                    && a != b
                    && (a == "string" || b == "string" || a == "bool" || b == "bool")
                {
                    let sign = name.trim_matches('_');
                    let why = format!("found no matching overload for '{name}' applied to '({a}, {b})'");
                    self.complain(&why, self.rule.find(sign).unwrap_or(0));
                }
                Type::Bool
            }
            ("_&&_" | "_||_" | "!_" | "_<_" | "_<=_" | "_>_" | "_>=_" | "@in" | "@not_strictly_false", _) => {
                Type::Bool
            }
            ("_[_]", [holder, _]) => match holder {
                Type::List(Some(items), _) => Type::of(items),
                Type::Map(values, _) => Type::of(values),
                _ => Type::Unknown,
            },
            ("_?:_" | "_?_:_", [_, a, b]) if a == b => a.clone(),
            ("_+_", [Type::Text, Type::Text]) => Type::Text,
            ("startsWith" | "endsWith" | "contains" | "matches", _) if has_target => Type::Bool,
            ("size", _) => Type::Int,
            _ => Type::Unknown,
        }
    }

    /// `all`, `exists`, `map` and the like: each runs over all that there is.
    fn comprehension(&mut self, all: &ComprehensionExpr, times: f64) -> Type<'s> {
        let range = self.infer(&all.iter_range.expr, times);
        let (item, many) = match &range {
            Type::List(items, many) => (items.map_or(Type::Unknown, |items| Type::of(items)), *many),
            Type::Map(_, many) => (Type::Text, *many),
            _ => (Type::Unknown, 1.0),
        };
        let inner = times * many.max(1.0);
        self.cost = self.cost.max(inner);
        let start = self.infer(&all.accu_init.expr, times);
        self.names.push((all.iter_var.clone(), if all.iter_var2.is_some() { Type::Unknown } else { item }));
        self.names.extend(all.iter_var2.clone().map(|name| (name, Type::Unknown)));
        self.names.push((all.accu_var.clone(), start));
        self.infer(&all.loop_cond.expr, inner);
        self.infer(&all.loop_step.expr, inner);
        let result = self.infer(&all.result.expr, times);
        self.names.truncate(self.names.len() - 2 - usize::from(all.iter_var2.is_some()));
        result
    }
}

/// A declared field of an object; those of every object are there without being declared.
fn field<'s>(schema: &'s Value, name: &str) -> Option<Type<'s>> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let plain = unescape(name);
    if let Some(found) = properties.and_then(|p| p.get(name).or_else(|| p.get(&plain))) {
        return Some(Type::of(found));
    }
    // Upstream knows no undeclared ones; here nothing is refused that might be there.
    let open = schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    let implied = open || matches!(name, "metadata" | "apiVersion" | "kind" | "name" | "generateName");
    implied.then_some(Type::Unknown)
}

/// Field names that aren't identifiers are written with these words in rules.
fn unescape(name: &str) -> String {
    let text = name.replace("__underscores__", "__").replace("__dot__", ".").replace("__dash__", "-");
    let text = text.replace("__slash__", "/");
    match text.strip_prefix("__").and_then(|t| t.strip_suffix("__")) {
        Some(keyword) if !keyword.is_empty() => keyword.to_owned(),
        _ => text,
    }
}

/// Whether a rule's `fieldPath` leads to a declared field.
pub(super) fn is_field_path(path: &str, schema: &Value) -> bool {
    let mut at = schema;
    let mut rest = path;
    while !rest.is_empty() {
        let (name, tail) = if let Some(quoted) = rest.strip_prefix("['") {
            let Some((name, tail)) = quoted.split_once("']") else { return false };
            (name, tail)
        } else if let Some(dotted) = rest.strip_prefix('.') {
            let end = dotted.find(['.', '[']).unwrap_or(dotted.len());
            dotted.split_at(end)
        } else {
            return false;
        };
        let declared = at.get("properties").and_then(|p| p.get(name));
        let Some(below) = declared.or_else(|| at.get("additionalProperties").filter(|a| a.is_object()))
        else {
            return false;
        };
        (at, rest) = (below, tail);
    }
    true
}
