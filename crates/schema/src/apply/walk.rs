//! The walks over values along a schema: check, field set, comparison, merge, removal
//! (`sigs.k8s.io/structured-merge-diff/typed`).

use super::fields::{self, Entry, Set};
use super::shape::{At, Items, Shape, same};
use crate::strategic::go_text;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// What a value has that an older one has not, lost, or has otherwise.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: Set,
    pub(super) removed: Set,
    pub(super) modified: Set,
}

impl Comparison {
    /// Leaves out fields that the request can't change.
    pub(super) fn without(mut self, ignored: &Set) -> Self {
        [&mut self.added, &mut self.removed, &mut self.modified].into_iter().for_each(|s| s.cut(ignored));
        self
    }
}

/// The fields that a value sets. Says whether the value's own place is one of them.
pub(super) fn field_set(at: At<'_>, v: &Value, set: &mut Set) -> bool {
    match (at.shape(Some(v)), v) {
        (Shape::Scalar | Shape::Map { atomic: true } | Shape::List(Items::Atomic), _) => true,
        (Shape::Map { .. }, Value::Object(map)) => {
            for (key, v) in map {
                let (child, named) = at.member(key);
                let step = fields::field(key);
                let entry = set.entry(step.clone());
                let leaf = field_set(child, v, &mut entry.below);
                let empty = v.is_null() || v.as_object().is_some_and(Map::is_empty);
                entry.member |= leaf || empty || !named;
                set.drop_if_empty(&step);
            }
            false
        }
        (Shape::List(items), Value::Array(list)) => {
            let steps: Vec<Option<String>> = list.iter().map(|v| at.step(items, v).ok()).collect();
            for (step, v) in steps.iter().zip(list) {
                let Some(step) = step else { continue };
                let entry = set.entry(step.clone());
                entry.member = true;
                if steps.iter().flatten().filter(|s| *s == step).count() == 1 {
                    field_set(at.item(), v, &mut entry.below);
                }
            }
            false
        }
        _ => false,
    }
}

/// Compares two values at one place.
pub(super) fn compare(at: At<'_>, old: Option<&Value>, new: Option<&Value>) -> Comparison {
    let mut w = Comparer { path: Vec::new(), out: Comparison::default() };
    w.value(at, old, new);
    w.out
}

struct Comparer {
    path: Vec<String>,
    out: Comparison,
}

impl Comparer {
    fn below(&mut self, step: String, f: impl FnOnce(&mut Self)) {
        self.path.push(step);
        f(self);
        self.path.pop();
    }

