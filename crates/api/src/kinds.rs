//! Which typed kinds there are, and how each is named, decoded and encoded.

use crate::{
    ObjectMeta, OwnerReference, admissionregistration, apiextensions, apps, autoscaling, batch, certificates,
    coordination, core, discovery, events, flowcontrol, networking, node, policy, rbac, scheduling, storage,
};
use k8s_openapi::{ClusterResourceScope, Metadata, NamespaceResourceScope, Resource};
use meta::{GroupVersionKind, GroupVersionResource};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An object as a cache holds it: any kind, behind its metadata.
pub trait Stored: Any + Send + Sync {
    /// `metadata`.
    fn meta(&self) -> &ObjectMeta;
    /// The object as JSON.
    fn encode(&self) -> Vec<u8>;
    /// The object as `Any`, for [`downcast`].
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    /// The object as `Any`, borrowed.
    fn as_any(&self) -> &dyn Any;
    /// The node that a pod is bound to; none for other kinds.
    fn node_name(&self) -> Option<&str> {
        None
    }
}

/// The typed object behind `object`, if it is a `K`.
pub fn downcast<K: Any + Send + Sync>(object: Arc<dyn Stored>) -> Option<Arc<K>> {
    object.into_any().downcast().ok()
}

/// How a kind decodes from JSON.
pub type Decode = fn(&[u8]) -> Result<Arc<dyn Stored>, serde_json::Error>;

/// What a kind is called and how it decodes: a value, so that code over many kinds is compiled once.
#[derive(Clone, Copy, Debug)]
pub struct KindInfo {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Version, for example `v1`.
    pub version: &'static str,
    /// Kind, for example `Deployment`.
    pub kind: &'static str,
    /// Plural resource, for example `deployments`.
    pub resource: &'static str,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Decodes one object, leaving out `managedFields`, which no cache needs.
    pub decode: Decode,
    /// Which Rust type it decodes to.
    pub type_id: TypeId,
}

impl KindInfo {
    /// `apiVersion` of the kind.
    pub fn api_version(&self) -> String {
        meta::gvk::api_version(self.group, self.version)
    }

    /// Group, version and kind.
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind { group: self.group.into(), version: self.version.into(), kind: self.kind.into() }
    }

    /// Group, version and resource.
    pub fn gvr(&self) -> GroupVersionResource {
        let (group, version) = (self.group.into(), self.version.into());
        GroupVersionResource { group, version, resource: self.resource.into() }
    }
}

/// A typed kind with metadata.
pub trait Kind:
    Resource + Metadata<Ty = ObjectMeta> + Stored + Clone + Default + PartialEq + std::fmt::Debug + Sized
{
    /// What the kind is called.
    const INFO: KindInfo;
    /// Decodes one object from JSON.
    fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error>;
    /// `metadata`, for changing.
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.metadata_mut()
    }
}

/// Tells at compile time whether a scope is the namespace.
trait Scope {
    const NAMESPACED: bool;
}

impl Scope for NamespaceResourceScope {
    const NAMESPACED: bool = true;
}

impl Scope for ClusterResourceScope {
    const NAMESPACED: bool = false;
}

const fn namespaced<K: Resource<Scope: Scope>>() -> bool {
    <K::Scope as Scope>::NAMESPACED
}

macro_rules! stored {
    ($($t:path $(, node: $node:expr)?;)*) => {$(
        impl Stored for $t {
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn encode(&self) -> Vec<u8> {
                serde_json::to_vec(self).unwrap_or_default()
            }
            fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
                self
            }
            fn as_any(&self) -> &dyn Any {
                self
            }
            $(fn node_name(&self) -> Option<&str> {
                let node: fn(&$t) -> Option<&str> = $node;
                node(self)
            })?
        }
    )*};
}

/// Times that the types here want and that a program in Go may leave out: its JSON says `null` (`metav1.Time`).
const WANTED_TIMES: [&str; 2] = ["lastTransitionTime", "lastObservedTime"];
/// What Go takes such a `null` for.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// The object with Go's zero in place of absent times; none if that isn't what is wrong with it.
fn with_zero_times(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut object: Value = serde_json::from_slice(bytes).ok()?;
    set_zero_times(&mut object).then(|| object.to_string().into_bytes())
}

