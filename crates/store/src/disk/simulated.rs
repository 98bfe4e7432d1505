//! A disk that does everything a disk may do: it forgets what was not synced, in parts and in any order, it gets
//! full, its sync fails and then forgets silently. And the embedded engine on such a disk, without threads.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backend::{Backend, Feed, OpenError, Writer};
use crate::engine::{Engine, Log, LogError};
use crate::entry::Event;
use crate::memory::InlineWriter;

use super::checkpoint::{Checkpoint, Checkpointed};
use super::files::{File, Files};
use super::journal::{Journal, Sizes};
use super::recover;

/// What the disk writes at once or not at all.
const SECTOR: usize = 64;
/// Small measures, so that the short life of a simulation sees segments, checkpoints and room running out.
const SIZES: Sizes = Sizes { ready: 16 * 1024, checkpoint: 512 * 1024, retry: 128 * 1024 };

/// The embedded engine on a simulated disk: a transaction is carried out before `submit` returns, and a checkpoint
/// goes on by a step with each. The same calls in the same order give the same events.
#[derive(Clone, Debug)]
pub struct Simulated(pub SimDisk);

impl Backend for Simulated {
    fn start(self: Box<Self>, feed: Feed) -> Result<Box<dyn Writer>, OpenError> {
        let journal = recover::recover(Arc::new(self.0.clone()), &feed, SIZES)?;
        let life = self.0.inner().lives;
        let log = Mortal { log: SimLog::new(journal), disk: self.0, life };
        Ok(Box::new(InlineWriter::new(Engine::new(feed, log))))
    }
}

/// The log of a process that ends when the disk's machine does: what is still under way then must not touch the disk.
struct Mortal {
    log: SimLog,
    disk: SimDisk,
    life: u64,
}

impl Mortal {
    fn alive(&self) -> Result<(), LogError> {
        let alive = self.disk.inner().lives == self.life;
        if alive { Ok(()) } else { Err(LogError::Broken("the process is gone".into())) }
    }
}

impl Log for Mortal {
    fn append(&mut self, events: &[Arc<Event>]) -> Result<(), LogError> {
        self.alive()?;
        self.log.append(events)
    }

    fn settled(&mut self, feed: &Feed) -> Result<(), LogError> {
        self.alive()?;
        self.log.settled(feed)?;
        self.log.step();
        Ok(())
    }
}

/// The journal with its checkpoints, advanced by hand.
pub(crate) struct SimLog {
    journal: Journal,
    running: Option<Checkpoint>,
}

impl Log for SimLog {
    fn append(&mut self, events: &[Arc<Event>]) -> Result<(), LogError> {
        self.journal.append(events)
    }

    fn settled(&mut self, feed: &Feed) -> Result<(), LogError> {
        if self.running.is_none() && self.journal.wants_checkpoint() {
            let revision = feed.revision();
            let replaced = self.journal.roll(revision)?;
            let files = Arc::clone(&self.journal.files);
            self.running = Checkpoint::start(files, feed.clone(), 0, revision, replaced).ok();
        }
        Ok(())
    }
}

impl SimLog {
    pub(crate) fn new(journal: Journal) -> SimLog {
        SimLog { journal, running: None }
    }

    /// Goes on with a checkpoint; tells whether there was one.
    pub(crate) fn step(&mut self) -> bool {
        let Some(running) = &mut self.running else { return false };
        match running.step() {
            Ok(None) => return false,
            Ok(Some(Checkpointed { replaced, bytes })) => self.journal.checkpointed(&replaced, bytes),
            Err(_) => {}
        }
        self.running = None;
        true
    }
}

/// A small seeded generator (xorshift64*).
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound.max(1)
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

enum Change {
    Write(usize, Vec<u8>),
    Len(usize),
}

#[derive(Default)]
struct Inode {
    /// What the running system sees.
    seen: Vec<u8>,
    /// What is on the disk for certain.
    durable: Vec<u8>,
    pending: Vec<Change>,
}

