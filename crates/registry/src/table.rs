//! Rows of the server-side tables that `kubectl get` shows (`pkg/printers/internalversion/printers.go`).

use crate::kind::{Column, Kind};
use jiff::Timestamp;
use meta::Object;
use serde_json::Value;

/// Fills one row: as many cells as the kind has columns.
pub type Rows = fn(&Object, Timestamp) -> Vec<Value>;

/// What fills the cells of a kind's table.
#[derive(Clone, Copy)]
pub enum Printer {
    /// A function of ours.
    Rows(Rows),
    /// Each column's JSONPath: custom resources.
    Paths,
}

impl Kind {
    /// The cells of one object's row, in the order of the columns.
    pub fn cells(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        match self.printer {
            Printer::Rows(rows) => rows(object, now),
            Printer::Paths => {
                let root = object.to_value();
                self.columns.iter().map(|c| path_cell(c, object, &root, now)).collect()
            }
        }
    }
}

/// A cell of a custom resource: the scalar at the column's path, a date as its age
/// (`k8s.io/apiextensions-apiserver/pkg/registry/customresource/tableconvertor`).
fn path_cell(column: &Column, object: &Object, root: &Value, now: Timestamp) -> Value {
    if column.json_path.is_empty() {
        return object.metadata.name.as_str().into();
    }
    let found = crate::fields::walk(root, column.json_path.trim_start_matches('.'));
    match (found, column.r#type.as_ref()) {
        (None | Some(Value::Null), _) => Value::Null,
        (Some(v), "date") => v.as_str().map_or(Value::Null, |t| ago_text(t, now).into()),
        (Some(v), "string") if !v.is_string() => v.to_string().into(),
        (Some(v), _) => v.clone(),
    }
}

/// Name and creation time: the table of kinds that have none of their own.
pub fn name_and_created(object: &Object, _: Timestamp) -> Vec<Value> {
    let created = object.metadata.creation_timestamp.map_or(Value::Null, |t| t.to_string().into());
    vec![object.metadata.name.as_str().into(), created]
}

/// The columns of what keeps a number of pods: ReplicaSets and ReplicationControllers.
pub const REPLICA_COLUMNS: &[&str] = &[
    "Name",
    "Desired:integer",
    "Current:integer",
    "Ready:integer",
    "Age",
    "Containers*",
    "Images*",
    "Selector*",
];

/// Their row; `selector` is the last cell.
pub fn replica_row(o: &Object, now: Timestamp, selector: Value) -> Vec<Value> {
    let [names, images] = containers(o, &["spec", "template", "spec"]);
    vec![
        name(o),
        number(o, &["spec", "replicas"]).into(),
        number(o, &["status", "replicas"]).into(),
        number(o, &["status", "readyReplicas"]).into(),
        age(o, now),
        names,
        images,
        selector,
    ]
}

/// How long ago the object was made: the `Age` column.
pub fn age(object: &Object, now: Timestamp) -> Value {
    let unknown = "<unknown>".to_owned();
    object.metadata.creation_timestamp.map_or(unknown, |t| ago(t.timestamp(), now)).into()
}

/// How long ago the RFC 3339 text `t` was, or `<unknown>`.
pub fn ago_text(t: &str, now: Timestamp) -> String {
    t.parse::<Timestamp>().map_or_else(|_| "<unknown>".to_owned(), |t| ago(t, now))
}

