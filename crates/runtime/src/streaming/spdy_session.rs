//! Exec and attach over SPDY: one stream for each of error, stdin, stdout, stderr and resize, opened by the client.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use super::session::{DEPTH, Input, Output, Pipes, Size};
use super::spdy::{Event, Reader, Writer};
use super::websocket_session::Connection;
use crate::logs::Stream;

/// How long a client may take to open its streams (upstream's `streamCreationTimeout`).
const OPEN_LIMIT: Duration = Duration::from_secs(30);
/// The most that a resize message waits for its other half.
const RESIZE_LIMIT: usize = 4096;

/// The protocols, best first; those from `v4` on carry a `metav1.Status` at the end.
pub(crate) const PROTOCOLS: [&str; 4] =
    ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];

/// Which streams belong to a session, by their numbers.
#[derive(Default)]
struct Streams(HashMap<&'static str, u32>);

impl Streams {
    fn is(&self, kind: &str, stream: u32) -> bool {
        self.0.get(kind) == Some(&stream)
    }
}

/// What the writing side is told.
enum Command {
    Reply(u32),
    Ping(u32),
    /// From here on, output goes to these streams.
    Streams(HashMap<&'static str, u32>),
}

/// Carries one session that needs the streams named in `wanted`.
pub(crate) async fn serve<C: Connection, F: Future<Output = ()>>(
    connection: C,
    wanted: Vec<&'static str>,
    bare_errors: bool,
    session: impl FnOnce(Pipes) -> F,
) {
    let (read, write) = tokio::io::split(connection);
    let (to_session, input) = mpsc::channel(DEPTH);
    let (output, from_session) = mpsc::channel(DEPTH);
    let (commands, command_box) = mpsc::channel(DEPTH);
    let writing = tokio::spawn(write_client(write, from_session, command_box, bare_errors));
    let mut reader = Reader::new(read);
    let opened = tokio::time::timeout(OPEN_LIMIT, open_streams(&mut reader, &wanted, &commands)).await;
    let Ok(Ok(streams)) = opened else {
        tracing::debug!("a client did not open the streams it announced");
        writing.abort();
        return;
    };
    let reading = tokio::spawn(read_client(reader, streams, to_session, commands));
    session(Pipes { input, output }).await;
    let _ = writing.await;
    reading.abort();
}

async fn open_streams<C: Connection>(
    reader: &mut Reader<ReadHalf<C>>,
    wanted: &[&'static str],
    commands: &mpsc::Sender<Command>,
) -> io::Result<Streams> {
    let mut streams = Streams::default();
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    while streams.0.len() < wanted.len() {
        match reader.next().await? {
            Event::Opened { stream, headers, .. } => {
                let kind = headers.get("streamtype").map(String::as_str).unwrap_or_default();
                let Some(kind) = wanted.iter().find(|w| **w == kind) else { continue };
                streams.0.insert(kind, stream);
                commands.send(Command::Reply(stream)).await.map_err(gone)?;
            }
            Event::Ping { number } => commands.send(Command::Ping(number)).await.map_err(gone)?,
            Event::Closed => return Err(io::ErrorKind::UnexpectedEof.into()),
            Event::Data { .. } | Event::Reset { .. } => {}
        }
    }
    commands.send(Command::Streams(streams.0.clone())).await.map_err(gone)?;
    Ok(streams)
}

async fn read_client<C: Connection>(
    mut reader: Reader<ReadHalf<C>>,
    streams: Streams,
    session: mpsc::Sender<Input>,
    commands: mpsc::Sender<Command>,
) {
    let mut resize = Vec::new();
    loop {
        let events = match reader.next().await {
            Ok(Event::Data { stream, bytes, finished }) if streams.is("stdin", stream) => {
                let data = (!bytes.is_empty()).then_some(Input::Stdin(bytes));
                data.into_iter().chain(finished.then_some(Input::StdinClosed)).collect()
            }
            Ok(Event::Data { stream, bytes, .. }) if streams.is("resize", stream) => {
                sizes(&mut resize, &bytes)
            }
            Ok(Event::Reset { stream }) if streams.is("stdin", stream) => vec![Input::StdinClosed],
            Ok(Event::Ping { number }) => {
                let _ = commands.send(Command::Ping(number)).await;
                continue;
            }
            Ok(Event::Closed) | Err(_) => return,
            Ok(_) => continue,
        };
        for event in events {
            if session.send(event).await.is_err() {
                return;
            }
        }
    }
}

/// Sizes come as JSON objects one after the other, cut anywhere.
fn sizes(waiting: &mut Vec<u8>, bytes: &Bytes) -> Vec<Input> {
    waiting.extend_from_slice(bytes);
    let mut found = Vec::new();
    let mut parsed = serde_json::Deserializer::from_slice(waiting).into_iter::<Size>();
    while let Some(Ok(size)) = parsed.next() {
        found.push(Input::Resize(size));
    }
    let used = parsed.byte_offset();
    waiting.drain(..used);
    waiting.truncate(RESIZE_LIMIT);
    found
}

async fn write_client<C: Connection>(
    mut write: WriteHalf<C>,
    mut output: mpsc::Receiver<Output>,
    mut commands: mpsc::Receiver<Command>,
    bare_errors: bool,
) -> io::Result<()> {
    let mut writer = Writer::new()?;
    let mut streams = HashMap::new();
    loop {
        let frame = tokio::select! {
            biased;
            Some(command) = commands.recv() => match command {
                Command::Reply(stream) => writer.reply(stream)?,
                Command::Ping(number) => Writer::ping(number),
                Command::Streams(opened) => { streams = opened; continue; }
            },
            output = output.recv() => match output {
                Some(output) => output_frame(&streams, output, bare_errors),
                None => break,
            },
        };
        write.write_all(&frame).await?;
    }
    for stream in ["stdout", "stderr", "error", "stdin", "resize"].iter().filter_map(|kind| streams.get(kind))
    {
        write.write_all(&Writer::data(*stream, &[], true)).await?;
    }
    write.write_all(&Writer::go_away()).await?;
    write.shutdown().await
}

fn output_frame(streams: &HashMap<&'static str, u32>, output: Output, bare_errors: bool) -> Vec<u8> {
    let (kind, bytes) = match output {
        Output::Data(Stream::Stdout, bytes) => ("stdout", bytes),
        Output::Data(Stream::Stderr, bytes) => ("stderr", bytes),
        Output::End(end) if bare_errors => ("error", end.message().unwrap_or_default().into()),
        Output::End(end) => ("error", end.status().into()),
        Output::Pong(_) => return Vec::new(),
    };
    match streams.get(kind) {
        Some(stream) if !bytes.is_empty() => Writer::data(*stream, &bytes, false),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_cut_in_pieces() {
        let mut waiting = Vec::new();
        assert!(sizes(&mut waiting, &Bytes::from_static(b"{\"Width\":80,\"Hei")).is_empty());
        let found = sizes(&mut waiting, &Bytes::from_static(b"ght\":24}\n{\"Width\":1,\"Height\":2}"));
        let found: Vec<_> = found.iter().map(|i| format!("{i:?}")).collect();
        assert_eq!(found, ["Resize(Size { width: 80, height: 24 })", "Resize(Size { width: 1, height: 2 })"]);
    }
}
