//! kill -9 in the middle of a layer: the next collection, in any process, clears what was left.

use image::{Digest, Store};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Tells the process that is to be killed where the store is.
const STORE: &str = "IRONCLAD_TEST_KILLED_STORE";

/// A layer of one large file, of which the last byte never comes.
struct Unfinished {
    head: Vec<u8>,
    at: usize,
}

impl Read for Unfinished {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.head.len() {
            println!("half way");
            loop {
                std::thread::park();
            }
        }
        let n = buffer.len().min(self.head.len() - self.at);
        buffer[..n].copy_from_slice(&self.head[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[test]
#[ignore = "the process that the other test kills"]
fn unpacks_until_killed() {
    let Ok(store) = std::env::var(STORE) else { return };
    let store = Store::open(Path::new(&store)).unwrap();
    let id = Digest::of(b"");
    let _lease = store.hold(&[id]).unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1 << 20);
    header.set_mode(0o644);
    builder.append_data(&mut header, "dir/file", &vec![7; 1 << 20][..]).unwrap();
    let mut head = builder.into_inner().unwrap();
    head.truncate(1 << 20);
    let _ = store.add_layer(Unfinished { head, at: 0 }, &id);
}

/// Everything below a directory that is neither a directory nor the store's own.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

#[test]
fn half_a_layer_is_cleared() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "unpacks_until_killed", "--ignored", "--nocapture"])
        .env(STORE, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let reached = lines.into_iter().any(|line| line.contains("half way"));
    store.collect(&BTreeSet::new()).unwrap();
    let staging = || files(&dir.path().join("staging"));
    let while_alive = staging();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(reached && while_alive.iter().any(|f| f.ends_with("dir/file")), "{while_alive:?}");
    store.collect(&BTreeSet::new()).unwrap();
    let left: Vec<PathBuf> = staging().into_iter().filter(|f| !f.ends_with("alive")).collect();
    assert_eq!(left, Vec::<PathBuf>::new());
    assert_eq!(files(&dir.path().join("layers")), Vec::<PathBuf>::new());
}
