//! Strategic merge patch (`k8s.io/apimachinery/pkg/util/strategicpatch`): lists merge by the key that the schema names,
//! with the directives `$patch`, `$retainKeys`, `$deleteFromPrimitiveList/<field>` and `$setElementOrder/<field>`.

mod order;

use crate::model::{Cursor, Schema};
use meta::{Reason, Status};
use order::Order;
use serde_json::{Map, Value};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList";
const SET_ORDER: &str = "$setElementOrder";

type Outcome<T> = Result<T, String>;
type Object = Map<String, Value>;

/// Applies `patch` to `original`, an object of the built-in kind that `schema` describes.
pub fn strategic_merge(schema: &Schema, original: &Value, patch: &Value) -> Result<Value, Status> {
    let patch = match patch {
        Value::Object(patch) => patch.clone(),
        Value::Null => Object::new(),
        _ => {
            let what = "json: cannot unmarshal array into Go value of type map[string]interface {}";
            return Err(Status::bad_request(what));
        }
    };
    let mut out = original.as_object().cloned().unwrap_or_default();
    merge_map(Some(schema.cursor()), &mut out, patch).map_err(refused)?;
    Ok(Value::Object(out))
}

/// A patch that can't be merged. Upstream tells only a few of the reasons from a fault of its own
/// (`interpretStrategicMergePatchError` of `endpoints/handlers/patch.go`).
fn refused(why: String) -> Status {
    match why.as_str() {
        BAD_PRIMITIVES | BAD_RETAIN_KEYS | BAD_ORDER => Status::bad_request(why),
        _ => Status::new(Reason::Unknown, why),
    }
}

const BAD_PRIMITIVES: &str = "invalid patch format of primitive list";
const BAD_RETAIN_KEYS: &str = "invalid patch format of retainKeys";
const BAD_ORDER: &str = "invalid patch format of setElementOrder list";

/// A value as Go's `%v` prints it.
pub fn go_text(v: &Value) -> String {
    match v {
        Value::Null => "<nil>".to_owned(),
        Value::String(s) => s.clone(),
        Value::Array(a) => format!("[{}]", a.iter().map(go_text).collect::<Vec<_>>().join(" ")),
        Value::Object(m) => go_map(m),
        other => other.to_string(),
    }
}

fn go_map(m: &Object) -> String {
    let mut parts: Vec<String> = m.iter().map(|(k, v)| format!("{k}:{}", go_text(v))).collect();
    parts.sort();
    format!("map[{}]", parts.join(" "))
}

fn no_merge_key(m: &Object, key: &str) -> String {
    format!("map: {} does not contain declared merge key: {key}", go_map(m))
}

fn merge_map(at: Option<Cursor<'_>>, original: &mut Object, mut patch: Object) -> Outcome<()> {
    match patch.remove(DIRECTIVE) {
        None => {}
        Some(Value::String(s)) if s == "replace" => {
            *original = patch;
            return Ok(());
        }
        Some(Value::String(s)) if s == "delete" => {
            original.clear();
            return Ok(());
        }
        Some(other) => {
            patch.insert(DIRECTIVE.to_owned(), other.clone());
            return Err(format!("unknown patch type: {} in map: {}", go_text(&other), go_map(&patch)));
        }
    }
    retain_keys(original, &mut patch)?;
    ordered_lists(at, original, &mut patch)?;
    for (key, value) in patch {
        if key.starts_with(DELETE_FROM) {
            let field = suffix(&key, DELETE_FROM, BAD_PRIMITIVES)?;
            delete_from(original, field, &value)?;
        } else {
            merge_member(at, original, key, value)?;
        }
    }
    Ok(())
}

/// The field behind a parallel directive: `$setElementOrder/<field>`.
fn suffix<'a>(key: &'a str, prefix: &str, wrong: &str) -> Outcome<&'a str> {
    key.strip_prefix(prefix).and_then(|s| s.strip_prefix('/')).ok_or_else(|| wrong.to_owned())
}

fn delete_from(original: &mut Object, field: &str, unwanted: &Value) -> Outcome<()> {
    let Some(Value::Array(list)) = original.get_mut(field) else { return Ok(()) };
    let Value::Array(unwanted) = unwanted else {
        return Err(BAD_PRIMITIVES.to_owned());
    };
    list.retain(|v| !unwanted.contains(v));
    Ok(())
}

fn merge_member(at: Option<Cursor<'_>>, original: &mut Object, key: String, value: Value) -> Outcome<()> {
    if value.is_null() {
        original.remove(&key);
        return Ok(());
    }
    let child = at.and_then(|c| c.child(&key));
    let strategy = child.map(Cursor::strategy).unwrap_or_default();
    match (original.get_mut(&key), value) {
        (Some(Value::Object(old)), Value::Object(new)) => {
            if strategy.replace {
                *old = new;
                return Ok(());
            }
            merge_map(child, old, new)
        }
        (Some(Value::Array(old)), Value::Array(new)) => {
            if strategy.merge {
                *old = merge_list(child, std::mem::take(old), new)?;
            } else {
                *old = new;
            }
            Ok(())
        }
        (_, value) => {
            match cleaned(value) {
                Some(v) => original.insert(key, v),
                None => original.remove(&key),
            };
            Ok(())
        }
    }
}

