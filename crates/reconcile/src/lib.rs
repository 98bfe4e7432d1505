//! The only reconcile loop. A controller is a pure `plan`; everything that all controllers need besides
//! (de-duplication, the barrier, back-off, slow start, panics, events, metrics) is here, once.
//!
//! [`Engine`], [`Execution`] and [`Recorder`] are plain state machines that the simulator drives with its own
//! time; [`Runner`] is their asynchronous shell.

pub mod controller;
pub mod election;
pub mod engine;
pub mod execution;
pub mod memory;
pub mod plan;
pub mod queue;
pub mod recorder;
pub mod runner;

pub use controller::{Controller, Cx, Watch};
pub use engine::{Engine, Ticket, Work};
pub use execution::{Execution, Expect, Failure, Outcome};
pub use memory::Memory;
pub use plan::{EventNote, Op, Plan, Write};
pub use recorder::Recorder;
pub use runner::{Clock, Runner, system_clock};
