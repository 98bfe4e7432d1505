//! The pods of a job (`addCompletionIndexEnvVariables` and its neighbours).

use crate::pods;
use api::batch::v1::{Job, JobSpec};
use api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use api::{MetaExt, names};

/// The variable that tells a container its index.
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";
/// How often pods of this index failed before.
const FAILURE_COUNT: &str = "batch.kubernetes.io/job-index-failure-count";

/// A pod of a job without indexes.
pub(super) fn plain(job: &Job, spec: &JobSpec) -> Pod {
    let mut pod = pods::from_template(job, &spec.template);
    let finalizers = pod.metadata.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|f| f == names::FINALIZER_JOB_TRACKING) {
        finalizers.push(names::FINALIZER_JOB_TRACKING.to_owned());
    }
    pod
}

/// The pod of an index, `failures` after as many failures before.
pub(super) fn indexed(job: &Job, spec: &JobSpec, index: i32, failures: Option<i32>) -> Pod {
    let mut pod = plain(job, spec);
    pod.metadata.generate_name = Some(format!("{}-{index}-", job.name()));
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(names::LABEL_JOB_INDEX.to_owned(), index.to_string());
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(names::ANNOTATION_JOB_INDEX.to_owned(), index.to_string());
    if let Some(failures) = failures {
        annotations.insert(FAILURE_COUNT.to_owned(), failures.to_string());
    }
    if let Some(spec) = &mut pod.spec {
        spec.hostname = Some(format!("{}-{index}", job.name()));
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
            let env = container.env.get_or_insert_default();
            if !env.iter().any(|e| e.name == INDEX_VARIABLE) {
                env.push(variable());
            }
        }
    }
    pod
}

fn variable() -> EnvVar {
    let field = ObjectFieldSelector {
        field_path: format!("metadata.labels['{}']", names::LABEL_JOB_INDEX),
        api_version: None,
    };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    EnvVar { name: INDEX_VARIABLE.to_owned(), value_from: Some(source), value: None }
}

/// The completion index of a pod.
pub(super) fn index(pod: &Pod) -> Option<i32> {
    let text = pod.annotation(names::ANNOTATION_JOB_INDEX)?;
    text.parse().ok().filter(|i| *i >= 0)
}

/// How often pods of its index had failed when it was made.
pub(super) fn failures(pod: &Pod) -> i32 {
    pod.annotation(FAILURE_COUNT).and_then(|n| n.parse().ok()).unwrap_or(0)
}
