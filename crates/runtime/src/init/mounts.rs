//! A container's file system: overlay root, kernel file systems, the pod's mounts, and what is hidden or locked.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, UnmountFlags};

use super::root::{Kind, Root, attach_at, cut_propagation};
use super::{Doing, Failure, devices};
use crate::overlay::Overlay;
use crate::spec::{ContainerSpec, MountSpec, Propagation};
use crate::sys;

const READ_ONLY: u64 = 1;
const SHM: &str = "/dev/shm";

/// Builds everything below the container's root, and gives the root, not yet entered.
pub(crate) fn build(spec: &ContainerSpec) -> Result<Root, Failure> {
    // Sources are opened while mounts still propagate, so that `Bidirectional` ones stay in the node's peer group.
    let bound =
        |mount: &MountSpec| mount.layers.is_empty().then(|| clone_tree(&mount.source, true)).transpose();
    let sources = spec.mounts.iter().map(bound).collect::<Result<Vec<_>, _>>()?;
    let shm = spec.shm.as_deref().map(|path| clone_tree(path, false)).transpose()?;
    cut_propagation()?;
    let tree =
        |(mount, source): (&MountSpec, Option<OwnedFd>)| source.map_or_else(|| image_volume(mount, spec), Ok);
    let trees = spec.mounts.iter().zip(sources).map(tree).collect::<Result<Vec<_>, _>>()?;
    let root = Root::attach(overlay(spec)?, &spec.mountpoint)?;
    for volume in &spec.volumes {
        writable(&root, volume)?;
    }
    kernel_file_systems(&root, spec)?;
    devices::populate(&root, spec)?;
    if let Some(shm) = shm {
        put(&root, shm, SHM)?;
    }
    for (mount, tree) in spec.mounts.iter().zip(trees) {
        bind(&root, mount, tree)?;
    }
    for path in &spec.readonly_paths {
        lock(&root, path)?;
    }
    for path in &spec.masked_paths {
        mask(&root, path)?;
    }
    devices::console(&root, spec)?;
    if spec.readonly_root {
        sys::mount_setattr(root.fd(), false, READ_ONLY, 0, 0)
            .doing(|| "making the root read-only".to_owned())?;
    }
    Ok(root)
}

fn overlay(spec: &ContainerSpec) -> Result<OwnedFd, Failure> {
    let layers = spec.layers.iter().map(PathBuf::as_path).collect();
    Overlay { layers, writable: Some((&spec.upper, &spec.work)), place: &spec.mountpoint }
        .mount()
        .doing(|| format!("mounting the image's {} layers", spec.layers.len()))
}

