//! UPDATE and PATCH: one path, made again of the newer object where that may be
//! (`registry/generic/registry/store.go: Update`, `registry/rest/update.go`).

use crate::change::Change;
use crate::codec;
use crate::decode::Form;
use crate::limits::{MAX_PATCH_TRIES, MAX_WRITE_TRIES};
use crate::metadata;
use crate::reply::Reply;
use crate::scale;
use crate::write::{Outcome, Writing};
use admission::Operation;
use bytes::Bytes;
use meta::{FieldError, FieldPath, Object, Status};
use registry::{Action, ScalePaths, Update};
use std::sync::Arc;
use store::{Entry, Expect, Write};

/// Which part of the object a request is about.
#[derive(Clone)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// What a subresource may change.
    Of(&'static Update),
    /// Its replicas.
    Scale(ScalePaths),
}

impl Part {
    /// The part that a subresource's action means.
    pub(crate) fn of(action: &Action) -> Option<Self> {
        match action {
            Action::Update(update) => Some(Self::Of(update)),
            Action::Scale(paths) => Some(Self::Scale(paths.clone())),
            Action::Special => None,
        }
    }

    fn update(&self) -> Option<&'static Update> {
        match self {
            Self::Of(update) => Some(update),
            _ => None,
        }
    }
}

/// How one try ended.
enum Tried {
    Answer(Reply),
    Again,
}

