//! Defaults must be valid under their own schema and hold no field that it doesn't know.

use super::MAX_NESTING;
use crate::{Schema, prune, validate};
use meta::{FieldError, FieldPath};
use serde_json::Value;

pub(super) fn check(root: &Value, path: &FieldPath) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(root, path, true, 0, &mut errors);
    errors
}

fn walk(s: &Value, path: &FieldPath, root: bool, depth: usize, errors: &mut Vec<FieldError>) {
    if depth >= MAX_NESTING {
        return;
    }
    if let Some(default) = s.get("default").filter(|d| !d.is_null()) {
        one(s, default, &path.child("default"), errors);
    }
    if let Some(items) = s.get("items") {
        walk(items, &path.child("items"), false, depth + 1, errors);
    }
    for (key, p) in s.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let at = path.child("properties").key(key);
        let frame = root && matches!(key.as_str(), "apiVersion" | "kind" | "metadata");
        if !frame {
            walk(p, &at, false, depth + 1, errors);
        } else if p.get("default").is_some() {
            let why = format!("must not be set in top-level {key}");
            errors.push(FieldError::forbidden(&at.child("default"), why));
        }
    }
}

fn one(schema: &Value, default: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let schema = Schema::from_json(schema);
    let mut pruned = default.clone();
    prune(&schema, &mut pruned);
    if pruned != *default {
        errors.push(FieldError::invalid(path, default.clone(), "must not have unknown fields"));
    }
    for mut e in validate(&schema, default) {
        let below = e.path.as_str();
        // In the sentence upstream names the place within the default only.
        e.path = if below.is_empty() { path.clone() } else { path.child(below) };
        errors.push(e);
    }
}
