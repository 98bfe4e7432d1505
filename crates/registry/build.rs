//! Makes the OpenAPI definitions of the built-in kinds: structure and descriptions from k8s-openapi, what its schemas
//! leave out (list keys, merge keys, enumerations, defaults) from our table `data/extensions.txt`.
//!
//! The result is one compressed JSON object, name → definition, in `OUT_DIR/definitions.json.zz`, and the same without
//! descriptions, with what Go's types say (`data/go.txt`) instead, in `OUT_DIR/structure.json.zz`.

use k8s_openapi::schemars::generate::SchemaSettings;
use k8s_openapi::schemars::{JsonSchema, SchemaGenerator};
use k8s_openapi::{Resource, api, apiextensions_apiserver, apimachinery, kube_aggregator};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;

const REF: &str = "#/components/schemas/";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

type Definitions = BTreeMap<String, Value>;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=data/extensions.txt");
    println!("cargo:rerun-if-changed=data/go.txt");
    let mut definitions = collect();
    for definition in definitions.values_mut() {
        tidy(definition);
    }
    extend(&mut definitions, include_str!("data/extensions.txt"));
    pack("definitions.json.zz", &definitions);
    definitions.values_mut().for_each(undescribe);
    add_go(&mut definitions, include_str!("data/go.txt"));
    pack("structure.json.zz", &definitions);
}

fn pack(name: &str, definitions: &Definitions) {
    let text = serde_json::to_vec(definitions).expect("definitions are JSON");
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let file = std::fs::File::create(out.join(name)).expect("OUT_DIR is writable");
    let mut packed = flate2::write::ZlibEncoder::new(file, flate2::Compression::best());
    packed.write_all(&text).expect("OUT_DIR is writable");
    packed.finish().expect("OUT_DIR is writable");
}

/// Takes descriptions out: the write path has no use for them.
fn undescribe(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    map.remove("description");
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(undescribe);
    }
    for below in ["items", "additionalProperties"] {
        map.get_mut(below).into_iter().for_each(undescribe);
    }
}

/// Adds one kind and, if it is `listed`, its list.
fn add<K: JsonSchema + Resource>(made: &mut Made, listed: bool) {
    let _ = made.generator.subschema_for::<K>();
    let name = K::schema_name().into_owned();
    let gvk = |kind: String| json!([{"group": K::GROUP, "kind": kind, "version": K::VERSION}]);
    if listed {
        made.lists.insert(format!("{name}List"), list_of(&name, K::KIND, gvk(format!("{}List", K::KIND))));
    }
    made.kinds.insert(name, gvk(K::KIND.to_owned()));
}

/// Kinds that are part of objects or of requests, and have no group, version and kind as a schema's own.
fn part<K: JsonSchema>(made: &mut Made) {
    let _ = made.generator.subschema_for::<K>();
}

struct Made {
    generator: SchemaGenerator,
    kinds: Definitions,
    lists: Definitions,
}

macro_rules! add {
    ($made:ident, $listed:literal, $($($step:ident)::+ { $($kind:ident)+ })+) => {
        $({ use $($step)::+ as at; $(add::<at::$kind>(&mut $made, $listed);)+ })+
    };
}

fn collect() -> Definitions {
    let settings = SchemaSettings::openapi3();
    let mut made =
        Made { generator: settings.into_generator(), kinds: BTreeMap::new(), lists: BTreeMap::new() };
    add! { made, true,
        api::admissionregistration::v1 {
            MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration
            ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration
        }
        api::apps::v1 { ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet }
        api::autoscaling::v1 { HorizontalPodAutoscaler }
        api::autoscaling::v2 { HorizontalPodAutoscaler }
        api::batch::v1 { CronJob Job }
        api::certificates::v1 { CertificateSigningRequest }
        api::coordination::v1 { Lease }
        api::core::v1 {
            ComponentStatus ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolumeClaim
            PersistentVolume Pod PodTemplate ReplicationController ResourceQuota Secret ServiceAccount Service
        }
        api::discovery::v1 { EndpointSlice }
        api::events::v1 { Event }
        api::flowcontrol::v1 { FlowSchema PriorityLevelConfiguration }
        api::networking::v1 { IngressClass Ingress IPAddress NetworkPolicy ServiceCIDR }
        api::node::v1 { RuntimeClass }
        api::policy::v1 { PodDisruptionBudget }
        api::rbac::v1 { ClusterRoleBinding ClusterRole RoleBinding Role }
        api::resource::v1 { DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice }
        api::scheduling::v1 { PriorityClass }
        api::storage::v1 {
            CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment VolumeAttributesClass
        }
        apiextensions_apiserver::pkg::apis::apiextensions::v1 { CustomResourceDefinition }
        kube_aggregator::pkg::apis::apiregistration::v1 { APIService }
    }
    add! { made, false,
        api::authentication::v1 { SelfSubjectReview TokenRequest TokenReview }
        api::authorization::v1 {
            LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview
        }
        api::autoscaling::v1 { Scale }
        api::core::v1 { Binding }
        api::policy::v1 { Eviction }
        apimachinery::pkg::apis::meta::v1 { Status APIResourceList APIGroup APIGroupList APIVersions }
    }
    part::<apimachinery::pkg::apis::meta::v1::DeleteOptions>(&mut made);
    part::<apimachinery::pkg::apis::meta::v1::Patch>(&mut made);
    part::<apimachinery::pkg::apis::meta::v1::ListMeta>(&mut made);
    finish(made)
}

