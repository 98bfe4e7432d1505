//! What all writes share: decode → default → track → mutate-admit → strategy → validate → validate-admit → charge → commit.
//! Each step is a plain function; the one await is the commit.

use crate::accept::Accepted;
use crate::catalog::Served;
use crate::codec;
use crate::decode::Form;
use crate::query::{FieldValidation, WriteOptions};
use crate::render::{Include, Render};
use crate::reply::Reply;
use crate::server::{ApiServer, ServerView};
use crate::stage::Request;
use meta::{GroupVersionResource, Object, Reason, Status};
use registry::Context;
use std::sync::{Arc, PoisonError};
use store::{Committed, Encoded, Entry, Expect, Txn, TxnError, Write};

/// A write on its way.
pub(crate) struct Writing<'a> {
    pub(crate) server: &'a ApiServer,
    pub(crate) request: &'a Request,
    pub(crate) served: Arc<Served>,
    pub(crate) accepted: Accepted,
    pub(crate) options: WriteOptions,
    pub(crate) warnings: Vec<String>,
    pub(crate) now: jiff::Timestamp,
    /// For the names that admission makes.
    entropy: u64,
}

impl Drop for Writing<'_> {
    /// An answer carries the warnings itself; a failure finds them here.
    fn drop(&mut self) {
        let mut told = self.request.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.append(&mut self.warnings);
    }
}

impl<'a> Writing<'a> {
    /// A write of `served`; `options_kind` names its options in errors.
    pub(crate) fn new(
        server: &'a ApiServer,
        request: &'a Request,
        served: &Arc<Served>,
        accepted: Accepted,
        options_kind: &str,
    ) -> Result<Self, Status> {
        let options = WriteOptions::parse(&request.info.query, options_kind)?;
        let (served, warnings, now) = (served.clone(), served.warning(), server.clock.now());
        let entropy = entropy(server);
        Ok(Self { server, request, served, accepted, options, warnings, now, entropy })
    }

    /// The namespace that an object of the kind must be in.
    pub(crate) fn namespace(&self) -> &str {
        if self.served.kind.namespaced { &self.request.info.namespace } else { "" }
    }

    /// Who the strategies are told that writes.
    pub(crate) fn context(&self) -> Context {
        Context { now: self.now, user: (*self.request.user).clone() }
    }

    /// What admission is asked about.
    pub(crate) fn admission(
        &self,
        operation: admission::Operation,
        object: Option<Object>,
        old: Option<Object>,
    ) -> admission::Request {
        let kind = &self.served.kind;
        let name = [object.as_ref(), old.as_ref()].into_iter().flatten().map(|o| o.metadata.name.clone());
        let name = name.into_iter().find(|n| !n.is_empty()).unwrap_or_else(|| self.request.info.name.clone());
        admission::Request {
            operation,
            resource: GroupVersionResource { resource: kind.resource.to_string(), ..kind.gvr() },
            kind: kind.gvk(),
            subresource: self.request.info.subresource.clone(),
            namespace: self.namespace().to_owned(),
            name,
            object,
            old,
            user: self.request.user.clone(),
            dry_run: self.options.dry_run,
            force_allow_create: false,
            entropy: self.entropy,
            warnings: Vec::new(),
            audit: Vec::new(),
        }
    }

    /// The mutating pass; gives the object back.
    pub(crate) fn mutate(
        &mut self,
        operation: admission::Operation,
        object: Object,
        old: Option<&Object>,
    ) -> Result<Object, Status> {
        let mut request = self.admission(operation, Some(object), old.cloned());
        admission::mutate(&self.server.admission, &mut request, &ServerView(self.server))?;
        self.warnings.append(&mut request.warnings);
        request.object.ok_or_else(|| Status::internal("admission took the object away"))
    }

    /// The validating pass, and the check that nobody grants more than they hold. What it returns must be charged.
    pub(crate) fn admit(
        &mut self,
        operation: admission::Operation,
        object: Option<&Object>,
        old: Option<&Object>,
    ) -> Result<admission::Request, Status> {
        let mut request = self.admission(operation, object.cloned(), old.cloned());
        admission::validate(&self.server.admission, &mut request, &ServerView(self.server))?;
        self.warnings.append(&mut request.warnings);
        if let Some(new) = object {
            self.server.authorizer().check_escalation(&self.request.attributes(), new, old)?;
        }
        Ok(request)
    }

    /// Commits what the write must be counted in before it may happen (quota); tries again when that moved on.
    pub(crate) async fn charge(&self, request: &admission::Request) -> Result<(), Status> {
        for _ in 0..crate::limits::MAX_WRITE_TRIES {
            let view = ServerView(self.server);
            let writes = admission::charge(&self.server.admission, request, &view)?;
            let mut moved_on = false;
            for write in writes {
                moved_on |= !self.server.side_write(write).await?;
            }
            if !moved_on {
                return Ok(());
            }
        }
        Err(Status::new(
            Reason::TooManyRequests,
            "the quota changes too fast to be charged, please try again",
        ))
    }

