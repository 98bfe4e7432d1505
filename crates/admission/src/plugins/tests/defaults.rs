use super::{World, create, pod, update};
use expect_test::expect;
use serde_json::{Value, json};

fn spec(world: &World, resource: &str, object: Value, fields: &[&str]) -> String {
    let admitted = world.admitted(create(resource, object));
    let show = |f: &&str| format!("{f}={}", admitted.get(&["spec", f]).unwrap_or(&Value::Null));
    fields.iter().map(show).collect::<Vec<_>>().join("\n")
}

#[test]
fn priority() {
    let mut world = World::new();
    let fields = ["priorityClassName", "priority", "preemptionPolicy"];
    let plain = || pod(json!({"containers": [{"name": "c"}]}));
    let mut lines = vec![spec(&world, "/pods", plain(), &fields)];
    let class = |name: &str, value: i64, default: bool| json!({"metadata": {"name": name}, "value": value, "globalDefault": default, "preemptionPolicy": "Never"});
    world.put("scheduling.k8s.io/priorityclasses", class("normal", 5, true));
    world.put("scheduling.k8s.io/priorityclasses", class("high", 1000, false));
    lines.push(spec(&world, "/pods", plain(), &fields));
    lines.push(spec(&world, "/pods", pod(json!({"priorityClassName": "high"})), &fields));
    lines.push(world.say(create("/pods", pod(json!({"priorityClassName": "none"})))));
    lines.push(world.say(create("/pods", pod(json!({"priorityClassName": "high", "priority": 7})))));
    lines.push(world.say(create(
        "/pods",
        pod(json!({"priorityClassName": "high", "preemptionPolicy": "PreemptLowerPriority"})),
    )));
    lines.push(world.say(create("scheduling.k8s.io/priorityclasses", class("other", 1, true))));
    expect![[r#"
        priorityClassName=null
        priority=0
        preemptionPolicy="PreemptLowerPriority"
        priorityClassName="normal"
        priority=5
        preemptionPolicy="Never"
        priorityClassName="high"
        priority=1000
        preemptionPolicy="Never"
        403 pods "p" is forbidden: no PriorityClass with name none was found
        403 pods "p" is forbidden: the integer value of priority (7) must not be provided in pod spec; priority admission controller computed 1000 from the given PriorityClass name
        403 pods "p" is forbidden: the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided in pod spec; priority admission controller computed Never from the given PriorityClass name
        403 priorityclasses.scheduling.k8s.io "other" is forbidden: PriorityClass normal is already marked as default. Only one default can exist"#]].assert_eq(&lines.join("\n"));
    let stored = pod(json!({"priority": 5, "preemptionPolicy": "Never"}));
    let kept = world.admitted(update("/pods", pod(json!({})), stored));
    assert_eq!(kept.get(&["spec", "priority"]), Some(&json!(5)));
}

#[test]
fn classes() {
    let mut world = World::new();
    let claim = |spec: Value| json!({"metadata": {"name": "c", "namespace": "dev"}, "spec": spec});
    let class = |name: &str, at: &str, key: &str| json!({"metadata": {"name": name, "creationTimestamp": at, "annotations": {key: "true"}}});
    let pvcs = "/persistentvolumeclaims";
    let mut lines = vec![spec(&world, pvcs, claim(json!({})), &["storageClassName"])];
    for (name, at) in
        [("old", "2024-01-01T00:00:00Z"), ("b", "2025-01-01T00:00:00Z"), ("a", "2025-01-01T00:00:00Z")]
    {
        world.put(
            "storage.k8s.io/storageclasses",
            class(name, at, "storageclass.kubernetes.io/is-default-class"),
        );
        world.put(
            "networking.k8s.io/ingressclasses",
            class(name, at, "ingressclass.kubernetes.io/is-default-class"),
        );
    }
    lines.push(spec(&world, pvcs, claim(json!({})), &["storageClassName"]));
    lines.push(spec(&world, pvcs, claim(json!({"storageClassName": ""})), &["storageClassName"]));
    lines.push(spec(&world, "networking.k8s.io/ingresses", claim(json!({})), &["ingressClassName"]));
    let mut annotated = claim(json!({}));
    annotated["metadata"]["annotations"] = json!({"kubernetes.io/ingress.class": "nginx"});
    lines.push(spec(&world, "networking.k8s.io/ingresses", annotated, &["ingressClassName"]));
    expect![[r#"
        storageClassName=null
        storageClassName="a"
        storageClassName=""
        ingressClassName="a"
        ingressClassName=null"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn volumes_are_protected_and_grow_only_where_they_may() {
    let mut world = World::new();
    let claim = |size: &str, phase: &str| {
        json!({"metadata": {"name": "c", "namespace": "dev"}, "status": {"phase": phase},
            "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": size}}}})
    };
    let pvcs = "/persistentvolumeclaims";
    assert_eq!(
        world.admitted(create(pvcs, claim("1Gi", ""))).metadata.finalizers,
        ["kubernetes.io/pvc-protection"]
    );
    let pv = world.admitted(create("/persistentvolumes", json!({"metadata": {"name": "v"}})));
    assert_eq!(pv.metadata.finalizers, ["kubernetes.io/pv-protection"]);
    let mut lines = vec![
        world.say(update(pvcs, claim("2Gi", "Pending"), claim("1Gi", "Pending"))),
        world.say(update(pvcs, claim("2Gi", "Bound"), claim("1Gi", "Bound"))),
        world.say(update(pvcs, claim("1Gi", "Bound"), claim("1024Mi", "Bound"))),
    ];
    world.put(
        "storage.k8s.io/storageclasses",
        json!({"metadata": {"name": "fast"}, "allowVolumeExpansion": true}),
    );
    lines.push(world.say(update(pvcs, claim("2Gi", "Bound"), claim("1Gi", "Bound"))));
    expect![[r#"
        403 persistentvolumeclaims "c" is forbidden: Only bound persistent volume claims can be expanded
        403 persistentvolumeclaims "c" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize
        ok
        ok"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn tolerations_and_taints() {
    let world = World::new();
    let lines = [
        spec(&world, "/pods", pod(json!({})), &["tolerations"]),
        spec(&world, "/pods", pod(json!({"tolerations": [{"operator": "Exists"}]})), &["tolerations"]),
        spec(
            &world,
            "/pods",
            pod(json!({"tolerations": [
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}]})),
            &["tolerations"],
        ),
        spec(&world, "/nodes", json!({"metadata": {"name": "n"}}), &["taints"]),
    ];
    expect![[r#"
        tolerations=[{"effect":"NoExecute","key":"node.kubernetes.io/not-ready","operator":"Exists","tolerationSeconds":300},{"effect":"NoExecute","key":"node.kubernetes.io/unreachable","operator":"Exists","tolerationSeconds":300}]
        tolerations=[{"operator":"Exists"}]
        tolerations=[{"effect":"NoExecute","key":"node.kubernetes.io/not-ready","operator":"Exists"},{"effect":"NoExecute","key":"node.kubernetes.io/unreachable","operator":"Exists","tolerationSeconds":300}]
        taints=[{"effect":"NoSchedule","key":"node.kubernetes.io/not-ready"}]"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn runtime_class() {
    let mut world = World::new();
    world.put("node.k8s.io/runtimeclasses", json!({"metadata": {"name": "vm"}, "handler": "kata",
        "overhead": {"podFixed": {"memory": "120Mi", "cpu": "250m"}},
        "scheduling": {"nodeSelector": {"kvm": "yes"}, "tolerations": [{"key": "kvm", "operator": "Exists"}]}}));
    let fields = ["overhead", "nodeSelector", "tolerations"];
    let tolerations = json!([{"key": "kvm", "operator": "Equal", "value": "x"}, {"operator": "Exists", "effect": "NoExecute"}]);
    let lines = [
        spec(
            &world,
            "/pods",
            pod(json!({"runtimeClassName": "vm", "nodeSelector": {"a": "b"}, "tolerations": tolerations})),
            &fields,
        ),
        world.say(create(
            "/pods",
            pod(json!({"runtimeClassName": "vm", "overhead": {"cpu": "0.25", "memory": "120Mi"}})),
        )),
        world.say(create("/pods", pod(json!({"runtimeClassName": "vm", "overhead": {"cpu": "1"}})))),
        world.say(create("/pods", pod(json!({"runtimeClassName": "vm", "nodeSelector": {"kvm": "no"}})))),
        world.say(create("/pods", pod(json!({"runtimeClassName": "none"})))),
        world.say(create("/pods", pod(json!({"overhead": {"cpu": "1"}})))),
    ];
    expect![[r#"
        overhead={"cpu":"250m","memory":"120Mi"}
        nodeSelector={"a":"b","kvm":"yes"}
        tolerations=[{"effect":"NoExecute","operator":"Exists"},{"key":"kvm","operator":"Exists"}]
        ok
        403 pods "p" is forbidden: pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead
        403 pods "p" is forbidden: conflict: runtimeClass.scheduling.nodeSelector[kvm] = yes; pod.spec.nodeSelector[kvm] = no
        403 pods "p" is forbidden: pod rejected: RuntimeClass "none" not found
        403 pods "p" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn external_addresses_are_not_for_the_taking() {
    let world = World::new();
    let service =
        |ips: Value| json!({"metadata": {"name": "s", "namespace": "dev"}, "spec": {"externalIPs": ips}});
    let lines = [
        world.say(create("/services", service(json!([])))),
        world.say(create("/services", service(json!(["1.2.3.4"])))),
        world.say(update("/services", service(json!(["1.2.3.4"])), service(json!(["1.2.3.4", "1.2.3.5"])))),
        world.say(update("/services", service(json!(["1.2.3.6"])), service(json!(["1.2.3.4"])))),
    ];
    expect![[r#"
        ok
        403 services "s" is forbidden: Use of external IPs is denied by admission control
        ok
        403 services "s" is forbidden: Use of external IPs is denied by admission control"#]]
    .assert_eq(&lines.join("\n"));
}
