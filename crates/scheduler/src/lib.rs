//! The scheduler: which node does a pod run on?
//!
//! [`decide::schedule`] is a pure function from a [`Snapshot`] and a pod to a [`Decision`]. Each rule is one file in
//! [`plugins`] and one line in its list. [`queue`] decides which pod is next, [`shell`] watches, decides and binds.

pub mod decide;
pub mod node;
pub mod plugins;
pub mod pod;
pub mod preempt;
pub mod queue;
pub mod resources;
pub mod shell;
pub mod terms;

pub use decide::{Decision, schedule};
pub use node::{NodeInfo, Snapshot};
pub use pod::PodInfo;
