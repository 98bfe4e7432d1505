//! Waiting for conditions, never for time.

use std::time::{Duration, Instant};

/// How long a condition may take unless the test says otherwise. Long, since test machines are busy.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks.
const PACE: Duration = Duration::from_millis(50);

/// Looks until `look` gives something; fails the test with the last explanation when it takes too long.
#[track_caller]
pub fn eventually<T>(what: &str, look: impl FnMut() -> Result<T, String>) -> T {
    within(PATIENCE, what, look)
}

/// [`eventually`] with a patience of its own.
#[track_caller]
pub fn within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(why) if start.elapsed() > patience => {
                panic!("{what}: not within {} s\n{why}", patience.as_secs())
            }
            Err(_) => pause(),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the pace of looking at a condition, with a deadline around it"
)]
fn pause() {
    std::thread::sleep(PACE);
}
