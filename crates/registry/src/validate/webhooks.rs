//! stub
use meta::{FieldError, Object};
pub(crate) fn validate_configuration(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
