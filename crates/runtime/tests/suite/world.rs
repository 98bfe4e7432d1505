//! One instance of the runtime for one test.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cri::*;

const SERVER: &str = env!("CARGO_BIN_EXE_runtime-under-test");
const PATIENCE: Duration = Duration::from_secs(30);
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A running instance; dropping it purges it.
pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) instance: String,
    pub(crate) client: GrpcRuntime,
    server: Child,
}

/// A container to make: what tests vary, over defaults.
#[derive(Default)]
pub(crate) struct Wish {
    pub(crate) name: &'static str,
    pub(crate) command: Vec<String>,
    pub(crate) change: Option<Change>,
}

/// A change to a container's configuration.
type Change = Box<dyn FnOnce(&mut ContainerConfig)>;

pub(crate) fn shell(script: &str) -> Wish {
    let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    Wish { name: "main", command, change: None }
}

impl Wish {
    pub(crate) fn with(mut self, change: impl FnOnce(&mut ContainerConfig) + 'static) -> Self {
        self.change = Some(Box::new(change));
        self
    }
}

pub(crate) fn security(config: &mut ContainerConfig) -> &mut LinuxContainerSecurityContext {
    config.linux.get_or_insert_default().security_context.get_or_insert_default()
}

pub(crate) fn resources(config: &mut ContainerConfig) -> &mut LinuxContainerResources {
    config.linux.get_or_insert_default().resources.get_or_insert_default()
}

