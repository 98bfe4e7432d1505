//! DELETE and DELETECOLLECTION (`registry/rest/delete.go`, `registry/generic/registry/store.go: Delete`).

use crate::codec;
use crate::decode;
use crate::filter::Filter;
use crate::limits::MAX_WRITE_TRIES;
use crate::list;
use crate::query::{ListOptions, dry_run};
use crate::reply::{Reply, success};
use crate::update::is_held;
use crate::write::{Outcome, Writing};
use admission::Operation;
use bytes::Bytes;
use meta::{FieldError, FieldPath, Object, Status, Time};
use registry::strategy::Dependents;
use serde_json::{Value, json};
use std::sync::Arc;
use store::{Entry, Expect, Write};

/// `propagationPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Propagation {
    Orphan,
    Background,
    Foreground,
}

/// `metav1.DeleteOptions`.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    pub(crate) grace: Option<i64>,
    propagation: Option<Propagation>,
    orphan_dependents: Option<bool>,
    uid: Option<String>,
    resource_version: Option<String>,
    pub(crate) dry_run: bool,
}

impl DeleteOptions {
    /// From a body; the query where there is none.
    pub(crate) fn parse(w: &Writing<'_>, body: &Bytes) -> Result<Self, Status> {
        if !body.is_empty() {
            let decoded = decode::parse(&w.request.headers, body, "DeleteOptions")?;
            return Self::from_value(&decoded.value);
        }
        let q = &w.request.info.query;
        let mut v = json!({});
        if let Some(n) = q.number("gracePeriodSeconds")? {
            v["gracePeriodSeconds"] = n.into();
        }
        if let Some(p) = q.get("propagationPolicy").filter(|p| !p.is_empty()) {
            v["propagationPolicy"] = p.into();
        }
        if q.get("orphanDependents").is_some() {
            v["orphanDependents"] = q.flag("orphanDependents").into();
        }
        let values: Vec<&str> = q.all("dryRun").collect();
        if !values.is_empty() {
            v["dryRun"] = values.into();
        }
        Self::from_value(&v)
    }

    /// From the object; checks what `ValidateDeleteOptions` checks.
    pub(crate) fn from_value(v: &Value) -> Result<Self, Status> {
        let mut errors = Vec::new();
        let path = FieldPath::new("propagationPolicy");
        let propagation = match v["propagationPolicy"].as_str() {
            None => None,
            Some("Orphan") => Some(Propagation::Orphan),
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            Some(other) => {
                errors.push(FieldError::not_supported(
                    &path,
                    other,
                    &["Foreground", "Background", "Orphan", "nil"],
                ));
                None
            }
        };
        let orphan_dependents = v["orphanDependents"].as_bool();
        if orphan_dependents.is_some() && propagation.is_some() {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            errors.push(FieldError::invalid(&path, v["propagationPolicy"].clone(), why));
        }
        let values = v["dryRun"].as_array().map(Vec::as_slice).unwrap_or_default();
        let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        let dry_run = dry_run(&values, &mut errors);
        if !errors.is_empty() {
            return Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", &errors));
        }
        let text = |key: &str| v["preconditions"][key].as_str().map(str::to_owned);
        Ok(Self {
            // A negative grace means the shortest.
            grace: v["gracePeriodSeconds"].as_i64().map(|n| if n < 0 { 1 } else { n }),
            propagation,
            orphan_dependents,
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            dry_run,
        })
    }

