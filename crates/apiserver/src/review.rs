//! Kinds that are asked and not stored: who is this, may they, what may I (`pkg/registry/authentication`,
//! `pkg/registry/authorization`), and the old component statuses.

use crate::accept::{Accepted, Shape};
use crate::catalog::Served;
use crate::decode::Form;
use crate::render::Render;
use crate::reply::Reply;
use crate::server::ApiServer;
use crate::stage::Request;
use crate::write::Writing;
use auth::Decision;
use bytes::Bytes;
use meta::{Attributes, FieldError, FieldPath, Object, ObjectMeta, Status, UserInfo};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

impl ApiServer {
    /// CREATE of a kind that only answers.
    pub(crate) async fn answer_only(
        &self,
        request: &Request,
        served: &Arc<Served>,
        accepted: Accepted,
        body: &Bytes,
    ) -> Result<Reply, Status> {
        let mut writing = Writing::new(self, request, served, accepted, "CreateOptions")?;
        if served.kind.kind == "Binding" {
            return writing.bind(body).await;
        }
        let mut object = writing.decode(body, &Form::of(served))?;
        writing.fit_namespace(&mut object)?;
        writing.track(None, &mut object);
        if served.kind.kind == "SelfSubjectReview" {
            object.metadata.creation_timestamp = Some(meta::Time::new(writing.now));
        }
        writing.admit(admission::Operation::Create, Some(&object), None)?;
        let status = match served.kind.kind.as_ref() {
            "TokenReview" => self.token_review(&object)?,
            "SelfSubjectReview" => json!({"userInfo": request.user.to_value()}),
            "SelfSubjectRulesReview" => {
                let status = self.rules_review(request, &object)?;
                // The answer is made anew: it doesn't say what was asked.
                object.metadata = meta::ObjectMeta::default();
                object.body.insert("spec".into(), json!({}));
                status
            }
            "SelfSubjectAccessReview" => self.access_review(&object, Some(&request.user))?,
            "SubjectAccessReview" | "LocalSubjectAccessReview" => self.access_review(&object, None)?,
            _ => return Err(Status::no_such_path()),
        };
        object.body.insert("status".into(), status);
        writing.answer_object(201, &object)
    }

    /// GET of a kind that isn't stored.
    pub(crate) fn get_virtual(
        &self,
        render: &Render,
        name: &str,
        accepted: Accepted,
    ) -> Result<Reply, Status> {
        let found = components(render)?.into_iter().find(|c| c.metadata.name == name);
        let found = found.ok_or_else(|| render.served.not_found(name))?;
        let answer = match render.shape {
            Shape::Table(_) => render.values(vec![found]),
            _ => found.into_value(),
        };
        Ok(Reply::value(200, accepted, &answer))
    }

    /// LIST of a kind that isn't stored.
    pub(crate) fn list_virtual(&self, render: &Render, accepted: Accepted) -> Result<Reply, Status> {
        Ok(Reply::value(200, accepted, &render.values(components(render)?)))
    }

    fn token_review(&self, review: &Object) -> Result<Value, Status> {
        let token = review.str(&["spec", "token"]);
        if token.is_empty() {
            return Err(Status::bad_request("token is required for TokenReview in authentication"));
        }
        let audiences: Vec<String> = strings(review.get(&["spec", "audiences"]));
        let now = self.time();
        Ok(match self.authenticator.review(token, &audiences, &self.objects(), now) {
            Ok(reviewed) => json!({"authenticated": true, "user": reviewed.user.to_value(),
                "audiences": reviewed.audiences}),
            Err(why) => json!({"user": {}, "error": why}),
        })
    }

    fn rules_review(&self, request: &Request, review: &Object) -> Result<Value, Status> {
        let namespace = review.str(&["spec", "namespace"]);
        if namespace.is_empty() {
            return Err(Status::bad_request("no namespace on request"));
        }
        Ok(self.authorizer().rules_review(&request.user, namespace))
    }

    fn access_review(&self, review: &Object, own: Option<&Arc<UserInfo>>) -> Result<Value, Status> {
        let user = match own {
            Some(user) => user.clone(),
            None => Arc::new(subject(review)),
        };
        check_access(review, own.is_none(), &user)?;
        let spec = |key: &str| review.get(&["spec", key]).filter(|v| !v.is_null());
        let attributes = match spec("resourceAttributes") {
            Some(v) => resource_attributes(&user, v),
            None => {
                let v = spec("nonResourceAttributes").cloned().unwrap_or_default();
                Attributes::non_resource(&user, text(&v, "verb"), text(&v, "path"))
            }
        };
        let decision = self.authorize(&attributes);
        let mut status = Map::new();
        status.insert("allowed".into(), decision.is_allowed().into());
        if matches!(decision, Decision::Deny(_)) {
            status.insert("denied".into(), true.into());
        }
        if !decision.reason().is_empty() {
            status.insert("reason".into(), decision.reason().into());
        }
        Ok(Value::Object(status))
    }
}

