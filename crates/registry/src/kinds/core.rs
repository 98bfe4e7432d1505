//! Kinds of the core group, one a file.

use crate::kind::Kind;

mod binding;
mod component_status;
mod config_map;
mod endpoints;
pub(super) mod event;
mod limit_range;
mod namespace;
mod node;
mod persistent_volume;
mod persistent_volume_claim;
mod pod;
mod pod_template;
mod replication_controller;
mod resource_quota;
mod secret;
pub(super) mod service;
mod service_account;

pub(super) const KINDS: &[fn() -> Kind] = &[
    binding::kind,
    component_status::kind,
    config_map::kind,
    endpoints::kind,
    event::kind,
    limit_range::kind,
    namespace::kind,
    node::kind,
    persistent_volume_claim::kind,
    persistent_volume::kind,
    pod::kind,
    pod_template::kind,
    replication_controller::kind,
    resource_quota::kind,
    secret::kind,
    service_account::kind,
    service::kind,
];
