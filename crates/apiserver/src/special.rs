//! Subresources that do something of their own: binding, eviction, token, and the ones that are carried on to a node.

use crate::accept::Accepted;
use crate::catalog::Served;
use crate::codec;
use crate::decode::Form;
use crate::delete::DeleteOptions;
use crate::limits::MAX_WRITE_TRIES;
use crate::reply::{Reply, success};
use crate::server::ApiServer;
use crate::stage::Request;
use crate::write::{Outcome, Writing};
use admission::Operation;
use bytes::Bytes;
use meta::{Object, Reason, Status, Time};
use serde_json::{Value, json};
use std::sync::Arc;
use store::{Entry, Expect, Write};

impl ApiServer {
    /// Serves a subresource by its name.
    pub(crate) async fn special(
        &self,
        request: &Request,
        served: &Arc<Served>,
        accepted: Accepted,
        body: &Bytes,
    ) -> Result<Reply, Status> {
        let info = &request.info;
        let writing = || Writing::new(self, request, served, accepted, "CreateOptions");
        match (info.resource.as_str(), info.subresource.as_str()) {
            ("pods", "binding") => writing()?.bind(body).await,
            ("pods", "eviction") => writing()?.evict(body).await,
            ("serviceaccounts", "token") => writing()?.token(body),
            ("pods", "log" | "exec" | "attach" | "portforward" | "proxy")
            | ("nodes", "proxy")
            | ("services", "proxy") => self.connect(request, served),
            _ => Err(Status::no_such_path()),
        }
    }

    /// Changes a stored object without admission: what the server itself decides. The change is made again of a newer
    /// object until it is stored.
    pub(crate) async fn modify(
        &self,
        served: &Served,
        key: &str,
        name: &str,
        change: impl Fn(&mut Object) -> Result<(), Status>,
    ) -> Result<Arc<Entry>, Status> {
        for _ in 0..MAX_WRITE_TRIES {
            let entry = self.store.get(key).ok_or_else(|| served.not_found(name))?;
            let mut object = codec::decode(served, &entry)?;
            change(&mut object)?;
            let encoded = self.encode(served, &object)?;
            if let Outcome::Done(done) =
                self.commit(key, Expect::Revision(entry.revision), Write::Put(encoded)).await?
            {
                return Ok(done.entry);
            }
        }
        Err(Status::stale(&served.kind.group, &served.kind.resource, name))
    }
}

fn created(accepted: Accepted, warnings: &[String]) -> Reply {
    let mut v = success(Value::Null);
    v["code"] = 201.into();
    Reply::value(201, accepted, &v).warn(warnings)
}

