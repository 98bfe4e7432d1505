use super::*;
use crate::plugins::{ClaimState, Delayed};
use api::core::v1::{Node, Pod};
use expect_test::{Expect, expect};
use serde_json::{Value, json};

fn node(name: &str, cpu: &str, more: Value) -> Node {
    let mut v = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {}, "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "10"}}});
    merge(&mut v, more);
    serde_json::from_value(v).unwrap()
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(a), Value::Object(b)) => {
            b.into_iter().for_each(|(k, v)| merge(a.entry(k).or_insert(Value::Null), v))
        }
        (a, b) => *a = b,
    }
}

fn pod(name: &str, cpu: &str, spec: Value) -> PodInfo {
    let mut v = json!({"metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}});
    merge(&mut v["spec"], spec);
    PodInfo::new(Arc::new(serde_json::from_value::<Pod>(v).unwrap()))
}

fn world(nodes: &[Node], pods: &[(PodInfo, &str)]) -> Snapshot {
    let mut s = Snapshot::default();
    nodes.iter().for_each(|n| s.set_node(n));
    pods.iter().for_each(|(p, n)| s.put_pod(Arc::new(p.clone()), n));
    s
}

fn check(s: &Snapshot, p: &PodInfo, expected: Expect) {
    check_claims(s, p, &[], expected);
}

fn check_claims(s: &Snapshot, p: &PodInfo, claims: &[Claim], expected: Expect) {
    let text = match schedule(s, p, claims, &|_| true) {
        Decision::Bind(node) => format!("bind {node}"),
        Decision::Unschedulable { message, preemption: None } => message,
        Decision::Unschedulable { preemption: Some(p), .. } => {
            let names: Vec<&str> = p.victims.iter().map(|v| &*v.key.name).collect();
            format!("preempt {} on {}", names.join(" "), p.node)
        }
    };
    expected.assert_eq(&text);
}

#[test]
fn the_emptier_node_wins() {
    let s =
        world(&[node("a", "4", json!({})), node("b", "4", json!({}))], &[(pod("x", "2", json!({})), "a")]);
    check(&s, &pod("p", "1", json!({})), expect!["bind b"]);
}

#[test]
fn nothing_there() {
    check(&world(&[], &[]), &pod("p", "1", json!({})), expect!["no nodes available to schedule pods"]);
}

#[test]
fn reasons_are_counted_and_sorted() {
    let taint = json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    let s = world(&[node("a", "1", json!({})), node("b", "4", taint), node("c", "1", json!({}))], &[]);
    check(
        &s,
        &pod("p", "2", json!({})),
        expect![
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
        ],
    );
    let tolerant = json!({"tolerations": [{"key": "k", "operator": "Exists"}]});
    check(&s, &pod("p", "2", tolerant), expect!["bind b"]);
}

#[test]
fn selector_cordon_and_name() {
    let s =
        world(&[node("a", "4", json!({"spec": {"unschedulable": true}})), node("b", "4", json!({}))], &[]);
    check(
        &s,
        &pod("p", "1", json!({"nodeSelector": {"disk": "ssd"}})),
        expect![
            "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) were unschedulable. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
}

#[test]
fn host_ports_are_had_once() {
    let with = |name| {
        pod(
            name,
            "0",
            json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]}),
        )
    };
    let s = world(&[node("a", "4", json!({}))], &[(with("x"), "a")]);
    check(
        &s,
        &with("p"),
        expect![
            "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
        ],
    );
}

#[test]
fn the_least_important_goes() {
    let s = world(
        &[node("a", "4", json!({}))],
        &[(pod("low", "2", json!({"priority": 1})), "a"), (pod("mid", "2", json!({"priority": 5})), "a")],
    );
    check(&s, &pod("p", "2", json!({"priority": 10})), expect!["preempt low on a"]);
    check(
        &s,
        &pod("p", "2", json!({"priority": 10, "preemptionPolicy": "Never"})),
        expect![
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: not eligible due to preemptionPolicy=Never."
        ],
    );
    check(
        &s,
        &pod("p", "2", json!({"priority": 1})),
        expect![
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
        ],
    );
}

fn apart(app: &str) -> Value {
    json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": "kubernetes.io/hostname"}]}}})
}

#[test]
fn apart_and_near() {
    let nodes = [node("a", "4", json!({})), node("b", "4", json!({}))];
    let s = world(&nodes, &[(pod("web", "0", apart("web")), "a")]);
    check(&s, &pod("web", "0", apart("web")), expect!["bind b"]);
    let near = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}]}}});
    check(&s, &pod("db", "0", near.clone()), expect!["bind a"]);
    check(&world(&nodes[..1], &[]), &pod("web", "0", near.clone()), expect!["bind a"]);
    check(
        &world(&nodes[..1], &[]),
        &pod("db", "0", near),
        expect![
            "0/1 nodes are available: 1 node(s) didn't match pod affinity rules. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ],
    );
}

