//! A node's certificates: asked of the cluster, kept with their keys in one file each, renewed before they expire
//! (`k8s.io/client-go/util/certificate`).

use crate::data_dir::write_atomically;
use anyhow::{Context, Result, bail};
use api::MetaExt;
use api::certificates::v1::CertificateSigningRequest;
use auth::pki::Profile;
use client::config::Config;
use client::http_transport::HttpTransport;
use client::{Api, Body, Client, Transport, TransportError};
use controllers::certificates::{PROXY_USER, SIGNER_CLIENT, SIGNER_KUBELET, SIGNER_SERVING};
use futures::future::BoxFuture;
use hyper::body::Bytes;
use hyper::http;
use jiff::Timestamp;
use serde_json::json;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// First and longest pause between two looks at a request.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// After this long without an answer the user is told what is waited for.
const SLOW: Duration = Duration::from_secs(5);
/// Pause before a renewal that failed is tried again.
const RETRY: Duration = Duration::from_secs(60);
/// The longest sleep until a renewal: clocks are set, and machines are suspended.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);
/// Which part of a certificate's life passes before it is renewed: four fifths, within upstream's 70 to 90 %.
const RENEW_AFTER: (i64, i64) = (4, 5);

/// One certificate that a node has: what it says, who signs it, where it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    file: PathBuf,
    profile: Profile,
    signer: &'static str,
    usage: &'static str,
}

impl Credential {
    /// As what the node agent comes to the API server.
    pub(crate) fn node(pki: &std::path::Path, node: &str) -> Self {
        let profile = Profile::client(&format!("system:node:{node}"), Some("system:nodes"));
        Self { file: pki.join("kubelet-client.pem"), profile, signer: SIGNER_KUBELET, usage: "client auth" }
    }

    /// As what the service proxy comes to the API server.
    pub(crate) fn proxy(pki: &std::path::Path) -> Self {
        let profile = Profile::client(PROXY_USER, None);
        Self { file: pki.join("kube-proxy-client.pem"), profile, signer: SIGNER_CLIENT, usage: "client auth" }
    }

    /// With what the node agent serves.
    pub(crate) fn serving(pki: &std::path::Path, node: &str, address: Ipv4Addr) -> Self {
        let hosts = vec![auth::pki::Host::Name(node.to_owned()), auth::pki::Host::Ip(address.into())];
        let organization = Some("system:nodes".to_owned());
        let profile = Profile { organization, ..Profile::server(&format!("system:node:{node}"), hosts) };
        Self { file: pki.join("kubelet-serving.pem"), profile, signer: SIGNER_SERVING, usage: "server auth" }
    }

