use super::{Authenticator, Credentials, Impersonation, peer_user};
use crate::UserInfo;
use crate::token::tests::{Objects, grant, issuer, objects};
use base64::Engine;
use expect_test::expect;
use meta::Time;
use serde_json::json;
use std::sync::Arc;

const NOW: i64 = 1_800_000_000;

fn authenticator() -> Authenticator {
    Authenticator::new(Arc::new(issuer()))
}

fn who(a: &Authenticator, credentials: Credentials<'_>, objects: &Objects, at: i64) -> String {
    match a.authenticate(credentials, objects, Time::from_second(at)) {
        Ok(user) => format!("{} {:?}", user.name, user.groups),
        Err(status) => format!("{} {}", status.code, status.message),
    }
}

fn with(header: &str) -> Credentials<'_> {
    Credentials { authorization: Some(header), ..Credentials::default() }
}

#[test]
fn anonymous_unless_something_is_brought() {
    let (a, objects) = (authenticator(), objects());
    let who = |c| who(&a, c, &objects, NOW);
    assert_eq!(who(Credentials::default()), r#"system:anonymous ["system:unauthenticated"]"#);
    assert_eq!(who(with("Basic YTpi")), r#"system:anonymous ["system:unauthenticated"]"#);
    assert_eq!(who(with("Bearer ")), r#"system:anonymous ["system:unauthenticated"]"#);
    assert_eq!(who(with("Bearer nonsense")), "401 Unauthorized");
    let long = format!("Bearer {}", "x".repeat(100_000));
    assert_eq!(who(with(&long)), "401 Unauthorized");
    let strict = authenticator().without_anonymous();
    assert_eq!(self::who(&strict, Credentials::default(), &objects, NOW), "401 Unauthorized");
}

#[test]
fn tokens_are_cached_for_a_moment_only() {
    let (a, mut objects) = (authenticator(), objects());
    let token = grant(a.issuer(), &objects, json!({})).unwrap().object.str(&["status", "token"]).to_owned();
    let header = format!("bearer {token}");
    let known = r#"system:serviceaccount:dev:web ["system:serviceaccounts", "system:serviceaccounts:dev", "system:authenticated"]"#;
    assert_eq!(who(&a, with(&header), &objects, NOW), known);
    let protocol = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&token);
    let protocols = format!("v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.{protocol}");
    let socket = Credentials { websocket_protocols: Some(&protocols), ..Credentials::default() };
    assert_eq!(who(&a, socket, &objects, NOW), known);
    objects.0.clear();
    assert_eq!(who(&a, with(&header), &objects, NOW + 9), known);
    assert_eq!(who(&a, with(&header), &objects, NOW + 10), "401 Unauthorized");
}

#[test]
fn a_certificate_names_user_and_groups() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "jane");
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "devs");
    params.distinguished_name.push(rcgen::DnType::from_oid(&[1, 3, 6, 1, 4, 1, 57683, 2]), "u-1");
    let cert = params.self_signed(&key).unwrap();
    let user = peer_user(cert.der()).unwrap().unwrap();
    assert_eq!((user.name.as_str(), user.uid.as_str()), ("jane", "u-1"));
    assert_eq!(user.groups, ["devs", "system:authenticated"]);
    assert!(user.extra["authentication.kubernetes.io/credential-id"][0].starts_with("X509SHA256="));
    params.distinguished_name = rcgen::DistinguishedName::new();
    assert_eq!(peer_user(params.self_signed(&key).unwrap().der()), Ok(None));
    assert!(peer_user(b"junk").is_err());
    let objects = Objects::default();
    let both =
        Credentials { peer: Some(&user), authorization: Some("Bearer junk"), websocket_protocols: None };
    assert_eq!(who(&authenticator(), both, &objects, NOW), r#"jane ["devs", "system:authenticated"]"#);
}

