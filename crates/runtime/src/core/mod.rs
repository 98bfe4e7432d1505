//! The runtime itself: sandboxes and containers by id, and the calls that change them.
//!
//! Everything here is synchronous and runs on blocking threads; the CRI service above it and the output pumps below
//! it are the asynchronous rim. One lock a sandbox or container serialises the calls that change it.

mod adopt;
mod container;
mod events;
mod exec;
mod exit;
mod group;
mod process;
mod purge;
mod sandbox;
mod start;
mod stats;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use cri::{ContainerEventResponse, CriError};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::cgroup::{Cgroups, Group};
use crate::config::RuntimeConfig;
use crate::keeper::{ExitRecord, Keeper};
use crate::logs::ContainerIo;
use crate::net::Network;
use crate::state::{ContainerRecord, Places, SandboxRecord, boot_id, save};

pub(crate) use container::stop_container;
pub(crate) use exec::{ExecRequest, Running, exec_sync};
pub(crate) use stats::Sampler;

/// Events that wait for a slow listener before it is cut off.
const EVENT_DEPTH: usize = 1024;
/// Ends of processes that wait to be handled.
const EXIT_DEPTH: usize = 1024;

/// Shorthand for what calls return.
pub(crate) type CallResult<T> = Result<T, CriError>;

/// A sandbox in memory.
pub(crate) struct Sandbox {
    record: Mutex<SandboxRecord>,
    /// Held by calls that change the sandbox.
    work: Mutex<()>,
}

/// A container in memory.
pub(crate) struct Container {
    record: Mutex<ContainerRecord>,
    /// Held by calls that change the container.
    work: Mutex<()>,
    io: Mutex<Option<Arc<ContainerIo>>>,
    pidfd: Mutex<Option<Arc<std::os::fd::OwnedFd>>>,
    /// Turns true when the process is gone and accounted for.
    ended: watch::Sender<bool>,
}

/// One instance of the runtime.
pub(crate) struct Core {
    pub(crate) config: RuntimeConfig,
    places: Places,
    boot: String,
    cgroups: Cgroups,
    keeper: Keeper,
    network: Network,
    sandboxes: Mutex<BTreeMap<String, Arc<Sandbox>>>,
    containers: Mutex<BTreeMap<String, Arc<Container>>>,
    /// Who waits for which exec'd process.
    execs: Mutex<HashMap<String, oneshot::Sender<ExitRecord>>>,
    events: broadcast::Sender<ContainerEventResponse>,
    sampler: Sampler,
    /// Held by whoever removes discarded files.
    emptying: Mutex<()>,
    /// The asynchronous runtime that pumps run on.
    tokio: tokio::runtime::Handle,
    this: OnceLock<std::sync::Weak<Core>>,
}

/// Locks without caring that another thread panicked while it held the lock: records are replaced as wholes.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error with what was being done.
pub(crate) fn failed(what: impl std::fmt::Display, error: impl std::fmt::Display) -> CriError {
    CriError::internal(format!("{what}: {error}"))
}

impl Core {
    /// Opens an instance: finds its state, adopts what runs. Must be called within a tokio runtime.
    pub(crate) fn open(config: RuntimeConfig) -> Result<Arc<Self>, String> {
        config.validate()?;
        let places = Places { state: config.state.clone(), root: config.root.clone() };
        places.create().map_err(|e| format!("cannot make the runtime's directories: {e}"))?;
        let cgroups = Cgroups::detect().map_err(|e| format!("cannot use control groups: {e}"))?;
        let (exits, inbox) = mpsc::channel(EXIT_DEPTH);
        let on_news = Arc::new(move |news| drop(exits.blocking_send(news)));
        let core = Arc::new(Self {
            keeper: Keeper::new(&config.state, on_news),
            network: Network::new(&config.instance, &config.state, &config.not_masqueraded),
            boot: boot_id(),
            places,
            cgroups,
            sandboxes: Mutex::default(),
            containers: Mutex::default(),
            execs: Mutex::default(),
            events: broadcast::channel(EVENT_DEPTH).0,
            sampler: Sampler::default(),
            emptying: Mutex::default(),
            tokio: tokio::runtime::Handle::current(),
            this: OnceLock::new(),
            config,
        });
        let _ = core.this.set(Arc::downgrade(&core));
        core.adopt();
        let emptying = core.clone();
        core.tokio.spawn_blocking(move || emptying.empty_trash());
        core.tokio.spawn(exit::handle_exits(Arc::downgrade(&core), inbox));
        Ok(core)
    }

