//! Debian's docker-registry with an image of a small Debian that skopeo pushed: pulled by tag and by digest, with and
//! without credentials, and running; and with a chart that Helm pushed.

use e2e::{Cluster, Program, eventually};
use server::{PASSWORD, Server, USER};

#[path = "../../image/tests/docker_registry/server.rs"]
mod server;

/// A registry with the image `debian/small:12`; gives the digest too.
fn registry(c: &Cluster, locked: bool) -> (Server, String) {
    let archive = c.scratch().join("debian.tar");
    e2e::debian_archive(&archive);
    let server = Server::start(&c.scratch().join("registry"), locked, false);
    let digest = push(c, &server, &archive.to_string_lossy(), "debian/small:12");
    (server, digest)
}

fn push(c: &Cluster, server: &Server, archive: &str, name: &str) -> String {
    let digest = c.scratch().join("digest").to_string_lossy().into_owned();
    let creds = format!("--dest-creds={USER}:{PASSWORD}");
    let from = format!("docker-archive:{archive}");
    let to = format!("docker://{}/{name}", server.address);
    let skopeo = ["copy", "--insecure-policy", "--dest-tls-verify=false", "--digestfile", &digest, &creds];
    Program::named("skopeo").run(&[&skopeo[..], &[&from, &to]].concat()).ok();
    std::fs::read_to_string(digest).expect("the digest that skopeo wrote")
}

/// A pod that tells its Debian's version; `more` stands in its spec.
fn run(c: &Cluster, name: &str, image: &str, policy: &str, more: &str) {
    let script = "while read v; do echo Debian $v; done < /etc/debian_version; exec busybox sleep 1000000";
    c.apply(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{terminationGracePeriodSeconds: 0, {more}
         containers: [{{name: main, image: '{image}', imagePullPolicy: {policy}, command: [sh, -c, '{script}']}}]}}}}"
    ));
}

/// Waits until the pod waits for this reason, with this in its message.
fn waits(c: &Cluster, pod: &str, reason: &str, message: &str) {
    eventually(&format!("{pod} waits: {reason}"), || {
        let state = "jsonpath={.status.containerStatuses[0].state.waiting}";
        let waiting = c.kubectl(&["get", "pod", pod, "-o", state]).out;
        let found = waiting.contains(&format!("\"reason\":\"{reason}\"")) && waiting.contains(message);
        if found { Ok(()) } else { Err(waiting) }
    });
}

/// Waits until the pod's events say this.
fn told(c: &Cluster, pod: &str, expected: &[&str]) {
    eventually(&format!("events of {pod}"), || {
        let events = c.run(&format!("events --for pod/{pod}")).out;
        if expected.iter().all(|e| events.contains(e)) { Ok(()) } else { Err(events) }
    });
}

fn image_of(c: &Cluster, pod: &str) -> String {
    c.run(&format!("get pod {pod} -o jsonpath={{.status.containerStatuses[0].imageID}}")).ok()
}

#[test]
fn by_tag_and_by_digest() {
    let c = Cluster::with_node();
    let (server, digest) = registry(&c, false);
    let repository = format!("{}/debian/small", server.address);
    let tag = format!("{repository}:12");
    run(&c, "tag", &tag, "Always", "");
    run(&c, "missing", &format!("{repository}:13"), "IfNotPresent", "");
    run(&c, "never", &format!("{repository}:never"), "Never", "");
    c.wait_phase("tag", "Running");
    run(&c, "digest", &format!("{repository}@{digest}"), "IfNotPresent", "");
    c.wait_phase("digest", "Running");
    told(&c, "tag", &[&format!("Pulling image \"{tag}\""), "Successfully pulled image", "Image size: "]);
    told(&c, "digest", &["already present on machine and can be accessed by the pod"]);
    let id = format!("{repository}@{digest}");
    assert_eq!([&image_of(&c, "tag"), &image_of(&c, "digest")], [&id, &id]);
    let version = std::fs::read_to_string("/etc/debian_version").expect("a Debian");
    c.says(&[("logs tag", &format!("Debian {version}"))]);

    let missing = format!("{repository}:13: not found");
    waits(&c, "missing", "ImagePullBackOff", &missing);
    told(
        &c,
        "missing",
        &["Error: ErrImagePull", &missing, "Back-off pulling image", "Error: ImagePullBackOff"],
    );
    waits(&c, "never", "ErrImageNeverPull", "is not present with pull policy of Never");

    // The tag moves: who always pulls gets what it means now.
    c.import_busybox();
    let archive = c.scratch().join("busybox.tar").to_string_lossy().into_owned();
    let moved = push(&c, &server, &archive, "debian/small:12");
    run(&c, "kept", &tag, "IfNotPresent", "");
    c.wait_phase("kept", "Running");
    run(&c, "again", &tag, "Always", "");
    eventually("the tag's new image", || match image_of(&c, "again") {
        new if new.contains(&moved) => Ok(()),
        other => Err(other),
    });
    assert_eq!(image_of(&c, "kept"), id);

    let pulled = c.ironclad(&["image", "pull", &format!("{repository}@{digest}")]).ok();
    assert!(pulled.contains(&repository), "{pulled}");
    assert!(c.ironclad(&["image", "pull", &format!("{repository}:13")]).fails().contains("not found"));
}

