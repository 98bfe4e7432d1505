//! docs/walks/pod-creation.md: one Deployment through every room, each hand-over a value with its revision. What is
//! printed is what happened: the production parts ran in the quiet version of the simulated world.

mod prose;

use crate::chaos::Dice;
use crate::diary::{Diary, Note};
use crate::sabotage::Sabotage;
use crate::world::World;
use api::MetaExt;
use api::apps::v1::Deployment;
use api::core::v1::Service;
use api::discovery::v1::EndpointSlice;
use client::{Call, Resource};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use store::{Event, EventKind};
use testkit::manifests;
use tokio::time::sleep;

/// Any seed will do; this one it is.
const SEED: u64 = 841;
/// The first write of the walk gets this number, whatever the cluster wrote while it started.
const FIRST: u64 = 841;
/// How long a cluster takes to come to rest.
const REST: Duration = Duration::from_secs(60);
const NAMESPACE: &str = "default";

/// The page.
pub fn walk() -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    match runtime {
        Ok(runtime) => runtime.block_on(Walk::take()).map_or_else(|why| why, |walk| walk.page()),
        Err(e) => format!("no runtime: {e}"),
    }
}

/// What happened on the way.
struct Walk {
    manifest: Value,
    /// The newest revision before the first write.
    base: u64,
    events: Vec<Arc<Event>>,
    notes: Vec<Note>,
    /// The bytes that a read returns, and those that the first event holds, are the same buffer.
    one_buffer: bool,
    service: Option<Service>,
    slices: Vec<EndpointSlice>,
}

