//! Watchers: cursors over the history.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

use crate::entry::Event;
use crate::limits::WATCH_BATCH;
use crate::scope::Scope;
use crate::shared::Shared;
use crate::sleepers::{ASLEEP, Sleeper};
use crate::state::State;

/// The watcher read so slowly that events it had not seen left the history: 410 Gone, list again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the watch fell behind: events after revision {seen} are gone, the oldest revision kept is {oldest}")]
pub struct Lagged {
    /// The last revision it has certainly seen everything of.
    pub seen: u64,
    /// The oldest revision that a new watch could start from.
    pub oldest: u64,
}

/// How many events are looked at before the state's lock is given back.
const SCAN_CHUNK: usize = 4096;

/// Every event under a prefix after a revision, in order, none left out.
pub struct Watcher {
    shared: Arc<Shared>,
    id: u64,
    scope: Scope,
    /// Events up to this revision are not for this watcher even if they are still to come.
    from: u64,
    /// The position of the next event to look at.
    cursor: u64,
    buffer: VecDeque<Arc<Event>>,
    /// The revision of the last event handed out.
    delivered: u64,
    /// The revision up to which the history was looked through.
    scanned: u64,
    resume: Arc<AtomicU64>,
    asleep: bool,
}

impl Watcher {
    pub(crate) fn new(shared: Arc<Shared>, scope: Scope, from: u64, state: &State) -> Watcher {
        Watcher {
            id: shared.next_watcher(),
            scope,
            from,
            cursor: state.history.position_after(from),
            buffer: VecDeque::new(),
            delivered: from,
            scanned: from,
            resume: Arc::new(AtomicU64::new(ASLEEP)),
            asleep: false,
            shared,
        }
    }

    /// The next event. `Ready(None)` means that the store was closed; after an error the watcher has ended.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Arc<Event>, Lagged>>> {
        self.poll_with(cx.waker())
    }

    /// The next event if there is one already. None means none now: the store may still be open.
    pub fn try_next(&mut self) -> Option<Result<Arc<Event>, Lagged>> {
        // Whatever is visible has ended the sleep of those it is for, so a sleeper need not even look.
        if self.asleep && self.buffer.is_empty() && self.resume.load(Ordering::Acquire) == ASLEEP {
            return None;
        }
        match self.poll_with(Waker::noop()) {
            Poll::Ready(next) => next,
            Poll::Pending => None,
        }
    }

    /// Waits in this thread for the next event, until the deadline at most. None when it passed, or when the
    /// store was closed.
    pub fn recv_blocking(&mut self, deadline: Option<Instant>) -> Option<Result<Arc<Event>, Lagged>> {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        loop {
            if let Poll::Ready(next) = self.poll_with(&waker) {
                return next;
            }
            match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                None => std::thread::park(),
                Some(left) if left.is_zero() => return None,
                Some(left) => std::thread::park_timeout(left),
            }
        }
    }

    /// The revision up to which this watcher has been given everything; what a bookmark may say.
    pub fn progress(&self) -> u64 {
        if !self.buffer.is_empty() {
            return self.delivered;
        }
        let state = self.shared.read();
        if self.asleep && self.resume.load(Ordering::Acquire) == ASLEEP {
            return state.revision.max(self.from);
        }
        self.scanned
    }

    fn poll_with(&mut self, waker: &Waker) -> Poll<Option<Result<Arc<Event>, Lagged>>> {
        loop {
            if let Some(event) = self.buffer.pop_front() {
                self.delivered = event.revision();
                return Poll::Ready(Some(Ok(event)));
            }
            let shared = Arc::clone(&self.shared);
            let state = shared.read();
            if state.closed {
                return Poll::Ready(None);
            }
            if self.asleep {
                let resume = self.resume.load(Ordering::Acquire);
                if resume == ASLEEP {
                    self.sleep(waker);
                    return Poll::Pending;
                }
                self.asleep = false;
                self.cursor = self.cursor.max(resume);
            }
            let Some(at_end) = self.fill(&state) else {
                let (seen, oldest) = (self.scanned, state.history.compacted());
                return Poll::Ready(Some(Err(Lagged { seen, oldest })));
            };
            if at_end && self.buffer.is_empty() {
                self.sleep(waker);
                return Poll::Pending;
            }
        }
    }

    /// Looks through some of the history; whether its end was reached, or None when the place is gone.
    fn fill(&mut self, state: &State) -> Option<bool> {
        for event in state.history.from(self.cursor)?.take(SCAN_CHUNK) {
            self.cursor += 1;
            self.scanned = self.scanned.max(event.revision());
            if event.revision() > self.from && self.scope.wants(event) {
                self.buffer.push_back(Arc::clone(event));
                if self.buffer.len() >= WATCH_BATCH {
                    break;
                }
            }
        }
        let at_end = self.cursor >= state.history.end();
        if at_end {
            self.scanned = self.scanned.max(state.revision);
        }
        Some(at_end)
    }

    /// Called under the state's lock, so that no event can slip in between looking and sleeping.
    fn sleep(&mut self, waker: &Waker) {
        self.asleep = true;
        self.resume.store(ASLEEP, Ordering::Release);
        let sleeper = Sleeper { waker: waker.clone(), resume: Arc::clone(&self.resume) };
        self.shared.sleepers().add(self.id, &self.scope, sleeper);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if self.asleep {
            self.shared.sleepers().remove(self.id, &self.scope);
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
