//! Our own executable, in a form that no container can write to (CVE-2019-5736), and the entry points hidden in it.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::{CWD, Mode, OFlags};

use crate::overlay::Overlay;

/// The first argument that turns our binary into the keeper.
pub(crate) const KEEPER_ARGUMENT: &str = "runtime-keeper";

/// The hidden entry points of the runtime: to be asked first thing in `main`, with all of the process's arguments.
///
/// `None` means that this is an ordinary invocation.
pub fn init_main(arguments: &[String]) -> Option<ExitCode> {
    match arguments.get(1).map(String::as_str) {
        Some(KEEPER_ARGUMENT) => Some(crate::keeper::keeper_main()),
        _ => None,
    }
}

/// Opens our executable for execution through a file that cannot be written to.
///
/// A read-only overlay over the executable's directory costs no memory; where overlays cannot be stacked, a sealed
/// copy in memory serves.
pub(crate) fn sealed(state: &Path) -> io::Result<OwnedFd> {
    through_overlay(state).or_else(|error| {
        tracing::debug!(%error, "no read-only view of the executable; copying it into memory");
        through_memory()
    })
}

fn through_overlay(state: &Path) -> io::Result<OwnedFd> {
    let executable = fs::read_link("/proc/self/exe")?;
    let (Some(directory), Some(name)) = (executable.parent(), executable.file_name()) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let empty = state.join("empty");
    fs::create_dir_all(&empty)?;
    // An overlay without a writable layer wants two layers at least: the empty directory is the second.
    let mount = Overlay { layers: vec![directory, &empty], writable: None, place: &empty }.mount()?;
    let found = rustix::fs::openat(&mount, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    same_file(&found, &File::open("/proc/self/exe")?)?;
    Ok(found)
}

/// The overlay must show what we run, not a newer file of the same name.
fn same_file(found: &OwnedFd, running: &File) -> io::Result<()> {
    let (one, other) = (rustix::fs::fstat(found)?, rustix::fs::fstat(running)?);
    if one.st_ino == other.st_ino && one.st_size == other.st_size {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "the executable was replaced on disk"))
}

fn through_memory() -> io::Result<OwnedFd> {
    use rustix::fs::{MemfdFlags, SealFlags};
    let copy = rustix::fs::memfd_create("ironclad", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut writer = File::from(copy.try_clone()?);
    io::copy(&mut File::open("/proc/self/exe")?, &mut writer)?;
    let all = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&copy, all)?;
    // Executing needs a descriptor without write access.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&copy.as_fd()));
    Ok(rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}
