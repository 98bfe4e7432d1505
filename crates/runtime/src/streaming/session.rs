//! What happens between a client's streams and a process, whatever carries the streams.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cri::{AttachRequest, CriError};
use rustix::termios::Winsize;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;

use crate::core::{Core, ExecRequest, Running};
use crate::logs::Stream;
use crate::streams::{Sink, Source};

/// Chunks that wait in each direction.
pub(crate) const DEPTH: usize = 16;
const CHUNK: usize = 32 * 1024;
/// How long output is read after the process is gone, if others hold its pipes open.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// From the client.
#[derive(Debug)]
pub(crate) enum Input {
    Stdin(Bytes),
    /// The client has sent all of its input.
    StdinClosed,
    Resize(Size),
}

/// A terminal's size, as clients send it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Size {
    pub width: u16,
    pub height: u16,
}

/// To the client.
#[derive(Debug)]
pub(crate) enum Output {
    Data(Stream, Bytes),
    /// How it ended, for the error stream.
    End(End),
    /// The answer to a client's ping.
    Pong(Bytes),
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Success,
    /// The command ended with this code.
    Code {
        code: i32,
        command: Vec<String>,
    },
    Failed(String),
}

impl End {
    /// The message that older protocols carry bare.
    pub(crate) fn message(&self) -> Option<String> {
        match self {
            Self::Success => None,
            Self::Code { code, command } => Some(format!(
                "command terminated with non-zero exit code: error executing command {command:?}, exit code {code}"
            )),
            Self::Failed(message) => Some(message.clone()),
        }
    }

    /// The `metav1.Status` that `v4` and later carry (upstream `remotecommand/exec.go`).
    pub(crate) fn status(&self) -> String {
        let status = match self {
            Self::Success => json!({ "metadata": {}, "status": "Success" }),
            Self::Code { code, .. } => json!({
                "metadata": {}, "status": "Failure", "message": self.message(), "reason": "NonZeroExitCode",
                "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
            }),
            Self::Failed(message) => json!({
                "metadata": {}, "status": "Failure", "message": format!("Internal error occurred: {message}"),
                "reason": "InternalError", "details": { "causes": [{ "message": message }] }, "code": 500,
            }),
        };
        status.to_string()
    }
}

/// The two directions of a session.
pub(crate) struct Pipes {
    pub input: mpsc::Receiver<Input>,
    pub output: mpsc::Sender<Output>,
}

/// Runs a command for a client; tells the client how it ended.
pub(crate) async fn exec(core: Arc<Core>, request: ExecRequest, pipes: Pipes) {
    let command = request.command.clone();
    let started = tokio::task::spawn_blocking(move || core.exec(&request)).await;
    let started = started.unwrap_or_else(|error| Err(CriError::internal(error.to_string())));
    let Pipes { input, output } = pipes;
    let end = match started {
        Err(error) => End::Failed(format!("error executing command in container: {}", error.message)),
        Ok(running) => match run(running, input, &output).await {
            Ok(0) => End::Success,
            Ok(code) => End::Code { code, command },
            Err(error) => End::Failed(format!("error executing command in container: {error}")),
        },
    };
    let _ = output.send(Output::End(end)).await;
}

async fn run(
    mut running: Running,
    input: mpsc::Receiver<Input>,
    output: &mpsc::Sender<Output>,
) -> io::Result<i32> {
    let terminal = running.ends.terminal.take();
    let stdin = match (&terminal, running.ends.stdin.take()) {
        (Some(terminal), _) => Some(terminal.try_clone()?),
        (None, stdin) => stdin,
    };
    let size = terminal.as_ref().map(OwnedFd::try_clone).transpose()?;
    let mut copies = tokio::task::JoinSet::new();
    let sources = [
        (Stream::Stdout, terminal),
        (Stream::Stdout, running.ends.stdout.take()),
        (Stream::Stderr, running.ends.stderr.take()),
    ];
    for (stream, fd) in sources {
        let Some(fd) = fd else { continue };
        copies.spawn(copy_out(Source::new(fd)?, stream, output.clone()));
    }
    let feeding = feed(input, stdin, size, || true);
    tokio::pin!(feeding);
    let exit = tokio::select! {
        exit = &mut running.exit => exit,
        () = &mut feeding => {
            // The client is gone: nobody reads any more, and nobody waits.
            running.kill();
            (&mut running.exit).await
        }
    };
    let _ = tokio::time::timeout(DRAIN_LIMIT, async { while copies.join_next().await.is_some() {} }).await;
    exit.map(|record| record.code).map_err(|_| io::Error::other("its end was not seen"))
}

async fn copy_out(source: Source, stream: Stream, output: mpsc::Sender<Output>) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(length @ 1..) = source.read(&mut buffer).await {
        let chunk = Bytes::copy_from_slice(&buffer[..length]);
        if output.send(Output::Data(stream, chunk)).await.is_err() {
            return;
        }
    }
}

