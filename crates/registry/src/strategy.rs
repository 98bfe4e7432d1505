//! What a kind does on writes: plain functions over objects, each with a default.
//!
//! The order on a write is: schema defaults, [`Kind::default`], mutating admission, [`Kind::prepare_for_create`] or
//! [`Kind::prepare_for_update`], [`Kind::validate`] (and [`Kind::validate_update`]), validating admission, commit. A
//! write to a part of the object (`status` ...) takes the part's [`Update`] in place of the kind's.
//! Upstream: `k8s.io/apiserver/pkg/registry/rest/{create,update,delete}.go`.

use crate::kind::Kind;
use crate::validate::metadata::validate_metadata;
use meta::{FieldError, FieldPath, Object, UserInfo};
use serde_json::{Map, Value};

/// Who writes, and when: all that a strategy may know beside the object.
#[derive(Clone, Debug)]
pub struct Context {
    /// The time of the request.
    pub now: jiff::Timestamp,
    /// The authenticated user.
    pub user: UserInfo,
}

impl Context {
    /// A context of nobody in particular at `now`.
    pub fn at(now: jiff::Timestamp) -> Self {
        Self { now, user: UserInfo::default() }
    }
}

/// How an update of the whole object, or of one part of it, is made and checked.
pub struct Update {
    /// Puts back what this update may not change.
    pub prepare: fn(new: &mut Object, old: &Object, &Context),
    /// What is wrong with the change; is called beside [`Strategy::validate`] for the whole object, alone for a part.
    pub validate: fn(new: &Object, old: &Object) -> Vec<FieldError>,
    /// Whether `metadata.generation` goes up where something beside metadata and status changed.
    pub counts_generation: bool,
}

/// What happens to the dependents of a deleted object where the request doesn't say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependents {
    /// They are deleted (background).
    Delete,
    /// They are orphaned.
    Orphan,
}

/// Behaviour of a kind on writes.
pub struct Strategy {
    /// Fills in what the schema's defaults can't say.
    pub default: fn(&mut Object),
    /// Sets what only the server may set on a new object.
    pub prepare_for_create: fn(&mut Object, &Context),
    /// The update of the whole object.
    pub update: Update,
    /// What is wrong with the object, new or changed.
    pub validate: fn(&Object) -> Vec<FieldError>,
    /// What is wrong with it only because it is new.
    pub validate_create: fn(&Object) -> Vec<FieldError>,
    /// Last touches on an object that is valid, before it is committed.
    pub canonicalize: fn(&mut Object),
    /// Warnings for the client, for a create (`old` is none) or an update.
    pub warnings: fn(new: &Object, old: Option<&Object>) -> Vec<String>,
    /// Seconds of grace of a deletion, from the object and what the request asked for. None: the kind knows no grace
    /// and goes at once.
    pub grace: fn(&Object, requested: Option<i64>) -> Option<i64>,
    /// Faults of the name, beside being set; the default takes path segments.
    pub validate_name: fn(name: &str, generate: bool) -> Vec<String>,
    /// PUT of an absent object creates it.
    pub create_on_update: bool,
    /// PUT without a `resourceVersion` overwrites.
    pub unconditional_update: bool,
    /// What happens to dependents by default.
    pub dependents: Dependents,
}

/// Changes nothing, forbids nothing.
pub(crate) const WHOLE: Update =
    Update { prepare: |_, _, _| {}, validate: |_, _| Vec::new(), counts_generation: true };

/// A strategy with all defaults.
pub const PLAIN: Strategy = Strategy {
    default: |_| {},
    prepare_for_create: |_, _| {},
    update: WHOLE,
    validate: |_| Vec::new(),
    validate_create: |_| Vec::new(),
    canonicalize: |_| {},
    warnings: |_, _| Vec::new(),
    grace: |_, _| None,
    validate_name: crate::names::dns_subdomain,
    create_on_update: false,
    unconditional_update: true,
    dependents: Dependents::Delete,
};

/// The strategy of custom resources: as [`PLAIN`], but an update needs a `resourceVersion`
/// (`k8s.io/apiextensions-apiserver/pkg/registry/customresource/strategy.go`).
pub static CUSTOM: Strategy = Strategy { unconditional_update: false, ..PLAIN };

/// The `status` part: of the new object only `status` and metadata count.
pub(crate) const STATUS_PART: Update =
    Update { prepare: keep_all_but_status, validate: |_, _| Vec::new(), counts_generation: false };

/// [`STATUS_PART`] for kinds that add nothing to it.
pub static STATUS: Update = STATUS_PART;