/// Sets them all, and tells whether there was one.
fn set_zero_times(value: &mut Value) -> bool {
    let mut found = false;
    match value {
        Value::Array(items) => items.iter_mut().for_each(|v| found |= set_zero_times(v)),
        Value::Object(members) => {
            for (key, v) in members {
                if v.is_null() && WANTED_TIMES.contains(&key.as_str()) {
                    *v = ZERO_TIME.into();
                    found = true;
                } else {
                    found |= set_zero_times(v);
                }
            }
        }
        _ => {}
    }
    found
}

macro_rules! kinds {
    ($($t:path $(, node: $node:expr)?;)*) => {
        $(impl Kind for $t {
            const INFO: KindInfo = KindInfo {
                group: <$t as Resource>::GROUP,
                version: <$t as Resource>::VERSION,
                kind: <$t as Resource>::KIND,
                resource: <$t as Resource>::URL_PATH_SEGMENT,
                namespaced: namespaced::<$t>(),
                decode: |bytes| {
                    let object = <$t as Kind>::decode(&meta::managed_fields::cut(bytes))?;
                    Ok(Arc::new(object))
                },
                type_id: TypeId::of::<$t>(),
            };
            fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
                let decoded = serde_json::from_slice(bytes);
                decoded.or_else(|why| with_zero_times(bytes).map_or(Err(why), |b| serde_json::from_slice(&b)))
            }
        })*
        stored! { $($t $(, node: $node)?;)* }
        /// Every typed kind.
        pub static ALL: &[KindInfo] = &[$(<$t as Kind>::INFO),*];
    };
}

kinds! {
    admissionregistration::v1::MutatingWebhookConfiguration;
    admissionregistration::v1::ValidatingAdmissionPolicy;
    admissionregistration::v1::ValidatingAdmissionPolicyBinding;
    admissionregistration::v1::ValidatingWebhookConfiguration;
    apiextensions::v1::CustomResourceDefinition;
    apps::v1::ControllerRevision;
    apps::v1::DaemonSet;
    apps::v1::Deployment;
    apps::v1::ReplicaSet;
    apps::v1::StatefulSet;
    autoscaling::v2::HorizontalPodAutoscaler;
    batch::v1::CronJob;
    batch::v1::Job;
    certificates::v1::CertificateSigningRequest;
    coordination::v1::Lease;
    core::v1::ConfigMap;
    core::v1::Endpoints;
    core::v1::Event;
    core::v1::LimitRange;
    core::v1::Namespace;
    core::v1::Node;
    core::v1::PersistentVolume;
    core::v1::PersistentVolumeClaim;
    core::v1::Pod, node: |pod| pod.spec.as_ref()?.node_name.as_deref();
    core::v1::PodTemplate;
    core::v1::ReplicationController;
    core::v1::ResourceQuota;
    core::v1::Secret;
    core::v1::Service;
    core::v1::ServiceAccount;
    discovery::v1::EndpointSlice;
    events::v1::Event;
    flowcontrol::v1::FlowSchema;
    flowcontrol::v1::PriorityLevelConfiguration;
    networking::v1::Ingress;
    networking::v1::IngressClass;
    networking::v1::NetworkPolicy;
    node::v1::RuntimeClass;
    policy::v1::PodDisruptionBudget;
    rbac::v1::ClusterRole;
    rbac::v1::ClusterRoleBinding;
    rbac::v1::Role;
    rbac::v1::RoleBinding;
    scheduling::v1::PriorityClass;
    storage::v1::CSIDriver;
    storage::v1::CSINode;
    storage::v1::StorageClass;
    storage::v1::VolumeAttachment;
    storage::v1::VolumeAttributesClass;
}

/// An object of a kind that is not in [`ALL`], or of which only the metadata matters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PartialObject {
    /// `apiVersion`.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
    /// `metadata`.
    pub metadata: ObjectMeta,
}

stored! { PartialObject; }

impl PartialObject {
    /// Decodes the metadata of one object and drops the rest.
    pub fn decode(bytes: &[u8]) -> Result<Arc<dyn Stored>, serde_json::Error> {
        let object: Self = serde_json::from_slice(&meta::managed_fields::cut(bytes))?;
        Ok(Arc::new(object))
    }
}

/// Reading `ObjectMeta` without unwrapping options.
pub trait MetaExt {
    /// The metadata itself.
    fn object_meta(&self) -> &ObjectMeta;

