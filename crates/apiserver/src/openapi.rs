//! `/openapi/v3`: an index with hashes, and a document for each group and version, made when it is first asked for and kept
//! packed until the catalog changes (KEP-2896). `/openapi/v2` is a small stand-in: clients of today ask for v3.

use crate::accept::Accepted;
use crate::catalog::{Catalog, Served};
use crate::limits::MAX_OPENAPI_DOCUMENTS;
use crate::reply::{Payload, Reply};
use crate::server::ApiServer;
use crate::stage::Request;
use bytes::Bytes;
use http::header::{ACCEPT, ETAG, IF_NONE_MATCH};
use meta::Status;
use registry::Kind;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The documents that were asked for, by path.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<BTreeMap<String, (String, Bytes)>>);

impl Cache {
    /// The catalog changed.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl ApiServer {
    /// Serves what is below `/openapi`; none for other paths.
    pub(crate) fn openapi(
        &self,
        path: &str,
        request: &Request,
        accepted: Accepted,
    ) -> Option<Result<Reply, Status>> {
        match path.strip_prefix("/openapi/")? {
            "v2" => Some(Ok(Reply::value(200, accepted, &version_two()))),
            "v3" => Some(Ok(Reply::value(200, accepted, &index(&self.catalog())))),
            rest => {
                let group_version = rest.strip_prefix("v3/")?;
                Some(self.openapi_document(group_version, request))
            }
        }
    }

    fn openapi_document(&self, path: &str, request: &Request) -> Result<Reply, Status> {
        let catalog = self.catalog();
        let (group, version) = split(path).ok_or_else(Status::no_such_path)?;
        let kinds: Vec<_> = catalog.of(group, version).cloned().collect();
        if kinds.is_empty() {
            return Err(Status::no_such_path());
        }
        let hash = hash(kinds.iter().map(|s| &**s));
        let etag = format!("\"{hash}\"");
        if request.header(IF_NONE_MATCH) == etag {
            return Ok(Reply::new(304, "application/json", Payload::Bytes(Bytes::new())).header(ETAG, &etag));
        }
        let mut known = self.openapi.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match known.get(path) {
            Some((same, bytes)) if *same == hash => bytes.clone(),
            _ => {
                let bytes = Bytes::from(document(&kinds.iter().map(|s| &**s).collect::<Vec<_>>()));
                if known.len() >= MAX_OPENAPI_DOCUMENTS {
                    known.clear();
                }
                known.insert(path.to_owned(), (hash, bytes.clone()));
                bytes
            }
        };
        Ok(Reply::new(200, "application/json", Payload::Bytes(bytes)).header(ETAG, &etag))
    }
}

/// `/openapi/v2` packed, which kubectl asks for when `/openapi/v3` doesn't know a kind: only with an answer does it go on
/// and say which kind is missing.
pub(crate) fn packed(request: &Request) -> Option<Reply> {
    // Asked for with an `@`, which isn't allowed in the name of a media type, and so answered with a dot.
    const ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    const MEDIA: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    if request.info.path != "/openapi/v2"
        || ![ASKED, MEDIA].iter().any(|m| request.header(ACCEPT).contains(m))
    {
        return None;
    }
    // The message `Document` of gnostic's `openapiv2`: what it is in field 1, its title and version in 2.
    let info = [field(1, b"Kubernetes"), field(2, crate::plain::VERSION.as_bytes())].concat();
    let bytes = [field(1, b"2.0"), field(2, &info)].concat();
    Some(Reply::new(200, MEDIA, Payload::Bytes(bytes.into())))
}

/// A field of bytes; all of ours are shorter than 128, whose length is one byte.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).unwrap_or_default();
    [&[number << 3 | 2, length], value].concat()
}

fn split(path: &str) -> Option<(&str, &str)> {
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => Some(("", version)),
        ["apis", group, version] => Some((group, version)),
        _ => None,
    }
}

fn document(kinds: &[&Served]) -> Vec<u8> {
    let list: Vec<&Kind> = kinds.iter().map(|s| &*s.kind).collect();
    let custom: Map<String, Value> = kinds
        .iter()
        .filter_map(|s| Some((s.kind.schema.to_string(), s.custom.as_ref()?.openapi.clone())))
        .collect();
    serde_json::to_vec(&registry::openapi::document(&list, &custom)).unwrap_or_default()
}

fn hash<'a>(kinds: impl Iterator<Item = &'a Served>) -> String {
    let mut text = registry::openapi::hash().to_string();
    for served in kinds {
        text.push_str(&served.kind.schema);
        if let Some(custom) = &served.custom {
            text.push_str(&custom.openapi.to_string());
        }
    }
    digest(&SHA256, text.as_bytes()).as_ref().iter().map(|b| format!("{b:02X}")).collect()
}

fn index(catalog: &Catalog) -> Value {
    let mut paths = Map::new();
    for group in &catalog.groups {
        for version in &group.versions {
            let path = match group.name.as_str() {
                "" => format!("api/{version}"),
                name => format!("apis/{name}/{version}"),
            };
            let hash = hash(catalog.of(&group.name, version).map(|s| &**s));
            paths.insert(
                path.clone(),
                json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")}),
            );
        }
    }
    json!({"paths": paths})
}

fn version_two() -> Value {
    json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": crate::plain::VERSION}, "paths": {},
        "definitions": {}})
}
