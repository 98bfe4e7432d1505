use crate::{Attributes, Authorizer, UserInfo};
use expect_test::{Expect, expect};
use meta::Object;
use serde_json::{Value, json};
use std::sync::Arc;

const GROUP: &str = super::GROUP;

fn object(v: Value) -> Object {
    Object::from_value(v).unwrap()
}

fn role(name: &str, rules: Value) -> Object {
    object(json!({"kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}))
}

fn binding(ns: &str, name: &str, role_kind: &str, role: &str, subjects: Value) -> Object {
    let mut meta = json!({"name": name});
    if !ns.is_empty() {
        meta["namespace"] = ns.into();
    }
    object(json!({"metadata": meta, "subjects": subjects,
        "roleRef": {"apiGroup": GROUP, "kind": role_kind, "name": role}}))
}

/// A policy with the shapes of upstream's default roles.
fn policy() -> Authorizer {
    let a = Authorizer::new();
    let roles = [
        role(
            "cluster-admin",
            json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
            {"nonResourceURLs": ["*"], "verbs": ["*"]}]),
        ),
        role(
            "system:discovery",
            json!([{"nonResourceURLs": ["/api", "/api/*", "/healthz", "/version/"], "verbs": ["get"]}]),
        ),
        role(
            "view",
            json!([{"apiGroups": [""], "resources": ["pods", "pods/log", "services"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": ["apps"], "resources": ["deployments", "*/scale"], "verbs": ["get"]}]),
        ),
        role(
            "one-map",
            json!([{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"], "verbs": ["get", "update"]}]),
        ),
        role(
            "role-editor",
            json!([{"apiGroups": [GROUP], "resources": ["roles", "rolebindings", "clusterroles"], "verbs": ["*"]}]),
        ),
        role(
            "role-writer",
            json!([{"apiGroups": [GROUP], "resources": ["roles", "rolebindings", "clusterroles"], "verbs": ["create", "update"]}]),
        ),
    ];
    for r in &roles {
        a.put(GROUP, "clusterroles", r);
    }
    let group = |name: &str| json!([{"kind": "Group", "apiGroup": GROUP, "name": name}]);
    let user = |name: &str| json!([{"kind": "User", "apiGroup": GROUP, "name": name}]);
    for b in [
        binding("", "cluster-admin", "ClusterRole", "cluster-admin", group("admins")),
        binding("", "system:discovery", "ClusterRole", "system:discovery", group("system:authenticated")),
        binding("", "lost", "ClusterRole", "gone", user("bob")),
    ] {
        a.put(GROUP, "clusterrolebindings", &b);
    }
    for b in [
        binding("dev", "alice-views", "ClusterRole", "view", user("alice")),
        binding("dev", "sa-views", "ClusterRole", "view", json!([{"kind": "ServiceAccount", "name": "bot"}])),
        binding("dev", "alice-map", "ClusterRole", "one-map", user("alice")),
        binding("dev", "carol-roles", "ClusterRole", "role-writer", user("carol")),
        binding("dev", "carol-views", "ClusterRole", "view", user("carol")),
        binding("dev", "dave-roles", "ClusterRole", "role-editor", user("dave")),
    ] {
        a.put(GROUP, "rolebindings", &b);
    }
    a
}

fn user(name: &str, groups: &[&str]) -> Arc<UserInfo> {
    Arc::new(UserInfo::new(name, groups))
}

fn show(a: &Authorizer, attributes: Attributes) -> String {
    match a.require(&attributes) {
        Ok(()) => format!("allowed: {}", a.authorize(&attributes).reason()),
        Err(status) => format!("{}: {}", status.code, status.message),
    }
}

fn check(attributes: Attributes, expected: Expect) {
    expected.assert_eq(&show(&policy(), attributes));
}

#[test]
fn allows_by_binding_and_names_it() {
    let alice = user("alice", &["system:authenticated"]);
    check(
        Attributes::resource(&alice, "list", "", "pods").namespace("dev"),
        expect![[
            r#"allowed: RBAC: allowed by RoleBinding "alice-views/dev" of ClusterRole "view" to User "alice""#
        ]],
    );
    check(
        Attributes::resource(&user("system:serviceaccount:dev:bot", &[]), "get", "", "pods/log")
            .namespace("dev")
            .name("x"),
        expect![[
            r#"allowed: RBAC: allowed by RoleBinding "sa-views/dev" of ClusterRole "view" to ServiceAccount "bot/dev""#
        ]],
    );
    check(
        Attributes::resource(&user("root", &["admins"]), "delete", "apps", "deployments"),
        expect![[
            r#"allowed: RBAC: allowed by ClusterRoleBinding "cluster-admin" of ClusterRole "cluster-admin" to Group "admins""#
        ]],
    );
    check(Attributes::resource(&user("x", &["system:masters"]), "delete", "", "nodes"), expect!["allowed: "]);
    check(
        Attributes::non_resource(&alice, "get", "/api/v1"),
        expect![[
            r#"allowed: RBAC: allowed by ClusterRoleBinding "system:discovery" of ClusterRole "system:discovery" to Group "system:authenticated""#
        ]],
    );
}

#[test]
fn refuses_in_upstreams_words() {
    let alice = user("alice", &["system:authenticated"]);
    check(
        Attributes::resource(&alice, "list", "", "pods").namespace("default"),
        expect![[
            r#"403: pods is forbidden: User "alice" cannot list resource "pods" in API group "" in the namespace "default""#
        ]],
    );
    check(
        Attributes::resource(&alice, "get", "apps", "deployments/status").namespace("dev").name("web"),
        expect![[
            r#"403: deployments.apps "web" is forbidden: User "alice" cannot get resource "deployments/status" in API group "apps" in the namespace "dev""#
        ]],
    );
    check(
        Attributes::resource(&alice, "list", "", "nodes"),
        expect![[
            r#"403: nodes is forbidden: User "alice" cannot list resource "nodes" in API group "" at the cluster scope"#
        ]],
    );
    check(
        Attributes::non_resource(&alice, "get", "/metrics<script>"),
        expect![[r#"403: forbidden: User "alice" cannot get path "/metrics&lt;script&gt;""#]],
    );
    check(
        Attributes::resource(&user("bob", &[]), "list", "", "nodes"),
        expect![[
            r#"403: nodes is forbidden: User "bob" cannot list resource "nodes" in API group "" at the cluster scope: RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found"#
        ]],
    );
}

#[test]
fn matches_names_and_subresources() {
    let alice = user("alice", &[]);
    let a = policy();
    let may = |verb, resource, name| {
        a.authorize(&Attributes::resource(&alice, verb, "", resource).namespace("dev").name(name))
            .is_allowed()
    };
    assert!(may("get", "configmaps", "mine"));
    assert!(!may("get", "configmaps", "other"));
    assert!(!may("list", "configmaps", ""));
    let scale = |resource| {
        a.authorize(&Attributes::resource(&alice, "get", "apps", resource).namespace("dev")).is_allowed()
    };
    assert!(scale("statefulsets/scale"), "*/scale");
    assert!(!scale("statefulsets/status"));
    assert!(!scale("scale"));
}

#[test]
fn follows_changes_of_the_policy() {
    let a = policy();
    let alice = user("alice", &[]);
    let list =
        || a.authorize(&Attributes::resource(&alice, "list", "", "pods").namespace("dev")).is_allowed();
    assert!(list());
    a.put(GROUP, "clusterroles", &role("view", json!(null)));
    assert!(!list());
    a.put(
        GROUP,
        "clusterroles",
        &role("view", json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]}])),
    );
    assert!(list());
    a.put(
        GROUP,
        "rolebindings",
        &binding("dev", "alice-views", "ClusterRole", "view", json!([{"kind": "User", "name": "eve"}])),
    );
    assert!(!list());
    a.put(
        GROUP,
        "rolebindings",
        &binding("dev", "alice-views", "ClusterRole", "view", json!([{"kind": "User", "name": "alice"}])),
    );
    assert!(list());
    a.delete(GROUP, "rolebindings", "dev", "alice-views");
    assert!(!list());
}

fn escalate(who: &str, resource: &str, new: &Object) -> String {
    let attributes = Attributes::resource(&user(who, &["devs"]), "create", GROUP, resource)
        .namespace(if resource.starts_with("cluster") { "" } else { "dev" });
    match policy().check_escalation(&attributes, new, None) {
        Ok(()) => "granted".to_owned(),
        Err(status) => format!("{}: {}", status.code, status.message),
    }
}

#[test]
fn nobody_grants_what_they_do_not_hold() {
    let wide = object(json!({"metadata": {"name": "wide", "namespace": "dev"}, "rules": [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "delete", "create"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]}]}));
    expect![[r#"
        403: roles.rbac.authorization.k8s.io "wide" is forbidden: user "carol" (groups=["devs"]) is attempting to grant RBAC permissions not currently held:
        {APIGroups:[""], Resources:["pods"], Verbs:["delete" "create"]}"#]]
    .assert_eq(&escalate("carol", "roles", &wide));
    let narrow = object(json!({"metadata": {"name": "narrow", "namespace": "dev"}, "rules": [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}));
    assert_eq!(escalate("carol", "roles", &narrow), "granted");
    assert_eq!(escalate("dave", "roles", &wide), "granted", "dave may escalate");
    let admin = binding("dev", "b", "ClusterRole", "cluster-admin", json!([]));
    expect![[r#"
        403: rolebindings.rbac.authorization.k8s.io "b" is forbidden: user "carol" (groups=["devs"]) is attempting to grant RBAC permissions not currently held:
        {APIGroups:["*"], Resources:["*"], Verbs:["*"]}
        {NonResourceURLs:["*"], Verbs:["*"]}"#]]
    .assert_eq(&escalate("carol", "rolebindings", &admin));
    assert_eq!(
        escalate("carol", "rolebindings", &binding("dev", "b", "ClusterRole", "view", json!([]))),
        "granted"
    );
    expect![[r#"404: clusterroles.rbac.authorization.k8s.io "none" not found"#]].assert_eq(&escalate(
        "carol",
        "rolebindings",
        &binding("dev", "b", "ClusterRole", "none", json!([])),
    ));
    let gathers = object(json!({"metadata": {"name": "g"}, "rules": null,
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}}));
    expect![[r#"403: clusterroles.rbac.authorization.k8s.io "g" is forbidden: must have cluster-admin privileges to use the aggregationRule"#]]
        .assert_eq(&escalate("carol", "clusterroles", &gathers));
}

#[test]
fn garbage_collection_may_touch_what_it_must() {
    let old = object(
        json!({"metadata": {"name": "wide", "namespace": "dev", "finalizers": ["x"], "resourceVersion": "4"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["delete"]}]}),
    );
    let mut new = old.clone();
    new.metadata.finalizers.clear();
    let attributes = Attributes::resource(&user("carol", &[]), "update", GROUP, "roles").namespace("dev");
    policy().check_escalation(&attributes, &new, Some(&old)).unwrap();
    new.metadata.labels.insert("a".into(), "b".into());
    policy().check_escalation(&attributes, &new, Some(&old)).unwrap_err();
}

#[test]
fn reviews_rules() {
    let review = policy().rules_review(&user("alice", &["system:authenticated"]), "dev");
    expect![[r#"
        {
          "incomplete": false,
          "nonResourceRules": [
            {
              "nonResourceURLs": [
                "/api",
                "/api/*",
                "/healthz",
                "/version/"
              ],
              "verbs": [
                "get"
              ]
            }
          ],
          "resourceRules": [
            {
              "apiGroups": [
                ""
              ],
              "resources": [
                "pods",
                "pods/log",
                "services"
              ],
              "verbs": [
                "get",
                "list",
                "watch"
              ]
            },
            {
              "apiGroups": [
                "apps"
              ],
              "resources": [
                "deployments",
                "*/scale"
              ],
              "verbs": [
                "get"
              ]
            },
            {
              "apiGroups": [
                ""
              ],
              "resourceNames": [
                "mine"
              ],
              "resources": [
                "configmaps"
              ],
              "verbs": [
                "get",
                "update"
              ]
            }
          ]
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&review).unwrap());
}
