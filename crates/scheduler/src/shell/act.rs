//! What follows from a decision: binding, or telling why not and making room.

use super::{Bound, Scheduler, claims};
use crate::decide::Preemption;
use crate::plugins::{Claim, volumes_on};
use crate::pod::PodInfo;
use api::Kind;
use api::MetaExt;
use api::core::v1::Pod;
use client::{Call, Client, DeleteOptions, Key, PatchKind, Resource};
use reconcile::EventNote;
use serde_json::json;
use std::sync::Arc;

impl Scheduler {
    /// The pod goes to the node: it counts there from now on; the API is told in the background.
    pub(super) fn assume(&mut self, info: Arc<PodInfo>, node: String, claims: &[Claim]) {
        let key = info.key.clone();
        self.nominated.remove(&key);
        self.snapshot.put_pod(info.clone(), &node);
        self.assumed.insert(key.clone(), node.clone());
        let chosen = self.snapshot.node(&node).and_then(|n| volumes_on(claims, n)).unwrap_or_default();
        if chosen.is_empty() {
            return self.bind(key, info.pod.uid(), node);
        }
        let volumes = chosen.iter().filter_map(|(_, v)| v.map(str::to_owned)).collect();
        self.waiting.insert(key.clone(), claims::Waiting::new(&node, volumes, self.now()));
        for (claim, volume) in chosen {
            match volume {
                Some(volume) => self.reserve(&key, claim, volume, &node),
                None => self.select_node(&key, claim, &node),
            }
        }
    }

    /// POSTs the binding.
    pub(super) fn bind(&self, key: Key, uid: &str, node: String) {
        let body = json!({"apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": &*key.name, "namespace": &*key.namespace, "uid": uid},
            "target": {"kind": "Node", "name": node}});
        let (client, done) = (self.client.clone(), self.bound.clone());
        let call =
            Call::create_sub(&Resource::of::<Pod>(), &key.namespace, &key.name, "binding", body.to_string());
        tokio::spawn(async move {
            let error = client.send(call).await.err();
            let _ = done.send(Bound { key, node, step: "binding rejected", error }).await;
        });
    }

    pub(super) fn bound(&mut self, b: Bound) {
        let pod = self.pod(&b.key);
        match b.error {
            None => {
                self.queue.forget(&b.key);
                if let Some(pod) = pod {
                    let what =
                        format!("Successfully assigned {}/{} to {}", b.key.namespace, b.key.name, b.node);
                    self.note(EventNote::normal(&*pod, "Scheduled", what));
                }
            }
            Some(error) => {
                let now = self.now();
                // An ambiguous answer is settled by the watch: if it was bound, the pod shows up on its node.
                if self.assumed.remove(&b.key).is_some() {
                    self.snapshot.remove_pod(&b.key);
                }
                self.waiting.remove(&b.key);
                self.queue.failed(&b.key, false, now);
                if let Some(pod) = pod.filter(|_| !error.is_not_found()) {
                    self.note(EventNote::warning(&*pod, "FailedScheduling", format!("{}: {error}", b.step)));
                }
            }
        }
    }

    /// The pod fits nowhere: tell why, make room if that helps, and wait.
    pub(super) fn park(&mut self, info: &PodInfo, message: String, preemption: Option<Preemption>) {
        let now = self.now();
        let message = message.trim_end().to_owned();
        self.note(EventNote::warning(&*info.pod, "FailedScheduling", message.clone()));
        self.queue.failed(&info.key, true, now);
        let nominee = preemption.as_ref().map(|p| p.node.clone());
        match &nominee {
            Some(node) => drop(self.nominated.insert(info.key.clone(), node.clone())),
            None => drop(self.nominated.remove(&info.key)),
        }
        if let Some(patch) = unschedulable(&info.pod, &message, nominee.as_deref(), now) {
            let call = status_patch(&info.key, &patch);
            send(self.client.clone(), call);
        }
        for victim in preemption.iter().flat_map(|p| &p.victims) {
            let what = format!("Preempted by pod {} on node {}", info.pod.uid(), victim.node());
            self.note(EventNote::normal(&*victim.pod, "Preempted", what));
            tokio::spawn(evict(self.client.clone(), victim.clone(), now));
        }
    }
}

fn status_patch(key: &Key, patch: &serde_json::Value) -> Call {
    let r = Resource::of::<Pod>();
    Call::patch(&r, &key.namespace, &key.name, "status", PatchKind::Strategic, patch.to_string().into_bytes())
}

fn send(client: Client, call: Call) {
    tokio::spawn(async move {
        if let Err(e) = client.send(call).await {
            tracing::debug!("a pod's status was not written: {e}");
        }
    });
}

/// The status that says why; none if it says so already.
fn unschedulable(
    pod: &Pod,
    message: &str,
    nominee: Option<&str>,
    now: jiff::Timestamp,
) -> Option<serde_json::Value> {
    let status = pod.status.clone().unwrap_or_default();
    let old = status.conditions.iter().flatten().find(|c| c.type_ == "PodScheduled");
    let told = old.is_some_and(|c| {
        c.status == "False"
            && c.message.as_deref() == Some(message)
            && c.observed_generation == pod.metadata.generation
    });
    if told && status.nominated_node_name.as_deref() == nominee {
        return None;
    }
    let since = old.filter(|c| c.status == "False").and_then(|c| c.last_transition_time.clone());
    let since = since.unwrap_or_else(|| api::time(now));
    let mut patch = json!({"status": {"conditions": [{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": message, "lastTransitionTime": since,
        "observedGeneration": pod.metadata.generation}]}});
    if status.nominated_node_name.as_deref() != nominee {
        patch["status"]["nominatedNodeName"] = nominee.into();
    }
    Some(patch)
}

/// Marks a pod as disrupted by us, then deletes it.
async fn evict(client: Client, victim: Arc<PodInfo>, now: jiff::Timestamp) {
    let patch = json!({"status": {"conditions": [{"type": "DisruptionTarget", "status": "True",
        "reason": "PreemptionByScheduler", "lastTransitionTime": api::time(now),
        "message": "default-scheduler: preempting to accommodate a higher priority pod"}]}});
    if let Err(e) = client.send(status_patch(&victim.key, &patch)).await {
        tracing::debug!("a preempted pod's status was not written: {e}");
    }
    let (r, options) = (Resource::from_info(&Pod::INFO), DeleteOptions::of_uid(victim.pod.uid()));
    let call = Call::delete(&r, &victim.key.namespace, &victim.key.name, &options);
    if let Err(e) = client.send(call).await {
        tracing::warn!("pod {} was not preempted: {e}", victim.key);
    }
}
