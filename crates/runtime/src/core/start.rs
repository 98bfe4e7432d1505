//! CRI `StartContainer`: from a record to a running process.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cri::{CriError, Mount, MountPropagation, NamespaceMode, NamespaceOption};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{CallResult, Container, Core, events, failed, lock, process, sandbox};
use crate::clock;
use crate::init::START_FAILED;
use crate::keeper::{Spawn, Started, control_pair, send_spec, wait_until_started};
use crate::logs::{ContainerIo, Ends, Log};
use crate::spec::{ChildSpec, ContainerSpec, DeviceSpec, MountSpec, Propagation};
use crate::state::{ContainerRecord, Phase, SandboxRecord, start_ticks};

/// The child's side of its standard streams, and ours.
pub(super) struct Streams {
    pub child: [OwnedFd; 3],
    pub ours: Ends,
}

impl Streams {
    /// Pipes, or nothing but /dev/null where a terminal will be opened inside.
    pub(super) fn open(stdin: bool, tty: bool) -> io::Result<Self> {
        let null = || File::options().read(true).write(true).open("/dev/null").map(OwnedFd::from);
        if tty {
            return Ok(Self { child: [null()?, null()?, null()?], ours: Ends::default() });
        }
        let (out_read, out_write) = pipe_with(PipeFlags::CLOEXEC)?;
        let (err_read, err_write) = pipe_with(PipeFlags::CLOEXEC)?;
        let (input, stdin) = match stdin {
            true => pipe_with(PipeFlags::CLOEXEC).map(|(read, write)| (read, Some(write)))?,
            false => (null()?, None),
        };
        let ours = Ends { stdin, stdout: Some(out_read), stderr: Some(err_read), terminal: None };
        Ok(Self { child: [input, out_write, err_write], ours })
    }
}

impl Core {
    /// Starts a created container.
    pub(crate) fn start_container(&self, id: &str) -> CallResult<()> {
        let container = self.container(id)?;
        let _working = lock(&container.work);
        let mut record = container.record();
        if record.phase != Phase::Created {
            return Err(CriError::new(
                cri::Code::FailedPrecondition,
                format!("container {id:?} was started before"),
            ));
        }
        let outcome = self.start(&mut record);
        match outcome {
            Ok((io, pidfd)) => {
                *lock(&container.io) = Some(Arc::new(io));
                *lock(&container.pidfd) = pidfd.map(Arc::new);
                *lock(&container.record) = record;
                self.tell(&container, events::Kind::ContainerStartedEvent);
                Ok(())
            }
            Err(error) => {
                self.start_failed(&container, record, &error);
                Err(error)
            }
        }
    }

    /// As containerd has it: a container that cannot start has exited with 128.
    fn start_failed(&self, container: &Arc<Container>, mut record: ContainerRecord, error: &CriError) {
        record.phase = Phase::Exited;
        record.exit_code = START_FAILED;
        record.reason = "StartError".to_owned();
        record.message.clone_from(&error.message);
        // CRI's clients want a start that is not after the end.
        record.finished_at = clock::now_nanos();
        record.started_at = 0;
        let _ = self.group(&record).remove();
        let _ = self.save_container(&record);
        *lock(&container.record) = record;
        self.keeper.forget(&container.record().id);
        container.ended.send_replace(true);
        self.tell(container, events::Kind::ContainerStoppedEvent);
    }

    fn start(&self, record: &mut ContainerRecord) -> CallResult<(ContainerIo, Option<OwnedFd>)> {
        let sandbox = self.sandbox(&record.sandbox)?.record();
        if !sandbox.ready {
            return Err(CriError::new(
                cri::Code::FailedPrecondition,
                "the container's sandbox is not running",
            ));
        }
        let log =
            Log::open(record.log_path.as_deref()).map_err(|e| failed("opening the container's log", e))?;
        self.make_group(record)?;
        let streams =
            Streams::open(record.config.stdin, record.config.tty).map_err(|e| failed("making pipes", e))?;
        let spec = self.container_spec(record, &sandbox)?;
        let (pid, started, mut ours) = self.spawn_container(record, &sandbox, spec, streams)?;
        for warning in &started.warnings {
            tracing::warn!(container = record.id, "{warning}");
        }
        if let Some(terminal) = started.terminal {
            let held = self.keeper.hold(&record.id, &[("terminal", terminal.as_fd())]);
            held.map_err(|e| failed("keeping the container's terminal", e))?;
            ours.terminal = Some(terminal);
        }
        record.pid = pid;
        record.start_ticks = start_ticks(pid).unwrap_or(0);
        record.user = started.user;
        record.phase = Phase::Running;
        record.started_at = clock::now_nanos();
        self.save_container(record)?;
        let pidfd = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let _entered = self.tokio.enter();
        let io = ContainerIo::start(ours, log).map_err(|e| failed("copying the container's output", e))?;
        Ok((io, pidfd))
    }