/// A value that nothing was merged into: without nulls and without what directives mark; none if it is itself a
/// directive.
fn cleaned(v: Value) -> Option<Value> {
    match v {
        Value::Object(m) if m.contains_key(DIRECTIVE) => None,
        Value::Object(m) => {
            let directive = |k: &str| [RETAIN_KEYS, DELETE_FROM, SET_ORDER].iter().any(|d| k.starts_with(d));
            let members = m.into_iter().filter(|(k, v)| !v.is_null() && !directive(k));
            Some(Value::Object(members.filter_map(|(k, v)| Some((k, cleaned(v)?))).collect()))
        }
        Value::Array(a) => Some(Value::Array(a.into_iter().filter_map(cleaned).collect())),
        other => Some(other),
    }
}

fn retain_keys(original: &mut Object, patch: &mut Object) -> Outcome<()> {
    let Some(keep) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let wrong = || BAD_RETAIN_KEYS.to_owned();
    let keep = keep.as_array().ok_or_else(wrong)?;
    let kept = |key: &str| keep.iter().any(|k| k.as_str() == Some(key));
    let directive = |k: &str| k.starts_with(DELETE_FROM) || k.starts_with(SET_ORDER);
    if patch.iter().any(|(k, v)| !v.is_null() && !directive(k) && !kept(k)) {
        return Err(wrong());
    }
    original.retain(|k, _| kept(k));
    Ok(())
}

/// Merges the lists that have a `$setElementOrder`, and puts their items into that order.
fn ordered_lists(at: Option<Cursor<'_>>, original: &mut Object, patch: &mut Object) -> Outcome<()> {
    let keys: Vec<String> = patch.keys().filter(|k| k.starts_with(SET_ORDER)).cloned().collect();
    for key in keys {
        let wrong = BAD_ORDER;
        let Some(Value::Array(wanted)) = patch.remove(&key) else { return Err(wrong.to_owned()) };
        let field = suffix(&key, SET_ORDER, wrong)?;
        let child = at.and_then(|c| c.child(field));
        let merge_key = child.and_then(Cursor::merge_key).unwrap_or_default();
        let list = |v: Option<Value>| match v {
            None => Ok(None),
            Some(Value::Array(a)) => Ok(Some(a)),
            Some(_) => Err(wrong.to_owned()),
        };
        let new = list(patch.remove(field))?;
        let old = list(original.get(field).cloned())?;
        let order = Order { merge_key };
        order.check(new.as_deref().unwrap_or_default(), &wanted)?;
        let before = old.clone().unwrap_or_default();
        let merged = match (old, new) {
            (None, None) => continue,
            (Some(old), None) => old,
            (None, Some(new)) => new.into_iter().filter_map(cleaned).collect(),
            (Some(old), Some(new)) => match child.map(Cursor::strategy).unwrap_or_default().merge {
                true => merge_list(child, old, new)?,
                false => new,
            },
        };
        original.insert(field.to_owned(), Value::Array(order.arrange(merged, &wanted, &before)?));
    }
    Ok(())
}

fn merge_list(at: Option<Cursor<'_>>, old: Vec<Value>, new: Vec<Value>) -> Outcome<Vec<Value>> {
    let of_maps = old.iter().chain(&new).any(Value::is_object);
    if !of_maps {
        let order = Order { merge_key: "" };
        let mut merged: Vec<Value> = Vec::new();
        for v in old.iter().chain(&new) {
            if !merged.contains(v) {
                merged.push(v.clone());
            }
        }
        return order.arrange(merged, &new, &old);
    }
    let Some(key) = at.and_then(Cursor::merge_key) else {
        let name = at.and_then(Cursor::items).map_or("", Cursor::short_name);
        return Err(format!("cannot merge lists without merge key for {name}"));
    };
    if !old.iter().chain(&new).all(Value::is_object) {
        let lists = go_text(&Value::Array(vec![old.into(), new.into()]));
        return Err(format!("list element types are not identical: {lists}"));
    }
    let (old, new) = special_items(old, new, key)?;
    let Some(new) = new else { return Ok(old) };
    let mut merged = old.clone();
    for item in &new {
        let Value::Object(item) = item else { continue };
        let value = item.get(key).ok_or_else(|| no_merge_key(item, key))?;
        match merged.iter_mut().find(|m| m.get(key) == Some(value)) {
            Some(Value::Object(there)) => merge_map(at.and_then(Cursor::items), there, item.clone())?,
            _ => merged.push(Value::Object(item.clone())),
        }
    }
    Order { merge_key: key }.arrange(merged, &new, &old)
}