#[test]
fn bootstrap_tokens() {
    let b64 = |s: &str| base64::engine::general_purpose::STANDARD.encode(s);
    let secret = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut v = json!({"metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
            "type": "bootstrap.kubernetes.io/token", "data": {"token-id": b64("abcdef"),
            "token-secret": b64("0123456789abcdef"), "usage-bootstrap-authentication": b64("true"),
            "auth-extra-groups": b64("system:bootstrappers:edge"), "expiration": b64("2030-01-01T00:00:00Z")}});
        change(&mut v);
        let mut objects = Objects::default();
        objects.put("secrets", v);
        objects
    };
    let a = authenticator();
    let who = |o: &Objects, token: &str| who(&a, with(&format!("Bearer {token}")), o, NOW);
    let good = secret(&|_| {});
    expect![[r#"401 Unauthorized"#]].assert_eq(&who(&good, "abcdef.0123456789abcdee"));
    for change in [
        |v: &mut serde_json::Value| v["type"] = "Opaque".into(),
        |v: &mut serde_json::Value| v["data"]["expiration"] = "MjAwMC0wMS0wMVQwMDowMDowMFo=".into(),
        |v: &mut serde_json::Value| v["data"]["usage-bootstrap-authentication"] = "ZmFsc2U=".into(),
        |v: &mut serde_json::Value| v["data"]["auth-extra-groups"] = "c3lzdGVtOm1hc3RlcnM=".into(),
        |v: &mut serde_json::Value| v["metadata"]["deletionTimestamp"] = "2020-01-01T00:00:00Z".into(),
    ] {
        assert_eq!(who(&secret(&change), "abcdef.0123456789abcdef"), "401 Unauthorized");
    }
    expect![[r#"system:bootstrap:abcdef ["system:bootstrappers", "system:bootstrappers:edge", "system:authenticated"]"#]]
        .assert_eq(&who(&good, "abcdef.0123456789abcdef"));
}

#[test]
fn impersonation() {
    let me = Arc::new(UserInfo::new("admin", &[]));
    let show = |headers: &[(&str, &str)]| match Impersonation::requested(headers.iter().copied()) {
        Err(status) => format!("{} {}", status.code, status.message),
        Ok(None) => "none".to_owned(),
        Ok(Some(i)) => {
            let checks =
                i.checks(&me).into_iter().map(|a| crate::authorize::forbidden(&a, "").message + "\n");
            format!("{}{}", checks.collect::<String>(), i.clone().into_user().to_value())
        }
    };
    assert_eq!(show(&[("accept", "x")]), "none");
    expect![[r#"
        users "jane" is forbidden: User "admin" cannot impersonate resource "users" in API group "" at the cluster scope
        groups "devs" is forbidden: User "admin" cannot impersonate resource "groups" in API group "" at the cluster scope
        userextras.authentication.k8s.io "a" is forbidden: User "admin" cannot impersonate resource "userextras/acme.com/scope" in API group "authentication.k8s.io" at the cluster scope
        uids.authentication.k8s.io "7" is forbidden: User "admin" cannot impersonate resource "uids" in API group "authentication.k8s.io" at the cluster scope
        {"extra":{"acme.com/scope":["a"]},"groups":["devs","system:authenticated"],"uid":"7","username":"jane"}"#]]
    .assert_eq(&show(&[
        ("impersonate-user", "jane"),
        ("impersonate-group", "devs"),
        ("impersonate-extra-acme.com%2fscope", "a"),
        ("impersonate-uid", "7"),
    ]));
    expect![[r#"
        serviceaccounts "bot" is forbidden: User "admin" cannot impersonate resource "serviceaccounts" in API group "" in the namespace "dev"
        {"groups":["system:serviceaccounts","system:serviceaccounts:dev","system:authenticated"],"username":"system:serviceaccount:dev:bot"}"#]]
    .assert_eq(&show(&[("impersonate-user", "system:serviceaccount:dev:bot")]));
    expect![[r#"
        users "system:anonymous" is forbidden: User "admin" cannot impersonate resource "users" in API group "" at the cluster scope
        {"groups":["system:unauthenticated"],"username":"system:anonymous"}"#]]
    .assert_eq(&show(&[("impersonate-user", "system:anonymous")]));
    expect![[r#"400 requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"devs"}, Extra:map[string][]string(nil)} without impersonating a user name"#]]
        .assert_eq(&show(&[("impersonate-group", "devs")]));
}
