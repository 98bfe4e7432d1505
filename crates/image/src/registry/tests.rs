use super::*;
use fake::{Asked, Content, Fake, Reply, patience, reply, tar_of};
use serde_json::json;
use std::sync::Mutex;

mod fake;

struct World {
    dir: tempfile::TempDir,
    puller: Puller,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path()).unwrap());
    World { dir, puller: Puller::new(store).with_patience(patience()) }
}

impl World {
    async fn pull(&self, fake: &Fake, auth: Option<Auth>) -> Result<Image, Error> {
        let name = Reference::parse(&format!("{}/a/b:v1", fake.address)).unwrap();
        self.puller.pull(&name, auth).await
    }

    /// The error without the names that stand before every one.
    async fn fails(&self, fake: &Fake, auth: Option<Auth>) -> String {
        let text = self.pull(fake, auth).await.unwrap_err().to_string();
        assert!(self.puller.store.list().unwrap().is_empty());
        let name = format!("{}/a/b:v1", fake.address);
        let text = text.replace(&format!("failed to pull and unpack image \"{name}\": "), "");
        let text = text.replace(&format!("failed to resolve reference \"{name}\": "), "");
        text.replace(&fake.address, "HOST")
    }

    /// Waits until no thread unpacks any more, collects, and holds that nothing is left.
    async fn nothing_left(&self) {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            self.puller.store.collect(&Default::default()).unwrap();
            let left = self.left();
            if left.is_empty() {
                return;
            }
            assert!(std::time::Instant::now() < until, "{left:?}");
            tokio::task::yield_now().await;
        }
    }

    /// What is left in the store beside its own files.
    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for session in std::fs::read_dir(self.dir.path().join("staging")).unwrap().flatten() {
            let files = std::fs::read_dir(session.path()).unwrap().flatten();
            left.extend(files.map(|f| f.file_name().into_string().unwrap()).filter(|f| f != "alive"));
        }
        let layers = std::fs::read_dir(self.dir.path().join("layers")).unwrap().flatten();
        left.extend(layers.map(|l| l.file_name().into_string().unwrap()));
        left
    }
}

fn amd64() -> Content {
    Content::image(
        &[tar_of(&[("one", b"1")]), tar_of(&[("two", &[7; 100_000])])],
        crate::config::architecture(),
    )
}

fn user() -> Option<Auth> {
    Some(Auth { username: "me".into(), password: "secret".into(), ..Auth::default() })
}

const BASIC: &str = "Basic bWU6c2VjcmV0";

#[tokio::test]
async fn an_image_and_the_same_again() {
    let content = amd64();
    let fake = Fake::start(move |asked| content.answer(asked));
    let w = world();
    let image = w.pull(&fake, None).await.unwrap();
    assert_eq!(w.puller.store.layer_dirs(&image).len(), 2);
    let gets = fake.count("GET", "");
    assert_eq!(w.pull(&fake, None).await.unwrap(), image);
    assert_eq!((fake.count("GET", ""), fake.count("HEAD", "")), (gets, 2), "what is here is not sent again");
    // Unless a layer got lost.
    std::fs::remove_dir_all(&w.puller.store.layer_dirs(&image)[0]).unwrap();
    assert_eq!(w.pull(&fake, None).await.unwrap(), image);
    assert!(w.puller.store.layer_dirs(&image)[0].join("two").is_file());
}