enum Naming {
    Link(String, usize),
    Unlink(String),
}

pub(crate) struct Inner {
    inodes: Vec<Inode>,
    seen: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    pending: Vec<Naming>,
    rng: Rng,
    /// Operations until the power fails.
    pub(crate) crash_in: Option<u64>,
    /// Operations until a sync fails.
    pub(crate) fail_sync_in: Option<u64>,
    /// How many bytes all files may have.
    pub(crate) capacity: Option<usize>,
    pub(crate) crashed: bool,
    /// Whether a sync only says that it was done.
    lies: bool,
    /// How often the machine or the process was started anew.
    lives: u64,
}

/// A disk in memory that fails as disks do, out of a seed; for simulations.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<Inner>>);

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimDisk({} bytes)", self.used())
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(Inner {
            inodes: Vec::new(),
            seen: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
            rng: Rng::new(seed),
            crash_in: None,
            fail_sync_in: None,
            capacity: None,
            crashed: false,
            lies: false,
            lives: 0,
        })))
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power fails in the midst of the operation after so many; that one may still have its effect.
    pub fn fail_in(&self, operations: u64) {
        self.inner().crash_in = Some(operations);
    }

    /// Whether the power has failed.
    pub fn has_failed(&self) -> bool {
        self.inner().crashed
    }

    /// Leaves room for so many bytes more; none: for any number.
    pub fn leave_room(&self, bytes: Option<usize>) {
        let used = self.used();
        self.inner().capacity = bytes.map(|b| used + b);
    }

    /// From now on a sync does nothing and says that it did: a broken disk, for tests of those who would notice.
    pub fn lie(&self) {
        self.inner().lies = true;
    }

    /// The power comes back: what is on the disk is what was synced and an arbitrary part of the rest.
    pub fn power_cycle(&self) {
        let mut guard = self.inner();
        let inner = &mut *guard;
        let mood = inner.rng.below(4);
        for inode in &mut inner.inodes {
            settle(inode, &mut inner.rng, mood);
            inode.seen = inode.durable.clone();
        }
        for naming in std::mem::take(&mut inner.pending) {
            if !keeps(&mut inner.rng, mood) {
                continue;
            }
            match naming {
                Naming::Link(name, inode) => inner.durable.insert(name, inode),
                Naming::Unlink(name) => inner.durable.remove(&name),
            };
        }
        inner.seen = inner.durable.clone();
        inner.restart();
    }

    /// The process was killed and is started again: the system goes on, so everything written is still seen,
    /// synced or not.
    pub fn process_restart(&self) {
        self.inner().restart();
    }

    /// Flips a bit somewhere in a file.
    #[cfg(test)]
    pub(crate) fn damage(&self, name: &str, at: usize) {
        let mut inner = self.inner();
        let inode = inner.seen[name];
        inner.inodes[inode].seen[at] ^= 0x10;
    }

    /// How many bytes all files have.
    pub(crate) fn used(&self) -> usize {
        self.inner().used()
    }
}

impl Inner {
    fn restart(&mut self) {
        self.crash_in = None;
        self.fail_sync_in = None;
        self.capacity = None;
        self.crashed = false;
        self.lives += 1;
    }

    fn used(&self) -> usize {
        self.seen.values().map(|&inode| self.inodes[inode].seen.len()).sum()
    }

    /// Counts an operation; when the power fails in it, it may still have its effect, but nobody learns of it.
    fn operation(&mut self) -> io::Result<bool> {
        if self.crashed {
            return Err(io::Error::other("the power is off"));
        }
        if let Some(left) = &mut self.crash_in {
            if *left == 0 {
                self.crashed = true;
                return Ok(true);
            }
            *left -= 1;
        }
        Ok(false)
    }
}

fn off(crashed: bool) -> io::Result<()> {
    if crashed { Err(io::Error::other("the power failed")) } else { Ok(()) }
}

fn keeps(rng: &mut Rng, mood: u64) -> bool {
    match mood {
        0 => false,
        1 => true,
        _ => rng.one_in(2),
    }
}

