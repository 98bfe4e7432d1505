//! stub
use meta::{FieldError, Object};
pub(crate) fn validate_daemon_set(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_daemon_set_update(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_deployment(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_deployment_update(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_pod_template(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_replica_set(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_replica_set_update(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_replication_controller(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_revision(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_revision_update(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_stateful_set(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_stateful_set_update(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
