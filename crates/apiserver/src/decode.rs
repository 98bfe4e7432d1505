//! From a request's body to an object of the kind that the path is about.

use crate::accept::{BodyType, body_type};
use crate::catalog::Served;
use crate::model::Model;
use crate::write::Writing;
use http::HeaderMap;
use meta::decode::Decoded;
use meta::{Object, Status};
use serde_json::Value;
use std::sync::Arc;

/// Parses a body in the type that its headers name.
pub(crate) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Decoded, Status> {
    match body_type(headers)? {
        BodyType::Json => json(body),
        BodyType::Yaml => yaml(body),
        BodyType::Protobuf => {
            let value = crate::protobuf::decode(body).map_err(Status::bad_request)?;
            Ok(Decoded { value, strict: Vec::new() })
        }
    }
}

/// Parses JSON.
pub(crate) fn json(body: &[u8]) -> Result<Decoded, Status> {
    meta::decode::json(body).map_err(|e| {
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type JSON): couldn't get version/kind; json parse error: {e}"
        ))
    })
}

/// Parses YAML.
pub(crate) fn yaml(body: &[u8]) -> Result<Decoded, Status> {
    let text = std::str::from_utf8(body)
        .map_err(|e| Status::bad_request(format!("error converting YAML to JSON: {e}")))?;
    meta::yaml::decode(text).map_err(|e| Status::bad_request(e.to_string()))
}

/// What a document must be: the kind of the path, or what one of its subresources shows.
#[derive(Clone)]
pub(crate) struct Form {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) model: Option<Arc<Model>>,
}

impl Form {
    /// The kind itself.
    pub(crate) fn of(served: &Served) -> Self {
        let kind = &served.kind;
        Self { api_version: kind.api_version(), kind: kind.kind.to_string(), model: served.model.clone() }
    }

    /// A built-in type by its definition's name.
    pub(crate) fn named(api_version: &str, kind: &str, definition: &str) -> Self {
        let (api_version, kind) = (api_version.to_owned(), kind.to_owned());
        Self { api_version, kind, model: Model::named(definition) }
    }

    fn version(&self) -> &str {
        meta::gvk::parse_api_version(&self.api_version).1
    }

    /// 400 in upstream's frame.
    pub(crate) fn unfit(&self, why: impl std::fmt::Display) -> Status {
        let (kind, version) = (&self.kind, self.version());
        Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
    }

    /// Drops unknown fields, fills in defaults, and refuses what is of another type. The texts are what strict decoding
    /// objects to.
    pub(crate) fn read(&self, mut value: Value) -> Result<(Object, Vec<String>), Status> {
        self.check_type(&mut value)?;
        let mut unknown = Vec::new();
        if let Some(model) = &self.model {
            unknown = model.prune(&mut value).map_err(|why| self.unfit(why))?;
            model.default(&mut value);
        }
        let object = Object::from_value(value).map_err(|e| self.unfit(e))?;
        Ok((object, unknown))
    }

    /// Fills in `apiVersion` and `kind` where the document leaves them out.
    pub(crate) fn check_type(&self, value: &mut Value) -> Result<(), Status> {
        let Value::Object(map) = value else { return Err(self.unfit("the object is not a JSON object")) };
        for (key, wanted) in [("apiVersion", &self.api_version), ("kind", &self.kind)] {
            let slot = map.entry(key).or_insert(Value::Null);
            if slot.is_null() || slot == "" {
                *slot = wanted.as_str().into();
            }
        }
        let (version, kind) =
            (map["apiVersion"].as_str().unwrap_or_default(), map["kind"].as_str().unwrap_or_default());
        if version != self.api_version {
            return Err(Status::bad_request(format!(
                "the API version in the data ({version}) does not match the expected API version ({})",
                self.api_version
            )));
        }
        if kind != self.kind {
            return Err(Status::bad_request(format!(
                "{kind} in version {:?} cannot be handled as a {}: the kind in the data does not match the expected kind",
                self.version(),
                self.kind
            )));
        }
        Ok(())
    }
}

impl Writing<'_> {
    /// The object in a body, with unknown fields gone and its faults reported.
    pub(crate) fn decode(&mut self, body: &[u8], form: &Form) -> Result<Object, Status> {
        let Decoded { value, mut strict } = parse(&self.request.headers, body)?;
        let (object, unknown) = form.read(value)?;
        strict.extend(unknown);
        self.strict(strict, form)?;
        Ok(object)
    }
}
