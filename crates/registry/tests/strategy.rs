//! What the server does to objects on writes, beside defaults: generations, parts, stored forms, allocation.

use expect_test::{Expect, expect};
use meta::Object;
use registry::service::{Allocated, Family, held, init_families, put, wanted};
use registry::{Action, Context, Kind, Update};
use serde_json::{Value, json};

fn context() -> Context {
    Context::at(jiff::Timestamp::UNIX_EPOCH)
}

fn object(v: Value) -> (&'static Kind, Object) {
    let object = Object::from_value(v).expect("an object");
    let gvk = object.gvk();
    (registry::by_kind(&gvk.group, &gvk.version, &gvk.kind).expect("a kind of ours"), object)
}

fn part(kind: &Kind, name: &str) -> &'static Update {
    match kind.subresource(name).map(|s| &s.action) {
        Some(Action::Update(update)) => update,
        _ => panic!("{name} is no part"),
    }
}

#[test]
fn generation_counts_changes_of_the_desired_state_only() {
    let (kind, mut old) =
        object(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"},
        "spec": {"replicas": 1}, "status": {"replicas": 9}}));
    kind.prepare_for_create(&mut old, &context());
    assert_eq!((old.metadata.generation, &old.body["status"]), (1, &json!({})));

    let mut scaled = old.clone();
    scaled.set(&["spec", "replicas"], 2.into());
    scaled.set(&["status", "replicas"], 2.into());
    kind.prepare_for_update(None, &mut scaled, &old, &context());
    assert_eq!(
        (scaled.metadata.generation, &scaled.body["status"]),
        (2, &json!({})),
        "status is not its business"
    );

    let mut labelled = old.clone();
    labelled.metadata.labels.insert("a".into(), "b".into());
    kind.prepare_for_update(None, &mut labelled, &old, &context());
    assert_eq!(labelled.metadata.generation, 1);

    // Annotations go on to the ReplicaSets.
    let mut annotated = old.clone();
    annotated.metadata.annotations.insert("a".into(), "b".into());
    kind.prepare_for_update(None, &mut annotated, &old, &context());
    assert_eq!(annotated.metadata.generation, 2);
    let mut revision = annotated.clone();
    revision.metadata.annotations.insert("deployment.kubernetes.io/revision".into(), "2".into());
    kind.prepare_for_update(Some(part(kind, "status")), &mut revision, &annotated, &context());
    assert_eq!((revision.metadata.generation, revision.metadata.annotations.len()), (2, 2));

    let mut status = scaled.clone();
    status.set(&["status", "replicas"], 2.into());
    status.set(&["spec", "replicas"], 7.into());
    status.metadata.generation = 77;
    kind.prepare_for_update(Some(part(kind, "status")), &mut status, &scaled, &context());
    assert_eq!(status.metadata.generation, 2);
    assert_eq!(
        (status.get(&["spec", "replicas"]), status.get(&["status", "replicas"])),
        (Some(&json!(2)), Some(&json!(2)))
    );
}

