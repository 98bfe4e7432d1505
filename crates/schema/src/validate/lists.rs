//! Items that stand twice in a list that is a set or a map
//! (`apiextensions-apiserver/pkg/apiserver/schema/listtype`).

use crate::model::{Cursor, ListType};
use meta::{FieldError, FieldPath};
use serde_json::{Map, Value};
use std::collections::HashMap;

pub(super) fn check(at: Cursor<'_>, path: &FieldPath, value: &Value, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(map) => {
            for (key, v) in map {
                if let Some(child) = at.property(key) {
                    check(child, &path.child(key), v, errors);
                } else if let Some(child) = at.additional() {
                    check(child, &path.key(key), v, errors);
                }
            }
        }
        Value::Array(items) => {
            match at.list() {
                ListType::Set => repeated(items.iter().cloned(), path, errors),
                ListType::Map => keys(at, items, path, errors),
                ListType::Unset | ListType::Atomic => {}
            }
            let Some(item) = at.items() else { return };
            for (i, v) in items.iter().enumerate() {
                check(item, &path.index(i), v, errors);
            }
        }
        _ => {}
    }
}

fn keys(at: Cursor<'_>, items: &[Value], path: &FieldPath, errors: &mut Vec<FieldError>) {
    for (i, v) in items.iter().enumerate() {
        if !v.is_object() && !v.is_null() {
            let why = "must be an object for an array of list-type map";
            errors.push(FieldError::invalid(&path.index(i), v.clone(), why));
            return;
        }
    }
    let key = |v: &Value| {
        let pick = |k: &std::sync::Arc<str>| v.get(k.as_ref()).map(|x| (k.to_string(), x.clone()));
        Value::Object(at.node.list_keys.iter().filter_map(pick).collect::<Map<_, _>>())
    };
    repeated(items.iter().map(key), path, errors);
}

/// Reports the second appearance of each item, and none after it.
fn repeated(items: impl Iterator<Item = Value>, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (i, item) in items.enumerate() {
        let times = seen.entry(item.to_string()).or_default();
        *times += 1;
        if *times == 2 {
            errors.push(FieldError::duplicate(&path.index(i), item));
        }
    }
}
