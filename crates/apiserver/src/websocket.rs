//! Streams of answers as WebSocket messages, for clients that ask for them: a log (k8s.io/streaming `wsstream.Reader`)
//! and the events of a watch (`WatchServer.HandleWS` of k8s.io/apiserver).

use crate::body::ReplyBody;
use crate::serve::StopSignal;
use crate::stage::Request;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use meta::Status;
use std::pin::pin;
use std::time::Duration;
use stdx::websocket::{BINARY, Heard, Listener, PONG, TEXT, close, frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How a protocol begins that is no protocol but a token (`websocket.ProtocolRequest`).
const BEARER: &str = "base64url.bearer.authorization.k8s.io.";
/// The longest event that is held until its end has come.
const MAX_EVENT: usize = 32 << 20;
/// Bytes that are read from a client at a time; it has nothing to say.
const HEARD: usize = 1024;
/// How long a client may take to answer our close.
const GOODBYE: Duration = Duration::from_secs(5);

/// What one message holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// One event, as text.
    Event,
    /// Bytes as they come.
    Bytes,
    /// The same in base64, as text.
    Base64,
}

/// A stream as a client wants it.
#[derive(Debug)]
pub(crate) struct Wanted {
    form: Form,
    protocol: Option<HeaderValue>,
    accept: HeaderValue,
}

/// What the client wants if the answer is a stream and it asks for a WebSocket; none if it doesn't.
pub(crate) fn wanted(request: &Request) -> Option<Result<Wanted, Status>> {
    let info = &request.info;
    let log = info.resource == "pods" && info.subresource == "log" && info.verb == "get";
    if !log && info.verb != "watch" {
        return None;
    }
    let names = |header, word: &str| {
        let values = request.headers.get_all(header).into_iter().filter_map(|v| v.to_str().ok());
        values.flat_map(|v| v.split(',')).any(|v| v.trim().eq_ignore_ascii_case(word))
    };
    let asked = names(CONNECTION, "upgrade") && names(UPGRADE, "websocket");
    asked.then(|| negotiate(&request.headers, log))
}

fn negotiate(headers: &HeaderMap, log: bool) -> Result<Wanted, Status> {
    let key = headers.get(SEC_WEBSOCKET_KEY).and_then(|k| k.to_str().ok());
    let key = key.ok_or_else(|| Status::bad_request("missing Sec-WebSocket-Key"))?;
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|v| v != "13") {
        return Err(Status::bad_request("missing or bad WebSocket Version"));
    }
    let lists = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|v| v.to_str().ok());
    let asked: Vec<&str> =
        lists.flat_map(|l| l.split(',')).map(str::trim).filter(|p| !p.starts_with(BEARER)).collect();
    let form = |protocol: &str| match (log, protocol) {
        (false, _) => Some(Form::Event),
        (true, "" | "binary.k8s.io") => Some(Form::Bytes),
        (true, "base64.binary.k8s.io") => Some(Form::Base64),
        _ => None,
    };
    let chosen = asked.iter().find_map(|p| Some((form(p)?, Some(*p))));
    let chosen = chosen.or_else(|| Some((form("")?, None)).filter(|_| asked.is_empty()));
    let (form, protocol) = chosen.ok_or_else(|| {
        Status::bad_request(format!("requested protocol(s) are not supported: {}", asked.join(",")))
    })?;
    let protocol = protocol.and_then(|p| HeaderValue::from_str(p).ok());
    let accept = HeaderValue::from_str(&accept_key(key)).map_err(|e| Status::internal(e.to_string()))?;
    Ok(Wanted { form, protocol, accept })
}

/// The answer to a client's key (RFC 6455, 4.2.2).
fn accept_key(key: &str) -> String {
    const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let text = format!("{key}{MAGIC}");
    BASE64.encode(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// Answers with a WebSocket that carries `body`.
pub(crate) fn carry(
    wanted: Wanted,
    body: ReplyBody,
    upgrade: OnUpgrade,
    stop: StopSignal,
) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::bytes(Bytes::new(), None));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, wanted.accept);
    if let Some(protocol) = wanted.protocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    tokio::spawn(async move {
        let Ok(connection) = upgrade.await else { return };
        let (read, write) = tokio::io::split(TokioIo::new(connection));
        if let Err(e) = talk(read, write, Messages::new(wanted.form, body), stop).await {
            tracing::debug!("a WebSocket ended: {e}");
        }
    });
    response
}

