//! Port-forward: pairs of an error and a data stream, each pair one connection into the pod. SPDY opens a pair for each
//! connection; WebSocket channels are one pair for each port that the request names.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::session::DEPTH;
use super::spdy::{Event, Reader, Writer};
use super::websocket::{self, Channels, Message};
use super::websocket_session::{CLOSE_LIMIT, Connection, TUNNEL_PROTOCOL};
use crate::sys;

/// The protocol's name in `X-Stream-Protocol-Version`.
pub(crate) const PROTOCOL: &str = "portforward.k8s.io";
/// Its protocols over WebSocket, best first: SPDY's frames, or channels (cri-streaming `portforward/websocket.go`).
pub(crate) const WEBSOCKET_PROTOCOLS: [&str; 3] =
    [TUNNEL_PROTOCOL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io"];
/// Ports of one request over channels: two channels each, and a digit for each in base64.
const PORT_LIMIT: usize = 64;
/// Pairs of streams on one connection.
const PAIR_LIMIT: usize = 1024;
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
const CHUNK: usize = 32 * 1024;

/// Where connections go.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The pod's network namespace; the node's if there is none.
    pub namespace: Option<PathBuf>,
    /// For messages.
    pub pod: String,
    pub uid: String,
}

/// What the writing side is told.
enum Command {
    Reply(u32),
    Ping(u32),
    Data(u32, Bytes),
    Finish(u32),
    Reset(u32),
    /// WebSocket's answer to a ping.
    Pong(Bytes),
}

/// The two streams of one connection, while the second is awaited.
#[derive(Default)]
struct Pair {
    data: Option<u32>,
    error: Option<u32>,
    port: u16,
}

/// One client's side: who gets which stream's data.
struct Forwarder {
    target: Target,
    commands: mpsc::Sender<Command>,
    pairs: HashMap<String, Pair>,
    open: HashMap<u32, mpsc::Sender<Bytes>>,
    /// The connections; they end with this.
    tasks: JoinSet<()>,
}

/// Carries port-forward connections until the client leaves.
pub(crate) async fn serve<C: Connection>(connection: C, target: Target) {
    let (read, write) = tokio::io::split(connection);
    let (commands, command_box) = mpsc::channel(DEPTH);
    let writing = tokio::spawn(write_client(write, command_box));
    let (pairs, open, tasks) = Default::default();
    let mut forwarder = Forwarder { target, commands, pairs, open, tasks };
    forwarder.read(Reader::new(read)).await;
    // The client is gone: what still runs would wait for a pod that may never close.
    drop(forwarder);
    let _ = writing.await;
}

/// What can be forwarded over channels.
pub(crate) fn check_ports(ports: &[i32]) -> Result<(), &'static str> {
    match ports.len() {
        0 => Err("query parameter \"port\" is required"),
        1..=PORT_LIMIT => Ok(()),
        _ => Err("too many ports in one request; forward the rest in another one"),
    }
}

/// Carries one connection to each port over WebSocket channels: 2n for data, 2n+1 for errors. Each channel begins with
/// its port, little end first.
pub(crate) async fn serve_channels<C: Connection>(stream: C, target: Target, ports: &[i32], protocol: &str) {
    let (read, write) = tokio::io::split(stream);
    let (commands, command_box) = mpsc::channel(DEPTH);
    let channels = Channels::of(protocol);
    let mut writing = tokio::spawn(write_channels(write, channels, command_box));
    let (mut open, mut tasks) = (Vec::new(), JoinSet::new());
    for (data, port) in (0..).step_by(2).zip(ports.iter().filter_map(|p| u16::try_from(*p).ok())) {
        for channel in [data, data + 1] {
            let _ = commands.send(Command::Data(channel, port.to_le_bytes().to_vec().into())).await;
        }
        let (sender, receiver) = mpsc::channel(DEPTH);
        open.push(sender);
        tasks.spawn(connection(target.clone(), port, (data, data + 1), receiver, commands.clone()));
    }
    let commands = { commands }.downgrade();
    let reading = read_channels(websocket::Reader::new(read), channels, open, commands);
    tokio::pin!(reading);
    tokio::select! {
        () = &mut reading => {
            tasks.shutdown().await;
            let _ = writing.await;
        }
        // All connections are over, and the client was told so; its own close is awaited.
        _ = &mut writing => drop(tokio::time::timeout(CLOSE_LIMIT, reading).await),
    }
}

