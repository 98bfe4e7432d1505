//! `podtemplates` (v1).

use crate::fill::part;
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy};
use crate::table::{containers, labels, name};
use jiff::Timestamp;
use meta::Object;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind::namespaced("", "v1", "PodTemplate", "podtemplates")
        .table(&["Name", "Containers", "Images", "Pod Labels"], row)
        .generation()
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default: |o| crate::pod::defaults::template(part(o, "template")),
    validate: crate::validate::workload::validate_pod_template,
    ..PLAIN
};

fn row(o: &Object, _: Timestamp) -> Vec<Value> {
    let [names, images] = containers(o, &["template", "spec"]);
    vec![name(o), names, images, labels(o.get(&["template", "metadata", "labels"]))]
}
