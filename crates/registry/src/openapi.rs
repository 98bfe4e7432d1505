//! OpenAPI of the built-in kinds: the schemas that the write path works with, and the documents that clients read
//! (`/openapi/v3/...`, for `kubectl explain`, client-side validation and merge keys).
//!
//! Definitions are made by `build.rs`. They stay compressed in the binary; a document is made when it is asked for.

/// `/openapi/v2`.
pub mod v2;

use crate::kind::{Action, Kind, Subresource, Verbs};
use flate2::read::ZlibDecoder;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::LazyLock;

/// Definitions with descriptions.
const DEFINITIONS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/definitions.json.zz"));
/// Definitions without.
const STRUCTURE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/structure.json.zz"));
/// What a reference to a definition begins with.
const REF: &str = "#/components/schemas/";

fn unpack(packed: &[u8]) -> Map<String, Value> {
    let mut text = Vec::new();
    let read = ZlibDecoder::new(packed).read_to_end(&mut text);
    // Both blobs are made by our own build script; a test reads them.
    read.ok().and_then(|_| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// The schemas of all built-in kinds and what they are made of, by definition name ([`Kind::schema`]).
pub fn schemas() -> &'static schema::Schemas {
    static SCHEMAS: LazyLock<schema::Schemas> =
        LazyLock::new(|| schema::Schemas::from_openapi(&Value::Object(unpack(STRUCTURE))));
    &SCHEMAS
}

/// All definitions of built-in kinds with their descriptions. Some megabytes, made anew on each call.
pub fn definitions() -> Map<String, Value> {
    unpack(DEFINITIONS)
}

/// A number that changes when the built-in definitions do, for the `hash` in `/openapi/v3`.
pub fn hash() -> u64 {
    // FNV-1a: no security hangs on it.
    DEFINITIONS.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

/// The OpenAPI v3 document of some kinds, normally all of one group and version. `custom` holds the definitions of
/// custom kinds among them, by [`Kind::schema`].
pub fn document(kinds: &[&Kind], custom: &Map<String, Value>) -> Value {
    let mut paths = Map::new();
    kinds.iter().for_each(|kind| add_paths(kind, custom.contains_key(kind.schema.as_ref()), &mut paths));
    let known = definitions();
    let mut wanted = BTreeSet::new();
    for kind in kinds {
        reach(&kind.schema, &known, custom, &mut wanted);
        reach(&format!("{}List", kind.schema), &known, custom, &mut wanted);
        for sub in &kind.subresources {
            reach(&subresource_schema(kind, sub), &known, custom, &mut wanted);
        }
    }
    for name in ["DeleteOptions", "Status", "Patch"] {
        reach(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}"), &known, custom, &mut wanted);
    }
    let schemas: Map<String, Value> = wanted
        .into_iter()
        .filter_map(|name| custom.get(&name).or_else(|| known.get(&name)).cloned().map(|d| (name, d)))
        .collect();
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.37.0"},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"BearerToken": {
                "type": "apiKey", "description": "Bearer Token authentication", "name": "authorization", "in": "header",
            }},
        },
    })
}

/// The definition of a custom kind's list; those of built-in kinds are among [`definitions`].
pub fn custom_list(kind: &Kind) -> Value {
    let text = json!({"type": "string"});
    json!({
        "description": format!("{} is a list of {}", kind.list_kind, kind.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": text,
            "kind": text,
            "items": {
                "type": "array",
                "description": format!("List of {}.", kind.resource),
                "items": {"$ref": format!("{REF}{}", kind.schema)},
            },
            "metadata": {
                "description": "Standard list metadata.",
                "allOf": [{"$ref": format!("{REF}io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta")}],
            },
        },
        "x-kubernetes-group-version-kind":
            [{"group": kind.group, "version": kind.version, "kind": kind.list_kind}],
    })
}

/// Notes `name` and every definition that it refers to.
fn reach(name: &str, known: &Map<String, Value>, custom: &Map<String, Value>, found: &mut BTreeSet<String>) {
    let mut queue = vec![name.to_owned()];
    while let Some(name) = queue.pop() {
        let Some(definition) = custom.get(&name).or_else(|| known.get(&name)) else { continue };
        if found.insert(name) {
            references(definition, &mut queue);
        }
    }
}

