//! Who is given what: the control plane of one cluster, put together.

use crate::data_dir::DataDir;
use crate::node::Door;
use crate::settings::{Cluster, Settings};
use crate::signer::Signer;
use anyhow::{Context, Result};
use apiserver::clock::{RandomUids, SystemClock};
use apiserver::{ApiServer, Headers};
use auth::pki::{Names, Pki};
use auth::{Authenticator, Authorizer, Issuer};
use client::Client;
use meta::{Time, UserInfo};
use network::address::Ranges;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use store::{Embedded, Limits, Store};

/// The cluster's domain.
pub(crate) const DOMAIN: &str = "cluster.local";
/// Who issues service-account tokens, as every cluster without a public name has it.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// Ports of services of type NodePort.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30000..=32767;

/// The control plane before it listens.
pub(crate) struct ControlPlane {
    pub(crate) server: Arc<ApiServer>,
    pub(crate) pki: Arc<Pki>,
    pub(crate) tls: Arc<rustls::ServerConfig>,
}

/// The names and addresses under which the API is reached.
pub(crate) fn names(cluster: &Cluster, host: &str) -> Result<Names> {
    let ranges = cluster.address_ranges()?;
    let mut listen = vec![cluster.listen.ip(), IpAddr::V4(ranges.host()), IpAddr::V4(cluster.machine())];
    if cluster.listen.ip().is_unspecified() {
        let own = crate::machine::addresses();
        listen.extend(own.into_iter().filter(|a| !Ranges::is_of_clusters(*a)).map(IpAddr::V4));
    }
    let service = vec![IpAddr::V4(ranges.api())];
    Ok(Names { hostname: host.into(), listen, service, cluster_domain: DOMAIN.into(), extra: Vec::new() })
}

/// Builds the control plane over what the data directory holds.
pub(crate) fn build(settings: &Settings, cluster: &Cluster) -> Result<ControlPlane> {
    let dir = &settings.data_dir;
    let ranges = cluster.address_ranges()?;
    let now = Time::new(jiff::Timestamp::now());
    let pki = auth::pki::ensure(&dir.pki(), &names(cluster, &settings.node_name)?, now)
        .with_context(|| format!("cannot make the cluster's certificates in {}", dir.pki().display()))?;
    let tls = Arc::new(auth::pki::server_config(&pki.serving, &pki.ca.cert)?);
    let issuer = Issuer::new(ISSUER, pki.signing_key(ring::rand::SystemRandom::new())?);
    let server = ApiServer::new(apiserver::Config {
        store: open_store(dir)?,
        kinds: registry::kinds().to_vec(),
        authenticator: Authenticator::new(Arc::new(issuer)),
        authorizer: Authorizer::new(),
        admission: admission::default_chain(),
        clock: Arc::new(SystemClock),
        uids: Arc::new(RandomUids::default()),
        service_cidr: ranges.service_network(),
        node_ports: NODE_PORTS,
        advertise: cluster.advertise(settings.node)?,
        kubelet_tls: Some(Arc::new(auth::pki::client_config(&pki.ca.cert, Some(&pki.kubelet_client))?)),
        client_ca: pki.ca.cert.clone(),
    })
    .map_err(|e| anyhow::anyhow!("the API server could not start: {e}"))?;
    Ok(ControlPlane { server, pki: Arc::new(pki), tls })
}

fn open_store(dir: &DataDir) -> Result<Store> {
    let path = dir.store();
    Store::open(Box::new(Embedded::new(&path)), Headers::shared(), Limits::default())
        .with_context(|| format!("cannot open the store in {}", path.display()))
}

impl ControlPlane {
    /// A client with an identity of its own, in process.
    pub(crate) fn client(&self, user: &str, groups: &[&str], agent: &str) -> Client {
        let groups = [groups, &["system:authenticated"]].concat();
        Client::new(self.server.transport(UserInfo::new(user, &groups)), agent)
    }

    /// A controller's client: its own service account, as upstream's roles expect.
    pub(crate) fn controller(&self, name: &str) -> Client {
        let user = format!("system:serviceaccount:kube-system:{name}");
        let groups = ["system:serviceaccounts", "system:serviceaccounts:kube-system"];
        self.client(&user, &groups, "kube-controller-manager")
    }

    /// The way in for the node that is in the server's own process.
    pub(crate) fn door(&self, node: &str, address: Ipv4Addr) -> Result<Door> {
        let hosts = [Ipv4Addr::LOCALHOST, address].map(|ip| auth::pki::Host::Ip(IpAddr::V4(ip)));
        let serving = self.pki.node_serving(node, hosts.to_vec(), Time::new(jiff::Timestamp::now()))?;
        let tls = kubelet::ServerTls {
            cert_pem: serving.cert,
            key_pem: serving.key,
            client_ca_pem: self.pki.ca.cert.clone(),
        };
        Ok(Door {
            node: self.client(&format!("system:node:{node}"), &["system:nodes"], "kubelet"),
            proxy: self.client("system:kube-proxy", &[], "kube-proxy"),
            serving: tls.constant(),
        })
    }

    /// Starts the controllers and the scheduler. They run until the process ends.
    pub(crate) fn start_deciders(&self, settings: &Settings, cluster: &Cluster) -> Result<()> {
        let ranges = cluster.address_ranges()?;
        let config = controllers::Config {
            started: jiff::Timestamp::now(),
            root_ca_pem: self.pki.ca.cert.clone(),
            cluster_cidr: ranges.pods(),
            kept_cidr: format!("{}/32", ranges.host()),
            // Nodes say for themselves; that there is one here is known before it does.
            volumes_dir: match settings.node {
                true => settings.data_dir.volumes().to_string_lossy().into_owned(),
                false => String::new(),
            },
        };
        let decoded = Arc::default();
        let manager = self.client("system:kube-controller-manager", &[], "kube-controller-manager");
        let manager = manager.sharing(&decoded);
        let runner = reconcile::Runner::new(controllers::all(&config), manager, reconcile::system_clock())
            .identities(|name| self.controller(name));
        tokio::spawn(runner.run(std::future::pending()));
        let client = self.client("system:kube-scheduler", &[], "kube-scheduler").sharing(&decoded);
        tokio::spawn(scheduler::shell::run(client, reconcile::system_clock()));
        let signer = Signer {
            upstream: self.controller("certificate-controller"),
            ours: self.controller("ironclad-node-certificates"),
            authority: self.pki.ca.clone(),
        };
        tokio::spawn(signer.run());
        let own = self.client("system:apiserver", &["system:masters"], "ironclad");
        tokio::spawn(crate::publish::run(own, ranges));
        Ok(())
    }
}
