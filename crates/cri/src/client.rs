//! A container runtime behind a unix socket.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use http::uri::PathAndQuery;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tonic::body::Body;
use tonic_prost::ProstCodec;

use crate::runtime::{CallFuture, ContainerRuntime, EventStream, calls};
use crate::v1::*;
use crate::{CriError, MESSAGE_LIMIT};

/// How long a call may take when its request says nothing else (kubelet's `runtimeRequestTimeout`).
const CALL_LIMIT: Duration = Duration::from_secs(120);
/// Sandboxes may set up networks: twice as long, as `remote_runtime.go` allows.
const SANDBOX_LIMIT: Duration = Duration::from_secs(240);

/// A CRI v1 client over a unix socket; connects when first used, and again whenever the connection was lost.
#[derive(Debug)]
pub struct GrpcRuntime {
    socket: PathBuf,
    connection: Mutex<Option<SendRequest<Body>>>,
}

impl GrpcRuntime {
    /// A client for the runtime that listens, now or later, on `socket`.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), connection: Mutex::new(None) }
    }

    /// The socket that this client speaks to.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    async fn connection(&self) -> Result<SendRequest<Body>, CriError> {
        let mut slot = self.connection.lock().await;
        if let Some(open) = slot.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(open.clone());
        }
        let fresh = self.connect().await?;
        *slot = Some(fresh.clone());
        Ok(fresh)
    }

    async fn connect(&self) -> Result<SendRequest<Body>, CriError> {
        let unreachable = |error: &dyn std::fmt::Display| {
            CriError::unavailable(format!(
                "cannot reach the container runtime at {}: {error}",
                self.socket.display()
            ))
        };
        let stream = UnixStream::connect(&self.socket).await.map_err(|e| unreachable(&e))?;
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| unreachable(&e))?;
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "connection to the container runtime ended");
            }
        });
        Ok(sender)
    }

    async fn grpc(&self) -> Result<tonic::client::Grpc<Wire>, CriError> {
        let wire = Wire(self.connection().await?);
        let mut grpc = tonic::client::Grpc::with_origin(wire, http::Uri::from_static("http://localhost"))
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT);
        grpc.ready()
            .await
            .map_err(|e| CriError::unavailable(format!("the container runtime went away: {e}")))?;
        Ok(grpc)
    }

    async fn unary<Q, A>(
        &self,
        path: &'static str,
        limit: Option<Duration>,
        request: Q,
    ) -> Result<A, CriError>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let call = async {
            let mut grpc = self.grpc().await?;
            let codec = ProstCodec::<Q, A>::default();
            let answer =
                grpc.unary(tonic::Request::new(request), PathAndQuery::from_static(path), codec).await?;
            Ok(answer.into_inner())
        };
        match limit {
            None => call.await,
            Some(limit) => {
                tokio::time::timeout(limit, call).await.unwrap_or_else(|_| Err(too_late(path, limit)))
            }
        }
    }
}

fn too_late(path: &str, limit: Duration) -> CriError {
    CriError::new(
        tonic::Code::DeadlineExceeded,
        format!("context deadline exceeded: {path} took longer than {limit:?}"),
    )
}

/// How long a request may take, for those that say so themselves.
trait TimeLimit {
    fn limit(&self) -> Option<Duration> {
        Some(CALL_LIMIT)
    }
}

macro_rules! ordinary_limit { ($($request:ident)*) => { $( impl TimeLimit for $request {} )* }; }
ordinary_limit! {
    VersionRequest StatusRequest RuntimeConfigRequest UpdateRuntimeConfigRequest PodSandboxStatusRequest
    ListPodSandboxRequest CreateContainerRequest StartContainerRequest RemoveContainerRequest ListContainersRequest
    ContainerStatusRequest UpdateContainerResourcesRequest UpdatePodSandboxResourcesRequest ReopenContainerLogRequest ExecRequest AttachRequest
    PortForwardRequest ContainerStatsRequest ListContainerStatsRequest PodSandboxStatsRequest
    ListPodSandboxStatsRequest ListImagesRequest ImageStatusRequest RemoveImageRequest ImageFsInfoRequest
}

macro_rules! sandbox_limit { ($($request:ident)*) => { $( impl TimeLimit for $request {
    fn limit(&self) -> Option<Duration> { Some(SANDBOX_LIMIT) }
} )* }; }
sandbox_limit! { RunPodSandboxRequest StopPodSandboxRequest RemovePodSandboxRequest }

impl TimeLimit for StopContainerRequest {
    fn limit(&self) -> Option<Duration> {
        Some(CALL_LIMIT + Duration::from_secs(self.timeout.max(0) as u64))
    }
}

impl TimeLimit for ExecSyncRequest {
    fn limit(&self) -> Option<Duration> {
        (self.timeout > 0).then(|| CALL_LIMIT + Duration::from_secs(self.timeout as u64))
    }
}

impl TimeLimit for PullImageRequest {
    fn limit(&self) -> Option<Duration> {
        None
    }
}

macro_rules! forward {
    ($( $service:ident $path:literal $method:ident ($request:ident) -> $response:ident; )*) => {
        impl ContainerRuntime for GrpcRuntime {
            $(
                fn $method(&self, request: $request) -> CallFuture<'_, $response> {
                    const PATH: &str = concat!("/runtime.v1.", stringify!($service), "/", $path);
                    let limit = request.limit();
                    Box::pin(self.unary(PATH, limit, request))
                }
            )*

            fn get_container_events(&self, request: GetEventsRequest) -> CallFuture<'_, EventStream> {
                Box::pin(self.events(request))
            }
        }
    };
}
calls!(forward);

impl GrpcRuntime {
    async fn events(&self, request: GetEventsRequest) -> Result<EventStream, CriError> {
        const PATH: &str = "/runtime.v1.RuntimeService/GetContainerEvents";
        let mut grpc = self.grpc().await?;
        let codec = ProstCodec::<GetEventsRequest, ContainerEventResponse>::default();
        let answer = grpc
            .server_streaming(tonic::Request::new(request), PathAndQuery::from_static(PATH), codec)
            .await?;
        Ok(Box::pin(answer.into_inner().map(|item| item.map_err(CriError::from))))
    }
}

/// The HTTP/2 connection as the service that tonic's client drives.
struct Wire(SendRequest<Body>);

impl tower_service::Service<http::Request<Body>> for Wire {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