/// A new instance of a kernel file system, mounted nowhere yet.
pub(crate) fn fresh(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> rustix::io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        rustix::mount::fsconfig_set_string(&context, *key, *value)?;
    }
    rustix::mount::fsconfig_create(&context)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn kernel_file_systems(root: &Root, spec: &ContainerSpec) -> Result<(), Failure> {
    let safe = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let sys_attributes = if spec.privileged { safe } else { safe | MountAttrFlags::MOUNT_ATTR_RDONLY };
    let mount = |kind, options: &[(&str, &str)], attributes, target: &str| {
        let tree = fresh(kind, options, attributes).doing(|| format!("mounting {kind}"))?;
        attach_at(tree, root.plain_directory(target)?).doing(|| format!("mounting {kind} at {target}"))
    };
    mount("proc", &[], safe, "/proc")?;
    mount("tmpfs", &[("mode", "755"), ("size", "65536k")], MountAttrFlags::MOUNT_ATTR_NOSUID, "/dev")?;
    let terminals = [("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
    let silent = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    mount("devpts", &terminals, silent, "/dev/pts")?;
    mount("mqueue", &[], safe, "/dev/mqueue")?;
    mount("sysfs", &[], sys_attributes, "/sys")?;
    cgroups(root, spec)
}

/// The container's own groups, to read its limits from; writable for privileged ones.
fn cgroups(root: &Root, spec: &ContainerSpec) -> Result<(), Failure> {
    const TARGET: &str = "/sys/fs/cgroup";
    let Ok(target) = root.open(TARGET) else { return Ok(()) };
    let doing = || format!("mounting {TARGET}");
    let safe = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    if let [(name, path)] = spec.cgroups.as_slice()
        && name.is_empty()
    {
        let tree = clone_tree(path, false)?;
        if !spec.privileged {
            sys::mount_setattr(&tree, false, READ_ONLY, 0, 0).doing(doing)?;
        }
        return attach_at(tree, target).doing(doing);
    }
    let tree = fresh("tmpfs", &[("mode", "755")], safe).doing(doing)?;
    for (name, _) in &spec.cgroups {
        rustix::fs::mkdirat(&tree, name.as_str(), rustix::fs::Mode::from_raw_mode(0o755)).doing(doing)?;
    }
    attach_at(&tree, target).doing(doing)?;
    for (name, path) in &spec.cgroups {
        let group = clone_tree(path, false)?;
        let attributes = if spec.privileged { safe.bits() } else { safe.bits() | READ_ONLY as u32 };
        sys::mount_setattr(&group, false, attributes.into(), 0, 0).doing(doing)?;
        put(root, group, &format!("{TARGET}/{name}"))?;
    }
    sys::mount_setattr(&tree, false, READ_ONLY, 0, 0).doing(doing)
}

/// An image as a read-only volume, or a part of it.
fn image_volume(mount: &MountSpec, spec: &ContainerSpec) -> Result<OwnedFd, Failure> {
    let doing = || format!("mounting the image at {:?}", mount.target);
    // An overlay without a writable layer wants two layers at least: the empty directory is the second.
    let layers = mount.layers.iter().chain([&spec.mountpoint]).map(PathBuf::as_path).collect();
    let tree = Overlay { layers, writable: None, place: &spec.mountpoint }.mount().doing(doing)?;
    let part = super::clean(&mount.sub_path);
    if part.as_os_str().is_empty() {
        return Ok(tree);
    }
    // Of a mount that stands nowhere, kernels before 6.15 copy no part: it stands at the container's root meanwhile.
    attach_at(
        &tree,
        rustix::fs::open(&spec.mountpoint, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).doing(doing)?,
    )
    .doing(doing)?;
    let part = part_of(&tree, &part);
    rustix::mount::unmount(&spec.mountpoint, UnmountFlags::DETACH).doing(doing)?;
    part.doing(doing)
}

/// A directory or file of a mounted tree, as a mount of its own.
fn part_of(tree: &OwnedFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = rustix::fs::openat2(tree, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)?;
    let flags =
        OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(&found, "", flags)
}

fn clone_tree(path: &Path, recursive: bool) -> Result<OwnedFd, Failure> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::OPEN_TREE_CLONE;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    rustix::mount::open_tree(CWD, path, flags)
        .doing(|| format!("opening mount source {:?}", path.display().to_string()))
}

fn kind_of(tree: &OwnedFd) -> Result<Kind, Failure> {
    let status = rustix::fs::fstat(tree).doing(|| "looking at a mount source".to_owned())?;
    let directory = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
    Ok(if directory { Kind::Directory } else { Kind::File })
}

fn put(root: &Root, tree: OwnedFd, target: &str) -> Result<(), Failure> {
    let source = kind_of(&tree)?;
    let mountpoint = root.mountpoint(target, source)?;
    if kind_of(&mountpoint)? != source {
        // In runc's words; the kernel says no more than that an argument is invalid.
        return Err(Failure(format!(
            "mounting at {target:?}: not a directory: Are you trying to mount a directory onto a file (or vice-versa)? \
             Check if the specified host path exists and is the expected type"
        )));
    }
    attach_at(tree, mountpoint).doing(|| format!("mounting at {target:?}"))
}

fn bind(root: &Root, mount: &MountSpec, tree: OwnedFd) -> Result<(), Failure> {
    let doing = || format!("mounting {:?} at {:?}", mount.source.display().to_string(), mount.target);
    let propagation = match mount.propagation {
        Propagation::Private => libc::MS_PRIVATE,
        Propagation::HostToContainer => libc::MS_SLAVE,
        Propagation::Bidirectional => libc::MS_SHARED,
    };
    sys::mount_setattr(&tree, true, 0, 0, propagation).doing(doing)?;
    if mount.readonly || mount.recursive_readonly {
        sys::mount_setattr(&tree, mount.recursive_readonly, READ_ONLY, 0, 0).doing(doing)?;
    }
    put(root, tree, &mount.target)
}

/// A volume that the image names: a directory, which a mount of its own keeps writable where the root is read-only.
/// What the image has there is there, and it goes with the container, as with other runtimes. A mount of the pod covers it.
fn writable(root: &Root, path: &str) -> Result<(), Failure> {
    let doing = || format!("making the image's volume {path:?}");
    let directory = root.mountpoint(path, Kind::Directory)?;
    if super::clean(path).as_os_str().is_empty() || kind_of(&directory)? != Kind::Directory {
        return Ok(());
    }
    let flags =
        OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = rustix::mount::open_tree(&directory, "", flags).doing(doing)?;
    attach_at(tree, directory).doing(doing)
}

/// Makes a path read-only by mounting it over itself.
fn lock(root: &Root, path: &str) -> Result<(), Failure> {
    let doing = || format!("making {path:?} read-only");
    let found = match root.open(path) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        other => other.doing(doing)?,
    };
    let flags =
        OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = rustix::mount::open_tree(&found, "", flags | OpenTreeFlags::AT_RECURSIVE).doing(doing)?;
    sys::mount_setattr(&tree, true, READ_ONLY, 0, 0).doing(doing)?;
    attach_at(tree, found).doing(doing)
}

/// Hides a path: directories behind an empty one, files behind the node's own /dev/null (CVE-2025-31133).
fn mask(root: &Root, path: &str) -> Result<(), Failure> {
    let doing = || format!("hiding {path:?}");
    let found = match root.open(path) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        other => other.doing(doing)?,
    };
    let status = rustix::fs::fstat(&found).doing(doing)?;
    let tree = if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
        fresh("tmpfs", &[("nr_blocks", "1"), ("nr_inodes", "1")], MountAttrFlags::MOUNT_ATTR_RDONLY)
            .doing(doing)?
    } else {
        devices::null().doing(doing)?
    };
    attach_at(tree, found).doing(doing)
}
