//! `jobs` (batch/v1).

use crate::fill::{each, make, part, set, set_zero};
use crate::kind::Kind;
use crate::strategy::{Context, Dependents, PLAIN, Strategy, Update, WHOLE};
use crate::table::{age, containers, human_duration, items, name, number, selector};
use crate::validate::batch::{validate_job, validate_job_update};
use jiff::Timestamp;
use meta::Object;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind::namespaced("batch", "v1", "Job", "jobs")
        .category("all")
        .status(json!({}))
        .table(
            &["Name", "Status", "Completions", "Duration", "Age", "Containers*", "Images*", "Selector*"],
            row,
        )
        .field_or("status.successful", "status.succeeded", "0")
        .generation()
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default,
    warnings: crate::validate::warnings::job,
    prepare_for_create: |o, _: &Context| generate_selector(o),
    validate: validate_job,
    validate_create: crate::validate::batch::validate_new_job,
    update: Update { validate: validate_job_update, ..WHOLE },
    dependents: Dependents::Orphan,
    ..PLAIN
};

fn default(o: &mut Object) {
    let spec = part(o, "spec");
    spec_defaults(spec);
    set(spec, "backoffLimit", if spec["backoffLimitPerIndex"].is_null() { 6 } else { i64::from(i32::MAX) });
    set(spec, "completionMode", "NonIndexed");
    set(spec, "suspend", false);
    let policy = if spec["podFailurePolicy"].is_null() { "TerminatingOrFailed" } else { "Failed" };
    set(spec, "podReplacementPolicy", policy);
    set(spec, "manualSelector", false);
    label_as_pods(o);
}

/// A job without labels gets those of its pods, also those that the server gives them: upstream keeps both in one map.
fn label_as_pods(o: &mut Object) {
    let labels = o.get(&["spec", "template", "metadata", "labels"]).and_then(Value::as_object).cloned();
    if let Some(labels) = labels.filter(|_| o.metadata.labels.is_empty()) {
        let text = |(k, v): (String, Value)| Some((k, v.as_str()?.to_owned()));
        o.metadata.labels = labels.into_iter().filter_map(text).collect();
        if !o.metadata.labels.is_empty() && generates_selector(o) && !o.metadata.uid.is_empty() {
            let (uid, name) = (o.metadata.uid.clone(), o.metadata.name.clone());
            for (key, value) in [("controller-uid", uid), ("job-name", name)] {
                o.metadata.labels.entry(key.to_owned()).or_insert_with(|| value.clone());
                o.metadata.labels.entry(format!("batch.kubernetes.io/{key}")).or_insert(value);
            }
        }
    }
}

fn generates_selector(o: &Object) -> bool {
    o.get(&["spec", "manualSelector"]) != Some(&Value::Bool(true))
}

fn spec_defaults(spec: &mut Value) {
    let unset = |key: &str| spec.get(key).is_none_or(Value::is_null);
    if unset("completions") && unset("parallelism") {
        set(spec, "completions", 1);
    }
    set(spec, "parallelism", 1);
    template(spec);
}

/// What a job's spec gets in a cron job's template too: the pod template and the failure policy's conditions.
pub(super) fn template(spec: &mut Value) {
    crate::pod::defaults::template(make(spec, "template"));
    let Some(policy) = spec.get_mut("podFailurePolicy") else { return };
    for rule in each(policy, "rules") {
        each(rule, "onPodConditions").for_each(|c| set_zero(c, "status", "True"));
    }
}

/// Unless the user takes care of the selector, it selects this job's pods by its UID
/// (`pkg/registry/batch/job/strategy.go`).
fn generate_selector(o: &mut Object) {
    if !generates_selector(o) {
        return;
    }
    let (uid, name) = (o.metadata.uid.clone(), o.metadata.name.clone());
    let spec = part(o, "spec");
    let labels = make(make(make(spec, "template"), "metadata"), "labels");
    for (key, value) in [("controller-uid", &uid), ("job-name", &name)] {
        labels[key] = value.as_str().into();
        labels[format!("batch.kubernetes.io/{key}")] = value.as_str().into();
    }
    set(make(make(spec, "selector"), "matchLabels"), "batch.kubernetes.io/controller-uid", uid);
    label_as_pods(o);
}

fn status(o: &Object) -> &'static str {
    let has = |kind: &str| {
        items(o, &["status", "conditions"])
            .iter()
            .find(|c| c["type"] == kind)
            .is_some_and(|c| c["status"] == "True")
    };
    match () {
        () if has("Complete") => "Complete",
        () if has("Failed") => "Failed",
        () if o.metadata.is_deleting() => "Terminating",
        () if has("Suspended") => "Suspended",
        () if has("FailureTarget") => "FailureTarget",
        () if has("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(o: &Object) -> String {
    let succeeded = number(o, &["status", "succeeded"]);
    let parallelism = number(o, &["spec", "parallelism"]);
    match o.get(&["spec", "completions"]).and_then(Value::as_i64) {
        Some(n) => format!("{succeeded}/{n}"),
        None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        None => format!("{succeeded}/1"),
    }
}

fn duration(o: &Object, now: Timestamp) -> String {
    let time = |key| o.str(&["status", key]).parse::<Timestamp>().ok();
    let Some(start) = time("startTime") else { return String::new() };
    human_duration(time("completionTime").unwrap_or(now).as_second() - start.as_second())
}

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(o, &["spec", "template", "spec"]);
    vec![
        name(o),
        status(o).into(),
        completions(o).into(),
        duration(o, now).into(),
        age(o, now),
        names,
        images,
        selector(o.get(&["spec", "selector"])),
    ]
}
