//! Two machines for a test: network namespaces joined by a cable. They share everything else.

use crate::program::Program;
use crate::wait::within;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Seconds after which the machines go by themselves, whatever became of the test.
const LIFE: &str = "900";
/// How long the making of one may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The machines; gone with every interface in them when dropped, once no process is left there.
#[derive(Debug)]
pub struct Machines {
    holders: [Child; 2],
}

impl Machines {
    /// Makes two, which reach each other at [`Machines::address`].
    #[track_caller]
    pub fn joined() -> Self {
        let hold = || {
            let mut command = Program::at("unshare").command(&["--net", "sleep", LIFE]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().expect("starting a machine")
        };
        let machines = Self { holders: [hold(), hold()] };
        let net = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net"));
        let ours = net("self").expect("a namespace of our own");
        for n in 0..2 {
            within(PATIENCE, "a machine of its own", || match net(&machines.pid(n)) {
                Ok(theirs) if theirs != ours => Ok(()),
                other => Err(format!("{other:?}")),
            });
        }
        let peer = machines.pid(1);
        machines.ip(0, &format!("link add eth0 type veth peer name eth0 netns {peer}"));
        for n in 0..2 {
            machines.ip(n, "link set lo up");
            machines.ip(n, &format!("addr add {}/24 dev eth0", Self::address(n)));
            machines.ip(n, "link set eth0 up");
        }
        machines
    }

    #[track_caller]
    fn ip(&self, n: usize, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        Program::at("ip").on(self, n).run(&words).ok();
    }

    fn pid(&self, n: usize) -> String {
        self.holders[n].id().to_string()
    }

    /// The address of a machine on the cable.
    pub fn address(n: usize) -> String {
        format!("192.168.77.{}", n + 1)
    }

    /// The namespace of a machine, as a path.
    pub(crate) fn namespace(&self, n: usize) -> String {
        format!("/proc/{}/ns/net", self.pid(n))
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for holder in &mut self.holders {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}
