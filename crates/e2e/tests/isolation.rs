//! What containers may not do to their node and to each other, and what they are told of themselves.

use e2e::{BUSYBOX, Cluster, Program, eventually};

/// A pod of one container with a shell; `more` is YAML of the container, `spec` of the pod.
fn pod(name: &str, script: &str, more: &str, spec: &str) -> String {
    let indent = |text: &str, by: &str| text.lines().map(|l| format!("{by}{l}\n")).collect::<String>();
    let script = serde_json::Value::from(script);
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\nspec:\n  terminationGracePeriodSeconds: 1\n{}  containers:\n  - name: main\n    image: {BUSYBOX}\n    command: [sh, -c, {script}]\n{}",
        indent(spec, "  "),
        indent(more, "    "),
    )
}

/// What goes on until it is told to end.
const FOREVER: &str = "trap exit TERM; while :; do sleep 0.2; done";

#[track_caller]
fn path_of(c: &Cluster, pod: &str, path: &str) -> String {
    c.kubectl(&["get", "pod", pod, "-o", &format!("jsonpath={{{path}}}")]).ok()
}

/// Waits until a field of a pod is, or contains, this.
#[track_caller]
fn says(c: &Cluster, pod: &str, path: &str, expected: &str) {
    eventually(&format!("{pod}: {path}: {expected}"), || {
        let got = path_of(c, pod, path);
        let described = || c.kubectl(&["describe", "pod", pod]).out;
        if got.contains(expected) { Ok(()) } else { Err(format!("{got}\n{}", described())) }
    });
}

#[track_caller]
fn event(c: &Cluster, pod: &str, expected: &str) {
    eventually(&format!("{pod}: an event with {expected:?}"), || {
        let events = c.kubectl(&["events", "--for", &format!("pod/{pod}")]).out;
        if events.contains(expected) { Ok(()) } else { Err(events) }
    });
}

#[track_caller]
fn logged(c: &Cluster, pod: &str, expected: &str) {
    eventually(&format!("{pod}: a line with {expected:?}"), || {
        let log = c.kubectl(&["logs", pod]);
        if log.out.contains(expected) { Ok(()) } else { Err(format!("{}{}", log.out, log.err)) }
    });
}

/// The output of a shell in a pod, errors too.
fn shell(c: &Cluster, pod: &str, script: &str) -> String {
    let script = format!("{{ {script}; }} 2>&1");
    c.kubectl(&["exec", pod, "--", "sh", "-c", &script]).out
}

#[test]
fn limits_hold_and_the_node_survives() {
    let c = Cluster::with_node();
    c.import_busybox();
    let bomb = "i=0; while [ $i -lt 5000 ]; do sleep 300 & i=$((i+1)); done; echo survived";
    c.apply(
        &[
            pod(
                "hog",
                "exec dd if=/dev/zero of=/dev/null bs=200M count=1",
                "resources: {limits: {memory: 32Mi}}",
                "",
            ),
            pod("bomb", bomb, "resources: {limits: {memory: 2Gi, cpu: 500m}}", "restartPolicy: Never"),
            pod("slow", FOREVER, "resources: {limits: {cpu: 200m, memory: 64Mi}}", ""),
            pod("stubborn", "trap '' TERM; while :; do sleep 0.2; done", "", ""),
        ]
        .concat(),
    );
    says(&c, "hog", ".status.containerStatuses[0].lastState.terminated.reason", "OOMKilled");
    assert_eq!(path_of(&c, "hog", ".status.containerStatuses[0].lastState.terminated.exitCode"), "137");
    says(&c, "hog", ".status.containerStatuses[0].state.waiting.reason", "CrashLoopBackOff");
    logged(&c, "bomb", "can't fork");
    c.wait_phase("slow", "Running");
    let quota = shell(&c, "slow", "cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us");
    assert!(quota.contains("20000"), "{quota}");
    let memory =
        shell(&c, "slow", "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes");
    assert!(memory.contains("67108864"), "{memory}");
    c.wait_phase("stubborn", "Running");
    c.kubectl(&["delete", "pod", "stubborn", "--timeout=60s"]).ok();
    let node = c.kubectl(&["get", "nodes", "--no-headers"]).ok();
    assert!(node.contains(" Ready "), "{node}");
}

