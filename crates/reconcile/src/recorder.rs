//! Tells events: the same again only counts up, many alike are combined, and nobody can flood the store
//! (`client-go/tools/record/events_cache.go`). A plain state machine that returns calls.

use crate::plan::EventNote;
use api::core::v1::{Event, EventSource, ObjectReference};
use api::{MicroTime, ObjectMeta, Stored, names};
use client::{Call, PatchKind, Resource};
use jiff::Timestamp;
use serde_json::json;
use std::collections::HashMap;

/// So many different messages of one reason about one object stand alone; the next are combined (`maxEvents` - 1).
const MAX_SIMILAR: usize = 9;
/// How long similar messages are remembered.
const SIMILAR_SECONDS: i64 = 600;
/// Events about one object that may come in a burst, and the seconds until one more may.
const BURST: (f64, f64) = (25.0, 300.0);
/// Entries that each table remembers.
const MAX_ENTRIES: usize = 4096;
/// The longest message (`validation.NoteLengthLimit`).
const MAX_MESSAGE: usize = 1024;

/// What is written for one event.
#[derive(Clone, Debug)]
pub struct EventWrite {
    /// The call to make.
    pub call: Call,
    /// What to do if the event that is to be counted up is gone.
    pub otherwise: Option<Call>,
}

struct Told {
    event: Event,
    count: i32,
}

struct Similar {
    messages: Vec<String>,
    since: i64,
}

/// Remembers what was told.
#[derive(Default)]
pub struct Recorder {
    told: HashMap<String, Told>,
    similar: HashMap<String, Similar>,
    tokens: HashMap<String, (f64, i64)>,
    sequence: i64,
}

impl Recorder {
    /// What to write for `note` of `component` on `host` (empty for none); none if it is one too many.
    pub fn record(
        &mut self,
        (component, host): (&str, &str),
        note: &EventNote,
        now: Timestamp,
    ) -> Option<EventWrite> {
        self.bound();
        let about = identity(&note.regarding);
        if !self.may(format!("{component}/{host}/{about}"), now.as_second()) {
            return None;
        }
        let kind = if note.warning { "Warning" } else { "Normal" };
        let group = format!("{component}/{host}/{about}/{kind}/{}", note.reason);
        let message = truncated(&note.message);
        let (key, message) = if self.is_crowded(&group, &message, now.as_second()) {
            (group, truncated(&format!("(combined from similar events): {message}")))
        } else {
            (format!("{group}/{message}"), message)
        };
        if let Some(told) = self.told.get_mut(&key) {
            return Some(told.again(&message, now));
        }
        self.sequence += 1;
        let event = self.event((component, host), note, message, now);
        let call = create(&event);
        self.told.insert(key, Told { event, count: 1 });
        Some(EventWrite { call, otherwise: None })
    }

    /// A token bucket for each object.
    fn may(&mut self, key: String, now: i64) -> bool {
        let (tokens, at) = self.tokens.entry(key).or_insert((BURST.0, now));
        let refill = (now - *at).max(0) as f64 / BURST.1;
        *tokens = (*tokens + refill).min(BURST.0);
        *at = now;
        let may = *tokens >= 1.0;
        if may {
            *tokens -= 1.0;
        }
        may
    }

    fn is_crowded(&mut self, group: &str, message: &str, now: i64) -> bool {
        let similar =
            self.similar.entry(group.to_owned()).or_insert(Similar { messages: Vec::new(), since: now });
        if now - similar.since > SIMILAR_SECONDS {
            *similar = Similar { messages: Vec::new(), since: now };
        }
        if !similar.messages.iter().any(|m| m == message) {
            if similar.messages.len() >= MAX_SIMILAR {
                return true;
            }
            similar.messages.push(message.to_owned());
        }
        false
    }