    fn container_spec(&self, record: &ContainerRecord, sandbox: &SandboxRecord) -> CallResult<ContainerSpec> {
        let security = process::security(&record.config);
        let group = self.group(record);
        let mut spec = record.process.clone();
        spec.seccomp = process::seccomp_program(&record.config)?;
        spec.cgroup_procs = group.entrances();
        let options =
            security.namespace_options.clone().unwrap_or_else(|| sandbox::namespace_options(&sandbox.config));
        let layer = self.places.layer(&record.id);
        let mut mounts = self.mounts(record, sandbox)?;
        mounts.sort_by_key(|mount| mount.target.split('/').filter(|part| !part.is_empty()).count());
        let own_shm = mounts.iter().any(|mount| mount.target == "/dev/shm");
        let shm = match options.ipc() {
            NamespaceMode::Node => PathBuf::from("/dev/shm"),
            _ => self.places.shm(&sandbox.id),
        };
        let namespaces = ["net", "ipc", "uts"].map(|kind| self.places.namespace(&sandbox.id, kind));
        let devices = record.config.devices.iter();
        Ok(ContainerSpec {
            process: spec,
            layers: record.layers.clone(),
            upper: layer.join("upper"),
            work: layer.join("work"),
            mountpoint: self.places.mountpoint(),
            namespaces: namespaces.into_iter().filter(|file| file.exists()).collect(),
            shm: (!own_shm).then_some(shm),
            volumes: record.volumes.clone(),
            mounts,
            devices: devices
                .map(|d| DeviceSpec { source: (&d.host_path).into(), target: d.container_path.clone() })
                .collect(),
            masked_paths: if security.privileged { Vec::new() } else { security.masked_paths },
            readonly_paths: if security.privileged { Vec::new() } else { security.readonly_paths },
            readonly_root: security.readonly_rootfs,
            privileged: security.privileged,
            cgroups: group.views(),
        })
    }

    /// CRI's mounts, and the sandbox's files where CRI mounts nothing.
    fn mounts(&self, record: &ContainerRecord, sandbox: &SandboxRecord) -> CallResult<Vec<MountSpec>> {
        let mut mounts = Vec::new();
        let directory = self.places.sandbox(&sandbox.id);
        for (target, file) in [("/etc/hostname", "hostname"), ("/etc/resolv.conf", "resolv.conf")] {
            if !record.config.mounts.iter().any(|mount| mount.container_path == target) {
                let readonly = process::security(&record.config).readonly_rootfs;
                mounts.push(MountSpec {
                    source: directory.join(file),
                    target: target.to_owned(),
                    readonly,
                    ..Default::default()
                });
            }
        }
        for mount in &record.config.mounts {
            mounts.push(match &mount.image {
                Some(image) => self.image_volume(mount, &image.image)?,
                None => mount_spec(mount)?,
            });
        }
        Ok(mounts)
    }

    fn image_volume(&self, mount: &Mount, image: &str) -> CallResult<MountSpec> {
        let found = self.config.images.resolve(image)?;
        let (target, sub_path) = (mount.container_path.clone(), mount.image_sub_path.clone());
        Ok(MountSpec { layers: found.layers, target, sub_path, readonly: true, ..Default::default() })
    }

    fn spawn_container(
        &self,
        record: &ContainerRecord,
        sandbox: &SandboxRecord,
        spec: ContainerSpec,
        streams: Streams,
    ) -> CallResult<(i32, Started, Ends)> {
        let doing = |e: io::Error| failed("starting the container's process", e);
        let options = process::security(&record.config)
            .namespace_options
            .unwrap_or_else(|| sandbox::namespace_options(&sandbox.config));
        let namespace = self.pid_namespace(&options, sandbox)?;
        let mut flags = libc::CLONE_NEWNS as u64;
        if namespace.is_none() && options.pid() != NamespaceMode::Node {
            flags |= libc::CLONE_NEWPID as u64;
        }
        let spec = send_spec(&ChildSpec::Container(Box::new(spec))).map_err(doing)?;
        let (ours, theirs) = control_pair().map_err(doing)?;
        let mut fds: Vec<BorrowedFd<'_>> = vec![spec.as_fd(), theirs.as_fd()];
        fds.extend(streams.child.iter().map(AsFd::as_fd));
        fds.extend(namespace.as_ref().map(AsFd::as_fd));
        let ends = [
            ("stdin", &streams.ours.stdin),
            ("stdout", &streams.ours.stdout),
            ("stderr", &streams.ours.stderr),
        ];
        let held: Vec<_> =
            ends.iter().filter_map(|(name, end)| Some(((*name).to_owned(), end.as_ref()?.as_fd()))).collect();
        fds.extend(held.iter().map(|(_, fd)| *fd));
        let spawn = Spawn {
            id: record.id.clone(),
            exit_file: Some(self.places.exit_file(&record.id)),
            flags,
            cgroup: self.group(record).birthplace(),
            join_pid_namespace: namespace.is_some(),
            held: held.iter().map(|(name, _)| name.clone()).collect(),
        };
        let pid =
            self.keeper.spawn(spawn, &fds).map_err(|e| failed("starting the container's process", e))?;
        let Streams { child, ours: ends } = streams;
        drop((theirs, child));
        let started =
            wait_until_started(&ours).map_err(|e| failed("unable to start container process", e))?;
        Ok((pid, started, ends))
    }