impl Walk {
    async fn take() -> Result<Self, String> {
        let dice = Dice::new(SEED);
        let diary = Diary::open();
        let mut world = World::new(&dice, Sabotage::None, diary.clone())?;
        world.add_node(0);
        world.cell.calm();
        sleep(REST).await;
        create(&world, &Resource::of::<Service>(), &manifests::service("web", "web")).await?;
        sleep(REST).await;
        world.uids.restart(SEED);
        let (base, _) = (world.store.revision(), diary.take());
        let mut watcher = world.store.watch("/registry/", base).map_err(|e| format!("{e:?}"))?;
        let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}});
        let manifest = manifests::deployment("web", 3, "shop:1", rolling);
        create(&world, &Resource::of::<Deployment>(), &manifest).await?;
        let event = watcher.try_next().and_then(Result::ok).ok_or("nothing was written")?;
        let read = world.store.get(&event.entry.key).ok_or("nothing is stored")?;
        let one_buffer = std::ptr::eq(read.bytes.as_ptr(), event.entry.bytes.as_ptr());
        sleep(REST).await;
        let mut events = vec![event];
        while let Some(Ok(event)) = watcher.try_next() {
            events.push(event);
        }
        let all = client::ListOptions::default();
        let services = client::Api::<Service>::namespaced(&world.admin, NAMESPACE);
        let service = services.find("web").await.map_err(|e| e.to_string())?;
        let slices = client::Api::<EndpointSlice>::namespaced(&world.admin, NAMESPACE);
        let (slices, _) = slices.list(&all).await.map_err(|e| e.to_string())?;
        let slices = slices.into_iter().filter(|s| s.label("kubernetes.io/service-name") == Some("web"));
        let (notes, slices) = (diary.take(), slices.collect());
        world.stop();
        Ok(Self { manifest, base, events, notes, one_buffer, service, slices })
    }

    /// A revision as the page numbers it.
    fn number(&self, revision: u64) -> u64 {
        (revision + FIRST).saturating_sub(self.base + 1)
    }

    fn page(&self) -> String {
        let mut page = prose::TITLE.to_owned();
        for (heading, prose, value) in [
            ("A request", prose::REQUEST, self.request()),
            ("A revision", prose::REVISION, self.revision()),
            ("The same bytes for everybody", prose::BYTES, self.bytes()),
            ("The deployment controller", prose::DEPLOYMENT, self.plan("deployment-controller", 0)),
            ("The replica set controller", prose::REPLICASET, self.plan("replicaset-controller", 0)),
            ("The same controller, later", prose::BARRIER, self.plan("replicaset-controller", 1)),
            ("The scheduler", prose::SCHEDULER, self.calls("/binding")),
            ("The node", prose::NODE, self.node()),
            ("The status of a pod", prose::STATUS, self.statuses()),
            ("The endpoint slice", prose::SLICE, self.last_plan("endpoint-slice-controller")),
            ("The rules in the kernel", prose::RULES, self.rules()),
            ("What kubectl rollout status says", prose::ROLLOUT, self.rollout()),
            ("The log", prose::LOG, self.log()),
        ] {
            let _ = write!(page, "\n## {heading}\n\n{}\n\n```\n{}\n```\n", prose.trim(), value.trim_end());
        }
        page.push_str(prose::END);
        page
    }

    fn request(&self) -> String {
        let body = serde_json::to_string_pretty(&self.manifest).unwrap_or_default();
        format!(
            "POST /apis/apps/v1/namespaces/{NAMESPACE}/deployments\nuser: admin, groups: system:masters, system:authenticated\n\n{body}"
        )
    }

    fn revision(&self) -> String {
        let Some(event) = self.events.first() else { return String::new() };
        let mut object: Value = serde_json::from_slice(&event.entry.bytes).unwrap_or_default();
        if let Some(meta) = object["metadata"].as_object_mut() {
            meta.remove("managedFields");
            meta.insert("resourceVersion".to_owned(), self.number(event.revision()).to_string().into());
        }
        let text = serde_json::to_string_pretty(&object).unwrap_or_default();
        format!("{}: {}\n{text}", self.number(event.revision()), event.entry.key)
    }

    fn bytes(&self) -> String {
        let len = self.events.first().map_or(0, |e| e.entry.bytes.len());
        let same = if self.one_buffer { "the same" } else { "another" };
        format!("stored: {len} bytes\nwatch event: {same} buffer")
    }

    /// The plans of one controller that ask for something.
    fn plans<'a>(&'a self, of: &'a str) -> impl Iterator<Item = String> + 'a {
        self.notes.iter().filter_map(move |note| match note {
            Note::Plan { controller, key, seen, lines } if *controller == of => {
                let mut text = format!("plan({key})");
                for (resource, revision) in seen.iter().filter(|(_, revision)| *revision > self.base) {
                    let _ = write!(text, ", {resource} up to {}", self.number(*revision));
                }
                text.push('\n');
                lines.iter().for_each(|line| _ = writeln!(text, "    {line}"));
                Some(text)
            }
            _ => None,
        })
    }

    fn plan(&self, of: &str, at: usize) -> String {
        self.plans(of).nth(at).unwrap_or_default()
    }

    fn last_plan(&self, of: &str) -> String {
        self.plans(of).last().unwrap_or_default()
    }

    /// The calls whose path has this in it, with the revision that each became.
    fn calls(&self, part: &str) -> String {
        let mut text = String::new();
        for note in &self.notes {
            if let Note::Call { user, call } = note
                && call.contains(part)
            {
                let _ = writeln!(text, "{user}: {call}");
            }
        }
        let bound = self.events.iter().filter(|e| has(e, "/spec/nodeName") && !before(e, "/spec/nodeName"));
        for event in bound {
            let _ = writeln!(
                text,
                "{}: {} is on {}",
                self.number(event.revision()),
                name(event),
                value(event, "/spec/nodeName")
            );
        }
        text
    }

    fn first_pod(&self) -> &str {
        self.events.iter().find(|e| e.entry.key.contains("/core/pods/")).map_or("", |e| name(e))
    }

    fn node(&self) -> String {
        let (pod, mut text) = (self.first_pod(), String::new());
        let _ = writeln!(text, "next_ops({pod})");
        for note in &self.notes {
            if let Note::Ops { pod: of, ops } = note
                && of == pod
            {
                ops.iter().for_each(|op| _ = writeln!(text, "    {op}"));
            }
        }
        text
    }

    /// The revisions of the first pod.
    fn statuses(&self) -> String {
        let (pod, mut text) = (self.first_pod(), String::new());
        for event in self.events.iter().filter(|e| e.entry.key.contains("/core/pods/") && name(e) == pod) {
            let conditions = parsed(event)["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let held = conditions.iter().filter(|c| c["status"] == "True").filter_map(|c| c["type"].as_str());
            let held: Vec<&str> = held.collect();
            let (number, phase) = (self.number(event.revision()), value(event, "/status/phase"));
            let _ =
                writeln!(text, "{number}: {phase} {} [{}]", value(event, "/status/podIP"), held.join(", "));
        }
        text
    }

    fn rules(&self) -> String {
        let mut rules = network::rules::RuleSet::default();
        if let Some(service) = &self.service {
            let slices: Vec<&EndpointSlice> = self.slices.iter().collect();
            network::rules::add_service(&mut rules, service, &slices, "node-0");
        }
        let mut text = String::new();
        for (frontend, backends) in &rules.frontends {
            let address = frontend.address.map(|a| a.to_string()).unwrap_or_default();
            let targets: Vec<String> = backends.targets.iter().map(ToString::to_string).collect();
            let _ = writeln!(
                text,
                "{} {address}:{} -> {}",
                frontend.protocol.as_str(),
                frontend.port,
                targets.join(", ")
            );
        }
        text
    }

    /// What `kubectl rollout status` makes of each state of the Deployment.
    fn rollout(&self) -> String {
        let (mut text, mut last) = (String::new(), String::new());
        for event in self.events.iter().filter(|e| e.entry.key.contains("/apps/deployments/")) {
            let line = rollout_line(&parsed(event));
            if line != last {
                let _ = writeln!(text, "{}: {line}", self.number(event.revision()));
            }
            last = line;
        }
        text
    }

    fn log(&self) -> String {
        let mut text = String::new();
        let quiet = ["/coordination.k8s.io/", "/core/events/", "/core/nodes/"];
        for event in self.events.iter().filter(|e| !quiet.iter().any(|q| e.entry.key.contains(q))) {
            let what = match event.kind {
                EventKind::Put if event.prev.is_none() => "created",
                EventKind::Put => "changed",
                EventKind::Delete => "deleted",
            };
            let key = event.entry.key.trim_start_matches("/registry/");
            let _ = writeln!(text, "{}: {key} {what}", self.number(event.revision()));
        }
        text
    }
}

