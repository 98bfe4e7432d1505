//! Runs a probe once: a command, a GET, a connection, a gRPC health check (`pkg/probe`).

use super::Context;
use crate::core::podspec;
use crate::core::probe::{Answer, Kind, timeout};
use crate::tls;
use bytes::Bytes;
use cri::{Code, ExecSyncRequest};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Pod, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Most bytes of a body or a command's output that are looked at.
const MAX_BODY: usize = 10 << 10;
/// Most redirects that are followed.
const MAX_REDIRECTS: usize = 10;
/// How probes name themselves.
const USER_AGENT: &str = concat!("kube-probe/", "1.37");

/// Runs one probe of a container once.
pub(crate) async fn run(ctx: &Arc<Context>, pod: &Pod, id: &str, name: &str, kind: Kind) -> Answer {
    let Some((c, _)) = podspec::find_container(pod, name) else {
        return Answer::Error("container is gone".into());
    };
    let Some(p) = kind.of(&c) else { return Answer::Error("probe is gone".into()) };
    let limit = Duration::try_from(timeout(p)).unwrap_or(Duration::from_secs(1));
    let ip = podspec::status(pod).pod_ip.clone().unwrap_or_default();
    let result = if let Some(exec) = &p.exec {
        command(ctx, id, exec.command.clone().unwrap_or_default(), limit).await
    } else if let Some(get) = &p.http_get {
        http(get, &c, &ip, limit).await
    } else if let Some(tcp) = &p.tcp_socket {
        let host = tcp.host.clone().filter(|h| !h.is_empty()).unwrap_or(ip);
        match resolve_port(&tcp.port, &c) {
            Ok(port) => Ok(connect(&host, port, limit).await.map(|_| ()).into_answer()),
            Err(e) => Err(e),
        }
    } else {
        grpc(p, &ip, limit).await
    };
    result.unwrap_or_else(Answer::Error)
}

trait IntoAnswer {
    fn into_answer(self) -> Answer;
}

impl IntoAnswer for Result<(), String> {
    fn into_answer(self) -> Answer {
        self.map_or_else(Answer::Failure, |()| Answer::Success)
    }
}

async fn command(ctx: &Context, id: &str, cmd: Vec<String>, limit: Duration) -> Result<Answer, String> {
    let shown = cmd.join(" ");
    let seconds = i64::try_from(limit.as_secs()).unwrap_or(1);
    let request = ExecSyncRequest { container_id: id.to_owned(), cmd, timeout: seconds };
    match ctx.runtime.exec_sync(request).await {
        Ok(a) if a.exit_code == 0 => Ok(Answer::Success),
        Ok(a) => {
            let mut output = [a.stdout, a.stderr].concat();
            output.truncate(MAX_BODY);
            Ok(Answer::Failure(String::from_utf8_lossy(&output).into_owned()))
        }
        Err(e) if e.code == Code::DeadlineExceeded => {
            Ok(Answer::Failure(format!("command timed out: {shown:?} timed out after {seconds}s")))
        }
        Err(e) => Err(e.to_string()),
    }
}

/// A port by number, or by its name in the container.
pub(crate) fn resolve_port(port: &IntOrString, c: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(n) => i64::from(*n),
        IntOrString::String(name) => {
            let named = c.ports.iter().flatten().find(|p| p.name.as_deref() == Some(name));
            match named {
                Some(p) => i64::from(p.container_port),
                None => name
                    .parse()
                    .map_err(|_| format!("couldn't find port: {name:?} in container {:?}", c.name))?,
            }
        }
    };
    u16::try_from(number).ok().filter(|n| *n > 0).ok_or_else(|| format!("invalid port number: {number}"))
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

async fn connect(host: &str, port: u16, limit: Duration) -> Result<TcpStream, String> {
    let place = authority(host, port);
    match tokio::time::timeout(limit, TcpStream::connect(&place)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(e)) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err(format!("dial tcp {place}: connect: connection refused"))
        }
        Ok(Err(e)) => Err(format!("dial tcp {place}: {e}")),
        Err(_) => Err(format!("dial tcp {place}: i/o timeout")),
    }
}

/// Where an HTTP GET goes.
pub(crate) struct HttpTarget {
    host: String,
    port: u16,
    https: bool,
    path: String,
    headers: Vec<(String, String)>,
}

