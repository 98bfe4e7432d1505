//! Makes sure that the server is the right one before anything is said to it: its authority must have the fingerprint that
//! the token tells (kubeadm's `--discovery-token-ca-cert-hash`).

use anyhow::{Context, Result, bail};
use hyper::http::Uri;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a server can't be reached, with what to do: the sentence is the same wherever it is found out.
pub(crate) fn unreachable(server: &str, why: &dyn std::fmt::Display) -> String {
    format!(
        "cannot reach the server at {server}: {why}; is it running, and does it listen on an address that this machine reaches (`ironclad server --listen ADDR:PORT`)?"
    )
}

/// The authority (PEM) of the server, which must have this fingerprint.
pub(crate) async fn authority(server: &str, fingerprint: &str) -> Result<String> {
    let (host, port) = place(server)?;
    let connect = tokio::time::timeout(PATIENCE, TcpStream::connect((host.as_str(), port)));
    let stream = match connect.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => bail!(unreachable(server, &e)),
        Err(_) => bail!(unreachable(server, &format!("no answer within {} s", PATIENCE.as_secs()))),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pinned = Arc::new(Pinned {
        fingerprint: fingerprint.to_owned(),
        provider: provider.clone(),
        seen: Mutex::default(),
    });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(pinned.clone())
        .with_no_client_auth();
    let name = ServerName::try_from(host.clone()).with_context(|| format!("{host} is no host's name"))?;
    let handshake = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream);
    let shaken = match tokio::time::timeout(PATIENCE, handshake).await {
        Ok(shaken) => shaken,
        Err(_) => bail!(unreachable(server, &format!("no answer within {} s", PATIENCE.as_secs()))),
    };
    let seen = std::mem::take(&mut *pinned.seen.lock().unwrap_or_else(PoisonError::into_inner));
    match (seen, shaken) {
        (Seen::Right(pem), Ok(_)) => Ok(pem),
        (Seen::Wrong, _) => bail!(
            "the server at {server} is not the one that the token is for: its certificates are of another authority; look at the address, or make a token with `ironclad token` on that server"
        ),
        (Seen::Right(_), Err(e)) if e.to_string().contains("not valid for name") => bail!(
            "the server's certificate is not for {host}: name the server by an address that it printed with `ironclad token`"
        ),
        (_, Err(e)) => bail!("{server} does not answer as an API server does: {e}"),
        (_, Ok(_)) => bail!("{server} showed no certificate"),
    }
}

/// Host and port of `https://HOST:PORT`.
fn place(server: &str) -> Result<(String, u16)> {
    let wrong = || format!("{server} is not a server's address: want https://HOST:PORT");
    let uri: Uri = server.parse().with_context(wrong)?;
    let host = uri.host().map(|h| h.trim_matches(['[', ']']).to_owned()).filter(|h| !h.is_empty());
    match (uri.scheme_str(), host) {
        (Some("https"), Some(host)) => Ok((host, uri.port_u16().unwrap_or(443))),
        _ => bail!(wrong()),
    }
}

/// What the server showed.
#[derive(Debug, Default)]
enum Seen {
    #[default]
    Nothing,
    Wrong,
    Right(String),
}

/// Trusts the authority with one fingerprint, if the server shows it behind its own certificate.
#[derive(Debug)]
struct Pinned {
    fingerprint: String,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Seen>,
}

impl Pinned {
    fn note(&self, seen: Seen) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let right = |c: &&CertificateDer<'_>| auth::pki::fingerprint(c).as_ref() == Some(&self.fingerprint);
        let Some(authority) = intermediates.iter().find(right) else {
            self.note(Seen::Wrong);
            return Err(CertificateError::UnknownIssuer.into());
        };
        self.note(Seen::Right(auth::pki::to_pem(authority)));
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|e| Error::General(e.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_address_is_taken_apart() {
        assert_eq!(place("https://192.0.2.1:6443").unwrap(), ("192.0.2.1".to_owned(), 6443));
        assert_eq!(place("https://[::1]/").unwrap(), ("::1".to_owned(), 443));
        for wrong in ["192.0.2.1:6443", "http://a:1", "https://", "a b"] {
            assert!(place(wrong).unwrap_err().to_string().contains("want https://HOST:PORT"), "{wrong}");
        }
    }
}
