//! Whether the rules that somebody holds cover the rules that they want to grant
//! (`k8s.io/component-helpers/auth/rbac/validation/policy_comparator.go`, `pkg/registry/rbac/validation`).

use super::rule::{PolicyRule, quoted, url_covers};
use meta::UserInfo;
use std::collections::{BTreeMap, BTreeSet};

/// The atoms of `wanted` (one verb, group, resource and name each) that no rule of `held` covers.
pub fn uncovered(held: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    wanted.iter().flat_map(atoms).filter(|atom| !held.iter().any(|h| covers(h, atom))).collect()
}

/// Upstream's sentence when `user`, who holds `held`, grants more than that in `wanted`; none if all is
/// covered.
pub fn escalation(user: &UserInfo, held: &[PolicyRule], wanted: &[PolicyRule]) -> Option<String> {
    let missing = uncovered(held, wanted);
    if missing.is_empty() {
        return None;
    }
    let lines: BTreeSet<String> = compact(missing).iter().map(ToString::to_string).collect();
    let lines: Vec<String> = lines.into_iter().collect();
    Some(format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        quoted(&user.groups),
        lines.join("\n")
    ))
}

fn atoms(rule: &PolicyRule) -> Vec<PolicyRule> {
    let one = |s: &String| vec![s.clone()];
    let names: Vec<Vec<String>> = match rule.resource_names.as_slice() {
        [] => vec![Vec::new()],
        names => names.iter().map(one).collect(),
    };
    let mut out = Vec::new();
    for group in &rule.api_groups {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                out.extend(names.iter().map(|name| PolicyRule {
                    verbs: one(verb),
                    api_groups: one(group),
                    resources: one(resource),
                    resource_names: name.clone(),
                    non_resource_urls: Vec::new(),
                }));
            }
        }
    }
    for url in &rule.non_resource_urls {
        for verb in &rule.verbs {
            out.push(PolicyRule { verbs: one(verb), non_resource_urls: one(url), ..PolicyRule::default() });
        }
    }
    out
}

fn covers(owner: &PolicyRule, atom: &PolicyRule) -> bool {
    let all = |set: &[String], of: &[String]| of.iter().all(|x| set.contains(x));
    let star = |set: &[String]| set.iter().any(|x| x == "*");
    (star(&owner.verbs) || all(&owner.verbs, &atom.verbs))
        && (star(&owner.api_groups) || all(&owner.api_groups, &atom.api_groups))
        && (star(&owner.resources) || atom.resources.iter().all(|r| resource_covered(&owner.resources, r)))
        && atom.non_resource_urls.iter().all(|u| owner.non_resource_urls.iter().any(|o| url_covers(o, u)))
        && (owner.resource_names.is_empty()
            || (!atom.resource_names.is_empty() && all(&owner.resource_names, &atom.resource_names)))
}

fn resource_covered(set: &[String], resource: &str) -> bool {
    set.iter().any(|s| s == resource)
        || resource
            .split_once('/')
            .is_some_and(|(_, sub)| set.iter().any(|s| s.strip_prefix("*/") == Some(sub)))
}

/// Joins atoms that differ only by verb, so that the message stays readable.
fn compact(missing: Vec<PolicyRule>) -> Vec<PolicyRule> {
    let mut joined: BTreeMap<PolicyRule, Vec<String>> = BTreeMap::new();
    let mut rest = Vec::new();
    for mut rule in missing {
        if rule.non_resource_urls.is_empty() {
            let verbs = std::mem::take(&mut rule.verbs);
            joined.entry(rule).or_default().extend(verbs);
        } else {
            rest.push(rule);
        }
    }
    rest.extend(joined.into_iter().map(|(rule, verbs)| PolicyRule { verbs, ..rule }));
    rest
}
