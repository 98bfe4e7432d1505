//! An informer's state: a prefix of the log for one resource, with indexes. A pure state machine: what it is
//! fed, it applies, and tells what changed.

use api::{MetaExt, Stored};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

/// UIDs of deleted objects that a cache remembers.
const MAX_GONE: usize = 4096;

/// Namespace and name; the namespace is empty for cluster-scoped kinds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl Key {
    /// The key of `namespace`/`name`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object.
    pub fn of(object: &dyn Stored) -> Self {
        Self::new(object.meta().namespace(), object.meta().name())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// What a cache is fed. A (re)list is `Restart`, pages, `Listed`; until `Listed` the old state stands.
#[derive(Clone)]
pub enum Feed {
    /// A list begins.
    Restart,
    /// Some of its items.
    Page(Vec<Arc<dyn Stored>>),
    /// The list is whole, at this revision.
    Listed(u64),
    /// The object was created or changed.
    Put(Arc<dyn Stored>),
    /// The object is gone; its last state, at the revision of the deletion.
    Delete(Arc<dyn Stored>),
    /// Nothing else happened up to this revision.
    Bookmark(u64),
}

/// What a feed changed.
#[derive(Clone)]
pub struct Change {
    /// The object before; none for a new one.
    pub old: Option<Arc<dyn Stored>>,
    /// The object now; none for one that is gone.
    pub new: Option<Arc<dyn Stored>>,
}

impl Change {
    /// The object: as it is now, or as it was last.
    pub fn object(&self) -> Option<&Arc<dyn Stored>> {
        self.new.as_ref().or(self.old.as_ref())
    }
}

type Index = HashMap<Box<str>, BTreeSet<Key>>;
type Objects = BTreeMap<Key, Arc<dyn Stored>>;

/// The objects of one resource as of one revision.
#[derive(Default)]
pub struct Cache {
    objects: Objects,
    by_owner: Index,
    by_node: Index,
    listing: Option<Objects>,
    gone: VecDeque<Box<str>>,
    revision: u64,
    synced: bool,
}

impl Cache {
    /// Applies one feed and tells what it changed.
    pub fn apply(&mut self, feed: Feed) -> Vec<Change> {
        match feed {
            Feed::Restart => self.listing = Some(Objects::new()),
            Feed::Page(items) => {
                let listing = self.listing.get_or_insert_default();
                listing.extend(items.into_iter().map(|o| (Key::of(&*o), o)));
            }
            Feed::Listed(revision) => return self.replace(revision),
            Feed::Put(object) => {
                self.revision = self.revision.max(object.meta().revision());
                return vec![self.put(Key::of(&*object), object)];
            }
            Feed::Delete(object) => {
                self.revision = self.revision.max(object.meta().revision());
                return self.remove(&Key::of(&*object)).into_iter().collect();
            }
            Feed::Bookmark(revision) => self.revision = self.revision.max(revision),
        }
        Vec::new()
    }

    /// Puts the listed state in the place of the old one.
    fn replace(&mut self, revision: u64) -> Vec<Change> {
        let listing = self.listing.take().unwrap_or_default();
        let gone: Vec<Key> = self.objects.keys().filter(|k| !listing.contains_key(*k)).cloned().collect();
        let mut changes: Vec<Change> = gone.iter().filter_map(|key| self.remove(key)).collect();
        for (key, object) in listing {
            let version = |o: &Arc<dyn Stored>| o.meta().resource_version.clone();
            if self.objects.get(&key).is_none_or(|old| version(old) != version(&object)) {
                changes.push(self.put(key, object));
            }
        }
        // A list after a restore from a backup may be older: the newest list is the truth.
        self.revision = revision;
        self.synced = true;
        changes
    }

    fn put(&mut self, key: Key, object: Arc<dyn Stored>) -> Change {
        let old = self.objects.insert(key.clone(), object.clone());
        if let Some(old) = &old {
            self.unindex(&key, &**old);
        }
        for owner in object.meta().owners() {
            self.by_owner.entry(owner.uid.as_str().into()).or_default().insert(key.clone());
        }
        if let Some(node) = object.node_name() {
            self.by_node.entry(node.into()).or_default().insert(key);
        }
        Change { old, new: Some(object) }
    }

    fn remove(&mut self, key: &Key) -> Option<Change> {
        let old = self.objects.remove(key)?;
        self.unindex(key, &*old);
        if self.gone.len() >= MAX_GONE {
            self.gone.pop_front();
        }
        self.gone.push_back(old.meta().uid().into());
        Some(Change { old: Some(old), new: None })
    }

    fn unindex(&mut self, key: &Key, object: &dyn Stored) {
        for owner in object.meta().owners() {
            drop_from(&mut self.by_owner, &owner.uid, key);
        }
        if let Some(node) = object.node_name() {
            drop_from(&mut self.by_node, node, key);
        }
    }

    /// Everything up to this revision is in the cache.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether a first list has come.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// Whether the object `uid` is known to have been deleted. Only the youngest deletions are remembered.
    pub fn saw_deleted(&self, uid: &str) -> bool {
        self.gone.iter().any(|gone| &**gone == uid)
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Option<&Arc<dyn Stored>> {
        self.objects.get(key)
    }

    /// All objects, by namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Arc<dyn Stored>)> {
        self.objects.iter()
    }

    /// The objects of one namespace, by name.
    pub fn in_namespace<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<dyn Stored>)> {
        let from = Key::new(namespace, "");
        self.objects.range(from..).take_while(move |(key, _)| &*key.namespace == namespace)
    }

    /// The objects that name `uid` as an owner.
    pub fn owned_by<'a>(&'a self, uid: &str) -> impl Iterator<Item = &'a Arc<dyn Stored>> {
        self.indexed(&self.by_owner, uid)
    }

    /// The pods bound to `node`.
    pub fn on_node<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a Arc<dyn Stored>> {
        self.indexed(&self.by_node, node)
    }

    /// Every UID that is named as an owner.
    pub fn owner_uids(&self) -> impl Iterator<Item = &str> {
        self.by_owner.keys().map(|uid| &**uid)
    }

    fn indexed<'a>(&'a self, index: &'a Index, value: &str) -> impl Iterator<Item = &'a Arc<dyn Stored>> {
        index.get(value).into_iter().flatten().filter_map(|key| self.objects.get(key))
    }
}

