//! The seam between the node agent and whatever runs containers.

use std::pin::Pin;

use futures::Stream;

use crate::CriError;
use crate::v1::*;

/// What every call returns; boxed so that the trait is object-safe.
pub type CallFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, CriError>> + Send + 'a>>;

/// Container events, in the order in which they happened; ends when the runtime goes away.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<ContainerEventResponse, CriError>> + Send>>;

/// Every unary call of CRI v1 that we make or serve: one line a call. The trait, the client and the server follow.
macro_rules! calls {
    ($apply:ident) => {
        $apply! {
            RuntimeService "Version" version(VersionRequest) -> VersionResponse;
            RuntimeService "Status" status(StatusRequest) -> StatusResponse;
            RuntimeService "RuntimeConfig" runtime_config(RuntimeConfigRequest) -> RuntimeConfigResponse;
            RuntimeService "UpdateRuntimeConfig" update_runtime_config(UpdateRuntimeConfigRequest) -> UpdateRuntimeConfigResponse;
            RuntimeService "RunPodSandbox" run_pod_sandbox(RunPodSandboxRequest) -> RunPodSandboxResponse;
            RuntimeService "StopPodSandbox" stop_pod_sandbox(StopPodSandboxRequest) -> StopPodSandboxResponse;
            RuntimeService "RemovePodSandbox" remove_pod_sandbox(RemovePodSandboxRequest) -> RemovePodSandboxResponse;
            RuntimeService "PodSandboxStatus" pod_sandbox_status(PodSandboxStatusRequest) -> PodSandboxStatusResponse;
            RuntimeService "ListPodSandbox" list_pod_sandbox(ListPodSandboxRequest) -> ListPodSandboxResponse;
            RuntimeService "CreateContainer" create_container(CreateContainerRequest) -> CreateContainerResponse;
            RuntimeService "StartContainer" start_container(StartContainerRequest) -> StartContainerResponse;
            RuntimeService "StopContainer" stop_container(StopContainerRequest) -> StopContainerResponse;
            RuntimeService "RemoveContainer" remove_container(RemoveContainerRequest) -> RemoveContainerResponse;
            RuntimeService "ListContainers" list_containers(ListContainersRequest) -> ListContainersResponse;
            RuntimeService "ContainerStatus" container_status(ContainerStatusRequest) -> ContainerStatusResponse;
            RuntimeService "UpdateContainerResources" update_container_resources(UpdateContainerResourcesRequest) -> UpdateContainerResourcesResponse;
            RuntimeService "UpdatePodSandboxResources" update_pod_sandbox_resources(UpdatePodSandboxResourcesRequest) -> UpdatePodSandboxResourcesResponse;
            RuntimeService "ReopenContainerLog" reopen_container_log(ReopenContainerLogRequest) -> ReopenContainerLogResponse;
            RuntimeService "ExecSync" exec_sync(ExecSyncRequest) -> ExecSyncResponse;
            RuntimeService "Exec" exec(ExecRequest) -> ExecResponse;
            RuntimeService "Attach" attach(AttachRequest) -> AttachResponse;
            RuntimeService "PortForward" port_forward(PortForwardRequest) -> PortForwardResponse;
            RuntimeService "ContainerStats" container_stats(ContainerStatsRequest) -> ContainerStatsResponse;
            RuntimeService "ListContainerStats" list_container_stats(ListContainerStatsRequest) -> ListContainerStatsResponse;
            RuntimeService "PodSandboxStats" pod_sandbox_stats(PodSandboxStatsRequest) -> PodSandboxStatsResponse;
            RuntimeService "ListPodSandboxStats" list_pod_sandbox_stats(ListPodSandboxStatsRequest) -> ListPodSandboxStatsResponse;
            ImageService "ListImages" list_images(ListImagesRequest) -> ListImagesResponse;
            ImageService "ImageStatus" image_status(ImageStatusRequest) -> ImageStatusResponse;
            ImageService "PullImage" pull_image(PullImageRequest) -> PullImageResponse;
            ImageService "RemoveImage" remove_image(RemoveImageRequest) -> RemoveImageResponse;
            ImageService "ImageFsInfo" image_fs_info(ImageFsInfoRequest) -> ImageFsInfoResponse;
        }
    };
}
pub(crate) use calls;

macro_rules! declare {
    ($( $service:ident $path:literal $method:ident ($request:ident) -> $response:ident; )*) => {
        /// A container runtime: everything that the node agent knows of one.
        ///
        /// Implemented by [`crate::GrpcRuntime`] (any runtime behind a socket), by the embedded runtime, and by fakes.
        /// A call that a runtime does not offer answers `Unimplemented`, as gRPC servers do.
        pub trait ContainerRuntime: Send + Sync {
            $(
                #[doc = concat!("CRI v1 `", stringify!($service), ".", $path, "`.")]
                fn $method(&self, request: $request) -> CallFuture<'_, $response> {
                    let _ = request;
                    Box::pin(std::future::ready(Err(unimplemented($path))))
                }
            )*

            /// CRI v1 `RuntimeService.GetContainerEvents`.
            fn get_container_events(&self, request: GetEventsRequest) -> CallFuture<'_, EventStream> {
                let _ = request;
                Box::pin(std::future::ready(Err(unimplemented("GetContainerEvents"))))
            }
        }
    };
}
calls!(declare);

pub(crate) fn unimplemented(method: &str) -> CriError {
    CriError::new(tonic::Code::Unimplemented, format!("unknown method {method}"))
}
