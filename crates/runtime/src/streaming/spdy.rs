//! The server's half of SPDY/3.1, as far as Kubernetes' streams use it: streams opened by the client, data both ways.
//!
//! No flow control: the peers (moby/spdystream) have none; windows and settings are read and ignored. Source: the SPDY
//! 3.1 draft.

use std::collections::HashMap;
use std::io;

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::dictionary::dictionary;

/// The largest frame that a client may send, and the most that its headers may unpack to.
const FRAME_LIMIT: usize = 1024 * 1024;
const HEADERS_LIMIT: usize = 64 * 1024;
const VERSION: u16 = 3;
const FLAG_FIN: u8 = 1;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A new stream, with header names in lower case.
    Opened {
        stream: u32,
        headers: HashMap<String, String>,
        finished: bool,
    },
    Data {
        stream: u32,
        bytes: Bytes,
        finished: bool,
    },
    Reset {
        stream: u32,
    },
    /// To be sent back as it is.
    Ping {
        number: u32,
    },
    /// The client ends, or is gone.
    Closed,
}

/// Reads a client's frames.
pub(crate) struct Reader<R> {
    source: R,
    headers: Decompress,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Reads from a connection that was upgraded.
    pub(crate) fn new(source: R) -> Self {
        Self { source, headers: Decompress::new(true) }
    }

    /// The next event; a connection that just ends counts as closed.
    pub(crate) async fn next(&mut self) -> io::Result<Event> {
        loop {
            let mut head = [0; 8];
            match self.source.read_exact(&mut head).await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Event::Closed),
                other => other?,
            };
            let (flags, length) = (head[4], u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize);
            if length > FRAME_LIMIT {
                return Err(invalid("a SPDY frame is too large"));
            }
            let mut body = vec![0; length];
            self.source.read_exact(&mut body).await?;
            let first = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
            if first & 0x8000_0000 == 0 {
                return Ok(Event::Data {
                    stream: first,
                    bytes: body.into(),
                    finished: flags & FLAG_FIN != 0,
                });
            }
            let (version, kind) = ((first >> 16) as u16 & 0x7fff, first as u16);
            if version != VERSION {
                return Err(invalid("not SPDY version 3"));
            }
            if let Some(event) = self.control(kind, flags, &body)? {
                return Ok(event);
            }
        }
    }

    fn control(&mut self, kind: u16, flags: u8, body: &[u8]) -> io::Result<Option<Event>> {
        let number = |at: usize| {
            let bytes = body.get(at..at + 4).and_then(|b| b.try_into().ok());
            bytes.map(u32::from_be_bytes).ok_or_else(|| invalid("a SPDY frame is too short"))
        };
        Ok(match kind {
            SYN_STREAM => {
                let block = body.get(10..).ok_or_else(|| invalid("a SPDY frame is too short"))?;
                let headers = parse_headers(&self.unpack(block)?)?;
                let stream = number(0)? & 0x7fff_ffff;
                Some(Event::Opened { stream, headers, finished: flags & FLAG_FIN != 0 })
            }
            RST_STREAM => Some(Event::Reset { stream: number(0)? & 0x7fff_ffff }),
            PING => Some(Event::Ping { number: number(0)? }),
            GOAWAY => Some(Event::Closed),
            // Settings, windows, further headers.
            _ => None,
        })
    }

    /// Unpacks a header block; all blocks of a connection are one compressed stream.
    fn unpack(&mut self, mut block: &[u8]) -> io::Result<Vec<u8>> {
        let mut unpacked = Vec::with_capacity(4096);
        while !block.is_empty() {
            let before = self.headers.total_in();
            if unpacked.len() == unpacked.capacity() {
                unpacked.reserve(4096);
            }
            let step = self.headers.decompress_vec(block, &mut unpacked, FlushDecompress::Sync);
            block = block.get((self.headers.total_in() - before) as usize..).unwrap_or_default();
            if let Err(error) = step {
                if error.needs_dictionary().is_none() {
                    return Err(invalid("SPDY headers cannot be unpacked"));
                }
                self.headers
                    .set_dictionary(dictionary())
                    .map_err(|_| invalid("SPDY headers use another dictionary"))?;
            }
            if unpacked.len() > HEADERS_LIMIT {
                return Err(invalid("SPDY headers are too large"));
            }
        }
        Ok(unpacked)
    }
}

