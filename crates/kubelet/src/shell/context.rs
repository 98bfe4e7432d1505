//! What every part of the shell shares: the settings, the two doors (API and runtime), and who runs what.

use super::config::Config;
use super::endings::Endings;
use super::objects::Objects;
use super::probe_counts::ProbeCounts;
use super::pulled::Pulled;
use super::tell::Teller;
use super::watched::Watched;
use super::worker::Message;
use crate::core::downward::Surroundings;
use crate::core::sandbox::NodeSettings;
use crate::core::security::ImageUser;
use crate::core::{NodeView, PodObservation};
use client::Client;
use cri::ContainerRuntime;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::Sender;
use tokio::sync::{Notify, watch};

/// Images whose users are remembered.
const MAX_IMAGE_USERS: usize = 1024;

/// A pod's worker as others see it.
#[derive(Clone)]
pub(crate) struct PodHandle {
    /// Tells the worker.
    pub sender: Sender<Message>,
    /// The pod as the worker last saw it, with its present status.
    pub pod: Arc<Pod>,
    /// What the runtime says of it.
    pub observed: Arc<PodObservation>,
    /// Whether its resources count on the node.
    pub active: bool,
}

/// What every part of the shell shares.
pub(crate) struct Context {
    pub config: Config,
    pub client: Client,
    pub runtime: Arc<dyn ContainerRuntime>,
    pub view: NodeView,
    pub settings: NodeSettings,
    pub around: Surroundings,
    pub objects: Objects,
    pub teller: Teller,
    /// The ConfigMaps and Secrets that volumes show.
    pub watched: Arc<Watched>,
    /// Who pulled which image.
    pub pulled: Pulled,
    /// How the pods' probes went.
    pub probes: ProbeCounts,
    /// How containers ended, for `/metrics`.
    pub endings: Endings,
    /// The node as the API has it.
    pub node: watch::Sender<Arc<Node>>,
    /// Whether the node is short of memory.
    pub memory_pressure: AtomicBool,
    /// Whether the node is short of disk.
    pub disk_pressure: AtomicBool,
    /// Asks for all images that nobody uses to be removed.
    pub sweep_images: Notify,
    /// Turns true when the agent ends.
    pub stop: watch::Sender<bool>,
    pods: Mutex<HashMap<String, PodHandle>>,
    image_users: Mutex<HashMap<String, ImageUser>>,
}

/// The present. The one place in this crate that reads the clock for the core.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// The doors and settings from which a [`Context`] is made.
pub(crate) struct Parts {
    pub config: Config,
    pub client: Client,
    pub runtime: Arc<dyn ContainerRuntime>,
    pub view: NodeView,
    pub settings: NodeSettings,
    pub around: Surroundings,
    pub objects: Objects,
    pub teller: Teller,
}

impl Context {
    pub(crate) fn new(p: Parts) -> Self {
        let Parts { config, client, runtime, view, settings, around, objects, teller } = p;
        let (node, _) = watch::channel(Arc::new(Node::default()));
        let (stop, _) = watch::channel(false);
        let watched = Watched::new(client.clone());
        let (pods, image_users) = (Mutex::new(HashMap::new()), Mutex::default());
        Self {
            pulled: Pulled::new(&config.root),
            config,
            client,
            runtime,
            view,
            settings,
            around,
            objects,
            teller,
            watched,
            probes: ProbeCounts::default(),
            endings: Endings::default(),
            node,
            memory_pressure: AtomicBool::new(false),
            disk_pressure: AtomicBool::new(false),
            sweep_images: Notify::new(),
            stop,
            pods,
            image_users,
        }
    }

    /// The workers by UID.
    pub(crate) fn pods(&self) -> MutexGuard<'_, HashMap<String, PodHandle>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worker of the pod with `uid`.
    pub(crate) fn pod(&self, uid: &str) -> Option<PodHandle> {
        self.pods().get(uid).cloned()
    }

    /// The worker of the pod called so; the one with `uid` if that is not empty.
    pub(crate) fn find_pod(&self, namespace: &str, name: &str, uid: &str) -> Option<PodHandle> {
        let named = |p: &Pod| {
            p.metadata.namespace.as_deref() == Some(namespace)
                && p.metadata.name.as_deref() == Some(name)
                && (uid.is_empty() || p.metadata.uid.as_deref() == Some(uid))
        };
        self.pods().values().find(|h| named(&h.pod)).cloned()
    }

    /// Remembers an image's user: the start of a container needs it a moment after the image was looked at.
    pub(crate) fn remember_user(&self, image: &cri::Image) {
        let mut users = self.image_users.lock().unwrap_or_else(PoisonError::into_inner);
        if users.len() >= MAX_IMAGE_USERS {
            users.clear();
        }
        users.insert(image.id.clone(), ImageUser::of(image));
    }

    /// The user of the image with this identifier, if it was looked at.
    pub(crate) fn image_user(&self, id: &str) -> Option<ImageUser> {
        self.image_users.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// A pod's directory.
    pub(crate) fn pod_dir(&self, uid: &str) -> PathBuf {
        self.config.root.join("pods").join(uid)
    }
}
