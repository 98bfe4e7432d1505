//! Where a request that is carried on goes: to the kubelet of a node, or to a pod or a service. Decides, opens nothing
//! (`pkg/registry/core/pod/strategy.go`, `pkg/registry/core/service/proxy.go`, `pkg/kubelet/client`).

use crate::catalog::Served;
use crate::codec;
use crate::log_options;
use crate::proxy::{Links, Target, Tunnel};
use crate::reply::{Payload, Reply};
use crate::server::{ApiServer, ServerView};
use crate::stage::Request;
use admission::Operation;
use bytes::Bytes;
use http::header::{HOST, LOCATION, UPGRADE};
use meta::{Object, Reason, Status};
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;

/// Port of kubelets that don't tell theirs.
const KUBELET_PORT: u16 = 10250;

/// Options of `log` that the kubelet understands by the same name.
const LOG_OPTIONS: [&str; 8] =
    ["follow", "previous", "timestamps", "sinceSeconds", "sinceTime", "tailLines", "limitBytes", "stream"];

impl ApiServer {
    /// Serves `log`, `exec`, `attach`, `portforward` and `proxy`.
    pub(crate) fn connect(&self, request: &Request, served: &Arc<Served>) -> Result<Reply, Status> {
        let info = &request.info;
        self.admit_connect(request, served)?;
        if let Some(location) = root_of(request) {
            return Ok(
                Reply::new(301, "text/plain", Payload::Bytes(Bytes::new())).header(LOCATION, &location)
            );
        }
        let tunnel = match (info.resource.as_str(), info.subresource.as_str()) {
            ("nodes", _) => self.node_proxy(request)?,
            ("services", _) => self.service_proxy(request)?,
            ("pods", "proxy") => self.pod_proxy(request, served)?,
            ("pods", action) => {
                let pod = self.stored(served, &info.namespace, &info.name)?;
                match self.pod_stream(request, &pod, action)? {
                    Some(tunnel) => tunnel,
                    None => return Ok(Reply::text(200, "")),
                }
            }
            _ => return Err(Status::no_such_path()),
        };
        Ok(Reply::new(200, "text/plain", Payload::Tunnel(Box::new(tunnel))))
    }

    fn admit_connect(&self, request: &Request, served: &Arc<Served>) -> Result<(), Status> {
        if request.info.subresource == "log" {
            return Ok(());
        }
        let mut asked = admission::Request {
            operation: Operation::Connect,
            resource: served.kind.gvr(),
            kind: served.kind.gvk(),
            subresource: request.info.subresource.clone(),
            namespace: if served.kind.namespaced { request.info.namespace.clone() } else { String::new() },
            name: request.info.name.clone(),
            user: request.user.clone(),
            ..admission::Request::default()
        };
        let view = ServerView(self);
        admission::mutate(&self.admission, &mut asked, &view)?;
        admission::validate(&self.admission, &mut asked, &view)
    }

    fn stored(&self, served: &Served, namespace: &str, name: &str) -> Result<Object, Status> {
        let key = served.kind.key(namespace, name).ok_or_else(Status::no_such_path)?;
        let entry = self.store.get(&key).ok_or_else(|| served.not_found(name))?;
        codec::decode(served, &entry)
    }