async fn create(world: &World, resource: &Resource, object: &Value) -> Result<(), String> {
    let call = Call::create(resource, NAMESPACE, object.to_string());
    world.admin.send(call).await.map(drop).map_err(|e| e.to_string())
}

fn parsed(event: &Event) -> Value {
    serde_json::from_slice(&event.entry.bytes).unwrap_or_default()
}

fn value(event: &Event, path: &str) -> String {
    parsed(event).pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn has(event: &Event, path: &str) -> bool {
    parsed(event).pointer(path).is_some()
}

/// Whether the object had it already.
fn before(event: &Event, path: &str) -> bool {
    let old = event.prev.as_ref().and_then(|e| serde_json::from_slice::<Value>(&e.bytes).ok());
    old.is_some_and(|o| o.pointer(path).is_some())
}

/// The object's name: the last part of its key.
fn name(event: &Event) -> &str {
    event.entry.key.rsplit('/').next().unwrap_or_default()
}

/// As kubectl words it (`k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go`).
fn rollout_line(d: &Value) -> String {
    let number = |path: &str| d.pointer(path).and_then(Value::as_i64).unwrap_or(0);
    let wanted = number("/spec/replicas");
    let [all, updated, available] =
        ["/status/replicas", "/status/updatedReplicas", "/status/availableReplicas"].map(number);
    let waiting = "Waiting for deployment \"web\" rollout to finish:";
    if number("/status/observedGeneration") < number("/metadata/generation") {
        "Waiting for deployment spec update to be observed...".to_owned()
    } else if updated < wanted {
        format!("{waiting} {updated} out of {wanted} new replicas have been updated...")
    } else if all > updated {
        format!("{waiting} {} old replicas are pending termination...", all - updated)
    } else if available < updated {
        format!("{waiting} {available} of {updated} updated replicas are available...")
    } else {
        "deployment \"web\" successfully rolled out".to_owned()
    }
}