fn references(v: &Value, out: &mut Vec<String>) {
    match v {
        Value::Object(map) => {
            if let Some(name) = map.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix(REF)) {
                out.push(name.to_owned());
            }
            map.values().for_each(|v| references(v, out));
        }
        Value::Array(items) => items.iter().for_each(|v| references(v, out)),
        _ => {}
    }
}

fn subresource_schema(kind: &Kind, sub: &Subresource) -> String {
    match &sub.action {
        Action::Update(_) => kind.schema.to_string(),
        _ => crate::kind::definition(&sub.group, &sub.version, &sub.kind).into_owned(),
    }
}

/// The root of a kind's paths.
fn root(kind: &Kind) -> String {
    match kind.group.as_ref() {
        "" => format!("/api/{}", kind.version),
        group => format!("/apis/{group}/{}", kind.version),
    }
}

fn add_paths(kind: &Kind, custom: bool, paths: &mut Map<String, Value>) {
    let root = root(kind);
    let collection = match kind.namespaced {
        true => format!("{root}/namespaces/{{namespace}}/{}", kind.resource),
        false => format!("{root}/{}", kind.resource),
    };
    let of_kind = Target { kind, custom, schema: kind.schema.to_string(), list: true, suffix: "" };
    let all = of_kind.item(kind.verbs, &[(Verbs::LIST, "get"), (Verbs::CREATE, "post")]);
    paths.insert(collection.clone(), with_parameters(all, kind.namespaced, false));
    if kind.namespaced && kind.verbs.contains(Verbs::LIST) {
        let every = of_kind.item(Verbs::LIST, &[(Verbs::LIST, "get")]);
        paths.insert(format!("{root}/{}", kind.resource), with_parameters(every, false, false));
    }
    let one =
        [(Verbs::GET, "get"), (Verbs::UPDATE, "put"), (Verbs::PATCH, "patch"), (Verbs::DELETE, "delete")];
    if kind.verbs.contains(Verbs::GET) {
        let item = Target { list: false, ..of_kind }.item(kind.verbs, &one);
        paths.insert(format!("{collection}/{{name}}"), with_parameters(item, kind.namespaced, true));
    }
    for sub in &kind.subresources {
        let schema = subresource_schema(kind, sub);
        let target = Target { kind, custom, schema, list: false, suffix: &sub.name };
        let more = [one.as_slice(), &[(Verbs::CREATE, "post")]].concat();
        let item = target.item(sub.verbs, &more);
        paths.insert(
            format!("{collection}/{{name}}/{}", sub.name),
            with_parameters(item, kind.namespaced, true),
        );
    }
}

fn parameter(name: &str, place: &str, description: &str) -> Value {
    let required = place == "path";
    let mut p = json!({"name": name, "in": place, "description": description, "schema": {"type": "string", "uniqueItems": true}});
    if required {
        p["required"] = true.into();
    }
    p
}

fn with_parameters(mut item: Value, namespaced: bool, named: bool) -> Value {
    let mut list = Vec::new();
    if named {
        list.push(parameter("name", "path", "name of the object"));
    }
    if namespaced {
        list.push(parameter(
            "namespace",
            "path",
            "object name and auth scope, such as for teams and projects",
        ));
    }
    list.push(parameter("pretty", "query", "If 'true', then the output is pretty printed."));
    item["parameters"] = list.into();
    item
}

/// What the operations of one path are about.
#[derive(Clone)]
struct Target<'a> {
    kind: &'a Kind,
    /// Objects of custom kinds take no strategic merge patches; `kubectl apply` looks for that here.
    custom: bool,
    schema: String,
    list: bool,
    suffix: &'a str,
}

