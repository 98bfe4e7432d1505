//! Images as everybody has them: pulled from registries, imported from archives, made of this machine's files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cri::{AuthConfig, CallFuture, CriError, PullImageRequest};
use image::builtin::{self, Builtin};
use image::{Auth, Error, Image, Puller, Reference, Store};
use serde::Deserialize;

use super::{ImageConfig, ImageInfo, ImageStore};
use crate::clock;
use crate::state;

/// More volumes than this no image has in earnest.
const MAX_VOLUMES: usize = 64;
/// How long the layers of an image that was just asked for count as used: the container that is being made of them
/// has no record yet.
const ASKED_FOR: Duration = Duration::from_secs(60);

/// The image store of one instance.
pub struct OciImages {
    puller: Puller,
    builtin: Builtin,
    used: Arc<Used>,
    tidying: Mutex<Option<JoinHandle<()>>>,
}

/// What is known of layers that must stay.
struct Used {
    /// The runtime's state, whose records say which layers containers use.
    state: PathBuf,
    asked_for: Mutex<Vec<(Instant, Vec<PathBuf>)>>,
}

impl Drop for OciImages {
    fn drop(&mut self) {
        let tidying = self.tidying.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // The thread tells of its errors itself.
        let _ = tidying.map(JoinHandle::join);
    }
}

/// The part of a container's record that concerns us.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Layers {
    layers: Vec<PathBuf>,
}

impl OciImages {
    /// The images in `directory`. `state` is the state directory of the runtime that makes containers of them (see
    /// [`crate::RuntimeConfig`]); `builtin` says how images below `ironclad.local/` are made, which happens when they
    /// are first asked for.
    ///
    /// Serves `ironclad image` as well: several processes may use one directory.
    pub fn open(directory: &Path, state: &Path, builtin: Builtin) -> Result<Self, CriError> {
        let store = Store::open(directory).map_err(|e| told(&e))?;
        let puller = Puller::new(Arc::new(store));
        let used = Arc::new(Used { state: state.to_owned(), asked_for: Mutex::default() });
        let images = Self { puller, builtin, used, tidying: Mutex::default() };
        images.tidy();
        Ok(images)
    }

    /// The store itself.
    pub fn store(&self) -> &Arc<Store> {
        self.puller.store()
    }

    /// Pulls an image by its name.
    pub async fn fetch(&self, name: &str, auth: Option<Auth>) -> Result<Image, CriError> {
        let reference = Reference::parse(name).map_err(|e| told(&e))?;
        if reference.registry == builtin::REGISTRY {
            let (store, builtin) = (self.store().clone(), self.builtin.clone());
            let make = move || builtin::find(&store, &builtin, &reference);
            let made = tokio::task::spawn_blocking(make).await;
            let made = made.map_err(|e| CriError::internal(format!("making image {name:?}: {e}")))?;
            let made = made.map_err(|e| told(&e))?.ok_or_else(|| told(&Error::NotFound(name.to_owned())));
            self.tidy();
            return made;
        }
        let pulled = self.puller.pull(&reference, auth).await.map_err(|e| told(&e));
        self.tidy();
        pulled
    }

    /// Lets a thread sync new images and remove what is left of old ones; one at a time. What it doesn't get to see
    /// it does the next time.
    fn tidy(&self) {
        let mut tidying = self.tidying.lock().unwrap_or_else(PoisonError::into_inner);
        if tidying.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        let (store, used) = (self.store().clone(), self.used.clone());
        let work = move || {
            if let Err(error) = store.settle() {
                tracing::warn!(%error, "images could not be synced; they will be gone after a power cut");
            }
            if let Err(error) = used.collect(&store) {
                tracing::warn!(%error, "unused image layers could not be removed");
            }
        };
        *tidying = std::thread::Builder::new().name("image-tidy".into()).spawn(work).ok();
    }

    fn find(&self, reference: &str) -> Result<Option<Image>, CriError> {
        if let Ok(name) = Reference::parse(reference)
            && name.registry == builtin::REGISTRY
            && name.digest.is_none()
        {
            // Not synced here: after a power cut it is simply made again.
            return match builtin::find(self.store(), &self.builtin, &name) {
                Err(Error::Registry { status: 404, .. }) => Ok(None),
                found => found.map_err(|e| told(&e)),
            };
        }
        self.store().find(reference).map_err(|e| told(&e))
    }
}

