//! Container output: to the log file in CRI's format, and to whoever is attached.
//!
//! Format: kubelet's `kuberuntime/logs`: `<RFC3339Nano> <stream> <P|F> <text>`. Output is written as soon as it is read:
//! the end of a chunk without a newline becomes a partial (`P`) entry, so that nothing waits in our memory for
//! `kill -9`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::clock;
use crate::streams::Source;

/// The most that is read at once, and so the longest entry.
const CHUNK: usize = 16 * 1024;
/// Chunks that wait for one attached client.
const TAP_DEPTH: usize = 64;
/// How long a client that does not read may hold a container's output up.
const TAP_PATIENCE: Duration = Duration::from_secs(10);

/// Which output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// A container's log file.
#[derive(Debug)]
pub(crate) struct Log {
    path: Option<PathBuf>,
    file: Mutex<Option<File>>,
}

impl Log {
    /// Opens or makes the file; without a path, output is dropped.
    pub(crate) fn open(path: Option<&Path>) -> io::Result<Self> {
        let file = path.map(open).transpose()?;
        Ok(Self { path: path.map(Path::to_owned), file: Mutex::new(file) })
    }

    /// Goes on in a new file of the same name, after the old one was moved away.
    pub(crate) fn reopen(&self) -> io::Result<()> {
        let fresh = self.path.as_deref().map(open).transpose()?;
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    fn write(&self, stream: Stream, chunk: &[u8]) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = file.as_mut() else { return };
        let text = entries(stream, chunk, &clock::rfc3339_nano(clock::now_nanos()));
        if let Err(error) = file.write_all(&text) {
            tracing::warn!(%error, path = ?self.path, "container output is lost");
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

/// The log entries of one chunk.
fn entries(stream: Stream, chunk: &[u8], time: &str) -> Vec<u8> {
    let mut text = Vec::with_capacity(chunk.len() + 64);
    for line in chunk.split_inclusive(|byte| *byte == b'\n') {
        let (tag, line) = match line.strip_suffix(b"\n") {
            Some(whole) => ("F", whole),
            None => ("P", line),
        };
        for part in [time.as_bytes(), b" ", stream.name().as_bytes(), b" ", tag.as_bytes(), b" ", line, b"\n"]
        {
            text.extend_from_slice(part);
        }
    }
    text
}

type Tap = mpsc::Sender<(Stream, Bytes)>;

/// A running container's streams.
pub(crate) struct ContainerIo {
    log: Arc<Log>,
    taps: Arc<Mutex<Vec<Tap>>>,
    /// The write end of standard input, or the terminal.
    stdin: Mutex<Option<Arc<OwnedFd>>>,
    /// The terminal, for its size.
    terminal: Option<Arc<OwnedFd>>,
    drained: watch::Receiver<usize>,
    /// Copies of the output's ends by the keeper's names, to be given to another keeper.
    copies: Vec<(&'static str, OwnedFd)>,
}

/// The descriptors of a container's streams on our side.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
    pub terminal: Option<OwnedFd>,
}

impl ContainerIo {
    /// Starts copying output; needs a tokio runtime around it.
    pub(crate) fn start(ends: Ends, log: Log) -> io::Result<Self> {
        let log = Arc::new(log);
        let taps: Arc<Mutex<Vec<Tap>>> = Arc::default();
        let terminal = ends.terminal.map(Arc::new);
        let mut sources = Vec::new();
        if let Some(terminal) = &terminal {
            sources.push((Stream::Stdout, terminal.try_clone()?));
        }
        sources.extend(ends.stdout.map(|fd| (Stream::Stdout, fd)));
        sources.extend(ends.stderr.map(|fd| (Stream::Stderr, fd)));
        let names = if terminal.is_some() { ["terminal", "", ""] } else { ["stdout", "stderr", ""] };
        let copies = names.into_iter().zip(&sources).map(|(name, (_, fd))| Ok((name, fd.try_clone()?)));
        let copies = copies.collect::<io::Result<Vec<_>>>()?;
        let (sender, drained) = watch::channel(sources.len());
        let sender = Arc::new(sender);
        for (stream, fd) in sources {
            let (log, taps, sender) = (log.clone(), taps.clone(), sender.clone());
            let source = Source::new(fd)?;
            tokio::spawn(async move {
                pump(source, stream, &log, &taps).await;
                sender.send_modify(|open| *open -= 1);
                if *sender.borrow() == 0 {
                    // Whoever is attached sees the end.
                    taps.lock().unwrap_or_else(PoisonError::into_inner).clear();
                }
            });
        }
        let stdin = ends.stdin.map(Arc::new).or_else(|| terminal.clone());
        Ok(Self { log, taps, stdin: Mutex::new(stdin), terminal, drained, copies })
    }

    /// The ends of its streams by the keeper's names, without standard input.
    pub(crate) fn ends(&self) -> Vec<(&str, BorrowedFd<'_>)> {
        self.copies.iter().map(|(name, fd)| (*name, fd.as_fd())).collect()
    }

    /// Goes on in a new log file.
    pub(crate) fn reopen_log(&self) -> io::Result<()> {
        self.log.reopen()
    }

    /// Copies of all output from now on.
    pub(crate) fn tap(&self) -> mpsc::Receiver<(Stream, Bytes)> {
        let (sender, receiver) = mpsc::channel(TAP_DEPTH);
        self.taps.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// The write end of standard input, if the container has one that is open.
    pub(crate) fn stdin(&self) -> Option<Arc<OwnedFd>> {
        self.stdin.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes standard input for good; a terminal stays.
    pub(crate) fn close_stdin(&self) {
        if self.terminal.is_none() {
            self.stdin.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }

    /// The terminal, if it has one.
    pub(crate) fn terminal(&self) -> Option<Arc<OwnedFd>> {
        self.terminal.clone()
    }

    /// Waits until all output is in the log.
    pub(crate) async fn drained(&self) {
        let mut drained = self.drained.clone();
        let _ = drained.wait_for(|open| *open == 0).await;
    }
}

async fn pump(source: Source, stream: Stream, log: &Log, taps: &Mutex<Vec<Tap>>) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = match source.read(&mut buffer).await {
            Ok(0) => return,
            Ok(length) => length,
            Err(error) => {
                tracing::warn!(%error, "container output ends early");
                return;
            }
        };
        log.write(stream, &buffer[..length]);
        let listening = taps.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if listening.is_empty() {
            continue;
        }
        let chunk = Bytes::copy_from_slice(&buffer[..length]);
        for tap in listening {
            let sent = tokio::time::timeout(TAP_PATIENCE, tap.send((stream, chunk.clone()))).await;
            if !matches!(sent, Ok(Ok(()))) {
                taps.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| !other.same_channel(&tap));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_parts_of_lines() {
        let text = entries(Stream::Stderr, b"one\n\ntwo", "T");
        assert_eq!(String::from_utf8_lossy(&text), "T stderr F one\nT stderr F \nT stderr P two\n");
    }
}
