//! A container runtime in memory: for simulations and tests. It keeps sandboxes, containers and images as CRI
//! shows them, tells events, and does what a script says where a real one would do what a process does.

use crate::core::observe::POD_UID_LABEL;
use cri::*;
use futures::StreamExt;
use futures::channel::mpsc;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Events that may wait for a listener that is slow.
const QUEUE: usize = 4096;
/// The size of every image.
const IMAGE_SIZE: u64 = 1_000_000;

/// What an image's containers do when they are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Runs until it is stopped, then ends with this code.
    Serves(i32),
    /// Ends at once with this code.
    Ends(i32),
    /// Can't be started.
    FailsToStart,
}

#[derive(Default)]
struct State {
    sandboxes: BTreeMap<String, (PodSandboxStatus, PodSandboxConfig)>,
    containers: BTreeMap<String, (ContainerStatus, ContainerConfig, String)>,
    images: HashSet<String>,
    unpullable: HashSet<String>,
    behaviours: HashMap<String, Behaviour>,
    execs: HashMap<String, (i32, String)>,
    listeners: Vec<mpsc::Sender<Result<ContainerEventResponse, CriError>>>,
    calls: Vec<String>,
    made: u64,
    down: bool,
    lists_refused: bool,
}

/// A container runtime in memory.
pub struct FakeRuntime {
    state: Mutex<State>,
    clock: Box<dyn Fn() -> i64 + Send + Sync>,
}

type Answer<T> = Result<T, CriError>;

fn ready<T: Send + 'static>(r: Answer<T>) -> CallFuture<'static, T> {
    Box::pin(std::future::ready(r))
}

fn missing<T>(what: &str, id: &str) -> Answer<T> {
    Err(CriError::not_found(format!("{what} {id:?} not found")))
}

fn matches(selector: &HashMap<String, String>, labels: &HashMap<String, String>) -> bool {
    selector.iter().all(|(k, v)| labels.get(k) == Some(v))
}

impl FakeRuntime {
    /// A runtime that reads the time in nanoseconds since the epoch from `clock`.
    pub fn new(clock: impl Fn() -> i64 + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), clock: Box::new(clock) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an image on the node.
    pub fn add_image(&self, name: &str) {
        self.state().images.insert(name.to_owned());
    }

    /// Makes pulls of an image fail.
    pub fn refuse_pulls(&self, name: &str) {
        self.state().unpullable.insert(name.to_owned());
    }

    /// Makes pulls of an image succeed again.
    pub fn allow_pulls(&self, name: &str) {
        self.state().unpullable.remove(name);
    }

    /// Says what containers of an image do.
    pub fn behave(&self, image: &str, b: Behaviour) {
        self.state().behaviours.insert(image.to_owned(), b);
    }

    /// Says what a command answers: its exit code and output.
    pub fn answer_exec(&self, command: &str, code: i32, output: &str) {
        self.state().execs.insert(command.to_owned(), (code, output.to_owned()));
    }

    /// Makes every call fail as if nobody answered.
    pub fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    /// Makes lists fail while everything else goes on.
    pub fn refuse_lists(&self, refuse: bool) {
        self.state().lists_refused = refuse;
    }

    /// What was called so far, in order: `start web`, `stop web 30`, ...
    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    /// The identifiers of running containers by name of pod and container.
    pub fn running(&self) -> Vec<(String, String, String)> {
        let s = self.state();
        let up = s.containers.values().filter(|c| c.0.state == ContainerState::ContainerRunning as i32);
        let name = |c: &ContainerStatus| c.labels.get("io.kubernetes.pod.name").cloned().unwrap_or_default();
        up.map(|c| (name(&c.0), c.0.metadata.clone().unwrap_or_default().name, c.0.id.clone())).collect()
    }

    /// How many sandboxes and containers there are, running or not.
    pub fn count(&self) -> (usize, usize) {
        let s = self.state();
        (s.sandboxes.len(), s.containers.len())
    }

    /// The configuration that a container was made from.
    pub fn config_of(&self, id: &str) -> Option<ContainerConfig> {
        self.state().containers.get(id).map(|c| c.1.clone())
    }

    /// Ends a running container, as if its process did.
    pub fn exit(&self, id: &str, code: i32) {
        let now = (self.clock)();
        let mut s = self.state();
        s.end(id, code, now);
        s.tell(id, ContainerEventType::ContainerStoppedEvent, now);
    }

