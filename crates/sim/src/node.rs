//! A node: the production core of the node agent over a machine that is only pretended.

use crate::chaos::Dice;
use crate::diary::{Diary, Note};
use api::MetaExt;
use api::core::v1::{Node, Pod, PodStatus};
use client::reflector::{Batch, Reflector};
use client::{Api, Call, Client, DeleteOptions, Feed, PatchKind, Resource};
use kubelet::core::probe::Answer;
use kubelet::core::{Local, NodeView, Observed, Op, Outcome, PodObservation, Sandbox, State, next_ops};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use testkit::VirtualClock;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

/// How often a node tells that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How soon a status that couldn't be written is tried again.
const RETRY: Duration = Duration::from_millis(700);
/// How often the runtime is asked what has ended.
const RELIST: Duration = Duration::from_secs(1);

/// What runs on a machine, whether or not an agent looks after it: sandboxes and containers by the pod's UID.
#[derive(Default)]
pub(crate) struct Machine {
    pods: BTreeMap<String, PodObservation>,
    /// Containers that will end by themselves: when, pod, container, exit code.
    exits: Vec<(Instant, String, String, i32)>,
    made: u64,
}

/// A machine that outlives its agents.
pub(crate) type SharedMachine = Arc<Mutex<Machine>>;

fn lock(machine: &SharedMachine) -> std::sync::MutexGuard<'_, Machine> {
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Machine {
    /// The power fails: nothing runs any more.
    pub(crate) fn power_off(&mut self) {
        self.pods.clear();
        self.exits.clear();
    }

    /// Ends the containers whose time has come, and tells which pods that concerns.
    fn run_on(&mut self, now: jiff::Timestamp) -> Vec<String> {
        let due = Instant::now();
        let (ended, left) = std::mem::take(&mut self.exits).into_iter().partition(|(at, ..)| *at <= due);
        self.exits = left;
        for (_, uid, id, code) in &ended {
            self.exit(uid, id, *code, now);
        }
        ended.into_iter().map(|(_, uid, ..)| uid).collect()
    }

    fn of(&mut self, uid: &str) -> &mut PodObservation {
        self.pods.entry(uid.to_owned()).or_default()
    }

    fn id(&mut self, what: &str) -> String {
        self.made += 1;
        format!("{what}{}", self.made)
    }
}

/// What one agent needs.
#[derive(Clone)]
pub(crate) struct Agent {
    pub(crate) client: Client,
    pub(crate) clock: VirtualClock,
    pub(crate) name: String,
    pub(crate) number: u8,
    pub(crate) machine: SharedMachine,
    pub(crate) dice: Dice,
    pub(crate) diary: Diary,
    pub(crate) cpu: u32,
}

/// One pod as its agent sees it.
struct Seat {
    pod: Arc<Pod>,
    local: Local,
    /// The status that the API has or is being sent.
    sent: PodStatus,
    writing: bool,
    due: Option<Instant>,
}

/// What comes back to an agent.
enum News {
    Done(String, Box<Outcome>),
    Written(String, Option<Box<Pod>>),
}

/// Runs an agent until it is aborted.
pub(crate) async fn run(agent: Agent) {
    let (sink, mut source) = mpsc::channel::<Batch>(64);
    let (news, mut told) = mpsc::channel::<News>(1024);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(beat(agent.clone()));
    let reflector = Reflector {
        fields: format!("spec.nodeName={}", agent.name),
        ..Reflector::all(&agent.client, Resource::of::<Pod>(), <Pod as api::Kind>::INFO.decode, 0)
    };
    tasks.spawn(reflector.run(sink));
    let mut state = Kubelet { agent, news, tasks, seats: HashMap::new(), cache: client::Cache::default() };
    loop {
        let due = state.seats.values().filter_map(|s| s.due).min();
        let due = due.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
        tokio::select! {
            biased;
            Some(batch) = source.recv() => batch.feeds.into_iter().for_each(|f| state.feed(f)),
            Some(news) = told.recv() => state.hear(news),
            () = sleep_until(due) => state.tick(),
            () = sleep(RELIST) => {}
        }
        state.relist();
    }
}

struct Kubelet {
    agent: Agent,
    news: mpsc::Sender<News>,
    tasks: tokio::task::JoinSet<()>,
    seats: HashMap<String, Seat>,
    cache: client::Cache,
}