/// The `status` part of custom resources: metadata is kept too.
pub static CUSTOM_STATUS: Update = Update {
    prepare: |new, old, _| {
        keep_all_but_status(new, old, &Context::at(jiff::Timestamp::UNIX_EPOCH));
        let managed = std::mem::take(&mut new.metadata.managed_fields);
        let version = std::mem::take(&mut new.metadata.resource_version);
        new.metadata = old.metadata.clone();
        new.metadata.managed_fields = managed;
        new.metadata.resource_version = version;
    },
    validate: |_, _| Vec::new(),
    counts_generation: false,
};

/// Takes everything below the body but `status` from the old object.
pub(crate) fn keep_all_but_status(new: &mut Object, old: &Object, _: &Context) {
    let status = new.body.remove("status");
    new.body = old.body.clone();
    put(&mut new.body, "status", status);
}

fn put(body: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    match value {
        Some(v) => body.insert(key.to_owned(), v),
        None => body.remove(key),
    };
}

/// Whether anything but metadata and status differs.
fn desired_state_differs(a: &Object, b: &Object) -> bool {
    let desired = |o: &Object| o.body.iter().filter(|(k, _)| *k != "status").count();
    desired(a) != desired(b) || a.body.iter().any(|(k, v)| k != "status" && b.body.get(k) != Some(v))
}

/// What the write path calls.
impl Kind {
    /// Fills in the defaults that the schema can't say. The schema's own come before.
    pub fn default(&self, object: &mut Object) {
        (self.strategy.default)(object);
    }

    /// Makes a new object ready: what only the server sets is reset or set.
    pub fn prepare_for_create(&self, object: &mut Object, context: &Context) {
        if self.has_status()
            && let Some(empty) = &self.empty_status
        {
            object.body.insert("status".into(), empty.clone());
        }
        object.metadata.generation = i64::from(self.counts_generation);
        (self.strategy.prepare_for_create)(object, context);
    }

    /// Makes an updated object ready; `part` is the subresource that was written, if it was one.
    pub fn prepare_for_update(
        &self,
        part: Option<&Update>,
        new: &mut Object,
        old: &Object,
        context: &Context,
    ) {
        new.metadata.generation = old.metadata.generation;
        if part.is_none() && self.has_status() {
            put(&mut new.body, "status", old.body.get("status").cloned());
        }
        let update = part.unwrap_or(&self.strategy.update);
        (update.prepare)(new, old, context);
        if self.counts_generation && update.counts_generation && desired_state_differs(new, old) {
            new.metadata.generation = old.metadata.generation + 1;
        }
    }

    fn validate_metadata(&self, object: &Object) -> Vec<FieldError> {
        // Definitions of custom kinds are checked by the general machinery, as those kinds themselves.
        let built_in = self.schema.starts_with("io.k8s.") && self.group != "apiextensions.k8s.io";
        validate_metadata(&object.metadata, self.namespaced, built_in)
    }

    /// What is wrong with a new object, beside its name ([`Kind::validate_name`]).
    pub fn validate(&self, object: &Object) -> Vec<FieldError> {
        let mut faults = self.validate_metadata(object);
        faults.extend((self.strategy.validate)(object));
        faults.extend((self.strategy.validate_create)(object));
        faults
    }

    /// What is wrong with a change; `part` is the subresource that was written, if it was one.
    pub fn validate_update(&self, part: Option<&Update>, new: &Object, old: &Object) -> Vec<FieldError> {
        let mut faults = self.validate_metadata(new);
        match part {
            Some(part) => faults.extend((part.validate)(new, old)),
            None => {
                faults.extend((self.strategy.validate)(new));
                for fault in (self.strategy.update.validate)(new, old) {
                    if !faults.contains(&fault) {
                        faults.push(fault);
                    }
                }
            }
        }
        faults
    }

    /// Faults of the object's name (`metadata.name`, or `metadata.generateName` where the name is still to be made).
    pub fn validate_name(&self, object: &Object) -> Vec<FieldError> {
        let m = &object.metadata;
        let (field, name, generate) = match m.name.is_empty() && !m.generate_name.is_empty() {
            true => ("generateName", &m.generate_name, true),
            false => ("name", &m.name, false),
        };
        let path = FieldPath::new("metadata").child(field);
        if name.is_empty() {
            return vec![FieldError::required(&path, "name or generateName is required")];
        }
        let invalid = |why| FieldError::invalid(&path, name.as_str(), why);
        (self.strategy.validate_name)(name, generate).into_iter().map(invalid).collect()
    }
}
