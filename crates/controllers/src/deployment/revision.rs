//! Revisions of a Deployment: annotations of its ReplicaSets, and the set for its newest template
//! (`getNewReplicaSet`, `SetNewReplicaSetAnnotations`).

use super::{Collision, Rollout, Set, conditions, max_surge};
use crate::templates;
use api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use api::kinds::controller_ref;
use api::{Kind, LabelSelector, MetaExt, ObjectMeta, names};
use std::collections::BTreeMap;

/// The longest `revision-history` annotation.
const MAX_HISTORY: usize = 2000;
/// The longest name of a set (`DNS1123SubdomainMaxLength`).
const MAX_NAME: usize = 253;

/// Annotations that are not copied between a Deployment and its sets.
const NOT_COPIED: [&str; 6] = [
    names::ANNOTATION_LAST_APPLIED,
    names::ANNOTATION_DEPLOYMENT_REVISION,
    names::ANNOTATION_DEPLOYMENT_REVISION_HISTORY,
    names::ANNOTATION_DEPLOYMENT_DESIRED_REPLICAS,
    names::ANNOTATION_DEPLOYMENT_MAX_REPLICAS,
    names::ANNOTATION_DEPRECATED_ROLLBACK_TO,
];

/// The revision that an object's annotation tells; 0 where it tells none.
pub(super) fn revision_of<K: Kind>(object: &K) -> i64 {
    object.annotation(names::ANNOTATION_DEPLOYMENT_REVISION).and_then(|r| r.parse().ok()).unwrap_or(0)
}

impl Rollout<'_> {
    fn next_revision(&self) -> i64 {
        self.old.iter().map(|s| revision_of(&s.rs)).max().unwrap_or(0) + 1
    }

    /// Brings the annotations of the new set, where there is one, up to date.
    pub(super) fn sync_revision(&mut self) {
        let next = self.next_revision();
        let (d, now) = (&mut self.d, self.cx.now);
        let Some(new) = &mut self.new else { return };
        new.dirty |= annotate(d, &mut new.rs, next);
        if new.rs.spec.min_ready_seconds.unwrap_or(0) != d.spec.min_ready_seconds.unwrap_or(0) {
            new.rs.spec.min_ready_seconds = d.spec.min_ready_seconds;
            new.dirty = true;
        }
        set_revision(d, revision_of(&new.rs));
        if conditions::has_deadline(d) && conditions::get(d, conditions::PROGRESSING).is_none() {
            let message = format!("Found new replica set {:?}", new.rs.name());
            conditions::set(d, conditions::PROGRESSING, "True", "FoundNewReplicaSet", message, now);
        }
    }

    /// Makes sure that there is a set for the newest template.
    pub(super) fn ensure_new(&mut self) -> Result<(), Collision> {
        if self.new.is_some() {
            self.sync_revision();
            return Ok(());
        }
        let collisions = self.d.status.as_ref().and_then(|s| s.collision_count);
        let mut rs = new_set(&self.d, collisions);
        if self.cx.view.get::<ReplicaSet>(rs.namespace(), rs.name()).is_some() {
            return Err(Collision);
        }
        let next = self.next_revision();
        annotate(&self.d, &mut rs, next);
        set_replicas_annotations(&self.d, &mut rs);
        rs.spec.replicas = Some(0);
        rs.spec.replicas = Some(self.replicas_of_new(0));
        set_revision(&mut self.d, next);
        self.note_creation(rs.name());
        self.new = Some(Set { rs, scaled_from: None, dirty: false });
        self.creating = true;
        Ok(())
    }

    fn note_creation(&mut self, name: &str) {
        if !conditions::has_deadline(&self.d) {
            return;
        }
        let failed = self.cx.failed.filter(|f| f.create && f.resource.resource == "replicasets");
        let (status, reason, message) = match failed {
            Some(f) => {
                let message = format!("Failed to create new replica set {name:?}: {}", f.message);
                ("False", "ReplicaSetCreateError", message)
            }
            None => ("True", "NewReplicaSetCreated", format!("Created new replica set {name:?}")),
        };
        conditions::set(&mut self.d, conditions::PROGRESSING, status, reason, message, self.cx.now);
    }
}

