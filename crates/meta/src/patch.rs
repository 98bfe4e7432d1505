//! JSON patch (RFC 6902) and JSON merge patch (RFC 7396), with the limits and the wording of upstream's
//! patch handler (`apiserver/pkg/endpoints/handlers/patch.go`) and of the library behind it.

use crate::{Reason, Status};
use serde_json::{Map, Value, json};
use std::fmt::Display;

/// Operations that one JSON patch may hold.
pub const MAX_OPERATIONS: usize = 10_000;
/// Bytes that the `copy` operations of one JSON patch may add. Upstream: the request body's limit.
pub const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;

/// A parsed JSON patch.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPatch {
    operations: Vec<Map<String, Value>>,
    /// What strict field validation objects to, for example `json patch unknown field "[0].foo"`.
    pub strict: Vec<String>,
}

/// Why an operation did not apply: upstream answers all of them with the same 422.
type Outcome<T> = Result<T, String>;

impl JsonPatch {
    /// Reads a patch: an array of operation objects.
    pub fn parse(v: Value) -> Result<Self, Status> {
        let Value::Array(items) = v else {
            let what = kind_name(&v);
            let text = format!(
                "error decoding patch: json: cannot unmarshal {what} into Go value of type []handlers.jsonPatchOp"
            );
            return Err(Status::bad_request(text));
        };
        if items.len() > MAX_OPERATIONS {
            let text = format!(
                "Request entity too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
                items.len()
            );
            return Err(Status::new(Reason::RequestEntityTooLarge, text));
        }
        let mut patch = Self { operations: Vec::with_capacity(items.len()), strict: Vec::new() };
        for (i, item) in items.into_iter().enumerate() {
            let Value::Object(op) = item else {
                let what = kind_name(&item);
                let text = format!(
                    "error decoding patch: json: cannot unmarshal {what} into Go value of type handlers.jsonPatchOp"
                );
                return Err(Status::bad_request(text));
            };
            let unknown = op.keys().filter(|k| !matches!(k.as_str(), "op" | "path" | "from" | "value"));
            patch
                .strict
                .extend(unknown.map(|k| format!("json patch unknown field {:?}", format!("[{i}].{k}"))));
            patch.operations.push(op);
        }
        Ok(patch)
    }

    /// Applies the operations in order. On failure `doc` is in an undefined state: apply to a copy.
    pub fn apply(&self, doc: &mut Value) -> Result<(), Status> {
        let mut copied = 0;
        self.operations.iter().try_for_each(|op| step(op, doc, &mut copied)).map_err(|why| {
            let text = "the server rejected our request due to an error in our request";
            let details =
                json!({"causes": [{"reason": "UnexpectedServerResponse", "message": why, "field": "patch"}]});
            Status { details, ..Status::new(Reason::Invalid, text) }
        })
    }
}

/// Go's name for a JSON value's kind.
fn kind_name(v: &Value) -> &'static str {
    match v {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn step(op: &Map<String, Value>, doc: &mut Value, copied: &mut usize) -> Outcome<()> {
    let text = |key: &str| op.get(key).and_then(Value::as_str);
    let kind = text("op").unwrap_or("unknown");
    let value = || op.get("value").cloned().unwrap_or_default();
    let path =
        || text("path").ok_or_else(|| format!("{kind} operation failed to decode path: missing value"));
    let from =
        || text("from").ok_or_else(|| format!("{kind} operation failed to decode from: missing value"));
    match kind {
        "add" => add(doc, path()?, value()),
        "remove" => remove(doc, path()?).map(drop),
        "replace" => replace(doc, path()?, value()),
        "test" => test(doc, path()?, &value()),
        "move" => {
            let moved = take(doc, from()?)?;
            put(doc, path()?, moved, "move")
        }
        "copy" => {
            let one = read(doc, from()?, "copy")?.clone();
            *copied += one.to_string().len();
            if *copied > MAX_COPIED_BYTES {
                return Err(format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPIED_BYTES}"
                ));
            }
            put(doc, path()?, one, "copy")
        }
        other => Err(format!("Unexpected kind: {other}")),
    }
}

/// The container that the last step of `path` looks into, and that step, unescaped.
fn parent<'a>(doc: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let mut steps: Vec<String> =
        path.split('/').skip(1).map(|s| s.replace("~1", "/").replace("~0", "~")).collect();
    let last = steps.pop()?;
    let mut at = doc;
    for step in &steps {
        at = match at {
            Value::Object(m) => m.get_mut(step)?,
            Value::Array(a) => {
                let i = existing(step, a.len()).ok()?;
                a.get_mut(i)?
            }
            _ => return None,
        };
    }
    (at.is_object() || at.is_array()).then_some((at, last))
}

