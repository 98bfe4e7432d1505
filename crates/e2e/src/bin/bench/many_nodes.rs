//! Many nodes that only the API knows: pods are created and bound, nobody runs them.

use crate::measure::{Row, mib, us, usage};
use crate::object::{connect, create_all, runtime};
use client::watch::{WatchEvent, WatchStream};
use client::{Client, ListOptions, Resource};
use e2e::Cluster;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Nodes.
const NODES: usize = 5000;
/// Pods of one run, and runs; together what the memory is told for.
const PODS: usize = 2000;
const RUNS: usize = 5;
/// How long nodes may take to be usable, and a run's pods to be bound.
const PATIENCE: Duration = Duration::from_secs(120);

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

fn node(i: usize) -> String {
    let amounts = json!({"cpu": "32", "memory": "256Gi", "pods": "110"});
    let now = "2026-01-01T00:00:00Z";
    let ready = json!({"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now,
        "lastTransitionTime": now});
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": format!("n{i}"), "labels": {"kubernetes.io/hostname": format!("n{i}"),
            "topology.kubernetes.io/zone": format!("z{}", i % 3)}},
        "status": {"capacity": amounts, "allocatable": amounts, "conditions": [ready]}})
    .to_string()
}

fn pod(run: usize, i: usize) -> String {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("p{run}-{i}"), "labels": {"app": format!("a{}", i % 100)}},
        "spec": {"containers": [{"name": "c", "image": "example.com/app:1",
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}]}})
    .to_string()
}

/// The changes from now on.
async fn changes(client: &Client, r: &Resource, namespace: &str) -> Result<WatchStream, String> {
    let options = ListOptions { limit: 1, ..ListOptions::default() };
    let revision = client.list(r, namespace, &options).await.map_err(text)?.revision;
    let options = ListOptions { resource_version: revision.to_string(), ..ListOptions::default() };
    client.watch(r, namespace, &options, 600).await.map_err(text)
}

/// Waits until so many objects were seen that satisfy a condition.
async fn wait_for(mut stream: WatchStream, n: usize, wanted: fn(&Value) -> bool) -> Result<(), String> {
    let mut seen = HashSet::new();
    while seen.len() < n {
        if let WatchEvent::Put(bytes) = stream.next().await.ok_or("the watch ended")?.map_err(text)? {
            let object: Value = serde_json::from_slice(&bytes).map_err(text)?;
            if wanted(&object) {
                seen.insert(object["metadata"]["name"].to_string());
            }
        }
    }
    Ok(())
}

async fn in_time(what: &str, work: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    tokio::time::timeout(PATIENCE, work).await.map_err(|_| format!("{what} took too long"))?
}

/// Pods created and bound.
pub(crate) fn schedule() -> Result<Vec<Row>, String> {
    let cluster = Cluster::control_plane();
    let client = connect(&cluster)?;
    let (nodes, pods) = (Resource::of::<api::core::v1::Node>(), Resource::of::<api::core::v1::Pod>());
    let pid = [cluster.pid()];
    let (mut rate, mut cpu) = (Vec::new(), Vec::new());
    runtime()?.block_on(async {
        let seen = changes(&client, &nodes, "").await?;
        let usable = wait_for(seen, NODES, |n| n["spec"]["taints"].as_array().is_none_or(Vec::is_empty));
        let (made, usable) = tokio::join!(
            create_all(&client, &nodes, NODES, node),
            in_time("making the nodes usable", usable)
        );
        made?;
        usable?;
        for run in 0..RUNS {
            let seen = changes(&client, &pods, "default").await?;
            let (before, begun) = (usage(&pid).cpu, Instant::now());
            let bound = wait_for(seen, PODS, |p| p["spec"]["nodeName"].is_string());
            let (made, bound) = tokio::join!(
                create_all(&client, &pods, PODS, |i| pod(run, i)),
                in_time("binding the pods", bound)
            );
            made?;
            bound?;
            rate.push(PODS as f64 / begun.elapsed().as_secs_f64());
            cpu.push(us(usage(&pid).cpu - before) / PODS as f64);
        }
        Ok::<(), String>(())
    })?;
    let how = format!("{PODS} pods a run over TLS, 64 clients, {NODES} nodes, every node scored");
    let all = format!("RSS of the control plane, {NODES} nodes, {} pods", PODS * RUNS);
    Ok(vec![
        Row::new("pods created and bound", "/s", rate, &how).cpu(cpu),
        Row::new("memory with many nodes", "MiB", vec![mib(usage(&pid).rss)], &all),
    ])
}
