//! The interface of a plugin, and the list of those that are on by default.

use crate::plugins::{
    certificates, default_ingress_class, default_storage_class, default_toleration_seconds,
    deny_external_ips, limit_ranger, namespace_lifecycle, node_restriction, owner_references, pod_resize,
    pod_security, priority, pvc_resize, resource_quota, runtime_class, service_account,
    storage_object_in_use, taint_nodes,
};
use crate::{Awaited, Request, SideWrite};
use meta::{Attributes, Object, Status};
use std::sync::Arc;

/// Read access to the stored objects, given by the API server. Objects come in their storage version, as of
/// the newest revision.
pub trait View {
    /// The object of `group`/`resource`; `namespace` is empty for cluster-scoped resources.
    fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>>;
    /// All objects of `group`/`resource` in `namespace` (everywhere if it is empty), by key order.
    fn list(&self, group: &str, resource: &str, namespace: &str) -> Vec<Arc<Object>>;
    /// Whether the authorizer allows it.
    fn authorize(&self, attributes: &Attributes) -> bool;
    /// Resource and whether it is namespaced for a kind that is served, as the REST mapper of upstream has it.
    fn resource_for(&self, api_version: &str, kind: &str) -> Option<(String, bool)>;
}

/// An admission plugin. Each method has a default that lets everything pass.
pub trait Plugin: Send + Sync {
    /// Upstream's name, as in `--enable-admission-plugins`.
    fn name(&self) -> &'static str;
    /// Whether the plugin has something to say about this request.
    fn handles(&self, request: &Request) -> bool;
    /// What the server may wait for before it asks [`Plugin::mutate`], because it is being made right now.
    fn awaits(&self, request: &Request, view: &dyn View) -> Option<Awaited> {
        let _ = (request, view);
        None
    }
    /// Fills in or changes `request.object`, or refuses.
    fn mutate(&self, request: &mut Request, view: &dyn View) -> Result<(), Status> {
        let _ = (request, view);
        Ok(())
    }
    /// Refuses, or adds warnings. The object is final here.
    fn validate(&self, request: &mut Request, view: &dyn View) -> Result<(), Status> {
        let _ = (request, view);
        Ok(())
    }
    /// What must be counted elsewhere before the write may happen; asked again after a conflict.
    fn charge(&self, request: &Request, view: &dyn View) -> Result<Vec<SideWrite>, Status> {
        let _ = (request, view);
        Ok(Vec::new())
    }
}

/// The plugins that are on by default, in upstream's order (`pkg/kubeapiserver/options/plugins.go`), with
/// NodeRestriction, OwnerReferencesPermissionEnforcement and DenyServiceExternalIPs, which careful installers
/// switch on. To switch one off, leave out the item of its [`Plugin::name`]. Policies and webhooks will stand before ResourceQuota, which comes last: what it charges must not be refused afterwards.
pub fn default_chain() -> Vec<Box<dyn Plugin>> {
    vec![
        Box::new(namespace_lifecycle::NamespaceLifecycle),
        Box::new(limit_ranger::LimitRanger),
        Box::new(service_account::ServiceAccount),
        Box::new(node_restriction::NodeRestriction),
        Box::new(taint_nodes::TaintNodesByCondition),
        Box::new(pod_security::PodSecurity),
        Box::new(priority::Priority),
        Box::new(default_toleration_seconds::DefaultTolerationSeconds),
        Box::new(default_storage_class::DefaultStorageClass),
        Box::new(storage_object_in_use::StorageObjectInUseProtection),
        Box::new(owner_references::OwnerReferencesPermissionEnforcement),
        Box::new(pvc_resize::PersistentVolumeClaimResize),
        Box::new(runtime_class::RuntimeClass),
        Box::new(certificates::CertificateApproval),
        Box::new(certificates::CertificateSigning),
        Box::new(certificates::CertificateSubjectRestriction),
        Box::new(default_ingress_class::DefaultIngressClass),
        Box::new(deny_external_ips::DenyServiceExternalIPs),
        Box::new(pod_resize::PodResizeValidator),
        Box::new(resource_quota::ResourceQuota),
    ]
}

/// What the server may wait for (a second or so, as upstream does) before the mutating pass.
pub fn awaits(chain: &[Box<dyn Plugin>], request: &Request, view: &dyn View) -> Option<Awaited> {
    chain.iter().filter(|p| p.handles(request)).find_map(|p| p.awaits(request, view))
}

/// The mutating pass.
pub fn mutate(chain: &[Box<dyn Plugin>], request: &mut Request, view: &dyn View) -> Result<(), Status> {
    chain.iter().try_for_each(|p| if p.handles(request) { p.mutate(request, view) } else { Ok(()) })
}

/// The validating pass: `request.object` holds what is to be stored.
pub fn validate(chain: &[Box<dyn Plugin>], request: &mut Request, view: &dyn View) -> Result<(), Status> {
    chain.iter().try_for_each(|p| if p.handles(request) { p.validate(request, view) } else { Ok(()) })
}

/// The last step before the commit: writes that count what this request uses. Nothing is returned for dry
/// runs, but the check is made.
pub fn charge(
    chain: &[Box<dyn Plugin>],
    request: &Request,
    view: &dyn View,
) -> Result<Vec<SideWrite>, Status> {
    let mut writes = Vec::new();
    for plugin in chain.iter().filter(|p| p.handles(request)) {
        writes.extend(plugin.charge(request, view)?);
    }
    if request.dry_run {
        writes.clear();
    }
    Ok(writes)
}
