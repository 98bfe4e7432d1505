//! What a step of an expression costs (`apiserver/pkg/cel/library/cost.go`, cel-go's `interpreter/runtimecost.go`).
//!
//! Where a function of ours does more work than upstream's, it costs what it does: the budget bounds the time that a rule
//! can hold a thread.

use kube_cel::cel::Value;
use std::fmt;

/// What one expression may cost (`PerCallLimit`): about a tenth of a second.
pub(super) const CALL_MAX: u64 = 1_000_000;
/// What all rules of an object may cost (`RuntimeCELCostBudget`): about a second.
pub(super) const OBJECT_MAX: u64 = 10_000_000;
/// Making a list.
pub(super) const LIST: u64 = 10;
/// Making a map.
pub(super) const MAP: u64 = 30;
/// Compiling a pattern; upstream takes it for nothing.
pub(super) const PATTERN: u64 = 100;
/// The most digits behind the point that `format` writes.
const PRECISION_MAX: usize = 400;

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Halt {
    /// It cost more than it may. Nothing swallows this, unlike errors.
    Spent,
    /// It went wrong, with CEL's words for it.
    Failed(String),
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spent => f.write_str("operation cancelled: actual cost limit exceeded"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

/// An error of a rule.
pub(super) fn failed<T>(why: impl Into<String>) -> Result<T, Halt> {
    Err(Halt::Failed(why.into()))
}

/// Length of a text, number of items or entries, or 1.
fn size(v: &Value) -> u64 {
    (match v {
        Value::String(s) => s.len(),
        Value::Bytes(b) => b.len(),
        Value::List(l) => l.len(),
        Value::Map(m) => m.map.len(),
        _ => 1,
    }) as u64
}

/// Everything that is looked at when a value is copied or compared as a whole: one for each value, and a tenth for each
/// byte of text.
pub(super) fn weight(v: &Value) -> u64 {
    match v {
        Value::List(l) => 1 + l.iter().map(weight).sum::<u64>(),
        Value::Map(m) => 1 + m.map.values().map(|v| 1 + weight(v)).sum::<u64>(),
        Value::String(s) => tenth(s.len() as u64).max(1),
        Value::Bytes(b) => tenth(b.len() as u64).max(1),
        _ => 1,
    }
}

fn tenth(n: u64) -> u64 {
    n.div_ceil(10)
}

/// What a pattern costs on a text.
pub(super) fn search(text: &str, pattern: &str) -> u64 {
    tenth(1 + text.len() as u64) * (pattern.len() as u64).div_ceil(4).max(1)
}

/// What comparing two values costs.
pub(super) fn compare(a: &Value, b: &Value) -> u64 {
    match (a, b) {
        (Value::List(_) | Value::Map(_), Value::List(_) | Value::Map(_)) => weight(a).min(weight(b)),
        _ => tenth(size(a).min(size(b))).max(1),
    }
}

/// What `a + b` costs.
pub(super) fn add(a: &Value, b: &Value) -> u64 {
    match (a, b) {
        (Value::List(_), Value::List(l)) => 1 + tenth(l.len() as u64),
        (Value::String(_) | Value::Bytes(_), _) => tenth(size(a) + size(b)).max(1),
        _ => 1,
    }
}

/// What calling a function costs, told before it is called. Errors where it would make something without bounds.
pub(super) fn call(name: &str, all: &[Value]) -> Result<u64, Halt> {
    let first = all.first().map_or(0, size);
    let second = all.get(1).map_or(0, size);
    let weights = || all.iter().map(weight).sum::<u64>();
    Ok(match name {
        "contains" => tenth(first) * tenth(second).max(1),
        "replace" => {
            let by = all.get(2).map_or(0, size);
            tenth(first) * 2 + tenth((first / second.max(1) + 1) * by)
        }
        "split" => tenth(first) * 2 + first / second.max(1),
        "join" => weights() * 2 + first * tenth(second),
        "sets.contains" | "sets.equivalent" | "sets.intersects" => {
            all.iter().map(weight).product::<u64>().max(weights()) * 2
        }
        "distinct" => weights() * first.max(1),
        "lists.range" => match all.first() {
            Some(Value::Int(n)) => LIST + u64::try_from(*n).unwrap_or(0),
            _ => 1,
        },
        "validate" => tenth(1 + second) * 60,
        "format" => {
            precise(all.first())?;
            weights()
        }
        "containsCIDR" | "containsIP" => 10 + tenth(second),
        "sort" => weights() * 4,
        _ => weights().max(1),
    })
}

fn precise(format: Option<&Value>) -> Result<(), Halt> {
    let Some(Value::String(format)) = format else { return Ok(()) };
    let wide = format.split('.').skip(1).any(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.len() > 9 || digits.parse::<usize>().is_ok_and(|n| n > PRECISION_MAX)
    });
    if wide { failed("error during formatting: precision is too large") } else { Ok(()) }
}
