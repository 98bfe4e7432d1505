//! Protobuf bodies of built-in kinds, as Go clients send them (`k8s.io/apimachinery/pkg/runtime/serializer/protobuf`):
//! decoded into the JSON that the write path works on. Answers are JSON, which every client takes.

use crate::limits::MAX_DEPTH;
use base64::Engine as _;
use meta::gvk::parse_api_version;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::LazyLock;

/// Messages and their fields; the head of the file explains the notation.
const TABLE: &str = include_str!("../data/protobuf.txt");

/// What a protobuf body begins with.
const MAGIC: &[u8] = b"k8s\0";

type Outcome<T> = Result<T, String>;

/// How a field's value is written and read.
#[derive(Clone, Debug)]
enum Type {
    Text,
    Integer,
    Bool,
    Double,
    Bytes,
    Time,
    MicroTime,
    Duration,
    IntOrString,
    Quantity,
    Raw,
    /// A list of texts in a message of its own.
    Wrapped,
    Message(&'static str),
    /// The value of one field of a message, which stands for all of it.
    Choice(Box<Type>),
    List(Box<Type>),
    Map(Box<Type>),
}

struct Field {
    name: &'static str,
    ty: Type,
    keeps_zero: bool,
    inline: bool,
}

type Messages = HashMap<String, HashMap<u64, Field>>;

static MESSAGES: LazyLock<Messages> = LazyLock::new(read_table);

fn read_table() -> Messages {
    let (mut all, mut name) = (Messages::new(), "");
    for line in TABLE.lines().filter(|l| !l.starts_with('#')) {
        let Some(row) = line.strip_prefix(' ') else {
            name = line;
            all.entry(name.to_owned()).or_default();
            continue;
        };
        let mut words = row.split(' ');
        let (Some(number), Some(json), Some(ty)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let Ok(number) = number.parse() else { continue };
        let (inline, keeps_zero) = (ty.ends_with('~'), ty.ends_with('*'));
        let field = Field { name: json, ty: read_type(ty.trim_end_matches(['~', '*'])), keeps_zero, inline };
        all.entry(name.to_owned()).or_default().insert(number, field);
    }
    all
}

fn read_type(text: &'static str) -> Type {
    if let Some(item) = text.strip_prefix("[]") {
        return Type::List(Box::new(read_type(item)));
    }
    if let Some(item) = text.strip_prefix("{}") {
        return Type::Map(Box::new(read_type(item)));
    }
    if let Some(item) = text.strip_prefix('|') {
        return Type::Choice(Box::new(read_type(item)));
    }
    match text {
        "s" => Type::Text,
        "i" => Type::Integer,
        "b" => Type::Bool,
        "d" => Type::Double,
        "y" => Type::Bytes,
        "T" => Type::Time,
        "M" => Type::MicroTime,
        "D" => Type::Duration,
        "I" => Type::IntOrString,
        "Q" => Type::Quantity,
        "R" | "F" => Type::Raw,
        "E" => Type::Wrapped,
        name => Type::Message(name),
    }
}

/// One field as it stands on the wire.
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Outcome<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or("unexpected EOF")?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("integer overflow".to_owned())
    }

    fn take(&mut self, n: u64) -> Outcome<&'a [u8]> {
        let n = usize::try_from(n).ok().filter(|n| *n <= self.0.len()).ok_or("unexpected EOF")?;
        let (head, rest) = self.0.split_at(n);
        self.0 = rest;
        Ok(head)
    }

    fn field(&mut self) -> Outcome<Option<(u64, Wire<'a>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let wire = match tag & 7 {
            0 => Wire::Number(self.varint()?),
            1 => Wire::Number(little_endian(self.take(8)?)),
            2 => {
                let n = self.varint()?;
                Wire::Bytes(self.take(n)?)
            }
            5 => Wire::Number(little_endian(self.take(4)?)),
            other => return Err(format!("illegal wireType {other}")),
        };
        Ok(Some((tag >> 3, wire)))
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))
}

