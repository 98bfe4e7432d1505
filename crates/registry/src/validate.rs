//! What is wrong with objects: upstream's rules, paths and messages. One file for each family of kinds.

use meta::{FieldError, FieldPath, Object};

pub(crate) mod admission_policy;
mod affinity;
pub(crate) mod api_service;
pub(crate) mod at;
pub(crate) mod autoscaling;
pub(crate) mod batch;
pub(crate) mod certificates;
pub(crate) mod config;
mod container;
pub(crate) mod crd;
mod env;
pub(crate) mod event;
pub(crate) mod flowcontrol;
pub(crate) mod metadata;
pub(crate) mod namespace;
pub(crate) mod network;
pub(crate) mod node;
mod old_volumes;
mod os;
pub(crate) mod pod;
mod pod_spec;
mod pod_update;
pub(crate) mod policy;
mod probe;
pub(crate) mod quota;
pub(crate) mod rbac;
mod resources;
mod security;
pub(crate) mod service;
pub(crate) mod storage;
mod tolerations;
mod volume;
pub(crate) mod warnings;
pub(crate) mod webhooks;
pub(crate) mod workload;

pub(crate) use at::Faults;

/// The message for a field that may never change.
pub(crate) const IMMUTABLE: &str = "field is immutable";
/// The message for a number below 0.
pub(crate) const NEGATIVE: &str = "must be greater than or equal to 0";

/// A fault where the value at `at` differs.
pub(crate) fn immutable(new: &Object, old: &Object, at: &[&str], path: &FieldPath) -> Vec<FieldError> {
    match (new.get(at), old.get(at)) {
        (a, b) if a == b => Vec::new(),
        (value, _) => vec![FieldError::invalid(path, value.cloned().unwrap_or_default(), IMMUTABLE)],
    }
}
