//! stub
use meta::{FieldError, Object};
pub(crate) fn validate_ephemeral_update(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_pod(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_pod_status_update(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_pod_update(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_resize(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