#[test]
fn what_cannot_run_says_why_in_upstreams_words() {
    let c = Cluster::with_node();
    c.import_busybox();
    let escape = "initContainers:\n- name: plant\n  image: localhost/busybox:1\n  command: [ln, -s, /etc, /v/escape]\n  volumeMounts: [{name: v, mountPath: /v}]\nvolumes: [{name: v, emptyDir: {}}]";
    c.apply(
        &[
            pod("absent", "true", "", "").replace(BUSYBOX, "ironclad.local/nothing:1"),
            pod("nonsense", "true", "", "restartPolicy: Never")
                .replace("command: [sh, -c, \"true\"]", "command: [nonsense]"),
            pod("root", "true", "securityContext: {runAsNonRoot: true}", ""),
            pod("unset", "true", "envFrom: [{configMapRef: {name: unset}}]", ""),
            pod(
                "hostdir",
                "true",
                "volumeMounts: [{name: v, mountPath: /v}]",
                "volumes: [{name: v, hostPath: {path: /nonexistent-ironclad, type: Directory}}]",
            ),
            pod("escape", "true", "volumeMounts: [{name: v, mountPath: /v, subPath: escape}]", escape),
        ]
        .concat(),
    );
    let waiting = ".status.containerStatuses[0].state.waiting";
    eventually("the absent image", || {
        let reason = path_of(&c, "absent", &format!("{waiting}.reason"));
        if ["ErrImagePull", "ImagePullBackOff"].contains(&reason.as_str()) { Ok(()) } else { Err(reason) }
    });
    let ended = ".status.containerStatuses[0].state.terminated";
    says(&c, "nonsense", &format!("{ended}.reason"), "StartError");
    says(
        &c,
        "nonsense",
        &format!("{ended}.message"),
        "exec: \"nonsense\": executable file not found in $PATH",
    );
    assert_eq!(path_of(&c, "nonsense", &format!("{ended}.exitCode")), "128");
    assert_eq!(path_of(&c, "nonsense", &format!("{ended}.startedAt")), "1970-01-01T00:00:00Z");
    says(&c, "root", &format!("{waiting}.reason"), "CreateContainerConfigError");
    says(&c, "root", &format!("{waiting}.message"), "container has runAsNonRoot and image will run as root");
    says(&c, "unset", &format!("{waiting}.message"), "configmap \"unset\" not found");
    event(&c, "hostdir", "hostPath type check failed: /nonexistent-ironclad is not a directory");
    says(&c, "escape", &format!("{waiting}.reason"), "CreateContainerConfigError");
    says(
        &c,
        "escape",
        &format!("{waiting}.message"),
        "failed to prepare subPath for volumeMount \"v\" of container \"main\"",
    );
    let upwards = pod(
        "upwards",
        "true",
        "volumeMounts: [{name: v, mountPath: /v, subPath: ../..}]",
        "volumes: [{name: v, emptyDir: {}}]",
    );
    let refused = c.kubectl_with(&["apply", "-f", "-"], &upwards).fails();
    assert!(refused.contains("must not contain '..'"), "{refused}");
}

