//! The rim around one request: reads its body, watches the clock, catches panics, and hands the answer on. No decisions.

use crate::accept::Accepted;
use crate::body::ReplyBody;
use crate::limits::{MAX_BODY, MAX_DISCARDED, REQUEST_TIMEOUT};
use crate::proxy;
use crate::reply::{Payload, Reply};
use crate::server::ApiServer;
use crate::stage::{Admitted, Parsed, Peer};
use crate::websocket;
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use http::header::CONTENT_LENGTH;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use meta::{Reason, Status};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// A source of a request's body, and of the connection behind it where the request upgrades it.
pub(crate) type Incoming = Request<hyper::body::Incoming>;

impl ApiServer {
    /// All stages up to the body: who, may they, is it their turn.
    fn admit<B>(&self, request: &Request<B>, peer: Peer) -> Result<Admitted, Status> {
        let headers = request.headers().clone();
        let parsed = Parsed::new(request.method().clone(), request.uri(), headers, peer)?;
        parsed.authenticate(self)?.authorize(self)?.admit(self)
    }

    /// Answers one request of a connection.
    pub(crate) async fn respond(self: Arc<Self>, request: Incoming, peer: Peer) -> Response<ReplyBody> {
        let head = request.method() == http::Method::HEAD;
        let response = self.answer(request, peer).await;
        if head { without_body(response) } else { response }
    }

    async fn answer(self: Arc<Self>, mut request: Incoming, peer: Peer) -> Response<ReplyBody> {
        let admitted = match self.admit(&request, peer) {
            Ok(admitted) => admitted,
            Err(e) => return self.failed(&e),
        };
        let upgrade =
            request.headers().contains_key(http::header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
        if proxy::carries_body(&admitted.request.info) {
            let reply = self.guarded(&admitted, Bytes::new()).await;
            return self.finish(admitted, reply, Some(request.into_body()), upgrade).await;
        }
        let reply = match read_body(request.into_body()).await {
            Ok(body) => self.guarded(&admitted, body).await,
            Err(e) => Reply::failure(&e, Accepted::JSON),
        };
        self.finish(admitted, reply, None, upgrade).await
    }

    /// Answers one request of a caller in this process: the whole way, from authentication to the commit.
    pub async fn handle(self: Arc<Self>, request: Request<Bytes>, peer: Peer) -> Response<ReplyBody> {
        let admitted = match self.admit(&request, peer) {
            Ok(admitted) => admitted,
            Err(e) => return self.failed(&e),
        };
        let reply = self.guarded(&admitted, request.into_body()).await;
        self.finish(admitted, reply, None, None).await
    }

    /// Serves within the time that a request has; a panic costs this request only.
    async fn guarded(&self, admitted: &Admitted, body: Bytes) -> Reply {
        let served = AssertUnwindSafe(self.serve_admitted(admitted, body)).catch_unwind();
        match tokio::time::timeout(REQUEST_TIMEOUT, served).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) => {
                let (verb, path) = (&admitted.request.info.verb, &admitted.request.info.path);
                tracing::error!(verb, path, "a request panicked; it was answered with 500");
                let text = "This request caused apiserver to panic. Look in the logs for details.";
                Reply::failure(&Status::new(Reason::InternalError, text), Accepted::JSON)
            }
            Err(_) => {
                let text = "Timeout: request did not complete within the allotted timeout";
                Reply::failure(&Status::new(Reason::Timeout, text), Accepted::JSON)
            }
        }
    }

    fn failed(&self, e: &Status) -> Response<ReplyBody> {
        self.metrics.count("", e.code);
        let reply = Reply::failure(e, Accepted::JSON);
        let Payload::Bytes(bytes) = reply.payload else {
            return Response::new(ReplyBody::bytes(Bytes::new(), None));
        };
        let mut response = Response::new(ReplyBody::bytes(bytes, None));
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        response
    }

    /// Answers; a stream that the client wants as messages of a WebSocket becomes one.
    async fn finish(
        &self,
        admitted: Admitted,
        reply: Reply,
        body: Option<hyper::body::Incoming>,
        upgrade: Option<hyper::upgrade::OnUpgrade>,
    ) -> Response<ReplyBody> {
        let (wanted, upgrade) = match (websocket::wanted(&admitted.request), upgrade) {
            (Some(wanted), Some(upgrade)) => (Some((wanted, upgrade)), None),
            (_, upgrade) => (None, upgrade),
        };
        let response = self.plainly(admitted, reply, body, upgrade).await;
        match wanted {
            Some((Ok(wanted), upgrade)) if response.status() == http::StatusCode::OK => {
                websocket::carry(wanted, response.into_body(), upgrade, self.runtime.signal())
            }
            Some((Err(e), _)) if response.status() == http::StatusCode::OK => self.failed(&e),
            _ => response,
        }
    }

    async fn plainly(
        &self,
        admitted: Admitted,
        reply: Reply,
        body: Option<hyper::body::Incoming>,
        upgrade: Option<hyper::upgrade::OnUpgrade>,
    ) -> Response<ReplyBody> {
        self.metrics.count(&admitted.request.info.verb, reply.status.as_u16());
        let permit = Some(admitted.permit);
        let mut headers = reply.headers;
        if let Some(marks) = self.marks.get() {
            marks.put(&admitted.request.user, &mut headers);
        }
        let body = match reply.payload {
            Payload::Bytes(bytes) => ReplyBody::bytes(bytes, permit),
            Payload::List(list) => ReplyBody::list(list, permit),
            Payload::Watch(session) => ReplyBody::watch(session, self.runtime.signal(), permit),
            Payload::Tunnel(tunnel) => {
                return proxy::carry(*tunnel, admitted.request, body, upgrade, permit, self.runtime.signal())
                    .await;
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = reply.status;
        *response.headers_mut() = headers;
        response
    }
}

/// The answer to HEAD: its length, and nothing of it. HTTP/2 doesn't forgive a body here.
fn without_body(mut response: Response<ReplyBody>) -> Response<ReplyBody> {
    if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    *response.body_mut() = ReplyBody::bytes(Bytes::new(), None);
    response
}

/// Reads a body up to the limit (413 behind it), within the time that a request has.
async fn read_body(body: hyper::body::Incoming) -> Result<Bytes, Status> {
    let timeout = || Status::new(Reason::Timeout, "Timeout: the request's body did not arrive in time");
    tokio::time::timeout(REQUEST_TIMEOUT, read_bounded(body)).await.map_err(|_| timeout())?
}

/// What is too long is read on for a while and thrown away: a client that is still sending would not hear the answer.
async fn read_bounded(mut body: hyper::body::Incoming) -> Result<Bytes, Status> {
    let (mut all, mut length) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let unreadable = |e| Status::bad_request(format!("the request's body could not be read: {e}"));
        let Ok(data) = frame.map_err(unreadable)?.into_data() else { continue };
        length += data.len();
        if length <= MAX_BODY {
            all.extend_from_slice(&data);
        } else if length > MAX_DISCARDED {
            break;
        }
    }
    if length > MAX_BODY {
        let text = format!("Request entity too large: limit is {MAX_BODY}");
        return Err(Status::new(Reason::RequestEntityTooLarge, text));
    }
    Ok(all.freeze())
}
