//! What must hold at every revision: one function a rule, over the model and the revision that it has just taken in.

use super::model::{Model, PodFacts, Seen, number, text};

/// A rule: its name, and what is wrong.
pub(crate) type Rule = (&'static str, fn(&Model, &Seen<'_>) -> Option<String>);

/// Every rule; one line each.
pub(crate) const RULES: &[Rule] = &[
    ("a set has no more pods than it asks for", own_pods),
    ("a deployment has no more pods than it allows", deployment_pods),
    ("no node is over-committed", node_room),
    ("a daemon set has one pod on a node", daemon_pods),
    ("an index of a job has one pod", index_pods),
    ("a job that is done makes no pods", done_jobs),
    ("a success counts once", job_successes),
    ("a cron job that forbids it has one job", cron_jobs),
    ("a quota holds", quotas),
    ("a claim in use stays", used_claims),
    ("a volume has one claim", one_claim),
    ("a pod that has ended stays so", ended_pods),
    ("a pod stays on its node", pods_stay),
    ("a pod is where its data are", data_are_near),
];

/// The pod that was just made.
fn new_pod<'a>(model: &'a Model, seen: &Seen<'_>) -> Option<&'a PodFacts> {
    let new = seen.resource == "pods" && seen.old_pod.is_none();
    model.pods.get(seen.uid).filter(|p| new && p.active)
}

fn own_pods(model: &Model, seen: &Seen<'_>) -> Option<String> {
    let owner = &new_pod(model, seen)?.owner;
    let (allowed, have) = (model.allowed(owner)?, model.active(|p| p.owner == *owner));
    (have > allowed).then(|| format!("{have} pods of {owner}, which wants {allowed}"))
}

fn deployment_pods(model: &Model, seen: &Seen<'_>) -> Option<String> {
    let parent = model.parents.get(&new_pod(model, seen)?.owner).filter(|p| !p.is_empty())?;
    let have = model.active(|p| model.parents.get(&p.owner) == Some(parent));
    let allowed = model.allowed(parent)?;
    (have > allowed).then(|| format!("{have} pods of the deployment {parent}, which allows {allowed}"))
}

fn node_room(model: &Model, seen: &Seen<'_>) -> Option<String> {
    let pod = model.pods.get(seen.uid).filter(|p| !p.node.is_empty() && !p.ended)?;
    let was_there = seen.old_pod.as_ref().is_some_and(|o| !o.node.is_empty());
    let on_it = |p: &&PodFacts| p.node == pod.node && !p.ended;
    let used: u64 = model.pods.values().filter(on_it).map(|p| p.cpu).sum();
    let size = model.nodes.get(&pod.node).copied().unwrap_or(0);
    (!was_there && used > size).then(|| format!("{used}m of processor on {}, which has {size}m", pod.node))
}

fn daemon_pods(model: &Model, seen: &Seen<'_>) -> Option<String> {
    let pod = new_pod(model, seen).filter(|p| model.daemons.contains(&p.owner))?;
    let have = model.active(|p| p.owner == pod.owner && p.target == pod.target);
    (have > 1).then(|| format!("{have} pods of the daemon set {} for {}", pod.owner, pod.target))
}

fn index_pods(model: &Model, seen: &Seen<'_>) -> Option<String> {
    let pod = new_pod(model, seen).filter(|p| !p.index.is_empty())?;
    let have = model.active(|p| p.owner == pod.owner && p.index == pod.index);
    (have > 1).then(|| format!("{have} pods of the job {} for the index {}", pod.owner, pod.index))
}

fn done_jobs(model: &Model, seen: &Seen<'_>) -> Option<String> {
    let pod = new_pod(model, seen)?;
    let job = model.jobs.get(&pod.owner).filter(|j| j.finished && !j.gone)?;
    Some(format!("the pod {} was made for the job {}, which is done", pod.name, job.name))
}

fn job_successes(model: &Model, seen: &Seen<'_>) -> Option<String> {
    let job = model.jobs.get(seen.uid).filter(|_| seen.resource == "jobs" && !seen.gone)?;
    let (told, real) = (number(seen.object, "/status/succeeded"), job.succeeded.len() as u64);
    (told > real).then(|| format!("the job {} counts {told} successes of {real}", job.name))
}

fn cron_jobs(model: &Model, seen: &Seen<'_>) -> Option<String> {
    let job = model.jobs.get(seen.uid).filter(|j| seen.new_job && model.forbidding.contains(&j.cron))?;
    let of_it = model.jobs.values().filter(|j| j.cron == job.cron && !j.finished).count();
    (of_it > 1).then(|| format!("{of_it} jobs at once of the cron job {}, which forbids it", job.cron))
}

fn quotas(model: &Model, seen: &Seen<'_>) -> Option<String> {
    let pod = new_pod(model, seen)?;
    let limit = *model.quotas.get(&pod.namespace)?;
    let have = model.pods.values().filter(|p| p.namespace == pod.namespace && !p.ended).count() as u64;
    (have > limit).then(|| format!("{have} pods in {}, whose quota is {limit}", pod.namespace))
}

fn used_claims(model: &Model, seen: &Seen<'_>) -> Option<String> {
    let gone = seen.resource == "persistentvolumeclaims" && seen.gone;
    let (namespace, name) = (text(seen.object, "/metadata/namespace"), text(seen.object, "/metadata/name"));
    let uses = |p: &&PodFacts| {
        p.namespace == namespace && !p.ended && !p.node.is_empty() && p.claims.iter().any(|c| c == name)
    };
    let user = model.pods.values().find(uses).filter(|_| gone)?;
    Some(format!("the claim {name} is gone, and the pod {} uses it", user.name))
}

fn one_claim(model: &Model, seen: &Seen<'_>) -> Option<String> {
    let claim = model.claims.get(seen.uid).filter(|c| !c.volume.is_empty())?;
    let other = model.claims.iter().find(|(uid, c)| *uid != seen.uid && c.volume == claim.volume)?.1;
    let name = |c: &super::model::ClaimFacts| format!("{}/{}", c.namespace, c.name);
    Some(format!("the volume {} is both {}'s and {}'s", claim.volume, name(claim), name(other)))
}

fn ended_pods(model: &Model, seen: &Seen<'_>) -> Option<String> {
    let (old, new) = (seen.old_pod.as_ref()?, model.pods.get(seen.uid)?);
    let ended = old.phase == "Succeeded" || old.phase == "Failed";
    (ended && old.phase != new.phase)
        .then(|| format!("the pod {} was {} and is {}", new.name, old.phase, new.phase))
}

fn pods_stay(model: &Model, seen: &Seen<'_>) -> Option<String> {
    let (old, new) = (seen.old_pod.as_ref()?, model.pods.get(seen.uid)?);
    (!old.node.is_empty() && old.node != new.node)
        .then(|| format!("the pod {} was on {} and is on {}", new.name, old.node, new.node))
}

fn data_are_near(model: &Model, seen: &Seen<'_>) -> Option<String> {
    let pod = model.pods.get(seen.uid).filter(|p| !p.node.is_empty() && !p.ended)?;
    let mounted =
        model.claims.values().filter(|c| c.namespace == pod.namespace && pod.claims.contains(&c.name));
    let nodes = mounted.filter_map(|c| Some((&c.volume, model.volumes.get(&c.volume)?)));
    let (volume, node) = nodes.into_iter().find(|(_, node)| **node != pod.node)?;
    let new = seen.old_pod.as_ref().is_none_or(|o| o.node.is_empty());
    new.then(|| format!("the pod {} is on {}, and its volume {volume} on {node}", pod.name, pod.node))
}

#[cfg(test)]
mod tests;
