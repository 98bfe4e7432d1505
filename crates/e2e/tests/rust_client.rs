//! The `kube` crate's own machinery against a cluster: its controller runtime with watchers, finalizers, events and
//! server-side apply; its streams; and a lease that only one may hold. What is ours here is the operator's 60 lines.

use e2e::{BUSYBOX, Cluster};
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    Api, ApiResource, AttachParams, DeleteParams, DynamicObject, EvictParams, GroupVersionKind, ListParams,
    LogParams, Patch, PatchParams, PostParams, ResourceExt,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::finalizer::{Event as Finalizer, finalizer};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Client, Config, Discovery, Resource};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long each step may take; test machines are busy.
const PATIENCE: Duration = Duration::from_secs(90);

/// A step with a deadline.
async fn soon<T>(what: &str, step: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, step).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

async fn client(c: &Cluster) -> Client {
    let file = Kubeconfig::read_from(c.data_dir().join("kubeconfig")).unwrap();
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

fn run(step: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(step);
}

fn typed<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

/// The kind that the operator serves.
fn site() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("rust.example", "v1", "Site"))
}

async fn install(client: &Client) {
    let crds = Api::<CustomResourceDefinition>::all(client.clone());
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "sites.rust.example"}, "spec": {"group": "rust.example", "scope": "Namespaced",
        "names": {"plural": "sites", "singular": "site", "kind": "Site"},
        "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
                "status": {"type": "object", "properties": {"ready": {"type": "integer"}}}}}}}]}});
    let by = PatchParams::apply("installer");
    crds.patch("sites.rust.example", &by, &Patch::Apply(&crd)).await.unwrap();
    let established = await_condition(crds, "sites.rust.example", conditions::is_crd_established());
    soon("the CRD is established", established).await.unwrap();
}

/// What the operator needs.
struct Operator {
    client: Client,
    events: Recorder,
}

type Failure = kube::runtime::finalizer::Error<kube::Error>;

async fn reconcile(site_: Arc<DynamicObject>, operator: Arc<Operator>) -> Result<Action, Failure> {
    let client = &operator.client;
    let sites = Api::<DynamicObject>::namespaced_with(client.clone(), "default", &site());
    let by = PatchParams::apply("site-operator").force();
    finalizer(&sites, "rust.example/cleanup", site_, |event| async {
        match event {
            Finalizer::Apply(site_) => {
                let deployments = Api::<Deployment>::namespaced(client.clone(), "default");
                let wanted = deployment(&site_);
                let made = deployments.patch(&site_.name_any(), &by, &Patch::Apply(&wanted)).await?;
                let ready = made.status.and_then(|s| s.ready_replicas).unwrap_or(0);
                let status =
                    json!({"apiVersion": "rust.example/v1", "kind": "Site", "status": {"ready": ready}});
                sites.patch_status(&site_.name_any(), &by, &Patch::Apply(&status)).await?;
                let note = format!("{ready} ready");
                let event = Event {
                    type_: EventType::Normal,
                    reason: "Reconciled".into(),
                    note: Some(note),
                    action: "Apply".into(),
                    secondary: None,
                };
                operator.events.publish(&event, &site_.object_ref(&site())).await?;
            }
            Finalizer::Cleanup(site_) => {
                let notes = Api::<ConfigMap>::namespaced(client.clone(), "default");
                let note = typed(json!({"metadata": {"name": format!("{}-is-gone", site_.name_any())}}));
                notes.create(&PostParams::default(), &note).await?;
            }
        }
        Ok(Action::await_change())
    })
    .await
}

fn deployment(site_: &DynamicObject) -> Value {
    let labels = json!({"site": site_.name_any()});
    let owner = site_.controller_owner_ref(&site()).unwrap();
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": site_.name_any(), "ownerReferences": [owner]},
        "spec": {"replicas": site_.data["spec"]["replicas"], "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [
                {"name": "main", "image": BUSYBOX, "command": ["sleep", "1000000"]}]}}}})
}

/// A Site whose status says this.
fn ready(n: i64) -> impl conditions::Condition<DynamicObject> {
    move |s: Option<&DynamicObject>| s.is_some_and(|s| s.data["status"]["ready"] == n)
}

