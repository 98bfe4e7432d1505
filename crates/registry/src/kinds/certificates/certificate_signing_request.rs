//! `certificatesigningrequests` (certificates.k8s.io/v1).

use crate::fill::{each, set};
use crate::kind::Kind;
use crate::strategy::{Context, PLAIN, STATUS_PART, Strategy, Update, WHOLE, keep_all_but_status};
use crate::table::{age, human_duration, items, name, text, text_or};
use crate::validate::certificates;
use jiff::Timestamp;
use meta::Object;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind::cluster("certificates.k8s.io", "v1", "CertificateSigningRequest", "certificatesigningrequests")
        .short(&["csr"])
        .part("approval", &APPROVAL)
        .status_with(json!({}), &STATUS)
        .table(&["Name", "Age", "SignerName", "Requestor", "RequestedDuration", "Condition"], row)
        .field("spec.signerName")
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    validate_name: crate::names::path_segment,
    prepare_for_create: note_requestor,
    validate: certificates::validate_signing_request,
    // Requests never change but by their parts.
    update: Update { prepare: |new, old, _| new.body = old.body.clone(), ..WHOLE },
    ..PLAIN
};

static STATUS: Update =
    Update { prepare: prepare_status, validate: certificates::validate_signing_status, ..STATUS_PART };
static APPROVAL: Update =
    Update { prepare: prepare_approval, validate: certificates::validate_signing_approval, ..STATUS_PART };

/// Who asks is taken from the request, never from the object.
fn note_requestor(o: &mut Object, context: &Context) {
    let Some(Value::Object(spec)) = o.body.get_mut("spec") else { return };
    for key in ["username", "uid", "groups", "extra"] {
        spec.remove(key);
    }
    if let Value::Object(user) = context.user.to_value() {
        spec.extend(user);
    }
}

/// New conditions get their times (`pkg/registry/certificates/certificates/strategy.go`).
fn stamp(new: &mut Object, old: &Object, context: &Context) {
    let now = meta::Time::new(context.now).to_string();
    let before = items(old, &["status", "conditions"]).to_vec();
    let Some(status) = new.body.get_mut("status") else { return };
    for condition in each(status, "conditions") {
        let same = before.iter().any(|c| certificates::same_condition(c, condition));
        set(condition, "lastUpdateTime", now.as_str());
        if !same {
            set(condition, "lastTransitionTime", now.as_str());
        }
    }
}

fn is_decision(condition: &Value) -> bool {
    condition["type"] == "Approved" || condition["type"] == "Denied"
}

/// The signer sets certificate and `Failed`; approval isn't its business.
fn prepare_status(new: &mut Object, old: &Object, context: &Context) {
    keep_all_but_status(new, old, context);
    let before = items(old, &["status", "conditions"]).to_vec();
    let conditions: Vec<Value> = items(new, &["status", "conditions"])
        .iter()
        .map(|c| before.iter().find(|b| is_decision(c) && b["type"] == c["type"]).unwrap_or(c).clone())
        .collect();
    if !conditions.is_empty() {
        new.set(&["status", "conditions"], conditions.into());
    }
    stamp(new, old, context);
}

fn prepare_approval(new: &mut Object, old: &Object, context: &Context) {
    let conditions = new.get(&["status", "conditions"]).cloned();
    new.body = old.body.clone();
    if let Some(conditions) = conditions {
        new.set(&["status", "conditions"], conditions);
    }
    stamp(new, old, context);
}

fn condition(o: &Object) -> String {
    let has = |kind: &str| items(o, &["status", "conditions"]).iter().any(|c| c["type"] == kind);
    let mut state = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }
    .to_owned();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !o.str(&["status", "certificate"]).is_empty() {
        state.push_str(",Issued");
    }
    state
}

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let wanted = o.get(&["spec", "expirationSeconds"]).and_then(Value::as_i64);
    vec![
        name(o),
        age(o, now),
        text_or(o, &["spec", "signerName"], "<none>"),
        text(o, &["spec", "username"]),
        wanted.map_or_else(|| "<none>".to_owned(), human_duration).into(),
        condition(o).into(),
    ]
}
