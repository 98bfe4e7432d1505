//! All controllers of a process over one set of caches: what to plan next. A plain state machine.

use crate::controller::{Controller, Cx, MapFn};
use crate::execution::{Execution, Expect, Failure, Outcome};
use crate::memory::Memory;
use crate::plan::EventNote;
use crate::queue::Queue;
use client::{Caches, Change, Feed, Key, Resource};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// The longest wait for a cache: after it something is wrong that a fresh look mends sooner than waiting
/// (`controller.ExpectationsTimeout`).
const BARRIER_TIMEOUT: Duration = Duration::from_secs(300);

/// Counters of one controller.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Plans made.
    pub plans: u64,
    /// Writes that succeeded.
    pub writes: u64,
    /// Plans that ended early.
    pub failures: u64,
    /// Plans that panicked.
    pub panics: u64,
}

/// Whose work something is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The controller, by its place in the list.
    pub controller: usize,
    /// The key.
    pub key: Key,
}

/// Something to carry out.
pub struct Work {
    /// To be handed back with the outcome.
    pub ticket: Ticket,
    /// The calls to make.
    pub execution: Execution,
}

/// What is remembered of most keys.
static NOTHING: Memory = Memory::new();

/// What a key must wait for.
struct Barrier {
    expects: Vec<(usize, Expect)>,
    until: Timestamp,
}

/// One controller and its state.
struct Seat {
    controller: Box<dyn Controller>,
    slots: Vec<usize>,
    queue: Queue,
    /// In order, so that the same inputs give the same outputs.
    barriers: BTreeMap<Key, Barrier>,
    /// Keys that are wanted but have to wait for their barrier.
    held: HashSet<Key>,
    suspects: HashMap<Key, Vec<Resource>>,
    failed: HashMap<Key, Failure>,
    memory: HashMap<Key, Memory>,
    counters: Counters,
    started: bool,
}

/// All controllers over one set of caches.
#[derive(Default)]
pub struct Engine {
    caches: Caches,
    seats: Vec<Seat>,
    routes: Vec<Vec<(usize, MapFn)>>,
    turn: usize,
    /// Slots that are behind a revision at which nothing may come to them for long: to be listed anew. True: the shell
    /// was told.
    stale: BTreeMap<usize, bool>,
}

impl Engine {
    /// Seats `controllers`; [`Engine::caches`] then says which resources to feed.
    pub fn new(controllers: Vec<Box<dyn Controller>>) -> Self {
        let mut engine = Self::default();
        for (number, controller) in controllers.into_iter().enumerate() {
            let mut slots = Vec::new();
            for watch in controller.watches() {
                let slot = engine.caches.add_kind(&watch.kind);
                engine.routes.resize_with(engine.caches.slots().len(), Vec::new);
                engine.routes[slot].push((number, watch.map));
                slots.push(slot);
            }
            engine.seats.push(Seat::new(controller, slots));
        }
        engine
    }

    /// The caches.
    pub fn caches(&self) -> &Caches {
        &self.caches
    }

    /// The name and the counters of each controller, and how many keys are ready.
    pub fn counters(&self) -> impl Iterator<Item = (&'static str, Counters, usize)> {
        self.seats.iter().map(|s| (s.controller.name(), s.counters, s.queue.depth()))
    }

