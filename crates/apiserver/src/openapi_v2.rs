//! `/openapi/v2`: all definitions in one document of the older form, as JSON or packed as gnostic's message `Document`
//! (`openapiv2/OpenAPIv2.proto`). Go clients that plan, merge or explain by it ask for the packed one. It is made anew
//! for each request: it is large, and seldom asked for.

use serde_json::{Map, Value, json};

/// What clients ask for: with an `@`, which isn't allowed in the name of a media type, and so answered with a dot.
pub(crate) const ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// What they are answered with.
pub(crate) const MEDIA: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// What version 2 has no words for.
const UNKNOWN: [&str; 4] = ["anyOf", "not", "nullable", "oneOf"];

/// The document of these definitions, which are in the form of version 3.
pub(crate) fn document(definitions: Map<String, Value>) -> Value {
    let definitions: Map<String, Value> =
        definitions.into_iter().map(|(name, schema)| (name, older(schema))).collect();
    json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": crate::plain::VERSION}, "paths": {},
        "definitions": definitions})
}

/// A schema of version 3 in the words of version 2.
fn older(schema: Value) -> Value {
    let Value::Object(mut map) = schema else { return schema };
    let either = map.contains_key("oneOf");
    UNKNOWN.iter().for_each(|word| drop(map.remove(*word)));
    // Version 3 says `allOf` where text stands beside a reference.
    if let Some(Value::Array(all)) = map.remove("allOf")
        && let [Value::Object(one)] = all.as_slice()
    {
        map.extend(one.clone());
    }
    if either && !map.contains_key("type") && !map.contains_key("x-kubernetes-int-or-string") {
        map.insert("type".into(), "string".into());
    }
    Value::Object(map.into_iter().map(|(word, v)| (word.clone(), part(&word, v))).collect())
}

fn part(word: &str, v: Value) -> Value {
    match (word, v) {
        ("$ref", Value::String(to)) => to.replace("#/components/schemas/", "#/definitions/").into(),
        ("properties", Value::Object(all)) => {
            all.into_iter().map(|(name, schema)| (name, older(schema))).collect::<Map<_, _>>().into()
        }
        ("items" | "additionalProperties", schema) => older(schema),
        (_, v) => v,
    }
}

/// How the value of a schema's word is packed.
enum Form {
    Text,
    Texts,
    Number,
    Whole,
    Bool,
    Any,
    Anys,
    /// One text or several, in a message of their own.
    Type,
    /// A schema, in a message of its own.
    Schema,
    /// Named schemas, in a message of their own.
    Properties,
}

/// A schema's words and their fields.
const WORDS: [(&str, u32, Form); 23] = [
    ("$ref", 1, Form::Text),
    ("format", 2, Form::Text),
    ("title", 3, Form::Text),
    ("description", 4, Form::Text),
    ("default", 5, Form::Any),
    ("multipleOf", 6, Form::Number),
    ("maximum", 7, Form::Number),
    ("exclusiveMaximum", 8, Form::Bool),
    ("minimum", 9, Form::Number),
    ("exclusiveMinimum", 10, Form::Bool),
    ("maxLength", 11, Form::Whole),
    ("minLength", 12, Form::Whole),
    ("pattern", 13, Form::Text),
    ("maxItems", 14, Form::Whole),
    ("minItems", 15, Form::Whole),
    ("uniqueItems", 16, Form::Bool),
    ("maxProperties", 17, Form::Whole),
    ("minProperties", 18, Form::Whole),
    ("required", 19, Form::Texts),
    ("enum", 20, Form::Anys),
    ("type", 22, Form::Type),
    ("items", 23, Form::Schema),
    ("properties", 25, Form::Properties),
];
const ADDITIONAL_PROPERTIES: u32 = 21;
const VENDOR_EXTENSION: u32 = 31;

/// The document packed.
pub(crate) fn packed(document: &Value) -> Vec<u8> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let info = [
        field(1, text(&document["info"]["title"]).as_bytes()),
        field(2, text(&document["info"]["version"]).as_bytes()),
    ];
    let parts = [
        field(1, text(&document["swagger"]).as_bytes()),
        field(2, &info.concat()),
        field(8, &[]),
        field(9, &named(&document["definitions"])),
    ];
    parts.concat()
}