/// Applies an arbitrary part of the pending changes to what is durable, and forgets the rest.
fn settle(inode: &mut Inode, rng: &mut Rng, mood: u64) {
    for change in std::mem::take(&mut inode.pending) {
        match change {
            Change::Len(len) if keeps(rng, mood) => inode.durable.resize(len, 0),
            Change::Len(_) => {}
            Change::Write(at, bytes) => {
                let mut from = 0;
                while from < bytes.len() {
                    let to = bytes.len().min((at + from) / SECTOR * SECTOR + SECTOR - at);
                    if keeps(rng, mood) {
                        put(&mut inode.durable, at + from, &bytes[from..to]);
                    }
                    from = to;
                }
            }
        }
    }
}

fn put(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if content.len() < at + bytes.len() {
        content.resize(at + bytes.len(), 0);
    }
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

struct SimFile(SimDisk, usize);

impl Files for SimDisk {
    fn lock(&self) -> Result<(), OpenError> {
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.inner().seen.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut inner = self.inner();
        let crash = inner.operation()?;
        // In the place of a file that is there, as if it had been removed: harsher than cutting it off.
        inner.inodes.push(Inode::default());
        let inode = inner.inodes.len() - 1;
        inner.seen.insert(name.to_owned(), inode);
        inner.pending.push(Naming::Link(name.to_owned(), inode));
        off(crash)?;
        Ok(Box::new(SimFile(self.clone(), inode)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let inner = self.inner();
        let inode = *inner.seen.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimFile(self.clone(), inode)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.inner();
        let crash = inner.operation()?;
        let inode = inner.seen.remove(from).ok_or(io::ErrorKind::NotFound)?;
        inner.seen.insert(to.to_owned(), inode);
        inner.pending.push(Naming::Link(to.to_owned(), inode));
        inner.pending.push(Naming::Unlink(from.to_owned()));
        off(crash)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        let crash = inner.operation()?;
        inner.seen.remove(name).ok_or(io::ErrorKind::NotFound)?;
        inner.pending.push(Naming::Unlink(name.to_owned()));
        off(crash)
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut inner = self.inner();
        off(inner.operation()?)?;
        inner.pending.clear();
        inner.durable = inner.seen.clone();
        Ok(())
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.inner().inodes[self.1].seen.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let inner = self.0.inner();
        let rest = inner.inodes[self.1].seen.get(offset as usize..).unwrap_or(&[]);
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut guard = self.0.inner();
        let crash = guard.operation()?;
        let inner = &mut *guard;
        let at = offset as usize;
        let grows = (at + bytes.len()).saturating_sub(inner.inodes[self.1].seen.len());
        let room = inner.capacity.map_or(usize::MAX, |capacity| capacity.saturating_sub(inner.used()));
        let fits = grows <= room;
        let count = if fits { bytes.len() } else { bytes.len() - (grows - room) };
        let inode = &mut inner.inodes[self.1];
        put(&mut inode.seen, at, &bytes[..count]);
        inode.pending.push(Change::Write(at, bytes[..count].to_vec()));
        off(crash)?;
        if fits { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let mut inner = self.0.inner();
        let crash = inner.operation()?;
        let inode = &mut inner.inodes[self.1];
        inode.seen.resize(len as usize, 0);
        inode.pending.push(Change::Len(len as usize));
        off(crash)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut guard = self.0.inner();
        off(guard.operation()?)?;
        let inner = &mut *guard;
        let fails = match &mut inner.fail_sync_in {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        if inner.lies {
            return Ok(());
        }
        let inode = &mut inner.inodes[self.1];
        if fails {
            // As Linux does: the pages count as clean afterwards, whether they reached the disk or not.
            inner.fail_sync_in = None;
            settle(inode, &mut inner.rng, 2);
            return Err(io::Error::other("the sync failed"));
        }
        // Only what is dirty is written: what a failed sync has forgotten stays forgotten.
        settle(inode, &mut inner.rng, 1);
        Ok(())
    }
}