    /// What a controller's events say they come from.
    pub fn source(&self, ticket: &Ticket) -> &'static str {
        self.seats.get(ticket.controller).map_or("", |s| s.controller.source())
    }

    /// Whether any controller looks at every resource, so that discovery is worth its while.
    pub fn wants_everything(&self) -> bool {
        self.seats.iter().any(|s| s.controller.watches_everything())
    }

    /// Adds a resource found by discovery; tells its slot if it is new.
    pub fn add_resource(&mut self, resource: &Resource) -> Option<usize> {
        let slot = self.caches.add_resource(resource)?;
        self.routes.resize_with(self.caches.slots().len(), Vec::new);
        Some(slot)
    }

    /// Takes in a complete discovery; tells the slots of typed-by-nobody resources that are gone.
    pub fn set_discovered(&mut self, known: &[Resource]) -> Vec<usize> {
        self.caches.set_discovered();
        let has = |r: &Resource| known.iter().any(|k| k.group == r.group && k.resource == r.resource);
        let slots = self.caches.slots().iter().enumerate();
        let gone = slots.filter(|(_, s)| !s.typed && !s.gone && !has(&s.resource)).map(|(i, _)| i);
        let gone: Vec<usize> = gone.collect();
        gone.iter().for_each(|slot| self.caches.remove_resource(*slot));
        self.start_seats();
        gone
    }

    /// Applies what a reflector read.
    pub fn feed(&mut self, slot: usize, feeds: Vec<Feed>, now: Timestamp) {
        if feeds.iter().any(|f| !matches!(f, Feed::Restart | Feed::Page(_))) {
            self.caches.set_heard(slot, now);
        }
        for feed in feeds {
            if matches!(feed, Feed::Listed(_)) && self.stale.get(&slot) == Some(&true) {
                self.stale.remove(&slot);
            }
            for change in self.caches.apply(slot, feed) {
                self.route(slot, &change);
            }
        }
        self.start_seats();
        for seat in &mut self.seats {
            seat.release(&self.caches, slot, now);
        }
    }

    fn route(&mut self, slot: usize, change: &Change) {
        let (view, mut keys) = (self.caches.view(), Vec::new());
        for (number, map) in self.routes.get(slot).map(Vec::as_slice).unwrap_or_default() {
            map(view, change, &mut keys);
            if let Some(seat) = self.seats.get_mut(*number) {
                keys.drain(..).for_each(|key| seat.queue.add(key));
            }
        }
        let Some(resource) = self.caches.slots().get(slot).map(|s| &s.resource) else { return };
        for seat in self.seats.iter_mut().filter(|s| s.controller.watches_everything()) {
            seat.controller.map_any(view, resource, change, &mut keys);
            keys.drain(..).for_each(|key| seat.queue.add(key));
        }
    }

    /// A controller starts when it has seen a first list of all that it looks at.
    fn start_seats(&mut self) {
        let synced = |slot: &usize| self.caches.slots().get(*slot).is_some_and(|s| s.cache.is_synced());
        let complete = self.caches.is_complete();
        for seat in self.seats.iter_mut().filter(|s| !s.started) {
            if seat.slots.iter().all(synced) && (complete || !seat.controller.watches_everything()) {
                seat.started = true;
                seat.controller.initial_keys().into_iter().for_each(|key| seat.queue.add(key));
            }
        }
    }

    /// Whether every controller has started.
    pub fn is_synced(&self) -> bool {
        self.seats.iter().all(|s| s.started)
    }

    /// Makes the next plan that has something in it; none when there is nothing to do now. Controllers take
    /// turns.
    pub fn next_work(&mut self, now: Timestamp) -> Option<Work> {
        for seat in &mut self.seats {
            seat.queue.tick(now);
            seat.expire(now);
        }
        let mut idle = 0;
        while idle < self.seats.len() {
            let number = self.turn % self.seats.len();
            match self.step(number, now) {
                Step::Work(execution, key) => {
                    self.turn += 1;
                    return Some(Work { ticket: Ticket { controller: number, key }, execution: *execution });
                }
                Step::Nothing => idle = 0,
                Step::Idle => {
                    self.turn += 1;
                    idle += 1;
                }
            }
        }
        None
    }

    fn step(&mut self, number: usize, now: Timestamp) -> Step {
        let Some(seat) = self.seats.get_mut(number) else { return Step::Idle };
        if !seat.started || seat.queue.active() >= seat.controller.concurrency() {
            return Step::Idle;
        }
        let Some(key) = seat.queue.take() else { return Step::Idle };
        if seat.barriers.contains_key(&key) {
            seat.held.insert(key.clone());
            seat.queue.done(&key);
            return Step::Nothing;
        }
        if let Some(resources) = seat.suspects.remove(&key) {
            return Step::Work(Box::new(Execution::probe(resources)), key);
        }
        seat.counters.plans += 1;
        let (failed, memory) = (seat.failed.get(&key), seat.memory.get(&key).unwrap_or(&NOTHING));
        let cx = Cx { view: self.caches.view(), key: &key, now, failed, memory };
        let Ok(mut plan) = catch_unwind(AssertUnwindSafe(|| seat.controller.plan(&cx))) else {
            seat.counters.panics += 1;
            seat.queue.done(&key);
            seat.queue.add_failed(key, now);
            return Step::Nothing;
        };
        if let Some(slot) = plan.refresh.as_ref().and_then(|r| self.caches.find(&r.group, &r.resource)) {
            self.stale.entry(slot).or_insert(false);
        }
        match plan.memory.take() {
            Some(memory) if memory.is_empty() => _ = seat.memory.remove(&key),
            Some(memory) => _ = seat.memory.insert(key.clone(), memory),
            None => {}
        }
        if let Some(delay) = plan.requeue_after {
            seat.queue.add_at(key.clone(), now + delay);
        }
        if plan.writes.is_empty() && plan.events.is_empty() {
            seat.succeeded(&key);
            return Step::Nothing;
        }
        Step::Work(Box::new(Execution::new(plan)), key)
    }

    /// Takes back the outcome of some work; what remains is to tell the events.
    pub fn finish(&mut self, ticket: &Ticket, outcome: Outcome, now: Timestamp) -> Vec<EventNote> {
        let key = &ticket.key;
        let Some(seat) = self.seats.get_mut(ticket.controller) else { return outcome.events };
        seat.counters.writes += outcome.written;
        let slotted = outcome.expects.into_iter().filter_map(|e| Some((slot_of(&self.caches, &e)?, e)));
        let unmet: Vec<_> = slotted.filter(|(slot, e)| !is_met(&self.caches, *slot, e)).collect();
        if outcome.probe {
            // Nothing need ever come to a quiet cache: list it anew rather than wait for a bookmark.
            unmet.iter().for_each(|(slot, _)| _ = self.stale.entry(*slot).or_insert(false));
        }
        if !unmet.is_empty() {
            seat.barriers.insert(key.clone(), Barrier { expects: unmet, until: now + BARRIER_TIMEOUT });
        }
        if !outcome.suspects.is_empty() {
            seat.suspects.insert(key.clone(), outcome.suspects);
        }
        match outcome.failure {
            // What the plan is about is still to be planned anew.
            None if outcome.probe => {
                seat.queue.add(key.clone());
                seat.queue.done(key);
            }
            None => seat.succeeded(key),
            Some(failure) => {
                seat.counters.failures += 1;
                let (name, write, message) = (seat.controller.name(), &failure.write, &failure.message);
                tracing::debug!(controller = name, %key, write, "{message}");
                seat.failed.insert(key.clone(), failure);
                seat.queue.done(key);
                seat.queue.add_failed(key.clone(), now);
            }
        }
        outcome.events
    }

    /// Slots whose reflectors are to begin anew with a list; each is told once.
    pub fn take_stale(&mut self) -> Vec<usize> {
        let new = self.stale.iter_mut().filter(|(_, told)| !**told);
        new.map(|(slot, told)| {
            *told = true;
            *slot
        })
        .collect()
    }

    /// When something is due that no feed brings up.
    pub fn next_due(&self) -> Option<Timestamp> {
        let barriers = self.seats.iter().flat_map(|s| s.barriers.values().map(|b| b.until));
        self.seats.iter().filter_map(|s| s.queue.next_due()).chain(barriers).min()
    }
}