    fn value(&mut self, at: At<'_>, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            (None, None) => {}
            (Some(v), None) => self.out.removed.place(&self.path, whole(at, v)),
            (None, Some(v)) => self.out.added.place(&self.path, whole(at, v)),
            // Most of an object is as it was: nothing to walk through.
            (Some(a), Some(b)) if same(a, b) => {}
            (Some(a), Some(b)) => self.changed(at, a, b),
        }
    }

    /// Compares values that differ.
    fn changed(&mut self, at: At<'_>, a: &Value, b: &Value) {
        let (before, after) = (at.shape(Some(a)), at.shape(Some(b)));
        if before.same(after) {
            self.shaped(at, after, a, b);
            return;
        }
        self.out.modified.insert(&self.path);
        self.out.removed.place(&self.path, Entry { member: false, ..whole(at, a) });
        self.out.added.place(&self.path, Entry { member: false, ..whole(at, b) });
    }

    /// Compares different values of one shape.
    fn shaped(&mut self, at: At<'_>, shape: Shape<'_>, old: &Value, new: &Value) {
        match shape {
            Shape::Map { atomic: false } => match (old.as_object(), new.as_object()) {
                (a, b) if a.is_none_or(Map::is_empty) && b.is_none_or(Map::is_empty) => {
                    self.out.modified.insert(&self.path);
                }
                (a, b) => self.maps(at, a, b),
            },
            Shape::List(items @ (Items::Set | Items::Keys(_) | Items::Key(_))) => {
                let a = old.as_array().map_or(&[][..], Vec::as_slice);
                let b = new.as_array().map_or(&[][..], Vec::as_slice);
                if a.is_empty() && b.is_empty() {
                    self.out.modified.insert(&self.path);
                } else {
                    self.lists(at, items, a, b);
                }
            }
            _ => self.out.modified.insert(&self.path),
        }
    }

    fn maps(&mut self, at: At<'_>, a: Option<&Map<String, Value>>, b: Option<&Map<String, Value>>) {
        for (key, v) in a.into_iter().flatten() {
            let child = |w: &mut Self, other| match other {
                None => w.value(at.member(key).0, Some(v), None),
                Some(other) => w.changed(at.member(key).0, v, other),
            };
            match b.and_then(|b| b.get(key)) {
                Some(other) if same(v, other) => {}
                other => self.below(fields::field(key), |w| child(w, other)),
            }
        }
        for (key, v) in b.into_iter().flatten() {
            if !a.is_some_and(|a| a.contains_key(key)) {
                self.below(fields::field(key), |w| w.value(at.member(key).0, None, Some(v)));
            }
        }
    }

    fn lists(&mut self, at: At<'_>, items: Items<'_>, a: &[Value], b: &[Value]) {
        let (order, index_a) = index(at, items, a);
        let (order_b, index_b) = index(at, items, b);
        let none = Vec::new();
        let only_b = order_b.into_iter().filter(|s| !index_a.contains_key(s));
        for step in order.into_iter().chain(only_b) {
            let l = index_a.get(&step).unwrap_or(&none);
            let r = index_b.get(&step).unwrap_or(&none);
            let (first_l, first_r) = (l.first().copied(), r.first().copied());
            self.below(step, |w| match (l.len(), r.len()) {
                (0 | 1, 0 | 1) => w.value(at.item(), first_l, first_r),
                (2.., 2..) => {
                    if l.len() != r.len() || l.iter().zip(r).any(|(x, y)| !same(x, y)) {
                        w.out.modified.insert(&w.path);
                    }
                }
                (2.., _) => {
                    w.value(at.item(), None, first_r);
                    w.out.removed.insert(&w.path);
                }
                (_, _) => {
                    w.value(at.item(), first_l, None);
                    w.out.added.insert(&w.path);
                }
            });
        }
    }
}

/// What comes or goes with a value as a whole: every place in it.
fn whole(at: At<'_>, v: &Value) -> Entry {
    let mut below = Set::default();
    match (at.shape(Some(v)), v) {
        (Shape::Map { atomic: false }, Value::Object(map)) => {
            for (key, v) in map {
                *below.entry(fields::field(key)) = whole(at.member(key).0, v);
            }
        }
        (Shape::List(items @ (Items::Set | Items::Keys(_) | Items::Key(_))), Value::Array(list)) => {
            for v in list {
                let Ok(step) = at.step(items, v) else { continue };
                // Of items that stand more than once only the place itself counts.
                let entry = match below.has(&step) {
                    true => Entry { member: true, below: Set::default() },
                    false => whole(at.item(), v),
                };
                *below.entry(step) = entry;
            }
        }
        _ => {}
    }
    Entry { member: true, below }
}

/// The steps of a list's items in order, each once, and the items of each.
fn index<'v>(
    at: At<'_>,
    items: Items<'_>,
    list: &'v [Value],
) -> (Vec<String>, HashMap<String, Vec<&'v Value>>) {
    let (mut order, mut found) = (Vec::new(), HashMap::<String, Vec<&Value>>::new());
    for v in list {
        let Ok(step) = at.step(items, v) else { continue };
        let same = found.entry(step.clone()).or_default();
        if same.is_empty() {
            order.push(step);
        }
        same.push(v);
    }
    (order, found)
}