fn varint(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn key(number: u32, wire: u32) -> Vec<u8> {
    let mut out = Vec::new();
    varint(u64::from(number << 3 | wire), &mut out);
    out
}

/// A field of bytes: a text or a message.
fn field(number: u32, value: &[u8]) -> Vec<u8> {
    let mut out = key(number, 2);
    varint(value.len() as u64, &mut out);
    out.extend_from_slice(value);
    out
}

fn whole(number: u32, n: u64) -> Vec<u8> {
    let mut out = key(number, 0);
    varint(n, &mut out);
    out
}

/// A list of names with their schemas.
fn named(all: &Value) -> Vec<u8> {
    let pair = |(name, schema): (&String, &Value)| {
        field(1, &[field(1, name.as_bytes()), field(2, &pack(schema))].concat())
    };
    all.as_object().into_iter().flatten().flat_map(pair).collect()
}

/// Any value: YAML text, of which JSON is a part.
fn any(v: &Value) -> Vec<u8> {
    field(2, v.to_string().as_bytes())
}

fn pack(schema: &Value) -> Vec<u8> {
    schema.as_object().into_iter().flatten().flat_map(|(word, v)| word_of(word, v)).collect()
}

fn word_of(word: &str, v: &Value) -> Vec<u8> {
    if word.starts_with("x-") {
        return field(VENDOR_EXTENSION, &[field(1, word.as_bytes()), field(2, &any(v))].concat());
    }
    if word == "additionalProperties" {
        let either = v.as_bool().map_or_else(|| field(1, &pack(v)), |b| whole(2, u64::from(b)));
        return field(ADDITIONAL_PROPERTIES, &either);
    }
    let Some((_, number, form)) = WORDS.iter().find(|w| w.0 == word) else { return Vec::new() };
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let each = |one: &dyn Fn(&Value) -> Vec<u8>| v.as_array().into_iter().flatten().flat_map(one).collect();
    match form {
        Form::Text => field(*number, text(v).as_bytes()),
        Form::Texts => each(&|v| field(*number, text(v).as_bytes())),
        Form::Number => [key(*number, 1), v.as_f64().unwrap_or_default().to_le_bytes().to_vec()].concat(),
        Form::Whole => whole(*number, v.as_u64().unwrap_or_default()),
        Form::Bool => whole(*number, u64::from(v == true)),
        Form::Any => field(*number, &any(v)),
        Form::Anys => each(&|v| field(*number, &any(v))),
        Form::Type => field(*number, &field(1, text(v).as_bytes())),
        Form::Schema => field(*number, &field(1, &pack(v))),
        Form::Properties => field(*number, &named(v)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_in_older_words() {
        let new = json!({"type": "object", "nullable": true, "properties": {
            "a": {"allOf": [{"$ref": "#/components/schemas/A"}], "default": {}, "description": "An A."},
            "b": {"type": "array", "items": {"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"}},
            "c": {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/A"}}}});
        let old = json!({"type": "object", "properties": {
            "a": {"$ref": "#/definitions/A", "default": {}, "description": "An A."},
            "b": {"type": "array", "items": {"type": "string", "format": "int-or-string"}},
            "c": {"type": "object", "additionalProperties": {"$ref": "#/definitions/A"}}}});
        assert_eq!(older(new), old);
    }

    #[test]
    fn schemas_packed() {
        let schema = json!({"type": "object", "required": ["a"], "maximum": 1, "x-y": [1],
            "additionalProperties": false, "minLength": 300});
        let mut expected = Vec::new();
        let bytes = [
            (21, vec![0x10, 0]),
            (19, b"a".to_vec()),
            (22, b"\x0a\x06object".to_vec()),
            (31, b"\x0a\x03x-y\x12\x05\x12\x03[1]".to_vec()),
        ];
        let [additional, required, kind, vendor] = bytes.map(|(number, bytes)| field(number, &bytes));
        expected.extend(additional);
        expected.extend([0x39, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x60, 0xac, 0x02]);
        expected.extend([required, kind, vendor].concat());
        assert_eq!(pack(&schema), expected);
    }
}
