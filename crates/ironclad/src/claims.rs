//! Which cluster has which address ranges on this machine: one small file each in a folder that a reboot empties, as
//! it empties the interfaces.

use crate::data_dir::DataDir;
use anyhow::{Context, Result, bail};
use network::address::{MAX_CLUSTERS, Ranges};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

const FOLDER: &str = "/run/ironclad/ranges";

/// Holds the machine's claims while ranges are chosen and made visible.
pub(crate) struct Claims {
    folder: PathBuf,
    _lock: File,
}

impl Claims {
    /// Waits for whoever else is choosing.
    pub(crate) fn open() -> Result<Self> {
        Self::open_at(Path::new(FOLDER))
    }

    pub(crate) fn open_at(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join("lock");
        let lock = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
            .context("cannot lock the address ranges")?;
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }

    fn path(&self, index: u8) -> PathBuf {
        self.folder.join(index.to_string())
    }

    /// The data directory that has these ranges, if it is still there.
    fn holder(&self, index: u8) -> Option<PathBuf> {
        let root = PathBuf::from(fs::read_to_string(self.path(index)).ok()?);
        DataDir::new(Some(root.clone())).ok()?.exists().then_some(root)
    }

    /// [`Claims::take`] for a node of a cluster that runs elsewhere. Where that is on this machine too, both have the
    /// ranges.
    pub(crate) fn take_for_node(&self, ranges: Ranges, dir: &DataDir) -> Result<()> {
        let authority = |root: &Path| {
            let pem = fs::read_to_string(root.join("pki/ca.crt")).ok()?;
            Some(pem.split_whitespace().collect::<String>())
        };
        match self.holder(ranges.index()).filter(|o| o != dir.root()) {
            Some(other) if authority(&other).is_some() && authority(&other) == authority(dir.root()) => {
                Ok(())
            }
            _ => self.take(ranges, dir),
        }
    }

    /// The data directories of all clusters with a node on this machine, running or not.
    pub(crate) fn holders(&self) -> Vec<PathBuf> {
        (0..MAX_CLUSTERS).filter_map(|i| self.holder(i)).collect()
    }

    /// Ranges that neither a cluster nor a route of the machine has.
    pub(crate) fn choose(&self) -> Result<Ranges> {
        let mut routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
        for index in (0..MAX_CLUSTERS).filter(|i| self.holder(*i).is_some()) {
            // As a route would stand there: 10.(64+index).0.0/16, little-endian.
            routes.push_str(&format!("claim 0000{:02X}0A 00000000 1 0 0 0 0000FFFF\n", 64 + index));
        }
        Ranges::free(&routes).context("every address range for pods and services is taken by a route or another cluster of this machine; remove one with `ironclad down --purge`")
    }

    /// Writes down that this cluster has the ranges; fails if another one took them.
    pub(crate) fn take(&self, ranges: Ranges, dir: &DataDir) -> Result<()> {
        if let Some(other) = self.holder(ranges.index()).filter(|o| o != dir.root()) {
            bail!(
                "the addresses {} of this cluster are in use on this machine by the one in {}; stop and purge one of them",
                ranges.pods(),
                other.display()
            );
        }
        let path = self.path(ranges.index());
        fs::write(&path, dir.root().as_os_str().as_encoded_bytes())
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// The number of the ranges that this cluster has, as written down by [`Claims::take`].
    pub(crate) fn of(&self, dir: &DataDir) -> Option<u8> {
        (0..MAX_CLUSTERS)
            .find(|i| fs::read_to_string(self.path(*i)).is_ok_and(|p| Path::new(&p) == dir.root()))
    }

    /// Gives the ranges back.
    pub(crate) fn release(&self, ranges: Ranges, dir: &DataDir) {
        let path = self.path(ranges.index());
        if fs::read_to_string(&path).is_ok_and(|p| Path::new(&p) == dir.root()) {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clusters_never_share() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = |name: &str| {
            let d = DataDir::new(Some(tmp.path().join(name))).unwrap();
            d.create().unwrap();
            fs::write(d.cluster_file(), "{}").unwrap();
            d
        };
        let (a, b) = (dir("a"), dir("b"));
        let claims = Claims::open_at(&tmp.path().join("ranges")).unwrap();
        let first = claims.choose().unwrap();
        claims.take(first, &a).unwrap();
        assert_ne!(claims.choose().unwrap(), first);
        assert!(
            claims.take(first, &b).unwrap_err().to_string().contains("in use on this machine by the one in")
        );
        claims.take(first, &a).unwrap();
        claims.release(first, &b);
        assert!(claims.take(first, &b).is_err());
        claims.release(first, &a);
        claims.take(first, &b).unwrap();
    }

    #[test]
    fn nodes_of_one_cluster_share() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = |name: &str, authority: &str| {
            let d = DataDir::new(Some(tmp.path().join(name))).unwrap();
            fs::create_dir_all(d.pki()).unwrap();
            fs::write(d.node_file(), "{}").unwrap();
            fs::write(d.pki().join("ca.crt"), authority).unwrap();
            d
        };
        let (server, node, stranger) = (dir("a", "ONE\r\n"), dir("b", "ONE\n"), dir("c", "TWO"));
        let claims = Claims::open_at(&tmp.path().join("ranges")).unwrap();
        let ranges = claims.choose().unwrap();
        claims.take(ranges, &server).unwrap();
        claims.take_for_node(ranges, &node).unwrap();
        assert!(claims.take_for_node(ranges, &stranger).is_err());
        claims.release(ranges, &node);
        assert_eq!(claims.of(&server), Some(ranges.index()));
    }
}
