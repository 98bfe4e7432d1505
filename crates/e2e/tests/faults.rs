//! What is killed, and what goes on all the same: the server, the runtime, containers, their keeper, all at once; and a
//! disk that is full.

use e2e::{BUSYBOX, Cluster, Options, eventually, processes};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// How often everything is killed in the loop, unless `IRONCLAD_KILLS` says otherwise.
const KILLS: usize = 5;
const IDENTITY: &str = "jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";

/// A deployment of so many replicas, rolled out.
#[track_caller]
fn deploy(c: &Cluster, replicas: usize) {
    let replicas = format!("--replicas={replicas}");
    c.kubectl(&["create", "deployment", "web", "--image=ironclad.local/demo:latest", &replicas]).ok();
    rolled_out(c);
}

#[track_caller]
fn rolled_out(c: &Cluster) {
    c.kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"]).ok();
}

/// Names, containers and restart counts of the deployment's pods.
#[track_caller]
fn pods(c: &Cluster) -> String {
    c.kubectl(&["get", "pods", "-l", "app=web", "-o", IDENTITY]).ok()
}

#[track_caller]
fn first_pod(c: &Cluster) -> String {
    c.kubectl(&["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}"]).ok()
}

/// Waits until a pod's only container restarted so often and runs.
#[track_caller]
fn restarted(c: &Cluster, pod: &str, times: &str) {
    let path = "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}";
    eventually("the restart", || {
        let got = c.kubectl(&["get", "pod", pod, "-o", path]).out;
        if got == format!("{times} true") { Ok(()) } else { Err(got) }
    });
}

#[test]
fn a_killed_server_costs_no_container_and_no_rollout() {
    let mut c = Cluster::with_node();
    deploy(&c, 2);
    let before = pods(&c);
    c.kill();
    c.up();
    rolled_out(&c);
    assert_eq!(pods(&c), before);
    // In the middle of a rollout: the next start carries on with it.
    c.kubectl(&["set", "env", "deployment/web", "DEMO_VERSION=2"]).ok();
    c.kill();
    c.up();
    rolled_out(&c);
    let names = c.kubectl(&[
        "get",
        "pods",
        "-l",
        "app=web",
        "-o",
        "jsonpath={.items[*].spec.containers[0].env[0].value}",
    ]);
    eventually("only pods of the new version", || {
        let left = c.kubectl(&["get", "pods", "-l", "app=web", "--no-headers"]).out.lines().count();
        if left == 2 { Ok(()) } else { Err(pods(&c)) }
    });
    assert!(names.ok().contains('2'));
    // A watch of before the kill goes on from its revision.
    let revision = c
        .kubectl(&["get", "configmap", "kube-root-ca.crt", "-o", "jsonpath={.metadata.resourceVersion}"])
        .ok();
    c.kubectl(&["create", "configmap", "after", "--from-literal=a=b"]).ok();
    c.kill();
    c.up();
    let path =
        format!("/api/v1/namespaces/default/configmaps?watch=1&resourceVersion={revision}&timeoutSeconds=1");
    let watched = c.kubectl(&["get", "--raw", &path]).ok();
    assert!(watched.contains("\"ADDED\"") && watched.contains("\"after\""), "{watched}");
}

#[test]
fn a_killed_runtime_comes_back_and_its_containers_never_left() {
    let c = Cluster::with_node();
    deploy(&c, 2);
    let (before, pod) = (pods(&c), first_pod(&c));
    let old = c.runtime().expect("a runtime");
    old.kill();
    eventually("another runtime", || match c.runtime() {
        Some(new) if new.pid != old.pid => Ok(()),
        other => Err(format!("{other:?}")),
    });
    eventually("exec", || {
        let out = c.kubectl(&["exec", &pod, "--", "/ironclad", "version"]);
        if out.code == 0 { Ok(()) } else { Err(out.err) }
    });
    assert!(c.kubectl(&["logs", &pod]).ok().contains("listens on"));
    assert_eq!(pods(&c), before);
    c.kubectl(&["scale", "deployment/web", "--replicas=3"]).ok();
    rolled_out(&c);
    let ready = c.kubectl(&["get", "nodes", "--no-headers"]).ok();
    assert!(ready.contains(" Ready "), "{ready}");
}

