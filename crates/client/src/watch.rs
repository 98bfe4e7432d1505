//! Reading a watch: JSON documents, one a line, without end.

use crate::error::Error;
use crate::transport::{Body, TransportError};
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use meta::Status;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::VecDeque;

/// The longest line: an event holds one object, and the server accepts none of more than 3 MiB.
pub const MAX_LINE_BYTES: usize = 16 << 20;

/// One event of a watch.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// The object was created, changed or came into the selection.
    Put(Bytes),
    /// The object was deleted or left the selection; its last state, at the revision of the deletion.
    Delete(Bytes),
    /// Everything up to this revision was delivered.
    Bookmark(u64),
}

/// Cuts a stream of bytes into lines; a pure state machine.
#[derive(Debug, Default)]
pub struct Lines {
    partial: BytesMut,
    whole: VecDeque<Bytes>,
}

impl Lines {
    /// Takes in a chunk.
    pub fn feed(&mut self, mut chunk: Bytes) -> Result<(), Error> {
        while let Some(end) = chunk.iter().position(|b| *b == b'\n') {
            let line = chunk.split_to(end);
            chunk.advance(1);
            let line = if self.partial.is_empty() { line } else { self.join(&line) };
            if !line.is_empty() {
                self.whole.push_back(line);
            }
        }
        if self.partial.len() + chunk.len() > MAX_LINE_BYTES {
            return Err(Error::Decode(format!("a watch event is longer than {MAX_LINE_BYTES} bytes")));
        }
        self.partial.extend_from_slice(&chunk);
        Ok(())
    }

    fn join(&mut self, tail: &[u8]) -> Bytes {
        self.partial.extend_from_slice(tail);
        std::mem::take(&mut self.partial).freeze()
    }

    /// The next whole line.
    pub fn next_line(&mut self) -> Option<Bytes> {
        self.whole.pop_front()
    }
}

#[derive(Deserialize)]
struct RawEvent<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// Reads one line. `ERROR` events become errors; types of which we know nothing are skipped.
pub fn decode_event(line: &Bytes) -> Result<Option<WatchEvent>, Error> {
    let bad = |e: serde_json::Error| Error::Decode(e.to_string());
    let event: RawEvent<'_> = serde_json::from_slice(line).map_err(bad)?;
    let object = line.slice_ref(event.object.get().as_bytes());
    match event.kind {
        "ADDED" | "MODIFIED" => Ok(Some(WatchEvent::Put(object))),
        "DELETED" => Ok(Some(WatchEvent::Delete(object))),
        "BOOKMARK" => Ok(crate::access::answered_revision(&object).map(WatchEvent::Bookmark)),
        "ERROR" => {
            let status: serde_json::Value = serde_json::from_slice(&object).map_err(bad)?;
            let code = status["code"].as_u64().and_then(|c| u16::try_from(c).ok()).unwrap_or(500);
            Err(Error::Api(Status::from_value(code, &status)))
        }
        _ => Ok(None),
    }
}

/// An open watch.
pub struct WatchStream {
    body: Body,
    lines: Lines,
}

impl WatchStream {
    /// A watch over an answer's body.
    pub fn new(body: Body) -> Self {
        Self { body, lines: Lines::default() }
    }

    /// The next event; none at the end of the stream, which the server sets at will.
    pub async fn next(&mut self) -> Option<Result<WatchEvent, Error>> {
        loop {
            if let Some(event) = self.buffered() {
                return Some(event);
            }
            match self.body.frame().await? {
                Err(e) => return Some(Err(Error::Transport(e))),
                Ok(frame) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if let Err(e) = self.lines.feed(data) {
                        return Some(Err(e));
                    }
                }
            }
        }
    }

    /// An event that has arrived already, without waiting: what is to be handled in one go.
    pub fn buffered(&mut self) -> Option<Result<WatchEvent, Error>> {
        while let Some(line) = self.lines.next_line() {
            match decode_event(&line) {
                Ok(None) => {}
                Ok(Some(event)) => return Some(Ok(event)),
                Err(e) => return Some(Err(e)),
            }
        }
        None
    }
}

/// A watch that ended: not a fault, but a reason to go on from the last revision.
pub fn ended() -> TransportError {
    TransportError::broken("the watch ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(chunks: &[&'static str]) -> Vec<String> {
        let mut lines = Lines::default();
        for chunk in chunks {
            lines.feed(Bytes::from_static(chunk.as_bytes())).expect("short lines");
        }
        let mut out = Vec::new();
        while let Some(line) = lines.next_line() {
            out.push(match decode_event(&line) {
                Ok(Some(WatchEvent::Put(o))) => format!("put {}", String::from_utf8_lossy(&o)),
                Ok(Some(WatchEvent::Delete(o))) => format!("delete {}", String::from_utf8_lossy(&o)),
                Ok(Some(WatchEvent::Bookmark(r))) => format!("bookmark {r}"),
                Ok(None) => "skipped".to_owned(),
                Err(e) => format!("error {e}"),
            });
        }
        out
    }

    #[test]
    fn events_come_whole_however_they_are_cut() {
        let out = show(&[
            "{\"type\":\"ADDED\",\"obj",
            "ect\":{\"a\":1}}\n{\"type\":\"DELETED\",\"object\":{\"a\":2}}\n\n",
            "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"9\"}}}",
            "\n{\"type\":\"NEW\",\"object\":{}}\n",
            "{\"type\":\"ERROR\",\"object\":{\"code\":410,\"reason\":\"Expired\",\"message\":\"too old\"}}\n{",
        ]);
        assert_eq!(out, ["put {\"a\":1}", "delete {\"a\":2}", "bookmark 9", "skipped", "error too old"]);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut lines = Lines::default();
        let chunk = Bytes::from(vec![b'x'; MAX_LINE_BYTES]);
        assert!(lines.feed(chunk).is_ok());
        assert!(lines.feed(Bytes::from_static(b"x")).is_err());
    }
}
