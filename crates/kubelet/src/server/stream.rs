//! Exec, attach and port-forward: asks the runtime where to go, and ties the client's connection to it. The bytes
//! are between those two; a refused upgrade leaves no tunnel open (CVE-2018-1002105).

use super::route::{Query, running_container};
use super::{Answer, Body, Request, text};
use crate::core::podspec;
use crate::shell::Context;
use bytes::Bytes;
use cri::{AttachRequest, ExecRequest, PortForwardRequest};
use http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tokio::net::{TcpStream, UnixStream};

/// How long the runtime may take to answer an upgrade.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most bytes of an answer that refuses an upgrade.
const MAX_REFUSAL: usize = 64 << 10;
/// Bytes that are moved at a time.
const BUFFER: usize = 64 << 10;
/// Headers that go through both ways.
static THROUGH: [HeaderName; 9] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_EXTENSIONS,
    HeaderName::from_static("x-stream-protocol-version"),
    header::CONTENT_TYPE,
];

struct Streams {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

fn streams(q: &Query) -> Result<Streams, &'static str> {
    let tty = q.is(&["tty"]);
    let (stdin, stdout) = (q.is(&["input", "stdin"]), q.is(&["output", "stdout"]));
    // A terminal has one output.
    let stderr = q.is(&["error", "stderr"]) && !tty;
    if !stdin && !stdout && !stderr {
        return Err("you must specify at least 1 of stdin, stdout, stderr");
    }
    Ok(Streams { stdin, stdout, stderr, tty })
}

/// The container that is meant, and the streams that are asked for.
fn target(
    ctx: &Arc<Context>,
    place: (&str, &str, &str, &str),
    q: &Query,
) -> Result<(String, Streams), Box<Answer>> {
    let s = streams(q).map_err(|e| Box::new(text(400, e)))?;
    Ok((running_container(ctx, place)?, s))
}

/// `/exec`.
pub(crate) async fn exec(
    ctx: &Arc<Context>,
    r: Request,
    place: (&str, &str, &str, &str),
    q: &Query,
) -> Answer {
    let (container_id, s) = match target(ctx, place, q) {
        Ok(t) => t,
        Err(a) => return *a,
    };
    let Streams { stdin, stdout, stderr, tty } = s;
    let request = ExecRequest { container_id, cmd: q.all("command"), tty, stdin, stdout, stderr };
    match ctx.runtime.exec(request).await {
        Ok(a) => tie(r, &a.url).await,
        Err(e) => text(500, &e.to_string()),
    }
}

/// `/attach`.
pub(crate) async fn attach(
    ctx: &Arc<Context>,
    r: Request,
    place: (&str, &str, &str, &str),
    q: &Query,
) -> Answer {
    let (container_id, s) = match target(ctx, place, q) {
        Ok(t) => t,
        Err(a) => return *a,
    };
    let Streams { stdin, stdout, stderr, tty } = s;
    match ctx.runtime.attach(AttachRequest { container_id, stdin, tty, stdout, stderr }).await {
        Ok(a) => tie(r, &a.url).await,
        Err(e) => text(500, &e.to_string()),
    }
}

/// The ports that clients of WebSocket channels name in the query (cri-streaming `NewV4Options`).
fn ports(q: &Query) -> Result<Vec<i32>, String> {
    let named = ["port", "ports"].iter().flat_map(|n| q.all(n)).collect::<Vec<_>>();
    let port = |p: &str| match p.parse::<u16>() {
        Ok(0) => Err(format!("port {p:?} must be > 0")),
        Ok(port) => Ok(i32::from(port)),
        Err(_) => Err(format!("unable to parse {p:?} as a port")),
    };
    named.iter().flat_map(|p| p.split(',')).map(port).collect()
}

