//! The keeper: the one small process that is parent of every container of an instance.
//!
//! It is single-threaded, forks processes when the runtime asks, keeps the descriptors that must outlive the runtime
//! (ends of output pipes, terminals), and writes down how each child ended. It knows nothing of CRI, images or
//! networks, so there is little in it that could fail; and because it is not the runtime, `kill -9` of the runtime
//! costs neither containers nor their exit codes. See docs/adr/0011.

mod client;
mod report;
mod serve;
mod wire;

pub(crate) use client::{Keeper, News};
pub(crate) use report::{Started, control_pair, send_spec, wait_for_report, wait_until_started};
pub(crate) use serve::keeper_main;
pub(crate) use wire::{ExitRecord, send};

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Part of the socket's name: a runtime only speaks to a keeper that understands it.
pub(crate) const PROTOCOL: u32 = 1;

/// What the runtime asks of the keeper; descriptors travel beside the message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Fork; descriptors: spec, control socket, stdin, stdout, stderr, [pid namespace], held ones.
    Spawn(Spawn),
    /// Keep further descriptors for `id`.
    Hold { id: String, names: Vec<String> },
    /// Hand out copies of the descriptors kept for `id`.
    Fetch { id: String },
    /// Which children are alive.
    List,
    /// Drop the descriptors kept for `id`, or one of them.
    Forget { id: String, name: Option<String> },
    /// End, if no child is left.
    Quit,
}

/// One process to fork.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Spawn {
    /// The container's id, or any other word that is unique among living children.
    pub id: String,
    /// Where to write down how it ended.
    pub exit_file: Option<PathBuf>,
    /// Flags for `clone3`.
    pub flags: u64,
    /// The v2 control group to be born in, where that is possible: the child looks whether it was.
    #[serde(default)]
    pub cgroup: Option<PathBuf>,
    /// Whether a pid namespace to be born in follows the standard descriptors.
    pub join_pid_namespace: bool,
    /// Names of the descriptors to hold.
    pub held: Vec<String>,
}

/// What the keeper answers; `Exited` comes unasked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Spawned { pid: i32 },
    Fetched { names: Vec<String> },
    Listing { children: Vec<(String, i32)> },
    Done,
    Failed { error: String },
    Exited { id: String, record: ExitRecord },
}

/// A request or answer with the number that ties them together (0 for what comes unasked).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Numbered<T> {
    pub number: u64,
    pub message: T,
}
