//! `/openapi/v3`: an index with hashes, and a document for each group and version, made when it is first asked for and kept
//! packed until the catalog changes (KEP-2896).

use crate::accept::Accepted;
use crate::catalog::{Catalog, Served};
use crate::limits::MAX_OPENAPI_DOCUMENTS;
use crate::openapi_v2;
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
            "v2" => Some(Ok(Reply::value(200, accepted, &self.version_two()))),
            "v3" => Some(Ok(Reply::value(200, accepted, &index(&self.catalog())))),
            rest => {
                let group_version = rest.strip_prefix("v3/")?;
                Some(self.openapi_document(group_version, request))
            }
        }
    }

    /// `/openapi/v2` packed, if that is what is asked for.
    pub(crate) fn packed(&self, request: &Request) -> Option<Reply> {
        let accept = request.header(ACCEPT);
        let asked = [openapi_v2::ASKED, openapi_v2::MEDIA].iter().any(|m| accept.contains(m));
        if request.info.path != "/openapi/v2" || !asked {
            return None;
        }
        let bytes = openapi_v2::packed(&self.version_two());
        Some(Reply::new(200, openapi_v2::MEDIA, Payload::Bytes(bytes.into())))
    }

    fn version_two(&self) -> Value {
        let catalog = self.catalog();
        let kinds: Vec<&Served> = catalog.list.iter().map(|s| &**s).collect();
        let (list, custom) = lists(&kinds);
        let mut document = registry::openapi::document(&list, &custom);
        let Value::Object(definitions) = document["components"]["schemas"].take() else { return Value::Null };
        openapi_v2::document(definitions)
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

fn split(path: &str) -> Option<(&str, &str)> {
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => Some(("", version)),
        ["apis", group, version] => Some((group, version)),
        _ => None,
    }
}

fn document(kinds: &[&Served]) -> Vec<u8> {
    let (list, custom) = lists(kinds);
    serde_json::to_vec(&registry::openapi::document(&list, &custom)).unwrap_or_default()
}

/// The kinds, and the definitions of the custom ones among them.
fn lists<'a>(kinds: &[&'a Served]) -> (Vec<&'a Kind>, Map<String, Value>) {
    let definition = |s: &&Served| Some((s.kind.schema.to_string(), s.custom.as_ref()?.openapi.clone()));
    (kinds.iter().map(|s| &*s.kind).collect(), kinds.iter().filter_map(definition).collect())
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
