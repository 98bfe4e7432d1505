//! An OpenAPI v2 document as protobuf: the message `Document` of gnostic's `openapiv2/OpenAPIv2.proto`, which client-go's
//! `OpenAPISchema` reads and takes in no other form. Fields that our documents don't have are left out.

use serde_json::{Map, Value};

/// The media types that ask for it. The first has an `@`, which isn't allowed in a media type, and is answered with the
/// second.
pub(super) const MEDIA: [&str; 2] = ["application/com.github.proto-openapi.spec.v2@v1.0+protobuf", ANSWER];
/// What it is answered as.
pub(super) const ANSWER: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// A message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push(n.to_le_bytes()[0] | 0x80);
            n >>= 7;
        }
        self.0.push(n.to_le_bytes()[0]);
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn part(&mut self, field: u64, part: Self) {
        self.bytes(field, &part.0);
    }

    fn text(&mut self, field: u64, value: &Value) {
        self.bytes(field, value.as_str().unwrap_or_default().as_bytes());
    }

    fn texts(&mut self, field: u64, value: &Value) {
        value.as_array().into_iter().flatten().for_each(|v| self.text(field, v));
    }

    fn flag(&mut self, field: u64, value: &Value) {
        self.varint(field << 3);
        self.varint(u64::from(value == true));
    }

    fn double(&mut self, field: u64, value: &Value) {
        self.varint(field << 3 | 1);
        self.0.extend_from_slice(&value.as_f64().unwrap_or_default().to_le_bytes());
    }

    fn count(&mut self, field: u64, value: &Value) {
        self.varint(field << 3);
        self.varint(value.as_i64().unwrap_or_default().cast_unsigned());
    }

    /// `NamedSchema`, `NamedAny`, ...: a name in field 1, a message in field 2.
    fn named(&mut self, field: u64, name: &str, value: Self) {
        let mut entry = Self::default();
        entry.bytes(1, name.as_bytes());
        entry.part(2, value);
        self.part(field, entry);
    }
}

fn made(write: impl FnOnce(&mut Message)) -> Message {
    let mut message = Message::default();
    write(&mut message);
    message
}

fn entries(v: &Value) -> impl Iterator<Item = (&String, &Value)> {
    v.as_object().into_iter().flat_map(Map::iter)
}

/// `Document`.
pub(super) fn document(v: &Value) -> Vec<u8> {
    let message = made(|m| {
        m.text(1, &v["swagger"]);
        let info = made(|m| {
            m.text(1, &v["info"]["title"]);
            m.text(2, &v["info"]["version"]);
        });
        m.part(2, info);
        m.part(8, made(|m| entries(&v["paths"]).for_each(|(path, v)| m.named(2, path, path_item(v)))));
        m.part(9, properties(&v["definitions"]));
    });
    message.0
}

/// `Definitions` and `Properties` alike.
fn properties(v: &Value) -> Message {
    made(|m| entries(v).for_each(|(name, v)| m.named(1, name, schema(v))))
}

/// `Any`: JSON is YAML.
fn any(v: &Value) -> Message {
    made(|m| m.bytes(2, v.to_string().as_bytes()))
}

fn schema(v: &Value) -> Message {
    made(|m| entries(v).for_each(|(key, v)| schema_field(m, key, v)))
}

