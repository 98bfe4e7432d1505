//! From a write to its delivery by a watch, at a steady rate.

use crate::measure::{Row, ms, quantile, us, usage};
use crate::object::{config_map, config_maps, connect, runtime};
use client::watch::{WatchEvent, WatchStream};
use client::{Client, ListOptions};
use e2e::Cluster;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Writes a second.
const RATE: u32 = 200;
/// Writes of one run.
const WRITES: usize = 1000;
/// Runs.
const RUNS: usize = 5;
/// How long a run may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

/// When each object arrived.
async fn arrivals(mut stream: WatchStream) -> Result<HashMap<String, Instant>, String> {
    let mut seen = HashMap::new();
    while seen.len() < WRITES {
        let event = stream.next().await.ok_or("the watch ended")?.map_err(text)?;
        let at = Instant::now();
        if let WatchEvent::Put(bytes) = event {
            let object: serde_json::Value = serde_json::from_slice(&bytes).map_err(text)?;
            seen.insert(object["metadata"]["name"].as_str().unwrap_or_default().to_owned(), at);
        }
    }
    Ok(seen)
}

/// Milliseconds from just before each request to its event.
async fn run(client: &Client, watching: &Client, run: usize) -> Result<Vec<f64>, String> {
    let r = config_maps();
    let revision = client.list(&r, "default", &ListOptions::default()).await.map_err(text)?.revision;
    let options = ListOptions { resource_version: revision.to_string(), ..ListOptions::default() };
    let stream = watching.watch(&r, "default", &options, 300).await.map_err(text)?;
    let watcher = tokio::spawn(arrivals(stream));
    let mut beat = tokio::time::interval(Duration::from_secs(1) / RATE);
    let mut sent = Vec::new();
    for i in 0..WRITES {
        beat.tick().await;
        let (client, r, name) = (client.clone(), r.clone(), format!("l{run}-{i}"));
        let (body, at) = (config_map(&name), Instant::now());
        let write = tokio::spawn(async move { client.create(&r, "default", body).await.map(drop) });
        sent.push((name, at, write));
    }
    let seen = tokio::time::timeout(PATIENCE, watcher).await.map_err(text)?.map_err(text)??;
    let mut out = Vec::new();
    for (name, at, write) in sent {
        write.await.map_err(text)?.map_err(text)?;
        out.extend(seen.get(&name).map(|arrived| ms(arrived.duration_since(at))));
    }
    Ok(out)
}

/// Latency of a watch.
pub(crate) fn watch() -> Result<Vec<Row>, String> {
    let cluster = Cluster::control_plane();
    let (client, watching) = (connect(&cluster)?, connect(&cluster)?);
    let (mut half, mut tail, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    runtime()?.block_on(async {
        for n in 0..RUNS {
            let before = usage(&[cluster.pid()]).cpu;
            let all = run(&client, &watching, n).await?;
            cpu.push(us(usage(&[cluster.pid()]).cpu - before) / WRITES as f64);
            half.push(quantile(&all, 0.5));
            tail.push(quantile(&all, 0.99));
        }
        Ok::<(), String>(())
    })?;
    let how = format!(
        "{RATE} durable writes a second over TLS, {WRITES} a run, seen by a watch of another connection"
    );
    Ok(vec![
        Row::new("watch, write to delivery, p50", "ms", half, &how).cpu(cpu),
        Row::new("watch, write to delivery, p99", "ms", tail, &how),
    ])
}
