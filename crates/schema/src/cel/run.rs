//! Runs an expression and counts what it costs (cel-go's `interpreter`).
//!
//! The library parses, and brings the functions of Kubernetes; its own interpreter can't be stopped, and copies whole
//! values where one field of them is asked for, so the steps are gone here.

use super::cost::{self, Halt, failed};
use super::macros;
use kube_cel::KubeCelExt;
use kube_cel::cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue};
use kube_cel::cel::objects::{Key, Map, OptionalValue};
use kube_cel::cel::{Context, ExecutionError, Value};
use regex::Regex;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// Nesting that is followed. An expression with more operators than the checker allows never gets here.
const DEPTH_MAX: usize = 200;
/// Patterns that are kept compiled while one expression runs.
const PATTERNS_MAX: usize = 32;
/// Bytes of a compiled pattern.
const PATTERN_BYTES_MAX: usize = 1 << 20;

pub(super) type Outcome = Result<Value, Halt>;

/// The functions that rules can call.
static FUNCTIONS: LazyLock<Context<'static>> = LazyLock::new(|| Context::default().with_all());

/// The library's function that makes a value of its own type out of a text: `timestamp`, `duration`.
pub(super) fn typed(function: &str, text: &str) -> Option<Value> {
    library(function, None, &[Value::from(text)]).ok()
}

/// One expression on its way.
pub(super) struct Run {
    names: Vec<(String, Outcome)>,
    patterns: HashMap<String, Option<Regex>>,
    spent: u64,
    limit: u64,
    depth: usize,
}

impl Run {
    /// With these names, and so much to spend.
    pub(super) fn new(names: Vec<(String, Value)>, limit: u64) -> Self {
        let names = names.into_iter().map(|(name, value)| (name, Ok(value))).collect();
        Self { names, patterns: HashMap::new(), spent: 0, limit, depth: 0 }
    }

    /// What it has cost so far.
    pub(super) fn spent(&self) -> u64 {
        self.spent
    }

    pub(super) fn pay(&mut self, cost: u64) -> Result<(), Halt> {
        self.spent = self.spent.saturating_add(cost);
        if self.spent > self.limit { Err(Halt::Spent) } else { Ok(()) }
    }

    /// The value of an expression.
    pub(super) fn eval(&mut self, expr: &IdedExpr) -> Outcome {
        if self.depth >= DEPTH_MAX {
            return failed("expression nests too deep");
        }
        self.depth += 1;
        let found = self.step(&expr.expr);
        self.depth -= 1;
        found
    }

