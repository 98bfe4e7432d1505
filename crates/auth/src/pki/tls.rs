//! TLS of the API server and of its clients: rustls with ring, and nothing else.

use super::{Pair, PkiError};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::sync::Arc;

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn refused(e: impl std::fmt::Display) -> PkiError {
    PkiError::Tls(e.to_string())
}

fn roots(ca: &str) -> Result<RootCertStore, PkiError> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut store = RootCertStore::empty();
    for cert in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        store.add(cert.map_err(|_| PkiError::Damaged("the CA certificate"))?).map_err(refused)?;
    }
    Ok(store)
}

/// Serves `pair` with its authority behind it, so that who knows the authority's fingerprint alone can tell that it is the
/// right one; asks clients for a certificate and verifies those that bring one against `client_ca` (PEM). Clients without one come in, for tokens and anonymous requests. HTTP/2 and HTTP/1.1 are offered.
pub fn server_config(pair: &Pair, client_ca: &str) -> Result<ServerConfig, PkiError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(client_ca)?), provider())
        .allow_unauthenticated()
        .build()
        .map_err(refused)?;
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let cert = pair.cert_der().ok_or(PkiError::Damaged("the serving certificate"))?;
    let key = pair.key_der().ok_or(PkiError::Damaged("the serving key"))?;
    let authorities = CertificateDer::pem_slice_iter(client_ca.as_bytes()).filter_map(Result::ok);
    let chain = std::iter::once(cert).chain(authorities).collect();
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(refused)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Trusts `ca` (PEM) and shows `pair`, if there is one.
pub fn client_config(ca: &str, pair: Option<&Pair>) -> Result<ClientConfig, PkiError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_root_certificates(roots(ca)?);
    let Some(pair) = pair else { return Ok(builder.with_no_client_auth()) };
    let cert = pair.cert_der().ok_or(PkiError::Damaged("the client certificate"))?;
    let key = pair.key_der().ok_or(PkiError::Damaged("the client key"))?;
    builder.with_client_auth_cert(vec![cert], key).map_err(refused)
}