fn text<'a>(v: &'a Value, key: &str) -> &'a str {
    v.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn strings(v: Option<&Value>) -> Vec<String> {
    let list = v.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn subject(review: &Object) -> UserInfo {
    let extra: BTreeMap<String, Vec<String>> = review
        .get(&["spec", "extra"])
        .and_then(Value::as_object)
        .map(|m| m.iter().map(|(k, v)| (k.to_ascii_lowercase(), strings(Some(v)))).collect())
        .unwrap_or_default();
    UserInfo {
        name: review.str(&["spec", "user"]).to_owned(),
        uid: review.str(&["spec", "uid"]).to_owned(),
        groups: strings(review.get(&["spec", "groups"])),
        extra,
    }
}

fn resource_attributes(user: &Arc<UserInfo>, v: &Value) -> Attributes {
    let version = text(v, "version");
    Attributes {
        user: user.clone(),
        verb: text(v, "verb").to_owned(),
        group: text(v, "group").to_owned(),
        version: if version.is_empty() { "*" } else { version }.to_owned(),
        resource: text(v, "resource").to_owned(),
        subresource: text(v, "subresource").to_owned(),
        namespace: text(v, "namespace").to_owned(),
        name: text(v, "name").to_owned(),
        is_resource: true,
        ..Attributes::default()
    }
}

/// `ValidateSubjectAccessReview`, and what becomes of it for the other two kinds of reviews of access.
fn check_access(review: &Object, needs_subject: bool, user: &UserInfo) -> Result<(), Status> {
    let spec = |key: &str| review.get(&["spec", key]).filter(|v| !v.is_null());
    let mut errors = Vec::new();
    let path = |field: &str| FieldPath::new("spec").child(field);
    let non_resource =
        spec("nonResourceAttributes").map(|v| json!({"Path": text(v, "path"), "Verb": text(v, "verb")}));
    match (spec("resourceAttributes"), &non_resource) {
        (Some(_), Some(shown)) => errors.push(FieldError::invalid(
            &path("nonResourceAttributes"),
            shown.clone(),
            "cannot be specified in combination with resourceAttributes",
        )),
        (None, None) => errors.push(FieldError::invalid(
            &path("resourceAttributes"),
            Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )),
        _ => {}
    }
    if needs_subject && user.name.is_empty() && user.groups.is_empty() {
        let why = "at least one of user or group must be specified";
        errors.push(FieldError::invalid(&path("user"), "", why));
    }
    for field in ["fieldSelector", "labelSelector"] {
        let selector = review.get(&["spec", "resourceAttributes", field]).filter(|s| !s.is_null());
        let at = path("resourceAttributes").child(field);
        errors.extend(selector.and_then(|selector| check_selector(selector, &at)));
    }
    let local = review.kind == "LocalSubjectAccessReview";
    errors.extend(check_metadata(&review.metadata, local));
    if local {
        errors.extend(check_local(review, non_resource));
    }
    match errors.is_empty() {
        true => Ok(()),
        // Upstream names no kind here.
        false => Err(Status::invalid("authorization.k8s.io", "", "", &errors)),
    }
}

/// A review is nowhere, so it has no name.
fn check_metadata(metadata: &ObjectMeta, local: bool) -> Option<FieldError> {
    let mut bare = ObjectMeta { managed_fields: Vec::new(), ..metadata.clone() };
    if local {
        bare.namespace.clear();
    }
    let why = if local { "must be empty except for namespace" } else { "must be empty" };
    (bare != ObjectMeta::default())
        .then(|| FieldError::invalid(&FieldPath::new("metadata"), metadata.to_value(), why))
}

/// A selector has requirements, or is written out; not both.
fn check_selector(selector: &Value, at: &FieldPath) -> Option<FieldError> {
    let has = selector["requirements"].as_array().is_some_and(|r| !r.is_empty());
    match text(selector, "rawSelector") {
        "" if !has => {
            let why = format!("when {at} is specified, requirements or rawSelector is required");
            Some(FieldError::required(&at.child("requirements"), why))
        }
        raw if has && !raw.is_empty() => {
            let why = "may not specified at the same time as requirements";
            Some(FieldError::invalid(&at.child("rawSelector"), raw, why))
        }
        _ => None,
    }
}

/// A review of one namespace is about what lives there.
fn check_local(review: &Object, non_resource: Option<Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let wanted = review.str(&["spec", "resourceAttributes", "namespace"]);
    let has_resource = review.get(&["spec", "resourceAttributes"]).is_some_and(|v| !v.is_null());
    if has_resource && wanted != review.metadata.namespace {
        let path = FieldPath::new("spec.resourceAttributes.namespace");
        errors.push(FieldError::invalid(&path, wanted, "must match metadata.namespace"));
    }
    if let Some(shown) = non_resource {
        let path = FieldPath::new("spec.nonResourceAttributes");
        errors.push(FieldError::invalid(&path, shown, "disallowed on this kind of request"));
    }
    errors
}

/// All parts are one process, which is well if it answers at all. The only kind that is read and stored nowhere.
fn components(render: &Render) -> Result<Vec<Object>, Status> {
    if render.served.kind.kind != "ComponentStatus" {
        return Err(Status::no_such_path());
    }
    let healthy = json!([{"type": "Healthy", "status": "True", "message": "ok"}]);
    let component = |name: &str| {
        Object::from_value(json!({"kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name},
            "conditions": healthy}))
    };
    let names = ["controller-manager", "scheduler", "etcd-0"];
    names.into_iter().map(component).collect::<Result<_, _>>().map_err(Status::internal)
}