    /// `name`, or empty.
    fn name(&self) -> &str {
        self.object_meta().name.as_deref().unwrap_or_default()
    }
    /// `namespace`, or empty.
    fn namespace(&self) -> &str {
        self.object_meta().namespace.as_deref().unwrap_or_default()
    }
    /// `uid`, or empty.
    fn uid(&self) -> &str {
        self.object_meta().uid.as_deref().unwrap_or_default()
    }
    /// `resourceVersion` as the number that it is on our server; 0 where absent or foreign.
    fn revision(&self) -> u64 {
        self.object_meta().resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0)
    }
    /// `generation`, or 0.
    fn generation(&self) -> i64 {
        self.object_meta().generation.unwrap_or(0)
    }
    /// The value of a label.
    fn label(&self, key: &str) -> Option<&str> {
        self.object_meta().labels.as_ref()?.get(key).map(String::as_str)
    }
    /// The value of an annotation.
    fn annotation(&self, key: &str) -> Option<&str> {
        self.object_meta().annotations.as_ref()?.get(key).map(String::as_str)
    }
    /// All labels; an empty map where absent.
    fn labels(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.object_meta().labels.as_ref().unwrap_or(&NONE)
    }
    /// All owners.
    fn owners(&self) -> &[OwnerReference] {
        self.object_meta().owner_references.as_deref().unwrap_or_default()
    }
    /// The owner that manages the object.
    fn controller(&self) -> Option<&OwnerReference> {
        self.owners().iter().find(|o| o.controller == Some(true))
    }
    /// All finalizers.
    fn finalizers(&self) -> &[String] {
        self.object_meta().finalizers.as_deref().unwrap_or_default()
    }
    /// Whether `finalizer` is present.
    fn has_finalizer(&self, finalizer: &str) -> bool {
        self.finalizers().iter().any(|f| f == finalizer)
    }
    /// Whether deletion was asked for.
    fn is_deleting(&self) -> bool {
        self.object_meta().deletion_timestamp.is_some()
    }
    /// When the object was created, in seconds since the epoch; 0 where unknown.
    fn created(&self) -> i64 {
        self.object_meta().creation_timestamp.as_ref().map_or(0, |t| t.0.as_second())
    }
}

impl MetaExt for ObjectMeta {
    fn object_meta(&self) -> &ObjectMeta {
        self
    }
}

impl<K: Kind> MetaExt for K {
    fn object_meta(&self) -> &ObjectMeta {
        self.meta()
    }
}

/// An owner reference by which `owner` manages another object (`metav1.NewControllerRef`).
pub fn controller_ref<K: Kind>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::INFO.api_version(),
        kind: K::INFO.kind.to_owned(),
        name: owner.name().to_owned(),
        uid: owner.uid().to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_by_data_and_downcasts() -> Result<(), serde_json::Error> {
        let info = ALL.iter().find(|k| k.resource == "pods");
        let Some(info) = info else { panic!("no pods") };
        assert!(info.namespaced);
        let json = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","resourceVersion":"7"},
            "spec":{"containers":[],"nodeName":"n1"}}"#;
        let object = (info.decode)(json)?;
        assert_eq!(object.node_name(), Some("n1"));
        assert!(downcast::<core::v1::Node>(object.clone()).is_none());
        let pod = downcast::<core::v1::Pod>(object);
        assert_eq!(pod.map(|p| (p.name().to_owned(), p.revision())), Some(("a".to_owned(), 7)));
        Ok(())
    }

    #[test]
    fn a_condition_without_a_time_is_read_as_go_reads_it() {
        let service = |condition: &str| {
            let json = format!(r#"{{"metadata":{{"name":"a"}},"status":{{"conditions":[{condition}]}}}}"#);
            <core::v1::Service as Kind>::decode(json.as_bytes())
        };
        let whole = r#"{"type":"T","status":"True","reason":"R","message":"","lastTransitionTime":null}"#;
        let condition = service(whole).unwrap().status.unwrap().conditions.unwrap().remove(0);
        assert_eq!(condition.last_transition_time.0.to_string(), ZERO_TIME);
        let e = service(r#"{"type":7,"lastTransitionTime":null}"#).unwrap_err();
        assert!(e.to_string().contains("invalid type: integer"), "{e}");
        let e = service(r#"{"type":7}"#).unwrap_err();
        assert!(e.to_string().contains("invalid type: integer"), "{e}");
    }
}
