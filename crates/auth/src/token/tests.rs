use super::{Issuer, SigningKey, Verdict};
use crate::Lookup;
use expect_test::expect;
use meta::{Object, Time};
use ring::rand::SystemRandom;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

const NOW: i64 = 1_800_000_000;

/// Objects by `resource/namespace/name`.
#[derive(Default)]
pub(crate) struct Objects(pub(crate) HashMap<String, Arc<Object>>);

impl Objects {
    pub(crate) fn put(&mut self, resource: &str, v: Value) {
        let o = Object::from_value(v).unwrap();
        let key = format!("{resource}/{}/{}", o.metadata.namespace, o.metadata.name);
        self.0.insert(key, Arc::new(o));
    }
}

impl Lookup for Objects {
    fn get(&self, _group: &str, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.0.get(&format!("{resource}/{namespace}/{name}")).cloned()
    }
}

pub(crate) fn objects() -> Objects {
    let mut objects = Objects::default();
    objects.put("serviceaccounts", json!({"metadata": {"name": "web", "namespace": "dev", "uid": "sa-1"}}));
    objects.put(
        "pods",
        json!({"metadata": {"name": "p", "namespace": "dev", "uid": "pod-1"},
        "spec": {"serviceAccountName": "web", "nodeName": "n1"}}),
    );
    objects.put(
        "pods",
        json!({"metadata": {"name": "q", "namespace": "dev", "uid": "pod-2"},
        "spec": {"serviceAccountName": "other"}}),
    );
    objects.put("nodes", json!({"metadata": {"name": "n1", "uid": "node-1"}}));
    objects
}

pub(crate) fn issuer() -> Issuer {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let key = SigningKey::from_pkcs8(key.serialized_der(), SystemRandom::new()).unwrap();
    Issuer::new(super::DEFAULT_ISSUER, key)
}

fn now() -> Time {
    Time::from_second(NOW)
}

pub(crate) fn grant(issuer: &Issuer, objects: &Objects, spec: Value) -> Result<super::Granted, meta::Status> {
    let account = objects.get("", "serviceaccounts", "dev", "web").unwrap();
    issuer.grant(&account, Object::from_value(json!({"spec": spec})).unwrap(), objects, now())
}

fn token(granted: &super::Granted) -> String {
    granted.object.str(&["status", "token"]).to_owned()
}

fn verify_at(issuer: &Issuer, objects: &Objects, token: &str, at: i64) -> String {
    match issuer.verify(token, &[], objects, Time::from_second(at)) {
        Verdict::NotOurs => "not ours".to_owned(),
        Verdict::Invalid(why) => why,
        Verdict::Valid(claims, audiences) => {
            let mut user = claims.user();
            user.extra.remove("authentication.kubernetes.io/credential-id");
            format!("{} {audiences:?}", user.to_value())
        }
    }
}

