//! The server's half of WebSocket (RFC 6455): handshake answer, frames in, frames out. No extensions.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Buf, Bytes};
use stdx::websocket::{BINARY, CLOSE, PING, PONG, TEXT, frame};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The largest message that a client may send.
const MESSAGE_LIMIT: usize = 4 * 1024 * 1024;

/// A frame that goes on with a message.
const CONTINUATION: u8 = 0;

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// A whole message, text or binary.
    Data(Bytes),
    /// To be answered by [`pong`].
    Ping(Bytes),
    /// The client closes, or is gone.
    Close,
}

/// The answer to a client's key.
pub(crate) fn accept_key(key: &str) -> String {
    const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let digest =
        ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{MAGIC}").as_bytes());
    BASE64.encode(digest)
}

/// One message of binary data.
pub(crate) fn binary(payload: &[u8]) -> Vec<u8> {
    frame(BINARY, &[], payload)
}

/// How messages carry the number of their channel (k8s.io/streaming `wsstream`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channels {
    /// One byte in front of the data.
    Binary,
    /// One digit in front of the data in base64, as text: for clients that can't send bytes.
    Base64,
}

impl Channels {
    /// What a named protocol means.
    pub(crate) fn of(protocol: &str) -> Self {
        if protocol.contains("base64") { Self::Base64 } else { Self::Binary }
    }

    /// A message on a channel.
    pub(crate) fn message(self, channel: u8, payload: &[u8]) -> Vec<u8> {
        match self {
            Self::Binary => frame(BINARY, &[channel], payload),
            Self::Base64 => frame(TEXT, &[b'0' + channel], BASE64.encode(payload).as_bytes()),
        }
    }

    /// A message's channel and data; none if it has no channel, or isn't base64.
    pub(crate) fn split(self, mut message: Bytes) -> Option<(u8, Bytes)> {
        let channel = message.try_get_u8().ok()?;
        match self {
            Self::Binary => Some((channel, message)),
            Self::Base64 => Some((channel.checked_sub(b'0')?, BASE64.decode(message).ok()?.into())),
        }
    }
}

/// The answer to a ping.
pub(crate) fn pong(payload: &[u8]) -> Vec<u8> {
    frame(PONG, &[], payload)
}

/// Reads a client's frames.
pub(crate) struct Reader<R> {
    source: R,
    /// Parts of a message that comes in several frames.
    partial: Vec<u8>,
}

struct Header {
    last: bool,
    kind: u8,
    mask: [u8; 4],
    length: usize,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Reads from `source`, which has passed the handshake.
    pub(crate) fn new(source: R) -> Self {
        Self { source, partial: Vec::new() }
    }

    /// The next message; a connection that just ends counts as closed.
    pub(crate) async fn next(&mut self) -> io::Result<Message> {
        loop {
            let Some(header) = self.header().await? else { return Ok(Message::Close) };
            let mut payload = vec![0; header.length];
            self.source.read_exact(&mut payload).await?;
            payload.iter_mut().zip(header.mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
            match header.kind {
                CLOSE => return Ok(Message::Close),
                PING => return Ok(Message::Ping(payload.into())),
                PONG => {}
                CONTINUATION | TEXT | BINARY => {
                    if self.partial.len() + payload.len() > MESSAGE_LIMIT {
                        return Err(invalid("a WebSocket message is too large"));
                    }
                    self.partial.append(&mut payload);
                    if header.last {
                        return Ok(Message::Data(std::mem::take(&mut self.partial).into()));
                    }
                }
                _ => return Err(invalid("an unknown WebSocket frame")),
            }
        }
    }

    async fn header(&mut self) -> io::Result<Option<Header>> {
        let mut start = [0; 2];
        match self.source.read_exact(&mut start).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        };
        if start[0] & 0x70 != 0 || start[1] & 0x80 == 0 {
            return Err(invalid("a WebSocket frame that is not masked, or uses extensions"));
        }
        let length = match start[1] & 0x7f {
            126 => u64::from(self.source.read_u16().await?),
            127 => self.source.read_u64().await?,
            length => u64::from(length),
        };
        let length = usize::try_from(length).ok().filter(|l| *l <= MESSAGE_LIMIT);
        let length = length.ok_or_else(|| invalid("a WebSocket frame is too large"))?;
        let mut mask = [0; 4];
        self.source.read_exact(&mut mask).await?;
        Ok(Some(Header { last: start[0] & 0x80 != 0, kind: start[0] & 0x0f, mask, length }))
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_specification() {
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[tokio::test]
    async fn frames_are_unmasked_and_joined() {
        let mut bytes = vec![0x02, 0x82, 1, 2, 3, 4, b'a' ^ 1, b'b' ^ 2];
        bytes.extend([0x89, 0x80, 0, 0, 0, 0]);
        bytes.extend([0x80, 0x81, 9, 9, 9, 9, b'c' ^ 9]);
        let mut reader = Reader::new(bytes.as_slice());
        let messages = [reader.next().await.ok(), reader.next().await.ok(), reader.next().await.ok()];
        let expected = [Message::Ping(Bytes::new()), Message::Data("abc".into()), Message::Close];
        assert_eq!(messages, expected.map(Some));
    }

    #[tokio::test]
    async fn unmasked_and_endless_frames_are_refused() {
        assert!(Reader::new([0x82u8, 0x01, 0].as_slice()).next().await.is_err());
        let endless = [0x82u8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        assert!(Reader::new(endless.as_slice()).next().await.is_err());
    }

    #[test]
    fn channels_are_bytes_or_digits() {
        let text = Channels::of("v4.base64.channel.k8s.io");
        assert_eq!(text.message(2, b"hello"), b"\x81\x092aGVsbG8=");
        assert_eq!(text.split("0aGVsbG8=".into()), Some((0, "hello".into())));
        assert_eq!(
            [text.split("0?".into()), text.split("\0aGVsbG8=".into()), text.split("".into())],
            [const { None }; 3]
        );
        let bytes = Channels::of("v4.channel.k8s.io");
        assert_eq!(bytes.message(2, b"hello"), b"\x82\x06\x02hello");
        assert_eq!(bytes.split("\0hello".into()), Some((0, "hello".into())));
    }
}
