//! The directories behind volumes of the built-in provisioner, on this node: made for new volumes, and removed with
//! their data when a volume is to go and nobody is bound to it any more. What is to be done is decided by [`task`].

use api::core::v1::PersistentVolume;
use api::{Kind, MetaExt, names};
use client::reflector::{Batch, Reflector};
use client::{Api, Cache, Client, Key, Resource};
use reconcile::EventNote;
use rustix::fs::{AtFlags, Mode, OFlags};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
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
/// Any user of a container may write into a new volume, as into an empty directory.
const OPEN: Mode = Mode::from_raw_mode(0o777);

/// Tends the volumes of `node` for ever. `client` must be allowed to list, watch and update persistent volumes, as the
/// role of `persistent-volume-binder` is.
pub(crate) async fn run(client: Client, volumes_dir: PathBuf, node: String) {
    let mut background = JoinSet::new();
    let (sink, mut batches) = mpsc::channel::<Batch>(FEED_BUFFER);
    let (events, told) = mpsc::channel::<(&'static str, EventNote)>(EVENT_BUFFER);
    let (resource, decode) = (Resource::of::<PersistentVolume>(), PersistentVolume::INFO.decode);
    background.spawn(Reflector::all(&client, resource, decode, 0).run(sink));
    background.spawn(reconcile::runner::tell(client.clone(), told, reconcile::system_clock()));
    let (mut cache, mut todo) = (Cache::default(), BTreeSet::<Key>::new());
    loop {
        tokio::select! {
            batch = batches.recv() => {
                let Some(batch) = batch else { return };
                let changes = batch.feeds.into_iter().flat_map(|feed| cache.apply(feed));
                todo.extend(changes.filter_map(|c| c.new).map(|o| Key::of(&*o)));
            }
            () = tokio::time::sleep(RETRY), if !todo.is_empty() => {}
        }
        let mut failed = BTreeSet::new();
        for key in std::mem::take(&mut todo) {
            let Some(volume) = cache.get(&key).and_then(|o| o.as_any().downcast_ref::<PersistentVolume>())
            else {
                continue;
            };
            let Err(why) = tend(&client, &volumes_dir, &node, volume).await else { continue };
            tracing::warn!(volume = volume.name(), "{why}");
            if volume.is_deleting() {
                let _ = events.try_send((COMPONENT, EventNote::warning(volume, "VolumeFailedDelete", why)));
            }
            failed.insert(key);
        }
        todo = failed;
    }
}

/// What a volume needs of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// Nothing: it is another's, or still in use.
    Nothing,
    /// Its directory.
    Make,
    /// Its data removed, and then to be let go.
    Remove,
    /// To be let go; the data are the user's now.
    Release,
}

fn task(volume: &PersistentVolume, volumes_dir: &Path, node: &str) -> Task {
    let spec = volume.spec.clone().unwrap_or_default();
    let ours = volume.annotation(names::ANNOTATION_PV_PROVISIONED_BY) == Some(controllers::LOCAL_PROVISIONER)
        && volume.annotation(controllers::ANNOTATION_VOLUME_NODE) == Some(node)
        && volume.has_finalizer(controllers::FINALIZER_VOLUME_DATA);
    // Nothing but the directory that has the volume's own name is ever touched.
    let place = spec.host_path.is_some_and(|h| Path::new(&h.path) == volumes_dir.join(volume.name()));
    let in_use = volume.has_finalizer(names::FINALIZER_PV_PROTECTION)
        || volume.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
    match (ours && place && is_plain(volume.name()), volume.is_deleting(), in_use) {
        (true, false, _) => Task::Make,
        (true, true, false) if spec.persistent_volume_reclaim_policy.as_deref() == Some("Delete") => {
            Task::Remove
        }
        (true, true, false) => Task::Release,
        _ => Task::Nothing,
    }
}

/// Whether a name is one step down, and not up or aside.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

