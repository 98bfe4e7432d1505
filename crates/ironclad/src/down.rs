//! `ironclad down`: stops a cluster's containers; with `--purge` removes everything it left on the machine.

use crate::agent::Membership;
use crate::claims::Claims;
use crate::cli::Down;
use crate::data_dir::{DataDir, Holder};
use crate::node::Node;
use crate::progress::say;
use crate::runtime_process;
use crate::settings::{Cluster, host_name};
use anyhow::{Context, Result, bail};
use network::address::Ranges;
use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a running `up` may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks.
const PACE: Duration = Duration::from_millis(20);
/// How often it is looked for mounts that are left.
const MOUNT_ROUNDS: usize = 16;

/// Stops the cluster of a data directory.
pub(crate) fn run(flags: Down) -> Result<()> {
    crate::progress::start_logging();
    let dir = DataDir::new(flags.cluster.data_dir)?;
    // Removing what is no cluster would cost a user who mistyped the folder everything in it.
    if !dir.is_ours() {
        bail!("there is no cluster in {}", dir.root().display());
    }
    stop_server(&dir)?;
    if !dir.is_ours() {
        bail!("the cluster in {} is gone: another process removed it meanwhile", dir.root().display());
    }
    let _lock = dir.lock_to_end()?;
    let root = rustix::process::geteuid().is_root();
    let ranges = match ranges(&dir) {
        Ok(ranges) => ranges,
        Err(e) if flags.purge => {
            tracing::warn!("{e:#}; it is removed all the same");
            let claimed = if root { Claims::open()?.of(&dir) } else { None };
            Some(Ranges::new(claimed.unwrap_or(0)).context("there are no address ranges")?)
        }
        Err(e) => return Err(e),
    };
    if let Some(ranges) = ranges.filter(|_| root) {
        stop_node(&dir, ranges, flags.purge)?;
    }
    if flags.purge {
        let others = remove(&dir)?;
        say(&format!("nothing of the cluster in {} is left", dir.root().display()));
        if others > 0 {
            say(&format!("files there that are not the cluster's were not touched: {others}"));
        }
    } else {
        say(&format!("the cluster in {} is stopped; its data is kept", dir.root().display()));
    }
    Ok(())
}

/// Ends a running `up`, and waits until it has let go of the data directory.
fn stop_server(dir: &DataDir) -> Result<()> {
    let start = Instant::now();
    while let Some(holder) = dir.holder() {
        let pid = match holder {
            Holder::Server(pid) => rustix::process::Pid::from_raw(pid),
            Holder::Other => None,
        };
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if start.elapsed() > STOP_TIMEOUT {
            let who = pid.map_or("another process".into(), |pid| format!("process {}", pid.as_raw_nonzero()));
            let root = dir.root().display();
            bail!("{who} did not let go of {root} within {} s; end it by hand", STOP_TIMEOUT.as_secs());
        }
        pause();
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the pace of looking at a condition, with a deadline around it"
)]
fn pause() {
    std::thread::sleep(PACE);
}

/// The address ranges of the cluster in this folder, or of the one that its node joined; none before either was started.
fn ranges(dir: &DataDir) -> Result<Option<Ranges>> {
    if let Some(cluster) = Cluster::load(dir)? {
        return cluster.address_ranges().map(Some);
    }
    let settings = Membership::load(dir)?.and_then(|m| m.cluster);
    settings.map(|s| s.ranges()).transpose()
}

fn stop_node(dir: &DataDir, ranges: Ranges, purge: bool) -> Result<()> {
    runtime_process::stop(dir)?;
    let config = runtime_process::config(dir, &ranges.pods())?;
    if !purge {
        return runtime::stop_all(config).context("some containers could not be stopped");
    }
    runtime::purge(config).context("some containers could not be removed")?;
    let (domain, address) = (String::new(), Ipv4Addr::LOCALHOST);
    let node = Node { dir: dir.clone(), name: host_name(), ranges, domain, address };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime
        .block_on(network::proxy::purge(&node.proxy()))
        .context("the service rules could not be removed")?;
    runtime
        .block_on(network::overlay::purge(&node.overlay()))
        .context("the tunnels to other nodes could not be removed")?;
    Claims::open()?.release(ranges, dir);
    Ok(())
}

/// Removes what the cluster made in its folders, once nothing is mounted there. Gives how many entries that are not
/// the cluster's stay in the data directory.
fn remove(dir: &DataDir) -> Result<usize> {
    unmount_all(dir)?;
    for path in [vec![dir.run()], dir.contents()].concat() {
        let is_dir = path.symlink_metadata().is_ok_and(|m| m.is_dir());
        let removed = if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
    }
    let others = fs::read_dir(dir.root()).map_or(0, Iterator::count);
    if others == 0 {
        // A disk that is mounted there stays, empty.
        let _ = fs::remove_dir(dir.root());
    }
    Ok(others)
}

/// Unmounts what is mounted below the cluster's folders. A path may be mounted on several times, and a mount may show
/// another one beneath: it is looked again until nothing is left.
fn unmount_all(dir: &DataDir) -> Result<()> {
    let mut failed = None;
    for _ in 0..MOUNT_ROUNDS {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let mut below: Vec<PathBuf> =
            mounts.lines().filter_map(|l| l.split(' ').nth(1)).map(unescaped).collect();
        // The data directory itself may be a disk that its owner mounted there.
        below.retain(|m| m.starts_with(dir.run()) || (m.starts_with(dir.root()) && m != dir.root()));
        if below.is_empty() {
            return Ok(());
        }
        // The deepest first.
        below.sort_by_key(|m| std::cmp::Reverse(m.as_os_str().len()));
        for mount in below {
            if let Err(e) = rustix::mount::unmount(&mount, rustix::mount::UnmountFlags::DETACH) {
                failed = Some((mount, e));
            }
        }
    }
    match failed {
        Some((mount, e)) => Err(e).with_context(|| format!("cannot unmount {}", mount.display())),
        None => Ok(()),
    }
}

/// A path as the kernel writes it in its table of mounts: blanks, tabs, newlines and backslashes in octal.
fn unescaped(text: &str) -> PathBuf {
    let (bytes, mut out, mut i) = (text.as_bytes(), Vec::new(), 0);
    while let Some(b) = bytes.get(i) {
        let octal = bytes.get(i + 1..i + 4).filter(|_| *b == b'\\');
        let code = octal.and_then(|o| u8::from_str_radix(std::str::from_utf8(o).ok()?, 8).ok());
        out.push(code.unwrap_or(*b));
        i += if code.is_some() { 4 } else { 1 };
    }
    PathBuf::from(OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_escapes_are_undone() {
        assert_eq!(unescaped(r"/a\040b\134c/d\"), PathBuf::from(r"/a b\c/d\"));
    }
}
