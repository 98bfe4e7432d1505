//! What breaks: processes, machines, disks.

use crate::node;
use crate::world::{World, lock};
use api::core::v1::Node;
use client::{Api, DeleteOptions};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::sleep;

/// How long a failing disk is waited for before the machine is switched off.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// Starts that may fail because the power fails in the midst of them.
const MAX_STARTS: usize = 8;

impl World {
    /// Something breaks.
    pub(crate) async fn disturb(&mut self) {
        match self.dice.below(12) {
            0 | 1 => {
                self.stop_manager();
                self.tell("the controllers crash");
                self.pause().await;
                self.start_manager();
            }
            2 => {
                self.scheduler.abort();
                self.tell("the scheduler crashes");
                self.pause().await;
                self.start_scheduler();
            }
            3 => self.crash_server().await,
            4 => {
                self.tell("the history is compacted");
                self.store.compact(self.checked.load(Ordering::Relaxed));
            }
            5 => self.break_node(false).await,
            6 => self.break_node(true).await,
            7 => self.lose_node().await,
            8 => self.fill_disk().await,
            _ => self.lose_power().await,
        }
    }

    /// The server's process is killed; its machine goes on.
    async fn crash_server(&mut self) {
        self.cell.put(None);
        self.tell("the server crashes");
        self.pause().await;
        self.disk.process_restart();
        self.start_server();
    }

    /// The disk's power fails, in the midst of a write if there is one.
    pub(crate) async fn lose_power(&mut self) {
        self.disk.fail_in(self.dice.below(60));
        let end = self.clock.elapsed() + LAST_WORDS;
        while !self.disk.has_failed() && self.clock.elapsed() < end {
            sleep(Duration::from_millis(50)).await;
        }
        self.cell.put(None);
        self.tell("the server loses power");
        self.pause().await;
        self.disk.power_cycle();
        if self.dice.chance(0.3) {
            self.disk.fail_in(self.dice.below(30));
        }
        self.start_server();
    }

    async fn fill_disk(&mut self) {
        self.disk.leave_room(Some(self.dice.below(30_000) as usize));
        self.tell("the disk is full");
        self.pause().await;
        self.disk.leave_room(None);
        self.tell("the disk has room again");
    }

    /// Opens the store anew, as a new process does.
    fn start_server(&mut self) {
        for _ in 0..MAX_STARTS {
            let opened = testkit::server::store_on(&self.disk);
            match opened {
                // The power failed once more, in the midst of the start or at its last step, which may go unnoticed.
                _ if self.disk.has_failed() => self.disk.power_cycle(),
                Ok(store) => {
                    self.disk.fail_in(u64::MAX);
                    lock(&self.checker).reopened(&self.store, &store);
                    self.store = store;
                    return self.serve();
                }
                Err(e) => return self.violations.push(format!("the store doesn't open: {e}")),
            }
        }
        self.violations.push("the store doesn't open".to_owned());
    }

    /// A node's agent dies; with `power`, everything on the node does.
    async fn break_node(&mut self, power: bool) {
        let what = if power { "loses power" } else { "loses its agent" };
        let at = self.stop_node(power, what);
        self.pause().await;
        self.restart_node(at);
    }

    /// A node is away for so long that its pods are given up; sometimes it is taken off the books.
    async fn lose_node(&mut self) {
        let at = self.stop_node(true, "is lost");
        sleep(Duration::from_secs(60 + self.dice.below(360))).await;
        if self.dice.chance(0.4) {
            let name = self.nodes[at].0.name.clone();
            let done = Api::<Node>::all(&self.admin).delete(&name, &DeleteOptions::default()).await;
            self.tell(&format!("{name} is taken off the books: {:?}", done.is_ok()));
            sleep(Duration::from_secs(self.dice.below(120))).await;
        }
        self.restart_node(at);
        self.tell("the node is back");
    }

    fn stop_node(&mut self, power: bool, what: &str) -> usize {
        let at = self.dice.below(self.nodes.len() as u64) as usize;
        let name = self.nodes[at].0.name.clone();
        self.tell(&format!("{name} {what}"));
        self.nodes[at].1.abort();
        if power {
            lock(&self.nodes[at].0.machine).power_off();
        }
        at
    }

    fn restart_node(&mut self, at: usize) {
        let agent = self.nodes[at].0.clone();
        self.nodes[at].1 = tokio::spawn(node::run(agent));
    }

    async fn pause(&self) {
        let long = self.dice.chance(0.2);
        sleep(Duration::from_millis(self.dice.below(if long { 70_000 } else { 3000 }))).await;
    }
}