/// The JSON of a body: an object with `apiVersion` and `kind`.
pub(crate) fn decode(body: &[u8]) -> Outcome<Value> {
    let inner = body.strip_prefix(MAGIC).ok_or("provided data does not appear to be a protobuf message")?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    let mut reader = Reader(inner);
    while let Some((number, wire)) = reader.field()? {
        match (number, wire) {
            (1, Wire::Bytes(bytes)) => {
                let mut reader = Reader(bytes);
                while let Some((number, Wire::Bytes(text))) = reader.field()? {
                    match number {
                        1 => api_version = utf8(text)?,
                        2 => kind = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let name = message_name(&api_version, &kind);
    if !MESSAGES.contains_key(&name) {
        return Err(format!("no kind {kind:?} is registered for version {api_version:?} as protobuf"));
    }
    let mut object = message(&name, raw, 0)?;
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    Ok(Value::Object(object))
}

fn message_name(api_version: &str, kind: &str) -> String {
    if kind == "DeleteOptions" {
        return "meta/v1.DeleteOptions".to_owned();
    }
    let (group, version) = parse_api_version(api_version);
    let package = match group {
        "" => "core",
        group => group.split('.').next().unwrap_or_default(),
    };
    format!("{package}/{version}.{kind}")
}

fn message(name: &str, bytes: &[u8], depth: usize) -> Outcome<Map<String, Value>> {
    let fields = MESSAGES.get(name).ok_or_else(|| format!("unknown message {name}"))?;
    if depth > MAX_DEPTH {
        return Err("exceeded max depth".to_owned());
    }
    let package = name.split('.').next().unwrap_or_default();
    let (mut out, mut reader) = (Map::new(), Reader(bytes));
    while let Some((number, wire)) = reader.field()? {
        let Some(field) = fields.get(&number) else { continue };
        put(&mut out, field, wire, package, depth)?;
    }
    Ok(out)
}

fn put(
    out: &mut Map<String, Value>,
    field: &Field,
    wire: Wire<'_>,
    package: &str,
    depth: usize,
) -> Outcome<()> {
    match &field.ty {
        Type::List(item) => {
            let slot = out.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
            let Value::Array(list) = slot else { return Ok(()) };
            match (&**item, wire) {
                // Numbers may stand together in one field.
                (Type::Integer, Wire::Bytes(bytes)) => {
                    let mut reader = Reader(bytes);
                    while !reader.0.is_empty() {
                        list.push(reader.varint()?.cast_signed().into());
                    }
                }
                (item, wire) => list.push(scalar(item, wire, package, depth)?),
            }
        }
        Type::Map(item) => {
            let Wire::Bytes(bytes) = wire else { return Err("a map entry is no message".to_owned()) };
            let slot = out.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(map) = slot else { return Ok(()) };
            let (key, v) = map_entry(item, bytes, package, depth)?;
            map.insert(key, v);
        }
        ty => {
            let v = scalar(ty, wire, package, depth)?;
            match v {
                Value::Object(inner) if field.inline => out.extend(inner),
                v if field.keeps_zero || !is_zero(&v) => {
                    out.insert(field.name.to_owned(), v);
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn map_entry(item: &Type, bytes: &[u8], package: &str, depth: usize) -> Outcome<(String, Value)> {
    let (mut key, mut found, mut reader) = (String::new(), None, Reader(bytes));
    while let Some((number, wire)) = reader.field()? {
        match (number, wire) {
            (1, Wire::Bytes(text)) => key = utf8(text)?,
            (2, wire) => found = Some(scalar(item, wire, package, depth)?),
            _ => {}
        }
    }
    let v = match found {
        Some(v) => v,
        None => scalar(item, Wire::Bytes(&[]), package, depth)?,
    };
    Ok((key, v))
}

fn is_zero(v: &Value) -> bool {
    match v {
        Value::String(s) => s.is_empty(),
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::Bool(b) => !b,
        _ => false,
    }
}

fn utf8(bytes: &[u8]) -> Outcome<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a text is not UTF-8".to_owned())
}

fn scalar(ty: &Type, wire: Wire<'_>, package: &str, depth: usize) -> Outcome<Value> {
    Ok(match (ty, wire) {
        (Type::Integer, Wire::Number(n)) => n.cast_signed().into(),
        (Type::Bool, Wire::Number(n)) => (n != 0).into(),
        (Type::Double, Wire::Number(n)) => f64::from_bits(n).into(),
        (Type::Duration, Wire::Number(n)) => duration_text(n.cast_signed()).into(),
        (Type::Text, Wire::Bytes(b)) => utf8(b)?.into(),
        (Type::Bytes, Wire::Bytes(b)) => base64::engine::general_purpose::STANDARD.encode(b).into(),
        (Type::Time, Wire::Bytes(b)) => time(b, false)?,
        (Type::MicroTime, Wire::Bytes(b)) => time(b, true)?,
        (Type::Duration, Wire::Bytes(b)) => duration_text(number(b, 1)?).into(),
        (Type::IntOrString, Wire::Bytes(b)) => match number(b, 1)? {
            0 => number(b, 2)?.into(),
            _ => text(b, 3)?.into(),
        },
        (Type::Quantity, Wire::Bytes(b)) => text(b, 1)?.into(),
        (Type::Raw, Wire::Bytes(b)) => raw(b)?,
        (Type::Wrapped, Wire::Bytes(b)) => wrapped(b)?,
        (Type::Message(name), Wire::Bytes(b)) => {
            let full = if name.starts_with('.') { format!("{package}{name}") } else { (*name).to_owned() };
            Value::Object(message(&full, b, depth + 1)?)
        }
        (Type::Choice(ty), wire) => chosen(scalar(ty, wire, package, depth)?),
        _ => return Err("a field has the wrong wireType".to_owned()),
    })
}

/// Go's `JSONSchemaPropsOr...` types: a schema, or something simpler in its place.
fn chosen(v: Value) -> Value {
    let Value::Object(mut fields) = v else { return v };
    let schema = fields.remove("schema");
    schema.or_else(|| fields.into_iter().next().map(|(_, v)| v)).unwrap_or_default()
}

/// The number in field `wanted` of a small message; 0 where it is absent.
fn number(bytes: &[u8], wanted: u64) -> Outcome<i64> {
    let (mut found, mut reader) = (0, Reader(bytes));
    while let Some((at, wire)) = reader.field()? {
        if let (true, Wire::Number(n)) = (at == wanted, wire) {
            found = n.cast_signed();
        }
    }
    Ok(found)
}

/// The text in field `wanted` of a small message; empty where it is absent.
fn text(bytes: &[u8], wanted: u64) -> Outcome<String> {
    let (mut found, mut reader) = (String::new(), Reader(bytes));
    while let Some((at, wire)) = reader.field()? {
        if let (true, Wire::Bytes(b)) = (at == wanted, wire) {
            found = utf8(b)?;
        }
    }
    Ok(found)
}

/// The zero time is `null`, as Go's JSON has it.
fn time(bytes: &[u8], micro: bool) -> Outcome<Value> {
    let (seconds, nanos) = (number(bytes, 1)?, number(bytes, 2)?);
    if (seconds, nanos) == (0, 0) {
        return Ok(Value::Null);
    }
    let nanos = i32::try_from(nanos).map_err(|_| "a time is out of range")?;
    let t = jiff::Timestamp::new(seconds, nanos).map_err(|_| "a time is out of range")?;
    Ok(if micro { meta::time::micro_time(t).into() } else { meta::Time::new(t).to_string().into() })
}

fn raw(bytes: &[u8]) -> Outcome<Value> {
    let (mut found, mut reader) = (Value::Null, Reader(bytes));
    while let Some((at, wire)) = reader.field()? {
        if let (1, Wire::Bytes(json)) = (at, wire) {
            found = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        }
    }
    Ok(found)
}

fn wrapped(bytes: &[u8]) -> Outcome<Value> {
    let (mut list, mut reader) = (Vec::new(), Reader(bytes));
    while let Some((at, wire)) = reader.field()? {
        if let (1, Wire::Bytes(b)) = (at, wire) {
            list.push(Value::String(utf8(b)?));
        }
    }
    Ok(list.into())
}

/// Nanoseconds as Go writes a duration, in seconds.
fn duration_text(nanos: i64) -> String {
    let (seconds, rest) = (nanos / 1_000_000_000, (nanos % 1_000_000_000).abs());
    match rest {
        0 => format!("{seconds}s"),
        rest => format!("{seconds}.{}s", format!("{rest:09}").trim_end_matches('0')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()][..], bytes].concat()
    }

    fn body(kind: &str, raw: &[u8]) -> Vec<u8> {
        let types = [field(1, b"v1"), field(2, kind.as_bytes())].concat();
        [MAGIC, &field(1, &types), &field(2, raw)].concat()
    }

    #[test]
    fn a_config_map_is_read() {
        let meta = [
            field(1, b"a"),
            field(3, b""),
            field(8, b""),
            field(11, &[field(1, b"k"), field(2, b"v")].concat()),
        ];
        let data = [field(1, b"x"), field(2, b"y")].concat();
        let raw = [field(1, &meta.concat()), field(2, &data), vec![4 << 3, 0]].concat();
        expect![[r#"{"apiVersion":"v1","data":{"x":"y"},"immutable":false,"kind":"ConfigMap","metadata":{"creationTimestamp":null,"labels":{"k":"v"},"name":"a"}}"#]]
            .assert_eq(&decode(&body("ConfigMap", &raw)).unwrap().to_string());
    }

    #[test]
    fn what_is_embedded_stands_inline() {
        let source = field(2, b"");
        let volume = [field(1, b"v"), field(2, &source)].concat();
        let raw = field(2, &field(1, &volume));
        expect![[r#"{"apiVersion":"v1","kind":"Pod","spec":{"volumes":[{"emptyDir":{},"name":"v"}]}}"#]]
            .assert_eq(&decode(&body("Pod", &raw)).unwrap().to_string());
    }

    #[test]
    fn a_schema_or_something_simpler() {
        let typed = field(5, b"object");
        // Numbers above 15 take two bytes.
        let high = |number: u8, bytes: &[u8]| {
            [&[number << 3 | 0x82, 1, u8::try_from(bytes.len()).unwrap()][..], bytes].concat()
        };
        let items = high(24, &field(1, &typed));
        let open = high(30, &[1 << 3, 1]);
        let closed = high(30, &[&[1 << 3, 0][..], &field(2, &typed)].concat());
        for (raw, expected) in [
            (items, r#"{"items":{"type":"object"}}"#),
            (open, r#"{"additionalProperties":true}"#),
            (closed, r#"{"additionalProperties":{"type":"object"}}"#),
        ] {
            let v = message("apiextensions/v1.JSONSchemaProps", &raw, 0).unwrap();
            assert_eq!(Value::Object(v).to_string(), expected);
        }
    }

    #[test]
    fn hostile_bytes_are_refused() {
        for bytes in [
            &b"{}"[..],
            b"k8s\0\x0a\xff",
            b"k8s\0\x0a\x03\x0a\x01v",
            b"k8s\0\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert!(decode(bytes).is_err());
        }
        let pod = body("Pod", b"\x12\x05ab");
        for end in 0..pod.len() {
            let _ = decode(&pod[..end]);
        }
    }

    #[test]
    fn every_message_that_is_named_is_there() {
        for (name, fields) in MESSAGES.iter() {
            let package = name.split('.').next().unwrap();
            for field in fields.values() {
                let mut ty = &field.ty;
                while let Type::List(item) | Type::Map(item) | Type::Choice(item) = ty {
                    ty = item;
                }
                if let Type::Message(m) = ty {
                    let full = if m.starts_with('.') { format!("{package}{m}") } else { (*m).to_owned() };
                    assert!(MESSAGES.contains_key(&full), "{name}.{} is a {full}", field.name);
                }
            }
        }
    }
}
