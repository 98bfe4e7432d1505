//! What a controller wants done: a value that can be printed, compared and simulated.

use crate::memory::Memory;
use api::core::v1::ObjectReference;
use api::{Kind, MetaExt};
use bytes::Bytes;
use client::{Call, DeleteOptions, ListOptions, PatchKind, Resource};
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// What is to be done about one key.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Writes, in order; the first failure ends the plan. Neighbouring creations go out together, few at
    /// first (slow start), and so do neighbouring deletions.
    pub writes: Vec<Write>,
    /// Told once all writes have succeeded.
    pub events: Vec<EventNote>,
    /// When to look at the key again, if nothing else brings it up.
    pub requeue_after: Option<Duration>,
    /// A resource that must be heard of before the key can be judged: its cache is listed anew.
    pub refresh: Option<Resource>,
    /// What the key's next plans are to be told; none leaves it as it is.
    pub memory: Option<Memory>,
}

impl Plan {
    /// Nothing to do.
    pub fn done() -> Self {
        Self::default()
    }

    /// Only look again after `delay`.
    pub fn later(delay: Duration) -> Self {
        Self { requeue_after: Some(delay), ..Self::default() }
    }

    /// Lists the objects of a resource anew, and looks again.
    pub fn after_refresh(resource: Resource) -> Self {
        Self { refresh: Some(resource), ..Self::later(Duration::from_secs(1)) }
    }

    /// Only one write.
    pub fn one(write: Write) -> Self {
        Self { writes: vec![write], ..Self::default() }
    }

    /// Looks again after `delay`, or earlier if that was wanted already.
    pub fn requeue(&mut self, delay: Duration) {
        self.requeue_after = Some(self.requeue_after.map_or(delay, |d| d.min(delay)));
    }
}

