//! What an update or a patch makes of the object that is there: a value, so that it can be made again of a newer one.

use crate::accept::{media_type, unsupported};
use crate::decode;
use crate::decode::Form;
use crate::model::Applying;
use crate::query::FieldValidation;
use crate::write::Writing;
use bytes::Bytes;
use meta::decode::Decoded;
use meta::patch::{JsonPatch, merge_patch};
use meta::{FieldError, FieldPath, Object, Reason, Status};
use serde_json::Value;

/// The media types of patches.
const PATCH_TYPES: [&str; 5] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
    "application/apply-patch+cbor",
    "application/strategic-merge-patch+json",
];

/// A wanted change.
#[derive(Debug)]
pub(crate) enum Change {
    /// PUT: this object.
    Replace(Box<Object>),
    /// RFC 6902.
    Json(JsonPatch),
    /// RFC 7396.
    Merge(Decoded),
    /// A merge patch that knows list keys.
    Strategic(Decoded),
    /// Server-side apply.
    Apply(Value),
}

impl Change {
    /// Whether the change may be made again of a newer object, however often that takes.
    pub(crate) fn is_patch(&self) -> bool {
        !matches!(self, Self::Replace(_))
    }

    /// Whether it creates what isn't there.
    pub(crate) fn is_apply(&self) -> bool {
        matches!(self, Self::Apply(_))
    }
}

impl Writing<'_> {
    /// Reads a patch in the type that its headers name.
    pub(crate) fn patch(&mut self, body: &Bytes, form: &Form) -> Result<Change, Status> {
        let media = media_type(&self.request.headers);
        let apply = media.starts_with("application/apply-patch");
        self.check_patch_options(apply)?;
        match media.as_str() {
            "application/json-patch+json" => {
                let Decoded { value, strict } = patch_json(body).map_err(undecoded)?;
                let mut patch = JsonPatch::parse(value)?;
                let strict = strict.into_iter().map(|fault| format!("json patch {fault}"));
                patch.strict.splice(0..0, strict);
                Ok(Change::Json(patch))
            }
            "application/merge-patch+json" => patch_json(body).map(Change::Merge).map_err(undecoded),
            "application/strategic-merge-patch+json" if self.served.custom.is_none() => {
                patch_json(body).map(Change::Strategic).map_err(Status::bad_request)
            }
            "application/apply-patch+yaml" => {
                let Decoded { value, strict } = decode::yaml(body)?;
                self.strict(strict, form)?;
                Ok(Change::Apply(value))
            }
            // What no kind reads is refused before anybody looks at the kind.
            other if !PATCH_TYPES.contains(&other) && self.served.custom.is_none() => Err(Status {
                details: serde_json::json!({}),
                ..Status::new(Reason::UnsupportedMediaType, "415: Unsupported Media Type")
            }),
            other => {
                let custom = self.served.custom.is_some();
                let offered =
                    PATCH_TYPES.iter().filter(|t| !(t.contains("cbor") || custom && t.contains("strategic")));
                Err(unsupported(other, &offered.copied().collect::<Vec<_>>()))
            }
        }
    }

    /// `ValidatePatchOptions` of `apis/meta/v1/validation`.
    fn check_patch_options(&self, apply: bool) -> Result<(), Status> {
        let mut errors = Vec::new();
        if apply && self.options.field_manager.is_empty() {
            errors.push(FieldError::required(&FieldPath::new("fieldManager"), "is required for apply patch"));
        }
        if !apply && self.options.force.is_some() {
            errors.push(FieldError::forbidden(
                &FieldPath::new("force"),
                "may not be specified for non-apply patch",
            ));
        }
        match errors.is_empty() {
            true => Ok(()),
            false => Err(Status::invalid("meta.k8s.io", "PatchOptions", "", &errors)),
        }
    }

    /// What the change makes of `current`, decoded as `served` (the kind itself, or what a subresource shows).
    pub(crate) fn changed(
        &mut self,
        change: &Change,
        form: &Form,
        current: Option<&Object>,
    ) -> Result<Object, Status> {
        match (change, current) {
            (Change::Replace(object), _) => Ok((**object).clone()),
            (Change::Apply(patch), _) => self.applied(patch, form, current),
            (_, None) => Err(self.served.not_found(&self.request.info.name)),
            (Change::Json(patch), Some(current)) => {
                let mut document = current.to_value();
                patch.apply(&mut document)?;
                let shown = document.to_string();
                self.patched(document, form, &patch.strict, &shown)
            }
            (Change::Merge(patch), Some(current)) => {
                let mut document = current.to_value();
                merge_patch(&mut document, &patch.value)?;
                let shown = document.to_string();
                self.patched(document, form, &patch.strict, &shown)
            }
            (Change::Strategic(patch), Some(current)) => {
                let document = strategic(form, &current.to_value(), &patch.value)?;
                self.patched(document, form, &patch.strict, &schema::go_text(&patch.value))
            }
        }
    }

    /// The object out of a patched document; its faults are faults of the patch, which is `shown` in them. `strict` is
    /// what strict decoding objects to in the patch itself.
    fn patched(
        &mut self,
        document: Value,
        form: &Form,
        strict: &[String],
        shown: &str,
    ) -> Result<Object, Status> {
        let invalid = |why: &str| {
            let fault = FieldError::invalid(&FieldPath::new("patch"), shown, why);
            Status::invalid("", "", "", &[fault])
        };
        let (object, unknown) = form.read(document).map_err(|e| invalid(form.bare(&e.message)))?;
        let objections = [strict, &unknown].concat();
        match self.options.validation {
            FieldValidation::Strict if !objections.is_empty() => {
                Err(invalid(&format!("strict decoding error: {}", objections.join(", "))))
            }
            FieldValidation::Ignore => Ok(object),
            _ => {
                self.warnings.extend(objections);
                Ok(object)
            }
        }
    }

    /// Server-side apply.
    fn applied(&mut self, patch: &Value, form: &Form, current: Option<&Object>) -> Result<Object, Status> {
        let Some(model) = form.model.clone() else {
            return Err(unsupported("application/apply-patch+yaml", &PATCH_TYPES[..2]));
        };
        let wanted = patch.clone();
        form.check_applied(&wanted)?;
        if wanted["metadata"]["managedFields"].as_array().is_some_and(|a| !a.is_empty()) {
            return Err(Status::bad_request("metadata.managedFields must be nil"));
        }
        let how = Applying {
            kind: &self.served.kind,
            manager: &self.options.field_manager,
            force: self.options.force.unwrap_or(false),
            subresource: &self.request.info.subresource,
            now: self.now,
        };
        let mut merged = model.apply(current, wanted, &how)?;
        model.default(&mut merged);
        Object::from_value(merged).map_err(|e| form.unfit(e))
    }
}

fn patch_json(body: &Bytes) -> Result<Decoded, String> {
    meta::decode::json(body).map_err(|e| meta::json_fault::find(body).unwrap_or_else(|| e.to_string()))
}

fn undecoded(why: String) -> Status {
    Status::bad_request(format!("error decoding patch: {why}"))
}

fn strategic(form: &Form, current: &Value, patch: &Value) -> Result<Value, Status> {
    let Some(model) = &form.model else {
        return Err(unsupported("application/strategic-merge-patch+json", &PATCH_TYPES[..3]));
    };
    model.strategic(current, patch)
}
