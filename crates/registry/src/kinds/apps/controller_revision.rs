//! `controllerrevisions` (apps/v1).

use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy, Update, WHOLE};
use crate::table::{age, name, number};
use crate::validate::workload::{validate_revision, validate_revision_update};
use jiff::Timestamp;
use meta::Object;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind::namespaced("apps", "v1", "ControllerRevision", "controllerrevisions")
        .table(&["Name", "Controller", "Revision", "Age"], row)
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    validate: validate_revision,
    update: Update { validate: validate_revision_update, ..WHOLE },
    ..PLAIN
};

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let controller = o.metadata.controller().map(|owner| {
        let (group, _) = meta::gvk::parse_api_version(&owner.api_version);
        let kind = meta::GroupKind { group: group.to_owned(), kind: owner.kind.clone() };
        format!("{}/{}", kind.to_string().to_lowercase(), owner.name)
    });
    let controller = controller.unwrap_or_else(|| "<none>".to_owned());
    vec![name(o), controller.into(), number(o, &["revision"]).into(), age(o, now)]
}
