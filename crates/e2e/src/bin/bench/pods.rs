//! From POST of a pod to Running, as a watch sees it.

use crate::cluster::processes;
use crate::measure::{Row, mib, ms, usage};
use crate::object::{connect, runtime};
use client::watch::WatchEvent;
use client::{Client, DeleteOptions, ListOptions, Resource};
use e2e::Cluster;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Pods started one after the other.
const PODS: usize = 50;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(30);

fn pod(name: &str) -> String {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": "ironclad.local/demo:latest", "imagePullPolicy": "IfNotPresent"}]}})
    .to_string()
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

async fn one(client: &Client, r: &Resource, name: &str) -> Result<Duration, String> {
    let revision = client.list(r, "default", &ListOptions::default()).await.map_err(text)?.revision;
    let fields = format!("metadata.name={name}");
    let options = ListOptions { resource_version: revision.to_string(), fields, ..ListOptions::default() };
    let mut stream = client.watch(r, "default", &options, 300).await.map_err(text)?;
    let begun = Instant::now();
    client.create(r, "default", pod(name)).await.map_err(text)?;
    let running = async {
        while let Some(event) = stream.next().await {
            if let WatchEvent::Put(bytes) = event.map_err(text)? {
                let v: Value = serde_json::from_slice(&bytes).map_err(text)?;
                if v["status"]["phase"] == "Running" {
                    return Ok(begun.elapsed());
                }
            }
        }
        Err("the watch ended".to_owned())
    };
    tokio::time::timeout(PATIENCE, running).await.map_err(|_| format!("{name} was not Running in time"))?
}

/// Starts pods one after the other; what they cost.
pub(crate) fn start() -> Result<Vec<Row>, String> {
    let cluster = Cluster::with_node();
    let (client, r) = (connect(&cluster)?, Resource::of::<api::core::v1::Pod>());
    runtime()?.block_on(async {
        // The first makes the image.
        one(&client, &r, "first").await?;
        let pids: Vec<i32> = processes(&cluster).iter().map(|(_, pid)| *pid).collect();
        let before = usage(&pids);
        let mut wall = Vec::new();
        for i in 0..PODS {
            wall.push(ms(one(&client, &r, &format!("p{i}")).await?));
        }
        let after = usage(&pids);
        for i in 0..PODS {
            client.delete(&r, "default", &format!("p{i}"), &DeleteOptions::default()).await.map_err(text)?;
        }
        let how = format!("image present, {PODS} pods one after the other, seen by a watch");
        let cpu = ms(after.cpu - before.cpu) / PODS as f64;
        let memory = mib(after.rss.saturating_sub(before.rss)) * 1024.0 / PODS as f64;
        Ok(vec![
            Row::new("POST of a pod to Running", "ms", wall, &how),
            Row::new("… CPU of our processes", "ms", vec![cpu], &how),
            Row::new(
                "our memory for each pod",
                "KiB RSS",
                vec![memory],
                "growth of the control plane and the runtime",
            ),
        ])
    })
}
