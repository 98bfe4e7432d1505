//! An API server over a store in memory, with everything that a real one has.

use crate::time::VirtualClock;
use apiserver::clock::{NAME_ALPHABET, Uids, uuid_text};
use apiserver::{ApiServer, Config, Headers};
use auth::{Authenticator, Authorizer, Issuer};
use meta::Status;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use stdx::Rng;
use store::{Inline, Limits, OpenError, SimDisk, Simulated, Store};

/// UIDs and endings of names out of a seed.
#[derive(Debug)]
pub struct SeededUids(Mutex<Rng>);

impl SeededUids {
    /// Draws from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(Rng::new(seed)))
    }

    /// Begins anew, from another seed.
    pub fn restart(&self, seed: u64) {
        self.draw(|r| *r = Rng::new(seed));
    }

    fn draw<T>(&self, f: impl FnOnce(&mut Rng) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Uids for SeededUids {
    fn uid(&self) -> String {
        let (a, b) = self.draw(|r| (r.next_u64(), r.next_u64()));
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&a.to_be_bytes());
        bytes[8..].copy_from_slice(&b.to_be_bytes());
        uuid_text(bytes)
    }

    fn suffix(&self, n: usize) -> String {
        self.draw(|r| (0..n).map(|_| char::from(NAME_ALPHABET[r.index(NAME_ALPHABET.len())])).collect())
    }
}

/// The key that signs tokens: made once, since that is slow.
fn signing_key() -> &'static [u8] {
    static KEY: OnceLock<Vec<u8>> = OnceLock::new();
    KEY.get_or_init(|| {
        let rng = ring::rand::SystemRandom::new();
        let kind = &ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let key =
            ring::signature::EcdsaKeyPair::generate_pkcs8(kind, &rng).expect("entropy for a test's key");
        key.as_ref().to_vec()
    })
}

/// An empty store in memory, without a thread.
pub fn store() -> Store {
    Store::open(Box::new(Inline), Headers::shared(), Limits::default()).expect("a store in memory opens")
}

/// The store that is on a simulated disk, without a thread.
pub fn store_on(disk: &SimDisk) -> Result<Store, OpenError> {
    Store::open(Box::new(Simulated(disk.clone())), Headers::shared(), Limits::default())
}

/// A server over `store`: every kind, every admission plugin, upstream's roles.
pub fn server(store: Store, clock: VirtualClock, uids: Arc<dyn Uids>) -> Result<Arc<ApiServer>, Status> {
    let key = auth::token::SigningKey::from_pkcs8(signing_key(), ring::rand::SystemRandom::new());
    let key = key.expect("the key was made for this");
    let issuer = Issuer::new("https://kubernetes.default.svc.cluster.local", key);
    ApiServer::new(Config {
        store,
        kinds: registry::kinds().to_vec(),
        authenticator: Authenticator::new(Arc::new(issuer)),
        authorizer: Authorizer::new(),
        admission: admission::default_chain(),
        clock: Arc::new(clock),
        uids,
        service_cidr: ([10, 96, 0, 0].into(), 20),
        node_ports: 30000..=32767,
        advertise: ([192, 0, 2, 1], 6443).into(),
        kubelet_tls: None,
        client_ca: "CA".into(),
    })
}
