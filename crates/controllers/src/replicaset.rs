//! Keeps as many pods as a ReplicaSet asks for (`pkg/controller/replicaset`).

use crate::ownership::claim;
use crate::pods;
use crate::selectors::owning_selector;
use api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use api::core::v1::{Pod, PodTemplateSpec};
use api::{Kind, MetaExt, names};
use client::{Key, View};
use jiff::Timestamp;
use meta::selector::Selector;
use reconcile::controller::owner_key;
use reconcile::{Controller, Cx, EventNote, Failure, Plan, Watch, Write};
use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::time::Duration;

/// Pods that one plan creates or deletes at the most (`BurstReplicas`).
const BURST: usize = 500;

/// The controller.
pub(crate) struct ReplicaSets;

impl Controller for ReplicaSets {
    fn name(&self) -> &'static str {
        "replicaset-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::own::<ReplicaSet>(), Watch::each::<Pod>(keys_of_pod)]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        match cx.view.at::<ReplicaSet>(cx.key) {
            Some(rs) => plan(cx, rs, rs, |rs, status| {
                let (metadata, spec) = (rs.metadata.clone(), rs.spec.clone());
                Write::update_status(&ReplicaSet { metadata, spec, status: Some(status) })
            }),
            None => Plan::done(),
        }
    }
}

/// Its owner; for an orphan every ReplicaSet that could adopt it.
fn keys_of_pod(view: View<'_>, pod: &Pod, keys: &mut Vec<Key>) {
    if pod.controller().is_some() {
        keys.extend(owner_key::<Pod, ReplicaSet>(pod));
        return;
    }
    let matching = |rs: &&ReplicaSet| owning_selector(&rs.spec.selector).matches(pod.labels());
    keys.extend(view.list::<ReplicaSet>(pod.namespace()).filter(matching).map(|rs| Key::of(rs)));
}

/// The plan for `owner`, which asks for what `rs` says: itself, or the same in another kind's words
/// ([`crate::replication`]). `write` writes a status of the owner.
pub(crate) fn plan<K: Kind>(
    cx: &Cx<'_>,
    owner: &K,
    rs: &ReplicaSet,
    write: impl Fn(&K, ReplicaSetStatus) -> Write,
) -> Plan {
    let selector = owning_selector(&rs.spec.selector);
    let (active, terminating) = candidates(cx.view, rs, &selector);
    let claimed = claim(owner, &selector, active);
    let mut plan = Plan { writes: claimed.writes, ..Plan::default() };
    let wanted = usize::try_from(rs.spec.replicas.unwrap_or(1)).unwrap_or(0);
    let failed = cx.failed.filter(|f| f.resource.resource == "pods" && !f.is_conflict());
    let status = status(rs, &claimed.owned, terminating, failed, cx.now);
    // What failed last is told before it is tried again: then the failure is seen even if it lasts.
    if rs.status.as_ref() != Some(&status) {
        plan.writes.push(write(owner, status));
    }
    if !rs.is_deleting() {
        plan.writes.extend(manage(cx.view, owner, rs, claimed.owned.clone(), wanted, cx.now));
    }
    let min_ready = rs.spec.min_ready_seconds.unwrap_or(0);
    plan.requeue_after =
        pods::next_available(claimed.owned, min_ready, cx.now).map(|d| d + Duration::from_secs(1));
    plan
}

/// The pods that it manages or may adopt: those that live, and how many of its own are going.
fn candidates<'a>(view: View<'a>, rs: &'a ReplicaSet, selector: &Selector) -> (Vec<&'a Pod>, usize) {
    let own = view.controlled_by::<Pod>(rs.uid());
    let orphans = view.list::<Pod>(rs.namespace()).filter(|p| p.controller().is_none());
    let (mut active, mut terminating) = (Vec::new(), 0);
    for pod in own.chain(orphans) {
        if pods::is_active(pod) {
            active.push(pod);
        } else if pod.is_deleting() && !pods::is_terminal(pod) && selector.matches(pod.labels()) {
            terminating += usize::from(pod.controller().is_some());
        }
    }
    (active, terminating)
}

/// The creations or deletions that lead to `wanted` pods.
fn manage<K: Kind>(
    view: View<'_>,
    owner: &K,
    rs: &ReplicaSet,
    mut owned: Vec<&Pod>,
    wanted: usize,
    now: Timestamp,
) -> Vec<Write> {
    match wanted.cmp(&owned.len()) {
        Ordering::Equal => Vec::new(),
        Ordering::Greater => {
            let template = rs.spec.template.clone().unwrap_or_default();
            let count = (wanted - owned.len()).min(BURST);
            (0..count).map(|_| create_pod(owner, &pods::from_template(owner, &template))).collect()
        }
        Ordering::Less => {
            let count = (owned.len() - wanted).min(BURST);
            sort_for_deletion(&mut owned, &colocated(view, rs), now);
            owned.iter().take(count).map(|pod| delete_pod(owner, pod)).collect()
        }
    }
}

/// The creation of `pod` for `owner`, with its events.
pub(crate) fn create_pod<K: Kind>(owner: &K, pod: &Pod) -> Write {
    Write::create(pod)
        .ok(EventNote::normal(owner, "SuccessfulCreate", "Created pod: {}"))
        .or(EventNote::warning(owner, "FailedCreate", "Error creating: {}"))
}

