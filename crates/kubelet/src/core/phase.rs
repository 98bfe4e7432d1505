//! The phase of a pod from the states of its containers (`getPhase` of `pkg/kubelet/kubelet_pods.go`).

use super::{podspec, restart};
use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStatus, Pod};

#[derive(Default)]
struct Count {
    pending_init: u32,
    pending_sidecar: u32,
    failed_for_good: bool,
    unknown: u32,
    running: u32,
    waiting: u32,
    stopped: u32,
    stopped_for_good: u32,
    succeeded: u32,
}

fn find<'a>(all: &'a [ContainerStatus], name: &str) -> Option<(&'a ContainerStatus, &'a ContainerState)> {
    let status = all.iter().find(|s| s.name == name)?;
    Some((status, status.state.as_ref()?))
}

fn last_exit(status: &ContainerStatus) -> Option<i32> {
    Some(status.last_state.as_ref()?.terminated.as_ref()?.exit_code)
}

impl Count {
    /// `for_good`: whether the container doesn't run again after an end with that code.
    fn init(&mut self, found: Option<(&ContainerStatus, &ContainerState)>, for_good: impl Fn(i32) -> bool) {
        let exit = match found {
            Some((_, ContainerState { terminated: Some(t), .. })) => Some(t.exit_code),
            Some((status, ContainerState { waiting: Some(_), .. })) => last_exit(status),
            _ => None,
        };
        match exit {
            Some(code) => self.failed_for_good |= code != 0 && for_good(code),
            None => self.pending_init += 1,
        }
    }

    fn sidecar(&mut self, found: Option<(&ContainerStatus, &ContainerState)>) {
        match found {
            None => self.unknown += 1,
            Some((status, ContainerState { running: Some(_), .. })) => {
                self.pending_sidecar += u32::from(status.started != Some(true));
                self.running += 1;
            }
            Some((_, ContainerState { terminated: Some(_), .. })) => {}
            Some((status, ContainerState { waiting: Some(_), .. })) => {
                if last_exit(status).is_none() {
                    self.pending_sidecar += 1;
                    self.waiting += 1;
                }
            }
            Some(_) => {
                self.pending_sidecar += 1;
                self.unknown += 1;
            }
        }
    }

    fn regular(
        &mut self,
        found: Option<(&ContainerStatus, &ContainerState)>,
        for_good: impl Fn(i32) -> bool,
    ) {
        let mut stop = |code: i32| {
            self.stopped += 1;
            self.stopped_for_good += u32::from(for_good(code));
        };
        match found {
            None => self.unknown += 1,
            Some((_, ContainerState { running: Some(_), .. })) => self.running += 1,
            Some((_, ContainerState { terminated: Some(t), .. })) => {
                stop(t.exit_code);
                self.succeeded += u32::from(t.exit_code == 0);
            }
            Some((status, ContainerState { waiting: Some(_), .. })) => match last_exit(status) {
                Some(code) => stop(code),
                None => self.waiting += 1,
            },
            Some(_) => self.unknown += 1,
        }
    }
}

/// The phase of `pod` whose containers have the statuses `all`. `terminal`: nothing of it will run any more.
/// `initialized`: a container of `spec.containers` has been started in the present sandbox. `runs_again`: whether
/// the end that the container of this name shows is not its last, whatever its restart policy says.
pub fn phase(
    pod: &Pod,
    all: &[ContainerStatus],
    terminal: bool,
    initialized: bool,
    runs_again: &dyn Fn(&str) -> bool,
) -> &'static str {
    let mut n = Count::default();
    let for_good = |c: &Container, code: i32| !restart::after_exit(pod, c, code) && !runs_again(&c.name);
    for c in podspec::init_containers(pod) {
        match podspec::is_sidecar(c) {
            true => n.sidecar(find(all, &c.name)),
            false => n.init(find(all, &c.name), |code| for_good(c, code)),
        }
    }
    for c in podspec::containers(pod) {
        n.regular(find(all, &c.name), |code| for_good(c, code));
    }
    let done = if n.stopped == n.succeeded { "Succeeded" } else { "Failed" };
    if n.failed_for_good {
        return "Failed";
    }
    if n.pending_init > 0 || (n.pending_sidecar > 0 && !initialized) || n.waiting > 0 {
        return "Pending";
    }
    match (n.running, n.unknown) {
        (1.., 0) => "Running",
        (0, 0) if n.stopped > 0 && terminal => done,
        (0, 0) if n.stopped > 0 && n.stopped != n.stopped_for_good => "Running",
        (0, 0) if n.stopped > 0 => done,
        _ => "Pending",
    }
}
