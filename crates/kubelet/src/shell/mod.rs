//! The rim that waits: talks to the API and to the runtime, touches files, keeps time. It decides nothing that
//! the core can decide.

mod agent;
mod config;
mod context;
mod disk;
mod endings;
mod execute;
pub(crate) mod garbage;
mod handler;
mod lease;
mod machine_info;
mod node_status;
mod objects;
mod observe;
mod pleg;
mod pod_network;
pub(crate) mod pressure;
mod probe;
mod probe_counts;
mod pull;
mod pulled;
mod start;
mod tell;
mod watched;
mod worker;

pub use agent::{Error, run};
pub use config::{Config, DEFAULT_PORT, Reserve, ServerTls, Thresholds};
pub(crate) use context::{Context, PodHandle, now};
pub(crate) use disk::{blocking, make_dir_now, write_file};
pub(crate) use objects::Objects;
pub(crate) use pull::ensure as pull_image;
pub(crate) use watched::{Followed, Object};
pub(crate) use worker::Message;
