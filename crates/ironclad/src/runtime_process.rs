//! The container runtime as a process of its own: the same binary in its own session, which goes on when the control
//! plane ends, is killed or is replaced.

use crate::data_dir::DataDir;
use crate::demo_image;
use anyhow::{Context, Result, bail};
use runtime::{OciImages, RuntimeConfig};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// The first argument that makes the binary the runtime.
pub(crate) const ARGUMENT: &str = "runtime-process";
/// How long the runtime may take until its socket answers.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks at the socket.
const PACE: Duration = Duration::from_millis(2);
/// First and longest pause before a runtime that ended again is started again.
const RESTART_PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// A runtime that served for this long gets its next start at once.
const STEADY: Duration = Duration::from_secs(60);

/// The name of this cluster's bridge.
pub(crate) fn bridge(dir: &DataDir) -> String {
    format!("ic-{}", dir.id())
}

/// The file of the program that runs. Once another one has been put in its place (by an update, or the next build), it
/// has no name any more, and can still be run and read.
pub(crate) fn own_file() -> PathBuf {
    let link = PathBuf::from("/proc/self/exe");
    fs::read_link(&link).ok().filter(|p| p.exists()).unwrap_or(link)
}

/// How the runtime of a data directory is set up.
pub(crate) fn config(dir: &DataDir, pods: &str) -> Result<RuntimeConfig> {
    let state = dir.run().join("runtime");
    let images = OciImages::open(
        &dir.images(),
        &state,
        Arc::new(|name| (name.repository == demo_image::REPOSITORY).then(demo_image::recipe)),
    )
    .context("cannot open the image store")?;
    Ok(RuntimeConfig {
        instance: dir.id(),
        root: dir.runtime(),
        state,
        socket: dir.runtime_socket(),
        not_masqueraded: vec![pods.to_owned()],
        images: Arc::new(images),
    })
}

/// The process: `ironclad runtime-process DATA_DIR POD_NETWORK`.
pub(crate) fn main(arguments: &[String]) -> Result<()> {
    let [data_dir, pods] = arguments else { bail!("the runtime's process is started by `ironclad up`") };
    crate::progress::start_logging();
    // Leader of its own session: no terminal's Ctrl-C and no hang-up reaches it.
    let _ = rustix::process::setsid();
    let dir = DataDir::new(Some(PathBuf::from(data_dir)))?;
    runtime::run(config(&dir, pods)?).context("the container runtime failed")
}

/// Whether a runtime answers.
fn answers(dir: &DataDir) -> bool {
    UnixStream::connect(dir.runtime_socket()).is_ok()
}