    fn call<T>(&self, what: String) -> Answer<T>
    where
        T: Default,
    {
        let mut s = self.state();
        if s.down {
            return Err(CriError::unavailable("the runtime is down"));
        }
        s.calls.push(what);
        Ok(T::default())
    }

    fn run_sandbox(&self, r: RunPodSandboxRequest) -> Answer<RunPodSandboxResponse> {
        let config = r.config.unwrap_or_default();
        let meta = config.metadata.clone().unwrap_or_default();
        self.call::<()>(format!("sandbox {}", meta.name))?;
        let created_at = (self.clock)();
        let mut s = self.state();
        s.made += 1;
        let (id, n) = (format!("sandbox-{}", s.made), s.made);
        let host =
            config.linux.as_ref().and_then(|l| l.security_context.as_ref()?.namespace_options.as_ref());
        let host = host.is_some_and(|n| n.network == NamespaceMode::Node as i32);
        let ip = if host { String::new() } else { format!("10.1.{}.{}", n / 250, n % 250 + 2) };
        let status = PodSandboxStatus {
            id: id.clone(),
            metadata: Some(meta),
            state: PodSandboxState::SandboxReady as i32,
            created_at,
            network: Some(PodSandboxNetworkStatus { ip, additional_ips: Vec::new() }),
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            runtime_handler: r.runtime_handler,
            ..PodSandboxStatus::default()
        };
        s.sandboxes.insert(id.clone(), (status, config));
        Ok(RunPodSandboxResponse { pod_sandbox_id: id })
    }

    fn create(&self, r: CreateContainerRequest) -> Answer<CreateContainerResponse> {
        let config = r.config.unwrap_or_default();
        let meta = config.metadata.clone().unwrap_or_default();
        self.call::<()>(format!("create {}#{}", meta.name, meta.attempt))?;
        let created_at = (self.clock)();
        let mut s = self.state();
        if !s.sandboxes.contains_key(&r.pod_sandbox_id) {
            return missing("sandbox", &r.pod_sandbox_id);
        }
        s.made += 1;
        let id = format!("container-{}", s.made);
        let image = config.image.clone().unwrap_or_default();
        let shown = ImageSpec { image: image.user_specified_image.clone(), ..ImageSpec::default() };
        let status = ContainerStatus {
            id: id.clone(),
            metadata: Some(meta),
            state: ContainerState::ContainerCreated as i32,
            created_at,
            image: Some(shown),
            image_ref: image.image,
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            mounts: config.mounts.clone(),
            ..ContainerStatus::default()
        };
        s.containers.insert(id.clone(), (status, config, r.pod_sandbox_id));
        s.tell(&id, ContainerEventType::ContainerCreatedEvent, created_at);
        Ok(CreateContainerResponse { container_id: id })
    }

    fn start(&self, id: &str) -> Answer<StartContainerResponse> {
        self.call::<()>(format!("start {id}"))?;
        let now = (self.clock)();
        let mut s = self.state();
        let Some((status, config, _)) = s.containers.get_mut(id) else { return missing("container", id) };
        let image = config.image.clone().unwrap_or_default().user_specified_image;
        status.started_at = now;
        status.state = ContainerState::ContainerRunning as i32;
        match s.behaviours.get(&image).copied() {
            Some(Behaviour::FailsToStart) => {
                s.end(id, 128, now);
                return Err(CriError::internal("exec: \"nothing\": executable file not found in $PATH"));
            }
            Some(Behaviour::Ends(code)) => {
                s.tell(id, ContainerEventType::ContainerStartedEvent, now);
                s.end(id, code, now);
                s.tell(id, ContainerEventType::ContainerStoppedEvent, now);
            }
            _ => s.tell(id, ContainerEventType::ContainerStartedEvent, now),
        }
        Ok(StartContainerResponse {})
    }

    fn stop(&self, id: &str, timeout: i64) -> Answer<StopContainerResponse> {
        self.call::<()>(format!("stop {id} {timeout}"))?;
        let now = (self.clock)();
        let mut s = self.state();
        let Some((status, config, _)) = s.containers.get(id) else { return missing("container", id) };
        if status.state != ContainerState::ContainerRunning as i32 {
            return Ok(StopContainerResponse {});
        }
        let image = config.image.clone().unwrap_or_default().user_specified_image;
        let code = match s.behaviours.get(&image) {
            Some(Behaviour::Serves(code)) => *code,
            _ => 0,
        };
        s.end(id, code, now);
        s.tell(id, ContainerEventType::ContainerStoppedEvent, now);
        Ok(StopContainerResponse {})
    }