fn finish(mut made: Made) -> Definitions {
    let mut definitions: Definitions = made.generator.take_definitions(true).into_iter().collect();
    for (name, gvk) in made.kinds {
        let Some(definition) = definitions.get_mut(&name) else { panic!("{name} has no definition") };
        definition["x-kubernetes-group-version-kind"] = gvk;
    }
    definitions.append(&mut made.lists);
    definitions
}

fn list_of(name: &str, kind: &str, gvk: Value) -> Value {
    let text = |what: &str| json!({"type": "string", "description": what});
    json!({
        "description": format!("{kind}List is a list of {kind} objects."),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": text("APIVersion defines the versioned schema of this representation of an object."),
            "kind": text("Kind is a string value representing the REST resource this object represents."),
            "items": {
                "type": "array",
                "description": format!("items is the list of {kind} objects."),
                "items": {"$ref": format!("{REF}{name}")},
            },
            "metadata": {
                "description": "Standard list metadata.",
                "$ref": format!("{REF}{META}.ListMeta"),
            },
        },
        "x-kubernetes-group-version-kind": gvk,
    })
}

/// Brings schemars' output into the form in which Kubernetes publishes schemas: a reference with a description beside
/// it stands in `allOf`, and `metadata` is never required.
fn tidy(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(tidy);
    }
    for below in ["items", "additionalProperties"] {
        map.get_mut(below).into_iter().for_each(tidy);
    }
    if let Some(Value::Array(required)) = map.get_mut("required") {
        required.retain(|name| name != "metadata");
        if required.is_empty() {
            map.remove("required");
        }
    }
    if map.len() > 1
        && let Some(reference) = map.remove("$ref")
    {
        map.insert("allOf".into(), json!([{ "$ref": reference }]));
    }
    if map.remove("x-kubernetes-int-or-string").is_some() {
        let quantity = map.get("description").is_some_and(is_quantity);
        if !quantity {
            map.insert("format".into(), "int-or-string".into());
        }
        let number = if quantity { "number" } else { "integer" };
        map.insert("oneOf".into(), json!([{"type": "string"}, {"type": number}]));
    }
}

fn is_quantity(description: &Value) -> bool {
    description.as_str().is_some_and(|d| d.starts_with("Quantity is"))
}

/// Reads `data/extensions.txt`: a line with a definition's name (and what holds for all of it), then an indented line
/// for each field: its name and words. The words are explained at the head of that file.
fn extend(definitions: &mut Definitions, table: &str) {
    let mut at: Option<&mut Value> = None;
    for line in table.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if !line.starts_with(' ') {
            at = definitions.get_mut(first);
            if let Some(definition) = at.as_deref_mut() {
                words.for_each(|w| apply(definition, w));
            } else {
                println!("cargo:warning=data/extensions.txt: no definition {first}");
            }
        } else if let Some(field) = at.as_deref_mut().and_then(|d| d["properties"].get_mut(first)) {
            words.for_each(|w| apply(field, w));
        } else if at.is_some() {
            println!("cargo:warning=data/extensions.txt: no field {first}");
        }
    }
}

fn apply(schema: &mut Value, word: &str) {
    let (key, rest) = word.split_once('=').unwrap_or((word, ""));
    let list = || rest.split(',').filter(|s| !s.is_empty()).map(Value::from).collect::<Vec<_>>();
    let mut put = |entries: Value| {
        if let (Value::Object(schema), Value::Object(entries)) = (&mut *schema, entries) {
            schema.extend::<Map<String, Value>>(entries);
        }
    };
    match key {
        "list" if rest == "atomic" || rest == "set" => put(json!({"x-kubernetes-list-type": rest})),
        "list" => put(json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list()})),
        "map" => put(json!({"x-kubernetes-map-type": rest})),
        "merge" => put(json!({"x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": rest})),
        "strategy" => put(json!({"x-kubernetes-patch-strategy": rest})),
        "key" => put(json!({"x-kubernetes-patch-merge-key": rest})),
        "enum" => put(json!({"enum": list()})),
        "default" => put(json!({"default": serde_json::from_str(rest).unwrap_or(Value::from(rest))})),
        "required" if rest.is_empty() => {
            schema.as_object_mut().map(|s| s.remove("required"));
        }
        "required" => put(json!({"required": list()})),
        "open" => put(json!({"x-kubernetes-preserve-unknown-fields": true})),
        other => panic!("data/extensions.txt: unknown word {other}"),
    }
}

/// Reads `data/go.txt`; its head says how it is written. Only the write path looks at that.
fn add_go(definitions: &mut Definitions, table: &str) {
    for line in table.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let mut words = line.split_whitespace();
        // Kinds that aren't served have lines too.
        let definition = words.next().and_then(|name| definitions.get_mut(name));
        let Some(Value::Object(fields)) = definition.and_then(|d| d.get_mut("properties")) else { continue };
        for word in words {
            let (word, embedded) = word.split_once('@').unwrap_or((word, ""));
            let (word, go_type) = word.split_once(':').unwrap_or((word, ""));
            let name = word.trim_end_matches(['*', '!']);
            let Some(Value::Object(field)) = fields.get_mut(name) else { continue };
            let zero = word.strip_prefix(name).unwrap_or_default();
            for (key, value) in [("x-go-zero", zero), ("x-go-type", go_type), ("x-go-in", embedded)] {
                if !value.is_empty() {
                    field.insert(key.to_owned(), value.into());
                }
            }
        }
    }
}
