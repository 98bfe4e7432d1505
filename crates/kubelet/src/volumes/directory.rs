//! Volumes that are directories of the node: `emptyDir` and `hostPath`, and the group that owns a volume.

use super::mounts;
use crate::core::resources;
use crate::shell::make_dir_now;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod};
use rustix::fs::{FileType, Gid};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Entries of a volume whose group is set, at most.
const MAX_ENTRIES: usize = 10_000_000;

/// The bytes that an `emptyDir` in memory may hold: no more than the pod may use, or the node has for pods
/// (`calculateEmptyDirMemorySize` of `pkg/volume/emptydir`).
pub(crate) fn memory_size(pod: &Pod, e: &EmptyDirVolumeSource, allocatable: i64) -> i64 {
    let of_pod = resources::pod_limits(pod).get("memory").map(meta::quantity::Quantity::value);
    let own = e.size_limit.as_ref().and_then(resources::parse).map(|q| q.value());
    [of_pod, own]
        .into_iter()
        .flatten()
        .filter(|n| *n > 0)
        .fold(allocatable, |a, b| if a > 0 { a.min(b) } else { b })
}

/// Makes an `emptyDir`, on disk or as a tmpfs of at most `memory` bytes. Done once: what its containers make of its
/// root later stays.
pub(crate) fn empty_dir(path: &Path, memory: Option<i64>, group: Option<u32>) -> Result<(), String> {
    if let Some(bytes) = memory {
        make_dir_now(path, 0o777)?;
        if mounts::is_mount(path) {
            return Ok(());
        }
        return mounts::tmpfs(path, bytes, group)
            .map_err(|e| format!("cannot mount tmpfs at {}: {e}", path.display()));
    }
    if path.exists() {
        return Ok(());
    }
    // It has another name, one that no volume can have, until it is as it should be.
    let fresh = path.with_extension("new");
    let failed = |e: std::io::Error| format!("cannot make volume {}: {e}", path.display());
    make_dir_now(&fresh, 0o777)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o777)).map_err(failed)?;
    if let Some(group) = group {
        give_to_group(&fresh, group, Access::Write, false)?;
    }
    std::fs::rename(&fresh, path).map_err(failed)
}

/// Checks a `hostPath` against its type, and makes it where the type says so (`pkg/volume/hostpath`): `open` to any
/// user, or as upstream does.
pub(crate) fn host_path(path: &str, kind: &str, open: bool) -> Result<(), String> {
    let p = Path::new(path);
    let meta = std::fs::metadata(p).ok();
    let is = |t: FileType| meta.as_ref().is_some_and(|m| FileType::from_raw_mode(m.mode()) == t);
    let fail = |what: &str| Err(format!("hostPath type check failed: {path} is not {what}"));
    match kind {
        "DirectoryOrCreate" if meta.is_none() => {
            make_dir_now(p, 0o755)?;
            if !open {
                return Ok(());
            }
            let mode = std::fs::Permissions::from_mode(0o777);
            std::fs::set_permissions(p, mode).map_err(|e| format!("{path}: {e}"))
        }
        "FileOrCreate" if meta.is_none() => {
            std::fs::File::create_new(p).map(|_| ()).map_err(|e| format!("cannot make file {path}: {e}"))
        }
        "DirectoryOrCreate" | "Directory" if !is(FileType::Directory) => fail("a directory"),
        "FileOrCreate" | "File" if !is(FileType::RegularFile) => fail("a file"),
        "Socket" if !is(FileType::Socket) => fail("a socket file"),
        "CharDevice" if !is(FileType::CharacterDevice) => fail("a character device"),
        "BlockDevice" if !is(FileType::BlockDevice) => fail("a block device"),
        // The runtime makes a directory of an absent path without a type; do it here, where the mode is known.
        "" if meta.is_none() => make_dir_now(p, 0o755),
        _ => Ok(()),
    }
}

/// What a pod's group may do with a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Look at what the node wrote into it.
    Read,
    /// Change it.
    Write,
}

impl Access {
    /// The bits that a directory or file of the volume has at least.
    pub(crate) fn bits(self, is_dir: bool) -> u32 {
        let file = if self == Self::Write { 0o660 } else { 0o440 };
        if is_dir { file | 0o2110 } else { file }
    }
}