/// What an HTTP GET brought.
pub(crate) struct HttpAnswer {
    /// The status code.
    pub status: u16,
    body: String,
    location: Option<String>,
}

impl HttpTarget {
    fn url(&self) -> String {
        format!(
            "http{}://{}{}",
            if self.https { "s" } else { "" },
            authority(&self.host, self.port),
            self.path
        )
    }
}

/// The target of a probe or a hook.
pub(crate) fn http_target(get: &HTTPGetAction, c: &Container, pod_ip: &str) -> Result<HttpTarget, String> {
    let path = get.path.clone().unwrap_or_default();
    let headers = get.http_headers.iter().flatten().map(|h| (h.name.clone(), h.value.clone()));
    Ok(HttpTarget {
        host: get.host.clone().filter(|h| !h.is_empty()).unwrap_or_else(|| pod_ip.to_owned()),
        port: resolve_port(&get.port, c)?,
        https: get.scheme.as_deref().is_some_and(|s| s.eq_ignore_ascii_case("https")),
        path: if path.starts_with('/') { path } else { format!("/{path}") },
        headers: headers.collect(),
    })
}

async fn http(get: &HTTPGetAction, c: &Container, ip: &str, limit: Duration) -> Result<Answer, String> {
    let mut target = http_target(get, c, ip)?;
    for _ in 0..=MAX_REDIRECTS {
        let answer = match http_get(&target, limit).await {
            Ok(a) => a,
            Err(e) => return Ok(Answer::Failure(e)),
        };
        match answer.status {
            200..=299 => return Ok(Answer::Success),
            300..=399 => match local_redirect(&target, answer.location.as_deref()) {
                Some(path) => target.path = path,
                None => {
                    let text = format!("Probe terminated redirects, Response body: {}", answer.body);
                    return Ok(Answer::Warning(text));
                }
            },
            code => return Ok(Answer::Failure(format!("HTTP probe failed with statuscode: {code}"))),
        }
    }
    Ok(Answer::Failure(format!("Get {:?}: stopped after {MAX_REDIRECTS} redirects", target.url())))
}

/// The path of a redirect that stays on the same host and port.
fn local_redirect(target: &HttpTarget, location: Option<&str>) -> Option<String> {
    let uri: http::Uri = location?.parse().ok()?;
    let same = match uri.host() {
        None => true,
        Some(host) => {
            let https = uri.scheme_str() == Some("https");
            let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
            host.trim_matches(['[', ']']) == target.host && port == target.port && https == target.https
        }
    };
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    same.then(|| path.to_owned()).filter(|p| p.starts_with('/'))
}

