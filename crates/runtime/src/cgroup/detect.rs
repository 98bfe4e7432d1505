//! Which cgroup hierarchies this machine has.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::Group;

/// The v1 controllers that a container gets a group in, where the kernel has them.
const V1_CONTROLLERS: [&str; 7] = ["cpu", "cpuacct", "cpuset", "devices", "hugetlb", "memory", "pids"];

/// The machine's hierarchies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cgroups {
    /// Controller to the mount point of its hierarchy; several controllers may share one.
    V1(BTreeMap<String, PathBuf>),
    /// The one mount point.
    V2(PathBuf),
}

impl Cgroups {
    /// Reads the mount table.
    pub(crate) fn detect() -> io::Result<Self> {
        let table = fs::read_to_string("/proc/self/mountinfo")?;
        Self::from_mountinfo(&table).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                "no cgroup file system is mounted; mount cgroup2 at /sys/fs/cgroup",
            )
        })
    }

    fn from_mountinfo(table: &str) -> Option<Self> {
        let mut v1 = BTreeMap::new();
        let mut v2 = None;
        for line in table.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let Some(mountpoint) = left.split(' ').nth(4).map(PathBuf::from) else { continue };
            let mut right = right.split(' ');
            match (right.next(), right.nth(1)) {
                (Some("cgroup2"), _) if v2.is_none() => v2 = Some(mountpoint),
                (Some("cgroup"), Some(options)) => {
                    for controller in options.split(',').filter(|o| V1_CONTROLLERS.contains(o)) {
                        v1.entry(controller.to_owned()).or_insert_with(|| mountpoint.clone());
                    }
                }
                _ => {}
            }
        }
        if v1.contains_key("memory") || v1.contains_key("cpu") {
            Some(Self::V1(v1))
        } else {
            v2.map(Self::V2)
        }
    }

    /// The group at `path` below each hierarchy's root (which need not exist yet).
    pub(crate) fn group(&self, path: &str) -> Group {
        Group::new(self, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_layout_is_v1() {
        let table = "30 25 0:26 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
                     31 25 0:27 / /sys/fs/cgroup/memory rw,relatime shared:1 - cgroup cgroup rw,memory\n\
                     39 25 0:35 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let expected = [("cpu", "/sys/fs/cgroup/cpu"), ("memory", "/sys/fs/cgroup/memory")];
        let expected = expected.map(|(c, p)| (c.to_owned(), PathBuf::from(p)));
        assert_eq!(Cgroups::from_mountinfo(table), Some(Cgroups::V1(expected.into())));
    }

    #[test]
    fn a_unified_layout_is_v2() {
        let table = "31 25 0:27 / /sys/fs/cgroup rw,relatime shared:1 - cgroup2 cgroup2 rw\n";
        assert_eq!(Cgroups::from_mountinfo(table), Some(Cgroups::V2("/sys/fs/cgroup".into())));
        assert_eq!(Cgroups::from_mountinfo(""), None);
    }
}
