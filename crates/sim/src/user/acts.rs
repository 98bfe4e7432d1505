//! What a user does to what is there.

use super::{NAMESPACE, PASSING, User};
use api::MetaExt;
use api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use api::batch::v1::{CronJob, Job};
use api::core::v1::{Namespace, PersistentVolumeClaim, Pod};
use client::call::Propagation;
use client::{Api, Call, DeleteOptions, ListOptions, PatchKind, Resource};
use serde_json::json;

impl User {
    /// One thing more.
    pub(crate) async fn act(&mut self) {
        match self.dice.below(14) {
            0 | 1 => self.scale().await,
            2 | 3 => self.update().await,
            4 | 5 => self.delete_pod().await,
            6 => self.restart_deployment().await,
            7 => self.delete_set().await,
            8 => self.delete_namespace().await,
            9 => self.evict().await,
            10 => self.delete_claim().await,
            11 => self.suspend().await,
            12 => self.delete_job().await,
            _ => self.more().await,
        }
    }

    fn target(&self) -> (Resource, &'static str) {
        match self.dice.below(10) {
            0..6 => (Resource::of::<Deployment>(), "web"),
            6..8 => (Resource::of::<StatefulSet>(), "db"),
            _ => (Resource::of::<StatefulSet>(), "store"),
        }
    }

    async fn scale(&mut self) {
        let (resource, name) = self.target();
        let replicas = self.dice.below(7);
        self.patch(&resource, name, json!({"spec": {"replicas": replicas}})).await;
    }

    async fn update(&mut self) {
        let (resource, name) = self.target();
        self.images += 1;
        let image = format!("run-{}", self.images);
        let cpu = if resource.resource == "deployments" { "100m" } else { "50m" };
        let container = json!({"name": "main", "image": image,
            "resources": {"requests": {"cpu": cpu, "memory": "1Mi"}}});
        self.patch(&resource, name, json!({"spec": {"template": {"spec": {"containers": [container]}}}}))
            .await;
    }

    async fn any_pod(&self) -> Option<Pod> {
        let pods = Api::<Pod>::namespaced(&self.client, NAMESPACE);
        let (mut all, _) = pods.list(&ListOptions::default()).await.ok()?;
        (!all.is_empty()).then(|| all.swap_remove(self.dice.below(all.len() as u64) as usize))
    }

    async fn delete_pod(&mut self) {
        let Some(pod) = self.any_pod().await else { return };
        let grace = self.dice.chance(0.2).then_some(0);
        let pods = Api::<Pod>::namespaced(&self.client, NAMESPACE);
        let done = pods.delete(pod.name(), &DeleteOptions { grace, ..DeleteOptions::default() }).await;
        self.story.push(format!("delete pod {} grace {grace:?} {:?}", pod.name(), done.is_ok()));
    }

    /// Asks for a pod to go, as `kubectl drain` does; or only says that it will be asked for.
    async fn evict(&mut self) {
        let Some(pod) = self.any_pod().await else { return };
        let r = Resource::of::<Pod>();
        let only_said = self.dice.chance(0.4);
        let call = if only_said {
            let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "Sim",
                "lastTransitionTime": "2026-01-01T00:00:00Z"});
            let patch = json!({"status": {"conditions": [condition]}}).to_string();
            Call::patch(&r, NAMESPACE, pod.name(), "status", PatchKind::Strategic, patch.into_bytes())
        } else {
            let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction",
                "metadata": {"name": pod.name(), "namespace": NAMESPACE}});
            Call::create_sub(&r, NAMESPACE, pod.name(), "eviction", eviction.to_string().into_bytes())
        };
        let done = self.client.send(call).await;
        let what = if only_said { "announce the eviction of" } else { "evict" };
        self.story.push(format!("{what} pod {} {:?}", pod.name(), done.is_ok()));
    }

    /// Deletes the Deployment in one of the three ways, and creates it anew.
    async fn restart_deployment(&mut self) {
        let ways = [Propagation::Background, Propagation::Foreground, Propagation::Orphan];
        let propagation = Some(ways[self.dice.below(3) as usize]);
        let deployments = Api::<Deployment>::namespaced(&self.client, NAMESPACE);
        let done =
            deployments.delete("web", &DeleteOptions { propagation, ..DeleteOptions::default() }).await;
        self.story.push(format!("delete deployment web {propagation:?} {:?}", done.is_ok()));
    }

    /// Deletes a ReplicaSet under the Deployment's hands.
    async fn delete_set(&mut self) {
        let sets = Api::<ReplicaSet>::namespaced(&self.client, NAMESPACE);
        let Ok((all, _)) = sets.list(&ListOptions::default()).await else { return };
        if let Some(set) = all.first() {
            let done = sets.delete(set.name(), &DeleteOptions::default()).await;
            self.story.push(format!("delete replicaset {} {:?}", set.name(), done.is_ok()));
        }
    }

    async fn delete_namespace(&mut self) {
        let done = Api::<Namespace>::all(&self.client).delete(PASSING, &DeleteOptions::default()).await;
        self.story.push(format!("delete namespace {PASSING} {:?}", done.is_ok()));
    }

    /// Deletes a claim under its pod's hands; the pod follows, for it can't come back without.
    async fn delete_claim(&mut self) {
        let claims = Api::<PersistentVolumeClaim>::namespaced(&self.client, NAMESPACE);
        let done = claims.delete("scratch", &DeleteOptions::default()).await;
        self.story.push(format!("delete claim scratch {:?}", done.is_ok()));
        let pods = Api::<Pod>::namespaced(&self.client, NAMESPACE);
        for _ in 0..20 {
            match pods.delete("scratch", &DeleteOptions::default()).await {
                Err(e) if !e.is_not_found() => {}
                _ => return,
            }
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        }
    }

    async fn suspend(&mut self) {
        let suspend = json!({"spec": {"suspend": self.dice.chance(0.5)}});
        self.patch(&Resource::of::<CronJob>(), "tick", suspend).await;
    }

    async fn delete_job(&mut self) {
        let jobs = Api::<Job>::namespaced(&self.client, NAMESPACE);
        let Ok((all, _)) = jobs.list(&ListOptions::default()).await else { return };
        if let Some(job) = all.first() {
            let propagation = Some(Propagation::Background);
            let done =
                jobs.delete(job.name(), &DeleteOptions { propagation, ..DeleteOptions::default() }).await;
            self.story.push(format!("delete job {} {:?}", job.name(), done.is_ok()));
        }
    }
}
