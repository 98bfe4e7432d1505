//! Dynamic access: any resource, bytes in and bytes out.

use crate::Resource;
use crate::call::{Call, DeleteOptions, ListOptions, PatchKind};
use crate::decoded::Decoded;
use crate::error::Error;
use crate::transport::{Body, MAX_ANSWER_BYTES, Transport, TransportError, collect};
use crate::watch::WatchStream;
use bytes::Bytes;
use meta::Status;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;

/// A client of one identity. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    user_agent: Arc<str>,
    decoded: Option<Arc<Decoded>>,
}

/// One page of a list; the items are raw JSON.
#[derive(Debug)]
pub struct Page {
    /// The revision at which the whole list is consistent.
    pub revision: u64,
    /// `metadata.continue`; empty on the last page.
    pub continue_token: String,
    /// The objects.
    pub items: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct RawList {
    #[serde(default)]
    metadata: RawListMeta,
    #[serde(default)]
    items: Option<Vec<Box<RawValue>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawListMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    continue_token: Option<String>,
}

/// Reads a list answer.
pub fn decode_page(bytes: &[u8]) -> Result<Page, Error> {
    let list: RawList = serde_json::from_slice(bytes).map_err(|e| Error::Decode(e.to_string()))?;
    let revision = list.metadata.resource_version;
    let revision = revision.parse().map_err(|_| Error::Decode(format!("resourceVersion {revision:?}")))?;
    let continue_token = list.metadata.continue_token.unwrap_or_default();
    Ok(Page { revision, continue_token, items: list.items.unwrap_or_default() })
}

/// Reads `metadata.resourceVersion` of an answered object; none where it is not a number of ours.
pub fn answered_revision(bytes: &[u8]) -> Option<u64> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Meta {
        resource_version: String,
    }
    #[derive(Deserialize)]
    struct Head {
        metadata: Meta,
    }
    serde_json::from_slice::<Head>(bytes).ok()?.metadata.resource_version.parse().ok()
}

impl Client {
    /// A client over `transport`; `user_agent` also names the field manager of its writes.
    pub fn new(transport: Arc<dyn Transport>, user_agent: &str) -> Self {
        Self { transport, user_agent: user_agent.into(), decoded: None }
    }

    /// The same client under another name.
    pub fn named(&self, user_agent: &str) -> Self {
        Self { user_agent: user_agent.into(), ..self.clone() }
    }

    /// Lets the caches that this client feeds share what they decode with those of others that are given the same. All
    /// must speak to one server, in this process.
    pub fn sharing(mut self, decoded: &Arc<Decoded>) -> Self {
        self.decoded = Some(decoded.clone());
        self
    }

    /// What was decoded already, where this client shares it.
    pub(crate) fn decoded(&self) -> Option<&Decoded> {
        self.decoded.as_deref()
    }

    /// Sends a call; answers of 400 and above are errors.
    pub async fn open(&self, call: Call) -> Result<http::Response<Body>, Error> {
        let request = call.into_request(&self.user_agent).map_err(TransportError::unsent)?;
        let response = self.transport.call(request).await?;
        let code = response.status();
        if code.as_u16() < 400 {
            return Ok(response);
        }
        let bytes = collect(response.into_body(), MAX_ANSWER_BYTES).await?;
        Err(Error::Api(read_status(code, &bytes)))
    }

    /// Sends a call and reads the whole answer.
    pub async fn send(&self, call: Call) -> Result<Bytes, Error> {
        let response = self.open(call).await?;
        Ok(collect(response.into_body(), MAX_ANSWER_BYTES).await?)
    }

    /// One object.
    pub async fn get(&self, r: &Resource, namespace: &str, name: &str) -> Result<Bytes, Error> {
        self.send(Call::get(r, namespace, name, "")).await
    }

    /// One page of a list.
    pub async fn list(&self, r: &Resource, namespace: &str, options: &ListOptions) -> Result<Page, Error> {
        decode_page(&self.send(Call::list(r, namespace, options)).await?)
    }

    /// The changes after a revision.
    pub async fn watch(
        &self,
        r: &Resource,
        namespace: &str,
        options: &ListOptions,
        timeout_seconds: u32,
    ) -> Result<WatchStream, Error> {
        let response = self.open(Call::watch(r, namespace, options, timeout_seconds)).await?;
        Ok(WatchStream::new(response.into_body()))
    }

    /// Creates an object.
    pub async fn create(&self, r: &Resource, ns: &str, object: impl Into<Bytes>) -> Result<Bytes, Error> {
        self.send(Call::create(r, ns, object)).await
    }

    /// Replaces an object.
    pub async fn update(&self, r: &Resource, ns: &str, name: &str, object: Vec<u8>) -> Result<Bytes, Error> {
        self.send(Call::update(r, ns, name, "", object)).await
    }

    /// Patches an object or (not empty) a subresource.
    pub async fn patch(
        &self,
        r: &Resource,
        (ns, name, sub): (&str, &str, &str),
        kind: PatchKind,
        body: impl Into<Bytes>,
    ) -> Result<Bytes, Error> {
        self.send(Call::patch(r, ns, name, sub, kind, body)).await
    }

    /// Deletes an object.
    pub async fn delete(
        &self,
        r: &Resource,
        ns: &str,
        name: &str,
        o: &DeleteOptions,
    ) -> Result<Bytes, Error> {
        self.send(Call::delete(r, ns, name, o)).await
    }

    /// A revision that is not older than any write acknowledged before the call.
    pub async fn current_revision(&self, r: &Resource) -> Result<u64, Error> {
        let options = ListOptions { limit: 1, ..ListOptions::default() };
        Ok(self.list(r, "", &options).await?.revision)
    }
}

fn read_status(code: http::StatusCode, bytes: &[u8]) -> Status {
    match serde_json::from_slice::<serde_json::Value>(bytes) {
        Ok(v) if v["kind"] == "Status" => Status::from_value(code.as_u16(), &v),
        // A path that the server knows nothing of is told in plain text.
        _ if code == http::StatusCode::NOT_FOUND => Status::no_such_path(),
        _ => {
            let text = String::from_utf8_lossy(bytes).trim().chars().take(1024).collect::<String>();
            let message = if text.is_empty() { code.to_string() } else { text };
            Status { code: code.as_u16(), ..Status::new(meta::Reason::Unknown, message) }
        }
    }
}
