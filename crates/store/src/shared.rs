//! The cache that all handles share, and the only ways to change it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::task::Waker;
use std::time::Instant;

use crate::entry::Event;
use crate::limits::Limits;
use crate::sleepers::Sleepers;
use crate::state::State;

/// Watchers for whom something has happened; woken at the end of this value.
#[must_use]
pub struct Woken(Vec<Waker>);

impl Drop for Woken {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

pub(crate) struct Shared {
    pub(crate) limits: Limits,
    state: RwLock<State>,
    /// Locked after `state`, never before.
    sleepers: Mutex<Sleepers>,
    watchers: AtomicU64,
}

impl Shared {
    pub(crate) fn new(limits: Limits) -> Shared {
        Shared {
            state: RwLock::new(State::new(&limits)),
            limits,
            sleepers: Mutex::new(Sleepers::default()),
            watchers: AtomicU64::new(0),
        }
    }

    /// A panic of a reader can't leave the state half changed, so a poisoned lock is taken as it is.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sleepers(&self) -> MutexGuard<'_, Sleepers> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn next_watcher(&self) -> u64 {
        self.watchers.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn install(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Makes a durable batch visible, all of it at once. Who waits for it is woken when the answer is dropped.
    pub(crate) fn publish(&self, events: &[Arc<Event>]) -> Woken {
        let mut woken = Vec::new();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let mut sleepers = self.sleepers();
        for event in events {
            let position = state.history.end();
            sleepers.wake(event, position, &mut woken);
            state.apply(Arc::clone(event));
        }
        Woken(woken)
    }

    pub(crate) fn compact(&self, revision: u64) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let revision = revision.min(state.revision);
        state.history.compact(revision);
    }

    pub(crate) fn tick(&self, now: Instant) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).tick(now);
    }

    /// Ends every watch.
    pub(crate) fn close(&self) {
        let mut woken = Vec::new();
        self.state.write().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.sleepers().wake_all(&mut woken);
        woken.into_iter().for_each(Waker::wake);
    }
}