impl Kubelet {
    fn feed(&mut self, feed: Feed) {
        for change in self.cache.apply(feed) {
            let (old, new) =
                (change.old.and_then(api::downcast::<Pod>), change.new.and_then(api::downcast::<Pod>));
            let replaced = matches!((&old, &new), (Some(o), Some(n)) if o.uid() != n.uid());
            if let Some(gone) = old.filter(|_| new.is_none() || replaced)
                && let Some(seat) = self.seats.get_mut(gone.uid())
            {
                seat.local.removed = true;
                self.plan(gone.uid());
            }
            if let Some(pod) = new {
                self.put(pod);
            }
        }
    }

    fn put(&mut self, pod: Arc<Pod>) {
        let uid = pod.uid().to_owned();
        let sent = pod.status.clone().unwrap_or_default();
        let machine = &self.agent.machine;
        let seat = self.seats.entry(uid.clone()).or_insert_with(|| Seat {
            pod: pod.clone(),
            local: Local::new(lock(machine).pods.get(&uid).cloned().unwrap_or_default()),
            sent: sent.clone(),
            writing: false,
            due: None,
        });
        seat.pod = pod;
        if !seat.writing {
            seat.sent = sent;
        }
        self.plan(&uid);
    }

    /// Asks the machine what has ended by itself.
    fn relist(&mut self) {
        let now = self.agent.clock.now();
        let ended = lock(&self.agent.machine).run_on(now);
        for uid in ended {
            let all = lock(&self.agent.machine).of(&uid).clone();
            if let Some(seat) = self.seats.get_mut(&uid) {
                seat.local.apply(Outcome::Relisted(all), now);
            }
            self.plan(&uid);
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let mut due: Vec<String> = self
            .seats
            .iter()
            .filter(|(_, s)| s.due.is_some_and(|d| d <= now))
            .map(|(u, _)| u.clone())
            .collect();
        due.sort();
        due.iter().for_each(|uid| self.plan(uid));
    }

    fn hear(&mut self, news: News) {
        let now = self.agent.clock.now();
        match news {
            News::Done(uid, outcome) => {
                if let Some(seat) = self.seats.get_mut(&uid) {
                    seat.local.apply(*outcome, now);
                }
                self.plan(&uid);
            }
            News::Written(uid, result) => {
                if let Some(seat) = self.seats.get_mut(&uid) {
                    seat.writing = false;
                    // Somebody else may have written since, and the watch have told already.
                    let newest = result.filter(|answer| answer.revision() >= seat.pod.revision());
                    let newest = newest.as_deref().unwrap_or(&seat.pod);
                    seat.sent = newest.status.clone().unwrap_or_default();
                }
                self.plan(&uid);
            }
        }
    }

    fn plan(&mut self, uid: &str) {
        let Some(seat) = self.seats.get_mut(uid) else { return };
        let now = self.agent.clock.now();
        let address = format!("192.0.2.{}", 100 + self.agent.number);
        let view = NodeView { host_ips: vec![address], runtime_name: "sim".to_owned() };
        let plan = next_ops(&seat.pod, &mut seat.local, &view, now);
        seat.due = plan.requeue.map(|at| {
            let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
            Instant::now() + wait.max(Duration::from_millis(1))
        });
        if !plan.ops.is_empty() {
            let ops = || plan.ops.iter().map(|op| format!("{op:?}")).collect();
            self.agent.diary.write(|| Note::Ops { pod: seat.pod.name().to_owned(), ops: ops() });
        }
        if plan.finished {
            self.seats.remove(uid);
            lock(&self.agent.machine).pods.remove(uid);
            return;
        }
        let pod = seat.pod.clone();
        let removed = seat.local.removed;
        let patch = kubelet::core::patch::status_patch(uid, &seat.sent, &plan.status);
        if let Some(patch) = patch.filter(|_| !seat.writing && !removed) {
            seat.writing = true;
            self.tasks.spawn(write(self.agent.clone(), self.news.clone(), pod.clone(), patch));
        }
        for op in plan.ops {
            self.tasks.spawn(carry_out(self.agent.clone(), self.news.clone(), pod.clone(), op));
        }
    }
}

async fn write(agent: Agent, news: mpsc::Sender<News>, pod: Arc<Pod>, patch: serde_json::Value) {
    let r = Resource::of::<Pod>();
    let (namespace, name) = (pod.namespace(), pod.name());
    let call = Call::patch(&r, namespace, name, "status", PatchKind::Strategic, patch.to_string());
    let result = agent.client.send(call).await;
    let result = match result {
        Ok(answer) => serde_json::from_slice(&answer).ok(),
        Err(e) => {
            if !e.is_not_found() {
                sleep(RETRY).await;
            }
            None
        }
    };
    let _ = news.send(News::Written(pod.uid().to_owned(), result)).await;
}

/// Does, after a while, what the core asks of the shell.
async fn carry_out(agent: Agent, news: mpsc::Sender<News>, pod: Arc<Pod>, op: Op) {
    sleep(Duration::from_millis(5 + agent.dice.below(300))).await;
    let uid = pod.uid().to_owned();
    let now = agent.clock.now();
    let outcome = match op {
        Op::Mount => Outcome::Mounted(Ok(())),
        Op::Unmount => Outcome::Unmounted(Ok(())),
        Op::Clear => Outcome::Cleared(Ok(())),
        Op::CreateSandbox { attempt } => {
            Outcome::Sandbox(Ok(lock(&agent.machine).sandbox(&uid, attempt, agent.number, now)))
        }
        Op::StopSandbox { id } => Outcome::SandboxStopped(id, Ok(())),
        Op::EnsureImage { container, image, .. } => Outcome::Image(container, Ok(image)),
        Op::Start { container, restart_count, image_ref, .. } => {
            let seen = lock(&agent.machine).start(&uid, &container, restart_count, &image_ref, now);
            schedule_exit(&agent, &uid, &seen);
            Outcome::Started(container, Some(seen), Ok(()))
        }
        Op::PreStop { id, .. } => Outcome::PreStopped(id),
        Op::Stop { id, .. } => {
            let seen = lock(&agent.machine).exit(&uid, &id, 0, now);
            Outcome::Stopped(id, seen, Ok(()))
        }
        Op::RemoveContainer { id } => {
            lock(&agent.machine).of(&uid).remove_container(&id);
            Outcome::ContainerRemoved(id, Ok(()))
        }
        Op::RemoveSandbox { id } => {
            lock(&agent.machine).of(&uid).remove_sandbox(&id);
            Outcome::SandboxRemoved(id, Ok(()))
        }
        Op::Probe { id, container, kind } => Outcome::Probed(id, container, kind, Answer::Success),
        // Nobody in this world changes what a running pod asks for.
        Op::Resize { .. } => return,
        Op::DeletePod => {
            let options = DeleteOptions { grace: Some(0), ..DeleteOptions::of_uid(&uid) };
            let deleted =
                agent.client.delete(&Resource::of::<Pod>(), pod.namespace(), pod.name(), &options).await;
            let fine = deleted.as_ref().err().is_none_or(|e| e.is_not_found() || e.is_conflict());
            Outcome::Deleted(if fine { Ok(()) } else { Err("not deleted".to_owned()) })
        }
    };
    let _ = news.send(News::Done(uid, Box::new(outcome))).await;
}

/// Images say how their containers end: `exit-0`, `exit-1`, `exit-any`; others run on.
fn schedule_exit(agent: &Agent, uid: &str, seen: &Observed) {
    let code = match seen.image.strip_prefix("exit-") {
        Some("any") => Some(i32::from(agent.dice.chance(0.3))),
        code => code.and_then(|c| c.parse().ok()),
    };
    let Some(code) = code else { return };
    let at = Instant::now() + Duration::from_millis(200 + agent.dice.below(5000));
    lock(&agent.machine).exits.push((at, uid.to_owned(), seen.id.clone(), code));
}

impl Machine {
    fn sandbox(&mut self, uid: &str, attempt: u32, node: u8, now: jiff::Timestamp) -> Sandbox {
        let id = self.id("s");
        let ip = format!("10.{node}.{}.{}", self.made / 250 % 250, self.made % 250 + 1);
        let created_at = i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX);
        let sandbox = Sandbox { id, attempt, ready: true, created_at, ips: vec![ip] };
        self.of(uid).upsert_sandbox(sandbox.clone());
        sandbox
    }