/// Puts the applied value over the live one.
pub(super) fn merge(at: At<'_>, live: Option<&Value>, applied: Option<&Value>) -> Option<Value> {
    let (before, after) = (at.shape(live), at.shape(applied));
    let (shape, live) = match (live, applied) {
        (_, None) => (before, live),
        (Some(_), Some(_)) if !before.same(after) => (after, None),
        _ => (after, live),
    };
    match shape {
        Shape::Map { atomic: false } => {
            let (a, b) = (live.and_then(Value::as_object), applied.and_then(Value::as_object));
            if a.is_none_or(Map::is_empty) && b.is_none_or(Map::is_empty) {
                return applied.or(live).cloned();
            }
            Some(Value::Object(merge_maps(at, a, b)))
        }
        Shape::List(items @ (Items::Set | Items::Keys(_) | Items::Key(_))) => {
            let list = |v: Option<&Value>| v.and_then(Value::as_array).cloned().unwrap_or_default();
            let (a, b) = (list(live), list(applied));
            if a.is_empty() && b.is_empty() {
                return applied.or(live).cloned();
            }
            Some(Value::Array(merge_lists(at, items, &a, &b)))
        }
        _ => applied.or(live).cloned(),
    }
}

type Object = Map<String, Value>;

fn merge_maps(at: At<'_>, a: Option<&Object>, b: Option<&Object>) -> Object {
    let mut out = Map::new();
    let keys = a.into_iter().chain(b).flat_map(Map::keys);
    for key in keys {
        if !out.contains_key(key) {
            let (l, r) = (a.and_then(|a| a.get(key)), b.and_then(|b| b.get(key)));
            out.extend(merge(at.member(key).0, l, r).map(|v| (key.clone(), v)));
        }
    }
    out
}

/// Interleaves the lists: shared items in the order of the applied list, the others about where they stood.
fn merge_lists(at: At<'_>, items: Items<'_>, live: &[Value], applied: &[Value]) -> Vec<Value> {
    let steps =
        |list: &[Value]| -> Vec<Option<String>> { list.iter().map(|v| at.step(items, v).ok()).collect() };
    let (ls, rs) = (steps(live), steps(applied));
    let (_, in_live) = index(at, items, live);
    let (_, in_applied) = index(at, items, applied);
    // Items that stand more than once in the live list are not merged into.
    let old = |s: &str| in_live.get(s).filter(|v| v.len() == 1).map(|v| v[0]);
    let mut shared = rs.iter().flatten().filter(|s| in_live.contains_key(*s)).peekable();
    let (mut out, mut done) = (Vec::new(), std::collections::HashSet::new());
    let (mut l, mut r) = (0, 0);
    while l < live.len() || r < applied.len() {
        if let (Some(Some(a)), Some(Some(b))) = (ls.get(l), rs.get(r)) {
            if a == b {
                done.insert(a.clone());
                out.extend(merge(at.item(), old(a), Some(&applied[r])));
                (l, r) = (l + 1, r + 1);
                shared.next();
                continue;
            }
            if in_applied.contains_key(a) && shared.peek().is_some_and(|s| *s != a) {
                l += 1;
                continue;
            }
        }
        if l < live.len() {
            match &ls[l] {
                Some(a) if in_applied.contains_key(a) => l += usize::from(done.contains(a)),
                _ => {
                    out.extend(merge(at.item(), Some(&live[l]), None));
                    l += 1;
                    continue;
                }
            }
        }
        if r < applied.len() {
            if let Some(b) = &rs[r] {
                done.insert(b.clone());
                out.extend(merge(at.item(), old(b), Some(&applied[r])));
                if shared.peek().is_some_and(|s| *s == b) {
                    shared.next();
                }
            }
            r += 1;
        }
    }
    out
}

/// The value without the members and items that `set` names; none if nothing is left of something.
pub(super) fn remove(at: At<'_>, v: &Value, set: &Set) -> Option<Value> {
    match (at.shape(Some(v)), v) {
        (Shape::Map { atomic: false }, Value::Object(map)) if !map.is_empty() => {
            let left: Object = map
                .iter()
                .filter_map(|(key, v)| {
                    let step = fields::field(key);
                    let child = at.member(key).0;
                    let kept = if set.has(&step) { None } else { keep(child, v, set.below(&step)) };
                    kept.map(|v| (key.clone(), v))
                })
                .collect();
            (!left.is_empty()).then_some(Value::Object(left))
        }
        (Shape::List(items @ (Items::Set | Items::Keys(_) | Items::Key(_))), Value::Array(list)) => {
            let left: Vec<Value> = list
                .iter()
                .filter_map(|v| match at.step(items, v) {
                    Ok(step) if set.has(&step) => None,
                    Ok(step) => keep(at.item(), v, set.below(&step)),
                    Err(_) => Some(v.clone()),
                })
                .collect();
            (!left.is_empty()).then_some(Value::Array(left))
        }
        (Shape::Scalar, v) => Some(v.clone()),
        _ => None,
    }
}

