//! Mounts of the node's kernel below a pod's directory.

use rustix::mount::{MountFlags, UnmountFlags};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Whether something is mounted at `path`.
pub(crate) fn is_mount(path: &Path) -> bool {
    let device = |p: &Path| std::fs::symlink_metadata(p).ok().map(|m| m.dev());
    match path.parent() {
        Some(parent) => device(path).is_some() && device(path) != device(parent),
        None => true,
    }
}

/// Mounts a tmpfs that any user may write to, of at most `bytes` (0: as the kernel limits it), and gives it to a group.
/// Returns whether the kernel let us.
pub(crate) fn tmpfs(path: &Path, bytes: i64, group: Option<u32>) -> Result<(), rustix::io::Errno> {
    let mut options = vec![match group {
        Some(g) => format!("mode=3777,gid={g}"),
        None => "mode=1777".to_owned(),
    }];
    options.extend((bytes > 0).then(|| format!("size={bytes}")));
    let options = std::ffi::CString::new(options.join(",")).unwrap_or_default();
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("tmpfs", path, "tmpfs", flags, options.as_c_str())
}

/// `\040` and its like in the kernel's mount table.
fn unescape(text: &str) -> PathBuf {
    let (bytes, mut out) = (text.as_bytes(), Vec::new());
    let mut i = 0;
    while i < bytes.len() {
        let code = bytes.get(i + 1..i + 4).and_then(|d| std::str::from_utf8(d).ok());
        match (bytes[i], code.and_then(|d| u8::from_str_radix(d, 8).ok())) {
            (b'\\', Some(b)) => {
                out.push(b);
                i += 4;
            }
            (b, _) => {
                out.push(b);
                i += 1;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

/// The mount points below `dir`, the deepest first.
fn below(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let table =
        std::fs::read_to_string("/proc/self/mountinfo").map_err(|e| format!("cannot read mounts: {e}"))?;
    let points = table.lines().filter_map(|l| l.split(' ').nth(4)).map(unescape);
    let mut out: Vec<PathBuf> = points.filter(|p| p.starts_with(dir) && p != dir).collect();
    out.sort_by_key(|p| std::cmp::Reverse(p.as_os_str().as_bytes().len()));
    Ok(out)
}

/// Unmounts everything below `dir`; fails if anything stays.
pub(crate) fn unmount_below(dir: &Path) -> Result<(), String> {
    for p in below(dir)? {
        rustix::mount::unmount(&p, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
            .map_err(|e| format!("cannot unmount {}: {e}", p.display()))?;
    }
    match below(dir)?.first() {
        None => Ok(()),
        Some(p) => Err(format!("{} is still mounted", p.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_escapes_are_read() {
        assert_eq!(unescape(r"/a\040b\134c"), PathBuf::from(r"/a b\c"));
    }
}
