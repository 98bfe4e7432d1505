//! Where a server on another machine is, and who we are to it: what a kubeconfig says.

use base64::Engine;
use serde_json::Value;

/// How to reach and to trust a server, and how to be known by it.
#[derive(Clone, Default)]
pub struct Config {
    /// `https://host:port`.
    pub server: String,
    /// PEM of the authorities that sign the server's certificate.
    pub ca_pem: Vec<u8>,
    /// PEM of our certificate; empty for none.
    pub cert_pem: Vec<u8>,
    /// PEM of its key.
    pub key_pem: Vec<u8>,
    /// Bearer token; empty for none.
    pub token: String,
    /// The name that the server's certificate must bear, where it is not the host.
    pub server_name: String,
}

impl Config {
    /// The current context of a kubeconfig with embedded data. Paths to files are the caller's to read in.
    pub fn from_kubeconfig(kubeconfig: &Value) -> Result<Self, String> {
        let current = kubeconfig["current-context"].as_str().unwrap_or_default();
        let context = named(kubeconfig, "contexts", current, "context")?;
        let cluster_name = context["cluster"].as_str().unwrap_or_default();
        let cluster = named(kubeconfig, "clusters", cluster_name, "cluster")?;
        let user_name = context["user"].as_str().unwrap_or_default();
        let user = named(kubeconfig, "users", user_name, "user")?;
        let text = |v: &Value, key: &str| v[key].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            server: text(cluster, "server"),
            ca_pem: data(cluster, "certificate-authority-data")?,
            cert_pem: data(user, "client-certificate-data")?,
            key_pem: data(user, "client-key-data")?,
            token: text(user, "token"),
            server_name: text(cluster, "tls-server-name"),
        })
    }
}

fn named<'a>(config: &'a Value, list: &str, name: &str, field: &str) -> Result<&'a Value, String> {
    let items = config[list].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = items.iter().find(|item| item["name"].as_str() == Some(name));
    found.map(|item| &item[field]).ok_or_else(|| format!("the kubeconfig has no entry {name:?} in {list}"))
}

fn data(section: &Value, key: &str) -> Result<Vec<u8>, String> {
    let Some(text) = section[key].as_str() else { return Ok(Vec::new()) };
    base64::engine::general_purpose::STANDARD.decode(text).map_err(|e| format!("{key} is not base64: {e}"))
}