#[test]
fn with_credentials_and_without() {
    let c = Cluster::with_node();
    let (server, _) = registry(&c, true);
    let image = format!("{}/debian/small:12", server.address);
    for (name, password) in [("good", PASSWORD), ("wrong", "wrong")] {
        let server = format!("--docker-server={}", server.address);
        let (user, password) = (format!("--docker-username={USER}"), format!("--docker-password={password}"));
        c.kubectl(&["create", "secret", "docker-registry", name, &server, &user, &password]).ok();
    }
    run(&c, "good", &image, "IfNotPresent", "imagePullSecrets: [{name: good}],");
    c.wait_phase("good", "Running");

    // The image is here now, and still not for those who could not have pulled it.
    run(&c, "stranger", &image, "IfNotPresent", "");
    run(&c, "wrong", &image, "IfNotPresent", "imagePullSecrets: [{name: wrong}],");
    run(&c, "never", &image, "Never", "");
    run(&c, "nosecret", &image, "Always", "imagePullSecrets: [{name: absent}],");
    c.says(&[
        ("create serviceaccount puller", "created"),
        (r#"patch serviceaccount puller -p '{"imagePullSecrets":[{"name":"good"}]}'"#, "patched"),
    ]);
    run(&c, "account", &image, "IfNotPresent", "serviceAccountName: puller,");
    c.wait_phase("account", "Running");
    told(&c, "account", &["already present on machine and can be accessed by the pod"]);
    let denied = "pull access denied, repository does not exist or may require authorization: \
        authorization failed: no basic auth credentials";
    told(
        &c,
        "stranger",
        &[denied, "Error: ErrImagePull", "Back-off pulling image", "Error: ImagePullBackOff"],
    );
    waits(&c, "stranger", "ImagePullBackOff", "no basic auth credentials");
    waits(&c, "wrong", "ImagePullBackOff", "401 Unauthorized");
    waits(&c, "never", "ErrImageNeverPull", "is not present with pull policy of Never");
    let absent =
        "Unable to retrieve some image pull secrets (absent); attempting to pull the image may not succeed.";
    told(&c, "nosecret", &[absent, denied]);

    assert!(c.ironclad(&["image", "pull", &image]).fails().contains("no basic auth credentials"));
    let creds = format!("--creds={USER}:{PASSWORD}");
    assert_eq!(c.ironclad(&["image", "pull", &creds, &image]).ok().trim(), image);
}

const CHART: &str = "{apiVersion: v2, name: small, version: 0.1.0}";
/// What the cluster is asked while a chart is rendered.
const TEMPLATE: &str = r#"
{{- $ca := lookup "v1" "ConfigMap" .Release.Namespace "kube-root-ca.crt" }}
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}}
data:
  revision: {{ .Release.Revision | quote }}
  told: "{{ .Capabilities.KubeVersion.Minor }} {{ .Capabilities.APIVersions.Has "autoscaling/v2/HorizontalPodAutoscaler" }} {{ .Capabilities.APIVersions.Has "nope/v1" }} {{ if $ca }}{{ $ca.metadata.name }}{{ end }}"
"#;

#[test]
fn a_chart_from_a_registry() {
    let c = Cluster::control_plane();
    let server = Server::start(&c.scratch().join("registry"), false, false);
    let chart = c.scratch().join("small");
    std::fs::create_dir_all(chart.join("templates")).expect("a directory for the chart");
    std::fs::write(chart.join("Chart.yaml"), CHART).expect("a chart");
    std::fs::write(chart.join("templates/map.yaml"), TEMPLATE).expect("a template");
    let (chart, scratch) = (chart.to_string_lossy(), c.scratch().to_string_lossy());
    c.helm(&["lint", &chart]).ok();
    c.helm(&["package", &chart, "-d", &scratch]).ok();
    let charts = format!("oci://{}/charts", server.address);
    c.helm(&["push", &format!("{scratch}/small-0.1.0.tgz"), &charts, "--plain-http"]).ok();
    let from = [&format!("{charts}/small"), "--version=0.1.0", "--plain-http"];
    eventually("the namespace has its certificate", || match c.run("get cm kube-root-ca.crt") {
        found if found.code == 0 => Ok(()),
        absent => Err(absent.err),
    });
    c.helm(&[&["install", "one", "--wait", "--rollback-on-failure"], &from[..]].concat()).ok();
    c.says(&[("get cm one -o jsonpath={.data.told}", "37 true false kube-root-ca.crt")]);
    c.helm(&[&["upgrade", "--install", "one"], &from[..]].concat()).ok();
    c.says(&[("get cm one -o jsonpath={.data.revision}", "2")]);
    let validated = c.helm(&["template", "two", &chart, "--validate"]).ok();
    assert!(validated.contains("37 true false kube-root-ca.crt"), "{validated}");
}
