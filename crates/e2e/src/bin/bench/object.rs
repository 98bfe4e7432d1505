//! The API under load: one object at a time, many at a time, lists and watches. The client runs in this process, so its
//! own CPU is not in the figures.

use crate::measure::{Row, mib, ms, us, usage};
use client::http_transport::HttpTransport;
use client::{Call, Client, ListOptions, Resource};
use e2e::Cluster;
use futures::future::join_all;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Rows = Result<Vec<Row>, String>;

/// Requests in one run of GET and CREATE.
const REQUESTS: usize = 1000;
/// Runs of each.
const RUNS: usize = 5;
/// Clients at once.
const CLIENTS: usize = 256;
/// Pods in the big list.
const PODS: usize = 10_000;
/// Watchers at once, and the changes that each sees.
const WATCHERS: usize = 100;
const CHANGES: usize = 1000;

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(text)
}

/// A client over TLS with a connection of its own.
pub(crate) fn connect(cluster: &Cluster) -> Result<Client, String> {
    let kubeconfig = std::fs::read_to_string(cluster.data_dir().join("kubeconfig")).map_err(text)?;
    let decoded = meta::yaml::decode(&kubeconfig).map_err(text)?;
    let config = client::config::Config::from_kubeconfig(&decoded.value)?;
    Ok(Client::new(Arc::new(HttpTransport::new(&config)?), "bench"))
}

fn config_maps() -> Resource {
    Resource::of::<api::core::v1::ConfigMap>()
}

fn config_map(name: &str) -> String {
    let value = "x".repeat(1024);
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": value}})
        .to_string()
}

/// Wall and server CPU of each of `n` repetitions.
async fn each<F: Future<Output = Result<(), String>>>(
    pid: i32,
    n: usize,
    mut once: impl FnMut(usize) -> F,
) -> Result<(f64, f64), String> {
    let (before, begun) = (usage(&[pid]).cpu, Instant::now());
    for i in 0..n {
        once(i).await?;
    }
    let (wall, cpu) = (begun.elapsed(), usage(&[pid]).cpu - before);
    Ok((us(wall) / n as f64, us(cpu) / n as f64))
}

/// GET of one ConfigMap of 1 KiB.
pub(crate) fn get() -> Rows {
    let cluster = Cluster::control_plane();
    let (client, r) = (connect(&cluster)?, config_maps());
    runtime()?.block_on(async {
        client.create(&r, "default", config_map("a")).await.map_err(text)?;
        let (mut wall, mut cpu) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let (w, c) = each(cluster.pid(), REQUESTS, |_| async {
                client.get(&r, "default", "a").await.map(drop).map_err(text)
            })
            .await?;
            wall.push(w);
            cpu.push(c);
        }
        let how = format!("TLS, one connection, one after the other, {REQUESTS} a run");
        Ok(vec![Row::new("GET, CPU", "µs", cpu, &how), Row::new("GET, wall", "µs", wall, &how)])
    })
}

/// Durable CREATE of ConfigMaps of 1 KiB.
pub(crate) fn create() -> Rows {
    let cluster = Cluster::control_plane();
    let (client, r) = (connect(&cluster)?, config_maps());
    runtime()?.block_on(async {
        let (mut wall, mut cpu, mut rate, mut each_cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for run in 0..RUNS {
            let (w, c) = each(cluster.pid(), REQUESTS, |i| {
                let (client, r) = (&client, &r);
                async move {
                    client
                        .create(r, "default", config_map(&format!("a{run}-{i}")))
                        .await
                        .map(drop)
                        .map_err(text)
                }
            })
            .await?;
            wall.push(w);
            cpu.push(c);
            let (per_second, c) = many(&cluster, &client, run).await?;
            rate.push(per_second);
            each_cpu.push(c);
        }
        let one = format!("TLS, one client, {REQUESTS} a run, each synced before the answer");
        let all = format!("{CLIENTS} clients, {} a run", CLIENTS * 20);
        Ok(vec![
            Row::new("durable CREATE, wall", "µs", wall, &one),
            Row::new("durable CREATE, CPU", "µs", cpu, &one),
            Row::new("durable CREATEs at once", "/s", rate, &all),
            Row::new("durable CREATEs at once, CPU", "µs", each_cpu, &all),
        ])
    })
}

async fn many(cluster: &Cluster, client: &Client, run: usize) -> Result<(f64, f64), String> {
    let (before, begun) = (usage(&[cluster.pid()]).cpu, Instant::now());
    let one = |c: usize| async move {
        for i in 0..20 {
            client
                .create(&config_maps(), "default", config_map(&format!("b{run}-{c}-{i}")))
                .await
                .map_err(text)?;
        }
        Ok::<(), String>(())
    };
    join_all((0..CLIENTS).map(one)).await.into_iter().collect::<Result<Vec<()>, String>>()?;
    let n = (CLIENTS * 20) as f64;
    Ok((n / begun.elapsed().as_secs_f64(), us(usage(&[cluster.pid()]).cpu - before) / n))
}

fn pod(i: usize) -> String {
    // About the 2.4 kB of JSON that a real pod's record has.
    let annotation = "x".repeat(600);
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("p{i}"), "labels": {"app": format!("a{}", i % 100)}, "annotations": {"note": annotation}},
        "spec": {"schedulerName": "nobody", "containers": [{"name": "c", "image": "example.com/app:1"}]}})
    .to_string()
}

