//! A part of a volume, opened by descriptor beneath the volume's root: no link inside the volume can lead out of
//! it, whatever a container does at the same time (CVE-2017-1002101, CVE-2021-25741).

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::path::{Component, Path};

/// The mode of directories that are made on the way.
const MADE_MODE: u32 = 0o750;

fn flags() -> OFlags {
    OFlags::PATH | OFlags::CLOEXEC
}

fn resolve() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS
}

fn why(path: &Path, e: Errno) -> String {
    match e {
        Errno::XDEV => format!("subPath {:?} leads out of its volume", path.display().to_string()),
        e => format!("failed to prepare subPath {:?}: {e}", path.display().to_string()),
    }
}

/// Opens `sub` beneath `root`, making what is missing of it as directories.
pub(crate) fn open(root: &Path, sub: &Path) -> Result<OwnedFd, String> {
    let proper = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
    if !sub.components().all(proper) {
        return Err(format!(
            "subPath {:?} must be relative and must not contain \"..\"",
            sub.display().to_string()
        ));
    }
    let root =
        rustix::fs::open(root, flags() | OFlags::DIRECTORY, Mode::empty()).map_err(|e| why(root, e))?;
    match beneath(root.as_fd(), sub) {
        Err(Errno::NOENT) => make(root.as_fd(), sub),
        r => r.map_err(|e| why(sub, e)),
    }
}

/// Opens the regular file `sub` beneath `root` for reading; makes nothing.
pub(crate) fn open_file(root: &Path, sub: &Path) -> Result<std::fs::File, String> {
    let root =
        rustix::fs::open(root, flags() | OFlags::DIRECTORY, Mode::empty()).map_err(|e| why(root, e))?;
    let how = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = rustix::fs::openat2(root, sub, how, Mode::empty(), resolve());
    let file =
        std::fs::File::from(fd.map_err(|e| format!("cannot open {:?}: {e}", sub.display().to_string()))?);
    match file.metadata().is_ok_and(|m| m.is_file()) {
        true => Ok(file),
        false => Err(format!("{:?} is no regular file", sub.display().to_string())),
    }
}

fn beneath(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::openat2(root, path, flags(), Mode::empty(), resolve())
}

/// Makes the missing directories one by one, each beneath the root.
fn make(root: BorrowedFd<'_>, sub: &Path) -> Result<OwnedFd, String> {
    let meta = rustix::fs::fstat(root).map_err(|e| why(sub, e))?;
    // The volume's own mode, with the bits for its group and for sticky directories (`doSafeMakeDir`).
    let mode = Mode::from_raw_mode((meta.st_mode & 0o7777) | MADE_MODE);
    let mut at =
        rustix::fs::openat(root, ".", flags() | OFlags::DIRECTORY, Mode::empty()).map_err(|e| why(sub, e))?;
    let mut so_far = std::path::PathBuf::new();
    for part in sub.components() {
        so_far.push(part);
        let opened = match beneath(root, &so_far) {
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(at.as_fd(), part.as_os_str(), mode) {
                    Ok(()) => {
                        // The umask must not narrow what the volume's own mode grants.
                        let _ = rustix::fs::chmodat(at.as_fd(), part.as_os_str(), mode, AtFlags::empty());
                    }
                    Err(Errno::EXIST) => {}
                    Err(e) => return Err(why(&so_far, e)),
                }
                beneath(root, &so_far)
            }
            r => r,
        };
        at = opened.map_err(|e| why(&so_far, e))?;
    }
    Ok(at)
}

/// Binds what `fd` holds to `target`, so that the runtime gets a path that can't be led astray.
pub(crate) fn bind(fd: &OwnedFd, target: &Path) -> Result<(), String> {
    let meta = rustix::fs::fstat(fd).map_err(|e| why(target, e))?;
    let dir = rustix::fs::FileType::from_raw_mode(meta.st_mode).is_dir();
    let parent = target.parent().unwrap_or(target);
    crate::shell::make_dir_now(parent, 0o750)?;
    if std::fs::symlink_metadata(target).is_err() {
        let made = if dir { std::fs::create_dir(target) } else { std::fs::write(target, b"") };
        made.map_err(|e| format!("failed to prepare subPath: {}: {e}", target.display()))?;
    }
    let source = format!("/proc/self/fd/{}", fd.as_raw_fd());
    rustix::mount::mount_bind(source.as_str(), target).map_err(|e| why(target, e))
}

/// Whether `path` is the same file as `fd` holds: it was bound there before.
pub(crate) fn is_bound(fd: &OwnedFd, path: &Path) -> bool {
    let (Ok(a), Ok(b)) = (rustix::fs::fstat(fd), rustix::fs::stat(path)) else { return false };
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn nothing_leads_out_of_the_volume() {
        let t = tempfile::tempdir().unwrap();
        let root = t.path().join("v");
        std::fs::create_dir_all(root.join("in")).unwrap();
        std::fs::write(t.path().join("secret"), "s").unwrap();
        symlink("/etc", root.join("abs")).unwrap();
        symlink("../secret", root.join("up")).unwrap();
        symlink("in", root.join("fine")).unwrap();
        for bad in ["abs", "up", "abs/passwd", "abs/new", "../secret", "/etc", "in/../../secret"] {
            let e = open(&root, Path::new(bad)).unwrap_err();
            assert!(e.contains("leads out") || e.contains("must be relative"), "{bad}: {e}");
        }
        assert!(is_bound(&open(&root, Path::new("fine")).unwrap(), &root.join("in")));
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o7777;
        std::fs::set_permissions(&root, PermissionsExt::from_mode(0o3777)).unwrap();
        assert!(is_bound(&open(&root, Path::new("new/deep")).unwrap(), &root.join("new/deep")));
        assert_eq!([mode(&root.join("new")), mode(&root.join("new/deep"))], [0o3777; 2]);
    }
}
