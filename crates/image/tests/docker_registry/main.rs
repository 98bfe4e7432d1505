//! Pulls from Debian's `docker-registry`, into which `skopeo` pushed an image made of busybox.

mod registry;
mod server;

use image::{Auth, Digest, Error, Image, Puller, Reference, Store};
use registry::Registry;
use serde_json::json;
use server::{PASSWORD, USER};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// An OCI layout with one image of two layers, one with gzip and one with zstd.
fn layout(dir: &Path) -> Digest {
    fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let busybox = fs::read("/bin/busybox").expect("busybox is missing; `cargo xtask setup` installs it");
    let first = tar_of(&[("bin/busybox", &busybox)]);
    let second = tar_of(&[("etc/motd", b"hello\n"), ("bin/.wh.sh", b"")]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&first).unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(&second[..], ruzstd::encoding::CompressionLevel::Fastest);
    let blobs = [(gzip.finish().unwrap(), "gzip"), (zstd, "zstd")];
    let layers = blobs.map(|(bytes, kind)| {
        let media = format!("application/vnd.oci.image.layer.v1.tar+{kind}");
        json!({"mediaType": media, "digest": put(dir, &bytes).to_string(), "size": bytes.len()})
    });
    let config = json!({"architecture": image::config::architecture(), "os": "linux",
        "config": {"Entrypoint": ["/bin/busybox"], "Cmd": ["sh"], "User": "1000:1000"},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&first).to_string(), Digest::of(&second).to_string()]}})
    .to_string();
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": put(dir, config.as_bytes()).to_string(), "size": config.len()},
        "layers": layers})
    .to_string();
    let digest = put(dir, manifest.as_bytes());
    let index = json!({"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest.to_string(), "size": manifest.len(),
        "annotations": {"org.opencontainers.image.ref.name": "v1"}}]});
    fs::write(dir.join("index.json"), index.to_string()).unwrap();
    digest
}

fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut b = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut h = tar::Header::new_gnu();
        h.set_size(data.len() as u64);
        h.set_mode(0o755);
        b.append_data(&mut h, name, *data).unwrap();
    }
    b.into_inner().unwrap()
}

fn put(dir: &Path, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    fs::write(dir.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
    digest
}

/// Pushes the image `v1` of the layout; gives the digest that the registry knows it by.
fn push(layout: &Path, registry: &Registry, name: &str) {
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["copy", "--dest-tls-verify=false", "--preserve-digests", "--insecure-policy"]);
    if registry.locked {
        skopeo.arg(format!("--dest-creds={USER}:{PASSWORD}"));
    }
    skopeo.arg(format!("oci:{}:v1", layout.display()));
    skopeo.arg(format!("docker://{}/{name}", registry.address));
    let out = skopeo.output().expect("skopeo is missing; `cargo xtask setup` installs it");
    assert!(out.status.success(), "skopeo: {}", String::from_utf8_lossy(&out.stderr));
}

struct World {
    dir: tempfile::TempDir,
    registry: Registry,
    digest: Digest,
    puller: Puller,
}

fn world(locked: bool, tls: bool) -> World {
    let dir = tempfile::tempdir().unwrap();
    let digest = layout(&dir.path().join("layout"));
    let registry = Registry::start(&dir.path().join("registry"), locked, tls);
    push(&dir.path().join("layout"), &registry, "team/box:v1");
    let store = Arc::new(Store::open(&dir.path().join("images")).unwrap());
    let mut puller = Puller::new(store);
    if let Some(root) = &registry.root {
        puller = puller.with_roots(std::slice::from_ref(root)).unwrap();
    }
    World { dir, registry, digest, puller }
}

impl World {
    fn name(&self, rest: &str) -> Reference {
        Reference::parse(&format!("{}/{rest}", self.registry.address)).unwrap()
    }

    async fn pull(&self, rest: &str, auth: Option<Auth>) -> Result<Image, Error> {
        self.puller.pull(&self.name(rest), auth).await
    }

    fn check(&self, image: &Image) {
        let layers = self.puller.store().layer_dirs(image);
        assert_eq!(fs::read(layers[0].join("etc/motd")).unwrap(), b"hello\n");
        assert_eq!(fs::read(layers[1].join("bin/busybox")).unwrap(), fs::read("/bin/busybox").unwrap());
        assert_eq!(image.config.user, "1000:1000");
        assert_eq!(image.digests, [self.name("team/box").at(&self.digest)]);
    }
}