    fn pull(&self, image: ImageSpec) -> Answer<PullImageResponse> {
        self.call::<()>(format!("pull {}", image.image))?;
        let mut s = self.state();
        if s.unpullable.contains(&image.image) {
            return Err(CriError::internal(format!("failed to resolve {}: not found", image.image)));
        }
        s.images.insert(image.image.clone());
        Ok(PullImageResponse { image_ref: image.image })
    }

    fn image(&self, name: &str) -> Option<Image> {
        self.state().images.contains(name).then(|| Image {
            id: name.to_owned(),
            repo_tags: vec![name.to_owned()],
            size: IMAGE_SIZE,
            ..Image::default()
        })
    }
}

impl State {
    fn end(&mut self, id: &str, code: i32, now: i64) {
        if let Some((status, ..)) = self.containers.get_mut(id) {
            status.state = ContainerState::ContainerExited as i32;
            status.exit_code = code;
            status.finished_at = now;
            status.reason = if code == 0 { "Completed" } else { "Error" }.to_owned();
        }
    }

    fn tell(&mut self, id: &str, kind: ContainerEventType, created_at: i64) {
        let Some((status, _, sandbox)) = self.containers.get(id) else { return };
        let uid = status.labels.get(POD_UID_LABEL);
        let same = self.containers.values().filter(|c| c.0.labels.get(POD_UID_LABEL) == uid);
        let event = ContainerEventResponse {
            container_id: id.to_owned(),
            container_event_type: kind as i32,
            created_at,
            pod_sandbox_status: self.sandboxes.get(sandbox).map(|s| s.0.clone()),
            containers_statuses: same.map(|c| c.0.clone()).collect(),
        };
        self.listeners.retain_mut(|l| l.try_send(Ok(event.clone())).is_ok());
    }
}

