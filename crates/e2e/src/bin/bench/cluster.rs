//! Start and idling.

use crate::measure::{Row, mib, usage};
use e2e::{Cluster, Options};
use std::time::{Duration, Instant};

/// Starts measured.
const STARTS: usize = 7;
/// How long an idle cluster is watched.
const IDLE: Duration = Duration::from_secs(30);

/// All processes of a cluster, by what they are.
pub(crate) fn processes(cluster: &Cluster) -> Vec<(String, i32)> {
    let data = cluster.data_dir().to_string_lossy().into_owned();
    let instance = |line: &str| line.contains(&data);
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if instance(&line) {
            let what = if line.contains("runtime-process") { "runtime" } else { "up" };
            found.push((what.to_owned(), pid));
        }
    }
    found
}

fn ready_ms(cluster: &Cluster) -> Result<f64, String> {
    let log = cluster.log();
    let line = log.lines().find_map(|l| l.strip_prefix("ready in ")).ok_or("no ready line")?;
    line.trim_end_matches(" ms").parse().map_err(|e| format!("{line}: {e}"))
}

/// Start to ready on an empty data directory.
pub(crate) fn start() -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for (name, no_node) in [("start to /readyz, without a node", true), ("start to node Ready", false)] {
        let mut values = Vec::new();
        for _ in 0..STARTS {
            let cluster = Cluster::start(Options { no_node, ..Options::default() });
            values.push(ready_ms(&cluster)?);
        }
        rows.push(Row::new(name, "ms", values, "empty data directory, counted from exec"));
    }
    Ok(rows)
}

/// Memory and CPU of a cluster that does nothing.
pub(crate) fn idle() -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for no_node in [true, false] {
        let cluster = Cluster::start(Options { no_node, ..Options::default() });
        let all = processes(&cluster);
        let pids: Vec<i32> = all.iter().map(|(_, pid)| *pid).collect();
        settle();
        let (before, begun) = (usage(&pids), Instant::now());
        settle();
        let after = usage(&pids);
        let what = if no_node { "control plane alone" } else { "with node agent, runtime, proxy, DNS" };
        let share = (after.cpu - before.cpu).as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0;
        rows.push(Row::new(
            &format!("idle CPU, {what}"),
            "% of a core",
            vec![share],
            "30 s, 30 s after the start",
        ));
        rows.push(Row::new(
            &format!("idle memory, {what}"),
            "MiB RSS",
            vec![mib(after.rss)],
            "sum of the processes",
        ));
        for (name, pid) in &all {
            rows.push(Row::new(
                &format!("… of that `{name}`"),
                "MiB RSS",
                vec![mib(usage(&[*pid]).rss)],
                what,
            ));
        }
    }
    Ok(rows)
}

#[expect(clippy::disallowed_methods, reason = "what is measured is what happens in this time")]
fn settle() {
    std::thread::sleep(IDLE);
}
