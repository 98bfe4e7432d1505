//! Volumes that are directories of the node: `emptyDir` and `hostPath`, and the group that owns a volume.

use super::mounts;
use crate::core::resources;
use crate::shell::make_dir_now;
use k8s_openapi::api::core::v1::EmptyDirVolumeSource;
use rustix::fs::{FileType, Gid};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Entries of a volume whose group is set, at most.
const MAX_ENTRIES: usize = 10_000_000;

/// Makes an `emptyDir`, on disk or in memory.
pub(crate) fn empty_dir(path: &Path, e: &EmptyDirVolumeSource) -> Result<(), String> {
    make_dir_now(path, 0o777)?;
    let medium = e.medium.as_deref().unwrap_or_default();
    if medium.starts_with("HugePages") {
        return Err(format!("emptyDir medium {medium:?} is not supported by this node"));
    }
    if medium == "Memory" && !mounts::is_mount(path) {
        let limit = e.size_limit.as_ref().and_then(resources::parse).map_or(0, |q| q.value());
        mounts::tmpfs(path, limit).map_err(|e| format!("cannot mount tmpfs at {}: {e}", path.display()))?;
    }
    // A tmpfs keeps the sticky bit that it comes with.
    let open = std::fs::Permissions::from_mode(if medium == "Memory" { 0o1777 } else { 0o777 });
    std::fs::set_permissions(path, open).map_err(|e| format!("{}: {e}", path.display()))
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

/// Gives a volume to the pod's group (`pkg/volume/volume_linux.go`).
pub(crate) fn give_to_group(root: &Path, group: u32, only_if_root_differs: bool) -> Result<(), String> {
    let why = |p: &Path, e: std::io::Error| format!("applyFSGroup failed for {}: {e}", p.display());
    let meta = std::fs::symlink_metadata(root).map_err(|e| why(root, e))?;
    let done = meta.gid() == group && meta.mode() & 0o2070 == 0o2070;
    if only_if_root_differs && done {
        return Ok(());
    }
    let mut todo = vec![root.to_owned()];
    let mut seen = 0;
    while let Some(path) = todo.pop() {
        seen += 1;
        if seen > MAX_ENTRIES {
            return Err(format!(
                "applyFSGroup failed for {}: more than {MAX_ENTRIES} entries",
                root.display()
            ));
        }
        let meta = std::fs::symlink_metadata(&path).map_err(|e| why(&path, e))?;
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(rustix::fs::CWD, &path, None, Some(Gid::from_raw(group)), flags)
            .map_err(|e| why(&path, e.into()))?;
        if meta.is_symlink() {
            continue;
        }
        let mode = if meta.is_dir() { meta.mode() | 0o2770 } else { meta.mode() | 0o660 };
        let mode = std::fs::Permissions::from_mode(mode & 0o7777);
        std::fs::set_permissions(&path, mode).map_err(|e| why(&path, e))?;
        if meta.is_dir() {
            let entries = std::fs::read_dir(&path).map_err(|e| why(&path, e))?;
            todo.extend(entries.flatten().map(|e| e.path()));
        }
    }
    Ok(())
}
