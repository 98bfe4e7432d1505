//! Containers: created, stopped, removed, changed. How one starts and ends has files of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cri::{CreateContainerRequest, CriError, LinuxContainerResources};
use rustix::process::{Signal, pidfd_send_signal};

use super::{CallResult, Container, Core, events, failed, lock, new_id, process};
use crate::clock;
use crate::state::{ContainerRecord, Phase};

/// How long a killed process may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(30);

impl Core {
    /// CRI `CreateContainer`: decides everything that can be decided before the start, and keeps it.
    pub(crate) fn create_container(&self, request: CreateContainerRequest) -> CallResult<String> {
        let sandbox = self.sandbox(&request.pod_sandbox_id)?;
        self.keep_pod_limits(&sandbox, request.sandbox_config.as_ref())?;
        let sandbox = sandbox.record();
        if !sandbox.ready {
            return Err(CriError::new(
                cri::Code::FailedPrecondition,
                format!("sandbox {:?} is not running", sandbox.id),
            ));
        }
        let config =
            request.config.ok_or_else(|| CriError::invalid("container config must include metadata"))?;
        if config.metadata.is_none() {
            return Err(CriError::invalid("container config must include metadata"));
        }
        let wanted = config.image.as_ref().map(|image| image.image.as_str()).unwrap_or_default();
        let image = self.config.images.resolve(wanted)?;
        process::seccomp_program(&config)?;
        let id = new_id()?;
        let linux = sandbox.config.linux.clone().unwrap_or_default();
        let log_path = (!sandbox.config.log_directory.is_empty() && !config.log_path.is_empty())
            .then(|| PathBuf::from(&sandbox.config.log_directory).join(&config.log_path));
        let resources = config.linux.as_ref().and_then(|linux| linux.resources.clone()).unwrap_or_default();
        let record = ContainerRecord {
            process: process::process(&config, &sandbox.config, &image.config)?,
            stop_signal: process::stop_signal(&config, &image.config.stop_signal)?,
            volumes: image.config.volumes,
            cgroup: format!("{}/{id}", linux.cgroup_parent),
            sandbox: sandbox.id,
            image_reference: image.reference,
            image_id: image.id,
            layers: image.layers,
            resources,
            log_path,
            created_at: clock::now_nanos(),
            boot: self.boot.clone(),
            config,
            id,
            ..Default::default()
        };
        self.keep_new(record)
    }

    fn keep_new(&self, record: ContainerRecord) -> CallResult<String> {
        let layer = self.places.layer(&record.id);
        let made = fs::create_dir_all(layer.join("upper"))
            .and_then(|()| fs::create_dir(layer.join("work")))
            .and_then(|()| fs::create_dir_all(self.places.container(&record.id)));
        let kept = made
            .map_err(|e| failed("making the container's directories", e))
            .and_then(|()| self.save_container(&record));
        if let Err(error) = kept {
            let _ = fs::remove_dir_all(&layer);
            let _ = fs::remove_dir_all(self.places.container(&record.id));
            return Err(error);
        }
        let id = record.id.clone();
        let container = Container::new(record);
        lock(&self.containers).insert(id.clone(), container.clone());
        self.tell(&container, events::Kind::ContainerCreatedEvent);
        Ok(id)
    }

    /// Sends a signal to a container's process; one that is gone needs none.
    pub(super) fn signal(&self, container: &Container, signal: i32) {
        let pidfd = lock(&container.pidfd).clone();
        let Some(pidfd) = pidfd else { return };
        if let Some(signal) = Signal::from_named_raw(signal) {
            let _ = pidfd_send_signal(&*pidfd, signal);
        } else {
            let record = container.record();
            crate::sys::kill_real_time(record.pid, signal);
        }
    }

    /// SIGKILL, and the wait for its effect.
    pub(super) fn kill_container(&self, container: &Arc<Container>) -> CallResult<()> {
        let record = container.record();
        if record.phase != Phase::Running {
            return Ok(());
        }
        self.signal(container, libc::SIGKILL);
        let ended = self.tokio.block_on(async { tokio::time::timeout(KILL_LIMIT, container.ended()).await });
        ended.map_err(|_| does_not_end(&record.id))
    }

