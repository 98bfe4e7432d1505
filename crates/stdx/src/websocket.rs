//! WebSocket's frames (RFC 6455) as bytes, without a connection.

/// A text message.
pub const TEXT: u8 = 1;
/// A message of bytes.
pub const BINARY: u8 = 2;
/// The end of the connection.
pub const CLOSE: u8 = 8;
/// Asks for a pong.
pub const PING: u8 = 9;
/// Answers a ping.
pub const PONG: u8 = 10;

/// The close code for "everything went well".
const NORMAL: u16 = 1000;
/// The longest payload of a frame that is no data (RFC 6455, 5.5).
const CONTROL_LIMIT: u64 = 125;

/// One whole message of a server: `head` and `payload` together are its data.
pub fn frame(kind: u8, head: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = head.len() + payload.len();
    let mut bytes = Vec::with_capacity(length + 10);
    bytes.push(0x80 | kind);
    match length {
        0..=125 => bytes.push(length as u8),
        126..=0xffff => {
            bytes.push(126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(head);
    bytes.extend_from_slice(payload);
    bytes
}

/// The end, with the code without which clients report a broken connection.
pub fn close() -> Vec<u8> {
    frame(CLOSE, &NORMAL.to_be_bytes(), &[])
}

/// What a server that only sends must know of its client.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// To be answered by a pong with the same bytes.
    Ping(Vec<u8>),
    /// The client closes.
    Close,
}

/// Hears a client that has nothing to say: its data is dropped unread.
#[derive(Debug, Default)]
pub struct Listener {
    /// The start of a frame that has not come whole; never longer than a header and a payload that is no data.
    rest: Vec<u8>,
    /// Bytes of data that are still to be dropped.
    skip: u64,
}

impl Listener {
    /// Takes what came; the error is a client that does not speak WebSocket.
    pub fn hear(&mut self, mut bytes: &[u8]) -> Result<Vec<Heard>, &'static str> {
        let mut heard = Vec::new();
        while !bytes.is_empty() {
            if self.skip > 0 {
                let now = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
                self.skip -= now as u64;
                bytes = &bytes[now..];
                continue;
            }
            self.rest.push(bytes[0]);
            bytes = &bytes[1..];
            heard.extend(self.frame()?);
        }
        Ok(heard)
    }

    /// Looks whether what has come is a frame.
    fn frame(&mut self) -> Result<Option<Heard>, &'static str> {
        let [first, second, more @ ..] = self.rest.as_slice() else { return Ok(None) };
        if first & 0x70 != 0 || second & 0x80 == 0 {
            return Err("a WebSocket frame that is not masked, or uses extensions");
        }
        let (kind, short) = (first & 0x0f, second & 0x7f);
        let bytes = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some((number, more)) = more.split_at_checked(bytes) else { return Ok(None) };
        let long = number.iter().fold(0, |n: u64, b| n << 8 | u64::from(*b));
        let length = if bytes == 0 { u64::from(short) } else { long };
        let Some((mask, payload)) = more.split_at_checked(4) else { return Ok(None) };
        if kind < CLOSE {
            self.skip = length;
            self.rest.clear();
            return Ok(None);
        }
        if length > CONTROL_LIMIT {
            return Err("a WebSocket control frame is too long");
        }
        if (payload.len() as u64) < length {
            return Ok(None);
        }
        let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        self.rest.clear();
        Ok(match kind {
            CLOSE => Some(Heard::Close),
            PING => Some(Heard::Ping(payload)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_as_many_bytes_as_they_need() {
        let heads = [5, 300, 70_000].map(|n| frame(BINARY, &[1], &vec![0; n - 1])[..4].to_vec());
        assert_eq!(heads, [vec![0x82, 5, 1, 0], vec![0x82, 126, 1, 44], vec![0x82, 127, 0, 0]]);
    }

    #[test]
    fn a_listener_drops_data_and_hears_the_rest() {
        let mut bytes = vec![0x82, 0xfe, 1, 44, 1, 2, 3, 4];
        bytes.extend(vec![0; 300]);
        bytes.extend([0x89, 0x82, 1, 2, 3, 4, b'a' ^ 1, b'b' ^ 2, 0x88, 0x80, 0, 0, 0, 0]);
        let whole = Listener::default().hear(&bytes);
        let expected = Ok(vec![Heard::Ping(b"ab".to_vec()), Heard::Close]);
        assert_eq!(whole, expected);
        let mut listener = Listener::default();
        let pieces: Result<Vec<Vec<Heard>>, _> = bytes.iter().map(|b| listener.hear(&[*b])).collect();
        assert_eq!(pieces.map(|p| p.into_iter().flatten().collect::<Vec<_>>()), expected);
    }

    #[test]
    fn what_is_no_websocket_is_refused() {
        assert!(Listener::default().hear(b"GET / HTTP/1.1").is_err());
        assert!(Listener::default().hear(&[0x89, 0xfe, 1, 0, 0, 0, 0, 0]).is_err());
    }
}