#[test]
fn grace_of_pods() {
    let (kind, pod) = object(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"},
        "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30}}));
    let grace = |change: Value, asked| {
        let mut pod = pod.clone();
        change
            .as_object()
            .into_iter()
            .flatten()
            .for_each(|(k, v)| drop(pod.body.insert(k.clone(), v.clone())));
        (kind.strategy.grace)(&pod, asked)
    };
    assert_eq!(grace(json!({}), None), Some(30));
    assert_eq!(grace(json!({}), Some(5)), Some(5));
    assert_eq!(grace(json!({}), Some(-5)), Some(1));
    assert_eq!(grace(json!({"spec": {"terminationGracePeriodSeconds": 30}}), None), Some(0), "not on a node");
    assert_eq!(grace(json!({"status": {"phase": "Failed"}}), None), Some(0), "ended");
    let (secrets, secret) = object(json!({"apiVersion": "v1", "kind": "Secret"}));
    assert_eq!((secrets.strategy.grace)(&secret, Some(5)), None);
}

#[test]
fn events_have_one_stored_form() {
    let (kind, event) = object(json!({"apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"name": "x", "namespace": "default"}, "note": "n", "regarding": {"kind": "Pod", "name": "p"},
        "reportingController": "c", "deprecatedCount": 3}));
    let mut stored = event.clone();
    kind.to_stored(&mut stored);
    let core = registry::by_kind("", "v1", "Event").expect("events");
    assert_eq!((kind.key("default", "x"), stored.api_version.as_str()), (core.key("default", "x"), "v1"));
    assert_eq!((stored.str(&["message"]), stored.str(&["involvedObject", "name"])), ("n", "p"));
    assert_eq!(kind.column("regarding.name"), core.column("involvedObject.name"));
    assert!(core.header(&stored).fields.contains(&("involvedObject.name".into(), "p".into())));
    kind.from_stored(&mut stored);
    assert_eq!(stored, event);
    // As client libraries write them.
    let (_, mut event) = object(json!({"apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"name": "x", "namespace": "default"}, "reportingController": "c", "reportingInstance": "i",
        "eventTime": "2026-01-02T03:04:05.000006Z", "type": "Normal", "reason": "R", "action": "A",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"}}));
    (kind.strategy.default)(&mut event);
    let faults = |o: &Object| [(kind.strategy.validate)(o), (kind.strategy.validate_create)(o)].concat();
    assert_eq!(faults(&event), []);
    let mut bad = event.clone();
    ["reportingController", "type"].iter().for_each(|key| drop(bad.body.remove(*key)));
    bad.body.insert("deprecatedCount".into(), json!(1));
    let said: String = faults(&bad).iter().map(|f| format!("{f}\n")).collect();
    expect_test::expect![[r#"
        reportingController: Required value
        type: Invalid value: "": has invalid value: 
        count: Invalid value: "": needs to be unset
    "#]]
    .assert_eq(&said);
    let changed = (kind.strategy.update.validate)(&bad, &event);
    assert_eq!(changed.len(), 3, "{changed:?}");
    assert!(core.served_as_stored() && !kind.served_as_stored());
}

#[test]
fn autoscalers_have_one_stored_form() {
    let (kind, mut v1) = object(json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "x"}, "spec": {"minReplicas": 1, "maxReplicas": 3, "targetCPUUtilizationPercentage": 70}}));
    let memory = json!({"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 5}}});
    kind.to_stored(&mut v1);
    assert_eq!(v1.api_version, "autoscaling/v2");
    assert_eq!(
        v1.get(&["spec", "metrics"]).expect("metrics")[0]["resource"]["target"]["averageUtilization"],
        70
    );
    v1.body["spec"]["metrics"].as_array_mut().expect("metrics").push(memory);
    let stored = v1.clone();
    kind.from_stored(&mut v1);
    assert_eq!(v1.get(&["spec", "targetCPUUtilizationPercentage"]), Some(&json!(70)));
    assert_eq!(v1.get(&["spec", "metrics"]), None);
    kind.to_stored(&mut v1);
    assert_eq!(v1.get(&["spec"]), stored.get(&["spec"]), "nothing is lost on the way");
}

fn service(spec: Value) -> Object {
    let (kind, mut o) =
        object(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": spec}));
    kind.default(&mut o);
    kind.prepare_for_create(&mut o, &context());
    o
}

fn check_service(spec: Value, cluster: &[Family], expected: Expect) {
    let mut o = service(spec);
    let faults: Vec<String> = init_families(&mut o, None, cluster).iter().map(ToString::to_string).collect();
    let text = if faults.is_empty() {
        let w = wanted(&o, None);
        let families = o.get(&["spec", "ipFamilies"]).cloned().unwrap_or_default();
        format!("{} {families}\n{w:?}", o.str(&["spec", "ipFamilyPolicy"]))
    } else {
        faults.join("\n")
    };
    expected.assert_eq(&text);
}

#[test]
fn services_want_addresses_and_ports() {
    const V4: &[Family] = &[Family::V4];
    const DUAL: &[Family] = &[Family::V4, Family::V6];
    check_service(
        json!({"ports": [{"port": 80}]}),
        V4,
        expect![[r#"
        SingleStack ["IPv4"]
        Wanted { cluster_ips: [(0, V4, None)], node_ports: [], health_check: None }"#]],
    );
    check_service(
        json!({"ports": [{"port": 80}], "ipFamilyPolicy": "PreferDualStack"}),
        DUAL,
        expect![[r#"
        PreferDualStack ["IPv4","IPv6"]
        Wanted { cluster_ips: [(0, V4, None), (1, V6, None)], node_ports: [], health_check: None }"#]],
    );
    check_service(
        json!({"ports": [{"port": 80}], "ipFamilyPolicy": "RequireDualStack"}),
        V4,
        expect![[
            r#"spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services"#
        ]],
    );
    check_service(
        json!({"clusterIP": "None", "ports": [{"port": 80}]}),
        V4,
        expect![[r#"
        RequireDualStack ["IPv4","IPv6"]
        Wanted { cluster_ips: [], node_ports: [], health_check: None }"#]],
    );
    check_service(
        json!({"clusterIP": "fd00::1", "ports": [{"port": 80}]}),
        V4,
        expect![[r#"spec.clusterIPs[0]: Invalid value: "fd00::1": IPv6 is not configured on this cluster"#]],
    );
    check_service(
        json!({"type": "ExternalName", "externalName": "a.b"}),
        V4,
        expect![[r#"
         null
        Wanted { cluster_ips: [], node_ports: [], health_check: None }"#]],
    );
    check_service(
        json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80, "nodePort": 30000}, {"port": 81}]}),
        V4,
        expect![[r#"
            SingleStack ["IPv4"]
            Wanted { cluster_ips: [(0, V4, None)], node_ports: [WantedPort { index: 0, protocol: "TCP", number: Some(30000) }, WantedPort { index: 1, protocol: "TCP", number: None }], health_check: Some(None) }"#]],
    );
}

#[test]
fn services_keep_what_they_hold() {
    let mut old = service(json!({"type": "NodePort", "ports": [{"port": 80}]}));
    assert_eq!(init_families(&mut old, None, &[Family::V4]), []);
    let ip = "10.96.0.9".parse().expect("an address");
    put(
        &mut old,
        &Allocated { cluster_ips: vec![(0, ip)], node_ports: vec![(0, 30001)], health_check: None },
    );
    assert_eq!(held(&old).node_ports, [("TCP".to_owned(), 30001)]);
    assert_eq!(old.str(&["spec", "clusterIP"]), "10.96.0.9");

    // As `kubectl replace` of the original manifest does.
    let mut new = service(json!({"type": "NodePort", "ports": [{"port": 80}]}));
    let kind = registry::by_kind("", "v1", "Service").expect("services");
    kind.prepare_for_update(None, &mut new, &old, &context());
    assert_eq!(init_families(&mut new, Some(&old), &[Family::V4]), []);
    assert_eq!((held(&new), wanted(&new, Some(&old))), (held(&old), Default::default()));
    assert_eq!(kind.validate_update(None, &with_namespace(new), &old), []);

    let mut named = service(json!({"type": "ExternalName", "externalName": "a.b"}));
    kind.prepare_for_update(None, &mut named, &old, &context());
    assert_eq!(held(&named), Default::default(), "what it has no use for it gives back");
}

fn with_namespace(mut o: Object) -> Object {
    o.metadata.namespace = "default".into();
    o
}