fn pod_ref(name: &str) -> Value {
    json!({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": name}})
}

#[test]
fn grants_and_verifies() {
    let (issuer, mut objects) = (issuer(), objects());
    let granted = grant(&issuer, &objects, pod_ref("p")).unwrap();
    let token = token(&granted);
    expect![[r#"{"extra":{"authentication.kubernetes.io/node-name":["n1"],"authentication.kubernetes.io/node-uid":["node-1"],"authentication.kubernetes.io/pod-name":["p"],"authentication.kubernetes.io/pod-uid":["pod-1"]},"groups":["system:serviceaccounts","system:serviceaccounts:dev"],"uid":"sa-1","username":"system:serviceaccount:dev:web"} ["https://kubernetes.default.svc.cluster.local"]"#]]
        .assert_eq(&verify_at(&issuer, &objects, &token, NOW));
    assert_eq!(granted.object.str(&["status", "expirationTimestamp"]), "2027-01-15T09:00:00Z");
    assert_eq!(verify_at(&issuer, &objects, &token, NOW + 3661), "service account token has expired");
    assert_eq!(verify_at(&issuer, &objects, &token, NOW - 61), "service account token is not valid yet");
    let other = self::issuer();
    assert_eq!(verify_at(&other, &objects, &token, NOW), "invalid signature, no keys found");
    let mut forged = token.clone();
    forged.replace_range(
        token.len() - 4..token.len() - 3,
        if &token[token.len() - 4..token.len() - 3] == "A" { "B" } else { "A" },
    );
    assert_eq!(verify_at(&issuer, &objects, &forged, NOW), "invalid signature");
    objects.put("pods", json!({"metadata": {"name": "p", "namespace": "dev", "uid": "pod-9"}}));
    assert_eq!(
        verify_at(&issuer, &objects, &token, NOW),
        "pod UID (pod-9) does not match service account pod ref claim (pod-1)"
    );
    objects.0.remove("pods/dev/p");
    assert_eq!(verify_at(&issuer, &objects, &token, NOW), "service account token has been invalidated");
    objects.0.clear();
    assert_eq!(verify_at(&issuer, &objects, &token, NOW), "serviceaccounts \"web\" not found");
}

#[test]
fn refuses_other_algorithms_and_issuers() {
    let (issuer, objects) = (issuer(), objects());
    for token in ["", "a", "a.b", "a.b.c", "abcdef.0123456789abcdef"] {
        assert_eq!(verify_at(&issuer, &objects, token, NOW), "not ours", "{token}");
    }
    use base64::Engine;
    let b64 = |s: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(s);
    let none = format!(
        "{}.{}.",
        b64(r#"{"alg":"none"}"#),
        b64(&format!(r#"{{"iss":"{}","exp":9999999999}}"#, super::DEFAULT_ISSUER))
    );
    assert_eq!(verify_at(&issuer, &objects, &none, NOW), "not ours");
}

#[test]
fn pod_tokens_live_on_with_a_warning_time() {
    let (issuer, objects) = (issuer(), objects());
    let mut spec = pod_ref("p");
    spec["expirationSeconds"] = 3607.into();
    let token = token(&grant(&issuer, &objects, spec).unwrap());
    match issuer.verify(&token, &[], &objects, now()) {
        Verdict::Valid(claims, _) => {
            assert_eq!(claims.exp, NOW + 31_536_000);
            assert_eq!(claims.kubernetes.warnafter, Some(NOW + 3607));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn audiences_bind() {
    let (issuer, objects) = (issuer(), objects());
    let token = token(&grant(&issuer, &objects, json!({"audiences": ["vault"]})).unwrap());
    assert_eq!(
        verify_at(&issuer, &objects, &token, NOW),
        r#"token audiences ["vault"] is invalid for the target audiences ["https://kubernetes.default.svc.cluster.local"]"#
    );
    let shared = issuer.verify(&token, &["vault".to_owned(), "x".to_owned()], &objects, now());
    assert!(matches!(shared, Verdict::Valid(_, a) if a == ["vault"]));
}

#[test]
fn refuses_requests_in_upstreams_words() {
    let (issuer, objects) = (issuer(), objects());
    let refused = |spec| grant(&issuer, &objects, spec).map(|g| g.object).unwrap_err().message;
    let cases = [
        json!({"expirationSeconds": 599}),
        json!({"expirationSeconds": 1i64 << 33}),
        pod_ref("none"),
        pod_ref("q"),
        json!({"boundObjectRef": {"kind": "Deployment", "apiVersion": "apps/v1", "name": "x"}}),
        json!({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "other"}}),
    ];
    let lines: Vec<String> = cases.into_iter().map(|c| refused(c) + "\n").collect();
    expect![[r#"
        TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes
        TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 8589934592: may not specify a duration larger than 2^32 seconds
        pods "none" not found
        cannot bind token for serviceaccount "web" to pod running with different serviceaccount name.
        cannot bind token to object of type apps/v1, Kind=Deployment
        Operation cannot be fulfilled on Pod "p": the UID in the bound object reference (other) does not match the UID in record. The object might have been deleted and then recreated
    "#]]
    .assert_eq(&lines.concat());
}

#[test]
fn longest_life_is_enforced_with_a_warning() {
    let (issuer, objects) = (issuer().max_expiration(900), objects());
    let granted = grant(&issuer, &objects, json!({})).unwrap();
    assert_eq!(granted.warnings, ["requested expiration of 3600 seconds shortened to 900 seconds"]);
    assert_eq!(granted.object.get(&["spec", "expirationSeconds"]), Some(&json!(900)));
}

#[test]
fn others_can_verify() {
    let issuer = issuer();
    let config = issuer.openid_configuration("127.0.0.1:6443");
    expect![[r#"{"id_token_signing_alg_values_supported":["ES256"],"issuer":"https://kubernetes.default.svc.cluster.local","jwks_uri":"https://127.0.0.1:6443/openid/v1/jwks","response_types_supported":["id_token"],"subject_types_supported":["public"]}"#]]
        .assert_eq(&config.to_string());
    let jwk = &issuer.jwks()["keys"][0];
    assert_eq!(jwk["kty"], "EC");
    assert_eq!(jwk["x"].as_str().unwrap().len(), 43);
    assert_eq!(jwk["y"].as_str().unwrap().len(), 43);
}
