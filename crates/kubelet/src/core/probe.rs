//! The state of one probe of one container: when it is due, and what a row of answers means
//! (`pkg/kubelet/prober/worker.go`).

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Probe};

/// Which of a container's probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Holds the other two back until it passes once.
    Startup,
    /// Its failure restarts the container.
    Liveness,
    /// Its failure takes the container out of service.
    Readiness,
}

impl Kind {
    /// All, in the order in which they matter.
    pub const ALL: [Self; 3] = [Self::Startup, Self::Liveness, Self::Readiness];

    /// The word in events: `Liveness probe failed: ...`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    /// The probe of this kind in a container's spec.
    pub fn of(self, c: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => c.startup_probe.as_ref(),
            Self::Liveness => c.liveness_probe.as_ref(),
            Self::Readiness => c.readiness_probe.as_ref(),
        }
    }
}

/// What one run of a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// As it should be.
    Success,
    /// As it should be, with something to tell (a redirect to elsewhere).
    Warning(String),
    /// Not as it should be.
    Failure(String),
    /// The probe could not be run.
    Error(String),
}

/// One probe of one container.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeState {
    /// What the probe says at present; none before a startup probe's first verdict.
    pub passing: Option<bool>,
    last: Option<Timestamp>,
    run: i32,
    run_success: bool,
    /// A run is under way.
    pub busy: bool,
    /// Failed for good: the container is to be restarted.
    pub on_hold: bool,
}

fn seconds(n: Option<i32>, default: i32) -> SignedDuration {
    SignedDuration::from_secs(i64::from(n.unwrap_or(default)))
}

/// The time one run may take.
pub fn timeout(p: &Probe) -> SignedDuration {
    seconds(p.timeout_seconds, 1).max(SignedDuration::from_secs(1))
}

impl ProbeState {
    /// A probe that has not run yet. `before`: what is known from before the agent's restart.
    pub fn new(kind: Kind, before: Option<bool>) -> Self {
        let passing = match kind {
            Kind::Startup => before.filter(|b| *b),
            Kind::Liveness => Some(true),
            Kind::Readiness => Some(before.unwrap_or(false)),
        };
        Self { passing, last: None, run: 0, run_success: false, busy: false, on_hold: false }
    }

    /// When the next run is due for a container started at `started`.
    pub fn due(&self, p: &Probe, started: Timestamp) -> Timestamp {
        let first = started.saturating_add(seconds(p.initial_delay_seconds, 0)).unwrap_or(Timestamp::MAX);
        let period = seconds(p.period_seconds, 10).max(SignedDuration::from_secs(1));
        match self.last {
            None => first,
            Some(last) => first.max(last.saturating_add(period).unwrap_or(Timestamp::MAX)),
        }
    }

    /// A run begins.
    pub fn begin(&mut self, now: Timestamp) {
        self.busy = true;
        self.last = Some(now);
    }

    /// Asks for a run at once (readiness, when the startup probe has passed).
    pub fn hurry(&mut self) {
        self.last = None;
    }

    /// Takes in a run's answer. Returns whether what the probe says has changed.
    pub fn answer(&mut self, kind: Kind, p: &Probe, answer: &Answer) -> bool {
        self.busy = false;
        let success = matches!(answer, Answer::Success | Answer::Warning(_));
        if self.run > 0 && self.run_success == success {
            self.run = self.run.saturating_add(1);
        } else {
            (self.run, self.run_success) = (1, success);
        }
        let threshold = match success {
            true => p.success_threshold.unwrap_or(1),
            false => p.failure_threshold.unwrap_or(3),
        };
        if self.run < threshold {
            return false;
        }
        let changed = self.passing != Some(success);
        self.passing = Some(success);
        if !success && kind != Kind::Readiness {
            self.on_hold = true;
            self.run = 0;
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(success: i32, failure: i32) -> Probe {
        let n = Some;
        Probe {
            success_threshold: n(success),
            failure_threshold: n(failure),
            period_seconds: n(5),
            ..Probe::default()
        }
    }

    #[test]
    fn thresholds_count_answers_in_a_row() {
        let p = probe(2, 3);
        let mut s = ProbeState::new(Kind::Readiness, None);
        let fail = Answer::Failure("no".into());
        let mut seen = Vec::new();
        for a in [&Answer::Success, &fail, &Answer::Success, &Answer::Success, &fail, &fail, &fail] {
            s.answer(Kind::Readiness, &p, a);
            seen.push(s.passing);
        }
        let want = [Some(false), Some(false), Some(false), Some(true), Some(true), Some(true), Some(false)];
        assert_eq!(seen, want);
    }

    #[test]
    fn a_failed_liveness_probe_rests_until_the_container_is_replaced() {
        let p = probe(1, 1);
        let mut s = ProbeState::new(Kind::Liveness, None);
        assert!(s.answer(Kind::Liveness, &p, &Answer::Failure("no".into())));
        assert!(s.on_hold);
    }

    #[test]
    fn the_first_run_waits_for_the_initial_delay_and_the_next_for_the_period() {
        let p = Probe { initial_delay_seconds: Some(3), ..probe(1, 1) };
        let mut s = ProbeState::new(Kind::Liveness, None);
        let t = |n| Timestamp::from_second(n).unwrap();
        assert_eq!(s.due(&p, t(100)), t(103));
        s.begin(t(104));
        assert_eq!(s.due(&p, t(100)), t(109));
    }
}
