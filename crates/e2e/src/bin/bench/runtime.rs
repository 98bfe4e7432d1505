//! The container runtime alone, without a control plane, beside runc: both in turn, in one run, with the same program.

use crate::cluster::{processes, sockets};
use crate::measure::{Row, ms, quantile, spent, timed, us};
use crate::object;
use cri::{
    ContainerConfig, ContainerMetadata, ContainerRuntime, CreateContainerRequest, CriError, GrpcRuntime,
    ImageSpec, LinuxPodSandboxConfig, LinuxSandboxSecurityContext, NamespaceMode, NamespaceOption,
    PodSandboxConfig, PodSandboxMetadata, RemoveContainerRequest, RemovePodSandboxRequest,
    RunPodSandboxRequest, StartContainerRequest,
};
use e2e::Cluster;
use rustix::process::{Pid, WaitOptions};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Containers of each kind.
const RUNS: usize = 50;
/// Before the first that counts.
const WARM_UP: usize = 5;
/// Containers at once, and all of them, where starts are sustained.
const AT_ONCE: usize = 8;
const SUSTAINED: usize = 200;
/// What runs in the containers.
const PROGRAM: [&str; 2] = ["/bin/sleep", "1000"];

type Result<T> = std::result::Result<T, String>;

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

fn sandbox(name: &str, host_network: bool) -> PodSandboxConfig {
    let network = if host_network { NamespaceMode::Node } else { NamespaceMode::Pod };
    let options = NamespaceOption {
        network: network.into(),
        pid: NamespaceMode::Container.into(),
        ..NamespaceOption::default()
    };
    let security = LinuxSandboxSecurityContext {
        namespace_options: Some(options),
        ..LinuxSandboxSecurityContext::default()
    };
    let linux =
        LinuxPodSandboxConfig { security_context: Some(security), ..LinuxPodSandboxConfig::default() };
    let (name, uid, namespace) = (name.to_owned(), name.to_owned(), "bench".to_owned());
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata { name, uid, namespace, attempt: 0 }),
        linux: Some(linux),
        ..PodSandboxConfig::default()
    }
}

/// A sandbox and a container in it: made, started, and all of it removed.
async fn pod(runtime: &GrpcRuntime, name: &str, host_network: bool) -> std::result::Result<(), CriError> {
    let config = sandbox(name, host_network);
    let request = RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: String::new() };
    let pod_sandbox_id = runtime.run_pod_sandbox(request).await?.pod_sandbox_id;
    let container = ContainerConfig {
        metadata: Some(ContainerMetadata { name: "c".into(), attempt: 0 }),
        image: Some(ImageSpec { image: e2e::BUSYBOX.into(), ..ImageSpec::default() }),
        command: PROGRAM.map(str::to_owned).to_vec(),
        ..ContainerConfig::default()
    };
    let request = CreateContainerRequest {
        pod_sandbox_id: pod_sandbox_id.clone(),
        config: Some(container),
        sandbox_config: Some(config),
    };
    let container_id = runtime.create_container(request).await?.container_id;
    runtime.start_container(StartContainerRequest { container_id: container_id.clone() }).await?;
    runtime.remove_container(RemoveContainerRequest { container_id }).await?;
    runtime.remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id }).await?;
    Ok(())
}

/// runc with a bundle of the same program.
struct Runc {
    root: PathBuf,
    bundle: PathBuf,
}

