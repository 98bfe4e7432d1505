use super::{World, create, pod, update};
use expect_test::expect;
use serde_json::{Value, json};

fn world(labels: Value) -> World {
    let mut world = World::new();
    world.put("/namespaces", json!({"metadata": {"name": "dev", "labels": labels}}));
    world
}

fn enforcing(level: &str) -> World {
    world(json!({"pod-security.kubernetes.io/enforce": level}))
}

fn good() -> Value {
    json!({"name": "c", "image": "i", "securityContext": {"allowPrivilegeEscalation": false, "runAsNonRoot": true,
        "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}})
}

#[test]
fn restricted_in_upstreams_words() {
    let w = enforcing("restricted");
    let say = |spec| w.say(create("/pods", pod(spec)));
    let mut two = json!([good(), good()]);
    two[1]["name"] = "d".into();
    two[1]["securityContext"] =
        json!({"privileged": true, "runAsUser": 0, "capabilities": {"add": ["NET_ADMIN", "CHOWN"]}});
    let lines = [
        say(json!({"containers": [good()]})),
        say(json!({"containers": [{"name": "c", "image": "i"}]})),
        say(json!({"containers": two})),
        say(json!({"containers": [good()], "initContainers": [{"name": "i"}], "hostNetwork": true,
            "volumes": [{"name": "h", "hostPath": {"path": "/"}}, {"name": "n", "nfs": {}}, {"name": "e", "emptyDir": {}}]})),
        say(
            json!({"containers": [{"name": "c"}], "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "Unconfined"}}}),
        ),
        say(
            json!({"containers": [{"name": "c", "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "Localhost", "localhostProfile": "x"}}}], "hostUsers": false}),
        ),
    ];
    expect![[r#"
        ok
        403 pods "p" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")
        403 pods "p" is forbidden: violates PodSecurity "restricted:latest": privileged (container "d" must not set securityContext.privileged=true), allowPrivilegeEscalation != false (container "d" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "d" must set securityContext.capabilities.drop=["ALL"]; container "d" must not include "CHOWN", "NET_ADMIN" in securityContext.capabilities.add), runAsNonRoot != true (pod or container "d" must set securityContext.runAsNonRoot=true), runAsUser=0 (container "d" must not set runAsUser=0), seccompProfile (pod or container "d" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")
        403 pods "p" is forbidden: violates PodSecurity "restricted:latest": host namespaces (hostNetwork=true), allowPrivilegeEscalation != false (container "i" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "i" must set securityContext.capabilities.drop=["ALL"]), restricted volume types (volumes "h", "n" use restricted volume types "hostPath", "nfs"), runAsNonRoot != true (pod or container "i" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "i" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")
        403 pods "p" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")
        ok"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn baseline_in_upstreams_words() {
    let w = enforcing("baseline");
    let say = |spec| w.say(create("/pods", pod(spec)));
    let container = |more: Value| {
        let mut c = json!({"name": "c", "image": "i"});
        c.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"containers": [c]})
    };
    let mut annotated = pod(json!({"containers": [{"name": "c"}]}));
    annotated["metadata"]["annotations"] =
        json!({"container.apparmor.security.beta.kubernetes.io/c": "unconfined"});
    let lines = [
        say(container(json!({}))),
        say(json!({"containers": [{"name": "c"}], "hostPID": true, "hostIPC": true})),
        say(json!({"containers": [{"name": "c"}], "volumes": [{"name": "h", "hostPath": {"path": "/"}}]})),
        say(container(
            json!({"ports": [{"containerPort": 80, "hostPort": 80}, {"containerPort": 81, "hostPort": 8081}]}),
        )),
        say(container(json!({"securityContext": {"privileged": true}}))),
        say(container(json!({"securityContext": {"capabilities": {"add": ["NET_RAW"]}}}))),
        say(container(json!({"securityContext": {"procMount": "Unmasked"}}))),
        say(container(json!({"securityContext": {"seLinuxOptions": {"type": "spc_t", "user": "u"}}}))),
        say(container(json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}))),
        say(container(json!({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}))),
        say(container(json!({"securityContext": {"windowsOptions": {"hostProcess": true}}}))),
        say(container(json!({"livenessProbe": {"httpGet": {"host": "1.2.3.4", "port": 1}}}))),
        say(
            json!({"containers": [{"name": "c"}], "securityContext": {"sysctls": [{"name": "kernel.msgmax"}, {"name": "net.ipv4.tcp_rmem"}]}}),
        ),
        w.say(create("/pods", annotated)),
    ];
    expect![[r#"
        ok
        403 pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostPID=true, hostIPC=true)
        403 pods "p" is forbidden: violates PodSecurity "baseline:latest": hostPath volumes (volume "h")
        403 pods "p" is forbidden: violates PodSecurity "baseline:latest": hostPort (container "c" uses hostPorts 80, 8081)
        403 pods "p" is forbidden: violates PodSecurity "baseline:latest": privileged (container "c" must not set securityContext.privileged=true)
        403 pods "p" is forbidden: violates PodSecurity "baseline:latest": non-default capabilities (container "c" must not include "NET_RAW" in securityContext.capabilities.add)
        403 pods "p" is forbidden: violates PodSecurity "baseline:latest": procMount (container "c" must not set securityContext.procMount to "Unmasked")
        403 pods "p" is forbidden: violates PodSecurity "baseline:latest": seLinuxOptions (container "c" set forbidden securityContext.seLinuxOptions: type "spc_t"; user may not be set)
        403 pods "p" is forbidden: violates PodSecurity "baseline:latest": seccompProfile (container "c" must not set securityContext.seccompProfile.type to "Unconfined")
        403 pods "p" is forbidden: violates PodSecurity "baseline:latest": forbidden AppArmor profile (container "c" must not set AppArmor profile type to "Unconfined")
        403 pods "p" is forbidden: violates PodSecurity "baseline:latest": hostProcess (container "c" must not set securityContext.windowsOptions.hostProcess=true)
        403 pods "p" is forbidden: violates PodSecurity "baseline:latest": probe or lifecycle host (container "c" uses probe or lifecycle host "1.2.3.4")
        403 pods "p" is forbidden: violates PodSecurity "baseline:latest": forbidden sysctls (kernel.msgmax)
        403 pods "p" is forbidden: violates PodSecurity "baseline:latest": forbidden AppArmor profile (annotation must not set AppArmor profile type to "container.apparmor.security.beta.kubernetes.io/c="unconfined"")"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn workloads_are_warned_and_not_refused() {
    let w = enforcing("baseline");
    let deployment = json!({"metadata": {"name": "d", "namespace": "dev"}, "spec": {"template": {"spec": {
        "hostNetwork": true, "containers": [{"name": "c"}]}}}});
    let cron = json!({"metadata": {"name": "d"}, "spec": {"jobTemplate": {"spec": {"template": {"spec": {
        "containers": [{"name": "c", "securityContext": {"privileged": true}}]}}}}}});
    let mut audited = create("apps/deployments", deployment.clone());
    let strict = world(
        json!({"pod-security.kubernetes.io/audit": "restricted", "pod-security.kubernetes.io/audit-version": "v1.22"}),
    );
    strict.admit(&mut audited).unwrap();
    let audit: Vec<String> = audited.audit.iter().map(|(k, v)| format!("{k}: {v}")).collect();
    let quiet = world(
        json!({"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/warn": "privileged"}),
    );
    let lines = [
        w.say(create("apps/deployments", deployment.clone())),
        w.say(create("batch/cronjobs", cron)),
        quiet.say(create("apps/deployments", deployment)),
        audit.join("\n"),
    ];
    expect![[r#"
        ok
        Warning: would violate PodSecurity "baseline:latest": host namespaces (hostNetwork=true)
        ok
        Warning: would violate PodSecurity "baseline:latest": privileged (container "c" must not set securityContext.privileged=true)
        ok
        pod-security.kubernetes.io/audit-violations: would violate PodSecurity "restricted:v1.22": host namespaces (hostNetwork=true), allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn updates_and_subresources() {
    let w = enforcing("baseline");
    let bad = |image: &str| {
        pod(
            json!({"hostNetwork": true, "serviceAccountName": "default", "containers": [{"name": "c", "image": image}]}),
        )
    };
    let mut debug = bad("a");
    debug["spec"]["ephemeralContainers"] = json!([{"name": "e", "image": "x"}]);
    let lines = [
        w.say(update("/pods", bad("a"), bad("a"))),
        w.say(update("/pods", bad("b"), bad("a"))),
        w.say(update("/pods/status", bad("b"), bad("a"))),
        w.say(update("/pods/ephemeralcontainers", debug, bad("a"))),
        w.say(update("/pods/something-new", bad("b"), bad("a"))),
    ];
    expect![[r#"
        ok
        403 pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)
        ok
        403 pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)
        403 pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn labels_of_namespaces() {
    let mut w = World::new();
    let ns = |labels: Value| json!({"metadata": {"name": "dev", "labels": labels}});
    let enforce = |level: &str| ns(json!({"pod-security.kubernetes.io/enforce": level}));
    let owned = |name: &str| {
        json!({"metadata": {"name": name, "namespace": "dev", "ownerReferences": [{"kind": "ReplicaSet", "uid": "r", "controller": true}]},
            "spec": {"hostNetwork": true, "containers": [{"name": "c", "ports": [{"hostPort": 80}]}]}})
    };
    for name in ["a", "b", "c"] {
        w.put("/pods", owned(name));
    }
    w.put(
        "/pods",
        json!({"metadata": {"name": "z", "namespace": "dev"}, "spec": {"hostPID": true, "containers": []}}),
    );
    let bad = || {
        ns(
            json!({"pod-security.kubernetes.io/enforce": "none", "pod-security.kubernetes.io/warn-version": "1.2"}),
        )
    };
    let lines = [
        w.say(create("/namespaces", enforce("baseline"))),
        w.say(create("/namespaces", bad())),
        w.say(update("/namespaces", bad(), bad())),
        w.say(update("/namespaces", enforce("baseline"), ns(json!({})))),
        w.say(update("/namespaces", enforce("baseline"), enforce("restricted"))),
    ];
    expect![[r#"
        ok
        422 Namespace "dev" is invalid: [metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "none": must be one of privileged, baseline, restricted, metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: "1.2": must be "latest" or "v1.x"]
        ok
        ok
        Warning: existing pods in namespace "dev" violate the new PodSecurity enforce level "baseline:latest"
        Warning: a (and 2 other pods): host namespaces, hostPort
        Warning: z: host namespaces
        ok"#]].assert_eq(&lines.join("\n"));
}
