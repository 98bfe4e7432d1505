//! The environment of a container: `envFrom`, `env` with its sources and expansion, and the services' variables
//! (`makeEnvironmentVariables` of `pkg/kubelet/kubelet_pods.go`, `third_party/forked/golang/expansion`).

use super::downward::{self, Surroundings};
use super::podspec;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvVar, EnvVarSource, FileKeySelector, Pod, Secret, Service,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The namespace whose `kubernetes` service every pod is told of.
const MASTER_NAMESPACE: &str = "default";
/// The service that every pod is told of, links or not.
const MASTER_SERVICE: &str = "kubernetes";

/// Objects that a container's environment refers to, fetched beforehand. Absent means not found.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// By name, of the pod's namespace.
    pub config_maps: HashMap<String, Arc<ConfigMap>>,
    /// By name, of the pod's namespace.
    pub secrets: HashMap<String, Arc<Secret>>,
    /// Contents of files in volumes, by volume and path; or why they can't be read.
    pub files: HashMap<(String, String), Result<String, String>>,
    /// Services of the pod's namespace and `default/kubernetes`.
    pub services: Vec<Arc<Service>>,
}

/// The names of ConfigMaps and Secrets that a container's environment refers to.
pub fn references(c: &Container) -> (Vec<String>, Vec<String>) {
    let (mut maps, mut secrets) = (Vec::new(), Vec::new());
    for e in c.env_from.iter().flatten() {
        maps.extend(e.config_map_ref.iter().map(|r| r.name.clone()));
        secrets.extend(e.secret_ref.iter().map(|r| r.name.clone()));
    }
    for from in c.env.iter().flatten().filter_map(|e| e.value_from.as_ref()) {
        maps.extend(from.config_map_key_ref.iter().map(|r| r.name.clone()));
        secrets.extend(from.secret_key_ref.iter().map(|r| r.name.clone()));
    }
    for list in [&mut maps, &mut secrets] {
        list.sort();
        list.dedup();
    }
    (maps, secrets)
}

/// The files in volumes that a container's environment refers to, as volume and path.
pub fn file_references(c: &Container) -> BTreeSet<(String, String)> {
    let from = c.env.iter().flatten().filter_map(|e| e.value_from.as_ref()?.file_key_ref.as_ref());
    from.map(|r| (r.volume_name.clone(), r.path.clone())).collect()
}

/// The value of `key` in a file of `KEY='value'` lines (KEP-3721, `pkg/kubelet/util/env`): a value may go over several
/// lines; a blank before it means that it is empty; `#` begins a comment. Lines behind the key are not looked at.
pub fn file_value(text: &str, key: &str) -> Result<Option<String>, String> {
    const BLANK: [char; 2] = [' ', '\t'];
    let mut lines = text.lines().enumerate();
    while let Some((i, line)) = lines.next() {
        let bad = |what: &str| Err(format!("invalid environment variable format at line {}: {what}", i + 1));
        let line = line.trim_start_matches(BLANK);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else { return bad("missing '='") };
        if name.is_empty() || name.ends_with(BLANK) {
            return bad("whitespace before '=' is not allowed");
        }
        if value.starts_with(BLANK) {
            if name == key {
                return Ok(None);
            }
            continue;
        }
        let Some(mut rest) = value.strip_prefix('\'') else {
            return bad("value must be enclosed in single quotes");
        };
        let mut whole = String::new();
        let behind = loop {
            if let Some((end, behind)) = rest.split_once('\'') {
                whole.push_str(end);
                break behind.trim_start_matches(BLANK);
            }
            whole.push_str(rest);
            whole.push('\n');
            let Some((_, next)) = lines.next() else { return bad("unclosed single quote") };
            rest = next;
        };
        if !behind.is_empty() && !behind.starts_with('#') {
            return bad("unexpected content after closing quote");
        }
        if name == key {
            return Ok(Some(whole).filter(|w| !w.is_empty()));
        }
    }
    Ok(None)
}

