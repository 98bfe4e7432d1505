//! What a start does: load the newest snapshot, replay the log behind it, and cut off what was never acknowledged.

use std::sync::Arc;

use crate::backend::{Feed, OpenError};
use crate::state::State;

use super::files::Files;
use super::frame::{Kind, Next, Reader, Tail};
use super::journal::{End, Journal, Resume, Sizes};
use super::names;
use super::record::Cursor;
use super::snapshot::{self, check_preamble};

/// A segment of the log, read up to its first batch.
struct Segment {
    name: String,
    first: u64,
    reparse: bool,
    /// Nothing in it was ever acknowledged.
    empty: bool,
}

/// Recovers the state into the feed, and returns the log ready for more.
pub(crate) fn recover(files: Arc<dyn Files>, feed: &Feed, sizes: Sizes) -> Result<Journal, OpenError> {
    let mut listed = files.names()?;
    listed.sort();
    // A process that was killed may have left names that can be seen but are not durable yet.
    files.sync_names()?;
    let mut garbage: Vec<String> = listed.iter().filter(|name| *name == names::UNFINISHED).cloned().collect();
    let mut snapshots: Vec<u64> = listed.iter().filter_map(|name| names::snapshot_revision(name)).collect();
    let (mut state, snapshot_bytes) = match snapshots.pop() {
        Some(newest) => snapshot::load(&*files, newest, feed)?,
        None => (State::new(feed.limits()), 0),
    };
    garbage.extend(snapshots.into_iter().map(names::snapshot));
    let mut segments = segments(&*files, &listed, &state, feed, &mut garbage)?;
    let newest = segments.pop();
    let mut sealed = Vec::new();
    let mut replay_bytes = 0;
    for segment in segments {
        let end = replay(&*files, &segment, false, &mut state, feed)?;
        replay_bytes += end.position;
        sealed.push(segment.name);
    }
    let parser_version = feed.parser().version();
    let (name, end) = match newest {
        Some(segment) => {
            let end = replay(&*files, &segment, true, &mut state, feed)?;
            (segment.name, end)
        }
        None => {
            let first = state.revision + 1;
            let name = names::log(first);
            garbage.retain(|other| *other != name);
            let (file, position) = Journal::create(&*files, parser_version, first)?;
            (name, End { file, position, ready: position })
        }
    };
    remove(&*files, &garbage);
    feed.shared.install(state);
    replay_bytes += end.position;
    let resume = Resume { end, name, sealed, replay_bytes, snapshot_bytes };
    Ok(Journal::resume(files, parser_version, sizes, resume))
}

/// The segments to replay. Those behind the snapshot, and those that nothing was committed in, become garbage.
fn segments(
    files: &dyn Files,
    listed: &[String],
    state: &State,
    feed: &Feed,
    garbage: &mut Vec<String>,
) -> Result<Vec<Segment>, OpenError> {
    let mut full = Vec::new();
    for name in listed {
        let Some(first) = names::log_revision(name) else { continue };
        let segment = look(files, name, first, feed)?;
        if segment.empty { garbage.push(segment.name) } else { full.push(segment) }
    }
    // A segment is behind the snapshot when the next one with anything in it begins there or before.
    let needed = state.revision + 1;
    let begin = full.iter().rposition(|segment| segment.first <= needed).unwrap_or(0);
    garbage.extend(full.drain(..begin).map(|segment| segment.name));
    Ok(full)
}

fn look(files: &dyn Files, name: &str, first: u64, feed: &Feed) -> Result<Segment, OpenError> {
    let mut reader = Reader::new(files.open(name)?)?;
    let mut segment = Segment { name: name.to_owned(), first, reparse: false, empty: true };
    let version = match reader.next()? {
        Next::Frame(frame) if frame.kind == Kind::LogStart && frame.sequence == first => {
            Cursor::new(frame.payload).preamble()
        }
        _ => None,
    };
    if let Some(version) = version {
        segment.reparse = check_preamble(name, version, feed)?;
        segment.empty = !matches!(reader.next()?, Next::Frame(_));
    }
    // Nothing may follow a missing header or first batch but the remains of a torn one.
    if segment.empty && reader.tail()? == Tail::Damaged {
        return Err(damaged(name));
    }
    Ok(segment)
}

fn replay(
    files: &dyn Files,
    segment: &Segment,
    newest: bool,
    state: &mut State,
    feed: &Feed,
) -> Result<End, OpenError> {
    let mut reader = Reader::new(files.open(&segment.name)?)?;
    let reparse = segment.reparse.then(|| feed.parser());
    let mut last = 0;
    loop {
        let position = reader.position();
        let Next::Frame(frame) = reader.next()? else { break };
        last = position;
        let cursor = Cursor::new(frame.payload).reparse(reparse);
        match frame.kind {
            Kind::LogStart if position == 0 => {}
            Kind::Batch => replay_batch(&segment.name, frame.sequence, cursor, state)?,
            _ => return Err(damaged(&segment.name)),
        }
    }
    let tail = reader.tail()?;
    if tail == Tail::Damaged || (tail == Tail::Torn && !newest) {
        return Err(damaged(&segment.name));
    }
    let (position, len) = (reader.position(), reader.len());
    let mut end = End { file: reader.into_file(), position, ready: len };
    if newest {
        settle(&mut end, last, tail == Tail::Torn)?;
    }
    Ok(end)
}

/// Makes durable what was just believed. The last batch may never have been synced, because the process was killed
/// before its sync, or the sync failed and the system forgot it: only writing it again makes sure. And the remains
/// of a write that was never acknowledged are cut off, so that they can't be mistaken for anything later.
fn settle(end: &mut End, last: u64, torn: bool) -> Result<(), OpenError> {
    if torn {
        tracing::info!(bytes = end.ready - end.position, "cutting an unfinished write off the log");
        end.file.set_len(end.position)?;
        end.ready = end.position;
    }
    let mut batch = vec![0; usize::try_from(end.position - last).unwrap_or(0)];
    let mut filled = 0;
    while filled < batch.len() {
        match end.file.read_at(&mut batch[filled..], last + filled as u64)? {
            0 => return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
            got => filled += got,
        }
    }
    end.file.write_at(&batch, last)?;
    end.file.sync()?;
    Ok(())
}

fn replay_batch(name: &str, first: u64, mut cursor: Cursor<'_>, state: &mut State) -> Result<(), OpenError> {
    let mut revision = first;
    while !cursor.is_empty() {
        let (kind, entry) = cursor.change().ok_or_else(|| damaged(name))?;
        if entry.revision != revision || revision > state.revision + 1 {
            let what = format!("revisions between {} and {revision} are missing", state.revision);
            return Err(OpenError::Corrupt { file: name.to_owned(), what });
        }
        if revision == state.revision + 1 {
            state.replay(kind, entry);
        }
        revision += 1;
    }
    Ok(())
}

fn remove(files: &dyn Files, names: &[String]) {
    for name in names {
        if let Err(error) = files.remove(name) {
            tracing::warn!(%error, name, "could not remove a file that is not needed any longer");
        }
    }
}

fn damaged(name: &str) -> OpenError {
    OpenError::Corrupt { file: name.to_owned(), what: "a batch is damaged".to_owned() }
}
