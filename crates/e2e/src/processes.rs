//! The processes behind a cluster, for tests that kill them.

use crate::Cluster;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;

/// One process of this machine.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its parent's id.
    pub parent: i32,
    /// Its command line.
    pub line: String,
    /// Its control groups, as the kernel lists them.
    pub groups: String,
}

impl Process {
    /// Ends it as the kernel does when there is no memory left.
    pub fn kill(&self) {
        if let Some(pid) = Pid::from_raw(self.pid) {
            // Whoever is gone already needs no killing.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn read(pid: i32) -> Option<Process> {
    let text = |file: &str| {
        Some(String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{file}")).ok()?).into_owned())
    };
    let status = text("status")?;
    let parent = status.lines().find_map(|l| l.strip_prefix("PPid:"))?.trim().parse().ok()?;
    Some(Process { pid, parent, line: text("cmdline")?.replace('\0', " "), groups: text("cgroup")? })
}

/// Every process that can be seen now.
pub fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| read(e.file_name().to_str()?.parse().ok()?)).collect()
}

impl Cluster {
    /// The container runtime's process.
    pub fn runtime(&self) -> Option<Process> {
        let mark = format!("runtime-process {}", self.data_dir().display());
        processes().into_iter().find(|p| p.line.contains(&mark))
    }

    /// The processes of a pod.
    #[track_caller]
    pub fn processes_of(&self, pod: &str) -> Vec<Process> {
        let uid = self.kubectl(&["get", "pod", pod, "-o", "jsonpath={.metadata.uid}"]).ok();
        let mark = format!("pod{uid}");
        processes().into_iter().filter(|p| p.groups.contains(&mark)).collect()
    }
}
