//! Who of several servers works: the holder of a Lease (`client-go/tools/leaderelection`). A plain state
//! machine; the caller reads and writes the lease.

use api::coordination::v1::{Lease, LeaseSpec};
use api::{MicroTime, ObjectMeta};
use jiff::Timestamp;
use std::time::Duration;

/// How long a lease holds without renewal, how long a leader tries to renew before it gives up, and how often
/// everybody looks (`LeaderElectionConfiguration`'s defaults).
pub const LEASE: Duration = Duration::from_secs(15);
/// See [`LEASE`].
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// See [`LEASE`].
pub const RETRY: Duration = Duration::from_secs(2);

/// What to do with the lease.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Create it.
    Create(Box<Lease>),
    /// Replace it (with the `resourceVersion` that was read).
    Update(Box<Lease>),
    /// Somebody else leads: look again later.
    Wait,
}

/// One candidate.
pub struct Election {
    namespace: String,
    name: String,
    identity: String,
    /// The last record that we saw, and when we saw it first: clocks of others are not trusted.
    seen: Option<(String, Timestamp)>,
    renewed: Option<Timestamp>,
}

impl Election {
    /// A candidate `identity` for the lease `namespace`/`name`.
    pub fn new(namespace: &str, name: &str, identity: &str) -> Self {
        let (namespace, name, identity) = (namespace.into(), name.into(), identity.into());
        Self { namespace, name, identity, seen: None, renewed: None }
    }

    /// Whether this candidate leads: its last renewal is not too old.
    pub fn leads(&self, now: Timestamp) -> bool {
        self.renewed.is_some_and(|at| at + RENEW_DEADLINE > now)
    }

    /// What to do, given the lease as it was read.
    pub fn step(&mut self, lease: Option<&Lease>, now: Timestamp) -> Step {
        let Some(lease) = lease else {
            let metadata = ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            };
            let spec = Some(self.spec(now, now, 0));
            return Step::Create(Box::new(Lease { metadata, spec }));
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        let record = format!("{holder} {:?} {:?}", spec.renew_time, spec.lease_transitions);
        if self.seen.as_ref().is_none_or(|(old, _)| *old != record) {
            self.seen = Some((record, now));
        }
        let ours = holder == self.identity;
        let seen = self.seen.as_ref().map_or(now, |(_, at)| *at);
        if !ours && !holder.is_empty() && seen + LEASE > now {
            self.renewed = None;
            return Step::Wait;
        }
        let transitions = spec.lease_transitions.unwrap_or(0);
        let acquired = spec.acquire_time.map_or(now, |t| t.0);
        let spec =
            if ours { self.spec(acquired, now, transitions) } else { self.spec(now, now, transitions + 1) };
        Step::Update(Box::new(Lease { metadata: lease.metadata.clone(), spec: Some(spec) }))
    }

    /// The write of the last step succeeded at the time it was made.
    pub fn won(&mut self, at: Timestamp) {
        self.renewed = Some(at);
    }

    fn spec(&self, acquired: Timestamp, renewed: Timestamp, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            acquire_time: Some(MicroTime(acquired)),
            renew_time: Some(MicroTime(renewed)),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_takes_over_only_when_the_first_is_silent() {
        let at = |s: u64| Timestamp::UNIX_EPOCH + Duration::from_secs(s);
        let (mut a, mut b) = (Election::new("x", "l", "a"), Election::new("x", "l", "b"));
        let Step::Create(lease) = a.step(None, at(0)) else { panic!("a creates") };
        a.won(at(0));
        assert!(a.leads(at(5)) && !a.leads(at(10)));
        assert_eq!(b.step(Some(&lease), at(1)), Step::Wait);
        assert_eq!(b.step(Some(&lease), at(15)), Step::Wait, "seen first at 1");
        let Step::Update(taken) = b.step(Some(&lease), at(16)) else { panic!("b takes over") };
        let spec = taken.spec.clone().unwrap_or_default();
        assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("b"), Some(1)));
        assert_eq!(a.step(Some(&taken), at(17)), Step::Wait);
        assert!(!a.leads(at(17)));
    }
}