impl Used {
    /// Removes what no image names and no container uses.
    fn collect(&self, store: &Store) -> Result<(), Error> {
        let (records, broken) = state::load_all::<Layers>(&self.state.join("containers"));
        if let Some((container, why)) = broken.first() {
            // Whoever can't be read may use any layer; a later collection will know more.
            tracing::debug!(%container, %why, "no image layers are removed now: a container's record can't be read");
            return Ok(());
        }
        let mut used: BTreeSet<PathBuf> = records.into_iter().flat_map(|r| r.layers).collect();
        used.extend(self.asked_for().iter().flat_map(|(_, layers)| layers.iter().cloned()));
        store.collect(&used)
    }

    fn asked_for(&self) -> MutexGuard<'_, Vec<(Instant, Vec<PathBuf>)>> {
        let mut asked = self.asked_for.lock().unwrap_or_else(PoisonError::into_inner);
        asked.retain(|(at, _)| at.elapsed() < ASKED_FOR);
        asked
    }
}

/// An error as CRI carries it.
fn told(error: &Error) -> CriError {
    match error {
        Error::NotFound(_) | Error::Registry { status: 404, .. } => CriError::not_found(error.to_string()),
        Error::Reference(_) => CriError::invalid(error.to_string()),
        _ => CriError::internal(error.to_string()),
    }
}

/// Credentials as kubelet sends them; none where they are for another registry (containerd's `ParseAuth`).
fn credentials(auth: AuthConfig, registry: &str) -> Result<Auth, CriError> {
    let server = auth.server_address.trim_start_matches("https://").trim_start_matches("http://");
    let server = server.split('/').next().unwrap_or_default();
    let hub = |host: &str| ["docker.io", "index.docker.io", "registry-1.docker.io"].contains(&host);
    if !server.is_empty() && server != registry && !(hub(server) && hub(registry)) {
        return Ok(Auth::default());
    }
    let mut given = Auth {
        username: auth.username,
        password: auth.password,
        identity_token: auth.identity_token,
        registry_token: auth.registry_token,
    };
    if given == Auth::default() && !auth.auth.is_empty() {
        given = Auth::from_basic(&auth.auth)
            .ok_or_else(|| CriError::invalid("invalid auth config: `auth` is not base64 of user:password"))?;
    }
    Ok(given)
}

fn describe(image: Image) -> cri::Image {
    let user = image.config.user.split(':').next().unwrap_or_default();
    let uid = user.parse().ok().map(|value| cri::Int64Value { value });
    let username = if uid.is_some() { String::new() } else { user.to_owned() };
    // An imported image whose name went to a newer one is of no more use.
    let pinned = image.pinned && !image.tags.is_empty();
    let pinned = pinned || image.tags.iter().any(|t| t.split('/').next() == Some(builtin::REGISTRY));
    let spec = Some(cri::ImageSpec { image: image.id.clone(), ..Default::default() });
    // kubelet takes an image without a size for none.
    let size = image.size.max(1);
    let (id, repo_tags, repo_digests) = (image.id, image.tags, image.digests);
    cri::Image { id, repo_tags, repo_digests, size, uid, username, pinned, spec }
}

impl ImageStore for OciImages {
    fn resolve(&self, reference: &str) -> Result<ImageInfo, CriError> {
        let image = self.find(reference)?.ok_or_else(|| told(&Error::NotFound(reference.to_owned())))?;
        let layers = self.store().layer_dirs(&image);
        self.used.asked_for().push((Instant::now(), layers.clone()));
        let reference = image.digests.first().unwrap_or(&image.id).clone();
        let c = image.config;
        let config = ImageConfig {
            env: c.env,
            entrypoint: c.entrypoint,
            cmd: c.cmd,
            user: c.user,
            working_dir: c.working_dir,
            stop_signal: c.stop_signal,
            volumes: c.volumes.into_keys().take(MAX_VOLUMES).collect(),
        };
        Ok(ImageInfo { id: image.id, reference, config, layers })
    }

    fn list(&self) -> Result<Vec<cri::Image>, CriError> {
        let images = self.store().list().map_err(|e| told(&e))?;
        Ok(images.into_iter().map(describe).collect())
    }

    fn status(&self, reference: &str) -> Result<Option<cri::Image>, CriError> {
        Ok(self.find(reference)?.map(describe))
    }