#[test]
fn spread_over_nodes() {
    let spread = json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}}]});
    let nodes = [node("a", "4", json!({})), node("b", "1", json!({}))];
    let s = world(&nodes, &[(pod("web", "0", json!({})), "a")]);
    check(&s, &pod("web", "0", spread.clone()), expect!["bind b"]);
    check(
        &s,
        &pod("web", "2", spread),
        expect![
            "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod topology spread constraints. no new claims to deallocate, preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling."
        ],
    );
}

#[test]
fn claims() {
    let s = world(&[node("a", "4", json!({}))], &[]);
    let claim = |state| [Claim { name: "data".into(), state, exclusive: false }];
    let p = pod("p", "0", json!({}));
    check_claims(
        &s,
        &p,
        &claim(ClaimState::Absent),
        expect![[
            r#"0/1 nodes are available: persistentvolumeclaim "data" not found. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."#
        ]],
    );
    check_claims(
        &s,
        &p,
        &claim(ClaimState::Unbound),
        expect![
            "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ],
    );
    let made_on = |node: &str| {
        let selected = Some(node.to_owned()).filter(|n| !n.is_empty());
        claim(ClaimState::Waiting(Delayed { selected, provisioned: true, ..Delayed::default() }))
    };
    check_claims(&s, &p, &made_on(""), expect!["bind a"]);
    check_claims(&s, &p, &made_on("a"), expect!["bind a"]);
    check_claims(
        &s,
        &p,
        &made_on("b"),
        expect![
            "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ],
    );
}

#[test]
fn claims_take_volumes_where_they_are() {
    let s = world(&[node("a", "4", json!({})), node("b", "4", json!({}))], &[]);
    let p = pod("p", "0", json!({}));
    let on = |node: &str| {
        let field = json!({"key": "metadata.name", "operator": "In", "values": [node]});
        serde_json::from_value(json!({"nodeSelectorTerms": [{"matchFields": [field]}]})).ok()
    };
    let claim = |name: &str, volumes: &[(&str, &str)]| {
        let volumes = volumes.iter().map(|(name, node)| ((*name).to_owned(), on(node))).collect();
        let state = ClaimState::Waiting(Delayed { volumes, ..Delayed::default() });
        Claim { name: name.into(), state, exclusive: false }
    };
    check_claims(&s, &p, &[claim("c", &[("v", "b")])], expect!["bind b"]);
    check_claims(
        &s,
        &p,
        &[claim("c", &[])],
        expect![
            "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
    // Two claims can't have the same volume.
    let both = [claim("c", &[("v", "b")]), claim("d", &[("v", "b")])];
    check_claims(
        &s,
        &p,
        &both,
        expect![
            "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
    let both = [claim("c", &[("v", "b"), ("w", "a")]), claim("d", &[("v", "b"), ("w", "a"), ("x", "a")])];
    check_claims(&s, &p, &both, expect!["bind a"]);
}

#[test]
fn an_exclusive_claim_has_one_pod() {
    let user = json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]});
    let s = world(&[node("a", "4", json!({}))], &[(pod("first", "0", user.clone()), "a")]);
    let claim = |exclusive| [Claim { name: "data".into(), state: ClaimState::Bound(None), exclusive }];
    check_claims(&s, &pod("second", "0", user.clone()), &claim(false), expect!["bind a"]);
    check_claims(
        &s,
        &pod("second", "0", user),
        &claim(true),
        expect![
            "0/1 nodes are available: 1 node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
        ],
    );
}

#[test]
fn nodes_that_a_pod_does_not_name_are_told_apart() {
    let s = world(&[node("a", "1", json!({})), node("b", "4", json!({}))], &[]);
    let on = |name: &str, cpu: &str| {
        let field = json!({"key": "metadata.name", "operator": "In", "values": [name]});
        let terms = json!({"nodeSelectorTerms": [{"matchFields": [field]}]});
        let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}});
        pod("p", cpu, json!({"affinity": affinity}))
    };
    check_claims(&s, &on("a", "0"), &[], expect!["bind a"]);
    check_claims(
        &s,
        &on("a", "2"),
        &[],
        expect![
            "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't satisfy plugin(s) [NodeAffinity]. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
    check_claims(
        &s,
        &on("c", "0"),
        &[],
        expect![
            "0/2 nodes are available: 2 node(s) didn't satisfy plugin(s) [NodeAffinity]. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
}
