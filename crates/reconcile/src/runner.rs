//! The asynchronous shell of the [`Engine`]: reflectors feed it, tasks carry out its work. No decisions.

use crate::Controller;
use crate::engine::{Counters, Engine, Ticket, Work};
use crate::execution::{Execution, Outcome};
use crate::plan::EventNote;
use crate::recorder::Recorder;
use api::Kind;
use api::apiextensions::v1::CustomResourceDefinition;
use client::reflector::{Batch, Reflector};
use client::{Client, discovery};
use jiff::Timestamp;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinSet};

/// Batches of feeds that wait for the engine.
const FEED_BUFFER: usize = 64;
/// Plans that are carried out at the same time, over all controllers.
const MAX_RUNNING: usize = 64;
/// Events that wait to be written; more are dropped.
const EVENT_BUFFER: usize = 1024;
/// How often discovery is asked for new resources, besides whenever a definition changes.
const DISCOVERY_EVERY: Duration = Duration::from_secs(300);
/// How soon discovery is asked again while it is incomplete.
const DISCOVERY_RETRY: Duration = Duration::from_secs(1);

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The machine's clock.
pub fn system_clock() -> Clock {
    Arc::new(Timestamp::now)
}

/// Counters of all controllers, for whoever wants to look.
pub type Metrics = Arc<Mutex<Vec<(&'static str, Counters, usize)>>>;

/// Runs controllers until it is dropped.
pub struct Runner {
    engine: Engine,
    client: Client,
    clock: Clock,
    metrics: Metrics,
    /// Each controller's service account and client.
    clients: Vec<(&'static str, Client)>,
    reflectors: HashMap<usize, AbortHandle>,
    /// Where the reflectors send.
    feeds: mpsc::Sender<Batch>,
    fed: Option<mpsc::Receiver<Batch>>,
    background: JoinSet<()>,
    running: JoinSet<Done>,
    /// Wakes discovery early: a new kind was defined.
    rediscover: Arc<Notify>,
}

enum Done {
    Work(Ticket, Box<Outcome>),
    /// What was found, and whether a new kind was the reason to look.
    Discovered(Option<(Vec<discovery::Discovered>, bool)>, bool),
}

impl Runner {
    /// Controllers that see and write through `client`; in `managedFields` they go by its name, as upstream's all go by
    /// `kube-controller-manager`.
    pub fn new(controllers: Vec<Box<dyn Controller>>, client: Client, clock: Clock) -> Self {
        let clients = controllers.iter().map(|c| (c.account(), client.clone())).collect();
        let (feeds, fed) = mpsc::channel::<Batch>(FEED_BUFFER);
        Self {
            engine: Engine::new(controllers),
            client,
            clock,
            metrics: Metrics::default(),
            clients,
            reflectors: HashMap::new(),
            feeds,
            fed: Some(fed),
            background: JoinSet::new(),
            running: JoinSet::new(),
            rediscover: Arc::new(Notify::new()),
        }
    }

    /// Lets each controller write as its own service account: `client_of` the account's name.
    pub fn identities(mut self, client_of: impl Fn(&str) -> Client) -> Self {
        for (name, client) in &mut self.clients {
            *client = client_of(name);
        }
        self
    }

    /// Where the counters can be read while the runner runs.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Runs until `stop` completes; what is being written then is dropped.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let Some(mut fed) = self.fed.take() else { return };
        let (events, told) = mpsc::channel::<(&'static str, EventNote)>(EVENT_BUFFER);
        self.background.spawn(tell(self.client.clone(), told, self.clock.clone()));
        for slot in 0..self.engine.caches().slots().len() {
            self.reflect(slot);
        }
        if self.engine.wants_everything() {
            self.discover(Duration::ZERO);
        }
        tokio::pin!(stop);
        loop {
            let now = (self.clock)();
            for slot in self.engine.take_stale() {
                self.reflectors.remove(&slot).inspect(AbortHandle::abort);
                self.reflect(slot);
            }
            self.start_work(now);
            let due = self.engine.next_due().map_or(Duration::from_secs(3600), |at| wait(now, at));
            tokio::select! {
                biased;
                () = &mut stop => return,
                Some(batch) = fed.recv() => self.feed(batch),
                Some(done) = self.running.join_next() => self.finish(done, &events),
                () = tokio::time::sleep(due) => {}
            }
            // What has come in the meantime is taken in before the next plan.
            while let Ok(batch) = fed.try_recv() {
                self.feed(batch);
            }
            *self.metrics.lock().unwrap_or_else(PoisonError::into_inner) = self.engine.counters().collect();
        }
    }

    fn feed(&mut self, batch: Batch) {
        // No controller watches definitions by their type: discovery found them.
        let info = CustomResourceDefinition::INFO;
        if self.engine.caches().find(info.group, info.resource) == Some(batch.slot) {
            self.rediscover.notify_one();
        }
        self.engine.feed(batch.slot, batch.feeds, (self.clock)());
    }

    fn reflect(&mut self, slot: usize) {
        let Some(s) = self.engine.caches().slots().get(slot) else { return };
        let all = Reflector::all(&self.client, s.resource.clone(), s.decode, slot);
        let reflector = Reflector { type_id: Some(s.type_id), ..all };
        let handle = self.background.spawn(reflector.run(self.feeds.clone()));
        self.reflectors.insert(slot, handle);
    }

    fn start_work(&mut self, now: Timestamp) {
        while self.running.len() < MAX_RUNNING {
            let Some(Work { ticket, execution }) = self.engine.next_work(now) else { return };
            let Some((_, client)) = self.clients.get(ticket.controller) else { return };
            // Not every account may list what it writes.
            let client = if execution.is_probe() { self.client.clone() } else { client.clone() };
            self.running
                .spawn(async move { Done::Work(ticket, Box::new(execute(&client, execution).await)) });
        }
    }

    fn finish(
        &mut self,
        done: Result<Done, tokio::task::JoinError>,
        events: &mpsc::Sender<(&'static str, EventNote)>,
    ) {
        match done {
            Ok(Done::Work(ticket, outcome)) => {
                let source = self.engine.source(&ticket);
                for note in self.engine.finish(&ticket, *outcome, (self.clock)()) {
                    if events.try_send((source, note)).is_err() {
                        tracing::debug!("too many events: one was dropped");
                    }
                }
            }
            Ok(Done::Discovered(found, woken)) => self.discovered(found, woken),
            // An execution doesn't panic; if one did, its key waits for the next change.
            Err(e) => tracing::error!("a task ended: {e}"),
        }
    }

    fn discover(&mut self, pause: Duration) {
        let (client, wake) = (self.client.clone(), self.rediscover.clone());
        self.running.spawn(async move {
            let woken = tokio::time::timeout(pause, wake.notified()).await.is_ok();
            Done::Discovered(discovery::discover(&client).await.ok(), woken)
        });
    }

    fn discovered(&mut self, found: Option<(Vec<discovery::Discovered>, bool)>, woken: bool) {
        let complete = found.as_ref().is_some_and(|(_, complete)| *complete);
        let all = found.map(|(all, _)| all).unwrap_or_default();
        // Nobody owns an event, and there are many of them.
        let wanted = all.into_iter().filter(|d| d.can(&["list", "watch", "delete"]));
        let wanted = wanted.filter(|d| d.resource.resource != "events");
        let known: Vec<_> = wanted.map(|d| d.resource).collect();
        for resource in &known {
            if let Some(slot) = self.engine.add_resource(resource) {
                self.reflect(slot);
            }
        }
        if complete {
            for slot in self.engine.set_discovered(&known) {
                self.reflectors.remove(&slot).inspect(AbortHandle::abort);
            }
        }
        // The news of a kind may come before it is served: one more look after each.
        self.discover(if complete && !woken { DISCOVERY_EVERY } else { DISCOVERY_RETRY });
    }
}

fn wait(now: Timestamp, due: Timestamp) -> Duration {
    Duration::try_from(due.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// Carries out one plan.
pub async fn execute(client: &Client, mut execution: Execution) -> Outcome {
    loop {
        let calls = execution.next_calls();
        if calls.is_empty() {
            return execution.finish();
        }
        let sent = calls.into_iter().map(|(i, call)| async move { (i, client.send(call).await) });
        for (i, answer) in futures::future::join_all(sent).await {
            execution.answer(i, answer);
        }
    }
}

/// Writes events, one after the other; a failure costs the event and nothing else.
pub async fn tell(client: Client, mut notes: mpsc::Receiver<(&'static str, EventNote)>, clock: Clock) {
    let mut recorder = Recorder::default();
    while let Some((component, note)) = notes.recv().await {
        let Some(write) = recorder.record((component, ""), &note, clock()) else { continue };
        let outcome = client.send(write.call).await;
        if let (Err(e), Some(create)) = (&outcome, write.otherwise)
            && e.is_not_found()
        {
            let _ = client.send(create).await;
        } else if let Err(e) = outcome {
            tracing::debug!("an event could not be written: {e}");
        }
    }
}
