//! `events` (events.k8s.io/v1): the same stored objects as `events` of the core group, under other field names
//! (`pkg/apis/events/v1/conversion.go`).

use crate::kind::Kind;
use crate::kinds::core::event::{COLUMNS, default, row};
use crate::strategy::{PLAIN, Strategy, Update, WHOLE};
use crate::validate::event::{validate_new_form, validate_new_form_create, validate_new_form_update};
use meta::Object;

/// (here, in the stored form)
const NAMES: [(&str, &str); 7] = [
    ("note", "message"),
    ("regarding", "involvedObject"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

pub(super) fn kind() -> Kind {
    Kind::namespaced("events.k8s.io", "v1", "Event", "events")
        .short(&["ev"])
        .stored_as("", "v1", to_stored, from_stored)
        .table(COLUMNS, |o, now| row(&stored(o), now))
        .field_or("regarding.kind", "involvedObject.kind", "")
        .field_or("regarding.namespace", "involvedObject.namespace", "")
        .field_or("regarding.name", "involvedObject.name", "")
        .field_or("regarding.uid", "involvedObject.uid", "")
        .field_or("regarding.apiVersion", "involvedObject.apiVersion", "")
        .field_or("regarding.resourceVersion", "involvedObject.resourceVersion", "")
        .field_or("regarding.fieldPath", "involvedObject.fieldPath", "")
        .field("reason")
        .field_or("reportingController", "reportingComponent", "")
        // For the core group's selectors: the columns are those of one stored object.
        .field_or("source", "source.component|reportingComponent", "")
        .field("type")
        .strategy(&STRATEGY)
}

/// Everything is said of the stored form.
static STRATEGY: Strategy = Strategy {
    default: |o| {
        to_stored(o);
        default(o);
        from_stored(o);
    },
    validate: |o| validate_new_form(&stored(o)),
    validate_create: |o| validate_new_form_create(&stored(o)),
    update: Update { validate: |new, old| validate_new_form_update(&stored(new), &stored(old)), ..WHOLE },
    validate_name: crate::names::path_segment,
    create_on_update: true,
    ..PLAIN
};

fn stored(o: &Object) -> Object {
    let mut stored = o.clone();
    to_stored(&mut stored);
    stored
}

fn to_stored(o: &mut Object) {
    for (here, stored) in NAMES {
        if let Some(v) = o.body.remove(here) {
            o.body.insert(stored.into(), v);
        }
    }
}

fn from_stored(o: &mut Object) {
    for (here, stored) in NAMES {
        if let Some(v) = o.body.remove(stored) {
            o.body.insert(here.into(), v);
        }
    }
}