    /// Certificate and key as kept, if the certificate is still good; a word on it where it isn't.
    pub(crate) fn kept(&self) -> Result<Option<String>> {
        let pem = match std::fs::read_to_string(&self.file) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("cannot read {}", self.file.display()))?,
        };
        let (_, end) = auth::pki::validity(&pem).with_context(|| {
            format!("{} is damaged; remove it, and join again with a new token", self.file.display())
        })?;
        Ok((end.as_second() > Timestamp::now().as_second()).then_some(pem))
    }

    /// Keeps a certificate with its key.
    pub(crate) fn keep(&self, pem: &str) -> Result<()> {
        write_atomically(&self.file, pem.as_bytes(), 0o600)
            .with_context(|| format!("cannot write {}", self.file.display()))
    }

    /// What is kept, or else a new one, asked for by `client`.
    pub(crate) async fn ensure(&self, client: &Client) -> Result<String> {
        if let Some(pem) = self.kept()? {
            return Ok(pem);
        }
        self.obtain(client).await
    }

    /// Asks for a certificate, waits until it is there, and keeps it.
    async fn obtain(&self, client: &Client) -> Result<String> {
        let (key, request) = auth::pki::request(&self.profile).context("cannot make a key")?;
        let csr = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
            "metadata": {"generateName": "node-csr-"},
            "spec": {"request": request, "signerName": self.signer, "usages": ["digital signature", self.usage]}});
        let csr: CertificateSigningRequest = serde_json::from_value(csr)?;
        let requests = Api::<CertificateSigningRequest>::all(client);
        let made = requests.create(&csr).await?;
        let cert = self.answer(&requests, made.name()).await?;
        let pem = format!("{cert}{key}");
        self.keep(&pem)?;
        Ok(pem)
    }

    async fn answer(&self, requests: &Api<CertificateSigningRequest>, name: &str) -> Result<String> {
        let (start, mut pause, mut told) = (Instant::now(), PAUSES.0, false);
        loop {
            let csr = requests.get(name).await?;
            let status = csr.status.unwrap_or_default();
            if let Some(cert) = status.certificate.filter(|c| !c.0.is_empty()) {
                return String::from_utf8(cert.0).context("the certificate is no text");
            }
            if let Some(c) = status.conditions.iter().flatten().find(|c| c.type_ != "Approved") {
                let why = c.message.clone().unwrap_or_default();
                bail!("the certificate for {} was refused ({}): {why}", self.profile.common_name, c.type_);
            }
            if start.elapsed() > SLOW && !told {
                told = true;
                tracing::warn!(
                    "waiting for a certificate; approve it with `kubectl certificate approve {name}`"
                );
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Renews the certificate in time, for ever. `current` is what is used now, `renewed` takes its successors.
    pub(crate) async fn renew(self, mut current: String, client: Client, renewed: impl Fn(&str)) {
        loop {
            let due = auth::pki::validity(&current)
                .map_or(0, |(from, to)| due(from.as_second(), to.as_second()) - Timestamp::now().as_second());
            if let Some(left) = u64::try_from(due).ok().filter(|left| *left > 0) {
                tokio::time::sleep(Duration::from_secs(left).min(LONGEST_SLEEP)).await;
                continue;
            }
            match self.obtain(&client).await {
                Ok(pem) => {
                    renewed(&pem);
                    current = pem;
                }
                Err(e) => {
                    tracing::warn!("the certificate in {} is not renewed yet: {e:#}", self.file.display());
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}

/// When a certificate that is good from `from` to `to` is renewed, in seconds since the Unix epoch.
fn due(from: i64, to: i64) -> i64 {
    from + (to - from) / RENEW_AFTER.1 * RENEW_AFTER.0
}

/// A transport whose certificate is renewed while it is used.
pub(crate) struct Renewable {
    base: Config,
    current: RwLock<Arc<HttpTransport>>,
}

impl Renewable {
    /// To the server of `base`, with the certificate and key in `pem`.
    pub(crate) fn new(base: Config, pem: &str) -> Result<Arc<Self>> {
        let current = RwLock::new(transport(&base, pem)?);
        Ok(Arc::new(Self { base, current }))
    }

    /// Goes on with another certificate. Calls under way end as they began.
    pub(crate) fn replace(&self, pem: &str) {
        match transport(&self.base, pem) {
            Ok(new) => *self.current.write().unwrap_or_else(PoisonError::into_inner) = new,
            Err(e) => tracing::error!("the renewed certificate is not used: {e:#}"),
        }
    }
}

fn transport(base: &Config, pem: &str) -> Result<Arc<HttpTransport>> {
    let bytes = pem.as_bytes().to_vec();
    let config = Config { cert_pem: bytes.clone(), key_pem: bytes, ..base.clone() };
    HttpTransport::new(&config).map(Arc::new).map_err(|e| anyhow::anyhow!("{e}"))
}

impl Transport for Renewable {
    fn call(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'static, Result<http::Response<Body>, TransportError>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        current.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_renewed_well_before_they_end() {
        assert_eq!(due(1_000, 2_000), 1_800);
        let tmp = tempfile::tempdir().unwrap();
        let credential = Credential::node(tmp.path(), "n1");
        assert!(credential.kept().unwrap().is_none());
        std::fs::write(tmp.path().join("kubelet-client.pem"), "none").unwrap();
        assert!(credential.kept().unwrap_err().to_string().contains("join again with a new token"));
    }
}
