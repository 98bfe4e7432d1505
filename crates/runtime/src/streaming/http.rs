//! The HTTP side: tokens to streams, and the choice of protocol.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use cri::CriError;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::session::{self, Pipes};
use super::tokens::{Streamed, Tokens};
use super::websocket_session::{self, Connection, TUNNEL_PROTOCOL};
use super::{forward, spdy_session, websocket};
use crate::core::Core;

const PROTOCOL_HEADER: &str = "x-stream-protocol-version";
const WEBSOCKET_PROTOCOL: &str = "sec-websocket-protocol";

/// The server for streams; listens on loopback only.
pub(crate) struct StreamServer {
    address: SocketAddr,
    tokens: Tokens,
    core: Arc<Core>,
}

/// How the client wants to speak, and the name of the protocol that was chosen.
#[derive(Debug, PartialEq, Eq)]
enum Chosen {
    /// Channels; without a name if the client offered none.
    WebSocket(&'static str),
    Tunnel,
    Spdy(&'static str),
}

type Answer = Response<String>;

impl StreamServer {
    /// Listens on a free port.
    pub(crate) async fn start(core: Arc<Core>) -> std::io::Result<Arc<Self>> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let server = Arc::new(Self { address: listener.local_addr()?, tokens: Tokens::default(), core });
        let accepting = server.clone();
        tokio::spawn(async move {
            loop {
                // A failed accept is of one client, or of too many: either way the next may work.
                if let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(connection(accepting.clone(), stream));
                } else {
                    tokio::task::yield_now().await;
                }
            }
        });
        Ok(server)
    }

    /// The URL at which a request's stream can be had, once.
    pub(crate) fn url(&self, request: Streamed) -> Result<String, CriError> {
        let verb = match &request {
            Streamed::Exec { .. } => "exec",
            Streamed::Attach(_) => "attach",
            Streamed::PortForward(_) => "portforward",
        };
        Ok(format!("http://{}/{verb}/{}", self.address, self.tokens.insert(request)?))
    }

    fn answer(self: Arc<Self>, mut request: Request<Incoming>) -> Answer {
        let token = request.uri().path().rsplit('/').next().unwrap_or_default();
        let Some(streamed) = self.tokens.take(token) else {
            return refuse(
                StatusCode::NOT_FOUND,
                "unknown, used or expired token; ask the runtime for a new one",
            );
        };
        let (chosen, answer) = match choose(request.headers(), &streamed) {
            Ok(chosen) => chosen,
            Err(refusal) => return *refusal,
        };
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(self.stream(upgrade, streamed, chosen));
        answer
    }

    async fn stream(self: Arc<Self>, upgrade: OnUpgrade, streamed: Streamed, chosen: Chosen) {
        let connection = match upgrade.await {
            Ok(upgraded) => TokioIo::new(upgraded),
            Err(error) => return tracing::debug!(%error, "a stream's connection was not upgraded"),
        };
        let core = self.core.clone();
        match streamed {
            Streamed::Exec { request, stdout, stderr } => {
                let wanted = wanted_streams(request.stdin, stdout, stderr && !request.tty, request.tty);
                carry(connection, chosen, wanted, |pipes| session::exec(core, request, pipes)).await;
            }
            Streamed::Attach(request) => {
                let wanted = wanted_streams(
                    request.stdin,
                    request.stdout,
                    request.stderr && !request.tty,
                    request.tty,
                );
                carry(connection, chosen, wanted, |pipes| session::attach(core, request, pipes)).await;
            }
            Streamed::PortForward(request) => match core.forward_target(&request.pod_sandbox_id) {
                Ok(target) if chosen == Chosen::Tunnel => {
                    forward::serve(websocket_session::tunnel(connection), target).await;
                }
                Ok(target) => match chosen {
                    Chosen::WebSocket(protocol) => {
                        forward::serve_channels(connection, target, &request.port, protocol).await;
                    }
                    _ => forward::serve(connection, target).await,
                },
                Err(error) => tracing::debug!(%error, "no port-forward"),
            },
        }
    }
}

async fn connection(server: Arc<StreamServer>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request| {
        let server = server.clone();
        async move { Ok::<_, Infallible>(server.answer(request)) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a stream's connection ended");
    }
}

fn wanted_streams(stdin: bool, stdout: bool, stderr: bool, tty: bool) -> Vec<&'static str> {
    let all = [("error", true), ("stdin", stdin), ("stdout", stdout), ("stderr", stderr), ("resize", tty)];
    all.into_iter().filter(|(_, wanted)| *wanted).map(|(kind, _)| kind).collect()
}

async fn carry<F: Future<Output = ()>>(
    connection: TokioIo<Upgraded>,
    chosen: Chosen,
    wanted: Vec<&'static str>,
    session: impl FnOnce(Pipes) -> F,
) where
    TokioIo<Upgraded>: Connection,
{
    match chosen {
        Chosen::Spdy(protocol) => {
            spdy_session::serve(connection, wanted, protocol != "v4.channel.k8s.io", session).await;
        }
        Chosen::WebSocket(protocol) => websocket_session::serve(connection, protocol, session).await,
        // Only for port-forwards.
        Chosen::Tunnel => {}
    }
}