/// What is done to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// POST to the collection.
    Create,
    /// PUT of the object or (not empty) of a subresource.
    Update(&'static str),
    /// PATCH of the object or (not empty) of a subresource.
    Patch(PatchKind, &'static str),
    /// DELETE.
    Delete(DeleteOptions),
    /// DELETE of the whole collection in the namespace.
    DeleteCollection,
    /// No write: the plan goes on only if the namespace has no object of the resource.
    EnsureEmpty,
    /// POST to a subresource.
    Sub(&'static str),
}

/// One write.
#[derive(Clone, Debug)]
pub struct Write {
    /// What is done.
    pub op: Op,
    /// To which resource.
    pub resource: Resource,
    /// Where; empty for cluster-scoped kinds.
    pub namespace: String,
    /// To which object; empty where the server makes the name.
    pub name: String,
    /// UID of the object, where it exists; what a deletion waits to see gone.
    pub uid: String,
    /// The object or patch.
    pub body: Bytes,
    /// Told when it succeeded; `{}` stands for the object's name.
    pub on_ok: Option<EventNote>,
    /// Told when it failed; `{}` stands for the error.
    pub on_error: Option<EventNote>,
}

impl Write {
    fn of<K: Kind>(op: Op, object: &K, body: Vec<u8>) -> Self {
        Self {
            op,
            resource: Resource::of::<K>(),
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
            uid: object.uid().to_owned(),
            body: body.into(),
            on_ok: None,
            on_error: None,
        }
    }

    /// Creates `object`, in its namespace.
    pub fn create<K: Kind>(object: &K) -> Self {
        Self::of(Op::Create, object, object.encode())
    }

    /// Replaces the object; its `resourceVersion` must still be the current one.
    pub fn update<K: Kind>(object: &K) -> Self {
        Self::of(Op::Update(""), object, object.encode())
    }

    /// Replaces the object's status; its `resourceVersion` must still be the current one.
    pub fn update_status<K: Kind>(object: &K) -> Self {
        Self::of(Op::Update("status"), object, object.encode())
    }

    /// Replaces a subresource of the object.
    pub fn update_sub<K: Kind>(object: &K, subresource: &'static str) -> Self {
        Self::of(Op::Update(subresource), object, object.encode())
    }

    /// Patches the object (merge patch, `null` deletes).
    pub fn merge<K: Kind>(object: &K, patch: &Value) -> Self {
        Self::of(Op::Patch(PatchKind::Merge, ""), object, patch.to_string().into())
    }

    /// Patches a subresource of the object (strategic merge patch).
    pub fn strategic<K: Kind>(object: &K, subresource: &'static str, patch: &Value) -> Self {
        Self::of(Op::Patch(PatchKind::Strategic, subresource), object, patch.to_string().into())
    }

    /// Deletes the object, if it still is the one with this UID.
    pub fn delete<K: Kind>(object: &K) -> Self {
        Self::delete_with(object, DeleteOptions::of_uid(object.uid()))
    }

    /// Deletes the object.
    pub fn delete_with<K: Kind>(object: &K, options: DeleteOptions) -> Self {
        Self::of(Op::Delete(options), object, Vec::new())
    }

    /// A write to an object of any resource.
    pub fn any(op: Op, resource: &Resource, meta: &api::ObjectMeta, body: Vec<u8>) -> Self {
        Self {
            op,
            resource: resource.clone(),
            namespace: meta.namespace().to_owned(),
            name: meta.name().to_owned(),
            uid: meta.uid().to_owned(),
            body: body.into(),
            on_ok: None,
            on_error: None,
        }
    }

    /// Something done to a whole collection ([`Op::DeleteCollection`], [`Op::EnsureEmpty`]).
    pub fn collection(op: Op, resource: &Resource, namespace: &str) -> Self {
        let meta = api::ObjectMeta { namespace: Some(namespace.to_owned()), ..api::ObjectMeta::default() };
        Self::any(op, resource, &meta, Vec::new())
    }

    /// With an event when it succeeds; `{}` in the message stands for the object's name.
    pub fn ok(mut self, note: EventNote) -> Self {
        self.on_ok = Some(note);
        self
    }

    /// With an event when it fails; `{}` in the message stands for the error.
    pub fn or(mut self, note: EventNote) -> Self {
        self.on_error = Some(note);
        self
    }

    /// The call on the API.
    pub fn call(&self) -> Call {
        let (r, ns, name, body) = (&self.resource, &self.namespace, &self.name, self.body.clone());
        match &self.op {
            Op::Create => Call::create(r, ns, body),
            Op::Update(sub) => Call::update(r, ns, name, sub, body),
            Op::Patch(kind, sub) => Call::patch(r, ns, name, sub, *kind, body),
            Op::Delete(options) => Call::delete(r, ns, name, options),
            Op::DeleteCollection => Call::delete_collection(r, ns, &ListOptions::default()),
            Op::EnsureEmpty => Call::list(r, ns, &ListOptions { limit: 1, ..ListOptions::default() }),
            Op::Sub(sub) => Call::create_sub(r, ns, name, sub, body),
        }
    }
}

impl fmt::Display for Write {
    /// One line for tests and logs: `create pods x/web- {...}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sub = |sub: &str| if sub.is_empty() { String::new() } else { format!("/{sub}") };
        let verb = match &self.op {
            Op::Create => "create".to_owned(),
            Op::Update(s) => format!("update{}", sub(s)),
            Op::Patch(_, s) => format!("patch{}", sub(s)),
            Op::Delete(_) => "delete".to_owned(),
            Op::DeleteCollection => "deletecollection".to_owned(),
            Op::EnsureEmpty => "ensure-empty".to_owned(),
            Op::Sub(s) => format!("post{}", sub(s)),
        };
        write!(f, "{verb} {} ", self.resource)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// An event to be told, before it is de-duplicated and written (`record.EventRecorder`).
#[derive(Clone, Debug, PartialEq)]
pub struct EventNote {
    /// What it is about.
    pub regarding: ObjectReference,
    /// Whether it is a `Warning`.
    pub warning: bool,
    /// One CamelCase word.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl EventNote {
    /// A `Normal` event about `object`.
    pub fn normal<K: Kind>(object: &K, reason: &str, message: impl Into<String>) -> Self {
        let (reason, message) = (reason.to_owned(), message.into());
        Self { regarding: reference(object), warning: false, reason, message }
    }

    /// A `Warning` about `object`.
    pub fn warning<K: Kind>(object: &K, reason: &str, message: impl Into<String>) -> Self {
        Self { warning: true, ..Self::normal(object, reason, message) }
    }

    /// With `text` in the place of `{}`.
    pub fn filled(&self, text: &str) -> Self {
        Self { message: self.message.replacen("{}", text, 1), ..self.clone() }
    }
}

impl fmt::Display for EventNote {
    /// One line for tests and logs: `Normal SuccessfulCreate ReplicaSet/web Created pod: web-x`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.warning { "Warning" } else { "Normal" };
        let about = |v: &Option<String>| v.clone().unwrap_or_default();
        let (what, name) = (about(&self.regarding.kind), about(&self.regarding.name));
        write!(f, "{kind} {} {what}/{name} {}", self.reason, self.message)
    }
}

/// A reference to `object` as events hold it.
pub fn reference<K: Kind>(object: &K) -> ObjectReference {
    ObjectReference {
        api_version: Some(K::INFO.api_version()),
        kind: Some(K::INFO.kind.to_owned()),
        name: object.meta().name.clone(),
        namespace: object.meta().namespace.clone(),
        uid: object.meta().uid.clone(),
        resource_version: object.meta().resource_version.clone(),
        field_path: None,
    }
}