impl Writing<'_> {
    /// `pods/binding`: the scheduler puts a pod on a node (`pkg/registry/core/pod/storage/storage.go`).
    pub(crate) async fn bind(mut self, body: &Bytes) -> Result<Reply, Status> {
        let form = Form::named("v1", "Binding", "io.k8s.api.core.v1.Binding");
        let mut binding = self.decode(body, &form)?;
        self.fit_namespace(&mut binding)?;
        let name = match self.request.info.resource.as_str() {
            "bindings" => binding.metadata.name.clone(),
            _ => self.request.info.name.clone(),
        };
        if binding.metadata.name != name {
            return Err(Status::bad_request("name in URL does not match name in Binding object"));
        }
        let node = binding.str(&["target", "name"]).to_owned();
        if !matches!(binding.str(&["target", "kind"]), "" | "Node") || node.is_empty() {
            let path = meta::FieldPath::new("target.name");
            let fault = meta::FieldError::required(&path, "a pod is bound to a Node");
            return Err(Status::invalid("", "Binding", &name, &[fault]));
        }
        let catalog = self.server.catalog();
        let pods = catalog.find("", "v1", "pods").ok_or_else(Status::no_such_path)?.clone();
        self.admit(Operation::Create, Some(&binding), None)?;
        let key = pods.kind.key(&self.request.info.namespace, &name).ok_or_else(Status::no_such_path)?;
        if self.options.dry_run {
            return Ok(created(self.accepted, &self.warnings));
        }
        let now = Time::new(self.now);
        self.server.modify(&pods, &key, &name, |pod| assign(pod, &binding, &node, now)).await?;
        Ok(created(self.accepted, &self.warnings))
    }

    /// `serviceaccounts/token`.
    pub(crate) fn token(mut self, body: &Bytes) -> Result<Reply, Status> {
        let form = Form::named(
            "authentication.k8s.io/v1",
            "TokenRequest",
            "io.k8s.api.authentication.v1.TokenRequest",
        );
        let mut wanted = self.decode(body, &form)?;
        self.fit_namespace(&mut wanted)?;
        let account = self.existing(&self.request.info.name.clone())?;
        if let Some(model) = &form.model {
            self.track_as(model, None, &mut wanted);
        }
        self.admit(Operation::Create, Some(&wanted), None)?;
        let issuer = self.server.authenticator.issuer();
        let mut granted = issuer.grant(&account, wanted, &self.server.objects(), self.server.time())?;
        self.warnings.append(&mut granted.warnings);
        self.answer_object(201, &granted.object)
    }

    /// `pods/eviction`: a deletion that heeds disruption budgets (`pkg/registry/core/pod/storage/eviction.go`).
    pub(crate) async fn evict(mut self, body: &Bytes) -> Result<Reply, Status> {
        let form = Form::named("policy/v1", "Eviction", "io.k8s.api.policy.v1.Eviction");
        let eviction = self.decode(body, &form)?;
        let name = self.request.info.name.clone();
        if eviction.metadata.name != name {
            return Err(Status::bad_request("name in URL does not match name in Eviction object"));
        }
        let wanted = eviction.body.get("deleteOptions").cloned().unwrap_or(json!({}));
        let mut options = DeleteOptions::from_value(&wanted)?;
        self.options.dry_run |= options.dry_run;
        let pod = self.existing(&name)?;
        self.admit(Operation::Create, Some(&eviction), None)?;
        if !goes_freely(&pod) {
            self.charge_budget(&pod).await?;
        }
        if !self.options.dry_run {
            self.tell_of_disruption(&name, &mut options).await?;
        }
        self.delete_one(&name, &options).await?;
        Ok(created(self.accepted, &self.warnings))
    }

    /// Says on the pod that it goes because somebody evicts it: a Job's failure policy asks for that
    /// (`addConditionAndDeletePod`, KEP-3329).
    async fn tell_of_disruption(&self, name: &str, options: &mut DeleteOptions) -> Result<(), Status> {
        let key =
            self.served.kind.key(&self.request.info.namespace, name).ok_or_else(Status::no_such_path)?;
        let now = Time::new(self.now);
        let told = self.server.modify(&self.served, &key, name, |pod| {
            options.check(&self.served.kind, pod)?;
            disrupted(pod, now);
            Ok(())
        });
        let revision = told.await?.revision;
        options.follow(revision);
        Ok(())
    }

    /// Takes one disruption out of the pod's budget, or refuses.
    async fn charge_budget(&self, pod: &Object) -> Result<(), Status> {
        let m = &pod.metadata;
        let budgets = self.server.objects().list("policy", "poddisruptionbudgets", &m.namespace);
        let mut fitting = budgets.iter().filter(|b| covers(b, pod));
        let Some(budget) = fitting.next() else { return Ok(()) };
        if fitting.next().is_some() {
            return Err(Status::new(
                Reason::InternalError,
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
        let catalog = self.server.catalog();
        let served = catalog.find("policy", "v1", "poddisruptionbudgets").ok_or_else(Status::no_such_path)?;
        let (dry_run, now, name) = (self.options.dry_run, Time::new(self.now), budget.metadata.name.clone());
        if unready_may_go(budget, pod) {
            return Ok(());
        }
        if dry_run {
            return take_disruption(&mut (**budget).clone(), &m.name, now);
        }
        let key = served.kind.key(&m.namespace, &name).ok_or_else(Status::no_such_path)?;
        self.server.modify(served, &key, &name, |b| take_disruption(b, &m.name, now)).await?;
        Ok(())
    }
}

fn assign(pod: &mut Object, binding: &Object, node: &str, now: Time) -> Result<(), Status> {
    let name = pod.metadata.name.clone();
    let conflict = |why: String| Err(Status::conflict("", "pods/binding", &name, &why));
    let uid = &binding.metadata.uid;
    if !uid.is_empty() && *uid != pod.metadata.uid {
        return conflict(format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            pod.metadata.uid
        ));
    }
    if pod.metadata.is_deleting() {
        return conflict(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    if !pod.str(&["spec", "nodeName"]).is_empty() {
        return conflict(format!(
            "pod {name} is already assigned to node {:?}",
            pod.str(&["spec", "nodeName"])
        ));
    }
    if pod.get(&["spec", "schedulingGates"]).and_then(Value::as_array).is_some_and(|g| !g.is_empty()) {
        return conflict(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    pod.set(&["spec", "nodeName"], node.into());
    pod.metadata.annotations.extend(binding.metadata.annotations.clone());
    let scheduled = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": now.to_string()});
    let mut conditions =
        pod.get(&["status", "conditions"]).and_then(Value::as_array).cloned().unwrap_or_default();
    conditions.retain(|c| c["type"] != "PodScheduled");
    conditions.push(scheduled);
    pod.set(&["status", "conditions"], conditions.into());
    // Where it was to go is no news any more (`ClearingNominatedNodeNameAfterBinding`).
    pod.remove(&["status", "nominatedNodeName"]);
    Ok(())
}

/// Pods that run nowhere, or are going already, need no budget.
fn goes_freely(pod: &Object) -> bool {
    matches!(pod.str(&["status", "phase"]), "Succeeded" | "Failed" | "Pending") || pod.metadata.is_deleting()
}

/// Sets the condition DisruptionTarget, whoever else may have set it before.
fn disrupted(pod: &mut Object, now: Time) {
    let have = pod.get(&["status", "conditions"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let (before, mut conditions): (Vec<Value>, Vec<Value>) =
        have.into_iter().partition(|c| c["type"] == "DisruptionTarget");
    let since = before.iter().find(|c| c["status"] == "True").map(|c| c["lastTransitionTime"].clone());
    conditions.push(json!({
        "type": "DisruptionTarget", "status": "True",
        "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
        "lastProbeTime": null, "lastTransitionTime": since.unwrap_or_else(|| now.to_string().into()),
    }));
    pod.set(&["status", "conditions"], conditions.into());
}

fn covers(budget: &Object, pod: &Object) -> bool {
    let selector = budget.get(&["spec", "selector"]).and_then(|s| meta::LabelSelector::from_value(s).ok());
    selector.and_then(|s| s.selector().ok()).is_some_and(|s| s.matches(&pod.metadata.labels))
}

/// `unhealthyPodEvictionPolicy`: a pod that isn't ready may go if enough others are, or always.
fn unready_may_go(budget: &Object, pod: &Object) -> bool {
    let conditions = pod.get(&["status", "conditions"]).and_then(Value::as_array);
    let ready = conditions.is_some_and(|c| c.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"));
    let number = |field| budget.get(&["status", field]).and_then(Value::as_i64).unwrap_or(0);
    let enough = number("currentHealthy") >= number("desiredHealthy") && number("desiredHealthy") > 0;
    !ready && (budget.str(&["spec", "unhealthyPodEvictionPolicy"]) == "AlwaysAllow" || enough)
}

fn take_disruption(budget: &mut Object, pod: &str, now: Time) -> Result<(), Status> {
    let name = budget.metadata.name.clone();
    let number = |b: &Object, field| b.get(&["status", field]).and_then(Value::as_i64).unwrap_or(0);
    let refuse = |message: String, wait: Option<u64>| {
        let text = "Cannot evict pod as it would violate the pod's disruption budget.";
        let mut status = Status::new(Reason::TooManyRequests, text);
        status.details = json!({"causes": [{"reason": "DisruptionBudget", "message": message}]});
        if let Some(seconds) = wait {
            status.details["retryAfterSeconds"] = seconds.into();
        }
        Err(status)
    };
    if number(budget, "observedGeneration") < budget.metadata.generation {
        let message = format!("The disruption budget {name} is still being processed by the server.");
        return refuse(message, Some(10));
    }
    let allowed = number(budget, "disruptionsAllowed");
    if allowed < 0 {
        let why = "pdb disruptions allowed is negative";
        return Err(Status::forbidden("policy", "poddisruptionbudget", &name, why));
    }
    if allowed == 0 {
        let (needs, has) = (number(budget, "desiredHealthy"), number(budget, "currentHealthy"));
        return refuse(
            format!("The disruption budget {name} needs {needs} healthy pods and has {has} currently"),
            None,
        );
    }
    budget.set(&["status", "disruptionsAllowed"], (allowed - 1).into());
    budget.set(&["status", "disruptedPods", pod], now.to_string().into());
    Ok(())
}
