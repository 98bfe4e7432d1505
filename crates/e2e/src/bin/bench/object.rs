//! The API under load: one object at a time, many at a time, lists and watches. The client runs in this process, so its
//! own CPU is not in the figures.

use crate::measure::{Row, mib, timed, us, usage};
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
/// Writers at once where many objects are made.
const WRITERS: usize = 64;
/// Clusters that are filled for the big list.
const FILLS: usize = 3;
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

pub(crate) fn config_maps() -> Resource {
    Resource::of::<api::core::v1::ConfigMap>()
}

pub(crate) fn config_map(name: &str) -> String {
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
        Ok(vec![Row::new("GET", "µs", wall, &how).cpu(cpu)])
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
            Row::new("durable CREATE, one client", "µs", wall, &one).cpu(cpu),
            Row::new("durable CREATEs at once", "/s", rate, &all).cpu(each_cpu),
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

/// Makes `n` objects as fast as it can.
pub(crate) async fn create_all(
    client: &Client,
    r: &Resource,
    n: usize,
    make: impl Fn(usize) -> String,
) -> Result<(), String> {
    let make = &make;
    let part = |p: usize| async move {
        for i in (p..n).step_by(WRITERS) {
            client.create(r, "default", make(i)).await.map_err(text)?;
        }
        Ok::<(), String>(())
    };
    join_all((0..WRITERS).map(part)).await.into_iter().collect()
}

/// A pod that nobody schedules, with about the 2.4 kB of JSON that a real pod's record has.
pub(crate) fn stored_pod(i: usize) -> String {
    let annotation = "x".repeat(600);
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("p{i}"), "labels": {"app": format!("a{}", i % 100)}, "annotations": {"note": annotation}},
        "spec": {"schedulerName": "nobody", "containers": [{"name": "c", "image": "example.com/app:1"}]}})
    .to_string()
}

/// Values of each run of the big list.
#[derive(Default)]
struct Lists {
    wall: Vec<f64>,
    cpu: Vec<f64>,
    grown: Vec<f64>,
    size: usize,
}

impl Lists {
    async fn run(&mut self, client: &Client, r: &Resource, pid: i32) -> Result<(), String> {
        let before = usage(&[pid]);
        let call = Call::list(r, "default", &ListOptions::default());
        let (wall, answer) = timed(client.send(call)).await;
        self.size = answer.map_err(text)?.len();
        let after = usage(&[pid]);
        self.wall.push(wall);
        self.cpu.push(us(after.cpu - before.cpu));
        self.grown.push(mib(after.rss.saturating_sub(before.rss)));
        Ok(())
    }
}

/// LIST of many pods.
pub(crate) fn list() -> Rows {
    let r = Resource::of::<api::core::v1::Pod>();
    let (mut rate, mut each_cpu, mut memory, mut lists) =
        (Vec::new(), Vec::new(), Vec::new(), Lists::default());
    for _ in 0..FILLS {
        let cluster = Cluster::control_plane();
        let client = connect(&cluster)?;
        runtime()?.block_on(async {
            let before = usage(&[cluster.pid()]).cpu;
            let (wall, made) = timed(create_all(&client, &r, PODS, stored_pod)).await;
            made?;
            let after = usage(&[cluster.pid()]);
            rate.push(PODS as f64 / wall * 1e3);
            each_cpu.push(us(after.cpu - before) / PODS as f64);
            memory.push(mib(after.rss));
            for _ in 0..RUNS {
                lists.run(&client, &r, cluster.pid()).await?;
            }
            Ok::<(), String>(())
        })?;
    }
    let how = format!("{PODS} pods, {:.1} MB of JSON over TLS", lists.size as f64 / 1e6);
    Ok(vec![
        Row::new("pods created", "/s", rate, &format!("{WRITERS} clients, {PODS} pods")).cpu(each_cpu),
        Row::new("memory with the pods", "MiB", memory, &format!("RSS of the control plane, {PODS} pods")),
        Row::new("LIST", "ms", lists.wall, &how).cpu(lists.cpu),
        Row::new("LIST, memory that it adds", "MiB", lists.grown, &how),
    ])
}

/// One watcher of ConfigMaps from `options` on; how many changes it saw.
async fn watcher(
    cluster: &Cluster,
    r: &Resource,
    options: &ListOptions,
) -> Result<tokio::task::JoinHandle<usize>, String> {
    let client = connect(cluster)?;
    let mut stream = client.watch(r, "default", options, 300).await.map_err(text)?;
    Ok(tokio::spawn(async move {
        let mut seen = 0;
        while seen < CHANGES {
            match stream.next().await {
                Some(Ok(client::watch::WatchEvent::Put(_))) => seen += 1,
                Some(Ok(_)) => {}
                _ => break,
            }
        }
        seen
    }))
}

/// Objects made while many watch.
pub(crate) fn watch() -> Rows {
    let cluster = Cluster::control_plane();
    let (client, r) = (connect(&cluster)?, config_maps());
    let (mut rate, mut cpu) = (Vec::new(), Vec::new());
    runtime()?.block_on(async {
        for run in 0..RUNS {
            let revision = client.list(&r, "default", &ListOptions::default()).await.map_err(text)?.revision;
            let options = ListOptions { resource_version: revision.to_string(), ..ListOptions::default() };
            let mut watchers = Vec::new();
            for _ in 0..WATCHERS {
                watchers.push(watcher(&cluster, &r, &options).await?);
            }
            let (before, begun) = (usage(&[cluster.pid()]).cpu, Instant::now());
            create_all(&client, &r, CHANGES, |i| config_map(&format!("w{run}-{i}"))).await?;
            let mut delivered = 0;
            for w in watchers {
                delivered +=
                    tokio::time::timeout(Duration::from_secs(60), w).await.map_err(text)?.map_err(text)?;
            }
            let spent = usage(&[cluster.pid()]).cpu - before;
            rate.push(delivered as f64 / begun.elapsed().as_secs_f64());
            cpu.push(us(spent) / delivered.max(1) as f64);
        }
        Ok::<(), String>(())
    })?;
    let how = format!("{WATCHERS} watchers over TLS, {CHANGES} objects created, the client shares the cores");
    Ok(vec![Row::new("watch, events delivered", "/s", rate, &how).cpu(cpu)])
}