/// Expands `$(NAME)`; `$$` is a dollar; a name that is not known stays as written.
pub fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(&value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

fn service_vars(s: &Service, out: &mut BTreeMap<String, String>) {
    let Some(spec) = s.spec.as_ref() else { return };
    let ip = spec.cluster_ip.as_deref().unwrap_or_default();
    let ports = spec.ports.as_deref().unwrap_or_default();
    if ip.is_empty() || ip == "None" || ports.is_empty() {
        return;
    }
    let upper = |s: &str| s.to_uppercase().replace(['-', '.'], "_");
    let name = upper(s.metadata.name.as_deref().unwrap_or_default());
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    out.insert(format!("{name}_SERVICE_HOST"), ip.to_owned());
    out.insert(format!("{name}_SERVICE_PORT"), ports[0].port.to_string());
    for (i, p) in ports.iter().enumerate() {
        if let Some(port_name) = p.name.as_deref().filter(|n| !n.is_empty()) {
            out.insert(format!("{name}_SERVICE_PORT_{}", upper(port_name)), p.port.to_string());
        }
        let protocol = p.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{host}:{}", protocol.to_lowercase(), p.port);
        if i == 0 {
            out.insert(format!("{name}_PORT"), url.clone());
        }
        let prefix = format!("{name}_PORT_{}_{}", p.port, protocol.to_uppercase());
        out.insert(format!("{prefix}_PROTO"), protocol.to_lowercase());
        out.insert(format!("{prefix}_PORT"), p.port.to_string());
        out.insert(format!("{prefix}_ADDR"), ip.to_owned());
        out.insert(prefix, url);
    }
}

/// The variables of the services that a pod is told of (`pkg/kubelet/envvars`).
pub fn services(pod: &Pod, services: &[Arc<Service>]) -> BTreeMap<String, String> {
    let links = podspec::spec(pod).enable_service_links.unwrap_or(true);
    let mut chosen: Vec<&Arc<Service>> = Vec::new();
    for s in services {
        let ns = s.metadata.namespace.as_deref().unwrap_or_default();
        let master = ns == MASTER_NAMESPACE && s.metadata.name.as_deref() == Some(MASTER_SERVICE);
        if master {
            chosen.insert(0, s);
        } else if links && ns == podspec::namespace(pod) {
            chosen.push(s);
        }
    }
    let mut out = BTreeMap::new();
    chosen.into_iter().for_each(|s| service_vars(s, &mut out));
    out
}

fn secret_data(s: &Secret) -> impl Iterator<Item = (&String, String)> {
    s.data.iter().flatten().map(|(k, ByteString(v))| (k, String::from_utf8_lossy(v).into_owned()))
}

fn not_found(kind: &str, name: &str) -> String {
    format!("{kind} {name:?} not found")
}

struct Builder<'a> {
    pod: &'a Pod,
    container: &'a Container,
    sources: &'a Sources,
    around: &'a Surroundings,
    services: BTreeMap<String, String>,
    known: BTreeMap<String, String>,
    order: Vec<String>,
}

