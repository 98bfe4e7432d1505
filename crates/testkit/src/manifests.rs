//! Manifests as people write them.

use serde_json::{Value, json};

/// A pod template of one container that asks for `cpu` thousandths of a processor.
fn template(app: &str, image: &str, cpu: u32, restart: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {
            "restartPolicy": restart,
            "terminationGracePeriodSeconds": 2,
            "containers": [{"name": "main", "image": image,
                "resources": {"requests": {"cpu": format!("{cpu}m"), "memory": "1Mi"}}}],
        },
    })
}

/// A namespace.
pub fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// A Deployment; `strategy` as in its spec.
pub fn deployment(name: &str, replicas: u32, image: &str, strategy: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "strategy": strategy,
            "revisionHistoryLimit": 2, "template": template(name, image, 100, "Always")}})
}

/// A StatefulSet; `policy` is `OrderedReady` or `Parallel`.
pub fn stateful_set(name: &str, replicas: u32, image: &str, policy: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {"replicas": replicas, "serviceName": name, "selector": {"matchLabels": {"app": name}},
            "podManagementPolicy": policy, "template": template(name, image, 50, "Always")}})
}

/// A DaemonSet.
pub fn daemon_set(name: &str, image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template(name, image, 10, "Always")}})
}

/// A Job.
pub fn job(name: &str, completions: u32, parallelism: u32, image: &str) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"completions": completions, "parallelism": parallelism, "backoffLimit": 100,
            "template": template(name, image, 50, "Never")}})
}

/// A Service over the pods of `app`.
pub fn service(name: &str, app: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": app}, "ports": [{"port": 80, "targetPort": 8080}]}})
}

/// A Job with an index for each completion.
pub fn indexed_job(name: &str, completions: u32, parallelism: u32, image: &str) -> Value {
    let mut job = job(name, completions, parallelism, image);
    job["spec"]["completionMode"] = "Indexed".into();
    job
}

/// A CronJob of every minute that keeps one Job of each kind; `policy` is its concurrencyPolicy.
pub fn cron_job(name: &str, policy: &str, image: &str) -> Value {
    let job = json!({"template": template(name, image, 10, "Never")});
    json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name},
        "spec": {"schedule": "* * * * *", "concurrencyPolicy": policy, "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 1, "jobTemplate": {"spec": job}}})
}

/// A ReplicationController.
pub fn replication_controller(name: &str, replicas: u32, image: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"app": name}, "template": template(name, image, 10, "Always")}})
}

/// What a claim asks for: a volume of the default class.
fn claim_spec() -> Value {
    json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}})
}

/// A claim.
pub fn claim(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": claim_spec()})
}

/// A StatefulSet whose pods have a volume each; `kept` is its persistentVolumeClaimRetentionPolicy.
pub fn storing_set(name: &str, replicas: u32, image: &str, kept: &str) -> Value {
    let mut set = stateful_set(name, replicas, image, "OrderedReady");
    set["spec"]["persistentVolumeClaimRetentionPolicy"] = json!({"whenScaled": kept, "whenDeleted": kept});
    set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": claim_spec()}]);
    set
}

/// A pod that uses the claim of its own name, and one that comes and goes with it.
pub fn storing_pod(name: &str, image: &str) -> Value {
    let mut spec = template(name, image, 10, "Always")["spec"].take();
    spec["volumes"] = json!([{"name": "kept", "persistentVolumeClaim": {"claimName": name}},
        {"name": "own", "ephemeral": {"volumeClaimTemplate": {"spec": claim_spec()}}}]);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec})
}

/// A quota on the number of pods.
pub fn pod_quota(name: &str, pods: u32) -> Value {
    json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name},
        "spec": {"hard": {"pods": pods.to_string()}}})
}

/// A class of attributes that volumes may be given.
pub fn volume_attributes_class(name: &str) -> Value {
    json!({"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttributesClass", "metadata": {"name": name},
        "driverName": "sim", "parameters": {"iops": "100"}})
}

/// A role whose rules the role `view` takes over.
pub fn role_for_viewers(name: &str) -> Value {
    let labels = json!({"rbac.authorization.k8s.io/aggregate-to-view": "true"});
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels},
        "rules": [{"apiGroups": ["sim"], "resources": ["things"], "verbs": ["get"]}]})
}

/// A budget over the pods of `app`.
pub fn budget(app: &str) -> Value {
    json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": app},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": app}}}})
}

/// A Service without pods of its own, and where its traffic goes.
pub fn outside_service(name: &str, address: &str) -> [Value; 2] {
    let mut service = service(name, name);
    service["spec"]["selector"] = Value::Null;
    let endpoints = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": name},
        "subsets": [{"addresses": [{"ip": address}], "ports": [{"port": 8080}]}]});
    [service, endpoints]
}
