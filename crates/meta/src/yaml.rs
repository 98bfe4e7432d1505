//! YAML to JSON values as `sigs.k8s.io/yaml` reads it, which is YAML 1.1 of go-yaml v2: `yes` and `on` are
//! booleans, `0777` is octal, `1e3` is a whole number. Depth, aliases and size are bounded.

use crate::decode::{Decoded, MAX_BODY, MAX_DEPTH};
use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Number, Value};
use std::collections::HashMap;

/// Nodes that all aliases of one text may stand for together.
pub const MAX_ALIASED_NODES: usize = 100_000;
/// Documents that one text may hold.
pub const MAX_DOCUMENTS: usize = 10_000;

/// Why a text is no YAML that JSON can express.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error converting YAML to JSON: {0}")]
pub struct YamlError(String);

type Outcome<T> = Result<T, YamlError>;

fn fail<T>(text: impl Into<String>) -> Outcome<T> {
    Err(YamlError(text.into()))
}

/// The only (or first) document; of an empty text `null`. `strict` names the keys that stand twice.
pub fn decode(text: &str) -> Outcome<Decoded> {
    let mut all = read(text, 1)?;
    Ok(if all.is_empty() { Decoded::default() } else { all.swap_remove(0) })
}

/// All documents of a text, as `---` separates them; empty ones are left out.
pub fn documents(text: &str) -> Outcome<Vec<Decoded>> {
    let mut all = read(text, MAX_DOCUMENTS)?;
    all.retain(|d| !d.value.is_null());
    Ok(all)
}

/// A scalar before it is known whether it is a key, or a finished value.
struct Node {
    value: Value,
    merge: bool,
}

enum Frame {
    List(Vec<Value>, usize),
    Map { map: Map<String, Value>, key: Option<(String, bool)>, merges: Vec<Value>, anchor: usize },
}

#[derive(Default)]
struct Builder {
    stack: Vec<Frame>,
    anchors: HashMap<usize, (Value, usize)>,
    aliased: usize,
    repeated: Vec<String>,
    root: Option<Value>,
}

fn read(text: &str, max: usize) -> Outcome<Vec<Decoded>> {
    if text.len() > MAX_BODY {
        return fail(format!("yaml: document is larger than {MAX_BODY} bytes"));
    }
    let (mut out, mut builder) = (Vec::new(), Builder::default());
    for item in Parser::new_from_str(text) {
        let (event, span) =
            item.map_err(|e| YamlError(format!("yaml: line {}: {}", e.marker().line(), e.info())))?;
        let line = span.start.line();
        match event {
            Event::DocumentEnd => {
                out.push(std::mem::take(&mut builder).finish());
                if out.len() == max {
                    break;
                }
            }
            event => builder.event(event, line)?,
        }
    }
    Ok(out)
}

impl Builder {
    fn finish(self) -> Decoded {
        let strict = match self.repeated.as_slice() {
            [] => Vec::new(),
            lines => vec![format!("yaml: unmarshal errors:\n  {}", lines.join("\n  "))],
        };
        Decoded { value: self.root.unwrap_or_default(), strict }
    }

