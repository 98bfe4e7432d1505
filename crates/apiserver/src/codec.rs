//! From an object to the bytes that are stored and served, and back.

use crate::catalog::Served;
use bytes::Bytes;
use meta::{Object, Status};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::io::Write as _;
use store::{Encoded, Entry, Header};

/// An object of `served` in its stored form, with its revision still open.
pub(crate) fn encode(served: &Served, object: &Object) -> Result<Encoded, Status> {
    let kind = &served.kind;
    let mut stored = Cow::Borrowed(object);
    let as_it_is = kind.stored_as_served() && object.api_version == kind.api_version();
    if !as_it_is || !object.metadata.resource_version.is_empty() {
        let changed = stored.to_mut();
        kind.to_stored(changed);
        changed.metadata.resource_version.clear();
    }
    let columns = kind.header(&stored);
    let labels = columns.labels.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    let fields = columns.fields.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    let header = Header::new(&columns.uid, labels, fields);
    let (json, splice) = object_bytes(&stored)?;
    Ok(Encoded::new(json, splice, header))
}

/// The compact JSON of an object in upstream's order (apiVersion, kind, metadata, the rest), and the offset behind the
/// opening bracket of `metadata`.
pub(crate) fn object_bytes(object: &Object) -> Result<(Vec<u8>, usize), Status> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(b"{\"apiVersion\":");
    write(&mut out, &object.api_version)?;
    out.extend_from_slice(b",\"kind\":");
    write(&mut out, &object.kind)?;
    out.extend_from_slice(b",\"metadata\":");
    let splice = out.len() + 1;
    write(&mut out, &object.metadata)?;
    for (key, value) in &object.body {
        out.push(b',');
        write(&mut out, key)?;
        out.push(b':');
        write(&mut out, value)?;
    }
    out.push(b'}');
    Ok((out, splice))
}

/// How many bytes of an object that [`object_bytes`] wrote come before its metadata.
pub(crate) fn name_length(object: &[u8]) -> usize {
    const METADATA: &[u8] = b"\"metadata\":";
    object.windows(METADATA.len()).position(|w| w == METADATA).unwrap_or(0)
}

fn write(out: &mut Vec<u8>, value: &impl Serialize) -> Result<(), Status> {
    serde_json::to_writer(&mut *out, value).map_err(Status::internal)
}

/// The JSON of an object.
pub(crate) fn to_bytes(object: &Object) -> Result<Bytes, Status> {
    object_bytes(object).map(|(json, _)| json.into())
}

/// The stored object as an object of `served`.
pub(crate) fn decode(served: &Served, entry: &Entry) -> Result<Object, Status> {
    let mut object = Object::from_slice(&entry.bytes).map_err(Status::internal)?;
    served.kind.from_stored(&mut object);
    match &served.model {
        Some(model) if served.is_outdated(entry.revision) || served.is_converted() => {
            let mut value = object.into_value();
            // What has the wrong type by now stays: a reader can't mend it, and must see it to.
            let _ = model.prune(&mut value);
            model.default(&mut value);
            Object::from_value(value).map_err(Status::internal)
        }
        _ => Ok(object),
    }
}

/// The stored object's bytes as `served` shows it: the stored ones, unless they are of another version.
pub(crate) fn served_bytes(served: &Served, entry: &Entry) -> Result<Bytes, Status> {
    match served.is_served_as_stored(entry.revision) {
        true => Ok(entry.bytes.clone()),
        false => to_bytes(&decode(served, entry)?),
    }
}

#[derive(Deserialize)]
struct OnlyMeta<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

/// `PartialObjectMetadata` of the stored object, without parsing it into a tree.
pub(crate) fn partial(entry: &Entry, version: &str, out: &mut Vec<u8>) -> Result<(), Status> {
    let object: OnlyMeta = serde_json::from_slice(&entry.bytes).map_err(Status::internal)?;
    let head = r#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/"#;
    write!(out, r#"{head}{version}","metadata":{}}}"#, object.metadata.get()).map_err(Status::internal)
}