/// An index into a list of `len` items; negative ones count from the end.
fn existing(key: &str, len: usize) -> Outcome<usize> {
    let i: i64 = key.parse().map_err(|_| format!("strconv.Atoi: parsing {key:?}: invalid syntax"))?;
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let at = if i < 0 { i + len } else { i };
    if (0..len).contains(&at) {
        return usize::try_from(at).map_err(|e| e.to_string());
    }
    Err(format!("Unable to access invalid index: {i}: invalid index referenced"))
}

fn insert(at: &mut Value, key: String, v: Value) -> Outcome<()> {
    match at {
        Value::Object(m) => {
            m.insert(key, v);
        }
        Value::Array(a) if key == "-" => a.push(v),
        Value::Array(a) => {
            let i = match key.parse::<i64>() {
                Ok(_) => existing(&key, a.len() + 1)?,
                Err(_) => {
                    let why = format!("strconv.Atoi: parsing {key:?}: invalid syntax");
                    return Err(format!("value was not a proper array index: '{key}': {why}"));
                }
            };
            a.insert(i, v);
        }
        _ => return Err("unknown object type".to_owned()),
    }
    Ok(())
}

fn add(doc: &mut Value, path: &str, v: Value) -> Outcome<()> {
    let Some((at, key)) = parent(doc, path) else {
        return Err(format!("add operation does not apply: doc is missing path: \"{path}\": missing value"));
    };
    insert(at, key, v).map_err(|e| format!("error in add for path: '{path}': {e}"))
}

fn cut(at: &mut Value, key: &str) -> Outcome<Value> {
    match at {
        Value::Object(m) => {
            m.remove(key).ok_or_else(|| format!("Unable to remove nonexistent key: {key}: missing value"))
        }
        Value::Array(a) => existing(key, a.len()).map(|i| a.remove(i)),
        _ => Err("unknown object type".to_owned()),
    }
}

fn remove(doc: &mut Value, path: &str) -> Outcome<Value> {
    let Some((at, key)) = parent(doc, path) else {
        return Err(format!(
            "remove operation does not apply: doc is missing path: \"{path}\": missing value"
        ));
    };
    cut(at, &key).map_err(|e| format!("error in remove for path: '{path}': {e}"))
}

fn take(doc: &mut Value, from: &str) -> Outcome<Value> {
    let Some((at, key)) = parent(doc, from) else {
        return Err(format!(
            "move operation does not apply: doc is missing from path: {from}: missing value"
        ));
    };
    cut(at, &key).map_err(|e| format!("error in move for path: '{key}': {e}"))
}

fn replace(doc: &mut Value, path: &str, v: Value) -> Outcome<()> {
    if path.is_empty() {
        *doc = v;
        return Ok(());
    }
    let Some((at, key)) = parent(doc, path) else {
        return Err(format!("replace operation does not apply: doc is missing path: {path}: missing value"));
    };
    match at {
        // As upstream's library: a key that isn't there yet is set.
        Value::Object(m) => {
            m.insert(key, v);
        }
        Value::Array(a) => {
            let missing =
                |_| format!("replace operation does not apply: doc is missing key: {path}: missing value");
            let i = existing(&key, a.len()).map_err(missing)?;
            a[i] = v;
        }
        _ => {}
    }
    Ok(())
}

fn read<'a>(doc: &'a mut Value, from: &str, what: &str) -> Outcome<&'a Value> {
    let Some((at, key)) = parent(doc, from) else {
        return Err(format!(
            "{what} operation does not apply: doc is missing from path: {from}: missing value"
        ));
    };
    match at {
        Value::Object(m) => Ok(m.get(&key).unwrap_or(&Value::Null)),
        Value::Array(a) => {
            let i =
                existing(&key, a.len()).map_err(|e| format!("error in {what} for from: '{from}': {e}"))?;
            Ok(&a[i])
        }
        _ => Ok(&Value::Null),
    }
}

fn put(doc: &mut Value, path: &str, v: Value, what: &str) -> Outcome<()> {
    let Some((at, key)) = parent(doc, path) else {
        return Err(format!(
            "{what} operation does not apply: doc is missing destination path: {path}: missing value"
        ));
    };
    insert(at, key, v).map_err(|e| match what {
        "copy" => format!("error while adding value during copy: {e}"),
        _ => format!("error in {what} for path: '{path}': {e}"),
    })
}

fn test(doc: &mut Value, path: &str, want: &Value) -> Outcome<()> {
    let failed = || format!("testing value {path} failed: test failed");
    if path.is_empty() {
        return if doc == want { Ok(()) } else { Err(failed()) };
    }
    let Some((at, key)) = parent(doc, path) else {
        return Err(format!("test operation does not apply: is missing path: {path}: missing value"));
    };
    let have = match at {
        Value::Object(m) => m.get(&key).unwrap_or(&Value::Null),
        Value::Array(a) => {
            let i = existing(&key, a.len()).map_err(|e| format!("error in test for path: '{path}': {e}"))?;
            &a[i]
        }
        _ => &Value::Null,
    };
    if same(have, want) { Ok(()) } else { Err(failed()) }
}

