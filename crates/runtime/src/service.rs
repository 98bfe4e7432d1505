//! CRI v1 over the core: asynchronous at the front, blocking calls on threads of their own behind.

use std::collections::HashMap;
use std::sync::Arc;

use cri::*;

use crate::core::{CallResult, Core, ExecRequest as Command, exec_sync, stop_container};
use crate::state::Phase;
use crate::streaming::{StreamServer, Streamed};

/// The runtime as node agents see it.
pub(crate) struct Service {
    pub(crate) core: Arc<Core>,
    pub(crate) streams: Arc<StreamServer>,
}

impl Service {
    fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Arc<Core>) -> CallResult<T> + Send + 'static,
    ) -> CallFuture<'_, T> {
        let core = self.core.clone();
        Box::pin(async move {
            let done = tokio::task::spawn_blocking(move || call(&core)).await;
            done.unwrap_or_else(|error| {
                Err(CriError::new(Code::Internal, format!("the call panicked: {error}")))
            })
        })
    }
}

impl Service {
    /// Streams are only promised to containers that run.
    fn running(&self, id: &str) -> CallResult<()> {
        let record = self.core.container(id)?.record();
        match record.phase {
            Phase::Running => Ok(()),
            phase => Err(CriError::new(Code::FailedPrecondition, format!("container is in {phase:?} state"))),
        }
    }
}

fn condition(name: &str, problem: Option<&str>, reason: &str) -> RuntimeCondition {
    RuntimeCondition {
        r#type: name.to_owned(),
        status: problem.is_none(),
        reason: if problem.is_some() { reason.to_owned() } else { String::new() },
        message: problem.unwrap_or_default().to_owned(),
    }
}

fn image_name(spec: Option<ImageSpec>) -> String {
    spec.map(|spec| spec.image).unwrap_or_default()
}

