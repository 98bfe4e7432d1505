//! Who manages what: adopting orphans that match and letting go of what matches no longer
//! (`pkg/controller/controller_ref_manager.go`).

use api::{Kind, MetaExt};
use meta::selector::Selector;
use reconcile::Write;
use serde_json::json;

/// What an owner has, and the patches by which it has it.
pub(crate) struct Claim<'a, K> {
    /// What it manages now, adopted ones included.
    pub(crate) owned: Vec<&'a K>,
    /// The patches that adopt and let go.
    pub(crate) writes: Vec<Write>,
}

/// Sorts out `candidates` for `owner`. Those that nobody manages and that match are adopted; those that
/// `owner` manages and that match no longer are let go. Nothing is changed for an owner that is going.
pub(crate) fn claim<'a, O: Kind, K: Kind>(
    owner: &O,
    selector: &Selector,
    candidates: impl IntoIterator<Item = &'a K>,
) -> Claim<'a, K> {
    let (mut owned, mut writes) = (Vec::new(), Vec::new());
    for object in candidates {
        let matches = selector.matches(object.labels());
        match object.controller() {
            Some(c) if c.uid != owner.uid() => {}
            Some(_) if matches => owned.push(object),
            Some(_) if !owner.is_deleting() => writes.push(release(owner, object)),
            Some(_) => {}
            None if matches && !owner.is_deleting() && !object.is_deleting() => {
                owned.push(object);
                writes.push(adopt(owner, object));
            }
            None => {}
        }
    }
    Claim { owned, writes }
}

fn adopt<O: Kind, K: Kind>(owner: &O, object: &K) -> Write {
    let reference = api::kinds::controller_ref(owner);
    Write::strategic(object, "", &json!({"metadata": {"ownerReferences": [reference], "uid": object.uid()}}))
}

fn release<O: Kind, K: Kind>(owner: &O, object: &K) -> Write {
    let gone = json!({"$patch": "delete", "uid": owner.uid()});
    Write::strategic(object, "", &json!({"metadata": {"ownerReferences": [gone], "uid": object.uid()}}))
}
