//! /dev: the nodes that every container has, those that it was given, and its console.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, makedev};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::root::Root;
use super::{Doing, Failure};
use crate::spec::{ContainerSpec, DeviceSpec};

/// Character devices of every container: name, major, minor (OCI runtime spec, "Default Devices").
const NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
/// Symbolic links of every container's /dev.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// What of the node's /dev a privileged container gets mounts of its own for.
const NOT_COPIED: [&str; 8] = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console"];
/// How deep the node's /dev is searched, and how many nodes of it are taken.
const DEPTH_LIMIT: u32 = 4;
const DEVICE_LIMIT: usize = 4096;

/// Fills the container's /dev, which is mounted already.
pub(crate) fn populate(root: &Root, spec: &ContainerSpec) -> Result<(), Failure> {
    let doing = || "filling /dev".to_owned();
    let dev = root.open("/dev").doing(doing)?;
    rustix::process::umask(Mode::empty());
    for (name, major, minor) in NODES {
        let mode = Mode::from_raw_mode(0o666);
        rustix::fs::mknodat(&dev, name, FileType::CharacterDevice, mode, makedev(major, minor))
            .doing(doing)?;
    }
    for (name, target) in LINKS {
        rustix::fs::symlinkat(target, &dev, name).doing(doing)?;
    }
    if spec.privileged {
        let mut found = Vec::new();
        all_devices(Path::new("/dev"), DEPTH_LIMIT, &mut found);
        for device in found {
            make(root, &device)?;
        }
    }
    for device in &spec.devices {
        make(root, device)?;
    }
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    Ok(())
}

fn all_devices(directory: &Path, depth: u32, found: &mut Vec<DeviceSpec>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
        if found.len() == DEVICE_LIMIT || NOT_COPIED.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if kind.is_dir() && depth > 0 {
            all_devices(&path, depth - 1, found);
        } else if kind.is_char_device() || kind.is_block_device() {
            found.push(DeviceSpec { target: path.to_string_lossy().into_owned(), source: path });
        }
    }
}

fn make(root: &Root, device: &DeviceSpec) -> Result<(), Failure> {
    let doing = || format!("making device {:?}", device.target);
    let source = fs::metadata(&device.source).doing(doing)?;
    let kind = FileType::from_raw_mode(source.mode());
    if !matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) {
        return Err(Failure(format!("making device {:?}: {:?} is no device", device.target, device.source)));
    }
    let (parent, name) = root.parent_of(&device.target)?;
    let mode = Mode::from_raw_mode(source.mode() & 0o777);
    match rustix::fs::mknodat(&parent, &name, kind, mode, source.rdev()) {
        Err(Errno::EXIST) => return Ok(()),
        other => other.doing(doing)?,
    }
    let owner = Some(rustix::fs::Uid::from_raw(source.uid()));
    let group = Some(rustix::fs::Gid::from_raw(source.gid()));
    rustix::fs::chownat(&parent, &name, owner, group, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).doing(doing)
}

/// A detached mount of the node's /dev/null, checked to be it.
pub(crate) fn null() -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::OPEN_TREE_CLONE;
    let tree = rustix::mount::open_tree(CWD, "/dev/null", flags)?;
    let status = rustix::fs::fstat(&tree)?;
    let right = FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice;
    if right && status.st_rdev == makedev(1, 3) { Ok(tree) } else { Err(Errno::NODEV) }
}

/// An empty file for the terminal to be mounted on as /dev/console.
pub(crate) fn console(root: &Root, spec: &ContainerSpec) -> Result<(), Failure> {
    if spec.process.tty {
        root.mountpoint("/dev/console", super::root::Kind::File)?;
    }
    Ok(())
}
