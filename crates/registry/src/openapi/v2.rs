//! The same kinds in the words of OpenAPI v2 (Swagger 2.0), for clients that know no v3: older kubectl, Argo CD,
//! Terraform. v2 knows no `oneOf`, `anyOf`, `not` and `nullable`; what a schema loses by that is as upstream has it
//! (`apiextensions-apiserver/pkg/controller/openapi/v2` for custom kinds, `kube-openapi/pkg/schemaconv` in spirit).

use super::REF;
use crate::kind::Kind;
use serde_json::{Map, Value, json};

/// What a reference to a definition begins with in v2.
const REF_V2: &str = "#/definitions/";
/// The mark of a schema that takes fields it doesn't name.
const OPEN: &str = "x-kubernetes-preserve-unknown-fields";

/// The OpenAPI v2 document of some kinds, normally all; `custom` as in [`super::document`].
pub fn document(kinds: &[&Kind], custom: &Map<String, Value>) -> Value {
    let mut v3 = super::document(kinds, custom);
    let mut definitions = v3["components"]["schemas"].take();
    for (name, definition) in definitions.as_object_mut().into_iter().flatten() {
        if custom.contains_key(name) && definition[OPEN] == true {
            // Named properties would have old clients refuse all others.
            *definition = json!({"type": "object",
                "x-kubernetes-group-version-kind": definition["x-kubernetes-group-version-kind"]});
        } else {
            schema(definition);
        }
    }
    let mut paths = v3["paths"].take();
    for path in paths.as_object_mut().into_iter().flat_map(Map::values_mut) {
        path_item(path);
    }
    json!({
        "swagger": "2.0",
        "info": v3["info"],
        "paths": paths,
        "definitions": definitions,
        "securityDefinitions": v3["components"]["securitySchemes"],
        "security": [{"BearerToken": []}],
    })
}

fn schema(v: &mut Value) {
    let Value::Object(map) = v else { return };
    one_of(map);
    if let Some(Value::Array(mut all)) = map.remove("allOf")
        && let [only] = all.as_mut_slice()
        && let Some(reference) = only.get_mut("$ref")
    {
        map.insert("$ref".into(), reference.take());
        map.remove("default");
    }
    if let Some(Value::String(reference)) = map.get_mut("$ref") {
        *reference = reference.replacen(REF, REF_V2, 1);
    }
    let nullable = map.remove("nullable").is_some_and(|n| n == true);
    let open = map.get(OPEN).is_some_and(|o| o == true);
    if nullable || open {
        // Clients take a schema without a type for one that allows anything, and one with fields for complete.
        for key in ["items", "properties"] {
            map.remove(key);
        }
        if nullable || map.get("type").is_some_and(|t| t == "object") {
            map.remove("type");
        }
    }
    if map.get("type").is_some_and(|t| t == "array") && !map.contains_key("items") {
        map.remove("type");
    }
    forget_nullable(map);
    for v in map.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        schema(v);
    }
    for below in ["items", "additionalProperties"] {
        map.get_mut(below).into_iter().for_each(schema);
    }
}

/// A choice has no place in v2. Quantities and IntOrString, the built-in ones, are published as strings.
fn one_of(map: &mut Map<String, Value>) {
    ["anyOf", "not"].into_iter().for_each(|key| drop(map.remove(key)));
    let Some(Value::Array(choices)) = map.remove("oneOf") else { return };
    if !map.contains_key("type") && choices.contains(&json!({"type": "string"})) {
        map.insert("type".into(), "string".into());
        if choices.contains(&json!({"type": "integer"})) {
            map.insert("format".into(), "int-or-string".into());
        }
    }
}

/// A field that may be null cannot be required: clients take null for missing.
fn forget_nullable(map: &mut Map<String, Value>) {
    let nullable = |name: &Value| {
        let property = map.get("properties").and_then(|p| p.get(name.as_str().unwrap_or_default()));
        property.is_some_and(|p| p["nullable"] == true)
    };
    let Some(Value::Array(required)) = map.get("required") else { return };
    let kept: Vec<Value> = required.iter().filter(|n| !nullable(n)).cloned().collect();
    if kept.is_empty() {
        map.remove("required");
    } else {
        map.insert("required".into(), kept.into());
    }
}

