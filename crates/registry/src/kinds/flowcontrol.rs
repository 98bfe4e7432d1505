//! Kinds of the group `flowcontrol`, one a file.

use crate::kind::Kind;

mod flow_schema;
mod priority_level_configuration;

pub(super) const KINDS: &[fn() -> Kind] = &[flow_schema::kind, priority_level_configuration::kind];
