//! Which certificate requests are approved by themselves, which may be signed and on what terms, and when they go
//! (`pkg/controller/certificates/{approver,signer,cleaner}`, `pkg/apis/certificates/helpers.go`). What decides is here; the
//! key of the authority is in the server's process, and so is the signing.

use api::MetaExt;
use api::certificates::v1::CertificateSigningRequest;
use jiff::{SignedDuration, Timestamp};
use reconcile::{Controller, Cx, Plan, Watch, Write};
use std::time::Duration;

/// Clients of the API server.
pub const SIGNER_CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// Node agents as clients of the API server.
pub const SIGNER_KUBELET: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Node agents as servers.
pub const SIGNER_SERVING: &str = "kubernetes.io/kubelet-serving";
/// The service proxy's user name.
pub const PROXY_USER: &str = "system:kube-proxy";
/// The group of nodes.
const NODES: &str = "system:nodes";
/// What the name of a node's user begins with.
const NODE_USER: &str = "system:node:";
/// Life of a certificate that asks for nothing else (`--cluster-signing-duration`).
const LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);
/// The shortest life that is signed.
const LIFE_MIN: SignedDuration = SignedDuration::from_mins(10);
/// Certificates are good from a little before they are made, for peers whose clock is behind.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);
/// From this life on the backdating comes on top.
const SHORT: SignedDuration = SignedDuration::from_hours(8);
/// How long a request stays that was answered.
const KEPT_ANSWERED: SignedDuration = SignedDuration::from_hours(1);
/// How long a request stays that nobody answered.
const KEPT_PENDING: SignedDuration = SignedDuration::from_hours(24);

/// What the request itself (PKCS #10) asks to be certified.
#[derive(Clone, Debug, Default)]
pub struct AskedFor {
    /// CommonName.
    pub common_name: String,
    /// Each Organization.
    pub organizations: Vec<String>,
    /// Alternative names: DNS names.
    pub dns_names: Vec<String>,
    /// Alternative names: addresses, as text.
    pub ip_addresses: Vec<String>,
    /// Alternative names: e-mail addresses.
    pub email_addresses: Vec<String>,
    /// Alternative names: URIs, and whatever else there is.
    pub uris: Vec<String>,
}

impl AskedFor {
    fn names_hosts(&self) -> bool {
        !self.dns_names.is_empty() || !self.ip_addresses.is_empty()
    }
}

/// A way to be approved without a person: whoever asked must have `create` on
/// `certificatesigningrequests/<subresource>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recognized {
    /// The permission's subresource.
    pub subresource: &'static str,
    /// What the condition says.
    pub message: &'static str,
    /// Whether upstream approves it too, by its own account.
    pub upstream: bool,
}

fn usages(csr: &CertificateSigningRequest) -> Vec<&str> {
    csr.spec.usages.iter().flatten().map(String::as_str).collect()
}

/// Whether the usages are `required` with `digital signature`, and maybe `key encipherment` (for RSA keys).
fn usages_are(csr: &CertificateSigningRequest, required: &str) -> bool {
    let mut have = usages(csr);
    have.sort_unstable();
    have.dedup();
    have.retain(|u| *u != "key encipherment");
    let mut wanted = ["digital signature", required];
    wanted.sort_unstable();
    have == wanted
}

fn kubelet_client(csr: &CertificateSigningRequest, asked: &AskedFor) -> Result<(), String> {
    node_subject(asked)?;
    let no = |what: &str| Err(format!("{what} subjectAltNames are not allowed"));
    match () {
        () if !asked.dns_names.is_empty() => no("DNS"),
        () if !asked.email_addresses.is_empty() => no("Email"),
        () if !asked.ip_addresses.is_empty() => no("IP"),
        () if !asked.uris.is_empty() => no("URI"),
        () => node_user(csr, asked, "client auth"),
    }
}

fn kubelet_serving(csr: &CertificateSigningRequest, asked: &AskedFor) -> Result<(), String> {
    node_subject(asked)?;
    match () {
        () if !asked.names_hosts() => Err("DNS or IP subjectAltName is required".into()),
        () if !asked.email_addresses.is_empty() => Err("Email subjectAltNames are not allowed".into()),
        () if !asked.uris.is_empty() => Err("URI subjectAltNames are not allowed".into()),
        () => node_user(csr, asked, "server auth"),
    }
}

