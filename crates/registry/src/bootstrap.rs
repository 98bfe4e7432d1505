//! Objects that a new cluster has: namespaces, roles and bindings, priority classes, flow control, API services
//! (upstream: `plugin/pkg/auth/authorizer/rbac/bootstrappolicy`, `pkg/apis/flowcontrol/bootstrap`, and the post-start
//! hooks of `pkg/controlplane`).

use meta::{Object, ObjectMeta};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Roles and bindings.
const RBAC: &str = include_str!("../data/rbac.txt");
/// Everything else that is data: an object a line.
const OTHERS: &str = include_str!("../data/bootstrap.jsonl");
/// The namespaces that a cluster always has (`pkg/controlplane/controller/systemnamespaces`).
pub const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

/// All of them. Namespaces come first; each object still goes through the write path, for its defaults.
pub fn bootstrap_objects() -> Vec<Object> {
    let mut all: Vec<Object> = NAMESPACES.iter().map(|name| object("v1", "Namespace", "", name)).collect();
    all.extend(rbac(RBAC));
    all.extend(
        OTHERS.lines().filter_map(|line| Object::from_slice(line.as_bytes()).ok()).map(keep_up_to_date),
    );
    all.extend(api_services());
    all
}

/// The spec of an object of flow control that every cluster has and nobody may change
/// (`apiserver/pkg/apis/flowcontrol/bootstrap`: the mandatory ones).
pub(crate) fn mandatory(o: &Object) -> Option<Value> {
    if !matches!(o.metadata.name.as_str(), "catch-all" | "exempt") {
        return None;
    }
    let all = OTHERS.lines().filter_map(|line| Object::from_slice(line.as_bytes()).ok());
    all.filter(|m| m.kind == o.kind && m.metadata.name == o.metadata.name)
        .find_map(|m| m.get(&["spec"]).cloned())
}

fn object(api_version: &str, kind: &str, namespace: &str, name: &str) -> Object {
    let metadata =
        ObjectMeta { name: name.to_owned(), namespace: namespace.to_owned(), ..ObjectMeta::default() };
    Object { api_version: api_version.to_owned(), kind: kind.to_owned(), metadata, body: Map::new() }
}

fn keep_up_to_date(mut o: Object) -> Object {
    if o.api_version.starts_with("flowcontrol") {
        o.metadata.annotations.insert("apf.kubernetes.io/autoupdate-spec".into(), "true".into());
    }
    o
}

/// Reads `data/rbac.txt`; its head explains it.
fn rbac(table: &str) -> Vec<Object> {
    let mut all: Vec<Object> = Vec::new();
    for line in table.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (line.starts_with(' '), all.last_mut()) {
            (true, Some(role)) => add_rule(role, &words),
            _ => all.extend(role_or_binding(&words)),
        }
    }
    aggregate(&mut all);
    all
}

fn role_or_binding(words: &[&str]) -> Option<Object> {
    let (kind, name) = (*words.first()?, *words.get(1)?);
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    let mut o = object(&format!("{RBAC_GROUP}/v1"), kind, namespace, name);
    o.metadata.labels.insert("kubernetes.io/bootstrapping".into(), "rbac-defaults".into());
    o.metadata.annotations.insert("rbac.authorization.kubernetes.io/autoupdate".into(), "true".into());
    if kind.ends_with("Binding") {
        let role = words.get(2)?;
        let (role_kind, role) = match kind {
            "RoleBinding" => role.split_once('/')?,
            _ => ("ClusterRole", *role),
        };
        o.body.insert("roleRef".into(), json!({"apiGroup": RBAC_GROUP, "kind": role_kind, "name": role}));
        o.body.insert("subjects".into(), words[3..].iter().filter_map(|s| subject(s)).collect());
        return Some(o);
    }
    o.body.insert("rules".into(), json!([]));
    for word in &words[2..] {
        match word.split_once('=')? {
            ("label", key) => drop(o.metadata.labels.insert(format!("{RBAC_GROUP}/{key}"), "true".into())),
            (_, key) => {
                let selector = json!({"matchLabels": {format!("{RBAC_GROUP}/{key}"): "true"}});
                o.body.insert("aggregationRule".into(), json!({"clusterRoleSelectors": [selector]}));
            }
        }
    }
    Some(o)
}

fn subject(word: &str) -> Option<Value> {
    let (kind, name) = word.split_once(':')?;
    Some(match kind {
        "serviceaccount" => {
            let (namespace, name) = name.split_once('/')?;
            json!({"kind": "ServiceAccount", "namespace": namespace, "name": name})
        }
        "user" => json!({"apiGroup": RBAC_GROUP, "kind": "User", "name": name}),
        _ => json!({"apiGroup": RBAC_GROUP, "kind": "Group", "name": name}),
    })
}