#[test]
fn containers_are_confined() {
    let c = Cluster::with_node();
    c.import_busybox();
    let strict = "securityContext:\n  runAsUser: 1000\n  runAsNonRoot: true\n  readOnlyRootFilesystem: true\n  allowPrivilegeEscalation: false\n  capabilities: {drop: [ALL]}\n  seccompProfile: {type: RuntimeDefault}";
    let filtered = "securityContext: {seccompProfile: {type: RuntimeDefault}}";
    c.apply(&[pod("strict", FOREVER, strict, ""), pod("plain", FOREVER, filtered, "")].concat());
    c.wait_phase("strict", "Running");
    c.wait_phase("plain", "Running");
    assert_eq!(shell(&c, "strict", "id -u"), "1000\n");
    assert!(shell(&c, "strict", "touch /file").contains("Read-only file system"));
    let status = shell(&c, "strict", "cat /proc/self/status");
    for line in ["NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "Seccomp:\t2"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    assert_eq!(shell(&c, "plain", "id -u"), "0\n");
    for (script, refusal) in [
        ("mount -t tmpfs none /tmp", "denied|not permitted"),
        ("busybox unshare -m true", "not permitted"),
        ("echo 1 > /proc/sys/vm/swappiness", "Read-only file system"),
        ("dd if=/dev/sda of=/dev/null count=1", "No such file|not permitted"),
    ] {
        let told = shell(&c, "plain", script);
        assert!(refusal.split('|').any(|r| told.contains(r)), "{script}: {told}");
    }
    // Masked, where the kernel has them at all.
    let masked =
        "for f in /proc/kcore /proc/keys /proc/timer_list; do test ! -e $f || head -c 1 $f; done | wc -c";
    assert_eq!(shell(&c, "plain", masked).trim(), "0");
    assert_eq!(shell(&c, "plain", "ls /proc/acpi /sys/firmware | grep -v : | wc -w").trim(), "0");
    let capabilities = shell(&c, "plain", "grep CapEff /proc/self/status");
    assert!(capabilities.contains("00000000a80425fb"), "{capabilities}");
    // Processes of other pods and of the node are not to be seen.
    assert!(!shell(&c, "plain", "ps").contains("ironclad"));
}

#[test]
fn configuration_reaches_containers_and_follows_changes() {
    let c = Cluster::with_node();
    c.import_busybox();
    c.kubectl(&["create", "configmap", "settings", "--from-literal=color=red"]).ok();
    let more = "resources: {limits: {cpu: 250m, memory: 64Mi}}\nenv:\n- {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}\n- {name: ADDRESS, valueFrom: {fieldRef: {fieldPath: status.podIP}}}\n- {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}\n- {name: COLOR, valueFrom: {configMapKeyRef: {name: settings, key: color}}}\n- {name: SUM, value: $(POD)-$(COLOR)}\nvolumeMounts:\n- {name: settings, mountPath: /settings}\n- {name: memory, mountPath: /memory}\n- {name: about, mountPath: /about}";
    let spec = "volumes:\n- {name: settings, configMap: {name: settings}}\n- {name: memory, emptyDir: {medium: Memory, sizeLimit: 8Mi}}\n- {name: about, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}";
    c.apply(&pod("reader", FOREVER, more, spec));
    c.wait_phase("reader", "Running");
    let address = path_of(&c, "reader", ".status.podIP");
    let told = shell(&c, "reader", "echo $POD $ADDRESS $CPU $COLOR $SUM; cat /about/labels");
    assert_eq!(told, format!("reader {address} 250 red reader-red\napp=\"reader\""));
    assert_eq!(shell(&c, "reader", "cat /settings/color"), "red");
    let memory = shell(&c, "reader", "df /memory | tail -1");
    assert!(memory.contains("8192"), "{memory}");
    c.kubectl(&["patch", "configmap", "settings", "-p", "{\"data\":{\"color\":\"blue\"}}"]).ok();
    eventually("the change in the volume", || {
        let color = shell(&c, "reader", "cat /settings/color");
        if color == "blue" { Ok(()) } else { Err(color) }
    });
    // The pod's token is good for the API, as the pod's service account.
    let secrets = "/var/run/secrets/kubernetes.io/serviceaccount";
    let token = shell(&c, "reader", &format!("cat {secrets}/token"));
    let ca = c.file("pod-ca.crt", &shell(&c, "reader", &format!("cat {secrets}/ca.crt")));
    let server = c.kubectl(&["config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"]).ok();
    let kubectl = Program::from_env("KUBECTL_BIN").env("KUBECONFIG", "/dev/null").env("HOME", c.scratch());
    let identity = ["--server", &server, "--certificate-authority", &ca, "--token", &token];
    let who = kubectl
        .run(&[&identity[..], &["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]].concat())
        .ok();
    assert_eq!(who, "system:serviceaccount:default:default");
    let forbidden = kubectl.run(&[&identity[..], &["get", "secrets"]].concat()).fails();
    assert!(
        forbidden.contains("User \"system:serviceaccount:default:default\" cannot list resource \"secrets\""),
        "{forbidden}"
    );
}

#[test]
fn probes_hooks_and_companions() {
    let c = Cluster::with_node();
    c.import_busybox();
    let helpers = "initContainers:\n- name: first\n  image: localhost/busybox:1\n  command: [sh, -c, 'echo first > /v/order']\n  volumeMounts: [{name: v, mountPath: /v}]\n- name: beside\n  restartPolicy: Always\n  image: localhost/busybox:1\n  command: [sh, -c, 'echo beside >> /v/order; trap exit TERM; while :; do sleep 0.2; done']\n  volumeMounts: [{name: v, mountPath: /v}]\nvolumes: [{name: v, emptyDir: {}}]";
    let gated = "readinessProbe: {exec: {command: [cat, /tmp/ready]}, periodSeconds: 1}\nstartupProbe: {exec: {command: ['true']}, periodSeconds: 1}\nlifecycle: {postStart: {exec: {command: [touch, /tmp/hooked]}}}\nvolumeMounts: [{name: v, mountPath: /v}]";
    let living = "livenessProbe: {exec: {command: [cat, /tmp/alive]}, periodSeconds: 1, failureThreshold: 1}";
    let ending = "echo one; echo why > /dev/termination-log; exit 3";
    c.apply(
        &[
            pod("gated", FOREVER, gated, helpers),
            pod(
                "living",
                "echo begun; touch /tmp/alive; sleep 2; rm /tmp/alive; while :; do sleep 0.2; done",
                living,
                "",
            ),
            pod("ending", ending, "", ""),
        ]
        .concat(),
    );
    c.kubectl(&["expose", "pod", "gated", "--port=80"]).ok();
    c.wait_phase("gated", "Running");
    assert_eq!(path_of(&c, "gated", ".status.containerStatuses[0].ready"), "false");
    let ready = "jsonpath={.items[*].endpoints[*].conditions.ready}";
    let endpoints =
        || c.kubectl(&["get", "endpointslices", "-l", "kubernetes.io/service-name=gated", "-o", ready]).out;
    assert_ne!(endpoints(), "true");
    let exec = c
        .kubectl(&[
            "exec",
            "gated",
            "-c",
            "main",
            "--",
            "sh",
            "-c",
            "cat /v/order; ls /tmp/hooked; touch /tmp/ready",
        ])
        .ok();
    assert!(exec.starts_with("first\nbeside\n") && exec.contains("/tmp/hooked"), "{exec}");
    eventually("the endpoint", || if endpoints() == "true" { Ok(()) } else { Err(endpoints()) });
    says(&c, "ending", ".status.containerStatuses[0].lastState.terminated.message", "why");
    assert_eq!(path_of(&c, "ending", ".status.containerStatuses[0].lastState.terminated.exitCode"), "3");
    assert_eq!(c.kubectl(&["logs", "ending", "--previous"]).ok(), "one\n");
    event(&c, "living", "Container main failed liveness probe, will be restarted");
    says(&c, "living", ".status.containerStatuses[0].restartCount", "1");
}