fn node_subject(asked: &AskedFor) -> Result<(), String> {
    if asked.organizations == [NODES] {
        Ok(())
    } else {
        Err("subject organization is not system:nodes".into())
    }
}

fn node_user(csr: &CertificateSigningRequest, asked: &AskedFor, usage: &str) -> Result<(), String> {
    if !usages_are(csr, usage) {
        let mut all = ["digital signature", "key encipherment", usage];
        all.sort_unstable();
        return Err(format!("usages did not match [{}]", all.join(" ")));
    }
    if asked.common_name.starts_with(NODE_USER) {
        return Ok(());
    }
    Err("subject common name does not begin with system:node:".into())
}

fn client(csr: &CertificateSigningRequest) -> Result<(), String> {
    let known = ["client auth", "digital signature", "key encipherment"];
    if let Some(other) = usages(csr).into_iter().find(|u| !known.contains(u)) {
        return Err(format!("invalid usage for client certificate: {other}"));
    }
    if usages(csr).contains(&"client auth") {
        return Ok(());
    }
    Err("missing required usage for client certificate: client auth".into())
}

/// What must be asked of the authorizer before a pending request is approved: each in turn, until one is allowed.
/// `addresses` are those of the Node object of the node that asks.
pub fn recognize(csr: &CertificateSigningRequest, asked: &AskedFor, addresses: &[String]) -> Vec<Recognized> {
    let user = csr.spec.username.as_deref().unwrap_or_default();
    let from_node = user.starts_with(NODE_USER) && csr.spec.groups.iter().flatten().any(|g| g == NODES);
    let own = user == asked.common_name;
    let way = |subresource, message, upstream| Recognized { subresource, message, upstream };
    match csr.spec.signer_name.as_str() {
        SIGNER_KUBELET if kubelet_client(csr, asked).is_ok() => {
            let own = own.then_some(way(
                "selfnodeclient",
                "Auto approving self kubelet client certificate after SubjectAccessReview.",
                true,
            ));
            let any = way(
                "nodeclient",
                "Auto approving kubelet client certificate after SubjectAccessReview.",
                true,
            );
            own.into_iter().chain([any]).collect()
        }
        SIGNER_SERVING if own && from_node && kubelet_serving(csr, asked).is_ok() => {
            // A node may speak for itself only: for its name, and for the addresses that it is known by.
            let name = user.strip_prefix(NODE_USER).unwrap_or_default();
            let all = asked.dns_names.iter().all(|n| n == name)
                && asked.ip_addresses.iter().all(|ip| addresses.contains(ip));
            let message = "Auto approving self kubelet server certificate after SubjectAccessReview.";
            all.then_some(way("selfnodeserver", message, false)).into_iter().collect()
        }
        SIGNER_CLIENT if from_node && asked.common_name == PROXY_USER && client(csr).is_ok() => {
            let plain = asked.organizations.is_empty()
                && !asked.names_hosts()
                && asked.email_addresses.is_empty()
                && asked.uris.is_empty();
            let message = "Auto approving a node's kube-proxy client certificate after SubjectAccessReview.";
            plain.then_some(way("nodeproxyclient", message, false)).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a request still waits for a decision.
pub fn is_pending(csr: &CertificateSigningRequest) -> bool {
    certificate(csr).is_empty() && !has(csr, "Approved") && !has(csr, "Denied")
}

/// What becomes of an approved request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signing {
    /// Nothing: it isn't approved, is done, or is another signer's.
    Nothing,
    /// It can't be signed, for this reason.
    Fail(String),
    /// It is signed for this time.
    Sign {
        /// Good from.
        not_before: Timestamp,
        /// Good until.
        not_after: Timestamp,
    },
}

/// Decides about one request; the certificate never outlives the authority, which is good until `authority_ends`.
pub fn signing(
    csr: &CertificateSigningRequest,
    asked: &AskedFor,
    now: Timestamp,
    authority_ends: Timestamp,
) -> Signing {
    if !has(csr, "Approved") || has(csr, "Denied") || has(csr, "Failed") || !certificate(csr).is_empty() {
        return Signing::Nothing;
    }
    let checked = match csr.spec.signer_name.as_str() {
        SIGNER_CLIENT => client(csr),
        SIGNER_KUBELET => kubelet_client(csr, asked),
        SIGNER_SERVING => kubelet_serving(csr, asked),
        _ => return Signing::Nothing,
    };
    if let Err(why) = checked {
        return Signing::Fail(why);
    }
    let wanted = csr.spec.expiration_seconds.map(|s| SignedDuration::from_secs(s.into()));
    let life = wanted.unwrap_or(LIFE).clamp(LIFE_MIN, LIFE);
    let not_before = now - BACKDATE;
    // A long life counts from the backdated start, a short one from now.
    let not_after = if life < SHORT { now + life } else { not_before + life };
    Signing::Sign { not_before, not_after: not_after.min(authority_ends) }
}

fn certificate(csr: &CertificateSigningRequest) -> &[u8] {
    csr.status.as_ref().and_then(|s| s.certificate.as_ref()).map_or(&[], |c| &c.0)
}

fn has(csr: &CertificateSigningRequest, kind: &str) -> bool {
    conditions(csr).any(|(k, _)| k == kind)
}

/// Types and times of the conditions.
fn conditions(csr: &CertificateSigningRequest) -> impl Iterator<Item = (&str, Option<Timestamp>)> {
    let all = csr.status.iter().flat_map(|s| s.conditions.iter().flatten());
    all.map(|c| (c.type_.as_str(), c.last_update_time.as_ref().map(|t| t.0)))
}

/// Deletes requests that were answered, or that nobody answered, long ago.
pub(crate) struct RequestCleaner;

impl Controller for RequestCleaner {
    fn name(&self) -> &'static str {
        "csrcleaner"
    }

    fn account(&self) -> &'static str {
        "certificate-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::own::<CertificateSigningRequest>()]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let Some(csr) = cx.view.at::<CertificateSigningRequest>(cx.key).filter(|c| !c.is_deleting()) else {
            return Plan::done();
        };
        let Some(end) = end(csr) else { return Plan::done() };
        if end <= cx.now {
            return Plan::one(Write::delete(csr));
        }
        Plan::later(Duration::try_from(end - cx.now).unwrap_or(Duration::from_secs(60)))
    }
}