    fn event(&mut self, event: Event<'_>, line: usize) -> Outcome<()> {
        match event {
            Event::Alias(id) => {
                let Some((value, size)) = self.anchors.get(&id) else {
                    return fail(format!("yaml: line {line}: anchor value contains itself"));
                };
                self.aliased += size;
                if self.aliased > MAX_ALIASED_NODES {
                    return fail("yaml: document contains excessive aliasing");
                }
                let value = value.clone();
                self.put(Node { value, merge: false }, line)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let node = scalar(&text, style, tag.as_deref())?;
                self.anchor(anchor, &node.value);
                self.put(node, line)
            }
            Event::SequenceStart(anchor, _) => self.open(Frame::List(Vec::new(), anchor)),
            Event::MappingStart(anchor, _) => {
                self.open(Frame::Map { map: Map::new(), key: None, merges: Vec::new(), anchor })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(line),
            _ => Ok(()),
        }
    }

    fn open(&mut self, frame: Frame) -> Outcome<()> {
        if self.stack.len() >= MAX_DEPTH {
            return fail(format!("yaml: exceeded max depth of {MAX_DEPTH}"));
        }
        self.stack.push(frame);
        Ok(())
    }

    fn close(&mut self, line: usize) -> Outcome<()> {
        let (value, anchor) = match self.stack.pop() {
            Some(Frame::List(items, anchor)) => (Value::Array(items), anchor),
            Some(Frame::Map { mut map, merges, anchor, .. }) => {
                merges.into_iter().try_for_each(|m| merge(&mut map, m, line))?;
                (Value::Object(map), anchor)
            }
            None => return Ok(()),
        };
        self.anchor(anchor, &value);
        self.put(Node { value, merge: false }, line)
    }

    fn anchor(&mut self, id: usize, value: &Value) {
        if id > 0 {
            self.anchors.insert(id, (value.clone(), size(value)));
        }
    }

    fn put(&mut self, node: Node, line: usize) -> Outcome<()> {
        match self.stack.last_mut() {
            None => self.root = Some(node.value),
            Some(Frame::List(items, _)) => items.push(node.value),
            Some(Frame::Map { map, key, merges, .. }) => match key.take() {
                None => *key = Some((key_text(&node.value, line)?, node.merge)),
                Some((_, true)) => merges.push(node.value),
                Some((name, false)) => {
                    if map.contains_key(&name) {
                        self.repeated.push(format!("line {line}: key {name:?} already set in map"));
                    }
                    map.insert(name, node.value);
                }
            },
        }
        Ok(())
    }
}

/// How many nodes an alias to `v` stands for; long strings count as several.
fn size(v: &Value) -> usize {
    match v {
        Value::Array(a) => 1 + a.iter().map(size).sum::<usize>(),
        Value::Object(m) => 1 + m.iter().map(|(k, v)| 1 + k.len() / 64 + size(v)).sum::<usize>(),
        Value::String(s) => 1 + s.len() / 64,
        _ => 1,
    }
}

/// `<<`: keys of the merged map (or maps, the first one wins) that `map` doesn't have.
fn merge(map: &mut Map<String, Value>, from: Value, line: usize) -> Outcome<()> {
    match from {
        Value::Object(m) => {
            m.into_iter().for_each(|(k, v)| {
                map.entry(k).or_insert(v);
            });
            Ok(())
        }
        Value::Array(list) if list.iter().all(Value::is_object) => {
            list.into_iter().try_for_each(|m| merge(map, m, line))
        }
        _ => fail(format!("yaml: line {line}: map merge requires map or sequence of maps as the value")),
    }
}

/// JSON knows only keys that are strings; numbers and booleans become their text.
fn key_text(v: &Value, line: usize) -> Outcome<String> {
    match v {
        Value::String(s) => Ok(s.clone()),
        Value::Number(n) => Ok(n.to_string()),
        Value::Bool(b) => Ok(b.to_string()),
        other => fail(format!("line {line}: unsupported map key: {other}")),
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Outcome<Node> {
    let plain = style == ScalarStyle::Plain;
    let core = tag.filter(|t| t.is_yaml_core_schema()).map(|t| t.suffix.as_str());
    let value = match (core, tag) {
        (Some("str"), _) => text.into(),
        (Some("binary"), _) => binary(text)?,
        (Some("float"), _) => match resolve(text)? {
            Value::Number(n) => n.into(),
            _ => return fail(format!("yaml: cannot decode !!str `{text}` as a !!float")),
        },
        (Some(_), _) => resolve(text)?,
        (None, Some(_)) => text.into(),
        (None, None) if plain => resolve(text)?,
        (None, None) => text.into(),
    };
    Ok(Node { value, merge: plain && text == "<<" && tag.is_none() })
}

fn binary(text: &str) -> Outcome<Value> {
    use base64::Engine;
    let compact: String = text.split_whitespace().collect();
    let bytes = base64::engine::general_purpose::STANDARD.decode(compact);
    let bytes =
        bytes.map_err(|_| YamlError("yaml: !!binary value contains invalid base64 data".to_owned()))?;
    Ok(String::from_utf8_lossy(&bytes).into())
}

/// The value of a plain scalar, by go-yaml v2's table.
fn resolve(text: &str) -> Outcome<Value> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => true.into(),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => false.into(),
        ".nan" | ".NaN" | ".NAN" => return fail("json: unsupported value: NaN"),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return fail("json: unsupported value: +Inf");
        }
        "-.inf" | "-.Inf" | "-.INF" => return fail("json: unsupported value: -Inf"),
        _ => number(text).unwrap_or_else(|| text.into()),
    })
}

fn number(text: &str) -> Option<Value> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.as_bytes().first()? {
        b'-' => (true, &plain[1..]),
        b'+' => (false, &plain[1..]),
        _ => (false, plain.as_str()),
    };
    if let Some(n) = integer(negative, digits) {
        return Some(n);
    }
    if !is_float(digits) {
        return None;
    }
    let f: f64 = digits.parse().ok()?;
    let f = if negative { -f } else { f };
    // JSON written by Go has no point in whole numbers, so they read back as integers.
    if f.fract() == 0.0 && f.abs() < 9.0e18 {
        return Some((f as i64).into());
    }
    Number::from_f64(f).map(Value::Number)
}

