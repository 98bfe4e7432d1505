//! Overlay file systems, made without a place in the tree.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, OpenTreeFlags, UnmountFlags};

/// The first kernel that takes layers one by one (`lowerdir+`).
const LAYERS_ONE_BY_ONE: (u32, u32) = (6, 5);

/// Longer texts no file system's context takes (`strndup_user` in the kernel's `fs/fsopen.c`), in bytes.
const LONGEST_VALUE: usize = 255;

/// What an overlay is made of.
pub(crate) struct Overlay<'a> {
    /// Lower directories, topmost first.
    pub(crate) layers: Vec<&'a Path>,
    /// Where changes go, and the directory that the kernel works in; an overlay without them is read-only.
    pub(crate) writable: Option<(&'a Path, &'a Path)>,
    /// A directory that older kernels mount it at for a moment. Nobody else should see mounts there.
    pub(crate) place: &'a Path,
}

impl Overlay<'_> {
    /// Makes it. The writable layer never outlives a crash of the node, so it is not synced where the kernel allows
    /// that.
    pub(crate) fn mount(&self) -> rustix::io::Result<OwnedFd> {
        let volatile = self.writable.is_some();
        self.attempt(volatile).or_else(|error| if volatile { self.attempt(false) } else { Err(error) })
    }

    fn attempt(&self, volatile: bool) -> rustix::io::Result<OwnedFd> {
        if takes_layers_one_by_one() { self.by_context(volatile) } else { self.by_options(volatile) }
    }

    fn by_context(&self, volatile: bool) -> rustix::io::Result<OwnedFd> {
        let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let layers = self.layers.iter().map(|layer| ("lowerdir+", *layer));
        let writable = self.writable.map(|(upper, work)| [("upperdir", upper), ("workdir", work)]);
        for (key, path) in layers.chain(writable.into_iter().flatten()) {
            if path.as_os_str().len() <= LONGEST_VALUE {
                rustix::mount::fsconfig_set_string(&context, key, path)?;
            } else {
                let directory = open(path)?;
                rustix::mount::fsconfig_set_string(&context, key, name(&directory))?;
            }
        }
        if volatile {
            rustix::mount::fsconfig_set_flag(&context, "volatile")?;
        }
        rustix::mount::fsconfig_create(&context)?;
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, self.attributes())
    }

    fn attributes(&self) -> MountAttrFlags {
        let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV;
        if self.writable.is_some() { MountAttrFlags::empty() } else { read_only }
    }

    /// All in one string of at most a page. Directories go by their descriptors: any number of layers that an image
    /// may have fits then, and no character of a path can be taken for a separator.
    fn by_options(&self, volatile: bool) -> rustix::io::Result<OwnedFd> {
        let layers = self.layers.iter().map(|layer| open(layer)).collect::<Result<Vec<_>, _>>()?;
        let mut options = format!("lowerdir={}", layers.iter().map(name).collect::<Vec<_>>().join(":"));
        let writable = self.writable.map(|(upper, work)| Ok::<_, Errno>((open(upper)?, open(work)?)));
        let writable = writable.transpose()?;
        if let Some((upper, work)) = &writable {
            options.push_str(&format!(",upperdir={},workdir={}", name(upper), name(work)));
        }
        if volatile {
            options.push_str(",volatile");
        }
        let options = CString::new(options).map_err(|_| Errno::INVAL)?;
        let flags = match self.writable {
            Some(_) => MountFlags::empty(),
            None => MountFlags::RDONLY | MountFlags::NODEV,
        };
        rustix::mount::mount("overlay", self.place, "overlay", flags, options.as_c_str())?;
        let flags = OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::OPEN_TREE_CLONE;
        let tree = rustix::mount::open_tree(CWD, self.place, flags);
        rustix::mount::unmount(self.place, UnmountFlags::DETACH)?;
        tree
    }
}

/// A directory, to be named by its descriptor.
fn open(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// A short name for an open directory.
fn name(directory: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", directory.as_raw_fd())
}

fn takes_layers_one_by_one() -> bool {
    static TAKES: OnceLock<bool> = OnceLock::new();
    *TAKES.get_or_init(|| version(&rustix::system::uname().release().to_string_lossy()) >= LAYERS_ONE_BY_ONE)
}

/// Major and minor number of a kernel's release.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::mount::MountPropagationFlags;
    use std::fs;

    #[test]
    fn releases_are_compared_by_number() {
        let versions = ["6.1.0-50-cloud-amd64", "6.18.44", "5.15", "6.5-rc1", ""].map(version);
        assert_eq!(versions, [(6, 1), (6, 18), (5, 15), (6, 5), (0, 0)]);
    }

    /// Both ways, in a mount namespace of its own. Older kernels know only the second.
    #[test]
    fn both_ways_give_the_same_overlay() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let work = || {
            crate::sys::unshare(libc::CLONE_NEWNS).unwrap();
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            rustix::mount::mount_change("/", private).unwrap();
            let directory = tempfile::tempdir().unwrap();
            let at = |name: &str| {
                let path = directory.path().join(name);
                fs::create_dir_all(&path).unwrap();
                path
            };
            let (lower, middle, upper, work, place) =
                (at("a:b,c"), at("middle"), at("upper"), at("work"), at("place"));
            fs::write(lower.join("file"), "lower").unwrap();
            fs::write(middle.join("other"), "middle").unwrap();
            let overlay =
                Overlay { layers: vec![&middle, &lower], writable: Some((&upper, &work)), place: &place };
            let read_only =
                Overlay { writable: None, ..Overlay { layers: vec![&middle, &lower], ..overlay } };
            let read = |tree: &OwnedFd, name: &str| {
                fs::read_to_string(format!("/proc/self/fd/{}/{name}", tree.as_raw_fd())).unwrap()
            };
            for tree in [read_only.by_options(false).unwrap(), overlay.by_options(true).unwrap()] {
                assert_eq!((read(&tree, "file"), read(&tree, "other")), ("lower".into(), "middle".into()));
            }
            let long = at(&["d"; 150].join("/"));
            let [top, upper, work] = ["top", "upper", "work"].map(|name| long.join(name));
            for directory in [&top, &upper, &work] {
                fs::create_dir(directory).unwrap();
            }
            fs::write(top.join("deep"), "deep").unwrap();
            let overlay =
                Overlay { layers: vec![&top, &lower], writable: Some((&upper, &work)), place: &place };
            let tree = overlay.mount().unwrap();
            assert_eq!((read(&tree, "file"), read(&tree, "deep")), ("lower".into(), "deep".into()));
            assert!(fs::read_dir(&place).unwrap().next().is_none(), "nothing stays mounted");
        };
        std::thread::spawn(work).join().unwrap();
    }
}