impl World {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("ic-rt-").tempdir().expect("a temporary directory");
        make_image(&directory.path().join("images/busybox"));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let instance = format!("t{:x}n{number}", std::process::id());
        let server = start(&instance, directory.path());
        let client = GrpcRuntime::new(directory.path().join("cri.sock"));
        let world = Self { directory, instance, client, server };
        world.wait_served().await;
        world
    }

    /// The pod CIDR differs between concurrent tests, because their bridges share the node.
    pub(crate) async fn with_network() -> Self {
        let world = Self::new().await;
        world.configure_network().await.expect("a pod network");
        world
    }

    pub(crate) async fn configure_network(&self) -> Result<(), CriError> {
        let number = NUMBER.load(Ordering::Relaxed) & 0x3f;
        let third = (std::process::id() & 0xff) as u8;
        let second = 128 + number;
        let hash = self.instance.bytes().fold(0u8, |h, b| h.wrapping_mul(31).wrapping_add(b));
        let network_config =
            NetworkConfig { pod_cidr: format!("10.{second}.{}.0/24", third.wrapping_add(hash)) };
        let runtime_config = Some(RuntimeConfig { network_config: Some(network_config) });
        self.client.update_runtime_config(UpdateRuntimeConfigRequest { runtime_config }).await.map(drop)
    }

    async fn wait_served(&self) {
        wait("the runtime serves", || async { self.client.version(Default::default()).await.is_ok() }).await;
    }

    /// kill -9 of the runtime.
    pub(crate) fn crash(&mut self) {
        self.server.kill().expect("kill");
        self.server.wait().expect("wait");
    }

    pub(crate) async fn restart(&mut self) {
        self.server = start(&self.instance, self.directory.path());
        self.wait_served().await;
    }

    pub(crate) fn cgroup_parent(&self) -> String {
        format!("/ironclad-{}/pod", self.instance)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A sandbox on the node's network, unless `change` says otherwise.
    pub(crate) async fn sandbox_with(
        &self,
        change: impl FnOnce(&mut PodSandboxConfig),
    ) -> (String, PodSandboxConfig) {
        let config = self.sandbox_config(change);
        let request = RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: String::new() };
        let answer = self.client.run_pod_sandbox(request).await.expect("a sandbox");
        (answer.pod_sandbox_id, config)
    }

    pub(crate) fn sandbox_config(&self, change: impl FnOnce(&mut PodSandboxConfig)) -> PodSandboxConfig {
        let options = NamespaceOption {
            network: NamespaceMode::Node.into(),
            pid: NamespaceMode::Container.into(),
            ..Default::default()
        };
        let security_context =
            LinuxSandboxSecurityContext { namespace_options: Some(options), ..Default::default() };
        let mut config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: "pod".into(),
                uid: "uid".into(),
                namespace: "default".into(),
                attempt: 0,
            }),
            hostname: "pod".into(),
            log_directory: self.path("logs").to_string_lossy().into_owned(),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: self.cgroup_parent(),
                security_context: Some(security_context),
                ..Default::default()
            }),
            labels: HashMap::from([("app".to_owned(), "test".to_owned())]),
            ..Default::default()
        };
        change(&mut config);
        config
    }

    pub(crate) async fn sandbox(&self) -> (String, PodSandboxConfig) {
        self.sandbox_with(|_| {}).await
    }

    /// A sandbox with a network of its own, and its address.
    pub(crate) async fn networked(
        &self,
        change: impl FnOnce(&mut PodSandboxConfig),
    ) -> (String, PodSandboxConfig, String) {
        let (id, config) = self
            .sandbox_with(|config| {
                set_namespaces(config, |options| options.network = NamespaceMode::Pod.into());
                change(config);
            })
            .await;
        let status = self
            .client
            .pod_sandbox_status(PodSandboxStatusRequest { pod_sandbox_id: id.clone(), verbose: false });
        let ip =
            status.await.expect("a status").status.and_then(|s| s.network).map(|n| n.ip).unwrap_or_default();
        (id, config, ip)
    }

    pub(crate) async fn create(
        &self,
        sandbox: &(String, PodSandboxConfig),
        wish: Wish,
    ) -> Result<String, CriError> {
        let options = sandbox
            .1
            .linux
            .as_ref()
            .and_then(|l| l.security_context.as_ref())
            .and_then(|s| s.namespace_options.clone());
        let mut config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: wish.name.into(), attempt: 0 }),
            image: Some(ImageSpec { image: "busybox".into(), ..Default::default() }),
            command: wish.command,
            log_path: format!("{}.log", if wish.name.is_empty() { "main" } else { wish.name }),
            ..Default::default()
        };
        security(&mut config).namespace_options = options;
        if let Some(change) = wish.change {
            change(&mut config);
        }
        let request = CreateContainerRequest {
            pod_sandbox_id: sandbox.0.clone(),
            config: Some(config),
            sandbox_config: Some(sandbox.1.clone()),
        };
        self.client.create_container(request).await.map(|answer| answer.container_id)
    }

    pub(crate) async fn start(&self, id: &str) -> Result<(), CriError> {
        self.client.start_container(StartContainerRequest { container_id: id.to_owned() }).await.map(drop)
    }

    /// Creates and starts.
    pub(crate) async fn launch(&self, sandbox: &(String, PodSandboxConfig), wish: Wish) -> String {
        let id = self.create(sandbox, wish).await.expect("a container");
        self.start(&id).await.expect("started");
        id
    }

    /// Creates, starts, waits for the end; gives the status and the log's text without its heads.
    pub(crate) async fn finish(
        &self,
        sandbox: &(String, PodSandboxConfig),
        wish: Wish,
    ) -> (ContainerStatus, String) {
        let name = wish.name;
        let id = self.launch(sandbox, wish).await;
        let status = self.wait_exited(&id).await;
        (status, self.log(name))
    }

    pub(crate) async fn status(&self, id: &str) -> ContainerStatus {
        let request = ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        self.client.container_status(request).await.expect("a status").status.expect("a status")
    }

    pub(crate) async fn wait_exited(&self, id: &str) -> ContainerStatus {
        wait("the container ends", || async {
            self.status(id).await.state() == ContainerState::ContainerExited
        })
        .await;
        self.status(id).await
    }

    pub(crate) fn raw_log(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("logs/{name}.log"))).unwrap_or_default()
    }

    pub(crate) fn log(&self, name: &str) -> String {
        let mut text = String::new();
        for line in self.raw_log(name).lines() {
            let mut parts = line.splitn(4, ' ').skip(2);
            let (tag, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            text += rest;
            if tag == "F" {
                text += "\n";
            }
        }
        text
    }

    pub(crate) async fn wait_log(&self, name: &str, wanted: &str) {
        wait(&format!("{wanted:?} in the log"), || async { self.log(name).contains(wanted) }).await;
    }

    /// Runs a command in a container: exit code, stdout, stderr.
    pub(crate) async fn exec(&self, id: &str, script: &str) -> (i32, String, String) {
        let cmd = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let request = ExecSyncRequest { container_id: id.to_owned(), cmd, timeout: 20 };
        let answer = self.client.exec_sync(request).await.expect("an answer");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (answer.exit_code, text(answer.stdout), text(answer.stderr))
    }

    pub(crate) fn run_server(&self, verb: &str) -> bool {
        let mut command = Command::new(SERVER);
        command.args([verb, &self.instance]).arg(self.directory.path());
        command.status().expect("the server program").success()
    }

    /// What of this instance is left on the machine.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let here = self.directory.path().to_string_lossy().into_owned();
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the mount table");
        let mut left: Vec<_> = mounts.lines().filter(|l| l.contains(&here)).map(str::to_owned).collect();
        left.extend(Some(format!("/sys/class/net/ic-{}", self.instance)).filter(|p| Path::new(p).exists()));
        let tables = Command::new("nft").args(["list", "tables"]).output().expect("nft").stdout;
        let tables = String::from_utf8_lossy(&tables).into_owned();
        left.extend(
            tables.lines().filter(|l| l.ends_with(&format!("ironclad-{}", self.instance))).map(str::to_owned),
        );
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let cgroup = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
            if cgroup.contains(&format!("/ironclad-{}/", self.instance)) {
                left.push(format!("process {:?}", entry.file_name()));
            }
        }
        left
    }
}

