//! Tokens that were good a moment ago. A signature costs far more than a request may, so it is checked once in
//! ten seconds, as upstream does (`TokenSuccessCacheTTL`).

use meta::{Time, UserInfo};
use ring::digest::{SHA256, digest};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// For how long a good token isn't looked at again.
const TTL_SECONDS: i64 = 10;
/// Entries in each of the two generations.
const MAX_ENTRIES: usize = 4096;

/// Digest of a token: the cache holds no token that could be read out of memory.
pub(super) type Key = [u8; 32];

/// Two generations: what isn't used while the young one fills up is forgotten with the old one.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Key, (Arc<UserInfo>, i64)>,
    old: HashMap<Key, (Arc<UserInfo>, i64)>,
}

/// A bounded map from tokens to users, for a few seconds each.
#[derive(Debug, Default)]
pub(super) struct TokenCache {
    generations: Mutex<Generations>,
}

impl TokenCache {
    pub(super) fn key(token: &str) -> Key {
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        key
    }

    pub(super) fn get(&self, key: &Key, now: Time) -> Option<Arc<UserInfo>> {
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let (user, until) = generations.young.get(key).or_else(|| generations.old.get(key))?;
        (now.as_second() < *until).then(|| user.clone())
    }

    pub(super) fn put(&self, key: Key, user: Arc<UserInfo>, now: Time) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if generations.young.len() >= MAX_ENTRIES {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(key, (user, now.as_second() + TTL_SECONDS));
    }
}
