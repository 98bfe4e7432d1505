//! One seed from its beginning to its end.

use crate::chaos::{Cell, Dice, Way, Weather};
use crate::checks::{self, Checker};
use crate::diary::Diary;
use crate::node::{self, Agent, Machine, SharedMachine};
use crate::sabotage::Sabotage;
use crate::user::User;
use crate::watcher::{self, Seen};
use crate::{Outcome, Planned};
use client::{Client, Resource};
use meta::UserInfo;
use reconcile::runner::Metrics;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::{SimDisk, Store};
use testkit::{SeededUids, VirtualClock};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// How often the checkers look.
const LOOK: Duration = Duration::from_millis(250);
/// How long things may take to settle once the world is calm: a Job that fails six times waits 630 s in all before it
/// tries once more.
const SETTLE: Duration = Duration::from_secs(900);
/// How long they must then stay as they are.
const STAY: Duration = Duration::from_secs(45);

/// A bad way, and one that loses nothing.
const STORM: Weather = Weather { loss: 0.02, cut: 0.01, stall: 0.02 };
const CLEAR: Weather = Weather { loss: 0.0, cut: 0.0, stall: 0.0 };

/// Where a watcher's objects lie in the store, what it has seen, and its task.
type Watching = (&'static str, Arc<Mutex<Seen>>, JoinHandle<()>);

/// The whole world.
pub(crate) struct World {
    pub(crate) disk: SimDisk,
    pub(crate) store: Store,
    pub(crate) cell: Arc<Cell>,
    pub(crate) clock: VirtualClock,
    pub(crate) dice: Dice,
    pub(crate) uids: Arc<SeededUids>,
    sabotage: Sabotage,
    manager: JoinHandle<()>,
    counting: Metrics,
    counted: Vec<Planned>,
    pub(crate) scheduler: JoinHandle<()>,
    pub(crate) nodes: Vec<(Agent, JoinHandle<()>)>,
    /// Somebody with a good connection.
    pub(crate) admin: Client,
    pub(crate) checker: Arc<Mutex<Checker>>,
    /// Up to where the checkers have looked: older history may go.
    pub(crate) checked: Arc<AtomicU64>,
    pub(crate) violations: Vec<String>,
    story: Vec<String>,
}

/// Nothing here panics while it holds a lock; if something does, its seed has failed already.
pub(crate) fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lives one seed.
pub(crate) async fn live(seed: u64, sabotage: Sabotage) -> Outcome {
    let dice = Dice::new(seed);
    let mut world = match World::new(&dice, sabotage, Diary::default()) {
        Ok(world) => world,
        Err(e) => return Outcome { seed, violations: vec![e], ..Outcome::default() },
    };
    for number in 0..2 + dice.below(2) as u8 {
        world.add_node(number);
    }
    let looking = tokio::spawn(look_on(world.checker.clone(), world.checked.clone()));
    let watchers = world.watchers();
    world.be_wild().await;
    world.settle().await;
    looking.abort();
    world.judge(watchers);
    world.stop();
    Outcome {
        seed,
        violations: world.violations,
        revisions: world.store.revision(),
        calls: world.cell.frequent(),
        planned: world.counted,
        story: world.story,
    }
}

const MASTERS: &[&str] = &["system:masters", "system:authenticated"];

async fn look_on(checker: Arc<Mutex<Checker>>, checked: Arc<AtomicU64>) {
    loop {
        sleep(LOOK).await;
        let revision = lock(&checker).look();
        checked.store(revision, Ordering::Relaxed);
    }
}

impl World {
    pub(crate) fn new(dice: &Dice, sabotage: Sabotage, diary: Diary) -> Result<Self, String> {
        let (clock, cell, disk) = (VirtualClock::new(), Cell::new(diary), SimDisk::new(dice.below(u64::MAX)));
        let store = testkit::server::store_on(&disk).map_err(|e| e.to_string())?;
        let checker = Arc::new(Mutex::new(Checker::new(&store, clock.clone())));
        let uids = Arc::new(SeededUids::new(dice.below(u64::MAX)));
        let idle = || tokio::spawn(async {});
        let admin = client_over(&cell, dice, UserInfo::new("admin", MASTERS), CLEAR);
        let (counting, counted, checked, violations, story) = Default::default();
        let mut world = Self {
            disk,
            store,
            cell,
            clock,
            dice: dice.fork(),
            uids,
            sabotage,
            manager: idle(),
            counting,
            counted,
            scheduler: idle(),
            nodes: Vec::new(),
            admin,
            checker,
            checked,
            violations,
            story,
        };
        world.serve();
        world.start_manager();
        world.start_scheduler();
        Ok(world)
    }

    /// A user acts, and things break.
    async fn be_wild(&mut self) {
        let mut user = User::new(self.admin.clone(), self.dice.fork());
        user.begin().await;
        for _ in 0..4 + self.dice.below(6) {
            sleep(Duration::from_millis(self.dice.below(9000))).await;
            if self.dice.chance(0.35) {
                self.disturb().await
            } else {
                user.act().await
            }
            self.story.append(&mut user.story);
        }
        self.cell.calm();
        user.finish().await;
        self.story.append(&mut user.story);
    }

    /// What the checkers say in the end.
    fn judge(&mut self, watchers: Vec<Watching>) {
        let mut checker = lock(&self.checker);
        checker.look();
        checker.nothing_lost(&self.cell.take_acknowledged());
        self.violations.append(&mut checker.violations);
        for (prefix, seen, task) in watchers {
            task.abort();
            let seen = lock(&seen);
            self.violations.extend(seen.violations.iter().map(|v| format!("a watcher of {prefix}: {v}")));
            if seen.objects() != checks::stored(&self.store, prefix) {
                self.violations.push(format!("a watcher of {prefix} holds something else than the store"));
            }
        }
    }

    /// Puts a new server over the store.
    pub(crate) fn serve(&mut self) {
        match testkit::server(self.store.clone(), self.clock.clone(), self.uids.clone()) {
            Ok(server) => self.cell.put(Some(server)),
            Err(e) => self.violations.push(format!("the server doesn't start: {e}")),
        }
    }

    fn client(&self, user: UserInfo, weather: Weather) -> Client {
        client_over(&self.cell, &self.dice, user, weather)
    }

    pub(crate) fn start_manager(&mut self) {
        let config = config(self.clock.now());
        let user = UserInfo::new("system:kube-controller-manager", &["system:authenticated"]);
        let client = self.client(user, STORM);
        let (cell, dice) = (self.cell.clone(), self.dice.fork());
        let all = self.cell.diary.of(self.sabotage.of(controllers::all(&config)));
        let runner = reconcile::Runner::new(all, client, self.clock.function());
        self.counting = runner.metrics();
        let runner = runner.identities(|account| client_over(&cell, &dice, service_account(account), STORM));
        self.manager = tokio::spawn(runner.run(std::future::pending()));
    }

    /// Ends the controllers, and adds up what they did.
    pub(crate) fn stop_manager(&mut self) {
        self.manager.abort();
        let counters = std::mem::take(&mut *lock(&self.counting));
        crate::add_up(&mut self.counted, counters.into_iter().map(|(name, c, _)| (name, c.plans, c.writes)));
    }

    pub(crate) fn start_scheduler(&mut self) {
        let user = UserInfo::new("system:kube-scheduler", &["system:authenticated"]);
        let client = self.client(user, STORM);
        self.scheduler = tokio::spawn(scheduler::shell::run(client, self.clock.function()));
    }

    pub(crate) fn add_node(&mut self, number: u8) {
        let name = format!("node-{number}");
        let user = UserInfo::new(&format!("system:node:{name}"), &["system:nodes", "system:authenticated"]);
        let agent = Agent {
            client: self.client(user, STORM),
            clock: self.clock.clone(),
            name,
            number,
            machine: SharedMachine::new(Mutex::new(Machine::default())),
            dice: self.dice.fork(),
            diary: self.cell.diary.clone(),
            cpu: 1500,
        };
        let task = tokio::spawn(node::run(agent.clone()));
        self.nodes.push((agent, task));
    }

    fn watchers(&self) -> Vec<Watching> {
        let kinds = [
            ("core/pods", Resource::of::<api::core::v1::Pod>()),
            ("apps/replicasets", Resource::of::<api::apps::v1::ReplicaSet>()),
            ("batch/jobs", Resource::of::<api::batch::v1::Job>()),
        ];
        let watch = |(prefix, resource)| {
            let seen = Arc::new(Mutex::new(Seen::new(self.sabotage == Sabotage::Deaf)));
            let client = self.client(UserInfo::new("watcher", MASTERS), STORM);
            (prefix, seen.clone(), tokio::spawn(watcher::run(client, resource, seen)))
        };
        kinds.into_iter().map(watch).collect()
    }

    pub(crate) fn tell(&mut self, what: &str) {
        self.story.push(format!("{:?}: {what}", self.clock.elapsed()));
    }

    /// Waits until all is as it should be, then that it stays so.
    async fn settle(&mut self) {
        let end = self.clock.elapsed() + SETTLE;
        let mut seen = 0;
        loop {
            // Nothing can have come right while nothing was written.
            let revision = self.store.revision();
            let wrong = if revision == seen { None } else { Some(self.unsettled()) };
            seen = revision;
            match wrong {
                Some(wrong) if wrong.is_empty() => break,
                _ if self.clock.elapsed() >= end => return self.violations.extend(self.unsettled()),
                _ => sleep(Duration::from_secs(2)).await,
            }
        }
        // What follows from the last change (an old set's deletion) may still be on its way.
        sleep(Duration::from_secs(30)).await;
        let revision = self.store.revision();
        sleep(STAY).await;
        self.violations.extend(checks::restless(&self.store, revision));
        self.violations.extend(self.unsettled());
    }

    fn unsettled(&self) -> Vec<String> {
        checks::unsettled(&checks::objects(&self.store))
    }

    pub(crate) fn stop(&mut self) {
        self.stop_manager();
        self.scheduler.abort();
        self.nodes.iter().for_each(|(_, task)| task.abort());
        self.cell.put(None);
    }
}

/// A controller's own account.
fn service_account(name: &str) -> UserInfo {
    let groups = ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"];
    UserInfo::new(&format!("system:serviceaccount:kube-system:{name}"), &groups)
}

/// As the binary has it on a machine with a node.
fn config(started: jiff::Timestamp) -> controllers::Config {
    controllers::Config {
        started,
        root_ca_pem: "CA".to_owned(),
        cluster_cidr: "10.244.0.0/16".to_owned(),
        volumes_dir: "/volumes".to_owned(),
        ..controllers::Config::default()
    }
}

/// The names of all controllers, in their order.
pub fn controller_names() -> Vec<&'static str> {
    controllers::all(&config(jiff::Timestamp::UNIX_EPOCH)).iter().map(|c| c.name()).collect()
}

fn client_over(cell: &Arc<Cell>, dice: &Dice, user: UserInfo, weather: Weather) -> Client {
    let name = user.name.clone();
    let way = Way { cell: cell.clone(), user, dice: dice.fork(), weather };
    Client::new(Arc::new(way), &name)
}
