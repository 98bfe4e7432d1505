//! A small world to admit into, and what upstream's users would read.

mod certificates;
mod defaults;
mod lifecycle;
mod limits;
mod node;
mod owners;
mod pod_security;
mod quota;
mod service_account;

use crate::{Operation, Request, SideWrite, View, charge, default_chain, mutate, validate};
use meta::{Attributes, GroupVersionKind, GroupVersionResource, Object, Status, UserInfo};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Stored objects by `group/resource/namespace/name`, and who may do what.
pub(super) struct World {
    objects: BTreeMap<String, Arc<Object>>,
    pub(super) allowed: fn(&Attributes) -> bool,
}

impl View for World {
    fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.objects.get(&format!("{group}/{resource}/{namespace}/{name}")).cloned()
    }
    fn list(&self, group: &str, resource: &str, namespace: &str) -> Vec<Arc<Object>> {
        let prefix = format!("{group}/{resource}/{namespace}{}", if namespace.is_empty() { "" } else { "/" });
        self.objects.iter().filter(|(k, _)| k.starts_with(&prefix)).map(|(_, o)| o.clone()).collect()
    }
    fn authorize(&self, attributes: &Attributes) -> bool {
        (self.allowed)(attributes)
    }
    fn resource_for(&self, _api_version: &str, kind: &str) -> Option<(String, bool)> {
        match kind {
            "ReplicaSet" => Some(("replicasets".into(), true)),
            "Node" => Some(("nodes".into(), false)),
            _ => None,
        }
    }
}

impl World {
    /// The namespace `dev` with its default account.
    pub(super) fn new() -> Self {
        let mut world = Self { objects: BTreeMap::new(), allowed: |_| false };
        world.put("/namespaces", json!({"metadata": {"name": "dev"}, "status": {"phase": "Active"}}));
        world.put("/serviceaccounts", json!({"metadata": {"name": "default", "namespace": "dev"}}));
        world
    }

    /// Stores an object of `group/resource`.
    pub(super) fn put(&mut self, resource: &str, object: Value) {
        let o = Object::from_value(object).unwrap();
        let key = format!("{resource}/{}/{}", o.metadata.namespace, o.metadata.name);
        self.objects.insert(key, Arc::new(o));
    }

    /// Admits, in all three passes.
    pub(super) fn admit(&self, request: &mut Request) -> Result<Vec<SideWrite>, Status> {
        let chain = default_chain();
        if request.object.is_some() {
            mutate(&chain, request, self)?;
        }
        validate(&chain, request, self)?;
        charge(&chain, request, self)
    }

    /// The refusal's text, or `ok`, and the warnings.
    pub(super) fn say(&self, mut request: Request) -> String {
        let mut lines = vec![match self.admit(&mut request) {
            Ok(_) => "ok".to_owned(),
            Err(status) => format!("{} {}", status.code, status.message),
        }];
        lines.extend(request.warnings.iter().map(|w| format!("Warning: {w}")));
        lines.join("\n")
    }

    /// The admitted object.
    pub(super) fn admitted(&self, mut request: Request) -> Object {
        self.admit(&mut request).unwrap();
        request.object.unwrap()
    }
}

fn kind_of(resource: &str) -> &'static str {
    match resource {
        "pods" => "Pod",
        "namespaces" => "Namespace",
        "persistentvolumeclaims" => "PersistentVolumeClaim",
        _ => "Other",
    }
}

/// A request of `admin` in `dev` for `group/resource` (`/pods`, `/pods/status`).
pub(super) fn request(
    operation: Operation,
    resource: &str,
    new: Option<Value>,
    old: Option<Value>,
) -> Request {
    let mut parts = resource.splitn(3, '/');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let (group, resource, subresource) = (part(), part(), part());
    let object = |v: Option<Value>| v.map(|v| Object::from_value(v).unwrap());
    let (new, old) = (object(new), object(old));
    let name = new.as_ref().or(old.as_ref()).map(|o| o.metadata.name.clone()).unwrap_or_default();
    let cluster_scoped = matches!(
        resource.as_str(),
        "namespaces"
            | "nodes"
            | "priorityclasses"
            | "persistentvolumes"
            | "storageclasses"
            | "certificatesigningrequests"
    );
    Request {
        operation,
        kind: GroupVersionKind {
            group: group.clone(),
            version: "v1".into(),
            kind: kind_of(&resource).into(),
        },
        resource: GroupVersionResource { group, version: "v1".into(), resource },
        subresource,
        namespace: if cluster_scoped { String::new() } else { "dev".to_owned() },
        name,
        object: new,
        old,
        user: Arc::new(UserInfo::new("admin", &["system:authenticated"])),
        entropy: 0x0123_4567_89ab_cdef,
        ..Request::default()
    }
}

pub(super) fn create(resource: &str, object: Value) -> Request {
    request(Operation::Create, resource, Some(object), None)
}

pub(super) fn update(resource: &str, new: Value, old: Value) -> Request {
    request(Operation::Update, resource, Some(new), Some(old))
}

pub(super) fn delete(resource: &str, old: Value) -> Request {
    request(Operation::Delete, resource, None, Some(old))
}

/// A pod named `p` in `dev` with this spec.
pub(super) fn pod(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "dev"}, "spec": spec})
}

/// A pod with one container `c` that asks for these resources.
pub(super) fn pod_with(resources: Value) -> Value {
    pod(json!({"containers": [{"name": "c", "image": "i", "resources": resources}]}))
}
