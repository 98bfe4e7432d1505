//! The runtime's side of the keeper: starts it, asks it, and hears from it how processes ended.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::wire::{ExitRecord, receive, send};
use super::{Answer, Numbered, PROTOCOL, Request, Spawn};
use crate::binary;
use crate::sys;

/// The keeper answers at once or not at all.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// Why the keeper did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeeperError {
    #[error("the keeper process is gone")]
    Gone,
    #[error("{0}")]
    Refused(String),
    #[error("cannot speak to the keeper process: {0}")]
    Io(#[from] io::Error),
}

type Waiting = Arc<Mutex<HashMap<u64, mpsc::Sender<(Answer, Vec<OwnedFd>)>>>>;
type Answers = mpsc::Receiver<(Answer, Vec<OwnedFd>)>;

/// What the keeper tells unasked.
pub(crate) enum News {
    /// The process with this id has ended.
    Exited(String, ExitRecord),
    /// The keeper itself is gone: nobody tells any more how processes end that it started.
    Lost,
}

/// What is done with news; called on the keeper client's own thread.
pub(crate) type OnNews = Arc<dyn Fn(News) + Send + Sync>;

/// A connection to the keeper; a new keeper is started when there is none.
pub(crate) struct Keeper {
    state: PathBuf,
    on_news: OnNews,
    connection: Mutex<Option<Connection>>,
    numbers: AtomicU64,
}

struct Connection {
    socket: Arc<OwnedFd>,
    waiting: Waiting,
}

impl Keeper {
    /// A client of the keeper whose socket lives in `state`.
    pub(crate) fn new(state: &Path, on_news: OnNews) -> Self {
        Self { state: state.to_owned(), on_news, connection: Mutex::new(None), numbers: AtomicU64::new(1) }
    }

