//! Revisions of a template, kept as ControllerRevisions (`pkg/controller/history`).

use crate::ownership::claim;
use crate::templates::{fnv32a, pruned, safe_encode};
use api::apps::v1::ControllerRevision;
use api::core::v1::PodTemplateSpec;
use api::k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use api::kinds::controller_ref;
use api::{Kind, MetaExt, ObjectMeta};
use client::View;
use meta::selector::Selector;
use reconcile::Write;
use serde_json::{Value, json};

/// The longest part of a revision's name that is its owner's.
const MAX_PREFIX: usize = 223;
/// The label that holds a revision's hash, if its owner has none of its own.
pub(crate) const HASH: &str = "controller.kubernetes.io/hash";

/// What is known of the revisions of an owner.
pub(crate) enum History<'a> {
    /// The newest template has a revision that is the newest.
    Known(Revisions<'a>),
    /// First this has to be written.
    Write(Vec<Write>),
    /// The name of the newest revision is taken by another.
    Collision,
}

/// The revisions of an owner, the oldest first.
pub(crate) struct Revisions<'a> {
    pub(crate) all: Vec<&'a ControllerRevision>,
    /// That of the newest template.
    pub(crate) newest: &'a ControllerRevision,
}

impl<'a> Revisions<'a> {
    /// The revision of that name.
    pub(crate) fn named(&self, name: &str) -> Option<&'a ControllerRevision> {
        self.all.iter().copied().find(|r| r.name() == name)
    }

    /// Deletes the oldest of those that nobody `uses`, beyond `limit`.
    pub(crate) fn surplus(
        &self,
        limit: Option<i32>,
        uses: impl Fn(&ControllerRevision) -> bool,
    ) -> Vec<Write> {
        let limit = usize::try_from(limit.unwrap_or(10)).unwrap_or(usize::MAX);
        let idle: Vec<_> = self.all.iter().filter(|r| !uses(r)).collect();
        idle.iter().take(idle.len().saturating_sub(limit)).map(|r| Write::delete(**r)).collect()
    }
}

/// The revisions of `owner`, whose template is `template`. `label` holds the hash.
pub(crate) fn history<'a, O: Kind>(
    view: View<'a>,
    owner: &'a O,
    template: &PodTemplateSpec,
    selector: &Selector,
    collisions: Option<i32>,
    label: &str,
) -> History<'a> {
    let own = view.controlled_by::<ControllerRevision>(owner.uid());
    let orphans = view.list::<ControllerRevision>(owner.namespace()).filter(|r| r.controller().is_none());
    let claimed = claim(owner, selector, own.chain(orphans));
    if !claimed.writes.is_empty() {
        return History::Write(claimed.writes);
    }
    let mut all = claimed.owned;
    all.sort_by_key(|r| (r.revision.unwrap_or(0), r.created(), r.name().to_owned()));
    let data = patch(template);
    let next = all.last().and_then(|r| r.revision).unwrap_or(0) + 1;
    let same = |r: &&&ControllerRevision| pruned(&r.data.0) == data;
    match all.iter().rev().find(same).copied() {
        Some(newest) if all.last().is_some_and(|r| r.name() == newest.name()) => {
            History::Known(Revisions { all, newest })
        }
        Some(old) => {
            let mut again = old.clone();
            again.revision = Some(next);
            History::Write(vec![Write::update(&again)])
        }
        None => {
            let new = revision(owner, template, data, next, collisions, label);
            if view.get::<ControllerRevision>(owner.namespace(), new.name()).is_some() {
                return History::Collision;
            }
            History::Write(vec![Write::create(&new)])
        }
    }
}

/// The template as the patch that brings an owner back to it.
fn patch(template: &PodTemplateSpec) -> Value {
    let mut template = pruned(template);
    if let Some(map) = template.as_object_mut() {
        map.insert("$patch".to_owned(), "replace".into());
    }
    json!({"spec": {"template": template}})
}

/// The template that a revision holds.
pub(crate) fn template_of(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    serde_json::from_value(revision.data.0.get("spec")?.get("template")?.clone()).ok()
}

fn revision<O: Kind>(
    owner: &O,
    template: &PodTemplateSpec,
    data: Value,
    number: i64,
    collisions: Option<i32>,
    label: &str,
) -> ControllerRevision {
    let mut bytes = data.to_string().into_bytes();
    if let Some(n) = collisions {
        bytes.extend_from_slice(n.to_string().as_bytes());
    }
    let hash = safe_encode(fnv32a(&bytes));
    let mut labels = template.metadata.as_ref().and_then(|m| m.labels.clone()).unwrap_or_default();
    labels.insert(label.to_owned(), hash.clone());
    let prefix = owner.name().get(..MAX_PREFIX).unwrap_or(owner.name());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{prefix}-{hash}")),
            namespace: owner.meta().namespace.clone(),
            labels: Some(labels),
            annotations: owner.meta().annotations.clone(),
            owner_references: Some(vec![controller_ref(owner)]),
            ..ObjectMeta::default()
        },
        data: RawExtension(data),
        revision: Some(number),
    }
}
