//! The seam to `schema`: what a kind's schema does to its objects.

use meta::{FieldError, Object, Status};
use registry::Kind;
use schema::Schema;
use serde_json::Value;
use std::sync::Arc;

/// A kind's schema.
#[derive(Debug)]
pub(crate) struct Model {
    schema: Schema,
    custom: bool,
}

/// Who applies, and how.
pub(crate) struct Applying<'a> {
    pub(crate) kind: &'a Kind,
    pub(crate) manager: &'a str,
    pub(crate) force: bool,
    pub(crate) subresource: &'a str,
    pub(crate) now: jiff::Timestamp,
}

impl Model {
    /// The schema of a built-in kind.
    pub(crate) fn builtin(kind: &Kind) -> Option<Arc<Self>> {
        Self::named(&kind.schema)
    }

    /// A built-in definition.
    pub(crate) fn named(definition: &str) -> Option<Arc<Self>> {
        let schema = registry::openapi::schemas().get(definition)?;
        Some(Arc::new(Self { schema, custom: false }))
    }

    /// The schema of a custom kind's version.
    pub(crate) fn custom(openapi: &Value) -> Option<Arc<Self>> {
        let metadata = registry::openapi::schemas().get(OBJECT_META)?;
        Some(Arc::new(Self { schema: Schema::from_custom(openapi, &metadata), custom: true }))
    }

    /// Whether this is the schema of a custom kind.
    pub(crate) fn is_custom(&self) -> bool {
        self.custom
    }

    /// Takes unknown fields away, and names them: `unknown field "spec.foo"`. The error is about a wrong type.
    pub(crate) fn prune(&self, value: &mut Value) -> Result<Vec<String>, String> {
        if self.custom {
            schema::drop_nulls(&self.schema, value);
            return Ok(schema::prune_custom(&self.schema, value));
        }
        schema::decode(&self.schema, value)
    }

    /// Fills in the schema's defaults.
    pub(crate) fn default(&self, value: &mut Value) {
        schema::default(&self.schema, value);
    }

    /// What of a new object breaks the schema or its CEL rules. Built-in kinds are validated by their strategies, with
    /// upstream's own messages.
    pub(crate) fn validate(&self, object: &Object) -> Vec<FieldError> {
        self.judge(object, None)
    }

    /// What of a change breaks the schema or its CEL rules.
    pub(crate) fn validate_update(&self, new: &Object, old: &Object) -> Vec<FieldError> {
        self.judge(new, Some(old))
    }

    fn judge(&self, new: &Object, old: Option<&Object>) -> Vec<FieldError> {
        if !self.custom {
            return Vec::new();
        }
        let old = old.map(Object::to_value);
        schema::validate_change(&self.schema, &new.to_value(), old.as_ref())
    }

    /// Strategic merge patch.
    pub(crate) fn strategic(&self, current: &Value, patch: &Value) -> Result<Value, Status> {
        schema::strategic_merge(&self.schema, current, patch)
    }

    /// Writes down in `managedFields` whose fields these are.
    pub(crate) fn track(&self, live: Option<&Object>, object: &mut Object, how: &Applying<'_>) {
        let live = live.map(Object::to_value);
        let reset = self.reset(how);
        let writer = how.writer(&reset);
        object.metadata.managed_fields =
            schema::track_update(&self.schema, live.as_ref(), &object.to_value(), &writer);
    }

    /// Server-side apply.
    pub(crate) fn apply(
        &self,
        current: Option<&Object>,
        mut wanted: Value,
        how: &Applying<'_>,
    ) -> Result<Value, Status> {
        // Before unknown fields go: an applier is told of them, however strict it asked to be.
        schema::check_applied(&self.schema, &wanted)?;
        let pruned = match self.custom {
            true => self.prune(&mut wanted),
            false => schema::decode_applied(&self.schema, &mut wanted),
        };
        pruned.map_err(|why| schema::misfit(&wanted, &why))?;
        let live = current.map(Object::to_value);
        let reset = self.reset(how);
        let mut merged = schema::apply(&self.schema, live.as_ref(), &wanted, &how.writer(&reset), how.force)?;
        self.prune(&mut merged).map_err(Status::bad_request)?;
        Ok(merged)
    }

    /// The fields that nobody comes to own through this endpoint, as it resets them (upstream's `GetResetFields`).
    fn reset(&self, how: &Applying<'_>) -> Vec<&'static [&'static str]> {
        match how.subresource {
            // What is asked for never changes, and nobody owns it.
            "" if how.kind.kind == CSR && !self.custom => vec![&["spec"], &["status"]],
            "status" if how.kind.kind == CSR && !self.custom => vec![&["spec"], &["status", "conditions"]],
            "approval" => vec![&["spec"], &["status", "certificate"]],
            "" if how.kind.subresource("status").is_some() => vec![&["status"]],
            "status" if self.custom => vec![&["spec"], &["metadata"]],
            "status" => vec![&["spec"]],
            _ => Vec::new(),
        }
    }
}

impl Applying<'_> {
    fn writer<'w>(&'w self, reset: &'w [&'w [&'w str]]) -> schema::Writer<'w> {
        let (manager, subresource) = (self.manager, self.subresource);
        schema::Writer { manager, subresource, now: meta::Time::new(self.now), reset }
    }
}

const CSR: &str = "CertificateSigningRequest";
/// Definition of `metadata`.
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
