//! Text-in, text-out tests of plans: objects as JSON in, the plan as lines out.

use client::{Caches, Feed, Key};
use jiff::Timestamp;
use reconcile::plan::Op;
use reconcile::{Controller, Cx, Failure, Memory, Plan, Write};
use serde_json::Value;
use std::fmt::Write as _;

/// What a controller sees.
pub(crate) struct Scene {
    caches: Caches,
    pub(crate) now: Timestamp,
    pub(crate) failed: Option<Failure>,
    pub(crate) memory: Memory,
}

impl Scene {
    /// A scene with these objects, at 2026-01-01T00:00:00Z. Objects without a UID get `<name>-uid`.
    pub(crate) fn new(objects: impl IntoIterator<Item = Value>) -> Self {
        let mut caches = Caches::default();
        for info in api::kinds::ALL {
            let slot = caches.add_kind(info);
            caches.apply(slot, Feed::Listed(1));
        }
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let mut scene = Self { caches, now, failed: None, memory: Memory::new() };
        objects.into_iter().for_each(|o| scene.put(o));
        scene
    }

    /// Puts one more object, or another state of it.
    pub(crate) fn put(&mut self, mut object: Value) {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let (kind, version) = (text(&object["kind"]), text(&object["apiVersion"]));
        let info = api::kinds::ALL.iter().find(|k| k.kind == kind && k.api_version() == version);
        let info = info.unwrap_or_else(|| panic!("no kind {version} {kind}"));
        let meta = object["metadata"].as_object_mut().expect("metadata");
        let name = meta["name"].as_str().unwrap_or_default().to_owned();
        meta.entry("uid").or_insert(format!("{name}-uid").into());
        meta.entry("resourceVersion").or_insert("1".into());
        if info.namespaced {
            meta.entry("namespace").or_insert("x".into());
        }
        let decoded = (info.decode)(object.to_string().as_bytes()).expect("an object");
        let slot = self.caches.slot_of(info).expect("a slot");
        self.caches.apply(slot, Feed::Put(decoded));
    }

    /// Says that every cache has all up to a revision.
    pub(crate) fn caught_up(&mut self, revision: u64) {
        for slot in 0..self.caches.slots().len() {
            self.caches.apply(slot, Feed::Bookmark(revision));
        }
    }

    /// Says that all resources are known.
    pub(crate) fn discovered(&mut self) {
        self.caches.set_discovered();
    }

    /// Takes an object away.
    pub(crate) fn remove(&mut self, mut object: Value) {
        self.put(object.clone());
        let info = api::kinds::ALL.iter().find(|k| object["kind"] == k.kind).expect("a kind");
        object["metadata"]["namespace"] = if info.namespaced { "x".into() } else { Value::Null };
        let decoded = (info.decode)(object.to_string().as_bytes()).expect("an object");
        let slot = self.caches.slot_of(info).expect("a slot");
        self.caches.apply(slot, Feed::Delete(decoded));
    }

    /// Lets `look` see what a controller sees.
    pub(crate) fn map(&self, look: impl FnOnce(client::View<'_>)) {
        look(self.caches.view());
    }

    /// The plan for `namespace/name` (or `name`).
    pub(crate) fn plan(&self, controller: &dyn Controller, key: &str) -> Plan {
        let (namespace, name) = key.split_once('/').unwrap_or(("", key));
        let key = Key::new(namespace, name);
        let (view, failed, memory) = (self.caches.view(), self.failed.as_ref(), &self.memory);
        let cx = Cx { view, key: &key, now: self.now, failed, memory };
        controller.plan(&cx)
    }

    /// The plan as text.
    pub(crate) fn show(&self, controller: &dyn Controller, key: &str) -> String {
        let plan = self.plan(controller, key);
        let mut out = String::new();
        for write in &plan.writes {
            show_write(&mut out, write);
        }
        for event in &plan.events {
            let _ = writeln!(out, "event {event}");
        }
        if let Some(delay) = plan.requeue_after {
            let _ = writeln!(out, "again in {} s", delay.as_secs());
        }
        out
    }
}

fn show_write(out: &mut String, write: &Write) {
    let mut body: Value = serde_json::from_slice(&write.body).unwrap_or_default();
    let shown = match &write.op {
        Op::Update("status") => body["status"].take(),
        Op::Delete(_) => Value::Null,
        Op::Create | Op::Update(_) => brief(body),
        _ => body,
    };
    let shown = if shown.is_null() { String::new() } else { format!(" {shown}") };
    let _ = writeln!(out, "{write}{shown}");
    for (when, note) in [("ok", &write.on_ok), ("or", &write.on_error)] {
        if let Some(note) = note {
            let _ = writeln!(out, "  {when}: {note}");
        }
    }
}

/// Without what every object has.
fn brief(mut body: Value) -> Value {
    if let Some(map) = body.as_object_mut() {
        map.remove("apiVersion");
        map.remove("kind");
        map.remove("status");
    }
    if let Some(meta) = body["metadata"].as_object_mut() {
        for key in ["namespace", "uid", "resourceVersion", "name"] {
            meta.remove(key);
        }
        if let Some(owners) = meta.get_mut("ownerReferences").and_then(Value::as_array_mut) {
            owners
                .iter_mut()
                .for_each(|o| *o = format!("{}/{}", o["kind"], o["name"]).replace('"', "").into());
        }
    }
    body
}
