//! Start and idling.

use crate::measure::{Row, mib, spent, us, usage};
use crate::object::{connect, create_all, runtime, stored_pod};
use client::Resource;
use e2e::{Cluster, Options};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Starts measured.
const STARTS: usize = 7;
/// Clusters that are watched idling.
const IDLE_RUNS: usize = 3;
/// How long an idle cluster is left alone, and then watched.
const SETTLE: Duration = Duration::from_secs(15);
const IDLE: Duration = Duration::from_secs(30);
/// Pods in the large store, and starts of it.
const LARGE: usize = 150_000;
const LARGE_STARTS: usize = 3;

/// The named unix sockets that a process has open.
pub(crate) fn sockets(pid: i32) -> Vec<String> {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets =
        links.filter_map(|l| Some(std::fs::read_link(l.path()).ok()?.to_string_lossy().into_owned()));
    let inode = |t: String| Some(t.strip_prefix("socket:[")?.trim_end_matches(']').to_owned());
    let inodes: HashSet<String> = targets.filter_map(inode).collect();
    let table = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let named = table.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(6);
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    });
    named.filter(|(inode, _)| inodes.contains(inode)).map(|(_, path)| path).collect()
}

/// All processes of a cluster, by what they are.
pub(crate) fn processes(cluster: &Cluster) -> Vec<(String, i32)> {
    let data = cluster.data_dir().to_string_lossy().into_owned();
    let runtime = cluster.runtime().map(|p| p.pid);
    // The keeper belongs to nobody: it is known by its socket, which lies beside the runtime's.
    let own =
        runtime.and_then(|pid| sockets(pid).into_iter().find_map(|s| Some(s.rsplit_once('/')?.0.to_owned())));
    let keeps = |p: &e2e::Process| {
        let near = |s: &String| own.as_ref().is_some_and(|dir| s.starts_with(&format!("{dir}/")));
        p.line.contains("runtime-keeper") && sockets(p.pid).iter().any(near)
    };
    let name = |p: &e2e::Process| match () {
        () if Some(p.pid) == runtime => Some("runtime"),
        () if p.line.contains(" up ") && p.line.contains(&data) => Some("up"),
        () if keeps(p) => Some("keeper"),
        () => None,
    };
    e2e::processes().iter().filter_map(|p| Some((name(p)?.to_owned(), p.pid))).collect()
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
        let (mut values, mut cpu) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            let cluster = Cluster::start(Options { no_node, ..Options::default() });
            let pids: Vec<i32> = processes(&cluster).iter().map(|(_, pid)| *pid).collect();
            cpu.push(us(spent(&pids)));
            values.push(ready_ms(&cluster)?);
        }
        rows.push(Row::new(name, "ms", values, "empty data directory, counted from exec").cpu(cpu));
    }
    Ok(rows)
}

/// The runs of one figure, by its name, in the order in which names came up.
#[derive(Default)]
struct Table(Vec<(String, Vec<f64>)>);

impl Table {
    fn add(&mut self, name: &str, value: f64) {
        match self.0.iter_mut().find(|(n, _)| n == name) {
            Some((_, values)) => values.push(value),
            None => self.0.push((name.to_owned(), vec![value])),
        }
    }
}

/// Memory and CPU of a cluster that does nothing.
pub(crate) fn idle() -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for no_node in [true, false] {
        let what = if no_node { "control plane alone" } else { "with node agent, runtime, proxy, DNS" };
        let (mut share, mut memory) = (Vec::new(), Table::default());
        for _ in 0..IDLE_RUNS {
            let cluster = Cluster::start(Options { no_node, ..Options::default() });
            let all = processes(&cluster);
            let pids: Vec<i32> = all.iter().map(|(_, pid)| *pid).collect();
            pause(SETTLE);
            let (before, begun) = (usage(&pids), Instant::now());
            pause(IDLE);
            let after = usage(&pids);
            share.push((after.cpu - before.cpu).as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0);
            memory.add(&format!("idle memory, {what}"), mib(after.rss));
            for (name, pid) in all.iter().filter(|_| all.len() > 1) {
                memory.add(&format!("… of that `{name}`"), mib(usage(&[*pid]).rss));
            }
        }
        let how = format!("{} s, {} s after the start", IDLE.as_secs(), SETTLE.as_secs());
        rows.push(Row::new(&format!("idle CPU, {what}"), "% of a core", share, &how));
        let sum = "RSS, sum of the processes";
        rows.extend(memory.0.into_iter().map(|(name, values)| Row::new(&name, "MiB", values, sum)));
    }
    Ok(rows)
}

#[expect(clippy::disallowed_methods, reason = "what is measured is what happens in this time")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// kill −9 and start with a large store.
pub(crate) fn large() -> Result<Vec<Row>, String> {
    let mut cluster = Cluster::control_plane();
    let client = connect(&cluster)?;
    runtime()?.block_on(create_all(&client, &Resource::of::<api::core::v1::Pod>(), LARGE, stored_pod))?;
    let (mut values, mut cpu, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..LARGE_STARTS {
        cluster.kill();
        cluster.up();
        cpu.push(us(spent(&[cluster.pid()])));
        values.push(ready_ms(&cluster)?);
        pause(SETTLE);
        memory.push(mib(usage(&[cluster.pid()]).rss));
    }
    let how = format!("{LARGE} pods, after kill −9, counted from exec to /readyz");
    Ok(vec![
        Row::new("start with a large store", "ms", values, &how).cpu(cpu),
        Row::new("… memory then", "MiB", memory, "RSS, controllers and scheduler have listed everything"),
    ])
}
