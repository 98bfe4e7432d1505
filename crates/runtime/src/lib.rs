//! The embedded container runtime: a process of its own that speaks CRI v1 on a unix socket.
//!
//! Three kinds of process: the *runtime* ([`run`]), which may be restarted at any time; the *keeper*, one small process
//! that is parent of all containers of an instance and outlives the runtime; and the containers, forked by the keeper.
//! There is no process for each pod or container beside its own. See docs/adr/0011.
//!
//! Code map: `service` (CRI calls) → `core` (sandboxes, containers, records) → `keeper` (fork, wait, hold) → `init`
//! (what a forked child does before exec); beside them `cgroup`, `net`, `logs`, `streaming`, `seccomp`.
//!
//! The runtime knows no Kubernetes objects and no API server.

mod binary;
mod capabilities;
mod cgroup;
mod clock;
mod config;
mod core;
mod images;
mod init;
mod keeper;
mod limits;
mod logs;
mod net;
mod overlay;
mod run;
mod seccomp;
mod service;
mod spec;
mod state;
mod streaming;
mod streams;
mod sys;

pub use binary::init_main;
pub use config::{INSTANCE_LIMIT, RuntimeConfig};
pub use images::{DirectoryImages, ImageConfig, ImageInfo, ImageStore, OciImages};
pub use limits::raise_open_files;
pub use run::{RuntimeError, purge, run, stop_all};