#[tokio::test]
async fn by_tag_and_by_digest() {
    let w = world(false, false);
    let image = w.pull("team/box:v1", None).await.unwrap();
    w.check(&image);
    assert_eq!(image.tags, [w.name("team/box:v1").to_string()]);
    assert_eq!(w.pull("team/box:v1", None).await.unwrap(), image, "nothing to do");
    w.puller.store().remove(&image.id).unwrap();
    w.puller.store().collect(&Default::default()).unwrap();
    let by_digest = w.pull(&format!("team/box@{}", w.digest), None).await.unwrap();
    w.check(&by_digest);
    assert!(by_digest.tags.is_empty());
    // Both, as kubelet's users write it: the digest counts.
    assert_eq!(w.pull(&format!("team/box:x@{}", w.digest), None).await.unwrap(), by_digest);
}

#[tokio::test]
async fn two_pulls_at_once_share_their_work() {
    let w = world(false, false);
    let (one, other) = tokio::join!(w.pull("team/box:v1", None), w.pull("team/box:v1", None));
    let image = one.unwrap();
    assert_eq!(image, other.unwrap());
    w.puller.store().remove(&image.id).unwrap();
    w.puller.store().collect(&Default::default()).unwrap();
    // Another process, as it were.
    let dir = w.dir.path().join("images");
    let beside = || Puller::new(Arc::new(Store::open(&dir).unwrap()));
    let (one, other) = (beside(), beside());
    let name = w.name("team/box:v1");
    let (one, other) = tokio::join!(one.pull(&name, None), other.pull(&name, None));
    assert_eq!(one.unwrap().id, other.unwrap().id);
}

#[tokio::test]
async fn with_credentials_and_without() {
    let w = world(true, false);
    let name = w.name("team/box:v1");
    let begin =
        format!("failed to pull and unpack image \"{name}\": failed to resolve reference \"{name}\": ");
    let error = w.pull("team/box:v1", None).await.unwrap_err().to_string();
    let denied = "pull access denied, repository does not exist or may require authorization: ";
    assert_eq!(error, format!("{begin}{denied}authorization failed: no basic auth credentials"));
    let auth =
        |password: &str| Some(Auth { username: USER.into(), password: password.into(), ..Auth::default() });
    let error = w.pull("team/box:v1", auth("wrong")).await.unwrap_err().to_string();
    let url = format!("http://{}/v2/team/box/manifests/v1", w.registry.address);
    assert_eq!(error, format!("{begin}unexpected status from HEAD request to {url}: 401 Unauthorized"));
    w.check(&w.pull("team/box:v1", auth(PASSWORD)).await.unwrap());
}

#[tokio::test]
async fn over_tls() {
    let w = world(false, true);
    w.check(&w.pull("team/box:v1", None).await.unwrap());
    // Without its root, which this machine doesn't know.
    let stranger = Puller::new(Arc::new(Store::open(&w.dir.path().join("other")).unwrap()));
    let error = stranger.pull(&w.name("team/box:v1"), None).await.unwrap_err().to_string();
    assert!(error.ends_with("x509: certificate signed by unknown authority"), "{error}");
}

#[tokio::test]
async fn what_is_not_there() {
    let w = world(false, false);
    let error = w.pull("team/box:v2", None).await.unwrap_err();
    let name = w.name("team/box:v2");
    let text = format!(
        "failed to pull and unpack image \"{name}\": failed to resolve reference \"{name}\": {name}: not found"
    );
    assert_eq!(error.to_string(), text);
    assert!(matches!(error, Error::Registry { status: 404, .. }));
    let address = w.registry.address.clone();
    drop(w.registry);
    let gone = Reference::parse(&format!("{address}/team/box:v1")).unwrap();
    let error = w.puller.pull(&gone, None).await.unwrap_err().to_string();
    let end = format!(
        "Head \"http://{address}/v2/team/box/manifests/v1\": dial tcp {address}: connect: connection refused"
    );
    assert!(error.ends_with(&end), "{error}");
}

#[tokio::test]
async fn through_a_proxy() {
    let w = world(false, true);
    let proxy = registry::proxy(w.registry.address.clone());
    let name = Reference::parse(&format!("{}/team/box:v1", registry::PROXIED)).unwrap();
    let puller = w.puller.clone().with_proxy(&format!("http://me:secret@{proxy}"), "other.example");
    let image = puller.pull(&name, None).await.unwrap();
    assert_eq!(image.tags, [name.to_string()]);
    let stranger = w.puller.clone().with_proxy(&proxy, "");
    let error = stranger.pull(&name, None).await.unwrap_err().to_string();
    assert!(error.ends_with("proxyconnect tcp: 407 Proxy Authentication Required"), "{error}");
    let error =
        w.puller.clone().with_proxy(&proxy, "invalid").pull(&name, None).await.unwrap_err().to_string();
    assert!(error.ends_with("dial tcp: lookup registry.invalid: no such host"), "{error}");
}
