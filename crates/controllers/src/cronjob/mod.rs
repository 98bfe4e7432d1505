//! Starts jobs on a schedule (`pkg/controller/cronjob`).

mod schedule;

use crate::job::finished;
use api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use api::kinds::controller_ref;
use api::{MetaExt, ObjectMeta, names};
use client::{DeleteOptions, Propagation};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use reconcile::plan::reference;
use reconcile::{Controller, Cx, EventNote, Plan, Watch, Write};
use schedule::Schedule;
use std::time::Duration;

/// Added to every wait, so that the time has come for certain (`nextScheduleDelta`).
const DELTA: Duration = Duration::from_millis(100);
/// Missed times beyond which something is wrong.
const MANY_MISSED: i64 = 100;

/// The controller.
pub(crate) struct CronJobs;

impl Controller for CronJobs {
    fn name(&self) -> &'static str {
        "cronjob-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::own::<CronJob>(), Watch::owned::<Job, CronJob>()]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let Some(cron) = cx.view.at::<CronJob>(cx.key) else { return Plan::done() };
        let spec = &cron.spec;
        let jobs: Vec<&Job> = cx.view.controlled_by::<Job>(cron.uid()).collect();
        let status = cron.status.clone().unwrap_or_default();
        let mut round = Round { cx, cron, spec, jobs, status, plan: Plan::default() };
        round.note_jobs();
        if !cron.is_deleting() {
            round.clean_up();
            round.schedule();
        }
        round.finish()
    }
}

/// One look at one cron job.
struct Round<'a> {
    cx: &'a Cx<'a>,
    cron: &'a CronJob,
    spec: &'a CronJobSpec,
    jobs: Vec<&'a Job>,
    status: CronJobStatus,
    plan: Plan,
}

impl<'a> Round<'a> {
    fn tell(&mut self, warning: bool, reason: &str, message: String) {
        let note = if warning { EventNote::warning } else { EventNote::normal };
        self.plan.events.push(note(self.cron, reason, message));
    }

    fn finish(mut self) -> Plan {
        if self.cron.status.as_ref() != Some(&self.status) {
            let (metadata, spec) = (self.cron.metadata.clone(), self.cron.spec.clone());
            let cron = CronJob { metadata, spec, status: Some(self.status) };
            self.plan.writes.push(Write::update_status(&cron));
        }
        self.plan
    }

