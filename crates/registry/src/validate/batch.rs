//! Jobs and CronJobs (`pkg/apis/batch/validation/validation.go`).

use super::at::{At, Faults};
use super::immutable;
use super::pod_spec::template;
use meta::{FieldError, FieldPath, Object};
use serde_json::Value;
use std::collections::BTreeMap;

/// Most indexes that may run at once.
const INDEXED_PARALLELISM_MAX: i64 = 100_000;
/// Above so many completions, limits for each index need tighter bounds.
const COMPLETIONS_SOFT_LIMIT: i64 = 100_000;
/// These.
const HIGH_COMPLETIONS_MAX: i64 = 10_000;
/// Longest `managedBy`.
const MANAGED_BY_MAX: usize = 63;
/// Longest name of a CronJob: its jobs append eleven characters to it.
const CRON_NAME_MAX: usize = 52;

fn job_spec(spec: &At<'_>, faults: &mut Faults) {
    const COUNTS: [&str; 7] = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    COUNTS.iter().for_each(|key| spec.get(key).non_negative(faults));
    let (per_index, failed) = (spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes"));
    if failed.is_set() && !per_index.is_set() {
        faults.push(per_index.missing("when maxFailedIndexes is specified"));
    }
    managed_by(&spec.get("managedBy"), faults);
    let mode = spec.get("completionMode");
    mode.optional_one_of(&["NonIndexed", "Indexed"], faults);
    if mode.str() == "Indexed" {
        indexed(spec, faults);
    } else {
        for at in [per_index, failed] {
            if at.is_set() {
                faults.push(at.invalid("requires indexed completion mode"));
            }
        }
    }
    failure_policy(spec, faults);
    success_policy(spec, faults);
    let replacement = spec.get("podReplacementPolicy");
    if spec.get("podFailurePolicy").is_set() && replacement.is_set() {
        replacement.known(&["Failed"], faults);
    } else {
        replacement.optional_one_of(&["Failed", "TerminatingOrFailed"], faults);
    }
    template(&spec.get("template"), faults);
    restart_policy(spec, faults);
}

fn managed_by(at: &At<'_>, faults: &mut Faults) {
    if !at.is_set() {
        return;
    }
    match at.str().split_once('/') {
        Some((domain, path)) if !domain.is_empty() && !path.is_empty() => {
            let rule = meta::names::dns1123_subdomain(domain).into_iter();
            faults.extend(rule.map(|why| FieldError::invalid(&at.path(), domain, why)));
        }
        _ => faults.push(at.invalid("must be a domain-prefixed path (such as \"acme.io/foo\")")),
    }
    if at.str().len() > MANAGED_BY_MAX {
        faults.push(FieldError::too_long(&at.path(), MANAGED_BY_MAX));
    }
}

fn indexed(spec: &At<'_>, faults: &mut Faults) {
    let (completions, parallelism) = (spec.get("completions"), spec.get("parallelism"));
    let (per_index, failed) = (spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes"));
    let Some(wanted) = completions.int() else {
        faults.push(completions.missing("when completion mode is Indexed"));
        return;
    };
    let mut at_most = |at: &At<'_>, max: i64, bound: String| {
        if at.int().is_some_and(|n| n > max) {
            faults.push(at.invalid(format!("must be less than or equal to {bound}")));
        }
    };
    let max = INDEXED_PARALLELISM_MAX;
    at_most(&parallelism, max, format!("{max} when completion mode is Indexed"));
    at_most(&failed, wanted, "completions".to_owned());
    at_most(&failed, max, max.to_string());
    if wanted <= COMPLETIONS_SOFT_LIMIT || !per_index.is_set() {
        return;
    }
    let bound = format!(
        "{HIGH_COMPLETIONS_MAX} when completions are above {COMPLETIONS_SOFT_LIMIT} and used with backoff limit per index"
    );
    at_most(&parallelism, HIGH_COMPLETIONS_MAX, bound.clone());
    at_most(&failed, HIGH_COMPLETIONS_MAX, bound);
    if !failed.is_set() {
        let why = format!("must be specified when completions is above {COMPLETIONS_SOFT_LIMIT}");
        faults.push(failed.missing(why));
    }
}

/// When a job is done although not all of its indexes are (KEP-3998).
fn success_policy(spec: &At<'_>, faults: &mut Faults) {
    let policy = spec.get("successPolicy");
    if !policy.is_set() {
        return;
    }
    if spec.get("completionMode").str() != "Indexed" {
        return faults.push(policy.invalid("requires indexed completion mode"));
    }
    let rules = policy.get("rules");
    if rules.is_empty() {
        faults
            .push(rules.missing("at least one rules must be specified when the successPolicy is specified"));
    }
    if rules.len() > RULES_MAX {
        faults.push(FieldError::too_many(&rules.path(), rules.len(), RULES_MAX));
    }
    let completions = spec.get("completions").int().unwrap_or(0);
    rules.items().for_each(|rule| success_rule(&rule, completions, faults));
}

/// Longest `succeededIndexes`.
const INDEXES_MAX: usize = 64 * 1024;

fn success_rule(rule: &At<'_>, completions: i64, faults: &mut Faults) {
    let (count, indexes) = (rule.get("succeededCount"), rule.get("succeededIndexes"));
    if !count.is_set() && !indexes.is_set() {
        faults.push(rule.missing("at least one of succeededCount or succeededIndexes must be specified"));
    }
    let mut total = 0;
    if indexes.is_set() {
        if indexes.str().len() > INDEXES_MAX {
            faults.push(FieldError::too_long(&indexes.path(), INDEXES_MAX));
        }
        match count_indexes(indexes.str(), completions) {
            Ok(n) => total = n,
            Err(why) => faults.push(indexes.invalid(format!("error parsing succeededIndexes: {why}"))),
        }
    }
    count.non_negative(faults);
    let mut above = |max: i64, of: &str| {
        if count.int().is_some_and(|n| n > max) {
            faults.push(count.invalid(format!("must be less than or equal to {max} ({of})")));
        }
    };
    above(completions, "the number of specified completions");
    if indexes.is_set() {
        above(total, "the number of indexes in the specified succeededIndexes field");
    }
}

/// How many indexes a text such as `0,2-4` names; they must grow.
fn count_indexes(text: &str, completions: i64) -> Result<i64, String> {
    let number = |s: &str| match s.parse::<i64>() {
        Err(_) => Err(format!("cannot convert string to integer for index: {s:?}")),
        Ok(n) if n >= completions => Err(format!("too large index: {s:?}")),
        Ok(n) => Ok(n),
    };
    let grow = |last: i64, next: i64| match last < next {
        true => Ok(()),
        false => Err(format!("non-increasing order, previous: {last}, current: {next}")),
    };
    let (mut total, mut last) = (0, None);
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (start, end) = match part.split('-').collect::<Vec<_>>()[..] {
            [one] => (number(one)?, number(one)?),
            [start, end] => {
                let (start, end) = (number(start)?, number(end)?);
                grow(start, end)?;
                (start, end)
            }
            _ => {
                return Err(format!(
                    "the fragment {part:?} violates the requirement that an index interval can have at most two parts separated by '-'"
                ));
            }
        };
        last.map_or(Ok(()), |last| grow(last, start))?;
        total += end - start + 1;
        last = Some(end);
    }
    Ok(total)
}

