//! stub
use meta::{FieldError, Object};
pub(crate) fn validate_api_service(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
