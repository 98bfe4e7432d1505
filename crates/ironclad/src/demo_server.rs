//! The program in the image `ironclad.local/demo`: an HTTP server that tells which pod answered. It exists so that a
//! cluster has something real to run before any registry is in reach.

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

/// Where the server listens, unless PORT says otherwise.
const PORT: u16 = 8080;
/// After SIGTERM the server answers for so long: clients may still be on their way here by an old route.
const DRAIN: Duration = Duration::from_secs(2);
/// Where the node agent puts the token of the pod's service account.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// Connections at once.
const MAX_CONNECTIONS: usize = 1024;
/// A request's head must be there within this time.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A greeting from a mounted file is cut here.
const MAX_GREETING: usize = 4096;

/// What the pages tell; read once, as a container's environment never changes.
struct Facts {
    pod: String,
    node: String,
    version: String,
    greeting_file: String,
}

/// The node's name, as the token of the pod's service account tells it (KEP-4193): for pods whose manifest doesn't.
fn node_of_token() -> Option<String> {
    node_in(&std::fs::read_to_string(TOKEN).ok()?)
}

/// The claim `kubernetes.io.node.name` of a token. The server would look at its signature; who only shows it need not.
fn node_in(token: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    Some(claims.pointer("/kubernetes.io/node/name")?.as_str()?.to_owned())
}

impl Facts {
    fn from_environment() -> Self {
        let var = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            pod: var("POD_NAME", &host),
            node: std::env::var("NODE_NAME").ok().or_else(node_of_token).unwrap_or_else(|| "unknown".into()),
            version: var("DEMO_VERSION", env!("CARGO_PKG_VERSION")),
            greeting_file: var("GREETING_FILE", "/etc/demo/greeting"),
        }
    }

    /// Status and text for a path.
    fn page(&self, path: &str) -> (u16, String) {
        match path {
            "/healthz" | "/readyz" | "/livez" => (200, "ok\n".into()),
            "/" => {
                let greeting = std::fs::read_to_string(&self.greeting_file).unwrap_or_default();
                let end = greeting
                    .char_indices()
                    .map(|(i, _)| i)
                    .find(|i| *i >= MAX_GREETING)
                    .unwrap_or(greeting.len());
                let (pod, node, version) = (&self.pod, &self.node, &self.version);
                (200, format!("pod: {pod}\nnode: {node}\nversion: {version}\n{}", &greeting[..end]))
            }
            _ => (404, format!("there is nothing at {path}; try / and /healthz\n")),
        }
    }
}

/// Serves until SIGTERM or Ctrl-C.
pub(crate) fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the event loop")?.block_on(serve())
}

async fn serve() -> Result<()> {
    let port = std::env::var("PORT").ok().and_then(|p| p.parse().ok()).unwrap_or(PORT);
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let facts = Arc::new(Facts::from_environment());
    println!("demo {} in pod {} listens on {address}", facts.version, facts.pod);
    let accepting = tokio::spawn(accept(listener, facts));
    tokio::select! {
        _ = term.recv() => {
            println!("told to stop: answering for {} s more", DRAIN.as_secs());
            tokio::time::sleep(DRAIN).await;
        }
        _ = interrupt.recv() => {}
    }
    accepting.abort();
    Ok(())
}

async fn accept(listener: TcpListener, facts: Arc<Facts>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else { continue };
        let facts = facts.clone();
        tokio::spawn(async move {
            connection(stream, facts).await;
            drop(permit);
        });
    }
}

async fn connection(stream: TcpStream, facts: Arc<Facts>) {
    let answer = |request: Request<Incoming>| {
        let (code, text) = facts.page(request.uri().path());
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = hyper::StatusCode::from_u16(code).unwrap_or_default();
        std::future::ready(Ok::<_, Infallible>(response))
    };
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    // A client that goes away is no event here.
    let _ = server.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

/// How long `fetch` waits for an answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer that `fetch` prints.
const MAX_ANSWER: u64 = 1 << 20;

/// Prints what an HTTP server says to a GET: `fetch http://HOST[:PORT]/PATH`. What a container without a shell has for
/// looking around.
pub(crate) fn fetch(arguments: &[String]) -> Result<()> {
    use std::io::{Read, Write};
    use std::net::ToSocketAddrs;
    let [url] = arguments else { anyhow::bail!("usage: fetch http://HOST[:PORT]/PATH") };
    let rest = url.strip_prefix("http://").with_context(|| format!("{url} is no http:// address"))?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let target = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let mut addresses = target.to_socket_addrs().with_context(|| format!("cannot resolve {host}"))?;
    let address = addresses.next().with_context(|| format!("{host} has no address"))?;
    let mut stream = std::net::TcpStream::connect_timeout(&address, FETCH_TIMEOUT)
        .with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(FETCH_TIMEOUT))?;
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer).context("the answer broke off")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("that was no HTTP answer")?;
    print!("{body}");
    let code = head.split(' ').nth(1).unwrap_or_default();
    if code.starts_with('2') { Ok(()) } else { anyhow::bail!("{url} answered {code}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_is_in_the_token() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"kubernetes.io":{"namespace":"a","node":{"name":"n1"}}}"#);
        assert_eq!(node_in(&format!("head.{claims}.signature")), Some("n1".into()));
        for broken in ["", "a.b", "a.!.c", &format!("a.{}.c", URL_SAFE_NO_PAD.encode("{}"))] {
            assert_eq!(node_in(broken), None, "{broken}");
        }
    }
}
