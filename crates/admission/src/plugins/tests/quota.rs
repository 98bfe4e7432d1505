use super::{World, create, pod, pod_with, request, update};
use crate::Operation;
use expect_test::expect;
use serde_json::{Value, json};

fn quota(spec: Value, hard: Value, used: Value) -> Value {
    json!({"metadata": {"name": "q", "namespace": "dev", "resourceVersion": "7"}, "spec": spec,
        "status": {"hard": hard, "used": used}})
}

fn world(spec: Value, hard: Value, used: Value) -> World {
    let mut world = World::new();
    world.put("/resourcequotas", quota(spec, hard, used));
    world
}

/// The refusal, or what is counted now.
fn charged(world: &World, mut request: crate::Request) -> String {
    match world.admit(&mut request) {
        Err(status) => format!("{} {}", status.code, status.message),
        Ok(writes) => match writes.as_slice() {
            [] => "nothing".to_owned(),
            [write] => {
                assert_eq!(write.object.metadata.resource_version, "7");
                write.object.get(&["status", "used"]).unwrap().to_string()
            }
            more => format!("{} quotas", more.len()),
        },
    }
}

#[test]
fn counts_pods_and_what_they_ask_for() {
    let hard = json!({"pods": "2", "requests.cpu": "1", "limits.memory": "2Gi", "count/pods": "3", "requests.example.com/gpu": "1"});
    let used = json!({"pods": "1", "requests.cpu": "500m", "limits.memory": "1Gi", "count/pods": "1", "requests.example.com/gpu": "0"});
    let w = world(json!({}), hard, used);
    let ask = |cpu: &str, memory: &str| {
        pod_with(json!({"requests": {"cpu": cpu, "example.com/gpu": "1"}, "limits": {"memory": memory}}))
    };
    let mut full = World::new();
    full.put("/resourcequotas", quota(json!({}), json!({"pods": "2"}), json!({"pods": "2"})));
    let mut dry = create("/pods", ask("100m", "1Gi"));
    dry.dry_run = true;
    let mut unknown = World::new();
    unknown.put("/resourcequotas", quota(json!({}), json!({"pods": "2", "cpu": "1"}), json!({"cpu": "0"})));
    let lines = [
        charged(&w, create("/pods", ask("250m", "512Mi"))),
        charged(&w, create("/pods", ask("600m", "2Gi"))),
        charged(&w, create("/pods", pod_with(json!({})))),
        charged(&w, dry),
        charged(&full, create("/pods", pod(json!({"containers": []})))),
        charged(&unknown, create("/pods", pod_with(json!({"requests": {"cpu": "1"}})))),
        charged(&full, create("/configmaps", json!({"metadata": {"name": "m"}}))),
    ];
    expect![[r#"
        {"count/pods":"2","limits.memory":"1536Mi","pods":"2","requests.cpu":"750m","requests.example.com/gpu":"1"}
        403 pods "p" is forbidden: exceeded quota: q, requested: limits.memory=2Gi,requests.cpu=600m, used: limits.memory=1Gi,requests.cpu=500m, limited: limits.memory=2Gi,requests.cpu=1
        403 pods "p" is forbidden: failed quota: q: must specify limits.memory for: c; requests.cpu for: c
        nothing
        403 pods "p" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2
        403 pods "p" is forbidden: status unknown for quota: q, resources: cpu,pods
        nothing"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn counts_services_claims_and_anything() {
    let w = world(
        json!({}),
        json!({"services": "5", "services.nodeports": "2", "services.loadbalancers": "1", "requests.storage": "10Gi",
            "gold.storageclass.storage.k8s.io/requests.storage": "5Gi", "persistentvolumeclaims": "3",
            "configmaps": "1", "count/deployments.apps": "1", "secrets": "1"}),
        json!({"services": "1", "services.nodeports": "1", "services.loadbalancers": "0", "requests.storage": "1Gi",
            "gold.storageclass.storage.k8s.io/requests.storage": "1Gi", "persistentvolumeclaims": "1",
            "configmaps": "1", "count/deployments.apps": "0", "secrets": "0"}),
    );
    let service = |kind: &str, ports: usize| {
        let ports: Vec<Value> = (0..ports).map(|i| json!({"port": 80 + i})).collect();
        json!({"metadata": {"name": "s", "resourceVersion": "1"}, "spec": {"type": kind, "ports": ports}})
    };
    let claim = |class: &str, size: &str| {
        json!({"metadata": {"name": "c", "resourceVersion": "1"}, "spec": {"storageClassName": class,
            "resources": {"requests": {"storage": size}}}})
    };
    let thing = json!({"metadata": {"name": "m"}});
    let lines = [
        charged(&w, create("/services", service("ClusterIP", 1))),
        charged(&w, create("/services", service("LoadBalancer", 1))),
        charged(&w, create("/services", service("NodePort", 2))),
        charged(&w, update("/services", service("NodePort", 1), service("ClusterIP", 1))),
        charged(&w, update("/services", service("ClusterIP", 1), service("NodePort", 1))),
        charged(&w, create("/persistentvolumeclaims", claim("gold", "5Gi"))),
        charged(&w, create("/persistentvolumeclaims", claim("tin", "5Gi"))),
        charged(&w, create("/configmaps", thing.clone())),
        charged(&w, create("/secrets", thing.clone())),
        charged(&w, create("apps/deployments", thing.clone())),
        charged(&w, request(Operation::Delete, "/configmaps", None, Some(thing))),
    ];
    expect![[r#"
        {"configmaps":"1","count/deployments.apps":"0","gold.storageclass.storage.k8s.io/requests.storage":"1Gi","persistentvolumeclaims":"1","requests.storage":"1Gi","secrets":"0","services":"2","services.loadbalancers":"0","services.nodeports":"1"}
        {"configmaps":"1","count/deployments.apps":"0","gold.storageclass.storage.k8s.io/requests.storage":"1Gi","persistentvolumeclaims":"1","requests.storage":"1Gi","secrets":"0","services":"2","services.loadbalancers":"1","services.nodeports":"2"}
        403 services "s" is forbidden: exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=1, limited: services.nodeports=2
        {"configmaps":"1","count/deployments.apps":"0","gold.storageclass.storage.k8s.io/requests.storage":"1Gi","persistentvolumeclaims":"1","requests.storage":"1Gi","secrets":"0","services":"1","services.loadbalancers":"0","services.nodeports":"2"}
        nothing
        403 persistentvolumeclaims "c" is forbidden: exceeded quota: q, requested: gold.storageclass.storage.k8s.io/requests.storage=5Gi, used: gold.storageclass.storage.k8s.io/requests.storage=1Gi, limited: gold.storageclass.storage.k8s.io/requests.storage=5Gi
        {"configmaps":"1","count/deployments.apps":"0","gold.storageclass.storage.k8s.io/requests.storage":"1Gi","persistentvolumeclaims":"2","requests.storage":"6Gi","secrets":"0","services":"1","services.loadbalancers":"0","services.nodeports":"1"}
        403 configmaps "m" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=1, limited: configmaps=1
        {"configmaps":"1","count/deployments.apps":"0","gold.storageclass.storage.k8s.io/requests.storage":"1Gi","persistentvolumeclaims":"1","requests.storage":"1Gi","secrets":"1","services":"1","services.loadbalancers":"0","services.nodeports":"1"}
        {"configmaps":"1","count/deployments.apps":"1","gold.storageclass.storage.k8s.io/requests.storage":"1Gi","persistentvolumeclaims":"1","requests.storage":"1Gi","secrets":"0","services":"1","services.loadbalancers":"0","services.nodeports":"1"}
        nothing"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn scopes() {
    let hard = || json!({"pods": "1"});
    let used = || json!({"pods": "1"});
    let plain = || pod(json!({"containers": [{"name": "c"}]}));
    let deadline = || pod(json!({"containers": [{"name": "c"}], "activeDeadlineSeconds": 5}));
    let asking = || pod_with(json!({"requests": {"cpu": "1"}}));
    let affine = || {
        pod(
            json!({"containers": [], "affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "podAffinityTerm": {"topologyKey": "x", "namespaces": ["other"]}}]}}}),
        )
    };
    let mut lines = Vec::new();
    for scope in ["Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "CrossNamespacePodAffinity"]
    {
        let w = world(json!({"scopes": [scope]}), hard(), used());
        let full = |pod| w.admit(&mut create("/pods", pod)).is_err();
        lines.push(format!(
            "{scope}: plain {} deadline {} asking {} affine {}",
            full(plain()),
            full(deadline()),
            full(asking()),
            full(affine())
        ));
    }
    for (operator, values) in [
        ("In", json!(["high"])),
        ("NotIn", json!(["high"])),
        ("Exists", json!([])),
        ("DoesNotExist", json!([])),
    ] {
        let selector = json!({"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": values}]});
        let mut w = world(json!({"scopeSelector": selector}), hard(), used());
        w.put("scheduling.k8s.io/priorityclasses", json!({"metadata": {"name": "high"}, "value": 1}));
        let full = |pod| w.admit(&mut create("/pods", pod)).is_err();
        let high = pod(json!({"containers": [], "priorityClassName": "high"}));
        lines.push(format!("PriorityClass {operator}: plain {} high {}", full(plain()), full(high)));
    }
    expect![[r#"
        Terminating: plain false deadline true asking false affine false
        NotTerminating: plain true deadline false asking true affine true
        BestEffort: plain true deadline true asking false affine true
        NotBestEffort: plain false deadline false asking true affine false
        CrossNamespacePodAffinity: plain false deadline false asking false affine true
        PriorityClass In: plain false high true
        PriorityClass NotIn: plain true high false
        PriorityClass Exists: plain false high true
        PriorityClass DoesNotExist: plain true high false"#]]
    .assert_eq(&lines.join("\n"));
}
