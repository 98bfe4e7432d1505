//! The server as a value: what it is built from, and the way of a request through it.

use crate::accept::Accepted;
use crate::catalog::{Catalog, Served};
use crate::clock::{Clock, Uids};
use crate::custom::Definitions;
use crate::feed::Fed;
use crate::flow::{Flow, Marks};
use crate::model::Model;
use crate::objects::{Decoded, Objects};
use crate::reply::Reply;
use crate::service::Allocator;
use crate::stage::Admitted;
use admission::Plugin;
use auth::{Authenticator, Authorizer};
use bytes::Bytes;
use meta::{Attributes, Object, Status, Time};
use registry::Kind;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use store::Store;

/// All that a server is built from.
pub struct Config {
    /// Where everything is stored. Nobody else may have it.
    pub store: Store,
    /// The built-in kinds, in the order of discovery.
    pub kinds: Vec<Arc<Kind>>,
    /// Who are they?
    pub authenticator: Authenticator,
    /// May they? Fed from the store by the server.
    pub authorizer: Authorizer,
    /// The admission plugins in their order.
    pub admission: Vec<Box<dyn Plugin>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// UIDs and endings of generated names.
    pub uids: Arc<dyn Uids>,
    /// Network and prefix length out of which services get their addresses.
    pub service_cidr: (Ipv4Addr, u8),
    /// Ports that services of type NodePort get.
    pub node_ports: RangeInclusive<u16>,
    /// Where pods reach the server: the endpoint of the service `kubernetes`.
    pub advertise: SocketAddr,
    /// How kubelets are spoken to: the server's client certificate and the CA of the kubelets' own. None: nodes can't be
    /// reached.
    pub kubelet_tls: Option<Arc<rustls::ClientConfig>>,
    /// PEM of the CA that signs client certificates.
    pub client_ca: String,
}

/// The API server. [`ApiServer::handle`] is its core; the shells are [`ApiServer::serve`](crate::serve) and
/// [`ApiServer::transport`](crate::transport).
pub struct ApiServer {
    pub(crate) store: Store,
    pub(crate) builtin: Vec<Served>,
    catalog: RwLock<Arc<Catalog>>,
    pub(crate) authenticator: Authenticator,
    fed: Fed,
    pub(crate) admission: Vec<Box<dyn Plugin>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) uids: Arc<dyn Uids>,
    pub(crate) flow: Flow,
    pub(crate) marks: OnceLock<Marks>,
    pub(crate) services: Allocator,
    pub(crate) advertise: SocketAddr,
    pub(crate) kubelet_tls: Option<Arc<rustls::ClientConfig>>,
    pub(crate) client_ca: String,
    pub(crate) metrics: crate::metrics::Metrics,
    decoded: Decoded,
    ticks: AtomicU64,
    pub(crate) definitions: Mutex<Definitions>,
    pub(crate) openapi: crate::openapi::Cache,
    pub(crate) runtime: crate::serve::Stop,
}

impl ApiServer {
    /// Builds the server over what the store holds, and writes the objects that every cluster has.
    pub fn new(config: Config) -> Result<Arc<Self>, Status> {
        let builtin: Vec<Served> = config
            .kinds
            .iter()
            .map(|kind| Served { kind: kind.clone(), model: Model::builtin(kind), custom: None })
            .collect();
        let catalog = Catalog::new(builtin.iter().cloned());
        let server = Arc::new(Self {
            services: Allocator::new(config.service_cidr, config.node_ports),
            store: config.store,
            builtin,
            catalog: RwLock::new(Arc::new(catalog)),
            authenticator: config.authenticator,
            fed: Fed::new(config.authorizer),
            admission: config.admission,
            clock: config.clock,
            uids: config.uids,
            flow: Flow::default(),
            marks: OnceLock::new(),
            advertise: config.advertise,
            kubelet_tls: config.kubelet_tls,
            client_ca: config.client_ca,
            metrics: crate::metrics::Metrics::default(),
            decoded: Decoded::default(),
            ticks: AtomicU64::new(1),
            definitions: Mutex::default(),
            openapi: crate::openapi::Cache::default(),
            runtime: crate::serve::Stop::default(),
        });
        server.services.load(&server.objects());
        server.bootstrap()?;
        server.load_custom();
        let _ = server.marks.set(Marks::read(&server.objects()));
        Ok(server)
    }