async fn tend(
    client: &Client,
    volumes_dir: &Path,
    node: &str,
    volume: &PersistentVolume,
) -> Result<(), String> {
    let task = task(volume, volumes_dir, node);
    let (dir, name) = (volumes_dir.to_owned(), volume.name().to_owned());
    let path = volumes_dir.join(volume.name());
    let work = move || match task {
        Task::Make => make(&dir, &name),
        Task::Remove => remove(&dir, &name),
        Task::Release | Task::Nothing => Ok(()),
    };
    let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(io::Error::other(e)));
    done.map_err(|e| match task {
        Task::Make => format!("cannot make the volume's directory {}: {e}", path.display()),
        _ => format!("cannot remove the volume's data in {}: {e}", path.display()),
    })?;
    if !matches!(task, Task::Remove | Task::Release) {
        return Ok(());
    }
    let mut released = volume.clone();
    let finalizers = released.metadata.finalizers.get_or_insert_default();
    finalizers.retain(|f| f != controllers::FINALIZER_VOLUME_DATA);
    match Api::<PersistentVolume>::all(client).update(&released).await {
        Ok(_) => Ok(()),
        // Somebody changed it: the change brings us back here.
        Err(e) if e.is_conflict() || e.is_not_found() => Ok(()),
        Err(e) => Err(format!("the volume's data are removed, but the finalizer is not: {e}")),
    }
}

fn open_root(dir: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    Ok(rustix::fs::open(dir, flags, Mode::empty())?)
}

/// Makes the directory, if it isn't there.
fn make(dir: &Path, name: &str) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let root = open_root(dir)?;
    match rustix::fs::mkdirat(&root, name, Mode::RWXU) {
        // Whoever made it may have changed its mode since.
        Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(e) => Err(e.into()),
        Ok(()) => Ok(rustix::fs::chmodat(&root, name, OPEN, AtFlags::empty())?),
    }
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
    use serde_json::{Value, json};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn volume(change: impl Fn(&mut Value)) -> PersistentVolume {
        let mut v = json!({"metadata": {"name": "pvc-1", "finalizers": ["ironclad.local/volume-data"],
                "deletionTimestamp": "2026-01-01T00:00:00Z", "annotations": {"ironclad.local/node": "n1",
                    "pv.kubernetes.io/provisioned-by": "ironclad.local/hostpath"}},
            "spec": {"persistentVolumeReclaimPolicy": "Delete", "hostPath": {"path": "/volumes/pvc-1"}},
            "status": {"phase": "Released"}});
        change(&mut v);
        serde_json::from_value(v).unwrap()
    }

    #[test]
    fn data_go_only_when_nobody_is_bound_to_them() {
        let task = |change: &dyn Fn(&mut Value)| task(&volume(change), Path::new("/volumes"), "n1");
        assert_eq!(task(&|_| {}), Task::Remove);
        assert_eq!(task(&|v| v["status"]["phase"] = "Bound".into()), Task::Nothing);
        let protected = json!(["ironclad.local/volume-data", "kubernetes.io/pv-protection"]);
        assert_eq!(task(&|v| v["metadata"]["finalizers"] = protected.clone()), Task::Nothing);
        assert_eq!(task(&|v| v["spec"]["persistentVolumeReclaimPolicy"] = "Retain".into()), Task::Release);
        assert_eq!(task(&|v| v["metadata"]["deletionTimestamp"] = Value::Null), Task::Make);
        assert_eq!(
            task(&|v| v["metadata"]["annotations"]["ironclad.local/node"] = "n2".into()),
            Task::Nothing
        );
        assert_eq!(task(&|v| v["metadata"]["finalizers"] = json!([])), Task::Nothing);
    }

    #[test]
    fn nothing_but_the_own_directory_is_touched() {
        let task = |name: &str, path: &str| {
            let v = volume(|v| {
                v["metadata"]["name"] = name.into();
                v["spec"]["hostPath"]["path"] = path.into();
            });
            task(&v, Path::new("/volumes"), "n1")
        };
        assert_eq!(task("pvc-1", "/etc"), Task::Nothing);
        assert_eq!(task("pvc-1", "/volumes/pvc-2"), Task::Nothing);
        assert_eq!(task("..", "/volumes/.."), Task::Nothing);
        assert_eq!(task("a/b", "/volumes/a/b"), Task::Nothing);
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let tmp = tempfile::tempdir().unwrap();
        let (dir, outside) = (tmp.path().join("volumes"), tmp.path().join("outside"));
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("kept"), "data").unwrap();
        make(&dir, "v").unwrap();
        make(&dir, "v").unwrap();
        assert_eq!(std::fs::metadata(dir.join("v")).unwrap().permissions().mode() & 0o777, 0o777);
        std::fs::create_dir(dir.join("v/sub")).unwrap();
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
