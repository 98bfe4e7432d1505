//! Image names, the pull policy that follows from them, and credentials for registries
//! (`pkg/util/parsers`, `pkg/credentialprovider`).

use super::pulled::SecretSource;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cri::AuthConfig;
use k8s_openapi::api::core::v1::Secret;

/// Longest image name before its tag (`distribution/reference`).
const NAME_MAX: usize = 255;
/// Longest tag.
const TAG_MAX: usize = 128;

/// An image name taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName {
    /// Registry and path, `docker.io/library/` filled in.
    pub repository: String,
    /// The tag; `latest` if there is neither tag nor digest.
    pub tag: String,
    /// `sha256:...`, or empty.
    pub digest: String,
}

fn component(s: &str) -> bool {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let edge = |c: Option<char>| c.is_some_and(ok);
    edge(s.chars().next())
        && edge(s.chars().last())
        && s.chars().all(|c| ok(c) || matches!(c, '.' | '_' | '-'))
}

fn is_domain(s: &str) -> bool {
    let host = s.strip_prefix('[').map_or(s, |s| s.trim_end_matches(']'));
    s == "localhost" || host.contains(['.', ':']) || s.chars().any(|c| c.is_ascii_uppercase())
}

/// Takes an image name apart. The error is upstream's sentence.
pub fn parse(image: &str) -> Result<ImageName, String> {
    let bad = |why: &str| Err(format!("couldn't parse image name {image:?}: {why}"));
    let (rest, digest) = image.split_once('@').map_or((image, ""), |(r, d)| (r, d));
    let (name, tag) = match rest.rsplit_once(':') {
        Some((n, t)) if !t.contains('/') => (n, t),
        _ => (rest, ""),
    };
    let digest_ok = digest.split_once(':').is_some_and(|(alg, hex)| {
        !alg.is_empty() && hex.len() >= 32 && hex.chars().all(|c| c.is_ascii_hexdigit())
    });
    let tag_ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let (domain, path) = match name.split_once('/') {
        Some((d, p)) if is_domain(d) => (d, p),
        _ => ("docker.io", name),
    };
    if path.chars().any(|c| c.is_ascii_uppercase()) {
        return bad("invalid reference format: repository name must be lowercase");
    }
    if name.len() > NAME_MAX {
        return bad("repository name must not be more than 255 characters");
    }
    let invalid_tag =
        rest.ends_with(':') || tag.len() > TAG_MAX || !tag.chars().all(tag_ok) || tag.starts_with(['.', '-']);
    if !path.split('/').all(component) || invalid_tag || (image.contains('@') && !digest_ok) {
        return bad("invalid reference format");
    }
    let path = if domain == "docker.io" && !path.contains('/') {
        format!("library/{path}")
    } else {
        path.to_owned()
    };
    let tag = if tag.is_empty() && digest.is_empty() { "latest" } else { tag };
    Ok(ImageName { repository: format!("{domain}/{path}"), tag: tag.to_owned(), digest: digest.to_owned() })
}

/// The image name with `:latest` where it has neither tag nor digest; otherwise as written.
pub fn with_default_tag(image: &str) -> Result<String, String> {
    let name = parse(image)?;
    let add = name.digest.is_empty() && !image.ends_with(&format!(":{}", name.tag));
    Ok(if add { format!("{image}:{}", name.tag) } else { image.to_owned() })
}

/// The pull policy that the API defaults to: `Always` for `:latest`, else `IfNotPresent`.
pub fn default_policy(image: &str) -> &'static str {
    match parse(image) {
        Ok(n) if n.tag == "latest" => "Always",
        _ => "IfNotPresent",
    }
}

/// Credentials, and the secret that they come from.
#[derive(Clone, Debug, Default)]
pub struct Credential {
    /// What the registry is shown.
    pub auth: AuthConfig,
    /// Where it comes from.
    pub source: SecretSource,
}

/// Credentials by registry, as pull secrets hold them.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    entries: Vec<(String, Credential)>,
}

fn auth_of(v: &serde_json::Value) -> Option<AuthConfig> {
    let text = |k: &str| v.get(k).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let mut auth = AuthConfig {
        username: text("username"),
        password: text("password"),
        identity_token: text("identitytoken"),
        registry_token: text("registrytoken"),
        ..AuthConfig::default()
    };
    let encoded = text("auth");
    if !encoded.is_empty() {
        let plain = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        let (user, password) = plain.split_once(':')?;
        (auth.username, auth.password) = (user.to_owned(), password.to_owned());
    }
    Some(auth)
}

