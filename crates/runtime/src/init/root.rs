//! A container's root directory as a descriptor: every path below it is resolved as if it were `/` already.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, UnmountFlags};

use super::{Doing, Failure};

/// Symbolic links that lead nowhere yet and are followed while a mount point is made (the kernel's own limit).
const LINK_LIMIT: u32 = 40;

/// What to make where a mount point is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
}

/// The root of the container to be.
pub(crate) struct Root(OwnedFd);

impl Root {
    /// Mounts `tree` at `mountpoint` and takes it for the root.
    pub(crate) fn attach(tree: OwnedFd, mountpoint: &Path) -> Result<Self, Failure> {
        let doing = || format!("mounting the root at {}", mountpoint.display());
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(&tree, "", rustix::fs::CWD, mountpoint, flags).doing(doing)?;
        Ok(Self(tree))
    }

    /// Opens an existing path; symbolic links lead nowhere but below the root.
    pub(crate) fn open(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        self.resolve(&clean(path), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    }

    fn resolve(&self, path: &Path, flags: ResolveFlags) -> rustix::io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        rustix::fs::openat2(&self.0, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), flags)
    }

    /// Opens a mount point, making it and what leads to it where it is missing.
    pub(crate) fn mountpoint(&self, path: &str, kind: Kind) -> Result<OwnedFd, Failure> {
        let wanted = clean(path);
        match self.open(path) {
            Err(Errno::NOENT) => {
                self.make(&wanted, kind, LINK_LIMIT).doing(|| format!("making mount point {path:?}"))
            }
            other => other.doing(|| format!("opening mount point {path:?}")),
        }
    }

    /// Like [`Root::mountpoint`] for a directory that must be none of the image's symbolic links (/proc, /sys, /dev).
    pub(crate) fn plain_directory(&self, path: &str) -> Result<OwnedFd, Failure> {
        let flags = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        match self.resolve(&clean(path), flags) {
            Err(Errno::NOENT) => self.mountpoint(path, Kind::Directory),
            other => {
                other.doing(|| format!("opening mount point {path:?}, which must be an ordinary directory"))
            }
        }
    }

    /// The directory that holds `path`, made if missing, and the last name.
    pub(crate) fn parent_of(&self, path: &str) -> Result<(OwnedFd, PathBuf), Failure> {
        let wanted = clean(path);
        let (Some(parent), Some(name)) = (wanted.parent(), wanted.file_name()) else {
            return Err(Failure(format!("{path:?} is not a path of a file")));
        };
        let parent = self.mountpoint(&parent.to_string_lossy(), Kind::Directory)?;
        Ok((parent, PathBuf::from(name)))
    }

    fn make(&self, path: &Path, kind: Kind, links: u32) -> io::Result<OwnedFd> {
        let flags = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let mut so_far = PathBuf::new();
        let mut directory = self.resolve(&so_far, flags)?;
        let mut rest = path.components().peekable();
        while let Some(name) = rest.next() {
            so_far.push(name);
            let found = self.resolve(&so_far, flags);
            if !matches!(found, Err(Errno::NOENT)) {
                directory = found?;
                continue;
            }
            let name = Path::new(name.as_os_str());
            let kind_here = if rest.peek().is_none() { kind } else { Kind::Directory };
            match create(&directory, name, kind_here) {
                Ok(made) => directory = made,
                // A symbolic link to nothing: what it points at is made, below the root like everything.
                Err(Errno::EXIST) if links > 0 => {
                    let link = rustix::fs::readlinkat(&directory, name, Vec::new())?;
                    let parent = so_far.parent().unwrap_or(Path::new(""));
                    let target = parent.join(Path::new(std::ffi::OsStr::from_bytes(link.as_bytes())));
                    let wanted = target.join(rest.collect::<PathBuf>());
                    return self.make(&clean(&wanted.to_string_lossy()), kind, links - 1);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(directory)
    }

    /// Makes the root `/`, and forgets the node's file system.
    pub(crate) fn pivot(self) -> Result<(), Failure> {
        let doing = || "making the container's root the root".to_owned();
        rustix::process::fchdir(&self.0).doing(doing)?;
        rustix::process::pivot_root(".", ".").doing(doing)?;
        rustix::mount::unmount(".", UnmountFlags::DETACH).doing(doing)?;
        rustix::process::chdir("/").doing(doing)
    }

    /// The root's own descriptor.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes an empty file or directory; gives what was made, even if somebody races us.
fn create(directory: &OwnedFd, name: &Path, kind: Kind) -> rustix::io::Result<OwnedFd> {
    match kind {
        Kind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            drop(rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o644))?);
        }
        Kind::Directory => rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(0o755))?,
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}

/// Puts a detached mount onto an opened mount point.
pub(crate) fn attach_at(tree: impl AsFd, target: impl AsFd) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, "", target, "", flags)
}

/// Cuts every mount that this process sees off from the node's.
pub(crate) fn cut_propagation() -> Result<(), Failure> {
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags).doing(|| "cutting mount propagation".to_owned())
}

/// `path` relative to the root, without `.`, `..` and doubled slashes, as Go's `filepath.Clean("/" + path)` has it.
pub(crate) fn clean(path: &str) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => drop(cleaned.pop()),
            _ => {}
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        for (path, wanted) in [("/a//b/./c", "a/b/c"), ("/../../etc", "etc"), ("a/../b", "b"), ("/", "")] {
            assert_eq!(clean(path), Path::new(wanted), "{path}");
        }
    }
}
