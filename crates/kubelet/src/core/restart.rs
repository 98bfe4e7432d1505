//! Whether a container that ended runs again: the pod's `restartPolicy`, the container's own, and its rules
//! (KEP-5307).

use super::observe::{PodObservation, State};
use super::podspec;
use k8s_openapi::api::core::v1::{Container, ContainerRestartRule, Pod};

/// The first rule that names the exit code.
fn matching_rule(container: &Container, exit_code: i32) -> Option<&ContainerRestartRule> {
    container.restart_policy_rules.as_deref().unwrap_or_default().iter().find(|rule| {
        rule.exit_codes.as_ref().is_some_and(|on| {
            let listed = on.values.as_deref().unwrap_or_default().contains(&exit_code);
            match on.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                _ => false,
            }
        })
    })
}

/// The policy that holds for a container: its own where it has one.
pub fn policy<'a>(pod: &'a Pod, container: &'a Container) -> &'a str {
    container.restart_policy.as_deref().unwrap_or_else(|| podspec::restart_policy(pod))
}

/// Whether the whole pod starts over when the container ends with `exit_code`.
pub fn restarts_all(container: &Container, exit_code: i32) -> bool {
    matching_rule(container, exit_code).is_some_and(|rule| rule.action == "RestartAllContainers")
}

/// Whether a container that ended with `exit_code` is to run again (`podutil.ContainerShouldRestart`).
pub fn after_exit(pod: &Pod, container: &Container, exit_code: i32) -> bool {
    if let Some(rule) = matching_rule(container, exit_code) {
        return matches!(rule.action.as_str(), "Restart" | "RestartAllContainers");
    }
    match policy(pod, container) {
        "Never" => false,
        "OnFailure" => exit_code != 0,
        _ => true,
    }
}

/// Whether a container that isn't running is to be started (`kubecontainer.ShouldContainerBeRestarted`).
pub fn should_start(pod: &Pod, container: &Container, observed: &PodObservation) -> bool {
    if podspec::is_deleting(pod) {
        return false;
    }
    match observed.container(&container.name) {
        None => true,
        Some(c) => match c.state {
            State::Running => false,
            State::Unknown | State::Created => true,
            State::Exited => after_exit(pod, container, c.exit_code),
        },
    }
}

/// Whether a container killed for a failed probe or a changed definition runs again.
pub fn after_kill(pod: &Pod, container: &Container) -> bool {
    policy(pod, container) != "Never"
}
