//! Bytes of JSON to values, bounded, with a record of what strict field validation objects to
//! (`sigs.k8s.io/json`).

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Bytes that a request body may have (upstream's `MaxRequestBodyBytes`).
pub const MAX_BODY: usize = 3 * 1024 * 1024;
/// Nesting that JSON and YAML may have: the parser's own bound, far above what any kind needs.
pub const MAX_DEPTH: usize = 128;
/// Strict errors that are kept, as upstream.
pub const MAX_STRICT_ERRORS: usize = 100;

/// A decoded value and what strictness objects to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// The value; of a repeated key the last one counts, as in Go.
    pub value: Value,
    /// For example `duplicate field "spec.replicas"`; at most [`MAX_STRICT_ERRORS`].
    pub strict: Vec<String>,
}

/// Decodes one JSON document and nothing behind it.
pub fn json(bytes: &[u8]) -> Result<Decoded, serde_json::Error> {
    let mut out = Recorder::default();
    let mut d = serde_json::Deserializer::from_slice(bytes);
    let value = Node(&mut out).deserialize(&mut d)?;
    d.end()?;
    Ok(Decoded { value, strict: out.errors })
}

/// Collects strict errors with the path of the place that is being read.
#[derive(Default)]
pub(crate) struct Recorder {
    path: String,
    pub(crate) errors: Vec<String>,
}

impl Recorder {
    /// Runs `f` one step deeper in the path.
    pub(crate) fn below<T>(&mut self, step: &str, f: impl FnOnce(&mut Self) -> T) -> T {
        let len = self.path.len();
        if len > 0 && !step.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(step);
        let out = f(self);
        self.path.truncate(len);
        out
    }

    pub(crate) fn duplicate(&mut self, key: &str) {
        let path = self.below(key, |r| r.path.clone());
        let text = format!("duplicate field {path:?}");
        if self.errors.len() < MAX_STRICT_ERRORS && !self.errors.contains(&text) {
            self.errors.push(text);
        }
    }
}

struct Node<'a>(&'a mut Recorder);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E: Error>(self, v: f64) -> Result<Value, E> {
        Number::from_f64(v).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_string<E: Error>(self, v: String) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        loop {
            let step = format!("[{}]", out.len());
            match self.0.below(&step, |r| seq.next_element_seed(Node(r)))? {
                Some(v) => out.push(v),
                None => return Ok(Value::Array(out)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if out.contains_key(&key) {
                self.0.duplicate(&key);
            }
            let value = self.0.below(&key, |r| map.next_value_seed(Node(r)))?;
            out.insert(key, value);
        }
        Ok(Value::Object(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_reported_and_the_last_wins() {
        let d = json(br#"{"a":1,"a":2,"s":{"c":[{"n":1,"n":1,"n":3}]}}"#).unwrap();
        assert_eq!(d.value.to_string(), r#"{"a":2,"s":{"c":[{"n":3}]}}"#);
        assert_eq!(d.strict, [r#"duplicate field "a""#, r#"duplicate field "s.c[0].n""#]);
    }

    #[test]
    fn bounded() {
        assert!(json(&[b'['; 4096]).is_err());
        assert!(json(b"{} {}").is_err());
        assert!(json(b"1e999").is_err());
        let flood: String = (0..300).map(|i| format!("\"k{i}\":1,\"k{i}\":1,")).collect();
        let d = json(format!("{{{}\"z\":0}}", flood).as_bytes()).unwrap();
        assert_eq!(d.strict.len(), MAX_STRICT_ERRORS);
    }
}