/// Passes input on until the client is gone, or its input has ended and `on_close` doesn't go on. A terminal has no end.
async fn feed(
    mut input: mpsc::Receiver<Input>,
    stdin: Option<OwnedFd>,
    size: Option<OwnedFd>,
    on_close: impl Fn() -> bool,
) {
    let mut stdin = stdin.and_then(|fd| Sink::new(fd).ok());
    while let Some(event) = input.recv().await {
        match event {
            Input::Stdin(bytes) => {
                if let Some(sink) = &stdin
                    && sink.write_all(&bytes).await.is_err()
                {
                    stdin = None;
                }
            }
            Input::StdinClosed if size.is_some() => {}
            Input::StdinClosed => {
                stdin = None;
                if !on_close() {
                    return;
                }
            }
            Input::Resize(to) => {
                if let Some(terminal) = &size {
                    resize(terminal, to);
                }
            }
        }
    }
}

fn resize(terminal: &OwnedFd, to: Size) {
    let size = Winsize { ws_row: to.height, ws_col: to.width, ws_xpixel: 0, ws_ypixel: 0 };
    if let Err(error) = rustix::termios::tcsetwinsize(terminal, size) {
        tracing::debug!(%error, "terminal not resized");
    }
}

/// Connects a client to a running container's own streams, until the container ends or the client leaves.
pub(crate) async fn attach(core: Arc<Core>, request: AttachRequest, pipes: Pipes) {
    let end = match attached(&core, &request, pipes.input, &pipes.output).await {
        Ok(()) => End::Success,
        Err(error) => End::Failed(format!("error attaching to container: {}", error.message)),
    };
    let _ = pipes.output.send(Output::End(end)).await;
}

async fn attached(
    core: &Arc<Core>,
    request: &AttachRequest,
    input: mpsc::Receiver<Input>,
    output: &mpsc::Sender<Output>,
) -> Result<(), CriError> {
    let container = core.container(&request.container_id)?;
    let io = container.io().ok_or_else(|| CriError::invalid("container is not running"))?;
    let mut tap = io.tap();
    let copy = |fd: Option<Arc<OwnedFd>>| fd.and_then(|fd| fd.try_clone().ok());
    let stdin = if request.stdin { copy(io.stdin()) } else { None };
    let terminal = copy(io.terminal());
    redraw(terminal.as_ref());
    let once = request.stdin && container.record().config.stdin_once;
    let (closing_core, closing) = (core.clone(), container.clone());
    let close = move || {
        if once {
            let (core, container) = (closing_core.clone(), closing.clone());
            tokio::task::spawn_blocking(move || core.close_stdin(&container));
        }
        // A container that keeps its input open for others can end no session by ending: this client's input does
        // (`kubectl run -i --leave-stdin-open`).
        once
    };
    let feeding = feed(input, stdin, terminal, &close);
    let copying = async {
        while let Some((stream, chunk)) = tap.recv().await {
            let wanted = if stream == Stream::Stdout { request.stdout } else { request.stderr };
            if wanted && output.send(Output::Data(stream, chunk)).await.is_err() {
                return;
            }
        }
        container.ended().await;
    };
    tokio::select! {
        () = copying => {}
        // A client that leaves has given all of its input.
        () = feeding => {
            close();
        }
    }
    Ok(())
}

/// A program on a terminal draws itself anew when the terminal's size changes, which a fresh client wants to see.
fn redraw(terminal: Option<&OwnedFd>) {
    let Some(terminal) = terminal else { return };
    if let Ok(size) = rustix::termios::tcgetwinsize(terminal) {
        let _ = rustix::termios::tcsetwinsize(terminal, size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_the_input_ends_a_session_where_the_container_does_not() {
        for (goes_on, left) in [(true, 0), (false, 1)] {
            let (sink, source) = mpsc::channel(4);
            for _ in 0..2 {
                sink.send(Input::StdinClosed).await.expect("room");
            }
            drop(sink);
            let (seen, limit) = (std::cell::Cell::new(0), 2);
            feed(source, None, None, || {
                seen.set(seen.get() + 1);
                goes_on
            })
            .await;
            assert_eq!(limit - seen.get(), left);
        }
    }

    #[test]
    fn ends_as_clients_read_them() {
        assert_eq!(End::Success.status(), r#"{"metadata":{},"status":"Success"}"#);
        let status = End::Code { code: 5, command: vec!["false".into()] }.status();
        let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
        assert_eq!(status["details"]["causes"][0], json!({ "reason": "ExitCode", "message": "5" }));
        assert_eq!(status["reason"], "NonZeroExitCode");
    }
}