    fn start(
        &mut self,
        uid: &str,
        name: &str,
        restart_count: u32,
        image: &str,
        now: jiff::Timestamp,
    ) -> Observed {
        let at = i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX);
        let observed = Observed {
            id: self.id("c"),
            name: name.to_owned(),
            restart_count,
            state: State::Running,
            created_at: at,
            started_at: at,
            image: image.to_owned(),
            image_ref: image.to_owned(),
            ..Observed::default()
        };
        self.of(uid).upsert_container(observed.clone());
        observed
    }

    /// Ends a container, if it runs.
    fn exit(&mut self, uid: &str, id: &str, code: i32, now: jiff::Timestamp) -> Option<Observed> {
        let mut seen = self.pods.get(uid)?.by_id(id)?.clone();
        if seen.state == State::Running {
            seen.state = State::Exited;
            seen.exit_code = code;
            seen.finished_at = i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX);
            seen.reason = if code == 0 { "Completed" } else { "Error" }.to_owned();
            self.of(uid).upsert_container(seen.clone());
        }
        Some(seen)
    }
}

/// Registers the node, and tells again and again that it lives.
async fn beat(agent: Agent) {
    while !register(&agent).await {
        sleep(RETRY).await;
    }
    loop {
        renew(&agent).await;
        release(&agent).await;
        sleep(HEARTBEAT).await;
    }
}

