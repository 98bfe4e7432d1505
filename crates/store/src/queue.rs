//! The engine's thread, and the bounded queue before it: while one batch is being synced the next one gathers.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::backend::{OpenError, Writer};
use crate::engine::{Engine, Log};
use crate::limits::{MAX_BATCH_BYTES, MAX_BATCH_TXNS};
use crate::txn::{Done, Txn, TxnError, Write};

#[derive(Default)]
struct Waiting {
    txns: VecDeque<(Txn, Done)>,
    closing: bool,
}

struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    limit: usize,
}

/// A running engine.
pub(crate) struct EngineThread {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

impl EngineThread {
    pub(crate) fn start<L: Log + 'static>(
        engine: Engine<L>,
        limit: usize,
    ) -> Result<EngineThread, OpenError> {
        let queue = Arc::new(Queue { waiting: Mutex::default(), arrived: Condvar::new(), limit });
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn({
            let queue = Arc::clone(&queue);
            move || queue.serve(engine)
        })?;
        Ok(EngineThread { queue, thread: Some(thread) })
    }
}

impl Writer for EngineThread {
    fn submit(&self, txn: Txn, done: Done) {
        let mut waiting = self.queue.lock();
        if waiting.closing {
            return; // Dropping `done` says so.
        }
        if waiting.txns.len() >= self.queue.limit {
            drop(waiting);
            return done.finish(Err(TxnError::Busy));
        }
        waiting.txns.push_back((txn, done));
        let first = waiting.txns.len() == 1;
        drop(waiting);
        if first {
            self.queue.arrived.notify_one();
        }
    }

    fn compact(&self, _revision: u64) {}
}

impl Drop for EngineThread {
    fn drop(&mut self) {
        self.queue.lock().closing = true;
        self.queue.arrived.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the engine has already failed everyone who waited.
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve<L: Log>(&self, mut engine: Engine<L>) {
        let _ending = Ending(self);
        while let Some(batch) = self.next_batch() {
            engine.run(batch);
        }
    }

    /// What has gathered, up to the batch's bounds; None when the queue is empty and closing.
    fn next_batch(&self) -> Option<Vec<(Txn, Done)>> {
        let mut waiting = self.lock();
        while waiting.txns.is_empty() {
            if waiting.closing {
                return None;
            }
            waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let mut bytes = 0;
        let mut count = 0;
        for (txn, _) in waiting.txns.iter().take(MAX_BATCH_TXNS) {
            bytes += match &txn.write {
                Write::Put(encoded) | Write::Delete(Some(encoded)) => encoded.len(),
                Write::Delete(None) => 0,
            };
            if count > 0 && bytes > MAX_BATCH_BYTES {
                break;
            }
            count += 1;
        }
        Some(waiting.txns.drain(..count).collect())
    }
}

/// However the engine's thread ends, nobody waits for it any longer.
struct Ending<'a>(&'a Queue);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.closing = true;
        waiting.txns.clear();
    }
}