fn add_rule(role: &mut Object, words: &[&str]) {
    let list = |word: &str| -> Value { word.split(',').map(|w| if w == "core" { "" } else { w }).collect() };
    let rule = match words {
        [verbs, urls] => json!({"verbs": list(verbs), "nonResourceURLs": list(urls)}),
        [verbs, groups, resources] => {
            json!({"verbs": list(verbs), "apiGroups": list(groups), "resources": list(resources)})
        }
        [verbs, groups, resources, names] => json!({
            "verbs": list(verbs), "apiGroups": list(groups), "resources": list(resources),
            "resourceNames": list(names),
        }),
        _ => return,
    };
    if let Some(Value::Array(rules)) = role.body.get_mut("rules") {
        rules.push(rule);
    }
}

/// Fills the roles that are made of others, so that they hold before any controller runs. A label that aggregates into
/// `edit` reaches `admin` through `edit`'s own label.
fn aggregate(all: &mut [Object]) {
    // admin takes from edit and edit from view: as many rounds as the chain is long.
    const ROUNDS: usize = 3;
    for _ in 0..ROUNDS {
        let parts: Vec<(BTreeMap<String, String>, Value)> = all
            .iter()
            .map(|o| (o.metadata.labels.clone(), o.body.get("rules").cloned().unwrap_or_default()))
            .collect();
        for o in all.iter_mut() {
            let selector =
                o.body.get("aggregationRule").and_then(|r| r.pointer("/clusterRoleSelectors/0/matchLabels"));
            let Some(key) = selector.and_then(Value::as_object).and_then(|s| s.keys().next()).cloned() else {
                continue;
            };
            let mut rules: Vec<Value> = Vec::new();
            for rule in
                parts.iter().filter(|(labels, _)| labels.contains_key(&key)).filter_map(|(_, r)| r.as_array())
            {
                rules.extend(rule.iter().filter(|r| !rules.contains(r)).cloned().collect::<Vec<_>>());
            }
            o.body.insert("rules".into(), rules.into());
        }
    }
}

/// (group, priority of the group, priority of the version): what the aggregator sorts discovery by.
const PRIORITIES: [(&str, i64, i64); 20] = [
    ("", 18000, 1),
    ("admissionregistration.k8s.io", 16700, 15),
    ("apiextensions.k8s.io", 16700, 15),
    ("apps", 17800, 15),
    ("authentication.k8s.io", 17700, 15),
    ("authorization.k8s.io", 17600, 15),
    ("autoscaling", 17500, 15),
    ("batch", 17400, 15),
    ("certificates.k8s.io", 17300, 15),
    ("coordination.k8s.io", 16500, 15),
    ("discovery.k8s.io", 16200, 15),
    ("events.k8s.io", 17750, 15),
    ("flowcontrol.apiserver.k8s.io", 16100, 21),
    ("networking.k8s.io", 17200, 15),
    ("node.k8s.io", 16300, 15),
    ("policy", 17100, 15),
    ("rbac.authorization.k8s.io", 17000, 15),
    ("resource.k8s.io", 16200, 21),
    ("scheduling.k8s.io", 16600, 15),
    ("storage.k8s.io", 16800, 15),
];

/// One `APIService` for each group and version of ours.
fn api_services() -> Vec<Object> {
    let make = |group: &str, version: &str, priority: i64, version_priority: i64| {
        let name = format!("{version}.{group}");
        let mut o = object("apiregistration.k8s.io/v1", "APIService", "", &name);
        o.metadata.labels.insert("kube-aggregator.kubernetes.io/automanaged".into(), "onstart".into());
        let mut spec = json!({
            "version": version, "groupPriorityMinimum": priority, "versionPriority": version_priority,
        });
        if !group.is_empty() {
            spec["group"] = group.into();
        }
        o.body.insert("spec".into(), spec);
        o
    };
    let mut all: Vec<Object> = PRIORITIES.iter().map(|(group, g, v)| make(group, "v1", *g, *v)).collect();
    all.push(make("autoscaling", "v2", 17500, 30));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_an_object_of_a_kind_of_ours() {
        let all = bootstrap_objects();
        for o in &all {
            let gvk = o.gvk();
            let kind = crate::by_kind(&gvk.group, &gvk.version, &gvk.kind).expect("a kind of ours");
            let mut o = o.clone();
            kind.default(&mut o);
            assert_eq!(kind.validate(&o), [], "{} {}", o.kind, o.metadata.name);
        }
        let heads = RBAC.lines().filter(|l| !l.starts_with([' ', '#'])).count();
        assert_eq!(all.iter().filter(|o| o.api_version.starts_with(RBAC_GROUP)).count(), heads);
        assert_eq!(OTHERS.lines().count(), all.len() - heads - NAMESPACES.len() - PRIORITIES.len() - 1);
    }

    #[test]
    fn admin_holds_what_view_holds() {
        let all = bootstrap_objects();
        let rules = |name: &str| {
            let role =
                all.iter().find(|o| o.kind == "ClusterRole" && o.metadata.name == name).expect("a role");
            role.body["rules"].as_array().expect("rules").clone()
        };
        assert!(rules("view").iter().all(|r| rules("edit").contains(r)));
        assert!(rules("edit").iter().all(|r| rules("admin").contains(r)));
        assert!(rules("admin").len() > rules("edit").len());
    }
}
