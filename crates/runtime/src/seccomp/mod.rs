//! seccomp filters: the runtime's default, and profiles from the node's disk.
//!
//! Everything fails closed: a profile that cannot be read, parsed or expressed is an error, and the container does not
//! start (CVE-2023-2431).

mod bpf;
mod default;
mod names;
mod profile;

use std::fs::File;
use std::io::Read;

/// The largest profile that is read.
const PROFILE_LIMIT: u64 = 1024 * 1024;

/// The program of `RuntimeDefault` for a container with these capabilities.
pub(crate) fn default_program(bounding: u64) -> Result<Vec<u64>, String> {
    default::filter(bounding).program()
}

/// The program of a profile on the node's disk (`Localhost`).
pub(crate) fn localhost_program(path: &str, bounding: u64) -> Result<Vec<u64>, String> {
    let fail = |error: &dyn std::fmt::Display| format!("cannot load seccomp profile {path:?}: {error}");
    let mut text = String::new();
    let file = File::open(path).map_err(|error| fail(&error))?;
    file.take(PROFILE_LIMIT).read_to_string(&mut text).map_err(|error| fail(&error))?;
    let filter = profile::filter(&text, bounding).map_err(|error| fail(&error))?;
    filter.program().map_err(|error| fail(&error))
}
