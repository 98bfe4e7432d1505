//! What runs many pods: ReplicaSets, Deployments, StatefulSets, DaemonSets, ReplicationControllers, and their
//! revisions and templates (`pkg/apis/apps/validation/validation.go`).

use super::at::{At, Faults};
use super::pod_spec::template;
use super::{IMMUTABLE, immutable};
use meta::int_or_string::IntOrString;
use meta::{FieldError, FieldPath, Object};
use serde_json::Value;
use std::collections::BTreeMap;

const NO_MATCH: &str = "`selector` does not match template `labels`";

/// A number of 0 or more, or a percentage.
pub(super) fn int_or_percent(at: &At<'_>, faults: &mut Faults) {
    match at.value() {
        Value::Null => {}
        Value::String(_) => at.rule(meta::names::percent, faults),
        Value::Number(_) => at.non_negative(faults),
        _ => faults.push(at.invalid("must be an integer or percentage (e.g '5%%')")),
    }
}

/// At most all of them.
pub(super) fn at_most_all(at: &At<'_>, faults: &mut Faults) {
    let percent = at.str().strip_suffix('%').and_then(|n| n.parse::<i64>().ok());
    if percent.is_some_and(|n| n > 100) {
        faults.push(at.invalid("must not be greater than 100%"));
    }
}

fn amount(at: &At<'_>) -> i64 {
    IntOrString::from_value(at.value()).map_or(0, |v| match v.to_value() {
        Value::String(s) => s.trim_end_matches('%').parse().unwrap_or(0),
        v => v.as_i64().unwrap_or(0),
    })
}

fn labels_of(template: &At<'_>) -> BTreeMap<String, String> {
    let labels = template.get("metadata").get("labels");
    labels.entries().map(|(k, v)| (k.to_owned(), v.str().to_owned())).collect()
}

/// The selector: there, well-formed, not empty, and matching the template. False where it can't be read.
fn selector(spec: &At<'_>, kind: &str, faults: &mut Faults) -> bool {
    let at = spec.get("selector");
    if !at.is_set() {
        // No selector is one that nothing matches.
        faults.push(at.missing(""));
        faults.push(spec.get("template").get("metadata").get("labels").invalid(NO_MATCH));
        return true;
    }
    let Some(parsed) = at.selector(faults) else { return false };
    if parsed.is_empty() {
        faults.push(at.invalid(format!("empty selector is invalid for {kind}")));
    }
    let Ok(parsed) = parsed.selector() else {
        faults.push(at.invalid(if kind == "statefulset" { "" } else { "invalid label selector" }));
        return false;
    };
    if !parsed.is_empty() && !parsed.matches(&labels_of(&spec.get("template"))) {
        faults.push(spec.get("template").get("metadata").get("labels").invalid(NO_MATCH));
    }
    true
}

/// The template of pods that are to run for ever.
fn running_template(spec: &At<'_>, kind: &str, faults: &mut Faults) {
    let at = spec.get("template");
    template(&at, faults);
    let policy = at.get("spec").get("restartPolicy");
    if policy.str() != "Always" {
        faults.retain(|f| f.path != policy.path());
        policy.known(&["Always"], faults);
    }
    let deadline = at.get("spec").get("activeDeadlineSeconds");
    if deadline.is_set() {
        faults.push(deadline.forbidden(format!("activeDeadlineSeconds in {kind} is not Supported")));
    }
}

fn counts(at: &At<'_>, keys: &[&'static str], faults: &mut Faults) {
    keys.iter().for_each(|key| at.get(key).non_negative(faults));
}

