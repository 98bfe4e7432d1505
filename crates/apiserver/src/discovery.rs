//! Discovery: what is served, in the old form (a document for each group and version) and aggregated
//! (`k8s.io/apiserver/pkg/endpoints/discovery`).

use crate::accept::{Accepted, Shape};
use crate::catalog::{Catalog, Group, Served};
use crate::reply::Reply;
use meta::Status;
use meta::gvk::api_version;
use serde_json::{Map, Value, json};

/// `/api`, `/apis` and what is below them; none for other paths.
pub(crate) fn serve(catalog: &Catalog, path: &str, accepted: Accepted) -> Option<Result<Reply, Status>> {
    let parts: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    let found = match parts.as_slice() {
        ["api"] => root(catalog, accepted, true),
        ["apis"] => root(catalog, accepted, false),
        ["api", version] => resources(catalog, "", version),
        ["apis", group] => {
            catalog.groups.iter().find(|g| g.name == *group && !g.name.is_empty()).map(group_value)
        }
        ["apis", group, version] if !group.is_empty() => resources(catalog, group, version),
        _ => return None,
    };
    let aggregated = matches!((parts.as_slice(), accepted.shape), ([_], Shape::Discovery(_)));
    let shape = if aggregated { accepted.shape } else { Shape::Whole };
    let accepted = Accepted { shape, ..accepted };
    Some(found.map(|v| Reply::value(200, accepted, &v)).ok_or_else(Status::no_such_path))
}

fn root(catalog: &Catalog, accepted: Accepted, core: bool) -> Option<Value> {
    if let Shape::Discovery(version) = accepted.shape {
        return Some(aggregated(catalog, version, core));
    }
    Some(match core {
        true => json!({"kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]}),
        false => {
            let groups: Vec<Value> = named(catalog).map(group_entry).collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
    })
}

fn named(catalog: &Catalog) -> impl Iterator<Item = &Group> {
    catalog.groups.iter().filter(|g| !g.name.is_empty())
}

/// A group by itself.
fn group_value(group: &Group) -> Value {
    let mut v = group_entry(group);
    v["kind"] = "APIGroup".into();
    v["apiVersion"] = "v1".into();
    v
}

/// A group among others, whose list tells what it is.
fn group_entry(group: &Group) -> Value {
    let version = |v: &String| json!({"groupVersion": api_version(&group.name, v), "version": v});
    let versions: Vec<Value> = group.versions.iter().map(version).collect();
    json!({"name": group.name, "versions": versions, "preferredVersion": versions.first()})
}

fn resources(catalog: &Catalog, group: &str, version: &str) -> Option<Value> {
    let all: Vec<Value> = catalog.of(group, version).flat_map(|s| old_resource(s)).collect();
    if all.is_empty() {
        return None;
    }
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version(group, version),
        "resources": all}))
}

/// A resource and its subresources, one after the other.
fn old_resource(served: &Served) -> Vec<Value> {
    let k = &served.kind;
    let mut main = json!({"name": k.resource, "singularName": k.singular, "namespaced": k.namespaced,
        "kind": k.kind, "verbs": k.verbs.words().collect::<Vec<_>>()});
    names(served, main.as_object_mut());
    if k.stored.is_some() {
        main["storageVersionHash"] = storage_hash(served).into();
    }
    let parts = k.subresources.iter().map(|s| {
        let mut v = json!({"name": format!("{}/{}", k.resource, s.name), "singularName": "",
            "namespaced": k.namespaced, "kind": s.kind, "verbs": s.verbs.words().collect::<Vec<_>>()});
        if s.group != k.group || s.version != k.version {
            v["group"] = s.group.as_ref().into();
            v["version"] = s.version.as_ref().into();
        }
        v
    });
    std::iter::once(main).chain(parts).collect()
}

/// Tells clients whether the stored form changed; any stable text will do.
fn storage_hash(served: &Served) -> String {
    use base64::Engine as _;
    let k = &served.kind;
    let text = format!("{}/{}/{}", k.group, k.stored_api_version().unwrap_or_default(), k.kind);
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(&digest.as_ref()[..8])
}

fn names(served: &Served, map: Option<&mut Map<String, Value>>) {
    let Some(map) = map else { return };
    for (key, list) in [("shortNames", &served.kind.short_names), ("categories", &served.kind.categories)] {
        if !list.is_empty() {
            map.insert(key.into(), json!(list));
        }
    }
}

fn aggregated(catalog: &Catalog, version: &str, core: bool) -> Value {
    let groups = catalog.groups.iter().filter(|g| g.name.is_empty() == core);
    let items: Vec<Value> = groups.map(|g| aggregated_group(catalog, g)).collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {}, "items": items})
}

fn aggregated_group(catalog: &Catalog, group: &Group) -> Value {
    let version = |v: &String| {
        let resources: Vec<Value> = catalog.of(&group.name, v).map(|s| aggregated_resource(s)).collect();
        json!({"version": v, "resources": resources, "freshness": "Current"})
    };
    let versions: Vec<Value> = group.versions.iter().map(version).collect();
    let mut metadata = json!({"creationTimestamp": null});
    if !group.name.is_empty() {
        metadata["name"] = group.name.as_str().into();
    }
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(served: &Served) -> Value {
    let k = &served.kind;
    let scope = if k.namespaced { "Namespaced" } else { "Cluster" };
    let mut v = json!({"resource": k.resource, "scope": scope, "singularResource": k.singular,
        "responseKind": {"group": k.group, "version": k.version, "kind": k.kind},
        "verbs": k.verbs.words().collect::<Vec<_>>()});
    names(served, v.as_object_mut());
    let parts = k.subresources.iter().map(|s| {
        json!({"subresource": s.name, "verbs": s.verbs.words().collect::<Vec<_>>(),
            "responseKind": {"group": s.group, "version": s.version, "kind": s.kind}})
    });
    let parts: Vec<Value> = parts.collect();
    if !parts.is_empty() {
        v["subresources"] = parts.into();
    }
    v
}