    fn unfinished(&self) -> impl Iterator<Item = &'a Job> {
        self.jobs.iter().copied().filter(|j| finished(j).is_none())
    }

    /// Brings the list of active jobs and the time of the last success up to date.
    fn note_jobs(&mut self) {
        for old in self.status.active.clone().unwrap_or_default() {
            let name = old.name.clone().unwrap_or_default();
            match self.jobs.iter().copied().find(|j| j.metadata.uid == old.uid) {
                None => self.tell(false, "MissingJob", format!("Active job went missing: {name}")),
                Some(job) => {
                    if let Some(condition) = finished(job) {
                        let kind = &condition.type_;
                        let text = format!("Saw completed job: {name}, condition: {kind}");
                        self.tell(false, "SawCompletedJob", text);
                    }
                }
            }
        }
        let old: Vec<_> = self.status.active.iter().flatten().map(|r| r.uid.clone()).collect();
        let (own, foreign): (Vec<&Job>, Vec<&Job>) =
            self.unfinished().partition(|j| is_scheduled(j) || old.contains(&j.metadata.uid));
        for job in foreign {
            let text = format!("Saw a job that the controller did not create or forgot: {}", job.name());
            self.tell(true, "UnexpectedJob", text);
        }
        // One that we stop is not missed when it is gone.
        let active: Vec<_> = own.into_iter().filter(|j| !j.is_deleting()).map(reference).collect();
        let uids =
            |list: &[api::core::v1::ObjectReference]| list.iter().map(|r| r.uid.clone()).collect::<Vec<_>>();
        let old = self.status.active.as_deref().unwrap_or_default();
        if uids(old) != uids(&active) {
            self.status.active = (!active.is_empty()).then_some(active);
        }
        let ends = self.jobs.iter().filter_map(|j| j.status.as_ref()?.completion_time.clone());
        if let Some(last) = ends.max_by_key(|t| t.0)
            && self.status.last_successful_time.as_ref().is_none_or(|old| last.0 > old.0)
        {
            self.status.last_successful_time = Some(last);
        }
    }

    /// Deletes the oldest finished jobs beyond the history that is to be kept.
    fn clean_up(&mut self) {
        let limits = [
            ("Complete", self.spec.successful_jobs_history_limit.unwrap_or(3)),
            ("Failed", self.spec.failed_jobs_history_limit.unwrap_or(1)),
        ];
        for (kind, limit) in limits {
            let of_kind = |j: &&&Job| finished(j).is_some_and(|c| c.type_ == kind) && !j.is_deleting();
            let mut ended: Vec<&Job> = self.jobs.iter().filter(of_kind).copied().collect();
            ended.sort_by_key(|j| (started(j), j.name().to_owned()));
            let surplus = ended.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
            let deletions = ended.iter().take(surplus).map(|job| self.deletion(job));
            self.plan.writes.extend(deletions.collect::<Vec<_>>());
        }
    }

    fn deletion(&self, job: &Job) -> Write {
        let propagation = Some(Propagation::Background);
        Write::delete_with(job, DeleteOptions { propagation, ..DeleteOptions::of_uid(job.uid()) })
            .ok(EventNote::normal(self.cron, "SuccessfulDelete", "Deleted job {}"))
            .or(EventNote::warning(self.cron, "FailedDelete", "Deleted job: {}"))
    }

    fn schedule(&mut self) {
        let (schedule, zone) = match self.read_schedule() {
            Some(read) if self.spec.suspend != Some(true) => read,
            _ => return,
        };
        let now = self.cx.now;
        let due = self.most_recent(&schedule, &zone);
        let from = due.unwrap_or(now).max(self.status.last_schedule_time.as_ref().map_or(now, |t| t.0));
        let next = schedule.next(from, &zone).filter(|at| *at > now).or_else(|| schedule.next(now, &zone));
        let Some(next) = next else {
            let why = "time difference between two schedules is less than 1 second";
            let text = format!("invalid schedule: {} : {why}", self.spec.schedule);
            return self.tell(true, "InvalidSchedule", text);
        };
        let wait = Duration::try_from(next.duration_since(now)).unwrap_or_default();
        self.plan.requeue(wait + DELTA);
        if let Some(due) = due {
            self.start(due, &zone);
        }
    }

    fn read_schedule(&mut self) -> Option<(Schedule, TimeZone)> {
        let text = self.spec.schedule.clone();
        // A zone in the schedule itself is deprecated, but was always obeyed.
        let named = text.strip_prefix("TZ=").or_else(|| text.strip_prefix("CRON_TZ="));
        let (zone, rest) = match named.and_then(|rest| rest.split_once(' ')) {
            Some((zone, rest)) => (zone.to_owned(), rest.to_owned()),
            None => (self.spec.time_zone.clone().unwrap_or_default(), text.clone()),
        };
        let zone = match zone.as_str() {
            "" | "UTC" | "Etc/UTC" => TimeZone::UTC,
            name => match TimeZone::get(name) {
                Ok(zone) => zone,
                Err(_) => {
                    let why = format!("invalid timeZone: {name:?}: unknown time zone {name}");
                    self.tell(true, "UnknownTimeZone", why);
                    return None;
                }
            },
        };
        match Schedule::parse(&rest) {
            Ok(schedule) => Some((schedule, zone)),
            Err(e) => {
                self.tell(true, "UnparseableSchedule", format!("unparseable schedule: {text:?} : {e}"));
                None
            }
        }
    }

    /// The last time that was due since the last start and hasn't been dealt with (`mostRecentScheduleTime`).
    fn most_recent(&mut self, schedule: &Schedule, zone: &TimeZone) -> Option<Timestamp> {
        let now = self.cx.now;
        let created = Timestamp::from_second(self.cron.created()).ok()?;
        let mut earliest = self.status.last_schedule_time.as_ref().map_or(created, |t| t.0);
        if let Some(deadline) = self.spec.starting_deadline_seconds {
            earliest = earliest.max(now - Duration::from_secs(deadline.unsigned_abs()));
        }
        let first = schedule.next(earliest, zone).filter(|t| *t <= now)?;
        let Some(second) = schedule.next(first, zone).filter(|t| *t <= now) else { return Some(first) };
        let interval = (second.as_second() - first.as_second()).max(1);
        let missed = (now.as_second() - first.as_second()) / interval + 1;
        if missed > MANY_MISSED {
            let text = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
            self.tell(true, "TooManyMissedTimes", text.to_owned());
        }
        // Near the end first: an uneven schedule may put the last time a little later.
        let skip = Duration::from_secs(u64::try_from((missed - 2).max(0) * interval).unwrap_or(0));
        let mut last = first;
        let mut next = schedule.next(first + skip, zone);
        while let Some(at) = next.filter(|at| *at <= now) {
            last = at;
            next = schedule.next(at, zone);
        }
        Some(last)
    }

    fn start(&mut self, due: Timestamp, zone: &TimeZone) {
        let name = format!("{}-{}", self.cron.name(), due.as_second() / 60);
        let last = self.status.last_schedule_time.as_ref().map(|t| t.0.as_second());
        if last == Some(due.as_second()) {
            return;
        }
        if self.cx.view.get::<Job>(self.cron.namespace(), &name).is_some() {
            self.status.last_schedule_time = Some(api::time(due));
            return;
        }
        let deadline =
            self.spec.starting_deadline_seconds.map(|s| due + Duration::from_secs(s.unsigned_abs()));
        if deadline.is_some_and(|at| at < self.cx.now) {
            let at = due.strftime("%a, %d %b %Y %H:%M:%S +0000");
            return self.tell(true, "MissSchedule", format!("Missed scheduled time to start a job: {at}"));
        }
        match self.spec.concurrency_policy.as_deref() {
            Some("Forbid") if self.status.active.as_ref().is_some_and(|a| !a.is_empty()) => {
                let text =
                    "Not starting job because prior execution is running and concurrency policy is Forbid";
                return self.tell(false, "JobAlreadyActive", text.to_owned());
            }
            Some("Replace") => {
                let listed: Vec<_> = self.status.active.iter().flatten().map(|r| r.uid.clone()).collect();
                let running = self.unfinished().filter(|j| listed.contains(&j.metadata.uid));
                let deletions: Vec<Write> = running.map(|job| self.deletion(job)).collect();
                self.plan.writes.extend(deletions);
                self.status.active = None;
            }
            _ => {}
        }
        let job = self.job(name, due, zone);
        let write = Write::create(&job)
            .ok(EventNote::normal(self.cron, "SuccessfulCreate", "Created job {}"))
            .or(EventNote::warning(self.cron, "FailedCreate", "Error creating job: {}"));
        self.plan.writes.push(write);
        self.status.last_schedule_time = Some(api::time(due));
    }

    /// The job of one time; its name is a lock against starting it twice.
    fn job(&self, name: String, due: Timestamp, zone: &TimeZone) -> Job {
        let template = &self.spec.job_template;
        let meta = template.metadata.clone().unwrap_or_default();
        let mut annotations = meta.annotations.unwrap_or_default();
        let at = due.to_zoned(zone.clone());
        let at = if *zone == TimeZone::UTC {
            at.strftime("%Y-%m-%dT%H:%M:%SZ")
        } else {
            at.strftime("%Y-%m-%dT%H:%M:%S%:z")
        };
        annotations.insert(names::ANNOTATION_CRONJOB_SCHEDULED_AT.to_owned(), at.to_string());
        Job {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: self.cron.metadata.namespace.clone(),
                labels: meta.labels,
                annotations: Some(annotations),
                owner_references: Some(vec![controller_ref(self.cron)]),
                ..ObjectMeta::default()
            },
            spec: template.spec.clone(),
            status: None,
        }
    }
}

