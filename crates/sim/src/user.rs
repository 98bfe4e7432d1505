//! What a user does: creates, scales, updates, deletes, out of the seed.

mod acts;

use crate::chaos::Dice;
use api::MetaExt;
use api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use api::batch::v1::{CronJob, Job};
use api::core::v1::{
    Endpoints, Namespace, PersistentVolumeClaim, Pod, ReplicationController, ResourceQuota, Service,
};
use api::policy::v1::PodDisruptionBudget;
use api::rbac::v1::ClusterRole;
use api::storage::v1::VolumeAttributesClass;
use client::{Api, Client, DeleteOptions, PatchKind, Resource};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::manifests;
use tokio::time::sleep;

/// The namespace of nearly everything.
pub(crate) const NAMESPACE: &str = "sim";
/// A namespace that may be deleted at any time.
const PASSING: &str = "passing";
/// A namespace whose quota is smaller than what is asked for in it.
pub(crate) const LIMITED: &str = "limited";
/// How often a user tries again, every two seconds.
const PATIENCE: usize = 50;
/// Things to begin with, besides what every seed has.
const MORE: u64 = 3;

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

    /// Creates an object, in the user's namespace unless it is in another one.
    async fn create<K: api::Kind>(&mut self, object: Value) {
        let resource = Resource::of::<K>();
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or(NAMESPACE);
        let namespace = if resource.namespaced { namespace } else { "" };
        for _ in 0..PATIENCE {
            let made = self.client.create(&resource, namespace, object.to_string()).await;
            let refused =
                made.as_ref().err().is_some_and(|e| e.is_final() || e.is_conflict() || e.is_already_exists());
            let end = made.as_ref().err().map(|e| format!(": {e}")).unwrap_or_default();
            self.story.push(format!("create {resource} {name}{end}"));
            if made.is_ok() || refused {
                return;
            }
            sleep(Duration::from_secs(2)).await;
        }
    }

    /// The first manifests.
    pub(crate) async fn begin(&mut self) {
        self.create::<Namespace>(manifests::namespace(NAMESPACE)).await;
        let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}});
        let recreate = json!({"type": "Recreate"});
        let strategy = if self.dice.chance(0.75) { rolling } else { recreate };
        let replicas = 1 + self.dice.below(5) as u32;
        self.create::<Deployment>(manifests::deployment("web", replicas, "run-0", strategy)).await;
        self.create::<Service>(manifests::service("web", "web")).await;
        if self.dice.chance(0.4) {
            let policy = if self.dice.chance(0.5) { "OrderedReady" } else { "Parallel" };
            let set = manifests::stateful_set("db", 1 + self.dice.below(3) as u32, "run-0", policy);
            self.create::<StatefulSet>(set).await;
        }
        if self.dice.chance(0.4) {
            self.create::<DaemonSet>(manifests::daemon_set("agent", "run-0")).await;
        }
        for _ in 0..MORE {
            self.more().await;
        }
    }

    /// One of the rarer things. The same may come twice, and is then refused.
    async fn more(&mut self) {
        match self.dice.below(10) {
            0 | 1 => self.job().await,
            2 => {
                let policies = ["Allow", "Forbid", "Replace"];
                let policy = policies[self.dice.below(3) as usize];
                let image = if self.dice.chance(0.7) { "exit-0" } else { "exit-any" };
                self.create::<CronJob>(manifests::cron_job("tick", policy, image)).await;
            }
            3 => {
                let kept = if self.dice.chance(0.5) { "Delete" } else { "Retain" };
                let replicas = 1 + self.dice.below(3) as u32;
                self.create::<StatefulSet>(manifests::storing_set("store", replicas, "run-0", kept)).await;
            }
            4 => {
                self.create::<PersistentVolumeClaim>(manifests::claim("scratch")).await;
                self.create::<Pod>(manifests::storing_pod("scratch", "run-0")).await;
                self.create::<VolumeAttributesClass>(manifests::volume_attributes_class("quick")).await;
                let classes = Api::<VolumeAttributesClass>::all(&self.client);
                let done = classes.delete("quick", &DeleteOptions::default()).await;
                self.story.push(format!("delete class quick {:?}", done.is_ok()));
            }
            5 => self.in_passing().await,
            6 => self.in_limits().await,
            7 => {
                let replicas = 1 + self.dice.below(3) as u32;
                let old = manifests::replication_controller("old", replicas, "run-0");
                self.create::<ReplicationController>(old).await;
                self.create::<ClusterRole>(manifests::role_for_viewers("reader")).await;
            }
            8 => {
                let [service, endpoints] = manifests::outside_service("outside", "192.0.2.200");
                self.create::<Service>(service).await;
                self.create::<Endpoints>(endpoints).await;
            }
            _ => self.create::<PodDisruptionBudget>(manifests::budget("web")).await,
        }
    }

    async fn job(&mut self) {
        let (completions, parallelism) = (1 + self.dice.below(5) as u32, 1 + self.dice.below(3) as u32);
        let image = ["exit-0", "exit-0", "exit-1", "exit-any"][self.dice.below(4) as usize];
        let make = if self.dice.chance(0.5) { manifests::job } else { manifests::indexed_job };
        let mut job = make(image, completions, parallelism, image);
        if image == "exit-1" {
            job["spec"]["backoffLimit"] = 1.into();
        } else if self.dice.chance(0.3) {
            job["spec"]["ttlSecondsAfterFinished"] = self.dice.below(20).into();
        }
        self.create::<Job>(job).await;
    }

    /// A namespace with something in it.
    async fn in_passing(&mut self) {
        self.create::<Namespace>(manifests::namespace(PASSING)).await;
        let strategy = json!({"type": "RollingUpdate"});
        let mut objects =
            [manifests::deployment("guest", 2, "run-0", strategy), manifests::service("guest", "guest")];
        objects.iter_mut().for_each(|o| o["metadata"]["namespace"] = PASSING.into());
        let [deployment, service] = objects;
        self.create::<Deployment>(deployment).await;
        self.create::<Service>(service).await;
    }

    /// A quota, and who asks for more.
    async fn in_limits(&mut self) {
        self.create::<Namespace>(manifests::namespace(LIMITED)).await;
        let strategy = json!({"type": "RollingUpdate"});
        let mut objects =
            [manifests::pod_quota("few", 2), manifests::deployment("greedy", 4, "run-0", strategy)];
        objects.iter_mut().for_each(|o| o["metadata"]["namespace"] = LIMITED.into());
        let [quota, deployment] = objects;
        self.create::<ResourceQuota>(quota).await;
        let quotas = Api::<ResourceQuota>::namespaced(&self.client, LIMITED);
        for _ in 0..PATIENCE {
            match quotas.find("few").await {
                Ok(Some(q)) if q.status.as_ref().is_some_and(|s| s.hard.is_some()) => break,
                _ => sleep(Duration::from_secs(1)).await,
            }
        }
        self.create::<Deployment>(deployment).await;
    }

    async fn patch(&mut self, resource: &Resource, name: &str, patch: Value) {
        let place = (NAMESPACE, name, "");
        let done = self.client.patch(resource, place, PatchKind::Merge, patch.to_string()).await;
        let end = done.err().map(|e| format!(": {e}")).unwrap_or_default();
        self.story.push(format!("patch {resource} {name} {patch}{end}"));
    }

    /// In the end there is a Deployment, whatever was deleted before, and nothing more begins by itself.
    pub(crate) async fn finish(&mut self) {
        self.finish_cron_job().await;
        let strategy =
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}});
        let web = manifests::deployment("web", 3, "run-0", strategy);
        for _ in 0..PATIENCE {
            let deployments = Api::<Deployment>::namespaced(&self.client, NAMESPACE);
            match deployments.find("web").await {
                Ok(Some(d)) if !d.is_deleting() => return,
                Ok(None) => self.create::<Deployment>(web.clone()).await,
                _ => {}
            }
            sleep(Duration::from_secs(2)).await;
        }
    }

    async fn finish_cron_job(&mut self) {
        for _ in 0..PATIENCE {
            let found = Api::<CronJob>::namespaced(&self.client, NAMESPACE).find("tick").await;
            match found {
                Ok(None) => return,
                Ok(Some(c)) if c.spec.suspend == Some(true) => return,
                _ => self.patch(&Resource::of::<CronJob>(), "tick", json!({"spec": {"suspend": true}})).await,
            }
            sleep(Duration::from_secs(2)).await;
        }
    }
}
