//! The limit of open files: high for us, who hold some for every container, and ordinary for containers.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The soft limit that containers start with, as under containerd 2 and systemd: `select` breaks above it, and some
/// programs touch every number below it. They may raise it up to the node's hard limit.
const CONTAINER_SOFT: u64 = 1024;

/// Raises this process's soft limit (`RLIMIT_NOFILE`) to the hard one, as Go's runtime does for upstream's programs: a
/// shell's 1,024 are few for watches and containers. Where that fails, fewer fit.
pub fn raise_open_files() {
    let now = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
}

/// Gives the calling process, which is about to become a container's, the ordinary soft limit.
pub(crate) fn ordinary_open_files() {
    let now = getrlimit(Resource::Nofile);
    let soft = now.maximum.map_or(CONTAINER_SOFT, |hard| hard.min(CONTAINER_SOFT));
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(soft), maximum: now.maximum });
}
