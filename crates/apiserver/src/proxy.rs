//! Carries a request on to a kubelet, a pod or a service, and its answer back. An upgraded connection is spliced byte for
//! byte; no redirect is followed (CVE-2020-8559), and a failed upgrade leaves no open tunnel (CVE-2018-1002105).

mod html;
mod links;

pub(crate) use links::Links;

use crate::accept::Accepted;
use crate::body::{BodyError, ReplyBody};
use crate::flow::Permit;
use crate::limits::CONNECT_TIMEOUT;
use crate::reply::{Payload, Reply};
use crate::request::RequestInfo;
use crate::serve::StopSignal;
use crate::stage::Request;
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use meta::{Reason, Status};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Whom to connect to.
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// How a kubelet is spoken to; none for plain HTTP.
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
}

/// A request to be carried on.
pub(crate) struct Tunnel {
    pub(crate) target: Target,
    /// Path and query there.
    pub(crate) path: String,
    /// Errors of the other side are plain text and become a Status.
    pub(crate) error_is_text: bool,
    /// How links of the answer are turned; none where the other side serves no pages.
    pub(crate) links: Option<Links>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, hyper::Error>;

/// Whether the request's body goes to another server and isn't read here.
pub(crate) fn carries_body(info: &RequestInfo) -> bool {
    info.is_resource && matches!(info.subresource.as_str(), "proxy" | "exec" | "attach" | "portforward")
}

/// Carries the request on and its answer back.
pub(crate) async fn carry(
    tunnel: Tunnel,
    request: Request,
    body: Option<Incoming>,
    upgrade: Option<OnUpgrade>,
    permit: Option<Permit>,
    stop: StopSignal,
) -> Response<ReplyBody> {
    match try_carry(&tunnel, &request, body, upgrade.is_some()).await {
        Ok(answer) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => match upgrade {
            Some(upgrade) => splice(answer, upgrade, permit, stop),
            None => failed(&unavailable(&tunnel, "it changed the protocol without being asked"), permit),
        },
        Ok(answer) => hand_back(&tunnel, answer, permit).await,
        Err(e) => failed(&e, permit),
    }
}

fn unavailable(tunnel: &Tunnel, why: impl std::fmt::Display) -> Status {
    let Target { host, port, .. } = &tunnel.target;
    let text = format!("error trying to reach service: {why} ({host}:{port})");
    Status::new(Reason::ServiceUnavailable, text)
}

fn failed(status: &Status, permit: Option<Permit>) -> Response<ReplyBody> {
    let reply = Reply::failure(status, Accepted::JSON);
    let bytes = if let Payload::Bytes(bytes) = reply.payload { bytes } else { Bytes::new() };
    let mut response = Response::new(ReplyBody::bytes(bytes, permit));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}

async fn try_carry(
    tunnel: &Tunnel,
    request: &Request,
    body: Option<Incoming>,
    upgrading: bool,
) -> Result<Response<Incoming>, Status> {
    let broken = |e: &dyn std::fmt::Display| unavailable(tunnel, e);
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connect(&tunnel.target)).await;
    let stream = connected.map_err(|e| broken(&e))?.map_err(|e| broken(&e))?;
    let handshake = hyper::client::conn::http1::handshake::<_, Body>(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|e| broken(&e))?;
    tokio::spawn(async move {
        // What breaks the connection is seen by whoever reads the answer.
        let _ = connection.with_upgrades().await;
    });
    let body = match body {
        Some(body) => body.boxed_unsync(),
        None => Empty::new().map_err(|never| match never {}).boxed_unsync(),
    };
    let mut out = http::Request::new(body);
    *out.method_mut() = request.method.clone();
    *out.uri_mut() = tunnel.path.parse().map_err(|_| Status::bad_request("the path can't be carried on"))?;
    *out.headers_mut() = onward(&request.headers, &tunnel.target, upgrading);
    if let Some(links) = &tunnel.links {
        // A page that came compressed couldn't be read.
        out.headers_mut().remove(ACCEPT_ENCODING);
        let path = tunnel.path.split('?').next().unwrap_or_default();
        if let Ok(uri) = HeaderValue::from_str(&format!("{}{path}", links.root)) {
            out.headers_mut().insert(HeaderName::from_static("x-forwarded-uri"), uri);
        }
    }
    sender.send_request(out).await.map_err(|e| broken(&e))
}

async fn connect(target: &Target) -> std::io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = &target.tls else { return Ok(Box::new(stream)) };
    let name = rustls::pki_types::ServerName::try_from(target.host.clone()).map_err(std::io::Error::other)?;
    let stream = TlsConnector::from(tls.clone()).connect(name, stream).await?;
    Ok(Box::new(stream))
}

