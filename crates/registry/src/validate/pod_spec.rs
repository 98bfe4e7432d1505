//! A pod's spec, in pods and in templates (`pkg/apis/core/validation/validation.go`: `ValidatePodSpec`).

use super::at::{At, Faults, Unique};
use super::container::{self, Pod};
use super::{affinity, resources, security, tolerations, volume};
use meta::names;

/// Most name servers of a pod.
const NAME_SERVERS_MAX: usize = 3;
/// Most search domains of a pod.
const SEARCHES_MAX: usize = 32;
/// Most characters of all search domains together.
const SEARCH_CHARS_MAX: usize = 2048;

/// A pod template: its metadata and spec.
pub(super) fn template(template: &At<'_>, faults: &mut Faults) {
    let metadata = template.get("metadata");
    At::new(metadata.get("labels").value(), template.path().child("labels")).labels(faults);
    let annotations = template.path().child("annotations");
    for (key, _) in metadata.get("annotations").entries() {
        let rule = names::qualified_name(&key.to_lowercase()).into_iter();
        faults.extend(rule.map(|why| meta::FieldError::invalid(&annotations, key, why)));
    }
    let spec = template.get("spec");
    pod_spec(&spec, "", false, faults);
    let ephemeral = spec.get("ephemeralContainers");
    if !ephemeral.is_empty() {
        faults.push(ephemeral.forbidden("ephemeral containers not allowed in pod template"));
    }
}

/// The spec. `name` is the pod's, where it has one.
pub(super) fn pod_spec(spec: &At<'_>, name: &str, is_pod: bool, faults: &mut Faults) {
    let grace = spec.get("terminationGracePeriodSeconds");
    grace.required(faults);
    let owner = volume::Owner { name, is_pod };
    let volumes = volume::volumes(&spec.get("volumes"), &owner, faults);
    let claims = resource_claims(&spec.get("resourceClaims"), faults);
    let pod = Pod { spec: spec.clone(), volumes, claims, grace: grace.int() };
    let mut names_seen = Unique::default();
    container::containers(&pod, &mut names_seen, faults);
    container::init_containers(&pod, &mut names_seen, faults);
    container::ephemeral_containers(&pod, &mut names_seen, faults);
    if spec.get("resources").is_set() {
        resources::pod_resources(spec, faults);
    }
    host_network(spec, is_pod, faults);
    spec.get("restartPolicy").one_of(&["Always", "OnFailure", "Never"], faults);
    let dns = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    spec.get("dnsPolicy").one_of(&dns, faults);
    spec.get("nodeSelector").labels(faults);
    security::pod(spec, faults);
    affinity::affinity(&spec.get("affinity"), faults);
    dns_config(spec, faults);
    for gate in spec.get("readinessGates").items() {
        gate.get("conditionType").rule(names::qualified_name, faults);
    }
    scheduling_gates(&spec.get("schedulingGates"), faults);
    affinity::spread_constraints(&spec.get("topologySpreadConstraints"), faults);
    host_users(spec, faults);
    identity(spec, faults);
    hostname_override(spec, faults);
    env_files(spec, faults);
    tolerations::tolerations(&spec.get("tolerations"), faults);
    host_aliases(&spec.get("hostAliases"), faults);
    for key in ["priorityClassName", "runtimeClassName"] {
        spec.get(key).optional_rule(names::dns1123_subdomain, faults);
    }
    spec.get("preemptionPolicy").optional_one_of(&["PreemptLowerPriority", "Never"], faults);
    resources::overhead(&spec.get("overhead"), &spec.path().child("overhead"), faults);
    super::os::os(spec, faults);
}

fn resource_claims(list: &At<'_>, faults: &mut Faults) -> Unique {
    let mut seen = Unique::default();
    for claim in list.items() {
        let name = claim.get("name");
        if name.required(faults) {
            seen.check(&name, faults);
            name.rule(names::dns1123_label, faults);
        }
        let sources = [claim.get("resourceClaimName"), claim.get("resourceClaimTemplateName")];
        match sources.iter().filter(|s| s.is_set()).count() {
            0 => faults
                .push(claim.invalid("must specify one of: `resourceClaimName`, `resourceClaimTemplateName`")),
            1 => {}
            _ => faults.push(claim.invalid(
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
            )),
        }
        sources.iter().filter(|s| s.is_set()).for_each(|s| s.rule(names::dns1123_subdomain, faults));
    }
    seen
}

fn host_network(spec: &At<'_>, is_pod: bool, faults: &mut Faults) {
    if !spec.get("hostNetwork").flag() {
        return;
    }
    for port in spec.get("containers").items().flat_map(|c| c.get("ports").items().collect::<Vec<_>>()) {
        let (host, container) = (port.get("hostPort"), port.get("containerPort"));
        let number = host.int().unwrap_or(0);
        if (is_pod || number != 0) && Some(number) != container.int() {
            let why = "must match `containerPort` when `hostNetwork` is true";
            faults.push(meta::FieldError::invalid(&host.path(), number, why));
        }
    }
}