/// When the request goes.
fn end(csr: &CertificateSigningRequest) -> Option<Timestamp> {
    let issued = !certificate(csr).is_empty();
    let answered = conditions(csr).filter_map(|(kind, at)| match kind {
        "Denied" | "Failed" => Some(at? + KEPT_ANSWERED),
        "Approved" if issued => Some(at? + KEPT_ANSWERED),
        "Approved" => Some(at? + KEPT_PENDING),
        _ => None,
    });
    let pending = || csr.metadata.creation_timestamp.as_ref().map(|t| t.0 + KEPT_PENDING);
    if conditions(csr).next().is_none() { pending() } else { answered.min() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;
    use serde_json::{Value, json};

    fn csr(signer: &str, usages: &[&str], status: Value) -> CertificateSigningRequest {
        serde_json::from_value(json!({"metadata": {"name": "r"}, "status": status, "spec": {
            "request": "", "signerName": signer, "usages": usages, "username": "system:node:n1",
            "groups": ["system:nodes", "system:authenticated"]}}))
        .unwrap()
    }

    fn node(ips: &[&str]) -> AskedFor {
        AskedFor {
            common_name: "system:node:n1".into(),
            organizations: vec![NODES.into()],
            ip_addresses: ips.iter().map(|ip| (*ip).to_owned()).collect(),
            ..AskedFor::default()
        }
    }

    const CLIENT: [&str; 2] = ["client auth", "digital signature"];
    const SERVER: [&str; 3] = ["digital signature", "key encipherment", "server auth"];

    fn ways(csr: &CertificateSigningRequest, asked: &AskedFor) -> String {
        let all = recognize(csr, asked, &["192.0.2.7".into()]);
        all.iter().map(|r| r.subresource).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn nodes_are_known_by_what_they_ask() {
        let kubelet = csr(SIGNER_KUBELET, &CLIENT, json!({}));
        assert_eq!(ways(&kubelet, &node(&[])), "selfnodeclient nodeclient");
        let other = AskedFor { common_name: "system:node:n2".into(), ..node(&[]) };
        assert_eq!(ways(&kubelet, &other), "nodeclient");
        assert_eq!(ways(&kubelet, &node(&["192.0.2.7"])), "");
        let master = AskedFor { organizations: vec!["system:masters".into()], ..node(&[]) };
        assert_eq!(ways(&kubelet, &master), "");
        assert_eq!(ways(&csr(SIGNER_KUBELET, &SERVER, json!({})), &node(&[])), "");
    }

    #[test]
    fn nodes_serve_under_their_own_addresses_only() {
        let serving = csr(SIGNER_SERVING, &SERVER, json!({}));
        assert_eq!(ways(&serving, &node(&["192.0.2.7"])), "selfnodeserver");
        assert_eq!(ways(&serving, &node(&["192.0.2.8"])), "");
        let named = |name: &str| AskedFor { dns_names: vec![name.into()], ..node(&["192.0.2.7"]) };
        assert_eq!(ways(&serving, &named("n1")), "selfnodeserver");
        assert_eq!(ways(&serving, &named("kubernetes")), "");
        let other = AskedFor { common_name: "system:node:n2".into(), ..node(&["192.0.2.7"]) };
        assert_eq!(ways(&serving, &other), "");
    }

    #[test]
    fn nodes_get_the_proxys_name_and_no_other() {
        let proxy = csr(SIGNER_CLIENT, &CLIENT, json!({}));
        let asked = |name: &str| AskedFor { common_name: name.into(), ..AskedFor::default() };
        assert_eq!(ways(&proxy, &asked(PROXY_USER)), "nodeproxyclient");
        assert_eq!(ways(&proxy, &asked("kubernetes-admin")), "");
        let mut stranger = proxy.clone();
        stranger.spec.groups = Some(vec!["system:authenticated".into()]);
        assert_eq!(ways(&stranger, &asked(PROXY_USER)), "");
        let grouped = AskedFor { organizations: vec!["dev".into()], ..asked(PROXY_USER) };
        assert_eq!(ways(&proxy, &grouped), "");
    }

    #[test]
    fn only_what_is_approved_is_signed_and_never_for_longer_than_the_authority_lives() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let approved = || json!({"conditions": [{"type": "Approved", "status": "True"}]});
        let end = now + SignedDuration::from_hours(24 * 365 * 10);
        let sign = |csr: &CertificateSigningRequest, end| match signing(csr, &node(&[]), now, end) {
            Signing::Sign { not_before, not_after } => format!("{not_before} {not_after}"),
            other => format!("{other:?}"),
        };
        assert_eq!(sign(&csr(SIGNER_KUBELET, &CLIENT, json!({})), end), "Nothing");
        let mut good = csr(SIGNER_KUBELET, &CLIENT, approved());
        assert_eq!(sign(&good, end), "2025-12-31T23:55:00Z 2026-12-31T23:55:00Z");
        assert_eq!(sign(&good, now + LIFE_MIN), "2025-12-31T23:55:00Z 2026-01-01T00:10:00Z");
        good.spec.expiration_seconds = Some(3600);
        assert_eq!(sign(&good, end), "2025-12-31T23:55:00Z 2026-01-01T01:00:00Z");
        let wrong = csr(SIGNER_KUBELET, &SERVER, approved());
        assert_eq!(
            sign(&wrong, end),
            r#"Fail("usages did not match [client auth digital signature key encipherment]")"#
        );
        assert_eq!(sign(&csr("example.com/x", &CLIENT, approved()), end), "Nothing");
        let both = json!({"conditions": [{"type": "Approved", "status": "True"}, {"type": "Denied", "status": "True"}]});
        assert_eq!(sign(&csr(SIGNER_KUBELET, &CLIENT, both), end), "Nothing");
    }

    #[test]
    fn answered_requests_go_after_an_hour_and_others_after_a_day() {
        let shown = |created: &str, conditions: Value| {
            let object = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
                "metadata": {"name": "r", "creationTimestamp": created},
                "spec": {"request": "", "signerName": "a.b/c"}, "status": {"conditions": conditions}});
            Scene::new([object]).show(&RequestCleaner, "r")
        };
        let (day, hour) = ("2025-12-30T23:59:59Z", "2025-12-31T22:59:59Z");
        let condition =
            |kind: &str, at: &str| json!([{"type": kind, "status": "True", "lastUpdateTime": at}]);
        assert_eq!(shown(day, json!([])), "delete certificatesigningrequests.certificates.k8s.io r\n");
        assert_eq!(shown(hour, json!([])), "again in 82799 s\n");
        assert_eq!(
            shown(day, condition("Denied", hour)),
            "delete certificatesigningrequests.certificates.k8s.io r\n"
        );
        assert_eq!(shown(day, condition("Approved", hour)), "again in 82799 s\n");
    }
}
