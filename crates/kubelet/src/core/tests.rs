//! Transitions of pods as text: a script of outcomes in, what the core does and shows out.

use super::backoff::go_duration;
use super::probe::{Answer, Kind};
use super::*;
use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};
use serde_json::{Value, json};

const START: i64 = 1_800_000_000;

/// A pod, and a runtime that does what it is asked.
struct World {
    pod: Pod,
    local: Local,
    now: Timestamp,
    log: String,
    made: u32,
    /// Exit codes of containers that end at once, by name.
    ends: Vec<(&'static str, i32)>,
    pulls: bool,
}

fn node() -> NodeView {
    NodeView { host_ips: vec!["10.0.0.1".into()], runtime_name: "fake".into() }
}

fn pod(spec: Value) -> Pod {
    let meta = json!({"name": "web", "namespace": "n", "uid": "u1", "generation": 1});
    serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
}

fn state(s: Option<&ContainerState>) -> String {
    let Some(s) = s else { return "-".into() };
    if let Some(w) = &s.waiting {
        return format!("waiting({})", w.reason.as_deref().unwrap_or_default());
    }
    if let Some(t) = &s.terminated {
        return format!("exit({})", t.exit_code);
    }
    if s.running.is_some() { "running".into() } else { "?".into() }
}

fn container(c: &ContainerStatus) -> String {
    let ready = if c.ready { "+" } else { "" };
    let count = if c.restart_count > 0 { format!("x{}", c.restart_count) } else { String::new() };
    let last = c.last_state.as_ref().map(|l| format!(" last {}", state(Some(l)))).unwrap_or_default();
    format!("{}={}{ready}{count}{last}", c.name, state(c.state.as_ref()))
}

fn show_op(op: &Op) -> String {
    match op {
        Op::Start { container, restart_count, .. } => format!("start {container}#{restart_count}"),
        Op::EnsureImage { container, policy, .. } => format!("image {container} {policy}"),
        Op::Stop { id, grace } => format!("stop {id} {grace}s"),
        Op::PreStop { id, limit, .. } => format!("prestop {id} {limit}s"),
        Op::Probe { id, kind, .. } => format!("probe {id} {}", kind.word()),
        Op::CreateSandbox { attempt } => format!("sandbox #{attempt}"),
        Op::StopSandbox { id } => format!("stop-sandbox {id}"),
        Op::RemoveContainer { id } => format!("remove {id}"),
        Op::RemoveSandbox { id } => format!("remove-sandbox {id}"),
        Op::Resize { id, .. } => format!("resize {id}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

impl World {
    fn new(spec: Value) -> Self {
        let now = Timestamp::from_second(START).unwrap();
        let local = Local::new(PodObservation::default());
        Self { pod: pod(spec), local, now, log: String::new(), made: 0, ends: Vec::new(), pulls: true }
    }

    fn nanos(&mut self) -> i64 {
        self.made += 1;
        i64::try_from(self.now.as_nanosecond()).unwrap() + i64::from(self.made)
    }

    fn show(&mut self, plan: &Plan) {
        for n in &plan.notes {
            let mark = if n.warning { "!" } else { "" };
            self.log += &format!("  event{mark} {}: {}\n", n.reason, n.message);
        }
        let s = &plan.status;
        let all = s.init_container_statuses.iter().flatten().chain(s.container_statuses.iter().flatten());
        let all: Vec<String> = all.map(container).collect();
        let conditions: String =
            s.conditions.iter().flatten().map(|c| if c.status == "True" { '+' } else { '-' }).collect();
        let reason = s.reason.as_ref().map(|r| format!(" ({r})")).unwrap_or_default();
        let line =
            format!("  {}{reason} {conditions} {}\n", s.phase.as_deref().unwrap_or("?"), all.join(" "));
        if !self.log.rsplit('\n').any(|l| l.starts_with("  ") && format!("{l}\n") == line)
            || !self.log.ends_with(&line)
        {
            self.log += &line;
        }
        if plan.finished {
            self.log += "  finished\n";
        }
    }

    /// Plans, does what is asked and plans again, until there is nothing to do.
    fn settle(&mut self, title: &str) -> &mut Self {
        let offset = self.now.duration_since(Timestamp::from_second(START).unwrap());
        self.log += &format!("{title} @{}\n", go_duration(offset));
        for _ in 0..40 {
            let plan = next_ops(&self.pod, &mut self.local, &node(), self.now);
            if !plan.ops.is_empty() {
                let ops: Vec<String> = plan.ops.iter().map(show_op).collect();
                self.log += &format!("> {}\n", ops.join(", "));
            }
            self.show(&plan);
            if plan.ops.is_empty() {
                if let Some(at) = plan.requeue {
                    self.log += &format!("  wait {}\n", go_duration(at.duration_since(self.now)));
                }
                return self;
            }
            for op in plan.ops {
                self.answer(op);
            }
        }
        panic!("no rest:\n{}", self.log);
    }

    fn answer(&mut self, op: Op) {
        let outcome = match op {
            Op::Mount => Outcome::Mounted(Ok(())),
            Op::CreateSandbox { attempt } => {
                let created_at = self.nanos();
                let id = format!("s{attempt}");
                Outcome::Sandbox(Ok(Sandbox {
                    id,
                    attempt,
                    ready: true,
                    created_at,
                    ips: vec!["10.1.0.2".into()],
                }))
            }
            Op::EnsureImage { container, policy, .. } if !self.pulls && policy == ops::LOOK_ONLY => {
                Outcome::Image(container, Err(Failure { reason: ops::STILL_ABSENT, message: String::new() }))
            }
            Op::EnsureImage { container, .. } if !self.pulls => Outcome::Image(
                container,
                Err(Failure { reason: "ErrImagePull", message: "no such host".into() }),
            ),
            Op::EnsureImage { container, image, .. } => Outcome::Image(container, Ok(image)),
            Op::Start { container, restart_count, .. } => {
                let t = self.nanos();
                let end = self.ends.iter().find(|e| e.0 == container).map(|e| e.1);
                let (spec, _) = podspec::find_container(&self.pod, &container).unwrap();
                let o = Observed {
                    amounts: resize::amounts(&spec),
                    id: format!("{container}{restart_count}"),
                    name: container.clone(),
                    restart_count,
                    state: if end.is_some() { State::Exited } else { State::Running },
                    created_at: t,
                    started_at: t,
                    finished_at: if end.is_some() { t } else { 0 },
                    exit_code: end.unwrap_or(0),
                    ..Observed::default()
                };
                Outcome::Started(container, Some(o), Ok(()))
            }
            Op::Stop { id, .. } => {
                let o = Observed {
                    state: State::Exited,
                    exit_code: 143,
                    finished_at: self.nanos(),
                    ..self.local.observed.by_id(&id).cloned().unwrap()
                };
                Outcome::Stopped(id, Some(o), Ok(()))
            }
            Op::PreStop { id, .. } => Outcome::PreStopped(id),
            Op::StopSandbox { id } => Outcome::SandboxStopped(id, Ok(())),
            Op::RemoveContainer { id } => Outcome::ContainerRemoved(id, Ok(())),
            Op::RemoveSandbox { id } => Outcome::SandboxRemoved(id, Ok(())),
            Op::Unmount => Outcome::Unmounted(Ok(())),
            Op::DeletePod => {
                self.local.removed = true;
                Outcome::Deleted(Ok(()))
            }
            Op::Clear => Outcome::Cleared(Ok(())),
            Op::Resize { id, container } => {
                let (c, _) = podspec::find_container(&self.pod, &container).unwrap();
                Outcome::Resized(id, Ok(resize::amounts(&c)))
            }
            Op::Probe { id, container, kind } => Outcome::Probed(id, container, kind, Answer::Success),
        };
        match outcome {
            Outcome::Probed(id, name, kind, answer) => self.probed(&id, &name, kind, &answer),
            outcome => self.local.apply(outcome, self.now),
        }
    }

    fn probed(&mut self, id: &str, name: &str, kind: Kind, answer: &Answer) {
        if let Some(note) = probing::answer(&self.pod, &mut self.local, id, name, kind, answer) {
            self.log += &format!("  event! {}: {}\n", note.reason, note.message);
        }
    }

    fn pass(&mut self, seconds: i64) -> &mut Self {
        self.now = self.now.saturating_add(SignedDuration::from_secs(seconds)).unwrap();
        self
    }

    fn exits(&mut self, name: &str, exit_code: i32) -> &mut Self {
        let finished_at = self.nanos();
        let old = self.local.observed.container(name).cloned().unwrap();
        let o = Observed { state: State::Exited, exit_code, finished_at, ..old };
        let seen = PodObservation { containers: vec![o], ..PodObservation::default() };
        self.local.apply(Outcome::Seen(seen), self.now);
        self
    }

    fn delete(&mut self, grace: i64) -> &mut Self {
        let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now);
        self.pod.metadata.deletion_timestamp = Some(now);
        self.pod.metadata.deletion_grace_period_seconds = Some(grace);
        self
    }

    fn check(&self, want: Expect) {
        want.assert_eq(&self.log);
    }
}

fn one(extra: Value) -> Value {
    let mut c = json!({"name": "c", "image": "img:1"});
    c.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    json!({"containers": [c]})
}

#[test]
fn one_containers_end_starts_the_pod_over() {
    let rule = json!({"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [7]}});
    let own = json!({"restartPolicy": "Never", "restartPolicyRules": [rule]});
    let of = |name: &str| json!({"name": name, "image": "img:1"});
    let mut source = of("a");
    source.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    let mut w = World::new(
        json!({"restartPolicy": "Never", "initContainers": [of("i")], "containers": [source, of("b")]}),
    );
    w.ends.push(("i", 0));
    w.settle("create").pass(60).exits("a", 7).settle("exit 7").check(expect![[r#"
        create @0s
        > mount, sandbox #0, image i IfNotPresent
          Pending ----+- i=waiting(PodInitializing) a=waiting(PodInitializing) b=waiting(PodInitializing)
        > start i#0
          Pending +---+- i=waiting(PodInitializing) a=waiting(PodInitializing) b=waiting(PodInitializing)
        > image a IfNotPresent, image b IfNotPresent
          Pending ++--+- i=exit(0)+ a=waiting(PodInitializing) b=waiting(PodInitializing)
        > start a#0
          Pending ++--+- i=exit(0)+ a=waiting(PodInitializing) b=waiting(PodInitializing)
        > start b#0
          Pending ++--+- i=exit(0)+ a=running+ b=waiting(PodInitializing)
          Running +++++- i=exit(0)+ a=running+ b=running+
        exit 7 @1m0s
        > stop b0 2s
          event Killing: killing
          Running ++--++ i=exit(0)+ a=exit(7) b=running+
        > remove b0, remove i0
          Running ++--++ i=exit(0)+ a=exit(7) b=exit(143)
        > remove a0
          Running ++--++ i=exit(0)+ a=exit(7) b=exit(143)
        > image i IfNotPresent
          Running ++--++ i=exit(0)+ a=exit(7) b=exit(143)
        > start i#1
          Running ++--++ i=exit(0)+ a=exit(7) b=exit(143)
        > image a IfNotPresent, image b IfNotPresent
          Running ++--+- i=exit(0)+x1 last exit(0) a=exit(7) b=exit(143)
        > start a#1
          Running ++--+- i=exit(0)+x1 last exit(0) a=exit(7) b=exit(143)
        > start b#1
          Running ++--+- i=exit(0)+x1 last exit(0) a=running+x1 last exit(7) b=exit(143)
          Running +++++- i=exit(0)+x1 last exit(0) a=running+x1 last exit(7) b=running+x1 last exit(143)
    "#]]);
}

#[test]
fn a_companions_end_starts_over_a_pod_that_else_never_restarts() {
    let rule = json!({"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [7]}});
    let sidecar =
        json!({"name": "s", "image": "img:1", "restartPolicy": "Always", "restartPolicyRules": [rule]});
    let of = |name: &str| json!({"name": name, "image": "img:1"});
    let mut w = World::new(
        json!({"restartPolicy": "Never", "initContainers": [of("i"), sidecar], "containers": [of("a")]}),
    );
    w.ends.push(("i", 0));
    w.settle("create").pass(60).exits("s", 7).settle("exit 7").check(expect![[r#"
        create @0s
        > mount, sandbox #0, image i IfNotPresent
          Pending ----+- i=waiting(PodInitializing) s=waiting(PodInitializing) a=waiting(PodInitializing)
        > start i#0
          Pending +---+- i=waiting(PodInitializing) s=waiting(PodInitializing) a=waiting(PodInitializing)
        > image s IfNotPresent
          Pending +---+- i=exit(0)+ s=waiting(PodInitializing) a=waiting(PodInitializing)
        > start s#0
          Pending +---+- i=exit(0)+ s=waiting(PodInitializing) a=waiting(PodInitializing)
        > image a IfNotPresent
          Pending ++--+- i=exit(0)+ s=running+ a=waiting(PodInitializing)
        > start a#0
          Pending ++--+- i=exit(0)+ s=running+ a=waiting(PodInitializing)
          Running +++++- i=exit(0)+ s=running+ a=running+
        exit 7 @1m0s
        > stop a0 2s
          event Killing: killing
          Running ++--++ i=exit(0)+ s=exit(7) a=running+
        > remove a0, remove i0
          Running ++--++ i=exit(0)+ s=exit(7) a=exit(143)
        > remove s0
          Running ++--++ i=exit(0)+ s=exit(7) a=exit(143)
        > image i IfNotPresent
          Running ++--++ i=exit(0)+ s=exit(7) a=exit(143)
        > start i#1
          Running ++--++ i=exit(0)+ s=exit(7) a=exit(143)
        > image s IfNotPresent
          Running ++--+- i=exit(0)+x1 last exit(0) s=exit(7) a=exit(143)
        > start s#1
          Running ++--+- i=exit(0)+x1 last exit(0) s=exit(7) a=exit(143)
        > image a IfNotPresent
          Running ++--+- i=exit(0)+x1 last exit(0) s=running+x1 last exit(7) a=exit(143)
        > start a#1
          Running ++--+- i=exit(0)+x1 last exit(0) s=running+x1 last exit(7) a=exit(143)
          Running +++++- i=exit(0)+x1 last exit(0) s=running+x1 last exit(7) a=running+x1 last exit(143)
    "#]]);
}

#[test]
fn a_pod_that_started_over_ends_as_its_containers_do() {
    let rule = json!({"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [7]}});
    let mut spec = one(json!({"restartPolicyRules": [rule], "restartPolicy": "Never"}));
    spec["restartPolicy"] = json!("Never");
    let mut w = World::new(spec);
    w.settle("create").exits("c", 7);
    w.ends.push(("c", 1));
    // The new one ends before anybody saw it run.
    w.settle("again").check(expect![[r#"
        create @0s
        > mount, sandbox #0, image c IfNotPresent
          Pending -+--+- c=waiting(ContainerCreating)
        > start c#0
          Pending ++--+- c=waiting(ContainerCreating)
          Running +++++- c=running+
        again @0s
        > remove c0
          Running ++--++ c=exit(7)
        > image c IfNotPresent
          Running ++--++ c=exit(7)
        > start c#1
          Running ++--++ c=exit(7)
        > stop-sandbox s0
          Failed ++--+- c=exit(1)x1 last exit(7)
        > unmount
          Failed -+--+- c=exit(1)x1 last exit(7)
    "#]]);
}

#[test]
fn a_pod_runs_and_is_deleted() {
    let mut w = World::new(one(json!({"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}})));
    w.settle("create").pass(60).delete(30).settle("delete").check(expect![[r#"
        create @0s
        > mount, sandbox #0, image c IfNotPresent
          Pending -+--+ c=waiting(ContainerCreating)
        > start c#0
          Pending ++--+ c=waiting(ContainerCreating)
          Running +++++ c=running+
        delete @1m0s
        > prestop c0 30s
          event Killing: Stopping container c
          Running +++++ c=running+
        > stop c0 30s
          Running +++++ c=running+
        > stop-sandbox s0
          Running ++--+ c=exit(143)
        > unmount
          Failed -+--+ c=exit(143)
        > deletepod
          Failed -+--+ c=exit(143)
        > remove c0
          Failed -+--+ c=exit(143)
        > remove-sandbox s0
          Failed -+--+ c=exit(143)
        > clear
          Failed -+--+ c=exit(143)
          finished
    "#]]);
}

#[test]
fn a_pod_that_starts_over_keeps_the_ends_before() {
    let rule = json!({"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [7]}});
    let mut w = World::new(one(json!({"restartPolicy": "Never", "restartPolicyRules": [rule]})));
    w.settle("create").exits("c", 7);
    let shown = |w: &mut World| {
        let plan = next_ops(&w.pod, &mut w.local, &node(), w.now);
        let ops: Vec<String> = plan.ops.iter().map(show_op).collect();
        (ops.join(", "), container(&plan.status.container_statuses.unwrap()[0]), plan.ops)
    };
    let (ops, c, todo) = shown(&mut w);
    assert_eq!((ops.as_str(), c.as_str()), ("remove c0", "c=exit(7)"));
    // While the removal is under way it waits for nothing.
    let (ops, c, _) = shown(&mut w);
    assert_eq!((ops.as_str(), c.as_str()), ("", "c=exit(7)"));
    todo.into_iter().for_each(|op| w.answer(op));
    w.log.clear();
    w.settle("removed").exits("c", 7).settle("too soon").pass(11).settle("later").check(expect![[r#"
        removed @0s
        > image c IfNotPresent
          Running ++--++ c=exit(7)
        > start c#1
          Running ++--++ c=exit(7)
          Running +++++- c=running+x1 last exit(7)
        too soon @0s
          event! BackOff: Back-off restarting failed container c in pod web_n(u1)
          Running ++--++ c=waiting(CrashLoopBackOff)x1 last exit(7)
          wait 10.000000005s
        later @11s
        > remove c1
          Running ++--++ c=waiting(CrashLoopBackOff)x1 last exit(7)
        > image c IfNotPresent
          Running ++--++ c=waiting(CrashLoopBackOff)x1 last exit(7)
        > start c#2
          Running ++--++ c=waiting(CrashLoopBackOff)x1 last exit(7)
          Running +++++- c=running+x2 last exit(7)
    "#]]);
}

#[test]
fn a_pod_that_is_deleted_before_it_runs_fails() {
    let mut w = World::new(one(json!({})));
    w.local.images.insert("c".into(), local::Image::Busy);
    w.settle("create").delete(30).settle("delete").check(expect![[r#"
        create @0s
        > mount, sandbox #0
          Pending -+--+ c=waiting(ContainerCreating)
          Pending ++--+ c=waiting(ContainerCreating)
        delete @0s
        > stop-sandbox s0
          Pending ++--+ c=waiting(ContainerCreating)
        > unmount
          Failed -+--+ c=exit(137)
        > deletepod
          Failed -+--+ c=exit(137)
        > remove-sandbox s0
          Failed -+--+ c=exit(137)
        > clear
          Failed -+--+ c=exit(137)
          finished
    "#]]);
}

#[test]
fn a_failing_container_waits_longer_each_time() {
    let mut w = World::new(one(json!({})));
    w.ends.push(("c", 1));
    w.settle("create").pass(10).settle("later").pass(20).settle("later").check(expect![[r#"
        create @0s
        > mount, sandbox #0, image c IfNotPresent
          Pending -+--+ c=waiting(ContainerCreating)
        > start c#0
          Pending ++--+ c=waiting(ContainerCreating)
        > image c IfNotPresent
          Running ++--+ c=exit(1)
        > start c#1
          Running ++--+ c=exit(1)
          event! BackOff: Back-off restarting failed container c in pod web_n(u1)
          Running ++--+ c=waiting(CrashLoopBackOff)x1 last exit(1)
          wait 10.000000003s
        later @10s
          Running ++--+ c=waiting(CrashLoopBackOff)x1 last exit(1)
          wait 3ns
        later @30s
        > image c IfNotPresent
          Running ++--+ c=waiting(CrashLoopBackOff)x1 last exit(1)
        > start c#2
          Running ++--+ c=waiting(CrashLoopBackOff)x1 last exit(1)
        > remove c0
          event! BackOff: Back-off restarting failed container c in pod web_n(u1)
          Running ++--+ c=waiting(CrashLoopBackOff)x2 last exit(1)
          wait 20.000000004s
    "#]]);
}

#[test]
fn a_job_ends() {
    let mut spec = one(json!({}));
    spec["restartPolicy"] = json!("Never");
    let mut w = World::new(spec);
    w.settle("create").exits("c", 0).settle("exit").check(expect![[r#"
        create @0s
        > mount, sandbox #0, image c IfNotPresent
          Pending -+--+ c=waiting(ContainerCreating)
        > start c#0
          Pending ++--+ c=waiting(ContainerCreating)
          Running +++++ c=running+
        exit @0s
        > stop-sandbox s0
          Succeeded ++--+ c=exit(0)
        > unmount
          Succeeded -+--+ c=exit(0)
    "#]]);
}

#[test]
fn an_image_that_cannot_be_pulled_is_tried_again() {
    let mut w = World::new(one(json!({})));
    w.pulls = false;
    w.settle("create").pass(5).settle("shown");
    w.pulls = true;
    w.pass(5).settle("again").check(expect![[r#"
        create @0s
        > mount, sandbox #0, image c IfNotPresent
          Pending -+--+ c=waiting(ContainerCreating)
          Pending ++--+ c=waiting(ErrImagePull)
          wait 5s
        shown @5s
        > image c LookOnly
          event BackOff: Back-off pulling image "img:1"
          event! Failed: Error: ImagePullBackOff
          Pending ++--+ c=waiting(ImagePullBackOff)
          wait 5s
        again @10s
        > image c IfNotPresent
          Pending ++--+ c=waiting(ImagePullBackOff)
        > start c#0
          Pending ++--+ c=waiting(ImagePullBackOff)
          Running +++++ c=running+
    "#]]);
}

#[test]
fn init_containers_go_one_by_one_and_sidecars_stay() {
    let mut w = World::new(json!({"restartPolicy": "Never", "initContainers": [
        {"name": "i1", "image": "a"},
        {"name": "side", "image": "b", "restartPolicy": "Always"},
        {"name": "i2", "image": "c"}],
        "containers": [{"name": "c", "image": "d"}]}));
    w.ends.extend([("i1", 0), ("i2", 0)]);
    w.settle("create")
        .exits("side", 1)
        .settle("sidecar dies")
        .exits("c", 0)
        .settle("done")
        .check(expect![[r#"
            create @0s
            > mount, sandbox #0, image i1 Always
              Pending ----+ i1=waiting(PodInitializing) side=waiting(PodInitializing) i2=waiting(PodInitializing) c=waiting(PodInitializing)
            > start i1#0
              Pending +---+ i1=waiting(PodInitializing) side=waiting(PodInitializing) i2=waiting(PodInitializing) c=waiting(PodInitializing)
            > image side Always
              Pending +---+ i1=exit(0)+ side=waiting(PodInitializing) i2=waiting(PodInitializing) c=waiting(PodInitializing)
            > start side#0
              Pending +---+ i1=exit(0)+ side=waiting(PodInitializing) i2=waiting(PodInitializing) c=waiting(PodInitializing)
            > image i2 Always
              Pending +---+ i1=exit(0)+ side=running+ i2=waiting(PodInitializing) c=waiting(PodInitializing)
            > start i2#0
              Pending +---+ i1=exit(0)+ side=running+ i2=waiting(PodInitializing) c=waiting(PodInitializing)
            > image c Always
              Pending ++--+ i1=exit(0)+ side=running+ i2=exit(0)+ c=waiting(PodInitializing)
            > start c#0
              Pending ++--+ i1=exit(0)+ side=running+ i2=exit(0)+ c=waiting(PodInitializing)
              Running +++++ i1=exit(0)+ side=running+ i2=exit(0)+ c=running+
            sidecar dies @0s
            > image side Always
              Running ++--+ i1=exit(0)+ side=exit(1) i2=exit(0)+ c=running+
            > start side#1
              Running ++--+ i1=exit(0)+ side=exit(1) i2=exit(0)+ c=running+
              Running +++++ i1=exit(0)+ side=running+x1 last exit(1) i2=exit(0)+ c=running+
            done @0s
            > stop side1 2s
              event Killing: Stopping container side
              Running ++--+ i1=exit(0)+ side=running+x1 last exit(1) i2=exit(0)+ c=exit(0)
            > stop-sandbox s0
              Succeeded ++--+ i1=exit(0)+ side=exit(143)x1 last exit(1) i2=exit(0)+ c=exit(0)
            > unmount
              Succeeded -+--+ i1=exit(0)+ side=exit(143)x1 last exit(1) i2=exit(0)+ c=exit(0)
        "#]]);
}

#[test]
fn a_failed_init_container_ends_a_pod_that_never_restarts() {
    let mut w = World::new(json!({"restartPolicy": "Never", "initContainers": [{"name": "i", "image": "a"}],
        "containers": [{"name": "c", "image": "d"}]}));
    w.ends.push(("i", 3));
    w.settle("create").check(expect![[r#"
        create @0s
        > mount, sandbox #0, image i Always
          Pending ----+ i=waiting(PodInitializing) c=waiting(PodInitializing)
        > start i#0
          Pending +---+ i=waiting(PodInitializing) c=waiting(PodInitializing)
        > stop-sandbox s0
          Failed +---+ i=exit(3) c=waiting(PodInitializing)
        > unmount
          Failed ----+ i=exit(3) c=waiting(PodInitializing)
    "#]]);
}

#[test]
fn probes_gate_readiness_and_restart() {
    let probe =
        |failures: i32| json!({"tcpSocket": {"port": 1}, "periodSeconds": 5, "failureThreshold": failures});
    let mut w = World::new(one(
        json!({"startupProbe": probe(3), "livenessProbe": probe(1), "readinessProbe": probe(1)}),
    ));
    w.settle("create").pass(1).settle("first probes").pass(5);
    let plan = next_ops(&w.pod, &mut w.local, &node(), w.now);
    assert_eq!(plan.ops.iter().map(show_op).collect::<Vec<_>>(), ["probe c0 Liveness", "probe c0 Readiness"]);
    w.probed("c0", "c", Kind::Readiness, &Answer::Success);
    w.probed("c0", "c", Kind::Liveness, &Answer::Failure("connection refused".into()));
    w.settle("dies").check(expect![[r#"
        create @0s
        > mount, sandbox #0, image c IfNotPresent
          Pending -+--+ c=waiting(ContainerCreating)
        > start c#0
          Pending ++--+ c=waiting(ContainerCreating)
          Running ++--+ c=running
          wait 2ns
        first probes @1s
        > probe c0 Startup
          Running ++--+ c=running
        > probe c0 Liveness, probe c0 Readiness
          Running ++--+ c=running
          Running +++++ c=running+
          wait 5s
          event! Unhealthy: Liveness probe failed: connection refused
        dies @6s
        > stop c0 2s
          event Killing: Container c failed liveness probe, will be restarted
          Running +++++ c=running+
        > image c IfNotPresent
          Running ++--+ c=exit(143)
        > start c#1
          Running ++--+ c=exit(143)
          Running ++--+ c=runningx1 last exit(143)
          wait 4ns
    "#]]);
}

#[test]
fn a_deadline_ends_a_pod() {
    let mut spec = one(json!({}));
    spec["activeDeadlineSeconds"] = json!(20);
    let mut w = World::new(spec);
    w.settle("create").pass(20).settle("late").check(expect![[r#"
        create @0s
        > mount, sandbox #0, image c IfNotPresent
          Pending -+--+ c=waiting(ContainerCreating)
        > start c#0
          Pending ++--+ c=waiting(ContainerCreating)
          Running +++++ c=running+
          wait 20s
        late @20s
        > stop c0 2s
          event DeadlineExceeded: Pod was active on the node longer than the specified deadline
          event Killing: Stopping container c
          Running +++++ c=running+
        > stop-sandbox s0
          Failed (DeadlineExceeded) ++--+ c=exit(143)
        > unmount
          Failed (DeadlineExceeded) -+--+ c=exit(143)
    "#]]);
}

#[test]
fn a_rejected_pod_fails_and_touches_nothing() {
    let mut w = World::new(one(json!({})));
    w.local.verdict = Some(("Failed".into(), "OutOfcpu".into(), "Pod was rejected: ...".into()));
    w.settle("create").check(expect![[r#"
        create @0s
        > unmount
          Failed (OutOfcpu)  
    "#]]);
}

#[test]
fn a_dead_sandbox_is_replaced() {
    let mut w = World::new(one(json!({})));
    w.settle("create").exits("c", 137);
    w.local.apply(Outcome::SandboxStopped("s0".into(), Ok(())), w.now);
    w.settle("reboot").check(expect![[r#"
        create @0s
        > mount, sandbox #0, image c IfNotPresent
          Pending -+--+ c=waiting(ContainerCreating)
        > start c#0
          Pending ++--+ c=waiting(ContainerCreating)
          Running +++++ c=running+
        reboot @0s
        > sandbox #1, image c IfNotPresent
          event SandboxChanged: Pod sandbox changed, it will be killed and re-created.
          Running -+--+ c=exit(137)
        > start c#1
          Running ++--+ c=exit(137)
          Running +++++ c=running+x1 last exit(137)
    "#]]);
}

#[test]
fn running_containers_are_adopted() {
    let mut w = World::new(one(json!({})));
    w.settle("create");
    w.local = Local::new(w.local.observed.clone());
    w.log.clear();
    w.settle("restart of the agent").check(expect![[r#"
        restart of the agent @0s
        > mount
          Running +++++ c=running+
    "#]]);
}

#[test]
fn resources_change_while_a_container_runs() {
    let mut w = World::new(one(json!({"resources": {"limits": {"cpu": "1"}}})));
    w.settle("create");
    w.log.clear();
    let limits = json!({"cpu": "2"});
    w.pod.spec.as_mut().unwrap().containers[0].resources =
        serde_json::from_value(json!({"limits": limits})).unwrap();
    w.settle("resized").check(expect![[r#"
        resized @0s
        > resize c0
          Running ++++++ c=running+
          event ResizeCompleted: Pod resize completed: {"containers":[{"name":"c","resources":{"limits":{"cpu":"2"}}}],"generation":1}
          Running +++++ c=running+
    "#]]);
}

#[test]
fn restarts_for_resizes_are_no_crashes() {
    let mut w = World::new(one(json!({"resizePolicy": [
        {"resourceName": "cpu", "restartPolicy": "RestartContainer"}]})));
    let resize = |w: &mut World, cpu: &str| {
        let limits = serde_json::from_value(json!({"limits": {"cpu": cpu}})).unwrap();
        w.pod.spec.as_mut().unwrap().containers[0].resources = Some(limits);
    };
    resize(&mut w, "1");
    w.settle("create");
    w.log.clear();
    for cpu in ["2", "3"] {
        resize(&mut w, cpu);
        w.pass(1).settle(cpu);
    }
    w.exits("c", 1).settle("crash").check(expect![[r#"
        2 @1s
        > stop c0 2s
          event Killing: Container c resize requires restart
          Running ++++++ c=running+
        > image c IfNotPresent
          Running ++--+ c=exit(143)
        > start c#1
          Running ++--+ c=exit(143)
          event ResizeCompleted: Pod resize completed: {"containers":[{"name":"c","resources":{"limits":{"cpu":"2"}}}],"generation":1}
          Running +++++ c=running+x1 last exit(143)
        3 @2s
        > stop c1 2s
          event Killing: Container c resize requires restart
          Running ++++++ c=running+x1 last exit(143)
        > image c IfNotPresent
          Running ++--+ c=exit(143)x1 last exit(143)
        > start c#2
          Running ++--+ c=exit(143)x1 last exit(143)
        > remove c0
          event ResizeCompleted: Pod resize completed: {"containers":[{"name":"c","resources":{"limits":{"cpu":"3"}}}],"generation":1}
          Running +++++ c=running+x2 last exit(143)
        crash @2s
          event! BackOff: Back-off restarting failed container c in pod web_n(u1)
          Running ++--+ c=waiting(CrashLoopBackOff)x2 last exit(1)
          wait 10.000000007s
    "#]]);
}

#[test]
fn a_container_that_was_made_and_never_started_makes_way() {
    let mut w = World::new(one(json!({})));
    w.settle("create");
    let o = w.local.observed.container("c").cloned().unwrap();
    let mut seen = w.local.observed.clone();
    seen.containers = vec![Observed { state: State::Created, started_at: 0, ..o }];
    w.local = Local::new(seen);
    w.log.clear();
    w.settle("restart of the agent").check(expect![[r#"
        restart of the agent @0s
        > mount, remove c0
          Pending ++--+ c=waiting()
        > image c IfNotPresent
          Pending ++--+ c=waiting(ContainerCreating)
        > start c#0
          Pending ++--+ c=waiting(ContainerCreating)
          Running +++++ c=running+
    "#]]);
}

#[test]
fn a_pod_that_asks_for_a_user_namespace_is_not_run_without() {
    let config = |users: Value| {
        let p = pod(json!({"hostUsers": users, "containers": [{"name": "c"}]}));
        sandbox::config(&p, 0, &sandbox::NodeSettings::default()).map(drop)
    };
    assert_eq!(config(json!(true)), Ok(()));
    assert_eq!(
        config(json!(false)).unwrap_err(),
        "can't set `spec.hostUsers: false`, runtime does not support user namespaces"
    );
}

#[test]
fn stop_signals_keep_their_names() {
    let signal = |name: &str| {
        let c = serde_json::from_value(json!({"name": "c", "lifecycle": {"stopSignal": name}})).unwrap();
        container::stop_signal(&c)
    };
    assert_eq!(signal("SIGUSR1"), cri::Signal::Sigusr1);
    assert_eq!(signal("SIGRTMIN+3"), cri::Signal::Sigrtminplus3);
    assert_eq!(signal("SIGRTMAX-1"), cri::Signal::Sigrtmaxminus1);
    assert_eq!(signal(""), cri::Signal::RuntimeDefault);
}
