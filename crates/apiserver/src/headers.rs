//! Headers read out of stored bytes: what the store asks for when it was written by a release with other columns.

use meta::Object;
use std::sync::Arc;
use store::{Header, HeaderParser};

/// Changes with the columns that any kind's field selectors ask for.
const VERSION: u32 = 1;

/// Reads headers by the kind that an object says it is. Custom resources have the columns that every kind has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers;

impl Headers {
    /// As the store takes it.
    pub fn shared() -> Arc<dyn HeaderParser> {
        Arc::new(Self)
    }
}

impl HeaderParser for Headers {
    fn header(&self, _key: &str, bytes: &[u8]) -> Header {
        let Ok(object) = Object::from_slice(bytes) else { return Header::new("", [], []) };
        let gvk = object.gvk();
        if let Some(kind) = registry::by_kind(&gvk.group, &gvk.version, &gvk.kind) {
            let columns = kind.header(&object);
            let text = |(k, v): &(String, String)| (k.clone(), v.clone());
            let fields: Vec<(String, String)> = columns.fields.iter().map(text).collect();
            let labels = columns.labels.iter().map(|(k, v)| (k.as_str(), v.as_str()));
            return Header::new(&columns.uid, labels, fields.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        }
        let m = &object.metadata;
        let labels = m.labels.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        let fields = [("metadata.name", m.name.as_str()), ("metadata.namespace", m.namespace.as_str())];
        Header::new(&m.uid, labels, fields)
    }

    fn version(&self) -> u32 {
        VERSION
    }
}
