//! `volumeattachments` (storage.k8s.io/v1).

use crate::kind::{Column, Kind};
use crate::strategy::{PLAIN, Strategy};
use crate::table::{age, flag, name, text};
use jiff::Timestamp;
use meta::Object;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    let mut kind = Kind::cluster("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments")
        .status(json!({"attached": false}))
        .table(&["Name", "Attacher", "PV", "Node", "Attached:boolean", "Age"], row)
        .strategy(&STRATEGY);
    // Upstream marks the attacher as a name too.
    let attacher = kind.columns.iter_mut().find(|c: &&mut Column| c.name == "Attacher");
    attacher.into_iter().for_each(|c| c.format = "name".into());
    kind
}

static STRATEGY: Strategy = Strategy { unconditional_update: false, ..PLAIN };

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    vec![
        name(o),
        text(o, &["spec", "attacher"]),
        text(o, &["spec", "source", "persistentVolumeName"]),
        text(o, &["spec", "nodeName"]),
        flag(o, &["status", "attached"], false),
        age(o, now),
    ]
}
