//! `cronjobs` (batch/v1).

use crate::fill::{make, part, set, set_zero};
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy};
use crate::table::{age, ago_text, containers, count, name, selector, text, text_or};
use crate::validate::batch::{validate_cron_job, validate_new_cron_job};
use jiff::Timestamp;
use meta::Object;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind::namespaced("batch", "v1", "CronJob", "cronjobs")
        .short(&["cj"])
        .category("all")
        .status(json!({}))
        .table(
            &[
                "Name",
                "Schedule",
                "Timezone",
                "Suspend:boolean",
                "Active:integer",
                "Last Schedule",
                "Age",
                "Containers*",
                "Images*",
                "Selector*",
            ],
            row,
        )
        .generation()
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default,
    warnings: crate::validate::warnings::cron_job,
    validate: validate_cron_job,
    validate_create: validate_new_cron_job,
    ..PLAIN
};

fn default(o: &mut Object) {
    let spec = part(o, "spec");
    set_zero(spec, "concurrencyPolicy", "Allow");
    set(spec, "suspend", false);
    set(spec, "successfulJobsHistoryLimit", 3);
    set(spec, "failedJobsHistoryLimit", 1);
    let template = make(spec, "jobTemplate");
    make(template, "metadata");
    super::job::template(make(template, "spec"));
}

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(o, &["spec", "jobTemplate", "spec", "template", "spec"]);
    let suspend = o.get(&["spec", "suspend"]).and_then(Value::as_bool);
    let last = o.get(&["status", "lastScheduleTime"]).and_then(Value::as_str);
    vec![
        name(o),
        text(o, &["spec", "schedule"]),
        text_or(o, &["spec", "timeZone"], "<none>"),
        suspend.map_or("<unset>", |s| if s { "True" } else { "False" }).into(),
        count(o, &["status", "active"]).into(),
        last.map_or_else(|| "<none>".to_owned(), |t| ago_text(t, now)).into(),
        age(o, now),
        names,
        images,
        selector(o.get(&["spec", "jobTemplate", "spec", "selector"])),
    ]
}