#[test]
fn a_killed_container_is_restarted_and_remembered() {
    let c = Cluster::with_node();
    deploy(&c, 1);
    let pod = first_pod(&c);
    c.processes_of(&pod).iter().for_each(|p| p.kill());
    restarted(&c, &pod, "1");
    let last = "jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode} {.status.containerStatuses[0].lastState.terminated.reason}";
    assert_eq!(c.kubectl(&["get", "pod", &pod, "-o", last]).ok(), "137 Error");
    // The second time there is a pause before it, and the status says so.
    c.processes_of(&pod).iter().for_each(|p| p.kill());
    eventually("the pause", || {
        let waiting = "jsonpath={.status.containerStatuses[0].state.waiting.reason}: {.status.containerStatuses[0].state.waiting.message}";
        let got = c.kubectl(&["get", "pod", &pod, "-o", waiting]).out;
        if got.starts_with("CrashLoopBackOff: back-off 10s restarting failed container=demo pod=web-") {
            Ok(())
        } else {
            Err(got)
        }
    });
    eventually("its event", || {
        let events = c.kubectl(&["events", "--for", &format!("pod/{pod}")]).out;
        if events.contains("Back-off restarting failed container demo in pod") { Ok(()) } else { Err(events) }
    });
}

#[test]
fn a_killed_keeper_is_replaced() {
    let c = Cluster::with_node();
    deploy(&c, 1);
    let pod = first_pod(&c);
    let before = pods(&c);
    let keeper = |c: &Cluster| {
        let of_pod = c.processes_of(&pod);
        let parents: BTreeSet<i32> = of_pod.iter().map(|p| p.parent).collect();
        processes().into_iter().find(|p| parents.contains(&p.pid) && p.line.contains("keeper"))
    };
    keeper(&c).expect("the parent of containers").kill();
    // The container goes on, what it prints is still read, and its end is seen without the keeper.
    assert_eq!(pods(&c), before);
    c.kubectl(&["exec", &pod, "--", "/ironclad", "version"]).ok();
    c.processes_of(&pod).iter().for_each(|p| p.kill());
    restarted(&c, &pod, "1");
    // Keeper and runtime at once: nobody holds the container's output any more, so it is started anew.
    let keeper = keeper(&c).expect("another keeper");
    c.runtime().expect("a runtime").kill();
    keeper.kill();
    restarted(&c, &pod, "2");
    assert!(c.kubectl(&["logs", &pod]).ok().contains("listens on"));
}

#[test]
fn everything_killed_at_once_comes_back() {
    let mut c = Cluster::with_node();
    deploy(&c, 2);
    let names = "jsonpath={.items[*].metadata.name}";
    let before = c.kubectl(&["get", "pods", "-l", "app=web", "-o", names]).ok();
    let of_pods: Vec<_> = before.split(' ').flat_map(|p| c.processes_of(p)).collect();
    c.runtime().expect("a runtime").kill();
    c.kill();
    let parents: BTreeSet<i32> = of_pods.iter().map(|p| p.parent).collect();
    processes()
        .iter()
        .filter(|p| parents.contains(&p.pid) && p.line.contains("keeper"))
        .for_each(|p| p.kill());
    of_pods.iter().for_each(|p| p.kill());
    c.up();
    for pod in before.split(' ') {
        restarted(&c, pod, "1");
    }
    assert_eq!(c.kubectl(&["get", "pods", "-l", "app=web", "-o", names]).ok(), before);
}

