//! From an admitted request about a resource to what serves it.

use crate::accept::{Accepted, Shape};
use crate::catalog::Served;
use crate::codec;
use crate::decode::{Form, package};
use crate::filter::Filter;
use crate::list::{ListQuery, too_large};
use crate::query::{ListOptions, parse_revision};
use crate::render::{Include, Render};
use crate::reply::Reply;
use crate::scale;
use crate::server::ApiServer;
use crate::stage::Request;
use crate::update::Part;
use crate::watch::WatchQuery;
use crate::write::Writing;
use bytes::Bytes;
use meta::{Reason, Status};
use registry::{Action, Subresource};
use std::sync::Arc;

/// 405 in upstream's words.
pub(crate) fn not_allowed() -> Status {
    let text = "the server does not allow this method on the requested resource";
    Status { details: serde_json::json!({}), ..Status::new(Reason::MethodNotAllowed, text) }
}

impl ApiServer {
    /// Serves a request about a resource.
    pub(crate) async fn resource(
        &self,
        request: &Request,
        accepted: Accepted,
        body: Bytes,
    ) -> Result<Reply, Status> {
        let info = &request.info;
        let served = self.catalog().find(&info.group, &info.version, &info.resource).cloned();
        let served = served.ok_or_else(Status::no_such_path)?;
        check_scope(&served, request)?;
        if !info.subresource.is_empty() {
            return self.subresource(request, &served, accepted, body).await;
        }
        if !served.kind.verbs.words().any(|v| v == info.verb) {
            return Err(not_allowed());
        }
        // One object is created in its list, and changed under its name.
        let is_named = !info.name.is_empty();
        if (info.verb == "create") == is_named && matches!(info.verb.as_str(), "create" | "update" | "patch")
        {
            return Err(not_allowed());
        }
        let warning = served.warning();
        match info.verb.as_str() {
            "get" => self.get(request, &served, accepted).map(|r| r.warn(&warning)),
            "list" if served.kind.stored.is_some() => {
                self.list(request, &served, accepted).map(|r| r.warn(&warning))
            }
            "watch" => self.watch(request, &served, accepted).map(|r| r.warn(&warning)),
            "create" if served.kind.stored.is_none() => {
                let accepted = Accepted::negotiate_whole(&request.headers, &info.query)?;
                self.answer_only(request, &served, accepted, &body).await
            }
            "create" => Writing::new(self, request, &served, accepted, "CreateOptions")?.create(&body).await,
            "update" => {
                Writing::new(self, request, &served, accepted, "UpdateOptions")?
                    .replace(&body, Part::Whole)
                    .await
            }
            "patch" => self.patch(request, &served, accepted, &body, Part::Whole).await,
            "delete" => Writing::new(self, request, &served, accepted, "DeleteOptions")?.delete(&body).await,
            "deletecollection" => {
                Writing::new(self, request, &served, accepted, "DeleteOptions")?
                    .delete_collection(&body)
                    .await
            }
            "list" => self
                .list_virtual(&self.render(request, &served, accepted)?, accepted)
                .map(|r| r.warn(&warning)),
            _ => Err(not_allowed()),
        }
    }

    async fn patch(
        &self,
        request: &Request,
        served: &Arc<Served>,
        accepted: Accepted,
        body: &Bytes,
        part: Part,
    ) -> Result<Reply, Status> {
        let mut writing = Writing::new(self, request, served, accepted, "PatchOptions")?;
        let form = match &part {
            Part::Scale(_) => scale::form(),
            _ => Form::of(served),
        };
        let change = writing.patch(body, &form)?;
        writing.change(change, part).await
    }

    async fn subresource(
        &self,
        request: &Request,
        served: &Arc<Served>,
        accepted: Accepted,
        body: Bytes,
    ) -> Result<Reply, Status> {
        let info = &request.info;
        let sub = served.kind.subresource(&info.subresource).ok_or_else(Status::no_such_path)?;
        // OPTIONS has no verb, and goes to whom it is for.
        let carried = info.subresource == "proxy" && request.method == http::Method::OPTIONS;
        if !carried && !sub.verbs.words().any(|v| v == info.verb) {
            return Err(not_allowed());
        }
        let Some(part) = Part::of(&sub.action) else {
            return self.special(request, served, accepted, &body).await;
        };
        match info.verb.as_str() {
            "get" => self.get_part(request, served, sub, accepted),
            "update" => {
                Writing::new(self, request, served, accepted, "UpdateOptions")?.replace(&body, part).await
            }
            "patch" => self.patch(request, served, accepted, &body, part).await,
            _ => Err(not_allowed()),
        }
    }

    fn render(&self, request: &Request, served: &Arc<Served>, accepted: Accepted) -> Result<Render, Status> {
        let include = Include::parse(request.info.query.text("includeObject"))?;
        Ok(Render { served: served.clone(), shape: accepted.shape, include, now: self.clock.now() })
    }

