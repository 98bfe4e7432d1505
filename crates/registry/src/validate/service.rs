//! stub
use meta::{FieldError, Object};
pub(crate) fn validate_service(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_service_update(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
