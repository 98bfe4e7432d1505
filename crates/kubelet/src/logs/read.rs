//! Reads a log for somebody who asked, and goes on as it grows.

use super::{parse, tail_offset};
use bytes::Bytes;
use jiff::Timestamp;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// How often a followed log is looked at.
const POLL: Duration = Duration::from_millis(100);
/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;
/// The longest line that is held.
const MAX_LINE: usize = 1 << 20;

/// What is asked for (`PodLogOptions`).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Options {
    pub follow: bool,
    pub tail: Option<usize>,
    pub since: Option<Timestamp>,
    pub timestamps: bool,
    pub limit: Option<u64>,
    /// `Stdout` or `Stderr`; none for both.
    pub stream: Option<String>,
}

struct Reader {
    path: PathBuf,
    file: File,
    rest: Vec<u8>,
    options: Options,
    left: Option<u64>,
    in_line: bool,
}

fn open(path: &Path) -> std::io::Result<File> {
    File::open(path)
}

impl Reader {
    fn new(path: &Path, options: Options) -> std::io::Result<Self> {
        let mut file = open(path)?;
        let start = match options.tail {
            Some(n) => tail_offset(&mut file, n)?,
            None => 0,
        };
        file.seek(SeekFrom::Start(start))?;
        let left = options.limit;
        Ok(Self { path: path.to_owned(), file, rest: Vec::new(), options, left, in_line: false })
    }

    /// What can be read now; empty at the end of the file.
    fn more(&mut self) -> std::io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut chunk = vec![0; CHUNK];
        let n = self.file.read(&mut chunk)?;
        self.rest.extend_from_slice(&chunk[..n]);
        let rest = std::mem::take(&mut self.rest);
        let mut lines = rest.split_inclusive(|b| *b == b'\n').peekable();
        while let Some(line) = lines.next() {
            if !line.ends_with(b"\n") && lines.peek().is_none() && line.len() < MAX_LINE {
                self.rest = line.to_vec();
                break;
            }
            self.line(line, &mut out);
        }
        Ok(out)
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(e) = parse(line) else { return };
        if self.options.stream.as_ref().is_some_and(|s| !s.eq_ignore_ascii_case(e.stream)) {
            return;
        }
        let earlier = |since: Timestamp| e.time.parse::<Timestamp>().is_ok_and(|t| t < since);
        if self.options.since.is_some_and(earlier) {
            return;
        }
        let start = out.len();
        if self.options.timestamps && !self.in_line {
            out.extend_from_slice(e.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(e.text);
        if !e.partial {
            out.push(b'\n');
        }
        self.in_line = e.partial;
        if let Some(left) = &mut self.left {
            let allowed = usize::try_from(*left).unwrap_or(usize::MAX);
            out.truncate(start.saturating_add(allowed));
            *left -= (out.len() - start) as u64;
        }
    }

    fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    /// Goes over to the file that took this one's name. Returns whether there is one.
    fn reopen(&mut self) -> bool {
        let (Ok(old), Ok(new)) = (self.file.metadata(), std::fs::metadata(&self.path)) else { return false };
        if old.ino() == new.ino() {
            return false;
        }
        match open(&self.path) {
            Ok(f) => {
                self.file = f;
                true
            }
            Err(_) => false,
        }
    }
}

/// Sends what is asked for of the log at `path`, piece by piece. `ended`: the container writes no more.
pub(crate) async fn follow(
    path: &Path,
    options: Options,
    ended: impl Fn() -> bool + Send,
    sink: Sender<Bytes>,
) -> std::io::Result<()> {
    let follow = options.follow;
    let mut reader = Reader::new(path, options)?;
    loop {
        let done = ended();
        let piece = reader.more()?;
        if !piece.is_empty() && sink.send(Bytes::from(piece)).await.is_err() {
            return Ok(());
        }
        let at_end = reader.file.stream_position()? >= reader.file.metadata()?.len();
        if reader.is_full() {
            return Ok(());
        }
        if !at_end {
            continue;
        }
        if reader.reopen() {
            continue;
        }
        if !follow || done {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            () = sink.closed() => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &str, options: Options) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(&path, text).unwrap();
        let (sink, mut pieces) = tokio::sync::mpsc::channel(64);
        follow(&path, options, || true, sink).await.unwrap();
        let mut out = Vec::new();
        while let Some(p) = pieces.recv().await {
            out.extend_from_slice(&p);
        }
        String::from_utf8(out).unwrap()
    }

    const LOG: &str = "2026-01-01T00:00:01.0Z stdout F one\n2026-01-01T00:00:02.0Z stderr P tw\n\
                       2026-01-01T00:00:02.1Z stderr F o\n2026-01-01T00:00:03.0Z stdout F three\n";

    #[tokio::test]
    async fn a_log_is_cut_as_asked() {
        assert_eq!(read(LOG, Options::default()).await, "one\ntwo\nthree\n");
        assert_eq!(read(LOG, Options { tail: Some(1), ..Options::default() }).await, "three\n");
        assert_eq!(read(LOG, Options { limit: Some(5), ..Options::default() }).await, "one\nt");
        let since = Some("2026-01-01T00:00:03Z".parse().unwrap());
        let o = Options { since, timestamps: true, ..Options::default() };
        assert_eq!(read(LOG, o).await, "2026-01-01T00:00:03.0Z three\n");
        let o = Options { stream: Some("Stderr".into()), ..Options::default() };
        assert_eq!(read(LOG, o).await, "two\n");
    }
}
