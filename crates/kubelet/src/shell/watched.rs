//! Watches the ConfigMaps and Secrets that volumes show, one by one as the node is allowed to, so that a change
//! reaches the files at once (`WatchChangeDetectionStrategy`, `pkg/kubelet/util/manager/watch_based_manager.go`).
//! What is watched only gives the word; what the files then hold is fetched.

use super::Message;
use api::{Kind, Stored};
use client::cache::Feed;
use client::reflector::{Batch, Reflector};
use client::{Client, Resource};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::mpsc::{self, Sender};
use tokio::task::AbortHandle;

/// Batches of one object's changes that may wait.
const QUEUE: usize = 4;

/// The kinds whose changes volumes follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Followed {
    /// `v1/ConfigMap`.
    ConfigMap,
    /// `v1/Secret`.
    Secret,
}

/// Kind, namespace and name.
pub(crate) type Object = (Followed, String, String);

/// One watch, and the workers that want to hear of it by their pods' UIDs.
#[derive(Default)]
struct Entry {
    users: HashMap<String, Sender<Message>>,
    /// None for an object that never changes.
    task: Option<AbortHandle>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// What is watched for the pods of this node.
pub(crate) struct Watched {
    client: Client,
    entries: Mutex<HashMap<Object, Entry>>,
}

impl Watched {
    pub(crate) fn new(client: Client) -> Arc<Self> {
        Arc::new(Self { client, entries: Mutex::default() })
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Object, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the pod's worker hears [`Message::Refresh`] when one of `objects` changes.
    pub(crate) fn follow(self: &Arc<Self>, uid: &str, sender: &Sender<Message>, objects: BTreeSet<Object>) {
        let mut entries = self.entries();
        for object in objects {
            let entry = entries.entry(object.clone()).or_default();
            if entry.users.is_empty() {
                let task = tokio::spawn(watch(Arc::downgrade(self), self.client.clone(), object));
                entry.task = Some(task.abort_handle());
            }
            entry.users.insert(uid.to_owned(), sender.clone());
        }
    }

    /// The pod is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.entries().retain(|_, e| {
            e.users.remove(uid);
            !e.users.is_empty()
        });
    }

    fn users(&self, object: &Object) -> Vec<Sender<Message>> {
        self.entries().get(object).map(|e| e.users.values().cloned().collect()).unwrap_or_default()
    }
}

/// Tells an object's users of each of its changes, until the object says that it will never change.
async fn watch(all: Weak<Watched>, client: Client, object: Object) {
    let (kind, namespace, name) = object.clone();
    let (resource, decode) = match kind {
        Followed::ConfigMap => (Resource::of::<ConfigMap>(), ConfigMap::INFO.decode),
        Followed::Secret => (Resource::of::<Secret>(), Secret::INFO.decode),
    };
    let reflector = Reflector {
        namespace,
        fields: format!("metadata.name={name}"),
        ..Reflector::all(&client, resource, decode, 0)
    };
    let (sink, mut batches) = mpsc::channel::<Batch>(QUEUE);
    let hear = async move {
        let mut known = None;
        while let Some(batch) = batches.recv().await {
            let heard = batch.feeds.into_iter().flat_map(told).filter(|o| o.name == name);
            let Some(last) = heard.last() else { continue };
            let (revision, immutable) = (last.revision, last.immutable);
            if known.replace(revision.clone()) == Some(revision) {
                continue;
            }
            let Some(users) = all.upgrade().map(|a| a.users(&object)) else { return };
            for user in users {
                let _ = user.send(Message::Refresh).await;
            }
            if immutable {
                return;
            }
        }
    };
    tokio::select! {
        () = reflector.run(sink) => {}
        () = hear => {}
    }
}

/// What a feed says of one object.
struct Told {
    name: String,
    revision: String,
    immutable: bool,
}

impl Told {
    fn of(o: &Arc<dyn Stored>, present: bool) -> Self {
        let map = api::downcast::<ConfigMap>(o.clone()).and_then(|m| m.immutable);
        let secret = api::downcast::<Secret>(o.clone()).and_then(|s| s.immutable);
        Self {
            name: o.meta().name.clone().unwrap_or_default(),
            revision: o.meta().resource_version.clone().unwrap_or_default(),
            immutable: present && map.or(secret) == Some(true),
        }
    }
}

fn told(feed: Feed) -> Vec<Told> {
    match feed {
        Feed::Page(items) => items.iter().map(|o| Told::of(o, true)).collect(),
        Feed::Put(o) => vec![Told::of(&o, true)],
        Feed::Delete(o) => vec![Told::of(&o, false)],
        Feed::Restart | Feed::Listed(_) | Feed::Bookmark(_) => Vec::new(),
    }
}