/// Of a status: counts of 0 or more, and none above another.
fn status_counts(o: &Object, keys: &[&'static str], below: &[(&'static str, &'static str, &str)]) -> Faults {
    let mut faults = Vec::new();
    let status = At::top(o, "status");
    counts(&status, keys, &mut faults);
    let count = |key| status.get(key).int().unwrap_or(0);
    for (less, more, name) in below.iter().filter(|(less, more, _)| count(less) > count(more)) {
        let _ = more;
        faults.push(status.get(less).invalid(format!("cannot be greater than {name}")));
    }
    faults
}

/// A change of a Deployment's status.
pub(crate) fn validate_deployment_status(new: &Object, _: &Object) -> Faults {
    status_counts(
        new,
        &[
            "observedGeneration",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
            "terminatingReplicas",
            "collisionCount",
        ],
        &[
            ("updatedReplicas", "replicas", "status.replicas"),
            ("readyReplicas", "replicas", "status.replicas"),
            ("availableReplicas", "replicas", "status.replicas"),
            ("availableReplicas", "readyReplicas", "readyReplicas"),
        ],
    )
}

/// A change of a ReplicaSet's or ReplicationController's status.
pub(crate) fn validate_replica_status(new: &Object, _: &Object) -> Faults {
    status_counts(
        new,
        &[
            "replicas",
            "fullyLabeledReplicas",
            "readyReplicas",
            "availableReplicas",
            "observedGeneration",
            "terminatingReplicas",
        ],
        &[
            ("fullyLabeledReplicas", "replicas", "status.replicas"),
            ("readyReplicas", "replicas", "status.replicas"),
            ("availableReplicas", "replicas", "status.replicas"),
            ("availableReplicas", "readyReplicas", "readyReplicas"),
        ],
    )
}

/// A change of a StatefulSet's status.
pub(crate) fn validate_stateful_set_status(new: &Object, _: &Object) -> Faults {
    status_counts(
        new,
        &[
            "replicas",
            "readyReplicas",
            "currentReplicas",
            "updatedReplicas",
            "availableReplicas",
            "observedGeneration",
            "collisionCount",
        ],
        &[
            ("readyReplicas", "replicas", "status.replicas"),
            ("currentReplicas", "replicas", "status.replicas"),
            ("updatedReplicas", "replicas", "status.replicas"),
            ("availableReplicas", "replicas", "status.replicas"),
            ("availableReplicas", "readyReplicas", "status.readyReplicas"),
        ],
    )
}

/// A change of a DaemonSet's status.
pub(crate) fn validate_daemon_set_status(new: &Object, _: &Object) -> Faults {
    status_counts(
        new,
        &[
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "observedGeneration",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
            "collisionCount",
        ],
        &[],
    )
}

/// A selector stays.
fn same_selector(new: &Object, old: &Object) -> Faults {
    immutable(new, old, &["spec", "selector"], &FieldPath::new("spec.selector"))
}

/// ReplicaSet.
pub(crate) fn validate_replica_set(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let spec = At::top(o, "spec");
    counts(&spec, &["replicas", "minReadySeconds"], &mut faults);
    // Upstream says "deployment" here too.
    if selector(&spec, "deployment", &mut faults) {
        running_template(&spec, "ReplicaSet", &mut faults);
    }
    faults
}

/// A change of a ReplicaSet.
pub(crate) fn validate_replica_set_update(new: &Object, old: &Object) -> Faults {
    same_selector(new, old)
}

/// Deployment.
pub(crate) fn validate_deployment(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let spec = At::top(o, "spec");
    counts(&spec, &["replicas"], &mut faults);
    if selector(&spec, "deployment", &mut faults) {
        running_template(&spec, "ReplicaSet", &mut faults);
    }
    deployment_strategy(&spec.get("strategy"), &mut faults);
    counts(&spec, &["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"], &mut faults);
    let deadline = spec.get("progressDeadlineSeconds");
    if deadline.int().is_some_and(|n| n <= spec.get("minReadySeconds").int().unwrap_or(0)) {
        faults.push(deadline.invalid("must be greater than minReadySeconds"));
    }
    faults
}

fn deployment_strategy(strategy: &At<'_>, faults: &mut Faults) {
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").str() {
        "Recreate" if rolling.is_set() => {
            faults.push(rolling.forbidden("may not be specified when strategy `type` is 'Recreate'"));
        }
        "Recreate" => {}
        "RollingUpdate" if !rolling.is_set() => {
            faults.push(rolling.missing("this should be defaulted and never be nil"));
        }
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
            int_or_percent(&unavailable, faults);
            int_or_percent(&surge, faults);
            if amount(&unavailable) == 0 && amount(&surge) == 0 {
                faults.push(unavailable.invalid("may not be 0 when `maxSurge` is 0"));
            }
            at_most_all(&unavailable, faults);
        }
        _ => {
            let known = ["Recreate", "RollingUpdate"];
            faults.push(FieldError::not_supported(&strategy.path(), strategy.value().clone(), &known));
        }
    }
}