    /// GET of one object: the stored bytes.
    fn get(&self, request: &Request, served: &Arc<Served>, accepted: Accepted) -> Result<Reply, Status> {
        let info = &request.info;
        if served.kind.stored.is_none() {
            return self.get_virtual(&self.render(request, served, accepted)?, &info.name, accepted);
        }
        let wanted = parse_revision(info.query.text("resourceVersion"))?.unwrap_or(0);
        if wanted > self.store.revision() {
            return Err(too_large(wanted, self.store.revision()));
        }
        let key = served.kind.key(&info.namespace, &info.name).ok_or_else(Status::no_such_path)?;
        let entry = self.store.get(&key).ok_or_else(|| served.not_found(&info.name))?;
        let plain = accepted.shape == Shape::Whole && served.is_served_as_stored(entry.revision);
        if plain {
            return Ok(Reply::json(200, accepted, entry.bytes.clone()));
        }
        let mut out = Vec::with_capacity(entry.bytes.len());
        self.render(request, served, accepted)?.single(&entry, true, &mut out)?;
        Ok(Reply::json(200, accepted, out.into()))
    }

    fn get_part(
        &self,
        request: &Request,
        served: &Arc<Served>,
        sub: &Subresource,
        accepted: Accepted,
    ) -> Result<Reply, Status> {
        let Action::Scale(paths) = &sub.action else { return self.get(request, served, accepted) };
        let info = &request.info;
        let key = served.kind.key(&info.namespace, &info.name).ok_or_else(Status::no_such_path)?;
        let entry = self.store.get(&key).ok_or_else(|| served.not_found(&info.name))?;
        let shown = scale::show(paths, &codec::decode(served, &entry)?);
        Ok(Reply::json(200, accepted, codec::to_bytes(&shown)?))
    }

    fn list(&self, request: &Request, served: &Arc<Served>, accepted: Accepted) -> Result<Reply, Status> {
        check_list_shape(served, accepted)?;
        let mut options = ListOptions::parse(&request.info.query)?;
        if options.revision == Some(0)
            && options.continue_token.is_empty()
            && served.kind.resource != "events"
        {
            // Upstream's cache, which answers this for all but events, knows no pages.
            options.limit = 0;
        }
        let filter = Filter::parse(served, &options)?;
        let namespace = namespace_of(request, served);
        let query = ListQuery { store: &self.store, served, namespace, options: &options, filter: &filter };
        query.reply(self.render(request, served, accepted)?, accepted)
    }

    fn watch(&self, request: &Request, served: &Arc<Served>, accepted: Accepted) -> Result<Reply, Status> {
        let options = ListOptions::parse(&request.info.query)?;
        let filter = Filter::parse(served, &options)?;
        let namespace = namespace_of(request, served);
        let prefix = served.prefix(namespace).ok_or_else(Status::no_such_path)?;
        let one_name = filter.exact("metadata.name").unwrap_or(&request.info.name);
        let one_place = !one_name.is_empty() && (!served.kind.namespaced || !namespace.is_empty());
        let key = one_place.then(|| served.kind.key(namespace, one_name)).flatten();
        let query = WatchQuery {
            store: &self.store,
            clock: &self.clock,
            options: &options,
            prefix,
            key,
            filter,
            render: self.render(request, served, accepted)?,
        };
        Ok(query.open()?.reply(accepted))
    }
}

/// A list has metadata of its own, which is not what a client that asks for that of one object expects
/// (`asPartialObjectMetadata` of `endpoints/handlers/response.go`).
fn check_list_shape(served: &Served, accepted: Accepted) -> Result<(), Status> {
    if !(matches!(accepted.shape, Shape::Partial(_)) && accepted.one) {
        return Ok(());
    }
    let list = match served.custom {
        Some(_) => "unstructured.UnstructuredList".to_owned(),
        None => format!("{}.{}", package(&served.kind.group), served.kind.list_kind),
    };
    let why = format!("you requested PartialObjectMetadata, but the requested object is a list (*{list})");
    Err(Status::new(Reason::NotAcceptable, why))
}

/// The namespace to which a list is confined; none for kinds that have no namespace, whose own name may stand there.
fn namespace_of<'a>(request: &'a Request, served: &Served) -> &'a str {
    if served.kind.namespaced { &request.info.namespace } else { "" }
}

/// A path with a namespace reaches only what lives in namespaces (CVE-2019-11247), and an object in a namespace is
/// reached by no other path.
fn check_scope(served: &Served, request: &Request) -> Result<(), Status> {
    let info = &request.info;
    let in_namespace = !info.namespace.is_empty() && info.resource != "namespaces";
    if !served.kind.namespaced && in_namespace {
        return Err(Status::no_such_path());
    }
    if served.kind.namespaced && info.namespace.is_empty() {
        return match info.verb.as_str() {
            "list" | "watch" => Ok(()),
            "create" if served.kind.stored.is_none() => Ok(()),
            "create" | "deletecollection" => Err(not_allowed()),
            _ => Err(Status::no_such_path()),
        };
    }
    Ok(())
}
