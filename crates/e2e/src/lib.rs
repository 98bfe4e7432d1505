//! The real binary under real clients. Each test starts a cluster of its own in a temporary data directory, talks to
//! it with kubectl and Helm, and removes everything of it, also when it fails.
//!
//! `IRONCLAD_BIN`, `KUBECTL_BIN` and `HELM_BIN` name the programs, `PYTHON_CLIENTS` the folder of Python packages;
//! `cargo xtask e2e` sets them.

mod background;
mod busybox;
mod cluster;
mod debian;
mod http;
mod machines;
mod node;
mod processes;
mod program;
mod wait;

pub use background::Background;
pub use busybox::{IMAGE as BUSYBOX, archive as busybox_archive};
pub use cluster::{Cluster, Options};
pub use debian::archive as debian_archive;
pub use http::http_get;
pub use machines::Machines;
pub use node::Node;
pub use processes::{Process, processes};
pub use program::{Output, Program};
pub use wait::{eventually, within};
