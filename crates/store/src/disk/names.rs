//! How the files of a store are called.

/// A snapshot that is still being written.
pub(crate) const UNFINISHED: &str = "snapshot.tmp";

const LOG: &str = "log-";
const SNAPSHOT: &str = "snapshot-";

/// The segment of the log whose first revision this is.
pub(crate) fn log(first: u64) -> String {
    format!("{LOG}{first:020}")
}

/// The snapshot at a revision.
pub(crate) fn snapshot(revision: u64) -> String {
    format!("{SNAPSHOT}{revision:020}")
}

/// The revision in a segment's name.
pub(crate) fn log_revision(name: &str) -> Option<u64> {
    name.strip_prefix(LOG)?.parse().ok()
}

/// The revision in a snapshot's name.
pub(crate) fn snapshot_revision(name: &str) -> Option<u64> {
    name.strip_prefix(SNAPSHOT)?.parse().ok()
}