/// Equality in which `1` and `1.0` are one number, as RFC 6902 wants it.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(a, b)| same(a, b)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(k, v)| y.get(k).is_some_and(|w| same(v, w)))
        }
        _ => a == b,
    }
}

/// Applies a merge patch to an object; a patch that is no object is refused.
pub fn merge_patch(doc: &mut Value, patch: &Value) -> Result<(), Status> {
    let kind = match patch {
        Value::Object(_) => {
            merge(doc, patch);
            return Ok(());
        }
        Value::Null => return Err(bad_patch("Invalid JSON Patch")),
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
    };
    Err(bad_patch(format!(
        "error decoding patch: json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
    )))
}

fn bad_patch(why: impl Display) -> Status {
    Status::bad_request(why.to_string())
}

fn merge(doc: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *doc = patch.clone();
        return;
    };
    if !doc.is_object() {
        *doc = Value::Object(Map::new());
    }
    let Value::Object(map) = doc else { return };
    for (key, v) in patch {
        match v {
            Value::Null => {
                map.remove(key);
            }
            v => merge(map.entry(key.as_str()).or_insert(Value::Null), v),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(doc: Value, patch: Value) -> String {
        let mut doc = doc;
        match JsonPatch::parse(patch).and_then(|p| p.apply(&mut doc)) {
            Ok(()) => doc.to_string(),
            Err(s) => s.details["causes"][0]["message"].as_str().unwrap_or(&s.message).to_owned(),
        }
    }

    #[test]
    fn operations() {
        let doc = || json!({"a": {"b/c": 1}, "l": [1, 2]});
        for (patch, want) in [
            (json!([{"op": "add", "path": "/a/x", "value": 2}]), r#"{"a":{"b/c":1,"x":2},"l":[1,2]}"#),
            (json!([{"op": "add", "path": "/l/-", "value": 3}]), r#"{"a":{"b/c":1},"l":[1,2,3]}"#),
            (json!([{"op": "add", "path": "/l/0", "value": 0}]), r#"{"a":{"b/c":1},"l":[0,1,2]}"#),
            (json!([{"op": "remove", "path": "/a/b~1c"}]), r#"{"a":{},"l":[1,2]}"#),
            (json!([{"op": "move", "from": "/l/0", "path": "/z"}]), r#"{"a":{"b/c":1},"l":[2],"z":1}"#),
            (
                json!([{"op": "copy", "from": "/a", "path": "/z"}]),
                r#"{"a":{"b/c":1},"l":[1,2],"z":{"b/c":1}}"#,
            ),
            (json!([{"op": "test", "path": "/l/1", "value": 2.0}]), r#"{"a":{"b/c":1},"l":[1,2]}"#),
            (json!([{"op": "test", "path": "/l", "value": 2}]), "testing value /l failed: test failed"),
            (
                json!([{"op": "remove", "path": "/nope"}]),
                "error in remove for path: '/nope': Unable to remove nonexistent key: nope: missing value",
            ),
            (
                json!([{"op": "add", "path": "/x/y", "value": 1}]),
                "add operation does not apply: doc is missing path: \"/x/y\": missing value",
            ),
            (
                json!([{"op": "replace", "path": "/l/7", "value": 1}]),
                "replace operation does not apply: doc is missing key: /l/7: missing value",
            ),
            (json!([{"op": "frob", "path": "/l"}]), "Unexpected kind: frob"),
            (
                json!({}),
                "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
            ),
        ] {
            assert_eq!(patched(doc(), patch), want);
        }
    }

    #[test]
    fn limits() {
        let many = Value::Array(vec![json!({"op": "test", "path": ""}); MAX_OPERATIONS + 1]);
        let e = JsonPatch::parse(many).unwrap_err();
        assert_eq!(e.code, 413);
        assert_eq!(
            e.message,
            "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001"
        );
        let bomb: Vec<Value> =
            (0..40).map(|i| json!({"op": "copy", "from": "/a", "path": format!("/a/{i}")})).collect();
        assert!(patched(json!({"a": {"x": "y"}}), bomb.into()).starts_with("Unable to complete the copy"));
        let p = JsonPatch::parse(json!([{"op": "test", "path": "", "foo": 1}])).unwrap();
        assert_eq!(p.strict, [r#"json patch unknown field "[0].foo""#]);
    }

    #[test]
    fn merging() {
        let mut doc = json!({"a": {"b": 1, "c": 2}, "l": [1]});
        merge_patch(&mut doc, &json!({"a": {"b": null, "d": {"e": null, "f": 1}}, "l": [2], "n": null}))
            .unwrap();
        assert_eq!(doc, json!({"a": {"c": 2, "d": {"f": 1}}, "l": [2]}));
        assert_eq!(
            merge_patch(&mut doc, &json!([])).unwrap_err().message,
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
        );
    }
}