/// Makes sure that the runtime runs: takes over the one that does, or starts one.
pub(crate) async fn ensure(dir: &DataDir, pods: &str) -> Result<()> {
    if answers(dir) {
        return Ok(());
    }
    let log = dir.root().join("log");
    fs::create_dir_all(&log).with_context(|| format!("cannot make {}", log.display()))?;
    let path = log.join("runtime.log");
    let file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let mut command = Command::new(own_file());
    command.arg(ARGUMENT).arg(dir.root()).arg(pods);
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).current_dir("/");
    let mut child = command.spawn().context("cannot start the container runtime")?;
    let start = Instant::now();
    loop {
        if answers(dir) {
            // The runtime outlives us, but while we live somebody must collect it if it ends first.
            std::thread::Builder::new().name("runtime-wait".into()).spawn(move || child.wait())?;
            return Ok(());
        }
        if let Some(status) = child.try_wait().context("cannot wait for the container runtime")? {
            bail!("the container runtime ended at once ({status}); its words are in {}", path.display());
        }
        if start.elapsed() > START_TIMEOUT {
            bail!(
                "the container runtime did not answer within {} s; see {}",
                START_TIMEOUT.as_secs(),
                path.display()
            );
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Starts the runtime again whenever it ends, until `stop` turns true. Containers go on without it.
pub(crate) async fn keep(dir: DataDir, pods: String, mut stop: watch::Receiver<bool>) {
    // In this order: `down` ends the runtime once we were told to stop, and that is no reason to start another.
    tokio::select! {
        biased;
        _ = stop.wait_for(|s| *s) => {}
        () = restart(&dir, &pods) => {}
    }
}

async fn restart(dir: &DataDir, pods: &str) {
    let pauses = stdx::Backoff::new(RESTART_PAUSES.0, RESTART_PAUSES.1);
    let mut quick_ends = 0;
    loop {
        let since = Instant::now();
        ended(dir).await;
        if since.elapsed() >= STEADY {
            quick_ends = 0;
        }
        if quick_ends > 0 {
            tokio::time::sleep(pauses.delay(quick_ends - 1)).await;
        }
        quick_ends += 1;
        tracing::warn!("the container runtime ended; starting it again, containers go on meanwhile");
        if let Err(e) = ensure(dir, pods).await {
            tracing::error!("the container runtime is not back: {e:#}");
        }
    }
}

/// Waits until no runtime serves the socket any more.
async fn ended(dir: &DataDir) {
    let Some(pid) = pid(dir).and_then(rustix::process::Pid::from_raw) else { return };
    let Ok(handle) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else { return };
    let (told, heard) = oneshot::channel();
    // A thread of its own, not one of the pool: the end of `up` does not wait for it.
    let waiting = std::thread::Builder::new().name("runtime-end".into()).spawn(move || {
        // A pidfd turns readable when its process ends.
        let mut poll = [rustix::event::PollFd::new(&handle, rustix::event::PollFlags::IN)];
        while matches!(rustix::event::poll(&mut poll, None), Err(rustix::io::Errno::INTR)) {}
        let _ = told.send(());
    });
    if waiting.is_ok() {
        let _ = heard.await;
    }
}

/// The runtime's process id, if one runs.
fn pid(dir: &DataDir) -> Option<i32> {
    let peer = rustix::net::sockopt::socket_peercred(UnixStream::connect(dir.runtime_socket()).ok()?).ok()?;
    Some(peer.pid.as_raw_nonzero().get())
}

/// Ends the runtime's process, if one runs; its containers go on. One that was started a moment ago and doesn't answer
/// yet is found by its command line: it would go on serving a folder that is gone.
pub(crate) fn stop(dir: &DataDir) -> Result<()> {
    let answering = pid(dir);
    answering.into_iter().chain(of_folder(dir).filter(|p| Some(*p) != answering)).try_for_each(end)
}

/// Runtimes of this folder and this user, whether they answer or not.
fn of_folder(dir: &DataDir) -> impl Iterator<Item = i32> {
    let (root, user) = (dir.root().as_os_str().as_bytes().to_vec(), rustix::process::geteuid().as_raw());
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(move |pid| {
        let own = fs::metadata(format!("/proc/{pid}")).is_ok_and(|m| m.uid() == user);
        own && fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| serves(&line, &root))
    })
}

/// Whether a command line, as the kernel tells it, is a runtime's for this folder.
fn serves(line: &[u8], root: &[u8]) -> bool {
    let mut words = line.split(|b| *b == 0).skip(1);
    words.next() == Some(ARGUMENT.as_bytes()) && words.next() == Some(root)
}

fn end(pid: i32) -> Result<()> {
    let Some(pid) = rustix::process::Pid::from_raw(pid) else { return Ok(()) };
    let handle = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty());
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    let Ok(handle) = handle else { return Ok(()) };
    let mut poll = [rustix::event::PollFd::new(&handle, rustix::event::PollFlags::IN)];
    let patience = rustix::time::Timespec { tv_sec: 10, tv_nsec: 0 };
    if rustix::event::poll(&mut poll, Some(&patience)).unwrap_or(0) == 0 {
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)
            .context("cannot end the container runtime")?;
        rustix::event::poll(&mut poll, Some(&patience)).context("the container runtime did not end")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_is_known_by_its_command_line() {
        let line = b"/usr/bin/ironclad\0runtime-process\0/var/lib/a\x0010.64.0.0/16\0";
        assert!(serves(line, b"/var/lib/a"));
        for (line, root) in
            [(&line[..], &b"/var/lib"[..]), (b"", b""), (b"less\0/var/lib/a\0", b"/var/lib/a")]
        {
            assert!(!serves(line, root));
        }
    }
}
