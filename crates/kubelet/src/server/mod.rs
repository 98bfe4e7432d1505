//! The kubelet API over HTTPS: health, pods, logs, exec, attach, port-forward, statistics
//! (`pkg/kubelet/server/server.go`). Nothing is answered before the client is known and allowed.

mod auth;
mod cadvisor;
mod container_logs;
mod exposition;
mod node_logs;
mod route;
mod stats;
mod stream;

use crate::shell::{Config, Context, ServerTls};
use crate::tls;
use auth::Authority;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Connections at a time.
const MAX_CONNECTIONS: usize = 1024;
/// How long a client may take for the handshake and for its headers.
const PATIENCE: Duration = Duration::from_secs(10);

/// A body of an answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;
/// An answer.
pub(crate) type Answer = http::Response<Body>;
/// A request.
pub(crate) type Request = http::Request<Incoming>;

/// The server's socket, bound but not serving yet: the node's status tells its port.
pub(crate) struct Listening {
    listener: TcpListener,
    tls: watch::Receiver<Option<ServerTls>>,
    port: u16,
}

impl Listening {
    /// The port, as picked.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

/// Binds the server's socket; none if there are no certificates.
pub(crate) async fn listen(config: &Config) -> Result<Option<Listening>, String> {
    let Some(mut tls) = config.tls.clone() else { return Ok(None) };
    // What came later counts as new.
    tls.mark_changed();
    let place = SocketAddr::new(config.bind_ip, config.port);
    let listener = TcpListener::bind(place).await.map_err(|e| format!("cannot listen on {place}: {e}"))?;
    let port = listener.local_addr().map_err(|e| e.to_string())?.port();
    Ok(Some(Listening { listener, tls, port }))
}

/// The acceptor of the newest certificates; none before there are any.
fn acceptor(tls: &mut watch::Receiver<Option<ServerTls>>) -> Option<TlsAcceptor> {
    let current = tls.borrow_and_update();
    let t = current.as_ref()?;
    match tls::server(&t.cert_pem, &t.key_pem, &t.client_ca_pem) {
        Ok(server) => Some(TlsAcceptor::from(server)),
        Err(e) => {
            tracing::error!("the kubelet API goes on with its old certificates: {e}");
            None
        }
    }
}

/// A whole body.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// An answer of text, with a line's end as Go's `http.Error` writes it.
pub(crate) fn text(code: u16, message: &str) -> Answer {
    let body = if code < 400 { message.to_owned() } else { format!("{message}\n") };
    answer(code, "text/plain; charset=utf-8", body)
}

/// An answer.
pub(crate) fn answer(code: u16, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut out = http::Response::new(full(body));
    *out.status_mut() = http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    out.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    out.headers_mut().insert(http::header::X_CONTENT_TYPE_OPTIONS, http::HeaderValue::from_static("nosniff"));
    out
}

/// Serves for ever.
pub(crate) async fn serve(ctx: Arc<Context>, mut l: Listening) {
    let authority = Arc::new(Authority::new(ctx.client.clone(), ctx.config.node_name.clone()));
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut current = None;
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = match l.listener.accept().await {
            Ok((stream, _)) => stream,
            Err(e) => {
                tracing::warn!("cannot accept a connection: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // The last certificates go on when whoever renews them is gone.
        if current.is_none() || l.tls.has_changed().unwrap_or(false) {
            current = acceptor(&mut l.tls).or(current);
        }
        let Some(acceptor) = current.clone() else { continue };
        let (ctx, authority) = (ctx.clone(), authority.clone());
        connections.spawn(async move {
            connection(ctx, authority, acceptor, stream).await;
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(ctx: Arc<Context>, authority: Arc<Authority>, acceptor: TlsAcceptor, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await else { return };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|c| c.first()).map(|c| c.to_vec());
    let peer = Arc::new(certificate.as_deref().and_then(auth::identity));
    let service = service_fn(move |request: Request| {
        let (ctx, authority, peer) = (ctx.clone(), authority.clone(), peer.clone());
        async move { Ok::<_, Infallible>(respond(&ctx, &authority, &peer, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(e) = served {
        tracing::debug!("a connection to the kubelet API ended: {e}");
    }
}

async fn respond(
    ctx: &Arc<Context>,
    authority: &Authority,
    peer: &Option<auth::Identity>,
    request: Request,
) -> Answer {
    let identity = match peer.clone() {
        Some(i) => Some(i),
        None => authority.authenticate(request.headers()).await,
    };
    let Some(identity) = identity else { return text(401, "Unauthorized") };
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if let Err(why) = authority.authorize(&identity, &method, &path).await {
        return text(403, &why);
    }
    route::route(ctx, request).await
}