fn host_users(spec: &At<'_>, faults: &mut Faults) {
    let users = spec.get("hostUsers");
    if !users.is_set() || users.flag() {
        return;
    }
    // Two of the three are spelt otherwise in upstream's paths.
    for (key, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if spec.get(key).flag() {
            faults.push(meta::FieldError::forbidden(&spec.path().child(shown), "when `hostUsers` is false"));
        }
    }
}

/// Names that the spec refers to, and those that the pod goes by.
fn identity(spec: &At<'_>, faults: &mut Faults) {
    for key in ["serviceAccountName", "nodeName"] {
        spec.get(key).optional_rule(names::dns1123_subdomain, faults);
    }
    let deadline = spec.get("activeDeadlineSeconds");
    deadline.within(1, i64::from(i32::MAX), faults);
    spec.get("hostname").optional_rule(names::dns1123_label, faults);
    spec.get("subdomain").optional_rule(names::dns1123_label, faults);
}

/// `validatePodHostName` (KEP-4762).
fn hostname_override(spec: &At<'_>, faults: &mut Faults) {
    /// The kernel's limit.
    const MAX: usize = 64;
    let at = spec.get("hostnameOverride");
    if !at.is_set() {
        return;
    }
    for other in ["setHostnameAsFQDN", "hostNetwork"].into_iter().filter(|o| spec.get(o).flag()) {
        faults.push(at.forbidden(format!("may not be specified when {other} is true")));
    }
    if at.str().len() > MAX {
        faults.push(meta::FieldError::too_long(&at.path(), MAX));
    }
    at.rule(names::dns1123_subdomain, faults);
}

/// Files that environments are read from are in volumes that the pod's containers may have written: emptyDirs
/// (`validateFileKeyRefVolumes`, KEP-3721).
fn env_files(spec: &At<'_>, faults: &mut Faults) {
    let volumes: Vec<At<'_>> = spec.get("volumes").items().collect();
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        let vars = spec.get(list).items().flat_map(|c| c.get("env").items().collect::<Vec<_>>());
        let files = vars.map(|v| v.get("valueFrom").get("fileKeyRef")).filter(At::is_set);
        for name in files.map(|f| f.get("volumeName")) {
            match volumes.iter().find(|v| v.get("name").str() == name.str()) {
                None => faults.push(meta::FieldError::not_found(&name.path(), name.str())),
                Some(v) if v.get("emptyDir").is_set() => {}
                Some(_) => faults.push(name.invalid("referenced volume must be of type emptyDir")),
            }
        }
    }
}

fn scheduling_gates(list: &At<'_>, faults: &mut Faults) {
    let mut seen = Unique::default();
    for gate in list.items() {
        let name = gate.get("name").str();
        faults.extend(
            names::qualified_name(name)
                .into_iter()
                .map(|why| meta::FieldError::invalid(&gate.path(), name, why)),
        );
        if seen.has(name) {
            faults.push(meta::FieldError::duplicate(&gate.path(), name));
        }
    }
}

fn dns_config(spec: &At<'_>, faults: &mut Faults) {
    let config = spec.get("dnsConfig");
    let (servers, searches) = (config.get("nameservers"), config.get("searches"));
    if spec.get("dnsPolicy").str() == "None" {
        if !config.is_set() {
            return faults.push(config.missing("must provide `dnsConfig` when `dnsPolicy` is None"));
        }
        if servers.is_empty() {
            return faults
                .push(servers.missing("must provide at least one DNS nameserver when `dnsPolicy` is None"));
        }
    }
    if servers.len() > NAME_SERVERS_MAX {
        faults.push(servers.invalid(format!("must not have more than {NAME_SERVERS_MAX} nameservers")));
    }
    servers.items().for_each(|s| s.rule(names::legacy_ip, faults));
    if searches.len() > SEARCHES_MAX {
        faults.push(searches.invalid(format!("must not have more than {SEARCHES_MAX} search paths")));
    }
    let chars = searches.items().map(|s| s.str().len() + 1).sum::<usize>().saturating_sub(1);
    if chars > SEARCH_CHARS_MAX {
        let why = format!(
            "must not have more than {SEARCH_CHARS_MAX} characters (including spaces) in the search list"
        );
        faults.push(searches.invalid(why));
    }
    for search in searches.items().filter(|s| s.str() != ".") {
        let name = search.str().strip_suffix('.').unwrap_or(search.str());
        let rule = names::dns1123_subdomain_with_underscore(name).into_iter();
        faults.extend(rule.map(|why| meta::FieldError::invalid(&search.path(), name, why)));
    }
    for option in config.get("options").items().filter(|o| o.get("name").is_empty()) {
        faults.push(option.missing("must not be empty"));
    }
}

fn host_aliases(list: &At<'_>, faults: &mut Faults) {
    for alias in list.items() {
        alias.get("ip").rule(names::legacy_ip, faults);
        alias.get("hostnames").items().for_each(|h| h.rule(names::dns1123_subdomain, faults));
    }
}