    fn pull(&self, request: PullImageRequest) -> CallFuture<'_, String> {
        Box::pin(async move {
            let name = request.image.map(|image| image.image).unwrap_or_default();
            let registry = Reference::parse(&name).map_err(|e| told(&e))?.registry;
            let auth = request.auth.map(|auth| credentials(auth, &registry)).transpose()?;
            Ok(self.fetch(&name, auth).await?.id)
        })
    }

    fn remove(&self, reference: &str) -> Result<(), CriError> {
        self.store().remove(reference).map_err(|e| told(&e))?;
        self.used.collect(self.store()).map_err(|e| told(&e))
    }

    fn usage(&self) -> Result<cri::FilesystemUsage, CriError> {
        let used = self.store().usage().map_err(|e| told(&e))?;
        let mountpoint = self.store().root().to_string_lossy().into_owned();
        Ok(cri::FilesystemUsage {
            timestamp: clock::now_nanos(),
            fs_id: Some(cri::FilesystemIdentifier { mountpoint }),
            used_bytes: Some(cri::UInt64Value { value: used }),
            inodes_used: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> (tempfile::TempDir, OciImages) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("program"), "x").unwrap();
        let from = directory.path().join("program");
        let builtin: Builtin = Arc::new(move |name: &Reference| {
            let file = builtin::Source { from: from.clone(), to: "/bin/program".into() };
            (name.repository == "demo").then(|| builtin::Recipe {
                name: "ironclad.local/demo:latest".into(),
                fingerprint: "1".into(),
                files: vec![file],
                entrypoint: vec!["/bin/program".into()],
                cmd: vec![],
                user: "65532:65532".into(),
            })
        });
        let images =
            OciImages::open(&directory.path().join("images"), &directory.path().join("state"), builtin);
        (directory, images.unwrap())
    }

    #[test]
    fn an_imported_image_is_pinned_while_it_has_a_name() {
        let image = |tags: &[&str], pinned| Image {
            id: "sha256:1".into(),
            tags: tags.iter().map(ToString::to_string).collect(),
            digests: vec!["x.y/b@sha256:1".into()],
            config: Default::default(),
            layers: vec![],
            size: 1,
            pinned,
        };
        let pinned =
            [image(&["a:1"], true), image(&[], true), image(&["a:1"], false)].map(|i| describe(i).pinned);
        assert_eq!(pinned, [true, false, false]);
    }

    #[test]
    fn a_builtin_image_is_made_when_asked_for() {
        let (_directory, images) = world();
        assert!(images.list().unwrap().is_empty());
        let status = images.status("ironclad.local/demo").unwrap().unwrap();
        assert_eq!((status.uid.unwrap().value, status.username.as_str(), status.pinned), (65532, "", true));
        assert_eq!(status.repo_tags, ["ironclad.local/demo:latest"]);
        assert!(images.resolve(&status.id).unwrap().layers[0].join("bin/program").is_file());
        assert!(images.status("ironclad.local/other").unwrap().is_none());
        assert_eq!(images.resolve("nosuch").unwrap_err().code, cri::Code::NotFound);
    }

    #[test]
    fn layers_stay_while_a_container_uses_them() {
        let (directory, images) = world();
        let layer =
            images.store().layer_dirs(&images.find("ironclad.local/demo").unwrap().unwrap()).remove(0);
        let container = directory.path().join("state/containers/c1");
        std::fs::create_dir_all(&container).unwrap();
        images.remove("ironclad.local/demo").unwrap();
        assert!(layer.is_dir(), "a container without a record may use anything");
        std::fs::write(container.join("record.json"), format!("{{\"layers\":[{layer:?}]}}")).unwrap();
        images.used.collect(images.store()).unwrap();
        assert!(layer.is_dir());
        std::fs::remove_dir_all(&container).unwrap();
        images.used.collect(images.store()).unwrap();
        assert!(!layer.exists());
    }

    #[test]
    fn kubelets_credentials() {
        let auth = AuthConfig { auth: "bWU6c2VjcmV0".into(), ..Default::default() };
        let got = credentials(auth.clone(), "x.y").unwrap();
        assert_eq!((got.username.as_str(), got.password.as_str()), ("me", "secret"));
        let elsewhere = AuthConfig { server_address: "https://z.y/v1/".into(), ..auth };
        assert_eq!(credentials(elsewhere.clone(), "x.y").unwrap(), Auth::default());
        assert_eq!(credentials(elsewhere, "z.y").unwrap(), got);
        let rubbish = AuthConfig { auth: "%".into(), ..Default::default() };
        assert!(credentials(rubbish, "x.y").is_err());
    }
}