async fn read_channels<C: Connection>(
    mut reader: websocket::Reader<ReadHalf<C>>,
    channels: Channels,
    open: Vec<mpsc::Sender<Bytes>>,
    commands: mpsc::WeakSender<Command>,
) {
    loop {
        match reader.next().await {
            Ok(Message::Data(message)) => {
                let Some((channel, bytes)) = channels.split(message) else { continue };
                let pair =
                    open.get(usize::from(channel / 2)).filter(|_| channel % 2 == 0 && !bytes.is_empty());
                if let Some(connection) = pair {
                    // Refused when the pod has closed this one; others may go on.
                    let _ = connection.send(bytes).await;
                }
            }
            Ok(Message::Ping(payload)) => {
                if let Some(commands) = commands.upgrade() {
                    let _ = commands.send(Command::Pong(payload)).await;
                }
            }
            Ok(Message::Close) | Err(_) => return,
        }
    }
}

async fn write_channels<C: Connection>(
    mut write: WriteHalf<C>,
    channels: Channels,
    mut commands: mpsc::Receiver<Command>,
) -> io::Result<()> {
    while let Some(command) = commands.recv().await {
        let frame = match command {
            Command::Data(channel, bytes) => {
                channels.message(u8::try_from(channel).unwrap_or(u8::MAX), &bytes)
            }
            Command::Pong(payload) => websocket::pong(&payload),
            // A single channel can't be closed; the connection ends when all are done.
            Command::Reply(_) | Command::Ping(_) | Command::Finish(_) | Command::Reset(_) => continue,
        };
        write.write_all(&frame).await?;
    }
    write.write_all(&stdx::websocket::close()).await?;
    write.flush().await
}

impl Forwarder {
    async fn read<C: Connection>(&mut self, mut reader: Reader<ReadHalf<C>>) {
        loop {
            match reader.next().await {
                Ok(Event::Opened { stream, headers, .. }) => self.opened(stream, &headers).await,
                Ok(Event::Data { stream, bytes, finished }) => {
                    let gone = match self.open.get(&stream) {
                        Some(connection) if !bytes.is_empty() => connection.send(bytes).await.is_err(),
                        _ => false,
                    };
                    if finished || gone {
                        self.open.remove(&stream);
                    }
                }
                Ok(Event::Reset { stream }) => drop(self.open.remove(&stream)),
                Ok(Event::Ping { number }) => self.tell(Command::Ping(number)).await,
                Ok(Event::Closed) | Err(_) => return,
            }
        }
    }

    async fn tell(&self, command: Command) {
        let _ = self.commands.send(command).await;
    }

    async fn opened(&mut self, stream: u32, headers: &HashMap<String, String>) {
        let text = |name: &str| headers.get(name).map(String::as_str).unwrap_or_default();
        let port = text("port").parse::<u16>().ok().filter(|port| *port > 0);
        let known = matches!(text("streamtype"), "data" | "error");
        let (Some(port), true) =
            (port, known && self.pairs.len() < PAIR_LIMIT && self.open.len() < PAIR_LIMIT)
        else {
            return self.tell(Command::Reset(stream)).await;
        };
        self.tell(Command::Reply(stream)).await;
        // Clients of before `requestID` open the error stream first, and the data stream with the next number.
        let id = match (text("requestid"), text("streamtype")) {
            ("", "error") => stream.to_string(),
            ("", _) => stream.saturating_sub(2).to_string(),
            (id, _) => id.to_owned(),
        };
        let pair = self.pairs.entry(id.clone()).or_default();
        pair.port = port;
        match text("streamtype") {
            "data" => pair.data = Some(stream),
            _ => pair.error = Some(stream),
        }
        if let Pair { data: Some(data), error: Some(error), port } = *pair {
            self.pairs.remove(&id);
            let (sender, receiver) = mpsc::channel(DEPTH);
            self.open.insert(data, sender);
            while self.tasks.try_join_next().is_some() {}
            let (target, commands) = (self.target.clone(), self.commands.clone());
            self.tasks.spawn(connection(target, port, (data, error), receiver, commands));
        }
    }
}

