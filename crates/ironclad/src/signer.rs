//! Approves and signs certificate requests with the cluster's authority, whose key is in this process alone. What is
//! approved and signed is decided by [`controllers::certificates`].

use api::Kind;
use api::MetaExt;
use api::certificates::v1::CertificateSigningRequest;
use api::core::v1::Node;
use auth::pki::{Asked, Pair, Terms};
use client::reflector::{Batch, Reflector};
use client::{Api, Cache, Call, Client, Error, Key, Resource};
use controllers::certificates::{self, AskedFor, Recognized, SIGNER_SERVING, Signing};
use jiff::Timestamp;
use meta::Time;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Batches of changes that wait.
const FEED_BUFFER: usize = 16;
/// How soon what failed, or what waits for its node, is looked at again.
const RETRY: Duration = Duration::from_secs(5);

/// Where the authorizer is asked.
const REVIEWS: Resource = Resource {
    group: Cow::Borrowed("authorization.k8s.io"),
    version: Cow::Borrowed("v1"),
    resource: Cow::Borrowed("subjectaccessreviews"),
    kind: Cow::Borrowed("SubjectAccessReview"),
    namespaced: false,
};

/// Who approves, who signs, and with what.
pub(crate) struct Signer {
    /// `certificate-controller`, as upstream: node agents as clients.
    pub(crate) upstream: Client,
    /// What upstream leaves to people: node agents as servers, and their proxies.
    pub(crate) ours: Client,
    pub(crate) authority: Pair,
}

impl Signer {
    /// Tends all requests for ever.
    pub(crate) async fn run(self) {
        let mut background = JoinSet::new();
        let (sink, mut batches) = mpsc::channel::<Batch>(FEED_BUFFER);
        let (resource, decode) =
            (Resource::of::<CertificateSigningRequest>(), CertificateSigningRequest::INFO.decode);
        background.spawn(Reflector::all(&self.upstream, resource, decode, 0).run(sink));
        let (mut cache, mut todo) = (Cache::default(), BTreeSet::<Key>::new());
        loop {
            tokio::select! {
                batch = batches.recv() => {
                    let Some(batch) = batch else { return };
                    let changes = batch.feeds.into_iter().flat_map(|feed| cache.apply(feed));
                    todo.extend(changes.filter_map(|c| c.new).map(|o| Key::of(&*o)));
                }
                () = tokio::time::sleep(RETRY), if !todo.is_empty() => {}
            }
            let mut again = BTreeSet::new();
            for key in std::mem::take(&mut todo) {
                let object = cache.get(&key).cloned();
                let Some(csr) = object.and_then(api::downcast::<CertificateSigningRequest>) else { continue };
                match self.tend(&csr).await {
                    Ok(true) => {}
                    Ok(false) => drop(again.insert(key)),
                    // Somebody changed it: the change brings us back here.
                    Err(e) if e.is_conflict() || e.is_not_found() => {}
                    Err(e) => {
                        tracing::warn!(request = csr.name(), "a certificate request is not answered: {e}");
                        again.insert(key);
                    }
                }
            }
            todo = again;
        }
    }

    /// Does what is to be done about one request. False: it is to be looked at again.
    async fn tend(&self, csr: &CertificateSigningRequest) -> Result<bool, Error> {
        let Ok(asked) = Asked::from_pem(&csr.spec.request.0) else { return Ok(true) };
        let wanted = plain(&asked);
        if !certificates::is_pending(csr) {
            return self.sign(csr, &asked, &wanted).await.map(|()| true);
        }
        let serving = csr.spec.signer_name == SIGNER_SERVING;
        let addresses = if serving { self.addresses(csr).await? } else { Vec::new() };
        for way in certificates::recognize(csr, &wanted, &addresses) {
            if self.allowed(csr, way).await? {
                let approved = self.approve(csr, way).await?;
                return self.sign(&approved, &asked, &wanted).await.map(|()| true);
            }
        }
        // Its node may not have told its addresses yet.
        Ok(!serving)
    }