/// How long before `now` the instant `t` was.
pub fn ago(t: Timestamp, now: Timestamp) -> String {
    human_duration(now.as_second().saturating_sub(t.as_second()))
}

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// Seconds in the short form of tables: the two largest units while the number is small
/// (`k8s.io/apimachinery/pkg/util/duration.HumanDuration`).
pub fn human_duration(s: i64) -> String {
    let two = |big: i64, big_unit, small: i64, small_unit| match small {
        0 => format!("{big}{big_unit}"),
        small => format!("{big}{big_unit}{small}{small_unit}"),
    };
    match s {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        _ if s < 2 * MINUTE => format!("{s}s"),
        _ if s < 10 * MINUTE => two(s / MINUTE, 'm', s % MINUTE, 's'),
        _ if s < 3 * HOUR => format!("{}m", s / MINUTE),
        _ if s < 8 * HOUR => two(s / HOUR, 'h', s / MINUTE % 60, 'm'),
        _ if s < 2 * DAY => format!("{}h", s / HOUR),
        _ if s < 8 * DAY => two(s / DAY, 'd', s / HOUR % 24, 'h'),
        _ if s < 2 * YEAR => format!("{}d", s / DAY),
        _ if s < 8 * YEAR => two(s / YEAR, 'y', s / DAY % 365, 'd'),
        _ => format!("{}y", s / YEAR),
    }
}

/// The name.
pub(crate) fn name(object: &Object) -> Value {
    object.metadata.name.as_str().into()
}

/// The text at `path`, or the empty one.
pub(crate) fn text(object: &Object, path: &[&str]) -> Value {
    object.str(path).into()
}

/// The text at `path`, or `other` where there is none.
pub(crate) fn text_or(object: &Object, path: &[&str], other: &str) -> Value {
    let found = object.str(path);
    if found.is_empty() { other } else { found }.into()
}

/// The number at `path`, or 0.
pub(crate) fn number(object: &Object, path: &[&str]) -> i64 {
    object.get(path).and_then(Value::as_i64).unwrap_or_default()
}

/// The flag at `path`, or `other` where there is none.
pub(crate) fn flag(object: &Object, path: &[&str], other: bool) -> Value {
    object.get(path).and_then(Value::as_bool).unwrap_or(other).into()
}

/// The items of the list at `path`.
pub(crate) fn items<'a>(object: &'a Object, path: &[&str]) -> &'a [Value] {
    object.get(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// How many items or entries stand at `path`.
pub(crate) fn count(object: &Object, path: &[&str]) -> usize {
    match object.get(path) {
        Some(Value::Array(items)) => items.len(),
        Some(Value::Object(entries)) => entries.len(),
        _ => 0,
    }
}

/// The strings of a list, joined.
pub(crate) fn joined(list: &[Value], separator: &str) -> String {
    list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(separator)
}

/// The field `key` of each item, joined by commas.
pub(crate) fn each_joined(list: &[Value], key: &str) -> String {
    list.iter().map(|i| i[key].as_str().unwrap_or_default()).collect::<Vec<_>>().join(",")
}

/// Names and images of the containers of the pod spec at `path`: two cells of the wide table.
pub(crate) fn containers(object: &Object, path: &[&str]) -> [Value; 2] {
    let list: Vec<&str> = path.iter().copied().chain(["containers"]).collect();
    let list = items(object, &list);
    [each_joined(list, "name").into(), each_joined(list, "image").into()]
}

/// A map of labels as `a=b,c=d`, or `<none>`.
pub(crate) fn labels(map: Option<&Value>) -> Value {
    let entries = map.and_then(Value::as_object).into_iter().flatten();
    let mut all: Vec<String> =
        entries.map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
    all.sort();
    if all.is_empty() { "<none>".into() } else { all.join(",").into() }
}

/// A label selector in the text form of `kubectl -l`, or `<none>`.
pub(crate) fn selector(value: Option<&Value>) -> Value {
    let Some(value) = value else { return "<none>".into() };
    let parsed = meta::LabelSelector::from_value(value).and_then(|s| s.selector());
    match parsed {
        Ok(s) if s.is_empty() => "<none>".into(),
        Ok(s) => s.to_string().into(),
        Err(_) => "<error>".into(),
    }
}

/// Name, then age.
pub(crate) fn name_and_age(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![name(object), age(object, now)]
}

/// The first `max` of a list, and how many more there are; `<none>` for an empty one.
pub(crate) fn shortened(list: &[String], max: usize) -> String {
    match list.len() {
        0 => "<none>".to_owned(),
        n if n > max => format!("{} + {} more...", list[..max].join(","), n - max),
        _ => list.join(","),
    }
}