    fn step(&mut self, expr: &Expr) -> Outcome {
        match expr {
            Expr::Literal(literal) => Ok(constant(literal)),
            Expr::Ident(name) => {
                self.pay(1)?;
                self.name(name)
            }
            Expr::Select(select) => {
                let holder = self.eval(&select.operand)?;
                if select.test {
                    return Ok(Value::Bool(
                        fields(&holder)?.map.contains_key(&Key::from(select.field.as_str())),
                    ));
                }
                self.pay(1)?;
                field(&holder, &select.field)
            }
            Expr::Call(call) => self.call(call),
            Expr::List(list) => {
                self.pay(cost::LIST)?;
                let mut items = Vec::with_capacity(list.elements.len());
                for (i, element) in list.elements.iter().enumerate() {
                    let item = self.eval(element)?;
                    let is_optional = list.optional_indices.contains(&i);
                    items.extend(if is_optional { unwrapped(item) } else { Some(item) });
                }
                Ok(Value::List(Arc::new(items)))
            }
            Expr::Map(map) => {
                self.pay(cost::MAP)?;
                let mut entries = HashMap::new();
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else { return no_overload() };
                    let key: Result<Key, _> = self.eval(&entry.key)?.try_into();
                    let Ok(key) = key else { return failed("unsupported key type") };
                    let value = self.eval(&entry.value)?;
                    let value = if entry.optional { unwrapped(value) } else { Some(value) };
                    entries.extend(value.map(|value| (key, value)));
                }
                Ok(Value::Map(Map { map: Arc::new(entries) }))
            }
            Expr::Comprehension(all) => self.comprehension(all),
            Expr::Struct(it) => {
                failed(format!("undeclared reference to '{}' (in container '')", it.type_name))
            }
            Expr::Unspecified => no_overload(),
        }
    }

    fn name(&self, name: &str) -> Outcome {
        const TYPES: [&str; 9] =
            ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint"];
        match self.names.iter().rev().find(|(n, _)| n == name) {
            Some((_, found)) => found.clone(),
            None if TYPES.contains(&name) => Ok(Value::Function(Arc::new(name.to_owned()), None)),
            None => failed(format!("undeclared reference to '{name}' (in container '')")),
        }
    }

    /// The value of an expression with a name bound.
    pub(super) fn with(&mut self, name: &str, value: Value, then: &IdedExpr) -> Outcome {
        self.bound(&[(name, value)], |run| run.eval(then))
    }

    /// Runs something with names bound.
    pub(super) fn bound<T>(&mut self, names: &[(&str, Value)], then: impl FnOnce(&mut Self) -> T) -> T {
        let depth = self.names.len();
        self.names.extend(names.iter().map(|(name, value)| ((*name).to_owned(), Ok(value.clone()))));
        let found = then(self);
        self.names.truncate(depth);
        found
    }

    fn call(&mut self, call: &CallExpr) -> Outcome {
        let name = call.func_name.as_str();
        match (name, call.args.as_slice()) {
            ("_&&_", [a, b]) => return self.junction(a, b, false),
            ("_||_", [a, b]) => return self.junction(a, b, true),
            ("_?_:_", [cond, a, b]) => {
                let cond = self.truth(cond)?;
                return self.eval(if cond { a } else { b });
            }
            ("@not_strictly_false", [a]) => {
                self.pay(1)?;
                return match self.truth(a) {
                    Err(Halt::Failed(_)) => Ok(Value::Bool(true)),
                    other => other.map(Value::Bool),
                };
            }
            ("_+_", [a, b]) => return self.sum(a, b),
            _ => {}
        }
        if let Some(found) = macros::run(self, call) {
            return found;
        }
        // `sets.contains(a, b)`: a library's name, not a value.
        let library = match call.target.as_deref().map(|t| &t.expr) {
            Some(Expr::Ident(prefix)) if self.names.iter().all(|(n, _)| n != prefix) => Some(prefix),
            _ => None,
        };
        let mut all = Vec::with_capacity(call.args.len() + 1);
        if let Some(target) = call.target.as_deref().filter(|_| library.is_none()) {
            all.push(self.eval(target)?);
        }
        for arg in &call.args {
            all.push(self.eval(arg)?);
        }
        match library {
            Some(prefix) => self.function(&format!("{prefix}.{name}"), false, all),
            None => match self.operator(name, &all)? {
                Some(found) => Ok(found),
                None => self.function(name, call.target.is_some(), all),
            },
        }
    }

    pub(super) fn truth(&mut self, expr: &IdedExpr) -> Result<bool, Halt> {
        match self.eval(expr)? {
            Value::Bool(b) => Ok(b),
            _ => failed("no such overload"),
        }
    }

    /// `a && b` or `a || b`: an error on one side doesn't matter where the other decides.
    fn junction(&mut self, a: &IdedExpr, b: &IdedExpr, decides: bool) -> Outcome {
        let left = self.truth(a);
        match left {
            Err(Halt::Spent) => return Err(Halt::Spent),
            Ok(left) if left == decides => return Ok(Value::Bool(decides)),
            _ => {}
        }
        match (left, self.truth(b)) {
            (_, Err(Halt::Spent)) => Err(Halt::Spent),
            (_, Ok(right)) if right == decides => Ok(Value::Bool(decides)),
            (Ok(_), right) => right.map(Value::Bool),
            (Err(left), _) => Err(left),
        }
    }

    fn sum(&mut self, a: &IdedExpr, b: &IdedExpr) -> Outcome {
        let own = match &a.expr {
            Expr::Ident(name) if name.starts_with('@') => Some(name),
            _ => None,
        };
        let (left, right) = match own {
            // What a macro gathers grows in place: nobody else reads it until the sum is made.
            Some(own) => {
                let right = self.eval(b)?;
                let slot = self.names.iter_mut().rev().find(|(n, _)| n == own);
                let left = slot.map_or(Ok(Value::Null), |(_, v)| std::mem::replace(v, Ok(Value::Null)))?;
                self.pay(1)?;
                (left, right)
            }
            None => (self.eval(a)?, self.eval(b)?),
        };
        self.pay(cost::add(&left, &right))?;
        if let (Value::List(l), None) = (&left, own) {
            self.pay(l.len() as u64 / 10)?;
        }
        (left + right).map_err(halt)
    }

    /// Operators, and functions of the language itself; none where it is neither.
    fn operator(&mut self, name: &str, all: &[Value]) -> Result<Option<Value>, Halt> {
        let found = match (name, all) {
            ("_==_" | "_!=_", [a, b]) => {
                self.pay(cost::compare(a, b))?;
                Value::Bool((a == b) == (name == "_==_"))
            }
            ("_<_" | "_<=_" | "_>_" | "_>=_", [a, b]) => {
                self.pay(cost::compare(a, b))?;
                let Some(order) = a.partial_cmp(b) else { return no_overload().map(Some) };
                Value::Bool(match name {
                    "_<_" => order == Ordering::Less,
                    "_<=_" => order != Ordering::Greater,
                    "_>_" => order == Ordering::Greater,
                    _ => order != Ordering::Less,
                })
            }
            ("_-_" | "_*_" | "_/_" | "_%_", [a, b]) => {
                self.pay(1)?;
                let (a, b) = (a.clone(), b.clone());
                let result = match name {
                    "_-_" => a - b,
                    "_*_" => a * b,
                    "_/_" => a / b,
                    _ => a % b,
                };
                result.map_err(halt)?
            }
            ("!_", [Value::Bool(b)]) => {
                self.pay(1)?;
                Value::Bool(!b)
            }
            ("-_", [a]) => {
                self.pay(1)?;
                match a {
                    Value::Int(i) => {
                        i.checked_neg().map(Value::Int).ok_or(Halt::Failed("integer overflow".into()))?
                    }
                    Value::Float(f) => Value::Float(-f),
                    _ => return no_overload().map(Some),
                }
            }
            ("@in", [a, holder]) => self.within(a, holder)?,
            ("_[_]", [holder, at]) => {
                self.pay(1)?;
                item(holder, at)?
            }
            ("_[?_]", [holder, at]) | ("_?._", [holder, at]) => {
                self.pay(1)?;
                return optionally(holder, at).map(Some);
            }
            _ => return self.built_in(name, all),
        };
        Ok(Some(found))
    }

    /// Functions of the language itself; none where it isn't one.
    fn built_in(&mut self, name: &str, all: &[Value]) -> Result<Option<Value>, Halt> {
        let found = match (name, all) {
            ("size", [v]) => {
                self.pay(1)?;
                Value::Int(match v {
                    Value::String(s) => s.chars().count() as i64,
                    Value::Bytes(b) => b.len() as i64,
                    Value::List(l) => l.len() as i64,
                    Value::Map(m) => m.map.len() as i64,
                    _ => return no_overload().map(Some),
                })
            }
            ("type", [v]) => Value::Function(Arc::new(type_name(v).to_owned()), None),
            ("dyn", [v]) => v.clone(),
            ("matches", [Value::String(text), Value::String(pattern)]) => {
                self.pay(cost::search(text, pattern))?;
                Value::Bool(self.pattern(pattern)?.is_match(text))
            }
            ("find", [Value::String(text), Value::String(pattern)]) => {
                self.pay(cost::search(text, pattern))?;
                Value::from(self.pattern(pattern)?.find(text).map_or("", |m| m.as_str()))
            }
            ("findAll", [Value::String(text), Value::String(pattern), rest @ ..]) => {
                self.pay(cost::search(text, pattern))?;
                let most = match rest {
                    [Value::Int(n)] => usize::try_from(*n).unwrap_or(usize::MAX),
                    _ => usize::MAX,
                };
                let found: Vec<Value> = self
                    .pattern(pattern)?
                    .find_iter(text)
                    .take(most)
                    .map(|m| Value::from(m.as_str()))
                    .collect();
                self.pay(found.len() as u64)?;
                Value::List(Arc::new(found))
            }
            _ => return Ok(None),
        };
        Ok(Some(found))
    }

    fn within(&mut self, a: &Value, holder: &Value) -> Outcome {
        match holder {
            Value::List(items) => {
                for item in items.iter() {
                    self.pay(cost::compare(a, item))?;
                    if item == a {
                        return Ok(Value::Bool(true));
                    }
                }
                Ok(Value::Bool(false))
            }
            Value::Map(map) => {
                self.pay(1)?;
                let key: Result<Key, _> = a.clone().try_into();
                Ok(Value::Bool(key.is_ok_and(|key| map.get(&key).is_some())))
            }
            _ => no_overload(),
        }
    }

    fn pattern(&mut self, pattern: &str) -> Result<Regex, Halt> {
        if !self.patterns.contains_key(pattern) {
            self.pay(cost::PATTERN + pattern.len() as u64)?;
            if self.patterns.len() >= PATTERNS_MAX {
                self.patterns.clear();
            }
            let made = regex::RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build().ok();
            self.patterns.insert(pattern.to_owned(), made);
        }
        match self.patterns.get(pattern) {
            Some(Some(found)) => Ok(found.clone()),
            _ => failed(format!("error parsing regexp: {pattern:?}")),
        }
    }

    /// A function of a library.
    fn function(&mut self, name: &str, has_target: bool, mut all: Vec<Value>) -> Outcome {
        self.pay(cost::call(name, &all)?)?;
        let target = (has_target && !all.is_empty()).then(|| all.remove(0));
        let found = library(name, target, &all)?;
        if matches!(found, Value::List(_) | Value::String(_)) {
            self.pay(cost::weight(&found))?;
        }
        Ok(found)
    }

    /// `all`, `exists`, `map` and the like.
    fn comprehension(&mut self, all: &ComprehensionExpr) -> Outcome {
        let range = self.eval(&all.iter_range)?;
        let start = self.eval(&all.accu_init);
        let depth = self.names.len();
        self.names.push((all.accu_var.clone(), start));
        self.names.push((all.iter_var.clone(), Ok(Value::Null)));
        let found = self.fold(all, &range, depth);
        self.names.truncate(depth + 1);
        let result = found.and_then(|()| self.eval(&all.result));
        self.names.truncate(depth);
        result
    }

    fn fold(&mut self, all: &ComprehensionExpr, range: &Value, depth: usize) -> Result<(), Halt> {
        for item in items(range)? {
            self.names[depth + 1].1 = Ok(item);
            if !self.truth(&all.loop_cond)? {
                break;
            }
            // What went wrong with one item doesn't matter where another one decides: the error is carried along.
            let next = self.eval(&all.loop_step);
            if next == Err(Halt::Spent) {
                return Err(Halt::Spent);
            }
            self.names[depth].1 = next;
        }
        Ok(())
    }
}

