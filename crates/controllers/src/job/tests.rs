use super::Jobs;
use crate::scene::Scene;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

fn job(spec: Value, status: Value) -> Value {
    let mut all = json!({"parallelism": 2, "completions": 3, "backoffLimit": 1, "completionMode": "NonIndexed",
        "selector": {"matchLabels": {"job": "sum"}},
        "template": {"metadata": {"labels": {"job": "sum"}}, "spec": {"restartPolicy": "Never",
            "containers": [{"name": "c", "image": "i"}]}}});
    all.as_object_mut().expect("a map").extend(spec.as_object().expect("a map").clone());
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "sum", "generation": 1},
        "spec": all, "status": status})
}

fn running() -> Value {
    json!({"startTime": "2025-12-31T23:59:00Z", "uncountedTerminatedPods": {}, "ready": 0, "terminating": 0})
}

fn pod(name: &str, phase: &str, extra: Value) -> Value {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"job": "sum"}, "finalizers": ["batch.kubernetes.io/job-tracking"],
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "sum", "uid": "sum-uid",
                "controller": true}]},
        "spec": {"containers": []}, "status": {"phase": phase}});
    if let Some(extra) = extra.as_object() {
        pod["metadata"].as_object_mut().expect("a map").extend(extra.clone());
    }
    pod
}

fn ended(name: &str, code: i32) -> Value {
    let mut pod = pod(name, "Failed", Value::Null);
    pod["status"]["containerStatuses"] = json!([{"name": "c", "image": "", "imageID": "", "ready": false,
        "restartCount": 0, "state": {"terminated": {"exitCode": code, "finishedAt": "2025-12-31T23:59:55Z"}}}]);
    pod
}

fn check(objects: impl IntoIterator<Item = Value>, expect: Expect) {
    expect.assert_eq(&Scene::new(objects).show(&Jobs, "x/sum"));
}

