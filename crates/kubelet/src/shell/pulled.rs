//! Keeps on disk who pulled which image ([`crate::core::pulled`]): a file for each image, and one for each pull that is
//! under way, so that a pull that a crash cut off doesn't pass for an image that was always there.

use super::disk::{make_dir_now, write_file};
use crate::core::pulled::{Record, SecretSource};
use ring::digest::{SHA256, digest};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The records of a node.
pub(crate) struct Pulled {
    pulled: PathBuf,
    pulling: PathBuf,
    /// Held while files change.
    writing: Mutex<()>,
}

/// SHA-256 in hexadecimal: names of files, and credentials that are not to be read.
pub(crate) fn sha256(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

impl Pulled {
    /// Below the agent's directory, as upstream's.
    pub(crate) fn new(root: &Path) -> Self {
        let dir = root.join("image_manager");
        Self { pulled: dir.join("pulled"), pulling: dir.join("pulling"), writing: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, id: &str) -> PathBuf {
        self.pulled.join(format!("sha256-{}", sha256(id)))
    }

    fn intent(&self, image: &str) -> PathBuf {
        self.pulling.join(format!("sha256-{}", sha256(image)))
    }

    /// What is remembered of an image; none if this node did not pull it. A record that can't be read lets nobody in.
    pub(crate) fn record(&self, id: &str, image: &str) -> Option<Record> {
        match std::fs::read(self.file(id)) {
            Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap_or_default()),
            Err(e) if e.kind() != io::ErrorKind::NotFound => Some(Record::default()),
            Err(_) => self.intent(image).exists().then(Record::default),
        }
    }

    /// Remembers that a pull begins.
    pub(crate) fn begin(&self, image: &str) -> Result<(), String> {
        let _held = self.lock();
        make_dir_now(&self.pulling, 0o700)?;
        write_file(&self.intent(image), image.as_bytes(), 0o600)
    }

    /// Remembers how a pull, or a look at the secrets of a pod, ended well.
    pub(crate) fn learn(&self, id: &str, repository: &str, with: Option<SecretSource>) -> Result<(), String> {
        let _held = self.lock();
        let file = self.file(id);
        let bytes = std::fs::read(&file).ok();
        let mut record: Record = bytes.and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default();
        id.clone_into(&mut record.image_ref);
        if !record.learn(repository, with) {
            return Ok(());
        }
        make_dir_now(&self.pulled, 0o700)?;
        let part = file.with_extension("part");
        write_file(&part, &serde_json::to_vec(&record).unwrap_or_default(), 0o600)?;
        std::fs::rename(&part, &file).map_err(|e| format!("cannot write {}: {e}", file.display()))
    }

    /// The pull is over, and what is to be remembered of it is.
    pub(crate) fn end(&self, image: &str) {
        let _held = self.lock();
        // Left behind, it makes the next pod ask the registry.
        let _ = std::fs::remove_file(self.intent(image));
    }

    /// Forgets images that were not among those `present` when the clock showed `listed`.
    pub(crate) fn forget_absent(&self, present: &BTreeSet<String>, listed: SystemTime) {
        let _held = self.lock();
        let keep: BTreeSet<PathBuf> = present.iter().map(|id| self.file(id)).collect();
        for entry in std::fs::read_dir(&self.pulled).into_iter().flatten().flatten() {
            let older = entry.metadata().and_then(|m| m.modified()).is_ok_and(|at| at < listed);
            if older && !keep.contains(&entry.path()) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::pulled::Access;
    use std::time::Duration;

    #[test]
    fn records_outlive_the_agent_and_not_their_images() {
        let dir = tempfile::tempdir().expect("a directory");
        let node = Pulled::new(dir.path());
        assert_eq!(node.record("id", "r/a:1"), None, "it was always there");
        node.begin("r/a:1").expect("a file");
        assert_eq!(node.record("id", "r/a:1").map(|r| r.access("r/a")), Some(Access::AskRegistry));
        node.learn("id", "r/a", None).expect("a file");
        node.end("r/a:1");
        let later = Pulled::new(dir.path());
        assert_eq!(later.record("id", "r/a:2").map(|r| r.access("r/a")), Some(Access::Granted));
        assert_eq!(later.record("other", "r/a:1"), None, "the pull is over");
        let after = SystemTime::now() + Duration::from_secs(60);
        later.forget_absent(&BTreeSet::from(["id".to_owned()]), after);
        later.forget_absent(&BTreeSet::new(), SystemTime::UNIX_EPOCH);
        assert!(later.record("id", "r/a:1").is_some());
        std::fs::write(later.file("id"), "{").expect("a file");
        assert_eq!(later.record("id", "r/a:1"), Some(Record::default()), "unreadable");
        later.forget_absent(&BTreeSet::new(), after);
        assert_eq!(later.record("id", "r/a:1"), None);
    }
}
