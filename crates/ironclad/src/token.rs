//! `ironclad token`: prints the line by which another machine joins.

use crate::agent::token::JoinToken;
use crate::cli::Token;
use crate::data_dir::DataDir;
use crate::progress::print;
use crate::settings::Cluster;
use anyhow::{Context, Result, bail};
use api::MetaExt;
use api::core::v1::Secret;
use auth::pki::Pki;
use client::config::Config;
use client::http_transport::HttpTransport;
use client::{Api, Client, DeleteOptions, ListOptions, Resource};
use jiff::{SignedDuration, Timestamp};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;
use std::sync::Arc;

/// Where bootstrap tokens are kept.
const NAMESPACE: &str = "kube-system";
/// Their type.
const KIND: &str = "bootstrap.kubernetes.io/token";
/// Of what tokens are made.
const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
/// Lengths of a token's public and secret part.
const LENGTHS: (usize, usize) = (6, 16);
/// The group of those who may ask to be nodes, as kubeadm has it.
const GROUP: &str = "system:bootstrappers:kubeadm:default-node-token";

/// Makes a token, and prints the line.
pub(crate) fn run(flags: Token) -> Result<()> {
    let dir = DataDir::new(flags.cluster.data_dir)?;
    let Some(cluster) = Cluster::load(&dir)? else {
        bail!(
            "there is no server in {}; start one with `ironclad up` or `ironclad server`",
            dir.root().display()
        );
    };
    let ttl = stdx::duration::parse(&flags.ttl).ok().filter(|t| *t >= 0);
    let ttl =
        ttl.with_context(|| format!("--ttl {} is not a time such as 24h, 30m, or 0 for ever", flags.ttl))?;
    let names = crate::wiring::names(&cluster, "")?;
    let pki = auth::pki::ensure(&dir.pki(), &names, meta::Time::new(Timestamp::now()))?;
    let authority = pki.ca.cert_der().and_then(|der| auth::pki::fingerprint(&der));
    let authority = authority.context("the cluster's authority is damaged")?;
    let (id, secret) = (word(LENGTHS.0)?, word(LENGTHS.1)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(create(&cluster, &pki, (&id, &secret), ttl))?;
    if cluster.machine().is_loopback() {
        eprintln!(
            "ironclad: the API listens on {} only, which no other machine reaches; for those, start the server with --listen 0.0.0.0:{}",
            cluster.listen.ip(),
            cluster.listen.port()
        );
    }
    let token = JoinToken { authority, bearer: format!("{id}.{secret}") };
    print(&format!("ironclad agent --server {} --token {token}\n", cluster.public_url()))
}

/// Letters and digits that nobody can guess.
fn word(length: usize) -> Result<String> {
    let random = SystemRandom::new();
    let mut word = String::new();
    while word.len() < length {
        let mut byte = [0];
        random.fill(&mut byte).map_err(|_| anyhow::anyhow!("the machine gives no random numbers"))?;
        // Values past the last whole round of letters would favour the first ones.
        let at = usize::from(byte[0]);
        if at < 256 / LETTERS.len() * LETTERS.len() {
            word.push(char::from(LETTERS[at % LETTERS.len()]));
        }
    }
    Ok(word)
}

async fn create(cluster: &Cluster, pki: &Pki, (id, secret): (&str, &str), ttl: i64) -> Result<()> {
    let config = Config {
        server: cluster.server_url(),
        ca_pem: pki.ca.cert.clone().into_bytes(),
        cert_pem: pki.admin.cert.clone().into_bytes(),
        key_pem: pki.admin.key.clone().into_bytes(),
        ..Config::default()
    };
    let transport = HttpTransport::new(&config).map_err(|e| anyhow::anyhow!("{e}"))?;
    let client = Client::new(Arc::new(transport), "ironclad-token");
    let mut data = json!({"token-id": id, "token-secret": secret, "auth-extra-groups": GROUP,
        "usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true",
        "description": "made by `ironclad token`"});
    if ttl > 0 {
        let end = meta::Time::new(Timestamp::now() + SignedDuration::from_nanos(ttl));
        data["expiration"] = end.to_string().into();
    }
    let object = json!({"apiVersion": "v1", "kind": "Secret", "type": KIND,
        "metadata": {"name": format!("bootstrap-token-{id}"), "namespace": NAMESPACE}, "stringData": data});
    let made = client.create(&Resource::of::<Secret>(), NAMESPACE, object.to_string()).await;
    if made.is_ok()
        && let Err(e) = remove_expired(&client).await
    {
        tracing::debug!("expired tokens stay: {e}");
    }
    made.map(drop).map_err(|e| match e {
        client::Error::Transport(e) => anyhow::anyhow!(
            "the server at {} does not answer ({e}); start it with `ironclad up` or `ironclad server`",
            config.server
        ),
        other => anyhow::anyhow!("the server does not take a new token: {other}"),
    })
}

/// Removes tokens whose time is over (`pkg/controller/bootstrap/tokencleaner`). Nobody takes them any more; here it is
/// done when the next one is made, so that no controller has to know every Secret.
async fn remove_expired(client: &Client) -> Result<(), client::Error> {
    let secrets = Api::<Secret>::namespaced(client, NAMESPACE);
    let options = ListOptions { fields: format!("type={KIND}"), ..ListOptions::default() };
    for secret in secrets.list(&options).await?.0 {
        if is_expired(&secret, Timestamp::now()) {
            secrets.delete(secret.name(), &DeleteOptions::of_uid(secret.uid())).await?;
        }
    }
    Ok(())
}

fn is_expired(secret: &Secret, now: Timestamp) -> bool {
    let text =
        secret.data.as_ref().and_then(|d| d.get("expiration")).map(|end| String::from_utf8_lossy(&end.0));
    let end = text.and_then(|t| t.parse::<Timestamp>().ok());
    secret.type_.as_deref() == Some(KIND) && end.is_some_and(|end| end <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_whose_time_is_over_are_known() {
        let secret = |kind: &str, end: &str| -> Secret {
            let end = auth::pki::base64(end);
            serde_json::from_value(
                json!({"metadata": {"name": "t"}, "type": kind, "data": {"expiration": end}}),
            )
            .unwrap()
        };
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        assert!(is_expired(&secret(KIND, "2025-12-31T23:59:59Z"), now));
        assert!(!is_expired(&secret(KIND, "2026-01-01T00:00:01Z"), now));
        assert!(!is_expired(&secret(KIND, "never"), now));
        assert!(!is_expired(&secret("Opaque", "2025-12-31T23:59:59Z"), now));
    }

    #[test]
    fn words_are_long_enough_and_differ() {
        let (a, b) = (word(LENGTHS.1).unwrap(), word(LENGTHS.1).unwrap());
        assert!(a.len() == 16 && a != b && a.bytes().all(|c| LETTERS.contains(&c)), "{a} {b}");
    }
}