/// Carries out the items that are directives. No patch list comes back when the list is replaced.
fn special_items(old: Vec<Value>, new: Vec<Value>, key: &str) -> Outcome<(Vec<Value>, Option<Vec<Value>>)> {
    let (mut old, mut rest, mut replace) = (old, Vec::new(), false);
    for item in new {
        let Value::Object(map) = &item else { continue };
        match map.get(DIRECTIVE) {
            None => rest.push(item),
            Some(Value::String(s)) if s == "delete" => {
                let value = map.get(key).ok_or_else(|| no_merge_key(map, key))?;
                old.retain(|v| v.get(key) != Some(value));
            }
            Some(Value::String(s)) if s == "replace" => replace = true,
            Some(Value::String(s)) if s == "merge" => {
                return Err("merging lists cannot yet be specified in the patch".to_owned());
            }
            Some(other) => {
                return Err(format!("unknown patch type: {} in map: {}", go_text(other), go_map(map)));
            }
        }
    }
    Ok(if replace { (rest, None) } else { (old, Some(rest)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::schemas;
    use serde_json::json;

    fn merged(original: Value, patch: Value) -> String {
        let s = schemas().kind("apps", "v1", "Deployment").unwrap();
        strategic_merge(&s, &original, &patch).map_or_else(|e| e.message, |v| v.to_string())
    }

    fn pod(spec: Value) -> Value {
        json!({"spec": {"template": {"spec": spec}}})
    }

    fn check(original: Value, patch: Value, want: Value) {
        assert_eq!(merged(pod(original), pod(patch)), pod(want).to_string());
    }

    #[test]
    fn maps_and_nulls() {
        assert_eq!(
            merged(
                json!({"metadata": {"labels": {"a": "1", "b": "2"}}}),
                json!({"metadata": {"labels": {"a": null, "c": "3"}}})
            ),
            r#"{"metadata":{"labels":{"b":"2","c":"3"}}}"#
        );
        assert_eq!(
            merged(
                json!({"metadata": {"labels": {"a": "1"}}}),
                json!({"metadata": {"labels": {"$patch": "replace", "c": "3"}}})
            ),
            r#"{"metadata":{"labels":{"c":"3"}}}"#
        );
        assert_eq!(
            merged(json!({"spec": {}}), json!({"spec": {"$patch": "frob"}})),
            "unknown patch type: frob in map: map[$patch:frob]"
        );
    }

    #[test]
    fn lists_merge_by_key() {
        check(
            json!({"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}]}),
            json!({"containers": [{"name": "c"}, {"name": "a", "image": "2", "env": [{"name": "Y", "value": "2"}]}]}),
            json!({"containers": [{"name": "c"},
                {"name": "a", "image": "2", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]}, {"name": "b"}]}),
        );
        check(
            json!({"containers": [{"name": "a"}, {"name": "b"}]}),
            json!({"containers": [{"name": "a", "$patch": "delete"}]}),
            json!({"containers": [{"name": "b"}]}),
        );
        check(
            json!({"containers": [{"name": "a"}, {"name": "b"}]}),
            json!({"containers": [{"$patch": "replace"}, {"name": "z"}]}),
            json!({"containers": [{"name": "z"}]}),
        );
        // Lists without a merge strategy are replaced.
        check(
            json!({"tolerations": [{"key": "a"}], "containers": [{"name": "a", "args": ["1"]}]}),
            json!({"tolerations": [{"key": "b"}], "containers": [{"name": "a", "args": ["2"]}]}),
            json!({"tolerations": [{"key": "b"}], "containers": [{"name": "a", "args": ["2"]}]}),
        );
        assert_eq!(
            merged(pod(json!({"containers": [{"name": "a"}]})), pod(json!({"containers": [{"image": "x"}]}))),
            "map: map[image:x] does not contain declared merge key: name"
        );
    }

    #[test]
    fn order_and_primitive_lists() {
        check(
            json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}),
            json!({"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}], "containers": [{"name": "a", "image": "x"}]}),
            json!({"containers": [{"name": "b"}, {"name": "c"}, {"name": "a", "image": "x"}]}),
        );
        assert_eq!(
            merged(
                json!({"metadata": {"finalizers": ["a", "b", "c"]}}),
                json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"], "$setElementOrder/finalizers": ["d", "a"], "finalizers": ["d"]}})
            ),
            r#"{"metadata":{"finalizers":["d","a","c"]}}"#
        );
        let e = merged(
            pod(json!({"containers": []})),
            pod(json!({"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]})),
        );
        assert!(e.starts_with("The order in patch list:\n[map[name:a]]\n doesn't match $setElementOrder list:\n[map[name:b]]"), "{e}");
    }

    #[test]
    fn retained_keys() {
        assert_eq!(
            merged(
                json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}),
                json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}})
            ),
            r#"{"spec":{"strategy":{"type":"Recreate"}}}"#
        );
        assert_eq!(
            merged(json!({}), json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}})),
            r#"{"spec":{"strategy":{"type":"Recreate"}}}"#
        );
    }
}