pub(crate) fn set_namespaces(config: &mut PodSandboxConfig, change: impl FnOnce(&mut NamespaceOption)) {
    let linux = config.linux.get_or_insert_default();
    change(linux.security_context.get_or_insert_default().namespace_options.get_or_insert_default());
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        if std::thread::panicking() {
            eprintln!(
                "the runtime said:\n{}",
                fs::read_to_string(self.path("server.log")).unwrap_or_default()
            );
        }
        if self.path("state").exists() {
            self.run_server("purge");
        }
        for entry in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let group = entry.path().join(format!("ironclad-{}", self.instance));
            let _ = fs::remove_dir(group.join("pod"));
            let _ = fs::remove_dir(group);
        }
    }
}

fn start(instance: &str, directory: &Path) -> Child {
    let log =
        fs::File::options().create(true).append(true).open(directory.join("server.log")).expect("a log");
    Command::new(SERVER)
        .args(["run", instance])
        .arg(directory)
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the server program")
}

fn make_image(directory: &Path) {
    let root = directory.join("rootfs");
    for name in ["bin", "etc", "tmp", "proc", "sys", "dev", "root", "home/app"] {
        fs::create_dir_all(root.join(name)).expect("a directory");
    }
    fs::copy("/usr/bin/busybox", root.join("bin/busybox")).expect("busybox");
    let applets = Command::new("/usr/bin/busybox").arg("--list").output().expect("busybox").stdout;
    for applet in String::from_utf8_lossy(&applets).lines().filter(|name| *name != "busybox") {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).expect("a link");
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n")
        .expect("passwd");
    fs::write(root.join("etc/group"), "root:x:0:\napp:x:1000:\nweb:x:33:app\n").expect("group");
    let config = r#"{"env":["PATH=/bin","FROM_IMAGE=1"],"cmd":["/bin/sh"]}"#;
    fs::write(directory.join("config.json"), config).expect("a config");
}

/// Waits for a condition, with a deadline.
pub(crate) async fn wait<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        ticks.tick().await;
    }
}
