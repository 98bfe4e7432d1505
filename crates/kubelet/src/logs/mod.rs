//! Containers' logs in the CRI's format: `<time> <stream> <F|P> <text>` on each line
//! (`cri-client/pkg/logs`).

mod read;
mod rotate;

pub(crate) use read::{Options, follow};
pub(crate) use rotate::run as run_rotation;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes that are read at a time when looking backwards.
const BLOCK: u64 = 8 << 10;

/// One line of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// RFC 3339 with nanoseconds.
    pub time: &'a str,
    /// `stdout` or `stderr`.
    pub stream: &'a str,
    /// The text goes on in the next line.
    pub partial: bool,
    /// What the container wrote, without the line's end.
    pub text: &'a [u8],
}

/// Reads one line; none if it isn't in the format.
pub(crate) fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut parts = line.splitn(4, |b| *b == b' ');
    let mut word = || std::str::from_utf8(parts.next()?).ok();
    let (time, stream, tags) = (word()?, word()?, word()?);
    let partial = tags.split(':').next() == Some("P");
    Some(Entry { time, stream, partial, text: parts.next().unwrap_or_default() })
}

/// Where the last `lines` lines of a file begin.
pub(crate) fn tail_offset(file: &mut File, lines: usize) -> io::Result<u64> {
    let size = file.seek(SeekFrom::End(0))?;
    if lines == 0 {
        return Ok(size);
    }
    let (mut end, mut left) = (size, lines);
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        file.by_ref().take(end - start).read_to_end(&mut block)?;
        for (i, b) in block.iter().enumerate().rev() {
            let at = start + i as u64;
            // The end of the last line begins no line.
            if *b == b'\n' && at + 1 < size {
                left -= 1;
                if left == 0 {
                    return Ok(at + 1);
                }
            }
        }
        end = start;
    }
    Ok(0)
}

/// The end of a log as text: at most so many bytes and lines.
pub(crate) fn tail_text(path: &Path, bytes: usize, lines: usize) -> String {
    let Ok(mut file) = File::open(path) else { return String::new() };
    let Ok(start) = tail_offset(&mut file, lines) else { return String::new() };
    let mut raw = Vec::new();
    if file.seek(SeekFrom::Start(start)).is_err() || file.read_to_end(&mut raw).is_err() {
        return String::new();
    }
    let mut out = Vec::new();
    for line in raw.split_inclusive(|b| *b == b'\n') {
        if let Some(e) = parse(line) {
            out.extend_from_slice(e.text);
            if !e.partial {
                out.push(b'\n');
            }
        }
    }
    let start = out.len().saturating_sub(bytes);
    String::from_utf8_lossy(&out[start..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_apart_and_the_tail_is_found() {
        let e = parse(b"2026-11-22T00:00:00.000000001Z stderr P a b\n").unwrap();
        assert_eq!((e.stream, e.partial, e.text), ("stderr", true, &b"a b"[..]));
        assert_eq!(parse(b"x y"), None);
        assert_eq!(parse(b"t stdout F").unwrap().text, b"");

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let text: String = (0..3000).map(|i| format!("t stdout F line {i}\n")).collect();
        std::fs::write(&path, text).unwrap();
        assert_eq!(tail_text(&path, 2048, 2), "line 2998\nline 2999\n");
        assert_eq!(tail_text(&path, 5, 2), "2999\n");
        let mut f = File::open(&path).unwrap();
        assert_eq!(tail_offset(&mut f, 5000).unwrap(), 0);
    }
}
