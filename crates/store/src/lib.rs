//! The store: every object of the cluster in one totally ordered log of revisions.
//!
//! Bird's eye: a [`Backend`] makes transactions durable and feeds one cache ([`Store`]); gets, lists and watches
//! read the cache and nothing else. A revision is encoded once, and all readers share its bytes.
//!
//! What this room does not know: kinds, JSON (but for the place of one member), HTTP, tasks. It blocks threads and
//! wakes wakers. Nothing here reads a wall clock: callers tell the time.
//!
//! Start reading at `store.rs`, then `state.rs` (the cache), `watch.rs` (cursors over the history), `engine.rs`
//! (how a batch is decided).

mod backend;
mod disk;
mod engine;
mod entry;
mod history;
mod limits;
mod memory;
mod pages;
mod queue;
mod scope;
mod shared;
mod sleepers;
mod state;
mod store;
mod txn;
mod watch;

pub use backend::{Backend, Feed, OpenError, Writer};
pub use disk::{Embedded, SimDisk, Simulated};
pub use entry::{Encoded, Entry, Event, EventKind, Header, HeaderParser};
pub use limits::Limits;
pub use memory::{Inline, Memory};
pub use shared::Woken;
pub use state::{Listing, RevisionError};
pub use store::Store;
pub use txn::{Committed, Done, Expect, Outcome, Pending, Txn, TxnError, Write};
pub use watch::{Lagged, Watcher};
