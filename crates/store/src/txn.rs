//! Transactions: one key, one precondition, one write; and the ticket on which its outcome arrives.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::entry::{Encoded, Entry};

/// What must hold for the key when the transaction's turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key doesn't exist: a create.
    Absent,
    /// The key's entry has exactly this revision: an update or delete of what was read.
    Revision(u64),
    /// Whatever is there. A delete of an absent key still is a conflict.
    Any,
}

/// What to do to the key.
#[derive(Clone, Debug)]
pub enum Write {
    /// Store this object.
    Put(Encoded),
    /// Remove it. The encoded object is the last state that watchers get; without it they get the bytes that
    /// were stored, at the delete's revision.
    Delete(Option<Encoded>),
}

/// A write with its precondition.
#[derive(Clone, Debug)]
pub struct Txn {
    /// The key written.
    pub key: String,
    /// The precondition.
    pub expect: Expect,
    /// The write.
    pub write: Write,
}

/// A transaction that is durable.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Its revision.
    pub revision: u64,
    /// What was stored, or for a delete the last state.
    pub entry: Arc<Entry>,
    /// What was there before.
    pub prev: Option<Arc<Entry>>,
}

/// Why a transaction was not committed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TxnError {
    /// The precondition doesn't hold; this is what is there.
    #[error("the precondition does not hold: {}", describe(current.as_deref()))]
    Conflict {
        /// The key's entry, None when there is none.
        current: Option<Arc<Entry>>,
    },
    /// The disk is full. Nothing was written; free some space and try again.
    #[error("no space left on the store's disk: nothing was written; free some space and try again")]
    NoSpace,
    /// Writing or syncing failed. Whether this transaction survives is known only after a restart.
    #[error("the store could not make the write durable: {0}; it takes no more writes until it is restarted")]
    Io(Arc<str>),
    /// An earlier write failed, so nothing is accepted any longer; reads and watches go on.
    #[error("the store is read-only because an earlier write failed: {0}; restart once the disk is well")]
    ReadOnly(Arc<str>),
    /// Too many transactions wait already; try again.
    #[error("too many writes are waiting for the store; try again")]
    Busy,
    /// The object or its key is larger than the store takes.
    #[error("the object has {size} bytes, the store takes at most {limit}")]
    TooLarge {
        /// What it has.
        size: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The store is being closed.
    #[error("the store is closed")]
    Closed,
}

fn describe(current: Option<&Entry>) -> String {
    match current {
        Some(entry) => format!("the key is at revision {}", entry.revision),
        None => "the key does not exist".to_owned(),
    }
}

/// A transaction's outcome.
pub type Outcome = Result<Committed, TxnError>;

#[derive(Debug, Default)]
struct Slot {
    outcome: Option<Outcome>,
    waker: Option<Waker>,
    /// A thread waits. Telling nobody is a system call too.
    blocked: bool,
}

#[derive(Debug, Default)]
struct Ticket {
    slot: Mutex<Slot>,
    arrived: Condvar,
}

/// The waiting end of a submitted transaction: await it in an async shell, or [`Pending::wait`] in a thread.
/// Dropping it doesn't take the transaction back.
#[derive(Debug)]
pub struct Pending(Arc<Ticket>);

/// The other end, held by the back end. Dropped without an outcome, it reports [`TxnError::Closed`].
#[derive(Debug)]
pub struct Done(Option<Arc<Ticket>>);

impl Pending {
    /// Both ends of a ticket.
    pub fn new() -> (Done, Pending) {
        let ticket = Arc::new(Ticket::default());
        (Done(Some(Arc::clone(&ticket))), Pending(ticket))
    }

    /// Blocks the thread until the outcome is there.
    pub fn wait(self) -> Outcome {
        let mut slot = self.0.slot.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(outcome) = slot.outcome.take() {
                return outcome;
            }
            slot.blocked = true;
            slot = self.0.arrived.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Future for Pending {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let mut slot = self.0.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outcome) = slot.outcome.take() {
            return Poll::Ready(outcome);
        }
        slot.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Done {
    /// Hands the outcome over.
    pub fn finish(mut self, outcome: Outcome) {
        self.send(outcome);
    }

    fn send(&mut self, outcome: Outcome) {
        let Some(ticket) = self.0.take() else { return };
        let mut slot = ticket.slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.outcome = Some(outcome);
        let (waker, blocked) = (slot.waker.take(), slot.blocked);
        drop(slot);
        if blocked {
            ticket.arrived.notify_one();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        self.send(Err(TxnError::Closed));
    }
}
