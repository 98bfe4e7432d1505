//! The seeded world: the production API server, controllers, scheduler and node core in virtual time, with lag,
//! lost answers, crashes and restarts, and checkers that look at every revision.
//!
//! Everything runs in one thread on a runtime whose clock is paused; all chance comes from the seed.

mod chaos;
mod checks;
mod diary;
mod node;
mod sabotage;
mod trouble;
mod user;
mod walk;
mod watcher;
mod world;

pub use sabotage::Sabotage;
pub use walk::walk;
pub use world::controller_names;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// A controller's name, how many plans it made, and how many writes it did.
pub type Planned = (&'static str, u64, u64);

/// Adds counts up, by the controllers' places.
pub(crate) fn add_up(sum: &mut Vec<Planned>, more: impl IntoIterator<Item = Planned>) {
    for (at, (name, plans, writes)) in more.into_iter().enumerate() {
        match sum.get_mut(at) {
            Some(sum) => (sum.1, sum.2) = (sum.1 + plans, sum.2 + writes),
            None => sum.push((name, plans, writes)),
        }
    }
}

/// What came of one seed.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What was wrong; empty when all was well.
    pub violations: Vec<String>,
    /// Revisions that the store went through.
    pub revisions: u64,
    /// What the user and chance did, a line each.
    pub story: Vec<String>,
    /// The most frequent calls on the API.
    pub calls: Vec<String>,
    /// What the controllers did, in their order.
    pub planned: Vec<Planned>,
}

/// What came of many.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many seeds ran.
    pub seeds: u64,
    /// Revisions of all of them.
    pub revisions: u64,
    /// What the controllers did in all of them.
    pub planned: Vec<Planned>,
    /// The seeds in which something was wrong.
    pub failed: Vec<Outcome>,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for outcome in self.failed.iter().take(MAX_SHOWN) {
            writeln!(f, "seed {}:", outcome.seed)?;
            outcome.story.iter().try_for_each(|line| writeln!(f, "    {line}"))?;
            outcome.violations.iter().try_for_each(|line| writeln!(f, "  ! {line}"))?;
        }
        let (seeds, revisions, failed) = (self.seeds, self.revisions, self.failed.len());
        write!(f, "{seeds} seeds, {revisions} revisions, {failed} failed")
    }
}

/// Failed seeds whose stories are shown.
const MAX_SHOWN: usize = 5;

/// Runs one seed.
pub fn run_one(seed: u64) -> Outcome {
    run_broken(seed, Sabotage::None)
}

/// Runs one seed with something broken on purpose.
pub fn run_broken(seed: u64, sabotage: Sabotage) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    match runtime {
        Ok(runtime) => runtime.block_on(world::live(seed, sabotage)),
        Err(e) => Outcome { seed, violations: vec![format!("no runtime: {e}")], ..Outcome::default() },
    }
}

/// Runs `count` seeds from `first` on, on all processors.
pub fn run(first: u64, count: u64) -> Report {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let (next, report) = (AtomicU64::new(first), Mutex::new(Report { seeds: count, ..Report::default() }));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let outcome = run_one(seed);
                    let mut report = report.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    report.revisions += outcome.revisions;
                    add_up(&mut report.planned, outcome.planned.iter().copied());
                    if !outcome.violations.is_empty() {
                        report.failed.push(outcome);
                    }
                }
            });
        }
    });
    let mut report = report.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    report.failed.sort_by_key(|o| o.seed);
    report
}
