//! Which probes of a pod are due, and what their answers change (`pkg/kubelet/prober/prober_manager.go`).

use super::actions::Verdicts;
use super::local::Local;
use super::machine::Round;
use super::observe::{Observed, State};
use super::ops::{Note, Op};
use super::podspec::{self, Role};
use super::probe::{Answer, Kind, ProbeState};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, Probe};
use std::collections::BTreeMap;

/// What the probes of each container say, by the runtime's identifier.
pub(crate) fn verdicts(local: &Local) -> BTreeMap<String, Verdicts> {
    let mut out: BTreeMap<String, Verdicts> = BTreeMap::new();
    for ((id, kind), p) in &local.probes {
        let v = out.entry(id.clone()).or_default();
        match kind {
            Kind::Startup => v.startup = if p.on_hold { Some(false) } else { p.passing },
            Kind::Liveness => v.liveness = if p.on_hold { Some(false) } else { p.passing },
            Kind::Readiness => {}
        }
    }
    out
}

fn reported<'a>(pod: &'a Pod, id: &str) -> Option<&'a ContainerStatus> {
    let s = podspec::status(pod);
    let all = s.container_statuses.iter().flatten().chain(s.init_container_statuses.iter().flatten());
    all.into_iter().find(|s| s.container_id.as_deref().is_some_and(|c| c.ends_with(&format!("://{id}"))))
}

fn before(pod: &Pod, id: &str, kind: Kind) -> Option<bool> {
    let s = reported(pod, id)?;
    match kind {
        Kind::Startup => s.started,
        Kind::Readiness => Some(s.ready),
        Kind::Liveness => None,
    }
}

/// Asks for the probes that are due, and makes the state of those of new containers.
pub(crate) fn plan(round: &mut Round<'_>) {
    let running: Vec<Observed> = {
        let observed = &round.local.observed;
        let newest = |o: &&Observed| observed.container(&o.name).is_some_and(|n| n.id == o.id);
        observed.containers.iter().filter(|o| o.state == State::Running).filter(newest).cloned().collect()
    };
    for o in running {
        if round.local.starting.contains(&o.name) {
            continue;
        }
        let Some((c, role)) = podspec::find_container(round.pod, &o.name) else { continue };
        if matches!(role, Role::Regular | Role::Sidecar) {
            container(round, &c, &o);
        }
    }
}

fn container(round: &mut Round<'_>, c: &Container, o: &Observed) {
    let ending = round.is_terminating() || round.local.kills.contains_key(&o.id);
    let mut started = true;
    for kind in Kind::ALL {
        let Some(spec) = kind.of(c) else { continue };
        let pod = round.pod;
        let state = round.local.probes.entry((o.id.clone(), kind));
        let state = state.or_insert_with(|| ProbeState::new(kind, before(pod, &o.id, kind)));
        let passed = state.passing == Some(true);
        let idle = state.busy || state.on_hold || (kind == Kind::Startup && passed);
        if !idle && started && !(ending && kind != Kind::Readiness) {
            due(round, spec, o, kind);
        }
        started &= kind != Kind::Startup || passed;
    }
}

fn due(round: &mut Round<'_>, spec: &Probe, o: &Observed, kind: Kind) {
    let began = Timestamp::from_nanosecond(i128::from(o.started_at)).unwrap_or(Timestamp::UNIX_EPOCH);
    let now = round.now;
    let Some(state) = round.local.probes.get_mut(&(o.id.clone(), kind)) else { return };
    let at = state.due(spec, began);
    if at > now {
        return round.requeue(at);
    }
    state.begin(now);
    round.plan.ops.push(Op::Probe { id: o.id.clone(), container: o.name.clone(), kind });
}

/// Takes in a probe's answer; returns the event that it makes.
pub fn answer(
    pod: &Pod,
    local: &mut Local,
    id: &str,
    name: &str,
    kind: Kind,
    answer: &Answer,
) -> Option<Note> {
    let (c, role) = podspec::find_container(pod, name)?;
    let spec = kind.of(&c)?;
    let state = local.probes.get_mut(&(id.to_owned(), kind))?;
    let changed = state.answer(kind, spec, answer);
    let opened = changed && kind == Kind::Startup && state.passing == Some(true);
    if opened && let Some(readiness) = local.probes.get_mut(&(id.to_owned(), Kind::Readiness)) {
        readiness.hurry();
    }
    let word = kind.word();
    let note = match answer {
        Answer::Success => return None,
        Answer::Warning(text) => Note::warning("ProbeWarning", format!("{word} probe warning: {text}")),
        Answer::Failure(text) => Note::warning("Unhealthy", format!("{word} probe failed: {text}")),
        Answer::Error(text) => {
            Note::warning("Unhealthy", format!("{word} probe errored and resulted in unknown state: {text}"))
        }
    };
    Some(note.of(role, name))
}