#[test]
fn an_operator() {
    let c = Cluster::with_node();
    c.import_busybox();
    run(async {
        let client = client(&c).await;
        install(&client).await;
        let sites = Api::<DynamicObject>::namespaced_with(client.clone(), "default", &site());
        let deployments = Api::<Deployment>::namespaced(client.clone(), "default");
        let events = Recorder::new(client.clone(), Reporter::from("site-operator"));
        let operator = Arc::new(Operator { client: client.clone(), events });
        // The list comes as a watch: sendInitialEvents.
        let streaming = watcher::Config::default().streaming_lists();
        let controller = Controller::new_with(sites.clone(), streaming.clone(), site());
        let controller = controller.owns(deployments.clone(), streaming);
        let retry = |_, _: &Failure, _| Action::requeue(Duration::from_millis(100));
        let running = tokio::spawn(controller.run(reconcile, retry, operator).for_each(async |_| ()));

        let one = DynamicObject::new("one", &site()).data(json!({"spec": {"replicas": 2}}));
        sites.create(&PostParams::default(), &one).await.unwrap();
        soon("two are ready", await_condition(sites.clone(), "one", ready(2))).await.unwrap();
        let fewer = Patch::Merge(json!({"spec": {"replicas": 1}}));
        sites.patch("one", &PatchParams::default(), &fewer).await.unwrap();
        soon("one is ready", await_condition(sites.clone(), "one", ready(1))).await.unwrap();
        // What the operator owns comes back when somebody deletes it.
        let uid = deployments.get("one").await.unwrap().uid();
        deployments.delete("one", &DeleteParams::foreground()).await.unwrap();
        let again = move |d: Option<&Deployment>| {
            d.is_some_and(|d| {
                d.uid() != uid && d.status.as_ref().is_some_and(|s| s.ready_replicas == Some(1))
            })
        };
        soon("healed", await_condition(deployments.clone(), "one", again)).await.unwrap();
        let uid = sites.get("one").await.unwrap().uid().unwrap();
        sites.delete("one", &DeleteParams::default()).await.unwrap();
        soon("finalized", await_condition(sites, "one", conditions::is_deleted(&uid))).await.unwrap();
        Api::<ConfigMap>::default_namespaced(client.clone()).get("one-is-gone").await.unwrap();
        let gone = |d: Option<&Deployment>| d.is_none();
        soon("children are collected", await_condition(deployments, "one", gone)).await.unwrap();
        running.abort();
    });
    let said = c.run("get events --field-selector reason=Reconciled,involvedObject.name=one -o name").ok();
    assert!(said.contains("event/one."), "{said}");
}

