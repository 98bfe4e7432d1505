//! Validation with upstream's messages and paths.

use meta::{FieldError, FieldPath, Object};

pub(crate) mod api_service;
pub(crate) mod autoscaling;
pub(crate) mod batch;
pub(crate) mod config;
pub(crate) mod crd;
pub(crate) mod event;
pub(crate) mod namespace;
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod pod;
pub(crate) mod policy;
pub(crate) mod quota;
pub(crate) mod rbac;
pub(crate) mod service;
pub(crate) mod storage;
pub(crate) mod webhooks;
pub(crate) mod workload;

/// The message for a field that may never change.
pub(crate) const IMMUTABLE: &str = "field is immutable";

/// A fault where the value at `at` differs.
pub(crate) fn immutable(new: &Object, old: &Object, at: &[&str], path: &FieldPath) -> Vec<FieldError> {
    match (new.get(at), old.get(at)) {
        (a, b) if a == b => Vec::new(),
        (value, _) => vec![FieldError::invalid(path, value.cloned().unwrap_or_default(), IMMUTABLE)],
    }
}