/// A change of a Deployment.
pub(crate) fn validate_deployment_update(new: &Object, old: &Object) -> Faults {
    same_selector(new, old)
}

/// DaemonSet.
pub(crate) fn validate_daemon_set(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let spec = At::top(o, "spec");
    daemon_selector(&spec, &mut faults);
    running_template(&spec, "DaemonSet", &mut faults);
    counts(&spec, &["minReadySeconds"], &mut faults);
    let strategy = spec.get("updateStrategy");
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").str() {
        "OnDelete" => {}
        "RollingUpdate" if !rolling.is_set() => faults.push(rolling.missing("")),
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
            for at in [&unavailable, &surge] {
                int_or_percent(at, &mut faults);
                at_most_all(at, &mut faults);
            }
            match (amount(&unavailable) != 0, amount(&surge) != 0) {
                (true, true) => faults.push(surge.invalid("may not be set when maxUnavailable is non-zero")),
                (false, false) => faults.push(unavailable.missing("cannot be 0 when maxSurge is 0")),
                _ => {}
            }
        }
        _ => {
            let known = ["RollingUpdate", "OnDelete"];
            faults.push(FieldError::not_supported(&strategy.path(), strategy.value().clone(), &known));
        }
    }
    counts(&spec, &["revisionHistoryLimit"], &mut faults);
    faults
}

/// A missing selector matches nothing, an empty one everything.
fn daemon_selector(spec: &At<'_>, faults: &mut Faults) {
    let (at, labels) = (spec.get("selector"), spec.get("template").get("metadata").get("labels"));
    let parsed = at.selector(faults);
    let matches = |s: meta::LabelSelector| s.selector().map(|s| s.matches(&labels_of(&spec.get("template"))));
    let is_empty = parsed.as_ref().is_some_and(meta::LabelSelector::is_empty);
    if !at.is_set() || parsed.map(matches).is_some_and(|m| m == Ok(false)) {
        faults.push(labels.invalid(NO_MATCH));
    }
    if at.is_set() && is_empty {
        faults.push(at.invalid("empty selector is invalid for daemonset"));
    }
}

/// A change of a DaemonSet.
pub(crate) fn validate_daemon_set_update(new: &Object, old: &Object) -> Faults {
    same_selector(new, old)
}

/// StatefulSet.
pub(crate) fn validate_stateful_set(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let spec = At::top(o, "spec");
    let management = spec.get("podManagementPolicy");
    if management.required(&mut faults) && !matches!(management.str(), "OrderedReady" | "Parallel") {
        faults.push(management.invalid("must be 'OrderedReady' or 'Parallel'"));
    }
    stateful_strategy(&spec.get("updateStrategy"), &mut faults);
    for key in ["whenDeleted", "whenScaled"] {
        spec.get("persistentVolumeClaimRetentionPolicy").get(key).known(&["Retain", "Delete"], &mut faults);
    }
    for claim in spec.get("volumeClaimTemplates").items() {
        super::storage::claim_spec(&claim.get("spec"), &mut faults);
    }
    counts(&spec, &["replicas", "minReadySeconds"], &mut faults);
    spec.get("ordinals").get("start").non_negative(&mut faults);
    if selector(&spec, "statefulset", &mut faults) {
        let mut whole = spec.value().clone();
        whole["template"] = with_claims(&spec);
        running_template(&At::new(&whole, spec.path()), "StatefulSet", &mut faults);
    }
    faults
}

