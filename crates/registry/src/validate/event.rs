//! stub
use meta::{FieldError, Object};
pub(crate) fn validate_event(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
