//! HTTP for registries: where connections may go, how redirects are followed, what an answer may cost.

use super::proxy::Proxy;
use super::refusal::Refusal;
use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How many redirects one request may take.
const MAX_REDIRECTS: usize = 10;
/// How long an unused connection stays open.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);
/// Who asks.
const USER_AGENT: &str = concat!("ironclad/", env!("CARGO_PKG_VERSION"));

/// How long a registry may take over things.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// To answer a connection, TLS included.
    pub connect: Duration,
    /// To answer a request.
    pub answer: Duration,
    /// Between two pieces of a body.
    pub piece: Duration,
    /// Between the first two attempts; doubles from there.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self { connect: s(30), answer: s(60), piece: s(60), pause: Duration::from_millis(250) }
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The connections of one pull.
pub(super) struct Http {
    client: Client<Connector, Full<Bytes>>,
    patience: Patience,
    /// Whether `http:` is allowed: where the registry itself is on this machine and speaks it.
    plain: bool,
}

impl Http {
    pub(super) fn new(patience: Patience, way: Way, plain: bool) -> Self {
        let connector = Connector { way, patience: patience.connect };
        let client =
            Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE_CONNECTION).build(connector);
        Self { client, patience, plain }
    }

    /// One request, without following anything.
    pub(super) async fn once(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Refusal> {
        let what = format!("{} {:?}", title(request.method()), request.uri().to_string());
        if request.uri().scheme() != Some(&Scheme::HTTPS) && !self.plain {
            return Err(Refusal::last(format!(
                "{what}: plain http is for registries on this machine only; serve {} with TLS",
                request.uri().authority().map_or("", Authority::as_str)
            )));
        }
        match timeout(self.patience.answer + self.patience.connect, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(e)) => Err(explain(&what, &e)),
            Err(_) => Err(Refusal::passing(format!("{what}: net/http: timeout awaiting response headers"))),
        }
    }

    /// A GET or HEAD. Redirects are followed; `Authorization` goes to the host that was asked and to no other.
    pub(super) async fn get(
        &self,
        method: &Method,
        url: &str,
        mut headers: HeaderMap,
    ) -> Result<Response<Incoming>, Refusal> {
        let mut at: Uri = url.parse().map_err(|e| Refusal::last(format!("{url:?} is no address: {e}")))?;
        headers.insert(header::USER_AGENT, header::HeaderValue::from_static(USER_AGENT));
        for _ in 0..=MAX_REDIRECTS {
            let mut request = Request::new(Full::default());
            *request.method_mut() = method.clone();
            *request.uri_mut() = at.clone();
            *request.headers_mut() = headers.clone();
            let response = self.once(request).await?;
            let Some(next) = redirect(&at, &response)? else { return Ok(response) };
            if next.authority() != at.authority() || next.scheme() != at.scheme() {
                headers.remove(header::AUTHORIZATION);
            }
            at = next;
        }
        Err(Refusal::last(format!("{} {url:?}: stopped after {MAX_REDIRECTS} redirects", title(method))))
    }

    /// The next piece of a body; none at its end.
    pub(super) async fn piece(&self, body: &mut Incoming) -> Result<Option<Bytes>, Refusal> {
        loop {
            match timeout(self.patience.piece, body.frame()).await {
                Err(_) => {
                    return Err(Refusal::passing("the registry went silent in the middle of an answer"));
                }
                Ok(None) => return Ok(None),
                Ok(Some(Err(e))) => return Err(Refusal::passing(root_cause(&e))),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// A whole body of at most `limit` bytes.
    pub(super) async fn whole(&self, mut body: Incoming, limit: u64, what: &str) -> Result<Vec<u8>, Refusal> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece(&mut body).await? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > limit {
                return Err(Refusal::last(format!("{what} has more than {limit} bytes, which is the limit")));
            }
        }
        Ok(bytes)
    }

    pub(super) fn patience(&self) -> Patience {
        self.patience
    }

    pub(super) fn plain(&self) -> bool {
        self.plain
    }
}