/// A registry that wants tokens, which another path of it gives.
fn with_tokens(content: Content, token: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Fake {
    let address = Arc::new(Mutex::new(String::new()));
    let own = address.clone();
    let fake = Fake::start(move |asked| {
        if asked.path.starts_with("/token") {
            return token(asked);
        }
        if asked.header("authorization") == "Bearer good" {
            return content.answer(asked);
        }
        let realm = format!("http://{}/token", own.lock().unwrap());
        let error =
            if asked.header("authorization").is_empty() { "" } else { ",error=\"insufficient_scope\"" };
        let scope = "repository:a/b:pull";
        let text = format!("Bearer realm=\"{realm}\",service=\"reg & co\",scope=\"{scope}\"{error}");
        reply(401, "").with("WWW-Authenticate", text)
    });
    fake.address.clone_into(&mut address.lock().unwrap());
    fake
}

#[tokio::test]
async fn tokens_for_nobody_and_for_users() {
    let fake = with_tokens(amd64(), |_| reply(200, r#"{"token":"good"}"#));
    world().pull(&fake, None).await.unwrap();
    let ask = fake.asked().into_iter().find(|a| a.path.starts_with("/token")).unwrap();
    assert_eq!(ask.path, "/token?scope=repository:a/b:pull&service=reg%20%26%20co");
    assert_eq!((ask.header("authorization"), fake.count("GET", "/token")), ("", 1));

    let fake = with_tokens(amd64(), |asked| match asked.header("authorization") {
        BASIC => reply(200, r#"{"access_token":"good"}"#),
        _ => reply(401, ""),
    });
    world().pull(&fake, user()).await.unwrap();
    let direct = Auth { registry_token: "good".into(), ..Auth::default() };
    world().pull(&fake, Some(direct)).await.unwrap();
    let text = world().fails(&fake, None).await;
    let url = "http://HOST/token?scope=repository:a/b:pull&service=reg%20%26%20co";
    assert_eq!(
        text,
        format!(
            "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to {url}: 401 Unauthorized"
        )
    );
}

#[tokio::test]
async fn an_identity_token_is_exchanged() {
    let fake = with_tokens(amd64(), |asked| {
        let fits = asked.method == "POST" && asked.body.contains("grant_type=refresh_token");
        match fits && asked.body.contains("refresh_token=a%2Bb%3D") {
            true => reply(200, r#"{"access_token":"good","expires_in":60}"#),
            false => reply(401, ""),
        }
    });
    let auth = Auth { identity_token: "a+b=".into(), ..Auth::default() };
    world().pull(&fake, Some(auth)).await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_not_good_enough() {
    let fake = with_tokens(amd64(), |_| reply(200, r#"{"token":"bad"}"#));
    let text = world().fails(&fake, user()).await;
    let denied = "pull access denied, repository does not exist or may require authorization";
    assert_eq!(text, format!("{denied}: server message: insufficient_scope: authorization failed"));
    for odd in ["{}", "nonsense", r#"{"token":""}"#, r#"{"token":"a\nb"}"#] {
        let fake = with_tokens(amd64(), move |_| reply(200, odd));
        assert!(world().fails(&fake, None).await.contains("token"), "{odd}");
    }
}

#[tokio::test]
async fn a_token_that_runs_out_is_replaced() {
    let content = amd64();
    let used = Mutex::new(0);
    let address = Arc::new(Mutex::new(String::new()));
    let own = address.clone();
    // Each token is good for three requests.
    let fake = Fake::start(move |asked| {
        let mut used = used.lock().unwrap();
        if asked.path.starts_with("/token") {
            return reply(200, format!("{{\"token\":\"t{}\"}}", *used / 3));
        }
        if asked.header("authorization") == format!("Bearer t{}", *used / 3) {
            *used += 1;
            return content.answer(asked);
        }
        let realm = format!("Bearer realm=\"http://{}/token\",error=\"invalid_token\"", own.lock().unwrap());
        reply(401, "").with("WWW-Authenticate", realm)
    });
    fake.address.clone_into(&mut address.lock().unwrap());
    world().pull(&fake, None).await.unwrap();
    assert!(fake.count("GET", "/token") >= 2);
}

#[tokio::test]
async fn hostile_realms() {
    for (realm, why) in [
        ("http://169.254.169.254/latest/meta-data", "dial tcp"),
        ("http://example.invalid/token", "dial tcp"),
        ("file:///etc/shadow", "must be reached by https"),
        ("/token", "must be reached by https"),
        ("", "401"),
        ("https://", "is no address"),
        ("http://127.0.0.1:1/", "connection refused"),
    ] {
        let challenge = format!("Bearer realm=\"{realm}\"");
        let fake = Fake::start(move |_| reply(401, "").with("WWW-Authenticate", challenge.clone()));
        let text = world().fails(&fake, user()).await;
        assert!(text.contains(why), "{realm}: {text}");
    }
    // A token service that sends us on gets no credentials there.
    let elsewhere = Fake::start(|_| reply(200, r#"{"token":"bad"}"#));
    let to = format!("http://{}/steal", elsewhere.address);
    let fake = with_tokens(amd64(), move |_| reply(302, "").with("Location", to.clone()));
    world().fails(&fake, user()).await;
    assert!(elsewhere.count("GET", "/steal") > 0);
    assert!(elsewhere.asked().iter().all(|a| a.header("authorization").is_empty()));
}

#[tokio::test]
async fn blobs_elsewhere_get_no_credentials() {
    let content = amd64();
    let storage = Fake::start({
        let content = content.clone();
        move |asked| {
            content.answer(&Asked { path: asked.path.replace("/storage", "/v2/a/b/blobs"), ..asked.clone() })
        }
    });
    let to = storage.address.clone();
    let fake = Fake::start(move |asked| match asked.path.split_once("/blobs/") {
        _ if asked.header("authorization") != BASIC => {
            reply(401, "").with("WWW-Authenticate", "Basic realm=x")
        }
        Some((_, digest)) => reply(307, "").with("Location", format!("http://{to}/storage/{digest}")),
        None => content.answer(asked),
    });
    world().pull(&fake, user()).await.unwrap();
    assert_eq!(storage.asked().len(), 3);
    assert!(storage.asked().iter().all(|a| a.header("authorization").is_empty()));
}

#[tokio::test]
async fn redirects_that_lead_nowhere() {
    for (to, why) in [
        ("/v2/a/b/manifests/v1", "stopped after 10 redirects"),
        ("http://169.254.169.254/", "dial tcp"),
        ("ftp://x/", "no address to follow"),
        ("http://user:pass@127.0.0.1:1/", "no address to follow"),
        ("relative", "no address to follow"),
        ("http://[", "no address to follow"),
    ] {
        let fake = Fake::start(move |_| reply(302, "").with("Location", to));
        let text = world().fails(&fake, None).await;
        assert!(text.contains(why), "{to}: {text}");
    }
}

#[tokio::test]
async fn content_that_is_not_what_it_should_be() {
    let whole = amd64();
    let is_layer = |digest: &str| whole.blobs[digest].len() > 10_000;
    let layer = whole.blobs.keys().find(|d| is_layer(d)).unwrap().clone();
    let config = whole.blobs.iter().find(|(_, b)| b.starts_with(b"{")).unwrap().0.clone();
    for (digest, why) in [(&layer, "unexpected commit digest"), (&config, "unexpected commit digest")] {
        let mut content = whole.clone();
        *content.blobs.get_mut(digest).unwrap().last_mut().unwrap() ^= 1;
        let fake = Fake::start(move |asked| content.answer(asked));
        let w = world();
        let text = w.fails(&fake, None).await;
        assert!(text.contains(why), "{text}");
        w.nothing_left().await;
    }
    let mut content = whole.clone();
    content.manifests.insert(content.tagged.clone(), b"{\"schemaVersion\":2}".to_vec());
    let fake = Fake::start(move |asked| content.answer(asked));
    assert!(world().fails(&fake, None).await.contains("unexpected commit digest"));
    // More than the manifest says, without end.
    let mut content = whole.clone();
    content.blobs.get_mut(&layer).unwrap().extend([0; 100_000]);
    let fake = Fake::start(move |asked| content.answer(asked));
    assert!(world().fails(&fake, None).await.contains("sends more than the"));
}

#[tokio::test]
async fn manifests_that_make_no_sense() {
    let config = json!({"digest": Digest::of(b"{}").to_string(), "size": 2});
    let wide = json!({"schemaVersion": 2, "manifests": [{"digest": "sha256:0"}], "config": config});
    let layers = json!([{"digest": Digest::of(b"").to_string(), "size": 1}]);
    let huge = json!({"schemaVersion": 2, "config": config, "layers": [], "x": "y".repeat(5 << 20)});
    for (manifest, why) in [
        (json!({"schemaVersion": 1, "fsLayers": []}), "is no longer supported"),
        (json!({"schemaVersion": 2}), "no match for platform in manifest"),
        (json!("x"), "the image's manifest: "),
        (wide, "at once"),
        (json!({"schemaVersion": 2, "config": {"digest": "md5:1"}}), "unknown digest \"md5:1\""),
        (json!({"schemaVersion": 2, "config": config, "layers": layers}), "mismatched image rootfs"),
        (huge, "more than 4194304 bytes"),
    ] {
        let mut content = Content::default();
        content.blobs.insert(Digest::of(b"{}").to_string(), b"{}".to_vec());
        content.tag(&manifest);
        let fake = Fake::start(move |asked| content.answer(asked));
        let text = world().fails(&fake, None).await;
        assert!(text.contains(why), "{text}");
    }
}

#[tokio::test]
async fn the_image_for_this_machine() {
    let (mine, other) = (amd64(), Content::image(&[tar_of(&[("x", b"x")])], "riscv64"));
    let mut both = Content::default();
    for c in [&mine, &other] {
        both.blobs.extend(c.blobs.clone());
        both.manifests.extend(c.manifests.clone());
    }
    let entry = |c: &Content, arch: &str| json!({"digest": c.tagged, "platform": {"os": "linux", "architecture": arch}});
    both.tag(&json!({"schemaVersion": 2,
        "manifests": [entry(&other, "riscv64"), entry(&mine, crate::config::architecture())]}));
    let top = both.tagged.clone();
    let fake = Fake::start(move |asked| both.answer(asked));
    let image = world().pull(&fake, None).await.unwrap();
    assert_eq!(image.config.cmd, [crate::config::architecture()]);
    assert!(image.digests[0].ends_with(&top), "the digest that users know is the index's");

    let fake = Fake::start(move |asked| other.answer(asked));
    let error = world().fails(&fake, None).await;
    assert!(
        error.starts_with("no match for platform in manifest sha256:") && error.ends_with(": not found"),
        "{error}"
    );
}

#[tokio::test]
async fn trouble_that_passes() {
    let content = amd64();
    let n = Mutex::new(0);
    let fake = Fake::start(move |asked| {
        let mut n = n.lock().unwrap();
        *n += 1;
        match *n % 4 {
            1 => reply(503, ""),
            2 => reply(429, "").with("Retry-After", "0"),
            3 => Reply { cut: Some(0), ..reply(200, "lost") }.with("Content-Length", "100"),
            _ => content.answer(asked),
        }
    });
    world().pull(&fake, None).await.unwrap();
    let broken = Fake::start(|_| reply(500, r#"{"errors":[{"code":"UNKNOWN","message":"disk on fire"}]}"#));
    let text = world().fails(&broken, None).await;
    assert_eq!(
        text,
        "unexpected status from HEAD request to http://HOST/v2/a/b/manifests/v1: 500 Internal Server Error"
    );
    assert_eq!(broken.count("HEAD", ""), 5);
}

#[tokio::test]
async fn a_transfer_goes_on_where_it_broke() {
    for silent in [false, true] {
        let content = amd64();
        let fake = Fake::start(move |asked| {
            let answer = content.answer(asked);
            // Half of what is missing, each time.
            let half = Some(answer.body.len() / 2 + 1);
            match asked.path.contains("/blobs/") && answer.body.len() > 10_000 {
                true if silent => Reply { stall: half, ..answer },
                true => Reply { cut: half, ..answer },
                false => answer,
            }
        });
        let w = world();
        let image = w.pull(&fake, None).await.unwrap();
        let two = std::fs::read(w.puller.store.layer_dirs(&image)[0].join("two")).unwrap();
        assert_eq!(two, [7; 100_000]);
        assert!(fake.asked().iter().filter(|a| !a.header("range").is_empty()).count() >= 3);
    }
}

#[tokio::test]
async fn a_registry_that_ignores_ranges() {
    let content = amd64();
    let broke = Mutex::new(false);
    let fake = Fake::start(move |asked| {
        let answer = content.answer(&Asked { headers: Default::default(), ..asked.clone() });
        let mut broke = broke.lock().unwrap();
        if asked.path.contains("/blobs/") && answer.body.len() > 10_000 && !*broke {
            *broke = true;
            return Reply { cut: Some(50_000), ..answer };
        }
        answer
    });
    let w = world();
    let image = w.pull(&fake, None).await.unwrap();
    assert!(w.puller.store.layer_dirs(&image)[0].join("two").is_file());
    assert!(fake.asked().iter().any(|a| a.header("range") == "bytes=50000-"));
}

#[tokio::test]
async fn a_transfer_that_never_ends() {
    let content = amd64();
    let fake = Fake::start(move |asked| {
        let answer = content.answer(asked);
        match asked.path.contains("/blobs/") && answer.body.len() > 10_000 {
            true => Reply { cut: Some(0), ..answer },
            false => answer,
        }
    });
    let w = world();
    let text = w.fails(&fake, None).await;
    assert!(
        text.starts_with("failed to copy: httpReadSeeker: failed open: Get \"http://HOST/v2/a/b/blobs/"),
        "{text}"
    );
    w.nothing_left().await;
}

#[tokio::test]
async fn a_registry_without_head_or_without_an_answer() {
    let content = amd64();
    let fake = Fake::start(move |asked| match asked.method.as_str() {
        "HEAD" => reply(405, ""),
        _ => Reply { headers: vec![], ..content.answer(asked) },
    });
    world().pull(&fake, None).await.unwrap();
    let silent = Fake::start(|_| Reply { stall: Some(0), ..reply(200, "x") }.with("Content-Length", "9"));
    let text = world().fails(&silent, None).await;
    assert!(text.contains("silent") || text.contains("timeout"), "{text}");
}

#[tokio::test]
async fn a_pull_that_is_called_off_leaves_nothing() {
    let content = amd64();
    let fake = Fake::start(move |asked| {
        let answer = content.answer(asked);
        match asked.path.contains("/blobs/") && answer.body.len() > 10_000 {
            true => Reply { stall: Some(9000), ..answer },
            false => answer,
        }
    });
    let mut w = world();
    w.puller = w.puller.with_patience(Patience { piece: std::time::Duration::from_secs(60), ..patience() });
    let big = || fake.asked().iter().filter(|a| a.path.contains("/blobs/")).count() >= 3;
    tokio::select! {
        done = w.pull(&fake, None) => panic!("{done:?}"),
        () = async { while !big() { tokio::task::yield_now().await } } => {}
    }
    w.nothing_left().await;
}
