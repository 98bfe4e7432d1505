//! What a user does: creates, scales, updates, deletes, out of the seed.

use crate::chaos::Dice;
use api::MetaExt;
use api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use api::batch::v1::Job;
use api::core::v1::{Pod, Service};
use client::call::Propagation;
use client::{Api, Client, DeleteOptions, ListOptions, PatchKind, Resource};
use serde_json::{Value, json};
use testkit::manifests;

/// The namespace of everything.
pub(crate) const NAMESPACE: &str = "sim";

/// A user with a good connection.
pub(crate) struct User {
    pub(crate) client: Client,
    pub(crate) dice: Dice,
    pub(crate) story: Vec<String>,
    images: u64,
}

impl User {
    pub(crate) fn new(client: Client, dice: Dice) -> Self {
        Self { client, dice, story: Vec::new(), images: 0 }
    }

    async fn create(&mut self, resource: Resource, object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let namespace = if resource.namespaced { NAMESPACE } else { "" };
        let made = self.client.create(&resource, namespace, object.to_string()).await;
        let end = made.err().map(|e| format!(": {e}")).unwrap_or_default();
        self.story.push(format!("create {resource} {name}{end}"));
    }

    /// The first manifests.
    pub(crate) async fn begin(&mut self) {
        self.create(Resource::of::<api::core::v1::Namespace>(), manifests::namespace(NAMESPACE)).await;
        let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}});
        let recreate = json!({"type": "Recreate"});
        let strategy = if self.dice.chance(0.75) { rolling } else { recreate };
        let replicas = 1 + self.dice.below(5) as u32;
        let web = manifests::deployment("web", replicas, "run-0", strategy);
        self.create(Resource::of::<Deployment>(), web).await;
        self.create(Resource::of::<Service>(), manifests::service("web", "web")).await;
        if self.dice.chance(0.5) {
            let policy = if self.dice.chance(0.5) { "OrderedReady" } else { "Parallel" };
            let set = manifests::stateful_set("db", 1 + self.dice.below(3) as u32, "run-0", policy);
            self.create(Resource::of::<StatefulSet>(), set).await;
        }
        if self.dice.chance(0.4) {
            self.create(Resource::of::<DaemonSet>(), manifests::daemon_set("agent", "run-0")).await;
        }
        if self.dice.chance(0.5) {
            let job =
                manifests::job("sum", 1 + self.dice.below(5) as u32, 1 + self.dice.below(3) as u32, "exit-0");
            self.create(Resource::of::<Job>(), job).await;
        }
    }

    /// One thing more.
    pub(crate) async fn act(&mut self) {
        match self.dice.below(8) {
            0 | 1 => self.scale().await,
            2 | 3 => self.update().await,
            4 | 5 => self.delete_pod().await,
            6 => self.restart_deployment().await,
            _ => self.delete_set().await,
        }
    }

    async fn patch(&mut self, resource: &Resource, name: &str, patch: Value) {
        let place = (NAMESPACE, name, "");
        let done = self.client.patch(resource, place, PatchKind::Merge, patch.to_string()).await;
        let end = done.err().map(|e| format!(": {e}")).unwrap_or_default();
        self.story.push(format!("patch {resource} {name} {patch}{end}"));
    }

    fn target(&self) -> (Resource, &'static str) {
        if self.dice.chance(0.7) {
            (Resource::of::<Deployment>(), "web")
        } else {
            (Resource::of::<StatefulSet>(), "db")
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

    async fn delete_pod(&mut self) {
        let pods = Api::<Pod>::namespaced(&self.client, NAMESPACE);
        let Ok((all, _)) = pods.list(&ListOptions::default()).await else { return };
        if all.is_empty() {
            return;
        }
        let pod = &all[self.dice.below(all.len() as u64) as usize];
        let grace = self.dice.chance(0.2).then_some(0);
        let done = pods.delete(pod.name(), &DeleteOptions { grace, ..DeleteOptions::default() }).await;
        self.story.push(format!("delete pod {} grace {grace:?} {:?}", pod.name(), done.is_ok()));
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
        let sets = Api::<api::apps::v1::ReplicaSet>::namespaced(&self.client, NAMESPACE);
        let Ok((all, _)) = sets.list(&ListOptions::default()).await else { return };
        if let Some(set) = all.first() {
            let done = sets.delete(set.name(), &DeleteOptions::default()).await;
            self.story.push(format!("delete replicaset {} {:?}", set.name(), done.is_ok()));
        }
    }

    /// In the end there is a Deployment, whatever was deleted before.
    pub(crate) async fn finish(&mut self) {
        let strategy =
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}});
        let web = manifests::deployment("web", 3, "run-0", strategy);
        for _ in 0..50 {
            let deployments = Api::<Deployment>::namespaced(&self.client, NAMESPACE);
            match deployments.find("web").await {
                Ok(Some(d)) if !d.is_deleting() => return,
                Ok(None) => self.create(Resource::of::<Deployment>(), web.clone()).await,
                _ => {}
            }
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        }
    }
}
