//! One repository of one registry: authorized requests, attempts, manifests.

use super::auth::{Auth, Challenge, DENIED, denied};
use super::http::{Http, Patience, Way, title};
use super::refusal::Refusal;
use crate::archive::MAX_JSON;
use crate::{Digest, Reference};
use http::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, RANGE, RETRY_AFTER};
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often one request is made, if the answers are worth another attempt.
const MAX_ATTEMPTS: u32 = 5;
/// How often one request may be challenged: the second time because a token ran out.
const MAX_CHALLENGES: u32 = 2;
/// The longest that a registry may make us wait between attempts.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);
/// The longest pause of our own.
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// How much of a refusal's body is read for its reason.
const MAX_REASON: u64 = 64 << 10;
/// How much of a registry's own words people get to see.
const MAX_WORDS: usize = 1024;

/// The manifests and indexes that we can read (OCI image spec 1.1, docker schema 2).
const MANIFESTS: &str = "application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, */*";

/// A repository that can be asked.
pub(super) struct Repository {
    http: Http,
    /// `https://host`.
    base: String,
    name: String,
    auth: Auth,
    authorization: Mutex<Option<HeaderValue>>,
}

/// Refusals as the distribution spec writes them.
#[derive(Deserialize)]
struct Reasons {
    errors: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Repository {
    /// Finds out how the registry is spoken to.
    pub(super) async fn open(
        reference: &Reference,
        auth: Auth,
        patience: Patience,
        way: Way,
    ) -> Result<Self, Refusal> {
        let host = match reference.registry.as_str() {
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let secure = Http::new(patience, way.clone(), false);
        let (http, scheme) = match on_this_machine(host) {
            true => choose(host, secure, Http::new(patience, way, true)).await?,
            false => (secure, "https"),
        };
        let authorization = Mutex::new(auth.unasked());
        let base = format!("{scheme}://{host}");
        Ok(Self { http, base, name: reference.repository.clone(), auth, authorization })
    }

    pub(super) fn http(&self) -> &Http {
        &self.http
    }

    fn url(&self, kind: &str, what: &str) -> String {
        format!("{}/v2/{}/{kind}/{what}", self.base, self.name)
    }

    fn authorization(&self) -> Option<HeaderValue> {
        self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The digest that a tag has now, if the registry tells it without sending the manifest.
    pub(super) async fn digest(&self, tag: &str) -> Result<Option<Digest>, Refusal> {
        let response = self.ask(&Method::HEAD, &self.url("manifests", tag), manifests()).await?;
        Ok(digest_of(&response))
    }

    /// A manifest or index, held against its digest if that is known.
    pub(super) async fn manifest(
        &self,
        tag_or_digest: &str,
        expected: Option<Digest>,
    ) -> Result<(Vec<u8>, Digest), Refusal> {
        self.small(&self.url("manifests", tag_or_digest), manifests(), expected, "the image's manifest").await
    }

    /// A small blob, held against its digest.
    pub(super) async fn config(&self, digest: &Digest) -> Result<Vec<u8>, Refusal> {
        let url = self.url("blobs", &digest.to_string());
        Ok(self.small(&url, HeaderMap::new(), Some(*digest), "the image's configuration").await?.0)
    }

    async fn small(
        &self,
        url: &str,
        headers: HeaderMap,
        expected: Option<Digest>,
        what: &str,
    ) -> Result<(Vec<u8>, Digest), Refusal> {
        let mut attempt = 0;
        let (bytes, expected) = loop {
            let response = self.ask(&Method::GET, url, headers.clone()).await?;
            let expected = expected.or_else(|| digest_of(&response));
            attempt += 1;
            match self.http.whole(response.into_body(), MAX_JSON, what).await {
                Ok(bytes) => break (bytes, expected),
                Err(refusal) if refusal.again && attempt < MAX_ATTEMPTS => {
                    tokio::time::sleep(self.pause(attempt)).await;
                }
                Err(refusal) => return Err(refusal),
            }
        };
        let is = Digest::of(&bytes);
        match expected {
            Some(expected) if is != expected => Err(Refusal::last(format!(
                "{what} is not what it should be: unexpected commit digest {is}, expected {expected}: failed precondition"
            ))),
            _ => Ok((bytes, is)),
        }
    }

    /// A blob's content from `offset` on; false if the registry sends it from the beginning regardless.
    pub(super) async fn blob(
        &self,
        digest: &Digest,
        offset: u64,
    ) -> Result<(Response<Incoming>, bool), Refusal> {
        let mut headers = HeaderMap::new();
        if offset > 0 {
            let range = HeaderValue::try_from(format!("bytes={offset}-"));
            headers.insert(RANGE, range.map_err(|e| Refusal::last(e.to_string()))?);
        }
        let response = self.ask(&Method::GET, &self.url("blobs", &digest.to_string()), headers).await?;
        let from_offset = response.status() == StatusCode::PARTIAL_CONTENT;
        Ok((response, from_offset))
    }

    /// A request that may need authorization and more than one attempt; its answer is a success.
    async fn ask(
        &self,
        method: &Method,
        url: &str,
        headers: HeaderMap,
    ) -> Result<Response<Incoming>, Refusal> {
        let mut attempt = 0;
        loop {
            let (refusal, wait) = match self.authorized(method, url, &headers).await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => {
                    let wait = retry_after(&response);
                    (self.refused(method, url, response).await, wait)
                }
                Err(refusal) => (refusal, None),
            };
            attempt += 1;
            if !refusal.again || attempt >= MAX_ATTEMPTS {
                return Err(refusal);
            }
            tracing::debug!(%url, attempt, why = %refusal.message, "asking the registry again");
            tokio::time::sleep(wait.unwrap_or_else(|| self.pause(attempt))).await;
        }
    }

    /// How long to wait before the attempt with this number (from 1).
    pub(super) fn pause(&self, attempt: u32) -> Duration {
        let backoff = stdx::Backoff::new(self.http.patience().pause, MAX_PAUSE);
        backoff.delay(attempt.saturating_sub(1))
    }

    async fn authorized(
        &self,
        method: &Method,
        url: &str,
        headers: &HeaderMap,
    ) -> Result<Response<Incoming>, Refusal> {
        let mut challenged = 0;
        loop {
            let sent = self.authorization();
            let mut headers = headers.clone();
            if let Some(sent) = &sent {
                headers.insert(AUTHORIZATION, sent.clone());
            }
            let response = self.http.get(method, url, headers).await?;
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            challenged += 1;
            match self.challenged(&response, sent, challenged).await? {
                Some(better) => {
                    *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(better)
                }
                None => return Ok(response),
            }
        }
    }

    /// What to send instead of `sent`, which the registry didn't take; none if we have nothing better.
    async fn challenged(
        &self,
        response: &Response<Incoming>,
        sent: Option<HeaderValue>,
        challenged: u32,
    ) -> Result<Option<HeaderValue>, Refusal> {
        let now = self.authorization();
        if challenged < MAX_CHALLENGES && now.is_some() && now != sent {
            // Another request of this pull has got a newer one meanwhile.
            return Ok(now);
        }
        let Some(challenge) = Challenge::of(response.headers()) else { return Ok(None) };
        match &challenge {
            Challenge::Bearer(b) if !b.error.is_empty() && sent.is_some() && challenged >= MAX_CHALLENGES => {
                Err(denied(format!("{DENIED}: server message: {}: authorization failed", cut(&b.error))))
            }
            Challenge::Basic if sent.is_some() => Ok(None),
            _ if challenged >= MAX_CHALLENGES => Ok(None),
            _ => self.auth.answer(&self.http, &challenge, &self.name).await.map(Some),
        }
    }

    /// An answer that is no success, in containerd's words, with the registry's reasons.
    async fn refused(&self, method: &Method, url: &str, response: Response<Incoming>) -> Refusal {
        let status = response.status();
        if status == StatusCode::NOT_FOUND {
            return Refusal::status(status, "not found");
        }
        let mut message = format!("unexpected status from {method} request to {url}: {status}");
        let body = self.http.whole(response.into_body(), MAX_REASON, "the refusal").await.unwrap_or_default();
        if let Ok(reasons) = serde_json::from_slice::<Reasons>(&body) {
            let words = |r: &Reason| format!("{}: {}", r.code.to_ascii_lowercase(), r.message);
            let words: Vec<String> = reasons.errors.iter().map(words).collect();
            if !words.is_empty() {
                message += &format!("\n{}", cut(&words.join("; ")));
            }
        }
        Refusal::status(status, message)
    }

    /// How a request is called in messages.
    pub(super) fn describe(&self, method: &Method, digest: &Digest) -> String {
        format!("{} {:?}", title(method), self.url("blobs", &digest.to_string()))
    }
}

fn manifests() -> HeaderMap {
    HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(MANIFESTS))])
}