/// What a loop runs over: items, or the keys of a map, in an order that is always the same.
fn items(range: &Value) -> Result<Vec<Value>, Halt> {
    match range {
        Value::List(items) => Ok(items.to_vec()),
        Value::Map(map) => {
            let mut keys: Vec<&Key> = map.map.keys().collect();
            keys.sort();
            Ok(keys.into_iter().map(Value::from).collect())
        }
        _ => no_overload(),
    }
}

/// Positions or keys, with what stands there: what a loop with two variables runs over.
pub(super) fn pairs(range: &Value) -> Result<Vec<(Value, Value)>, Halt> {
    match range {
        Value::List(items) => Ok((0i64..).map(Value::Int).zip(items.iter().cloned()).collect()),
        Value::Map(map) => {
            let mut all: Vec<(&Key, &Value)> = map.map.iter().collect();
            all.sort_by_key(|(key, _)| *key);
            Ok(all.into_iter().map(|(key, v)| (Value::from(key), v.clone())).collect())
        }
        _ => no_overload(),
    }
}

pub(super) fn no_overload<T>() -> Result<T, Halt> {
    failed("no such overload")
}

fn constant(literal: &LiteralValue) -> Value {
    match literal {
        LiteralValue::Boolean(b) => Value::Bool(*b.inner()),
        LiteralValue::Bytes(b) => Value::Bytes(Arc::new(b.inner().to_vec())),
        LiteralValue::Double(f) => Value::Float(*f.inner()),
        LiteralValue::Int(i) => Value::Int(*i.inner()),
        LiteralValue::Null => Value::Null,
        LiteralValue::String(s) => Value::from(s.inner()),
        LiteralValue::UInt(u) => Value::UInt(*u.inner()),
    }
}

