//! `pods` (v1).

use crate::fill::part;
use crate::kind::{Kind, Verbs};
use crate::pod::{defaults, resources::qos_class, strategy as parts};
use crate::strategy::{Context, PLAIN, Strategy, Update, WHOLE};
use crate::validate::pod as validate;
use meta::Object;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind::namespaced("", "v1", "Pod", "pods")
        .short(&["po"])
        .category("all")
        .special("attach", ("", "v1", "PodAttachOptions"), Verbs::CONNECT)
        .special("binding", ("", "v1", "Binding"), Verbs::CREATE)
        .part("ephemeralcontainers", &parts::EPHEMERAL_CONTAINERS)
        .special("eviction", ("policy", "v1", "Eviction"), Verbs::CREATE)
        .special("exec", ("", "v1", "PodExecOptions"), Verbs::CONNECT)
        .special("log", ("", "v1", "Pod"), Verbs::GET)
        .special("portforward", ("", "v1", "PodPortForwardOptions"), Verbs::CONNECT)
        .special("proxy", ("", "v1", "PodProxyOptions"), Verbs::PROXY)
        .part("resize", &parts::RESIZE)
        .status_with(Value::Null, &parts::STATUS)
        .table(crate::pod::table::COLUMNS, crate::pod::table::row)
        .field("spec.nodeName")
        .field("spec.restartPolicy")
        .field("spec.schedulerName")
        .field("spec.serviceAccountName")
        .field_or("spec.hostNetwork", "spec.hostNetwork", "false")
        .field("status.phase")
        .field("status.podIP")
        .field("status.nominatedNodeName")
        .generation()
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default,
    prepare_for_create,
    validate: validate::validate_pod,
    validate_create: validate::validate_new_pod,
    update: Update { validate: validate::validate_pod_update, ..WHOLE },
    grace,
    warnings: crate::validate::warnings::pod,
    ..PLAIN
};

fn default(o: &mut Object) {
    let spec = part(o, "spec");
    defaults::spec(spec);
    defaults::pod_only(spec);
}

fn prepare_for_create(o: &mut Object, context: &Context) {
    let spec = part(o, "spec");
    let mut status = json!({"phase": "Pending", "qosClass": qos_class(spec)});
    if spec["schedulingGates"].as_array().is_some_and(|g| !g.is_empty()) {
        status["conditions"] = json!([{
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "lastProbeTime": null,
            "lastTransitionTime": meta::Time::new(context.now).to_string(), "message": "Scheduling is blocked due to non-empty scheduling gates",
        }]);
    }
    let labels = o.metadata.labels.clone();
    parts::apply_match_label_keys(part(o, "spec"), &labels);
    o.body.insert("status".into(), status);
}

/// What the request asks for, else what the pod asks for; none at all where nothing runs (yet, or any more).
fn grace(o: &Object, requested: Option<i64>) -> Option<i64> {
    let wanted = requested.or_else(|| o.get(&["spec", "terminationGracePeriodSeconds"])?.as_i64());
    let runs = !o.str(&["spec", "nodeName"]).is_empty()
        && !matches!(o.str(&["status", "phase"]), "Failed" | "Succeeded");
    Some(match wanted.unwrap_or(0) {
        _ if !runs => 0,
        n if n < 0 => 1,
        n => n,
    })
}
