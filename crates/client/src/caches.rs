//! All caches of a process, and the typed, immutable view of them that a plan is made from.

use crate::Resource;
use crate::cache::{Cache, Change, Feed, Key};
use api::k8s_openapi::jiff::Timestamp;
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
    /// The type of its objects.
    pub type_id: TypeId,
    /// Whether the server has the resource no longer.
    pub gone: bool,
    /// When the server was last heard of it: as of then the cache was whole.
    pub heard: Option<Timestamp>,
    /// The state.
    pub cache: Cache,
}

/// The caches of a process, each in a numbered slot that it keeps.
#[derive(Default)]
pub struct Caches {
    slots: Vec<Slot>,
    by_type: HashMap<TypeId, usize>,
    discovered: bool,
}

impl Caches {
    /// The slot of a typed kind; made on first use.
    pub fn add_kind(&mut self, info: &KindInfo) -> usize {
        if let Some(slot) = self.by_type.get(&info.type_id) {
            return *slot;
        }
        let resource = Resource::from_info(info);
        self.slots.push(Slot {
            resource,
            decode: info.decode,
            typed: true,
            type_id: info.type_id,
            gone: false,
            heard: None,
            cache: Cache::default(),
        });
        self.by_type.insert(info.type_id, self.slots.len() - 1);
        self.slots.len() - 1
    }

    /// The slot of a resource found by discovery, of which only metadata is kept; none if it has a slot.
    pub fn add_resource(&mut self, resource: &Resource) -> Option<usize> {
        let same = |s: &Slot| s.resource.group == resource.group && s.resource.resource == resource.resource;
        if let Some(at) = self.slots.iter().position(same) {
            return std::mem::take(&mut self.slots[at].gone).then_some(at);
        }
        let (resource, decode) = (resource.clone(), PartialObject::decode as Decode);
        self.slots.push(Slot {
            resource,
            decode,
            typed: false,
            type_id: TypeId::of::<PartialObject>(),
            gone: false,
            heard: None,
            cache: Cache::default(),
        });
        Some(self.slots.len() - 1)
    }

    /// Empties the slot of a resource that the server has no longer.
    pub fn remove_resource(&mut self, slot: usize) {
        if let Some(slot) = self.slots.get_mut(slot) {
            (slot.gone, slot.heard, slot.cache) = (true, None, Cache::default());
        }
    }

    /// Says that discovery was complete: what has no slot is no resource of the server.
    pub fn set_discovered(&mut self) {
        self.discovered = true;
    }

    /// Whether all resources of the server are known and have been listed.
    pub fn is_complete(&self) -> bool {
        self.discovered && self.slots.iter().all(|s| s.gone || s.cache.is_synced())
    }

    /// Feeds one slot; an unknown slot changes nothing.
    pub fn apply(&mut self, slot: usize, feed: Feed) -> Vec<Change> {
        self.slots.get_mut(slot).map(|s| s.cache.apply(feed)).unwrap_or_default()
    }

    /// Notes that the server was heard of a slot: all that had happened by then is in its cache.
    pub fn set_heard(&mut self, slot: usize, now: Timestamp) {
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.heard = Some(now);
        }
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
    pub fn slots(self) -> impl Iterator<Item = &'a Slot> {
        self.caches.slots.iter().filter(|s| !s.gone)
    }

    /// Whether [`View::slots`] has every resource of the server, listed.
    pub fn is_complete(self) -> bool {
        self.caches.is_complete()
    }

    /// When the server was last heard of a kind. Whoever concludes something from what is *not* there must have
    /// heard since.
    pub fn heard<K: Kind>(self) -> Option<Timestamp> {
        let slot = self.caches.by_type.get(&K::INFO.type_id)?;
        self.caches.slots.get(*slot)?.heard
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
