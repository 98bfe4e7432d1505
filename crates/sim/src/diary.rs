//! What the walk is told from: who called the server, what was planned, what a node was asked to do.

use client::{Change, Key, Resource, View};
use reconcile::{Controller, Cx, Plan, Watch};
use std::sync::{Arc, Mutex};

/// One thing that happened.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    /// A write was carried out: by whom, as which call.
    Call { user: String, call: String },
    /// A controller made a plan that asks for something.
    Plan { controller: &'static str, key: String, seen: Vec<(&'static str, u64)>, lines: Vec<String> },
    /// The node agent's core asks for something.
    Ops { pod: String, ops: Vec<String> },
}

/// Notes in the order in which things happened; empty and deaf unless somebody wants to read it.
#[derive(Clone, Default)]
pub(crate) struct Diary(Option<Arc<Mutex<Vec<Note>>>>);

impl Diary {
    /// One that takes notes.
    pub(crate) fn open() -> Self {
        Self(Some(Arc::default()))
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn write(&self, note: impl FnOnce() -> Note) {
        if let Some(notes) = &self.0 {
            crate::world::lock(notes).push(note());
        }
    }

    /// What was written since the last time.
    pub(crate) fn take(&self) -> Vec<Note> {
        self.0.as_ref().map(|notes| std::mem::take(&mut *crate::world::lock(notes))).unwrap_or_default()
    }

    /// The controllers, with their plans written down.
    pub(crate) fn of(&self, all: Vec<Box<dyn Controller>>) -> Vec<Box<dyn Controller>> {
        if !self.is_open() {
            return all;
        }
        let noted = |c: Box<dyn Controller>| {
            let (diary, name) = (self.clone(), c.name());
            let after = move |cx: &Cx<'_>, plan: &mut Plan| {
                let lines: Vec<String> = plan.writes.iter().map(ToString::to_string).collect();
                if !lines.is_empty() {
                    let (key, seen) = (cx.key.to_string(), seen(cx.view));
                    diary.write(|| Note::Plan { controller: name, key, seen, lines });
                }
            };
            Box::new(Wrapped { inner: c, after: Box::new(after) }) as Box<dyn Controller>
        };
        all.into_iter().map(noted).collect()
    }
}

/// How far the caches are of what the walk is about.
fn seen(view: View<'_>) -> Vec<(&'static str, u64)> {
    fn of<K: api::Kind>(view: View<'_>) -> Option<(&'static str, u64)> {
        Some((K::INFO.resource, view.cache::<K>()?.revision()))
    }
    let all = [
        of::<api::apps::v1::Deployment>(view),
        of::<api::apps::v1::ReplicaSet>(view),
        of::<api::core::v1::Pod>(view),
        of::<api::discovery::v1::EndpointSlice>(view),
    ];
    all.into_iter().flatten().collect()
}

/// What is done to a plan before it is carried out.
type After = Box<dyn Fn(&Cx<'_>, &mut Plan) + Send + Sync>;

/// A controller whose plans pass somebody's hands.
pub(crate) struct Wrapped {
    pub(crate) inner: Box<dyn Controller>,
    pub(crate) after: After,
}

impl Controller for Wrapped {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn account(&self) -> &'static str {
        self.inner.account()
    }

    fn source(&self) -> &'static str {
        self.inner.source()
    }

    fn watches(&self) -> Vec<Watch> {
        self.inner.watches()
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let mut plan = self.inner.plan(cx);
        (self.after)(cx, &mut plan);
        plan
    }

    fn watches_everything(&self) -> bool {
        self.inner.watches_everything()
    }

    fn map_any(&self, view: View<'_>, resource: &Resource, change: &Change, keys: &mut Vec<Key>) {
        self.inner.map_any(view, resource, change, keys);
    }

    fn initial_keys(&self) -> Vec<Key> {
        self.inner.initial_keys()
    }

    fn concurrency(&self) -> usize {
        self.inner.concurrency()
    }
}
