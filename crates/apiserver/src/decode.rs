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

/// Parses a body in the type that its headers name; `kind` is what it should hold.
pub(crate) fn parse(headers: &HeaderMap, body: &[u8], kind: &str) -> Result<Decoded, Status> {
    match body_type(headers)? {
        BodyType::Json => json(body, kind),
        BodyType::Yaml => yaml(body),
        BodyType::Protobuf => {
            let value = crate::protobuf::decode(body).map_err(Status::bad_request)?;
            Ok(Decoded { value, strict: Vec::new() })
        }
    }
}

/// What upstream's decoder reads first; it prints the type's source where something else stands there.
const TYPE_META: &str =
    r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;

/// Parses JSON.
fn json(body: &[u8], kind: &str) -> Result<Decoded, Status> {
    let why = match meta::decode::json(body) {
        Ok(decoded) => match decoded.value {
            Value::Object(_) | Value::Null => return Ok(decoded),
            Value::Array(_) => format!("json: cannot unmarshal array into Go value of type {TYPE_META}"),
            Value::String(_) => format!("json: cannot unmarshal string into Go value of type {TYPE_META}"),
            Value::Number(_) => format!("json: cannot unmarshal number into Go value of type {TYPE_META}"),
            Value::Bool(_) => format!("json: cannot unmarshal bool into Go value of type {TYPE_META}"),
        },
        Err(e) => meta::json_fault::find(body).unwrap_or_else(|| e.to_string()),
    };
    Err(Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: \
         {why} ({})",
        summary(body)
    )))
}

/// The beginning of a body that can't be read (`summarizeData`).
fn summary(body: &[u8]) -> String {
    const SHOWN: usize = 30;
    let head = &body[..body.len().min(SHOWN)];
    let more = if body.len() > SHOWN { " ..." } else { "" };
    match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(head).into_owned() + more,
        Some(_) => head.iter().map(|b| format!("{b:02x}")).collect::<String>() + more,
    }
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

    fn is_custom(&self) -> bool {
        self.model.as_ref().is_none_or(|m| m.is_custom())
    }

    /// A built-in type by its definition's name.
    pub(crate) fn named(api_version: &str, kind: &str, definition: &str) -> Self {
        let (api_version, kind) = (api_version.to_owned(), kind.to_owned());
        Self { api_version, kind, model: Model::named(definition) }
    }

    fn version(&self) -> &str {
        meta::gvk::parse_api_version(&self.api_version).1
    }

    /// What upstream puts before a reason why a document isn't of this kind.
    fn frame(&self) -> String {
        let (kind, version) = (&self.kind, self.version());
        format!("{kind} in version {version:?} cannot be handled as a {kind}: ")
    }

    /// 400 in upstream's frame.
    pub(crate) fn unfit(&self, why: impl std::fmt::Display) -> Status {
        Status::bad_request(format!("{}{why}", self.frame()))
    }

    /// The reason without the frame.
    pub(crate) fn bare<'a>(&self, message: &'a str) -> &'a str {
        message.strip_prefix(&self.frame()).unwrap_or(message)
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

    /// An applied configuration names its kind, and it is this one.
    pub(crate) fn check_applied(&self, value: &Value) -> Result<(), Status> {
        let found = match value {
            Value::Object(map) => map,
            Value::Null => &serde_json::Map::new(),
            other => {
                let kind = if other.is_array() { "array" } else { "string" };
                return Err(Status::bad_request(format!(
                    "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {kind} into \
                     Go value of type map[string]interface {{}}"
                )));
            }
        };
        let text = |key: &str| found.get(key).and_then(Value::as_str).unwrap_or_default();
        let (version, kind) = (text("apiVersion"), text("kind"));
        if version == self.api_version && kind == self.kind {
            return Ok(());
        }
        let (group, version) = meta::gvk::parse_api_version(version);
        Err(Status::bad_request(format!("invalid object type: {group}/{version}, Kind={kind}")))
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
        if version == self.api_version && kind == self.kind {
            return Ok(());
        }
        let (group, short) = meta::gvk::parse_api_version(version);
        let unfit = |why: String| {
            let wanted = &self.kind;
            Status::bad_request(format!("{kind} in version {short:?} cannot be handled as a {wanted}: {why}"))
        };
        let built_in =
            |group: &str, version: &str, kind: &str| registry::by_kind(group, version, kind).is_some();
        let (own_group, own_version) = meta::gvk::parse_api_version(&self.api_version);
        if built_in(own_group, own_version, &self.kind) && !built_in(group, short, kind) {
            return Err(unfit(format!(
                "no kind {kind:?} is registered for version {version:?} in scheme {SCHEME:?}"
            )));
        }
        if kind != self.kind && self.is_custom() && version == self.api_version {
            let path = meta::FieldPath::new("kind");
            let fault = meta::FieldError::invalid(&path, kind, format!("must be {}", self.kind));
            let name = map.get("metadata").and_then(|m| m.get("name")).and_then(Value::as_str);
            return Err(Status::invalid(group, kind, name.unwrap_or_default(), &[fault]));
        }
        if kind != self.kind {
            let hub = format!("{}.{}", package(own_group), self.kind);
            return Err(unfit(format!("converting ({short}.{kind}) to ({hub}): unknown conversion")));
        }
        Err(Status::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({})",
            self.api_version
        )))
    }
}

/// Where upstream keeps the list of its kinds; its errors say so.
const SCHEME: &str = "pkg/api/legacyscheme/scheme.go:30";

/// The package of upstream's own form of a group's kinds.
pub(crate) fn package(group: &str) -> &str {
    match group.split('.').next().unwrap_or_default() {
        "" | "events" => "core",
        first => first,
    }
}

impl Writing<'_> {
    /// The object in a body, with unknown fields gone and its faults reported.
    pub(crate) fn decode(&mut self, body: &[u8], form: &Form) -> Result<Object, Status> {
        let Decoded { value, strict: twice } = parse(&self.request.headers, body, &form.kind)?;
        let (object, unknown) = form.read(value)?;
        // Upstream reads typed JSON in one pass, all else first as a document.
        let typed = !form.is_custom() && body_type(&self.request.headers)? == BodyType::Json;
        let faults = if typed { [unknown, twice] } else { [twice, unknown] };
        self.strict(faults.concat(), form)?;
        Ok(object)
    }
}