async fn talk(
    mut read: impl AsyncRead + Unpin,
    mut write: impl AsyncWrite + Unpin,
    mut messages: Messages,
    stop: StopSignal,
) -> std::io::Result<()> {
    let mut listener = Listener::default();
    let mut bytes = [0; HEARD];
    let mut stop = pin!(stop);
    write.write_all(&messages.hello()).await?;
    loop {
        let out = tokio::select! {
            message = messages.next() => match message {
                Some(message) => message,
                None => break,
            },
            n = read.read(&mut bytes) => match answer(&mut listener, &bytes[..n?]) {
                Some(answer) => answer,
                None => break,
            },
            () = &mut stop => break,
        };
        write.write_all(&out).await?;
    }
    write.write_all(&close()).await?;
    write.flush().await?;
    // The client's own close: what is torn down before it is a broken connection to it.
    let farewell = async { while matches!(read.read(&mut bytes).await, Ok(1..)) {} };
    let _ = tokio::time::timeout(GOODBYE, farewell).await;
    write.shutdown().await
}

/// What to answer to a client's frames; none: it goes away.
fn answer(listener: &mut Listener, bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.is_empty() {
        return None;
    }
    let mut out = Vec::new();
    for heard in listener.hear(bytes).ok()? {
        match heard {
            Heard::Ping(payload) => out.extend(frame(PONG, &[], &payload)),
            Heard::Close => return None,
        }
    }
    Some(out)
}

/// A body, message by message.
struct Messages {
    form: Form,
    body: ReplyBody,
    rest: BytesMut,
}

impl Messages {
    fn new(form: Form, body: ReplyBody) -> Self {
        Self { form, body, rest: BytesMut::new() }
    }

    /// A log begins with an empty message, by which clients know that the connection stands.
    fn hello(&self) -> Vec<u8> {
        match self.form {
            Form::Event => Vec::new(),
            Form::Bytes => frame(BINARY, &[], &[]),
            Form::Base64 => frame(TEXT, &[], &[]),
        }
    }

    /// The next messages; none at the end.
    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let data = self.body.frame().await?.ok()?.into_data().ok()?;
            let out = match self.form {
                Form::Event => self.events(&data)?,
                Form::Bytes => frame(BINARY, &[], &data),
                Form::Base64 => frame(TEXT, &[], BASE64.encode(&data).as_bytes()),
            };
            if !out.is_empty() {
                return Some(out);
            }
        }
    }

    /// One message for each line; none if a line does not end.
    fn events(&mut self, data: &[u8]) -> Option<Vec<u8>> {
        self.rest.extend_from_slice(data);
        let mut out = Vec::new();
        while let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
            out.extend(frame(TEXT, &[], &self.rest.split_to(end + 1)));
        }
        (self.rest.len() <= MAX_EVENT).then_some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(protocols: &[&str]) -> HeaderMap {
        let mut out = HeaderMap::new();
        out.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        out.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        for protocol in protocols {
            out.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(protocol).unwrap());
        }
        out
    }

    #[test]
    fn a_protocol_is_agreed_upon() {
        let check = |protocols: &[&str], log| match negotiate(&headers(protocols), log) {
            Ok(w) => format!("{:?} {:?}", w.form, w.protocol),
            Err(e) => e.message,
        };
        let all = [
            check(&[], true),
            check(&["x, base64.binary.k8s.io, binary.k8s.io"], true),
            check(&["base64url.bearer.authorization.k8s.io.dG9r", "binary.k8s.io"], true),
            check(&["v4.channel.k8s.io"], true),
            check(&["base64url.bearer.authorization.k8s.io.dG9r, any"], false),
        ];
        expect_test::expect![[r#"
            Bytes None
            Base64 Some("base64.binary.k8s.io")
            Bytes Some("binary.k8s.io")
            requested protocol(s) are not supported: v4.channel.k8s.io
            Event Some("any")"#]]
        .assert_eq(&all.join("\n"));
        assert_eq!(negotiate(&headers(&[]), true).unwrap().accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(negotiate(&HeaderMap::new(), true).is_err());
    }

    #[test]
    fn events_are_messages_also_when_they_come_in_pieces() {
        let mut m = Messages::new(Form::Event, ReplyBody::bytes(Bytes::new(), None));
        assert_eq!(m.events(b"{\"a\":").unwrap(), b"");
        assert_eq!(m.events(b"1}\n{}\n{").unwrap(), b"\x81\x08{\"a\":1}\n\x81\x03{}\n");
    }
}