#[test]
fn pods_are_started_and_their_ends_counted_once() {
    check(
        [job(json!({}), Value::Null)],
        expect![[r#"
        update/status jobs.batch x/sum {"ready":0,"startTime":"2026-01-01T00:00:00Z","terminating":0,"uncountedTerminatedPods":{}}
        create pods x/ {"metadata":{"finalizers":["batch.kubernetes.io/job-tracking"],"generateName":"sum-","labels":{"job":"sum"},"ownerReferences":["Job/sum"]},"spec":{"containers":[{"image":"i","name":"c"}],"restartPolicy":"Never"}}
          ok: Normal SuccessfulCreate Job/sum Created pod: {}
          or: Warning FailedCreate Job/sum Error creating: {}
        create pods x/ {"metadata":{"finalizers":["batch.kubernetes.io/job-tracking"],"generateName":"sum-","labels":{"job":"sum"},"ownerReferences":["Job/sum"]},"spec":{"containers":[{"image":"i","name":"c"}],"restartPolicy":"Never"}}
          ok: Normal SuccessfulCreate Job/sum Created pod: {}
          or: Warning FailedCreate Job/sum Error creating: {}
    "#]],
    );
    // Two have ended: they are noted before they are freed.
    let ends = || [pod("a", "Succeeded", Value::Null), pod("b", "Running", Value::Null)];
    check(
        [job(json!({}), running())].into_iter().chain(ends()),
        expect![[r#"
        update/status jobs.batch x/sum {"active":1,"ready":0,"startTime":"2025-12-31T23:59:00Z","terminating":0,"uncountedTerminatedPods":{"succeeded":["a-uid"]}}
        patch pods x/a {"metadata":{"finalizers":null,"resourceVersion":"1","uid":"a-uid"}}
        create pods x/ {"metadata":{"finalizers":["batch.kubernetes.io/job-tracking"],"generateName":"sum-","labels":{"job":"sum"},"ownerReferences":["Job/sum"]},"spec":{"containers":[{"image":"i","name":"c"}],"restartPolicy":"Never"}}
          ok: Normal SuccessfulCreate Job/sum Created pod: {}
          or: Warning FailedCreate Job/sum Error creating: {}
    "#]],
    );
    // Freed: now it is a number.
    let mut noted = running();
    noted["uncountedTerminatedPods"] = json!({"succeeded": ["a-uid", "gone-uid"]});
    let freed = pod("a", "Succeeded", json!({"finalizers": []}));
    check(
        [job(json!({}), noted), freed, pod("b", "Running", Value::Null)],
        expect![[r#"
        update/status jobs.batch x/sum {"active":1,"ready":0,"startTime":"2025-12-31T23:59:00Z","succeeded":2,"terminating":0,"uncountedTerminatedPods":{}}
    "#]],
    );
}

#[test]
fn enough_successes_complete_the_job() {
    let mut status = running();
    status["succeeded"] = 3.into();
    check(
        [job(json!({}), status)],
        expect![[r#"
        update/status jobs.batch x/sum {"completionTime":"2026-01-01T00:00:00Z","conditions":[{"lastProbeTime":"2026-01-01T00:00:00Z","lastTransitionTime":"2026-01-01T00:00:00Z","message":"Reached expected number of succeeded pods","reason":"CompletionsReached","status":"True","type":"SuccessCriteriaMet"},{"lastProbeTime":"2026-01-01T00:00:00Z","lastTransitionTime":"2026-01-01T00:00:00Z","message":"Reached expected number of succeeded pods","reason":"CompletionsReached","status":"True","type":"Complete"}],"ready":0,"startTime":"2025-12-31T23:59:00Z","succeeded":3,"terminating":0,"uncountedTerminatedPods":{}}
        event Normal Completed Job/sum Job completed
    "#]],
    );
}

#[test]
fn failures_are_retried_after_a_pause_and_then_end_the_job() {
    check(
        [job(json!({}), running()), ended("a", 1), pod("b", "Running", Value::Null)],
        expect![[r#"
        update/status jobs.batch x/sum {"active":1,"ready":0,"startTime":"2025-12-31T23:59:00Z","terminating":0,"uncountedTerminatedPods":{"failed":["a-uid"]}}
        patch pods x/a {"metadata":{"finalizers":null,"resourceVersion":"1","uid":"a-uid"}}
        again in 5 s
    "#]],
    );
    let all = [ended("a", 1), ended("b", 1), pod("c", "Running", Value::Null)];
    check(
        [job(json!({}), running())].into_iter().chain(all),
        expect![[r#"
        update/status jobs.batch x/sum {"conditions":[{"lastProbeTime":"2026-01-01T00:00:00Z","lastTransitionTime":"2026-01-01T00:00:00Z","message":"Job has reached the specified backoff limit","reason":"BackoffLimitExceeded","status":"True","type":"FailureTarget"}],"ready":0,"startTime":"2025-12-31T23:59:00Z","terminating":1,"uncountedTerminatedPods":{"failed":["a-uid","b-uid"]}}
        patch pods x/a {"metadata":{"finalizers":null,"resourceVersion":"1","uid":"a-uid"}}
        patch pods x/b {"metadata":{"finalizers":null,"resourceVersion":"1","uid":"b-uid"}}
        delete pods x/c
          ok: Normal SuccessfulDelete Job/sum Deleted pod: {}
          or: Warning FailedDelete Job/sum Error deleting: {}
    "#]],
    );
}

#[test]
fn a_failure_policy_decides_by_exit_code() {
    let policy = json!({"podFailurePolicy": {"rules": [
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]}});
    check(
        [job(policy, running()), ended("a", 42)],
        expect![[r#"
        update/status jobs.batch x/sum {"conditions":[{"lastProbeTime":"2026-01-01T00:00:00Z","lastTransitionTime":"2026-01-01T00:00:00Z","message":"Container c for pod x/a failed with exit code 42 matching FailJob rule at index 0","reason":"PodFailurePolicy","status":"True","type":"FailureTarget"}],"ready":0,"startTime":"2025-12-31T23:59:00Z","terminating":0,"uncountedTerminatedPods":{"failed":["a-uid"]}}
        patch pods x/a {"metadata":{"finalizers":null,"resourceVersion":"1","uid":"a-uid"}}
    "#]],
    );
}

#[test]
fn an_indexed_job_runs_each_index_once() {
    let spec = json!({"completionMode": "Indexed", "parallelism": 3, "completions": 4});
    let mut status = running();
    status["completedIndexes"] = "0".into();
    let at = |i: i32| json!({"annotations": {"batch.kubernetes.io/job-completion-index": i.to_string()}});
    let pods = [pod("p1", "Succeeded", at(1)), pod("p2", "Running", at(2)), pod("p2b", "Pending", at(2))];
    check(
        [job(spec.clone(), status.clone())].into_iter().chain(pods),
        expect![[r#"
            update/status jobs.batch x/sum {"active":1,"completedIndexes":"0,1","ready":0,"startTime":"2025-12-31T23:59:00Z","succeeded":2,"terminating":1,"uncountedTerminatedPods":{}}
            patch pods x/p1 {"metadata":{"finalizers":null,"resourceVersion":"1","uid":"p1-uid"}}
            patch pods x/p2b {"metadata":{"finalizers":null,"resourceVersion":"1","uid":"p2b-uid"}}
            delete pods x/p2b
              ok: Normal SuccessfulDelete Job/sum Deleted pod: {}
              or: Warning FailedDelete Job/sum Error deleting: {}
        "#]],
    );
    check(
        [job(spec, status), pod("p1", "Succeeded", at(1)), pod("p2", "Running", at(2))],
        expect![[r#"
        update/status jobs.batch x/sum {"active":1,"completedIndexes":"0,1","ready":0,"startTime":"2025-12-31T23:59:00Z","succeeded":2,"terminating":0,"uncountedTerminatedPods":{}}
        patch pods x/p1 {"metadata":{"finalizers":null,"resourceVersion":"1","uid":"p1-uid"}}
        create pods x/ {"metadata":{"annotations":{"batch.kubernetes.io/job-completion-index":"3"},"finalizers":["batch.kubernetes.io/job-tracking"],"generateName":"sum-3-","labels":{"batch.kubernetes.io/job-completion-index":"3","job":"sum"},"ownerReferences":["Job/sum"]},"spec":{"containers":[{"env":[{"name":"JOB_COMPLETION_INDEX","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['batch.kubernetes.io/job-completion-index']"}}}],"image":"i","name":"c"}],"hostname":"sum-3","restartPolicy":"Never"}}
          ok: Normal SuccessfulCreate Job/sum Created pod: {}
          or: Warning FailedCreate Job/sum Error creating: {}
    "#]],
    );
}

#[test]
fn a_suspended_job_rests_and_a_past_deadline_fails_it() {
    check(
        [job(json!({"suspend": true}), running()), pod("a", "Running", Value::Null)],
        expect![[r#"
            update/status jobs.batch x/sum {"conditions":[{"lastProbeTime":"2026-01-01T00:00:00Z","lastTransitionTime":"2026-01-01T00:00:00Z","message":"Job suspended","reason":"JobSuspended","status":"True","type":"Suspended"}],"ready":0,"terminating":1,"uncountedTerminatedPods":{}}
            patch pods x/a {"metadata":{"finalizers":null,"resourceVersion":"1","uid":"a-uid"}}
            delete pods x/a
              ok: Normal SuccessfulDelete Job/sum Deleted pod: {}
              or: Warning FailedDelete Job/sum Error deleting: {}
            event Normal Suspended Job/sum Job suspended
        "#]],
    );
    let deadline = json!({"activeDeadlineSeconds": 30});
    check(
        [job(deadline, running()), pod("a", "Running", Value::Null)],
        expect![[r#"
        update/status jobs.batch x/sum {"conditions":[{"lastProbeTime":"2026-01-01T00:00:00Z","lastTransitionTime":"2026-01-01T00:00:00Z","message":"Job was active longer than specified deadline","reason":"DeadlineExceeded","status":"True","type":"FailureTarget"}],"ready":0,"startTime":"2025-12-31T23:59:00Z","terminating":1,"uncountedTerminatedPods":{}}
        delete pods x/a
          ok: Normal SuccessfulDelete Job/sum Deleted pod: {}
          or: Warning FailedDelete Job/sum Error deleting: {}
    "#]],
    );
}

#[test]
fn pods_of_a_lost_or_finished_job_are_freed() {
    check(
        [pod("a", "Running", Value::Null)],
        expect![[r#"
        patch pods x/a {"metadata":{"finalizers":null,"resourceVersion":"1","uid":"a-uid"}}
    "#]],
    );
}

#[test]
fn pods_that_are_too_many_are_let_go_of_first() {
    let all = [
        job(json!({"parallelism": 1}), running()),
        pod("a", "Running", Value::Null),
        pod("b", "Running", Value::Null),
    ];
    check(
        all,
        expect![[r#"
        update/status jobs.batch x/sum {"active":1,"ready":0,"startTime":"2025-12-31T23:59:00Z","terminating":1,"uncountedTerminatedPods":{}}
        patch pods x/a {"metadata":{"finalizers":null,"resourceVersion":"1","uid":"a-uid"}}
        delete pods x/a
          ok: Normal SuccessfulDelete Job/sum Deleted pod: {}
          or: Warning FailedDelete Job/sum Error deleting: {}
    "#]],
    );
    let suspended = job(json!({"suspend": true}), running());
    check(
        [suspended, pod("a", "Running", Value::Null)],
        expect![[r#"
        update/status jobs.batch x/sum {"conditions":[{"lastProbeTime":"2026-01-01T00:00:00Z","lastTransitionTime":"2026-01-01T00:00:00Z","message":"Job suspended","reason":"JobSuspended","status":"True","type":"Suspended"}],"ready":0,"terminating":1,"uncountedTerminatedPods":{}}
        patch pods x/a {"metadata":{"finalizers":null,"resourceVersion":"1","uid":"a-uid"}}
        delete pods x/a
          ok: Normal SuccessfulDelete Job/sum Deleted pod: {}
          or: Warning FailedDelete Job/sum Error deleting: {}
        event Normal Suspended Job/sum Job suspended
    "#]],
    );
}

#[test]
fn pods_that_were_orphaned_are_freed() {
    let labels =
        json!({"labels": {"job": "sum", "batch.kubernetes.io/job-name": "sum"}, "ownerReferences": []});
    let orphan = || pod("a", "Running", labels.clone());
    check(
        [orphan()],
        expect![[r#"
        patch pods x/a {"metadata":{"finalizers":null,"resourceVersion":"1","uid":"a-uid"}}
    "#]],
    );
    // The job takes it back.
    let shown = Scene::new([job(json!({}), Value::Null), orphan()]).show(&Jobs, "x/sum");
    assert!(!shown.contains(r#""finalizers":null"#), "{shown}");
}
