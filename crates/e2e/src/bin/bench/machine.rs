//! The conditions under which figures were taken, in words.

use std::fs;

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn field<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines()
        .find_map(|l| l.strip_prefix(name))
        .map_or("?", |v| v.trim_start_matches([' ', '\t', ':']).trim())
}

/// Where the temporary files lie: the type of the file system that is mounted nearest above them.
fn file_system() -> String {
    let at = std::env::temp_dir();
    let mounts = read("/proc/self/mounts");
    let rows = mounts.lines().filter_map(|l| {
        let mut words = l.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let above = rows.filter(|(dir, _)| at.starts_with(dir));
    above.max_by_key(|(dir, _)| dir.len()).map_or_else(|| "?".into(), |(_, kind)| kind.to_owned())
}

/// How busy the machine is: the mean number of runnable threads in the last minute.
pub(crate) fn load() -> String {
    read("/proc/loadavg").split(' ').next().unwrap_or("?").to_owned()
}

/// One paragraph: machine, system, binary.
pub(crate) fn conditions() -> String {
    let cpu = read("/proc/cpuinfo");
    let cores = cpu.lines().filter(|l| l.starts_with("processor")).count();
    let memory = read("/proc/meminfo");
    let kib: u64 = field(&memory, "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
    let system = read("/etc/os-release");
    let binary = std::env::var("IRONCLAD_BIN").ok().and_then(|p| fs::metadata(p).ok()).map_or(0, |m| m.len());
    format!(
        "**Conditions.** {cores} cores ({}), {} GB, {}, kernel {}, {} on a local disk; TLS, authentication, RBAC, \
         admission and durability on; binary of {} MiB. Load average when the run began: {}.",
        field(&cpu, "model name"),
        (kib * 1024).div_ceil(1_000_000_000),
        field(&system, "PRETTY_NAME=").trim_matches('"'),
        read("/proc/sys/kernel/osrelease").trim(),
        file_system(),
        binary >> 20,
        load(),
    )
}
