//! `metadata.managedFields`: who set which field, when, and how (`k8s.io/apimachinery/pkg/util/managedfields`).

use super::fields::Set;
use meta::Time;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Entries of updates that one object keeps; the oldest are joined beyond that.
pub(super) const MAX_UPDATE_MANAGERS: usize = 10;
/// The manager that the oldest updates are joined under.
const ANCIENT: &str = "ancient-changes";

/// What tells managers apart. An applier is the same manager at every version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) manager: String,
    pub(super) applied: bool,
    /// Empty for appliers.
    pub(super) api_version: String,
    pub(super) subresource: String,
}

impl Key {
    pub(super) fn new(manager: &str, applied: bool, api_version: &str, subresource: &str) -> Self {
        Self {
            manager: if manager.is_empty() { "unknown" } else { manager }.to_owned(),
            applied,
            api_version: if applied { "" } else { api_version }.to_owned(),
            subresource: subresource.to_owned(),
        }
    }

    /// The manager as conflicts name it.
    pub(super) fn show(&self) -> String {
        let mut out = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            out.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if !self.applied {
            out.push_str(&format!(" using {}", self.api_version));
        }
        out
    }
}

/// What one manager set.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Managed {
    pub(super) set: Set,
    pub(super) api_version: String,
    pub(super) time: Option<Time>,
}

/// All managers of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Managers(pub(super) BTreeMap<Key, Managed>);

impl Managers {
    /// Reads the entries; an error if one of them isn't what the server writes.
    pub(super) fn read(entries: &[Value]) -> Result<Self, String> {
        let mut all = BTreeMap::new();
        for (i, e) in entries.iter().enumerate() {
            let text = |key: &str| e.get(key).and_then(Value::as_str).unwrap_or_default();
            let applied = match text("operation") {
                "Apply" => true,
                "Update" => false,
                _ => return Err("operation must be `Apply` or `Update`".to_owned()),
            };
            if text("apiVersion").is_empty() {
                return Err("apiVersion must not be empty".to_owned());
            }
            match text("fieldsType") {
                "FieldsV1" => {}
                "" => return Err(format!("missing fieldsType in managed fields entry {i}")),
                other => return Err(format!("invalid fieldsType {other:?} in managed fields entry {i}")),
            }
            let empty = json!({});
            let fields = e.get("fieldsV1").filter(|v| !v.is_null()).unwrap_or(&empty);
            let set = Set::from_value(fields).ok_or_else(|| "error decoding set".to_owned())?;
            let key = Key::new(text("manager"), applied, text("apiVersion"), text("subresource"));
            let managed =
                Managed { set, api_version: text("apiVersion").to_owned(), time: text("time").parse().ok() };
            all.insert(key, managed);
        }
        Ok(Self(all))
    }

    /// The entries, in upstream's order: appliers first, then by time, name, version and subresource.
    pub(super) fn write(&self) -> Vec<Value> {
        let mut all: Vec<(&Key, &Managed)> = self.0.iter().collect();
        all.sort_by_key(|(k, m)| {
            let seconds = m.time.map_or(0, Time::as_second);
            (!k.applied, seconds, k.manager.clone(), m.api_version.clone(), k.subresource.clone())
        });
        all.into_iter().map(|(k, m)| entry(k, m)).collect()
    }

    /// Takes `set` from the manager; a manager of nothing goes.
    pub(super) fn subtract(&mut self, key: &Key, set: &Set) {
        let Some(m) = self.0.get_mut(key) else { return };
        m.set = m.set.difference(set);
        if m.set.is_empty() {
            self.0.remove(key);
        }
    }

    /// Joins the oldest updates until there are no more than [`MAX_UPDATE_MANAGERS`].
    pub(super) fn cap_updates(&mut self) {
        let mut updates: Vec<(i64, Key)> = self
            .0
            .iter()
            .filter(|(k, _)| !k.applied)
            .map(|(k, m)| (m.time.map_or(0, Time::as_second), k.clone()))
            .collect();
        updates.sort();
        let mut left = updates.len();
        let mut first: BTreeMap<String, Key> = BTreeMap::new();
        for (_, key) in updates {
            if left <= MAX_UPDATE_MANAGERS {
                return;
            }
            let Some(managed) = self.0.get(&key).cloned() else { continue };
            let version = managed.api_version.clone();
            let Some(oldest) = first.get(&version).cloned() else {
                first.insert(version, key);
                continue;
            };
            let bucket = Key::new(ANCIENT, false, &version, "");
            if !self.0.contains_key(&bucket)
                && let Some(m) = self.0.remove(&oldest)
            {
                self.0.insert(bucket.clone(), m);
            }
            self.0.remove(&key);
            let joined = self.0.entry(bucket).or_insert_with(|| managed.clone());
            joined.set.union(&managed.set);
            joined.time = managed.time;
            left -= 1;
        }
    }

    /// Whether the same managers have the same fields, whenever they set them.
    pub(super) fn same_fields(&self, other: &Self) -> bool {
        let plain = |m: &Self| -> Vec<(Key, Set, String)> {
            m.0.iter().map(|(k, v)| (k.clone(), v.set.clone(), v.api_version.clone())).collect()
        };
        plain(self) == plain(other)
    }
}

fn entry(k: &Key, m: &Managed) -> Value {
    let mut e = Map::new();
    e.insert("manager".into(), k.manager.as_str().into());
    e.insert("operation".into(), if k.applied { "Apply" } else { "Update" }.into());
    e.insert("apiVersion".into(), m.api_version.as_str().into());
    if let Some(t) = m.time {
        e.insert("time".into(), t.to_string().into());
    }
    e.insert("fieldsType".into(), "FieldsV1".into());
    e.insert("fieldsV1".into(), m.set.to_value());
    if !k.subresource.is_empty() {
        e.insert("subresource".into(), k.subresource.as_str().into());
    }
    Value::Object(e)
}
