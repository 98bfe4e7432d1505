//! Custom resources, from the definition to the last object.

use super::World;
use expect_test::expect;

const DEFINITION: &str = r#"{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"cars.example.com"},
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
    w.fails(&format!("GET {CARS}"), expect![[]]);
    let v = w.ok(&format!("POST {CRDS}\n\n{DEFINITION}"));
    assert_eq!(v["status"]["conditions"][1]["type"], "Established", "{v}");
    w.check(&format!("POST {CARS}\n\n{{\"metadata\":{{\"name\":\"a\"}},\"spec\":{{\"color\":\"red\",\"engine\":1}},\"status\":{{\"wheels\":3}}}}"), expect![[]]);
    w.fails(&format!("POST {CARS}\n\n{{\"metadata\":{{\"name\":\"b\"}},\"spec\":{{\"color\":\"green\",\"wheels\":0}}}}"), expect![[]]);
    w.fails(&format!("PUT {CARS}/a\n\n{{\"metadata\":{{\"name\":\"a\"}},\"spec\":{{\"color\":\"red\"}}}}"), expect![[]]);
    w.check(&format!("PATCH {CARS}/a/status\nContent-Type: application/merge-patch+json\n\n{{\"status\":{{\"wheels\":2}}}}"), expect![[]]);
    w.check(&format!("GET {CARS}/a/scale"), expect![[]]);
    w.check(&format!("GET {CARS}\nAccept: application/json;as=Table;v=v1;g=meta.k8s.io"), expect![[]]);
    w.check("GET /apis/example.com/v1beta1/namespaces/default/cars/a", expect![[]]);
    w.check("GET /apis/example.com/v1", expect![[]]);
    let v = w.ok("GET /openapi/v3/apis/example.com/v1");
    assert!(v["components"]["schemas"]["com.example.v1.Car"].is_object());
    w.ok(&format!("DELETE {CRDS}/cars.example.com"));
    w.fails(&format!("POST {CARS}\n\n{{\"metadata\":{{\"name\":\"c\"}},\"spec\":{{\"color\":\"red\"}}}}"), expect![[]]);
    w.tick();
    w.fails(&format!("GET {CARS}"), expect![[]]);
    w.fails(&format!("GET {CRDS}/cars.example.com"), expect![[]]);
}