/// A new StatefulSet. Its service's name never changes, so an old one may stay as bad as it is.
pub(crate) fn validate_new_stateful_set(o: &Object) -> Faults {
    let mut faults = Vec::new();
    At::top(o, "spec").get("serviceName").optional_rule(meta::names::dns1123_label, &mut faults);
    faults
}

/// The template as its pods will be: with a volume for each claim, and with names that only pods get.
fn with_claims(spec: &At<'_>) -> Value {
    let mut template = spec.get("template").value().clone();
    let claims: Vec<&str> =
        spec.get("volumeClaimTemplates").items().map(|c| c.get("metadata").get("name").str()).collect();
    let Some(Value::Object(pod)) = template.get_mut("spec") else { return template };
    pod.remove("subdomain");
    pod.remove("hostname");
    let own = pod.get("volumes").and_then(Value::as_array).cloned().unwrap_or_default();
    let named = |v: &Value| claims.contains(&v["name"].as_str().unwrap_or_default());
    let claimed = claims
        .iter()
        .map(|name| serde_json::json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
    // Own volumes stand first, so that what is wrong with them is said at their own places.
    let all: Vec<Value> = own.into_iter().filter(|v| !named(v)).chain(claimed).collect();
    pod.insert("volumes".into(), all.into());
    template
}

fn stateful_strategy(strategy: &At<'_>, faults: &mut Faults) {
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").str() {
        "" => faults.push(strategy.missing("")),
        "OnDelete" if rolling.is_set() => {
            faults.push(rolling.invalid("only allowed for updateStrategy 'RollingUpdate'"));
        }
        "OnDelete" => {}
        "RollingUpdate" => {
            rolling.get("partition").non_negative(faults);
            let unavailable = rolling.get("maxUnavailable");
            int_or_percent(&unavailable, faults);
            at_most_all(&unavailable, faults);
        }
        _ => faults.push(strategy.invalid("must be 'RollingUpdate' or 'OnDelete'")),
    }
}

/// Fields of a StatefulSet's spec that may change.
const STATEFUL_MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

/// A change of a StatefulSet.
pub(crate) fn validate_stateful_set_update(new: &Object, old: &Object) -> Faults {
    let rest = |o: &Object| {
        let mut spec = o.body.get("spec").cloned().unwrap_or_default();
        if let Value::Object(spec) = &mut spec {
            STATEFUL_MUTABLE.iter().for_each(|key| drop(spec.remove(*key)));
        }
        spec
    };
    if rest(new) == rest(old) {
        return Vec::new();
    }
    let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
               'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    vec![FieldError::forbidden(&FieldPath::new("spec"), why)]
}

/// ReplicationController.
pub(crate) fn validate_replication_controller(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let spec = At::top(o, "spec");
    counts(&spec, &["replicas", "minReadySeconds"], &mut faults);
    let selector = spec.get("selector");
    if selector.is_empty() {
        faults.push(selector.missing(""));
    }
    if !spec.get("template").is_set() {
        faults.push(spec.get("template").missing(""));
        return faults;
    }
    let labels = labels_of(&spec.get("template"));
    if selector.entries().any(|(k, v)| labels.get(k).map(String::as_str) != Some(v.str())) {
        faults.push(spec.get("template").get("metadata").get("labels").invalid(NO_MATCH));
    }
    running_template(&spec, "ReplicationController", &mut faults);
    faults
}

/// PodTemplate.
pub(crate) fn validate_pod_template(o: &Object) -> Faults {
    let mut faults = Vec::new();
    template(&At::top(o, "template"), &mut faults);
    faults
}

/// ControllerRevision.
pub(crate) fn validate_revision(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let data = At::top(o, "data");
    if !data.is_set() {
        faults.push(data.missing("data is mandatory"));
    }
    At::top(o, "revision").non_negative(&mut faults);
    faults
}

/// A change of a ControllerRevision.
pub(crate) fn validate_revision_update(new: &Object, old: &Object) -> Faults {
    let data = At::top(new, "data");
    if Some(data.value()) == old.body.get("data") { Vec::new() } else { vec![data.invalid(IMMUTABLE)] }
}