/// A block: the number of pairs, then names and values, each with its length in front.
fn parse_headers(mut block: &[u8]) -> io::Result<HashMap<String, String>> {
    let mut headers = HashMap::new();
    for _ in 0..take_number(&mut block)? {
        let (name, value) = (take_text(&mut block)?, take_text(&mut block)?);
        headers.insert(name.to_ascii_lowercase(), value);
    }
    Ok(headers)
}

fn take<'a>(block: &mut &'a [u8], length: usize) -> io::Result<&'a [u8]> {
    let (taken, left) = block.split_at_checked(length).ok_or_else(|| invalid("SPDY headers are cut off"))?;
    *block = left;
    Ok(taken)
}

fn take_number(block: &mut &[u8]) -> io::Result<usize> {
    Ok(take(block, 4)?.iter().fold(0, |all, byte| all << 8 | usize::from(*byte)))
}

fn take_text(block: &mut &[u8]) -> io::Result<String> {
    let length = take_number(block)?;
    Ok(String::from_utf8_lossy(take(block, length)?).into_owned())
}

/// Makes a server's frames.
pub(crate) struct Writer {
    headers: Compress,
}

impl Writer {
    pub(crate) fn new() -> io::Result<Self> {
        let mut headers = Compress::new(Compression::fast(), true);
        headers.set_dictionary(dictionary()).map_err(io::Error::other)?;
        Ok(Self { headers })
    }

    /// Accepts a stream.
    pub(crate) fn reply(&mut self, stream: u32) -> io::Result<Vec<u8>> {
        let mut block = Vec::with_capacity(64);
        let no_headers = 0u32.to_be_bytes();
        self.headers.compress_vec(&no_headers, &mut block, FlushCompress::Sync).map_err(io::Error::other)?;
        let mut body = stream.to_be_bytes().to_vec();
        body.extend_from_slice(&block);
        Ok(control(SYN_REPLY, &body))
    }

    /// Data, and with `finished` the end of our half of the stream.
    pub(crate) fn data(stream: u32, bytes: &[u8], finished: bool) -> Vec<u8> {
        let mut frame = stream.to_be_bytes().to_vec();
        frame.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        frame[4] = if finished { FLAG_FIN } else { 0 };
        frame.extend_from_slice(bytes);
        frame
    }

    /// Ends a stream in both directions.
    pub(crate) fn reset(stream: u32) -> Vec<u8> {
        const CANCEL: u32 = 5;
        control(RST_STREAM, &[stream.to_be_bytes(), CANCEL.to_be_bytes()].concat())
    }

    /// A ping's answer.
    pub(crate) fn ping(number: u32) -> Vec<u8> {
        control(PING, &number.to_be_bytes())
    }

    /// No further streams.
    pub(crate) fn go_away() -> Vec<u8> {
        control(GOAWAY, &[0; 8])
    }
}

fn control(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = (0x8000 | VERSION).to_be_bytes().to_vec();
    frame.extend_from_slice(&kind.to_be_bytes());
    frame.extend_from_slice(&(body.len() as u32).to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn streams_open_with_headers() {
        let mut block = Vec::with_capacity(256);
        let mut plain = 1u32.to_be_bytes().to_vec();
        for text in ["streamType", "stdin"] {
            plain.extend_from_slice(&(text.len() as u32).to_be_bytes());
            plain.extend_from_slice(text.as_bytes());
        }
        let mut packer = Compress::new(Compression::fast(), true);
        packer.set_dictionary(dictionary()).expect("a dictionary");
        packer.compress_vec(&plain, &mut block, FlushCompress::Sync).expect("packed");
        let mut body = vec![0, 0, 0, 7, 0, 0, 0, 0, 0, 0];
        body.extend_from_slice(&block);
        let bytes = [control(SYN_STREAM, &body), Writer::data(7, b"hi", true), control(4, &[0; 4])].concat();
        let mut reader = Reader::new(bytes.as_slice());
        let headers = HashMap::from([("streamtype".to_owned(), "stdin".to_owned())]);
        assert_eq!(reader.next().await.ok(), Some(Event::Opened { stream: 7, headers, finished: false }));
        assert_eq!(
            reader.next().await.ok(),
            Some(Event::Data { stream: 7, bytes: "hi".into(), finished: true })
        );
        assert_eq!(reader.next().await.ok(), Some(Event::Closed));
    }

    #[tokio::test]
    async fn nonsense_is_refused() {
        let huge = [0, 0, 0, 1, 0, 0xff, 0xff, 0xff];
        assert!(Reader::new(huge.as_slice()).next().await.is_err());
        let garbage = control(SYN_STREAM, &[0xaa; 40]);
        assert!(Reader::new(garbage.as_slice()).next().await.is_err());
    }
}
