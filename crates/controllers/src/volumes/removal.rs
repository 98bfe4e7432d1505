//! Has the data of volumes removed that nobody needs any more, each by the node that has them. A node may read and change
//! no volumes, only its own Node object: there it is told which directories to remove, and there it says which it has
//! removed, as attachments are told of in `status.volumesAttached` and `status.volumesInUse`.

use super::{ANNOTATION_NODE, FINALIZER_DATA, PROVISIONER, phase, provisioner, reclaim_policy};
use api::core::v1::{Node, PersistentVolume};
use api::{MetaExt, names};
use client::Key;
use reconcile::{Controller, Cx, Plan, Watch, Write};
use serde_json::json;

/// On a node: where it keeps the directories of volumes of ours.
pub const ANNOTATION_PLACE: &str = "ironclad.local/volumes-dir";
/// On a node, by the server: volumes whose directories it is to remove, in order, with commas between.
pub const ANNOTATION_TO_REMOVE: &str = "ironclad.local/volumes-to-remove";
/// On a node, by the node: those that it has removed.
pub const ANNOTATION_REMOVED: &str = "ironclad.local/volumes-removed";
/// Volumes that one node is told of at once; the others have to wait for these.
const MAX_AT_ONCE: usize = 500;

/// Tells nodes what to remove.
pub(crate) struct VolumeRemoval;

impl Controller for VolumeRemoval {
    fn name(&self) -> &'static str {
        "volume-removal"
    }

    fn account(&self) -> &'static str {
        "node-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        let of_volume = Watch::each::<PersistentVolume>(|_, volume, keys| {
            keys.extend(volume.annotation(ANNOTATION_NODE).map(|node| Key::new("", node)));
        });
        vec![Watch::own::<Node>(), of_volume]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let Some(node) = cx.view.at::<Node>(cx.key).filter(|n| !n.is_deleting()) else {
            return Plan::done();
        };
        let mut names: Vec<&str> = cx
            .view
            .all::<PersistentVolume>()
            .filter(|v| goes_from(v, node.name()))
            .map(|v| v.name())
            .collect();
        names.sort_unstable();
        names.truncate(MAX_AT_ONCE);
        let wanted = names.join(",");
        if node.annotation(ANNOTATION_TO_REMOVE).unwrap_or_default() == wanted {
            return Plan::done();
        }
        let wanted = if wanted.is_empty() { json!(null) } else { json!(wanted) };
        Plan::one(Write::merge(node, &json!({"metadata": {"annotations": {ANNOTATION_TO_REMOVE: wanted}}})))
    }
}

/// Whether a volume's data are of no use to anybody, and on this node.
fn goes_from(volume: &PersistentVolume, node: &str) -> bool {
    is_free(volume)
        && reclaim_policy(volume) == "Delete"
        && provisioner(volume) == Some(PROVISIONER)
        && volume.annotation(ANNOTATION_NODE) == Some(node)
}

/// Whether a volume of ours is to go, and nobody is bound to it any more.
pub(super) fn is_free(volume: &PersistentVolume) -> bool {
    volume.is_deleting()
        && volume.has_finalizer(FINALIZER_DATA)
        && !volume.has_finalizer(names::FINALIZER_PV_PROTECTION)
        && phase(volume) != "Bound"
}

/// Whether the node says that it has removed the volume's data.
pub(super) fn has_removed(node: &Node, volume: &PersistentVolume) -> bool {
    let removed = node.annotation(ANNOTATION_REMOVED).unwrap_or_default();
    removed.split(',').any(|name| name == volume.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;
    use expect_test::expect;
    use serde_json::Value;

    fn volume(name: &str, change: impl Fn(&mut Value)) -> Value {
        let mut v = json!({"apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": name, "finalizers": [FINALIZER_DATA], "deletionTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {ANNOTATION_NODE: "n1", "pv.kubernetes.io/provisioned-by": PROVISIONER}},
            "spec": {"persistentVolumeReclaimPolicy": "Delete"}, "status": {"phase": "Released"}});
        change(&mut v);
        v
    }

    fn node(told: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1",
            "annotations": {ANNOTATION_TO_REMOVE: told}}})
    }

    #[test]
    fn a_node_is_told_of_its_own_volumes_that_nobody_needs() {
        let objects = [
            node(""),
            volume("b", |_| {}),
            volume("a", |_| {}),
            volume("bound", |v| v["status"]["phase"] = "Bound".into()),
            volume("protected", |v| {
                v["metadata"]["finalizers"] = json!([FINALIZER_DATA, "kubernetes.io/pv-protection"]);
            }),
            volume("kept", |v| v["spec"]["persistentVolumeReclaimPolicy"] = "Retain".into()),
            volume("lives", |v| v["metadata"]["deletionTimestamp"] = Value::Null),
            volume("elsewhere", |v| v["metadata"]["annotations"][ANNOTATION_NODE] = "n2".into()),
            volume("foreign", |v| {
                v["metadata"]["annotations"]["pv.kubernetes.io/provisioned-by"] = "x".into()
            }),
        ];
        expect![[r#"
            patch nodes n1 {"metadata":{"annotations":{"ironclad.local/volumes-to-remove":"a,b"}}}
        "#]]
        .assert_eq(&Scene::new(objects).show(&VolumeRemoval, "n1"));
        assert_eq!(Scene::new([node("a"), volume("a", |_| {})]).show(&VolumeRemoval, "n1"), "");
        expect![[r#"
            patch nodes n1 {"metadata":{"annotations":{"ironclad.local/volumes-to-remove":null}}}
        "#]]
        .assert_eq(&Scene::new([node("a")]).show(&VolumeRemoval, "n1"));
    }
}