    /// The kubelet of a node.
    fn kubelet(&self, node: &str) -> Result<Target, Status> {
        let object =
            self.objects().get("", "nodes", "", node).ok_or_else(|| Status::not_found("", "nodes", node))?;
        let tls = self.kubelet_tls.clone();
        let tls = tls.ok_or_else(|| Status::internal("this server has no credentials for kubelets"))?;
        let port =
            object.get(&["status", "daemonEndpoints", "kubeletEndpoint", "Port"]).and_then(Value::as_u64);
        let port = port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0).unwrap_or(KUBELET_PORT);
        let addresses = object.get(&["status", "addresses"]).and_then(Value::as_array);
        let of_type = |kind: &str| {
            let found = addresses?.iter().find(|a| a["type"] == kind);
            found.and_then(|a| a["address"].as_str()).map(str::to_owned)
        };
        let order = ["InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS"];
        let host = order.iter().find_map(|t| of_type(t));
        let host = host.ok_or_else(|| {
            Status::internal(format!("no preferred addresses found; known addresses: [] of node {node:?}"))
        })?;
        Ok(Target { host, port, tls: Some(tls) })
    }

    fn node_proxy(&self, request: &Request) -> Result<Tunnel, Status> {
        let (scheme, name, port) = split_name(&request.info.name)?;
        let target = self.kubelet(name)?;
        if !(scheme.is_empty() || scheme == "https") || !(port.is_empty() || port == target.port.to_string())
        {
            return Err(Status::bad_request("only the kubelet's own port of a node can be reached"));
        }
        let links = Some(links(&target, request));
        Ok(Tunnel { target, path: rest_path(request), error_is_text: false, links })
    }

    /// `log`, `exec`, `attach`, `portforward`: none where there is nothing yet.
    fn pod_stream(&self, request: &Request, pod: &Object, action: &str) -> Result<Option<Tunnel>, Status> {
        let m = &pod.metadata;
        if action == "log" {
            log_options::check(&m.name, &pairs(request, &LOG_OPTIONS))?;
        }
        let node = pod.str(&["spec", "nodeName"]);
        if node.is_empty() && action == "log" {
            container_of(request, pod)?;
            return Ok(None);
        }
        if node.is_empty() {
            return Err(Status::bad_request(format!("pod {} does not have a host assigned", m.name)));
        }
        let place = format!("{}/{}", m.namespace, m.name);
        let path = match action {
            "portforward" => format!("/portForward/{place}{}", query(&pairs(request, &["ports"]))),
            "log" => {
                let container = container_of(request, pod)?;
                format!("/containerLogs/{place}/{container}{}", query(&pairs(request, &LOG_OPTIONS)))
            }
            action => {
                let phase = pod.str(&["status", "phase"]);
                if matches!(phase, "Succeeded" | "Failed") {
                    let text =
                        format!("cannot exec into a container in a completed pod; current phase is {phase}");
                    return Err(Status::bad_request(text));
                }
                let container = container_of(request, pod)?;
                format!("/{action}/{place}/{container}{}", query(&stream_options(request)))
            }
        };
        Ok(Some(Tunnel { target: self.kubelet(node)?, path, error_is_text: true, links: None }))
    }

    fn pod_proxy(&self, request: &Request, served: &Served) -> Result<Tunnel, Status> {
        let (scheme, name, port) = split_name(&request.info.name)?;
        let pod = self.stored(served, &request.info.namespace, name)?;
        let ip = pod.str(&["status", "podIP"]);
        if ip.is_empty() {
            return Err(Status::bad_request("address not allowed"));
        }
        let number = if port.is_empty() { first_port(&pod) } else { port.parse().ok() };
        let port = number.ok_or_else(|| Status::bad_request(format!("invalid port {port:?}")))?;
        plain(scheme, ip, port, request)
    }

    fn service_proxy(&self, request: &Request) -> Result<Tunnel, Status> {
        let (scheme, name, port) = split_name(&request.info.name)?;
        let namespace = &request.info.namespace;
        let objects = self.objects();
        let service = objects.get("", "services", namespace, name);
        let service = service.ok_or_else(|| Status::not_found("", "services", name))?;
        let ports = service.get(&["spec", "ports"]).and_then(Value::as_array).cloned().unwrap_or_default();
        let number = port.parse::<u16>().ok();
        let wanted = ports.iter().find(|p| p["name"] == port || number.is_some_and(|n| p["port"] == n));
        let wanted = if port.is_empty() && ports.len() == 1 { ports.first() } else { wanted };
        let unavailable = |why: String| Status::new(Reason::ServiceUnavailable, why);
        let wanted = wanted
            .ok_or_else(|| unavailable(format!("no service port {port:?} found for service {name:?}")))?;
        let port_name = wanted["name"].as_str().unwrap_or_default();
        let slices = objects.list("discovery.k8s.io", "endpointslices", namespace);
        let of_service = slices
            .iter()
            .filter(|s| s.metadata.labels.get("kubernetes.io/service-name").is_some_and(|n| n == name));
        let found = of_service.filter_map(|s| endpoint(s, port_name)).next();
        let (ip, port) =
            found.ok_or_else(|| unavailable(format!("no endpoints available for service {name:?}")))?;
        plain(scheme, &ip, port, request)
    }
}

/// A ready address of a slice, and the port of that name.
fn endpoint(slice: &Object, port: &str) -> Option<(String, u16)> {
    let ports = slice.body.get("ports")?.as_array()?;
    let number = ports.iter().find(|p| p["name"].as_str().unwrap_or_default() == port)?["port"].as_u64()?;
    let ready = |e: &&Value| e["conditions"]["ready"] != false;
    let endpoint = slice.body.get("endpoints")?.as_array()?.iter().find(ready)?;
    Some((endpoint["addresses"][0].as_str()?.to_owned(), u16::try_from(number).ok()?))
}

fn first_port(pod: &Object) -> Option<u16> {
    let containers = pod.get(&["spec", "containers"])?.as_array()?;
    let ports = containers.iter().filter_map(|c| c["ports"].as_array()).flatten();
    let first = ports.filter_map(|p| p["containerPort"].as_u64()).next();
    first.map_or(Some(80), |p| u16::try_from(p).ok())
}

