//! The keeper's own process: a loop over one listening socket, its clients, and the ends of children.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::process::{WaitOptions, WaitStatus};

use super::wire::{ExitRecord, receive, retry, send};
use super::{Answer, Numbered, Request, Spawn};
use crate::clock;
use crate::init;
use crate::limits;
use crate::sys::{self, Forked};

/// Runtimes connected at one time: the running one, and its successor while they change over.
const CLIENT_LIMIT: usize = 4;
/// What kubelet's documentation gives node daemons.
const OOM_SCORE: &str = "-999";
/// Descriptors at the head of a spawn message: spec, control, stdin, stdout, stderr.
const STANDARD_FDS: usize = 5;

/// Runs the keeper on the listening socket that it has for its standard input, until it is told to quit.
pub(crate) fn keeper_main() -> ExitCode {
    match listener().and_then(Keeper::new).and_then(Keeper::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ironclad keeper: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Moves the listening socket away from descriptor 0, which children of ours will be given a new meaning of.
fn listener() -> io::Result<OwnedFd> {
    sys::close_inherited()?;
    let listener = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    sys::dup_to(fs::File::open("/dev/null")?, 0)?;
    Ok(listener)
}

struct Child {
    id: String,
    exit_file: Option<PathBuf>,
}

struct Keeper {
    listener: OwnedFd,
    signals: OwnedFd,
    clients: Vec<OwnedFd>,
    children: HashMap<i32, Child>,
    held: HashMap<String, Vec<(String, OwnedFd)>>,
    quitting: bool,
}

impl Keeper {
    fn new(listener: OwnedFd) -> io::Result<Self> {
        sys::prctl(libc::PR_SET_DUMPABLE, 0, 0)?;
        sys::default_signals();
        limits::raise_open_files();
        // The kernel should look for memory elsewhere first; where it does not let us say so, we do without.
        let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE);
        // Orphans of containers in the node's pid namespace come to us instead of to the system's init.
        sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0)?;
        let signals = sys::child_signals()?;
        let (clients, children, held) = (Vec::new(), HashMap::new(), HashMap::new());
        Ok(Self { listener, signals, clients, children, held, quitting: false })
    }

    fn run(mut self) -> io::Result<()> {
        while !(self.quitting && self.children.is_empty()) {
            let ready = self.wait()?;
            // Clients first, because telling them of ends may remove some; from the back, so that removing one leaves
            // the others' places alone.
            for index in (0..ready.len() - 2).rev().filter(|i| ready[i + 2]) {
                self.serve(index);
            }
            if ready[1] {
                self.reap();
            }
            if ready[0]
                && let Err(error) = self.accept()
            {
                // Whoever it was tries again; ending here would cost every container its exit code.
                eprintln!("ironclad keeper: cannot accept a connection: {error}");
            }
        }
        Ok(())
    }

    /// Waits until something can be done: [listener, signals, clients...].
    fn wait(&self) -> io::Result<Vec<bool>> {
        let all = [&self.listener, &self.signals].into_iter().chain(&self.clients);
        let mut polled: Vec<_> = all.map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        retry(|| rustix::event::poll(&mut polled, None))?;
        Ok(polled.iter().map(|p| !p.revents().is_empty()).collect())
    }

    fn accept(&mut self) -> io::Result<()> {
        let client = rustix::net::accept_with(&self.listener, rustix::net::SocketFlags::CLOEXEC)?;
        if self.clients.len() == CLIENT_LIMIT {
            self.clients.remove(0);
        }
        self.clients.push(client);
        Ok(())
    }

    fn serve(&mut self, index: usize) {
        let Some(client) = self.clients.get(index) else { return };
        let Ok(Some((request, fds))) = receive::<Numbered<Request>>(client) else {
            self.clients.remove(index);
            return;
        };
        let (answer, handed) = self.answer(request.message, fds);
        let numbered = Numbered { number: request.number, message: answer };
        let borrowed: Vec<BorrowedFd<'_>> = handed.iter().map(AsFd::as_fd).collect();
        if send(&self.clients[index], &numbered, &borrowed).is_err() {
            self.clients.remove(index);
        }
    }

    fn answer(&mut self, request: Request, fds: Vec<OwnedFd>) -> (Answer, Vec<OwnedFd>) {
        let plain = |answer| (answer, Vec::new());
        match request {
            Request::Spawn(spawn) => plain(match self.spawn(spawn, fds) {
                Ok(pid) => Answer::Spawned { pid },
                Err(error) => Answer::Failed { error: format!("cannot start a process: {error}") },
            }),
            Request::Hold { id, names } => {
                self.held.entry(id).or_default().extend(names.into_iter().zip(fds));
                plain(Answer::Done)
            }
            Request::Fetch { id } => {
                let held = self.held.get(&id).map(Vec::as_slice).unwrap_or_default();
                let copies: Vec<_> =
                    held.iter().filter_map(|(name, fd)| Some((name.clone(), fd.try_clone().ok()?))).collect();
                let (names, fds) = copies.into_iter().unzip();
                (Answer::Fetched { names }, fds)
            }
            Request::List => {
                let children = self.children.iter().map(|(pid, child)| (child.id.clone(), *pid)).collect();
                plain(Answer::Listing { children })
            }
            Request::Forget { id, name: None } => {
                self.held.remove(&id);
                plain(Answer::Done)
            }
            Request::Forget { id, name: Some(name) } => {
                if let Some(held) = self.held.get_mut(&id) {
                    held.retain(|(other, _)| *other != name);
                }
                plain(Answer::Done)
            }
            Request::Quit => {
                self.quitting = true;
                plain(Answer::Done)
            }
        }
    }

    fn spawn(&mut self, spawn: Spawn, mut fds: Vec<OwnedFd>) -> io::Result<i32> {
        let extra = usize::from(spawn.join_pid_namespace);
        if fds.len() != STANDARD_FDS + extra + spawn.held.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "descriptors do not match the request"));
        }
        let held = fds.split_off(STANDARD_FDS + extra);
        // Stays among the child's descriptors: a pidfd leads to the other namespaces too.
        let forked = match fds.get(STANDARD_FDS) {
            None => fork_in_group(spawn.flags, spawn.cgroup.as_deref())?,
            Some(namespace) => fork_into(namespace, spawn.flags, spawn.cgroup.as_deref())?,
        };
        let Forked::Parent { pid } = forked else {
            drop(held);
            init::child_main(fds)
        };
        self.children.insert(pid, Child { id: spawn.id.clone(), exit_file: spawn.exit_file });
        if !held.is_empty() {
            self.held.entry(spawn.id).or_default().extend(spawn.held.into_iter().zip(held));
        }
        Ok(pid)
    }

    fn reap(&mut self) {
        let mut buffer = [0u8; 128];
        while rustix::io::read(&self.signals, &mut buffer).is_ok_and(|n| n > 0) {}
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if let Some(child) = self.children.remove(&pid.as_raw_nonzero().get()) {
                self.ended(child, status);
            }
        }
    }

    fn ended(&mut self, child: Child, status: WaitStatus) {
        let record = ExitRecord::from_wait_status(status.as_raw(), clock::now_nanos());
        if let Some(path) = &child.exit_file
            && let Err(error) = write_exit(path, record)
        {
            eprintln!("ironclad keeper: cannot write {}: {error}", path.display());
        }
        let told = Numbered { number: 0, message: Answer::Exited { id: child.id, record } };
        self.clients.retain(|client| send(client, &told, &[]).is_ok());
    }
}