fn schema_field(m: &mut Message, key: &str, v: &Value) {
    match key {
        "$ref" => m.text(1, v),
        "format" => m.text(2, v),
        "title" => m.text(3, v),
        "description" => m.text(4, v),
        "default" => m.part(5, any(v)),
        "multipleOf" => m.double(6, v),
        "maximum" => m.double(7, v),
        "exclusiveMaximum" => m.flag(8, v),
        "minimum" => m.double(9, v),
        "exclusiveMinimum" => m.flag(10, v),
        "maxLength" => m.count(11, v),
        "minLength" => m.count(12, v),
        "pattern" => m.text(13, v),
        "maxItems" => m.count(14, v),
        "minItems" => m.count(15, v),
        "uniqueItems" => m.flag(16, v),
        "maxProperties" => m.count(17, v),
        "minProperties" => m.count(18, v),
        "required" => m.texts(19, v),
        "enum" => v.as_array().into_iter().flatten().for_each(|v| m.part(20, any(v))),
        "additionalProperties" => m.part(
            21,
            made(|m| match v {
                Value::Bool(_) => m.flag(2, v),
                _ => m.part(1, schema(v)),
            }),
        ),
        "type" => m.part(22, made(|m| m.text(1, v))),
        "items" => m.part(23, made(|m| m.part(1, schema(v)))),
        "properties" => m.part(25, properties(v)),
        key if key.starts_with("x-") => m.named(31, key, any(v)),
        _ => {}
    }
}

fn path_item(v: &Value) -> Message {
    made(|m| {
        for (key, v) in entries(v) {
            match key.as_str() {
                "get" => m.part(2, operation(v)),
                "put" => m.part(3, operation(v)),
                "post" => m.part(4, operation(v)),
                "delete" => m.part(5, operation(v)),
                "patch" => m.part(8, operation(v)),
                "parameters" => parameters(m, 9, v),
                _ => {}
            }
        }
    })
}

fn operation(v: &Value) -> Message {
    made(|m| {
        for (key, v) in entries(v) {
            match key.as_str() {
                "tags" => m.texts(1, v),
                "operationId" => m.text(5, v),
                "produces" => m.texts(6, v),
                "consumes" => m.texts(7, v),
                "parameters" => parameters(m, 8, v),
                "responses" => {
                    m.part(9, made(|m| entries(v).for_each(|(code, v)| m.named(1, code, response(v)))));
                }
                "schemes" => m.texts(10, v),
                key if key.starts_with("x-") => m.named(13, key, any(v)),
                _ => {}
            }
        }
    })
}

/// `ResponseValue`.
fn response(v: &Value) -> Message {
    let response = made(|m| {
        m.text(1, &v["description"]);
        if v["schema"].is_object() {
            m.part(2, made(|m| m.part(1, schema(&v["schema"]))));
        }
    });
    made(|m| m.part(1, response))
}

/// `ParametersItem`s, each with the sub-message of its place.
fn parameters(m: &mut Message, field: u64, v: &Value) {
    for v in v.as_array().into_iter().flatten() {
        let parameter = match v["in"].as_str() {
            Some("body") => made(|m| m.part(1, body_parameter(v))),
            // `NonBodyParameter`: 3 for queries, 4 for paths, whose fields are numbered alike up to 4.
            Some("query") => made(|m| m.part(2, made(|m| m.part(3, plain_parameter(v, 6))))),
            _ => made(|m| m.part(2, made(|m| m.part(4, plain_parameter(v, 5))))),
        };
        m.part(field, made(|m| m.part(1, parameter)));
    }
}

fn body_parameter(v: &Value) -> Message {
    made(|m| {
        m.text(2, &v["name"]);
        m.text(3, &v["in"]);
        m.flag(4, &v["required"]);
        m.part(5, schema(&v["schema"]));
    })
}

fn plain_parameter(v: &Value, kind: u64) -> Message {
    made(|m| {
        m.flag(1, &v["required"]);
        m.text(2, &v["in"]);
        m.text(3, &v["description"]);
        m.text(4, &v["name"]);
        m.text(kind, &v["type"]);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_is_written_field_by_field() {
        let v = json!({"swagger": "2.0", "info": {"title": "K", "version": "v1"}, "paths": {},
            "definitions": {"a": {"type": "object", "required": ["b"]}}});
        let text: String = document(&v).iter().map(|b| format!("{b:02x}")).collect();
        expect_test::expect![
            "0a03322e3012070a014b1202763142004a160a140a0161120f9a010162b201080a066f626a656374"
        ]
        .assert_eq(&text);
    }
}
