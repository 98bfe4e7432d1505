//! Paths that are no resources: discovery, version, health, OpenAPI, metrics, keys.

use crate::accept::Accepted;
use crate::discovery;
use crate::metrics;
use crate::reply::{Payload, Reply};
use crate::route::not_allowed;
use crate::server::ApiServer;
use crate::stage::Request;
use http::Method;
use meta::Status;
use serde_json::{Value, json};

/// The version of Kubernetes that is served.
pub const VERSION: &str = "v1.37.0";

impl ApiServer {
    /// Serves a plain URL.
    pub(crate) fn non_resource(&self, request: &Request, accepted: Accepted) -> Result<Reply, Status> {
        match self.plain(request, accepted) {
            Ok(_) if request.method != Method::GET && request.method != Method::HEAD => Err(not_allowed()),
            found => found,
        }
    }

    fn plain(&self, request: &Request, accepted: Accepted) -> Result<Reply, Status> {
        let path = request.info.path.trim_end_matches('/');
        if let Some(found) = discovery::serve(&self.catalog(), path, accepted) {
            return found;
        }
        if let Some(found) = self.openapi(path, request, accepted) {
            return found;
        }
        match path {
            "" => Ok(Reply::value(200, accepted, &json!({"paths": self.paths()}))),
            // People look at it; upstream always indents it.
            "/version" => Ok(Reply::value(200, Accepted { pretty: true, ..accepted }, &version())),
            "/metrics" => {
                let media = "text/plain; version=0.0.4; charset=utf-8";
                Ok(Reply::new(200, media, Payload::Bytes(metrics::text(self).into())))
            }
            "/metrics/slis" => {
                let media = "text/plain; version=0.0.4; charset=utf-8";
                let checks = ["healthz", "livez", "readyz"].map(|name| (name, self.checks(name)));
                Ok(Reply::new(200, media, Payload::Bytes(metrics::slis(&checks).into())))
            }
            "/openid/v1/jwks" => {
                let keys = self.authenticator.issuer().jwks().to_string();
                Ok(Reply::new(200, "application/jwk-set+json", Payload::Bytes(keys.into())))
            }
            "/.well-known/openid-configuration" => {
                let external = self.advertise.to_string();
                Ok(Reply::value(200, accepted, &self.authenticator.issuer().openid_configuration(&external)))
            }
            path => self.health(path, request).ok_or_else(Status::no_such_path)?,
        }
    }

    fn paths(&self) -> Vec<String> {
        let catalog = self.catalog();
        let mut all: Vec<String> = [
            "/.well-known/openid-configuration",
            "/api",
            "/api/v1",
            "/apis",
            "/healthz",
            "/livez",
            "/metrics",
            "/metrics/slis",
            "/openapi/v2",
            "/openapi/v3",
            "/openid/v1/jwks",
            "/readyz",
            "/version",
        ]
        .map(str::to_owned)
        .into();
        for group in catalog.groups.iter().filter(|g| !g.name.is_empty()) {
            all.push(format!("/apis/{}", group.name));
            all.extend(group.versions.iter().map(|v| format!("/apis/{}/{v}", group.name)));
        }
        all.sort();
        all
    }

    /// What is looked at for one of the paths of health, and whether it is well.
    fn checks(&self, path: &str) -> Vec<(&'static str, bool)> {
        let always = [("ping", true), ("log", true), ("etcd", true), ("informer-sync", true)];
        let shutdown = (path == "readyz").then_some(("shutdown", !self.runtime.is_stopping()));
        always.into_iter().chain(shutdown).collect()
    }

    /// `/healthz`, `/livez`, `/readyz` and their single checks; none for other paths.
    fn health(&self, path: &str, request: &Request) -> Option<Result<Reply, Status>> {
        let mut parts = path.trim_start_matches('/').split('/');
        let name = parts.next().filter(|n| matches!(*n, "healthz" | "livez" | "readyz"))?;
        let only = parts.next();
        let excluded: Vec<&str> = request.info.query.all("exclude").collect();
        let mut checks = self.checks(name);
        checks.retain(|(c, _)| !excluded.contains(c) && only.is_none_or(|o| o == *c));
        if checks.is_empty() {
            return Some(Err(Status::no_such_path()));
        }
        let well = checks.iter().all(|(_, ok)| *ok);
        let verbose = request.info.query.get("verbose").is_some();
        Some(Ok(health_text(name, &checks, well, verbose)))
    }
}

fn health_text(name: &str, checks: &[(&str, bool)], well: bool, verbose: bool) -> Reply {
    if well && !verbose {
        return Reply::text(200, "ok");
    }
    let line = |(check, ok): &(&str, bool)| match ok {
        true => format!("[+]{check} ok\n"),
        false => format!("[-]{check} failed: reason withheld\n"),
    };
    let lines: String = checks.iter().map(line).collect();
    match well {
        true => Reply::text(200, format!("{lines}{name} check passed\n")),
        false => Reply::text(500, format!("{lines}{name} check failed\n")),
    }
}

/// `version.Info`.
fn version() -> Value {
    let mut parts = VERSION.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    json!({"major": major, "minor": minor, "emulationMajor": major, "emulationMinor": minor,
        "minCompatibilityMajor": major, "minCompatibilityMinor": minor, "gitVersion": VERSION,
        "gitCommit": env!("CARGO_PKG_VERSION"), "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none", "compiler": "rustc", "platform": PLATFORM})
}

#[cfg(target_arch = "x86_64")]
const PLATFORM: &str = "linux/amd64";
#[cfg(target_arch = "aarch64")]
const PLATFORM: &str = "linux/arm64";
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const PLATFORM: &str = "linux/unknown";
