//! The cluster's own certificate authority, and what it signs. Files as kubeadm lays them
//! (`/etc/kubernetes/pki`), so that upstream's tools find what they look for.

mod files;
mod issue;
mod request;
mod tls;

pub(crate) use files::{read as read_file, write_for_owner as write_file_for_owner};
pub use issue::{Host, Profile};
pub use request::{Asked, Terms, base64, fingerprint, request, serves, sign, subject, to_pem, validity};
pub use tls::{client_config, server_config};

use crate::token::SigningKey;
use meta::Time;
use ring::rand::SystemRandom;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// What went wrong with keys or certificates.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file couldn't be read or written.
    #[error("failed to {what} {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file holds something else than it should. Deleting it makes the next start write it anew; for the CA
    /// that means that every kubeconfig must be written anew too.
    #[error("{0} is damaged: remove it, and start again")]
    Damaged(&'static str),
    /// A certificate couldn't be made.
    #[error("failed to make a certificate: {0}")]
    Issue(#[from] rcgen::Error),
    /// The TLS library refused a certificate or key.
    #[error("failed to set up TLS: {0}")]
    Tls(String),
    /// The signing key is of another kind.
    #[error(transparent)]
    Key(#[from] crate::token::KeyError),
}

/// A certificate and its key, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate.
    pub cert: String,
    /// The private key, PKCS #8.
    pub key: String,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("cert", &self.cert).finish_non_exhaustive()
    }
}

impl Pair {
    /// The certificate in DER.
    pub fn cert_der(&self) -> Option<CertificateDer<'static>> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).ok()
    }

    /// The key in DER.
    pub fn key_der(&self) -> Option<PrivateKeyDer<'static>> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).ok()
    }
}

/// The addresses and names under which the API server is reached.
#[derive(Clone, Debug)]
pub struct Names {
    /// Name of the machine.
    pub hostname: String,
    /// Addresses that the server listens on; loopback is always there.
    pub listen: Vec<IpAddr>,
    /// Cluster IP of the Service `kubernetes`.
    pub service: Vec<IpAddr>,
    /// Domain of the cluster, `cluster.local`.
    pub cluster_domain: String,
    /// Whatever else the user wants in the certificate.
    pub extra: Vec<Host>,
}

impl Names {
    fn hosts(&self) -> Vec<Host> {
        let service = "kubernetes.default";
        let names = [
            "localhost".to_owned(),
            "kubernetes".to_owned(),
            service.to_owned(),
            format!("{service}.svc"),
            format!("{service}.svc.{}", self.cluster_domain),
            self.hostname.clone(),
        ];
        let mut hosts: Vec<Host> = names.into_iter().filter(|n| !n.is_empty()).map(Host::Name).collect();
        let loopback = [IpAddr::from([127, 0, 0, 1]), std::net::Ipv6Addr::LOCALHOST.into()];
        let ips = loopback.iter().chain(&self.listen).chain(&self.service).filter(|ip| !ip.is_unspecified());
        hosts.extend(ips.map(|ip| Host::Ip(*ip)));
        hosts.extend(self.extra.iter().cloned());
        hosts.sort();
        hosts.dedup();
        hosts
    }
}

/// The cluster's keys and certificates.
#[derive(Debug)]
pub struct Pki {
    dir: PathBuf,
    /// `ca.crt`, `ca.key`.
    pub ca: Pair,
    /// The API server's serving certificate.
    pub serving: Pair,
    /// `O=system:masters, CN=kubernetes-admin`: for the kubeconfig.
    pub admin: Pair,
    /// With which the API server calls node agents: `CN=kube-apiserver-kubelet-client, O=system:masters`.
    pub kubelet_client: Pair,
    /// Signs service-account tokens (PKCS #8, PEM).
    sa_key: String,
}

/// Makes sure that everything is in `dir`, whole and good for at least 30 days more; makes what isn't.
/// Doing it twice changes nothing.
pub fn ensure(dir: &Path, names: &Names, now: Time) -> Result<Pki, PkiError> {
    files::make_dir(dir)?;
    let ca = ensure_ca(dir, now)?;
    let masters = Some(crate::authorize::SYSTEM_MASTERS);
    let leaf = |stem: &str, profile: Profile| ensure_leaf(dir, &ca, stem, &profile, now);
    Ok(Pki {
        serving: leaf("apiserver", Profile::server("kube-apiserver", names.hosts()))?,
        admin: leaf("admin", Profile::client("kubernetes-admin", masters))?,
        kubelet_client: leaf(
            "apiserver-kubelet-client",
            Profile::client("kube-apiserver-kubelet-client", masters),
        )?,
        sa_key: ensure_signing_key(dir)?,
        dir: dir.to_owned(),
        ca,
    })
}