    /// What is served now.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_catalog(&self, catalog: Catalog) {
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalog);
        self.openapi.forget();
    }

    /// Read access for those who decide.
    pub(crate) fn objects(&self) -> Objects<'_> {
        Objects { store: &self.store, catalog: self.catalog(), decoded: &self.decoded }
    }

    /// The authorizer, as of the newest revision.
    pub(crate) fn authorizer(&self) -> &Authorizer {
        self.fed.get(&self.store)
    }

    /// The authorizer's answer, with what the requests of nodes are judged by brought up to date where it matters.
    pub(crate) fn authorize(&self, attributes: &Attributes) -> auth::Decision {
        if attributes.user.node_name().is_some() {
            self.fed.for_nodes(&self.store);
        }
        self.authorizer().authorize(attributes)
    }

    /// Now, in whole seconds.
    pub(crate) fn time(&self) -> Time {
        Time::new(self.clock.now())
    }

    /// Serves an admitted request. Nothing before this has side effects; this waits for nothing but commits.
    pub(crate) async fn serve_admitted(&self, admitted: &Admitted, body: Bytes) -> Reply {
        let request = &admitted.request;
        let accepted = match Accepted::negotiate(&request.headers, &request.info.query) {
            Ok(accepted) => accepted,
            Err(e) => {
                let packed = self.openapi_packed(request);
                return packed.unwrap_or_else(|| Reply::failure(&e, Accepted::JSON));
            }
        };
        let result = match request.info.is_resource {
            true => self.resource(request, accepted, body).await,
            false => self.non_resource(request, accepted),
        };
        let told = || std::mem::take(&mut *request.told.lock().unwrap_or_else(PoisonError::into_inner));
        result.unwrap_or_else(|e| match e.is_no_such_path() && self.is_nobodys(&request.info.path) {
            true => Reply::text(e.code, "404 page not found\n"),
            false => Reply::failure(&e, accepted).warn(&told()),
        })
    }

    /// Whether a path belongs to no built-in group. What upstream has no handler for at all is told by its bare HTTP
    /// library, and so is everything below the groups of custom kinds.
    fn is_nobodys(&self, path: &str) -> bool {
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        match (parts.next(), parts.next()) {
            (Some("api"), _) | (Some("apis"), None) => false,
            (Some("apis"), Some(group)) => !self.builtin.iter().any(|served| served.kind.group == group),
            _ => true,
        }
    }

    /// What has to be done now and then: events whose time is over go, and definitions that are being deleted lose their
    /// objects. The shells call it every second; the simulator when it likes.
    pub async fn tick(&self) {
        self.fed.for_nodes(&self.store);
        let now = self.clock.now().as_second();
        for entry in self.store.expired(now.unsigned_abs(), MAX_EXPIRED) {
            let (key, expect) = (entry.key.to_string(), store::Expect::Revision(entry.revision));
            // A conflict means that somebody wrote it: then its time isn't over.
            let _ = self.store.begin(store::Txn { key, expect, write: store::Write::Delete(None) }).await;
        }
        self.finish_custom().await;
        if self.ticks.fetch_add(1, Ordering::Relaxed).is_multiple_of(TICKS_TO_MAINTAIN) {
            self.maintain().await;
        }
    }
}

/// Objects whose time is over that one tick deletes.
const MAX_EXPIRED: usize = 500;
/// Ticks between two looks at the server's own objects (upstream: 10 seconds).
const TICKS_TO_MAINTAIN: u64 = 10;

/// What admission plugins see of the server.
pub(crate) struct ServerView<'a>(pub(crate) &'a ApiServer);

impl admission::View for ServerView<'_> {
    fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.0.objects().get(group, resource, namespace, name)
    }

    fn list(&self, group: &str, resource: &str, namespace: &str) -> Vec<Arc<Object>> {
        self.0.objects().list(group, resource, namespace)
    }

    fn authorize(&self, attributes: &Attributes) -> bool {
        self.0.authorize(attributes).is_allowed()
    }

    fn resource_for(&self, api_version: &str, kind: &str) -> Option<(String, bool)> {
        let catalog = self.0.catalog();
        let served = catalog.by_kind(api_version, kind)?;
        Some((served.kind.resource.to_string(), served.kind.namespaced))
    }
}
