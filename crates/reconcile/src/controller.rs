//! What a controller is.

use crate::execution::Failure;
use crate::memory::Memory;
use crate::plan::Plan;
use api::{Kind, KindInfo, MetaExt};
use client::{Change, Key, Resource, View};
use jiff::Timestamp;

/// What one plan is made from.
#[derive(Clone, Copy)]
pub struct Cx<'a> {
    /// Everything known, as of some revision that is not older than this key's last write.
    pub view: View<'a>,
    /// What to look at.
    pub key: &'a Key,
    /// The time.
    pub now: Timestamp,
    /// What the last attempt on this key failed with.
    pub failed: Option<&'a Failure>,
    /// What earlier plans of this key wanted to be remembered.
    pub memory: &'a Memory,
}

/// A controller: decides, and does nothing.
pub trait Controller: Send + Sync {
    /// Its name, as upstream's (`replicaset-controller`): the source of its events and its user agent.
    fn name(&self) -> &'static str;

    /// The service account in `kube-system` as which it writes; upstream's roles decide what that may.
    fn account(&self) -> &'static str {
        self.name()
    }

    /// What its events say they come from.
    fn source(&self) -> &'static str {
        self.name()
    }

    /// What it looks at, and which keys a change there concerns.
    fn watches(&self) -> Vec<Watch>;

    /// What is to be done about one key. Can't fail, and does no I/O; a panic costs this key a back-off.
    fn plan(&self, cx: &Cx<'_>) -> Plan;

    /// Whether it looks at the metadata of every resource that the server has; [`Controller::map_any`] then
    /// tells which keys a change concerns.
    fn watches_everything(&self) -> bool {
        false
    }

    /// For a controller that watches everything: which keys a change of `resource` concerns.
    fn map_any(&self, _view: View<'_>, _resource: &Resource, _change: &Change, _keys: &mut Vec<Key>) {}

    /// Keys to plan once everything is known, besides those of existing objects.
    fn initial_keys(&self) -> Vec<Key> {
        Vec::new()
    }

    /// How many keys may be worked on at once.
    fn concurrency(&self) -> usize {
        8
    }
}

/// Tells which keys a change concerns.
pub type MapFn = Box<dyn Fn(View<'_>, &Change, &mut Vec<Key>) + Send + Sync>;

/// A kind that a controller looks at.
pub struct Watch {
    /// Which kind.
    pub kind: KindInfo,
    /// Which keys a change concerns.
    pub map: MapFn,
}

impl Watch {
    /// The changed object is itself the key.
    pub fn own<K: Kind>() -> Self {
        Self::each::<K>(|_, object, keys| keys.push(Key::of(object)))
    }

    /// Only looked at: changes concern no key.
    pub fn only<K: Kind>() -> Self {
        Self::each::<K>(|_, _, _| {})
    }

    /// The key is the managing owner of kind `O`.
    pub fn owned<K: Kind, O: Kind>() -> Self {
        Self::each::<K>(|_, object, keys| keys.extend(owner_key::<K, O>(object)))
    }

    /// `map` tells the keys, for the object as it was and as it is.
    pub fn each<K: Kind>(map: fn(View<'_>, &K, &mut Vec<Key>)) -> Self {
        let both = move |view: View<'_>, change: &Change, keys: &mut Vec<Key>| {
            for object in [&change.old, &change.new].into_iter().flatten() {
                if let Some(object) = object.as_any().downcast_ref::<K>() {
                    map(view, object, keys);
                }
            }
        };
        Self { kind: K::INFO, map: Box::new(both) }
    }
}

/// The key of the owner of kind `O` that manages `object`.
pub fn owner_key<K: Kind, O: Kind>(object: &K) -> Option<Key> {
    let owner = object.controller()?;
    let same_group = meta::gvk::parse_api_version(&owner.api_version).0 == O::INFO.group;
    let namespace = if O::INFO.namespaced { object.namespace() } else { "" };
    (owner.kind == O::INFO.kind && same_group).then(|| Key::new(namespace, &owner.name))
}
