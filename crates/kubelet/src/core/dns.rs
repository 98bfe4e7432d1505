//! Names: what a pod is called, which name servers it asks, and its `/etc/hosts`
//! (`pkg/kubelet/network/dns`, `pkg/kubelet/kubelet_pods.go`).

use super::ops::Note;
use super::podspec;
use cri::DnsConfig;
use k8s_openapi::api::core::v1::{HostAlias, Pod};

/// Most name servers that glibc asks.
const MAX_SERVERS: usize = 3;
/// Most search domains (`MaxDNSSearchPaths`).
const MAX_SEARCHES: usize = 32;
/// Most bytes of search domains together.
const MAX_SEARCH_BYTES: usize = 2048;
/// Longest name that the kernel takes as a host name.
const HOSTNAME_MAX: usize = 64;
/// Longest label that a pod's name is cut to.
const LABEL_MAX: usize = 63;
/// Options of a pod that asks the cluster first.
const CLUSTER_OPTIONS: &[&str] = &["ndots:5"];

/// What the node knows of names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolver {
    /// The cluster's name servers.
    pub cluster_servers: Vec<String>,
    /// The cluster's domain, `cluster.local`.
    pub cluster_domain: String,
    /// The node's own `resolv.conf`.
    pub host: DnsConfig,
}

/// Reads a `resolv.conf`.
pub fn parse_resolv_conf(text: &str) -> DnsConfig {
    let mut out = DnsConfig::default();
    for line in text.lines() {
        let mut words = line.split_whitespace().map(str::to_owned);
        match words.next().as_deref() {
            Some("nameserver") => out.servers.extend(words.next()),
            Some("search" | "domain") => out.searches = words.filter(|s| s != ".").collect(),
            Some("options") => out.options.extend(words),
            _ => {}
        }
    }
    out
}

fn push_new(list: &mut Vec<String>, more: impl IntoIterator<Item = String>) {
    for s in more {
        if !list.contains(&s) {
            list.push(s);
        }
    }
}

/// The DNS settings of a pod, and what to warn of.
pub fn config(pod: &Pod, resolver: &Resolver) -> (DnsConfig, Vec<Note>) {
    let spec = podspec::spec(pod);
    let mut notes = Vec::new();
    let host_network = podspec::host_network(pod);
    let policy = match spec.dns_policy.as_deref().unwrap_or("ClusterFirst") {
        "ClusterFirstWithHostNet" => "ClusterFirst",
        "ClusterFirst" if host_network => "Default",
        other => other,
    };
    let mut dns = match policy {
        "None" => DnsConfig::default(),
        "ClusterFirst" if !resolver.cluster_servers.is_empty() => cluster_first(pod, resolver),
        "ClusterFirst" => {
            let message = format!(
                "pod: {:?}. kubelet does not have ClusterDNS IP configured and cannot create Pod using \
                 \"ClusterFirst\" policy. Falling back to \"Default\" policy.",
                podspec::full_name(pod)
            );
            notes.push(Note::warning("MissingClusterDNS", message));
            resolver.host.clone()
        }
        _ => resolver.host.clone(),
    };
    if let Some(more) = &spec.dns_config {
        push_new(&mut dns.servers, more.nameservers.iter().flatten().cloned());
        push_new(&mut dns.searches, more.searches.iter().flatten().cloned());
        for o in more.options.iter().flatten() {
            let Some(name) = &o.name else { continue };
            dns.options.retain(|old| old.split(':').next() != Some(name));
            dns.options.push(o.value.as_ref().map_or_else(|| name.clone(), |v| format!("{name}:{v}")));
        }
    }
    within_limits(&mut dns, &mut notes);
    (dns, notes)
}