impl Writing<'_> {
    /// PUT.
    pub(crate) async fn replace(mut self, body: &Bytes, part: Part) -> Result<Reply, Status> {
        let form = match &part {
            Part::Scale(_) => scale::form(),
            _ => Form::of(&self.served),
        };
        let mut object = self.decode(body, &form)?;
        if object.metadata.name.is_empty() {
            let name = &self.request.info.name;
            return Err(Status::bad_request(format!(
                "the name of the object ({name} based on URL) was undeterminable: name must be provided"
            )));
        }
        self.fit_name(&mut object)?;
        self.change(Change::Replace(Box::new(object)), part).await
    }

    /// Makes the change, again and again while others write and it isn't bound to a revision.
    pub(crate) async fn change(mut self, change: Change, part: Part) -> Result<Reply, Status> {
        let tries = if change.is_patch() { MAX_PATCH_TRIES } else { MAX_WRITE_TRIES };
        let known = self.warnings.len();
        let key = self.key(&self.request.info.name)?;
        for _ in 0..tries {
            self.warnings.truncate(known);
            let tried = match self.server.store.get(&key) {
                Some(entry) => self.update_once(&change, &part, &key, &entry).await?,
                None => self.create_by_update(&change, &part).await?,
            };
            if let Tried::Answer(reply) = tried {
                return Ok(reply);
            }
        }
        let kind = &self.served.kind;
        Err(Status::stale(&kind.group, &kind.resource, &self.request.info.name))
    }

    /// PUT or apply of what isn't there.
    async fn create_by_update(&mut self, change: &Change, part: &Part) -> Result<Tried, Status> {
        let whole = matches!(part, Part::Whole);
        let may = whole
            && (change.is_apply() || (!change.is_patch() && self.served.kind.strategy.create_on_update));
        let name = self.request.info.name.clone();
        if !may {
            return Err(self.served.not_found(&name));
        }
        let served = self.served.clone();
        let mut object = self.changed(change, &Form::of(&served), None)?;
        if !object.metadata.uid.is_empty() {
            let (group, resource) = (&served.kind.group, &served.kind.resource);
            let uid = &object.metadata.uid;
            let why = match change.is_apply() {
                true => format!(
                    "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                ),
                false => format!("Precondition failed: UID in precondition: {uid}, UID in object meta: "),
            };
            return Err(Status::conflict(group, resource, &name, &why));
        }
        if !change.is_apply() && !object.metadata.resource_version.is_empty() {
            return Err(served.not_found(&name));
        }
        object.metadata.resource_version.clear();
        self.fit_name(&mut object)?;
        self.may_create()?;
        let object = self.begin_create(object, !change.is_apply())?;
        Ok(self.store_new(object).await?.map_or(Tried::Again, Tried::Answer))
    }

    /// An update that creates needs the right to create (`withAuthorization` in `patch.go` and `update.go`).
    fn may_create(&self) -> Result<(), Status> {
        let attributes = meta::Attributes { verb: "create".into(), ..self.request.attributes() };
        self.server.authorizer().require(&attributes)
    }

    fn fit_name(&self, object: &mut Object) -> Result<(), Status> {
        let name = &self.request.info.name;
        if object.metadata.name.is_empty() {
            object.metadata.name.clone_from(name);
        }
        if object.metadata.name != *name {
            return Err(Status::bad_request(format!(
                "the name of the object ({}) does not match the name on the URL ({name})",
                object.metadata.name
            )));
        }
        self.fit_namespace(object)
    }

    async fn update_once(
        &mut self,
        change: &Change,
        part: &Part,
        key: &str,
        entry: &Arc<Entry>,
    ) -> Result<Tried, Status> {
        let old = codec::decode(&self.served.clone(), entry)?;
        let (mut new, bound) = self.wanted(change, part, &old)?;
        new = self.prepare_update(change, part, new, &old)?;
        let charge = self.admit(Operation::Update, Some(&new), Some(&old))?;
        let dry_run = self.options.dry_run;
        let lease = self.server.reserve(&self.served, &mut new, Some(&old), dry_run)?;
        if dry_run {
            return self.answer_part_object(part, &new).map(Tried::Answer);
        }
        let delete = is_finished(&new, &old);
        if new == old && !delete {
            return self.answer_part(part, entry).map(Tried::Answer);
        }
        self.charge(&charge).await?;
        let encoded = self.server.encode(&self.served, &new)?;
        let write = if delete { Write::Delete(Some(encoded)) } else { Write::Put(encoded) };
        match self.server.commit(key, Expect::Revision(entry.revision), write).await? {
            Outcome::Done(done) => {
                lease.keep();
                match delete {
                    true => self.server.after_delete(&self.served, &new).await,
                    false => self.server.after_write(&self.served, &new).await,
                }
                self.answer_part(part, &done.entry).map(Tried::Answer)
            }
            Outcome::Moved if bound => Err(self.stale(&old)),
            Outcome::Moved => Ok(Tried::Again),
        }
    }

    fn stale(&self, old: &Object) -> Status {
        let kind = &self.served.kind;
        Status::stale(&kind.group, &kind.resource, &old.metadata.name)
    }

    /// The object that the change wants, and whether it is bound to the revision that it was made of.
    fn wanted(&mut self, change: &Change, part: &Part, old: &Object) -> Result<(Object, bool), Status> {
        let mut new = match (part, change) {
            // Its replicas are the object's own, and so are their owners.
            (Part::Scale(paths), Change::Apply(patch)) => {
                let patch = scale::applied(paths, patch, old)?;
                self.changed(&Change::Apply(patch), &Form::of(&self.served), Some(old))?
            }
            (Part::Scale(paths), _) => {
                let shown = scale::show(paths, old);
                let wanted = self.changed(change, &scale::form(), Some(&shown))?;
                self.check_revision(change, &wanted, old)?;
                scale::write(paths, &wanted, old)?
            }
            _ => self.changed(change, &Form::of(&self.served), Some(old))?,
        };
        let bound = self.check_revision(change, &new, old)?;
        self.fit_name(&mut new)?;
        if !new.metadata.uid.is_empty() && new.metadata.uid != old.metadata.uid {
            if change.is_patch() {
                let path = FieldPath::new("metadata.uid");
                let fault = FieldError::invalid(&path, new.metadata.uid.as_str(), "field is immutable");
                let gk = self.served.group_kind();
                return Err(Status::invalid(&gk.group, &gk.kind, &old.metadata.name, &[fault]));
            }
            let why = format!(
                "Precondition failed: UID in precondition: {}, UID in object meta: {}",
                new.metadata.uid, old.metadata.uid
            );
            let kind = &self.served.kind;
            return Err(Status::conflict(&kind.group, &kind.resource, &old.metadata.name, &why));
        }
        new.metadata.resource_version.clone_from(&old.metadata.resource_version);
        Ok((new, bound))
    }

    fn check_revision(&self, change: &Change, new: &Object, old: &Object) -> Result<bool, Status> {
        let version = &new.metadata.resource_version;
        // 0 is no revision, and the one of a Scale needn't be named.
        if version.is_empty() || version == "0" {
            let part = self.request.info.subresource.as_str();
            if change.is_patch() || part == "scale" || self.served.kind.strategy.unconditional_update {
                return Ok(false);
            }
            let path = FieldPath::new("metadata.resourceVersion");
            let fault = FieldError::invalid(&path, 0, "must be specified for an update");
            let kind = &self.served.kind;
            return Err(Status::invalid(&kind.group, &kind.resource, &old.metadata.name, &[fault]));
        }
        match *version == old.metadata.resource_version {
            true => Ok(!change.is_patch()),
            false => Err(self.stale(old)),
        }
    }

    /// Defaults, ownership, mutating admission, strategy and validation.
    fn prepare_update(
        &mut self,
        change: &Change,
        part: &Part,
        mut new: Object,
        old: &Object,
    ) -> Result<Object, Status> {
        let served = self.served.clone();
        keep_system_fields(&mut new, old);
        served.kind.default(&mut new);
        self.dedup_owners(&mut new);
        if !change.is_apply() {
            self.track(Some(old), &mut new);
        }
        let mut new = self.mutate(Operation::Update, new, Some(old))?;
        keep_system_fields(&mut new, old);
        self.dedup_owners(&mut new);
        served.kind.prepare_for_update(part.update(), &mut new, old, &self.context());
        self.server.prepare(&served, &mut new, Some(old));
        let mut faults = metadata::validate_update(&new.metadata, &old.metadata);
        faults.extend(served.kind.validate_update(part.update(), &new, old));
        if let Some(model) = &served.model {
            faults.extend(model.validate_update(&new, old));
        }
        self.refuse(&new, faults)?;
        if part.update().is_none() {
            self.warnings.extend((served.kind.strategy.warnings)(&new, Some(old)));
            (served.kind.strategy.canonicalize)(&mut new);
        }
        Ok(new)
    }

    fn answer_part(&self, part: &Part, entry: &Entry) -> Result<Reply, Status> {
        match part {
            Part::Scale(_) => self.answer_part_object(part, &codec::decode(&self.served, entry)?),
            _ => self.answer(200, entry),
        }
    }

    fn answer_part_object(&self, part: &Part, object: &Object) -> Result<Reply, Status> {
        match part {
            Part::Scale(paths) => self.answer_object(200, &scale::show(paths, object)),
            _ => self.answer_object(200, object),
        }
    }
}

