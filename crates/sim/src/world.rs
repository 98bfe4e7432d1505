//! One seed from its beginning to its end.

use crate::Outcome;
use crate::chaos::{Cell, Dice, Way, Weather};
use crate::checks::{self, Checker};
use crate::node::{self, Agent, Machine, SharedMachine};
use crate::user::User;
use crate::watcher::{self, Seen};
use client::{Client, Resource};
use meta::UserInfo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::Store;
use testkit::{SeededUids, VirtualClock};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// How often the checkers look.
const LOOK: Duration = Duration::from_millis(250);
/// How long things may take to settle once the world is calm.
const SETTLE: Duration = Duration::from_secs(420);
/// How long they must then stay as they are.
const STAY: Duration = Duration::from_secs(45);

/// A bad way, and one that loses nothing.
const STORM: Weather = Weather { loss: 0.02, cut: 0.01, stall: 0.02 };
const CLEAR: Weather = Weather { loss: 0.0, cut: 0.0, stall: 0.0 };

/// Where a watcher's objects lie in the store, what it has seen, and its task.
type Watching = (&'static str, Arc<Mutex<Seen>>, JoinHandle<()>);

/// The whole world.
struct World {
    store: Store,
    cell: Arc<Cell>,
    clock: VirtualClock,
    dice: Dice,
    uids: Arc<SeededUids>,
    manager: JoinHandle<()>,
    scheduler: JoinHandle<()>,
    nodes: Vec<(Agent, JoinHandle<()>)>,
    /// Up to where the checkers have looked: older history may go.
    checked: Arc<AtomicU64>,
    story: Vec<String>,
}

/// Lives one seed.
pub(crate) async fn live(seed: u64) -> Outcome {
    let dice = Dice::new(seed);
    let mut world = match World::new(&dice) {
        Ok(world) => world,
        Err(e) => return Outcome { seed, violations: vec![e.to_string()], ..Outcome::default() },
    };
    let checker = Arc::new(Mutex::new(Checker::new(&world.store, world.clock.clone())));
    let looking = tokio::spawn(look_on(checker.clone(), world.checked.clone()));
    let watchers = world.watchers();
    let mut user = User::new(world.client(UserInfo::new("admin", MASTERS), CLEAR), dice.fork());
    user.begin().await;
    for _ in 0..4 + dice.below(6) {
        sleep(Duration::from_millis(dice.below(9000))).await;
        if dice.chance(0.35) {
            world.disturb().await
        } else {
            user.act().await
        }
        world.story.append(&mut user.story);
    }
    world.cell.calm();
    user.finish().await;
    world.story.append(&mut user.story);
    let mut violations = world.settle().await;
    looking.abort();
    let mut checker = checker.lock().unwrap_or_else(PoisonError::into_inner);
    checker.look();
    checker.nothing_lost(&world.cell.take_acknowledged());
    violations.append(&mut checker.violations);
    for (prefix, seen, task) in watchers {
        task.abort();
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        violations.extend(seen.violations.iter().map(|v| format!("a watcher of {prefix}: {v}")));
        if seen.objects() != checks::stored(&world.store, prefix) {
            violations.push(format!("a watcher of {prefix} holds something else than the store"));
        }
    }
    world.stop();
    Outcome {
        seed,
        violations,
        revisions: world.store.revision(),
        calls: world.cell.frequent(),
        story: world.story,
    }
}

const MASTERS: &[&str] = &["system:masters", "system:authenticated"];

async fn look_on(checker: Arc<Mutex<Checker>>, checked: Arc<AtomicU64>) {
    loop {
        sleep(LOOK).await;
        let revision = checker.lock().unwrap_or_else(PoisonError::into_inner).look();
        checked.store(revision, Ordering::Relaxed);
    }
}

impl World {
    fn new(dice: &Dice) -> Result<Self, meta::Status> {
        let (clock, store, cell) = (VirtualClock::new(), testkit::server::store(), Cell::new());
        let uids = Arc::new(SeededUids::new(dice.below(u64::MAX)));
        cell.put(Some(testkit::server(store.clone(), clock.clone(), uids.clone())?));
        let idle = || tokio::spawn(async {});
        let mut world = Self {
            store,
            cell,
            clock,
            dice: dice.fork(),
            uids,
            manager: idle(),
            scheduler: idle(),
            nodes: Vec::new(),
            checked: Arc::default(),
            story: Vec::new(),
        };
        world.start_manager();
        world.start_scheduler();
        for number in 0..2 + dice.below(2) as u8 {
            world.add_node(number);
        }
        Ok(world)
    }

    fn client(&self, user: UserInfo, weather: Weather) -> Client {
        client_over(&self.cell, &self.dice, user, weather)
    }

    fn start_manager(&mut self) {
        let config = controllers::Config {
            started: self.clock.now(),
            root_ca_pem: "CA".to_owned(),
            ..controllers::Config::default()
        };
        let all = ["system:authenticated"];
        let client = self.client(UserInfo::new("system:kube-controller-manager", &all), STORM);
        let (cell, dice) = (self.cell.clone(), self.dice.fork());
        let runner = reconcile::Runner::new(controllers::all(&config), client, self.clock.function());
        let runner = runner.identities(|account| {
            let groups =
                ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"];
            let user = UserInfo::new(&format!("system:serviceaccount:kube-system:{account}"), &groups);
            client_over(&cell, &dice, user, STORM)
        });
        self.manager = tokio::spawn(runner.run(std::future::pending()));
    }

    fn start_scheduler(&mut self) {
        let user = UserInfo::new("system:kube-scheduler", &["system:authenticated"]);
        let client = self.client(user, STORM);
        self.scheduler = tokio::spawn(scheduler::shell::run(client, self.clock.function()));
    }

    fn add_node(&mut self, number: u8) {
        let name = format!("node-{number}");
        let user = UserInfo::new(&format!("system:node:{name}"), &["system:nodes", "system:authenticated"]);
        let agent = Agent {
            client: self.client(user, STORM),
            clock: self.clock.clone(),
            name,
            number,
            machine: SharedMachine::new(Mutex::new(Machine::default())),
            dice: self.dice.fork(),
            cpu: 1500,
        };
        let task = tokio::spawn(node::run(agent.clone()));
        self.nodes.push((agent, task));
    }

    fn watchers(&self) -> Vec<Watching> {
        let kinds = [
            ("core/pods", Resource::of::<api::core::v1::Pod>()),
            ("apps/replicasets", Resource::of::<api::apps::v1::ReplicaSet>()),
        ];
        let watch = |(prefix, resource)| {
            let seen = Arc::new(Mutex::new(Seen::default()));
            let client = self.client(UserInfo::new("watcher", MASTERS), STORM);
            (prefix, seen.clone(), tokio::spawn(watcher::run(client, resource, seen)))
        };
        kinds.into_iter().map(watch).collect()
    }

    /// Something breaks.
    async fn disturb(&mut self) {
        match self.dice.below(7) {
            0 | 1 => {
                self.manager.abort();
                self.tell("the controllers crash");
                self.pause().await;
                self.start_manager();
            }
            2 => {
                self.scheduler.abort();
                self.tell("the scheduler crashes");
                self.pause().await;
                self.start_scheduler();
            }
            3 => {
                self.cell.put(None);
                self.tell("the server crashes");
                self.pause().await;
                self.start_server();
            }
            4 => {
                self.tell("the history is compacted");
                self.store.compact(self.checked.load(Ordering::Relaxed));
            }
            5 => self.break_node(false).await,
            _ => self.break_node(true).await,
        }
    }

    fn start_server(&mut self) {
        match testkit::server(self.store.clone(), self.clock.clone(), self.uids.clone()) {
            Ok(server) => self.cell.put(Some(server)),
            Err(e) => self.tell(&format!("the server doesn't start: {e}")),
        }
    }

    /// A node's agent dies; with `power`, everything on the node does.
    async fn break_node(&mut self, power: bool) {
        let at = self.dice.below(self.nodes.len() as u64) as usize;
        let what = if power { "loses power" } else { "loses its agent" };
        let name = self.nodes[at].0.name.clone();
        self.tell(&format!("{name} {what}"));
        self.nodes[at].1.abort();
        if power {
            self.nodes[at].0.machine.lock().unwrap_or_else(PoisonError::into_inner).power_off();
        }
        self.pause().await;
        let agent = self.nodes[at].0.clone();
        self.nodes[at].1 = tokio::spawn(node::run(agent));
    }

    async fn pause(&self) {
        let long = self.dice.chance(0.2);
        sleep(Duration::from_millis(self.dice.below(if long { 70_000 } else { 3000 }))).await;
    }

    fn tell(&mut self, what: &str) {
        self.story.push(format!("{:?}: {what}", self.clock.elapsed()));
    }

    /// Waits until all is as it should be, then that it stays so.
    async fn settle(&mut self) -> Vec<String> {
        let end = self.clock.elapsed() + SETTLE;
        let mut wrong = checks::not_converged(&self.store);
        while !wrong.is_empty() && self.clock.elapsed() < end {
            sleep(Duration::from_secs(2)).await;
            wrong = checks::not_converged(&self.store);
        }
        if !wrong.is_empty() {
            return wrong;
        }
        // What follows from the last change (an old set's deletion) may still be on its way.
        sleep(Duration::from_secs(30)).await;
        let revision = self.store.revision();
        sleep(STAY).await;
        let mut wrong = checks::restless(&self.store, revision);
        wrong.extend(checks::not_converged(&self.store));
        wrong
    }

    fn stop(&mut self) {
        self.manager.abort();
        self.scheduler.abort();
        self.nodes.iter().for_each(|(_, task)| task.abort());
        self.cell.put(None);
    }
}

fn client_over(cell: &Arc<Cell>, dice: &Dice, user: UserInfo, weather: Weather) -> Client {
    let name = user.name.clone();
    let way = Way { cell: cell.clone(), user, dice: dice.fork(), weather };
    Client::new(Arc::new(way), &name)
}
