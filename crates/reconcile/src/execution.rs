//! The carrying out of one plan, as a state machine: which calls go out next, and what came of them.

use crate::plan::{EventNote, Op, Plan, Write};
use bytes::Bytes;
use client::{Call, Error, Key, ListOptions, Resource};
use meta::Status;
use std::ops::Range;

/// Writes that go out together at the most.
pub const MAX_BATCH: usize = 64;

/// What a key's cache must show before the key is planned again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The cache of this resource has reached this revision.
    Revision(Resource, u64),
    /// The object with this UID is gone or going.
    Gone(Resource, Key, String),
}

/// Why a plan ended early.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The write that failed, as text.
    pub write: String,
    /// Whether it was a creation.
    pub create: bool,
    /// What it was about.
    pub resource: Resource,
    /// The error, for people.
    pub message: String,
    /// The server's answer, if there was one.
    pub status: Option<Status>,
}

impl Failure {
    /// Whether somebody else's write came in between: an everyday matter.
    pub fn is_conflict(&self) -> bool {
        self.status.as_ref().is_some_and(|s| s.code == 409)
    }
}

/// What came of a plan.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What to wait for.
    pub expects: Vec<Expect>,
    /// Resources where a write may or may not have happened: ask for a revision before planning again.
    pub suspects: Vec<Resource>,
    /// The first failure.
    pub failure: Option<Failure>,
    /// What to tell.
    pub events: Vec<EventNote>,
    /// How many writes succeeded.
    pub written: u64,
    /// Whether this was only a question for the current revision.
    pub probe: bool,
}

/// One plan being carried out, or one question for the current revision.
pub struct Execution {
    writes: Vec<Write>,
    events: Vec<EventNote>,
    probes: Vec<Resource>,
    next: usize,
    out: Range<usize>,
    answered: usize,
    slow_start: usize,
    outcome: Outcome,
}

impl Execution {
    /// Carries out `plan`.
    pub fn new(plan: Plan) -> Self {
        Self { writes: plan.writes, events: plan.events, ..Self::empty(Outcome::default()) }
    }

    /// Asks for the current revision of resources where a write may have happened.
    pub fn probe(resources: Vec<Resource>) -> Self {
        let outcome = Outcome { probe: true, ..Outcome::default() };
        Self { probes: resources, ..Self::empty(outcome) }
    }

    fn empty(outcome: Outcome) -> Self {
        let (writes, events, probes) = (Vec::new(), Vec::new(), Vec::new());
        Self { writes, events, probes, next: 0, out: 0..0, answered: 0, slow_start: 1, outcome }
    }

    /// Whether this is only a question for the current revision.
    pub fn is_probe(&self) -> bool {
        self.outcome.probe
    }

    /// The calls to send now, to be answered by [`Execution::answer`] under their numbers; empty when done.
    pub fn next_calls(&mut self) -> Vec<(usize, Call)> {
        if self.answered < self.out.len() {
            return Vec::new();
        }
        if !self.probes.is_empty() {
            return self.probe_calls();
        }
        if self.outcome.failure.is_some() {
            return Vec::new();
        }
        self.out = self.batch();
        self.answered = 0;
        self.next = self.out.end;
        self.out.clone().map(|i| (i, self.writes[i].call())).collect()
    }

    fn probe_calls(&mut self) -> Vec<(usize, Call)> {
        if self.next >= self.probes.len() {
            return Vec::new();
        }
        let options = ListOptions { limit: 1, ..ListOptions::default() };
        self.out = 0..self.probes.len();
        (self.answered, self.next) = (0, self.probes.len());
        self.out.clone().map(|i| (i, Call::list(&self.probes[i], "", &options))).collect()
    }

    /// The writes that may go out together: neighbouring creations (a slow start: one, two, four, ...) or
    /// deletions of one resource, and anything else alone.
    fn batch(&mut self) -> Range<usize> {
        let start = self.next;
        let Some(first) = self.writes.get(start) else { return start..start };
        let limit = match first.op {
            Op::Create => self.slow_start,
            Op::Delete(_) => MAX_BATCH,
            // Of any resources.
            Op::DeleteCollection | Op::EnsureEmpty => MAX_BATCH,
            _ => 1,
        };
        let same = |w: &&Write| {
            w.resource == first.resource && std::mem::discriminant(&w.op) == std::mem::discriminant(&first.op)
        };
        let count = self.writes[start..].iter().take(limit).take_while(same).count();
        if first.op == Op::Create {
            self.slow_start = (self.slow_start * 2).min(MAX_BATCH);
        }
        start..start + count
    }

    /// Takes in the answer to call number `i`.
    pub fn answer(&mut self, i: usize, answer: Result<Bytes, Error>) {
        self.answered += 1;
        if !self.probes.is_empty() {
            return self.probed(i, answer);
        }
        let Some(write) = self.writes.get(i) else { return };
        match answer.and_then(|bytes| ensured(write, bytes)) {
            Ok(bytes) => {
                self.outcome.written += 1;
                self.outcome.expects.extend(expectation(write, &bytes));
                let name = if write.name.is_empty() { answered_name(&bytes) } else { write.name.clone() };
                self.outcome.events.extend(write.on_ok.as_ref().map(|note| note.filled(&name)));
            }
            Err(e) if is_moot(write, &e) => {}
            Err(e) => self.failed(i, &e),
        }
    }