impl ContainerRuntime for Service {
    fn version(&self, _: VersionRequest) -> CallFuture<'_, VersionResponse> {
        Box::pin(async {
            Ok(VersionResponse {
                version: "0.1.0".to_owned(),
                runtime_name: "ironclad".to_owned(),
                runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
                runtime_api_version: "v1".to_owned(),
            })
        })
    }

    fn status(&self, _: StatusRequest) -> CallFuture<'_, StatusResponse> {
        let network = condition("NetworkReady", self.core.network().not_ready(), "NetworkPluginNotReady");
        let conditions = vec![condition("RuntimeReady", None, ""), network];
        let features = RuntimeHandlerFeatures { recursive_read_only_mounts: true, user_namespaces: false };
        let handler = |name: &str| RuntimeHandler { name: name.to_owned(), features: Some(features.clone()) };
        let answer = StatusResponse {
            status: Some(RuntimeStatus { conditions }),
            info: HashMap::new(),
            runtime_handlers: vec![handler(""), handler("runc")],
            features: Some(RuntimeFeatures { supplemental_groups_policy: true, ..Default::default() }),
        };
        Box::pin(async { Ok(answer) })
    }

    fn runtime_config(&self, _: RuntimeConfigRequest) -> CallFuture<'_, RuntimeConfigResponse> {
        let linux = LinuxRuntimeConfiguration { cgroup_driver: CgroupDriver::Cgroupfs.into() };
        Box::pin(async move { Ok(RuntimeConfigResponse { linux: Some(linux) }) })
    }

    fn update_runtime_config(
        &self,
        request: UpdateRuntimeConfigRequest,
    ) -> CallFuture<'_, UpdateRuntimeConfigResponse> {
        let network = request.runtime_config.and_then(|config| config.network_config).unwrap_or_default();
        self.blocking(move |core| {
            if !network.pod_cidr.is_empty() {
                core.network().configure(&network.pod_cidr).map_err(CriError::internal)?;
            }
            Ok(UpdateRuntimeConfigResponse {})
        })
    }

    fn run_pod_sandbox(&self, request: RunPodSandboxRequest) -> CallFuture<'_, RunPodSandboxResponse> {
        self.blocking(|core| Ok(RunPodSandboxResponse { pod_sandbox_id: core.run_sandbox(request)? }))
    }

    fn stop_pod_sandbox(&self, request: StopPodSandboxRequest) -> CallFuture<'_, StopPodSandboxResponse> {
        self.blocking(move |core| {
            core.stop_sandbox(&request.pod_sandbox_id).map(|()| StopPodSandboxResponse {})
        })
    }

    fn remove_pod_sandbox(
        &self,
        request: RemovePodSandboxRequest,
    ) -> CallFuture<'_, RemovePodSandboxResponse> {
        self.blocking(move |core| {
            core.remove_sandbox(&request.pod_sandbox_id).map(|()| RemovePodSandboxResponse {})
        })
    }

    fn pod_sandbox_status(
        &self,
        request: PodSandboxStatusRequest,
    ) -> CallFuture<'_, PodSandboxStatusResponse> {
        self.blocking(move |core| {
            let status = core.sandbox(&request.pod_sandbox_id)?.status();
            let containers_statuses = core.statuses_of(&status.id);
            let timestamp = crate::clock::now_nanos();
            Ok(PodSandboxStatusResponse {
                status: Some(status),
                containers_statuses,
                timestamp,
                ..Default::default()
            })
        })
    }

    fn list_pod_sandbox(&self, request: ListPodSandboxRequest) -> CallFuture<'_, ListPodSandboxResponse> {
        self.blocking(|core| Ok(ListPodSandboxResponse { items: core.list_sandboxes(request.filter) }))
    }

    fn create_container(&self, request: CreateContainerRequest) -> CallFuture<'_, CreateContainerResponse> {
        self.blocking(|core| Ok(CreateContainerResponse { container_id: core.create_container(request)? }))
    }

    fn start_container(&self, request: StartContainerRequest) -> CallFuture<'_, StartContainerResponse> {
        self.blocking(move |core| {
            core.start_container(&request.container_id).map(|()| StartContainerResponse {})
        })
    }

    fn stop_container(&self, request: StopContainerRequest) -> CallFuture<'_, StopContainerResponse> {
        let stopping = stop_container(self.core.clone(), request.container_id, request.timeout);
        Box::pin(async { stopping.await.map(|()| StopContainerResponse {}) })
    }

    fn remove_container(&self, request: RemoveContainerRequest) -> CallFuture<'_, RemoveContainerResponse> {
        self.blocking(move |core| {
            core.remove_container(&request.container_id).map(|()| RemoveContainerResponse {})
        })
    }

    fn list_containers(&self, request: ListContainersRequest) -> CallFuture<'_, ListContainersResponse> {
        self.blocking(|core| Ok(ListContainersResponse { containers: core.list_containers(request.filter) }))
    }

    fn container_status(&self, request: ContainerStatusRequest) -> CallFuture<'_, ContainerStatusResponse> {
        self.blocking(move |core| {
            let container = core.container(&request.container_id)?;
            let info = if request.verbose { Core::verbose(&container.record()) } else { HashMap::new() };
            Ok(ContainerStatusResponse { status: Some(container.status()), info })
        })
    }

    fn update_container_resources(
        &self,
        request: UpdateContainerResourcesRequest,
    ) -> CallFuture<'_, UpdateContainerResourcesResponse> {
        self.blocking(move |core| {
            core.update_resources(&request.container_id, request.linux)
                .map(|()| UpdateContainerResourcesResponse {})
        })
    }

    fn update_pod_sandbox_resources(
        &self,
        request: UpdatePodSandboxResourcesRequest,
    ) -> CallFuture<'_, UpdatePodSandboxResourcesResponse> {
        self.blocking(move |core| {
            core.update_sandbox_resources(&request.pod_sandbox_id, request.resources)
                .map(|()| UpdatePodSandboxResourcesResponse {})
        })
    }

    fn reopen_container_log(
        &self,
        request: ReopenContainerLogRequest,
    ) -> CallFuture<'_, ReopenContainerLogResponse> {
        self.blocking(move |core| {
            core.reopen_log(&request.container_id).map(|()| ReopenContainerLogResponse {})
        })
    }

    fn exec_sync(&self, request: ExecSyncRequest) -> CallFuture<'_, ExecSyncResponse> {
        Box::pin(exec_sync(self.core.clone(), request))
    }

    fn exec(&self, request: ExecRequest) -> CallFuture<'_, ExecResponse> {
        Box::pin(async move {
            self.running(&request.container_id)?;
            let (stdout, stderr) = (request.stdout, request.stderr);
            let (container, command) = (request.container_id, request.cmd);
            let request = Command { container, command, tty: request.tty, stdin: request.stdin };
            Ok(ExecResponse { url: self.streams.url(Streamed::Exec { request, stdout, stderr })? })
        })
    }

    fn attach(&self, request: AttachRequest) -> CallFuture<'_, AttachResponse> {
        Box::pin(async move {
            self.running(&request.container_id)?;
            Ok(AttachResponse { url: self.streams.url(Streamed::Attach(request))? })
        })
    }

    fn port_forward(&self, request: PortForwardRequest) -> CallFuture<'_, PortForwardResponse> {
        Box::pin(async move {
            self.core.forward_target(&request.pod_sandbox_id)?;
            Ok(PortForwardResponse { url: self.streams.url(Streamed::PortForward(request))? })
        })
    }

    fn container_stats(&self, request: ContainerStatsRequest) -> CallFuture<'_, ContainerStatsResponse> {
        self.blocking(move |core| {
            Ok(ContainerStatsResponse { stats: Some(core.container_stats(&request.container_id)?) })
        })
    }

    fn list_container_stats(
        &self,
        request: ListContainerStatsRequest,
    ) -> CallFuture<'_, ListContainerStatsResponse> {
        self.blocking(|core| {
            Ok(ListContainerStatsResponse { stats: core.list_container_stats(request.filter) })
        })
    }

    fn pod_sandbox_stats(&self, request: PodSandboxStatsRequest) -> CallFuture<'_, PodSandboxStatsResponse> {
        self.blocking(move |core| {
            Ok(PodSandboxStatsResponse { stats: Some(core.sandbox_stats(&request.pod_sandbox_id)?) })
        })
    }

    fn list_pod_sandbox_stats(
        &self,
        request: ListPodSandboxStatsRequest,
    ) -> CallFuture<'_, ListPodSandboxStatsResponse> {
        self.blocking(|core| {
            Ok(ListPodSandboxStatsResponse { stats: core.list_sandbox_stats(request.filter) })
        })
    }

    fn get_container_events(&self, _: GetEventsRequest) -> CallFuture<'_, EventStream> {
        let events = self.core.listen();
        Box::pin(async { Ok(events) })
    }

    fn list_images(&self, request: ListImagesRequest) -> CallFuture<'_, ListImagesResponse> {
        let wanted = image_name(request.filter.and_then(|filter| filter.image));
        self.blocking(move |core| {
            let images = match wanted.as_str() {
                "" => core.config.images.list()?,
                wanted => core.config.images.status(wanted)?.into_iter().collect(),
            };
            Ok(ListImagesResponse { images })
        })
    }

    fn image_status(&self, request: ImageStatusRequest) -> CallFuture<'_, ImageStatusResponse> {
        let wanted = image_name(request.image);
        self.blocking(move |core| {
            Ok(ImageStatusResponse { image: core.config.images.status(&wanted)?, info: HashMap::new() })
        })
    }

    fn pull_image(&self, request: PullImageRequest) -> CallFuture<'_, PullImageResponse> {
        Box::pin(
            async move { Ok(PullImageResponse { image_ref: self.core.config.images.pull(request).await? }) },
        )
    }

    fn remove_image(&self, request: RemoveImageRequest) -> CallFuture<'_, RemoveImageResponse> {
        let wanted = image_name(request.image);
        self.blocking(move |core| core.config.images.remove(&wanted).map(|()| RemoveImageResponse {}))
    }

    fn image_fs_info(&self, _: ImageFsInfoRequest) -> CallFuture<'_, ImageFsInfoResponse> {
        self.blocking(|core| {
            let usage = core.config.images.usage()?;
            Ok(ImageFsInfoResponse {
                image_filesystems: vec![usage.clone()],
                container_filesystems: vec![usage],
            })
        })
    }
}