/// The deletion of `pod` for `owner`, with its events.
pub(crate) fn delete_pod<K: Kind>(owner: &K, pod: &Pod) -> Write {
    Write::delete(pod)
        .ok(EventNote::normal(owner, "SuccessfulDelete", "Deleted pod: {}"))
        .or(EventNote::warning(owner, "FailedDelete", "Error deleting: {}"))
}

/// How many active pods of all ReplicaSets of the same owner each node has.
fn colocated(view: View<'_>, rs: &ReplicaSet) -> HashMap<String, usize> {
    let family: Vec<&ReplicaSet> = match rs.controller() {
        Some(owner) => view.controlled_by::<ReplicaSet>(&owner.uid).collect(),
        None => vec![rs],
    };
    let mut counts = HashMap::new();
    for pod in family.iter().flat_map(|rs| view.controlled_by::<Pod>(rs.uid())) {
        if pods::is_active(pod) {
            *counts.entry(pods::node(pod).to_owned()).or_default() += 1;
        }
    }
    counts
}

/// Those that are missed least come first (`ActivePodsWithRanks`).
pub(crate) fn sort_for_deletion(pods: &mut [&Pod], colocated: &HashMap<String, usize>, now: Timestamp) {
    let phase_rank = |pod: &Pod| match pods::phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let cost = |pod: &Pod| -> i32 {
        pod.annotation(names::ANNOTATION_POD_DELETION_COST).and_then(|c| c.parse().ok()).unwrap_or(0)
    };
    let rank = |pod: &Pod| Reverse(colocated.get(pods::node(pod)).copied().unwrap_or(0));
    // Ages are compared by order of magnitude (of nanoseconds), so that not always the youngest must go.
    let age = |at: i64| {
        let nanos = now.as_second().saturating_sub(at).max(0).saturating_mul(1_000_000_000);
        if at == 0 { -1 } else { nanos.max(1).ilog2() as i32 }
    };
    pods.sort_by(|a, b| {
        let key = |p: &Pod| (!pods::node(p).is_empty(), phase_rank(p), pods::is_ready(p), cost(p), rank(p));
        let since = |p: &Pod| age(pods::ready_since(p));
        let restarts = |p: &Pod| Reverse(pods::restarts(p));
        key(a)
            .cmp(&key(b))
            .then_with(|| since(a).cmp(&since(b)))
            .then_with(|| restarts(a).cmp(&restarts(b)))
            .then_with(|| age(a.created()).cmp(&age(b.created())))
            .then_with(|| a.uid().cmp(b.uid()))
    });
}

fn status(
    rs: &ReplicaSet,
    owned: &[&Pod],
    terminating: usize,
    failed: Option<&Failure>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let old = rs.status.clone().unwrap_or_default();
    let min_ready = rs.spec.min_ready_seconds.unwrap_or(0);
    let template = rs.spec.template.as_ref();
    let labels = template.and_then(PodTemplateSpec::labels);
    let fully = labels.map(Selector::from_labels).unwrap_or_default();
    let count = |test: &dyn Fn(&Pod) -> bool| to_i32(owned.iter().filter(|p| test(p)).count());
    ReplicaSetStatus {
        replicas: to_i32(owned.len()),
        fully_labeled_replicas: nonzero(count(&|p| fully.matches(p.labels()))),
        ready_replicas: nonzero(count(&pods::is_ready)),
        available_replicas: nonzero(count(&|p| pods::is_available(p, min_ready, now))),
        terminating_replicas: Some(to_i32(terminating)),
        observed_generation: Some(rs.generation()),
        conditions: conditions(rs, old.conditions, owned.len(), failed, now),
    }
}

/// `ReplicaFailure` stands as long as the last attempt failed.
fn conditions(
    rs: &ReplicaSet,
    old: Option<Vec<ReplicaSetCondition>>,
    count: usize,
    failed: Option<&Failure>,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    const KIND: &str = "ReplicaFailure";
    let mut all = old.unwrap_or_default();
    let standing = all.iter().any(|c| c.type_.as_deref() == Some(KIND));
    match failed {
        Some(failure) if !standing => {
            let wanted = usize::try_from(rs.spec.replicas.unwrap_or(1)).unwrap_or(0);
            let reason = if count < wanted { "FailedCreate" } else { "FailedDelete" };
            all.push(ReplicaSetCondition {
                type_: Some(KIND.to_owned()),
                status: Some("True".to_owned()),
                reason: Some(reason.to_owned()),
                message: Some(failure.message.clone()),
                last_transition_time: Some(api::time(now)),
            });
        }
        None => all.retain(|c| c.type_.as_deref() != Some(KIND)),
        Some(_) => {}
    }
    (!all.is_empty()).then_some(all)
}

/// Reading a template without unwrapping options.
trait TemplateLabels {
    fn labels(&self) -> Option<&std::collections::BTreeMap<String, String>>;
}

impl TemplateLabels for PodTemplateSpec {
    fn labels(&self) -> Option<&std::collections::BTreeMap<String, String>> {
        self.metadata.as_ref()?.labels.as_ref()
    }
}

/// A count as the API holds it.
pub(crate) fn to_i32(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// A count that the API leaves out when it is 0.
pub(crate) fn nonzero(n: i32) -> Option<i32> {
    (n != 0).then_some(n)
}
