//! Sessions over WebSocket: one channel number in front of every message (KEP-4006), and the tunnel for SPDY.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use stdx::websocket::close;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use super::session::{DEPTH, Input, Output, Pipes, Size};
use super::websocket::{Channels, Message, Reader, binary, pong};
use crate::logs::Stream;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// `v5`: the payload names a channel that the client has closed.
const CLOSE: u8 = 255;

/// How long the client may take to answer our close.
pub(crate) const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// What the tunnel holds in each direction.
const TUNNEL_BUFFER: usize = 64 * 1024;

/// The protocols for exec and attach, best first.
pub(crate) const PROTOCOLS: [&str; 5] = [
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
];
/// SPDY's frames in WebSocket messages.
pub(crate) const TUNNEL_PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";

/// A connection of which both directions can be used.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection for T {}

/// Carries one session in a protocol of [`PROTOCOLS`], or in none. `session` gets the two directions, and has ended
/// when its future has.
pub(crate) async fn serve<C: Connection, F: Future<Output = ()>>(
    connection: C,
    protocol: &str,
    session: impl FnOnce(Pipes) -> F,
) {
    let (read, write) = tokio::io::split(connection);
    let (to_session, input) = mpsc::channel(DEPTH);
    let (output, from_session) = mpsc::channel(DEPTH);
    let channels = Channels::of(protocol);
    // Before v4, the error channel held text.
    let bare_errors = !protocol.starts_with('v');
    let mut reading = tokio::spawn(read_client(Reader::new(read), channels, to_session, output.downgrade()));
    let writing = tokio::spawn(write_client(write, channels, from_session, bare_errors));
    session(Pipes { input, output }).await;
    // All senders are gone now, so the writer says goodbye; then the client's own close is awaited.
    let _ = writing.await;
    if tokio::time::timeout(CLOSE_LIMIT, &mut reading).await.is_err() {
        reading.abort();
    }
}

async fn read_client<C: Connection>(
    mut reader: Reader<ReadHalf<C>>,
    channels: Channels,
    session: mpsc::Sender<Input>,
    output: mpsc::WeakSender<Output>,
) {
    loop {
        let message = match reader.next().await {
            Ok(Message::Data(bytes)) => bytes,
            Ok(Message::Ping(payload)) => {
                if let Some(output) = output.upgrade() {
                    let _ = output.send(Output::Pong(payload)).await;
                }
                continue;
            }
            Ok(Message::Close) | Err(_) => return,
        };
        let Some(event) = channels.split(message).and_then(event) else { continue };
        if session.send(event).await.is_err() {
            // The session is over; what is left is to hear the client's close.
            while matches!(reader.next().await, Ok(Message::Data(_) | Message::Ping(_))) {}
            return;
        }
    }
}

fn event((channel, message): (u8, Bytes)) -> Option<Input> {
    match channel {
        STDIN if message.is_empty() => None,
        STDIN => Some(Input::Stdin(message)),
        RESIZE => serde_json::from_slice::<Size>(&message).ok().map(Input::Resize),
        CLOSE if message.first() == Some(&STDIN) => Some(Input::StdinClosed),
        _ => None,
    }
}

async fn write_client<C: Connection>(
    mut write: WriteHalf<C>,
    channels: Channels,
    mut output: mpsc::Receiver<Output>,
    bare_errors: bool,
) -> io::Result<()> {
    // An empty message tells the client that the connection stands.
    write.write_all(&channels.message(STDOUT, &[])).await?;
    while let Some(output) = output.recv().await {
        let frame = match output {
            Output::Data(Stream::Stdout, bytes) => channels.message(STDOUT, &bytes),
            Output::Data(Stream::Stderr, bytes) => channels.message(STDERR, &bytes),
            Output::End(end) if bare_errors => match end.message() {
                Some(message) => channels.message(ERROR, message.as_bytes()),
                None => continue,
            },
            Output::End(end) => channels.message(ERROR, end.status().as_bytes()),
            Output::Pong(payload) => pong(&payload),
        };
        write.write_all(&frame).await?;
    }
    write.write_all(&close()).await?;
    write.flush().await
}

/// Unwraps a tunnel: what comes out of the returned end is what the client's messages held, and the other way round.
pub(crate) fn tunnel<C: Connection>(connection: C) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(TUNNEL_BUFFER);
    let (read, write) = tokio::io::split(connection);
    let (inner_read, inner_write) = tokio::io::split(ours);
    let (pongs, pong_box) = mpsc::channel(DEPTH);
    tokio::spawn(tunnel_in(Reader::new(read), inner_write, pongs));
    tokio::spawn(tunnel_out(inner_read, write, pong_box));
    theirs
}

async fn tunnel_in<C: Connection>(
    mut reader: Reader<ReadHalf<C>>,
    mut inner: WriteHalf<DuplexStream>,
    pongs: mpsc::Sender<Bytes>,
) {
    loop {
        match reader.next().await {
            Ok(Message::Data(bytes)) => {
                if inner.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Ok(Message::Ping(payload)) => {
                let _ = pongs.send(payload).await;
            }
            Ok(Message::Close) | Err(_) => {
                let _ = inner.shutdown().await;
                return;
            }
        }
    }
}

async fn tunnel_out<C: Connection>(
    mut inner: ReadHalf<DuplexStream>,
    mut write: WriteHalf<C>,
    mut pongs: mpsc::Receiver<Bytes>,
) {
    let mut buffer = vec![0; TUNNEL_BUFFER / 2];
    loop {
        let frame = tokio::select! {
            read = inner.read(&mut buffer) => match read {
                Ok(length @ 1..) => binary(&buffer[..length]),
                _ => break,
            },
            Some(payload) = pongs.recv() => pong(&payload),
        };
        if write.write_all(&frame).await.is_err() {
            return;
        }
    }
    let _ = write.write_all(&close()).await;
    let _ = write.shutdown().await;
}
