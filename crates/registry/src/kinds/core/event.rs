//! `events` (v1). The group `events.k8s.io` serves the same objects in another form.

use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy};
use crate::table::{ago_text, name, text};
use jiff::Timestamp;
use meta::Object;
use serde_json::{Map, Value, json};

/// The table of both groups.
pub(in crate::kinds) const COLUMNS: &[&str] = &[
    "Last Seen",
    "Type",
    "Reason",
    "Object",
    "Subobject*",
    "Source*",
    "Message",
    "First Seen*",
    "Count*",
    "Name*",
];

pub(super) fn kind() -> Kind {
    Kind::namespaced("", "v1", "Event", "events")
        .short(&["ev"])
        .table(COLUMNS, row)
        .field("involvedObject.kind")
        .field("involvedObject.namespace")
        .field("involvedObject.name")
        .field("involvedObject.uid")
        .field("involvedObject.apiVersion")
        .field("involvedObject.resourceVersion")
        .field("involvedObject.fieldPath")
        .field("reason")
        .field("reportingComponent")
        .field_or("source", "source.component|reportingComponent", "")
        .field("type")
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default,
    validate: crate::validate::event::validate_event,
    // Anything that stands in a path: events are named after what they are about.
    validate_name: crate::names::path_segment,
    create_on_update: true,
    ..PLAIN
};

/// Fields that upstream always writes.
pub(in crate::kinds) fn default(o: &mut Object) {
    for key in ["eventTime", "firstTimestamp", "lastTimestamp"] {
        o.body.entry(key).or_insert(Value::Null);
    }
    for key in ["reportingComponent", "reportingInstance"] {
        o.body.entry(key).or_insert_with(|| json!(""));
    }
    for key in ["source", "involvedObject"] {
        o.body.entry(key).or_insert_with(|| Value::Object(Map::new()));
    }
}

fn since(o: &Object, path: &[&str], now: Timestamp) -> Option<String> {
    o.get(path).and_then(Value::as_str).map(|t| ago_text(t, now))
}

/// A row, from the stored form.
pub(in crate::kinds) fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let unknown = || "<unknown>".to_owned();
    let first =
        since(o, &["firstTimestamp"], now).or_else(|| since(o, &["eventTime"], now)).unwrap_or_else(unknown);
    let series = o.get(&["series"]).filter(|s| s.is_object());
    let last = match series {
        Some(_) => since(o, &["series", "lastObservedTime"], now).unwrap_or_else(unknown),
        None => since(o, &["lastTimestamp"], now).unwrap_or_else(|| first.clone()),
    };
    let count = match series {
        Some(s) => s["count"].as_i64().unwrap_or_default(),
        None => o.get(&["count"]).and_then(Value::as_i64).filter(|n| *n != 0).unwrap_or(1),
    };
    let kind = o.str(&["involvedObject", "kind"]).to_lowercase();
    let target = match o.str(&["involvedObject", "name"]) {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let first_of =
        |a: &'static [&str], b| Some(o.str(a)).filter(|s| !s.is_empty()).unwrap_or_else(|| o.str(b));
    let component = first_of(&["source", "component"], &["reportingComponent"]);
    let instance = first_of(&["source", "host"], &["reportingInstance"]);
    let source = if instance.is_empty() { component.to_owned() } else { format!("{component}, {instance}") };
    vec![
        last.into(),
        text(o, &["type"]),
        text(o, &["reason"]),
        target.into(),
        text(o, &["involvedObject", "fieldPath"]),
        source.into(),
        o.str(&["message"]).trim().into(),
        first.into(),
        count.into(),
        name(o),
    ]
}
