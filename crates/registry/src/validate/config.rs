//! stub
use meta::{FieldError, Object};
pub(crate) fn validate_config_map(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_config_map_update(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_secret(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_secret_update(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