/// What one look at one controller brought.
enum Step {
    /// Something to carry out.
    Work(Box<Execution>, Key),
    /// A key was dealt with; there may be more.
    Nothing,
    /// There is no key.
    Idle,
}

impl Seat {
    fn new(controller: Box<dyn Controller>, slots: Vec<usize>) -> Self {
        Self {
            controller,
            slots,
            queue: Queue::default(),
            barriers: BTreeMap::new(),
            held: HashSet::new(),
            suspects: HashMap::new(),
            failed: HashMap::new(),
            memory: HashMap::new(),
            counters: Counters::default(),
            started: false,
        }
    }

    fn succeeded(&mut self, key: &Key) {
        self.failed.remove(key);
        self.queue.forget(key);
        self.queue.done(key);
    }

    /// Lifts the barriers that the state of `slot` meets.
    fn release(&mut self, caches: &Caches, slot: usize, now: Timestamp) {
        if self.barriers.is_empty() {
            return;
        }
        for barrier in self.barriers.values_mut() {
            barrier.expects.retain(|(at, expect)| *at != slot || !is_met(caches, *at, expect));
        }
        self.expire(now);
    }

    fn expire(&mut self, now: Timestamp) {
        let (held, queue) = (&mut self.held, &mut self.queue);
        self.barriers.retain(|key, barrier| {
            let stays = !barrier.expects.is_empty() && barrier.until > now;
            if !stays && held.remove(key) {
                queue.add(key.clone());
            }
            stays
        });
    }
}

fn slot_of(caches: &Caches, expect: &Expect) -> Option<usize> {
    let (Expect::Revision(r, _) | Expect::Gone(r, _, _)) = expect;
    caches.find(&r.group, &r.resource)
}

fn is_met(caches: &Caches, slot: usize, expect: &Expect) -> bool {
    let Some(slot) = caches.slots().get(slot) else { return true };
    match expect {
        Expect::Revision(_, revision) => slot.cache.revision() >= *revision,
        Expect::Gone(_, key, uid) => slot.cache.get(key).is_none_or(|o| {
            let meta = o.meta();
            meta.uid.as_deref() != Some(uid) || meta.deletion_timestamp.is_some()
        }),
    }
}