/// One GET. Certificates are not verified, as upstream's probes don't.
pub(crate) async fn http_get(target: &HttpTarget, limit: Duration) -> Result<HttpAnswer, String> {
    let url = target.url();
    match tokio::time::timeout(limit, exchange(target, limit)).await {
        Ok(r) => r.map_err(|e| format!("Get {url:?}: {e}")),
        Err(_) => Err(format!(
            "Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        )),
    }
}

async fn exchange(target: &HttpTarget, limit: Duration) -> Result<HttpAnswer, String> {
    let stream = connect(&target.host, target.port, limit).await?;
    if !target.https {
        return over(stream, target).await;
    }
    let stream = tls::connect_unverified(stream, &target.host).await?;
    over(stream, target).await
}

fn request(target: &HttpTarget) -> Result<http::Request<Full<Bytes>>, String> {
    let own = |name: &str| target.headers.iter().any(|(k, _)| k.eq_ignore_ascii_case(name));
    let mut builder = http::Request::get(&target.path);
    if !own("host") {
        builder = builder.header("host", authority(&target.host, target.port));
    }
    if !own("user-agent") {
        builder = builder.header("user-agent", USER_AGENT);
    }
    if !own("accept") {
        builder = builder.header("accept", "*/*");
    }
    for (k, v) in &target.headers {
        builder = builder.header(k, v);
    }
    builder.header("connection", "close").body(Full::default()).map_err(|e| e.to_string())
}

async fn over<S>(stream: S, target: &HttpTarget) -> Result<HttpAnswer, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let text = |e: hyper::Error| e.to_string();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let drive = tokio::spawn(connection);
    let answer = sender.send_request(request(target)?).await.map_err(text)?;
    let status = answer.status().as_u16();
    let location = answer.headers().get("location").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let body = Limited::new(answer.into_body(), MAX_BODY).collect().await;
    let body = body.map(|b| String::from_utf8_lossy(&b.to_bytes()).into_owned()).unwrap_or_default();
    drive.abort();
    Ok(HttpAnswer { status, body, location })
}

async fn grpc(p: &Probe, ip: &str, limit: Duration) -> Result<Answer, String> {
    let Some(g) = &p.grpc else { return Err("missing probe handler".to_owned()) };
    let port = u16::try_from(g.port).map_err(|_| format!("invalid port number: {}", g.port))?;
    let service = g.service.clone().unwrap_or_default();
    let (end, seconds) = (tokio::time::Instant::now() + limit, limit.as_secs());
    let place = authority(ip, port);
    let Ok(Ok(stream)) = tokio::time::timeout_at(end, connect(ip, port, limit)).await else {
        return Ok(Answer::Failure(format!(
            "timeout: failed to connect service {place:?} within {seconds}s: context deadline exceeded"
        )));
    };
    match tokio::time::timeout_at(end, health_check(stream, &place, &service)).await {
        Ok(Ok(1)) => Ok(Answer::Success),
        Ok(Ok(status)) => {
            let word =
                ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"].get(status).unwrap_or(&"UNKNOWN");
            Ok(Answer::Failure(format!("service unhealthy (responded with {word:?})")))
        }
        Ok(Err(e)) => Ok(Answer::Failure(e)),
        Err(_) => Ok(Answer::Failure(format!("timeout: health rpc did not complete within {seconds}s"))),
    }
}

/// The words of gRPC's codes from 1 on.
const GRPC_CODES: [&str; 16] = [
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// What a health check's refusal is called (`pkg/probe/grpc`).
fn grpc_failure(code: &str, message: &str) -> String {
    let number = code.parse::<usize>().unwrap_or(2);
    match GRPC_CODES.get(number.wrapping_sub(1)).copied().unwrap_or("Unknown") {
        "Unimplemented" => format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {message}"
        ),
        word => format!("error: health rpc probe failed: rpc error: code = {word} desc = {message}"),
    }
}

/// A request for the health of `service`, framed: a field of text, its length as a varint.
fn health_request(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut left = service.len();
        while left >= 0x80 {
            message.push((left & 0x7f) as u8 | 0x80);
            left >>= 7;
        }
        message.push(left as u8);
        message.extend(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(0).to_be_bytes();
    [&[0][..], &length, &message].concat()
}

/// `grpc.health.v1.Health/Check` by hand: one message each way.
async fn health_check(stream: TcpStream, place: &str, service: &str) -> Result<usize, String> {
    let text = |e: hyper::Error| format!("error: health rpc probe failed: {e}");
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(text)?;
    let drive = tokio::spawn(connection);
    let request = http::Request::post(format!("http://{place}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", USER_AGENT)
        .body(Full::new(Bytes::from(health_request(service))))
        .map_err(|e| e.to_string())?;
    let answer = sender.send_request(request).await.map_err(text)?;
    let mut head = answer.headers().clone();
    let body = Limited::new(answer.into_body(), MAX_BODY).collect().await.map_err(|e| e.to_string())?;
    head.extend(body.trailers().cloned().unwrap_or_default());
    drive.abort();
    let field = |name: &str| head.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !matches!(field("grpc-status"), "" | "0") {
        return Err(grpc_failure(field("grpc-status"), field("grpc-message")));
    }
    let bytes = body.to_bytes();
    // One byte of flags, four of length, then field 1 as a varint.
    Ok(match bytes.get(5..7) {
        Some([0x08, status]) => usize::from(*status),
        _ => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_asked_and_told_of_in_its_own_words() {
        assert_eq!(health_request(""), [0, 0, 0, 0, 0]);
        assert_eq!(health_request("a"), [0, 0, 0, 0, 3, 0x0a, 1, b'a']);
        let long = health_request(&"x".repeat(200));
        assert_eq!(long[..8], [0, 0, 0, 0, 203, 0x0a, 200, 1], "a length of two bytes");
        assert_eq!(
            grpc_failure("5", "no such service"),
            "error: health rpc probe failed: rpc error: code = NotFound desc = no such service"
        );
        assert!(
            grpc_failure("12", "")
                .starts_with("error: this server does not implement the grpc health protocol")
        );
        assert!(grpc_failure("99", "x").contains("code = Unknown"));
    }
}
