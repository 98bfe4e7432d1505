use super::{World, create, update};
use auth::pki::{Host, Profile};
use expect_test::expect;
use serde_json::{Value, json};

const RESOURCE: &str = "certificates.k8s.io/certificatesigningrequests";

fn csr(signer: &str, organization: &str, status: Value) -> Value {
    let profile = Profile::client("someone", Some(organization));
    let (_, request) = auth::pki::request(&profile).unwrap();
    json!({"metadata": {"name": "r"}, "spec": {"signerName": signer, "request": request}, "status": status})
}

#[test]
fn signers_have_their_own_rights() {
    let mut w = World::new();
    let old = || csr("kubernetes.io/kubelet-serving", "system:nodes", json!({}));
    let issued = || {
        let mut o = old();
        o["status"] = json!({"certificate": "LS0="});
        o
    };
    let (approval, status) = (format!("{RESOURCE}/approval"), format!("{RESOURCE}/status"));
    let mut lines = vec![
        w.say(update(&approval, old(), old())),
        w.say(update(&status, old(), old())),
        w.say(update(&status, issued(), old())),
    ];
    w.allowed =
        |a| a.resource == "signers" && a.verb == "approve" && a.name == "kubernetes.io/kubelet-serving";
    lines.push(w.say(update(&approval, old(), old())));
    lines.push(w.say(update(&status, issued(), old())));
    w.allowed = |a| a.resource == "signers" && a.verb == "sign" && a.name == "kubernetes.io/*";
    lines.push(w.say(update(&status, issued(), old())));
    expect![[r#"
        403 certificatesigningrequests.certificates.k8s.io "r" is forbidden: user not permitted to approve requests with signerName "kubernetes.io/kubelet-serving"
        ok
        403 certificatesigningrequests.certificates.k8s.io "r" is forbidden: user not permitted to sign requests with signerName "kubernetes.io/kubelet-serving"
        ok
        403 certificatesigningrequests.certificates.k8s.io "r" is forbidden: user not permitted to sign requests with signerName "kubernetes.io/kubelet-serving"
        ok"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn nobody_asks_to_be_a_master() {
    let w = World::new();
    let client = "kubernetes.io/kube-apiserver-client";
    let mut broken = csr(client, "dev", json!({}));
    broken["spec"]["request"] = "bm9uZQ==".into();
    let lines = [
        w.say(create(RESOURCE, csr(client, "dev", json!({})))),
        w.say(create(RESOURCE, csr(client, "system:masters", json!({})))),
        w.say(create(RESOURCE, csr("example.com/x", "system:masters", json!({})))),
        w.say(create(RESOURCE, broken)),
    ];
    expect![[r#"
        ok
        403 certificatesigningrequests.certificates.k8s.io "r" is forbidden: use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed
        ok
        403 certificatesigningrequests.certificates.k8s.io "r" is forbidden: failed to parse CSR: PEM block type must be CERTIFICATE REQUEST"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn what_is_asked_for_can_be_read() {
    let hosts = vec![Host::Name("n1".into()), Host::Ip([192, 0, 2, 7].into())];
    let profile =
        Profile { organization: Some("system:nodes".into()), ..Profile::server("system:node:n1", hosts) };
    let (_, request) = auth::pki::request(&profile).unwrap();
    let asked = auth::pki::Asked::from_base64(&request).unwrap();
    assert_eq!(
        (asked.common_name.as_str(), asked.organizations.join(",")),
        ("system:node:n1", "system:nodes".into())
    );
    assert_eq!((asked.dns_names.join(","), asked.ip_addresses.len(), asked.others), ("n1".into(), 1, false));
}

#[test]
fn a_node_asks_for_itself_only() {
    let w = World::new();
    let say = |name: &str, signer: &str| {
        let profile = Profile::client(&format!("system:node:{name}"), Some("system:nodes"));
        let (_, request) = auth::pki::request(&profile).unwrap();
        let object = json!({"metadata": {"name": "r"}, "spec": {"signerName": signer, "request": request}});
        let mut r = create(RESOURCE, object);
        r.user = std::sync::Arc::new(meta::UserInfo::new("system:node:n1", &["system:nodes"]));
        w.say(r)
    };
    let lines = [
        say("n1", "kubernetes.io/kubelet-serving"),
        say("n2", "kubernetes.io/kubelet-serving"),
        say("n2", "kubernetes.io/kube-apiserver-client-kubelet"),
        say("n2", "example.com/x"),
    ];
    expect![[r#"
        ok
        403 certificatesigningrequests.certificates.k8s.io "r" is forbidden: can only create a node CSR with CN=system:node:n1
        403 certificatesigningrequests.certificates.k8s.io "r" is forbidden: can only create a node CSR with CN=system:node:n1
        ok"#]]
    .assert_eq(&lines.join("\n"));
}
