//! stub
use meta::{FieldError, Object};
pub(crate) fn validate_binding_update(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_cluster_role(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_cluster_role_binding(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_role(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_role_binding(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
