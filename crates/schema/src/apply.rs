//! Server-side apply, and the record of who set which field that every write keeps
//! (`k8s.io/apimachinery/pkg/util/managedfields`, `sigs.k8s.io/structured-merge-diff/merge`).

mod fields;
mod managers;
mod shape;
mod walk;

use crate::model::Schema;
use fields::Set;
use managers::{Key, Managed, Managers};
use meta::{Reason, Status, Time};
use serde_json::{Map, Value, json};
use shape::At;
use std::sync::LazyLock;
use walk::Comparison;

/// Owns what an object had before it was first applied to.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// `kubectl apply --server-side` may take over what its client-side apply set.
const KUBECTL: &str = "kubectl";
/// Where client-side apply keeps what it applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Who writes, how and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// `fieldManager`, or what the user agent is called before its first `/`.
    pub manager: &'a str,
    /// The subresource that is written through; empty for the object itself.
    pub subresource: &'a str,
    /// Now.
    pub now: Time,
    /// Field paths that this endpoint resets, so that nobody owns them through it: `[["status"]]` for the object
    /// itself where it has a status subresource, `[["spec"], ["metadata"]]` for the status.
    pub reset: &'a [&'a [&'a str]],
}

/// Fields of the object's frame, which nobody owns.
const FRAME: [&[&str]; 12] = [
    &["apiVersion"],
    &["kind"],
    &["metadata"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "clusterName"],
    &["metadata", "generation"],
    &["metadata", "managedFields"],
    &["metadata", "resourceVersion"],
];

/// Merges an applied configuration into the live object (none: it doesn't exist yet), and records the manager's
/// fields. `force` takes conflicting fields over. The result still needs defaults and validation.
///
/// Fails with 409 and upstream's list of conflicts, or with 500 where the configuration doesn't fit the schema.
pub fn apply(
    schema: &Schema,
    live: Option<&Value>,
    applied: &Value,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Value, Status> {
    let apply = Apply::new(schema, live, applied, writer)?;
    let outcome = match apply.run(force) {
        Err(Failure::Conflicts(c)) if writer.manager == KUBECTL => match apply.without_own_last_applied(c) {
            c if c.is_empty() => apply.run(true),
            c => Err(Failure::Conflicts(c)),
        },
        other => other,
    };
    outcome.map_err(|Failure::Conflicts(c)| conflict_status(&c))
}

/// The `managedFields` that an object has after a create (`old` is none), update or patch made `new` of `old`. `new`
/// still carries the entries that the client sent; an empty list there resets them. Unchanged entries keep their time.
pub fn track_update(schema: &Schema, old: Option<&Value>, new: &Value, writer: &Writer<'_>) -> Vec<Value> {
    let sent = entries(new);
    let kept = old.and_then(entries).unwrap_or_default();
    let from_object = writer.subresource.is_empty();
    if from_object && sent.is_some_and(is_reset) {
        return Vec::new();
    }
    let sent = sent.filter(|e| from_object && !e.is_empty());
    let (base, managers) = match sent.and_then(|e| Managers::read(e).ok().map(|m| (e, m))) {
        Some(sent) => sent,
        None => (kept, Managers::read(kept).unwrap_or_default()),
    };
    if managers.0.is_empty() && old.is_some() {
        return Vec::new();
    }
    // `managedFields` may stay in: nobody owns them, see `FRAME`.
    let empty = old.is_none().then(|| skeleton(schema));
    let live = old.or(empty.as_ref()).unwrap_or(&Value::Null);
    match record_update(schema, live, new, writer, managers) {
        None => base.to_vec(),
        Some(mut managers) => {
            managers.cap_updates();
            managers.write()
        }
    }
}

enum Failure {
    Conflicts(Vec<(Key, Vec<String>)>),
}

struct Apply<'a> {
    schema: &'a Schema,
    live: Value,
    applied: &'a Value,
    writer: &'a Writer<'a>,
    managers: Managers<'a>,
    api_version: String,
}

fn entries(v: &Value) -> Option<&[Value]> {
    v.get("metadata")?.get("managedFields")?.as_array().map(Vec::as_slice)
}

/// An empty list, or one with one empty entry, asks for a reset.
fn is_reset(entries: &[Value]) -> bool {
    match entries {
        [] => true,
        [one] => one.as_object().is_some_and(|m| m.values().all(|v| v.is_null() || v == "")),
        _ => false,
    }
}

/// The object without `managedFields`, which never are part of themselves.
fn bare(v: &Value) -> Value {
    let mut v = v.clone();
    if let Some(Value::Object(metadata)) = v.get_mut("metadata") {
        metadata.remove("managedFields");
    }
    v
}

/// The empty object that a create is compared with: what upstream's type writes where nobody set anything, so that
/// nobody is recorded as its maker.
fn skeleton(schema: &Schema) -> Value {
    let mut empty = crate::decode::empty(schema);
    if let Value::Object(map) = &mut empty {
        map.insert("metadata".to_owned(), json!({}));
    }
    empty
}

fn api_version(v: &Value) -> &str {
    v.get("apiVersion").and_then(Value::as_str).unwrap_or_default()
}