fn fields(holder: &Value) -> Result<&Map, Halt> {
    match holder {
        Value::Map(map) => Ok(map),
        _ => no_overload(),
    }
}

fn field(holder: &Value, name: &str) -> Outcome {
    if let Ok(Some(found)) = as_optional(holder) {
        return optionally(&found, &Value::from(name));
    }
    match fields(holder)?.map.get(&Key::from(name)) {
        Some(found) => Ok(found.clone()),
        None => failed(format!("no such key: {name}")),
    }
}

/// What an optional value holds; an error where it isn't one.
pub(super) fn as_optional(v: &Value) -> Result<Option<Value>, Halt> {
    match <&OptionalValue>::try_from(v) {
        Ok(found) => Ok(found.value().cloned()),
        Err(_) => no_overload(),
    }
}

pub(super) fn optional(v: Option<Value>) -> Value {
    Value::Opaque(Arc::new(v.map_or_else(OptionalValue::none, OptionalValue::of)))
}

/// The value that an optional one holds; what is none stays away.
fn unwrapped(v: Value) -> Option<Value> {
    as_optional(&v).unwrap_or(Some(v))
}

fn optionally(holder: &Value, at: &Value) -> Outcome {
    let holder = match as_optional(holder) {
        Ok(Some(inner)) => inner,
        Ok(None) => return Ok(optional(None)),
        Err(_) => holder.clone(),
    };
    match item(&holder, at) {
        Ok(found) => Ok(optional(Some(found))),
        Err(Halt::Failed(why)) if why.starts_with("no such key") || why.starts_with("index out") => {
            Ok(optional(None))
        }
        Err(other) => Err(other),
    }
}

