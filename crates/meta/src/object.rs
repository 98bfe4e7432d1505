//! An object of any kind: typed metadata, and everything else as JSON.

use crate::{GroupVersionKind, Time};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// An object of any kind, built in or custom. The write path of the API server works on this and nothing
/// else, so it is compiled once and not once for each kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    /// `apiVersion`, for example `apps/v1`.
    pub api_version: String,
    /// `kind`, for example `Deployment`.
    pub kind: String,
    /// `metadata`.
    pub metadata: ObjectMeta,
    /// Every other top-level field: `spec`, `status`, `data`, ...
    pub body: Map<String, Value>,
}

/// `metav1.ObjectMeta`. Strings that upstream omits when empty are empty here when absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectMeta {
    /// Name, unique in the namespace (or in the cluster for cluster-scoped kinds).
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub name: String,
    /// Prefix from which the server makes a name where `name` is empty.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub generate_name: String,
    /// Namespace; empty for cluster-scoped kinds.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub namespace: String,
    /// Deprecated and ignored; kept so that strict decoding knows it.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub self_link: String,
    /// Unique in time and space; set by the server.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub uid: String,
    /// Revision of the last write, as a decimal; opaque to clients.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub resource_version: String,
    /// Counts changes of the desired state.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "null_default")]
    pub generation: i64,
    /// Set by the server at creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<Time>,
    /// When the object goes, once its deletion was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<Time>,
    /// Seconds of grace that the deletion gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_grace_period_seconds: Option<i64>,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_default")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_default")]
    pub annotations: BTreeMap<String, String>,
    /// Owners, for garbage collection.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub owner_references: Vec<OwnerReference>,
    /// Who must still act before a deleted object may go.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub finalizers: Vec<String>,
    /// Who set which field (server-side apply); kept as JSON here, given a meaning in `schema`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub managed_fields: Vec<Value>,
}

/// `metav1.OwnerReference`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    /// `apiVersion` of the owner.
    pub api_version: String,
    /// Kind of the owner.
    pub kind: String,
    /// Name of the owner; in the same namespace, or cluster-scoped.
    pub name: String,
    /// UID of the owner.
    pub uid: String,
    /// Whether this owner manages the object; at most one owner may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    /// Whether a foreground deletion of the owner waits for this object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_owner_deletion: Option<bool>,
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}

/// JSON `null` reads as absent, as in upstream's decoder.
fn null_default<'de, D, T>(d: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

/// Why a JSON value is no object.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The top level is no JSON object, or `apiVersion` or `kind` is no string.
    #[error("{0}")]
    Shape(&'static str),
    /// `metadata` has a field of the wrong type.
    #[error("metadata: {0}")]
    Metadata(#[from] serde_json::Error),
}

impl Object {
    /// Splits a JSON object. Absent `apiVersion`, `kind` and `metadata` read as empty.
    pub fn from_value(value: Value) -> Result<Self, ObjectError> {
        let Value::Object(mut body) = value else {
            return Err(ObjectError::Shape("the object is not a JSON object"));
        };
        let mut text = |key: &str, what| match body.remove(key) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(s)) => Ok(s),
            Some(_) => Err(ObjectError::Shape(what)),
        };
        let api_version = text("apiVersion", "apiVersion must be a string")?;
        let kind = text("kind", "kind must be a string")?;
        let metadata = match body.remove("metadata") {
            None | Some(Value::Null) => ObjectMeta::default(),
            Some(v) => serde_json::from_value(v)?,
        };
        Ok(Self { api_version, kind, metadata, body })
    }

    /// Parses bytes of JSON.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, ObjectError> {
        Self::from_value(serde_json::from_slice(bytes)?)
    }

    /// The whole object as one JSON value.
    pub fn into_value(self) -> Value {
        let mut map = self.body;
        map.insert("apiVersion".into(), Value::String(self.api_version));
        map.insert("kind".into(), Value::String(self.kind));
        map.insert("metadata".into(), self.metadata.to_value());
        Value::Object(map)
    }

    /// The whole object as one JSON value.
    pub fn to_value(&self) -> Value {
        self.clone().into_value()
    }

    /// Group, version and kind.
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::from_api_version(&self.api_version, &self.kind)
    }

    /// The value at `path` below the body, for example `["spec", "replicas"]`; none where a step is absent.
    pub fn get(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.body.get(*first)?, |v, step| v.get(step))
    }

    /// The string at `path`, or the empty string.
    pub fn str(&self, path: &[&str]) -> &str {
        self.get(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// Sets the value at `path` below the body, making the objects on the way. A step that is no object is
    /// replaced by one.
    pub fn set(&mut self, path: &[&str], value: Value) {
        let Some((last, steps)) = path.split_last() else { return };
        let mut map = &mut self.body;
        for step in steps {
            let slot = map.entry(*step).or_insert_with(|| Value::Object(Map::new()));
            if !slot.is_object() {
                *slot = Value::Object(Map::new());
            }
            let Value::Object(next) = slot else { return };
            map = next;
        }
        map.insert((*last).to_owned(), value);
    }

    /// Removes the value at `path` below the body, if it is there.
    pub fn remove(&mut self, path: &[&str]) {
        let Some((last, steps)) = path.split_last() else { return };
        let mut map = &mut self.body;
        for step in steps {
            let Some(Value::Object(next)) = map.get_mut(*step) else { return };
            map = next;
        }
        map.remove(*last);
    }
}

impl ObjectMeta {
    /// The metadata as a JSON object.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The owner that manages this object, if one does.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().find(|o| o.controller == Some(true))
    }

    /// Whether deletion was asked for.
    pub fn is_deleting(&self) -> bool {
        self.deletion_timestamp.is_some()
    }
}
