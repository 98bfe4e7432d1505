//! What the store keeps of an object beside its bytes: labels, and the values that field selectors compare.

use crate::kind::{Field, Kind};
use meta::Object;
use serde_json::Value;
use std::collections::BTreeMap;

const NAME: &str = "metadata.name";
const NAMESPACE: &str = "metadata.namespace";

/// The store's index entry of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// Values of the selectable fields by their columns ([`Kind::column`]), sorted; an absent value is the field's
    /// default.
    pub fields: Vec<(String, String)>,
}

impl Kind {
    /// What the store keeps of `object` beside its bytes.
    pub fn header(&self, object: &Object) -> Header {
        let m = &object.metadata;
        Header { uid: m.uid.clone(), labels: m.labels.clone(), fields: self.field_values(object) }
    }

    /// The values of all fields that a field selector may name, sorted by column.
    pub fn field_values(&self, object: &Object) -> Vec<(String, String)> {
        let mut out = vec![(NAME.to_owned(), object.metadata.name.clone())];
        if self.namespaced {
            out.push((NAMESPACE.to_owned(), object.metadata.namespace.clone()));
        }
        out.extend(self.fields.iter().map(|f| (f.path.to_string(), f.value(object))));
        out.sort();
        out.dedup();
        out
    }

    /// The column of [`Header::fields`] that the label in a field selector means; none where the kind has no such
    /// label. Upstream answers 400 `field label not supported: <label>`. Labels of several served forms of one stored
    /// resource (`regarding.name`, `involvedObject.name`) mean the same column.
    pub fn column(&self, label: &str) -> Option<&str> {
        match label {
            NAME => Some(NAME),
            NAMESPACE => self.namespaced.then_some(NAMESPACE),
            _ => self.fields.iter().find(|f| f.label == label).map(|f| f.path.as_ref()),
        }
    }
}

impl Field {
    /// This field's value in `object`, as text.
    pub fn value(&self, object: &Object) -> String {
        let found = self.path.split('|').find_map(|path| {
            let (first, rest) = path.split_once('.').unwrap_or((path, ""));
            let value = object.body.get(first)?;
            let value = if rest.is_empty() { value } else { walk(value, rest)? };
            scalar(value).filter(|s| !s.is_empty())
        });
        found.unwrap_or_else(|| self.default.to_string())
    }
}

fn scalar(v: &Value) -> Option<String> {
    match v {
        Value::String(s) => Some(s.clone()),
        Value::Bool(b) => Some(b.to_string()),
        Value::Number(n) => Some(n.to_string()),
        _ => None,
    }
}

/// Follows a dotted path of fields; a step may carry list positions: `status.conditions[0].type`, and quoted keys:
/// `metadata.labels['a.b/c']` or `metadata.labels.a\.b/c`.
pub fn walk<'a>(root: &'a Value, path: &str) -> Option<&'a Value> {
    let mut at = root;
    for step in steps(path) {
        at = match (at, step.parse::<usize>()) {
            (Value::Array(items), Ok(i)) => items.get(i)?,
            (v, _) => v.get(step.as_str())?,
        };
    }
    Some(at)
}

fn steps(path: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        let last = out.len() - 1;
        match c {
            '.' => out.push(String::new()),
            '\\' => out[last].extend(chars.next()),
            '[' => {
                let inside: String = chars.by_ref().take_while(|c| *c != ']').collect();
                out.push(inside.trim_matches(['\'', '"']).to_owned());
            }
            c => out[last].push(c),
        }
    }
    out.retain(|s| !s.is_empty());
    out
}
