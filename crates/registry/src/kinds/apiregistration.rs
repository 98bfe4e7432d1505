//! Kinds of the group `apiregistration`, one a file.

use crate::kind::Kind;

mod api_service;

pub(super) const KINDS: &[fn() -> Kind] = &[api_service::kind];
