//! What a group uses, and whether the kernel killed in it for lack of memory.

use std::fs;
use std::path::Path;

use super::Group;

/// A reading of a group's counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// CPU time since the group was made.
    pub cpu_nanos: u64,
    /// All memory charged, page cache included.
    pub memory: u64,
    /// Memory less inactive file pages: what eviction looks at.
    pub working_set: u64,
    /// Anonymous memory.
    pub rss: u64,
    /// The limit, if there is one.
    pub memory_limit: Option<u64>,
    pub page_faults: u64,
    pub major_page_faults: u64,
    pub swap: u64,
    pub processes: u64,
}

/// v1 says "no limit" by a number near 2^63.
const V1_UNLIMITED: u64 = 1 << 62;

impl Group {
    /// Reads the counters; missing files count as zero.
    pub(crate) fn usage(&self) -> Usage {
        if self.unified() { self.usage_v2() } else { self.usage_v1() }
    }

    /// How many processes of the group the kernel has killed for lack of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        let file = if self.unified() { "memory.events" } else { "memory.oom_control" };
        self.directory("memory").map_or(0, |directory| keyed(&directory.join(file), "oom_kill"))
    }

    fn usage_v1(&self) -> Usage {
        let Some(memory) = self.directory("memory") else { return Usage::default() };
        let stat = fs::read_to_string(memory.join("memory.stat")).unwrap_or_default();
        let used = number(&memory.join("memory.usage_in_bytes"));
        let limit = number(&memory.join("memory.limit_in_bytes"));
        let cpu = self.directory("cpuacct").map_or(0, |d| number(&d.join("cpuacct.usage")));
        Usage {
            cpu_nanos: cpu,
            memory: used,
            working_set: used.saturating_sub(value(&stat, "total_inactive_file")),
            rss: value(&stat, "total_rss"),
            memory_limit: Some(limit).filter(|l| *l < V1_UNLIMITED),
            page_faults: value(&stat, "total_pgfault"),
            major_page_faults: value(&stat, "total_pgmajfault"),
            swap: value(&stat, "total_swap"),
            processes: self.processes(),
        }
    }

    fn usage_v2(&self) -> Usage {
        let Some(directory) = self.directory("") else { return Usage::default() };
        let stat = fs::read_to_string(directory.join("memory.stat")).unwrap_or_default();
        let used = number(&directory.join("memory.current"));
        let limit = fs::read_to_string(directory.join("memory.max")).ok();
        Usage {
            cpu_nanos: keyed(&directory.join("cpu.stat"), "usage_usec") * 1000,
            memory: used,
            working_set: used.saturating_sub(value(&stat, "inactive_file")),
            rss: value(&stat, "anon"),
            memory_limit: limit.and_then(|l| l.trim().parse().ok()),
            page_faults: value(&stat, "pgfault"),
            major_page_faults: value(&stat, "pgmajfault"),
            swap: number(&directory.join("memory.swap.current")),
            processes: self.processes(),
        }
    }

    fn processes(&self) -> u64 {
        self.directory("pids").map_or(0, |d| number(&d.join("pids.current")))
    }
}

fn number(path: &Path) -> u64 {
    fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn keyed(path: &Path, key: &str) -> u64 {
    value(&fs::read_to_string(path).unwrap_or_default(), key)
}

fn value(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn keys_match_whole_words() {
        let text = "oom 3\noom_kill_disable 0\nunder_oom 0\noom_kill 2\n";
        assert_eq!((value(text, "oom_kill"), value(text, "missing")), (2, 0));
    }
}