    fn event(&self, source: (&str, &str), note: &EventNote, message: String, now: Timestamp) -> Event {
        let regarding = &note.regarding;
        let name = regarding.name.clone().unwrap_or_default();
        let unique = i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX).wrapping_add(self.sequence);
        let namespace = regarding.namespace.clone().filter(|ns| !ns.is_empty());
        let text = |s: &str| (!s.is_empty()).then(|| s.to_owned());
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{unique:x}")),
                namespace: Some(namespace.unwrap_or_else(|| names::NAMESPACE_DEFAULT.to_owned())),
                ..ObjectMeta::default()
            },
            involved_object: regarding.clone(),
            reason: Some(note.reason.clone()),
            message: Some(message),
            type_: Some(if note.warning { "Warning" } else { "Normal" }.to_owned()),
            source: Some(EventSource { component: text(source.0), host: text(source.1) }),
            reporting_component: text(source.0),
            reporting_instance: text(source.1),
            count: Some(1),
            first_timestamp: Some(api::time(now)),
            last_timestamp: Some(api::time(now)),
            event_time: None::<MicroTime>,
            ..Event::default()
        }
    }

    /// Forgets everything rather than growing without end.
    fn bound(&mut self) {
        if self.told.len() >= MAX_ENTRIES {
            self.told.clear();
        }
        if self.similar.len() >= MAX_ENTRIES {
            self.similar.clear();
        }
        if self.tokens.len() >= MAX_ENTRIES {
            self.tokens.clear();
        }
    }
}

impl Told {
    fn again(&mut self, message: &str, now: Timestamp) -> EventWrite {
        self.count = self.count.saturating_add(1);
        self.event.count = Some(self.count);
        self.event.last_timestamp = Some(api::time(now));
        self.event.message = Some(message.to_owned());
        let meta = &self.event.metadata;
        let (namespace, name) = (api::MetaExt::namespace(meta), api::MetaExt::name(meta));
        let patch =
            json!({"count": self.count, "lastTimestamp": self.event.last_timestamp, "message": message});
        let r = Resource::of::<Event>();
        let call = Call::patch(&r, namespace, name, "", PatchKind::Merge, patch.to_string());
        EventWrite { call, otherwise: Some(create(&self.event)) }
    }
}

fn create(event: &Event) -> Call {
    let namespace = event.metadata.namespace.as_deref().unwrap_or_default();
    Call::create(&Resource::of::<Event>(), namespace, event.encode())
}

fn identity(o: &ObjectReference) -> String {
    let parts = [&o.kind, &o.namespace, &o.name, &o.uid, &o.api_version, &o.field_path];
    parts.map(|p| p.as_deref().unwrap_or_default()).join("/")
}

fn truncated(message: &str) -> String {
    if message.len() <= MAX_MESSAGE {
        return message.to_owned();
    }
    const DOTS: &str = "...";
    let cut = (0..=MAX_MESSAGE - DOTS.len()).rev().find(|i| message.is_char_boundary(*i)).unwrap_or(0);
    format!("{}{DOTS}", &message[..cut])
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::core::v1::Pod;
    use std::time::Duration;

    fn note(message: &str) -> EventNote {
        let metadata =
            ObjectMeta { name: Some("web".into()), namespace: Some("x".into()), ..ObjectMeta::default() };
        EventNote::warning(&Pod { metadata, ..Pod::default() }, "BackOff", message)
    }

    #[test]
    fn the_same_again_counts_up() {
        let (mut recorder, now) = (Recorder::default(), Timestamp::UNIX_EPOCH);
        let source = ("kubelet", "n1");
        let first = recorder.record(source, &note("no luck"), now).expect("told");
        assert_eq!(first.call.method.as_str(), "POST");
        let again = recorder.record(source, &note("no luck"), now + Duration::from_secs(5)).expect("told");
        assert_eq!(again.call.method.as_str(), "PATCH");
        assert_eq!(
            String::from_utf8_lossy(&again.call.body),
            r#"{"count":2,"lastTimestamp":"1970-01-01T00:00:05Z","message":"no luck"}"#
        );
        assert!(again.call.path.starts_with("/api/v1/namespaces/x/events/web."));
    }

    #[test]
    fn many_alike_are_combined_and_then_silenced() {
        let (mut recorder, now) = (Recorder::default(), Timestamp::UNIX_EPOCH);
        let mut told = Vec::new();
        for i in 0..40 {
            told.extend(recorder.record(("kubelet", "n1"), &note(&format!("try {i}")), now));
        }
        assert_eq!(told.len(), 25);
        assert_eq!(told.iter().filter(|w| w.call.method.as_str() == "POST").count(), 10);
        let last = String::from_utf8_lossy(&told[24].call.body).into_owned();
        assert!(last.contains("(combined from similar events): try 24"), "{last}");
    }
}
