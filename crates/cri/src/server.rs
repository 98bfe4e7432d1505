//! Any [`ContainerRuntime`] as a gRPC server on a unix socket.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{UnixListener, UnixStream};
use tonic::body::Body;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::MESSAGE_LIMIT;
use crate::runtime::{ContainerRuntime, calls, unimplemented};
use crate::v1::*;

type Runtime = Arc<dyn ContainerRuntime>;
type Reply<T> = Pin<Box<dyn Future<Output = Result<T, Status>> + Send>>;

/// Serves `runtime` to everybody who connects to `listener`, until the returned future is dropped.
pub async fn serve(listener: UnixListener, runtime: Arc<dyn ContainerRuntime>) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(connection(stream, runtime.clone()));
    }
}

async fn connection(stream: UnixStream, runtime: Runtime) {
    let service = service_fn(move |request| {
        let runtime = runtime.clone();
        async move { Ok::<_, Infallible>(dispatch(runtime, request).await) }
    });
    let served =
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection of a runtime client ended");
    }
}

/// One call: the method's future, boxed, so that tonic's adapter is instantiated with one handler type a message pair.
struct Handler<Q, A>(Box<dyn FnMut(Q) -> Reply<A> + Send>);

impl<Q, A: 'static> tower_service::Service<Request<Q>> for Handler<Q, A> {
    type Response = Response<A>;
    type Error = Status;
    type Future = Reply<Response<A>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let reply = (self.0)(request.into_inner());
        Box::pin(MapOk(reply))
    }
}

/// Wraps the value of a reply in tonic's response.
struct MapOk<A>(Reply<A>);

impl<A> Future for MapOk<A> {
    type Output = Result<Response<A>, Status>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(|result| result.map(Response::new))
    }
}

async fn unary<Q, A>(request: http::Request<Incoming>, handler: Handler<Q, A>) -> http::Response<Body>
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + 'static,
{
    let mut grpc = tonic::server::Grpc::new(ProstCodec::<A, Q>::default())
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT);
    grpc.unary(handler, request).await
}

type Events = Pin<Box<dyn Stream<Item = Result<ContainerEventResponse, Status>> + Send>>;

/// The one streaming method, in the shape that tonic asks for.
struct EventHandler(Runtime);

impl tonic::server::ServerStreamingService<GetEventsRequest> for EventHandler {
    type Response = ContainerEventResponse;
    type ResponseStream = Events;
    type Future = Reply<Response<Events>>;

    fn call(&mut self, request: Request<GetEventsRequest>) -> Self::Future {
        let runtime = self.0.clone();
        Box::pin(async move {
            let stream = runtime.get_container_events(request.into_inner()).await?;
            let events: Events = Box::pin(stream.map(|item| item.map_err(Status::from)));
            Ok(Response::new(events))
        })
    }
}

macro_rules! route {
    ($( $service:ident $path:literal $method:ident ($request:ident) -> $response:ident; )*) => {
        async fn dispatch(runtime: Runtime, request: http::Request<Incoming>) -> http::Response<Body> {
            match request.uri().path() {
                $(
                    concat!("/runtime.v1.", stringify!($service), "/", $path) => {
                        let handler = move |message: $request| -> Reply<$response> {
                            let runtime = runtime.clone();
                            Box::pin(async move { Ok(runtime.$method(message).await?) })
                        };
                        unary(request, Handler(Box::new(handler))).await
                    }
                )*
                "/runtime.v1.RuntimeService/GetContainerEvents" => {
                    let codec = ProstCodec::<ContainerEventResponse, GetEventsRequest>::default();
                    tonic::server::Grpc::new(codec).server_streaming(EventHandler(runtime), request).await
                }
                other => Status::from(unimplemented(other)).into_http(),
            }
        }
    };
}
calls!(route);
