//! The list of kinds. A new kind is a file below its group, and a line in the group's list.
//!
//! Groups stand in the order of their priority in discovery, which decides what `kubectl get events` means.

use crate::kind::Kind;
use std::sync::{Arc, LazyLock};

mod admissionregistration;
mod apiextensions;
mod apiregistration;
mod apps;
mod authentication;
mod authorization;
mod autoscaling;
mod batch;
mod certificates;
mod coordination;
mod core;
mod discovery;
mod events;
mod flowcontrol;
mod networking;
mod node;
mod policy;
mod rbac;
mod resource;
mod scheduling;
mod storage;

/// The groups in the order of discovery.
const GROUPS: &[&[fn() -> Kind]] = &[
    core::KINDS,
    apiregistration::KINDS,
    apps::KINDS,
    events::KINDS,
    authentication::KINDS,
    authorization::KINDS,
    autoscaling::KINDS,
    batch::KINDS,
    certificates::KINDS,
    networking::KINDS,
    policy::KINDS,
    rbac::KINDS,
    storage::KINDS,
    admissionregistration::KINDS,
    apiextensions::KINDS,
    scheduling::KINDS,
    coordination::KINDS,
    node::KINDS,
    discovery::KINDS,
    resource::KINDS,
    flowcontrol::KINDS,
];

static KINDS: LazyLock<Vec<Arc<Kind>>> =
    LazyLock::new(|| GROUPS.iter().flat_map(|g| g.iter()).map(|make| Arc::new(make())).collect());

/// All built-in kinds, in the order of discovery.
pub fn kinds() -> &'static [Arc<Kind>] {
    &KINDS
}

/// The built-in kind of that group, version and kind.
pub fn by_kind(group: &str, version: &str, kind: &str) -> Option<&'static Arc<Kind>> {
    kinds().iter().find(|k| k.kind == kind && k.version == version && k.group == group)
}

/// The built-in kind that serves that resource.
pub fn by_resource(group: &str, version: &str, resource: &str) -> Option<&'static Arc<Kind>> {
    kinds().iter().find(|k| k.resource == resource && k.version == version && k.group == group)
}