impl Target<'_> {
    fn item(&self, verbs: Verbs, methods: &[(Verbs, &str)]) -> Value {
        let served = methods.iter().filter(|(verb, _)| verbs.contains(*verb));
        let operations = served.map(|(verb, method)| ((*method).to_owned(), self.operation(*verb)));
        Value::Object(operations.collect())
    }

    fn operation(&self, verb: Verbs) -> Value {
        let action = match verb {
            Verbs::LIST => "list",
            Verbs::CREATE => "post",
            Verbs::UPDATE => "put",
            Verbs::PATCH => "patch",
            Verbs::DELETE => "delete",
            _ => "get",
        };
        let answer = match verb {
            Verbs::LIST => format!("{}List", self.schema),
            Verbs::DELETE => "io.k8s.apimachinery.pkg.apis.meta.v1.Status".to_owned(),
            _ => self.schema.clone(),
        };
        let of = |name: &str| json!({"schema": {"$ref": format!("{REF}{name}")}});
        let k = self.kind;
        let mut operation = json!({
            "tags": [self.tag()],
            "operationId": self.id(action),
            "responses": {
                "200": {"description": "OK", "content": {"application/json": of(&answer)}},
                "401": {"description": "Unauthorized"},
            },
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {"group": k.group, "version": k.version, "kind": k.kind},
        });
        if matches!(verb, Verbs::CREATE | Verbs::UPDATE | Verbs::PATCH) {
            operation["parameters"] = write_parameters(verb);
            let patch = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
            let media =
                ["apply-patch+yaml", "json-patch+json", "merge-patch+json", "strategic-merge-patch+json"];
            let media = if self.custom { &media[..3] } else { &media[..] };
            let content: Value = match verb {
                Verbs::PATCH => media
                    .iter()
                    .map(|m| (format!("application/{m}"), of(patch)))
                    .collect::<Map<_, _>>()
                    .into(),
                _ => json!({"*/*": of(&self.schema)}),
            };
            operation["requestBody"] = json!({"content": content, "required": true});
        }
        operation
    }

    fn tag(&self) -> String {
        let group = self.kind.group.split('.').next().filter(|g| !g.is_empty()).unwrap_or("core");
        format!("{group}_{}", self.kind.version)
    }

    /// As upstream names operations: `readAppsV1NamespacedDeploymentStatus`.
    fn id(&self, action: &str) -> String {
        let verb = match action {
            "get" => "read",
            "post" => "create",
            "put" => "replace",
            other => other,
        };
        let capital = |s: &str| {
            let mut chars = s.chars();
            chars.next().map(|c| c.to_uppercase().chain(chars).collect::<String>()).unwrap_or_default()
        };
        let k = self.kind;
        let group = k.group.split('.').next().filter(|g| !g.is_empty()).unwrap_or("core");
        let scope = if k.namespaced { "Namespaced" } else { "" };
        let all = if self.list && action == "list" && k.namespaced { "" } else { scope };
        format!("{verb}{}{}{all}{}{}", capital(group), capital(&k.version), k.kind, capital(self.suffix))
    }
}

fn write_parameters(verb: Verbs) -> Value {
    let mut all = vec![
        parameter(
            "dryRun",
            "query",
            "When present, indicates that modifications should not be persisted. Valid values are: - All: all dry \
             run stages will be processed",
        ),
        parameter("fieldManager", "query", "the name of the actor or entity that is making these changes"),
        parameter(
            "fieldValidation",
            "query",
            "what to do with unknown or duplicate fields: Ignore, Warn or Strict",
        ),
    ];
    if verb == Verbs::PATCH {
        let mut force =
            parameter("force", "query", "whether an apply request takes fields over from other managers");
        force["schema"]["type"] = "boolean".into();
        all.push(force);
    }
    all.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_and_list_has_a_definition_and_a_schema() {
        let definitions = definitions();
        for kind in crate::kinds() {
            let gvk = &definitions[kind.schema.as_ref()]["x-kubernetes-group-version-kind"][0];
            assert_eq!(gvk["kind"], kind.kind.as_ref(), "{}", kind.schema);
            assert_eq!(gvk["group"], kind.group.as_ref(), "{}", kind.schema);
            assert!(schemas().get(&kind.schema).is_some(), "{}", kind.schema);
            if kind.verbs.contains(Verbs::LIST) {
                assert!(definitions.contains_key(&format!("{}List", kind.schema)), "{}", kind.schema);
            }
        }
    }

    #[test]
    fn a_document_holds_all_that_it_refers_to() {
        let apps: Vec<&Kind> = crate::kinds().iter().map(|k| &**k).filter(|k| k.group == "apps").collect();
        let document = document(&apps, &Map::new());
        let mut used = Vec::new();
        references(&document, &mut used);
        let missing: Vec<_> =
            used.iter().filter(|n| document["components"]["schemas"].get(n.as_str()).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
        assert!(
            patch["parameters"].as_array().is_some_and(|p| p.iter().any(|p| p["name"] == "fieldValidation"))
        );
    }
}
