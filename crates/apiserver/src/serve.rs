//! The listener: TLS with an optional client certificate, HTTP/1.1 with upgrades and HTTP/2 on one port, and an orderly
//! end.

use crate::limits::{
    DRAIN_TIMEOUT, HANDSHAKE_TIMEOUT, HTTP2_CONNECTION_WINDOW, HTTP2_STREAM_WINDOW, MAX_CONNECTIONS,
    MAX_HEADER_LINES, MAX_HEADERS, MAX_HTTP2_STREAMS,
};
use crate::server::ApiServer;
use crate::stage::Peer;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How requests without TLS begin (`tlsRecordHeaderLooksLikeHTTP` in Go's `net/http`).
const PLAIN_HTTP: [&[u8; 5]; 5] = [b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO"];
/// The answer to them, in the words of Go's `net/http`.
const NOT_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Tells everything that runs long that the server is stopping.
#[derive(Debug)]
pub(crate) struct Stop {
    stopping: watch::Sender<bool>,
    ticking: AtomicBool,
}

impl Default for Stop {
    fn default() -> Self {
        Self { stopping: watch::Sender::new(false), ticking: AtomicBool::new(false) }
    }
}

impl Stop {
    /// Whether the server is stopping.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Whether nobody asked before: of several listeners one does the housekeeping.
    fn first(&self) -> bool {
        !self.ticking.swap(true, Ordering::AcqRel)
    }

    /// Ready when the server stops.
    pub(crate) fn signal(&self) -> StopSignal {
        let mut receiver = self.stopping.subscribe();
        StopSignal(Box::pin(async move {
            // An error means that the server is gone, which is a stop too.
            let _ = receiver.wait_for(|stopping| *stopping).await;
        }))
    }
}

/// Ready when the server stops.
pub(crate) struct StopSignal(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Future for StopSignal {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

/// How often [`ApiServer::tick`] is called.
const TICK: Duration = Duration::from_secs(1);

impl ApiServer {
    /// Serves connections until `shutdown` is ready; then takes no more, ends the watches, and lets the rest finish
    /// within [`DRAIN_TIMEOUT`]. `tls` should ask for client certificates without requiring them, and offer `h2` and
    /// `http/1.1`.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        tls: Arc<rustls::ServerConfig>,
        shutdown: impl Future<Output = ()>,
    ) -> std::io::Result<()> {
        let acceptor = TlsAcceptor::from(tls);
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut shutdown = std::pin::pin!(shutdown);
        let ticker = self.runtime.first().then(|| tokio::spawn(tick(self.clone())));
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                accepted = accept(&listener, &places) => accepted,
            };
            let Some((stream, place)) = accepted else { continue };
            let (server, acceptor, watcher) = (self.clone(), acceptor.clone(), graceful.watcher());
            tokio::spawn(async move {
                server.connection(stream, acceptor, watcher).await;
                drop(place);
            });
        }
        self.runtime.stop();
        drop(listener);
        if let Some(ticker) = ticker {
            ticker.abort();
        }
        if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
            tracing::warn!("some requests did not finish in time; they are cut off");
        }
        Ok(())
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, acceptor: TlsAcceptor, watcher: Watcher) {
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, secured(stream, acceptor)).await;
        let Ok(Some(stream)) = handshake else { return };
        let peer = peer_of(&stream);
        let service = service_fn(move |request| {
            let (server, peer) = (self.clone(), peer.clone());
            async move { Ok::<_, Infallible>(server.respond(request, peer).await) }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).max_headers(MAX_HEADER_LINES).max_buf_size(MAX_HEADERS);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_HTTP2_STREAMS)
            .max_header_list_size(u32::try_from(MAX_HEADERS).unwrap_or(u32::MAX))
            .keep_alive_interval(Some(Duration::from_secs(30)))
            .initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .initial_connection_window_size(HTTP2_CONNECTION_WINDOW);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        // A client that goes away is no fault of the server.
        let _ = watcher.watch(connection).await;
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            let _ = stream.set_nodelay(true);
            Some((stream, place))
        }
        Err(e) => {
            // Out of descriptors, mostly: wait for some to come back instead of spinning.
            tracing::warn!(error = %e, "a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

/// The connection behind TLS. Who speaks plain HTTP is told so, as Go's server does it: a mistyped URL otherwise looks
/// like a broken server.
async fn secured(mut stream: TcpStream, acceptor: TlsAcceptor) -> Option<TlsStream<TcpStream>> {
    let mut first = [0; 5];
    if stream.peek(&mut first).await.is_ok_and(|n| n == first.len()) && PLAIN_HTTP.contains(&&first) {
        // What was sent is read: the kernel drops our answer with a connection in which something is left unread.
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(NOT_TLS).await;
        let _ = stream.shutdown().await;
        return None;
    }
    acceptor.accept(stream).await.ok()
}

fn peer_of(stream: &TlsStream<TcpStream>) -> Peer {
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    match certificate.map(|c| auth::authenticate::peer_user(c)) {
        Some(Ok(Some(user))) => Peer::Known(user),
        _ => Peer::Unknown,
    }
}

async fn tick(server: Arc<ApiServer>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        server.store.tick(std::time::Instant::now());
        server.tick().await;
    }
}
