//! What of kubectl needs a node: streams to containers, rollouts of every kind, and care of the node.

use e2e::{BUSYBOX, Cluster, eventually, http_get};

const POD: &str = include_str!("../fixtures/pod.yaml");
const SETS: &str = include_str!("../fixtures/sets.yaml");

fn describes(c: &Cluster) {
    c.says(&[
        ("wait --for=condition=Ready pod/full --timeout=90s", "condition met"),
        ("wait --for=jsonpath={.status.phase}=Running pod/full --timeout=30s", "condition met"),
        ("describe pod full", "Successfully assigned default/full to"),
        ("describe pod full", "Type:       PersistentVolumeClaim"),
        ("describe pvc claim", "Used By:       full"),
        ("describe pv", "Claim:             default/claim"),
        ("describe storageclass", "ironclad.local/hostpath"),
        ("describe node", "Non-terminated Pods:"),
        ("get nodes -o wide", "ironclad://"),
        ("get pods -o wide", "full"),
    ]);
    let events = c.run("events --for pod/full").ok();
    assert!(events.contains("Started") && !events.contains("Warning"), "{events}");
}

fn logs(c: &Cluster) {
    c.says(&[
        ("logs full", "from-a\ninit\nfull "),
        ("logs full -c b", "from-b\n"),
        ("logs full --all-containers --prefix", "[pod/full/b] from-b"),
        ("logs full -c a --timestamps --tail=1", "Z full "),
        ("logs -l app=full --all-containers --tail=1", "from-b"),
        ("logs full -c a --since=1h --limit-bytes=6", "from-a"),
    ]);
    c.refuses(&[
        ("logs full -c nope", "container nope is not valid for pod full"),
        ("logs full -c a --previous", r#"previous terminated container "a" in pod "full" not found"#),
    ]);
    let follow = c.background("logs -f full -c b");
    follow.says("from-b");
    c.says(&[("exec full -c b -- sh -c 'echo late > /proc/1/fd/1'", "")]);
    follow.says("late");
    c.says(&[("exec full -c b -- kill 1", "")]);
    eventually("the log of the container before", || {
        let before = c.run("logs full -c b --previous");
        if before.out.contains("late") { Ok(()) } else { Err(before.err) }
    });
    c.says(&[("wait --for=condition=Ready pod/full --timeout=90s", "condition met")]);
}

fn streams(c: &Cluster) {
    c.says(&[("exec full -c a -- cat /cm/a /sec/a", "bb"), ("exec full -c a -- sh -c 'echo is$A'", "isb")]);
    c.refuses(&[
        ("exec full -c a -- nosuch", r#"exec: "nosuch": executable file not found in $PATH"#),
        ("exec nopod -- id", r#"pods "nopod" not found"#),
    ]);
    assert_eq!(c.run("exec full -c a -- sh -c 'exit 7'").code, 7);
    // The size comes beside the start of the program, as upstream's does: it may be a moment late.
    let size =
        r#"exec -it full -c a -- busybox timeout 30 sh -c "until stty size | grep 101; do sleep 0.1; done""#;
    let size = c.on_terminal(size, "").ok();
    assert!(size.contains("33 101"), "{size}");
    let typed = c.on_terminal("exec -it full -c a -- sh", "echo six times seven is $((6*7))\nexit\n").ok();
    assert!(typed.contains("six times seven is 42"), "{typed}");
    let mut attached = c.background("attach -i reads");
    attached.types("one\n");
    attached.says("got one");
    drop(attached);
    let run =
        ["run", "once", "--rm", "-i", "--restart=Never", &format!("--image={BUSYBOX}"), "--command", "--"];
    let said =
        c.kubectl_with(&[&run[..], &["sh", "-c", "while read x; do echo got $x; done"]].concat(), "two\n");
    assert!(said.ok().contains("got two"));
    c.refuses(&[("get pod once", "not found")]);
}

fn copies(c: &Cluster) {
    let there = c.scratch().join("there");
    std::fs::create_dir_all(there.join("sub")).expect("a directory to copy");
    let content = "line\n".repeat(100_000);
    std::fs::write(there.join("sub/long"), &content).expect("a file to copy");
    let back = c.scratch().join("back");
    c.says(&[
        (&format!("cp {} full:/tmp/there -c a", there.display()), ""),
        ("exec full -c a -- wc -l /tmp/there/sub/long", "100000"),
        (&format!("cp full:/tmp/there {} -c a", back.display()), ""),
    ]);
    assert!(
        std::fs::read_to_string(back.join("sub/long")).is_ok_and(|c| c == content),
        "what came back differs"
    );
}

fn forwards(c: &Cluster) {
    c.says(&[("expose deploy web --port=80 --target-port=8080", "exposed")]);
    for target in ["deploy/web :8080", "svc/web :80"] {
        let forward = c.background(&format!("port-forward {target}"));
        for _ in 0..3 {
            let page =
                http_get(&forward.address(), "/").unwrap_or_else(|e| panic!("{e}\n{}", forward.printed()));
            assert!(page.contains("pod: web-"), "{page}");
        }
    }
    let proxy = c.background("proxy --port=0");
    let page =
        http_get(&proxy.address(), "/api/v1/namespaces/default/services/web/proxy/").unwrap_or_default();
    assert!(page.contains("pod: web-"), "{page}");
}

fn debugs(c: &Cluster) {
    c.says(&[(&format!("debug full --image={BUSYBOX} -c dbg --target=a -- sh -c 'ps; sleep 1000'"), "")]);
    eventually("the debugger sees the target's processes", || {
        let seen = c.run("logs full -c dbg");
        if seen.out.contains("from-a") { Ok(()) } else { Err(format!("{}{}", seen.out, seen.err)) }
    });
    c.says(&[("describe pod full", "Ephemeral Containers:\n  dbg:")]);
}

fn rollouts(c: &Cluster) {
    c.says(&[
        ("set env deploy/web A=1", "updated"),
        ("rollout status deploy/web --timeout=90s", "successfully rolled out"),
        ("rollout pause deploy/web", "paused"),
        ("set env deploy/web A=2", "updated"),
        ("rollout resume deploy/web", "resumed"),
        ("rollout status deploy/web --timeout=90s", "successfully rolled out"),
        ("rollout restart deploy/web", "restarted"),
        ("rollout status deploy/web --timeout=90s", "successfully rolled out"),
        ("rollout history deploy/web --revision=2", "A:\t1"),
        ("rollout undo deploy/web --to-revision=1", "rolled back"),
        ("rollout status deploy/web --timeout=90s", "successfully rolled out"),
        ("rollout status sts/db --timeout=90s", "roll out complete: 2 new pods"),
        ("get pvc data-db-0 data-db-1 -o jsonpath={.items[*].status.phase}", "Bound Bound"),
        ("rollout restart sts/db", "restarted"),
        ("rollout status sts/db --timeout=90s", "roll out complete: 2 new pods"),
        ("exec db-1 -- cat /data/names", "db-1\ndb-1\n"),
        ("rollout history sts/db", "2"),
        ("scale sts db --replicas=1", "scaled"),
        ("wait --for=delete pod/db-1 --timeout=90s", ""),
        ("rollout status ds/everywhere --timeout=90s", "successfully rolled out"),
        ("rollout restart ds/everywhere", "restarted"),
        ("rollout status ds/everywhere --timeout=90s", "successfully rolled out"),
        ("rollout undo ds/everywhere", "rolled back"),
        ("rollout status ds/everywhere --timeout=90s", "successfully rolled out"),
        ("describe sts db", "Create Pod db-0 in StatefulSet db successful"),
        ("describe ds everywhere", "Created pod: everywhere-"),
        ("describe deploy web", "ScalingReplicaSet"),
        ("create job tick --from=cronjob/ticks", "created"),
        ("wait --for=condition=complete job/tick --timeout=90s", "condition met"),
        ("logs job/tick", "tick"),
        ("describe job tick", "Pods Statuses:"),
        ("describe cronjob ticks", "Concurrency Policy:"),
    ]);
}

fn tends_the_node(c: &Cluster) {
    let node = c.run("get nodes -o jsonpath={.items[0].metadata.name}").ok();
    c.says(&[
        (
            &format!("drain {node} --ignore-daemonsets --delete-emptydir-data --force --grace-period=1"),
            "drained",
        ),
        ("get nodes", "Ready,SchedulingDisabled"),
        ("get pods -l app=everywhere -o jsonpath={.items[0].status.phase}", "Running"),
        (&format!("run later --image={BUSYBOX} --restart=Never -- true"), "created"),
    ]);
    eventually("the scheduler says why", || {
        let said = c.run("describe pod later").out;
        if said.contains("0/1 nodes are available: 1 node(s) were unschedulable.") {
            Ok(())
        } else {
            Err(said)
        }
    });
    c.says(&[
        (&format!("taint node {node} k=v:NoSchedule"), "tainted"),
        (&format!("uncordon {node}"), "uncordoned"),
        (&format!("label node {node} disk=fast"), "labeled"),
    ]);
    c.refuses(&[(
        &format!("taint node {node} k=v:NoSchedule"),
        "already has k taint(s) with same effect(s)",
    )]);
    c.says(&[
        (&format!("taint node {node} k-"), "untainted"),
        ("wait --for=jsonpath={.status.phase}=Succeeded pod/later --timeout=90s", "condition met"),
        ("rollout status deploy/web --timeout=90s", "successfully rolled out"),
        ("delete deploy,sts,ds,svc,cronjob,job,pod --all --now", "deleted"),
        ("delete pvc --all", "deleted"),
        ("get pods", ""),
    ]);
    eventually("the volumes are gone", || {
        let left = c.run("get pv,pods -o name").ok();
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

#[test]
fn streams_rollouts_and_the_node() {
    let c = Cluster::with_node();
    c.import_busybox();
    c.apply(POD);
    c.apply(SETS);
    describes(&c);
    logs(&c);
    streams(&c);
    copies(&c);
    forwards(&c);
    debugs(&c);
    rollouts(&c);
    tends_the_node(&c);
}
