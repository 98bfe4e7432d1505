//! stub
use meta::{FieldError, Object};
pub(crate) fn validate_endpoint_slice(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_endpoint_slice_update(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_endpoints(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_ingress(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_ingress_class(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_ingress_class_update(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_network_policy(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_service_cidr(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_service_cidr_update(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