impl Runc {
    fn new(scratch: &Path) -> Result<Self> {
        let runc = Self { root: scratch.join("runc"), bundle: scratch.join("bundle") };
        let bin = runc.bundle.join("rootfs/bin");
        std::fs::create_dir_all(&bin).map_err(text)?;
        for dir in ["proc", "sys", "dev"] {
            std::fs::create_dir_all(runc.bundle.join("rootfs").join(dir)).map_err(text)?;
        }
        let busybox = ["/usr/bin/busybox", "/bin/busybox"].into_iter().find(|p| Path::new(p).exists());
        std::fs::copy(busybox.ok_or("no busybox: `cargo xtask setup` installs it")?, bin.join("sleep"))
            .map_err(text)?;
        runc.call(&["spec", "--bundle", &runc.bundle.to_string_lossy()])?;
        let path = runc.bundle.join("config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).map_err(text)?).map_err(text)?;
        (config["process"]["terminal"], config["process"]["args"]) = (json!(false), json!(PROGRAM));
        std::fs::write(&path, config.to_string()).map_err(text)?;
        Ok(runc)
    }

    fn call(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new("runc");
        command.arg("--root").arg(&self.root).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let status = command.status().map_err(|e| format!("runc: {e}; `cargo xtask setup` installs it"))?;
        if status.success() { Ok(()) } else { Err(format!("runc {} failed: {status}", arguments.join(" "))) }
    }

    /// A container made, started and removed.
    fn container(&self, id: &str) -> Result<Duration> {
        let begun = Instant::now();
        self.call(&["create", "--bundle", &self.bundle.to_string_lossy(), id])?;
        self.call(&["start", id])?;
        self.call(&["delete", "--force", id])?;
        let took = begun.elapsed();
        // The container's processes are ours to collect, as of the next subreaper; their CPU counts as runc's.
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
        Ok(took)
    }
}

/// What each of some runs took, in milliseconds, and their CPU in microseconds.
#[derive(Default)]
struct Cost {
    wall: Vec<f64>,
    cpu: Duration,
}

impl Cost {
    fn row(&self, name: &str, how: &str) -> Row {
        Row::new(name, "ms", self.wall.clone(), how).cpu(vec![us(self.cpu) / self.wall.len().max(1) as f64])
    }
}

/// Both in turn.
async fn in_turn(runtime: &GrpcRuntime, runc: &Runc, ours: &[i32]) -> Result<[Cost; 3]> {
    let [mut alone, mut pods, mut theirs] = <[Cost; 3]>::default();
    let own = [Pid::as_raw(Some(rustix::process::getpid()))];
    for i in 0..RUNS + WARM_UP {
        for (host_network, cost) in [(true, &mut alone), (false, &mut pods)] {
            let before = spent(ours);
            let (wall, made) = timed(pod(runtime, &format!("bench-{host_network}-{i}"), host_network)).await;
            made.map_err(text)?;
            if i >= WARM_UP {
                cost.wall.push(wall);
                cost.cpu += spent(ours).saturating_sub(before);
            }
        }
        let before = spent(&own);
        let took = runc.container(&format!("bench-{}-{i}", own[0]))?;
        if i >= WARM_UP {
            theirs.wall.push(ms(took));
            theirs.cpu += spent(&own).saturating_sub(before);
        }
    }
    Ok([alone, pods, theirs])
}

/// Pods a second with several at once, and the CPU of each in microseconds.
async fn sustained(runtime: &GrpcRuntime, ours: &[i32]) -> Result<(f64, f64)> {
    let (before, begun) = (spent(ours), Instant::now());
    let part = |p: usize| async move {
        for i in (p..SUSTAINED).step_by(AT_ONCE) {
            pod(runtime, &format!("bench-s{i}"), false).await.map_err(text)?;
        }
        Ok::<(), String>(())
    };
    futures::future::join_all((0..AT_ONCE).map(part)).await.into_iter().collect::<Result<Vec<()>>>()?;
    let n = SUSTAINED as f64;
    Ok((n / begun.elapsed().as_secs_f64(), us(spent(ours) - before) / n))
}

/// The runtime beside runc.
pub(crate) fn beside_runc() -> Result<Vec<Row>> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(text)?;
    let mut cluster = Cluster::with_node();
    cluster.import_busybox();
    let socket = cluster.runtime().and_then(|p| sockets(p.pid).into_iter().next());
    let socket = socket.ok_or("the runtime's socket is not found")?;
    // Without the node agent, which would clean up what it doesn't know.
    cluster.stop();
    let runc = Runc::new(cluster.scratch())?;
    let runtime = GrpcRuntime::new(socket);
    object::runtime()?.block_on(async {
        pod(&runtime, "bench-first", false).await.map_err(text)?;
        // The keeper started with the first container.
        let ours: Vec<i32> = processes(&cluster).iter().map(|(_, pid)| *pid).collect();
        let [alone, pods, theirs] = in_turn(&runtime, &runc, &ours).await?;
        let (rate, cpu) = sustained(&runtime, &ours).await?;
        let ratio = quantile(&theirs.wall, 0.5) / quantile(&alone.wall, 0.5).max(f64::MIN_POSITIVE);
        let how = format!("{RUNS} in turn with runc's, `sleep` of busybox, over the CRI socket");
        Ok(vec![
            alone.row(
                "runtime alone: sandbox and container made, started, removed",
                &format!("{how}, the node's network"),
            ),
            pods.row("… with a network of the pod's own", &how),
            theirs.row("runc: create, start, delete --force", "Debian's runc, `runc spec`, the same program"),
            Row::new("runc's time over ours", "×", vec![ratio], "medians of the first and third rows above"),
            Row::new(
                "pods made, started, removed at once",
                "/s",
                vec![rate],
                &format!("{AT_ONCE} at once, {SUSTAINED}"),
            )
            .cpu(vec![cpu]),
        ])
    })
}
