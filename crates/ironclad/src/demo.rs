//! `ironclad demo`: a cluster at work, shown step by step: an application of three replicas is served, healed and
//! updated under load.

use crate::cli::Demo;
use crate::ending::Ending;
use crate::progress::say;
use crate::runtime_process::own_file;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const MANIFEST: &str = include_str!("demo/manifest.yaml");
/// How long the cluster may take to be ready, and a rollout to be done.
const PATIENCE: Duration = Duration::from_secs(120);
/// A request that takes longer has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Clients that ask during the update, one request after the other.
const CLIENTS: usize = 4;
/// Between two looks at whether the pods are healed.
const PACE: Duration = Duration::from_millis(20);

/// Runs the demo; whatever happens, nothing of it is left.
pub(crate) fn run(flags: Demo) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut ending = Ending::new()?;
        let mut demo = Show::start(flags)?;
        let result = tokio::select! {
            result = demo.steps() => result,
            () = ending.told() => Ok(()),
        };
        let cleaned = demo.clean_up().await;
        result.and(cleaned)
    })
}

struct Show {
    flags: Demo,
    dir: PathBuf,
    /// In the user's hands, not the cluster's: what `kubectl apply` is shown with.
    manifest: PathBuf,
    server: Child,
}

fn title(text: &str) {
    say(&format!("\n== {text}"));
}

impl Show {
    fn start(flags: Demo) -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("ironclad-demo-{}", std::process::id()));
        let manifest = dir.with_extension("yaml");
        title("a cluster");
        say(&format!("$ ironclad up --data-dir {}", dir.display()));
        let mut command = own(&["up", "--data-dir"]);
        command.arg(&dir).stdin(Stdio::null()).stdout(Stdio::piped());
        let server = command.spawn().context("cannot start the cluster")?;
        Ok(Self { flags, dir, manifest, server })
    }

    async fn steps(&mut self) -> Result<()> {
        self.wait_ready().await?;
        self.kubectl(&["get", "nodes"]).await?;
        title("an application: three replicas, a service, a ConfigMap, a volume, probes");
        std::fs::write(&self.manifest, MANIFEST).context("cannot write the manifest")?;
        self.kubectl(&["apply", "-f", &self.manifest.to_string_lossy()]).await?;
        self.rolled_out().await?;
        self.kubectl(&["get", "pods", "-o", "wide"]).await?;
        let address = self.service().await?;
        title(&format!("its pages, through the service at http://{address}/"));
        show_pages(address).await?;
        self.heal().await?;
        let failed = self.update(address).await?;
        if failed > 0 {
            bail!("{failed} requests failed during the update");
        }
        self.next_steps(address).await
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let out = self.server.stdout.take().context("the cluster has no output")?;
        let mut lines = BufReader::new(out).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await? {
                say(&line);
                if line.starts_with("ready in ") {
                    return Ok(());
                }
            }
            bail!("the cluster ended before it was ready")
        };
        tokio::time::timeout(PATIENCE, ready).await.context("the cluster was not ready in time")??;
        // What the server says later is read on, so that it never waits for us.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(())
    }

    /// Shows and runs a kubectl command.
    async fn kubectl(&self, args: &[&str]) -> Result<()> {
        say(&format!("$ kubectl {}", args.join(" ")));
        let status =
            self.command(args).status().await.context("cannot start kubectl; name it with --kubectl")?;
        if status.success() { Ok(()) } else { bail!("kubectl {} failed", args.join(" ")) }
    }

    async fn ask(&self, args: &[&str]) -> Result<String> {
        let out =
            self.command(args).output().await.context("cannot start kubectl; name it with --kubectl")?;
        if !out.status.success() {
            bail!("kubectl {}: {}", args.join(" "), String::from_utf8_lossy(&out.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.flags.kubectl);
        command.args(args).env("KUBECONFIG", self.dir.join("kubeconfig")).kill_on_drop(true);
        command
    }

    async fn rolled_out(&self) -> Result<()> {
        self.kubectl(&["rollout", "status", "deployment/web", "--timeout=120s"]).await
    }

    async fn service(&self) -> Result<SocketAddr> {
        let ip = self.ask(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]).await?;
        let address = SocketAddr::new(ip.parse().with_context(|| format!("{ip:?} is no address"))?, 80);
        // The proxy learns of the endpoints at the same time as kubectl learns of the rollout.
        let start = Instant::now();
        while get(address).await.is_err() && start.elapsed() < PATIENCE {
            tokio::time::sleep(PACE).await;
        }
        Ok(address)
    }

    async fn ready_pods(&self) -> Result<Vec<String>> {
        let path = "jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.type==\"Ready\")].status} {.metadata.deletionTimestamp}{\"\\n\"}{end}";
        let text = self.ask(&["get", "pods", "-l", "app=web", "-o", path]).await?;
        let ready = text.lines().filter_map(|l| l.split_once(' ')).filter(|(_, rest)| rest.trim() == "True");
        Ok(ready.map(|(name, _)| name.to_owned()).collect())
    }

    async fn heal(&self) -> Result<()> {
        title("healing: one replica is deleted");
        let before = self.ready_pods().await?;
        let victim = before.first().context("no replica is ready")?.clone();
        self.kubectl(&["delete", "pod", &victim, "--wait=false"]).await?;
        let start = Instant::now();
        loop {
            let now = self.ready_pods().await?;
            if now.len() == 3 && !now.contains(&victim) {
                let new: Vec<&String> = now.iter().filter(|n| !before.contains(n)).collect();
                say(&format!(
                    "{} ms later {} serves in its place",
                    start.elapsed().as_millis(),
                    new.first().map_or("another", |n| n)
                ));
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                bail!("three replicas were not ready again in time: {now:?}");
            }
            tokio::time::sleep(PACE).await;
        }
    }

    async fn update(&self, address: SocketAddr) -> Result<u64> {
        title("an update while a load runs");
        let load = Load::start(address);
        self.kubectl(&["set", "env", "deployment/web", "DEMO_VERSION=2"]).await?;
        self.rolled_out().await?;
        let (asked, failed, error) = load.stop().await;
        say(&format!("{asked} requests during the update, {failed} failed{error}"));
        show_pages(address).await?;
        Ok(failed)
    }

    async fn next_steps(&self, address: SocketAddr) -> Result<()> {
        title("what to try next");
        say(&format!("  export KUBECONFIG={}", self.dir.join("kubeconfig").display()));
        if self.flags.kubectl.is_absolute() {
            say(&format!("  alias kubectl={}", self.flags.kubectl.display()));
        }
        say(&format!("  curl http://{address}/"));
        say("  kubectl get all; kubectl describe deployment web; kubectl logs deploy/web");
        say("  kubectl scale deployment web --replicas=10");
        say("  kubectl rollout undo deployment web");
        if self.flags.once {
            return Ok(());
        }
        say("\nCtrl-C removes the cluster and everything of it.");
        std::future::pending().await
    }

    async fn clean_up(&mut self) -> Result<()> {
        title("cleaning up");
        let _ = std::fs::remove_file(&self.manifest);
        // It may have been started a moment ago, and not have taken its folder yet: `down` would not find it.
        let pid = self.server.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if tokio::time::timeout(PATIENCE, self.server.wait()).await.is_err() {
            self.server.kill().await.context("cannot end the cluster's server")?;
        }
        // Nothing in it: the server had not taken it yet.
        let _ = std::fs::remove_dir(&self.dir);
        if !self.dir.exists() {
            return Ok(());
        }
        let status = own(&["down", "--purge", "--data-dir"]).arg(&self.dir).status().await;
        if status.context("cannot clean up")?.success() {
            Ok(())
        } else {
            bail!("something of {} may be left", self.dir.display())
        }
    }
}