fn started(job: &Job) -> i64 {
    let start = job.status.as_ref().and_then(|s| s.start_time.as_ref());
    start.map_or(job.created(), |t| t.0.as_second())
}

/// Whether we made the job at its time, and nobody by hand (`kubectl create job --from`).
fn is_scheduled(job: &Job) -> bool {
    job.annotation(names::ANNOTATION_CRONJOB_SCHEDULED_AT).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    fn cron(spec: Value, status: Value) -> Value {
        let mut all = json!({"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": {"spec": {
            "containers": []}}}}});
        all.as_object_mut().expect("a map").extend(spec.as_object().expect("a map").clone());
        json!({"apiVersion": "batch/v1", "kind": "CronJob",
            "metadata": {"name": "tick", "creationTimestamp": "2025-12-31T23:52:00Z"},
            "spec": all, "status": status})
    }

    fn job(name: &str, condition: &str) -> Value {
        let conditions =
            if condition.is_empty() { json!([]) } else { json!([{"type": condition, "status": "True"}]) };
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "CronJob", "name": "tick", "uid": "tick-uid", "controller": true}]},
            "status": {"conditions": conditions}})
    }

    fn check(objects: impl IntoIterator<Item = Value>, expect: Expect) {
        expect.assert_eq(&Scene::new(objects).show(&CronJobs, "x/tick"));
    }

    #[test]
    fn a_job_is_started_when_its_time_has_come() {
        check(
            [cron(json!({}), Value::Null)],
            expect![[r#"
            create jobs.batch x/tick-29453760 {"metadata":{"annotations":{"batch.kubernetes.io/cronjob-scheduled-timestamp":"2026-01-01T00:00:00Z"},"ownerReferences":["CronJob/tick"]},"spec":{"template":{"spec":{"containers":[]}}}}
              ok: Normal SuccessfulCreate CronJob/tick Created job {}
              or: Warning FailedCreate CronJob/tick Error creating job: {}
            update/status cronjobs.batch x/tick {"lastScheduleTime":"2026-01-01T00:00:00Z"}
            again in 300 s
        "#]],
        );
        let last = json!({"lastScheduleTime": "2026-01-01T00:00:00Z"});
        check(
            [cron(json!({}), last)],
            expect![[r#"
            again in 300 s
        "#]],
        );
        check([cron(json!({"suspend": true}), json!({}))], expect![[""]]);
        check(
            [cron(json!({"schedule": "nonsense"}), json!({}))],
            expect![[r#"
            event Warning UnparseableSchedule CronJob/tick unparseable schedule: "nonsense" : expected exactly 5 fields, found 1: [nonsense]
        "#]],
        );
        check(
            [cron(json!({"timeZone": "Mars/Olympus"}), json!({}))],
            expect![[r#"
            event Warning UnknownTimeZone CronJob/tick invalid timeZone: "Mars/Olympus": unknown time zone Mars/Olympus
        "#]],
        );
    }

    #[test]
    fn what_still_runs_is_let_be_or_replaced() {
        let active = json!({"active": [{"name": "old", "uid": "old-uid"}]});
        check(
            [cron(json!({"concurrencyPolicy": "Forbid"}), active.clone()), job("old", "")],
            expect![[r#"
            event Normal JobAlreadyActive CronJob/tick Not starting job because prior execution is running and concurrency policy is Forbid
            again in 300 s
        "#]],
        );
        check(
            [cron(json!({"concurrencyPolicy": "Replace"}), active), job("old", "")],
            expect![[r#"
                delete jobs.batch x/old
                  ok: Normal SuccessfulDelete CronJob/tick Deleted job {}
                  or: Warning FailedDelete CronJob/tick Deleted job: {}
                create jobs.batch x/tick-29453760 {"metadata":{"annotations":{"batch.kubernetes.io/cronjob-scheduled-timestamp":"2026-01-01T00:00:00Z"},"ownerReferences":["CronJob/tick"]},"spec":{"template":{"spec":{"containers":[]}}}}
                  ok: Normal SuccessfulCreate CronJob/tick Created job {}
                  or: Warning FailedCreate CronJob/tick Error creating job: {}
                update/status cronjobs.batch x/tick {"lastScheduleTime":"2026-01-01T00:00:00Z"}
                again in 300 s
            "#]],
        );
    }

    #[test]
    fn a_job_made_by_hand_is_not_among_the_active_ones() {
        let last = || json!({"lastScheduleTime": "2026-01-01T00:00:00Z"});
        let mut own = job("own", "");
        own["metadata"]["annotations"] = json!({"batch.kubernetes.io/cronjob-scheduled-timestamp": "t"});
        check(
            [cron(json!({}), last()), job("by-hand", ""), own],
            expect![[r#"
            update/status cronjobs.batch x/tick {"active":[{"apiVersion":"batch/v1","kind":"Job","name":"own","namespace":"x","resourceVersion":"1","uid":"own-uid"}],"lastScheduleTime":"2026-01-01T00:00:00Z"}
            event Warning UnexpectedJob CronJob/tick Saw a job that the controller did not create or forgot: by-hand
            again in 300 s
        "#]],
        );
        // A time that never comes.
        check(
            [cron(json!({"schedule": "0 0 31 2 *"}), last())],
            expect![[r#"
            event Warning InvalidSchedule CronJob/tick invalid schedule: 0 0 31 2 * : time difference between two schedules is less than 1 second
        "#]],
        );
    }

    #[test]
    fn finished_jobs_leave_the_list_and_old_ones_go() {
        let status =
            json!({"lastScheduleTime": "2026-01-01T00:00:00Z", "active": [{"name": "a", "uid": "a-uid"}]});
        let spec = json!({"successfulJobsHistoryLimit": 1});
        check(
            [cron(spec, status), job("a", "Complete"), job("b", "Complete"), job("c", "Failed")],
            expect![[r#"
                delete jobs.batch x/a
                  ok: Normal SuccessfulDelete CronJob/tick Deleted job {}
                  or: Warning FailedDelete CronJob/tick Deleted job: {}
                update/status cronjobs.batch x/tick {"lastScheduleTime":"2026-01-01T00:00:00Z"}
                event Normal SawCompletedJob CronJob/tick Saw completed job: a, condition: Complete
                again in 300 s
            "#]],
        );
    }
}