fn item(holder: &Value, at: &Value) -> Outcome {
    match (holder, at) {
        (Value::List(items), Value::Int(i)) => match usize::try_from(*i).ok().and_then(|i| items.get(i)) {
            Some(found) => Ok(found.clone()),
            None => failed(format!("index out of bounds: {i}")),
        },
        (Value::Map(map), at) => {
            let key: Result<Key, _> = at.clone().try_into();
            let Ok(key) = key else { return no_overload() };
            match map.get(&key) {
                Some(found) => Ok(found.clone()),
                None => failed(format!("no such key: {key}")),
            }
        }
        (holder, at) => match as_optional(holder) {
            Ok(_) => optionally(holder, at),
            Err(_) => no_overload(),
        },
    }
}

fn type_name(v: &Value) -> &str {
    match v {
        Value::List(_) => "list",
        Value::Map(_) => "map",
        Value::Int(_) => "int",
        Value::UInt(_) => "uint",
        Value::Float(_) => "double",
        Value::String(_) => "string",
        Value::Bytes(_) => "bytes",
        Value::Bool(_) => "bool",
        Value::Duration(_) => "google.protobuf.Duration",
        Value::Timestamp(_) => "google.protobuf.Timestamp",
        Value::Opaque(it) => it.runtime_type_name(),
        Value::Function(..) => "type",
        Value::Null => "null_type",
    }
}

/// Calls a function that the library has, with its arguments as names.
fn library(name: &str, target: Option<Value>, all: &[Value]) -> Outcome {
    let ident = |name: String| IdedExpr { id: 0, expr: Expr::Ident(name) };
    let mut scope = FUNCTIONS.new_inner_scope();
    let mut args = Vec::with_capacity(all.len());
    for (i, value) in all.iter().enumerate() {
        let name = format!("@{i}");
        scope.add_variable_from_value(name.clone(), value.clone());
        args.push(ident(name));
    }
    let target = target.map(|value| {
        scope.add_variable_from_value("@this", value);
        Box::new(ident("@this".to_owned()))
    });
    let call = Expr::Call(CallExpr { func_name: name.to_owned(), target, args });
    Value::resolve(&IdedExpr { id: 0, expr: call }, &scope).map_err(halt)
}

/// The library's errors in the words of cel-go.
fn halt(e: ExecutionError) -> Halt {
    Halt::Failed(match e {
        ExecutionError::UndeclaredReference(name) => {
            format!("undeclared reference to '{name}' (in container '')")
        }
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
        ExecutionError::RemainderByZero(_) => "modulus by zero".to_owned(),
        ExecutionError::Overflow(..) => "integer overflow".to_owned(),
        ExecutionError::FunctionError { message, .. } => message,
        ExecutionError::UnexpectedType { .. }
        | ExecutionError::UnsupportedTargetType { .. }
        | ExecutionError::UnsupportedBinaryOperator(..)
        | ExecutionError::NotSupportedAsMethod { .. }
        | ExecutionError::InvalidArgumentCount { .. }
        | ExecutionError::MissingArgumentOrTarget
        | ExecutionError::NoSuchOverload => "no such overload".to_owned(),
        other => other.to_string(),
    })
}
