//! stub
use meta::{FieldError, Object};
pub(crate) fn validate_namespace_status(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
