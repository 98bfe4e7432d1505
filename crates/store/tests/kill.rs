//! A real process, really killed: whatever it had acknowledged is there when the store is opened again.
//! `STORE_KILLS=1000 cargo test -p store --test kill` goes further.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use store::{Embedded, Encoded, Expect, Header, HeaderParser, Limits, Store, Txn, Write};

/// Set in the child: the directory to write to.
const CHILD_DIR: &str = "STORE_KILL_CHILD_DIR";

struct NoParser;

impl HeaderParser for NoParser {
    fn header(&self, _key: &str, _bytes: &[u8]) -> Header {
        Header::default()
    }
}

fn open(dir: &Path) -> Store {
    Store::open(Box::new(Embedded::new(dir)), Arc::new(NoParser), Limits::default()).unwrap()
}

/// The writing process; a test only in name. It writes without end and says on its output what is acknowledged.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let store = open(Path::new(&dir));
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let store = store.clone();
            scope.spawn(move || {
                for n in 0u64.. {
                    let key = format!("/registry/core/pods/{writer}/{}", n % 50);
                    let json = format!(r#"{{"metadata":{{"uid":"{}"}}}}"#, "x".repeat(n as usize % 3000));
                    let write = Write::Put(Encoded::new(json, 13, Header::default()));
                    let committed = store.commit(Txn { key, expect: Expect::Any, write }).unwrap();
                    let line = format!("ack {} {}\n", committed.revision, committed.entry.key);
                    if std::io::stdout().write_all(line.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

/// Ends the child however the test ends.
struct Kill(Child);

impl Drop for Kill {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let kills: usize = std::env::var("STORE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(15);
    let dir = tempfile::tempdir().unwrap();
    let mut last = 1;
    for round in 0..kills {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture", "--test-threads=1"]).env(CHILD_DIR, dir.path());
        let mut child = Kill(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
        let lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut acknowledged: Vec<(u64, String)> = Vec::new();
        let enough = 20 + round * 37 % 400;
        for line in lines {
            if let Some((revision, key)) = line.split_once("ack ").and_then(|(_, rest)| rest.split_once(' '))
            {
                acknowledged.push((revision.parse().unwrap(), key.to_owned()));
            }
            // Go on reading after the kill: what stood in the pipe was acknowledged as well.
            if acknowledged.len() == enough {
                child.0.kill().unwrap();
            }
        }
        drop(child);
        assert!(acknowledged.len() >= enough, "the child wrote {} of {enough}", acknowledged.len());
        let store = open(dir.path());
        for (revision, key) in &acknowledged {
            let entry = store.get(key).unwrap();
            assert!(entry.revision >= *revision, "{key} at {} lost {revision}", entry.revision);
        }
        let mut watcher = store.watch("/registry/", last).expect("a watch goes on from before the kill");
        for revision in last + 1..=store.revision() {
            assert_eq!(watcher.try_next().unwrap().unwrap().revision(), revision);
        }
        last = store.revision();
    }
}
