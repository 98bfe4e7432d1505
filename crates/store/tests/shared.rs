//! Many threads on one store, and many processes on one directory.

use std::future::Future as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use store::{
    Embedded, Encoded, Expect, Header, HeaderParser, Limits, Memory, OpenError, Store, Txn, TxnError, Write,
};

struct NoParser;

impl HeaderParser for NoParser {
    fn header(&self, key: &str, _bytes: &[u8]) -> Header {
        Header::new(key, [], [])
    }

    fn version(&self) -> u32 {
        1
    }
}

struct OldParser;

impl HeaderParser for OldParser {
    fn header(&self, _key: &str, _bytes: &[u8]) -> Header {
        Header::default()
    }
}

fn put(key: &str) -> Txn {
    let json = r#"{"metadata":{"uid":"u"}}"#;
    let write = Write::Put(Encoded::new(json, 13, Header::new("u", [], [("f", "v")])));
    Txn { key: key.to_owned(), expect: Expect::Any, write }
}

fn memory(limits: Limits) -> Store {
    Store::open(Box::new(Memory), Arc::new(NoParser), limits).unwrap()
}

#[test]
fn every_watcher_sees_every_revision_once_and_in_order() {
    const WRITERS: u64 = 4;
    const EACH: u64 = 500;
    let store = memory(Limits::default());
    let deadline = Some(Instant::now() + Duration::from_secs(60));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let mut watcher = store.watch("/registry/", 1).unwrap();
            scope.spawn(move || {
                for revision in 2..2 + WRITERS * EACH {
                    let event = watcher.recv_blocking(deadline).expect("an event in time").unwrap();
                    assert_eq!(event.revision(), revision);
                }
            });
        }
        for writer in 0..WRITERS {
            let store = store.clone();
            scope.spawn(move || {
                for n in 0..EACH {
                    let key = format!("/registry/core/pods/{writer}/{}", n % 7);
                    let committed = store.commit(put(&key)).unwrap();
                    let seen = store.get(&key).unwrap();
                    assert_eq!(seen.revision, committed.revision, "a write is seen by its writer");
                }
            });
        }
    });
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    /// A writer is told before watchers are woken: waits for so many wakings, and tells how many there were.
    fn awaited(&self, wakings: usize) -> usize {
        let end = Instant::now() + Duration::from_secs(30);
        while self.0.load(Ordering::SeqCst) < wakings && Instant::now() < end {
            std::thread::yield_now();
        }
        self.0.load(Ordering::SeqCst)
    }
}

#[test]
fn a_sleeping_watcher_is_woken_by_its_own_events_only() {
    let store = memory(Limits { history_events: 4, ..Limits::default() });
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut cx = Context::from_waker(&waker);
    let mut watcher = store.watch_field("/registry/core/pods/", 1, "f", "v").unwrap();
    assert!(watcher.poll_next(&mut cx).is_pending());
    // Far more than the history holds: what isn't for a watcher can't make it lag.
    for n in 0..20 {
        store.commit(put(&format!("/registry/core/secrets/a/{n}"))).unwrap();
    }
    let mut other = put("/registry/core/pods/a/b");
    other.write = Write::Put(Encoded::new("{}", 1, Header::new("u", [], [("f", "w")])));
    store.commit(other).unwrap();
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
    assert_eq!(watcher.progress(), store.revision());
    let committed = store.commit(put("/registry/core/pods/a/c")).unwrap();
    assert_eq!(count.awaited(1), 1);
    let Poll::Ready(Some(Ok(event))) = watcher.poll_next(&mut cx) else { panic!("an event is there") };
    assert_eq!(event.revision(), committed.revision);
    assert!(watcher.poll_next(&mut cx).is_pending());
    drop(store);
    assert_eq!(count.awaited(2), 2, "closing the store ends the watch");
    assert!(matches!(watcher.poll_next(&mut cx), Poll::Ready(None)));
}

#[test]
fn a_slow_watcher_lags_and_the_writer_goes_on() {
    let store = memory(Limits { history_events: 4, ..Limits::default() });
    let mut watcher = store.watch("/registry/", 1).unwrap();
    for n in 0..10 {
        store.commit(put(&format!("/registry/core/pods/a/{n}"))).unwrap();
    }
    let lagged = watcher.try_next().unwrap().unwrap_err();
    assert_eq!((lagged.seen, lagged.oldest), (1, 7));
    assert!(store.watch("/registry/", 7).is_ok());
    let error = store.watch("/registry/", 6).err().unwrap();
    assert_eq!(error.to_string(), "revision 6 is older than the oldest revision kept, 7");
}

