//! Figures and where they come from.

use std::fmt;
use std::time::{Duration, Instant};

/// Ticks of `/proc/<pid>/stat` in a second (USER_HZ, the same on every Linux machine of ours).
const TICKS: u32 = 100;
/// The size of a page in bytes.
const PAGE: u64 = 4096;

/// One line of the table.
pub(crate) struct Row {
    name: String,
    unit: &'static str,
    values: Vec<f64>,
    cpu: Vec<f64>,
    conditions: String,
}

impl Row {
    /// A figure with the value of each run.
    pub(crate) fn new(name: &str, unit: &'static str, values: Vec<f64>, conditions: &str) -> Self {
        Self { name: name.into(), unit, values, cpu: Vec::new(), conditions: conditions.into() }
    }

    /// What each operation cost the processes that were measured, in microseconds of CPU, for each run.
    pub(crate) fn cpu(mut self, microseconds: Vec<f64>) -> Self {
        self.cpu = microseconds;
        self
    }
}

/// The value below which this share of the values lies.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut v = values.to_vec();
    v.sort_by(f64::total_cmp);
    v.get(((v.len().max(1) - 1) as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

/// A number with as many digits as it deserves.
fn number(x: f64) -> String {
    match x.abs() {
        a if a >= 100.0 => format!("{x:.0}"),
        a if a >= 10.0 => format!("{x:.1}"),
        _ => format!("{x:.2}"),
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |share| format!("{} {}", number(quantile(&self.values, share)), self.unit);
        let cpu = |share| number(quantile(&self.cpu, share));
        let spent = match self.cpu.as_slice() {
            [] => "–".to_owned(),
            [one] => format!("{} µs", number(*one)),
            _ => format!("{} µs ({}–{})", cpu(0.5), cpu(0.0), cpu(1.0)),
        };
        let Self { name, conditions, .. } = self;
        write!(f, "| {name} | {} | {} | {} | {spent} | {conditions} |", show(0.0), show(0.5), show(1.0))
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

/// CPU from the scheduler's own nanoseconds of each thread, since `stat` counts in hundredths of a second. Threads that
/// have ended are not in it: for processes whose threads come and go there is [`spent`].
fn of(pid: i32) -> Option<Usage> {
    let mut cpu = Duration::ZERO;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        cpu += Duration::from_nanos(text.split(' ').next()?.parse().unwrap_or(0));
    }
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(Usage { cpu, rss: pages * PAGE })
}

/// CPU of processes, of all threads that they ever had, and of the children that they have collected, in steps of a
/// hundredth of a second.
pub(crate) fn spent(pids: &[i32]) -> Duration {
    pids.iter().filter_map(|p| ticks(&format!("/proc/{p}/stat"))).sum()
}

fn ticks(path: &str) -> Option<Duration> {
    let text = std::fs::read_to_string(path).ok()?;
    // The name may hold spaces and brackets; utime, stime, cutime and cstime are the 12th to 15th words behind it.
    let (_, rest) = text.rsplit_once(") ")?;
    let ticks: u32 = rest.split(' ').skip(11).take(4).map(|n| n.parse::<u32>().unwrap_or(0)).sum();
    Some(Duration::from_secs(1) * ticks / TICKS)
}

/// Runs something and gives its wall time in milliseconds with its value.
pub(crate) async fn timed<T>(work: impl Future<Output = T>) -> (f64, T) {
    let begun = Instant::now();
    let value = work.await;
    (ms(begun.elapsed()), value)
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