fn cluster_first(pod: &Pod, resolver: &Resolver) -> DnsConfig {
    let (ns, domain) = (podspec::namespace(pod), &resolver.cluster_domain);
    let mut searches = Vec::new();
    if !domain.is_empty() {
        searches = vec![format!("{ns}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
    }
    push_new(&mut searches, resolver.host.searches.iter().cloned());
    DnsConfig {
        servers: resolver.cluster_servers.clone(),
        searches,
        options: CLUSTER_OPTIONS.iter().map(|s| (*s).to_owned()).collect(),
    }
}

fn within_limits(dns: &mut DnsConfig, notes: &mut Vec<Note>) {
    if dns.servers.len() > MAX_SERVERS {
        dns.servers.truncate(MAX_SERVERS);
        let message = format!(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {}",
            dns.servers.join(" ")
        );
        notes.push(Note::warning("DNSConfigForming", message));
    }
    let before = dns.searches.len();
    dns.searches.truncate(MAX_SEARCHES);
    while dns.searches.join(" ").len() > MAX_SEARCH_BYTES {
        dns.searches.pop();
    }
    if dns.searches.len() != before {
        let message = format!(
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {}",
            dns.searches.join(" ")
        );
        notes.push(Note::warning("DNSConfigForming", message));
    }
}

/// What a pod is called: its host name and its domain, either may be empty.
pub fn hostname(pod: &Pod, cluster_domain: &str) -> Result<(String, String), String> {
    let spec = podspec::spec(pod);
    if let Some(name) = spec.hostname_override.as_deref().filter(|n| !n.is_empty()) {
        return Ok((name.to_owned(), String::new()));
    }
    let mut name =
        spec.hostname.clone().filter(|h| !h.is_empty()).unwrap_or_else(|| podspec::name(pod).to_owned());
    if name.len() > LABEL_MAX {
        name.truncate(LABEL_MAX);
        name.truncate(name.trim_end_matches(['-', '.']).len());
    }
    let domain = match spec.subdomain.as_deref() {
        Some(sub) if !sub.is_empty() => format!("{sub}.{}.svc.{cluster_domain}", podspec::namespace(pod)),
        _ => String::new(),
    };
    if spec.set_hostname_as_fqdn == Some(true) && !domain.is_empty() {
        name = format!("{name}.{domain}");
        if name.len() > HOSTNAME_MAX {
            return Err(format!(
                "failed to construct FQDN from pod hostname and cluster domain, FQDN {name} is too long \
                 ({HOSTNAME_MAX} characters is the max, {} characters requested)",
                name.len()
            ));
        }
    }
    Ok((name, domain))
}

fn aliases(list: &[HostAlias]) -> String {
    if list.is_empty() {
        return String::new();
    }
    let line =
        |a: &HostAlias| format!("{}\t{}\n", a.ip, a.hostnames.as_deref().unwrap_or_default().join("\t"));
    format!("\n# Entries added by HostAliases.\n{}", list.iter().map(line).collect::<String>())
}

/// The `/etc/hosts` of a pod with addresses of its own.
pub fn hosts_file(pod: &Pod, ips: &[String], cluster_domain: &str) -> String {
    let (name, domain) = hostname(pod, cluster_domain).unwrap_or_default();
    let mut out = String::from(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    let host = name.split('.').next().unwrap_or_default();
    for ip in ips {
        match domain.is_empty() {
            true => out.push_str(&format!("{ip}\t{name}\n")),
            false => out.push_str(&format!("{ip}\t{host}.{domain}\t{host}\n")),
        }
    }
    out + &aliases(podspec::spec(pod).host_aliases.as_deref().unwrap_or_default())
}

/// The `/etc/hosts` of a pod in the node's network, from the node's own.
pub fn host_network_hosts_file(pod: &Pod, node: &str) -> String {
    let more = aliases(podspec::spec(pod).host_aliases.as_deref().unwrap_or_default());
    format!("# Kubernetes-managed hosts file (host network).\n{node}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        let mut spec = spec;
        spec["containers"] = json!([]);
        serde_json::from_value(
            json!({"metadata": {"name": "web-0", "namespace": "n", "uid": "u"}, "spec": spec}),
        )
        .unwrap()
    }

    fn check(spec: serde_json::Value, want: expect_test::Expect) {
        let resolver = Resolver {
            cluster_servers: vec!["10.96.0.10".into()],
            cluster_domain: "cluster.local".into(),
            host: parse_resolv_conf("# x\nnameserver 1.1.1.1\nsearch example.com .\noptions edns0\n"),
        };
        let (dns, notes) = config(&pod(spec), &resolver);
        let notes: String = notes.iter().map(|n| format!("! {}\n", n.reason)).collect();
        want.assert_eq(&format!(
            "servers {}\nsearches {}\noptions {}\n{notes}",
            dns.servers.join(" "),
            dns.searches.join(" "),
            dns.options.join(" ")
        ));
    }

    #[test]
    fn each_policy_asks_its_servers() {
        check(
            json!({}),
            expect![[r#"
            servers 10.96.0.10
            searches n.svc.cluster.local svc.cluster.local cluster.local example.com
            options ndots:5
        "#]],
        );
        check(
            json!({"hostNetwork": true}),
            expect![[r#"
            servers 1.1.1.1
            searches example.com
            options edns0
        "#]],
        );
        let own = json!({"nameservers": ["9.9.9.9"], "searches": ["a"], "options": [{"name": "ndots", "value": "2"}]});
        check(
            json!({"dnsPolicy": "None", "dnsConfig": own}),
            expect![[r#"
            servers 9.9.9.9
            searches a
            options ndots:2
        "#]],
        );
    }

    #[test]
    fn a_subdomain_gives_a_domain_and_hosts_show_it() {
        let p = pod(json!({"subdomain": "db", "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]}));
        let text = hosts_file(&p, &["10.1.0.5".into()], "cluster.local");
        let tail: Vec<&str> = text.lines().skip(7).collect();
        expect![[r#"
            10.1.0.5	web-0.db.n.svc.cluster.local	web-0

            # Entries added by HostAliases.
            1.2.3.4	a	b"#]]
        .assert_eq(&tail.join("\n"));
    }
}