#[test]
fn an_exact_key_is_not_a_prefix() {
    let store = memory(Limits::default());
    store.commit(put("/registry/core/pods/a/b")).unwrap();
    store.commit(put("/registry/core/pods/ab/c")).unwrap();
    let keys = |prefix: &str| store.list(prefix, None, None, 0).unwrap().entries.len();
    assert_eq!(keys("/registry/core/pods/a"), 0);
    assert_eq!(keys("/registry/core/pods/a/"), 1);
    assert_eq!(keys("/registry/core/pods/a/b"), 1);
    assert_eq!(store.list("/registry/core/pods/a/", None, Some("/zzz"), 5).unwrap().entries.len(), 0);
}

#[test]
fn outcomes_can_be_awaited() {
    let store = memory(Limits::default());
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut cx = Context::from_waker(&waker);
    let mut pending = std::pin::pin!(store.begin(put("/registry/core/pods/a/b")));
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Poll::Ready(outcome) = pending.as_mut().poll(&mut cx) {
            assert_eq!(outcome.unwrap().revision, 2);
            break;
        }
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let store = memory(Limits { object_bytes: 10, ..Limits::default() });
    let error = store.commit(put("/registry/core/pods/a/b")).unwrap_err();
    assert_eq!(error.to_string(), "the object has 24 bytes, the store takes at most 10");
    assert!(matches!(store.commit(put(&"k".repeat(5000))), Err(TxnError::TooLarge { .. })));
}

#[test]
fn objects_expire_in_order_and_are_deleted_by_the_caller() {
    let store = memory(Limits::default());
    for (name, at) in [("late", 30), ("soon", 10), ("never", 0)] {
        let mut txn = put(name);
        txn.write = Write::Put(Encoded::new("{}", 1, Header::default()).expires(at));
        store.commit(txn).unwrap();
    }
    let keys = |now| store.expired(now, 9).iter().map(|e| e.key.to_string()).collect::<Vec<_>>();
    assert_eq!((keys(9).len(), keys(30)), (0, vec!["soon".to_owned(), "late".to_owned()]));
    store.commit(put("soon")).unwrap();
    assert_eq!(keys(99), ["late"]);
}

#[test]
fn history_older_than_its_age_is_dropped() {
    let store = memory(Limits { history_age: Duration::from_secs(60), ..Limits::default() });
    let start = Instant::now();
    store.commit(put("a")).unwrap();
    store.tick(start);
    store.commit(put("b")).unwrap();
    store.tick(start + Duration::from_secs(59));
    assert_eq!(store.oldest_revision(), 1);
    store.tick(start + Duration::from_secs(60));
    assert_eq!(store.oldest_revision(), 2);
}

#[test]
fn two_stores_cannot_open_one_directory() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Store::open(Box::new(Embedded::new(dir.path())), Arc::new(NoParser), Limits::default());
    let first = open().unwrap();
    let error = open().err().unwrap();
    assert!(matches!(error, OpenError::Locked { pid, .. } if pid == std::process::id()), "{error}");
    let text = format!(
        "the store in {} is in use by process {}: stop it first, or choose another directory",
        dir.path().display(),
        std::process::id()
    );
    assert_eq!(error.to_string(), text);
    drop(first);
    assert!(open().is_ok());
}

#[test]
fn headers_are_parsed_again_when_their_columns_have_changed() {
    let dir = tempfile::tempdir().unwrap();
    let open = |parser: Arc<dyn HeaderParser>| {
        Store::open(Box::new(Embedded::new(dir.path())), parser, Limits::default()).unwrap()
    };
    open(Arc::new(OldParser)).commit(put("/registry/core/pods/a/b")).unwrap();
    let same = open(Arc::new(OldParser)).get("/registry/core/pods/a/b").unwrap();
    assert_eq!(same.header.field("f"), Some("v"), "stored headers are used");
    let other = open(Arc::new(NoParser)).get("/registry/core/pods/a/b").unwrap();
    assert_eq!((other.header.uid(), other.header.field("f")), ("/registry/core/pods/a/b", None));
}
