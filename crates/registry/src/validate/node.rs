//! stub
use meta::{FieldError, Object};
pub(crate) fn validate_node(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_node_update(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
