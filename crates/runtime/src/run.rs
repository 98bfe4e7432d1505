//! The runtime as a process: from a configuration to a served socket, and its end.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::clock::pause;
use crate::config::RuntimeConfig;
use crate::core::Core;
use crate::service::Service;
use crate::streaming::StreamServer;

/// Threads that copy output and serve calls; blocking work has threads of its own.
const WORKERS: usize = 2;
/// Calls that may block at one time.
const BLOCKING_THREADS: usize = 256;

/// How long a runtime that was just killed may still hold its lock: a process that it was about to start has a copy.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// Why the runtime could not run.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The state could not be opened, or the machine lacks something.
    #[error("{0}")]
    Open(String),
    /// A call failed while everything was stopped or purged.
    #[error(transparent)]
    Call(#[from] cri::CriError),
    /// The socket or the process's own machinery failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Serves CRI until SIGTERM or SIGINT; containers go on running after that.
///
/// The process should be the leader of a session of its own. Its `main` must ask [`crate::init_main`] first.
pub fn run(config: RuntimeConfig) -> Result<(), RuntimeError> {
    crate::limits::raise_open_files();
    let tokio = tokio_runtime()?;
    let core = open(&tokio, config)?;
    let socket = core.config.socket.clone();
    let served = tokio.block_on(serve(core));
    tokio.shutdown_background();
    let _ = fs::remove_file(socket);
    served
}

/// Ends every container and sandbox of an instance that is not served by anybody now.
pub fn stop_all(config: RuntimeConfig) -> Result<(), RuntimeError> {
    let tokio = tokio_runtime()?;
    open(&tokio, config)?.stop_all()?;
    tokio.shutdown_background();
    Ok(())
}

/// Removes everything of an instance that is not served by anybody now: processes, mounts, namespaces, interfaces,
/// control groups, rules and files (images excepted).
pub fn purge(config: RuntimeConfig) -> Result<(), RuntimeError> {
    let tokio = tokio_runtime()?;
    open(&tokio, config)?.purge()?;
    tokio.shutdown_background();
    Ok(())
}

fn tokio_runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_stack_size(512 * 1024)
        .thread_name("runtime")
        .enable_all()
        .build()
}

/// Opens the core outside of the asynchronous world, because adopting containers waits for their last output.
fn open(tokio: &tokio::runtime::Runtime, config: RuntimeConfig) -> Result<Arc<Core>, RuntimeError> {
    let _held = lock_state(&config.state)?;
    std::mem::forget(_held);
    let _entered = tokio.enter();
    Core::open(config).map_err(RuntimeError::Open)
}

/// One runtime at a time on one state; the lock goes with the process.
fn lock_state(state: &Path) -> Result<fs::File, RuntimeError> {
    fs::create_dir_all(state)?;
    let file = fs::File::create(state.join("lock"))?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    while rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        if Instant::now() > deadline {
            let message = format!("another runtime serves {}; stop it first", state.display());
            return Err(RuntimeError::Open(message));
        }
        pause(LOCK_PAUSE);
    }
    Ok(file)
}

async fn serve(core: Arc<Core>) -> Result<(), RuntimeError> {
    let socket = core.config.socket.clone();
    if let Some(directory) = socket.parent() {
        fs::create_dir_all(directory)?;
    }
    match fs::remove_file(&socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let streams = StreamServer::start(core.clone()).await?;
    let listener = UnixListener::bind(&socket)?;
    fs::set_permissions(&socket, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        served = cri::serve(listener, Arc::new(Service { core, streams })) => Ok(served?),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}
