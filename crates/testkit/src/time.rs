//! Virtual time: that of a tokio runtime whose clock is paused, which goes on only when nobody has anything to
//! do.

use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// When virtual time begins: 2026-01-01T00:00:00Z.
const BEGIN: i64 = 1_767_225_600;

/// The time of the runtime in which it was made.
#[derive(Clone, Debug)]
pub struct VirtualClock {
    start: Instant,
}

impl VirtualClock {
    /// Begins now. Must be called in the runtime.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// How long it has been going.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        let begin = Timestamp::from_second(BEGIN).unwrap_or(Timestamp::UNIX_EPOCH);
        begin + self.elapsed()
    }

    /// As controllers and scheduler take it.
    pub fn function(&self) -> Arc<dyn Fn() -> Timestamp + Send + Sync> {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl apiserver::clock::Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Self::now(self)
    }
}
