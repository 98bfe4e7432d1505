//! What is wrong with a rule before it ever runs: fields that the schema doesn't have, names and functions that nobody
//! declared, a result that is no truth value, and what it may cost
//! (`apiextensions-apiserver/pkg/apiserver/schema/cel/compilation.go`).
//!
//! Types are followed where the schema says them, and what isn't known is let through: a rule that upstream takes is
//! never refused.

use super::{estimate, macros};
use kube_cel::cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr,
};
use serde_json::Value;

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
    /// A list of this.
    List(Option<&'s Value>),
    /// A map with values of this.
    Map(&'s Value),
}

impl<'s> Type<'s> {
    /// The type that values of a schema have.
    fn of(schema: &'s Value) -> Self {
        let flag = |key: &str| schema.get(key) == Some(&Value::Bool(true));
        let typed = matches!(
            schema.get("format").and_then(Value::as_str),
            Some("byte" | "date" | "date-time" | "duration")
        );
        if flag("x-kubernetes-int-or-string") || typed {
            return Self::Unknown;
        }
        match schema.get("type").and_then(Value::as_str).unwrap_or_default() {
            "boolean" => Self::Bool,
            "integer" => Self::Int,
            "number" => Self::Double,
            "string" => Self::Text,
            "array" => Self::List(schema.get("items")),
            "object" if schema.get("additionalProperties").is_some_and(Value::is_object) => {
                Self::Map(&schema["additionalProperties"])
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

/// A type, how large its values are at most, and what it costs to get at one.
#[derive(Clone, Debug)]
struct Seen<'s> {
    ty: Type<'s>,
    size: f64,
    cost: f64,
}

impl<'s> Seen<'s> {
    fn new(ty: Type<'s>, cost: f64) -> Self {
        Self { ty, size: 1.0, cost }
    }

    fn of(schema: &'s Value, cost: f64) -> Self {
        Self { ty: Type::of(schema), size: estimate::most(schema), cost }
    }
}

/// What looking into a rule found.
pub(super) struct Findings {
    /// What doesn't fit, as CEL's compiler says it.
    pub(super) faults: Vec<String>,
    /// What it costs at most.
    pub(super) cost: f64,
}

/// What is looked into.
#[derive(Clone, Copy)]
pub(super) struct Subject<'r, 's> {
    pub(super) rule: &'r str,
    pub(super) schema: &'s Value,
    /// Whether `oldSelf` may be none, and so is an optional value.
    pub(super) is_old_optional: bool,
}

/// Looks into the rule at a schema.
pub(super) fn look(expression: &IdedExpr, subject: Subject<'_, '_>, wants: Wanted) -> Findings {
    let mut walk = Walk { rule: subject.rule, faults: Vec::new(), names: Vec::new(), depth: 0 };
    let own = Seen::of(subject.schema, 0.0);
    let old = if subject.is_old_optional { Seen::new(Type::Unknown, 0.0) } else { own.clone() };
    walk.names.push(("self".to_owned(), own));
    walk.names.push(("oldSelf".to_owned(), old));
    let result = walk.infer(expression);
    let fits = match (wants, &result.ty) {
        (_, Type::Unknown) => true,
        (Wanted::Truth, result) => *result == Type::Bool,
        (Wanted::Text, result) => *result == Type::Text,
    };
    if !fits && walk.faults.is_empty() {
        walk.faults.push(wants.fault().to_owned());
    }
    Findings { faults: walk.faults, cost: result.cost }
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

/// Names that are types.
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

struct Walk<'r, 's> {
    rule: &'r str,
    faults: Vec<String>,
    names: Vec<(String, Seen<'s>)>,
    depth: usize,
}

impl<'s> Walk<'_, 's> {
    fn infer(&mut self, expr: &IdedExpr) -> Seen<'s> {
        self.depth += 1;
        let found =
            if self.depth > DEPTH_MAX { Seen::new(Type::Unknown, 1.0) } else { self.infer_here(&expr.expr) };
        self.depth -= 1;
        found
    }

    fn infer_here(&mut self, expr: &Expr) -> Seen<'s> {
        match expr {
            Expr::Ident(name) => self.name(name),
            Expr::Literal(literal) => match literal {
                LiteralValue::Boolean(_) => Seen::new(Type::Bool, 0.0),
                LiteralValue::Int(_) => Seen::new(Type::Int, 0.0),
                LiteralValue::Double(_) => Seen::new(Type::Double, 0.0),
                LiteralValue::String(s) => Seen { ty: Type::Text, size: s.inner().len() as f64, cost: 0.0 },
                _ => Seen::new(Type::Unknown, 0.0),
            },
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(all) => self.comprehension(all),
            Expr::List(list) => {
                let cost: f64 = list.elements.iter().map(|e| self.infer(e).cost).sum();
                Seen { ty: Type::Unknown, size: list.elements.len() as f64, cost: cost + 10.0 }
            }
            Expr::Map(map) => {
                let mut cost = 30.0;
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        cost += self.infer(&entry.key).cost + self.infer(&entry.value).cost;
                    }
                }
                Seen { ty: Type::Unknown, size: map.entries.len() as f64, cost }
            }
            Expr::Struct(it) => {
                self.undeclared(&it.type_name, self.rule.find('{').unwrap_or(0));
                Seen::new(Type::Unknown, 40.0)
            }
            Expr::Unspecified => Seen::new(Type::Unknown, 0.0),
        }
    }

    fn known(&self, name: &str) -> Option<&Seen<'s>> {
        self.names.iter().rev().find(|(n, _)| n == name).map(|(_, t)| t)
    }

    fn name(&mut self, name: &str) -> Seen<'s> {
        match self.known(name) {
            Some(found) => Seen { cost: 1.0, ..found.clone() },
            None if TYPES.contains(&name) || name == "type" || name.contains(['@', '.']) => {
                Seen::new(Type::Unknown, 1.0)
            }
            None => {
                self.undeclared(name, self.rule.find(name).unwrap_or(0));
                Seen::new(Type::Unknown, 1.0)
            }
        }
    }

    fn undeclared(&mut self, name: &str, at: usize) {
        self.complain(&format!("undeclared reference to '{name}' (in container '')"), at);
    }

    fn complain(&mut self, why: &str, at: usize) {
        let before = self.rule.get(..at).unwrap_or_default();
        let (line, column) = (before.matches('\n').count(), before.lines().next_back().unwrap_or_default());
        let column = if before.ends_with('\n') { 0 } else { column.chars().count() };
        let text = self.rule.lines().nth(line).unwrap_or_default();
        let pointer = ".".repeat(column);
        let fault = format!(
            "compilation failed: ERROR: <input>:{}:{}: {why}\n | {text}\n | {pointer}^",
            line + 1,
            column + 1,
        );
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    fn select(&mut self, select: &SelectExpr) -> Seen<'s> {
        let holder = self.infer(&select.operand);
        let at = |rule: &str| rule.find(&format!(".{}", select.field)).unwrap_or(0);
        let cost = holder.cost + 1.0;
        let found = match &holder.ty {
            Type::Object(schema) => match field(schema, &select.field) {
                Some(found) => found,
                None => {
                    let why = format!("undefined field '{}'", select.field);
                    self.complain(&why, at(self.rule));
                    Seen::new(Type::Unknown, 0.0)
                }
            },
            Type::Map(values) => Seen::of(values, 0.0),
            other => {
                if let Some(name) = other.scalar() {
                    let why = format!("type '{name}' does not support field selection");
                    self.complain(&why, at(self.rule));
                }
                Seen::new(Type::Unknown, 0.0)
            }
        };
        if select.test { Seen::new(Type::Bool, holder.cost) } else { Seen { cost, ..found } }
    }

    fn call(&mut self, call: &CallExpr) -> Seen<'s> {
        if !macros::declared(call).is_empty() {
            return self.macros(call);
        }
        let mut name = call.func_name.clone();
        let mut all = Vec::with_capacity(call.args.len() + 1);
        match call.target.as_deref() {
            // `optional.none()`, `math.greatest()`: a library's name, not a value.
            Some(IdedExpr { expr: Expr::Ident(prefix), .. }) if self.known(prefix).is_none() => {
                name = format!("{prefix}.{name}");
            }
            Some(target) => all.push(self.infer(target)),
            None => {}
        }
        all.extend(call.args.iter().map(|a| self.infer(a)));
        self.check_call(&name, &all, call);
        self.value(&name, &all)
    }

    /// What a call comes to.
    fn value(&self, name: &str, all: &[Seen<'s>]) -> Seen<'s> {
        let spent: f64 = all.iter().map(|a| a.cost).sum();
        let items = match all.first().map(|a| &a.ty) {
            Some(Type::List(Some(items))) => Some(estimate::most(items)),
            Some(Type::Text) | None => None,
            Some(_) => Some(1.0),
        };
        let sizes: Vec<f64> = all.iter().map(|a| a.size).collect();
        let (cost, size) = estimate::call(name, &sizes, items);
        let made = |ty: Type<'s>| Seen { ty, size, cost: spent + cost };
        match (name, all) {
            ("_&&_" | "_||_", _) => Seen::new(Type::Bool, spent),
            ("_?:_" | "_?_:_", [cond, a, b]) => {
                let ty = if a.ty == b.ty { a.ty.clone() } else { Type::Unknown };
                Seen { ty, size: a.size.max(b.size), cost: cond.cost + a.cost.max(b.cost) }
            }
            (
                "_==_"
                | "_!=_"
                | "!_"
                | "_<_"
                | "_<=_"
                | "_>_"
                | "_>=_"
                | "@in"
                | "@not_strictly_false"
                | "startsWith"
                | "endsWith"
                | "contains"
                | "matches",
                _,
            ) => made(Type::Bool),
            ("_[_]", [holder, _]) => match holder.ty {
                Type::List(Some(items)) => Seen::of(items, spent + 1.0),
                Type::Map(values) => Seen::of(values, spent + 1.0),
                _ => Seen::new(Type::Unknown, spent + 1.0),
            },
            ("_+_", [a, b]) if a.ty == b.ty && a.ty.scalar().is_some() => made(a.ty.clone()),
            ("lowerAscii" | "upperAscii" | "trim" | "replace" | "substring" | "join" | "find", _) => {
                made(Type::Text)
            }
            ("size", _) => Seen::new(Type::Int, spent + 1.0),
            _ => made(Type::Unknown),
        }
    }

    /// Operators on types that they aren't for, functions that there aren't, patterns that are none.
    fn check_call(&mut self, name: &str, all: &[Seen<'s>], call: &CallExpr) {
        let scalars: Option<Vec<&str>> = all.iter().map(|a| a.ty.scalar()).collect();
        let misfit = match (name, scalars.as_deref()) {
            ("_==_" | "_!=_" | "_+_", Some([a, b])) => a != b || (name == "_+_" && *a == "bool"),
            ("_-_" | "_*_" | "_/_", Some([a, b])) => a != b || matches!(*a, "bool" | "string"),
            ("_<_" | "_<=_" | "_>_" | "_>=_", Some([a, b])) => {
                a != b && [a, b].iter().any(|t| matches!(**t, "bool" | "string"))
            }
            ("_&&_" | "_||_", _) => all.iter().any(|a| a.ty.scalar().is_some_and(|t| t != "bool")),
            ("!_", Some([a])) => *a != "bool",
            ("_?_:_", Some([cond, _, _])) => *cond != "bool",
            _ => false,
        };
        if misfit {
            let types: Vec<&str> = all.iter().map(|a| a.ty.scalar().unwrap_or("dyn")).collect();
            let sign = name.trim_matches('_').split('_').next().unwrap_or_default();
            let why = format!("found no matching overload for '{name}' applied to '({})'", types.join(", "));
            self.complain(&why, self.rule.find(sign).unwrap_or(0));
        }
        if let ("matches", Some(Expr::Literal(LiteralValue::String(pattern)))) =
            (name, call.args.last().map(|a| &a.expr))
            && regex::Regex::new(pattern.inner()).is_err()
        {
            let at = self.rule.find("matches(").map_or(0, |at| at + "matches(".len());
            self.complain("invalid matches argument", at);
        }
        let plain = !name.contains(['_', '@']);
        if plain && !super::callable::is_function(name) && !TYPES.contains(&name) {
            let short = call.func_name.as_str();
            let at = self.rule.find(&format!("{short}(")).map_or(0, |at| at + short.len());
            self.undeclared(short, at);
        }
    }

    /// What a macro that is left as a call declares, its other arguments may name.
    fn macros(&mut self, call: &CallExpr) -> Seen<'s> {
        let declared = macros::declared(call);
        let (depth, many) = (self.names.len(), declared.len());
        let range = match &call.target {
            Some(target) if call.func_name != "bind" => self.infer(target),
            _ => Seen::new(Type::Unknown, 0.0),
        };
        let times = if matches!(range.ty, Type::List(_) | Type::Map(_)) { range.size.max(1.0) } else { 1.0 };
        self.names.extend(declared.iter().map(|n| ((*n).to_owned(), Seen::new(Type::Unknown, 0.0))));
        let each: f64 = call.args[many..].iter().map(|arg| self.infer(arg).cost).sum();
        self.names.truncate(depth);
        Seen { ty: Type::Unknown, size: times, cost: range.cost + times * each }
    }

    /// `all`, `exists`, `map` and the like: each runs over all that there is.
    fn comprehension(&mut self, all: &ComprehensionExpr) -> Seen<'s> {
        let range = self.infer(&all.iter_range);
        let (item, many) = match &range.ty {
            Type::List(items) => {
                (items.map_or(Seen::new(Type::Unknown, 0.0), |items| Seen::of(items, 0.0)), range.size)
            }
            Type::Map(_) => (Seen { ty: Type::Text, size: range.size, cost: 0.0 }, range.size),
            _ => (Seen::new(Type::Unknown, 0.0), range.size.max(1.0)),
        };
        let start = self.infer(&all.accu_init);
        let is_list = matches!(all.accu_init.expr, Expr::List(_));
        let depth = self.names.len();
        let item = if all.iter_var2.is_some() { Seen::new(Type::Unknown, 0.0) } else { item };
        self.names.push((all.iter_var.clone(), item));
        self.names.extend(all.iter_var2.clone().map(|name| (name, Seen::new(Type::Unknown, 0.0))));
        self.names.push((all.accu_var.clone(), Seen { cost: 0.0, ..start.clone() }));
        let each = self.infer(&all.loop_cond).cost + self.infer(&all.loop_step).cost;
        let result = self.infer(&all.result);
        self.names.truncate(depth);
        let cost = range.cost + start.cost + many * each + result.cost;
        if is_list { Seen { ty: Type::List(None), size: many, cost } } else { Seen { cost, ..result } }
    }
}

/// A declared field of an object; those of every object are there without being declared.
fn field<'s>(schema: &'s Value, name: &str) -> Option<Seen<'s>> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let plain = unescape(name);
    if let Some(found) = properties.and_then(|p| p.get(name).or_else(|| p.get(&plain))) {
        return Some(Seen::of(found, 0.0));
    }
    // Upstream knows no undeclared ones; here nothing is refused that might be there.
    let open = schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    let implied = open || matches!(name, "metadata" | "apiVersion" | "kind" | "name" | "generateName");
    implied.then_some(Seen::new(Type::Unknown, 0.0))
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
