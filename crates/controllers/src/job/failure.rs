//! What the end of a failed pod means: a pod failure policy (`pod_failure_policy.go`).

use super::Round;
use api::MetaExt;
use api::batch::v1::{PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule};
use api::core::v1::{ContainerStatus, Pod};

/// What a rule says of a failed pod.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The whole job fails, with this message.
    FailJob(String),
    /// Its index fails.
    FailIndex,
    /// It counts towards the limit.
    Count,
    /// It doesn't count.
    Ignore,
}

impl Round<'_> {
    /// The first rule that matches decides; without one a failure counts.
    pub(super) fn verdict(&self, pod: &Pod) -> Verdict {
        let rules = self.spec.pod_failure_policy.iter().flat_map(|p| &p.rules);
        let found = rules.enumerate().find_map(|(i, rule)| matches(rule, pod, i));
        found.unwrap_or(Verdict::Count)
    }
}

fn matches(rule: &PodFailurePolicyRule, pod: &Pod, number: usize) -> Option<Verdict> {
    let (namespace, name, action) = (pod.namespace(), pod.name(), rule.action.as_str());
    let message = if let Some(codes) = &rule.on_exit_codes {
        let (container, code) = exit_code(codes, pod)?;
        format!(
            "Container {container} for pod {namespace}/{name} failed with exit code {code} matching {action} rule \
             at index {number}"
        )
    } else {
        let condition = matching_condition(rule, pod)?;
        format!("Pod {namespace}/{name} has condition {condition} matching {action} rule at index {number}")
    };
    match action {
        "FailJob" => Some(Verdict::FailJob(message)),
        "FailIndex" => Some(Verdict::FailIndex),
        "Ignore" => Some(Verdict::Ignore),
        "Count" => Some(Verdict::Count),
        _ => None,
    }
}

fn exit_code<'a>(codes: &PodFailurePolicyOnExitCodesRequirement, pod: &'a Pod) -> Option<(&'a str, i32)> {
    let status = pod.status.as_ref()?;
    let all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    let ended = all.filter_map(|c| Some((c.name.as_str(), terminated(c)?)));
    let named =
        ended.filter(|(name, _)| codes.container_name.as_deref().is_none_or(|wanted| wanted == *name));
    let mut failed = named.filter(|(_, code)| *code != 0);
    failed.find(|(_, code)| (codes.operator == "In") == codes.values.contains(code))
}

fn terminated(c: &ContainerStatus) -> Option<i32> {
    Some(c.state.as_ref()?.terminated.as_ref()?.exit_code)
}

fn matching_condition<'a>(rule: &'a PodFailurePolicyRule, pod: &Pod) -> Option<&'a str> {
    let conditions = pod.status.as_ref()?.conditions.as_deref().unwrap_or_default();
    let holds = |kind: &str, state: &str| conditions.iter().any(|c| c.type_ == kind && c.status == state);
    let mut patterns = rule.on_pod_conditions.iter().flatten();
    patterns.find(|p| holds(&p.type_, p.status.as_deref().unwrap_or("True"))).map(|p| p.type_.as_str())
}
