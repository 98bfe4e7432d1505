//! CREATE (`k8s.io/apiserver/pkg/endpoints/handlers/create.go`, `registry/generic/registry/store.go`).

use crate::codec;
use crate::decode::Form;
use crate::limits::{AWAIT_TIMEOUT, MAX_NAME_TRIES};
use crate::metadata;
use crate::model::{Applying, Model};
use crate::reply::Reply;
use crate::server::ServerView;
use crate::write::{Outcome, Writing};
use admission::Operation;
use bytes::Bytes;
use meta::{Object, Status};
use store::{Expect, Write};

/// Longest name from which a generated name can be made (`maxGeneratedNameLength`).
const MAX_NAME_BASE: usize = 58;
/// Characters that are added to it.
const NAME_ENDING: usize = 5;

impl Writing<'_> {
    /// Creates the object in the body.
    pub(crate) async fn create(mut self, body: &Bytes) -> Result<Reply, Status> {
        let mut object = self.decode(body, &Form::of(&self.served))?;
        self.fit_namespace(&mut object)?;
        if self.served.custom.as_ref().is_some_and(|c| c.terminating) {
            let kind = &self.served.kind;
            let why = "create not allowed while custom resource definition is terminating";
            return Err(Status::forbidden(&kind.group, &kind.resource, &object.metadata.name, why));
        }
        let object = self.wait_for_others(object).await?;
        if !object.metadata.name.is_empty() || object.metadata.generate_name.is_empty() {
            return self.create_once(object).await?;
        }
        let mut taken = Status::internal("no name was tried");
        for _ in 0..MAX_NAME_TRIES {
            let mut new = object.clone();
            new.metadata.name = self.generated_name(&object.metadata.generate_name);
            match self.create_once(new).await? {
                Ok(reply) => return Ok(reply),
                Err(status) => taken = status,
            }
        }
        Err(taken)
    }

    /// Waits a moment for what a controller is about to make and admission would miss: the service account `default` of
    /// a new namespace.
    async fn wait_for_others(&self, object: Object) -> Result<Object, Status> {
        let asked = self.admission(Operation::Create, Some(object), None);
        if let Some(awaited) = admission::awaits(&self.server.admission, &asked, &ServerView(self.server)) {
            self.wait_for(&awaited).await;
        }
        asked.object.ok_or_else(|| Status::internal("admission took the object away"))
    }

    async fn wait_for(&self, awaited: &admission::Awaited) {
        let catalog = self.server.catalog();
        let served = catalog.find_any(&awaited.group, &awaited.resource);
        let Some(key) = served.and_then(|s| s.kind.key(&awaited.namespace, &awaited.name)) else { return };
        let Ok(mut watcher) = self.server.store.watch(&key, self.server.store.revision()) else { return };
        if self.server.store.get(&key).is_some() {
            return;
        }
        // Whatever comes, admission looks again.
        let _ = tokio::time::timeout(AWAIT_TIMEOUT, std::future::poll_fn(|cx| watcher.poll_next(cx))).await;
    }

    /// One try; the inner error is a name that is taken.
    async fn create_once(&mut self, object: Object) -> Result<Result<Reply, Status>, Status> {
        let object = self.begin_create(object, true)?;
        self.store_new(object).await
    }

    /// Stores an object that passed [`Writing::begin_create`]. The inner error is a name that is taken.
    pub(crate) async fn store_new(&mut self, mut object: Object) -> Result<Result<Reply, Status>, Status> {
        let (group, resource) = (self.served.kind.group.clone(), self.served.kind.resource.clone());
        let exists = Status::already_exists(&group, &resource, &object.metadata.name);
        let key = self.key(&object.metadata.name)?;
        if let Some(entry) = self.server.store.get(&key) {
            let there = codec::decode(&self.served, &entry)?;
            let going = if there.metadata.is_deleting() { "object is being deleted: " } else { "" };
            return Ok(Err(Status { message: format!("{going}{}", exists.message), ..exists }));
        }
        let charge = self.admit(Operation::Create, Some(&object), None)?;
        let lease = self.server.reserve(&self.served, &mut object, None, self.options.dry_run)?;
        if self.options.dry_run {
            self.charge(&charge).await?;
            return self.answer_object(201, &object).map(Ok);
        }
        let encoded = self.server.encode(&self.served, &object)?;
        self.charge(&charge).await?;
        match self.server.commit(&key, Expect::Absent, Write::Put(encoded)).await? {
            Outcome::Moved => Ok(Err(exists)),
            Outcome::Done(done) => {
                lease.keep();
                self.server.after_write(&self.served, &object).await;
                self.answer(201, &done.entry).map(Ok)
            }
        }
    }

    /// Everything up to validation: the object as it is to be stored, but for what must be allocated. An applied object
    /// is tracked already.
    pub(crate) fn begin_create(&mut self, mut object: Object, track: bool) -> Result<Object, Status> {
        let served = self.served.clone();
        let m = &mut object.metadata;
        // What isn't stored isn't looked at by the store, which is who minds upstream.
        if !matches!(m.resource_version.as_str(), "" | "0") && !self.options.dry_run {
            return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
        }
        (m.deletion_timestamp, m.deletion_grace_period_seconds) = (None, None);
        m.self_link.clear();
        m.uid = self.server.uids.uid();
        m.creation_timestamp = Some(meta::Time::new(self.now));
        served.kind.default(&mut object);
        self.dedup_owners(&mut object);
        if track {
            self.track(None, &mut object);
        }
        let mut object = self.mutate(Operation::Create, object, None)?;
        self.dedup_owners(&mut object);
        served.kind.prepare_for_create(&mut object, &self.context());
        self.server.prepare(&served, &mut object, None);
        let mut faults = self.faults(&object);
        faults.extend(served.kind.validate(&object));
        self.refuse(&object, faults)?;
        self.warnings.extend((served.kind.strategy.warnings)(&object, None));
        (served.kind.strategy.canonicalize)(&mut object);
        Ok(object)
    }

    /// Faults that any kind can have: name, schema.
    pub(crate) fn faults(&self, object: &Object) -> Vec<meta::FieldError> {
        let mut faults = self.served.kind.validate_name(object);
        if let Some(model) = &self.served.model {
            faults.extend(model.validate(object));
        }
        faults
    }

    /// 422 where there are faults.
    pub(crate) fn refuse(&self, object: &Object, faults: Vec<meta::FieldError>) -> Result<(), Status> {
        if faults.is_empty() {
            return Ok(());
        }
        let gk = self.served.group_kind();
        Err(Status::invalid(&gk.group, &gk.kind, &object.metadata.name, &faults))
    }

    /// Writes down whose fields these are.
    pub(crate) fn track(&self, live: Option<&Object>, object: &mut Object) {
        if let Some(model) = &self.served.model {
            self.track_as(model, live, object);
        }
    }

    /// The same for an object of another kind than the path's.
    pub(crate) fn track_as(&self, model: &Model, live: Option<&Object>, object: &mut Object) {
        let manager = self.request.manager(&self.options.field_manager);
        let (kind, subresource) = (&*self.served.kind, &self.request.info.subresource);
        let how = Applying { kind, manager: &manager, force: false, subresource, now: self.now };
        model.track(live, object, &how);
    }

    pub(crate) fn dedup_owners(&mut self, object: &mut Object) {
        if metadata::dedup_owners(&mut object.metadata) {
            self.warnings.push(".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests".to_owned());
        }
    }

    /// Gives the object the namespace of the request, or refuses another one.
    pub(crate) fn fit_namespace(&self, object: &mut Object) -> Result<(), Status> {
        let wanted = self.namespace();
        // What isn't in a namespace loses one that it names (`EnsureObjectNamespaceMatchesRequestNamespace`).
        if object.metadata.namespace.is_empty() || !self.served.kind.namespaced {
            wanted.clone_into(&mut object.metadata.namespace);
        }
        match object.metadata.namespace == wanted {
            true => Ok(()),
            false => Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            )),
        }
    }

    /// The key of an object of this kind.
    pub(crate) fn key(&self, name: &str) -> Result<String, Status> {
        if !crate::request::is_segment(name) {
            return Err(Status::bad_request(format!("{name:?} can't be the name of an object")));
        }
        self.served.kind.key(self.namespace(), name).ok_or_else(Status::no_such_path)
    }

    fn generated_name(&self, base: &str) -> String {
        let end = (0..=MAX_NAME_BASE.min(base.len())).rev().find(|i| base.is_char_boundary(*i)).unwrap_or(0);
        format!("{}{}", &base[..end], self.server.uids.suffix(NAME_ENDING))
    }

    /// The stored object, decoded; 404 where there is none.
    pub(crate) fn existing(&self, name: &str) -> Result<Object, Status> {
        let entry = self.server.store.get(&self.key(name)?).ok_or_else(|| self.served.not_found(name))?;
        codec::decode(&self.served, &entry)
    }
}
