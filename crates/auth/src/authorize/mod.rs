//! May they? The chain `system:masters`, Node, RBAC, in upstream's order.

mod forbidden;
pub mod node;
pub mod rbac;

pub use forbidden::{forbidden, forbidden_message};
pub(crate) use rbac::quoted;

use meta::{Attributes, Object, Status, UserInfo};
use serde_json::Value;
use std::sync::{Arc, PoisonError, RwLock};

/// The group that may do everything (`user.SystemPrivilegedGroup`).
pub const SYSTEM_MASTERS: &str = "system:masters";

/// What an authorizer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes; the reason is for the audit log and for SubjectAccessReviews.
    Allow(Arc<str>),
    /// No, whatever others say.
    Deny(String),
    /// Not known here; the reason may be empty. At the end of the chain it means no.
    NoOpinion(String),
}

impl Decision {
    /// Whether the request may go on.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow(_))
    }

    /// The reason; may be empty.
    pub fn reason(&self) -> &str {
        match self {
            Self::Allow(reason) => reason,
            Self::Deny(reason) | Self::NoOpinion(reason) => reason,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    rbac: rbac::Policy,
    graph: node::Graph,
}

/// The authorizer of the cluster. Cheap to share; give it every change of the resources in
/// [`Authorizer::WATCHED`], in order.
#[derive(Debug, Default)]
pub struct Authorizer {
    state: RwLock<State>,
}

impl Authorizer {
    /// Group and resource of the objects that the authorizer must see, through [`Authorizer::put`] and
    /// [`Authorizer::delete`].
    pub const WATCHED: [(&'static str, &'static str); 8] = [
        (rbac::GROUP, "roles"),
        (rbac::GROUP, "clusterroles"),
        (rbac::GROUP, "rolebindings"),
        (rbac::GROUP, "clusterrolebindings"),
        ("", "pods"),
        ("", "persistentvolumes"),
        ("storage.k8s.io", "volumeattachments"),
        ("resource.k8s.io", "resourceslices"),
    ];

    /// An authorizer that knows no object yet: only `system:masters` may do anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a created or changed object of a watched resource; ignores others.
    pub fn put(&self, group: &str, resource: &str, object: &Object) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match group {
            rbac::GROUP => state.rbac.put(resource, object),
            _ => state.graph.put(group, resource, object),
        }
    }

    /// Forgets a deleted object of a watched resource; ignores others.
    pub fn delete(&self, group: &str, resource: &str, namespace: &str, name: &str) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match group {
            rbac::GROUP => state.rbac.delete(resource, namespace, name),
            _ => state.graph.delete(group, resource, namespace, name),
        }
    }

    fn read<T>(&self, f: impl FnOnce(&State) -> T) -> T {
        f(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Decides; what is not allowed comes with the reasons of all authorizers.
    pub fn authorize(&self, attributes: &Attributes) -> Decision {
        self.read(|state| decide(state, attributes))
    }

    /// Decides, and words the refusal as upstream does (403).
    pub fn require(&self, attributes: &Attributes) -> Result<(), Status> {
        match self.authorize(attributes) {
            Decision::Allow(_) => Ok(()),
            decision => Err(forbidden(attributes, decision.reason())),
        }
    }

    /// The rules that apply to the user in a namespace: `status` of a SelfSubjectRulesReview.
    pub fn rules_review(&self, user: &UserInfo, namespace: &str) -> Value {
        let mut status = self.read(|state| state.rbac.rules_review(user, namespace));
        if user.node_name().is_some() {
            status["incomplete"] = true.into();
            status["evaluationError"] = "node authorizer does not support user rule resolution".into();
        }
        status
    }

    /// Refuses a write of an RBAC object that grants what its writer doesn't hold; other resources pass.
    /// `attributes` is the request's, `new` what is about to be stored, `old` what is stored.
    pub fn check_escalation(
        &self,
        attributes: &Attributes,
        new: &Object,
        old: Option<&Object>,
    ) -> Result<(), Status> {
        self.read(|state| rbac::check_escalation(&state.rbac, &|a| decide(state, a), attributes, new, old))
    }
}

fn decide(state: &State, a: &Attributes) -> Decision {
    if a.user.is_in(SYSTEM_MASTERS) {
        return Decision::Allow(Arc::default());
    }
    let mut reasons = Vec::new();
    let authorizers: [&dyn Fn() -> Decision; 2] =
        [&|| node::authorize(&state.graph, a), &|| state.rbac.authorize(a)];
    for authorizer in authorizers {
        match authorizer() {
            Decision::NoOpinion(reason) if reason.is_empty() => {}
            Decision::NoOpinion(reason) => reasons.push(reason),
            decided => return decided,
        }
    }
    Decision::NoOpinion(reasons.join("\n"))
}
