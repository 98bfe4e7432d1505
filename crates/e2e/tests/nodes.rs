//! Two machines: a server with its node on one, an agent on the other. The machines are network namespaces with a cable
//! between them.

use e2e::{BUSYBOX, Cluster, Machines, Node, Options, eventually, within};
use std::time::Duration;

/// Upstream's grace before a silent node is NotReady is 50 s; then pods leave as their tolerations say.
const NODE_GRACE: Duration = Duration::from_secs(120);

/// The words behind `ironclad` of the line that `ironclad token` prints.
#[track_caller]
fn join_line(c: &Cluster) -> Vec<String> {
    let line = c.ironclad(&["token", "--ttl", "10m"]).ok();
    let mut words = line.split_whitespace().map(str::to_owned);
    assert_eq!(words.next().as_deref(), Some("ironclad"), "{line}");
    words.skip(1).collect()
}

/// What an agent says that can't join.
#[track_caller]
fn refused(node: &Node, flags: &[&str]) -> String {
    let said = node.ironclad(&[&["agent"], flags].concat()).fails();
    assert_eq!(said.lines().count(), 1, "not one sentence: {said}");
    assert!(!node.data_dir().exists(), "something is left of an agent that did not join");
    said
}

fn wrong_ways_in(c: &Cluster, node: &Node) {
    let line = join_line(c);
    let words: Vec<&str> = line.iter().map(String::as_str).collect();
    let ["--server", server, "--token", token] = words[..] else { panic!("{words:?}") };
    let says = |flags: &[&str], expected: &str| {
        let said = refused(node, flags);
        assert!(said.contains(expected), "{flags:?} does not say {expected:?}: {said}");
    };
    says(&[], "the line that `ironclad token` prints");
    says(&["--server", &server.replace("6443", "6444"), "--token", token], "cannot reach the server at");
    let (start, secret) = token.split_at(token.len() - 16);
    let reversed: String = secret.chars().rev().collect();
    says(&["--server", server, "--token", &format!("{start}{reversed}")], "does not take the token");
    let other = format!("K10{}{}", "0".repeat(64), &token[67..]);
    says(&["--server", server, "--token", &other], "is not the one that the token is for");
    says(&["--server", server, "--token", "abc"], "is not a token of `ironclad token`");
    // Both machines have one host name here.
    says(&["--server", server, "--token", token], "choose another name with --node-name");
}

/// Two pods on each node, all of one deployment and service, and one with a shell on the second node.
fn deploy(c: &Cluster) {
    c.apply(&format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 4
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      topologySpreadConstraints:
      - {{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {{matchLabels: {{app: web}}}}}}
      containers:
      - {{name: web, image: "ironclad.local/demo:latest", ports: [{{containerPort: 8080}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: shell}}
spec:
  nodeName: second
  terminationGracePeriodSeconds: 0
  tolerations:
  - {{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 0}}
  - {{key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 0}}
  containers:
  - {{name: shell, image: "{BUSYBOX}", command: [sh, -c, "echo hello from the shell; exec sleep 3600"]}}
"#
    ));
    c.says(&[
        ("rollout status deployment/web --timeout=90s", "successfully rolled out"),
        ("wait --for=condition=Ready pod/shell --timeout=90s", "condition met"),
    ]);
}

/// Name, address and node of each pod of the deployment.
#[track_caller]
fn pods(c: &Cluster) -> Vec<[String; 3]> {
    let path = "jsonpath={range .items[*]}{.metadata.name} {.status.podIP} {.spec.nodeName}{\"\\n\"}{end}";
    let text = c.kubectl(&["get", "pods", "-l", "app=web", "-o", path]).ok();
    let row = |line: &str| -> [String; 3] {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        words.try_into().unwrap_or_else(|_| panic!("{line}"))
    };
    text.lines().map(row).collect()
}

fn reach_each_other(c: &Cluster) {
    let pods = pods(c);
    let on_second = pods.iter().filter(|p| p[2] == "second").count();
    assert_eq!((pods.len(), on_second), (4, 2), "{pods:?}");
    for from in &pods {
        for [to, ip, _] in &pods {
            let url = format!("http://{ip}:8080/");
            let out = c.kubectl(&["exec", &from[0], "--", "/ironclad", "fetch", &url]).ok();
            assert!(out.contains(to), "{url}: {out}");
        }
        // By the service's name: DNS and the service proxy of the pod's own node, endpoints on both.
        eventually("answers of both nodes", || {
            let out = c.kubectl(&["exec", &from[0], "--", "/ironclad", "fetch", "http://web/"]).ok();
            let other = pods.iter().find(|p| out.contains(&p[0])).is_some_and(|p| p[2] != from[2]);
            if other { Ok(()) } else { Err(out) }
        });
    }
    c.says(&[
        ("exec shell -- nslookup web.default.svc.cluster.local", "Address"),
        ("exec shell -- sh -c 'nc -w 5 kubernetes.default 443 < /dev/null && echo reached'", "reached"),
        ("logs shell", "hello from the shell"),
    ]);
    let forward = c.background("port-forward pod/shell :80");
    forward.address();
}

/// A volume of the second node: made there, open to any user, and removed with its data.
fn keeps_data(c: &Cluster, second: &Node) {
    c.apply(&format!(
        r#"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: data}}
spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Mi}}}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: keeper}}
spec:
  nodeSelector: {{kubernetes.io/hostname: second}}
  restartPolicy: Never
  securityContext: {{runAsUser: 1000}}
  containers:
  - {{name: c, image: "{BUSYBOX}", command: [sh, -c, "echo kept > /data/file"], volumeMounts: [{{name: d, mountPath: /data}}]}}
  volumes: [{{name: d, persistentVolumeClaim: {{claimName: data}}}}]
