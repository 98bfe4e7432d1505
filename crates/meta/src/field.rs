//! Paths to fields and what can be wrong at them (`k8s.io/apimachinery/pkg/util/validation/field`).

use serde_json::Value;
use std::fmt;

/// A path such as `spec.containers[0].ports[1].name` or `metadata.labels[a/b]`, in the notation of upstream's
/// messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(String);

impl FieldPath {
    /// The path of one top-level field (dots in `name` are kept, so `new("spec.template")` works).
    pub fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The path of a field below this one.
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self::new(name) } else { Self(format!("{}.{name}", self.0)) }
    }

    /// The path of a list item below this one: `containers[2]`.
    pub fn index(&self, i: usize) -> Self {
        Self(format!("{}[{i}]", self.0))
    }

    /// The path of a map entry below this one: `labels[app]`.
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }

    /// The path as text; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "<nil>" } else { &self.0 })
    }
}

/// What kind of fault a [`FieldError`] is; the text is the `reason` of a `StatusCause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldErrorKind {
    /// `FieldValueRequired`
    Required,
    /// `FieldValueDuplicate`
    Duplicate,
    /// `FieldValueInvalid`
    Invalid,
    /// `FieldValueNotSupported`
    NotSupported,
    /// `FieldValueForbidden`
    Forbidden,
    /// `FieldValueNotFound`
    NotFound,
    /// `FieldValueTooLong`
    TooLong,
    /// `FieldValueTooMany`
    TooMany,
    /// `FieldValueTypeInvalid`
    TypeInvalid,
    /// `InternalError`
    Internal,
}

impl FieldErrorKind {
    /// The machine-readable reason of a `StatusCause`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::NotFound => "FieldValueNotFound",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not found",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
        }
    }
}

/// One fault of one field. Its text is upstream's: `spec.replicas: Invalid value: -1: must be greater than or
/// equal to 0`.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// What kind of fault.
    pub kind: FieldErrorKind,
    /// Where.
    pub path: FieldPath,
    /// The offending value, where the message shows it.
    pub value: Option<Value>,
    /// What is expected; may be empty.
    pub detail: String,
}

impl FieldError {
    fn make(kind: FieldErrorKind, path: &FieldPath, value: Option<Value>, detail: impl Into<String>) -> Self {
        Self { kind, path: path.clone(), value, detail: detail.into() }
    }

    /// A field that must be set isn't.
    pub fn required(path: &FieldPath, detail: impl Into<String>) -> Self {
        Self::make(FieldErrorKind::Required, path, None, detail)
    }

    /// A value that may stand only once stands again.
    pub fn duplicate(path: &FieldPath, value: impl Into<Value>) -> Self {
        Self::make(FieldErrorKind::Duplicate, path, Some(value.into()), "")
    }

    /// A value that the field can't have.
    pub fn invalid(path: &FieldPath, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::make(FieldErrorKind::Invalid, path, Some(value.into()), detail)
    }

    /// A value that the field can't have, whatever it is: the message doesn't show it.
    pub fn invalid_as_such(path: &FieldPath, detail: impl Into<String>) -> Self {
        Self::make(FieldErrorKind::Invalid, path, None, detail)
    }

    /// A value of the wrong type.
    pub fn type_invalid(path: &FieldPath, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::make(FieldErrorKind::TypeInvalid, path, Some(value.into()), detail)
    }

    /// A value outside an enumeration; `supported` in the order in which it is to be listed.
    pub fn not_supported(path: &FieldPath, value: impl Into<Value>, supported: &[&str]) -> Self {
        let list = supported.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>().join(", ");
        let detail = if list.is_empty() { String::new() } else { format!("supported values: {list}") };
        Self::make(FieldErrorKind::NotSupported, path, Some(value.into()), detail)
    }

    /// A field that may not be set or changed here.
    pub fn forbidden(path: &FieldPath, detail: impl Into<String>) -> Self {
        Self::make(FieldErrorKind::Forbidden, path, None, detail)
    }

    /// A reference to something that isn't there.
    pub fn not_found(path: &FieldPath, value: impl Into<Value>) -> Self {
        Self::make(FieldErrorKind::NotFound, path, Some(value.into()), "")
    }

    /// A string of more than `max` bytes. Upstream doesn't repeat the value.
    pub fn too_long(path: &FieldPath, max: usize) -> Self {
        Self::make(FieldErrorKind::TooLong, path, None, format!("may not be more than {max} bytes"))
    }

    /// A list of `actual` items where at most `max` may stand.
    pub fn too_many(path: &FieldPath, actual: usize, max: usize) -> Self {
        let value = Some(Value::from(actual));
        Self::make(FieldErrorKind::TooMany, path, value, format!("must have at most {max} items"))
    }

    /// The message without the path: what a `StatusCause` carries.
    pub fn body(&self) -> String {
        let head = match (&self.value, self.kind) {
            (Some(v), _) => format!("{}: {}", self.kind.text(), Self::show(v)),
            (None, _) => self.kind.text().to_owned(),
        };
        if self.detail.is_empty() { head } else { format!("{head}: {}", self.detail) }
    }

    fn show(v: &Value) -> String {
        match v {
            Value::Null => "null".to_owned(),
            Value::Object(map) if map.len() == 2 => {
                match (map.get("matchLabels"), map.get("matchExpressions")) {
                    // A label selector is shown in the order in which upstream's type has it.
                    (Some(labels), Some(all)) => {
                        format!("{{\"matchLabels\":{labels},\"matchExpressions\":{all}}}")
                    }
                    _ => v.to_string(),
                }
            }
            v => v.to_string(),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body())
    }
}
