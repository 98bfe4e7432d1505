//! The storage class of the built-in provisioner, which a new cluster has from its start.

use super::PROVISIONER;
use api::storage::v1::StorageClass;
use api::{MetaExt, ObjectMeta, names};
use client::Key;
use reconcile::{Controller, Cx, Plan, Watch, Write};
use std::collections::BTreeMap;

/// The name of the class.
const NAME: &str = "local";

/// The controller. It looks once: whoever deletes the class later means it, until the next start.
pub(crate) struct DefaultClass;

impl Controller for DefaultClass {
    fn name(&self) -> &'static str {
        "storage-class-publisher"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::only::<StorageClass>()]
    }

    fn initial_keys(&self) -> Vec<Key> {
        vec![Key::new("", NAME)]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        if cx.view.at::<StorageClass>(cx.key).is_some() {
            return Plan::done();
        }
        let marked = |c: &StorageClass| c.annotation(names::ANNOTATION_DEFAULT_STORAGE_CLASS) == Some("true");
        let first = !cx.view.all::<StorageClass>().any(marked);
        let key = names::ANNOTATION_DEFAULT_STORAGE_CLASS.to_owned();
        let annotations = first.then(|| BTreeMap::from([(key, "true".to_owned())]));
        Plan::one(Write::create(&StorageClass {
            metadata: ObjectMeta { name: Some(NAME.to_owned()), annotations, ..ObjectMeta::default() },
            provisioner: PROVISIONER.to_owned(),
            reclaim_policy: Some("Delete".to_owned()),
            volume_binding_mode: Some("WaitForFirstConsumer".to_owned()),
            ..StorageClass::default()
        }))
    }
}
