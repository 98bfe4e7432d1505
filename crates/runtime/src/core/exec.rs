//! Further processes in running containers.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cri::{CriError, EXEC_OUTPUT_LIMIT, ExecSyncResponse};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::oneshot;

use super::start::Streams;
use super::{CallResult, Container, Core, failed, lock, new_id, process};
use crate::keeper::{ExitRecord, Spawn, control_pair, send_spec, wait_until_started};
use crate::logs::Ends;
use crate::spec::{ChildSpec, ExecSpec};
use crate::state::Phase;
use crate::streaming::Target;
use crate::streams::Source;

/// How long output is read after the process is gone, if others hold its pipes open.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);
const CHUNK: usize = 32 * 1024;
/// Every namespace that a container may have of its own.
const NAMESPACES: i32 =
    libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP;

/// What to run.
#[derive(Debug, Clone, Default)]
pub(crate) struct ExecRequest {
    pub container: String,
    pub command: Vec<String>,
    pub tty: bool,
    pub stdin: bool,
}

/// A process that runs in a container.
pub(crate) struct Running {
    pub ends: Ends,
    pub exit: oneshot::Receiver<ExitRecord>,
    pidfd: Option<OwnedFd>,
    pid: i32,
}

impl Running {
    /// Kills it, and what it started in its session.
    pub(crate) fn kill(&self) {
        if let Some(pidfd) = &self.pidfd
            && pidfd_send_signal(pidfd, Signal::KILL).is_ok()
            && let Some(pid) = Pid::from_raw(self.pid)
        {
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Core {
    /// Starts a process in a container.
    pub(crate) fn exec(&self, request: &ExecRequest) -> CallResult<Running> {
        let container = self.container(&request.container)?;
        let record = container.record();
        let target = lock(&container.pidfd).clone().filter(|_| record.phase == Phase::Running);
        let target = target.ok_or_else(|| {
            CriError::new(cri::Code::FailedPrecondition, format!("container {:?} is not running", record.id))
        })?;
        let doing = |e: io::Error| failed("failed to exec in container", e);
        let mut spec = record.process.clone();
        spec.args.clone_from(&request.command);
        spec.tty = request.tty;
        spec.seccomp = process::seccomp_program(&record.config)?;
        let group = self.group(&record);
        spec.cgroup_procs = group.entrances();
        if request.tty && !spec.env.iter().any(|e| e.starts_with("TERM=")) {
            spec.env.push("TERM=xterm".to_owned());
        }
        let spec = ChildSpec::Exec(Box::new(ExecSpec { process: spec, namespaces: NAMESPACES }));
        let spec = send_spec(&spec).map_err(doing)?;
        let streams = Streams::open(request.stdin, request.tty).map_err(doing)?;
        self.spawn_exec(&spec, streams, &target, group.birthplace())
    }

    fn spawn_exec(
        &self,
        spec: &OwnedFd,
        streams: Streams,
        target: &Arc<OwnedFd>,
        cgroup: Option<PathBuf>,
    ) -> CallResult<Running> {
        let (ours, theirs) = control_pair().map_err(|e| failed("failed to exec in container", e))?;
        let mut fds: Vec<BorrowedFd<'_>> = vec![spec.as_fd(), theirs.as_fd()];
        fds.extend(streams.child.iter().map(AsFd::as_fd));
        fds.push(target.as_fd());
        let id = format!("exec-{}", new_id()?);
        let (sender, exit) = oneshot::channel();
        lock(&self.execs).insert(id.clone(), sender);
        let spawn = Spawn { id: id.clone(), join_pid_namespace: true, cgroup, ..Spawn::default() };
        let spawned = self.keeper.spawn(spawn, &fds);
        let Streams { child, ours: mut ends } = streams;
        drop((theirs, child));
        let started =
            spawned.map_err(|e| e.to_string()).and_then(|pid| Ok((pid, wait_until_started(&ours)?)));
        let (pid, started) = started.map_err(|error| {
            lock(&self.execs).remove(&id);
            failed("failed to exec in container: unable to start container process", error)
        })?;
        ends.terminal = started.terminal;
        let pidfd = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        Ok(Running { ends, exit, pidfd, pid })
    }
}

impl Core {
    /// Ends a container's standard input for good: every copy of its write end is closed, the keeper's too.
    pub(crate) fn close_stdin(&self, container: &Container) {
        if let Some(io) = container.io() {
            io.close_stdin();
        }
        self.keeper.forget_one(&container.record().id, "stdin");
    }

    /// Where port-forward into a sandbox leads.
    pub(crate) fn forward_target(&self, sandbox: &str) -> CallResult<Target> {
        let record = self.sandbox(sandbox)?.record();
        if !record.ready {
            let message = format!("sandbox container {:?} is not running", record.id);
            return Err(CriError::new(cri::Code::FailedPrecondition, message));
        }
        let namespace = self.places.namespace(&record.id, "net");
        let metadata = record.config.metadata.unwrap_or_default();
        Ok(Target { namespace: namespace.exists().then_some(namespace), pod: record.id, uid: metadata.uid })
    }
}

/// CRI `ExecSync`: runs a command to its end, with bounded output.
pub(crate) async fn exec_sync(
    core: Arc<Core>,
    request: cri::ExecSyncRequest,
) -> CallResult<ExecSyncResponse> {
    if request.cmd.is_empty() {
        return Err(CriError::invalid("no command specified"));
    }
    let wanted = ExecRequest { container: request.container_id, command: request.cmd, ..Default::default() };
    let started = tokio::task::spawn_blocking(move || core.exec(&wanted)).await;
    let mut running = started.map_err(|e| failed("failed to exec in container", e))??;
    let limit = u64::try_from(request.timeout).ok().filter(|t| *t > 0).map(Duration::from_secs);
    let (stdout, stderr) = (running.ends.stdout.take(), running.ends.stderr.take());
    let work = collect(&mut running, stdout, stderr);
    match limit {
        None => work.await,
        Some(limit) => match tokio::time::timeout(limit, work).await {
            Ok(done) => done,
            Err(_) => {
                running.kill();
                let message = format!(
                    "failed to exec in container: timeout {}s exceeded: context deadline exceeded",
                    limit.as_secs()
                );
                Err(CriError::new(cri::Code::DeadlineExceeded, message))
            }
        },
    }
}

async fn collect(
    running: &mut Running,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
) -> CallResult<ExecSyncResponse> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = {
        let output = async { tokio::join!(read_bounded(stdout, &mut out), read_bounded(stderr, &mut err)) };
        tokio::pin!(output);
        tokio::select! {
            exit = &mut running.exit => {
                let _ = tokio::time::timeout(DRAIN_LIMIT, &mut output).await;
                exit
            }
            _ = &mut output => (&mut running.exit).await,
        }
    };
    let exit = exit.map_err(|_| CriError::internal("failed to exec in container: its end was not seen"))?;
    Ok(ExecSyncResponse { stdout: out, stderr: err, exit_code: exit.code })
}

/// Reads to the end, and keeps as much as an answer may hold (CVE-2022-31030).
async fn read_bounded(source: Option<OwnedFd>, kept: &mut Vec<u8>) {
    let Some(Ok(source)) = source.map(Source::new) else { return };
    let mut buffer = vec![0; CHUNK];
    while let Ok(length @ 1..) = source.read(&mut buffer).await {
        let room = EXEC_OUTPUT_LIMIT.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..length.min(room)]);
    }
}
