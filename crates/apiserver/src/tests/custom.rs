//! Custom resources, from the definition to the last object.

use super::World;
use expect_test::expect;

pub(super) const DEFINITION: &str = r#"{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"cars.example.com"},
"spec":{"group":"example.com","scope":"Namespaced","names":{"plural":"cars","kind":"Car","shortNames":["ca"]},
"versions":[{"name":"v1","served":true,"storage":true,"subresources":{"status":{},"scale":{"specReplicasPath":".spec.wheels","statusReplicasPath":".status.wheels"}},
"additionalPrinterColumns":[{"name":"Wheels","type":"integer","jsonPath":".spec.wheels"}],
"schema":{"openAPIV3Schema":{"type":"object","properties":{
"spec":{"type":"object","required":["color"],"properties":{"color":{"type":"string","enum":["red","blue"]},"wheels":{"type":"integer","minimum":1,"default":4}}},
"status":{"type":"object","properties":{"wheels":{"type":"integer"}}}}}}},
{"name":"v1beta1","served":true,"storage":false,"deprecated":true,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}}"#;

const CARS: &str = "/apis/example.com/v1/namespaces/default/cars";
const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

#[test]
fn a_custom_resource_from_definition_to_end() {
    let w = World::new();
    w.check(&format!("GET {CARS}"), expect!["404\n404 page not found\n"]);
    let v = w.ok(&format!("POST {CRDS}\n\n{DEFINITION}"));
    assert_eq!(v["status"]["conditions"][1]["type"], "Established", "{v}");
    w.check(&format!("POST {CARS}\n\n{{\"metadata\":{{\"name\":\"a\"}},\"spec\":{{\"color\":\"red\",\"engine\":1}},\"status\":{{\"wheels\":3}}}}"), expect![[r#"
        201
        299 - "unknown field \"spec.engine\""
        {"apiVersion":"example.com/v1","kind":"Car","metadata":{"creationTimestamp":"2025-06-15T15:06:40Z","generation":1,"name":"a","namespace":"default","resourceVersion":"+2","uid":"UID"},"spec":{"color":"red","wheels":4}}"#]]);
    w.fails(&format!("POST {CARS}\n\n{{\"metadata\":{{\"name\":\"b\"}},\"spec\":{{\"color\":\"green\",\"wheels\":0}}}}"), expect![[r#"422 Invalid: Car.example.com "b" is invalid: [spec.color: Unsupported value: "green": supported values: "red", "blue", spec.wheels: Invalid value: 0: spec.wheels in body should be greater than or equal to 1]"#]]);
    w.fails(&format!("PUT {CARS}/a\n\n{{\"metadata\":{{\"name\":\"a\"}},\"spec\":{{\"color\":\"red\"}}}}"), expect![[r#"422 Invalid: cars.example.com "a" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update"#]]);
    w.check(&format!("PATCH {CARS}/a/status\nContent-Type: application/merge-patch+json\n\n{{\"status\":{{\"wheels\":2}}}}"), expect![[r#"
        200
        {"apiVersion":"example.com/v1","kind":"Car","metadata":{"creationTimestamp":"2025-06-15T15:06:40Z","generation":1,"name":"a","namespace":"default","resourceVersion":"+3","uid":"UID"},"spec":{"color":"red","wheels":4},"status":{"wheels":2}}"#]]);
    w.check(&format!("GET {CARS}/a/scale"), expect![[r#"
        200
        {"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"creationTimestamp":"2025-06-15T15:06:40Z","name":"a","namespace":"default","resourceVersion":"+3","uid":"UID"},"spec":{"replicas":4},"status":{"replicas":2}}"#]]);
    w.check(&format!("GET {CARS}\nAccept: application/json;as=Table;v=v1;g=meta.k8s.io"), expect![[r#"
        200
        {"apiVersion":"meta.k8s.io/v1","columnDefinitions":[{"description":"Name of the object.","format":"name","name":"Name","priority":0,"type":"string"},{"description":"","format":"","name":"Wheels","priority":0,"type":"integer"}],"kind":"Table","metadata":{"resourceVersion":"+3"},"rows":[{"cells":["a",4],"object":{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata","metadata":{"creationTimestamp":"2025-06-15T15:06:40Z","generation":1,"name":"a","namespace":"default","resourceVersion":"+3","uid":"UID"}}}]}"#]]);
    w.check("GET /apis/example.com/v1beta1/namespaces/default/cars/a", expect![[r#"
        200
        299 - "example.com/v1beta1 Car is deprecated"
        {"apiVersion":"example.com/v1beta1","kind":"Car","metadata":{"creationTimestamp":"2025-06-15T15:06:40Z","generation":1,"name":"a","namespace":"default","resourceVersion":"+3","uid":"UID"},"spec":{"color":"red","wheels":4},"status":{"wheels":2}}"#]]);
    w.check("GET /apis/example.com/v1", expect![[r#"
        200
        {"apiVersion":"v1","groupVersion":"example.com/v1","kind":"APIResourceList","resources":[{"kind":"Car","name":"cars","namespaced":true,"shortNames":["ca"],"singularName":"car","storageVersionHash":"xZ5mpUsM5L8=","verbs":["create","delete","deletecollection","get","list","patch","update","watch"]},{"kind":"Car","name":"cars/status","namespaced":true,"singularName":"","verbs":["get","patch","update"]},{"group":"autoscaling","kind":"Scale","name":"cars/scale","namespaced":true,"singularName":"","verbs":["get","patch","update"],"version":"v1"}]}"#]]);
    let v = w.ok("GET /openapi/v3/apis/example.com/v1");
    assert!(v["components"]["schemas"]["com.example.v1.Car"].is_object());
    w.ok(&format!("DELETE {CRDS}/cars.example.com"));
    w.fails(
        &format!("POST {CARS}\n\n{{\"metadata\":{{\"name\":\"c\"}},\"spec\":{{\"color\":\"red\"}}}}"),
        expect![[r#"403 Forbidden: cars.example.com "c" is forbidden: create not allowed while custom resource definition is terminating"#]],
    );
    w.tick();
    w.check(&format!("GET {CARS}"), expect!["404\n404 page not found\n"]);
    w.fails(
        &format!("GET {CRDS}/cars.example.com"),
        expect![[
            r#"404 NotFound: customresourcedefinitions.apiextensions.k8s.io "cars.example.com" not found"#
        ]],
    );
}

#[test]
fn a_changed_schema_holds_for_what_is_stored() {
    let w = World::new();
    w.ok(&format!("POST {CRDS}\n\n{DEFINITION}"));
    w.ok(&format!("POST {CARS}\n\n{{\"metadata\":{{\"name\":\"a\"}},\"spec\":{{\"color\":\"red\"}}}}"));
    let properties = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    w.ok(&format!(
        r#"PATCH {CRDS}/cars.example.com
Content-Type: application/json-patch+json

[{{"op":"add","path":"{properties}/doors","value":{{"type":"integer","default":2}}}},{{"op":"remove","path":"{properties}/wheels"}}]"#
    ));
    let spec = serde_json::json!({"color": "red", "doors": 2});
    assert_eq!(w.ok(&format!("GET {CARS}/a"))["spec"], spec);
    let listed = &w.ok(&format!("GET {CARS}"))["items"][0];
    assert_eq!(
        (&listed["kind"], &listed["spec"]),
        (&"Car".into(), &spec),
        "items of custom kinds have names"
    );
    let v = w.ok(&format!(
        "PATCH {CRDS}/cars.example.com/status\nContent-Type: application/json-patch+json\n\n\
         [{{\"op\":\"add\",\"path\":\"/status/conditions/-\",\"value\":{{\"type\":\"Mine\",\"status\":\"True\"}}}}]"
    ));
    assert_eq!(v["status"]["conditions"][2]["type"], "Mine", "{v}");
}

#[test]
fn custom_kinds_are_published_in_both_forms() {
    let w = World::new();
    w.ok(&format!("POST {CRDS}\n\n{DEFINITION}"));
    let v = w.ok("GET /openapi/v2");
    let spec = &v["definitions"]["com.example.v1.Car"]["properties"]["spec"];
    assert_eq!(spec["properties"]["wheels"]["default"], 4, "{spec}");
    assert_eq!(v["definitions"]["com.example.v1beta1.Car"]["type"], "object");
    assert!(v["definitions"]["com.example.v1beta1.Car"].get("properties").is_none());
    let items = &v["definitions"]["com.example.v1.CarList"]["properties"]["items"]["items"];
    assert_eq!(items["$ref"], "#/definitions/com.example.v1.Car");
}
