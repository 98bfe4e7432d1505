//! What a person sees while a cluster starts: short lines on a terminal, log lines elsewhere.

use anyhow::{Context, Result};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};
use tracing_subscriber::EnvFilter;

/// Sets up logging. `IRONCLAD_LOG` chooses what is told, as `tracing`'s filters do; warnings without it.
pub(crate) fn start_logging() {
    let filter = EnvFilter::try_from_env("IRONCLAD_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let human = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(human);
    // Where nobody reads the log any more (`2>&1 | head`), nothing else may fail of that.
    let log = log.with_target(!human).log_internal_errors(false);
    // A second call, as in tests, changes nothing.
    let _ = if human { log.compact().without_time().try_init() } else { log.try_init() };
}

/// Prints what was asked for. Whoever reads only the first lines (`| head`) has them.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e).context("cannot print the answer"),
        _ => Ok(()),
    }
}

/// Says something in passing: that nobody reads it (any more) ends nothing.
pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Tells what is being done.
pub(crate) fn tell(text: &str) {
    if std::io::stdout().is_terminal() {
        say(&format!("  {text}"));
    } else {
        tracing::info!("{text}");
    }
}

/// How long ago this process was executed. The kernel counts in hundredths of a second, so the time before `main` is
/// overstated by up to 10 ms rather than left out.
pub(crate) fn since_exec(main_started: Instant) -> Duration {
    before_main(main_started).unwrap_or_default() + main_started.elapsed()
}

fn before_main(main_started: Instant) -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let executed = Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second());
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let now = Duration::new(u64::try_from(now.tv_sec).ok()?, u32::try_from(now.tv_nsec).ok()?);
    now.checked_sub(main_started.elapsed())?.checked_sub(executed)
}