/// What the request changes of what its endpoint may change.
fn compare(schema: &Schema, old: &Value, new: &Value, reset: &Set) -> Comparison {
    walk::compare(At::root(schema.cursor()), Some(old), Some(new)).without(reset)
}

/// The frame's fields as a set.
static FRAME_SET: LazyLock<Set> = LazyLock::new(|| Set::of_fields(&FRAME));

/// Takes from every manager what the change took away or made anew.
fn take_from_others(managers: &mut Managers<'_>, except: Option<&Key>, changed: &Set) {
    let keys: Vec<Key> = managers.0.keys().filter(|k| Some(*k) != except).cloned().collect();
    for key in keys {
        managers.subtract(&key, changed);
    }
}

/// Gives what changed to the writer, and takes it from everybody else. None if nothing did that anybody owns.
fn record_update<'m>(
    schema: &Schema,
    old: &Value,
    new: &Value,
    writer: &Writer<'_>,
    mut managers: Managers<'m>,
) -> Option<Managers<'m>> {
    let reset = Set::of_fields(writer.reset);
    let Comparison { added, removed, modified } = compare(schema, old, new, &reset);
    let mut set = modified;
    set.union(&added);
    set.subtract(&FRAME_SET);
    if set.is_empty() && removed.is_empty() {
        return None;
    }
    take_from_others(&mut managers, None, &set);
    take_from_others(&mut managers, None, &removed);
    if !set.is_empty() {
        let version = api_version(new);
        let key = Key::new(writer.manager, false, version, writer.subresource);
        let mine = managers.0.entry(key).or_insert_with(|| Managed::new(Set::default(), version));
        mine.set_mut().union(&set);
        mine.time = Some(writer.now);
    }
    Some(managers)
}

impl<'a> Apply<'a> {
    fn new(
        schema: &'a Schema,
        live: Option<&'a Value>,
        applied: &'a Value,
        writer: &'a Writer<'a>,
    ) -> Result<Self, Status> {
        if entries(applied).is_some() {
            return Err(Status::bad_request("metadata.managedFields must be nil"));
        }
        check_applied(schema, applied)?;
        let kept = live.and_then(entries).unwrap_or_default();
        let mut managers = Managers::read(kept)
            .map_err(|e| Status::bad_request(format!("failed to decode managed fields: {e}")))?;
        if managers.0.is_empty()
            && let Some(live) = live
        {
            let before = Writer { manager: BEFORE_FIRST_APPLY, subresource: "", ..*writer };
            let untracked = Managers::default();
            managers = record_update(schema, &skeleton(schema), live, &before, untracked).unwrap_or_default();
        }
        let live = live.map_or_else(|| skeleton(schema), bare);
        let api_version = api_version(applied).to_owned();
        Ok(Self { schema, live, applied, writer, managers, api_version })
    }

    fn root(&self) -> At<'_> {
        At::root(self.schema.cursor())
    }

    fn run(&self, force: bool) -> Result<Value, Failure> {
        let reset = Set::of_fields(self.writer.reset);
        let mut managers = self.managers.clone();
        let key = Key::new(self.writer.manager, true, "", self.writer.subresource);
        let last = managers.0.get(&key).cloned();
        let mut set = Set::default();
        walk::field_set(self.root(), self.applied, &mut set);
        set.cut(&reset);
        let time = last.as_ref().and_then(|m| m.time);
        let mut mine = Managed::new(set, &self.api_version);
        mine.time = time;
        managers.0.insert(key.clone(), mine);
        let merged = walk::merge(self.root(), Some(&self.live), Some(self.applied)).unwrap_or_default();
        let pruned = self.prune(merged, last.as_ref(), &managers);
        let change = compare(self.schema, &self.live, &pruned, &reset);
        let Comparison { added, removed, modified: mut changed } = change;
        changed.union(&added);
        let conflicts = conflicts(&managers, &key, &changed);
        if !force && !conflicts.is_empty() {
            return Err(Failure::Conflicts(conflicts));
        }
        take_from_others(&mut managers, Some(&key), &changed);
        take_from_others(&mut managers, Some(&key), &removed);
        managers.subtract(&key, &FRAME_SET);
        if !shape::same(&self.live, &pruned)
            && let Some(m) = managers.0.get_mut(&key)
        {
            m.time = Some(self.writer.now);
        }
        Ok(self.finish(pruned, &managers))
    }

    /// Takes out what the manager applied last time and not this time, unless somebody else owns it.
    fn prune(&self, merged: Value, last: Option<&Managed<'_>>, managers: &Managers<'_>) -> Value {
        let Some(last) = last.map(Managed::set).filter(|s| !s.is_empty()) else { return merged };
        let at = self.root();
        let named = |set: &Set| walk::with_named_fields(at, set);
        let fields_of = |v: &Value| {
            let mut set = Set::default();
            walk::field_set(at, v, &mut set);
            named(&set)
        };
        let empty = || Value::Object(Map::new());
        let last = named(&last);
        let all = fields_of(&merged);
        // First everything that was applied last goes, then what has an owner comes back.
        let pruned = walk::remove(at, &merged, &last).unwrap_or_else(empty);
        let mut owned = Set::default();
        managers.0.values().for_each(|m| owned.union(&m.set()));
        let mut wanted = fields_of(&pruned);
        wanted.union(&named(&owned));
        let pruned = walk::remove(at, &merged, &all.difference(&wanted)).unwrap_or_else(empty);
        // What the manager never owned stays.
        let gone = all.difference(&fields_of(&pruned)).intersection(&last);
        walk::remove(at, &merged, &gone).unwrap_or_else(empty)
    }

    fn finish(&self, mut object: Value, managers: &Managers<'_>) -> Value {
        let kept = self.live.pointer("/metadata/annotations").and_then(|a| a.get(LAST_APPLIED)).is_some();
        let entries = managers.write();
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            if kept && self.writer.manager == KUBECTL {
                let mut text = bare(self.applied).to_string();
                text.push('\n');
                let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
                annotations[LAST_APPLIED] = text.into();
            }
            metadata.insert("managedFields".into(), Value::Array(entries));
        }
        object
    }

    /// The conflicts that remain when kubectl may take over what its own client-side apply set.
    fn without_own_last_applied(&self, conflicts: Vec<(Key, Vec<String>)>) -> Vec<(Key, Vec<String>)> {
        let text = self.live.pointer("/metadata/annotations").and_then(|a| a.get(LAST_APPLIED));
        let last = text.and_then(Value::as_str).and_then(|s| serde_json::from_str::<Value>(s).ok());
        let Some(last) = last.filter(|v| api_version(v) == self.api_version) else { return conflicts };
        let mut set = Set::default();
        walk::field_set(self.root(), &last, &mut set);
        let change = walk::compare(self.root(), Some(&last), Some(&self.live));
        let set = set.difference(&change.modified).difference(&change.added).difference(&change.removed);
        let allowed = set.paths();
        conflicts.into_iter().filter(|(_, path)| !allowed.contains(path)).collect()
    }
}