fn set_revision(d: &mut Deployment, revision: i64) {
    if revision > 0 {
        let annotations = d.metadata.annotations.get_or_insert_default();
        annotations.insert(names::ANNOTATION_DEPLOYMENT_REVISION.to_owned(), revision.to_string());
    }
}

/// The set for the newest template, not yet scaled or annotated.
fn new_set(d: &Deployment, collisions: Option<i32>) -> ReplicaSet {
    let hash = templates::hash(&templates::pruned(&d.spec.template), collisions);
    let hashed = |labels: Option<BTreeMap<String, String>>| {
        let mut labels = labels.unwrap_or_default();
        labels.insert(names::LABEL_POD_TEMPLATE_HASH.to_owned(), hash.clone());
        Some(labels)
    };
    let mut template = d.spec.template.clone();
    let meta = template.metadata.get_or_insert_default();
    meta.labels = hashed(meta.labels.take());
    let labels = meta.labels.clone();
    let selector = LabelSelector {
        match_labels: hashed(d.spec.selector.match_labels.clone()),
        match_expressions: d.spec.selector.match_expressions.clone(),
    };
    let room = MAX_NAME - 1 - hash.len();
    let prefix = d.name().get(..room).unwrap_or(d.name());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{prefix}-{hash}")),
            namespace: d.metadata.namespace.clone(),
            owner_references: Some(vec![controller_ref(d)]),
            labels,
            ..ObjectMeta::default()
        },
        spec: ReplicaSetSpec {
            replicas: None,
            min_ready_seconds: d.spec.min_ready_seconds,
            selector,
            template: Some(template),
        },
        status: None,
    }
}

/// Copies the Deployment's annotations to the set and raises its revision; tells whether anything changed.
fn annotate(d: &Deployment, rs: &mut ReplicaSet, revision: i64) -> bool {
    let annotations = rs.metadata.annotations.get_or_insert_default();
    let mut changed = false;
    for (key, value) in d.metadata.annotations.iter().flatten() {
        if !NOT_COPIED.contains(&key.as_str()) && annotations.get(key) != Some(value) {
            annotations.insert(key.clone(), value.clone());
            changed = true;
        }
    }
    let old = annotations.get(names::ANNOTATION_DEPLOYMENT_REVISION).cloned();
    let old_number = old.as_deref().map_or(Ok(0), str::parse::<i64>);
    // A revision that somebody made unreadable is left alone.
    let Ok(number) = old_number else { return changed };
    if number >= revision {
        return changed;
    }
    annotations.insert(names::ANNOTATION_DEPLOYMENT_REVISION.to_owned(), revision.to_string());
    if let Some(old) = old {
        remember(annotations, &old);
    }
    true
}

/// Keeps the revisions that a set had before, as many as there is room for.
fn remember(annotations: &mut BTreeMap<String, String>, old: &str) {
    const KEY: &str = names::ANNOTATION_DEPLOYMENT_REVISION_HISTORY;
    let history = annotations.get(KEY).cloned().unwrap_or_default();
    let mut all: Vec<&str> = history.split(',').filter(|r| !r.is_empty()).collect();
    all.push(old);
    while all.len() > 1 && all.iter().map(|r| r.len() + 1).sum::<usize>() > MAX_HISTORY + 1 {
        all.remove(0);
    }
    let joined = all.join(",");
    annotations.insert(KEY.to_owned(), joined);
}

/// Notes at what size of the Deployment the set was scaled last; tells whether that changed.
pub(super) fn set_replicas_annotations(d: &Deployment, rs: &mut ReplicaSet) -> bool {
    let wanted = d.spec.replicas.unwrap_or(1);
    let annotations = rs.metadata.annotations.get_or_insert_default();
    let mut set = |key: &str, n: i32| {
        let text = n.to_string();
        annotations.insert(key.to_owned(), text.clone()).as_ref() != Some(&text)
    };
    let desired = set(names::ANNOTATION_DEPLOYMENT_DESIRED_REPLICAS, wanted);
    set(names::ANNOTATION_DEPLOYMENT_MAX_REPLICAS, wanted + max_surge(d)) || desired
}
