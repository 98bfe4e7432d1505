//! Kinds of the group `apiextensions`, one a file.

use crate::kind::Kind;

mod custom_resource_definition;

pub(super) const KINDS: &[fn() -> Kind] = &[custom_resource_definition::kind];
