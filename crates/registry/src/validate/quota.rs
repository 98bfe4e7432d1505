//! stub
use meta::{FieldError, Object};
pub(crate) fn validate_limit_range(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_quota(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
