//! From POST of a pod to Running, as a watch sees it.

use crate::cluster::processes;
use crate::measure::{Row, mib, ms, quantile, spent, us, usage};
use crate::object::{connect, runtime};
use client::watch::WatchEvent;
use client::{Client, DeleteOptions, ListOptions, Resource};
use e2e::Cluster;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Pods started one after the other in one run. They stay: all runs together must fit on a node of 110.
const PODS: usize = 30;
/// Runs.
const RUNS: usize = 3;
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

/// What one run of pods cost.
struct Cost {
    wall: Vec<f64>,
    /// By process, for each pod.
    cpu: Vec<(String, f64)>,
    memory: f64,
}

async fn run(cluster: &Cluster, client: &Client, run: usize) -> Result<Cost, String> {
    let r = Resource::of::<api::core::v1::Pod>();
    let all = processes(cluster);
    let pids: Vec<i32> = all.iter().map(|(_, pid)| *pid).collect();
    // The keeper collects the containers themselves, whose CPU is not ours.
    let cost = |name: &str, pid: i32| if name == "keeper" { usage(&[pid]).cpu } else { spent(&[pid]) };
    let before: Vec<Duration> = all.iter().map(|(name, pid)| cost(name, *pid)).collect();
    let memory = usage(&pids).rss;
    let mut wall = Vec::new();
    for i in 0..PODS {
        wall.push(ms(one(client, &r, &format!("p{run}-{i}")).await?));
    }
    let each = |(i, (name, pid)): (usize, &(String, i32))| {
        (name.clone(), us(cost(name, *pid).saturating_sub(before[i])) / PODS as f64)
    };
    let cpu = all.iter().enumerate().map(each).collect();
    let memory = mib(usage(&pids).rss.saturating_sub(memory)) * 1024.0 / PODS as f64;
    for i in 0..PODS {
        let name = format!("p{run}-{i}");
        client.delete(&r, "default", &name, &DeleteOptions::default()).await.map_err(text)?;
    }
    Ok(Cost { wall, cpu, memory })
}

/// Starts pods one after the other; what they cost.
pub(crate) fn start() -> Result<Vec<Row>, String> {
    let cluster = Cluster::with_node();
    let client = connect(&cluster)?;
    let mut costs = Vec::new();
    runtime()?.block_on(async {
        // The first makes the image.
        one(&client, &Resource::of::<api::core::v1::Pod>(), "first").await?;
        for n in 0..RUNS {
            costs.push(run(&cluster, &client, n).await?);
        }
        Ok::<(), String>(())
    })?;
    let wall: Vec<f64> = costs.iter().flat_map(|c| c.wall.clone()).collect();
    let tail = costs.iter().map(|c| quantile(&c.wall, 0.99)).collect();
    let sums = costs.iter().map(|c| c.cpu.iter().map(|(_, cpu)| cpu).sum()).collect();
    let how = format!("image present, {RUNS} × {PODS} pods one after the other, seen by a watch");
    let mut rows = vec![
        Row::new("POST of a pod to Running", "ms", wall, &how).cpu(sums),
        Row::new("… 99 of 100", "ms", tail, &how),
    ];
    for (i, (name, _)) in costs[0].cpu.iter().enumerate() {
        let cpu = costs.iter().filter_map(|c| Some(c.cpu.get(i)?.1 / 1e3)).collect();
        rows.push(Row::new(&format!("… CPU of `{name}`"), "ms", cpu, "from before the POST to Running"));
    }
    let memory = costs.iter().map(|c| c.memory).collect();
    let what = "RSS, growth of all our processes over one run";
    rows.push(Row::new("our memory for each pod", "KiB", memory, what));
    Ok(rows)
}