    fn failed(&mut self, i: usize, e: &Error) {
        let write = &self.writes[i];
        if e.is_ambiguous() {
            self.outcome.suspects.push(write.resource.clone());
        }
        let message = e.to_string();
        self.outcome.events.extend(write.on_error.as_ref().map(|note| note.filled(&message)));
        let status = match e {
            Error::Api(status) => Some(status.clone()),
            Error::Transport(_) | Error::Decode(_) => None,
        };
        let create = write.op == Op::Create;
        let (write, resource) = (write.to_string(), write.resource.clone());
        self.outcome.failure.get_or_insert(Failure { write, create, resource, message, status });
    }

    fn probed(&mut self, i: usize, answer: Result<Bytes, Error>) {
        let Some(resource) = self.probes.get(i).cloned() else { return };
        match answer.and_then(|bytes| client::access::decode_page(&bytes)) {
            Ok(page) => self.outcome.expects.push(Expect::Revision(resource, page.revision)),
            Err(e) => {
                let message = e.to_string();
                self.outcome.suspects.push(resource.clone());
                let write = "ask for the current revision".to_owned();
                self.outcome.failure =
                    Some(Failure { write, create: false, resource, message, status: None });
            }
        }
    }

    /// What came of it; to be asked when [`Execution::next_calls`] has no more.
    pub fn finish(mut self) -> Outcome {
        if self.outcome.failure.is_none() {
            self.outcome.events.append(&mut self.events);
        }
        self.outcome
    }
}

/// What to wait for after a successful write.
fn expectation(write: &Write, bytes: &Bytes) -> Option<Expect> {
    let key = Key::new(&write.namespace, &write.name);
    match &write.op {
        Op::Delete(_) if write.uid.is_empty() => None,
        Op::Delete(_) => Some(Expect::Gone(write.resource.clone(), key, write.uid.clone())),
        // What these answer is no object of the resource.
        Op::Sub(_) | Op::DeleteCollection | Op::EnsureEmpty => None,
        _ => {
            let revision = client::access::answered_revision(bytes)?;
            Some(Expect::Revision(write.resource.clone(), revision))
        }
    }
}

fn answered_name(bytes: &Bytes) -> String {
    let answer: Option<api::PartialObject> = serde_json::from_slice(bytes).ok();
    answer.and_then(|o| o.metadata.name).unwrap_or_default()
}

/// Whether the failure means that the write has become pointless: the object is gone (or, for a deletion,
/// another one), or the namespace takes nothing new.
fn is_moot(write: &Write, e: &Error) -> bool {
    match &write.op {
        Op::Create => matches!(e, Error::Api(s) if has_cause(s, "NamespaceTerminating")),
        Op::Delete(_) => e.is_not_found() || e.is_conflict(),
        // What can't be asked whether it is empty can't be taken for empty.
        Op::EnsureEmpty => false,
        Op::Update(_) | Op::Patch(..) | Op::Sub(_) | Op::DeleteCollection => e.is_not_found(),
    }
}

/// Turns a list that isn't empty into an error where it should be.
fn ensured(write: &Write, bytes: Bytes) -> Result<Bytes, Error> {
    if write.op != Op::EnsureEmpty || client::access::decode_page(&bytes)?.items.is_empty() {
        return Ok(bytes);
    }
    let message = format!("{} remain in namespace {}", write.resource, write.namespace);
    Err(Error::Api(Status::new(meta::Reason::Conflict, message)))
}

fn has_cause(status: &Status, reason: &str) -> bool {
    let causes = status.details.get("causes").and_then(|c| c.as_array());
    causes.is_some_and(|all| all.iter().any(|c| c["reason"] == reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::ObjectMeta;
    use api::core::v1::Pod;

    fn pod(name: &str) -> Pod {
        let metadata = ObjectMeta {
            name: Some(name.into()),
            namespace: Some("x".into()),
            uid: Some(format!("uid-{name}")),
            ..ObjectMeta::default()
        };
        Pod { metadata, ..Pod::default() }
    }

    #[test]
    fn creations_start_slowly_and_stop_at_a_failure() {
        let writes = (0..9).map(|i| Write::create(&pod(&format!("p{i}")))).collect();
        let mut run = Execution::new(Plan { writes, ..Plan::default() });
        let mut sizes = Vec::new();
        loop {
            let calls = run.next_calls();
            if calls.is_empty() {
                break;
            }
            sizes.push(calls.len());
            for (i, _) in calls {
                let ok = Bytes::from(format!(r#"{{"metadata":{{"resourceVersion":"{}"}}}}"#, i + 10));
                run.answer(i, if i == 5 { Err(Error::Api(Status::unauthorized())) } else { Ok(ok) });
            }
        }
        assert_eq!(sizes, [1, 2, 4]);
        let outcome = run.finish();
        assert_eq!((outcome.written, outcome.expects.len()), (6, 6));
        assert_eq!(outcome.failure.map(|f| f.write), Some("create pods x/p5".to_owned()));
        assert!(outcome.suspects.is_empty());
    }

    #[test]
    fn a_lost_answer_makes_the_resource_suspect() {
        let mut run = Execution::new(Plan::one(Write::create(&pod("a"))));
        let calls = run.next_calls();
        assert_eq!(calls.len(), 1);
        run.answer(0, Err(Error::Transport(client::TransportError::broken("reset"))));
        assert!(run.next_calls().is_empty());
        let suspects = run.finish().suspects;
        let mut probe = Execution::probe(suspects);
        let calls = probe.next_calls();
        assert_eq!(calls.len(), 1);
        probe.answer(0, Ok(Bytes::from_static(br#"{"metadata":{"resourceVersion":"42"},"items":[]}"#)));
        assert!(probe.next_calls().is_empty());
        assert_eq!(probe.finish().expects, [Expect::Revision(Resource::of::<Pod>(), 42)]);
    }
}