impl Keyring {
    /// Adds what a secret of type `kubernetes.io/dockerconfigjson` or `kubernetes.io/dockercfg` holds. Entries
    /// that can't be read are left out: the pull goes on without them, as upstream's does. `hash` makes of
    /// credentials what may be kept of them.
    pub fn add_secret(&mut self, secret: &Secret, hash: impl Fn(&str) -> String) {
        let Some(data) = &secret.data else { return };
        let json = |key: &str| serde_json::from_slice::<serde_json::Value>(&data.get(key)?.0).ok();
        let auths = match json(".dockerconfigjson") {
            Some(v) => v.get("auths").cloned(),
            None => json(".dockercfg"),
        };
        for (registry, v) in auths.as_ref().and_then(serde_json::Value::as_object).into_iter().flatten() {
            let Some(auth) = auth_of(v) else { continue };
            let meta = &secret.metadata;
            let text = |s: &Option<String>| s.clone().unwrap_or_default();
            let shown = [&auth.username, &auth.password, &auth.identity_token, &auth.registry_token];
            let source = SecretSource {
                uid: text(&meta.uid),
                namespace: text(&meta.namespace),
                name: text(&meta.name),
                credential_hash: hash(&format!("{shown:?}")),
            };
            self.entries.push((normal(registry), Credential { auth, source }));
        }
        self.entries.sort_by_key(|e| std::cmp::Reverse(e.0.len()));
    }

    /// The credentials for an image, the most specific first.
    pub fn lookup(&self, image: &str) -> Vec<Credential> {
        let Ok(name) = parse(image) else { return Vec::new() };
        let fits = |entry: &str| {
            let (host, path) = entry.split_once('/').unwrap_or((entry, ""));
            let (image_host, image_path) = name.repository.split_once('/').unwrap_or((&name.repository, ""));
            host_fits(host, image_host) && image_path.starts_with(path)
        };
        self.entries.iter().filter(|(e, _)| fits(e)).map(|(_, a)| a.clone()).collect()
    }
}

/// `https://index.docker.io/v1/` and its like as `docker.io`.
fn normal(registry: &str) -> String {
    let s = registry.trim_start_matches("https://").trim_start_matches("http://");
    let s = s.trim_end_matches('/');
    let s = s.strip_suffix("/v1").or_else(|| s.strip_suffix("/v2")).unwrap_or(s);
    match s.split_once('/').unwrap_or((s, "")) {
        ("index.docker.io" | "registry-1.docker.io", "") => "docker.io".to_owned(),
        ("index.docker.io", path) => format!("docker.io/{path}"),
        _ => s.to_owned(),
    }
}

/// Whether a host matches an entry, label by label, `*` for any one label.
fn host_fits(pattern: &str, host: &str) -> bool {
    let (p, h): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), host.split('.').collect());
    p.len() == h.len() && p.iter().zip(&h).all(|(p, h)| p == h || (*p == "*" && !h.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn names_get_their_defaults_and_bad_ones_a_reason() {
        let names = ["busybox", "Busybox", "a/b:1", "localhost:5000/x", "r.io/x@sha256:0", "", "x:", "a//b"];
        let show = |n: &&str| match with_default_tag(n) {
            Ok(full) => format!("{n} -> {full} ({}, {})\n", parse(n).unwrap().repository, default_policy(n)),
            Err(e) => format!("{e}\n"),
        };
        expect![[r#"
            busybox -> busybox:latest (docker.io/library/busybox, Always)
            couldn't parse image name "Busybox": invalid reference format: repository name must be lowercase
            a/b:1 -> a/b:1 (docker.io/a/b, IfNotPresent)
            localhost:5000/x -> localhost:5000/x:latest (localhost:5000/x, Always)
            couldn't parse image name "r.io/x@sha256:0": invalid reference format
            couldn't parse image name "": invalid reference format
            couldn't parse image name "x:": invalid reference format
            couldn't parse image name "a//b": invalid reference format
        "#]]
        .assert_eq(&names.iter().map(show).collect::<String>());
    }

    #[test]
    fn a_pull_secret_serves_the_registries_that_it_names() {
        let json = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"},
            "*.example.com":{"username":"a","password":"b"},"bad":{"auth":"!"}}}"#;
        let data = [(".dockerconfigjson".to_owned(), k8s_openapi::ByteString(json.into()))];
        let mut k = Keyring::default();
        k.add_secret(&Secret { data: Some(data.into()), ..Secret::default() }, str::to_owned);
        assert_eq!(k.lookup("busybox")[0].source.credential_hash, r#"["u", "p", "", ""]"#);
        let users = |i: &str| k.lookup(i).iter().map(|c| c.auth.username.clone()).collect::<Vec<_>>();
        assert_eq!(users("busybox"), ["u"]);
        assert_eq!(users("r.example.com/x"), ["a"]);
        assert!(users("r.a.example.com/x").is_empty());
    }
}
