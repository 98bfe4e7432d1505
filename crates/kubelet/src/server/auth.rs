//! Who asks, and whether they may: a certificate of the cluster's authority or a token that the API knows; rights
//! on this node's subresources, asked of the API (`pkg/kubelet/server/auth.go`).

use client::{Call, Client, Resource};
use http::{HeaderMap, Method};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Whoever is in this group may do anything.
const MASTERS: &str = "system:masters";
/// How long an answer of the API is remembered.
const REMEMBERED: Duration = Duration::from_secs(30);
/// Answers that are remembered.
const MAX_REMEMBERED: usize = 1024;
/// The longest token.
const MAX_TOKEN: usize = 16 << 10;

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub user: String,
    pub groups: Vec<String>,
}

/// The identity in a certificate that was verified: common name and organizations.
pub(crate) fn identity(der: &[u8]) -> Option<Identity> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    let subject = cert.subject();
    let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_owned).collect();
    Some(Identity { user, groups })
}

/// Answers with the time at which they were given.
type Remembered<K, V> = Mutex<HashMap<K, (Instant, V)>>;

/// Asks the API, and remembers for a while.
pub(crate) struct Authority {
    client: Client,
    node: String,
    tokens: Remembered<String, Option<Identity>>,
    decisions: Remembered<(Identity, String, String), bool>,
}

fn remember<K: std::hash::Hash + Eq, V>(map: &Remembered<K, V>, key: K, value: V) {
    let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
    if map.len() >= MAX_REMEMBERED {
        map.clear();
    }
    map.insert(key, (Instant::now(), value));
}

fn recall<K: std::hash::Hash + Eq, V: Clone>(map: &Remembered<K, V>, key: &K) -> Option<V> {
    let map = map.lock().unwrap_or_else(PoisonError::into_inner);
    map.get(key).filter(|e| e.0.elapsed() < REMEMBERED).map(|e| e.1.clone())
}

/// The subresources of this node that a path stands for: one of them is enough (KEP-2862).
fn subresources(path: &str) -> &'static [&'static str] {
    let below = |p: &str| path == p || path.strip_prefix(p).is_some_and(|r| r.starts_with('/'));
    match () {
        () if below("/stats") => &["stats"],
        () if below("/metrics") => &["metrics"],
        () if below("/logs") => &["log"],
        () if below("/checkpoint") => &["checkpoint"],
        () if below("/pods") || below("/runningpods") => &["pods", "proxy"],
        () if below("/healthz") => &["healthz", "proxy"],
        () if below("/configz") => &["configz", "proxy"],
        () => &["proxy"],
    }
}

fn verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "get",
    }
}

impl Authority {
    /// Decides for the node called `node`.
    pub(crate) fn new(client: Client, node: String) -> Self {
        Self { client, node, tokens: Mutex::default(), decisions: Mutex::default() }
    }

    /// Who shows this token; none if there is none or the API doesn't know it.
    pub(crate) async fn authenticate(&self, headers: &HeaderMap) -> Option<Identity> {
        let header = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
        let token = header
            .strip_prefix("Bearer ")
            .map(str::trim)
            .filter(|t| !t.is_empty() && t.len() <= MAX_TOKEN)?;
        if let Some(known) = recall(&self.tokens, &token.to_owned()) {
            return known;
        }
        let spec = TokenReviewSpec { token: token.to_owned(), ..TokenReviewSpec::default() };
        let review = TokenReview { spec, ..TokenReview::default() };
        let body = serde_json::to_vec(&review).ok()?;
        let call = Call::create(&resource("authentication.k8s.io", "tokenreviews", "TokenReview"), "", body);
        let answer: TokenReview = serde_json::from_slice(&self.client.send(call).await.ok()?).ok()?;
        let status = answer.status.filter(|s| s.authenticated == Some(true));
        let found = status
            .and_then(|s| s.user)
            .map(|u| Identity { user: u.username.unwrap_or_default(), groups: u.groups.unwrap_or_default() });
        remember(&self.tokens, token.to_owned(), found.clone());
        found
    }

    /// Whether `who` may do this here; the error is upstream's sentence.
    pub(crate) async fn authorize(&self, who: &Identity, method: &Method, path: &str) -> Result<(), String> {
        if who.groups.iter().any(|g| g == MASTERS) {
            return Ok(());
        }
        let (verb, all) = (verb(method), subresources(path));
        for sub in all {
            if self.may(who, verb, sub).await? {
                return Ok(());
            }
        }
        let place = format!("resource=nodes, subresource(s)=[{}])", all.join(" "));
        Err(format!("Forbidden (user={}, verb={verb}, {place}", who.user))
    }

    /// Asks, or remembers what was answered.
    async fn may(&self, who: &Identity, verb: &str, sub: &str) -> Result<bool, String> {
        let key = (who.clone(), verb.to_owned(), sub.to_owned());
        if let Some(known) = recall(&self.decisions, &key) {
            return Ok(known);
        }
        let asked = self.ask(who, verb, sub).await.map_err(|e| format!("Authorization error: {e}"))?;
        remember(&self.decisions, key, asked);
        Ok(asked)
    }

    async fn ask(&self, who: &Identity, verb: &str, sub: &str) -> Result<bool, String> {
        let attributes = ResourceAttributes {
            verb: Some(verb.to_owned()),
            version: Some("v1".to_owned()),
            resource: Some("nodes".to_owned()),
            subresource: Some(sub.to_owned()),
            name: Some(self.node.clone()),
            ..ResourceAttributes::default()
        };
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(who.user.clone()),
                groups: Some(who.groups.clone()),
                resource_attributes: Some(attributes),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let body = serde_json::to_vec(&review).map_err(|e| e.to_string())?;
        let r = resource("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview");
        let answer = self.client.send(Call::create(&r, "", body)).await.map_err(|e| e.to_string())?;
        let answer: SubjectAccessReview = serde_json::from_slice(&answer).map_err(|e| e.to_string())?;
        Ok(answer.status.is_some_and(|s| s.allowed && s.denied != Some(true)))
    }
}

fn resource(group: &'static str, resource: &'static str, kind: &'static str) -> Resource {
    Resource {
        group: group.into(),
        version: "v1".into(),
        resource: resource.into(),
        kind: kind.into(),
        namespaced: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stand_for_subresources() {
        let paths =
            ["/stats/summary", "/metrics", "/metricsx", "/exec/a/b/c", "/logs/", "/pods", "/healthz/ping"];
        let all = paths.map(|p| subresources(p).join(" "));
        assert_eq!(all, ["stats", "metrics", "proxy", "proxy", "log", "pods proxy", "healthz proxy"]);
    }
}