fn path_item(v: &mut Value) {
    for (key, v) in v.as_object_mut().into_iter().flatten() {
        match key.as_str() {
            "parameters" => parameters(v),
            _ => operation(v),
        }
    }
}

fn parameters(v: &mut Value) {
    for parameter in v.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        if let Some(Value::Object(schema)) = parameter.remove("schema") {
            parameter.extend(schema);
        }
    }
}

fn operation(v: &mut Value) {
    let Value::Object(operation) = v else { return };
    let mut list = operation.remove("parameters").unwrap_or_else(|| json!([]));
    parameters(&mut list);
    operation.insert("consumes".into(), json!(["*/*"]));
    operation.insert("produces".into(), json!(["application/json", "application/yaml"]));
    operation.insert("schemes".into(), json!(["https"]));
    if let Some(mut body) = operation.remove("requestBody") {
        let content = body["content"].as_object_mut();
        let media: Vec<String> = content.iter().flat_map(|c| c.keys().cloned()).collect();
        let mut of =
            content.and_then(|c| c.values_mut().next()).map(|c| c["schema"].take()).unwrap_or_default();
        schema(&mut of);
        if let Value::Array(list) = &mut list {
            list.insert(0, json!({"name": "body", "in": "body", "required": true, "schema": of}));
        }
        operation.insert("consumes".into(), media.into());
    }
    if list.as_array().is_some_and(|l| !l.is_empty()) {
        operation.insert("parameters".into(), list);
    }
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    for answer in responses.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut) {
        if let Some(mut content) = answer.remove("content") {
            let mut of = content["application/json"]["schema"].take();
            schema(&mut of);
            answer.insert("schema".into(), of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_schema_keeps_what_v2_can_say() {
        let mut v = json!({"type": "object", "required": ["a", "n"], "properties": {
            "a": {"description": "A.", "allOf": [{"$ref": "#/components/schemas/io.k8s.A"}], "default": {}},
            "n": {"type": "object", "nullable": true, "properties": {"x": {"type": "string"}}},
            "o": {"type": "object", "description": "O.", "x-kubernetes-preserve-unknown-fields": true,
                  "properties": {"x": {"type": "string"}}},
            "p": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
            "q": {"oneOf": [{"type": "string"}, {"type": "number"}]},
            "l": {"type": "array", "items": {"type": "string", "not": {"enum": ["x"]}}},
        }});
        schema(&mut v);
        expect![[r##"{"properties":{"a":{"$ref":"#/definitions/io.k8s.A","description":"A."},"l":{"items":{"type":"string"},"type":"array"},"n":{},"o":{"description":"O.","x-kubernetes-preserve-unknown-fields":true},"p":{"format":"int-or-string","type":"string"},"q":{"type":"string"}},"required":["a"],"type":"object"}"##]]
        .assert_eq(&v.to_string());
    }

    #[test]
    fn the_document_of_all_kinds_speaks_v2_only() {
        let kinds: Vec<&Kind> = crate::kinds().iter().map(|k| &**k).collect();
        let v = document(&kinds, &Map::new());
        let text = v.to_string();
        for word in ["#/components/", "requestBody", "\"oneOf\":[", "\"allOf\":[", "\"nullable\":true"] {
            assert!(!text.contains(word), "{word}");
        }
        let patch = &v["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
        assert_eq!(
            patch["parameters"][0]["schema"]["$ref"],
            "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.Patch"
        );
        assert!(patch["consumes"].to_string().contains("strategic-merge-patch"), "{patch}");
        let quantity = &v["definitions"]["io.k8s.apimachinery.pkg.api.resource.Quantity"];
        assert_eq!(quantity["type"], "string", "{quantity}");
    }
}
