//! Kinds of the group `batch`, one a file.

use crate::kind::Kind;

mod cron_job;
mod job;

pub(super) const KINDS: &[fn() -> Kind] = &[cron_job::kind, job::kind];