/// Chooses how to speak; gives the answer that says so.
fn choose(headers: &HeaderMap, streamed: &Streamed) -> Result<(Chosen, Answer), Box<Answer>> {
    let bad = |text: &str| Box::new(refuse(StatusCode::BAD_REQUEST, text));
    let has = |name: http::HeaderName, word: &str| {
        words(headers, name.as_str()).any(|w| w.eq_ignore_ascii_case(word))
    };
    if !has(CONNECTION, "upgrade") {
        return Err(bad("Upgrade request required"));
    }
    let forwards = matches!(streamed, Streamed::PortForward(_));
    if has(UPGRADE, "websocket") {
        return choose_websocket(headers, streamed).map_err(bad);
    }
    if !has(UPGRADE, "spdy/3.1") {
        return Err(bad("unable to upgrade: expected SPDY/3.1 or websocket"));
    }
    let supported: &[&'static str] = if forwards { &[forward::PROTOCOL] } else { &spdy_session::PROTOCOLS };
    let offered: Vec<_> = words(headers, PROTOCOL_HEADER).collect();
    let chosen =
        supported.iter().find(|p| offered.contains(p)).or(supported.last().filter(|_| offered.is_empty()));
    let Some(chosen) = chosen else {
        return Err(Box::new(refuse(
            StatusCode::FORBIDDEN,
            "unable to upgrade: unable to negotiate protocol",
        )));
    };
    let mut answer = switch("SPDY/3.1");
    answer.headers_mut().insert(PROTOCOL_HEADER, HeaderValue::from_static(chosen));
    Ok((Chosen::Spdy(chosen), answer))
}

fn choose_websocket(headers: &HeaderMap, streamed: &Streamed) -> Result<(Chosen, Answer), &'static str> {
    let key = headers.get("sec-websocket-key").and_then(|k| k.to_str().ok());
    let key = key.ok_or("a WebSocket request needs a Sec-WebSocket-Key")?;
    let offered: Vec<_> = words(headers, WEBSOCKET_PROTOCOL).collect();
    let supported: &[&'static str] = match streamed {
        Streamed::PortForward(_) => &forward::WEBSOCKET_PROTOCOLS,
        Streamed::Exec { .. } | Streamed::Attach(_) => &websocket_session::PROTOCOLS,
    };
    let chosen = match supported.iter().find(|p| offered.contains(p)) {
        Some(protocol) => protocol,
        None if offered.is_empty() => "",
        None => return Err("no supported WebSocket protocol was offered"),
    };
    if let (Streamed::PortForward(request), true) = (streamed, chosen != TUNNEL_PROTOCOL) {
        forward::check_ports(&request.port)?;
    }
    let mut answer = switch("websocket");
    if !chosen.is_empty() {
        answer.headers_mut().insert(WEBSOCKET_PROTOCOL, HeaderValue::from_static(chosen));
    }
    let accept = HeaderValue::from_str(&websocket::accept_key(key)).map_err(|_| "the key is no text")?;
    answer.headers_mut().insert("sec-websocket-accept", accept);
    let chosen = if chosen == TUNNEL_PROTOCOL { Chosen::Tunnel } else { Chosen::WebSocket(chosen) };
    Ok((chosen, answer))
}

fn words<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|word| !word.is_empty())
}

fn switch(protocol: &'static str) -> Answer {
    let mut answer = refuse(StatusCode::SWITCHING_PROTOCOLS, "");
    answer.headers_mut().insert(UPGRADE, HeaderValue::from_static(protocol));
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer
}

fn refuse(status: StatusCode, text: &str) -> Answer {
    let mut answer = Response::new(text.to_owned());
    *answer.status_mut() = status;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&'static str, &'static str)], streamed: Streamed) -> String {
        let headers =
            headers.iter().map(|(k, v)| (k.parse().expect("a name"), HeaderValue::from_static(v))).collect();
        match choose(&headers, &streamed) {
            Ok((chosen, _)) => format!("{chosen:?}"),
            Err(answer) => answer.status().to_string(),
        }
    }

    #[test]
    fn the_best_common_protocol_is_chosen() {
        let attach = || Streamed::Attach(Default::default());
        let forward = || Streamed::PortForward(Default::default());
        let websocket =
            [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "x")];
        let with = |protocol| [websocket.as_slice(), &[("sec-websocket-protocol", protocol)]].concat();
        assert_eq!(
            check(&with("v4.channel.k8s.io, v5.channel.k8s.io"), attach()),
            "WebSocket(\"v5.channel.k8s.io\")"
        );
        assert_eq!(check(&with("SPDY/3.1+portforward.k8s.io"), forward()), "Tunnel");
        assert_eq!(check(&with("v5.channel.k8s.io"), forward()), "400 Bad Request");
        assert_eq!(check(&with("v4.channel.k8s.io"), forward()), "400 Bad Request", "it needs ports");
        let with_ports =
            Streamed::PortForward(cri::PortForwardRequest { port: vec![80], ..Default::default() });
        let old = "v5.channel.k8s.io,v4.channel.k8s.io";
        assert_eq!(check(&with(old), with_ports), "WebSocket(\"v4.channel.k8s.io\")");
        assert_eq!(check(&websocket, attach()), "WebSocket(\"\")");
        let spdy = [
            ("connection", "Upgrade"),
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v4.channel.k8s.io"),
        ];
        assert_eq!(check(&spdy, attach()), "Spdy(\"v4.channel.k8s.io\")");
        assert_eq!(check(&spdy, forward()), "403 Forbidden");
        assert_eq!(check(&[], attach()), "400 Bad Request");
    }
}
