//! Starting a child and hearing from it: the specification in a memory file, reports over a control socket.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::MemfdFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::wire::{receive, retry};
use crate::spec::{ChildSpec, Report, ResolvedUser};

/// How long a child may take to become its program.
const REPORT_LIMIT: Duration = Duration::from_secs(60);

/// What a child said on its way.
#[derive(Debug, Default)]
pub(crate) struct Started {
    pub user: Option<ResolvedUser>,
    /// The other end of its terminal.
    pub terminal: Option<OwnedFd>,
    pub warnings: Vec<String>,
}

/// Puts a specification where a child can read it.
pub(crate) fn send_spec(spec: &ChildSpec) -> io::Result<OwnedFd> {
    let memory = rustix::fs::memfd_create("spec", MemfdFlags::CLOEXEC)?;
    let mut file = File::from(memory);
    file.write_all(&serde_json::to_vec(spec)?)?;
    Ok(file.into())
}

/// A control socket: our end and the child's.
pub(crate) fn control_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Waits for one report.
pub(crate) fn wait_for_report(control: &OwnedFd) -> io::Result<Option<(Report, Option<OwnedFd>)>> {
    let timeout = Timespec { tv_sec: REPORT_LIMIT.as_secs() as i64, tv_nsec: 0 };
    let mut polled = [PollFd::new(control, PollFlags::IN)];
    if retry(|| rustix::event::poll(&mut polled, Some(&timeout)))? == 0 {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "the new process does not answer"));
    }
    match receive::<Report>(control.as_fd())? {
        Some((report, mut fds)) => Ok(Some((report, fds.pop()))),
        None => Ok(None),
    }
}

/// Hears a child out until it has become its program, or says why not.
pub(crate) fn wait_until_started(control: &OwnedFd) -> Result<Started, String> {
    let mut started = Started::default();
    loop {
        match wait_for_report(control).map_err(|error| error.to_string())? {
            None => return Ok(started),
            Some((Report::Console, terminal)) => started.terminal = terminal,
            Some((Report::User(user), _)) => started.user = Some(user),
            Some((Report::Warning(text), _)) => started.warnings.push(text),
            Some((Report::Failed(text), _)) => return Err(text),
        }
    }
}
