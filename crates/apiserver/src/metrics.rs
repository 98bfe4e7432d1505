//! A few figures in Prometheus' text format, under upstream's names.

use crate::server::ApiServer;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

/// Counts of answers by verb and code.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<BTreeMap<(String, u16), u64>>);

/// Verbs are few, but a client could invent methods: beyond this many rows nothing is added.
const MAX_ROWS: usize = 1000;

impl Metrics {
    /// Counts one answer.
    pub(crate) fn count(&self, verb: &str, code: u16) {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = rows.get_mut(&(verb.to_owned(), code)) {
            *n += 1;
        } else if rows.len() < MAX_ROWS {
            rows.insert((verb.to_owned(), code), 1);
        }
    }
}

/// The text of `/metrics/slis`: how each check stands (`component-base/metrics/prometheus/slis`).
pub(crate) fn slis(paths: &[(&str, Vec<(&str, bool)>)]) -> String {
    let mut out = "# HELP kubernetes_healthcheck This metric records the result of a single healthcheck.\n\
        # TYPE kubernetes_healthcheck gauge\n"
        .to_owned();
    for (path, checks) in paths {
        for (check, well) in checks {
            let n = u8::from(*well);
            let _ = writeln!(out, "kubernetes_healthcheck{{name=\"{check}\",type=\"{path}\"}} {n}");
        }
    }
    out
}

/// The text of `/metrics`.
pub(crate) fn text(server: &ApiServer) -> String {
    let mut out = String::new();
    let head = |name: &str, kind: &str, help: &str| format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
    out += &head(
        "apiserver_request_total",
        "counter",
        "Counter of apiserver requests broken out for each verb and HTTP response code.",
    );
    for ((verb, code), n) in server.metrics.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        let verb: String = verb.to_uppercase().chars().filter(char::is_ascii_alphanumeric).collect();
        let _ = writeln!(out, "apiserver_request_total{{verb=\"{verb}\",code=\"{code}\"}} {n}");
    }
    out += &head("apiserver_current_inflight_requests", "gauge", "Number of requests currently in flight.");
    for (kind, n) in ["readOnly", "mutating", "system", "longRunning"].iter().zip(server.flow.counts()) {
        let _ = writeln!(out, "apiserver_current_inflight_requests{{request_kind=\"{kind}\"}} {n}");
    }
    out += &head(
        "apiserver_storage_objects",
        "gauge",
        "Number of stored objects at the time of the last check.",
    );
    let _ = writeln!(out, "apiserver_storage_objects {}", server.store.len());
    out += &head("apiserver_storage_revision", "gauge", "The newest revision.");
    let _ = writeln!(out, "apiserver_storage_revision {}", server.store.revision());
    out
}
