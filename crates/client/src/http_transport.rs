//! The transport over HTTP/2 or HTTP/1.1 and TLS, for whoever is not in the server's process.

use crate::config::Config;
use crate::transport::{Body, Transport, TransportError};
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::CipherSuite;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often an idle HTTP/2 connection is asked whether it lives.
const PING_EVERY: Duration = Duration::from_secs(30);

/// A transport to the server of a [`Config`].
pub struct HttpTransport {
    client: hyper_util::client::legacy::Client<Connector, Full<Bytes>>,
    server: String,
    authorization: Option<http::HeaderValue>,
}

impl HttpTransport {
    /// Makes ready to connect; connects with the first call.
    pub fn new(config: &Config) -> Result<Self, String> {
        let tls = Arc::new(tls_config(config)?);
        let server_name = match config.server_name.as_str() {
            "" => None,
            name => Some(ServerName::try_from(name.to_owned()).map_err(|e| e.to_string())?),
        };
        let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .http2_keep_alive_interval(PING_EVERY)
            .build(Connector { tls: TlsConnector::from(tls), server_name });
        let token = format!("Bearer {}", config.token);
        let authorization = match config.token.as_str() {
            "" => None,
            _ => Some(http::HeaderValue::try_from(token).map_err(|_| "the token has strange characters")?),
        };
        Ok(Self { client, server: config.server.trim_end_matches('/').to_owned(), authorization })
    }
}

fn tls_config(config: &Config) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    for cert in CertificateDer::pem_slice_iter(&config.ca_pem) {
        let cert = cert.map_err(|e| format!("the server's authority is unreadable: {e}"))?;
        roots.add(cert).map_err(|e| e.to_string())?;
    }
    let mut provider = rustls::crypto::ring::default_provider();
    // As Go's clients do: AES-128 first, which costs a third less of both ends than AES-256. The rest keep their order.
    provider.cipher_suites.sort_by_key(|s| s.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots);
    let mut tls = if config.cert_pem.is_empty() {
        builder.with_no_client_auth()
    } else {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&config.cert_pem).collect();
        let chain = chain.map_err(|e| format!("the client certificate is unreadable: {e}"))?;
        let key = PrivateKeyDer::from_pem_slice(&config.key_pem);
        let key = key.map_err(|e| format!("the client key is unreadable: {e}"))?;
        builder.with_client_auth_cert(chain, key).map_err(|e| e.to_string())?
    };
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

impl Transport for HttpTransport {
    fn call(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'static, Result<http::Response<Body>, TransportError>> {
        let (client, authorization) = (self.client.clone(), self.authorization.clone());
        let uri = format!("{}{}", self.server, request.uri()).parse::<http::Uri>();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            parts.uri = uri.map_err(TransportError::unsent)?;
            if let Some(authorization) = authorization {
                parts.headers.insert(http::header::AUTHORIZATION, authorization);
            }
            let sent = client.request(http::Request::from_parts(parts, Full::new(body))).await;
            let response =
                sent.map_err(|e| TransportError { sent: !e.is_connect(), message: describe(&e) })?;
            Ok(response.map(|body| body.map_err(TransportError::broken).boxed_unsync()))
        })
    }
}

/// The whole chain of causes, since the first says only "client error".
fn describe(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// Opens connections for hyper.
#[derive(Clone)]
struct Connector {
    tls: TlsConnector,
    server_name: Option<ServerName<'static>>,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Connector {
    async fn connect(self, uri: http::Uri) -> Result<Link, BoxError> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let tls_wanted = uri.scheme_str() != Some("http");
        let port = uri.port_u16().unwrap_or(if tls_wanted { 443 } else { 80 });
        let tcp = TcpStream::connect((host, port)).await?;
        tcp.set_nodelay(true)?;
        if !tls_wanted {
            return Ok(Link::Plain(TokioIo::new(tcp)));
        }
        let name = match self.server_name {
            Some(name) => name,
            None => ServerName::try_from(host.to_owned())?,
        };
        let stream = self.tls.connect(name, tcp).await?;
        Ok(Link::Tls(Box::new(TokioIo::new(stream))))
    }
}

impl tower_service::Service<http::Uri> for Connector {
    type Response = Link;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Link, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: http::Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            match tokio::time::timeout(CONNECT_TIMEOUT, connector.connect(uri)).await {
                Ok(result) => result,
                Err(_) => Err(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()).into()),
            }
        })
    }
}

/// A connection, with TLS or (to `http://` addresses) without.
enum Link {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        match self {
            Self::Tls(s) if s.inner().get_ref().1.alpn_protocol() == Some(b"h2") => {
                Connected::new().negotiated_h2()
            }
            _ => Connected::new(),
        }
    }
}

impl Read for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl Write for Link {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_flush(cx),
            Self::Tls(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Self::Tls(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}