fn drop_from(index: &mut Index, value: &str, key: &Key) {
    if let Some(keys) = index.get_mut(value) {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::core::v1::{Pod, PodSpec};
    use api::{ObjectMeta, OwnerReference};

    fn pod(name: &str, revision: u64, owner: &str, node: &str) -> Arc<dyn Stored> {
        let owner = OwnerReference { uid: owner.into(), ..OwnerReference::default() };
        Arc::new(Pod {
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: Some("x".into()),
                resource_version: Some(revision.to_string()),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(PodSpec { node_name: Some(node.into()), ..PodSpec::default() }),
            ..Pod::default()
        })
    }

    fn show(changes: &[Change]) -> String {
        let version = |o: &Option<Arc<dyn Stored>>| o.as_ref().map_or(0, |o| o.meta().revision());
        let name = |c: &Change| c.object().map(|o| o.meta().name().to_owned()).unwrap_or_default();
        let line = |c: &Change| format!("{} {}→{}", name(c), version(&c.old), version(&c.new));
        changes.iter().map(line).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_relist_tells_only_what_differs() {
        let mut cache = Cache::default();
        cache.apply(Feed::Restart);
        cache.apply(Feed::Page(vec![pod("a", 1, "u", "n1"), pod("b", 2, "u", "n1")]));
        assert!(!cache.is_synced());
        assert_eq!(show(&cache.apply(Feed::Listed(5))), "a 0→1, b 0→2");
        assert_eq!(show(&cache.apply(Feed::Put(pod("b", 6, "v", "n2")))), "b 2→6");
        assert_eq!(cache.revision(), 6);
        assert_eq!((cache.owned_by("u").count(), cache.on_node("n2").count()), (1, 1));
        cache.apply(Feed::Restart);
        cache.apply(Feed::Page(vec![pod("b", 6, "v", "n2"), pod("c", 8, "v", "n2")]));
        assert_eq!(cache.len(), 2, "the old state stands until the list is whole");
        assert_eq!(show(&cache.apply(Feed::Listed(9))), "a 1→0, c 0→8");
        assert_eq!(show(&cache.apply(Feed::Delete(pod("c", 11, "v", "n2")))), "c 8→0");
        assert_eq!((cache.revision(), cache.owned_by("v").count(), cache.owned_by("u").count()), (11, 1, 0));
    }
}