impl Pki {
    /// A certificate of the cluster's CA, kept as `<stem>.crt` and `<stem>.key` and renewed like the others.
    pub fn issue(&self, stem: &str, profile: &Profile, now: Time) -> Result<Pair, PkiError> {
        ensure_leaf(&self.dir, &self.ca, stem, profile, now)
    }

    /// The client certificate of a control-plane component: `system:kube-scheduler`.
    pub fn component(&self, component: &str, now: Time) -> Result<Pair, PkiError> {
        self.issue(component, &Profile::client(&format!("system:{component}"), None), now)
    }

    /// The client certificate of a node's agent: `O=system:nodes, CN=system:node:<name>`.
    pub fn node_client(&self, node: &str, now: Time) -> Result<Pair, PkiError> {
        let profile = Profile::client(&format!("system:node:{node}"), Some("system:nodes"));
        self.issue(&format!("node-{node}-client"), &profile, now)
    }

    /// The serving certificate of a node's agent (logs, exec).
    pub fn node_serving(&self, node: &str, mut hosts: Vec<Host>, now: Time) -> Result<Pair, PkiError> {
        hosts.push(Host::Name(node.to_owned()));
        let profile = Profile::server(&format!("system:node:{node}"), hosts);
        self.issue(&format!("node-{node}-serving"), &profile, now)
    }

    /// The key that signs service-account tokens.
    pub fn signing_key(&self, rng: SystemRandom) -> Result<SigningKey, PkiError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(self.sa_key.as_bytes());
        let der = der.map_err(|_| PkiError::Damaged("sa.key"))?;
        Ok(SigningKey::from_pkcs8(der.secret_pkcs8_der(), rng)?)
    }
}

fn pair_paths(dir: &Path, stem: &str) -> (PathBuf, PathBuf) {
    (dir.join(format!("{stem}.crt")), dir.join(format!("{stem}.key")))
}

fn read_pair(dir: &Path, stem: &str) -> Result<Option<Pair>, PkiError> {
    let (cert, key) = pair_paths(dir, stem);
    Ok(files::read(&cert)?.zip(files::read(&key)?).map(|(cert, key)| Pair { cert, key }))
}

/// The key goes first: a certificate without its key is noticed and made anew.
fn write_pair(dir: &Path, stem: &str, pair: &Pair) -> Result<(), PkiError> {
    let (cert, key) = pair_paths(dir, stem);
    files::write(&key, &pair.key)?;
    files::write(&cert, &pair.cert)
}

fn ensure_ca(dir: &Path, now: Time) -> Result<Pair, PkiError> {
    let name = "kubernetes";
    let pair = match read_pair(dir, "ca")? {
        Some(pair) if issue::ca_still_serves(&pair, now)? => return Ok(pair),
        // The same key and name: what the CA signed stays good.
        Some(old) => issue::ca(&issue::common_name(&old).unwrap_or(name.into()), Some(&old.key), now)?,
        None => issue::ca(name, None, now)?,
    };
    write_pair(dir, "ca", &pair)?;
    Ok(pair)
}

fn ensure_leaf(dir: &Path, ca: &Pair, stem: &str, profile: &Profile, now: Time) -> Result<Pair, PkiError> {
    if let Some(pair) = read_pair(dir, stem)?.filter(|p| issue::still_serves(p, ca, profile, now)) {
        return Ok(pair);
    }
    let pair = issue::leaf(ca, profile, now)?;
    write_pair(dir, stem, &pair)?;
    Ok(pair)
}

fn ensure_signing_key(dir: &Path) -> Result<String, PkiError> {
    let path = dir.join("sa.key");
    if let Some(key) = files::read(&path)? {
        return Ok(key);
    }
    let (private, public) = issue::signing_key()?;
    files::write(&dir.join("sa.pub"), &public)?;
    files::write(&path, &private)?;
    Ok(private)
}

#[cfg(test)]
mod tests;