    fn arc(&self) -> Option<Arc<Self>> {
        self.this.get().and_then(std::sync::Weak::upgrade)
    }

    /// Finds by whole id, or by a unique beginning of one, as CRI clients expect.
    fn find<T>(map: &Mutex<BTreeMap<String, Arc<T>>>, id: &str, what: &str) -> CallResult<Arc<T>> {
        let missing =
            || CriError::not_found(format!("an error occurred when try to find {what} {id:?}: not found"));
        if id.is_empty() {
            return Err(missing());
        }
        let map = lock(map);
        let mut matching = map.range(id.to_owned()..).take_while(|(key, _)| key.starts_with(id));
        match (matching.next(), matching.next()) {
            (Some((key, found)), other) if key == id || other.is_none() => Ok(found.clone()),
            _ => Err(missing()),
        }
    }

    pub(crate) fn sandbox(&self, id: &str) -> CallResult<Arc<Sandbox>> {
        Self::find(&self.sandboxes, id, "sandbox")
    }

    pub(crate) fn container(&self, id: &str) -> CallResult<Arc<Container>> {
        Self::find(&self.containers, id, "container")
    }

    fn containers_of(&self, sandbox: &str) -> Vec<Arc<Container>> {
        let all = lock(&self.containers);
        all.values().filter(|container| lock(&container.record).sandbox == sandbox).cloned().collect()
    }

    fn save_container(&self, record: &ContainerRecord) -> CallResult<()> {
        save(&self.places.container(&record.id), record)
            .map_err(|e| failed("keeping the container's record", e))
    }

    fn save_sandbox(&self, record: &SandboxRecord) -> CallResult<()> {
        save(&self.places.sandbox(&record.id), record).map_err(|e| failed("keeping the sandbox's record", e))
    }

    fn group(&self, record: &ContainerRecord) -> Group {
        self.cgroups.group(&record.cgroup)
    }

    /// The pod network, for status and configuration.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }
}

impl Sandbox {
    fn new(record: SandboxRecord) -> Arc<Self> {
        Arc::new(Self { record: Mutex::new(record), work: Mutex::default() })
    }

    /// A copy of what is known.
    pub(crate) fn record(&self) -> SandboxRecord {
        lock(&self.record).clone()
    }
}

impl Container {
    fn new(record: ContainerRecord) -> Arc<Self> {
        let ended = watch::channel(record.phase == crate::state::Phase::Exited).0;
        Arc::new(Self {
            record: Mutex::new(record),
            work: Mutex::default(),
            io: Mutex::default(),
            pidfd: Mutex::default(),
            ended,
        })
    }

    /// A copy of what is known.
    pub(crate) fn record(&self) -> ContainerRecord {
        lock(&self.record).clone()
    }

    /// Its streams, while it runs.
    pub(crate) fn io(&self) -> Option<Arc<ContainerIo>> {
        lock(&self.io).clone()
    }

    /// Resolves when the container has ended.
    pub(crate) async fn ended(&self) {
        let mut ended = self.ended.subscribe();
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

/// A new id of 32 random bytes.
fn new_id() -> CallResult<String> {
    use ring::rand::SecureRandom;
    use std::fmt::Write;
    let mut bytes = [0; 32];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| CriError::internal("no randomness"))?;
    let mut id = String::with_capacity(64);
    for byte in bytes {
        let _ = write!(id, "{byte:02x}");
    }
    Ok(id)
}