    /// Starts a process; gives its pid.
    pub(crate) fn spawn(&self, spawn: Spawn, fds: &[BorrowedFd<'_>]) -> Result<i32, KeeperError> {
        match self.call(Request::Spawn(spawn), fds)? {
            (Answer::Spawned { pid }, _) => Ok(pid),
            (other, _) => Err(unexpected(other)),
        }
    }

    /// Has descriptors kept beyond our own end.
    pub(crate) fn hold(&self, id: &str, held: &[(&str, BorrowedFd<'_>)]) -> Result<(), KeeperError> {
        let names = held.iter().map(|(name, _)| (*name).to_owned()).collect();
        let fds: Vec<_> = held.iter().map(|(_, fd)| *fd).collect();
        self.call(Request::Hold { id: id.to_owned(), names }, &fds).map(drop)
    }

    /// The descriptors kept for `id`, by name.
    pub(crate) fn fetch(&self, id: &str) -> Result<HashMap<String, OwnedFd>, KeeperError> {
        match self.call(Request::Fetch { id: id.to_owned() }, &[])? {
            (Answer::Fetched { names }, fds) => Ok(names.into_iter().zip(fds).collect()),
            (other, _) => Err(unexpected(other)),
        }
    }

    /// Which children live: id and pid.
    pub(crate) fn list(&self) -> Result<HashMap<String, i32>, KeeperError> {
        match self.call(Request::List, &[])? {
            (Answer::Listing { children }, _) => Ok(children.into_iter().collect()),
            (other, _) => Err(unexpected(other)),
        }
    }

    /// Drops what is kept for `id`.
    pub(crate) fn forget(&self, id: &str) {
        self.forget_some(id, None);
    }

    /// Drops one descriptor of those kept for `id`.
    pub(crate) fn forget_one(&self, id: &str, name: &str) {
        self.forget_some(id, Some(name.to_owned()));
    }

    fn forget_some(&self, id: &str, name: Option<String>) {
        if let Err(error) = self.call(Request::Forget { id: id.to_owned(), name }, &[]) {
            tracing::debug!(%error, id, "keeper did not forget");
        }
    }

    /// Asks a running keeper to end once it has no children.
    pub(crate) fn quit(&self) {
        if let Ok(socket) = connect(&self.state) {
            let _ = send(&socket, &Numbered { number: 1, message: Request::Quit }, &[]);
            // Its socket closes when it is gone.
            let _ = receive::<Numbered<Answer>>(&socket);
            let _ = receive::<Numbered<Answer>>(&socket);
        }
    }

    fn call(&self, request: Request, fds: &[BorrowedFd<'_>]) -> Result<(Answer, Vec<OwnedFd>), KeeperError> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let message = Numbered { number, message: request };
        // The second time is for a keeper that ended since we last spoke to it.
        let (waiting, answers) = self.ask(&message, fds).or_else(|_| self.ask(&message, fds))?;
        let answer = answers.recv_timeout(ANSWER_LIMIT);
        lock(&waiting).remove(&number);
        match answer {
            Ok((Answer::Failed { error }, _)) => Err(KeeperError::Refused(error)),
            Ok(answer) => Ok(answer),
            Err(_) => Err(KeeperError::Gone),
        }
    }

    /// Sends a question; gives the place where its answer will arrive.
    fn ask(
        &self,
        message: &Numbered<Request>,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(Waiting, Answers), KeeperError> {
        let (sender, answers) = mpsc::channel();
        let mut slot = lock(&self.connection);
        let connection = match slot.take() {
            Some(connection) if !connection.ended() => connection,
            _ => self.connect()?,
        };
        lock(&connection.waiting).insert(message.number, sender);
        // A connection that fails is not put back.
        send(&connection.socket, message, fds)?;
        let waiting = connection.waiting.clone();
        *slot = Some(connection);
        Ok((waiting, answers))
    }

    fn connect(&self) -> Result<Connection, KeeperError> {
        let socket = match connect(&self.state) {
            Ok(socket) => socket,
            Err(_) => {
                start(&self.state)?;
                connect(&self.state)?
            }
        };
        let connection = Connection { socket: Arc::new(socket), waiting: Waiting::default() };
        let (socket, waiting, on_news) =
            (connection.socket.clone(), connection.waiting.clone(), self.on_news.clone());
        std::thread::Builder::new()
            .name("keeper".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || listen(socket, &waiting, &on_news))?;
        Ok(connection)
    }
}

impl Connection {
    /// Whether the listening thread has seen the end of the connection (it drops its share of the socket then).
    fn ended(&self) -> bool {
        Arc::strong_count(&self.socket) < 2
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unexpected(answer: Answer) -> KeeperError {
    KeeperError::Refused(format!("unexpected answer {answer:?}"))
}

/// Hands answers to whoever waits for them and news to `on_news`, until the keeper is gone.
fn listen(socket: Arc<OwnedFd>, waiting: &Waiting, on_news: &OnNews) {
    while let Ok(Some((answer, fds))) = receive::<Numbered<Answer>>(&socket) {
        match answer.message {
            Answer::Exited { id, record } => on_news(News::Exited(id, record)),
            message => {
                if let Some(sender) = lock(waiting).remove(&answer.number) {
                    let _ = sender.send((message, fds));
                }
            }
        }
    }
    // First, so that whoever hears the news finds the connection ended.
    drop(socket);
    lock(waiting).clear();
    on_news(News::Lost);
}

fn socket_path(state: &Path) -> PathBuf {
    state.join(format!("keeper.{PROTOCOL}.sock"))
}

fn socket() -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

fn connect(state: &Path) -> io::Result<OwnedFd> {
    let socket = socket()?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(socket_path(state))?)?;
    Ok(socket)
}

/// Starts a keeper from a copy of our binary that nobody can write through, listening on its socket already.
fn start(state: &Path) -> io::Result<()> {
    let path = socket_path(state);
    let _ = fs::remove_file(&path);
    let listener = socket()?;
    rustix::net::bind(&listener, &SocketAddrUnix::new(&path)?)?;
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    rustix::net::listen(&listener, 8)?;
    let sealed = binary::sealed(state)?;
    let program = format!("/proc/self/fd/{}", sealed.as_raw_fd());
    let mut command = Command::new(program);
    command.arg0("ironclad-keeper").arg(binary::KEEPER_ARGUMENT).env_clear().current_dir("/");
    command.stdin(Stdio::from(listener)).stdout(Stdio::null()).stderr(log_file(state)?);
    sys::detach(&mut command);
    // A middle process of our own ends at once, so that the keeper is nobody's child.
    command.spawn()?.wait()?;
    Ok(())
}

fn log_file(state: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().create(true).append(true).open(state.join("keeper.log"))
}
