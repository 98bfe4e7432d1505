//! Growing pauses between attempts.

use crate::Rng;
use std::time::Duration;

/// An exponential backoff: each pause is `factor` times the one before, up to `max`, plus up to `jitter` of
/// itself.
#[derive(Clone, Debug)]
pub struct Backoff {
    /// First pause.
    pub base: Duration,
    /// Longest pause, before jitter.
    pub max: Duration,
    /// Growth.
    pub factor: f64,
    /// Share of a pause that chance may add: 0.1 is up to a tenth.
    pub jitter: f64,
    attempt: u32,
}

impl Backoff {
    /// Doubling from `base` up to `max`, without jitter.
    pub const fn new(base: Duration, max: Duration) -> Self {
        Self { base, max, factor: 2.0, jitter: 0.0, attempt: 0 }
    }

    /// The same with jitter.
    pub const fn with_jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter;
        self
    }

    /// The pause before the attempt with number `n` (from 0), without jitter.
    pub fn delay(&self, n: u32) -> Duration {
        let exponent = i32::try_from(n).unwrap_or(i32::MAX);
        let seconds = self.base.as_secs_f64() * self.factor.powi(exponent);
        if seconds.is_finite() && seconds < self.max.as_secs_f64() {
            Duration::from_secs_f64(seconds.max(0.0))
        } else {
            self.max
        }
    }

    /// The next pause; counts the attempt.
    pub fn next(&mut self, rng: &mut Rng) -> Duration {
        let pause = self.delay(self.attempt);
        self.attempt = self.attempt.saturating_add(1);
        pause + pause.mul_f64((rng.unit() * self.jitter).max(0.0))
    }

    /// How many pauses were taken since the last reset.
    pub fn attempts(&self) -> u32 {
        self.attempt
    }

    /// Begins anew after a success.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_and_stops_growing() {
        let mut b = Backoff::new(Duration::from_millis(5), Duration::from_secs(1000));
        let mut rng = Rng::new(1);
        let pauses: Vec<u128> = (0..5).map(|_| b.next(&mut rng).as_millis()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80]);
        assert_eq!((b.delay(18), b.delay(u32::MAX)), (Duration::from_secs(1000), Duration::from_secs(1000)));
        b.reset();
        assert_eq!(b.next(&mut rng), Duration::from_millis(5));
    }

    #[test]
    fn jitter_only_adds() {
        let mut b = Backoff::new(Duration::from_secs(1), Duration::from_secs(1)).with_jitter(0.5);
        let mut rng = Rng::new(7);
        for _ in 0..100 {
            let d = b.next(&mut rng);
            assert!((Duration::from_secs(1)..=Duration::from_millis(1500)).contains(&d));
        }
    }
}