/// Forks with the child inside an existing pid namespace.
fn fork_into(namespace: &OwnedFd, flags: u64, cgroup: Option<&Path>) -> io::Result<Forked> {
    let own = fs::File::open("/proc/self/ns/pid")?;
    sys::setns(namespace, libc::CLONE_NEWPID)?;
    let forked = fork_in_group(flags, cgroup);
    if !matches!(forked, Ok(Forked::Child)) {
        sys::setns(&own, libc::CLONE_NEWPID)?;
    }
    forked
}

/// Forks with the child inside a v2 control group. To enter one later makes the kernel keep every fork of the machine
/// out meanwhile, for which it waits 10 ms and more after a quiet time. Where it refuses, the child enters by itself.
fn fork_in_group(flags: u64, cgroup: Option<&Path>) -> io::Result<Forked> {
    let open = |path: &Path| {
        rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    };
    match cgroup.and_then(|path| open(path).ok()) {
        None => sys::fork_with(flags, None),
        Some(group) => match sys::fork_with(flags, Some(group.as_fd())) {
            Err(_) => sys::fork_with(flags, None),
            forked => forked,
        },
    }
}

fn write_exit(path: &Path, record: ExitRecord) -> io::Result<()> {
    let partial = path.with_extension("partial");
    fs::write(&partial, serde_json::to_vec(&record)?)?;
    fs::rename(&partial, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Cgroups;

    /// On machines with a cgroup2 mount: the child is in its group without having entered it.
    #[test]
    fn a_child_is_born_in_its_group() {
        let Some(root) = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].into_iter().find(|root| {
            Path::new(root).join("cgroup.controllers").exists() && rustix::process::geteuid().is_root()
        }) else {
            return;
        };
        let group = Cgroups::V2(root.into()).group(&format!("ironclad-birth-{}", std::process::id()));
        group.create(false).expect("a group");
        let (until, done) = rustix::pipe::pipe().expect("a pipe");
        let forked = fork_in_group(0, group.birthplace().as_deref()).expect("a child");
        let Forked::Parent { pid } = forked else {
            // A copy of one thread of many: nothing here may allocate.
            drop(done);
            let _ = rustix::io::read(&until, &mut [0; 1]);
            sys::exit_now(0)
        };
        let born = group.pids();
        drop(done);
        let _ = rustix::process::waitpid(rustix::process::Pid::from_raw(pid), WaitOptions::empty());
        group.remove().expect("removed");
        assert_eq!(born, [pid]);
    }

    #[test]
    fn a_group_that_is_not_there_is_left_to_the_child() {
        match fork_in_group(0, Some(Path::new("/nowhere"))).expect("a child") {
            Forked::Child => sys::exit_now(0),
            Forked::Parent { pid } => {
                let ended =
                    rustix::process::waitpid(rustix::process::Pid::from_raw(pid), WaitOptions::empty());
                assert!(ended.expect("a child of ours").is_some());
            }
        }
    }
}
