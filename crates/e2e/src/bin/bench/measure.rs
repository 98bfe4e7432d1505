//! Figures and where they come from.

use std::fmt;
use std::time::Duration;

/// One line of the table.
pub(crate) struct Row {
    name: String,
    unit: &'static str,
    values: Vec<f64>,
    conditions: String,
}

impl Row {
    /// A figure with the value of each run.
    pub(crate) fn new(name: &str, unit: &'static str, values: Vec<f64>, conditions: &str) -> Self {
        Self { name: name.into(), unit, values, conditions: conditions.into() }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut v = self.values.clone();
        v.sort_by(f64::total_cmp);
        let at = |share: f64| {
            v.get(((v.len().max(1) - 1) as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
        };
        let show = |x: f64| {
            if x.abs() >= 100.0 { format!("{x:.0} {}", self.unit) } else { format!("{x:.2} {}", self.unit) }
        };
        write!(
            f,
            "| {} | {} | {} | {} | {} |",
            self.name,
            show(at(0.0)),
            show(at(0.5)),
            show(at(1.0)),
            self.conditions
        )
    }
}

/// What processes have used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system time.
    pub(crate) cpu: Duration,
    /// Resident memory in bytes.
    pub(crate) rss: u64,
}

/// The sum over processes.
pub(crate) fn usage(pids: &[i32]) -> Usage {
    pids.iter()
        .filter_map(|p| of(*p))
        .fold(Usage::default(), |a, b| Usage { cpu: a.cpu + b.cpu, rss: a.rss + b.rss })
}

/// CPU from the scheduler's own nanoseconds of each thread, since `stat` counts in hundredths of a second.
fn of(pid: i32) -> Option<Usage> {
    let mut cpu = Duration::ZERO;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        cpu += Duration::from_nanos(text.split(' ').next()?.parse().unwrap_or(0));
    }
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(Usage { cpu, rss: pages * 4096 })
}

/// A duration in milliseconds.
pub(crate) fn ms(d: Duration) -> f64 {
    d.as_secs_f64() * 1e3
}

/// A duration in microseconds.
pub(crate) fn us(d: Duration) -> f64 {
    d.as_secs_f64() * 1e6
}

/// Bytes in MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1 << 20) as f64
}