/// `Get` as Go's errors write it.
pub(super) fn title(method: &Method) -> String {
    let name = method.as_str();
    name[..1].to_owned() + &name[1..].to_ascii_lowercase()
}

/// Where an answer sends us on to; none where it is an answer.
fn redirect<B>(from: &Uri, response: &Response<B>) -> Result<Option<Uri>, Refusal> {
    let moved = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = response.headers().get(header::LOCATION).filter(|_| moved);
    let Some(location) = location else { return Ok(None) };
    let bad = || Refusal::last(format!("{from} redirects to {location:?}, which is no address to follow"));
    let text = location.to_str().map_err(|_| bad())?;
    let base = (from.scheme_str().unwrap_or_default(), from.authority().map_or("", Authority::as_str));
    let whole = match text {
        _ if text.starts_with("https://") || text.starts_with("http://") => text.to_owned(),
        _ if text.starts_with("//") => format!("{}:{text}", base.0),
        _ if text.starts_with('/') => format!("{}://{}{text}", base.0, base.1),
        _ => return Err(bad()),
    };
    let to: Uri = whole.split('#').next().unwrap_or_default().parse().map_err(|_| bad())?;
    let downgrade = from.scheme() == Some(&Scheme::HTTPS) && to.scheme() != Some(&Scheme::HTTPS);
    if downgrade || to.authority().is_none_or(|a| a.as_str().contains('@')) {
        return Err(bad());
    }
    Ok(Some(to))
}

/// What became of a request that had no answer, in the words that Go's clients have for it.
fn explain(what: &str, error: &ClientError) -> Refusal {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(e) = cause {
        if let Some(dial) = e.downcast_ref::<DialError>() {
            return Refusal { again: dial.again, ..Refusal::last(format!("{what}: {dial}")) };
        }
        if e.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return Refusal { not_http: true, ..Refusal::last(format!("{what}: malformed HTTP response")) };
        }
        cause = e.source();
    }
    Refusal { not_http: true, ..Refusal::passing(format!("{what}: {}", root_cause(error))) }
}

fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    match last.downcast_ref::<io::Error>() {
        Some(e) => io_words(e),
        None if last.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) => {
            "unexpected EOF".into()
        }
        None => last.to_string(),
    }
}

/// A kernel's error as Go writes it: kubelet's events show these words.
fn io_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".into(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".into(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".into(),
        io::ErrorKind::ConnectionReset => "read: connection reset by peer".into(),
        io::ErrorKind::UnexpectedEof => "unexpected EOF".into(),
        io::ErrorKind::TimedOut => "i/o timeout".into(),
        _ => error.to_string(),
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct DialError {
    message: String,
    again: bool,
}

impl DialError {
    fn last(message: String) -> Self {
        Self { message, again: false }
    }

    fn by_proxy(self) -> Self {
        Self { message: format!("proxyconnect tcp: {}", self.message), ..self }
    }
}

/// Whom we trust, and through whom we go.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) tls: Arc<rustls::ClientConfig>,
    pub(super) proxy: Option<Arc<Proxy>>,
}

/// Opens connections; to `http:` addresses on this machine only.
#[derive(Clone)]
struct Connector {
    way: Way,
    patience: Duration,
}

impl Connector {
    async fn connect(&self, uri: &Uri) -> Result<Link, DialError> {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let secure = uri.scheme() == Some(&Scheme::HTTPS);
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let proxy = self.way.proxy.as_ref().filter(|p| secure && p.is_for(host, port));
        let tcp = match proxy {
            None => dial(host, port, secure).await?,
            Some(proxy) => {
                let tcp = dial(&proxy.host, proxy.port, true).await.map_err(|e| e.by_proxy())?;
                let tunnel = proxy.tunnel(tcp, host, port).await;
                tunnel.map_err(|e| DialError::last(io_words(&e)).by_proxy())?
            }
        };
        let _ = tcp.set_nodelay(true);
        if !secure {
            return Ok(Link::Plain(TokioIo::new(tcp)));
        }
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| DialError::last(format!("{host:?} is no name that a certificate could have")))?;
        let tls = TlsConnector::from(self.way.tls.clone()).connect(name, tcp).await;
        tls.map(|s| Link::Tls(Box::new(TokioIo::new(s)))).map_err(|e| tls_error(host, &e))
    }
}

