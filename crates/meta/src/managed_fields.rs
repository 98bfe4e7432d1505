//! Cuts `metadata.managedFields` out of an object's JSON without parsing it: about a third of a typical object, which
//! no cache of ours reads (client-go's informers have transform functions for the same purpose).

use std::borrow::Cow;
use std::ops::Range;

/// The object without `metadata.managedFields`. Text that has none, or isn't the JSON of an object, comes back as it is:
/// whoever parses it will say what is wrong.
pub fn cut(json: &[u8]) -> Cow<'_, [u8]> {
    let Some(found) = find(json) else { return Cow::Borrowed(json) };
    let mut bare = Vec::with_capacity(json.len() - found.len());
    bare.extend_from_slice(&json[..found.start]);
    bare.extend_from_slice(&json[found.end..]);
    Cow::Owned(bare)
}

/// The member with the comma that parts it from its neighbour.
fn find(json: &[u8]) -> Option<Range<usize>> {
    let metadata = member(json, blank(json, 0), b"\"metadata\"")?;
    let found = member(json, metadata.value, b"\"managedFields\"")?;
    let behind = blank(json, found.end);
    match (found.comma, json.get(behind)?) {
        (Some(comma), _) => Some(comma..found.end),
        (None, b',') => Some(found.key..behind + 1),
        (None, _) => Some(found.key..found.end),
    }
}

/// Where a member of an object stands.
struct Member {
    /// The comma before it, unless it is the first.
    comma: Option<usize>,
    key: usize,
    value: usize,
    end: usize,
}

/// The member of this name, quotes included, of the object that begins at `open`.
fn member(json: &[u8], open: usize, name: &[u8]) -> Option<Member> {
    if json.get(open) != Some(&b'{') {
        return None;
    }
    let (mut comma, mut key) = (None, blank(json, open + 1));
    loop {
        let key_end = string(json, key)?;
        let colon = blank(json, key_end);
        if json.get(colon) != Some(&b':') {
            return None;
        }
        let value = blank(json, colon + 1);
        let end = skip(json, value)?;
        if &json[key..key_end] == name {
            return Some(Member { comma, key, value, end });
        }
        let next = blank(json, end);
        if json.get(next) != Some(&b',') {
            return None;
        }
        (comma, key) = (Some(next), blank(json, next + 1));
    }
}

/// The first place from `at` on that is no white space.
fn blank(json: &[u8], at: usize) -> usize {
    let rest = json.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')).count()
}

/// Behind the string that begins at `at`.
fn string(json: &[u8], at: usize) -> Option<usize> {
    if json.get(at) != Some(&b'"') {
        return None;
    }
    let mut at = at + 1;
    loop {
        match json.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Behind the value that begins at `at`. Brackets are counted, not matched.
fn skip(json: &[u8], at: usize) -> Option<usize> {
    let (mut at, mut depth) = (at, 0_usize);
    loop {
        match json.get(at)? {
            b'"' => at = string(json, at)?,
            b'{' | b'[' => (at, depth) = (at + 1, depth + 1),
            b'}' | b']' if depth > 0 => (at, depth) = (at + 1, depth - 1),
            b'}' | b']' | b',' if depth == 0 => return Some(at),
            _ => {
                at += 1;
                continue;
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(object: &str, expected: &str) {
        assert_eq!(String::from_utf8_lossy(&cut(object.as_bytes())), expected, "{object}");
    }

    #[test]
    fn cuts_one_member_and_one_comma() {
        check(
            r#"{"metadata":{"name":"a","managedFields":[{"f:a":{}}]},"x":1}"#,
            r#"{"metadata":{"name":"a"},"x":1}"#,
        );
        check(r#"{"metadata":{"managedFields":[1,[2]],"name":"a"}}"#, r#"{"metadata":{"name":"a"}}"#);
        check(r#"{"metadata":{"managedFields":[]}}"#, r#"{"metadata":{}}"#);
        check(
            "{ \"kind\" : \"A\" , \"metadata\" : { \"name\":\"a\" , \"managedFields\" : [ ] , \"uid\" : \"u\" } }",
            "{ \"kind\" : \"A\" , \"metadata\" : { \"name\":\"a\"  , \"uid\" : \"u\" } }",
        );
    }

    #[test]
    fn leaves_everything_else_alone() {
        for same in [
            r#"{"metadata":{"name":"a"},"managedFields":[1]}"#,
            r#"{"data":{"metadata":{"managedFields":[1]}},"metadata":{"annotations":{"managedFields":"x"}}}"#,
            r#"{"metadata":{"annotations":{"a":"\"managedFields\":[\\"},"name":"]}"}}"#,
            r#"{"metadata":null}"#,
            r#"{"metadata":{"managedFields"#,
            r#"{"metadata":{"managedFields":[{"#,
            "[]",
            "{",
            "",
            "\"\\",
        ] {
            check(same, same);
        }
    }

    #[test]
    fn what_is_left_parses_to_the_same_object() {
        let fields = json!([{"manager": "a\"]}\\", "fieldsV1": {"f:spec": {"k:{\"name\":\"a\"}": {}}}}]);
        let mut object = json!({"apiVersion": "v1", "metadata": {"labels": {"é\\": "\u{1}"}, "managedFields": fields,
            "name": "a"}, "spec": [1.5, true, null, "x"]});
        let bare = cut(object.to_string().as_bytes()).into_owned();
        object["metadata"].as_object_mut().expect("an object").remove("managedFields");
        assert_eq!(serde_json::from_slice::<Value>(&bare).expect("JSON"), object);
    }
}
