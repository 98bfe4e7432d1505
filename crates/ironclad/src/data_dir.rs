//! What a cluster keeps on the machine, and where: the only place that knows these paths.

use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

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

impl DataDir {
    /// The folder asked for, or the default one. Makes nothing.
    pub(crate) fn new(asked: Option<PathBuf>) -> Result<Self> {
        let root = match asked {
            Some(dir) => {
                std::path::absolute(&dir).with_context(|| format!("no such path: {}", dir.display()))?
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

    /// Whether the folder looks like a cluster's: `up` or `image import` made it. Nothing else is ever purged.
    pub(crate) fn is_ours(&self) -> bool {
        [self.cluster_file(), self.node_file(), self.images(), self.root.join("lock")]
            .iter()
            .any(|p| p.exists())
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
            .and_then(|()| write!(file, "{}", std::process::id()));
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
            _ => anyhow::anyhow!("cannot open {}: {error}", path.display()),
        }
    }

    /// The process that holds the folder, if one does.
    pub(crate) fn holder(&self) -> Option<u32> {
        let file = File::options().read(true).write(true).open(self.root.join("lock")).ok()?;
        if rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok() {
            return None;
        }
        fs::read_to_string(self.root.join("lock")).ok()?.trim().parse().ok()
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
        assert_eq!(dir.holder(), Some(std::process::id()));
        drop(first);
        assert_eq!(dir.holder(), None);
        dir.lock().unwrap();
    }

    #[test]
    fn ids_are_stable_and_differ() {
        let id = |p: &str| DataDir::new(Some(p.into())).unwrap().id();
        assert_eq!(id("/var/lib/ironclad").len(), 8);
        assert_eq!(id("/a"), id("/a"));
        assert_ne!(id("/a"), id("/b"));
    }
}
