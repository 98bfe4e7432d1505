//! `metadata.managedFields`: who set which field, when, and how (`k8s.io/apimachinery/pkg/util/managedfields`).

use super::fields::Set;
use meta::Time;
use serde_json::{Map, Value};
use std::borrow::Cow;
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
#[derive(Clone, Debug)]
pub(super) struct Managed<'a> {
    /// The set as it came, until somebody wants to change it.
    unread: Option<&'a Value>,
    set: Set,
    pub(super) api_version: String,
    pub(super) time: Option<Time>,
}

/// The set in the notation `fieldsV1`; one that can't be read is empty.
fn parse(fields: &Value) -> Set {
    Set::from_value(fields).unwrap_or_default()
}

impl Managed<'_> {
    pub(super) fn new(set: Set, api_version: &str) -> Self {
        Self { unread: None, set, api_version: api_version.to_owned(), time: None }
    }

    pub(super) fn set(&self) -> Cow<'_, Set> {
        self.unread.map_or(Cow::Borrowed(&self.set), |v| Cow::Owned(parse(v)))
    }

    pub(super) fn set_mut(&mut self) -> &mut Set {
        if let Some(fields) = self.unread.take() {
            self.set = parse(fields);
        }
        &mut self.set
    }

    /// Whether the set has a path of the other one.
    fn touches(&self, other: &Set) -> bool {
        self.unread.map_or_else(|| !self.set.intersection(other).is_empty(), |v| other.touches(v))
    }

    fn is_empty(&self) -> bool {
        self.unread.map_or_else(|| self.set.is_empty(), |v| v.as_object().is_none_or(Map::is_empty))
    }

    fn fields(&self) -> Value {
        self.unread.map_or_else(|| self.set.to_value(), Value::clone)
    }
}

/// All managers of an object.
#[derive(Clone, Debug, Default)]
pub(super) struct Managers<'a>(pub(super) BTreeMap<Key, Managed<'a>>);

impl<'a> Managers<'a> {
    /// Reads the entries; an error if one of them isn't what the server writes.
    pub(super) fn read(entries: &'a [Value]) -> Result<Self, String> {
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
            let fields = e.get("fieldsV1").filter(|v| !v.is_null());
            if fields.is_some_and(|v| !v.is_object()) {
                return Err("error decoding set".to_owned());
            }
            let key = Key::new(text("manager"), applied, text("apiVersion"), text("subresource"));
            let api_version = text("apiVersion").to_owned();
            all.insert(
                key,
                Managed { unread: fields, set: Set::default(), api_version, time: text("time").parse().ok() },
            );
        }
        Ok(Self(all))
    }

    /// The entries, in upstream's order: appliers first, then by time, name, version and subresource.
    pub(super) fn write(&self) -> Vec<Value> {
        let mut all: Vec<(&Key, &Managed<'_>)> = self.0.iter().collect();
        all.sort_by_key(|(k, m)| {
            let seconds = m.time.map_or(0, Time::as_second);
            (!k.applied, seconds, k.manager.clone(), m.api_version.clone(), k.subresource.clone())
        });
        all.into_iter().map(|(k, m)| entry(k, m)).collect()
    }

    /// Takes `set` from the manager; a manager of nothing goes.
    pub(super) fn subtract(&mut self, key: &Key, set: &Set) {
        let Some(m) = self.0.get_mut(key) else { return };
        if m.touches(set) {
            m.set_mut().subtract(set);
        }
        if m.is_empty() {
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
            joined.set_mut().union(&managed.set());
            joined.time = managed.time;
            left -= 1;
        }
    }
}

fn entry(k: &Key, m: &Managed<'_>) -> Value {
    let mut e = Map::new();
    e.insert("manager".into(), k.manager.as_str().into());
    e.insert("operation".into(), if k.applied { "Apply" } else { "Update" }.into());
    e.insert("apiVersion".into(), m.api_version.as_str().into());
    if let Some(t) = m.time {
        e.insert("time".into(), t.to_string().into());
    }
    e.insert("fieldsType".into(), "FieldsV1".into());
    e.insert("fieldsV1".into(), m.fields());
    if !k.subresource.is_empty() {
        e.insert("subresource".into(), k.subresource.as_str().into());
    }
    Value::Object(e)
}
