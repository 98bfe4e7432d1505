//! The whole agent against an API and a runtime in memory.

#[allow(unreachable_pub, missing_docs, reason = "shared by tests only")]
mod support;

use client::Client;
use kubelet::fake::{Behaviour, FakeRuntime};
use kubelet::{Config, run};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Door, FakeApi};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(20);

struct Cluster {
    api: Arc<FakeApi>,
    runtime: Arc<FakeRuntime>,
    dir: tempfile::TempDir,
    agent: Option<(watch::Sender<bool>, JoinHandle<()>)>,
}

fn nanos() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap()
}

const POD: &str = "/api/v1/namespaces/n/pods/web";

impl Cluster {
    fn new() -> Self {
        let runtime = FakeRuntime::new(nanos);
        runtime.add_image("img:1");
        Self { api: Arc::default(), runtime, dir: tempfile::tempdir().unwrap(), agent: None }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    fn start(&mut self) {
        let mut config = Config::new("node1", self.root());
        config.cluster_dns = vec!["10.96.0.10".into()];
        let client = Client::new(Arc::new(Door(self.api.clone())), "test");
        let (stop, stopped) = watch::channel(false);
        let runtime = self.runtime.clone();
        let task = tokio::spawn(async move { run(config, client, runtime, stopped).await.unwrap() });
        self.agent = Some((stop, task));
    }

    async fn stop(&mut self) {
        let (stop, task) = self.agent.take().unwrap();
        stop.send(true).unwrap();
        task.await.unwrap();
    }

    async fn started() -> Self {
        let mut c = Self::new();
        c.start();
        c.until("the node is ready", |c| {
            let node = c.api.get("/api/v1/nodes/node1")?;
            let ready = node["status"]["conditions"]
                .as_array()?
                .iter()
                .any(|c| c["type"] == "Ready" && c["status"] == "True");
            ready.then_some(())
        })
        .await;
        c
    }

    async fn until<T>(&self, what: &str, check: impl Fn(&Self) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(t) = check(self) {
                return t;
            }
            let pod = self.api.get(POD).map(|p| p["status"].to_string());
            assert!(
                start.elapsed() < DEADLINE,
                "waited for: {what}; status {pod:?}; calls {:?}",
                self.runtime.calls()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn create(&self, spec: Value) {
        self.api.put(
            POD,
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "n", "uid": "u1",
                "labels": {"app": "web"}, "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec, "status": {"phase": "Pending"}}),
        );
    }

    async fn phase(&self, phase: &str) {
        self.until(phase, |c| (c.api.get(POD)?["status"]["phase"] == phase).then_some(())).await;
    }

    async fn event(&self, reason: &str, message: &str) {
        let found = |c: &Self| {
            let all = c.api.all("/events/");
            all.iter().any(|e| e["reason"] == reason && e["message"] == message).then_some(())
        };
        self.until(message, found).await;
    }
}

fn simple() -> Value {
    json!({"nodeName": "node1", "terminationGracePeriodSeconds": 5, "containers": [{"name": "c", "image": "img:1"}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_runs_is_told_and_is_deleted_without_a_trace() {
    let mut c = Cluster::started().await;
    c.create(simple());
    c.phase("Running").await;
    c.event("Pulled", "Container image \"img:1\" already present on machine and can be accessed by the pod")
        .await;
    c.event("Started", "Container started").await;
    let status = c.api.get(POD).unwrap()["status"].clone();
    assert_eq!(status["hostIP"], "127.0.0.1");
    assert!(status["podIP"].as_str().unwrap().starts_with("10.1."));
    assert_eq!(status["containerStatuses"][0]["ready"], true);
    let patches = c.api.writes("PATCH /api/v1/namespaces/n/pods/web/status");
    assert_eq!(patches.len(), 1, "one write from nothing to running: {patches:?}");

    c.api.change(
        POD,
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:01:00Z", "deletionGracePeriodSeconds": 5}}),
    );
    c.until("the pod is gone", |c| c.api.get(POD).is_none().then_some(())).await;
    c.until("the runtime is empty", |c| (c.runtime.count() == (0, 0)).then_some(())).await;
    c.until("its directory is gone", |c| (!c.root().join("pods/u1").exists()).then_some(())).await;
    let writes = c.api.writes("DELETE");
    assert!(
        writes[0].contains("\"gracePeriodSeconds\":0") && writes[0].contains("\"uid\":\"u1\""),
        "{writes:?}"
    );
    c.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_and_environment_reach_the_container_and_stay_fresh() {
    let mut c = Cluster::started().await;
    let map = "/api/v1/namespaces/n/configmaps/m";
    c.api.put(map, json!({"metadata": {"name": "m", "namespace": "n"}, "data": {"k": "one"}}));
    c.create(json!({"nodeName": "node1", "serviceAccountName": "default",
        "volumes": [{"name": "m", "configMap": {"name": "m"}},
            {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}},
                {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]}}],
        "containers": [{"name": "c", "image": "img:1",
            "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "volumeMounts": [{"name": "m", "mountPath": "/m"}, {"name": "t", "mountPath": "/t"}]}]}));
    c.phase("Running").await;
    let config = c.runtime.config_of(&c.runtime.running()[0].2).unwrap();
    let host = |path: &str| {
        let m = config.mounts.iter().find(|m| m.container_path == path).unwrap();
        PathBuf::from(&m.host_path)
    };
    assert_eq!(std::fs::read_to_string(host("/t").join("token")).unwrap(), "secret-token");
    assert_eq!(std::fs::read_to_string(host("/t").join("labels")).unwrap(), "app=\"web\"");
    assert!(std::fs::read_to_string(host("/etc/hosts")).unwrap().contains("\tweb\n"));
    assert!(config.envs.iter().any(|e| e.key == "IP" && e.value.starts_with("10.1.")));
    c.api.change(map, json!({"data": {"k": "two"}}));
    c.until("the file follows", |_| {
        (std::fs::read_to_string(host("/m").join("k")).ok()? == "two").then_some(())
    })
    .await;
    c.api.change(
        POD,
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:01:00Z", "deletionGracePeriodSeconds": 5}}),
    );
    c.until("its directory is gone", |c| (!c.root().join("pods/u1").exists()).then_some(())).await;
    c.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_volume_is_pulled_once_for_all_of_its_mounts() {
    let mut c = Cluster::started().await;
    let mount = |path: &str| json!({"name": "v", "mountPath": path});
    c.create(json!({"nodeName": "node1",
        "volumes": [{"name": "v", "image": {"reference": "data:1", "pullPolicy": "Always"}}],
        "containers": [{"name": "c", "image": "img:1", "volumeMounts": [mount("/a"), mount("/b")]}]}));
    c.phase("Running").await;
    let config = c.runtime.config_of(&c.runtime.running()[0].2).unwrap();
    assert_eq!(config.mounts.iter().filter(|m| m.image.is_some()).count(), 2);
    assert_eq!(c.runtime.calls().iter().filter(|call| *call == "pull data:1").count(), 1);
    c.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_agent_takes_running_pods_over() {
    let mut c = Cluster::started().await;
    c.create(simple());
    c.phase("Running").await;
    let before = c.runtime.running();
    c.stop().await;
    c.start();
    let exits = before[0].2.clone();
    c.until("the agent lists", |c| {
        (c.runtime.calls().iter().filter(|x| *x == "version").count() == 2).then_some(())
    })
    .await;
    c.until("events are heard again", |c| {
        c.runtime.exit(&exits, 3);
        let s = c.api.get(POD)?["status"]["containerStatuses"][0].clone();
        (s["restartCount"] == 1 && s["state"]["running"].is_object()).then_some(())
    })
    .await;
    let starts = c.runtime.calls().iter().filter(|x| x.starts_with("start ")).count();
    assert_eq!(starts, 2, "the container was started once and restarted once: {:?}", c.runtime.calls());
    c.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_cannot_tell_does_not_get_a_second_sandbox() {
    let mut c = Cluster::started().await;
    c.create(simple());
    c.phase("Running").await;
    let before = c.runtime.running();
    c.stop().await;
    c.runtime.refuse_lists(true);
    c.start();
    c.until("the agent asks for the pod", |c| {
        c.runtime.calls().contains(&"refused list".to_owned()).then_some(())
    })
    .await;
    c.runtime.refuse_lists(false);
    c.runtime.exit(&before[0].2, 3);
    c.until("the container is restarted", |c| {
        let s = c.api.get(POD)?["status"]["containerStatuses"][0].clone();
        (s["restartCount"] == 1 && s["state"]["running"].is_object()).then_some(())
    })
    .await;
    assert_eq!(c.runtime.count().0, 1, "one sandbox: {:?}", c.runtime.calls());
    c.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_waits_for_a_secret_starts_when_it_comes_and_follows_it() {
    let mut c = Cluster::started().await;
    let secret = "/api/v1/namespaces/n/secrets/s";
    c.create(json!({"nodeName": "node1", "volumes": [{"name": "s", "secret": {"secretName": "s"}}],
        "containers": [{"name": "c", "image": "img:1", "volumeMounts": [{"name": "s", "mountPath": "/s"}]}]}));
    c.event("FailedMount", "MountVolume.SetUp failed for volume \"s\" : secret \"s\" not found").await;
    let written = Instant::now();
    c.api.put(secret, json!({"metadata": {"name": "s", "namespace": "n"}, "data": {"k": "b25l"}}));
    c.phase("Running").await;
    let file = |c: &Cluster| {
        let config = c.runtime.config_of(&c.runtime.running().first()?.2)?;
        let mount = config.mounts.iter().find(|m| m.container_path == "/s")?;
        std::fs::read_to_string(PathBuf::from(&mount.host_path).join("k")).ok()
    };
    assert_eq!(file(&c).as_deref(), Some("one"));
    c.api.change(secret, json!({"data": {"k": "dHdv"}, "immutable": true}));
    c.until("the file follows", |c| (file(c)? == "two").then_some(())).await;
    assert!(written.elapsed() < Duration::from_secs(10), "not by looking now and then");
    c.api.change(
        POD,
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:01:00Z", "deletionGracePeriodSeconds": 5}}),
    );
    c.until("its directory is gone", |c| (!c.root().join("pods/u1").exists()).then_some(())).await;
    c.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_vanished_meanwhile_are_removed() {
    let mut c = Cluster::started().await;
    c.create(simple());
    c.phase("Running").await;
    c.stop().await;
    let api = Arc::new(FakeApi::default());
    c.api = api;
    c.start();
    c.until("the runtime is empty", |c| (c.runtime.count() == (0, 0)).then_some(())).await;
    c.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_written_once_the_api_is_back() {
    let mut c = Cluster::started().await;
    c.create(simple());
    c.phase("Running").await;
    c.api.set_down(true);
    let id = c.runtime.running()[0].2.clone();
    c.runtime.exit(&id, 1);
    c.until("it runs again", |c| (c.runtime.running().first()?.2 != id).then_some(())).await;
    c.api.set_down(false);
    c.until("the status tells", |c| {
        (c.api.get(POD)?["status"]["containerStatuses"][0]["restartCount"] == 1).then_some(())
    })
    .await;
    c.stop().await;
}

/// The node's controller does so when it has not heard of the node for long, and nothing changes on the node by that.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_others_call_unready_is_put_right() {
    let mut c = Cluster::started().await;
    c.create(simple());
    let ready = |pod: &Value| {
        let all = pod["status"]["conditions"].as_array()?;
        all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True").then_some(())
    };
    c.until("ready", |c| ready(&c.api.get(POD)?)).await;
    let mut pod = c.api.get(POD).unwrap();
    for condition in pod["status"]["conditions"].as_array_mut().unwrap() {
        condition["status"] = "False".into();
    }
    c.api.put(POD, pod);
    c.until("ready again", |c| ready(&c.api.get(POD)?)).await;
    c.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_told_in_upstreams_words() {
    let mut c = Cluster::started().await;
    c.runtime.behave("bad:1", Behaviour::FailsToStart);
    c.runtime.add_image("bad:1");
    c.create(json!({"nodeName": "node1", "containers": [{"name": "c", "image": "bad:1"},
        {"name": "d", "image": "none:1", "imagePullPolicy": "Never"},
        {"name": "e", "image": "img:1", "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}]}]}));
    let reason = |c: &Cluster, i: usize| {
        let s = c.api.get(POD)?["status"]["containerStatuses"][i]["state"]["waiting"]["reason"].clone();
        s.as_str().map(str::to_owned)
    };
    c.until("run error", |c| {
        let r = reason(c, 0)?;
        matches!(r.as_str(), "RunContainerError" | "CrashLoopBackOff").then_some(())
    })
    .await;
    c.until("never pull", |c| (reason(c, 1)? == "ErrImageNeverPull").then_some(())).await;
    c.until("config", |c| (reason(c, 2)? == "CreateContainerConfigError").then_some(())).await;
    c.event("Failed", "Error: configmap \"m\" not found").await;
    c.event("ErrImageNeverPull", "Container image \"none:1\" is not present with pull policy of Never").await;
    c.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_renews_its_lease_and_refuses_what_does_not_fit() {
    let mut c = Cluster::started().await;
    c.until("the lease", |c| {
        let l = c.api.get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node1")?;
        (l["spec"]["holderIdentity"] == "node1" && l["spec"]["renewTime"].is_string()).then_some(())
    })
    .await;
    let mut spec = simple();
    spec["containers"][0]["resources"] = json!({"requests": {"cpu": "100000"}});
    c.create(spec);
    c.phase("Failed").await;
    let s = c.api.get(POD).unwrap()["status"].clone();
    assert_eq!(s["reason"], "OutOfcpu");
    assert!(s["message"].as_str().unwrap().starts_with(
        "Pod was rejected: Node didn't have enough resource: cpu, requested: 100000000, used: 0"
    ));
    assert!(c.runtime.running().is_empty());
    c.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_share_of_pod_addresses_is_handed_to_the_runtime() {
    let c = Cluster::started().await;
    let told = |c: &Cluster| -> Vec<String> {
        c.runtime.calls().into_iter().filter(|call| call.starts_with("pod cidr")).collect()
    };
    assert_eq!(told(&c), Vec::<String>::new());
    let give = |share: &str| {
        c.api.change("/api/v1/nodes/node1", json!({"spec": {"podCIDR": share, "podCIDRs": [share]}}))
    };
    give("10.64.3.0/24");
    c.until("the share", |c| (told(c) == ["pod cidr 10.64.3.0/24"]).then_some(())).await;
    give("10.64.4.0/24");
    c.until("another share", |c| (told(c).last()? == "pod cidr 10.64.4.0/24").then_some(())).await;
}
