//! Removes the data of volumes of the built-in provisioner from this node, when the server says so on the Node object, and
//! answers there (see `controllers::volumes::removal`). Their directories are made by the node agent, for the first pod.

use api::core::v1::{Node, PersistentVolume};
use api::{Kind, MetaExt, ObjectMeta};
use client::reflector::{Batch, Reflector};
use client::{Api, Cache, Client, PatchKind, Resource};
use controllers::{ANNOTATION_VOLUMES_REMOVED, ANNOTATION_VOLUMES_TO_REMOVE};
use reconcile::EventNote;
use rustix::fs::{Mode, OFlags};
use serde_json::json;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// As whom events are told.
const COMPONENT: &str = "persistentvolume-controller";
/// Batches of changes that wait.
const FEED_BUFFER: usize = 16;
/// Events that wait; more are dropped.
const EVENT_BUFFER: usize = 64;
/// How soon what failed is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Tends the volumes of the node `name` for ever, as that node.
pub(crate) async fn run(client: Client, volumes_dir: PathBuf, name: String) {
    let mut background = JoinSet::new();
    let (sink, mut batches) = mpsc::channel::<Batch>(FEED_BUFFER);
    let (events, told) = mpsc::channel::<(&'static str, EventNote)>(EVENT_BUFFER);
    let reflector = Reflector {
        fields: format!("metadata.name={name}"),
        ..Reflector::all(&client, Resource::of::<Node>(), Node::INFO.decode, 0)
    };
    background.spawn(reflector.run(sink));
    background.spawn(reconcile::runner::tell(client.clone(), told, reconcile::system_clock()));
    let (mut cache, mut node, mut again) = (Cache::default(), None::<Arc<Node>>, false);
    loop {
        tokio::select! {
            batch = batches.recv() => {
                let Some(batch) = batch else { return };
                let changes = batch.feeds.into_iter().flat_map(|feed| cache.apply(feed));
                let newest = changes.filter_map(|c| c.new).filter_map(api::downcast::<Node>).last();
                node = newest.filter(|n| n.name() == name).or(node);
            }
            () = tokio::time::sleep(RETRY), if again => {}
        }
        let Some(node) = &node else { continue };
        let (removed, failed) = tend(&volumes_dir, node.annotation(ANNOTATION_VOLUMES_TO_REMOVE)).await;
        again = !failed.is_empty();
        for (volume, why) in failed {
            tracing::warn!(volume, "{why}");
            let metadata = ObjectMeta { name: Some(volume), ..ObjectMeta::default() };
            let volume = PersistentVolume { metadata, ..PersistentVolume::default() };
            let _ = events.try_send((COMPONENT, EventNote::warning(&volume, "VolumeFailedDelete", why)));
        }
        again |= !answer(&client, node, &removed).await;
    }
}

/// Removes what is named: names of volumes with commas between. Gives those that are gone, and why others are not.
async fn tend(volumes_dir: &Path, named: Option<&str>) -> (String, Vec<(String, String)>) {
    let (mut removed, mut failed) = (Vec::new(), Vec::new());
    for name in named.unwrap_or_default().split(',').filter(|n| is_plain(n)).map(str::to_owned) {
        let (dir, own) = (volumes_dir.to_owned(), name.clone());
        let work = tokio::task::spawn_blocking(move || remove(&dir, &own)).await;
        match work.unwrap_or_else(|e| Err(io::Error::other(e))) {
            Ok(()) => removed.push(name),
            Err(e) => {
                let path = volumes_dir.join(&name);
                failed.push((name, format!("cannot remove the volume's data in {}: {e}", path.display())));
            }
        }
    }
    (removed.join(","), failed)
}

/// Says on the Node what is removed. False: it is to be said again.
async fn answer(client: &Client, node: &Node, removed: &str) -> bool {
    if node.annotation(ANNOTATION_VOLUMES_REMOVED).unwrap_or_default() == removed {
        return true;
    }
    let removed = if removed.is_empty() { json!(null) } else { json!(removed) };
    let patch = json!({"metadata": {"annotations": {ANNOTATION_VOLUMES_REMOVED: removed}}});
    let answered = Api::<Node>::all(client).patch(node.name(), "", PatchKind::Merge, &patch).await;
    if let Err(e) = &answered {
        tracing::warn!("the removal of volumes is not told to the server yet: {e}");
    }
    answered.is_ok()
}

/// Whether a name is one step down, and not up or aside.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

fn open_root(dir: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    Ok(rustix::fs::open(dir, flags, Mode::empty())?)
}

/// Removes the directory and all below it. The step into it is taken from a descriptor of its parent, and no symbolic
/// link is followed on the way down.
fn remove(dir: &Path, name: &str) -> io::Result<()> {
    let root = match open_root(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        root => root?,
    };
    // The standard library goes down by descriptors; the first step needs a path.
    let path = PathBuf::from(format!("/proc/self/fd/{}", root.as_raw_fd())).join(name);
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[tokio::test]
    async fn nothing_but_what_is_named_below_the_folder_is_removed() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("volumes");
        std::fs::create_dir_all(dir.join("a/b")).unwrap();
        std::fs::create_dir_all(dir.join("c")).unwrap();
        std::fs::write(tmp.path().join("outside"), "data").unwrap();
        let (removed, failed) = tend(&dir, Some("a,..,../outside,never,/etc,")).await;
        assert_eq!((removed.as_str(), failed.len()), ("a,never", 0));
        assert!(dir.join("c").exists() && !dir.join("a").exists() && tmp.path().join("outside").exists());
        assert_eq!(tend(&dir, None).await.0, "");
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let tmp = tempfile::tempdir().unwrap();
        let (dir, outside) = (tmp.path().join("volumes"), tmp.path().join("outside"));
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("kept"), "data").unwrap();
        std::fs::create_dir_all(dir.join("v/sub")).unwrap();
        std::fs::write(dir.join("v/sub/file"), "data").unwrap();
        symlink(&outside, dir.join("v/sub/link")).unwrap();
        remove(&dir, "v").unwrap();
        remove(&dir, "v").unwrap();
        symlink(&outside, dir.join("w")).unwrap();
        remove(&dir, "w").unwrap();
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        assert!(outside.join("kept").exists());
        remove(&tmp.path().join("none"), "v").unwrap();
    }
}
