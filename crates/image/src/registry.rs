//! Images from registries: OCI distribution spec 1.1, docker's registry API v2.
//!
//! What a registry sends is hostile until its digest is known: manifests and configurations are read with a limit,
//! layers are unpacked into a staging directory while they come in and get their place when both of their digests are
//! right. Credentials go to the registry, and to the token service that it names, and nowhere else. Messages are
//! containerd's where it has one, since kubelet's events have shown users those for years.

mod auth;
mod http;
mod layer;
mod proxy;
mod refusal;
mod repository;

pub use auth::Auth;
pub use http::Patience;

use crate::config::{ImageConfig, Manifest};
use crate::store::Layer;
use crate::{Digest, Error, Image, Reference, Store};
use http::Way;
use layer::{MAX_BLOB, Turns, Wanted};
use proxy::Proxy;
use refusal::Refusal;
use repository::Repository;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Layers that one pull fetches at a time, as containerd (`max_concurrent_downloads`).
const LAYERS_AT_ONCE: usize = 3;
/// Layers that all pulls together fetch and unpack at a time: each has a thread.
const DOWNLOADS: usize = 12;
/// How deep indexes may point to indexes.
const MAX_INDEX_DEPTH: usize = 4;

/// Pulls images into a store. Clones share their work: pulls of one layer wait for the first of them.
#[derive(Clone)]
pub struct Puller {
    store: Arc<Store>,
    patience: Patience,
    tls: Option<Arc<rustls::ClientConfig>>,
    proxy: Option<Arc<Proxy>>,
    shared: Arc<Shared>,
}

struct Shared {
    turns: Turns,
    downloads: Arc<Semaphore>,
}

/// Pulls one image and syncs it. Who pulls more than one keeps a [`Puller`].
pub async fn pull(store: Arc<Store>, reference: &Reference, auth: Option<Auth>) -> Result<Image, Error> {
    let image = Puller::new(store.clone()).pull(reference, auth).await?;
    blocking(move || store.settle()).await?;
    Ok(image)
}

impl Puller {
    /// Pulls into this store.
    pub fn new(store: Arc<Store>) -> Self {
        let shared = Shared { turns: Turns::default(), downloads: Arc::new(Semaphore::new(DOWNLOADS)) };
        let (patience, proxy) = (Patience::default(), Proxy::of_environment().map(Arc::new));
        Self { store, patience, tls: None, proxy, shared: Arc::new(shared) }
    }

