//! Sets of field paths and their JSON notation `fieldsV1` (`sigs.k8s.io/structured-merge-diff/fieldpath`).
//!
//! A step of a path is kept as its text in that notation: `f:<field>`, `k:<keys of a list item, as JSON>`,
//! `v:<list item, as JSON>`, `i:<index>`. Keys are in order, so that equal steps have equal texts.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Nesting that `fieldsV1` may have.
const MAX_NESTING: usize = 128;

/// A set of paths: at each step whether the path up to it is a member, and what is below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set(BTreeMap<Box<str>, Entry>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) member: bool,
    pub(crate) below: Set,
}

impl Entry {
    fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

/// The step to a field.
pub(crate) fn field(name: &str) -> String {
    format!("f:{name}")
}

/// The step to a list item by its value.
pub(crate) fn item_value(v: &Value) -> String {
    format!("v:{v}")
}

/// The step to a list item by its keys.
pub(crate) fn item_keys<'a>(keys: impl Iterator<Item = (&'a str, &'a Value)>) -> String {
    let sorted: BTreeMap<&str, &Value> = keys.collect();
    let parts: Vec<String> = sorted.iter().map(|(k, v)| format!("{}:{v}", Value::from(*k))).collect();
    format!("k:{{{}}}", parts.join(","))
}

/// A step as paths are shown to people: `.spec`, `[name="web"]`, `[="x"]`, `[3]`.
pub(crate) fn show_step(step: &str) -> String {
    let (kind, rest) = step.split_at(step.len().min(2));
    match (kind, serde_json::from_str::<Value>(rest)) {
        ("f:", _) => format!(".{rest}"),
        ("k:", Ok(Value::Object(keys))) => {
            let sorted: BTreeMap<_, _> = keys.iter().collect();
            let parts: Vec<String> = sorted.iter().map(|(k, v)| format!("{k}={v}")).collect();
            format!("[{}]", parts.join(","))
        }
        ("v:", Ok(v)) => format!("[={v}]"),
        _ => format!("[{rest}]"),
    }
}

/// A whole path as it is shown to people.
pub(crate) fn show_path(path: &[String]) -> String {
    path.iter().map(|s| show_step(s)).collect()
}

/// The canonical text of a step that a client sent.
fn canonical(step: &str) -> String {
    match step.strip_prefix("k:").map(serde_json::from_str::<Value>) {
        Some(Ok(Value::Object(keys))) => item_keys(keys.iter().map(|(k, v)| (k.as_str(), v))),
        _ => match step.strip_prefix("v:").map(serde_json::from_str::<Value>) {
            Some(Ok(v)) => item_value(&v),
            _ => step.to_owned(),
        },
    }
}

impl Set {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn entry(&mut self, step: String) -> &mut Entry {
        self.0.entry(step.into_boxed_str()).or_default()
    }

    /// Forgets a step under which nothing was put.
    pub(crate) fn drop_if_empty(&mut self, step: &str) {
        if self.0.get(step).is_some_and(Entry::is_empty) {
            self.0.remove(step);
        }
    }

    /// Adds a path; the empty path is never a member.
    pub(crate) fn insert(&mut self, path: &[String]) {
        let Some((first, rest)) = path.split_first() else { return };
        // Most steps are there already: looked up before a copy is made.
        let entry = match self.0.get_mut(first.as_str()) {
            Some(there) => there,
            None => self.entry(first.clone()),
        };
        if rest.is_empty() { entry.member = true } else { entry.below.insert(rest) }
    }