    /// Refuses an object that isn't the one the preconditions name.
    pub(crate) fn check(&self, kind: &registry::Kind, object: &Object) -> Result<(), Status> {
        let m = &object.metadata;
        let conflict = |why: String| Err(Status::conflict(&kind.group, &kind.kind, &m.name, &why));
        if let Some(uid) = self.uid.as_ref().filter(|u| **u != m.uid) {
            return conflict(format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
                m.uid
            ));
        }
        if let Some(rv) = self.resource_version.as_ref().filter(|r| **r != m.resource_version) {
            return conflict(format!(
                "the ResourceVersion in the precondition ({rv}) does not match the ResourceVersion in record ({}). The object might have been modified",
                m.resource_version
            ));
        }
        Ok(())
    }

    /// The server itself has changed the object since the preconditions were checked.
    pub(crate) fn follow(&mut self, revision: u64) {
        if let Some(wanted) = &mut self.resource_version {
            *wanted = revision.to_string();
        }
    }

    /// The finalizers that the garbage collector shall find (`deletionFinalizersForGarbageCollection`).
    fn finalizers(&self, kind: &registry::Kind, old: &[String]) -> Vec<String> {
        let has = |f: &str| old.iter().any(|x| x == f);
        let by_default = kind.strategy.dependents == Dependents::Orphan;
        let orphan = match (self.orphan_dependents, self.propagation) {
            (Some(orphan), _) => orphan,
            (None, Some(p)) => p == Propagation::Orphan,
            (None, None) => has(ORPHAN) || (by_default && !has(FOREGROUND)),
        };
        let foreground = match (self.orphan_dependents, self.propagation) {
            (Some(_), _) => false,
            (None, Some(p)) => p == Propagation::Foreground,
            (None, None) => has(FOREGROUND),
        };
        let mut new: Vec<String> = old.iter().filter(|f| *f != ORPHAN && *f != FOREGROUND).cloned().collect();
        for (wanted, finalizer) in [(orphan, ORPHAN), (foreground, FOREGROUND)] {
            if wanted {
                new.push(finalizer.to_owned());
            }
        }
        new
    }
}

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// Kinds whose deletion answers with the object and not with a Status (`ReturnDeletedObject`).
const RETURN_OBJECT: &[(&str, &str)] = &[
    ("", "pods"),
    ("", "services"),
    ("", "serviceaccounts"),
    ("", "persistentvolumes"),
    ("", "persistentvolumeclaims"),
    ("", "namespaces"),
    ("", "resourcequotas"),
    ("", "podtemplates"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "storageclasses"),
    ("storage.k8s.io", "volumeattachments"),
    ("storage.k8s.io", "volumeattributesclasses"),
    ("resource.k8s.io", "resourceclaims"),
    ("resource.k8s.io", "resourceclaimtemplates"),
    ("resource.k8s.io", "resourceslices"),
    ("resource.k8s.io", "deviceclasses"),
];

/// What a deletion does to the object that is there.
enum Verdict {
    /// It is gone; this is its last state.
    Gone(Object),
    /// It is marked, and somebody must still act.
    Marked(Object),
    /// It was marked before, and stays as it is.
    Pending,
}

/// A deletion that was carried out.
pub(crate) struct Deleted {
    pub(crate) object: Object,
    pub(crate) gone: bool,
    entry: Option<Arc<Entry>>,
}

