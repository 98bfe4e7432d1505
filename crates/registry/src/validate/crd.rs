//! stub
use meta::{FieldError, Object};
pub(crate) fn validate_definition(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_definition_update(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
