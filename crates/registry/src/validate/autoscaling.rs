//! stub
use meta::{FieldError, Object};
pub(crate) fn validate_autoscaler(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