    /// The set of these field paths, with all that is below them meant.
    pub(crate) fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(&path.iter().map(|s| field(s)).collect::<Vec<_>>());
        }
        set
    }

    pub(crate) fn has(&self, step: &str) -> bool {
        self.0.get(step).is_some_and(|e| e.member)
    }

    pub(crate) fn below(&self, step: &str) -> Option<&Set> {
        self.0.get(step).map(|e| &e.below).filter(|s| !s.is_empty())
    }

    pub(crate) fn steps(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.0.iter().map(|(k, e)| (k.as_ref(), e))
    }

    /// Adds the other set's paths.
    pub(crate) fn union(&mut self, other: &Self) {
        for (step, e) in &other.0 {
            match self.0.get_mut(step) {
                None => {
                    self.0.insert(step.clone(), e.clone());
                }
                Some(mine) => {
                    mine.member |= e.member;
                    mine.below.union(&e.below);
                }
            }
        }
    }

    /// Puts an entry at a path, beside what is there.
    pub(crate) fn place(&mut self, path: &[String], entry: Entry) {
        let Some((first, rest)) = path.split_first() else { return };
        let there = match self.0.get_mut(first.as_str()) {
            Some(there) => there,
            None => self.entry(first.clone()),
        };
        if rest.is_empty() {
            there.member |= entry.member;
            there.below.union(&entry.below);
        } else {
            there.below.place(rest, entry);
        }
    }

    /// Takes out the other set's paths. A path doesn't stand for those below it.
    pub(crate) fn subtract(&mut self, other: &Self) {
        for (step, o) in &other.0 {
            let Some(mine) = self.0.get_mut(step) else { continue };
            mine.member &= !o.member;
            mine.below.subtract(&o.below);
            self.drop_if_empty(step);
        }
    }

    /// Takes out the other set's paths and all that is below them.
    pub(crate) fn cut(&mut self, other: &Self) {
        for (step, o) in &other.0 {
            if o.member {
                self.0.remove(step);
            } else if let Some(mine) = self.0.get_mut(step) {
                mine.below.cut(&o.below);
                self.drop_if_empty(step);
            }
        }
    }

    /// Whether a set in the notation `fieldsV1` has a path of this one. Works on the JSON as the server writes it.
    pub(crate) fn touches(&self, fields: &Value) -> bool {
        self.0.iter().any(|(step, e)| {
            let Some(there) = fields.get(step.as_ref()).and_then(Value::as_object) else { return false };
            (e.member && (there.is_empty() || there.contains_key(".")))
                || (!e.below.is_empty() && !there.is_empty() && e.below.touches(&fields[step.as_ref()]))
        })
    }

    fn zip(&self, other: &Self, member: fn(bool, bool) -> bool, below: fn(&Self, &Self) -> Self) -> Self {
        let nothing = Entry::default();
        let combined = self.0.iter().map(|(step, e)| {
            let o = other.0.get(step).unwrap_or(&nothing);
            (step.clone(), Entry { member: member(e.member, o.member), below: below(&e.below, &o.below) })
        });
        Self(combined.filter(|(_, e)| !e.is_empty()).collect())
    }

    /// The paths of both.
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a && b, Self::intersection)
    }

    /// The paths of this set that the other doesn't have. A path doesn't stand for those below it.
    pub(crate) fn difference(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a && !b, Self::difference)
    }

    /// All paths, in order.
    pub(crate) fn paths(&self) -> Vec<Vec<String>> {
        let mut out = Vec::new();
        self.walk(&mut Vec::new(), &mut out);
        out
    }

    fn walk(&self, path: &mut Vec<String>, out: &mut Vec<Vec<String>>) {
        for (step, e) in &self.0 {
            path.push(step.to_string());
            if e.member {
                out.push(path.clone());
            }
            e.below.walk(path, out);
            path.pop();
        }
    }

    /// The set in the notation `fieldsV1`.
    pub(crate) fn to_value(&self) -> Value {
        let members = self.0.iter().map(|(step, e)| {
            let mut below = e.below.to_value();
            if e.member && !e.below.is_empty() {
                below["."] = Value::Object(Map::new());
            }
            (step.to_string(), below)
        });
        Value::Object(members.collect())
    }

    /// Reads `fieldsV1`; none if it isn't that.
    pub(crate) fn from_value(v: &Value) -> Option<Self> {
        Self::read(v, 0)
    }

    fn read(v: &Value, depth: usize) -> Option<Self> {
        let map = v.as_object().filter(|_| depth < MAX_NESTING)?;
        let mut set = Self::default();
        for (step, below) in map.iter().filter(|(step, _)| *step != ".") {
            if !["f:", "k:", "v:", "i:"].iter().any(|p| step.starts_with(p)) {
                return None;
            }
            let entry = set.entry(canonical(step));
            let inner = below.as_object()?;
            entry.below = Self::read(below, depth + 1)?;
            entry.member = inner.is_empty() || inner.contains_key(".");
        }
        Some(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(v: Value) -> Set {
        Set::from_value(&v).unwrap()
    }

    #[test]
    fn notation() {
        let v = json!({"f:spec": {"f:ports": {r#"k:{"protocol":"TCP","port":80}"#: {".": {}, "f:name": {}}}, "f:x": {}},
            "f:fin": {"v:\"a\"": {}, "i:0": {}}});
        let s = set(v);
        assert_eq!(
            s.to_value().to_string(),
            r#"{"f:fin":{"i:0":{},"v:\"a\"":{}},"f:spec":{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:name":{}}},"f:x":{}}}"#
        );
        let shown: Vec<String> = s.paths().iter().map(|p| show_path(p)).collect();
        assert_eq!(
            shown,
            [
                ".fin[0]",
                ".fin[=\"a\"]",
                ".spec.ports[port=80,protocol=\"TCP\"]",
                ".spec.ports[port=80,protocol=\"TCP\"].name",
                ".spec.x"
            ]
        );
        assert!(Set::from_value(&json!({"x": {}})).is_none() && Set::from_value(&json!([])).is_none());
    }

    #[test]
    fn algebra() {
        let a = set(json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {}}));
        let b = set(json!({"f:a": {"f:b": {}}, "f:e": {}}));
        assert_eq!(a.difference(&b), set(json!({"f:a": {".": {}, "f:c": {}}, "f:d": {}})));
        assert_eq!(a.intersection(&b), set(json!({"f:a": {"f:b": {}}})));
        assert_eq!(
            a.difference(&set(json!({"f:a": {}}))),
            set(json!({"f:a": {"f:b": {}, "f:c": {}}, "f:d": {}}))
        );
        let mut cut = a.clone();
        cut.cut(&set(json!({"f:a": {}})));
        assert_eq!(cut, set(json!({"f:d": {}})));
        let mut less = a.clone();
        less.subtract(&b);
        assert_eq!(less, a.difference(&b));
        assert!(b.touches(&a.to_value()) && !set(json!({"f:a": {"f:x": {}}})).touches(&a.to_value()));
        let mut u = a.clone();
        u.union(&b);
        assert_eq!(u, set(json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {}, "f:e": {}})));
    }
}
