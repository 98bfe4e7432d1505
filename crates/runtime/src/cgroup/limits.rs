//! CRI's resources as cgroup files.

use std::fs;
use std::io;
use std::path::Path;

use cri::LinuxContainerResources;

use super::Group;

/// The period that CRI leaves out (kernel default, 100 ms).
const DEFAULT_PERIOD: i64 = 100_000;

impl Group {
    /// Writes every limit that is set; zero means "leave as it is", as in CRI.
    pub(crate) fn limit(&self, resources: &LinuxContainerResources) -> io::Result<()> {
        if self.unified() { self.limit_v2(resources) } else { self.limit_v1(resources) }
    }

    fn set(&self, controller: &str, file: &str, value: impl ToString) -> io::Result<()> {
        let Some(directory) = self.directory(controller) else { return Ok(()) };
        write(directory, file, &value.to_string())
    }

    /// Bounds the group's processes and threads, where the machine can count them.
    pub(crate) fn limit_pids(&self, max: u32) -> io::Result<()> {
        if self.has("pids", "pids.max") { self.set("pids", "pids.max", max) } else { Ok(()) }
    }

    /// The group's weight against its neighbours, where the machine can weigh.
    pub(crate) fn share(&self, shares: i64) -> io::Result<()> {
        match self.unified() {
            true if self.has("cpu", "cpu.weight") => self.set("cpu", "cpu.weight", weight(shares)),
            false if self.has("cpu", "cpu.shares") => self.set("cpu", "cpu.shares", shares),
            _ => Ok(()),
        }
    }

    fn limit_v1(&self, r: &LinuxContainerResources) -> io::Result<()> {
        if r.cpu_shares > 0 {
            self.set("cpu", "cpu.shares", r.cpu_shares)?;
        }
        if r.cpu_period > 0 && self.set("cpu", "cpu.cfs_period_us", r.cpu_period).is_err() {
            // A shorter period under an old quota may exceed the parent's bandwidth: lift the quota first.
            self.set("cpu", "cpu.cfs_quota_us", -1)?;
            self.set("cpu", "cpu.cfs_period_us", r.cpu_period)?;
        }
        if r.cpu_quota != 0 {
            self.set("cpu", "cpu.cfs_quota_us", r.cpu_quota)?;
        }
        if r.memory_limit_in_bytes != 0 {
            self.set("memory", "memory.limit_in_bytes", r.memory_limit_in_bytes)?;
        }
        if r.memory_swap_limit_in_bytes > 0 && self.has("memory", "memory.memsw.limit_in_bytes") {
            self.set("memory", "memory.memsw.limit_in_bytes", r.memory_swap_limit_in_bytes)?;
        }
        self.limit_shared(r)?;
        for huge in &r.hugepage_limits {
            self.set("hugetlb", &format!("hugetlb.{}.limit_in_bytes", huge.page_size), huge.limit)?;
        }
        match r.unified.get("pids.max") {
            Some(max) => self.set("pids", "pids.max", max),
            None => Ok(()),
        }
    }

    fn limit_shared(&self, r: &LinuxContainerResources) -> io::Result<()> {
        if !r.cpuset_cpus.is_empty() || !r.cpuset_mems.is_empty() {
            self.need_cpuset()?;
        }
        if !r.cpuset_cpus.is_empty() {
            self.set("cpuset", "cpuset.cpus", &r.cpuset_cpus)?;
        }
        if !r.cpuset_mems.is_empty() {
            self.set("cpuset", "cpuset.mems", &r.cpuset_mems)?;
        }
        Ok(())
    }

    fn limit_v2(&self, r: &LinuxContainerResources) -> io::Result<()> {
        if r.cpu_shares > 0 {
            self.set("cpu", "cpu.weight", weight(r.cpu_shares))?;
        }
        if r.cpu_quota != 0 {
            let period = if r.cpu_period > 0 { r.cpu_period } else { DEFAULT_PERIOD };
            let quota = if r.cpu_quota < 0 { "max".to_owned() } else { r.cpu_quota.to_string() };
            self.set("cpu", "cpu.max", format!("{quota} {period}"))?;
        }
        if r.memory_limit_in_bytes != 0 {
            self.set("memory", "memory.max", max_or(r.memory_limit_in_bytes))?;
        }
        if r.memory_swap_limit_in_bytes > 0 && self.has("memory", "memory.swap.max") {
            // CRI counts memory and swap together, v2 counts swap alone.
            self.set(
                "memory",
                "memory.swap.max",
                (r.memory_swap_limit_in_bytes - r.memory_limit_in_bytes).max(0),
            )?;
        }
        self.limit_shared(r)?;
        for huge in &r.hugepage_limits {
            self.set("hugetlb", &format!("hugetlb.{}.max", huge.page_size), huge.limit)?;
        }
        for (file, value) in &r.unified {
            if file.contains('/') || !file.contains('.') {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("{file:?} is no cgroup file"),
                ));
            }
            self.set("", file, value)?;
        }
        Ok(())
    }

    fn has(&self, controller: &str, file: &str) -> bool {
        self.directory(controller).is_some_and(|directory| directory.join(file).exists())
    }
}

fn write(directory: &Path, file: &str, value: &str) -> io::Result<()> {
    fs::write(directory.join(file), value)
        .map_err(|error| io::Error::new(error.kind(), format!("writing {value:?} to {file}: {error}")))
}

fn max_or(bytes: i64) -> String {
    if bytes < 0 { "max".to_owned() } else { bytes.to_string() }
}

/// KEP-2254: shares 2..262144 to weights 1..10000.
fn weight(shares: i64) -> i64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Cgroups;

    #[test]
    fn v2_files_hold_what_cri_says() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("pod/c");
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("memory.swap.max"), "max").unwrap();
        let group = Group::new(&Cgroups::V2(root.path().to_owned()), "/pod/c");
        let read = |file: &str| fs::read_to_string(place.join(file)).unwrap();
        let mut r = LinuxContainerResources {
            cpu_shares: 256,
            cpu_quota: 25_000,
            memory_limit_in_bytes: 64 << 20,
            memory_swap_limit_in_bytes: 80 << 20,
            cpuset_cpus: "0-1".into(),
            hugepage_limits: vec![cri::HugepageLimit { page_size: "2MB".into(), limit: 4 << 20 }],
            unified: [("memory.oom.group".to_owned(), "1".to_owned())].into(),
            ..LinuxContainerResources::default()
        };
        group.limit(&r).unwrap();
        let files =
            ["cpu.weight", "cpu.max", "memory.max", "memory.swap.max", "cpuset.cpus", "hugetlb.2MB.max"];
        assert_eq!(files.map(read), ["10", "25000 100000", "67108864", "16777216", "0-1", "4194304"]);
        assert_eq!(read("memory.oom.group"), "1");
        r.cpu_quota = -1;
        r.cpu_period = 50_000;
        r.memory_limit_in_bytes = -1;
        r.memory_swap_limit_in_bytes = 0;
        group.limit(&r).unwrap();
        assert_eq!(["cpu.max", "memory.max"].map(read), ["max 50000", "max"]);
        r.unified.insert("../evil.max".into(), "1".into());
        assert!(group.limit(&r).is_err(), "no file outside of the group");
    }

    #[test]
    fn shares_become_weights() {
        assert_eq!([2, 1024, 262_144].map(super::weight), [1, 39, 10_000]);
    }
}