impl Writing<'_> {
    /// DELETE of one object.
    pub(crate) async fn delete(mut self, body: &Bytes) -> Result<Reply, Status> {
        let options = DeleteOptions::parse(&self, body)?;
        self.options.dry_run |= options.dry_run;
        let name = self.request.info.name.clone();
        let deleted = self.delete_one(&name, &options).await?;
        let code = if !deleted.gone && options.orphan_dependents == Some(false) { 202 } else { 200 };
        self.answer_deleted(code, &deleted)
    }

    fn answer_deleted(&self, code: u16, deleted: &Deleted) -> Result<Reply, Status> {
        let kind = &self.served.kind;
        let with_object = RETURN_OBJECT.iter().any(|(g, r)| kind.group == *g && kind.resource == *r);
        if deleted.gone && !with_object {
            let m = &deleted.object.metadata;
            let mut details = json!({"name": m.name, "kind": kind.resource, "uid": m.uid});
            if !kind.group.is_empty() {
                details["group"] = kind.group.as_ref().into();
            }
            return Ok(Reply::value(code, self.accepted, &success(details)).warn(&self.warnings));
        }
        match &deleted.entry {
            Some(entry) => self.answer(code, entry),
            None => self.answer_object(code, &deleted.object),
        }
    }

    /// Deletes one object, again and again while others write it.
    pub(crate) async fn delete_one(
        &mut self,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, Status> {
        let key = self.key(name)?;
        for _ in 0..MAX_WRITE_TRIES {
            let entry = self.server.store.get(&key).ok_or_else(|| self.served.not_found(name))?;
            let old = codec::decode(&self.served, &entry)?;
            options.check(&self.served.kind, &old)?;
            let charge = self.admit(Operation::Delete, None, Some(&old))?;
            let (new, gone) = match self.verdict(&old, options) {
                Verdict::Pending => return Ok(Deleted { object: old, gone: false, entry: Some(entry) }),
                Verdict::Gone(new) => (new, true),
                Verdict::Marked(new) => (new, false),
            };
            if self.options.dry_run || (!gone && new == old) {
                return Ok(Deleted { object: new, gone, entry: None });
            }
            self.charge(&charge).await?;
            let encoded = self.server.encode(&self.served, &new)?;
            let write = if gone { Write::Delete(Some(encoded)) } else { Write::Put(encoded) };
            if let Outcome::Done(done) =
                self.server.commit(&key, Expect::Revision(entry.revision), write).await?
            {
                match gone {
                    true => self.server.after_delete(&self.served, &new).await,
                    false => self.server.after_write(&self.served, &new).await,
                }
                return Ok(Deleted { object: new, gone, entry: Some(done.entry) });
            }
        }
        let kind = &self.served.kind;
        Err(Status::stale(&kind.group, &kind.resource, name))
    }

    /// `BeforeDelete` and `updateForGracefulDeletionAndFinalizers` in one: data in, data out.
    fn verdict(&self, old: &Object, options: &DeleteOptions) -> Verdict {
        let kind = &self.served.kind;
        let mut new = old.clone();
        let now = Time::new(self.now);
        let graceful = match self.grace(&mut new, options, now) {
            Some(graceful) => graceful,
            None => return Verdict::Pending,
        };
        new.metadata.finalizers = options.finalizers(kind, &old.metadata.finalizers);
        self.server.mark_deleting(&self.served, &mut new, now);
        let held = is_held(&new);
        if graceful && (held || new.metadata.deletion_grace_period_seconds.unwrap_or(0) > 0) {
            return Verdict::Marked(new);
        }
        if !held {
            return Verdict::Gone(new);
        }
        let m = &mut new.metadata;
        if m.deletion_timestamp.is_none() {
            m.deletion_timestamp = Some(now);
            m.generation += i64::from(m.generation > 0);
        }
        if !(kind.kind == "Namespace" && kind.group.is_empty()) {
            m.deletion_grace_period_seconds = Some(0);
        }
        Verdict::Marked(new)
    }

    /// Gives the object its time, or shortens it. Some(true): it goes gracefully; None: it was marked before and nothing
    /// changes.
    fn grace(&self, new: &mut Object, options: &DeleteOptions, now: Time) -> Option<bool> {
        let Some(grace) = (self.served.kind.strategy.grace)(new, options.grace) else { return Some(false) };
        let m = &mut new.metadata;
        let Some(at) = m.deletion_timestamp else {
            m.deletion_timestamp = Some(Time::from_second(now.as_second().saturating_add(grace)));
            m.deletion_grace_period_seconds = Some(grace);
            m.generation += i64::from(m.generation > 0);
            return Some(true);
        };
        let had = m.deletion_grace_period_seconds.unwrap_or(0);
        if had == 0 {
            return Some(false);
        }
        let wanted = options.grace.filter(|wanted| *wanted < had)?;
        let (mut end, mut grace) = (at.as_second() - had + wanted, wanted);
        if end < now.as_second() {
            end = now.as_second();
            grace = i64::from(wanted != 0);
        }
        (m.deletion_timestamp, m.deletion_grace_period_seconds) = (Some(Time::from_second(end)), Some(grace));
        Some(true)
    }

    /// DELETECOLLECTION: each object by itself; what went meanwhile is no fault.
    pub(crate) async fn delete_collection(mut self, body: &Bytes) -> Result<Reply, Status> {
        let options = DeleteOptions::parse(&self, body)?;
        self.options.dry_run |= options.dry_run;
        let wanted = ListOptions::parse(&self.request.info.query)?;
        let filter = Filter::parse(&self.served, &wanted)?;
        let namespace = self.namespace().to_owned();
        let query = list::ListQuery {
            store: &self.server.store,
            served: &self.served,
            namespace: &namespace,
            options: &wanted,
            filter: &filter,
        };
        let (revision, entries) = query.entries()?;
        let mut items = Vec::new();
        for entry in entries {
            let name = entry.key.rsplit('/').next().unwrap_or_default();
            match self.delete_one(name, &options).await {
                Ok(deleted) => items.push(deleted.object.into_value()),
                Err(e) if e.code == 404 => {}
                Err(e) => return Err(e),
            }
        }
        let kind = &self.served.kind;
        let v = json!({"kind": kind.list_kind, "apiVersion": kind.api_version(),
            "metadata": {"resourceVersion": revision.to_string()}, "items": items});
        Ok(Reply::value(200, self.accepted, &v).warn(&self.warnings))
    }
}
