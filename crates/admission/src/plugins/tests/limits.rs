use super::{World, create, pod, pod_with, update};
use expect_test::expect;
use serde_json::{Value, json};

fn world(limits: Value) -> World {
    let mut world = World::new();
    world.put(
        "/limitranges",
        json!({"metadata": {"name": "l", "namespace": "dev"}, "spec": {"limits": limits}}),
    );
    world
}

#[test]
fn fills_in_defaults_and_says_so() {
    let world = world(json!([{"type": "Container", "default": {"cpu": "500m", "memory": "512Mi"},
        "defaultRequest": {"cpu": "100m", "memory": "256Mi"}}]));
    let admitted = world.admitted(create(
        "/pods",
        pod(json!({"automountServiceAccountToken": false,
        "containers": [{"name": "a", "resources": {"requests": {"cpu": "1"}}}, {"name": "b"}],
        "initContainers": [{"name": "i", "resources": {"limits": {"memory": "1Gi"}}}]})),
    ));
    expect![[r#"
        LimitRanger plugin set: memory request for container a; cpu, memory limit for container a; cpu, memory request for container b; cpu, memory limit for container b; cpu, memory request for init container i; cpu limit for init container i
        [{"name":"a","resources":{"limits":{"cpu":"500m","memory":"512Mi"},"requests":{"cpu":"1","memory":"256Mi"}}},{"name":"b","resources":{"limits":{"cpu":"500m","memory":"512Mi"},"requests":{"cpu":"100m","memory":"256Mi"}}}]
        [{"name":"i","resources":{"limits":{"cpu":"500m","memory":"1Gi"},"requests":{"cpu":"100m","memory":"256Mi"}}}]"#]].assert_eq(&format!(
        "{}\n{}\n{}",
        admitted.metadata.annotations["kubernetes.io/limit-ranger"],
        admitted.body["spec"]["containers"],
        admitted.body["spec"]["initContainers"]
    ));
}

#[test]
fn refuses_what_is_outside() {
    let world = world(json!([
        {"type": "Container", "min": {"cpu": "100m"}, "max": {"cpu": "2", "memory": "1Gi"}, "maxLimitRequestRatio": {"cpu": "4"}},
        {"type": "Pod", "max": {"cpu": "3"}},
        {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "10Gi"}}]));
    let two = |cpu: &str| {
        let c = |name: &str| json!({"name": name, "resources": {"requests": {"cpu": cpu}, "limits": {"cpu": cpu, "memory": "1Gi"}}});
        pod(json!({"containers": [c("a"), c("b")]}))
    };
    let claim = |size: Value| json!({"metadata": {"name": "c", "namespace": "dev"}, "spec": {"resources": {"requests": size}}});
    let lines = [
        world.say(create("/pods", two("1"))),
        world.say(create("/pods", two("2"))),
        world.say(create(
            "/pods",
            pod_with(json!({"requests": {"cpu": "50m"}, "limits": {"cpu": "100m", "memory": "1Gi"}})),
        )),
        world.say(create(
            "/pods",
            pod_with(json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "500m", "memory": "2Gi"}})),
        )),
        world.say(create("/pods", pod_with(json!({})))),
        world.say(create("/persistentvolumeclaims", claim(json!({"storage": "512Mi"})))),
        world.say(create("/persistentvolumeclaims", claim(json!({"storage": "20Gi"})))),
        world.say(create("/persistentvolumeclaims", claim(json!({})))),
    ];
    expect![[r#"
        ok
        403 pods "p" is forbidden: maximum cpu usage per Pod is 3, but limit is 4
        403 pods "p" is forbidden: minimum cpu usage per Container is 100m, but request is 50m
        403 pods "p" is forbidden: [maximum memory usage per Container is 1Gi, but limit is 2Gi, cpu max limit to request ratio per Container is 4, but provided ratio is 5.000000]
        403 pods "p" is forbidden: [minimum cpu usage per Container is 100m.  No request is specified, maximum cpu usage per Container is 2.  No limit is specified, maximum memory usage per Container is 1Gi.  No limit is specified, cpu max limit to request ratio per Container is 4, but no request is specified or request is 0, maximum cpu usage per Pod is 3.  No limit is specified]
        403 persistentvolumeclaims "c" is forbidden: minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 512Mi
        403 persistentvolumeclaims "c" is forbidden: maximum storage usage per PersistentVolumeClaim is 10Gi, but request is 20Gi
        403 persistentvolumeclaims "c" is forbidden: [minimum storage usage per PersistentVolumeClaim is 1Gi.  No request is specified, maximum storage usage per PersistentVolumeClaim is 10Gi.  No request is specified]"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn a_resize_beyond_the_node_is_refused() {
    let mut world = World::new();
    let node = json!({"metadata": {"name": "n1"}, "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}}});
    world.put("/nodes", node);
    let on_node = |cpu: &str, memory: &str| {
        let mut pod = pod_with(json!({"requests": {"cpu": cpu, "memory": memory}}));
        pod["spec"]["nodeName"] = json!("n1");
        pod
    };
    let resize = |cpu: &str, memory: &str| update("/pods/resize", on_node(cpu, memory), on_node("1", "1Mi"));
    let lines = [world.say(resize("2", "1Gi")), world.say(resize("2100m", "2Gi"))];
    expect![[r#"
        ok
        403 pods "p" is forbidden: node didn't have enough allocatable resources: cpu, requested: 2100, allocatable: 2000; memory, requested: 2147483648, allocatable: 1073741824"#]]
    .assert_eq(&lines.join("\n"));
    let refused = world.admit(&mut resize("3", "1Mi")).unwrap_err();
    assert_eq!(refused.details["causes"], json!([{"reason": "NodeCapacity"}]));
}