#[test]
fn streams_of_a_pod() {
    let c = Cluster::with_node();
    c.import_busybox();
    run(async {
        let client = client(&c).await;
        let pods = Api::<Pod>::default_namespaced(client.clone());
        let serve = "echo one; echo two; mkdir /w; echo page > /w/i; httpd -f -p 8080 -h /w";
        let pod = typed(json!({"metadata": {"name": "box"}, "spec": {"terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": BUSYBOX, "command": ["sh", "-c", serve],
                "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}]}}));
        pods.create(&PostParams::default(), &pod).await.unwrap();
        let is_ready = |p: Option<&Pod>| {
            let conditions = p.and_then(|p| p.status.as_ref()?.conditions.as_ref());
            conditions.is_some_and(|c| c.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
        };
        soon("the pod is ready", await_condition(pods.clone(), "box", is_ready)).await.unwrap();

        let follow = LogParams { follow: true, ..LogParams::default() };
        let logs = pods.log_stream("box", &follow).await.unwrap().lines();
        let lines: Vec<String> = soon("logs", logs.take(2).try_collect()).await.unwrap();
        assert_eq!(lines, ["one", "two"]);

        let ask = AttachParams::default().stdin(true);
        let mut process = pods.exec("box", ["sh", "-c", "cat; echo oops >&2; exit 3"], &ask).await.unwrap();
        let mut stdin = process.stdin().unwrap();
        stdin.write_all(b"typed").await.unwrap();
        // Closing it is told to the program: cat ends.
        stdin.shutdown().await.unwrap();
        drop(stdin);
        let (mut out, mut err) = (String::new(), String::new());
        let (mut stdout, mut stderr) = (process.stdout().unwrap(), process.stderr().unwrap());
        let status = process.take_status().unwrap();
        soon("output", async {
            tokio::join!(stdout.read_to_string(&mut out), stderr.read_to_string(&mut err))
        })
        .await
        .0
        .unwrap();
        let status = soon("the status", status).await.unwrap();
        assert_eq!(
            (out.as_str(), err.as_str(), status.reason.as_deref()),
            ("typed", "oops\n", Some("NonZeroExitCode"))
        );

        let mut forward = pods.portforward("box", &[8080]).await.unwrap();
        let mut stream = forward.take_stream(8080).unwrap();
        stream.write_all(b"GET /i HTTP/1.0\r\n\r\n").await.unwrap();
        let mut page = String::new();
        soon("the page", stream.read_to_string(&mut page)).await.unwrap();
        assert!(page.ends_with("\r\n\r\npage\n"), "{page}");

        pods.evict("box", &EvictParams::default()).await.unwrap();
        soon("evicted", await_condition(pods, "box", |p: Option<&Pod>| p.is_none())).await.unwrap();
    });
}

fn conflict<T: std::fmt::Debug>(result: kube::Result<T>) -> String {
    match result {
        Err(kube::Error::Api(status)) => {
            format!("{} {}: {}", status.code, status.reason, status.message)
        }
        other => panic!("no refusal: {other:?}"),
    }
}

#[test]
fn caches_leases_and_discovery() {
    let c = Cluster::control_plane();
    run(async {
        let client = client(&c).await;
        // A reflector that pages its list, then follows.
        let maps = Api::<ConfigMap>::default_namespaced(client.clone());
        let (by, label) = (PostParams::default(), ListParams::default().labels("of=rust"));
        for n in 0..5 {
            let map = typed(json!({"metadata": {"name": format!("m{n}"), "labels": {"of": "rust"}}}));
            maps.create(&by, &map).await.unwrap();
        }
        let (cache, writer) = reflector::store();
        let paged = watcher::Config::default().labels("of=rust").page_size(2);
        let follow = watcher(maps.clone(), paged).default_backoff().reflect(writer).applied_objects();
        let following = tokio::spawn(follow.for_each(async |_| ()));
        soon("the first list", cache.wait_until_ready()).await.unwrap();
        assert_eq!(cache.len(), 5);
        maps.delete_collection(&DeleteParams::default(), &label).await.unwrap();
        let emptied = async {
            while !cache.is_empty() {
                tokio::task::yield_now().await
            }
        };
        soon("the cache is empty", emptied).await;
        following.abort();

        // A lease is taken with the revision that was read: of two, one wins.
        let leases = Api::<Lease>::default_namespaced(client.clone());
        let held = |by: &str| {
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "lead"},
            "spec": {"holderIdentity": by, "leaseDurationSeconds": 15, "renewTime": "2026-01-02T03:04:05.000006Z"}})
        };
        let first: Lease = leases.create(&by, &typed(held("a"))).await.unwrap();
        let mut taken = first.clone();
        taken.spec.as_mut().unwrap().holder_identity = Some("b".into());
        let second = leases.replace("lead", &by, &taken).await.unwrap();
        assert_eq!(second.spec.as_ref().unwrap().renew_time, first.spec.as_ref().unwrap().renew_time);
        let refused = conflict(leases.replace("lead", &by, &first).await);
        assert_eq!(
            refused,
            "409 Conflict: Operation cannot be fulfilled on leases.coordination.k8s.io \"lead\": the object \
            has been modified; please apply your changes to the latest version and try again"
        );
        // The same by server-side apply: the field has an owner.
        leases.patch("lead", &PatchParams::apply("b").force(), &Patch::Apply(held("b"))).await.unwrap();
        let refused =
            conflict(leases.patch("lead", &PatchParams::apply("a"), &Patch::Apply(held("a"))).await);
        let owners = "conflicts with \"b\":\n- .spec.holderIdentity\nconflicts with \"unknown\" using coordination.k8s.io/v1:";
        let told = format!("409 Conflict: Apply failed with 2 conflicts: {owners}\n- .spec.holderIdentity");
        assert_eq!(refused, told, "the client names itself only where it applies");

        let found = Discovery::new(client.clone()).run_aggregated().await.unwrap();
        let gvk = GroupVersionKind::gvk("apps", "v1", "Deployment");
        let (resource, can) = found.resolve_gvk(&gvk).unwrap();
        assert!(resource.plural == "deployments" && can.subresources.iter().any(|s| s.0.plural == "scale"));
        let slow = Discovery::new(client.clone()).run().await.unwrap();
        assert_eq!(slow.groups().count(), found.groups().count());
        let accounts = Api::<ServiceAccount>::default_namespaced(client.clone());
        let ask: TokenRequest = typed(json!({"spec": {"audiences": [], "expirationSeconds": 600}}));
        let token = accounts.create_token_request("default", &by, &ask).await.unwrap();
        assert!(token.status.and_then(|s| s.token).unwrap().starts_with("ey"));
        let names = maps.list_metadata(&ListParams::default()).await.unwrap();
        assert_eq!(names.items.len(), 1, "kube-root-ca.crt alone: {names:?}");
    });
}