async fn connection(
    target: Target,
    port: u16,
    (data, error): (u32, u32),
    from_client: mpsc::Receiver<Bytes>,
    commands: mpsc::Sender<Command>,
) {
    let namespace = target.namespace.clone();
    match connect(namespace, port).await {
        Ok(stream) => {
            let (read, write) = stream.into_split();
            // The pod's end ends the connection; the client's end only its half.
            tokio::select! {
                () = copy_out(read, data, &commands) => {}
                () = async { copy_in(from_client, write).await; std::future::pending().await } => {}
            }
        }
        Err(reason) => {
            let message =
                format!("error forwarding port {port} to pod {}, uid {}: {reason}", target.pod, target.uid);
            let _ = commands.send(Command::Data(error, message.into())).await;
        }
    }
    for stream in [data, error] {
        let _ = commands.send(Command::Finish(stream)).await;
    }
}

async fn copy_in(mut from_client: mpsc::Receiver<Bytes>, mut write: OwnedWriteHalf) {
    while let Some(bytes) = from_client.recv().await {
        if write.write_all(&bytes).await.is_err() {
            return;
        }
    }
    let _ = write.shutdown().await;
}

async fn copy_out(mut read: OwnedReadHalf, stream: u32, commands: &mpsc::Sender<Command>) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(length @ 1..) = read.read(&mut buffer).await {
        let chunk = Bytes::copy_from_slice(&buffer[..length]);
        if commands.send(Command::Data(stream, chunk)).await.is_err() {
            return;
        }
    }
}

/// Connects to the pod's loopback interface, IPv4 first, from a thread that is inside its network for that long.
async fn connect(namespace: Option<PathBuf>, port: u16) -> Result<TcpStream, String> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let spawned = std::thread::Builder::new().name("port-forward".to_owned()).spawn(move || {
        let _ = sender.send(connect_inside(namespace, port));
    });
    spawned.map_err(|error| error.to_string())?;
    let stream = receiver.await.map_err(|_| "the connecting thread panicked".to_owned())??;
    stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)).map_err(|error| error.to_string())
}

fn connect_inside(namespace: Option<PathBuf>, port: u16) -> Result<std::net::TcpStream, String> {
    if let Some(path) = namespace {
        let entered = File::open(path).and_then(|file| sys::setns(file, libc::CLONE_NEWNET));
        entered.map_err(|error| format!("cannot enter the pod's network: {error}"))?;
    }
    let dial = |address: SocketAddr| std::net::TcpStream::connect_timeout(&address, CONNECT_LIMIT);
    dial((Ipv4Addr::LOCALHOST, port).into()).or_else(|v4| {
        dial((Ipv6Addr::LOCALHOST, port).into()).map_err(|v6| {
            let (v4, v6) = (crate::init::plain(&v4), crate::init::plain(&v6));
            format!(
                "failed to connect to localhost:{port} inside namespace, IPv4: dial tcp4 127.0.0.1:{port}: connect: {v4} \
                 IPv6 dial tcp6: address localhost: {v6}"
            )
        })
    })
}

async fn write_client<C: Connection>(
    mut write: WriteHalf<C>,
    mut commands: mpsc::Receiver<Command>,
) -> io::Result<()> {
    let mut writer = Writer::new()?;
    while let Some(command) = commands.recv().await {
        let frame = match command {
            Command::Reply(stream) => writer.reply(stream)?,
            Command::Ping(number) => Writer::ping(number),
            Command::Data(stream, bytes) => Writer::data(stream, &bytes, false),
            Command::Finish(stream) => Writer::data(stream, &[], true),
            Command::Reset(stream) => Writer::reset(stream),
            Command::Pong(_) => continue,
        };
        write.write_all(&frame).await?;
    }
    write.write_all(&Writer::go_away()).await?;
    write.shutdown().await
}
