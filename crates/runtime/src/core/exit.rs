//! How ends of processes reach records, logs, cgroups and listeners.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Duration;

use cri::NamespaceMode;
use tokio::sync::mpsc;

use super::{Container, Core, events, lock, process};
use crate::clock;
use crate::keeper::{ExitRecord, News};
use crate::logs::ContainerIo;
use crate::state::Phase;
use crate::sys;

/// How long output of a gone process may take to be in its log (a process outside may hold the pipe open).
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
const STACK: usize = 256 * 1024;
/// How long whoever adopted a process may take to reap it.
const REAP_LIMIT: Duration = Duration::from_secs(2);
/// Exit code of a process whose end nobody saw (containerd's).
const UNKNOWN_CODE: i32 = 255;

/// Handles ends as the keeper reports them.
pub(super) async fn handle_exits(core: Weak<Core>, mut inbox: mpsc::Receiver<News>) {
    while let Some(news) = inbox.recv().await {
        let Some(core) = core.upgrade() else { return };
        let News::Exited(id, record) = news else {
            core.keeper_lost();
            continue;
        };
        if let Some(waiting) = lock(&core.execs).remove(&id) {
            let _ = waiting.send(record);
            continue;
        }
        let found = lock(&core.containers).get(&id).cloned();
        if let Some(container) = found {
            apart(move || core.finish(&container, record, None));
        }
    }
}

/// Runs on a thread of its own: the blocking threads may all be taken by calls that wait for just this.
fn apart(work: impl FnOnce() + Send + 'static) {
    if let Err(error) = std::thread::Builder::new().name("exit".to_owned()).stack_size(STACK).spawn(work) {
        tracing::error!(%error, "the end of a container is not accounted for before the next start");
    }
}

impl Core {
    /// Accounts for a container's end. `reason` overrides what the exit code says.
    pub(super) fn finish(&self, container: &Arc<Container>, exit: ExitRecord, reason: Option<&str>) {
        let _working = lock(&container.work);
        let mut record = container.record();
        if record.phase != Phase::Running {
            return;
        }
        let group = self.group(&record);
        let shared = process::security(&record.config)
            .namespace_options
            .is_some_and(|o| o.pid() != NamespaceMode::Container);
        if shared {
            // Its children live on in the shared namespace; the container is over all the same.
            group.kill();
        }
        if let Some(io) = container.io() {
            let _ = self.tokio.block_on(async { tokio::time::timeout(DRAIN_LIMIT, io.drained()).await });
        }
        record.phase = Phase::Exited;
        record.exit_code = exit.code;
        record.finished_at = exit.at.max(record.started_at);
        let killed_for_memory = exit.code != 0 && group.oom_kills() > 0;
        record.reason = match (reason, exit.code) {
            (Some(reason), _) => reason.to_owned(),
            (None, _) if killed_for_memory => "OOMKilled".to_owned(),
            (None, 0) => "Completed".to_owned(),
            (None, _) => "Error".to_owned(),
        };
        if let Err(error) = group.remove() {
            tracing::warn!(%error, container = record.id, "control groups stay until the container is removed");
        }
        if let Err(error) = self.save_container(&record) {
            tracing::error!(%error, container = record.id, "the container's end is not on disk");
        }
        let id = record.id.clone();
        *lock(&container.record) = record;
        lock(&container.io).take();
        lock(&container.pidfd).take();
        container.ended.send_replace(true);
        self.tell(container, events::Kind::ContainerStoppedEvent);
        self.keeper.forget(&id);
    }

    /// Goes on without the keeper that started what runs now: containers are watched by their pidfds, and whoever
    /// waits for an exec'd process hears that its end was not seen.
    fn keeper_lost(&self) {
        lock(&self.execs).clear();
        let all: Vec<_> = lock(&self.containers).values().cloned().collect();
        for container in all {
            let pidfd = lock(&container.pidfd).clone();
            let Some(pidfd) = pidfd else { continue };
            tracing::warn!(
                container = container.record().id,
                "the keeper process is gone; watching without it"
            );
            self.watch(&container, pidfd);
            let (Some(core), Some(io)) = (self.arc(), container.io()) else { continue };
            tokio::task::spawn_blocking(move || core.hold_again(&container, &io));
        }
    }

    /// Gives a container's streams to the next keeper, so that they outlive us again.
    fn hold_again(&self, container: &Container, io: &ContainerIo) {
        let id = container.record().id;
        if let Err(error) = self.keeper.hold(&id, &io.ends()) {
            tracing::warn!(%error, container = id, "its output will not outlive this process");
        }
    }

    /// Watches a process that is not our keeper's child, by its pidfd.
    pub(super) fn watch(&self, container: &Arc<Container>, pidfd: Arc<OwnedFd>) {
        let (Some(core), container) = (self.arc(), container.clone()) else { return };
        self.tokio.spawn(async move {
            let Ok(copy) = pidfd.try_clone() else { return };
            let Ok(polled) = sys::readiness(copy, tokio::io::Interest::READABLE) else { return };
            if polled.readable().await.is_ok() {
                apart(move || core.finish_unseen(&container, Some(&pidfd)));
            }
        });
    }

    /// Accounts for an end that the keeper did not tell us of: by its exit file, or by the kernel's memory, or not.
    pub(super) fn finish_unseen(&self, container: &Arc<Container>, pidfd: Option<&OwnedFd>) {
        let id = container.record().id;
        let written = ExitRecord::read(&self.places.exit_file(&id));
        let remembered = || {
            let status = sys::pidfd_exit_status(pidfd?, REAP_LIMIT)?;
            Some(ExitRecord::from_wait_status(status, clock::now_nanos()))
        };
        match written.or_else(remembered) {
            Some(record) => self.finish(container, record, None),
            None => {
                let record = ExitRecord { code: UNKNOWN_CODE, at: clock::now_nanos() };
                self.finish(container, record, Some("Unknown"));
            }
        }
    }
}
