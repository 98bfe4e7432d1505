//! A back end that keeps nothing beyond the process; for tests and simulations.

use crate::backend::{Backend, Feed, OpenError, Writer};
use crate::engine::{Engine, NoLog};
use crate::queue::EngineThread;

/// Nothing is durable; everything else is as with the embedded engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory;

impl Backend for Memory {
    fn start(self: Box<Self>, feed: Feed) -> Result<Box<dyn Writer>, OpenError> {
        let limit = feed.limits().queued_txns;
        Ok(Box::new(EngineThread::start(Engine::new(feed, NoLog), limit)?))
    }
}
