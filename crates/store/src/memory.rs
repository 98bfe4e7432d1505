//! A back end that keeps nothing beyond the process; for tests and simulations.

use crate::backend::{Backend, Feed, OpenError, Writer};
use crate::engine::{Engine, Log, NoLog};
use crate::queue::EngineThread;
use crate::txn::{Done, Txn};
use std::sync::{Mutex, PoisonError};

/// Nothing is durable; everything else is as with the embedded engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory;

impl Backend for Memory {
    fn start(self: Box<Self>, feed: Feed) -> Result<Box<dyn Writer>, OpenError> {
        let limit = feed.limits().queued_txns;
        Ok(Box::new(EngineThread::start(Engine::new(feed, NoLog), limit)?))
    }
}

/// As [`Memory`], but without a thread: a transaction is carried out before `submit` returns. The same calls in the
/// same order then give the same events, which is what a simulator needs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline;

pub(crate) struct InlineWriter<L>(Mutex<Engine<L>>);

impl<L> InlineWriter<L> {
    pub(crate) fn new(engine: Engine<L>) -> InlineWriter<L> {
        InlineWriter(Mutex::new(engine))
    }
}

impl Backend for Inline {
    fn start(self: Box<Self>, feed: Feed) -> Result<Box<dyn Writer>, OpenError> {
        Ok(Box::new(InlineWriter::new(Engine::new(feed, NoLog))))
    }
}

impl<L: Log> Writer for InlineWriter<L> {
    fn submit(&self, txn: Txn, done: Done) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).run(vec![(txn, done)]);
    }

    fn compact(&self, _revision: u64) {}
}
