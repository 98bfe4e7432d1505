//! The scheduler at work: watches, decides one pod after the other, binds in the background.

use crate::decide::{Decision, schedule};
use crate::node::Snapshot;
use crate::plugins::Claim;
use crate::pod::{PodInfo, is_terminal};
use crate::queue::Queue;
use api::core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use api::policy::v1::PodDisruptionBudget;
use api::storage::v1::StorageClass;
use api::{Kind, KindInfo, MetaExt, Stored};
use client::reflector::{Batch, Reflector};
use client::{Caches, Change, Client, Key, Resource};
use jiff::Timestamp;
use reconcile::{Clock, EventNote};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

mod act;
mod claims;

/// The name that pods ask for, and that events come from.
pub const NAME: &str = "default-scheduler";
/// Batches of changes that may wait while a decision is made.
const MAX_WAITING: usize = 64;
/// Decisions between two looks at what has changed.
const MAX_DECISIONS: usize = 64;
/// Bindings under way at once.
const MAX_BINDING: usize = 128;
/// Events that wait to be written; more are dropped.
const MAX_EVENTS: usize = 1024;

/// What came of a binding.
struct Bound {
    key: Key,
    node: String,
    /// What was done, for the event that tells that it failed.
    step: &'static str,
    error: Option<client::Error>,
}