impl Builder<'_> {
    fn set(&mut self, name: &str, value: String) {
        if self.known.insert(name.to_owned(), value).is_none() {
            self.order.push(name.to_owned());
        }
    }

    fn from(&mut self) -> Result<(), String> {
        for e in self.container.env_from.clone().iter().flatten() {
            let prefix = e.prefix.clone().unwrap_or_default();
            let mut pairs: Vec<(String, String)> = Vec::new();
            if let Some(r) = &e.config_map_ref {
                match self.sources.config_maps.get(&r.name) {
                    Some(m) => pairs.extend(m.data.iter().flatten().map(|(k, v)| (k.clone(), v.clone()))),
                    None if r.optional == Some(true) => {}
                    None => return Err(not_found("configmap", &r.name)),
                }
            }
            if let Some(r) = &e.secret_ref {
                match self.sources.secrets.get(&r.name) {
                    Some(s) => pairs.extend(secret_data(s).map(|(k, v)| (k.clone(), v))),
                    None if r.optional == Some(true) => {}
                    None => return Err(not_found("secret", &r.name)),
                }
            }
            pairs.into_iter().for_each(|(k, v)| self.set(&format!("{prefix}{k}"), v));
        }
        Ok(())
    }

    fn source(&self, from: &EnvVarSource) -> Result<Option<String>, String> {
        let ns = podspec::namespace(self.pod);
        if let Some(f) = &from.field_ref {
            return downward::field(self.pod, f, self.around).map(Some);
        }
        if let Some(r) = &from.resource_field_ref {
            let other = r.container_name.as_deref().filter(|n| !n.is_empty());
            let found = other.and_then(|n| podspec::find_container(self.pod, n)).map(|(c, _)| c);
            return downward::resource(self.pod, found.as_ref().unwrap_or(self.container), r, self.around)
                .map(Some);
        }
        if let Some(r) = &from.config_map_key_ref {
            let optional = r.optional == Some(true);
            return match self
                .sources
                .config_maps
                .get(&r.name)
                .map(|m| m.data.as_ref().and_then(|d| d.get(&r.key)))
            {
                Some(Some(v)) => Ok(Some(v.clone())),
                _ if optional => Ok(None),
                Some(None) => Err(format!("couldn't find key {} in ConfigMap {ns}/{}", r.key, r.name)),
                None => Err(not_found("configmap", &r.name)),
            };
        }
        if let Some(r) = &from.secret_key_ref {
            let optional = r.optional == Some(true);
            return match self
                .sources
                .secrets
                .get(&r.name)
                .map(|s| s.data.as_ref().and_then(|d| d.get(&r.key)))
            {
                Some(Some(ByteString(v))) => Ok(Some(String::from_utf8_lossy(v).into_owned())),
                _ if optional => Ok(None),
                Some(None) => Err(format!("couldn't find key {} in Secret {ns}/{}", r.key, r.name)),
                None => Err(not_found("secret", &r.name)),
            };
        }
        if let Some(r) = &from.file_key_ref {
            return self.read_file_key(r);
        }
        Err("env.valueFrom names no source".to_owned())
    }

    fn read_file_key(&self, r: &FileKeySelector) -> Result<Option<String>, String> {
        let file = self.sources.files.get(&(r.volume_name.clone(), r.path.clone()));
        let missing = || Err(format!("cannot find the volume {:?} referenced by FileKeyRef", r.volume_name));
        let text = file.cloned().unwrap_or_else(missing)?;
        let found = file_value(&text, &r.key).map_err(|why| format!("couldn't parse env file: {why}"))?;
        match found {
            None if r.optional != Some(true) => {
                Err(format!("environment variable key {:?} not found in file {:?}", r.key, r.path))
            }
            found => Ok(found),
        }
    }

    fn var(&mut self, e: &EnvVar) -> Result<(), String> {
        let value = match (&e.value, &e.value_from) {
            (Some(v), _) if !v.is_empty() => {
                let lookup = |n: &str| self.known.get(n).or_else(|| self.services.get(n)).cloned();
                Some(expand(v, &lookup))
            }
            (_, Some(from)) => self.source(from)?,
            _ => Some(String::new()),
        };
        if let Some(v) = value {
            self.set(&e.name, v);
        }
        Ok(())
    }
}

/// The environment of a container in order, or why it can't be made: the message of
/// `CreateContainerConfigError`.
pub fn environment(
    pod: &Pod,
    container: &Container,
    sources: &Sources,
    around: &Surroundings,
) -> Result<Vec<(String, String)>, String> {
    let mut b = Builder {
        pod,
        container,
        sources,
        around,
        services: services(pod, &sources.services),
        known: BTreeMap::new(),
        order: Vec::new(),
    };
    b.from()?;
    for e in container.env.iter().flatten() {
        b.var(e)?;
    }
    let Builder { services, mut known, mut order, .. } = b;
    for (k, v) in services {
        known.entry(k.clone()).or_insert_with(|| {
            order.push(k);
            v
        });
    }
    Ok(order.into_iter().map(|k| known.remove_entry(&k).unwrap_or_default()).collect())
}