/// The headers that go on: not those of this connection, and none that says who asks.
fn onward(headers: &HeaderMap, target: &Target, upgrading: bool) -> HeaderMap {
    let mut out = headers.clone();
    for name in hop_by_hop() {
        out.remove(name);
    }
    let ours: Vec<HeaderName> =
        out.keys().filter(|k| k.as_str().starts_with("impersonate-")).cloned().collect();
    ours.iter().for_each(|k| {
        out.remove(k);
    });
    if upgrading {
        out.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        for value in headers.get_all(UPGRADE) {
            out.append(UPGRADE, value.clone());
        }
    }
    out.remove(HOST);
    if let Ok(host) = HeaderValue::from_str(&format!("{}:{}", target.host, target.port)) {
        out.insert(HOST, host);
    }
    out
}

fn hop_by_hop() -> [HeaderName; 8] {
    let named = HeaderName::from_static;
    [
        CONNECTION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        named("keep-alive"),
        named("proxy-connection"),
        named("proxy-authorization"),
    ]
}

/// The other side agreed: from here on bytes are bytes.
fn splice(
    mut answer: Response<Incoming>,
    upgrade: OnUpgrade,
    permit: Option<Permit>,
    stop: StopSignal,
) -> Response<ReplyBody> {
    let theirs = hyper::upgrade::on(&mut answer);
    tokio::spawn(async move {
        let (Ok(ours), Ok(theirs)) = tokio::join!(upgrade, theirs) else { return };
        let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
        tokio::select! {
            // Either side may just go away.
            _ = tokio::io::copy_bidirectional(&mut ours, &mut theirs) => {}
            () = stop => {}
        }
        drop(permit);
    });
    let mut response = Response::new(ReplyBody::bytes(Bytes::new(), None));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = answer.headers().clone();
    response
}

/// Bytes of an error's text that are looked at.
const MAX_ERROR_TEXT: usize = 64 * 1024;

/// Bytes of a page whose links are turned.
const MAX_PAGE: usize = 16 << 20;

async fn turned(links: &Links, body: Incoming) -> Result<Bytes, String> {
    let page =
        http_body_util::Limited::new(body, MAX_PAGE).collect().await.map_err(|e| e.to_string())?.to_bytes();
    Ok(match std::str::from_utf8(&page) {
        Ok(text) => links.turn_page(text).into(),
        Err(_) => page,
    })
}

async fn hand_back(
    tunnel: &Tunnel,
    answer: Response<Incoming>,
    permit: Option<Permit>,
) -> Response<ReplyBody> {
    let (parts, body) = answer.into_parts();
    if parts.status.is_redirection() && tunnel.links.is_none() {
        return failed(&unavailable(tunnel, "it answered with a redirect, which is not followed"), permit);
    }
    let is_json = parts
        .headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|v| v.as_bytes().starts_with(b"application/json"));
    if tunnel.error_is_text && parts.status.as_u16() >= 400 && !is_json {
        let text = http_body_util::Limited::new(body, MAX_ERROR_TEXT).collect().await;
        let text = text.map(|t| String::from_utf8_lossy(&t.to_bytes()).trim().to_owned()).unwrap_or_default();
        return failed(&refused(parts.status, text), permit);
    }
    let mut headers = parts.headers;
    let body = match &tunnel.links {
        Some(links) if Links::is_page(&headers) => match turned(links, body).await {
            Ok(page) => ReplyBody::bytes(page, permit),
            Err(why) => return failed(&unavailable(tunnel, why), permit),
        },
        _ => ReplyBody::foreign(body.map_err(|e| BodyError(e.to_string())).boxed_unsync(), permit),
    };
    if let Some(links) = &tunnel.links {
        links.turn_headers(&mut headers);
    }
    let mut response = Response::new(body);
    *response.status_mut() = parts.status;
    *response.headers_mut() = headers;
    for name in hop_by_hop() {
        response.headers_mut().remove(name);
    }
    response.headers_mut().remove(CONTENT_LENGTH);
    response
}

/// A kubelet's refusal as a Status (`GenericHttpResponseChecker`).
fn refused(code: StatusCode, text: String) -> Status {
    match code.as_u16() {
        400 => Status::bad_request(text),
        404 => Status { code: 404, ..Status::new(Reason::NotFound, text) },
        500 => Status::internal(text),
        code => Status { code, ..Status::new(Reason::Unknown, text) },
    }
}
