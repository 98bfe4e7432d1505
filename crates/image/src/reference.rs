//! Image names, as docker and containerd read them (`github.com/distribution/reference`): `nginx` is
//! `docker.io/library/nginx:latest`.

use crate::{Digest, Error};
use std::fmt;

/// The longest repository, host included.
const MAX_NAME: usize = 255;
/// The longest tag.
const MAX_TAG: usize = 128;

/// A whole name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Host with its port: `docker.io`.
    pub registry: String,
    /// Path: `library/nginx`.
    pub repository: String,
    /// Tag; `latest` where neither tag nor digest was given.
    pub tag: Option<String>,
    /// Digest.
    pub digest: Option<Digest>,
}

impl Reference {
    /// Reads a name as users write it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad =
            || Error::Reference(format!("couldn't parse image name {text:?}: invalid reference format"));
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(Digest::parse(digest).ok_or_else(bad)?)),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|t| !is_tag(t)) {
            return Err(bad());
        }
        let (registry, repository) = match name.split_once('/') {
            Some((host, path)) if is_host(host) => (host.to_owned(), path.to_owned()),
            Some(_) => ("docker.io".into(), name.to_owned()),
            None => ("docker.io".into(), format!("library/{name}")),
        };
        let registry = if registry == "index.docker.io" { "docker.io".into() } else { registry };
        let repository = match repository.contains('/') || registry != "docker.io" {
            true => repository,
            false => format!("library/{repository}"),
        };
        let host = registry.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
            && registry.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]_".contains(&b));
        if !host || !repository.split('/').all(is_component) || registry.len() + repository.len() >= MAX_NAME
        {
            return Err(bad());
        }
        let tag = tag.map(str::to_owned).or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Ok(Self { registry, repository, tag, digest })
    }

    /// Registry and repository.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The repository at a digest, as `imageID` and `repoDigests` show it.
    pub fn at(&self, digest: &Digest) -> String {
        format!("{}@{digest}", self.name())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// The first part of a name is a host if it looks like one: with a dot, a port, or `localhost`.
fn is_host(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost" || part.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let rest = |b: u8| word(b) || b == b'.' || b == b'-';
    !tag.is_empty() && tag.len() <= MAX_TAG && word(tag.as_bytes()[0]) && tag.bytes().all(rest)
}

/// Lower-case words separated by `.`, `_`, `__` or dashes.
fn is_component(part: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends = bytes.first().is_some_and(|b| word(*b)) && bytes.last().is_some_and(|b| word(*b));
    let known = bytes.iter().all(|b| word(*b) || b"._-".contains(b));
    let separated =
        !part.contains("..") && !part.contains("___") && !part.contains("._") && !part.contains("_.");
    ends && known && separated && !part.contains(".-") && !part.contains("-.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(text: &str) -> String {
        Reference::parse(text).map_or_else(|e| e.to_string(), |r| r.to_string())
    }

    #[test]
    fn names_as_users_write_them() {
        assert_eq!(full("nginx"), "docker.io/library/nginx:latest");
        assert_eq!(full("docker.io/nginx:1.27"), "docker.io/library/nginx:1.27");
        assert_eq!(full("bitnami/redis"), "docker.io/bitnami/redis:latest");
        assert_eq!(full("localhost/a"), "localhost/a:latest");
        assert_eq!(full("127.0.0.1:5000/a/b:v1"), "127.0.0.1:5000/a/b:v1");
        assert_eq!(full("registry.k8s.io/pause:3.10"), "registry.k8s.io/pause:3.10");
        let digest = Digest::of(b"").to_string();
        assert_eq!(full(&format!("a.b/c@{digest}")), format!("a.b/c@{digest}"));
        assert_eq!(full(&format!("a.b/c:t@{digest}")), format!("a.b/c:t@{digest}"));
    }

    #[test]
    fn what_is_no_name() {
        for bad in
            ["", "A", "a//b", "a.b/C", "a:", "a:t t", "../x", "a@sha256:1", "a b", "x/..", "-a", "a.b/-x"]
        {
            assert_eq!(full(bad), format!("couldn't parse image name {bad:?}: invalid reference format"));
        }
    }
}
