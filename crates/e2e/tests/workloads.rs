//! What runs on a node: pods, workloads and services under real kubectl.

use e2e::{BUSYBOX, Cluster, eventually, http_get};

#[test]
fn an_application_is_served_updated_and_healed() {
    let c = Cluster::with_node();
    c.kubectl(&[
        "create",
        "deployment",
        "web",
        "--image=ironclad.local/demo:latest",
        "--replicas=3",
        "--port=8080",
    ])
    .ok();
    c.kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"]).ok();
    c.kubectl(&["expose", "deployment", "web", "--port=80", "--target-port=8080", "--type=NodePort"]).ok();
    let ip = c.kubectl(&["get", "svc", "web", "-o", "jsonpath={.spec.clusterIP}"]).ok();
    let port = c.kubectl(&["get", "svc", "web", "-o", "jsonpath={.spec.ports[0].nodePort}"]).ok();
    for address in [format!("{ip}:80"), format!("127.0.0.1:{port}")] {
        eventually("the page", || {
            http_get(&address, "/").and_then(|p| if p.contains("pod: web-") { Ok(()) } else { Err(p) })
        });
    }
    let victim = c.kubectl(&["get", "pods", "-o", "jsonpath={.items[0].metadata.name}"]).ok();
    c.kubectl(&["delete", "pod", &victim]).ok();
    c.kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"]).ok();
    c.kubectl(&["set", "env", "deployment/web", "DEMO_VERSION=2"]).ok();
    c.kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"]).ok();
    eventually("the new version", || {
        http_get(&format!("{ip}:80"), "/")
            .and_then(|p| if p.contains("version: 2") { Ok(()) } else { Err(p) })
    });
    assert!(c.kubectl(&["rollout", "history", "deployment/web"]).ok().contains('2'));
    c.kubectl(&["rollout", "undo", "deployment/web"]).ok();
    c.kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"]).ok();
    assert!(c.kubectl(&["logs", "deployment/web"]).ok().contains("listens on"));
    assert!(c.kubectl(&["describe", "deployment", "web"]).ok().contains("ScalingReplicaSet"));
}

#[test]
fn a_pod_with_a_shell() {
    let c = Cluster::with_node();
    c.import_busybox();
    c.kubectl(&[
        "run",
        "box",
        &format!("--image={BUSYBOX}"),
        "--",
        "sh",
        "-c",
        "echo hello; trap exit TERM; while :; do sleep 1; done",
    ])
    .ok();
    c.wait_phase("box", "Running");
    eventually("the log", || {
        let log = c.kubectl(&["logs", "box"]);
        if log.out == "hello\n" { Ok(()) } else { Err(format!("{}{}", log.out, log.err)) }
    });
    assert_eq!(c.kubectl(&["exec", "box", "--", "sh", "-c", "echo out; echo err >&2; exit 3"]).code, 3);
    assert_eq!(c.kubectl(&["exec", "box", "--", "hostname"]).ok(), "box\n");
    assert_eq!(c.kubectl_with(&["exec", "-i", "box", "--", "cat"], "stdin").ok(), "stdin");
    let resolved = c.kubectl(&["exec", "box", "--", "nslookup", "kubernetes.default.svc.cluster.local"]).ok();
    assert!(resolved.contains("kubernetes.default.svc.cluster.local"), "{resolved}");
    let file = c.file("copied", "content");
    c.kubectl(&["cp", &file, "box:/tmp/copied"]).ok();
    assert_eq!(c.kubectl(&["exec", "box", "--", "cat", "/tmp/copied"]).ok(), "content");
    c.kubectl(&["delete", "pod", "box", "--grace-period=5"]).ok();
    c.kubectl(&["get", "pod", "box"]).fails();
}

#[test]
fn exit_codes_jobs_and_broken_images() {
    let c = Cluster::with_node();
    c.import_busybox();
    c.kubectl(&["create", "job", "ok", &format!("--image={BUSYBOX}"), "--", "sh", "-c", "exit 0"]).ok();
    c.kubectl(&["wait", "--for=condition=complete", "job/ok", "--timeout=60s"]).ok();
    c.kubectl(&[
        "run",
        "fails",
        &format!("--image={BUSYBOX}"),
        "--restart=Never",
        "--",
        "sh",
        "-c",
        "exit 42",
    ])
    .ok();
    c.wait_phase("fails", "Failed");
    let code = "jsonpath={.status.containerStatuses[0].state.terminated.exitCode}";
    assert_eq!(c.kubectl(&["get", "pod", "fails", "-o", code]).ok(), "42");
    c.kubectl(&["run", "absent", "--image=ironclad.local/nothing:1"]).ok();
    eventually("an error that names the image", || {
        let reason = c
            .kubectl(&[
                "get",
                "pod",
                "absent",
                "-o",
                "jsonpath={.status.containerStatuses[0].state.waiting.reason}",
            ])
            .out;
        if ["ErrImagePull", "ImagePullBackOff"].contains(&reason.as_str()) { Ok(()) } else { Err(reason) }
    });
}

#[test]
fn containers_outlive_the_server() {
    let mut c = Cluster::with_node();
    c.kubectl(&["create", "deployment", "web", "--image=ironclad.local/demo:latest", "--replicas=2"]).ok();
    c.kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"]).ok();
    let ids = "jsonpath={range .items[*]}{.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";
    let before = c.kubectl(&["get", "pods", "-l", "app=web", "-o", ids]).ok();
    c.kill();
    c.up();
    c.kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"]).ok();
    assert_eq!(c.kubectl(&["get", "pods", "-l", "app=web", "-o", ids]).ok(), before);
    assert_eq!(c.stop(), Some(0));
    c.up();
    assert_eq!(c.kubectl(&["get", "pods", "-l", "app=web", "-o", ids]).ok(), before);
}