fn keep(at: At<'_>, v: &Value, set: Option<&Set>) -> Option<Value> {
    match set {
        None => Some(v.clone()),
        Some(set) => remove(at, v, set),
    }
}

/// Adds named fields that have something below them as members, so that an emptied struct goes with its fields.
pub(super) fn with_named_fields(at: At<'_>, set: &Set) -> Set {
    let mut out = Set::default();
    for (step, e) in set.steps() {
        let (child, named) = match (step.strip_prefix("f:"), step.starts_with("k:")) {
            (Some(name), _) => at.member(name),
            (None, true) => (at.item(), false),
            _ => (At::Missing, false),
        };
        let entry = out.entry(step.to_owned());
        entry.member = e.member || (named && !e.below.is_empty());
        entry.below = with_named_fields(child, &e.below);
    }
    out
}

/// What is wrong with a value's types, in upstream's words; empty if nothing is.
pub(super) fn check(at: At<'_>, v: &Value, path: &str, errors: &mut Vec<String>) {
    let mut fail = |what: String| errors.push(format!("{path}: {what}"));
    match (at.shape(Some(v)), v) {
        (_, Value::Null) => {}
        (Shape::Map { .. }, Value::Object(map)) => {
            for (key, v) in map {
                match at.member(key).0 {
                    At::Missing => errors.push(format!("{path}.{key}: field not declared in schema")),
                    child => check(child, v, &format!("{path}.{key}"), errors),
                }
            }
        }
        (Shape::Map { .. }, v) => fail(format!("expected map, got &{{{}}}", go_text(v))),
        (Shape::List(items), Value::Array(list)) => check_list(at, items, list, path, errors),
        (Shape::List(_), v) => fail(format!("expected list, got &{{{}}}", go_text(v))),
        (Shape::Scalar, v) => {
            if let Some(what) = wrong_scalar(at, v) {
                fail(what);
            }
        }
    }
}

fn check_list(at: At<'_>, items: Items<'_>, list: &[Value], path: &str, errors: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    for (i, v) in list.iter().enumerate() {
        let step = match items {
            Items::Atomic => format!("i:{i}"),
            _ => match at.step(items, v) {
                Ok(step) => step,
                Err(e) => return errors.push(format!("{path}: element {i}: {e}")),
            },
        };
        let shown = fields::show_step(&step);
        if !seen.insert(step) {
            errors.push(format!("{path}: duplicate entries for key {shown}"));
        }
        check(at.item(), v, &format!("{path}{shown}"), errors);
    }
}

fn wrong_scalar(at: At<'_>, v: &Value) -> Option<String> {
    use crate::model::Type;
    let At::Known(c, _) = at else { return None };
    let go_name = match v {
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Array(_) => "[]interface {}",
        _ => "map[string]interface {}",
    };
    let plain = c.node.format.is_none() || c.node.format.as_deref() == Some("byte");
    match (c.ty(), v) {
        (Type::Integer | Type::Number, Value::Number(_)) | (Type::Boolean, Value::Bool(_)) => None,
        (Type::String, Value::String(_)) => None,
        (Type::Integer | Type::Number, _) => Some(format!("expected numeric (int or float), got {go_name}")),
        (Type::Boolean, v) => Some(format!("expected boolean, got &{{{}}}", go_text(v))),
        (Type::String, v) if plain => {
            Some(format!("expected string, got &value.valueUnstructured{{Value:{v}}}"))
        }
        (_, Value::Object(_) | Value::Array(_)) => {
            Some(format!("expected any scalar, got &{{{}}}", go_text(v)))
        }
        _ => None,
    }
}