/// What an update can't change: the server put it there.
fn keep_system_fields(new: &mut Object, old: &Object) {
    let (n, o) = (&mut new.metadata, &old.metadata);
    n.uid.clone_from(&o.uid);
    n.creation_timestamp = o.creation_timestamp;
    n.generation = o.generation;
    n.self_link.clear();
    if o.deletion_timestamp.is_some() {
        n.deletion_timestamp = o.deletion_timestamp;
    }
    if n.deletion_grace_period_seconds.is_none() {
        n.deletion_grace_period_seconds = o.deletion_grace_period_seconds;
    }
    if n.generate_name.is_empty() {
        n.generate_name.clone_from(&o.generate_name);
    }
}

/// Whether a deleted object has nothing left that holds it (`ShouldDeleteDuringUpdate`).
fn is_finished(new: &Object, old: &Object) -> bool {
    let graceless = old.metadata.deletion_grace_period_seconds.unwrap_or(0) == 0;
    old.metadata.is_deleting() && graceless && !is_held(new)
}

/// Whether finalizers hold the object. A namespace has its own beside those of its metadata.
pub(crate) fn is_held(object: &Object) -> bool {
    let own = object.get(&["spec", "finalizers"]).and_then(|v| v.as_array()).is_some_and(|a| !a.is_empty());
    !object.metadata.finalizers.is_empty()
        || (object.kind == "Namespace" && object.api_version == "v1" && own)
}