/// `/portForward`.
pub(crate) async fn port_forward(
    ctx: &Arc<Context>,
    r: Request,
    place: (&str, &str, &str),
    q: &Query,
) -> Answer {
    let Some(h) = ctx.find_pod(place.0, place.1, place.2) else { return text(404, "pod does not exist") };
    let Some(sandbox) = h.observed.ready_sandbox() else {
        return text(500, &format!("failed to find sandbox for pod {:?}", podspec::full_name(&h.pod)));
    };
    let port = match ports(q) {
        Ok(port) => port,
        Err(e) => return text(400, &e),
    };
    let request = PortForwardRequest { pod_sandbox_id: sandbox.id.clone(), port };
    match ctx.runtime.port_forward(request).await {
        Ok(a) => tie(r, &a.url).await,
        Err(e) => text(500, &e.to_string()),
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Connects to where the runtime serves streams: `http://host:port/...`, or `unix:///path?/...`.
async fn connect(url: &str) -> Result<(Box<dyn Stream>, Uri, String), String> {
    if let Some(rest) = url.strip_prefix("unix://") {
        let (socket, path) = rest.split_once('?').unwrap_or((rest, "/"));
        let stream = UnixStream::connect(socket).await.map_err(|e| format!("{socket}: {e}"))?;
        let uri = path.parse().map_err(|e| format!("{url:?}: {e}"))?;
        return Ok((Box::new(stream), uri, "localhost".to_owned()));
    }
    let uri: Uri = url.parse().map_err(|e| format!("{url:?}: {e}"))?;
    let authority = uri.authority().ok_or_else(|| format!("{url:?} names no host"))?;
    let place = (authority.host().trim_matches(['[', ']']).to_owned(), authority.port_u16().unwrap_or(80));
    let stream = TcpStream::connect(&place).await.map_err(|e| format!("{authority}: {e}"))?;
    let _ = stream.set_nodelay(true);
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let path = path.parse().map_err(|e| format!("{url:?}: {e}"))?;
    Ok((Box::new(stream), path, authority.to_string()))
}

fn through(from: &HeaderMap, to: &mut HeaderMap) {
    for name in &THROUGH {
        for value in from.get_all(name) {
            to.append(name, value.clone());
        }
    }
}

/// Passes an upgrade on to `url` and ties both ends.
async fn tie(request: Request, url: &str) -> Answer {
    match tokio::time::timeout(PATIENCE, upgrade(request, url)).await {
        Ok(Ok(a)) => a,
        Ok(Err(e)) => text(502, &format!("error dialing the runtime's streaming server: {e}")),
        Err(_) => text(504, "the runtime's streaming server does not answer"),
    }
}

async fn upgrade(request: Request, url: &str) -> Result<Answer, String> {
    if !request.headers().contains_key(header::UPGRADE) {
        return Ok(text(400, "unable to upgrade: the request asks for no upgrade"));
    }
    let (stream, path, host) = connect(url).await?;
    let words = |e: hyper::Error| e.to_string();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(words)?;
    tokio::spawn(connection.with_upgrades());
    let mut onward = http::Request::new(Empty::new());
    *onward.method_mut() = request.method().clone();
    *onward.uri_mut() = path;
    through(request.headers(), onward.headers_mut());
    let host = http::HeaderValue::from_str(&host).map_err(|e| e.to_string())?;
    onward.headers_mut().insert(header::HOST, host);
    let mut theirs = sender.send_request(onward).await.map_err(words)?;
    if theirs.status() != StatusCode::SWITCHING_PROTOCOLS {
        return refused(theirs).await;
    }
    let mut out = http::Response::new(super::full(Bytes::new()));
    *out.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    through(theirs.headers(), out.headers_mut());
    let far = hyper::upgrade::on(&mut theirs);
    let near = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let (Ok(near), Ok(far)) = tokio::join!(near, far) else { return };
        let (mut near, mut far) = (TokioIo::new(near), TokioIo::new(far));
        let _ = copy_bidirectional_with_sizes(&mut near, &mut far, BUFFER, BUFFER).await;
    });
    Ok(out)
}

/// Hands on an answer that refuses, as data.
async fn refused(theirs: http::Response<hyper::body::Incoming>) -> Result<Answer, String> {
    let (head, body) = theirs.into_parts();
    let bytes = Limited::new(body, MAX_REFUSAL).collect().await.map_err(|e| e.to_string())?.to_bytes();
    let body: Body = super::full(bytes);
    let mut out = http::Response::new(body);
    *out.status_mut() = if head.status.is_redirection() { StatusCode::BAD_GATEWAY } else { head.status };
    if let Some(kind) = head.headers.get(header::CONTENT_TYPE) {
        out.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    }
    Ok(out)
}
