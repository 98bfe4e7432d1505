//! Flow control: how many requests may be served at one time. A full house answers 429, and the client comes back
//! (`k8s.io/apiserver/pkg/server/filters/maxinflight.go`).

use crate::limits::{MAX_LONG_RUNNING, MAX_READS_IN_FLIGHT, MAX_SYSTEM_IN_FLIGHT, MAX_WRITES_IN_FLIGHT};
use crate::objects::Objects;
use crate::request::RequestInfo;
use http::{HeaderMap, HeaderValue};
use meta::{Object, Reason, Status, Time, UserInfo};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug, Default)]
struct Counter(AtomicUsize);

/// The places that requests can take.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    reads: Arc<Counter>,
    writes: Arc<Counter>,
    system: Arc<Counter>,
    long: Arc<Counter>,
}

/// A taken place; dropped, it is free again.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Counter>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn take(counter: &Arc<Counter>, max: usize) -> Result<Permit, Status> {
    if counter.0.fetch_add(1, Ordering::AcqRel) < max {
        return Ok(Permit(counter.clone()));
    }
    counter.0.fetch_sub(1, Ordering::AcqRel);
    let text = "Too many requests, please try again later.";
    Err(Status::new(Reason::TooManyRequests, text))
}

impl Flow {
    /// A place for this request.
    pub(crate) fn admit(&self, info: &RequestInfo, user: &UserInfo) -> Result<Permit, Status> {
        if info.is_long_running() {
            return take(&self.long, MAX_LONG_RUNNING);
        }
        if is_system(user) {
            return take(&self.system, MAX_SYSTEM_IN_FLIGHT);
        }
        match matches!(info.verb.as_str(), "get" | "list" | "head") {
            true => take(&self.reads, MAX_READS_IN_FLIGHT),
            false => take(&self.writes, MAX_WRITES_IN_FLIGHT),
        }
    }

    /// Requests in flight: reading, writing, of the system, long-running.
    pub(crate) fn counts(&self) -> [usize; 4] {
        [&self.reads, &self.writes, &self.system, &self.long].map(|c| c.0.load(Ordering::Relaxed))
    }
}

/// Under which flow schema requests are answered. Clients that see the headers leave throttling to the server
/// (`k8s.io/cli-runtime` asks for them before it switches its own off).
#[derive(Debug, Default)]
pub(crate) struct Marks {
    system: Option<Mark>,
    known: Option<Mark>,
    unknown: Option<Mark>,
}

/// UIDs of a flow schema and its priority level.
#[derive(Debug)]
struct Mark {
    schema: HeaderValue,
    level: HeaderValue,
}

impl Marks {
    /// Reads the UIDs of the schemas that every cluster has.
    pub(crate) fn read(objects: &Objects<'_>) -> Self {
        let uid = |resource: &str, name: &str| {
            let object = objects.get(GROUP, resource, "", name)?;
            HeaderValue::from_str(&object.metadata.uid).ok()
        };
        let mark = |name: &str| {
            Some(Mark { schema: uid("flowschemas", name)?, level: uid("prioritylevelconfigurations", name)? })
        };
        Self { system: mark("exempt"), known: mark("global-default"), unknown: mark("catch-all") }
    }

    /// Adds the headers.
    pub(crate) fn put(&self, user: &UserInfo, headers: &mut HeaderMap) {
        let mark = match is_system(user) {
            true => &self.system,
            false if user.is_in("system:authenticated") => &self.known,
            false => &self.unknown,
        };
        if let Some(mark) = mark {
            headers.insert("x-kubernetes-pf-flowschema-uid", mark.schema.clone());
            headers.insert("x-kubernetes-pf-prioritylevel-uid", mark.level.clone());
        }
    }
}

/// The group of flow schemas and priority levels.
pub(crate) const GROUP: &str = "flowcontrol.apiserver.k8s.io";

/// The flow schema with its condition `Dangling` brought up to date; none if that is so already
/// (`apiserver/pkg/util/flowcontrol/apf_controller.go`).
pub(crate) fn judged(schema: &Object, has_level: bool, now: Time) -> Option<Object> {
    let name = schema.str(&["spec", "priorityLevelConfiguration", "name"]);
    let (status, reason, end) = match has_level {
        true => ("False", "Found", "and it exists"),
        false => ("True", "NotFound", "but there is no such object"),
    };
    let all = schema.get(&["status", "conditions"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let (old, mut conditions): (Vec<Value>, Vec<Value>) =
        all.into_iter().partition(|c| c["type"] == "Dangling");
    let message =
        format!("This FlowSchema references the PriorityLevelConfiguration object named {name:?} {end}");
    let same = |c: &&Value| c["status"] == status && c["reason"] == reason;
    if old.iter().any(|c| same(&c) && c["message"] == message) {
        return None;
    }
    let since = old.iter().find(same).map_or(json!(now.to_string()), |c| c["lastTransitionTime"].clone());
    conditions.push(json!({"type": "Dangling", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": since}));
    let mut schema = schema.clone();
    schema.set(&["status", "conditions"], conditions.into());
    Some(schema)
}

fn is_system(user: &UserInfo) -> bool {
    ["system:masters", "system:nodes"].iter().any(|g| user.is_in(g)) || user.name.starts_with("system:kube-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_schema_says_whether_its_level_is_there() {
        let schema = json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema",
            "spec": {"priorityLevelConfiguration": {"name": "mine"}}});
        let schema = Object::from_value(schema).expect("an object");
        let now = Time::new(jiff::Timestamp::UNIX_EPOCH);
        let told = |o: &Object| o.get(&["status", "conditions"]).cloned().unwrap_or_default().to_string();
        let lost = judged(&schema, false, now).expect("a change");
        assert_eq!(
            told(&lost),
            r#"[{"lastTransitionTime":"1970-01-01T00:00:00Z","message":"This FlowSchema references the PriorityLevelConfiguration object named \"mine\" but there is no such object","reason":"NotFound","status":"True","type":"Dangling"}]"#
        );
        assert!(judged(&lost, false, now).is_none());
        let found = judged(&lost, true, now).expect("a change");
        assert!(told(&found).contains(r#""status":"False""#) && judged(&found, true, now).is_none());
    }

    #[test]
    fn the_place_behind_the_last_is_refused_and_places_come_back() {
        let counter = Arc::new(Counter::default());
        let held: Vec<_> = (0..2).map(|_| take(&counter, 2).unwrap()).collect();
        assert_eq!(take(&counter, 2).unwrap_err().code, 429);
        drop(held);
        assert!(take(&counter, 2).is_ok());
        assert_eq!(counter.0.load(Ordering::Relaxed), 0);
    }
}
