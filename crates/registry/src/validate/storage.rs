//! stub
use meta::{FieldError, Object};
pub(crate) fn validate_claim(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_claim_update(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_storage_class(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_storage_class_update(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_volume(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_volume_update(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(super) fn claim_spec(_: &super::at::At<'_>, _: &mut super::Faults) {}