fn digest_of(response: &Response<Incoming>) -> Option<Digest> {
    Digest::parse(response.headers().get("docker-content-digest")?.to_str().ok()?)
}

fn retry_after(response: &Response<Incoming>) -> Option<Duration> {
    let seconds: u64 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

fn cut(words: &str) -> &str {
    &words[..words.floor_char_boundary(MAX_WORDS)]
}

/// Whether a registry's host is this machine, so that it may be spoken to without TLS.
fn on_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A registry on this machine may speak either. Plain is tried first, since a plain server that is greeted with TLS
/// may just wait for more; a TLS server answers a plain greeting with status 400, an alert or the end.
async fn choose(host: &str, secure: Http, plain: Http) -> Result<(Http, &'static str), Refusal> {
    if host.ends_with(":443") {
        return Ok((secure, "https"));
    }
    let greeting = plain.get(&Method::GET, &format!("http://{host}/v2/"), HeaderMap::new()).await;
    let is_tls = match &greeting {
        Ok(answer) => answer.status() == StatusCode::BAD_REQUEST,
        Err(refusal) => refusal.not_http,
    };
    Ok(if is_tls { (secure, "https") } else { (plain, "http") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_this_machine() {
        for here in ["localhost", "localhost:5000", "127.0.0.1", "127.8.9.1:80", "[::1]:5000", "[::1]"] {
            assert!(on_this_machine(here), "{here}");
        }
        for there in
            ["docker.io", "127.0.0.1.evil.example", "localhost.evil.example:80", "10.0.0.1", "[::2]:1", ""]
        {
            assert!(!on_this_machine(there), "{there}");
        }
    }
}