struct Scheduler {
    client: Client,
    clock: Clock,
    caches: Caches,
    /// The slots that must be there before the first decision.
    slots: Vec<usize>,
    snapshot: Snapshot,
    queue: Queue,
    /// Pods that we gave to a node and that the API doesn't show there yet.
    assumed: HashMap<Key, String>,
    /// Pods that others were removed for, with the node that was cleared.
    nominated: HashMap<Key, String>,
    /// Pods with a node whose claims are being bound.
    waiting: BTreeMap<Key, claims::Waiting>,
    events: mpsc::Sender<(&'static str, EventNote)>,
    bound: mpsc::Sender<Bound>,
}

static KINDS: &[&KindInfo] = &[
    &Pod::INFO,
    &Node::INFO,
    &Namespace::INFO,
    &PersistentVolumeClaim::INFO,
    &PersistentVolume::INFO,
    &StorageClass::INFO,
    &PodDisruptionBudget::INFO,
];

/// Runs until it is dropped.
pub async fn run(client: Client, clock: Clock) {
    let mut caches = Caches::default();
    let (sink, mut source) = mpsc::channel(MAX_WAITING);
    let mut slots = Vec::new();
    for info in KINDS {
        let slot = caches.add_kind(info);
        slots.push(slot);
        let all = Reflector::all(&client, Resource::from_info(info), info.decode, slot);
        tokio::spawn(Reflector { type_id: Some(info.type_id), ..all }.run(sink.clone()));
    }
    drop(sink);
    let (events, told) = mpsc::channel(MAX_EVENTS);
    tokio::spawn(reconcile::runner::tell(client.clone(), told, clock.clone()));
    let (bound, mut done) = mpsc::channel(MAX_BINDING);
    let (snapshot, queue, assumed, nominated, waiting) = Default::default();
    let mut s = Scheduler {
        client,
        clock,
        caches,
        slots,
        snapshot,
        queue,
        assumed,
        nominated,
        waiting,
        events,
        bound,
    };
    loop {
        let more = s.decide();
        let pause = if more { Duration::ZERO } else { s.pause() };
        tokio::select! {
            biased;
            batch = source.recv() => match batch {
                Some(batch) => s.take(batch),
                None => return,
            },
            Some(b) = done.recv() => s.bound(b),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

impl Scheduler {
    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    fn synced(&self) -> bool {
        self.slots.iter().all(|s| self.caches.slots().get(*s).is_some_and(|s| s.cache.is_synced()))
    }

    /// How long nothing can happen unless something changes.
    fn pause(&self) -> Duration {
        if !self.synced() {
            return Duration::MAX;
        }
        let next = [self.queue.next_time(), self.waiting.values().map(|w| w.until).min()];
        let until = next.into_iter().flatten().min().map(|t| self.now().duration_until(t));
        until.map_or(Duration::MAX, |d| Duration::try_from(d).unwrap_or(Duration::ZERO))
    }

    fn take(&mut self, batch: Batch) {
        for feed in batch.feeds {
            for change in self.caches.apply(batch.slot, feed) {
                self.changed(change);
            }
        }
        self.claims_changed();
    }

    fn changed(&mut self, change: Change) {
        let Some(object) = change.object() else { return };
        let kind = object.type_id_of();
        if kind == Pod::INFO.type_id {
            let (old, new) =
                (change.old.and_then(api::downcast::<Pod>), change.new.and_then(api::downcast::<Pod>));
            self.pod_changed(old, new);
            return;
        }
        if kind == Node::INFO.type_id {
            match change.new.and_then(api::downcast::<Node>) {
                Some(node) => self.snapshot.set_node(&node),
                None => self.snapshot.remove_node(change.old.as_ref().map_or("", |o| o.meta().name())),
            }
        } else if kind == Namespace::INFO.type_id {
            let meta = object.meta();
            self.snapshot.namespaces.insert(meta.name().to_owned(), meta.labels().clone());
            if change.new.is_none() {
                let name = meta.name().to_owned();
                self.snapshot.namespaces.remove(&name);
            }
        }
        let now = self.now();
        self.queue.wake(now);
    }

    fn pod_changed(&mut self, old: Option<Arc<Pod>>, new: Option<Arc<Pod>>) {
        let now = self.now();
        let Some(pod) = new.clone().filter(|p| !is_terminal(p)) else {
            let Some(gone) = new.or(old) else { return };
            let key = Key::new(gone.namespace(), gone.name());
            self.queue.forget(&key);
            self.nominated.remove(&key);
            self.waiting.remove(&key);
            self.assumed.remove(&key);
            self.snapshot.remove_pod(&key);
            self.queue.wake(now);
            return;
        };
        let info = Arc::new(PodInfo::new(pod));
        let key = info.key.clone();
        if !info.node().is_empty() {
            let node = info.node().to_owned();
            self.assumed.remove(&key);
            self.nominated.remove(&key);
            self.queue.forget(&key);
            let relabelled =
                old.is_some_and(|o| o.node_name() == Some(&*node) && o.labels() != info.pod.labels());
            self.snapshot.put_pod(info, &node);
            if relabelled {
                self.queue.wake(now);
            }
        } else if !self.assumed.contains_key(&key) {
            self.candidate(&info, old.as_deref(), now);
        }
    }

    /// A pod without a node: queued, unless it isn't ours, is on its way out, or is held by a gate.
    fn candidate(&mut self, info: &PodInfo, old: Option<&Pod>, now: Timestamp) {
        let spec = info.spec();
        let ours = spec.scheduler_name.as_deref().unwrap_or(NAME) == NAME;
        let gated = spec.scheduling_gates.as_ref().is_some_and(|g| !g.is_empty());
        if !ours || gated || info.pod.is_deleting() {
            self.queue.forget(&info.key);
            return;
        }
        // What we write into the status ourselves is no reason to try again.
        let same = |o: &Pod| o.spec == info.pod.spec && o.labels() == info.pod.labels();
        if !old.is_some_and(same) {
            self.queue.add(info.key.clone(), info.priority(), info.pod.created(), now);
        }
    }

    /// Decides about some pods; says whether more are waiting.
    fn decide(&mut self) -> bool {
        if !self.synced() {
            return false;
        }
        for _ in 0..MAX_DECISIONS {
            if self.assumed.len() >= MAX_BINDING {
                return false;
            }
            let now = self.now();
            let Some(key) = self.queue.pop(now) else { return false };
            let Some(pod) = self.pod(&key) else {
                self.queue.forget(&key);
                continue;
            };
            let info = Arc::new(PodInfo::new(pod));
            let claims = self.claims_of(&info.pod);
            match self.schedule(&info, &claims) {
                Decision::Bind(node) => self.assume(info, node, &claims),
                Decision::Unschedulable { message, preemption } => self.park(&info, message, preemption),
            }
        }
        true
    }

    /// Decides as if the pods that room was made for were already where they are meant to go.
    fn schedule(&mut self, info: &PodInfo, claims: &[Claim]) -> Decision {
        let ahead: Vec<(Arc<PodInfo>, String)> = self
            .nominated
            .iter()
            .filter(|(key, _)| **key != info.key)
            .filter_map(|(key, node)| Some((Arc::new(PodInfo::new(self.pod(key)?)), node.clone())))
            .filter(|(pod, _)| pod.priority() >= info.priority())
            .collect();
        for (pod, node) in &ahead {
            self.snapshot.put_pod(pod.clone(), node);
        }
        let decision = schedule(&self.snapshot, info, claims, &|key| self.budget_allows(key));
        for (pod, _) in &ahead {
            self.snapshot.remove_pod(&pod.key);
        }
        decision
    }

    fn pod(&self, key: &Key) -> Option<Arc<Pod>> {
        let slot = self.caches.slot_of(&Pod::INFO)?;
        let object = self.caches.slots().get(slot)?.cache.get(key)?;
        api::downcast::<Pod>(object.clone())
    }

    /// Whether removing a pod keeps within its disruption budgets.
    fn budget_allows(&self, key: &Key) -> bool {
        let Some(pod) = self.pod(key) else { return true };
        self.caches.view().list::<PodDisruptionBudget>(&key.namespace).all(|b| {
            let selector = b.spec.as_ref().and_then(|s| s.selector.as_ref());
            let covered = crate::terms::label_selector(selector).matches(pod.labels());
            !covered || b.status.as_ref().is_some_and(|s| s.disruptions_allowed.unwrap_or(0) > 0)
        })
    }

    fn note(&self, note: EventNote) {
        // A full buffer costs the event, never the pod its turn.
        let _ = self.events.try_send((NAME, note));
    }
}

trait TypeIdOf {
    fn type_id_of(&self) -> std::any::TypeId;
}

impl TypeIdOf for Arc<dyn Stored> {
    fn type_id_of(&self) -> std::any::TypeId {
        std::any::Any::type_id(&**self)
    }
}