/// A container's `command` and `args` with `$(NAME)` expanded.
pub fn command(c: &Container, env: &[(String, String)]) -> (Vec<String>, Vec<String>) {
    let map: HashMap<&str, &str> = env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let lookup = |n: &str| map.get(n).map(|v| (*v).to_owned());
    let all = |l: &Option<Vec<String>>| l.iter().flatten().map(|s| expand(s, &lookup)).collect();
    (all(&c.command), all(&c.args))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    fn check(container: serde_json::Value, want: expect_test::Expect) {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n"},
            "spec": {"containers": [container]}}))
        .unwrap();
        let map = json!({"metadata": {"name": "m"}, "data": {"a": "1", "b": "2"}});
        let svc = json!({"metadata": {"name": "my-db", "namespace": "n"}, "spec": {"clusterIP": "10.0.0.1",
            "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}]}});
        let sources = Sources {
            config_maps: HashMap::from([("m".to_owned(), Arc::new(serde_json::from_value(map).unwrap()))]),
            services: vec![Arc::new(serde_json::from_value(svc).unwrap())],
            ..Sources::default()
        };
        let around = Surroundings { pod_ips: vec!["10.1.0.2".into()], ..Surroundings::default() };
        let text = match environment(&pod, podspec::containers(&pod).first().unwrap(), &sources, &around) {
            Ok(vars) => vars.into_iter().map(|(k, v)| format!("{k}={v}\n")).collect(),
            Err(e) => format!("error: {e}\n"),
        };
        want.assert_eq(&text);
    }

    #[test]
    fn files_of_variables_are_read_strictly() {
        let text = "# a\n\nA='1' # one\n  B='two\nlines'\nC= 'x'\nD=''\nE=bare\n";
        let value = |key| file_value(text, key);
        assert_eq!(value("A"), Ok(Some("1".into())));
        assert_eq!(value("B"), Ok(Some("two\nlines".into())));
        assert_eq!((value("C"), value("D")), (Ok(None), Ok(None)));
        let why = "invalid environment variable format at line 8: value must be enclosed in single quotes";
        assert_eq!(value("F"), Err(why.into()));
        for bad in ["A", "A ='1'", "A='1' x", "A='1"] {
            assert!(file_value(bad, "A").is_err(), "{bad}");
        }
    }

    #[test]
    fn sources_are_read_in_order_and_expanded() {
        check(
            json!({"name": "c", "envFrom": [{"prefix": "P_", "configMapRef": {"name": "m"}}], "env": [
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "b"}}},
                {"name": "ALL", "value": "$(P_a)-$(B) $(MY_DB_SERVICE_HOST) $(NONE) $$(B) $"}]}),
            expect![[r#"
                P_a=1
                P_b=2
                IP=10.1.0.2
                B=2
                ALL=1-2 10.0.0.1 $(NONE) $(B) $
                MY_DB_PORT=tcp://10.0.0.1:5432
                MY_DB_PORT_5432_TCP=tcp://10.0.0.1:5432
                MY_DB_PORT_5432_TCP_ADDR=10.0.0.1
                MY_DB_PORT_5432_TCP_PORT=5432
                MY_DB_PORT_5432_TCP_PROTO=tcp
                MY_DB_SERVICE_HOST=10.0.0.1
                MY_DB_SERVICE_PORT=5432
                MY_DB_SERVICE_PORT_SQL=5432
            "#]],
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let from = |from: serde_json::Value| json!({"name": "c", "env": [{"name": "X", "valueFrom": from}]});
        let key = |k: &str| from(json!({"configMapKeyRef": {"name": "m", "key": k}}));
        check(
            key("zz"),
            expect![[r#"
            error: couldn't find key zz in ConfigMap n/m
        "#]],
        );
        check(
            from(json!({"secretKeyRef": {"name": "s", "key": "k"}})),
            expect![[r#"
            error: secret "s" not found
        "#]],
        );
    }
}
