//! A terminal from the container's own devpts, so that `ttyname` works inside; its other end goes to the runtime.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, Uid, makedev};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags};
use rustix::pty::OpenptFlags;

use super::{Control, Doing, Failure, Stdio};
use crate::spec::Report;

/// Opens a terminal, makes it ours, and reports its other end. With `console`, it is /dev/console too.
pub(crate) fn open(control: &Control, owner: u32, console: bool) -> Result<Stdio, Failure> {
    let doing = || "opening a terminal".to_owned();
    let master = multiplexer().doing(doing)?;
    rustix::pty::unlockpt(&master).doing(doing)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = rustix::pty::ioctl_tiocgptpeer(&master, flags).doing(doing)?;
    rustix::fs::fchown(&terminal, Some(Uid::from_raw(owner)), None).doing(doing)?;
    rustix::process::ioctl_tiocsctty(&terminal).doing(doing)?;
    if console {
        let flags =
            OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_EMPTY_PATH;
        // A convenience of some programs; those in doubt use their standard streams.
        if let Ok(tree) = rustix::mount::open_tree(&terminal, "", flags) {
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            let _ = rustix::mount::move_mount(tree, "", CWD, "/dev/console", flags);
        }
    }
    control.say(&Report::Console, &[master.as_fd()]);
    let copy = || terminal.try_clone().doing(doing);
    Ok([copy()?, copy()?, copy()?])
}

/// The container's /dev/pts/ptmx, checked to be the device and nothing that the container put there.
fn multiplexer() -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let path = rustix::fs::openat(CWD, "/dev/pts/ptmx", flags | OFlags::PATH, Mode::empty())?;
    let status = rustix::fs::fstat(&path)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::CharacterDevice || status.st_rdev != makedev(5, 2)
    {
        return Err(Errno::NODEV);
    }
    rustix::fs::openat(CWD, "/dev/pts/ptmx", flags, Mode::empty())
}
