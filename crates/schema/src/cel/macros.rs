//! Macros that the library's parser leaves as calls: loops with two variables, `cel.bind`, `optMap`, `sortBy`
//! (cel-go's `ext` and `cel/library.go`).

use super::cost::{self, Halt};
use super::run::{Outcome, Run, as_optional, no_overload, optional, pairs};
use kube_cel::cel::Value;
use kube_cel::cel::common::ast::{CallExpr, Expr, IdedExpr};
use kube_cel::cel::objects::{Key, Map};
use std::collections::HashMap;
use std::sync::Arc;

/// The names that a macro's arguments declare for its other arguments; none where the call is no macro.
pub(super) fn declared(call: &CallExpr) -> Vec<&str> {
    let many = match (call.func_name.as_str(), call.target.as_deref(), call.args.len()) {
        ("bind", Some(target), 3) if target.expr == Expr::Ident("cel".to_owned()) => 1,
        (
            "all" | "exists" | "existsOne" | "exists_one" | "transformList" | "transformMap"
            | "transformMapEntry",
            Some(_),
            3,
        ) => 2,
        ("transformList" | "transformMap" | "transformMapEntry", Some(_), 4) => 2,
        ("optMap" | "optFlatMap" | "sortBy", Some(_), 2) => 1,
        _ => return Vec::new(),
    };
    let name = |arg: &IdedExpr| matches!(arg.expr, Expr::Ident(_));
    if !call.args[..many].iter().all(name) {
        return Vec::new();
    }
    let idents = call.args[..many].iter().filter_map(|a| match &a.expr {
        Expr::Ident(name) => Some(name.as_str()),
        _ => None,
    });
    idents.collect()
}

/// Runs a macro; none where the call is none.
pub(super) fn run(run: &mut Run, call: &CallExpr) -> Option<Outcome> {
    let names = declared(call);
    let target = call.target.as_deref()?;
    let name = call.func_name.as_str();
    match (names.as_slice(), &call.args[names.len()..]) {
        ([name], [init, then]) => Some(run.eval(init).and_then(|value| run.with(name, value, then))),
        ([item], [then]) if name == "sortBy" => Some(sort_by(run, target, item, then)),
        ([inner], [then]) => Some(opt_map(run, target, inner, then, name == "optMap")),
        ([a, b], [filter, then]) => Some(twofold(run, name, target, (a, b), Some(filter), then)),
        ([a, b], [then]) => Some(twofold(run, name, target, (a, b), None, then)),
        _ => None,
    }
}

fn opt_map(run: &mut Run, target: &IdedExpr, name: &str, then: &IdedExpr, wraps: bool) -> Outcome {
    let target = run.eval(target)?;
    match as_optional(&target)? {
        Some(inner) => {
            let found = run.with(name, inner, then)?;
            Ok(if wraps { optional(Some(found)) } else { found })
        }
        None => Ok(optional(None)),
    }
}

fn sort_by(run: &mut Run, target: &IdedExpr, name: &str, key: &IdedExpr) -> Outcome {
    let Value::List(items) = run.eval(target)? else { return no_overload() };
    let mut keyed = Vec::with_capacity(items.len());
    for item in items.iter() {
        run.pay(cost::compare(item, item))?;
        keyed.push((run.with(name, item.clone(), key)?, item.clone()));
    }
    if keyed.windows(2).any(|two| two[0].0.partial_cmp(&two[1].0).is_none()) {
        return no_overload();
    }
    keyed.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(std::cmp::Ordering::Equal));
    Ok(Value::List(Arc::new(keyed.into_iter().map(|(_, item)| item).collect())))
}

/// A loop with two variables: position and item, or key and value.
fn twofold(
    run: &mut Run,
    name: &str,
    target: &IdedExpr,
    (first, second): (&str, &str),
    filter: Option<&IdedExpr>,
    then: &IdedExpr,
) -> Outcome {
    let range = run.eval(target)?;
    let (mut wrong, mut hits) = (None, 0u64);
    let mut list = Vec::new();
    let mut map = HashMap::new();
    let is_choice = !name.starts_with("transform");
    for (key, value) in pairs(&range)? {
        run.pay(2)?;
        let found = within(run, (first, key.clone()), (second, value), filter, then);
        match found {
            // Another item may still decide.
            Err(Halt::Failed(why)) if matches!(name, "all" | "exists") => wrong = Some(Halt::Failed(why)),
            Err(other) => return Err(other),
            Ok(None) => {}
            Ok(Some(Value::Bool(b))) if is_choice => {
                hits += u64::from(b);
                match (name, b) {
                    ("all", false) => return Ok(Value::Bool(false)),
                    ("exists", true) => return Ok(Value::Bool(true)),
                    _ => {}
                }
            }
            Ok(Some(found)) => match name {
                "transformList" => list.push(found),
                "transformMap" => drop(map.insert(as_key(key)?, found)),
                "transformMapEntry" => {
                    let Value::Map(one) = found else { return no_overload() };
                    map.extend(one.map.iter().map(|(k, v)| (k.clone(), v.clone())));
                }
                _ => return no_overload(),
            },
        }
    }
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    Ok(match name {
        "all" => Value::Bool(true),
        "exists" => Value::Bool(false),
        "transformList" => Value::List(Arc::new(list)),
        "transformMap" | "transformMapEntry" => Value::Map(Map { map: Arc::new(map) }),
        _ => Value::Bool(hits == 1),
    })
}

fn as_key(v: Value) -> Result<Key, Halt> {
    v.try_into().or_else(|_| no_overload())
}

fn within(
    run: &mut Run,
    (first, key): (&str, Value),
    (second, value): (&str, Value),
    filter: Option<&IdedExpr>,
    then: &IdedExpr,
) -> Result<Option<Value>, Halt> {
    let passes = |run: &mut Run| match filter {
        Some(filter) => run.truth(filter),
        None => Ok(true),
    };
    run.bound(&[(first, key), (second, value)], |run| {
        Ok(if passes(run)? { Some(run.eval(then)?) } else { None })
    })
}