/// Gives a volume to the pod's group (`pkg/volume/volume_linux.go`). The root comes last: whoever sees it done knows
/// that everything below it is, however the node died in between.
pub(crate) fn give_to_group(
    root: &Path,
    group: u32,
    access: Access,
    only_if_root_differs: bool,
) -> Result<(), String> {
    let why = |p: &Path, e: std::io::Error| format!("applyFSGroup failed for {}: {e}", p.display());
    let meta = std::fs::symlink_metadata(root).map_err(|e| why(root, e))?;
    let want = access.bits(true);
    if only_if_root_differs && meta.is_dir() && meta.gid() == group && meta.mode() & want == want {
        return Ok(());
    }
    let mut dirs = vec![root.to_owned()];
    let (mut next, mut seen) = (0, 1);
    while let Some(dir) = dirs.get(next).cloned() {
        next += 1;
        for e in std::fs::read_dir(&dir).map_err(|e| why(&dir, e))? {
            let e = e.map_err(|e| why(&dir, e))?;
            seen += 1;
            if seen > MAX_ENTRIES {
                let root = root.display();
                return Err(format!("applyFSGroup failed for {root}: more than {MAX_ENTRIES} entries"));
            }
            if e.file_type().is_ok_and(|t| t.is_dir()) {
                dirs.push(e.path());
            } else {
                give(&e.path(), group, access).map_err(|e2| why(&e.path(), e2))?;
            }
        }
    }
    dirs.iter().rev().try_for_each(|d| give(d, group, access).map_err(|e| why(d, e)))
}

/// Gives one entry to the group. What the file system refuses (it is read-only, or squashes root) stays as it is.
fn give(path: &Path, group: u32, access: Access) -> std::io::Result<()> {
    let meta = std::fs::symlink_metadata(path)?;
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    if let Err(e) = rustix::fs::chownat(rustix::fs::CWD, path, None, Some(Gid::from_raw(group)), flags) {
        tracing::warn!("cannot give {} to group {group}: {e}", path.display());
    }
    // The mode of what a link points to is not the link's.
    if meta.is_symlink() {
        return Ok(());
    }
    let mode = (meta.mode() | access.bits(meta.is_dir())) & 0o7777;
    if let Err(e) = std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)) {
        tracing::warn!("cannot set the mode of {} to {mode:o}: {e}", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
    use serde_json::json;

    #[test]
    fn an_empty_dir_is_made_once() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("v");
        let own = std::fs::metadata(root.path()).unwrap().gid();
        let mode = || std::fs::metadata(&dir).unwrap().mode() & 0o7777;
        empty_dir(&dir, None, Some(own)).unwrap();
        assert_eq!(format!("{:o}", mode()), "2777");
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).unwrap();
        empty_dir(&dir, None, Some(own)).unwrap();
        assert_eq!(format!("{:o}", mode()), "700");
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn memory_holds_no_more_than_the_pod_may_use() {
        let size = |limit: Option<&str>, own: Option<&str>| {
            let resources = json!({"limits": limit.map(|l| json!({"memory": l})).unwrap_or_default()});
            let pod = json!({"spec": {"containers": [{"name": "c", "resources": resources}]}});
            let e =
                EmptyDirVolumeSource { size_limit: own.map(|o| Quantity(o.into())), ..Default::default() };
            memory_size(&serde_json::from_value(pod).unwrap(), &e, 1000)
        };
        let sizes = [
            size(None, None),
            size(Some("300"), None),
            size(Some("300"), Some("20")),
            size(None, Some("2k")),
        ];
        assert_eq!(sizes, [1000, 300, 20, 1000]);
    }

    #[test]
    fn a_volume_is_its_groups_from_the_leaves_to_the_root() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("v");
        std::fs::create_dir_all(dir.join("a/b")).unwrap();
        std::fs::write(dir.join("a/b/f"), "x").unwrap();
        std::os::unix::fs::symlink("/nowhere", dir.join("link")).unwrap();
        let set = |p: &str, mode| {
            std::fs::set_permissions(dir.join(p), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        ["", "a", "a/b"].into_iter().for_each(|d| set(d, 0o700));
        set("a/b/f", 0o600);
        let own = std::fs::metadata(&dir).unwrap().gid();
        let modes = || {
            let mode = |p| std::fs::metadata(dir.join(p)).unwrap().mode() & 0o7777;
            ["", "a", "a/b", "a/b/f"].map(|p| format!("{:o}", mode(p))).join(" ")
        };
        give_to_group(&dir, own, Access::Read, true).unwrap();
        assert_eq!(modes(), "2750 2750 2750 640");
        give_to_group(&dir, own, Access::Write, true).unwrap();
        assert_eq!(modes(), "2770 2770 2770 660");
        set("a/b/f", 0o600);
        give_to_group(&dir, own, Access::Write, true).unwrap();
        assert_eq!(modes(), "2770 2770 2770 600");
        give_to_group(&dir, own, Access::Write, false).unwrap();
        assert_eq!(modes(), "2770 2770 2770 660");
    }
}
