//! All caches of a process, and the typed, immutable view of them that a plan is made from.

use crate::Resource;
use crate::cache::{Cache, Change, Feed, Key};
use api::kinds::Decode;
use api::{Kind, KindInfo, MetaExt, PartialObject, Stored};
use std::any::TypeId;
use std::collections::HashMap;
use std::sync::Arc;

/// The cache of one resource.
pub struct Slot {
    /// Which resource.
    pub resource: Resource,
    /// How its objects decode.
    pub decode: Decode,
    /// Whether the whole object is held, not only its metadata.
    pub typed: bool,
    /// The state.
    pub cache: Cache,
}

/// The caches of a process, each in a numbered slot that it keeps.
#[derive(Default)]
pub struct Caches {
    slots: Vec<Slot>,
    by_type: HashMap<TypeId, usize>,
}

impl Caches {
    /// The slot of a typed kind; made on first use.
    pub fn add_kind(&mut self, info: &KindInfo) -> usize {
        if let Some(slot) = self.by_type.get(&info.type_id) {
            return *slot;
        }
        let resource = Resource::from_info(info);
        self.slots.push(Slot { resource, decode: info.decode, typed: true, cache: Cache::default() });
        self.by_type.insert(info.type_id, self.slots.len() - 1);
        self.slots.len() - 1
    }

    /// The slot of a resource found by discovery, of which only metadata is kept; none if it has a slot.
    pub fn add_resource(&mut self, resource: &Resource) -> Option<usize> {
        let same = |s: &Slot| s.resource.group == resource.group && s.resource.resource == resource.resource;
        if self.slots.iter().any(same) {
            return None;
        }
        let (resource, decode) = (resource.clone(), PartialObject::decode as Decode);
        self.slots.push(Slot { resource, decode, typed: false, cache: Cache::default() });
        Some(self.slots.len() - 1)
    }

    /// Feeds one slot; an unknown slot changes nothing.
    pub fn apply(&mut self, slot: usize, feed: Feed) -> Vec<Change> {
        self.slots.get_mut(slot).map(|s| s.cache.apply(feed)).unwrap_or_default()
    }

    /// All slots.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The slot of a typed kind.
    pub fn slot_of(&self, info: &KindInfo) -> Option<usize> {
        self.by_type.get(&info.type_id).copied()
    }

    /// The slot of a resource.
    pub fn find(&self, group: &str, resource: &str) -> Option<usize> {
        self.slots.iter().position(|s| s.resource.group == group && s.resource.resource == resource)
    }

    /// The immutable view.
    pub fn view(&self) -> View<'_> {
        View { caches: self }
    }
}

/// What a plan may see: typed reads of all caches.
#[derive(Clone, Copy)]
pub struct View<'a> {
    caches: &'a Caches,
}

fn typed<K: Kind>(object: &Arc<dyn Stored>) -> Option<&K> {
    object.as_any().downcast_ref()
}

impl<'a> View<'a> {
    /// The cache of a kind; none where nobody watches it.
    pub fn cache<K: Kind>(self) -> Option<&'a Cache> {
        let slot = self.caches.by_type.get(&K::INFO.type_id)?;
        self.caches.slots.get(*slot).map(|s| &s.cache)
    }

    /// All slots, for what works on every resource.
    pub fn slots(self) -> &'a [Slot] {
        &self.caches.slots
    }

    /// One object.
    pub fn get<K: Kind>(self, namespace: &str, name: &str) -> Option<&'a K> {
        self.cache::<K>()?.get(&Key::new(namespace, name)).and_then(typed)
    }

    /// One object by its key.
    pub fn at<K: Kind>(self, key: &Key) -> Option<&'a K> {
        self.cache::<K>()?.get(key).and_then(typed)
    }

    /// All objects of a kind.
    pub fn all<K: Kind>(self) -> impl Iterator<Item = &'a K> {
        self.cache::<K>().into_iter().flat_map(|c| c.iter()).filter_map(|(_, o)| typed(o))
    }

    /// The objects of a kind in one namespace.
    pub fn list<K: Kind>(self, namespace: &'a str) -> impl Iterator<Item = &'a K> {
        let objects = self.cache::<K>().into_iter().flat_map(move |c| c.in_namespace(namespace));
        objects.filter_map(|(_, o)| typed(o))
    }

    /// The objects of a kind that name `uid` as an owner, managing or not.
    pub fn owned_by<K: Kind>(self, uid: &str) -> impl Iterator<Item = &'a K> {
        self.cache::<K>().into_iter().flat_map(move |c| c.owned_by(uid)).filter_map(typed)
    }

    /// The objects of a kind that `uid` manages.
    pub fn controlled_by<K: Kind>(self, uid: &'a str) -> impl Iterator<Item = &'a K> {
        self.owned_by::<K>(uid).filter(move |o| o.controller().is_some_and(|c| c.uid == uid))
    }

    /// The objects of a kind (pods) that are bound to `node`.
    pub fn on_node<K: Kind>(self, node: &str) -> impl Iterator<Item = &'a K> {
        self.cache::<K>().into_iter().flat_map(move |c| c.on_node(node)).filter_map(typed)
    }
}
