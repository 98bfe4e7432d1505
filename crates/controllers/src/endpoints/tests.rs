use super::{EndpointSliceMirror, EndpointSlices, EndpointsObjects};
use crate::scene::Scene;
use expect_test::expect;
use serde_json::{Value, json};

fn service() -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "labels": {"team": "a"}},
        "spec": {"clusterIP": "10.0.0.1", "ipFamilies": ["IPv4"], "selector": {"app": "web"},
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]}})
}

fn pod(name: &str, ip: &str, ready: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": ready}]}})
}

fn slice(name: &str, pods: &[(&str, &str)]) -> Value {
    let endpoints: Vec<Value> = pods
        .iter()
        .map(|(pod, ip)| {
            json!({"addresses": [ip], "nodeName": "n1",
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "targetRef": {"kind": "Pod", "namespace": "x", "name": pod, "uid": format!("{pod}-uid")}})
        })
        .collect();
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": name, "labels": {"team": "a", "kubernetes.io/service-name": "web",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}},
        "endpoints": endpoints, "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]})
}

#[test]
fn slices_follow_pods() {
    let show = |objects: Vec<Value>| Scene::new(objects).show(&EndpointSlices, "x/web");
    expect![[r#"
        create endpointslices.discovery.k8s.io x/ {"addressType":"IPv4","endpoints":[{"addresses":["10.1.0.1"],"conditions":{"ready":true,"serving":true,"terminating":false},"nodeName":"n1","targetRef":{"kind":"Pod","name":"a","namespace":"x","uid":"a-uid"}},{"addresses":["10.1.0.2"],"conditions":{"ready":false,"serving":false,"terminating":false},"nodeName":"n1","targetRef":{"kind":"Pod","name":"b","namespace":"x","uid":"b-uid"}}],"metadata":{"generateName":"web-","labels":{"endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io","kubernetes.io/service-name":"web","team":"a"},"ownerReferences":["Service/web"]},"ports":[{"name":"http","port":8080,"protocol":"TCP"}]}
    "#]].assert_eq(&show(vec![
        service(),
        pod("a", "10.1.0.1", "True"),
        pod("b", "10.1.0.2", "False"),
    ]));
    expect![[r#"
        create endpointslices.discovery.k8s.io x/ {"addressType":"IPv4","endpoints":[],"metadata":{"generateName":"web-","labels":{"endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io","kubernetes.io/service-name":"web","team":"a"},"ownerReferences":["Service/web"]}}
    "#]].assert_eq(&show(vec![service()]));
    // Nothing changed: nothing is written.
    assert_eq!(show(vec![service(), pod("a", "10.1.0.1", "True"), slice("s", &[("a", "10.1.0.1")])]), "");
    // One goes, one comes: in the same slice.
    let old = slice("s", &[("a", "10.1.0.1"), ("gone", "10.1.0.9")]);
    expect![[r#"
        update endpointslices.discovery.k8s.io x/s {"addressType":"IPv4","endpoints":[{"addresses":["10.1.0.1"],"conditions":{"ready":true,"serving":true,"terminating":false},"nodeName":"n1","targetRef":{"kind":"Pod","name":"a","namespace":"x","uid":"a-uid"}},{"addresses":["10.1.0.3"],"conditions":{"ready":true,"serving":true,"terminating":false},"nodeName":"n1","targetRef":{"kind":"Pod","name":"c","namespace":"x","uid":"c-uid"}}],"metadata":{"labels":{"endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io","kubernetes.io/service-name":"web","team":"a"}},"ports":[{"name":"http","port":8080,"protocol":"TCP"}]}
    "#]].assert_eq(&show(vec![
        service(),
        pod("a", "10.1.0.1", "True"),
        pod("c", "10.1.0.3", "True"),
        old,
    ]));
    // The last one goes: the slice stays, empty.
    expect![[r#"
        update endpointslices.discovery.k8s.io x/s {"addressType":"IPv4","endpoints":[],"metadata":{"labels":{"endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io","kubernetes.io/service-name":"web","team":"a"}}}
    "#]].assert_eq(&show(vec![service(), slice("s", &[("a", "10.1.0.1")])]));
}

#[test]
fn many_endpoints_need_several_slices() {
    let pods =
        (0..250).map(|i| pod(&format!("p{i:03}"), &format!("10.1.{}.{}", i / 200, i % 200 + 1), "True"));
    let plan = Scene::new([service()].into_iter().chain(pods)).plan(&EndpointSlices, "x/web");
    let sizes: Vec<usize> = plan
        .writes
        .iter()
        .map(|w| {
            serde_json::from_slice::<Value>(&w.body).expect("JSON")["endpoints"]
                .as_array()
                .map_or(0, Vec::len)
        })
        .collect();
    assert_eq!(sizes, [100, 100, 50]);
}

#[test]
fn endpoints_objects_follow_pods() {
    let show = |objects: Vec<Value>| Scene::new(objects).show(&EndpointsObjects, "x/web");
    expect![[r#"
        create endpoints x/web {"metadata":{"labels":{"endpoints.kubernetes.io/managed-by":"endpoint-controller","team":"a"}},"subsets":[{"addresses":[{"ip":"10.1.0.1","nodeName":"n1","targetRef":{"kind":"Pod","name":"a","namespace":"x","uid":"a-uid"}}],"notReadyAddresses":[{"ip":"10.1.0.2","nodeName":"n1","targetRef":{"kind":"Pod","name":"b","namespace":"x","uid":"b-uid"}}],"ports":[{"name":"http","port":8080,"protocol":"TCP"}]}]}
          or: Warning FailedToCreateEndpoint Endpoints/web Failed to create endpoint for service x/web: {}
    "#]].assert_eq(&show(vec![
        service(),
        pod("a", "10.1.0.1", "True"),
        pod("b", "10.1.0.2", "False"),
    ]));
}

#[test]
fn endpoints_written_by_hand_are_mirrored() {
    let mut bare = service();
    bare["spec"]["selector"] = Value::Null;
    let by_hand = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web"},
        "subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 9376}]}]});
    expect![[r#"
        create endpointslices.discovery.k8s.io x/ {"addressType":"IPv4","endpoints":[{"addresses":["192.0.2.1"],"conditions":{"ready":true}}],"metadata":{"generateName":"web-","labels":{"endpointslice.kubernetes.io/managed-by":"endpointslicemirroring-controller.k8s.io","kubernetes.io/service-name":"web"},"ownerReferences":["Endpoints/web"]},"ports":[{"name":"","port":9376,"protocol":"TCP"}]}
    "#]].assert_eq(&Scene::new([bare, by_hand]).show(&EndpointSliceMirror, "x/web"));
}

#[test]
fn hints_say_for_whom_an_endpoint_is_meant() {
    let show = |near: &str| {
        let mut service = service();
        service["spec"]["trafficDistribution"] = near.into();
        let node = json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "z"}}});
        let pods = [pod("a", "10.1.0.1", "True"), pod("b", "10.1.0.2", "False")];
        let scene = Scene::new([service, node].into_iter().chain(pods));
        let plan = scene.plan(&EndpointSlices, "x/web");
        let slice: Value = serde_json::from_slice(&plan.writes[0].body).unwrap();
        format!("{} {}", slice["endpoints"][0]["hints"], slice["endpoints"][1]["hints"])
    };
    assert_eq!(show("PreferClose"), r#"{"forZones":[{"name":"z"}]} null"#);
    assert_eq!(show("PreferSameNode"), r#"{"forNodes":[{"name":"n1"}],"forZones":[{"name":"z"}]} null"#);
    assert_eq!(show("example.com/other"), "null null");
}