/// This program with other arguments, in a process group of its own: Ctrl-C reaches the demo alone, which then cleans
/// up, and a second one doesn't end that.
fn own(args: &[&str]) -> Command {
    let mut command = Command::new(own_file());
    command.args(args).process_group(0);
    command
}

/// One GET on a connection of its own; the body of a 200.
async fn get(address: SocketAddr) -> Result<String> {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())
            .await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        anyhow::Ok(text)
    };
    let text = tokio::time::timeout(REQUEST_TIMEOUT, ask).await.context("no answer in time")??;
    match text.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => bail!("the answer was {:?}", text.lines().next().unwrap_or_default()),
    }
}

/// Asks until every replica has answered once (or often enough), and shows each page once.
async fn show_pages(address: SocketAddr) -> Result<()> {
    let mut pages = BTreeMap::new();
    for _ in 0..60 {
        let page = get(address).await?;
        let pod = page.lines().next().unwrap_or_default().to_owned();
        pages.insert(pod, page);
    }
    for page in pages.values() {
        say(&page.trim_end().replace('\n', " · "));
    }
    Ok(())
}

/// Clients that ask without pause, each request on a new connection.
struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    clients: Vec<tokio::task::JoinHandle<(u64, Option<String>)>>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let client = |_| {
            let (stop, asked) = (stop.clone(), asked.clone());
            tokio::spawn(async move {
                let (mut failed, mut last) = (0, None);
                while !stop.load(Ordering::Relaxed) {
                    if let Err(e) = get(address).await {
                        failed += 1;
                        last = Some(format!("{e:#}"));
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                (failed, last)
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { stop, asked, clients }
    }

    async fn stop(self) -> (u64, u64, String) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut failed, mut error) = (0, String::new());
        for client in self.clients {
            if let Ok((n, last)) = client.await {
                failed += n;
                error = last.map_or(error, |e| format!(" (the last with: {e})"));
            }
        }
        (self.asked.load(Ordering::Relaxed), failed, error)
    }
}