impl ContainerRuntime for FakeRuntime {
    fn version(&self, _: VersionRequest) -> CallFuture<'_, VersionResponse> {
        ready(self.call::<()>("version".into()).map(|()| VersionResponse {
            version: "0.1.0".into(),
            runtime_name: "fake".into(),
            runtime_version: "1".into(),
            runtime_api_version: "v1".into(),
        }))
    }

    fn status(&self, _: StatusRequest) -> CallFuture<'_, StatusResponse> {
        let on = |kind: &str| RuntimeCondition {
            r#type: kind.into(),
            status: true,
            ..RuntimeCondition::default()
        };
        let conditions = vec![on("RuntimeReady"), on("NetworkReady")];
        let status = Some(RuntimeStatus { conditions });
        ready(
            self.call::<()>("status".into()).map(|()| StatusResponse { status, ..StatusResponse::default() }),
        )
    }

    fn update_runtime_config(
        &self,
        r: UpdateRuntimeConfigRequest,
    ) -> CallFuture<'_, UpdateRuntimeConfigResponse> {
        let network = r.runtime_config.and_then(|c| c.network_config).unwrap_or_default();
        let told = self.call::<()>(format!("pod cidr {}", network.pod_cidr));
        ready(told.map(|()| UpdateRuntimeConfigResponse::default()))
    }

    fn run_pod_sandbox(&self, r: RunPodSandboxRequest) -> CallFuture<'_, RunPodSandboxResponse> {
        ready(self.run_sandbox(r))
    }

    fn stop_pod_sandbox(&self, r: StopPodSandboxRequest) -> CallFuture<'_, StopPodSandboxResponse> {
        let called = self.call(format!("stop-sandbox {}", r.pod_sandbox_id));
        if let Some((s, _)) = self.state().sandboxes.get_mut(&r.pod_sandbox_id) {
            s.state = PodSandboxState::SandboxNotready as i32;
        }
        ready(called)
    }

    fn remove_pod_sandbox(&self, r: RemovePodSandboxRequest) -> CallFuture<'_, RemovePodSandboxResponse> {
        let called = self.call(format!("remove-sandbox {}", r.pod_sandbox_id));
        self.state().sandboxes.remove(&r.pod_sandbox_id);
        ready(called)
    }

    fn pod_sandbox_status(&self, r: PodSandboxStatusRequest) -> CallFuture<'_, PodSandboxStatusResponse> {
        let found = self.state().sandboxes.get(&r.pod_sandbox_id).map(|s| s.0.clone());
        ready(match found {
            None => missing("sandbox", &r.pod_sandbox_id),
            status => Ok(PodSandboxStatusResponse { status, ..PodSandboxStatusResponse::default() }),
        })
    }

    fn list_pod_sandbox(&self, r: ListPodSandboxRequest) -> CallFuture<'_, ListPodSandboxResponse> {
        let selector = r.filter.unwrap_or_default().label_selector;
        let mut s = self.state();
        if s.lists_refused {
            s.calls.push("refused list".to_owned());
            return ready(Err(CriError::unavailable("the runtime does not list")));
        }
        let fits = s.sandboxes.values().filter(|x| matches(&selector, &x.0.labels));
        let items = fits.map(|(s, _)| PodSandbox {
            id: s.id.clone(),
            metadata: s.metadata.clone(),
            state: s.state,
            created_at: s.created_at,
            labels: s.labels.clone(),
            ..PodSandbox::default()
        });
        ready(Ok(ListPodSandboxResponse { items: items.collect() }))
    }

    fn create_container(&self, r: CreateContainerRequest) -> CallFuture<'_, CreateContainerResponse> {
        ready(self.create(r))
    }

    fn start_container(&self, r: StartContainerRequest) -> CallFuture<'_, StartContainerResponse> {
        ready(self.start(&r.container_id))
    }

    fn stop_container(&self, r: StopContainerRequest) -> CallFuture<'_, StopContainerResponse> {
        ready(self.stop(&r.container_id, r.timeout))
    }

    fn remove_container(&self, r: RemoveContainerRequest) -> CallFuture<'_, RemoveContainerResponse> {
        let called = self.call(format!("remove {}", r.container_id));
        let now = (self.clock)();
        let mut s = self.state();
        s.tell(&r.container_id, ContainerEventType::ContainerDeletedEvent, now);
        s.containers.remove(&r.container_id);
        ready(called)
    }

    fn list_containers(&self, r: ListContainersRequest) -> CallFuture<'_, ListContainersResponse> {
        let selector = r.filter.unwrap_or_default().label_selector;
        let s = self.state();
        let fits = s.containers.values().filter(|c| matches(&selector, &c.0.labels));
        let containers = fits.map(|(c, _, sandbox)| Container {
            id: c.id.clone(),
            pod_sandbox_id: sandbox.clone(),
            metadata: c.metadata.clone(),
            state: c.state,
            created_at: c.created_at,
            labels: c.labels.clone(),
            ..Container::default()
        });
        ready(Ok(ListContainersResponse { containers: containers.collect() }))
    }

    fn container_status(&self, r: ContainerStatusRequest) -> CallFuture<'_, ContainerStatusResponse> {
        let found = self.state().containers.get(&r.container_id).map(|c| c.0.clone());
        ready(match found {
            None => missing("container", &r.container_id),
            status => Ok(ContainerStatusResponse { status, ..ContainerStatusResponse::default() }),
        })
    }

    fn exec_sync(&self, r: ExecSyncRequest) -> CallFuture<'_, ExecSyncResponse> {
        let cmd = r.cmd.join(" ");
        let called = self.call::<()>(format!("exec {} {cmd}", r.container_id));
        let (exit_code, out) = self.state().execs.get(&cmd).cloned().unwrap_or_default();
        ready(called.map(|()| ExecSyncResponse {
            stdout: out.into_bytes(),
            exit_code,
            ..ExecSyncResponse::default()
        }))
    }

    fn image_status(&self, r: ImageStatusRequest) -> CallFuture<'_, ImageStatusResponse> {
        let image = self.image(&r.image.unwrap_or_default().image);
        ready(Ok(ImageStatusResponse { image, ..ImageStatusResponse::default() }))
    }

    fn list_images(&self, _: ListImagesRequest) -> CallFuture<'_, ListImagesResponse> {
        let names: Vec<String> = self.state().images.iter().cloned().collect();
        let images = names.iter().filter_map(|n| self.image(n)).collect();
        ready(Ok(ListImagesResponse { images }))
    }

    fn pull_image(&self, r: PullImageRequest) -> CallFuture<'_, PullImageResponse> {
        ready(self.pull(r.image.unwrap_or_default()))
    }

    fn list_container_stats(
        &self,
        _: ListContainerStatsRequest,
    ) -> CallFuture<'_, ListContainerStatsResponse> {
        ready(Ok(ListContainerStatsResponse::default()))
    }

    fn get_container_events(&self, _: GetEventsRequest) -> CallFuture<'_, EventStream> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.state().listeners.push(sender);
        let stream: EventStream = receiver.boxed();
        ready(Ok(stream))
    }
}
