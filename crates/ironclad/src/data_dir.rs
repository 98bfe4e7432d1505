//! What a cluster keeps on the machine, and where: the only place that knows these paths.

use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

/// A cluster's folder. Everything of the cluster is below it, but for sockets and mounts below [`DataDir::run`].
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
}

/// Holds the folder for one process; given back when dropped, and by the kernel when the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Who holds a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// The server or node agent, with its process id.
    Server(i32),
    /// Somebody who lets go by himself: another `ironclad down`, or a server that is about to write its number.
    Other,
}

/// What stands in the lock behind the number of a process that ends the cluster.
const LEAVING: &str = " (ironclad down)";

impl DataDir {
    /// The folder asked for, or the default one. Makes nothing.
    pub(crate) fn new(asked: Option<PathBuf>) -> Result<Self> {
        let root = match asked {
            Some(dir) => {
                let dir = std::path::absolute(&dir);
                one_name(&dir.context("an empty name is no folder; name one with --data-dir")?)
            }
            None if rustix::process::geteuid().is_root() => PathBuf::from("/var/lib/ironclad"),
            None => match std::env::var_os("HOME") {
                Some(home) => PathBuf::from(home).join(".local/share/ironclad"),
                None => bail!("there is no HOME to keep the cluster in; name a folder with --data-dir"),
            },
        };
        Ok(Self { root })
    }

    /// The folder itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether a cluster was ever started here, or a node joined one.
    pub(crate) fn exists(&self) -> bool {
        self.cluster_file().exists() || self.node_file().exists()
    }

    /// Whether the folder looks like a cluster's: `up` or `image import` made it. Nothing else is ever purged. A file
    /// named `lock` says it only where it is like ours, and where it does not stand beside a stranger's `log` or `store`.
    pub(crate) fn is_ours(&self) -> bool {
        let locked = match fs::read_to_string(self.root.join("lock")) {
            Ok(text) => text.trim().bytes().all(|b| b.is_ascii_digit()) || text.contains(LEAVING),
            Err(e) => e.kind() == std::io::ErrorKind::PermissionDenied,
        };
        let alone = || self.contents().iter().filter(|p| p.exists()).count() == 1;
        self.images().exists() || (locked && (self.exists() || alone()))
    }

    /// Everything that a cluster makes in its folder; what says that it is one comes last.
    pub(crate) fn contents(&self) -> Vec<PathBuf> {
        let names = ["kubelet", "log", "volumes", "store", "pki", "kubeconfig", "runtime", "cluster.part"];
        let last = ["node.part", "cluster.json", "node.json", "lock"];
        names.iter().chain(&last).map(|name| self.root.join(name)).collect()
    }

    /// Makes the folder, for its owner alone.
    pub(crate) fn create(&self) -> Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.root).with_context(|| {
            format!("cannot make the data directory {}; choose another with --data-dir", self.root.display())
        })
    }

    /// Takes the folder for this process, or says who has it.
    pub(crate) fn lock(&self) -> Result<Lock> {
        self.lock_as("")
    }

    /// [`DataDir::lock`] for the one who ends the cluster, and whom nobody need end.
    pub(crate) fn lock_to_end(&self) -> Result<Lock> {
        self.lock_as(LEAVING)
    }

    fn lock_as(&self, role: &str) -> Result<Lock> {
        let path = self.root.join("lock");
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.as_mut().map_err(|e| self.refused(&path, e))?;
        if rustix::fs::flock(&*file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let holder = if holder.trim().is_empty() {
                "another process".into()
            } else {
                format!("process {}", holder.trim())
            };
            bail!(
                "the data directory {} is in use by {holder}; stop that one, or start this one with another --data-dir",
                self.root.display()
            );
        }
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}{role}", std::process::id()));
        written.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Lock { _file: file.try_clone().context("cannot keep the lock")? })
    }

    /// Why a file of the cluster can't be opened, with what to do where another user owns it.
    pub(crate) fn refused(&self, path: &Path, error: &std::io::Error) -> anyhow::Error {
        match error.kind() {
            std::io::ErrorKind::PermissionDenied => anyhow::anyhow!(
                "the cluster in {} is another user's: {} may not be opened; act as that user (sudo for root's), or name another folder with --data-dir",
                self.root.display(),
                path.display()
            ),
            std::io::ErrorKind::NotADirectory => anyhow::anyhow!(
                "{} is not a folder that a cluster could be kept in; name another with --data-dir",
                self.root.display()
            ),
            _ => anyhow::anyhow!("cannot open {}: {error}", path.display()),
        }
    }

    /// Who holds the folder, if somebody does.
    pub(crate) fn holder(&self) -> Option<Holder> {
        let path = self.root.join("lock");
        let file = File::options().read(true).write(true).open(&path).ok()?;
        if rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok() {
            return None;
        }
        let pid = fs::read_to_string(&path).ok()?.parse().ok();
        // What stands there may be of the one before, whose number the kernel has given to another process since.
        Some(pid.filter(|pid| has_open(*pid, &path)).map_or(Holder::Other, Holder::Server))
    }

    /// A short name for this folder on this machine, for sockets, interfaces and tables: the same at every start.
    pub(crate) fn id(&self) -> String {
        // FNV-1a: stable across builds, which the standard hasher is not.
        let bytes = self.root.as_os_str().as_encoded_bytes();
        let hash = bytes
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
        format!("{:08x}", (hash ^ (hash >> 32)) & 0xffff_ffff)
    }

    /// Settings of the cluster that never change once made.
    pub(crate) fn cluster_file(&self) -> PathBuf {
        self.root.join("cluster.json")
    }

    /// What a node keeps of the cluster that it joined.
    pub(crate) fn node_file(&self) -> PathBuf {
        self.root.join("node.json")
    }

    /// Certificates and keys.
    pub(crate) fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }

    /// The store's files.
    pub(crate) fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.root.join("kubeconfig")
    }

    /// The node agent's files: pods' volumes, checkpoints.
    pub(crate) fn kubelet(&self) -> PathBuf {
        self.root.join("kubelet")
    }

    /// Logs of containers.
    pub(crate) fn pod_logs(&self) -> PathBuf {
        self.root.join("log/pods")
    }

    /// The container runtime's images and containers.
    pub(crate) fn runtime(&self) -> PathBuf {
        self.root.join("runtime")
    }

    /// The node's images.
    pub(crate) fn images(&self) -> PathBuf {
        self.runtime().join("images")
    }

    /// Volumes of the built-in provisioner.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// What must not outlive a reboot: sockets, mounts. Short, since a socket's path has at most 107 bytes.
    pub(crate) fn run(&self) -> PathBuf {
        let base = match rustix::process::geteuid().is_root() {
            true => PathBuf::from("/run"),
            false => std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from),
        };
        base.join("ironclad").join(self.id())
    }

    /// The container runtime's CRI socket.
    pub(crate) fn runtime_socket(&self) -> PathBuf {
        self.run().join("runtime.sock")
    }

    /// Bytes free for this process on the folder's file system, if the kernel says.
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        let at = self.root.ancestors().find(|p| p.metadata().is_ok_and(|m| m.ino() != 0))?;
        let stat = rustix::fs::statvfs(at).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// The one name of a folder, however it was written: links are followed, and `..` or a slash at the end are gone. The