/// Creates ConfigMaps until it is told to stop; gives those that were acknowledged.
fn write(kubectl: &e2e::Program, stop: &AtomicBool, written: &Mutex<Vec<String>>) {
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("written-{n}");
        let value = format!("--from-literal=n={n}");
        if kubectl.run(&["create", "configmap", &name, &value]).code == 0 {
            written.lock().expect("the writer's list").push(format!("{name} {n}"));
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_whatever_is_killed() {
    let kills = std::env::var("IRONCLAD_KILLS").ok().and_then(|k| k.parse().ok()).unwrap_or(KILLS);
    let mut c = Cluster::with_node();
    deploy(&c, 2);
    let before = pods(&c);
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let writer = {
        let (kubectl, stop, written) = (c.kubectl_program(), stop.clone(), written.clone());
        std::thread::spawn(move || write(&kubectl, &stop, &written))
    };
    for kill in 0..kills {
        let so_far = written.lock().expect("the writer's list").len();
        eventually("writes between two kills", || {
            let now = written.lock().expect("the writer's list").len();
            if now > so_far { Ok(()) } else { Err(format!("{now} after {kill} kills")) }
        });
        if kill % 2 == 1 {
            c.runtime().expect("a runtime").kill();
        }
        c.kill();
        c.up();
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("the writer");
    rolled_out(&c);
    assert_eq!(pods(&c), before);
    let data = "jsonpath={range .items[*]}{.metadata.name} {.data.n}{\"\\n\"}{end}";
    let kept = c.kubectl(&["get", "configmaps", "-o", data]).ok();
    let kept: BTreeSet<&str> = kept.lines().collect();
    let lost: Vec<String> = written
        .lock()
        .expect("the writer's list")
        .iter()
        .filter(|w| !kept.contains(w.as_str()))
        .cloned()
        .collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    let running: usize =
        processes().iter().filter(|p| p.line.contains("demo-server") && runs_in(p, &before)).count();
    assert_eq!(running, 2);
}

fn runs_in(process: &e2e::Process, pods: &str) -> bool {
    pods.lines().filter_map(|l| l.split(' ').nth(1)).any(|uid| process.groups.contains(&format!("pod{uid}")))
}

/// A small file system of the test's own; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(at: PathBuf, megabytes: u32) -> Self {
        fs::create_dir_all(&at).expect("a directory to mount on");
        let options = std::ffi::CString::new(format!("size={megabytes}m")).expect("no NUL");
        rustix::mount::mount("tmpfs", &at, "tmpfs", rustix::mount::MountFlags::empty(), options.as_c_str())
            .expect("mounting");
        Self(at)
    }

    /// Takes all space that is left, but for so many bytes.
    fn fill(&self, but: u64) -> PathBuf {
        let path = self.0.join("filler");
        let free = rustix::fs::statvfs(&self.0).expect("statvfs");
        let file = fs::File::create(&path).expect("the filler");
        let size = (free.f_bavail * free.f_frsize).saturating_sub(but);
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size).expect("filling");
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
        // The cluster's own directory could not go before what was mounted in it.
        let _ = fs::remove_dir(&self.0);
        let _ = self.0.parent().map(fs::remove_dir);
    }
}

fn create(c: &Cluster, name: &str, file: &str) -> e2e::Output {
    c.kubectl(&["create", "configmap", name, &format!("--from-file=f={file}")])
}

#[test]
fn a_full_disk_refuses_writes_and_recovers() {
    let mut c = Cluster::unstarted(Options { no_node: true, ..Options::default() });
    let disk = SmallDisk::new(c.data_dir(), 96);
    c.up();
    c.kubectl(&["create", "configmap", "before", "--from-literal=a=b"]).ok();
    let content = c.file("content", &"x".repeat(200_000));
    let filler = disk.fill(1 << 20);
    let mut acknowledged = Vec::new();
    let refused = eventually("a refusal", || {
        let name = format!("big-{}", acknowledged.len());
        let made = create(&c, &name, &content);
        if made.code == 0 {
            acknowledged.push(name);
            return Err(format!("{} were taken", acknowledged.len()));
        }
        Ok(made.err)
    });
    assert!(refused.contains("space"), "{refused}");
    // Reading goes on, and so does the process.
    c.kubectl(&["get", "configmap", "before"]).ok();
    fs::remove_file(filler).expect("making room");
    eventually("writes again", || {
        let made = create(&c, "after", &content);
        if made.code == 0 { Ok(()) } else { Err(made.err) }
    });
    c.kill();
    c.up();
    for name in acknowledged.iter().map(String::as_str).chain(["before", "after"]) {
        c.kubectl(&["get", "configmap", name]).ok();
    }
    drop(c);
    assert!(is_empty(&disk.0), "the data directory still has files");
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none())
}

#[test]
fn a_pod_that_needs_a_shell_survives_a_restart_of_everything_around_it() {
    let mut c = Cluster::with_node();
    c.import_busybox();
    let script = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.05; done";
    c.kubectl(&["run", "talker", &format!("--image={BUSYBOX}"), "--", "sh", "-c", script]).ok();
    c.wait_phase("talker", "Running");
    c.runtime().expect("a runtime").kill();
    c.kill();
    c.up();
    // Not one line is missing, though nobody read the pipe for a while.
    let lines = || -> Vec<u64> {
        let log = c.kubectl(&["logs", "talker"]).out;
        log.lines().filter_map(|l| l.strip_prefix("line ")?.parse().ok()).collect()
    };
    let after = lines().last().copied().unwrap_or(0);
    let all = eventually("more lines", || {
        let all = lines();
        if all.last().is_some_and(|l| *l > after + 3) { Ok(all) } else { Err(format!("{} lines", all.len())) }
    });
    assert!(all.iter().copied().eq(1..=all.len() as u64), "lines are missing or out of order");
}
