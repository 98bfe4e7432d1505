//! `pods` (v1).

use crate::kind::{Kind, Verbs};
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind::namespaced("", "v1", "Pod", "pods")
        .short(&["po"])
        .category("all")
        .special("attach", ("", "v1", "PodAttachOptions"), Verbs::CONNECT)
        .special("binding", ("", "v1", "Binding"), Verbs::CREATE)
        .part("ephemeralcontainers", &crate::strategy::STATUS)
        .special("eviction", ("policy", "v1", "Eviction"), Verbs::CREATE)
        .special("exec", ("", "v1", "PodExecOptions"), Verbs::CONNECT)
        .special("log", ("", "v1", "Pod"), Verbs::GET)
        .special("portforward", ("", "v1", "PodPortForwardOptions"), Verbs::CONNECT)
        .special("proxy", ("", "v1", "PodProxyOptions"), Verbs::PROXY)
        .part("resize", &crate::strategy::STATUS)
        .status(Value::Null)
        .table(
            &[
                "Name",
                "Ready",
                "Status",
                "Restarts",
                "Age",
                "IP*",
                "Node*",
                "Nominated Node*",
                "Readiness Gates*",
            ],
            crate::table::name_and_created,
        )
        .generation()
}
