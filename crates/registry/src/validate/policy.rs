//! stub
use meta::{FieldError, Object};
pub(crate) fn validate_budget(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_lease(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_priority_class(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_priority_class_update(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_runtime_class(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_runtime_class_update(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_signing_request(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
