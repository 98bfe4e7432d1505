//! stub
use meta::{FieldError, Object};
pub(crate) fn validate_cron_job(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_cron_job_update(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_job(_: &Object) -> Vec<FieldError> {
    Vec::new()
}
pub(crate) fn validate_job_update(_: &Object, _: &Object) -> Vec<FieldError> {
    Vec::new()
}
