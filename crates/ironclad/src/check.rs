//! What a machine must have, what it should have, and what it costs when it hasn't.

use rustix::mount::FsOpenFlags;
use std::fs;
use std::path::Path;

/// The oldest kernel with everything that the runtime calls (openat2 and clone3: 5.6; close_range: 5.9; mount_setattr:
/// 5.12).
const OLDEST_KERNEL: (u32, u32) = (5, 12);

/// What was seen on the machine. A plain value, so that the verdicts can be tested without one.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) root: bool,
    pub(crate) kernel: String,
    pub(crate) overlay: bool,
    pub(crate) cgroup_v2: bool,
    /// Controllers of cgroup v1 with a mount, or those of v2.
    pub(crate) controllers: Vec<String>,
    pub(crate) namespaces: bool,
    pub(crate) seccomp: bool,
    pub(crate) nft: bool,
    pub(crate) may_lower_oom_score: bool,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// No node can run here.
    Missing,
    /// A node runs, with something less.
    Lacking,
}

/// One thing that the machine lacks.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    /// What is lacking, what that costs, and the remedy: one sentence.
    pub(crate) text: String,
}

impl Machine {
    /// Looks at this machine.
    pub(crate) fn look() -> Self {
        let read = |p: &str| fs::read_to_string(p).unwrap_or_default();
        let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let controllers = match v2 {
            true => read("/sys/fs/cgroup/cgroup.controllers").split_whitespace().map(str::to_owned).collect(),
            false => v1_controllers(&read("/proc/self/mounts")),
        };
        let path = std::env::var("PATH").unwrap_or_default();
        Self {
            root: rustix::process::geteuid().is_root(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            overlay: has_overlay(),
            cgroup_v2: v2,
            controllers,
            namespaces: ["mnt", "pid", "net", "ipc", "uts"]
                .iter()
                .all(|n| Path::new("/proc/self/ns").join(n).exists()),
            seccomp: Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(),
            nft: path.split(':').chain(["/usr/sbin", "/sbin"]).any(|d| Path::new(d).join("nft").is_file()),
            may_lower_oom_score: has_capability(&read("/proc/self/status"), 24),
        }
    }

    /// Everything that is lacking, the worst first.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut lack = |is: bool, level, text: &str| {
            if is {
                found.push(Finding { level, text: text.to_owned() });
            }
        };
        use Level::{Lacking, Missing};
        lack(
            !self.root,
            Missing,
            "A node needs root to make namespaces and mounts: start it with sudo, or run the control plane alone with --no-node.",
        );
        let old = kernel_version(&self.kernel).is_some_and(|v| v < OLDEST_KERNEL);
        lack(
            old,
            Missing,
            &format!(
                "The kernel is {}, and the runtime needs 5.12 or newer: update it, or run --no-node.",
                self.kernel
            ),
        );
        lack(
            !self.namespaces,
            Missing,
            "The kernel has no mount, PID, network, IPC or UTS namespaces: containers cannot be isolated; use a kernel that has them.",
        );
        lack(
            !self.overlay,
            Missing,
            "The kernel has no overlay file system, from which containers get their root: use a kernel that has it, or install the modules of the running one.",
        );
        lack(
            !self.nft,
            Missing,
            "The program nft is not installed, so services could not be reached: install the package nftables.",
        );
        for (controller, cost) in [
            ("memory", "memory limits of containers are not enforced"),
            ("cpu", "CPU limits of containers are not enforced"),
            ("pids", "a container can start processes without end"),
        ] {
            let text = format!(
                "The cgroup controller {controller} is not there: {cost}; enable it on the kernel's command line."
            );
            lack(!self.controllers.iter().any(|c| c == controller), Lacking, &text);
        }
        lack(
            !self.seccomp,
            Lacking,
            "The kernel has no seccomp: system calls of containers are not filtered, and pods that ask for a profile fail.",
        );
        lack(
            !self.may_lower_oom_score,
            Lacking,
            "This process may not lower oom_score_adj (CAP_SYS_RESOURCE): guaranteed pods are not protected from the kernel's out-of-memory killer.",
        );
        found
    }
}

/// Whether overlays can be mounted. Most distributions have them as a module, which the first user brings in: asking
/// does that where we may, and elsewhere the module's file tells.
fn has_overlay() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let modules = fs::read_to_string(Path::new("/lib/modules").join(release).join("modules.dep"));
    fs::read_to_string("/proc/filesystems").is_ok_and(|t| t.lines().any(|l| l.ends_with("\toverlay")))
        || rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).is_ok()
        || modules.is_ok_and(|t| t.contains("/overlay.ko"))
}

fn v1_controllers(mounts: &str) -> Vec<String> {
    let known = ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "hugetlb"];
    let options =
        mounts.lines().filter(|l| l.split(' ').nth(2) == Some("cgroup")).filter_map(|l| l.split(' ').nth(3));
    options.flat_map(|o| o.split(',')).filter(|o| known.contains(o)).map(str::to_owned).collect()
}

/// Whether a bit stands in `CapEff` of `/proc/self/status`.
fn has_capability(status: &str, bit: u32) -> bool {
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    line.and_then(|l| u64::from_str_radix(l.trim(), 16).ok()).is_some_and(|set| set & (1 << bit) != 0)
}

fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(['.', '-']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Prints what the machine lacks. Fails when no node can run here.
pub(crate) fn run() -> anyhow::Result<()> {
    let machine = Machine::look();
    let version = if machine.cgroup_v2 { "v2" } else { "v1" };
    let mut text =
        format!("kernel {}, cgroup {version} ({})\n", machine.kernel, machine.controllers.join(" "));
    let findings = machine.findings();
    for f in &findings {
        text += if f.level == Level::Missing { "missing: " } else { "lacking: " };
        text += &f.text;
        text.push('\n');
    }
    let missing = findings.iter().any(|f| f.level == Level::Missing);
    if !missing {
        text += if findings.is_empty() { "This machine has everything.\n" } else { "A node can run here.\n" };
    }
    crate::progress::print(&text)?;
    if missing {
        anyhow::bail!("a node cannot run here until what is missing is there");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Machine {
        Machine {
            root: true,
            kernel: "6.1.0-13-amd64".into(),
            overlay: true,
            cgroup_v2: true,
            controllers: ["cpu", "memory", "pids"].map(str::to_owned).into(),
            namespaces: true,
            seccomp: true,
            nft: true,
            may_lower_oom_score: true,
        }
    }

    #[test]
    fn each_lack_is_one_sentence() {
        assert!(good().findings().is_empty());
        let lacks =
            Machine { root: false, kernel: "4.19.0".into(), controllers: vec!["cpu".into()], ..good() };
        let texts: Vec<String> = lacks.findings().into_iter().map(|f| f.text).collect();
        assert_eq!(texts.len(), 4, "{texts:?}");
        assert!(texts[0].contains("sudo") && texts[1].contains("4.19.0") && texts[2].contains("memory"));
    }

    #[test]
    fn reads_the_kernels_texts() {
        let mounts = "cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu,cpuacct 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(v1_controllers(mounts), ["cpu", "cpuacct"]);
        assert!(has_capability("CapEff:\t0000000001000000\n", 24));
        assert!(!has_capability("CapEff:\t000001fffeffffff\n", 24));
        assert_eq!(kernel_version("6.18.44-fc"), Some((6, 18)));
    }
}
