use super::{World, create, update};
use expect_test::expect;
use serde_json::{Value, json};

fn owned(kind: &str, block: bool) -> Value {
    json!({"metadata": {"name": "m", "namespace": "dev", "ownerReferences": [
        {"apiVersion": "apps/v1", "kind": kind, "name": "o", "uid": "u", "blockOwnerDeletion": block}]}})
}

#[test]
fn owners_need_rights() {
    let mut w = World::new();
    let plain = || json!({"metadata": {"name": "m", "namespace": "dev"}});
    let mut lines = vec![
        w.say(create("/configmaps", owned("ReplicaSet", false))),
        w.say(update("/configmaps", owned("ReplicaSet", false), plain())),
        w.say(create("/configmaps", owned("ReplicaSet", true))),
        w.say(create("/configmaps", owned("Gizmo", true))),
        w.say(update("/configmaps", owned("Gizmo", true), owned("Gizmo", true))),
    ];
    w.allowed = |a| {
        a.resource == "replicasets" && a.subresource == "finalizers" && a.namespace == "dev" && a.name == "o"
    };
    lines.push(w.say(create("/configmaps", owned("ReplicaSet", true))));
    lines.push(w.say(create("/configmaps", owned("Node", true))));
    w.allowed = |a| a.resource == "*" && a.group == "*";
    lines.push(w.say(create("/configmaps", owned("Gizmo", true))));
    expect![[r#"
        ok
        403 configmaps "m" is forbidden: cannot set an ownerRef on a resource you can't delete: , <nil>
        403 configmaps "m" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: , <nil>
        403 configmaps "m" is forbidden: cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion apps/v1 Kind Gizmo: no matches for kind "Gizmo" in version "apps/v1"
        ok
        ok
        403 configmaps "m" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: , <nil>
        ok"#]].assert_eq(&lines.join("\n"));
}
