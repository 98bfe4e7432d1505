use super::{World, create, pod, update};
use crate::{Awaited, awaits, default_chain};
use expect_test::expect;
use serde_json::json;

#[test]
fn mounts_the_token_as_upstream_does() {
    let mut world = World::new();
    world.put(
        "/serviceaccounts",
        json!({"metadata": {"name": "default", "namespace": "dev"},
        "imagePullSecrets": [{"name": "pull"}]}),
    );
    let admitted = world.admitted(create(
        "/pods",
        pod(json!({
        "initContainers": [{"name": "i"}],
        "containers": [{"name": "c"}, {"name": "own", "volumeMounts": [
            {"name": "x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]}]})),
    ));
    let show = |field: &&str| format!("{field}: {}", admitted.body["spec"][*field]);
    let fields = [
        "serviceAccountName",
        "serviceAccount",
        "imagePullSecrets",
        "initContainers",
        "containers",
        "volumes",
    ];
    let lines: Vec<String> = fields.iter().map(show).collect();
    expect![[r#"
        serviceAccountName: "default"
        serviceAccount: "default"
        imagePullSecrets: [{"name":"pull"}]
        initContainers: [{"name":"i","volumeMounts":[{"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount","name":"kube-api-access-jpr6c","readOnly":true}]}]
        containers: [{"name":"c","volumeMounts":[{"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount","name":"kube-api-access-jpr6c","readOnly":true}]},{"name":"own","volumeMounts":[{"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount","name":"x"}]}]
        volumes: [{"name":"kube-api-access-jpr6c","projected":{"defaultMode":420,"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},{"configMap":{"items":[{"key":"ca.crt","path":"ca.crt"}],"name":"kube-root-ca.crt"}},{"downwardAPI":{"items":[{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"},"path":"namespace"}]}}]}}]"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn wishes_of_pod_and_account_count() {
    let mut world = World::new();
    let volumes =
        |world: &World, spec| world.admitted(create("/pods", pod(spec))).get(&["spec", "volumes"]).cloned();
    let spec = |wish: Option<bool>| match wish {
        None => json!({"containers": [{"name": "c"}]}),
        Some(wish) => json!({"containers": [{"name": "c"}], "automountServiceAccountToken": wish}),
    };
    assert!(volumes(&world, spec(None)).is_some());
    assert!(volumes(&world, spec(Some(false))).is_none());
    world.put(
        "/serviceaccounts",
        json!({"metadata": {"name": "default", "namespace": "dev"},
        "automountServiceAccountToken": false}),
    );
    assert!(volumes(&world, spec(None)).is_none());
    assert!(volumes(&world, spec(Some(true))).is_some());
}

#[test]
fn the_account_must_be_there() {
    let world = World::new();
    let said =
        world.say(create("/pods", pod(json!({"serviceAccountName": "web", "containers": [{"name": "c"}]}))));
    expect![[r#"403 pods "p" is forbidden: error looking up service account dev/web: serviceaccount "web" not found"#]]
        .assert_eq(&said);
    let mut fresh = World::new();
    fresh.put("/namespaces", json!({"metadata": {"name": "new"}}));
    let mut request = create("/pods", pod(json!({"containers": [{"name": "c"}]})));
    request.namespace = "new".into();
    let awaited = Awaited {
        group: String::new(),
        resource: "serviceaccounts".into(),
        namespace: "new".into(),
        name: "default".into(),
    };
    assert_eq!(awaits(&default_chain(), &request, &fresh), Some(awaited));
    request.namespace = "dev".into();
    assert_eq!(awaits(&default_chain(), &request, &fresh), None);
}

#[test]
fn mountable_secrets_are_enforced_where_asked() {
    let mut world = World::new();
    world.put(
        "/serviceaccounts",
        json!({"metadata": {"name": "default", "namespace": "dev",
        "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}},
        "secrets": [{"name": "ok"}], "imagePullSecrets": [{"name": "pull"}]}),
    );
    let say = |spec| world.say(create("/pods", pod(spec)));
    let env = |name: &str| json!([{"name": "E", "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}}]);
    let lines = [
        say(json!({"containers": [{"name": "c", "env": env("ok")}]})),
        say(json!({"containers": [{"name": "c", "env": env("no")}]})),
        say(
            json!({"containers": [], "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "no"}}]}]}),
        ),
        say(json!({"containers": [], "volumes": [{"name": "v", "secret": {"secretName": "no"}}]})),
        say(json!({"containers": [], "imagePullSecrets": [{"name": "pull"}, {"name": "no"}]})),
    ];
    expect![[r#"
        ok
        403 pods "p" is forbidden: container c with envVar E referencing secret.secretName="no" is not allowed because service account default does not reference that secret
        403 pods "p" is forbidden: init container i with envFrom referencing secret.secretName="no" is not allowed because service account default does not reference that secret
        403 pods "p" is forbidden: volume with secret.secretName="no" is not allowed because service account default does not reference that secret
        403 pods "p" is forbidden: imagePullSecrets[1].name="no" is not allowed because service account default does not reference that imagePullSecret"#]].assert_eq(&lines.join("\n"));
    let old = pod(json!({"serviceAccountName": "default", "containers": []}));
    let new = pod(json!({"serviceAccountName": "default", "containers": [],
        "ephemeralContainers": [{"name": "e", "env": env("no")}]}));
    expect![[r#"403 pods "p" is forbidden: ephemeral container e with envVar E referencing secret.secretName="no" is not allowed because service account default does not reference that secret"#]].assert_eq(&world.say(update("/pods/ephemeralcontainers", new, old)));
}

#[test]
fn mirror_pods_refer_to_nothing() {
    let world = World::new();
    let say = |spec| {
        let mut pod = pod(spec);
        pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
        world.say(create("/pods", pod))
    };
    let lines = [
        say(json!({"containers": [{"name": "c"}]})),
        say(json!({"serviceAccountName": "x", "containers": []})),
        say(json!({"containers": [], "volumes": [{"name": "v", "secret": {"secretName": "s"}}]})),
        say(
            json!({"containers": [], "volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}),
        ),
    ];
    expect![[r#"
        ok
        403 pods "p" is forbidden: a mirror pod may not reference service accounts
        403 pods "p" is forbidden: a mirror pod may not reference secrets
        403 pods "p" is forbidden: a mirror pod may not use ServiceAccountToken volume projections"#]]
    .assert_eq(&lines.join("\n"));
}