    /// The addresses of the node that asks.
    async fn addresses(&self, csr: &CertificateSigningRequest) -> Result<Vec<String>, Error> {
        let user = csr.spec.username.as_deref().unwrap_or_default();
        let Some(name) = user.strip_prefix("system:node:").filter(|n| !n.is_empty()) else {
            return Ok(Vec::new());
        };
        let node = Api::<Node>::all(&self.ours).find(name).await?;
        let addresses = node.and_then(|n| n.status).and_then(|s| s.addresses).unwrap_or_default();
        Ok(addresses.into_iter().map(|a| a.address).collect())
    }

    /// Asks the authorizer whether who asked may have it.
    async fn allowed(&self, csr: &CertificateSigningRequest, way: Recognized) -> Result<bool, Error> {
        let spec = &csr.spec;
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
            "user": spec.username, "uid": spec.uid, "groups": spec.groups, "extra": spec.extra,
            "resourceAttributes": {"group": "certificates.k8s.io", "resource": "certificatesigningrequests",
                "verb": "create", "subresource": way.subresource, "version": "*"}}});
        let answer = self.upstream.create(&REVIEWS, "", review.to_string()).await?;
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        Ok(answer["status"]["allowed"] == true)
    }

    async fn approve(
        &self,
        csr: &CertificateSigningRequest,
        way: Recognized,
    ) -> Result<CertificateSigningRequest, Error> {
        let client = if way.upstream { &self.upstream } else { &self.ours };
        let condition =
            json!({"type": "Approved", "status": "True", "reason": "AutoApproved", "message": way.message});
        put(client, csr, "approval", |status| add_condition(status, condition)).await
    }

    async fn sign(
        &self,
        csr: &CertificateSigningRequest,
        asked: &Asked,
        wanted: &AskedFor,
    ) -> Result<(), Error> {
        let ends = auth::pki::validity(&self.authority.cert).map_or(Timestamp::MIN, |(_, end)| instant(end));
        let signed = match certificates::signing(csr, wanted, Timestamp::now(), ends) {
            Signing::Nothing => return Ok(()),
            Signing::Fail(why) => Err(why),
            Signing::Sign { not_before, not_after } => {
                let usages = csr.spec.usages.clone().unwrap_or_default();
                let terms =
                    Terms { usages, not_before: Time::new(not_before), not_after: Time::new(not_after) };
                auth::pki::sign(&self.authority, &csr.spec.request.0, asked, &terms)
                    .map_err(|e| e.to_string())
            }
        };
        put(&self.upstream, csr, "status", |status| match signed {
            Ok(pem) => status["certificate"] = auth::pki::base64(&pem).into(),
            Err(why) => {
                let failed = json!({"type": "Failed", "status": "True", "reason": "SignerValidationFailure", "message": why});
                add_condition(status, failed);
            }
        })
        .await
        .map(drop)
    }
}

fn instant(t: Time) -> Timestamp {
    Timestamp::from_second(t.as_second()).unwrap_or(Timestamp::MIN)
}

/// As the deciders take it.
fn plain(asked: &Asked) -> AskedFor {
    let others = asked.others.then(|| "another kind of name".to_owned());
    AskedFor {
        common_name: asked.common_name.clone(),
        organizations: asked.organizations.clone(),
        dns_names: asked.dns_names.clone(),
        ip_addresses: asked.ip_addresses.iter().map(ToString::to_string).collect(),
        email_addresses: asked.email_addresses.clone(),
        uris: asked.uris.iter().cloned().chain(others).collect(),
    }
}

fn add_condition(status: &mut Value, condition: Value) {
    match status["conditions"].as_array_mut() {
        Some(list) => list.push(condition),
        None => status["conditions"] = json!([condition]),
    }
}

/// Writes a part of a request, with its status changed.
async fn put(
    client: &Client,
    csr: &CertificateSigningRequest,
    part: &str,
    change: impl FnOnce(&mut Value),
) -> Result<CertificateSigningRequest, Error> {
    let mut object = serde_json::to_value(csr).map_err(|e| Error::Decode(e.to_string()))?;
    if !object["status"].is_object() {
        object["status"] = json!({});
    }
    change(&mut object["status"]);
    let resource = Resource::of::<CertificateSigningRequest>();
    let answer = client.send(Call::update(&resource, "", csr.name(), part, object.to_string())).await?;
    serde_json::from_slice(&answer).map_err(|e| Error::Decode(e.to_string()))
}
