//! Who may use an image that is on the node already: those who could have pulled it (KEP-2535,
//! `pkg/kubelet/images/pullmanager`). Images that this node did not pull itself, imported ones for example, are
//! everybody's (`NeverVerifyPreloadedImages`, upstream's default).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Secrets that are remembered for a repository of an image; the oldest go first.
const MAX_SECRETS: usize = 100;

/// A pull secret, and the credentials that were in it, as a hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretSource {
    /// The secret's UID.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// SHA-256 of the credentials.
    pub credential_hash: String,
}

impl SecretSource {
    fn is_same_object(&self, other: &Self) -> bool {
        (&self.uid, &self.namespace, &self.name) == (&other.uid, &other.namespace, &other.name)
    }

    fn has_same_credentials(&self, other: &Self) -> bool {
        !self.credential_hash.is_empty() && self.credential_hash == other.credential_hash
    }
}

/// With what an image was pulled from one repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Credentials {
    /// It came without credentials: every pod of the node may use it.
    node_pods_accessible: bool,
    kubernetes_secrets: Vec<SecretSource>,
}

/// What is remembered of the pulls of one image (`ImagePulledRecord`). One without credentials lets nobody in unseen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    /// The image's identifier.
    pub image_ref: String,
    /// By repository, without tag or digest.
    credential_mapping: BTreeMap<String, Credentials>,
}

/// What a record says to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It may use the image.
    Granted,
    /// It may, if one of its secrets is among those remembered.
    WithSecret,
    /// The registry must be asked.
    AskRegistry,
}

impl Record {
    /// What can be said before the pod's secrets are looked at.
    pub fn access(&self, repository: &str) -> Access {
        match self.credential_mapping.get(repository) {
            Some(c) if c.node_pods_accessible => Access::Granted,
            Some(c) if !c.kubernetes_secrets.is_empty() => Access::WithSecret,
            _ => Access::AskRegistry,
        }
    }

    /// Whether one of these secrets has pulled it: the same credentials, or the same secret with newer ones.
    pub fn knows(&self, repository: &str, presented: &[SecretSource]) -> Option<SecretSource> {
        let known = &self.credential_mapping.get(repository)?.kubernetes_secrets;
        let fits = |p: &&SecretSource| known.iter().any(|k| k.has_same_credentials(p) || k.is_same_object(p));
        presented.iter().find(fits).cloned()
    }

    /// Remembers a pull, or a pod that was let in; tells whether that is news.
    pub fn learn(&mut self, repository: &str, with: Option<SecretSource>) -> bool {
        let credentials = self.credential_mapping.entry(repository.to_owned()).or_default();
        if credentials.node_pods_accessible {
            return false;
        }
        let Some(with) = with else {
            *credentials = Credentials { node_pods_accessible: true, kubernetes_secrets: Vec::new() };
            return true;
        };
        let known = &mut credentials.kubernetes_secrets;
        if known.contains(&with) {
            return false;
        }
        known.retain(|k| !k.is_same_object(&with));
        known.drain(..(known.len() + 1).saturating_sub(MAX_SECRETS));
        known.push(with);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(uid: &str, hash: &str) -> SecretSource {
        let text = str::to_owned;
        SecretSource { uid: text(uid), namespace: text("ns"), name: text(uid), credential_hash: text(hash) }
    }

    #[test]
    fn those_who_pulled_it_may_use_it() {
        let mut record = Record::default();
        assert_eq!(record.access("r/a"), Access::AskRegistry);
        assert!(record.learn("r/a", Some(secret("one", "x"))));
        assert_eq!((record.access("r/a"), record.access("r/b")), (Access::WithSecret, Access::AskRegistry));
        let knows =
            |r: &Record, uid, hash| r.knows("r/a", &[secret("none", ""), secret(uid, hash)]).is_some();
        assert!(knows(&record, "one", "x"));
        assert!(knows(&record, "one", "newer"), "the same secret with newer credentials");
        assert!(knows(&record, "other", "x"), "the same credentials in another secret");
        assert!(!knows(&record, "other", "y") && !knows(&record, "other", ""));
        assert!(!record.learn("r/a", Some(secret("one", "x"))), "no news");
        assert!(record.learn("r/a", Some(secret("one", "newer"))));
        assert!(!knows(&record, "other", "x"), "the older credentials are forgotten");
        assert!(record.learn("r/a", None) && !record.learn("r/a", Some(secret("one", "x"))));
        assert_eq!(record.access("r/a"), Access::Granted);
    }

    #[test]
    fn a_record_is_bounded() {
        let mut record = Record::default();
        for n in 0..2 * MAX_SECRETS {
            record.learn("r", Some(secret(&n.to_string(), "")));
        }
        assert_eq!(record.credential_mapping["r"].kubernetes_secrets.len(), MAX_SECRETS);
        assert!(
            record.knows("r", &[secret("199", "")]).is_some()
                && record.knows("r", &[secret("0", "")]).is_none()
        );
    }
}
