//! After a start: which of the recorded sandboxes and containers live, and how the others ended.

use std::collections::HashMap;
use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::{Container, Core, Sandbox, lock, sandbox};
use crate::logs::{ContainerIo, Ends, Log};
use crate::state::{ContainerRecord, Phase, SandboxRecord, load_all, start_ticks};

impl Core {
    pub(super) fn adopt(&self) {
        let (sandboxes, broken) = load_all::<SandboxRecord>(&self.places.state.join("sandboxes"));
        for (id, error) in broken {
            tracing::warn!(id, error, "dropping a sandbox whose record cannot be read");
            self.tear_down_sandbox(&SandboxRecord { id: id.clone(), ..Default::default() });
            let _ = fs::remove_dir_all(self.places.sandbox(&id));
        }
        let (containers, broken) = load_all::<ContainerRecord>(&self.places.state.join("containers"));
        for (id, error) in broken {
            tracing::warn!(id, error, "dropping a container whose record cannot be read");
            let _ = fs::remove_dir_all(self.places.container(&id));
            let _ = fs::remove_dir_all(self.places.layer(&id));
        }
        self.adopt_sandboxes(sandboxes);
        let alive = containers.iter().any(|c| c.phase != Phase::Exited && c.boot == self.boot);
        let children = if alive { self.keeper.list().unwrap_or_default() } else { HashMap::new() };
        for record in containers {
            self.adopt_container(record, &children);
        }
    }

    fn adopt_sandboxes(&self, records: Vec<SandboxRecord>) {
        let (mut used, mut ports): (Vec<Ipv4Addr>, Vec<_>) = Default::default();
        for mut record in records {
            if record.ready && record.boot != self.boot {
                record.ready = false;
                let _ = self.save_sandbox(&record);
            }
            if !record.ready && record.boot == self.boot && self.places.namespace(&record.id, "net").exists()
            {
                // Cut off while it was made or unmade.
                self.tear_down_sandbox(&record);
            }
            if let Some(address) = record.address.filter(|_| record.ready) {
                used.push(address);
                ports.extend(sandbox::host_ports(&record.config, address).unwrap_or_default());
            }
            lock(&self.sandboxes).insert(record.id.clone(), Sandbox::new(record));
        }
        if let Err(error) = self.network.restore(used, ports) {
            // Reported as NetworkReady=false; the node agent's next UpdateRuntimeConfig tries again.
            tracing::error!(%error, "cannot set up the pod network again");
        }
    }

    fn adopt_container(&self, record: ContainerRecord, children: &HashMap<String, i32>) {
        let (phase, same_boot) = (record.phase, record.boot == self.boot);
        let (id, pid, ticks) = (record.id.clone(), record.pid, record.start_ticks);
        let container = Container::new(record);
        lock(&self.containers).insert(id.clone(), container.clone());
        if phase == Phase::Created && same_boot {
            // A child that was about to become this container has nobody to tell; it is started anew if asked.
            if let Some(pid) = children.get(&id).copied().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
            self.group(&container.record()).kill();
            self.keeper.forget(&id);
        }
        if phase != Phase::Running {
            return;
        }
        let pidfd =
            Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()).map(Arc::new);
        // Compared after the pidfd was opened, so that what we hold is what we compared.
        let alive = same_boot && pidfd.is_some() && start_ticks(pid) == Some(ticks);
        let streams = self.adopt_streams(&container, &id);
        if let Err(error) = &streams {
            tracing::warn!(%error, container = id, "output of a container found at start is lost");
        }
        let Some(pidfd) = pidfd.filter(|_| alive) else {
            self.finish_unseen(&container, None);
            return;
        };
        *lock(&container.pidfd) = Some(pidfd.clone());
        if !children.contains_key(&id) {
            self.watch(&container, pidfd);
            if matches!(streams, Ok(false)) {
                // Keeper and runtime died: nobody reads its output, and its next line would end it by SIGPIPE or never
                // be seen. As containerd does with a container whose shim is gone.
                tracing::warn!(container = id, "ending a container whose output nobody held");
                self.group(&container.record()).kill();
            }
        }
    }

    /// Takes the ends of a container's streams back from the keeper; says whether it had any.
    fn adopt_streams(&self, container: &Arc<Container>, id: &str) -> std::io::Result<bool> {
        let mut held = self.keeper.fetch(id).map_err(std::io::Error::other)?;
        let any = !held.is_empty();
        let mut take = |name: &str| held.remove(name);
        let ends = Ends {
            stdin: take("stdin"),
            stdout: take("stdout"),
            stderr: take("stderr"),
            terminal: take("terminal"),
        };
        let log = Log::open(container.record().log_path.as_deref())?;
        let _entered = self.tokio.enter();
        *lock(&container.io) = Some(Arc::new(ContainerIo::start(ends, log)?));
        Ok(any)
    }
}