    /// An existing pid namespace to start in: the pod's, or that of the container that is to be looked into.
    fn pid_namespace(
        &self,
        options: &NamespaceOption,
        sandbox: &SandboxRecord,
    ) -> CallResult<Option<OwnedFd>> {
        let path = match options.pid() {
            NamespaceMode::Pod => self.places.namespace(&sandbox.id, "pid"),
            NamespaceMode::Target => {
                let target = self.container(&options.target_id)?.record();
                if target.phase != Phase::Running || target.sandbox != sandbox.id {
                    return Err(CriError::invalid(format!(
                        "target container {:?} is not running in this pod",
                        options.target_id
                    )));
                }
                PathBuf::from(format!("/proc/{}/ns/pid", target.pid))
            }
            NamespaceMode::Container | NamespaceMode::Node => return Ok(None),
        };
        File::open(&path).map(|file| Some(file.into())).map_err(|e| failed("opening the pid namespace", e))
    }
}

fn mount_spec(mount: &Mount) -> CallResult<MountSpec> {
    let source = PathBuf::from(&mount.host_path);
    if mount.recursive_read_only && !mount.readonly {
        return Err(CriError::invalid("recursive_read_only needs readonly"));
    }
    if mount.recursive_read_only && mount.propagation() != MountPropagation::PropagationPrivate {
        return Err(CriError::invalid("recursive_read_only needs private propagation"));
    }
    match fs::metadata(&source) {
        // As containerd does: what is missing on the node is made, as a directory.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(&source)
                .map_err(|e| failed(format!("making mount source {:?}", mount.host_path), e))?;
        }
        Err(error) => return Err(failed(format!("failed to stat {:?}", mount.host_path), error)),
        Ok(_) => {}
    }
    if mount.propagation() == MountPropagation::PropagationBidirectional {
        require_shared(&source)?;
    }
    Ok(MountSpec {
        source,
        layers: Vec::new(),
        sub_path: String::new(),
        target: mount.container_path.clone(),
        readonly: mount.readonly,
        recursive_readonly: mount.recursive_read_only,
        propagation: match mount.propagation() {
            MountPropagation::PropagationPrivate => Propagation::Private,
            MountPropagation::PropagationHostToContainer => Propagation::HostToContainer,
            MountPropagation::PropagationBidirectional => Propagation::Bidirectional,
        },
    })
}

/// Mounts made in a container reach the node only if the node shares the mount that the path lies on.
fn require_shared(path: &Path) -> CallResult<()> {
    let doing = |e: io::Error| failed(format!("looking at mount source {:?}", path.display()), e);
    let real = fs::canonicalize(path).map_err(doing)?;
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(doing)?;
    match mount_of(&table, &real) {
        Some((_, true)) => Ok(()),
        found => {
            let mountpoint = found.map(|(mountpoint, _)| mountpoint.to_owned()).unwrap_or_default();
            let path = path.display().to_string();
            Err(CriError::invalid(format!(
                "path {path:?} is mounted on {mountpoint:?} but it is not a shared mount"
            )))
        }
    }
}

/// The mount that a path lies on, and whether it is shared.
fn mount_of<'a>(table: &'a str, path: &Path) -> Option<(&'a str, bool)> {
    let mounts = table.lines().filter_map(|line| {
        let (left, _) = line.split_once(" - ")?;
        Some((left.split(' ').nth(4)?, left.split(' ').skip(6).any(|option| option.starts_with("shared:"))))
    });
    // Later lines cover earlier ones at the same place.
    mounts
        .filter(|(mountpoint, _)| path.starts_with(mountpoint))
        .max_by_key(|(mountpoint, _)| mountpoint.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_counts() {
        let table = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:1 /x /data rw shared:7 - ext4 /dev/a rw\n";
        assert_eq!(mount_of(table, Path::new("/data/sub")), Some(("/data", true)));
        assert_eq!(mount_of(table, Path::new("/database")), Some(("/", false)));
    }
}