/// A pod or an endpoint. Addresses of this machine itself are refused: a proxied request must not reach what listens only
/// here (CVE-2020-8562; `proxyutil.IsProxyableIP`).
fn plain(scheme: &str, ip: &str, port: u16, request: &Request) -> Result<Tunnel, Status> {
    let refused = || Status::bad_request("address not allowed");
    let parsed: IpAddr = ip.parse().map_err(|_| refused())?;
    let local = match parsed {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if parsed.is_loopback() || parsed.is_unspecified() || parsed.is_multicast() || local {
        return Err(refused());
    }
    let tls = match scheme {
        "https" => Some(client::unverified::any_certificate().map_err(|e| Status::internal(e.to_string()))?),
        _ => None,
    };
    let target = Target { host: ip.to_owned(), port, tls };
    let links = Some(links(&target, request));
    Ok(Tunnel { target, path: rest_path(request), error_is_text: false, links })
}

/// A request for a proxied server without a path is sent to its root, so that relative links mean what they should
/// (`proxyRedirectsforRootPath`). Tells where to.
fn root_of(request: &Request) -> Option<String> {
    let info = &request.info;
    let bare = info.subresource == "proxy" && info.rest.is_empty() && !info.path.ends_with('/');
    let reads = matches!(request.method.as_str(), "GET" | "HEAD") && request.header(UPGRADE).is_empty();
    (bare && reads).then(|| format!("{}/{}", info.path, query(info.query.pairs())))
}

fn links(target: &Target, request: &Request) -> Links {
    let path = request.info.path.trim_end_matches('/');
    let below: usize = request.info.rest.iter().map(|s| s.len() + 1).sum();
    let root = path.get(..path.len().saturating_sub(below)).unwrap_or(path);
    let theirs = match (target.tls.is_some(), target.port) {
        (true, 443) | (false, 80) => target.host.clone(),
        (_, port) => format!("{}:{port}", target.host),
    };
    Links { root: root.to_owned(), theirs, asked: request.header(HOST).to_owned() }
}

/// `name`, `name:port`, `scheme:name:port` (`utilnet.SplitSchemeNamePort`).
fn split_name(text: &str) -> Result<(&str, &str, &str), Status> {
    let parts: Vec<&str> = text.split(':').collect();
    let (scheme, name, port) = match parts.as_slice() {
        [name] => ("", *name, ""),
        [name, port] => ("", *name, *port),
        [scheme @ ("http" | "https" | ""), name, port] => (*scheme, *name, *port),
        _ => return Err(Status::bad_request(format!("invalid service request {text:?}"))),
    };
    match name.is_empty() {
        true => Err(Status::bad_request(format!("invalid service request {text:?}"))),
        false => Ok((scheme, name, port)),
    }
}

/// The path behind `proxy`, with the query as it came.
fn rest_path(request: &Request) -> String {
    let segments: String = request.info.rest.iter().map(|s| format!("/{}", percent_encode(s))).collect();
    let trailing = if request.info.path.ends_with('/') || segments.is_empty() { "/" } else { "" };
    format!("{segments}{trailing}{}", query(request.info.query.pairs()))
}

fn pairs(request: &Request, names: &[&str]) -> Vec<(String, String)> {
    let all = request.info.query.pairs().iter();
    all.filter(|(k, _)| names.contains(&k.as_str())).cloned().collect()
}

/// The options of `exec` and `attach` under the kubelet's names.
fn stream_options(request: &Request) -> Vec<(String, String)> {
    let q = &request.info.query;
    let names = [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")];
    let flags = names
        .iter()
        .filter(|(ours, _)| q.flag(ours))
        .map(|(_, theirs)| ((*theirs).to_owned(), "1".to_owned()));
    flags.chain(pairs(request, &["command"])).collect()
}

fn query(pairs: &[(String, String)]) -> String {
    let text: Vec<String> =
        pairs.iter().map(|(k, v)| format!("{}={}", percent_encode(k), percent_encode(v))).collect();
    if text.is_empty() { String::new() } else { format!("?{}", text.join("&")) }
}

fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(b)),
            _ => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

/// The container that the request names, or the only one.
fn container_of(request: &Request, pod: &Object) -> Result<String, Status> {
    let names = |field: &str| -> Vec<String> {
        let list = pod.get(&["spec", field]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(|c| c["name"].as_str()).map(str::to_owned).collect()
    };
    let (main, init, ephemeral) =
        (names("containers"), names("initContainers"), names("ephemeralContainers"));
    let wanted = request.info.query.text("container");
    let name = &pod.metadata.name;
    if wanted.is_empty() {
        if let [only] = main.as_slice() {
            return Ok(only.clone());
        }
        let mut text =
            format!("a container name must be specified for pod {name}, choose one of: [{}]", main.join(" "));
        if !init.is_empty() {
            text += &format!(" or one of the init containers: [{}]", init.join(" "));
        }
        return Err(Status::bad_request(text));
    }
    match [&main, &init, &ephemeral].iter().any(|list| list.iter().any(|n| n == wanted)) {
        true => Ok(wanted.to_owned()),
        false => Err(Status::bad_request(format!("container {wanted} is not valid for pod {name}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_scheme_and_port() {
        assert_eq!(split_name("web").unwrap(), ("", "web", ""));
        assert_eq!(split_name("web:80").unwrap(), ("", "web", "80"));
        assert_eq!(split_name("https:web:").unwrap(), ("https", "web", ""));
        assert!(split_name("ftp:web:1").is_err());
        assert!(split_name(":80").is_err());
    }

    #[test]
    fn what_goes_into_a_query_comes_out_of_it() {
        let pairs = [("command".to_owned(), "a b&c=%".to_owned())];
        assert_eq!(query(&pairs), "?command=a%20b%26c%3D%25");
    }
}
