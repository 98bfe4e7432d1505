//! ResourceQuota: a namespace uses no more than it may
//! (`k8s.io/apiserver/pkg/admission/plugin/resourcequota/controller.go`). The check and the count are one step:
//! the quota's new `status.used` is committed before the object is, with its revision as precondition.

mod usage;

use crate::json::{Resources, add, resources, spec, to_value};
use crate::{Operation, Plugin, Request, SideWrite, View};
use meta::quantity::Quantity;
use meta::quota::{has_scopes, takes_claim, takes_pod};
use meta::{Object, Status};
use serde_json::Value;
use usage::{Evaluator, Kind};

pub(crate) struct ResourceQuota;

impl Plugin for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    fn handles(&self, r: &Request) -> bool {
        !r.namespace.is_empty() && Evaluator::of(r).handles(r)
    }

    fn charge(&self, r: &Request, view: &dyn View) -> Result<Vec<SideWrite>, Status> {
        let quotas = view.list("", "resourcequotas", &r.namespace);
        let Some(object) = r.object.as_ref().filter(|_| !quotas.is_empty()) else { return Ok(Vec::new()) };
        let evaluator = Evaluator::of(r);
        let used = evaluator.usage(object);
        let negative: Vec<&str> =
            used.iter().filter(|(_, q)| q.signum() < 0).map(|(name, _)| name.as_str()).collect();
        if !negative.is_empty() {
            let names = negative.join(",");
            return Err(r.forbidden(format!("quota usage is negative for resource(s): {names}")));
        }
        let mut writes = Vec::new();
        for quota in &quotas {
            if let Some(object) = charge_one(r, &evaluator, quota, object, &used)? {
                writes.push(SideWrite { group: String::new(), resource: "resourcequotas".into(), object });
            }
        }
        Ok(writes)
    }
}

/// The quota with the write counted in; none if it doesn't concern it.
fn charge_one(
    r: &Request,
    evaluator: &Evaluator,
    quota: &Object,
    object: &Object,
    used: &Resources,
) -> Result<Option<Object>, Status> {
    let status = quota.body.get("status").unwrap_or(&Value::Null);
    let (hard, counted) = (resources(status, &["hard"]), resources(status, &["used"]));
    let name = &quota.metadata.name;
    let concerned: Vec<&str> = hard.keys().map(String::as_str).filter(|n| evaluator.counts(n)).collect();
    if concerned.is_empty() || !is_in_scope(quota, evaluator, object) {
        return Ok(None);
    }
    if let Some(why) = evaluator.missing(&concerned, object) {
        return Err(r.forbidden(format!("failed quota: {name}: {why}")));
    }
    if concerned.iter().any(|n| !counted.contains_key(*n)) {
        return Err(
            r.forbidden(format!("status unknown for quota: {name}, resources: {}", concerned.join(",")))
        );
    }
    let old = r.old.as_ref().filter(|_| r.operation == Operation::Update);
    // What the object used before was charged to this quota only if the quota matched it then.
    let before = old.filter(|old| is_in_scope(quota, evaluator, old)).map(|old| evaluator.usage(old));
    let mut asked = delta(used, before.as_ref());
    asked.retain(|name, q| hard.contains_key(name) && !q.is_zero());
    if asked.is_empty() {
        return Ok(None);
    }
    let mut total = counted.clone();
    add(&mut total, &asked);
    let over = |name: &String| total.get(name) > hard.get(name);
    let exceeded: Vec<&String> = asked.keys().filter(|name| over(name)).collect();
    if !exceeded.is_empty() && r.subresource != "status" {
        let show = |of: &Resources| print(of, &exceeded);
        return Err(r.forbidden(format!(
            "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
            show(&asked),
            show(&counted),
            show(&hard)
        )));
    }
    let mut charged = quota.clone();
    charged.set(&["status", "used"], to_value(&total));
    Ok(Some(charged))
}

/// Whether the object is in all scopes of the quota; a quota without scopes is about everything.
fn is_in_scope(quota: &Object, evaluator: &Evaluator, object: &Object) -> bool {
    let wanted = spec(quota);
    match evaluator.kind {
        Kind::Pod => takes_pod(wanted, spec(object)),
        Kind::Claim if has_scopes(wanted) => takes_claim(wanted, &Value::Object(object.body.clone())),
        _ => !has_scopes(wanted),
    }
}

/// What the write adds; never less than nothing, since the quota's controller gives back what is freed.
fn delta(now: &Resources, before: Option<&Resources>) -> Resources {
    let mut delta = now.clone();
    for (name, old) in before.into_iter().flatten() {
        if let Some(q) = delta.get_mut(name) {
            q.sub(old);
        }
    }
    for q in delta.values_mut().filter(|q| q.signum() < 0) {
        *q = Quantity::default();
    }
    delta
}

/// `cpu=1,pods=2`
fn print(of: &Resources, names: &[&String]) -> String {
    let parts = names.iter().filter_map(|n| of.get(*n).map(|q| format!("{n}={q}")));
    parts.collect::<Vec<_>>().join(",")
}