/// LIST of many pods.
pub(crate) fn list() -> Rows {
    let cluster = Cluster::control_plane();
    let (client, r) = (connect(&cluster)?, Resource::of::<api::core::v1::Pod>());
    runtime()?.block_on(async {
        let begun = Instant::now();
        let (c, rr) = (&client, &r);
        let part = |p: usize| async move {
            for i in (p..PODS).step_by(64) {
                c.create(rr, "default", pod(i)).await.map_err(text)?;
            }
            Ok::<(), String>(())
        };
        join_all((0..64).map(part)).await.into_iter().collect::<Result<Vec<()>, String>>()?;
        let created = PODS as f64 / begun.elapsed().as_secs_f64();
        let memory = mib(usage(&[cluster.pid()]).rss);
        let (mut wall, mut cpu, mut grown, mut size) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for _ in 0..RUNS {
            let (before, begun) = (usage(&[cluster.pid()]), Instant::now());
            size = client.send(Call::list(&r, "default", &ListOptions::default())).await.map_err(text)?.len();
            let after = usage(&[cluster.pid()]);
            wall.push(ms(begun.elapsed()));
            cpu.push(ms(after.cpu - before.cpu));
            grown.push(mib(after.rss.saturating_sub(before.rss)));
        }
        let how = format!("{PODS} pods, {:.1} MB of JSON over TLS", size as f64 / 1e6);
        Ok(vec![
            Row::new("pods created", "/s", vec![created], "64 clients"),
            Row::new("memory with the pods", "MiB RSS", vec![memory], &how),
            Row::new("LIST, wall", "ms", wall, &how),
            Row::new("LIST, CPU", "ms", cpu, &how),
            Row::new("LIST, memory that it adds", "MiB", grown, &how),
        ])
    })
}

/// Changes to one object, seen by many watchers.
pub(crate) fn watch() -> Rows {
    let cluster = Cluster::control_plane();
    let (client, r) = (connect(&cluster)?, config_maps());
    runtime()?.block_on(async {
        let revision = client.list(&r, "default", &ListOptions::default()).await.map_err(text)?.revision;
        let options = ListOptions { resource_version: revision.to_string(), ..ListOptions::default() };
        let mut watchers = Vec::new();
        for _ in 0..WATCHERS {
            let client = connect(&cluster)?;
            let mut stream = client.watch(&r, "default", &options, 300).await.map_err(text)?;
            watchers.push(tokio::spawn(async move {
                let mut seen = 0;
                while seen < CHANGES {
                    match stream.next().await {
                        Some(Ok(client::watch::WatchEvent::Put(_))) => seen += 1,
                        Some(Ok(_)) => {}
                        _ => break,
                    }
                }
                seen
            }));
        }
        let (before, begun) = (usage(&[cluster.pid()]).cpu, Instant::now());
        let (c, rr) = (&client, &r);
        let part = |p: usize| async move {
            for i in (p..CHANGES).step_by(32) {
                c.create(rr, "default", config_map(&format!("w{i}"))).await.map_err(text)?;
            }
            Ok::<(), String>(())
        };
        join_all((0..32).map(part)).await.into_iter().collect::<Result<Vec<()>, String>>()?;
        let mut delivered = 0;
        for w in watchers {
            delivered += tokio::time::timeout(Duration::from_secs(60), w).await.map_err(text)?.map_err(text)?;
        }
        let (wall, cpu) = (begun.elapsed(), usage(&[cluster.pid()]).cpu - before);
        let how = format!("{WATCHERS} watchers over TLS, {CHANGES} objects created, {delivered} events; the client shares the cores");
        Ok(vec![
            Row::new("watch, events delivered", "/s", vec![delivered as f64 / wall.as_secs_f64()], &how),
            Row::new("watch, CPU for each", "µs", vec![us(cpu) / delivered.max(1) as f64], &how),
        ])
    })
}