/// Most rules of a failure policy.
const RULES_MAX: usize = 20;

fn failure_policy(spec: &At<'_>, faults: &mut Faults) {
    let rules = spec.get("podFailurePolicy").get("rules");
    if rules.len() > RULES_MAX {
        faults.push(FieldError::too_many(&rules.path(), rules.len(), RULES_MAX));
    }
    let template = spec.get("template").get("spec");
    let names: Vec<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| template.get(list).items().map(|c| c.get("name").str()).collect::<Vec<_>>())
        .collect();
    let per_index = spec.get("backoffLimitPerIndex").is_set();
    rules.items().for_each(|rule| failure_rule(&rule, per_index, &names, faults));
}

fn failure_rule(rule: &At<'_>, per_index: bool, names: &[&str], faults: &mut Faults) {
    let action = rule.get("action");
    if action.is_empty() {
        faults.push(action.missing(r#"valid values: ["Count" "FailIndex" "FailJob" "Ignore"]"#));
    } else if action.str() == "FailIndex" && !per_index {
        faults.push(action.invalid("requires the backoffLimitPerIndex to be set"));
    } else {
        action.known(&["Count", "FailIndex", "FailJob", "Ignore"], faults);
    }
    let (codes, conditions) = (rule.get("onExitCodes"), rule.get("onPodConditions"));
    if codes.is_set() {
        exit_codes(&codes, names, faults);
    }
    for condition in conditions.items() {
        condition.get("type").rule(meta::names::qualified_name, faults);
        condition.get("status").one_of(&["False", "True", "Unknown"], faults);
    }
    if codes.is_set() && !conditions.is_empty() {
        faults.push(rule.invalid_as_such("specifying both OnExitCodes and OnPodConditions is not supported"));
    } else if !codes.is_set() && conditions.is_empty() {
        faults.push(rule.invalid_as_such("specifying one of OnExitCodes and OnPodConditions is required"));
    }
}

/// Most exit codes of a rule.
const CODES_MAX: usize = 255;

fn exit_codes(codes: &At<'_>, names: &[&str], faults: &mut Faults) {
    let (operator, values) = (codes.get("operator"), codes.get("values"));
    if operator.is_empty() {
        faults.push(operator.missing(r#"valid values: ["In" "NotIn"]"#));
    } else {
        operator.known(&["In", "NotIn"], faults);
    }
    let container = codes.get("containerName");
    if container.is_set() && !names.contains(&container.str()) {
        let why = "must be one of the container or initContainer names in the pod template";
        faults.push(container.invalid(why));
    }
    if values.is_empty() {
        faults.push(values.invalid("at least one value is required"));
    } else if values.len() > CODES_MAX {
        faults.push(FieldError::too_many(&values.path(), values.len(), CODES_MAX));
    }
    let mut before: Vec<i64> = Vec::new();
    let mut ordered = true;
    for value in values.items() {
        let code = value.int().unwrap_or(0);
        if operator.str() == "In" && code == 0 {
            faults.push(value.invalid("must not be 0 for the In operator"));
        }
        if before.contains(&code) {
            faults.push(value.duplicate());
        }
        ordered &= before.last().is_none_or(|last| *last <= code);
        before.push(code);
    }
    if !ordered {
        faults.push(values.invalid("must be ordered"));
    }
}

fn restart_policy(spec: &At<'_>, faults: &mut Faults) {
    let policy = spec.get("template").get("spec").get("restartPolicy");
    match policy.str() {
        "" | "Always" => {
            faults.retain(|f| f.path != policy.path());
            faults.push(policy.missing("valid values: \"OnFailure\", \"Never\""));
        }
        "OnFailure" if spec.get("podFailurePolicy").is_set() => {
            faults.push(policy.invalid("only \"Never\" is supported when podFailurePolicy is specified"));
        }
        "OnFailure" | "Never" => {}
        _ => policy.known(&["OnFailure", "Never"], faults),
    }
}

/// Job.
pub(crate) fn validate_job(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let spec = At::top(o, "spec");
    job_spec(&spec, &mut faults);
    let selector = spec.get("selector");
    let labels = spec.get("template").get("metadata").get("labels");
    if !selector.is_set() {
        // No selector is one that nothing matches.
        faults.push(selector.missing(""));
        faults.push(labels.invalid("`selector` does not match template `labels`"));
        return faults;
    }
    let have: BTreeMap<String, String> =
        labels.entries().map(|(k, v)| (k.to_owned(), v.str().to_owned())).collect();
    let parsed = selector.selector(&mut faults).and_then(|s| s.selector().ok());
    if parsed.is_some_and(|s| !s.matches(&have)) {
        faults.push(labels.invalid("`selector` does not match template `labels`"));
    }
    faults
}

/// A change of a Job: what it runs stays, but for what places its pods while it is suspended.
pub(crate) fn validate_job_update(new: &Object, old: &Object) -> Faults {
    let mut faults = Vec::new();
    let path = FieldPath::new("spec");
    completions(new, old, &mut faults);
    faults.extend(immutable(new, old, &["spec", "selector"], &path.child("selector")));
    template_update(new, old, &mut faults);
    for key in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        faults.extend(immutable(new, old, &["spec", key], &path.child(key)));
    }
    faults
}

/// Those of an indexed job may change together with its parallelism (KEP-3715).
fn completions(new: &Object, old: &Object, faults: &mut Faults) {
    let path = FieldPath::new("spec.completions");
    if new.str(&["spec", "completionMode"]) != "Indexed" {
        return faults.extend(immutable(new, old, &["spec", "completions"], &path));
    }
    let number = |o: &Object, key| o.get(&["spec", key]).and_then(Value::as_i64);
    let Some(wanted) = number(new, "completions").filter(|n| number(old, "completions") != Some(*n)) else {
        return;
    };
    if number(new, "parallelism") != Some(wanted) {
        let why = "can only be modified in tandem with spec.parallelism";
        faults.push(FieldError::invalid(&path, wanted, why));
    }
}

/// The template stays, but for what places the pods of a job that rests, and what they ask for.
fn template_update(new: &Object, old: &Object, faults: &mut Faults) {
    let may_change = rests(old);
    let fixed = |o: &Object| {
        let mut template = o.get(&["spec", "template"]).cloned().unwrap_or_default();
        if may_change {
            forget_placement(&mut template);
            forget_resources(&mut template);
        }
        template
    };
    if fixed(new) != fixed(old) {
        let at = At::top(new, "spec").get("template");
        faults.push(if may_change { at.get("spec") } else { at }.invalid(super::IMMUTABLE));
    }
}

/// Whether the job is suspended, and either never ran or has no pods any more (`shouldAllowMutablePodTemplate`).
fn rests(job: &Object) -> bool {
    let conditions = job.get(&["status", "conditions"]).and_then(Value::as_array);
    let noted = conditions.into_iter().flatten().any(|c| c["type"] == "Suspended" && c["status"] == "True");
    let active = job.get(&["status", "active"]).and_then(Value::as_i64).unwrap_or(0);
    job.get(&["spec", "suspend"]) == Some(&Value::Bool(true))
        && (noted || job.str(&["status", "startTime"]).is_empty())
        && active == 0
}

fn forget_resources(template: &mut Value) {
    for kind in ["containers", "initContainers"] {
        let all = template.pointer_mut(&format!("/spec/{kind}")).and_then(Value::as_array_mut);
        for container in all.into_iter().flatten().filter_map(Value::as_object_mut) {
            container.remove("resources");
        }
    }
}

fn forget_placement(template: &mut Value) {
    if let Some(Value::Object(metadata)) = template.get_mut("metadata") {
        metadata.remove("labels");
        metadata.remove("annotations");
    }
    if let Some(Value::Object(spec)) = template.get_mut("spec") {
        for key in ["nodeSelector", "tolerations", "schedulingGates"] {
            spec.remove(key);
        }
        // Of affinity only what is about nodes.
        if let Some(Value::Object(affinity)) = spec.get_mut("affinity") {
            affinity.remove("nodeAffinity");
            if affinity.is_empty() {
                spec.remove("affinity");
            }
        }
    }
}

/// A new Job: the pods of an indexed one get its name with an index.
pub(crate) fn validate_new_job(o: &Object) -> Faults {
    let mut faults = own_selector(o);
    let (mode, completions) = (o.str(&["spec", "completionMode"]), o.get(&["spec", "completions"]));
    let Some(last) = completions.and_then(Value::as_i64).filter(|n| mode == "Indexed" && *n > 0) else {
        return faults;
    };
    let host = format!("{}-{}", o.metadata.name, last - 1);
    if !meta::names::dns1123_label(&host).is_empty() {
        let why = format!("will not able to create pod with invalid DNS label: {host}");
        faults.push(FieldError::invalid(&FieldPath::new("metadata.name"), o.metadata.name.as_str(), why));
    }
    faults
}

/// A selector that the user didn't ask to make is the one that the server made.
fn own_selector(o: &Object) -> Faults {
    let selector = At::top(o, "spec").get("selector");
    if !selector.is_set() || At::top(o, "spec").get("manualSelector").flag() {
        return Vec::new();
    }
    let (uid, name) = (&o.metadata.uid, &o.metadata.name);
    let labels = [("controller-uid", uid), ("job-name", name)];
    let prefixed = labels.map(|(key, value)| (format!("batch.kubernetes.io/{key}"), value.clone()));
    let own = labels.map(|(key, value)| (key.to_owned(), value.clone()));
    let expected: BTreeMap<String, String> = prefixed.into_iter().chain(own).collect();
    let parsed = meta::LabelSelector::from_value(selector.value()).ok().and_then(|s| s.selector().ok());
    match parsed.is_some_and(|s| !s.matches(&expected)) {
        true => vec![selector.invalid("`selector` not auto-generated")],
        false => Vec::new(),
    }
}

/// CronJob.
pub(crate) fn validate_cron_job(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let spec = At::top(o, "spec");
    let schedule = spec.get("schedule");
    if schedule.required(&mut faults) {
        if schedule.str().contains("TZ") {
            faults.push(schedule.invalid("cannot use TZ or CRON_TZ in schedule, use timeZone field instead"));
        } else if let Err(why) = cron(schedule.str()) {
            faults.push(schedule.invalid(why));
        }
    }
    spec.get("startingDeadlineSeconds").non_negative(&mut faults);
    time_zone(&spec.get("timeZone"), &mut faults);
    spec.get("concurrencyPolicy").one_of(&["Allow", "Forbid", "Replace"], &mut faults);
    let job = spec.get("jobTemplate").get("spec");
    job_spec(&job, &mut faults);
    if job.get("selector").is_set() {
        faults.push(job.get("selector").invalid("`selector` will be auto-generated"));
    }
    if job.get("manualSelector").flag() {
        faults.push(FieldError::not_supported(&job.get("manualSelector").path(), true, &["nil", "false"]));
    }
    for key in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        spec.get(key).non_negative(&mut faults);
    }
    faults
}

/// A new CronJob's name leaves room for its jobs' names.
pub(crate) fn validate_new_cron_job(o: &Object) -> Faults {
    let name = &o.metadata.name;
    if name.len() <= CRON_NAME_MAX {
        return Vec::new();
    }
    let why = format!("must be no more than {CRON_NAME_MAX} characters");
    vec![FieldError::invalid(&FieldPath::new("metadata.name"), name.as_str(), why)]
}

fn time_zone(at: &At<'_>, faults: &mut Faults) {
    if !at.is_set() {
        return;
    }
    let name = at.str();
    let step = |s: &str| {
        !matches!(s, "" | "." | "..")
            && !s.starts_with('-')
            && s.chars().all(|c| c.is_ascii_alphanumeric() || "_+-.".contains(c))
    };
    if name.is_empty() {
        faults.push(at.invalid("timeZone must be nil or non-empty string"));
    } else if !name.split('/').all(step) {
        faults.push(at.invalid(format!("unknown time zone {name}")));
    } else if name.eq_ignore_ascii_case("local") {
        let why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        faults.push(at.invalid(why));
    } else if jiff::tz::TimeZone::get(name).is_err() {
        faults.push(at.invalid(format!("unknown time zone {name}")));
    }
}

/// (smallest, largest, names from the smallest on) of the five fields of a schedule.
const CRON_FIELDS: [(u32, u32, &[&str]); 5] = [
    (0, 59, &[]),
    (0, 23, &[]),
    (1, 31, &[]),
    (1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    (0, 6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];
const CRON_WORDS: [&str; 7] =
    ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// What is wrong with a schedule, as the library that upstream uses says it.
fn cron(schedule: &str) -> Result<(), String> {
    if schedule.starts_with('@') {
        if let Some(every) = schedule.strip_prefix("@every ") {
            let why = |e| format!("failed to parse duration {schedule}: {e}");
            return stdx::duration::parse(every).map(drop).map_err(why);
        }
        return match CRON_WORDS.contains(&schedule) {
            true => Ok(()),
            false => Err(format!("unrecognized descriptor: {schedule}")),
        };
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != CRON_FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    for (field, bounds) in fields.iter().zip(CRON_FIELDS) {
        field.split(',').try_for_each(|part| cron_range(part, bounds))?;
    }
    Ok(())
}

fn cron_range(part: &str, (min, max, words): (u32, u32, &[&str])) -> Result<(), String> {
    let number = |s: &str| {
        let word = words.iter().position(|w| w.eq_ignore_ascii_case(s));
        match word.and_then(|i| u32::try_from(i).ok()) {
            Some(i) => Ok(i + min),
            None => s.parse::<u32>().map_err(|_| {
                format!("failed to parse int from {s}: strconv.Atoi: parsing {s:?}: invalid syntax")
            }),
        }
    };
    let (range, step) = part.split_once('/').map_or((part, None), |(r, s)| (r, Some(s)));
    let (start, end) = match range {
        "*" | "?" => (min, max),
        range => match range.split_once('-') {
            Some((a, b)) => (number(a)?, number(b)?),
            None => {
                let n = number(range)?;
                (n, if step.is_some() { max } else { n })
            }
        },
    };
    let step = step.map_or(Ok(1), number)?;
    match () {
        () if start < min => Err(format!("beginning of range ({start}) below minimum ({min}): {part}")),
        () if end > max => Err(format!("end of range ({end}) above maximum ({max}): {part}")),
        () if start > end => Err(format!("beginning of range ({start}) beyond end of range ({end}): {part}")),
        () if step == 0 => Err(format!("step of range should be a positive number: {part}")),
        () => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(node: &str, cpu: &str, image: &str, status: &Value) -> Object {
        let container = json!({"name": "c", "image": image, "resources": {"requests": {"cpu": cpu}}});
        let template = json!({"spec": {"containers": [container], "nodeSelector": {"a": node},
            "affinity": {"nodeAffinity": {}, "podAffinity": {}}}});
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"suspend": true, "template": template},
            "status": status});
        Object::from_value(job).expect("a job")
    }

    #[test]
    fn the_template_of_a_job_that_rests_may_be_placed_and_sized_anew() {
        let suspended = json!([{"type": "Suspended", "status": "True"}]);
        let rests = json!({"startTime": "t", "conditions": suspended});
        let ending = json!({"startTime": "t", "conditions": suspended, "active": 1});
        let told = |new: (&str, &str, &str), status: &Value| {
            let (new, old) = (job(new.0, new.1, new.2, status), job("b", "1", "i", status));
            validate_job_update(&new, &old).iter().map(|f| f.path.to_string()).collect::<Vec<_>>()
        };
        assert!(told(("c", "2", "i"), &rests).is_empty());
        assert!(told(("c", "2", "i"), &json!({})).is_empty());
        assert_eq!(told(("b", "1", "j"), &rests), ["spec.template.spec"]);
        assert_eq!(told(("b", "2", "i"), &ending), ["spec.template"]);
        assert_eq!(told(("b", "2", "i"), &json!({"startTime": "t"})), ["spec.template"]);
    }
}