/// names of sockets and interfaces come from it. What is not there yet stays as it is.
fn one_name(path: &Path) -> PathBuf {
    let mut real = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::ParentDir => drop(real.pop()),
            Component::Normal(name) => {
                real.push(name);
                real = real.canonicalize().unwrap_or(real);
            }
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    real
}

/// Whether a process has this file open.
fn has_open(pid: i32, path: &Path) -> bool {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    fds.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|to| to == path)
}

/// Writes a file so that after a crash either the old or the new content stands there.
pub(crate) fn write_atomically(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let part = path.with_extension("part");
    let mut file = File::options().write(true).create(true).truncate(true).mode(mode).open(&part)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&part, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processes_do_not_share_a_folder() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = DataDir::new(Some(tmp.path().join("c"))).unwrap();
        dir.create().unwrap();
        let first = dir.lock().unwrap();
        let error = dir.lock().unwrap_err().to_string();
        assert!(error.contains(&format!("is in use by process {}", std::process::id())), "{error}");
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(dir.holder(), Some(Holder::Server(own)));
        // The number of a process that has nothing to do with it.
        fs::write(dir.root().join("lock"), "1").unwrap();
        assert_eq!(dir.holder(), Some(Holder::Other));
        drop(first);
        assert_eq!(dir.holder(), None);
        let last = dir.lock_to_end().unwrap();
        assert_eq!(dir.holder(), Some(Holder::Other));
        assert!(dir.lock().unwrap_err().to_string().contains(&format!("{own} (ironclad down)")));
        assert!(dir.is_ours());
        drop(last);
        dir.lock().unwrap();
    }

    #[test]
    fn a_folder_has_one_name_however_it_is_written() {
        let tmp = tempfile::tempdir().unwrap();
        let real = tmp.path().canonicalize().unwrap().join("c");
        fs::create_dir_all(real.join("below")).unwrap();
        std::os::unix::fs::symlink(&real, tmp.path().join("link")).unwrap();
        for written in ["c", "c/", "c/.", "c/below/..", "link", "link/", "c/missing/.."] {
            let dir = DataDir::new(Some(tmp.path().join(written))).unwrap();
            assert_eq!(dir.root(), real, "{written}");
        }
        let absent = DataDir::new(Some(tmp.path().join("link/new/x/"))).unwrap();
        assert_eq!(absent.root(), real.join("new/x"));
    }

    #[test]
    fn only_what_we_made_is_ours() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = DataDir::new(Some(tmp.path().join("c"))).unwrap();
        assert!(!dir.is_ours());
        fs::create_dir_all(dir.root().join("log")).unwrap();
        fs::write(dir.cluster_file(), "{}").unwrap();
        assert!(!dir.is_ours(), "a stranger's cluster.json");
        fs::write(dir.root().join("lock"), "{\"packages\": []}").unwrap();
        assert!(!dir.is_ours(), "a stranger's lock");
        fs::write(dir.root().join("lock"), "1234").unwrap();
        assert!(dir.is_ours());
        fs::remove_file(dir.cluster_file()).unwrap();
        assert!(!dir.is_ours(), "a stranger's log");
        fs::remove_dir(dir.root().join("log")).unwrap();
        assert!(dir.is_ours(), "a start that was cut off behind its first step");
        fs::remove_file(dir.root().join("lock")).unwrap();
        fs::create_dir_all(dir.images()).unwrap();
        assert!(dir.is_ours(), "images are imported before the first start");
    }

    #[test]
    fn ids_are_stable_and_differ() {
        let id = |p: &str| DataDir::new(Some(p.into())).unwrap().id();
        assert_eq!(id("/var/lib/ironclad").len(), 8);
        assert_eq!(id("/a"), id("/a"));
        assert_ne!(id("/a"), id("/b"));
    }
}
