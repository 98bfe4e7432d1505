//! Objects that several caches of one process hold, decoded once: the controllers and the scheduler both watch pods and
//! nodes, each with an identity of its own, and what they see of one revision is the same.

use api::Stored;
use api::kinds::Decode;
use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Objects looked up between two looks for entries of which nobody holds the object any more, at least.
const SWEEP_EVERY: usize = 1024;
/// How deep in an object's text its revision is looked for.
const HEAD: usize = 512;
/// What our server writes in front of it.
const MARK: &[u8] = br#""metadata":{"resourceVersion":""#;

/// Which type, and which revision: of one server, that is one state of one object. (The address of a decoder would not
/// do: each crate that names one may have a copy of its own.)
type Id = (TypeId, u64);

/// The decoded objects of one server.
#[derive(Default)]
pub struct Decoded(Mutex<Known>);

#[derive(Default)]
struct Known {
    objects: HashMap<Id, Weak<dyn Stored>>,
    until_sweep: usize,
}

impl Decoded {
    /// The object in `bytes`: the one that another cache holds already, or a new one. Only for bytes that the server
    /// sends to everybody alike, not for those of a selection, where a revision may be the one at which an object left.
    /// `wanted` is the type that `decode` makes.
    pub fn decode(
        &self,
        wanted: TypeId,
        decode: Decode,
        bytes: &[u8],
    ) -> Result<Arc<dyn Stored>, serde_json::Error> {
        let Some(revision) = revision(bytes) else { return decode(bytes) };
        let id = (wanted, revision);
        if let Some(known) = self.known().objects.get(&id).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let object = decode(bytes)?;
        if object.as_any().type_id() == wanted {
            self.known().insert(id, &object);
        }
        Ok(object)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn insert(&mut self, id: Id, object: &Arc<dyn Stored>) {
        if self.until_sweep == 0 {
            self.objects.retain(|_, known| known.strong_count() > 0);
            self.until_sweep = SWEEP_EVERY.max(self.objects.len() / 2);
        }
        self.until_sweep -= 1;
        self.objects.insert(id, Arc::downgrade(object));
    }
}

/// `metadata.resourceVersion` where our server puts it; none in any other text.
fn revision(bytes: &[u8]) -> Option<u64> {
    let head = &bytes[..bytes.len().min(HEAD)];
    let at = head.windows(MARK.len()).position(|w| w == MARK)? + MARK.len();
    let digits = head[at..].split(|b| *b == b'"').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::core::v1::{Node, Pod};
    use api::{Kind, MetaExt};

    fn decode<K: Kind>(decoded: &Decoded, revision: u64) -> Arc<dyn Stored> {
        let kind = K::INFO.kind;
        let text = format!(
            r#"{{"apiVersion":"v1","kind":"{kind}","metadata":{{"resourceVersion":"{revision}","name":"a"}}}}"#
        );
        decoded.decode(K::INFO.type_id, K::INFO.decode, text.as_bytes()).expect("an object")
    }

    #[test]
    fn one_revision_is_decoded_once_while_it_is_held() {
        let decoded = Decoded::default();
        let one = decode::<Pod>(&decoded, 7);
        let same = decode::<Pod>(&decoded, 7);
        assert!(Arc::ptr_eq(&one, &same));
        let next = decode::<Pod>(&decoded, 8);
        assert_eq!((one.meta().revision(), next.meta().revision()), (7, 8));
        let node = decode::<Node>(&decoded, 7);
        assert!(api::downcast::<Node>(node).is_some(), "the type is part of the identity");
        drop((one, same));
        assert_eq!(decode::<Pod>(&decoded, 7).meta().revision(), 7);
    }

    #[test]
    fn what_nobody_holds_is_forgotten() {
        let decoded = Decoded::default();
        for revision in 1..=3 * SWEEP_EVERY as u64 {
            drop(decode::<Pod>(&decoded, revision));
        }
        assert!(decoded.known().objects.len() <= SWEEP_EVERY + 1);
    }

    #[test]
    fn a_revision_elsewhere_is_none() {
        assert_eq!(revision(br#"{"metadata":{"name":"a","resourceVersion":"7"}}"#), None);
        assert_eq!(revision(br#"{"metadata":{"resourceVersion":"x"}}"#), None);
        assert_eq!(revision(br#"{"metadata":{"resourceVersion":"7"#), Some(7));
        assert_eq!(revision(b""), None);
    }
}
