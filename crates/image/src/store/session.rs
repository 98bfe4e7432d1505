//! What a process has under way in a store: directories that it fills, and layers that it is about to name.
//!
//! A session is a directory with a locked file in it. The kernel lets go of the lock when the process dies, however it
//! dies, so that others can tell what is left over from what is in the making.

use super::{Store, lock};
use crate::layer::remove_tree;
use crate::{Digest, Error};
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The file that is locked while the session lives.
const ALIVE: &str = "alive";
/// Marks that a layer is held: `<hex>.<n>.held`.
const HELD: &str = ".held";
/// How many names are tried for a session.
const TRIES: u64 = 10_000;

/// The session of one store handle; begun when it is first needed.
#[derive(Debug, Default)]
pub(super) struct Session {
    open: Mutex<Option<(PathBuf, File)>>,
    next: AtomicU64,
}

impl Session {
    fn place(&self, root: &Path) -> Result<(PathBuf, u64), Error> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((dir, _)) = &*open {
            return Ok((dir.clone(), n));
        }
        // Under the store's lock nobody takes the new directory for one that was left over.
        let _lock = lock(&root.join("lock"))?;
        let (dir, alive) = begin(root)?;
        *open = Some((dir.clone(), alive));
        Ok((dir, n))
    }

    fn is(&self, dir: &Path) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().is_some_and(|(mine, _)| mine == dir)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some((dir, _)) = open {
            // What can't be removed now is removed at the next collection.
            let _ = remove_tree(dir);
        }
    }
}

fn begin(root: &Path) -> Result<(PathBuf, File), Error> {
    let pid = std::process::id();
    for n in 0..TRIES {
        let dir = root.join("staging").join(format!("{pid}-{n}"));
        match fs::create_dir(&dir) {
            Ok(()) => {
                let alive = lock(&dir.join(ALIVE))?;
                return Ok((dir, alive));
            }
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Error::at(&dir)(e)),
        }
    }
    Err(Error::content(format!("{TRIES} sessions of one process in {}", root.display())))
}

/// A directory that is filled before it gets its place; removed if it never does.
pub struct Staging(PathBuf);

impl Staging {
    /// Where to fill it.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What can't be removed now is removed at the next collection.
        let _ = remove_tree(&self.0);
    }
}

/// Layers that no collection takes as long as this lives.
#[derive(Default)]
pub struct Lease(Vec<PathBuf>);

impl Drop for Lease {
    fn drop(&mut self) {
        for mark in &self.0 {
            let _ = fs::remove_file(mark);
        }
    }
}

impl Store {
    /// A directory to fill.
    pub fn stage(&self) -> Result<Staging, Error> {
        let (dir, n) = self.session.place(&self.root)?;
        let path = dir.join(n.to_string());
        fs::create_dir(&path).map_err(Error::at(&path))?;
        Ok(Staging(path))
    }

    /// Holds layers, here or to come, until an image names them.
    pub fn hold(&self, layers: &[Digest]) -> Result<Lease, Error> {
        let (dir, n) = self.session.place(&self.root)?;
        let _lock = self.lock()?;
        let mut lease = Lease::default();
        for id in layers {
            let mark = dir.join(format!("{}.{n}{HELD}", id.hex()));
            File::create(&mark).map_err(Error::at(&mark))?;
            lease.0.push(mark);
        }
        Ok(lease)
    }
}

/// Which layers living sessions hold; moves what dead ones left into `grave`. Wants the store's lock.
pub(super) fn survey(root: &Path, mine: &Session, grave: &Path) -> Result<BTreeSet<OsString>, Error> {
    let mut held = BTreeSet::new();
    let staging = root.join("staging");
    for entry in fs::read_dir(&staging).map_err(Error::at(&staging))?.flatten() {
        let dir = entry.path();
        if mine.is(&dir) || lives(&dir) {
            held.extend(marks(&dir));
        } else {
            let to = grave.join(format!("session-{}", entry.file_name().to_string_lossy()));
            fs::rename(&dir, to).map_err(Error::at(&dir))?;
        }
    }
    Ok(held)
}

fn lives(dir: &Path) -> bool {
    let Ok(file) = File::open(dir.join(ALIVE)) else { return false };
    flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
}

fn marks(dir: &Path) -> Vec<OsString> {
    let names = fs::read_dir(dir).into_iter().flatten().flatten();
    let names = names.filter_map(|e| e.file_name().into_string().ok());
    let layer = |name: String| Some(name.strip_suffix(HELD)?.split_once('.')?.0.into());
    names.filter_map(layer).collect()
}