    /// Answers with an object that was committed.
    pub(crate) fn answer(&self, code: u16, entry: &Entry) -> Result<Reply, Status> {
        let render = self.render()?;
        let mut out = Vec::with_capacity(entry.bytes.len());
        render.single(entry, true, &mut out)?;
        Ok(Reply::json(code, self.accepted, out.into()).warn(&self.warnings))
    }

    /// Answers with an object that wasn't stored.
    pub(crate) fn answer_object(&self, code: u16, object: &Object) -> Result<Reply, Status> {
        let json = codec::to_bytes(object)?;
        Ok(Reply::json(code, self.accepted, json).warn(&self.warnings))
    }

    fn render(&self) -> Result<Render, Status> {
        let include = Include::parse(self.request.info.query.text("includeObject"))?;
        let shape = self.accepted.shape;
        Ok(Render { served: self.served.clone(), shape, include, now: self.now })
    }

    /// Takes the faults of a document that strict decoding objects to.
    pub(crate) fn strict(&mut self, faults: Vec<String>, form: &Form) -> Result<(), Status> {
        match self.options.validation {
            FieldValidation::Ignore => Ok(()),
            FieldValidation::Warn => {
                self.warnings.extend(faults);
                Ok(())
            }
            FieldValidation::Strict if faults.is_empty() => Ok(()),
            FieldValidation::Strict => {
                Err(form.unfit(format!("strict decoding error: {}", faults.join(", "))))
            }
        }
    }
}

fn entropy(server: &ApiServer) -> u64 {
    server.uids.suffix(12).bytes().fold(0u64, |n, b| n.wrapping_mul(31).wrapping_add(u64::from(b)))
}

/// What became of a transaction whose precondition may fail.
pub(crate) enum Outcome {
    /// It is stored.
    Done(Box<Committed>),
    /// Something else is there now.
    Moved,
}

impl ApiServer {
    /// Commits; a failed precondition is no error here.
    pub(crate) async fn commit(&self, key: &str, expect: Expect, write: Write) -> Result<Outcome, Status> {
        match self.store.begin(Txn { key: key.to_owned(), expect, write }).await {
            Ok(committed) => Ok(Outcome::Done(Box::new(committed))),
            Err(TxnError::Conflict { .. }) => Ok(Outcome::Moved),
            Err(e) => Err(unstored(&e)),
        }
    }

    /// Stores an object that the server itself changed. False: it moved on.
    async fn side_write(&self, write: admission::SideWrite) -> Result<bool, Status> {
        let catalog = self.catalog();
        let found = catalog.find_any(&write.group, &write.resource);
        let served = found.ok_or_else(|| Status::internal(format!("no resource {}", write.resource)))?;
        let m = &write.object.metadata;
        let key = served.kind.key(&m.namespace, &m.name).ok_or_else(Status::no_such_path)?;
        let expect = m.resource_version.parse().map_or(Expect::Absent, Expect::Revision);
        let encoded = codec::encode(served, &write.object)?;
        Ok(matches!(self.commit(&key, expect, Write::Put(encoded)).await?, Outcome::Done(_)))
    }

    /// The bytes to store, with the time at which they go by themselves.
    pub(crate) fn encode(&self, served: &Served, object: &Object) -> Result<Encoded, Status> {
        let mut kept = std::borrow::Cow::Borrowed(object);
        if served.is_converted() {
            fit_stored_version(served, kept.to_mut())?;
        }
        let encoded = codec::encode(served, &kept)?;
        let is_event = served.kind.kind == "Event" && served.kind.resource == "events";
        let until = self.clock.now().as_second() + EVENT_TTL_SECONDS;
        Ok(if is_event { encoded.expires(until.unsigned_abs()) } else { encoded })
    }
}

/// Takes the fields away that the stored version of a custom kind doesn't know
/// (`apiextensions-apiserver/pkg/apiserver/conversion`, and what decodes what is stored).
fn fit_stored_version(served: &Served, object: &mut Object) -> Result<(), Status> {
    if let Some(model) = served.custom.as_ref().and_then(|c| c.stored.as_ref()) {
        let mut value = object.clone().into_value();
        // What has the wrong type there stays: its reader must see it.
        let _ = model.prune(&mut value);
        *object = Object::from_value(value).map_err(Status::internal)?;
    }
    Ok(())
}

/// How long events are kept (`--event-ttl`).
const EVENT_TTL_SECONDS: i64 = 3600;

/// What a client is told when the store can't store.
pub(crate) fn unstored(e: &TxnError) -> Status {
    match e {
        TxnError::Busy => Status::new(Reason::TooManyRequests, e.to_string()),
        TxnError::TooLarge { .. } => {
            Status::new(Reason::RequestEntityTooLarge, format!("Request entity too large: {e}"))
        }
        TxnError::Closed => Status::new(Reason::ServiceUnavailable, e.to_string()),
        e => Status::internal(e),
    }
}
