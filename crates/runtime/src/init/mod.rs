//! What a forked child does between its birth and the program it was made for.
//!
//! Runs in a copy of the keeper's single-threaded memory. Everything that touches a path inside a container goes
//! through a descriptor of its root; every descriptor is closed by the final exec; the reason of any failure goes to
//! the runtime over the control socket.

mod devices;
mod mounts;
mod process;
mod root;
mod terminal;
mod user;

pub(crate) use root::clean;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::WaitOptions;

use crate::keeper;
use crate::spec::{ChildSpec, ContainerSpec, ExecSpec, Report};
use crate::sys;

/// Exit code of a child that could not become its program (containerd's, for a failed start).
pub(crate) const START_FAILED: i32 = 128;

/// A step that failed, in words.
#[derive(Debug)]
pub(crate) struct Failure(pub String);

/// Says what was being done when a step failed.
pub(crate) trait Doing<T> {
    /// Adds `what` to the error.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure(format!("{}: {}", what(), plain(&error.into()))))
    }
}

/// The kernel's words without Rust's "(os error N)".
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let cut = text.find(" (os error").unwrap_or(text.len());
    text[..cut].to_lowercase()
}

/// The child's end of the control socket.
pub(crate) struct Control(OwnedFd);

impl Control {
    /// Tells the runtime; a runtime that is gone is no reason to stop.
    pub(crate) fn say(&self, report: &Report, fds: &[BorrowedFd<'_>]) {
        let _ = keeper::send(&self.0, report, fds);
    }

    /// Tells the runtime about something that was asked for and could not be had.
    pub(crate) fn warn(&self, text: String) {
        self.say(&Report::Warning(text), &[]);
    }
}

/// Standard input, output and error.
pub(crate) type Stdio = [OwnedFd; 3];

/// The child's whole life before exec. Descriptors: spec, control, stdin, stdout, stderr, then the spec's own.
pub(crate) fn child_main(fds: Vec<OwnedFd>) -> ! {
    let mut fds = fds.into_iter();
    let mut next = || fds.next();
    let (Some(spec), Some(control), Some(stdin), Some(stdout), Some(stderr)) =
        (next(), next(), next(), next(), next())
    else {
        sys::exit_now(START_FAILED)
    };
    let control = Control(control);
    let failure = match become_it(spec, &control, [stdin, stdout, stderr], next()) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    control.say(&Report::Failed(failure.0), &[]);
    sys::exit_now(START_FAILED)
}

enum Never {}

fn become_it(
    spec: OwnedFd,
    control: &Control,
    stdio: Stdio,
    extra: Option<OwnedFd>,
) -> Result<Never, Failure> {
    sys::close_on_exec_from(3).doing(|| "closing descriptors".to_owned())?;
    match read_spec(spec)? {
        ChildSpec::Container(spec) => container(*spec, control, stdio),
        ChildSpec::Exec(spec) => exec(*spec, control, stdio, extra),
        ChildSpec::PodInit => pod_init(control),
    }
}

fn read_spec(spec: OwnedFd) -> Result<ChildSpec, Failure> {
    use std::io::{Seek, SeekFrom};
    let mut file = File::from(spec);
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_end(&mut text))
        .doing(|| "reading the spec".to_owned())?;
    serde_json::from_slice(&text).map_err(|e| Failure(format!("reading the spec: {e}")))
}

fn container(spec: ContainerSpec, control: &Control, stdio: Stdio) -> Result<Never, Failure> {
    process::enter_cgroups(&spec.process)?;
    process::set_oom_score(&spec.process, control)?;
    for path in &spec.namespaces {
        let namespace = File::open(path).doing(|| format!("opening namespace {}", path.display()))?;
        sys::setns(namespace, 0).doing(|| format!("entering namespace {}", path.display()))?;
    }
    let session = rustix::process::setsid();
    session.doing(|| "starting a session".to_owned())?;
    let root = mounts::build(&spec)?;
    root.pivot()?;
    let mut user = user::resolve(&spec.process.user)?;
    control.say(&Report::User(user.ids.clone()), &[]);
    let stdio = if spec.process.tty { terminal::open(control, user.ids.uid, true)? } else { stdio };
    process::run(&spec.process, &mut user, stdio)
}

fn exec(spec: ExecSpec, control: &Control, stdio: Stdio, target: Option<OwnedFd>) -> Result<Never, Failure> {
    let target = target.ok_or_else(|| Failure("no process to enter was given".to_owned()))?;
    process::enter_cgroups(&spec.process)?;
    process::set_oom_score(&spec.process, control)?;
    sys::setns(&target, spec.namespaces & !libc::CLONE_NEWPID)
        .doing(|| "entering the container's namespaces".to_owned())?;
    drop(target);
    rustix::process::setsid().doing(|| "starting a session".to_owned())?;
    let mut user = user::resolve(&spec.process.user)?;
    let stdio = if spec.process.tty { terminal::open(control, user.ids.uid, false)? } else { stdio };
    process::run(&spec.process, &mut user, stdio)
}

/// Init of a shared pid namespace: does nothing but collect orphans. Its memory is the keeper's, shared.
fn pod_init(control: &Control) -> Result<Never, Failure> {
    let blocked = sys::child_signals().doing(|| "waiting for children".to_owned())?;
    // Being init, nothing but SIGKILL from outside ends us; the empty report says that we stand.
    control.say(&Report::User(Default::default()), &[]);
    let _ = rustix::process::setsid();
    loop {
        let mut polled = [rustix::event::PollFd::new(&blocked, rustix::event::PollFlags::IN)];
        let _ = rustix::event::poll(&mut polled, None);
        let mut buffer = [0u8; 128];
        let _ = rustix::io::read(blocked.as_fd(), &mut buffer);
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
    }
}