async fn dial(host: &str, port: u16, anywhere: bool) -> Result<TcpStream, DialError> {
    let found = tokio::net::lookup_host((host, port)).await.map_err(|e| {
        let passing = e.to_string().contains("emporary failure");
        let why = if passing { "Temporary failure in name resolution" } else { "no such host" };
        DialError { message: format!("dial tcp: lookup {host}: {why}"), again: passing }
    })?;
    let mut error = DialError::last(format!("dial tcp: lookup {host}: no such host"));
    for address in found.filter(|a| anywhere || a.ip().is_loopback()) {
        match TcpStream::connect(address).await {
            Ok(tcp) => return Ok(tcp),
            Err(e) => error = DialError::last(format!("dial tcp {}: {}", show(address), io_words(&e))),
        }
    }
    Err(error)
}

fn show(address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(_) => address.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]:{}", address.port()),
    }
}

fn tls_error(host: &str, error: &io::Error) -> DialError {
    use rustls::{CertificateError as C, Error as E};
    let text = match error.get_ref().and_then(|e| e.downcast_ref::<E>()) {
        Some(E::InvalidCertificate(C::UnknownIssuer)) => {
            "tls: failed to verify certificate: x509: certificate signed by unknown authority".into()
        }
        Some(E::InvalidCertificate(C::Expired | C::ExpiredContext { .. })) => {
            "tls: failed to verify certificate: x509: certificate has expired or is not yet valid".into()
        }
        Some(E::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. })) => {
            format!("tls: failed to verify certificate: x509: certificate is not valid for {host}")
        }
        Some(other) => format!("tls: {other}"),
        None => io_words(error),
    };
    DialError { message: text, again: error.get_ref().is_none() }
}

impl tower_service::Service<Uri> for Connector {
    type Response = Link;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Link, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            match timeout(connector.patience, connector.connect(&uri)).await {
                Ok(done) => Ok(done?),
                Err(_) => {
                    let host = uri.authority().map_or("", Authority::as_str);
                    Err(DialError { message: format!("dial tcp {host}: i/o timeout"), again: true }.into())
                }
            }
        })
    }
}

/// A connection, with TLS or (on this machine) without.
enum Link {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Link {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl Write for Link {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_flush(cx),
            Self::Tls(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Self::Tls(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

/// TLS that trusts what this machine trusts. The certificates are read once, at the first pull that needs them.
pub(super) fn system_tls() -> Result<Arc<rustls::ClientConfig>, Refusal> {
    static TLS: OnceLock<Arc<rustls::ClientConfig>> = OnceLock::new();
    if let Some(tls) = TLS.get() {
        return Ok(tls.clone());
    }
    let tls = trusting(&[])?;
    Ok(TLS.get_or_init(|| tls).clone())
}

/// TLS 1.2 and 1.3 that trusts what this machine trusts and some roots more.
pub(super) fn trusting(more: &[CertificateDer<'static>]) -> Result<Arc<rustls::ClientConfig>, Refusal> {
    let mut roots = rustls::RootCertStore::empty();
    // What can't be read of the machine's roots is left out, as everybody does.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(more.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Refusal::last(e.to_string()))?;
    Ok(Arc::new(tls.with_root_certificates(roots).with_no_client_auth()))
}

/// Whether an answer may be better at another time.
pub(super) fn passing(status: StatusCode) -> bool {
    status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
}
