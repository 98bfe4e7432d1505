use super::{World, create, delete, update};
use expect_test::expect;
use serde_json::json;

#[test]
fn namespaces_must_be_there_and_stay() {
    let mut world = World::new();
    let map = json!({"metadata": {"name": "m", "namespace": "dev"}});
    assert_eq!(world.say(create("/configmaps", map.clone())), "ok");
    let mut elsewhere = create("/configmaps", map.clone());
    elsewhere.namespace = "none".into();
    expect![[r#"404 namespaces "none" not found"#]].assert_eq(&world.say(elsewhere.clone()));
    elsewhere.resource.group = "authorization.k8s.io".into();
    elsewhere.resource.resource = "localsubjectaccessreviews".into();
    assert_eq!(world.say(elsewhere), "ok");
    world.put("/namespaces", json!({"metadata": {"name": "dev"}, "status": {"phase": "Terminating"}}));
    expect![[r#"403 configmaps "m" is forbidden: unable to create new content in namespace dev because it is being terminated"#]]
        .assert_eq(&world.say(create("/configmaps", map.clone())));
    let status = world.admit(&mut create("/configmaps", map.clone())).unwrap_err();
    expect![[r#"{"causes":[{"field":"metadata.namespace","message":"namespace dev is being terminated","reason":"NamespaceTerminating"}],"kind":"configmaps","name":"m"}"#]]
        .assert_eq(&status.details.to_string());
    assert_eq!(world.say(update("/configmaps", map.clone(), map.clone())), "ok");
    assert_eq!(world.say(delete("/configmaps", map)), "ok");
}

#[test]
fn system_namespaces_stay() {
    let world = World::new();
    for name in ["default", "kube-system", "kube-public"] {
        let said = world.say(delete("/namespaces", json!({"metadata": {"name": name}})));
        assert_eq!(
            said,
            format!("403 namespaces \"{name}\" is forbidden: this namespace may not be deleted")
        );
    }
    assert_eq!(world.say(delete("/namespaces", json!({"metadata": {"name": "dev"}}))), "ok");
}