/// What others own of what the change sets.
fn conflicts(managers: &Managers<'_>, mine: &Key, set: &Set) -> Vec<(Key, Vec<String>)> {
    let others = managers.0.iter().filter(|(k, _)| *k != mine);
    others.flat_map(|(k, m)| m.set().intersection(set).paths().into_iter().map(|p| (k.clone(), p))).collect()
}

fn conflict_status(conflicts: &[(Key, Vec<String>)]) -> Status {
    let message = match conflicts {
        [(key, path)] => {
            format!("Apply failed with 1 conflict: conflict with {}: {}", key.show(), fields::show_path(path))
        }
        many => {
            let mut lines = Vec::new();
            for (i, (key, path)) in many.iter().enumerate() {
                if i == 0 || many[i - 1].0 != *key {
                    lines.push(format!("conflicts with {}:", key.show()));
                }
                lines.push(format!("- {}", fields::show_path(path)));
            }
            format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
        }
    };
    let cause = |(key, path): &(Key, Vec<String>)| {
        let message = format!("conflict with {}", key.show());
        json!({"reason": "FieldManagerConflict", "message": message, "field": fields::show_path(path)})
    };
    let causes: Vec<Value> = conflicts.iter().map(cause).collect();
    Status { details: json!({"causes": causes}), ..Status::new(Reason::Conflict, message) }
}

/// The fault of a configuration with undeclared fields, wrong types or list items that can't be told apart.
pub fn check_applied(schema: &Schema, applied: &Value) -> Result<(), Status> {
    let mut errors = Vec::new();
    walk::check(At::root(schema.cursor()), applied, "", &mut errors);
    let what = match errors.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        many => format!("errors:\n{}", many.iter().map(|e| format!("  {e}\n")).collect::<String>()),
    };
    Err(Status::new(
        Reason::Unknown,
        format!("failed to create typed patch object ({}): {what}", full_name(applied)),
    ))
}

/// The fault of a configuration that isn't of the kind that it names. Upstream calls it its own (500 without a reason),
/// as it does those of [`check_applied`].
pub fn misfit(applied: &Value, why: &str) -> Status {
    let gvk = gvk(applied);
    let kind = format!("{}/{}, Kind={}", gvk.group, gvk.version, gvk.kind);
    Status::new(
        Reason::Unknown,
        format!(
            "failed to convert new object ({}) to proper version: unable to convert unstructured object to {kind}: error \
             decoding from json: {why}",
            full_name(applied)
        ),
    )
}

fn gvk(applied: &Value) -> meta::GroupVersionKind {
    let text = |key: &str| applied.get(key).and_then(Value::as_str).unwrap_or_default();
    meta::GroupVersionKind::from_api_version(text("apiVersion"), text("kind"))
}

/// `namespace/name; group/version, Kind=kind`.
fn full_name(applied: &Value) -> String {
    let text = |path: &str| applied.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let (namespace, name, gvk) = (text("/metadata/namespace"), text("/metadata/name"), gvk(applied));
    format!("{namespace}/{name}; {}/{}, Kind={}", gvk.group, gvk.version, gvk.kind)
}

#[cfg(test)]
mod tests;