"#
    ));
    c.wait_phase("keeper", "Succeeded");
    let path = c.run("get pv -o jsonpath={.items[0].spec.hostPath.path}").ok();
    assert!(std::path::Path::new(&path).starts_with(second.data_dir()), "{path}");
    assert_eq!(std::fs::read_to_string(format!("{path}/file")).unwrap_or_default(), "kept\n");
    c.says(&[("delete pod keeper", "deleted"), ("delete pvc data", "deleted")]);
    eventually("the volume is gone", || {
        let left = c.run("get pv").out;
        if left.is_empty() && !std::path::Path::new(&path).exists() { Ok(()) } else { Err(left) }
    });
}

#[track_caller]
fn containers(c: &Cluster) -> String {
    let path = "jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";
    c.kubectl(&["get", "pods", "-o", path]).ok()
}

#[track_caller]
fn node_is(c: &Cluster, node: &str, ready: &str) {
    let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
    within(NODE_GRACE, &format!("node {node} Ready={ready}"), || {
        let got = c.kubectl(&["get", "node", node, "-o", path]).out;
        if got == ready { Ok(()) } else { Err(c.kubectl(&["describe", "node", node]).out) }
    });
}

/// Waits until a pod of the second node answers, by a way that leads from the server to its agent.
#[track_caller]
fn second_answers(c: &Cluster) {
    eventually("exec on the second node", || {
        let out = c.run("exec shell -- echo here");
        if out.out.contains("here") { Ok(()) } else { Err(out.err) }
    });
}

#[test]
fn a_second_machine_joins_and_its_pods_are_reached() {
    let machines = Machines::joined();
    let mut c = Cluster::start(Options::first_of(&machines));
    let mut second = Node::new(&machines, 1);
    wrong_ways_in(&c, &second);
    let line = join_line(&c);
    let flags: Vec<&str> = line.iter().map(String::as_str).chain(["--node-name", "second"]).collect();
    second.start(&flags);
    second.import_busybox(&c);
    node_is(&c, "second", "True");
    deploy(&c);
    reach_each_other(&c);
    keeps_data(&c, &second);
    let before = containers(&c);
    // The agent dies and comes back by what it kept.
    second.kill();
    second.start(&[]);
    second_answers(&c);
    assert_eq!(containers(&c), before);
    // So does the server; the agent finds it again.
    c.kill();
    c.up();
    second_answers(&c);
    reach_each_other(&c);
    assert_eq!(containers(&c), before);
    // The agent goes, and its node with it; the pods that tolerate that least are evicted.
    second.stop();
    node_is(&c, "second", "Unknown");
    eventually("the eviction of the pod that tolerates nothing", || {
        let got = c.run("get pod shell -o jsonpath={.metadata.deletionTimestamp}");
        let gone = got.err.contains("NotFound") || !got.out.is_empty();
        if gone { Ok(()) } else { Err(c.run("describe pod shell").out) }
    });
}