    /// CRI `RemoveContainer`: kills what runs, removes what is left. Repeating it is no error.
    pub(crate) fn remove_container(&self, id: &str) -> CallResult<()> {
        let container = match self.container(id) {
            Err(error) if error.is_not_found() => return Ok(()),
            other => other?,
        };
        self.kill_container(&container)?;
        let _working = lock(&container.work);
        let record = container.record();
        self.group(&record).remove().map_err(|e| failed("removing the container's control groups", e))?;
        self.discard(&self.places.layer(&record.id))?;
        match fs::remove_dir_all(self.places.container(&record.id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("removing the container's state", error));
            }
            _ => {}
        }
        lock(&self.containers).remove(&record.id);
        self.tell(&container, events::Kind::ContainerDeletedEvent);
        Ok(())
    }

    /// Moves a directory out of the way, to be removed when nobody waits: a container may have written a lot.
    fn discard(&self, directory: &Path) -> CallResult<()> {
        let trash = self.places.trash();
        let target = trash.join(directory.file_name().unwrap_or_default());
        let moved = fs::create_dir_all(&trash).and_then(|()| fs::rename(directory, target));
        match moved {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(format!("removing {}", directory.display()), error));
            }
            _ => {}
        }
        if let Some(core) = self.arc() {
            self.tokio.spawn_blocking(move || core.empty_trash());
        }
        Ok(())
    }

    /// Removes what was discarded, by this run or one before.
    pub(super) fn empty_trash(&self) {
        let _one_at_a_time = lock(&self.emptying);
        for entry in fs::read_dir(self.places.trash()).into_iter().flatten().flatten() {
            match fs::remove_dir_all(entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%error, path = %entry.path().display(), "files of a removed container stay");
                }
                _ => {}
            }
        }
    }

    /// CRI `UpdateContainerResources`: what is set replaces what was.
    pub(crate) fn update_resources(
        &self,
        id: &str,
        wanted: Option<LinuxContainerResources>,
    ) -> CallResult<()> {
        let container = self.container(id)?;
        let _working = lock(&container.work);
        let wanted = wanted.unwrap_or_default();
        let mut record = container.record();
        if record.phase == Phase::Running {
            self.group(&record).limit(&wanted).map_err(|e| failed("changing the container's limits", e))?;
        }
        merge(&mut record.resources, wanted);
        self.save_container(&record)?;
        *lock(&container.record) = record;
        Ok(())
    }

    /// CRI `ReopenContainerLog`.
    pub(crate) fn reopen_log(&self, id: &str) -> CallResult<()> {
        let container = self.container(id)?;
        let io = container
            .io()
            .ok_or_else(|| CriError::new(cri::Code::FailedPrecondition, "container is not running"))?;
        io.reopen_log().map_err(|e| failed("reopening the container's log", e))
    }
}

/// CRI `StopContainer`: the stop signal, the grace period, then SIGKILL. One that does not run is stopped already.
///
/// Holds no thread while it waits: a node that drains has hundreds of these at once.
pub(crate) async fn stop_container(core: Arc<Core>, id: String, grace: i64) -> CallResult<()> {
    let container = match core.container(&id) {
        Err(error) if error.is_not_found() => return Ok(()),
        other => other?,
    };
    let record = container.record();
    if record.phase != Phase::Running {
        return Ok(());
    }
    if let Some(grace) = u64::try_from(grace).ok().filter(|grace| *grace > 0) {
        core.signal(&container, record.stop_signal);
        if tokio::time::timeout(Duration::from_secs(grace), container.ended()).await.is_ok() {
            return Ok(());
        }
    }
    core.signal(&container, libc::SIGKILL);
    tokio::time::timeout(KILL_LIMIT, container.ended()).await.map_err(|_| does_not_end(&record.id))
}

fn does_not_end(id: &str) -> CriError {
    CriError::new(cri::Code::DeadlineExceeded, format!("container {id:?} does not end after SIGKILL"))
}

fn merge(old: &mut LinuxContainerResources, new: LinuxContainerResources) {
    let unset = LinuxContainerResources::default();
    macro_rules! take { ($($field:ident)*) => { $( if new.$field != unset.$field { old.$field = new.$field; } )* }; }
    take!(cpu_period cpu_quota cpu_shares memory_limit_in_bytes memory_swap_limit_in_bytes oom_score_adj);
    take!(cpuset_cpus cpuset_mems hugepage_limits);
    old.unified.extend(new.unified);
}
