//! Objects that pods refer to, fetched when needed, and the services of which pods are told.

use client::cache::Cache;
use client::reflector::{Batch, Reflector};
use client::{Api, Client, Resource};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::node::v1::RuntimeClass;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Batches of services that may wait.
const QUEUE: usize = 16;
/// The age in seconds at which a token is replaced however long it lives.
const TOKEN_MAX_AGE: i64 = 24 * 3600;
/// How long a container's start waits for the first list of services.
const SYNC_LIMIT: Duration = Duration::from_secs(5);

/// Fetches objects with the node's identity.
pub(crate) struct Objects {
    client: Client,
    services: Arc<RwLock<Cache>>,
    synced: watch::Receiver<bool>,
    tokens: Mutex<HashMap<TokenKey, Token>>,
    /// Ends with this.
    _tasks: JoinSet<()>,
}

/// Pod, audience and seconds.
type TokenKey = (String, String, i64);

struct Token {
    text: String,
    issued: i64,
    expires: i64,
}

impl Token {
    /// Whether a new one is due: after four fifths of its life, or a day.
    fn is_stale(&self, now: i64) -> bool {
        let life = self.expires - self.issued;
        now >= self.issued + life - life / 5 || now >= self.issued + TOKEN_MAX_AGE
    }
}

impl Objects {
    /// Starts to watch services.
    pub(crate) fn start(client: Client) -> Self {
        let services = Arc::new(RwLock::new(Cache::default()));
        let (synced_tx, synced) = watch::channel(false);
        let (sink, mut batches) = mpsc::channel::<Batch>(QUEUE);
        let info = <Service as api::Kind>::INFO;
        let mut tasks = JoinSet::new();
        tasks.spawn(Reflector::all(&client, Resource::of::<Service>(), info.decode, 0).run(sink));
        let cache = services.clone();
        tasks.spawn(async move {
            while let Some(batch) = batches.recv().await {
                let mut cache = cache.write().unwrap_or_else(PoisonError::into_inner);
                for feed in batch.feeds {
                    cache.apply(feed);
                }
                let synced = cache.is_synced();
                synced_tx.send_if_modified(|s| !std::mem::replace(s, synced) && synced);
            }
        });
        Self { client, services, synced, tokens: Mutex::default(), _tasks: tasks }
    }

    /// The services that a pod of `namespace` may be told of.
    pub(crate) async fn services(&self, namespace: &str) -> Vec<Arc<Service>> {
        let mut synced = self.synced.clone();
        if !*synced.borrow_and_update() {
            let _ = tokio::time::timeout(SYNC_LIMIT, synced.wait_for(|s| *s)).await;
        }
        let cache = self.services.read().unwrap_or_else(PoisonError::into_inner);
        let mut out: Vec<Arc<Service>> =
            cache.in_namespace(namespace).filter_map(|(_, o)| api::downcast(o.clone())).collect();
        if namespace != "default" {
            let key = client::Key::new("default", "kubernetes");
            out.extend(cache.get(&key).and_then(|o| api::downcast(o.clone())));
        }
        out
    }

    /// A ConfigMap; none if it isn't there.
    pub(crate) async fn config_map(&self, ns: &str, name: &str) -> Result<Option<Arc<ConfigMap>>, String> {
        let found = Api::<ConfigMap>::namespaced(&self.client, ns).find(name).await;
        found.map(|o| o.map(Arc::new)).map_err(|e| e.to_string())
    }

    /// A Secret; none if it isn't there.
    pub(crate) async fn secret(&self, ns: &str, name: &str) -> Result<Option<Arc<Secret>>, String> {
        let found = Api::<Secret>::namespaced(&self.client, ns).find(name).await;
        found.map(|o| o.map(Arc::new)).map_err(|e| e.to_string())
    }

    /// The volume that a claim is bound to.
    pub(crate) async fn bound_volume(&self, ns: &str, claim: &str) -> Result<PersistentVolume, String> {
        let found = Api::<PersistentVolumeClaim>::namespaced(&self.client, ns).find(claim).await;
        let found = found.map_err(|e| e.to_string())?;
        let pvc = found.ok_or_else(|| format!("persistentvolumeclaim {claim:?} not found"))?;
        let bound = pvc.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
        let name = pvc.spec.and_then(|s| s.volume_name).filter(|n| !n.is_empty());
        let Some(name) = name.filter(|_| bound) else { return Err(format!("PVC {ns}/{claim} is not bound")) };
        Api::<PersistentVolume>::all(&self.client).get(&name).await.map_err(|e| e.to_string())
    }

    /// The runtime handler of a pod's RuntimeClass; empty for the default.
    pub(crate) async fn runtime_handler(&self, pod: &Pod) -> Result<String, String> {
        let name = pod.spec.as_ref().and_then(|s| s.runtime_class_name.as_deref()).unwrap_or_default();
        if name.is_empty() {
            return Ok(String::new());
        }
        let found = Api::<RuntimeClass>::all(&self.client).find(name).await.map_err(|e| e.to_string())?;
        found.map(|c| c.handler).ok_or_else(|| {
            format!(
                "failed to get sandbox runtime: no runtime for {name:?} is configured: RuntimeClass not found"
            )
        })
    }

    /// A token for a pod's service account that still lives for a while (`pkg/kubelet/token`).
    pub(crate) async fn fresh_token(
        &self,
        pod: &Pod,
        audience: Option<&str>,
        seconds: i64,
    ) -> Result<String, String> {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let key = (uid, audience.unwrap_or_default().to_owned(), seconds);
        let now = super::context::now().as_second();
        let lock = || self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(t) = lock().get(&key).filter(|t| !t.is_stale(now)) {
            return Ok(t.text.clone());
        }
        match self.token(pod, audience, seconds).await {
            Ok((text, expires)) => {
                lock().insert(key, Token { text: text.clone(), issued: now, expires });
                Ok(text)
            }
            // The old one serves as long as it lives.
            Err(e) => lock().get(&key).filter(|t| t.expires > now).map(|t| t.text.clone()).ok_or(e),
        }
    }

    /// Forgets the tokens of a pod.
    pub(crate) fn forget_tokens(&self, uid: &str) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).retain(|k, _| k.0 != uid);
    }

    /// A token and when it expires, in seconds since the epoch.
    async fn token(&self, pod: &Pod, audience: Option<&str>, seconds: i64) -> Result<(String, i64), String> {
        let account = pod.spec.as_ref().and_then(|s| s.service_account_name.as_deref()).unwrap_or("default");
        let ns = pod.metadata.namespace.as_deref().unwrap_or_default();
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: audience.map(|a| vec![a.to_owned()]),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: pod.metadata.name.clone(),
                    uid: pod.metadata.uid.clone(),
                }),
                expiration_seconds: Some(seconds),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let body = serde_json::to_vec(&request).map_err(|e| e.to_string())?;
        let r = Resource::of::<k8s_openapi::api::core::v1::ServiceAccount>();
        let call = client::Call::create_sub(&r, ns, account, "token", body);
        let answer = self.client.send(call).await.map_err(|e| format!("failed to fetch token: {e}"))?;
        let answer: TokenRequest = serde_json::from_slice(&answer).map_err(|e| e.to_string())?;
        let status = answer.status.ok_or("failed to fetch token: the answer has no status")?;
        let expires = status.expiration_timestamp.ok_or("failed to fetch token: the answer has no expiry")?;
        Ok((status.token.unwrap_or_default(), expires.0.as_second()))
    }
}
