//! `/openapi/v3`: an index with hashes, and a document for each group and version, made when it is first asked for and kept
//! until the catalog changes (KEP-2896). `/openapi/v2`: one document of everything, as JSON and packed.

mod packed;

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
            "v2" => {
                Some(Ok(self
                    .openapi_v2(request, "application/json", |v| serde_json::to_vec(v).unwrap_or_default())))
            }
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
        let make = || {
            let (list, custom) = definitions(kinds.iter().map(|s| &**s));
            serde_json::to_vec(&registry::openapi::document(&list, &custom)).unwrap_or_default()
        };
        Ok(self.openapi_kept(request, path, hash, "application/json", make))
    }

    fn openapi_v2(&self, request: &Request, media: &'static str, encode: fn(&Value) -> Vec<u8>) -> Reply {
        let catalog = self.catalog();
        let all = || catalog.list.iter().map(|s| &**s);
        let make = || {
            let (list, custom) = definitions(all());
            encode(&registry::openapi::v2::document(&list, &custom))
        };
        self.openapi_kept(request, media, hash(all()), media, make)
    }

    /// `/openapi/v2` packed, for clients that take nothing else; none for other requests.
    pub(crate) fn openapi_packed(&self, request: &Request) -> Option<Reply> {
        let asked = request.header(ACCEPT);
        let wanted = request.info.path == "/openapi/v2" && packed::MEDIA.iter().any(|m| asked.contains(m));
        wanted.then(|| self.openapi_v2(request, packed::ANSWER, packed::document))
    }

    /// A document as it was last made, or made now; or only word that the client has it.
    fn openapi_kept(
        &self,
        request: &Request,
        path: &str,
        hash: String,
        media: &'static str,
        make: impl FnOnce() -> Vec<u8>,
    ) -> Reply {
        let etag = format!("\"{hash}\"");
        if request.header(IF_NONE_MATCH) == etag {
            return Reply::new(304, media, Payload::Bytes(Bytes::new())).header(ETAG, &etag);
        }
        let mut known = self.openapi.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match known.get(path) {
            Some((same, bytes)) if *same == hash => bytes.clone(),
            _ => {
                let bytes = Bytes::from(make());
                if known.len() >= MAX_OPENAPI_DOCUMENTS {
                    known.clear();
                }
                known.insert(path.to_owned(), (hash, bytes.clone()));
                bytes
            }
        };
        Reply::new(200, media, Payload::Bytes(bytes)).header(ETAG, &etag)
    }
}

fn split(path: &str) -> Option<(&str, &str)> {
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => Some(("", version)),
        ["apis", group, version] => Some((group, version)),
        _ => None,
    }
}

/// Kinds, and the schemas of the custom ones among them.
fn definitions<'a>(served: impl Iterator<Item = &'a Served>) -> (Vec<&'a Kind>, Map<String, Value>) {
    let mut custom = Map::new();
    let list = served.map(|s| {
        if let Some(own) = &s.custom {
            custom.insert(s.kind.schema.to_string(), own.openapi.clone());
            custom.insert(format!("{}List", s.kind.schema), registry::openapi::custom_list(&s.kind));
        }
        &*s.kind
    });
    (list.collect(), custom)
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
