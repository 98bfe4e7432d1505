//! How a machine becomes a node: it makes sure of the server, shows the token, and gets a certificate of its own.

use super::credentials::Credential;
use super::token::JoinToken;
use super::{Membership, discovery};
use crate::cli::Agent;
use crate::data_dir::{DataDir, write_atomically};
use crate::progress::tell;
use crate::settings::host_name;
use crate::up::is_ready;
use anyhow::{Context, Result, bail};
use api::core::v1::Node;
use client::config::Config;
use client::http_transport::HttpTransport;
use client::{Api, Client, Error};
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the cluster's authority is kept.
pub(super) fn authority_file(dir: &DataDir) -> PathBuf {
    dir.pki().join("ca.crt")
}

/// The membership of this folder: as it was made, or made now.
pub(super) async fn membership(dir: &DataDir, flags: &Agent) -> Result<Membership> {
    if let Some(mut member) = Membership::load(dir)?
        && Credential::node(&dir.pki(), &member.node_name).kept()?.is_some()
    {
        if let Some(name) = flags.node_name.as_ref().filter(|n| **n != member.node_name) {
            bail!(
                "this folder is the node {}, and not {name}: take another --data-dir, or purge this one first",
                member.node_name
            );
        }
        if let Some(server) = flags.server.as_ref().filter(|s| **s != member.server) {
            member.server.clone_from(server);
            member.save(dir)?;
        }
        return Ok(member);
    }
    let bootstrap = match (&flags.kubeconfig, &flags.server, &flags.token) {
        (Some(file), None, None) => from_kubeconfig(file)?,
        (None, Some(server), Some(token)) => from_token(server, token).await?,
        _ => bail!(
            "to join, a node needs --server and --token, or --kubeconfig: type the line that `ironclad token` prints on the server"
        ),
    };
    join(dir, flags, bootstrap).await
}

async fn from_token(server: &str, token: &str) -> Result<Config> {
    let token = JoinToken::parse(token)?;
    let server = server.trim_end_matches('/').to_owned();
    let ca = discovery::authority(&server, &token.authority).await?;
    Ok(Config { server, ca_pem: ca.into_bytes(), token: token.bearer, ..Config::default() })
}

fn from_kubeconfig(file: &Path) -> Result<Config> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the kubeconfig {}", file.display()))?;
    let value = meta::yaml::decode(&text).map_err(|e| anyhow::anyhow!("{e}"));
    let value = value.with_context(|| format!("{} is neither YAML nor JSON", file.display()))?.value;
    let config = Config::from_kubeconfig(&value).map_err(|e| anyhow::anyhow!("{}: {e}", file.display()))?;
    if config.ca_pem.is_empty() || (config.token.is_empty() && config.cert_pem.is_empty()) {
        bail!(
            "{} must hold certificate-authority-data, and a token or client-certificate-data and client-key-data",
            file.display()
        );
    }
    Ok(config)
}

async fn join(dir: &DataDir, flags: &Agent, bootstrap: Config) -> Result<Membership> {
    let cert = String::from_utf8_lossy(&bootstrap.cert_pem).into_owned();
    // Credentials that are a node's already are taken as they are.
    let subject = auth::pki::subject(&cert).filter(|(_, groups)| groups.iter().any(|g| g == "system:nodes"));
    let own = subject.and_then(|(name, _)| name.strip_prefix("system:node:").map(str::to_owned));
    let name = flags.node_name.clone().or_else(|| own.clone()).unwrap_or_else(host_name);
    let pki = dir.pki();
    std::fs::create_dir_all(&pki).with_context(|| format!("cannot make {}", pki.display()))?;
    let authority = authority_file(dir);
    write_atomically(&authority, &bootstrap.ca_pem, 0o600)
        .with_context(|| format!("cannot write {}", authority.display()))?;
    let credential = Credential::node(&pki, &name);
    if own.as_ref() == Some(&name) {
        credential.keep(&format!("{cert}\n{}", String::from_utf8_lossy(&bootstrap.key_pem)))?;
    } else {
        let transport = HttpTransport::new(&bootstrap).map_err(|e| anyhow::anyhow!("{e}"))?;
        let client = Client::new(Arc::new(transport), "ironclad-agent");
        let server = &bootstrap.server;
        is_free(&client, server, &name).await?;
        tell(&format!("joining the cluster at {server} as {name}"));
        credential.ensure(&client).await.map_err(|e| match e.downcast::<Error>() {
            Ok(e) => refused(server, &e),
            Err(e) => e,
        })?;
    }
    let member = Membership { server: bootstrap.server, node_name: name, cluster: None };
    member.save(dir)?;
    Ok(member)
}

/// Fails if another node has this name and is alive (as kubeadm does).
async fn is_free(client: &Client, server: &str, name: &str) -> Result<()> {
    match Api::<Node>::all(client).find(name).await {
        Ok(Some(node)) if is_ready(&node) => bail!(
            "a node called {name} is in the cluster already, and Ready: choose another name with --node-name, or remove that one with `kubectl delete node {name}`"
        ),
        Ok(_) => Ok(()),
        Err(e) => Err(refused(server, &e)),
    }
}

/// One sentence for what the server said to a newcomer.
fn refused(server: &str, error: &Error) -> anyhow::Error {
    match error {
        Error::Api(status) if status.code == 401 => anyhow::anyhow!(
            "the server at {server} does not take the token: it is wrong or has expired; make another with `ironclad token` on the server"
        ),
        Error::Transport(e) => anyhow::anyhow!(discovery::unreachable(server, e)),
        other => anyhow::anyhow!("the server at {server} does not let this node join: {other}"),
    }
}

/// The address by which others reach this machine: the one from which it reaches the server.
pub(super) fn own_address(server: &str) -> Result<Ipv4Addr> {
    let uri: hyper::http::Uri = server.parse().with_context(|| format!("{server} is no address"))?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let found = (host.as_str(), uri.port_u16().unwrap_or(443)).to_socket_addrs();
    let addresses: Vec<IpAddr> =
        found.with_context(|| format!("cannot find {host}"))?.map(|a| a.ip()).collect();
    addresses
        .into_iter()
        .find_map(crate::machine::towards)
        .or_else(crate::machine::main_address)
        .context("this machine has no IPv4 address by which others reach it; name one with --node-ip")
}