/// Decimal, `0x`, `0o`, `0b` and old octal (`0777`), as Go's `strconv.ParseInt` with base 0.
fn integer(negative: bool, digits: &str) -> Option<Value> {
    let lower = digits.to_ascii_lowercase();
    let (radix, body) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if !body.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let n = i128::from_str_radix(body, radix).ok()?;
    let n = if negative { -n } else { n };
    i64::try_from(n).map(Value::from).or_else(|_| u64::try_from(n).map(Value::from)).ok()
}

/// `\.[0-9]+|[0-9]+(\.[0-9]*)?` and an exponent.
fn is_float(s: &str) -> bool {
    let (mantissa, exponent) = s.split_once(['e', 'E']).map_or((s, None), |(m, e)| (m, Some(e)));
    let digits = |s: &str| s.bytes().all(|c| c.is_ascii_digit());
    let good = match mantissa.split_once('.') {
        None => !mantissa.is_empty() && digits(mantissa),
        Some(("", tail)) => !tail.is_empty() && digits(tail),
        Some((head, tail)) => digits(head) && digits(tail),
    };
    good && exponent.is_none_or(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && digits(e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        decode(text).map_or_else(|e| e.to_string(), |d| d.value.to_string())
    }

    #[test]
    fn scalars_are_those_of_yaml_1_1() {
        for (text, want) in [
            ("0777", "511"),
            ("0o17", "15"),
            ("0x1F", "31"),
            ("0b11", "3"),
            ("-0x10", "-16"),
            ("0888", "888"),
            ("1_000", "1000"),
            ("1e3", "1000"),
            ("1.0", "1"),
            ("1.5", "1.5"),
            (".5", "0.5"),
            ("5.", "5"),
            ("+3", "3"),
            ("18446744073709551615", "18446744073709551615"),
            ("on", "true"),
            ("No", "false"),
            ("y", "true"),
            ("~", "null"),
            ("", "null"),
            ("1.2.3", "\"1.2.3\""),
            ("1Gi", "\"1Gi\""),
            ("2006-01-02", "\"2006-01-02\""),
            ("'yes'", "\"yes\""),
            ("\"1\"", "\"1\""),
            ("!!str 1", "\"1\""),
            ("0", "0"),
            ("-", "[null]"),
            ("12:30:45", "\"12:30:45\""),
            ("!!binary aGk=", "\"hi\""),
            ("1e3x", "\"1e3x\""),
            ("-.inf", "error converting YAML to JSON: json: unsupported value: -Inf"),
        ] {
            assert_eq!(show(text), want, "{text}");
        }
    }

    #[test]
    fn structure() {
        assert_eq!(
            show("a: {b: [1, x]}\nc: |\n  t\n  u\n1: z\ntrue: q"),
            r#"{"1":"z","a":{"b":[1,"x"]},"c":"t\nu\n","true":"q"}"#
        );
        assert_eq!(
            show("a: &a {p: 1, q: 2}\nb:\n  <<: *a\n  q: 3\nc: *a"),
            r#"{"a":{"p":1,"q":2},"b":{"p":1,"q":3},"c":{"p":1,"q":2}}"#
        );
        let docs = documents("---\na: 1\n---\n# nothing\n---\nb: 2\n").unwrap();
        assert_eq!(
            docs.iter().map(|d| d.value.to_string()).collect::<Vec<_>>(),
            [r#"{"a":1}"#, r#"{"b":2}"#]
        );
        assert_eq!(
            decode("a: 1\nb: 2\na: 3").unwrap().strict,
            ["yaml: unmarshal errors:\n  line 3: key \"a\" already set in map"]
        );
        assert!(show("a: b: c").starts_with("error converting YAML to JSON: yaml: line 1: "));
        assert_eq!(
            show(r#"{"kind":"Pod","n":[1,2.5,null,true]}"#),
            r#"{"kind":"Pod","n":[1,2.5,null,true]}"#
        );
    }

    #[test]
    fn bombs_are_refused() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..9 {
            let refs = vec![format!("*a{}", i - 1); 10].join(",");
            bomb.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
        }
        assert_eq!(show(&bomb), "error converting YAML to JSON: yaml: document contains excessive aliasing");
        assert!(show(&"[".repeat(5000)).contains("recursion limit exceeded"));
        assert!(show(&"- ".repeat(200)).contains("exceeded max depth of 128"));
        assert!(show("a: &a [*a]").starts_with("error"));
    }
}
