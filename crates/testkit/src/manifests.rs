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