    /// The same with another measure of patience.
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// The same with certificates (DER) to trust beside those that this machine trusts.
    pub fn with_roots(mut self, roots: &[rustls::pki_types::CertificateDer<'static>]) -> Result<Self, Error> {
        self.tls = Some(http::trusting(roots)?);
        Ok(self)
    }

    /// The same through another proxy than the environment's `HTTPS_PROXY`: its address, and the hosts (as in
    /// `NO_PROXY`) that are reached without it. No address is no proxy.
    pub fn with_proxy(mut self, url: &str, exceptions: &str) -> Self {
        self.proxy = Proxy::new(url, exceptions).map(Arc::new);
        self
    }

    /// The store that is pulled into.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Makes sure that the image is here as the registry has it now. A tag beside a digest is dropped, as docker and
    /// containerd do.
    pub async fn pull(&self, reference: &Reference, auth: Option<Auth>) -> Result<Image, Error> {
        let mut reference = reference.clone();
        if reference.digest.is_some() {
            reference.tag = None;
        }
        let failed = |r: Refusal| r.doing(&format!("failed to pull and unpack image \"{reference}\"")).into();
        self.attempt(&reference, auth.unwrap_or_default()).await.map_err(failed)
    }

    async fn attempt(&self, reference: &Reference, auth: Auth) -> Result<Image, Refusal> {
        let unresolved = |r: Refusal| {
            // containerd says which name was not found.
            let r = if r.status == 404 { r.doing(&reference.to_string()) } else { r };
            r.doing(&format!("failed to resolve reference \"{reference}\""))
        };
        let tls = self.tls.clone().map_or_else(http::system_tls, Ok)?;
        let way = Way { tls, proxy: self.proxy.clone() };
        let repository = Repository::open(reference, auth, self.patience, way).await;
        let repository = Arc::new(repository.map_err(unresolved)?);
        let digest = resolve(&repository, reference).await.map_err(unresolved)?;
        if let Some(image) = self.present(reference, digest).await? {
            return Ok(image);
        }
        let (manifest, top) = manifest(&repository, reference, digest).await?;
        let config_digest = digest_in(&manifest.config.clone().unwrap_or_default().digest)?;
        let config = repository.config(&config_digest).await?;
        let (parsed, ids) = ImageConfig::parse(&config)?;
        if !parsed.fits() {
            return Err(no_match(&top));
        }
        let wanted = layers(&manifest, &ids)?;
        let store = self.store.clone();
        let _lease = blocking(move || store.hold(&ids)).await?;
        let layers = self.fetch(&repository, &wanted).await?;
        let (store, reference) = (self.store.clone(), reference.clone());
        blocking(move || {
            let tags: Vec<Reference> =
                reference.tag.is_some().then(|| reference.clone()).into_iter().collect();
            store.add_image(&config, &tags, &[reference.at(&top)], &layers)
        })
        .await
    }

    /// The image that is here already, whole, with the digest that the name has now.
    async fn present(&self, reference: &Reference, digest: Option<Digest>) -> Result<Option<Image>, Refusal> {
        let Some(digest) = digest else { return Ok(None) };
        let (store, reference) = (self.store.clone(), reference.clone());
        blocking(move || {
            let Some(image) = store.find(&reference.at(&digest))? else { return Ok(None) };
            match &reference.tag {
                Some(_) => store.tag(&image.id, &reference),
                None => Ok(Some(image).filter(|i| store.layer_dirs(i).iter().all(|d| d.is_dir()))),
            }
        })
        .await
    }

    async fn fetch(&self, from: &Arc<Repository>, wanted: &[Wanted]) -> Result<Vec<Layer>, Refusal> {
        let mut got: Vec<Option<Layer>> = vec![None; wanted.len()];
        let mut running = JoinSet::new();
        let mut next = wanted.iter().copied().enumerate();
        loop {
            while running.len() < LAYERS_AT_ONCE {
                let Some((i, wanted)) = next.next() else { break };
                let (puller, from) = (self.clone(), from.clone());
                running.spawn(async move { (i, layer::fetch(puller, from, wanted).await) });
            }
            match running.join_next().await {
                None => break,
                Some(Ok((i, layer))) => got[i] = Some(layer?),
                Some(Err(e)) => return Err(Refusal::last(format!("a layer's download ended early: {e}"))),
            }
        }
        Ok(got.into_iter().flatten().collect())
    }
}

/// The digest of a name; none if the registry tells it only with the manifest.
async fn resolve(from: &Repository, reference: &Reference) -> Result<Option<Digest>, Refusal> {
    let name = match &reference.digest {
        Some(digest) => digest.to_string(),
        None => reference.tag.clone().unwrap_or_default(),
    };
    match from.digest(&name).await {
        Ok(told) => Ok(reference.digest.or(told)),
        // Some registries have no HEAD.
        Err(refusal) if matches!(refusal.status, 400 | 405) => Ok(reference.digest),
        Err(refusal) => Err(refusal),
    }
}

/// The manifest for this machine, and the digest of what the name stands for (an index, most often).
async fn manifest(
    from: &Repository,
    reference: &Reference,
    digest: Option<Digest>,
) -> Result<(Manifest, Digest), Refusal> {
    let name = digest.map_or_else(|| reference.tag.clone().unwrap_or_default(), |d| d.to_string());
    let (mut bytes, top) = from.manifest(&name, digest).await?;
    for _ in 0..=MAX_INDEX_DEPTH {
        let manifest = Manifest::parse(&bytes)?;
        if manifest.schema_version == 1 {
            return Err(Refusal::last(
                "media type \"application/vnd.docker.distribution.manifest.v1+prettyjws\" is no longer supported, please \
                 rebuild the image as \"application/vnd.docker.distribution.manifest.v2+json\" or \
                 \"application/vnd.oci.image.manifest.v1+json\"",
            ));
        }
        if manifest.config.is_some() {
            return Ok((manifest, top));
        }
        let Some(next) = manifest.for_this_machine() else { return Err(no_match(&top)) };
        let next = digest_in(&next.digest)?;
        bytes = from.manifest(&next.to_string(), Some(next)).await?.0;
    }
    Err(Refusal::last("the image's indexes point to indexes without end"))
}

fn no_match(top: &Digest) -> Refusal {
    let message = format!("no match for platform in manifest {top}: not found");
    Refusal { status: 404, ..Refusal::last(message) }
}

fn digest_in(text: &str) -> Result<Digest, Refusal> {
    Digest::parse(text)
        .ok_or_else(|| Refusal::last(format!("the image's manifest has the unknown digest {text:?}")))
}

/// What the manifest says of each layer beside what the configuration says.
fn layers(manifest: &Manifest, ids: &[Digest]) -> Result<Vec<Wanted>, Refusal> {
    if manifest.layers.len() != ids.len() {
        return Err(Refusal::last("mismatched image rootfs and manifest layers"));
    }
    let wanted = manifest.layers.iter().zip(ids).map(|(layer, id)| {
        let (blob, size) = (digest_in(&layer.digest)?, layer.size);
        match size <= MAX_BLOB {
            true => Ok(Wanted { blob, size, diff_id: *id }),
            false => {
                Err(Refusal::last(format!("layer {blob} has {size} bytes, at most {MAX_BLOB} are taken")))
            }
        }
    });
    wanted.collect()
}

/// Work on files, off the threads that serve everybody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Refusal::last(format!("the image store's work ended early: {e}")))?
        .map_err(Refusal::from)
}

#[cfg(test)]
mod tests;