/// Makes the node and says how it is; tells whether that is done.
async fn register(agent: &Agent) -> bool {
    let nodes = Resource::of::<api::core::v1::Node>();
    let name = agent.name.as_str();
    let labels = json!({"kubernetes.io/hostname": name});
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}});
    match agent.client.create(&nodes, "", node.to_string()).await {
        Err(e) if !e.is_already_exists() => return false,
        _ => {}
    }
    let size = json!({"cpu": format!("{}m", agent.cpu), "memory": "4Gi", "pods": "110"});
    let condition = |kind: &&str| {
        let status = if *kind == "Ready" { "True" } else { "False" };
        json!({"type": kind, "status": status, "reason": "Sim", "message": "the node agent says so"})
    };
    let kinds = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];
    let conditions: Vec<_> = kinds.iter().map(condition).collect();
    let status = json!({"status": {"capacity": size, "allocatable": size, "conditions": conditions}});
    let place = ("", name, "status");
    agent.client.patch(&nodes, place, PatchKind::Strategic, status.to_string()).await.is_ok()
}

/// Renews the lease; a node that was given up says that it is well again.
async fn renew(agent: &Agent) {
    let leases = Resource::of::<api::coordination::v1::Lease>();
    let name = agent.name.as_str();
    let renewed = meta::time::micro_time(agent.clock.now());
    let spec = json!({"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": renewed});
    let place = ("kube-node-lease", name, "");
    let patch = json!({"spec": spec}).to_string();
    match agent.client.patch(&leases, place, PatchKind::Merge, patch).await {
        Err(e) if e.is_not_found() => {
            let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": name}, "spec": spec});
            let _ = agent.client.create(&leases, "kube-node-lease", lease.to_string()).await;
        }
        // The controllers may have noticed a gap before it.
        _ => {
            let node = agent.client.get(&Resource::of::<api::core::v1::Node>(), "", name).await;
            let well =
                |bytes: &[u8]| <api::core::v1::Node as api::Kind>::decode(bytes).ok().and_then(|n| n.status);
            let conditions = node.ok().and_then(|b| well(&b)).and_then(|s| s.conditions).unwrap_or_default();
            if conditions.iter().any(|c| c.type_ == "Ready" && c.status != "True") {
                register(agent).await;
            }
        }
    }
}

/// Says that it has removed the data of volumes that it was told of; there are none in this world.
async fn release(agent: &Agent) {
    let api = Api::<Node>::all(&agent.client);
    let Ok(Some(node)) = api.find(&agent.name).await else { return };
    let told = node.annotation(controllers::ANNOTATION_VOLUMES_TO_REMOVE);
    if told != node.annotation(controllers::ANNOTATION_VOLUMES_REMOVED) {
        let patch = json!({"metadata": {"annotations": {controllers::ANNOTATION_VOLUMES_REMOVED: told}}});
        let (nodes, place) = (Resource::of::<Node>(), ("", agent.name.as_str(), ""));
        // A failure is seen again with the next heartbeat.
        let _ = agent.client.patch(&nodes, place, PatchKind::Merge, patch.to_string()).await;
    }
}
