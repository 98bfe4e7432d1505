//! Custom resources: from each stored CustomResourceDefinition to kinds that are served
//! (`k8s.io/apiextensions-apiserver`).

use crate::catalog::{Catalog, Custom, Served, version_order};
use crate::codec;
use crate::hooks::{CRD_GROUP, CRDS};
use crate::limits::{MAX_CRD_VERSIONS, MAX_FINISHED};
use crate::model::Model;
use crate::server::ApiServer;
use crate::write::Outcome;
use meta::{Object, Time};
use registry::strategy::{CUSTOM, CUSTOM_STATUS};
use registry::{Action, Column, Field, Kind, Printer, ScalePaths, Stored, Subresource, Text, Verbs};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use store::{Entry, Expect, Write};

/// Holds a definition until its objects are gone.
const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The stored definitions by key, as they were last read.
#[derive(Default)]
pub(crate) struct Definitions(BTreeMap<Box<str>, Definition>);

struct Definition {
    revision: u64,
    generation: i64,
    /// The revision by which this generation was there.
    since: u64,
    kinds: Vec<Served>,
    ending: bool,
}

impl Definition {
    fn read(entry: &Entry, before: Option<&Self>) -> Option<Self> {
        let object = Object::from_slice(&entry.bytes).ok()?;
        let (revision, generation) = (entry.revision, object.metadata.generation);
        let since = before.filter(|d| d.generation == generation).map_or(revision, |d| d.since);
        let kinds = if is_true(&object, "Established") { kinds(&object, since) } else { Vec::new() };
        Some(Self { revision, generation, since, kinds, ending: object.metadata.is_deleting() })
    }
}

impl ApiServer {
    /// Builds the catalog anew from the built-in kinds and the stored definitions. A definition is read once for each
    /// revision of it.
    pub(crate) fn load_custom(&self) {
        let entries = self.objects().entries(CRD_GROUP, CRDS, "");
        let mut known = self.definitions.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fresh = Definitions::default();
        for entry in entries {
            let read = match known.0.remove(&entry.key) {
                Some(same) if same.revision == entry.revision => Some(same),
                before => Definition::read(&entry, before.as_ref()),
            };
            if let Some(definition) = read {
                fresh.0.insert(entry.key.clone(), definition);
            }
        }
        let custom: Vec<Served> = fresh.0.values().flat_map(|d| d.kinds.iter().cloned()).collect();
        *known = fresh;
        self.set_catalog(Catalog::new(self.builtin.iter().cloned().chain(custom)));
    }

    fn any_is_ending(&self) -> bool {
        let known = self.definitions.lock().unwrap_or_else(PoisonError::into_inner);
        known.0.values().any(|d| d.ending)
    }

    /// What the server sets on a definition: its finalizer, and whether its names are free. Both are decided at once and
    /// not by a controller, so that a created definition is served when the answer arrives.
    pub(crate) fn prepare_definition(&self, new: &mut Object, old: Option<&Object>) {
        if old.is_none() {
            new.metadata.finalizers.push(CLEANUP.to_owned());
        }
        fill_in_names(new);
        let taken = self.taken_names(new);
        let now = Time::new(self.clock.now());
        // A write of the whole was given the old status by now; one of the status brings its own.
        let before = old.and_then(|_| new.body.get("status").cloned());
        let mut status = before.unwrap_or_else(|| json!({"conditions": []}));
        let accepted = taken.is_empty();
        if accepted {
            status["acceptedNames"] = new.get(&["spec", "names"]).cloned().unwrap_or_default();
            condition(&mut status, ("NamesAccepted", "True", "NoConflicts", "no conflicts found"), now);
            let text = "the initial names have been accepted";
            condition(&mut status, ("Established", "True", "InitialNamesAccepted", text), now);
        } else {
            condition(&mut status, ("NamesAccepted", "False", taken[0].0, &taken[0].1), now);
            let was = old.is_some_and(|o| is_true(o, "Established"));
            if !was {
                let text = "not all names are accepted";
                condition(&mut status, ("Established", "False", "NotAccepted", text), now);
            }
        }
        let storage = stored_version(new).to_owned();
        let mut versions: Vec<Value> = status["storedVersions"].as_array().cloned().unwrap_or_default();
        if !versions.iter().any(|v| *v == storage) {
            versions.push(storage.into());
        }
        status["storedVersions"] = versions.into();
        new.body.insert("status".into(), status);
    }

    /// Names that another definition of the group, or a built-in kind, has already.
    fn taken_names(&self, new: &Object) -> Vec<(&'static str, String)> {
        let catalog = self.catalog();
        let (group, name) = (new.str(&["spec", "group"]), &new.metadata.name);
        let others = catalog
            .list
            .iter()
            .filter(|s| s.kind.group == group && s.custom.as_ref().is_none_or(|c| c.crd != *name));
        let mut words: Vec<Text> = Vec::new();
        let mut kinds: Vec<Text> = Vec::new();
        for served in others {
            let k = &served.kind;
            words.extend([k.resource.clone(), k.singular.clone()]);
            words.extend(k.short_names.clone());
            kinds.extend([k.kind.clone(), k.list_kind.clone()]);
        }
        let names = |field: &str| new.str(&["spec", "names", field]).to_owned();
        let used = |list: &[Text], word: &str| !word.is_empty() && list.iter().any(|w| w == word);
        let mut taken = Vec::new();
        for (field, reason, list) in [
            ("plural", "PluralConflict", &words),
            ("singular", "SingularConflict", &words),
            ("kind", "KindConflict", &kinds),
            ("listKind", "ListKindConflict", &kinds),
        ] {
            if used(list, &names(field)) {
                taken.push((reason, format!("{:?} is already in use", names(field))));
            }
        }
        for short in strings(new.get(&["spec", "names", "shortNames"])) {
            if used(&words, &short) {
                taken.push(("ShortNamesConflict", format!("{short:?} is already in use")));
            }
        }
        taken
    }

    /// Deletes the objects of definitions that are being deleted, and then lets the definitions go.
    pub(crate) async fn finish_custom(&self) {
        if !self.any_is_ending() {
            return;
        }
        let catalog = self.catalog();
        let Some(definitions) = catalog.find_any(CRD_GROUP, CRDS) else { return };
        for definition in self.objects().list(CRD_GROUP, CRDS, "") {
            let m = &definition.metadata;
            if m.is_deleting() && m.finalizers.iter().any(|f| f == CLEANUP) && self.clear(&definition).await {
                self.release(definitions, &m.name).await;
            }
        }
    }

    /// Deletes a definition's objects, as many as one turn takes; whether none is left.
    async fn clear(&self, definition: &Object) -> bool {
        let found = kinds(definition, 0);
        let Some(served) = found.first() else { return true };
        let Some(prefix) = served.kind.key_prefix() else { return true };
        let Ok(listing) = self.store.list(&prefix, None, None, MAX_FINISHED) else { return false };
        let mut left = listing.more;
        for entry in listing.entries {
            let Ok(object) = codec::decode(served, &entry) else { continue };
            let mut new = object.clone();
            new.metadata.deletion_timestamp.get_or_insert(Time::new(self.clock.now()));
            new.metadata.deletion_grace_period_seconds.get_or_insert(0);
            let held = !new.metadata.finalizers.is_empty();
            left |= held;
            if held && new == object {
                continue;
            }
            let Ok(encoded) = codec::encode(served, &new) else { continue };
            let write = if held { Write::Put(encoded) } else { Write::Delete(Some(encoded)) };
            let done = self.commit(&entry.key, Expect::Revision(entry.revision), write).await;
            left |= !matches!(done, Ok(Outcome::Done(_)));
        }
        !left
    }

    async fn release(&self, definitions: &Arc<Served>, name: &str) {
        let Some(key) = definitions.kind.key("", name) else { return };
        let Some(entry) = self.store.get(&key) else { return };
        let Ok(mut new) = codec::decode(definitions, &entry) else { return };
        new.metadata.finalizers.retain(|f| f != CLEANUP);
        let gone = new.metadata.finalizers.is_empty();
        let Ok(encoded) = codec::encode(definitions, &new) else { return };
        let write = if gone { Write::Delete(Some(encoded)) } else { Write::Put(encoded) };
        if let Ok(Outcome::Done(_)) = self.commit(&key, Expect::Revision(entry.revision), write).await {
            self.load_custom();
        }
    }
}

/// `singular` and `listKind` follow from `kind` where they are left out.
fn fill_in_names(new: &mut Object) {
    let kind = new.str(&["spec", "names", "kind"]).to_owned();
    if new.str(&["spec", "names", "singular"]).is_empty() {
        new.set(&["spec", "names", "singular"], kind.to_lowercase().into());
    }
    if new.str(&["spec", "names", "listKind"]).is_empty() {
        new.set(&["spec", "names", "listKind"], format!("{kind}List").into());
    }
}

/// A deletion of a definition begins.
pub(crate) fn mark_terminating(new: &mut Object, now: Time) {
    let mut status = new.body.get("status").cloned().unwrap_or_else(|| json!({}));
    let text = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    condition(&mut status, ("Terminating", "True", "InstanceDeletionPending", text), now);
    new.body.insert("status".into(), status);
}

fn condition(status: &mut Value, (kind, value, reason, message): (&str, &str, &str, &str), now: Time) {
    let mut all: Vec<Value> = status["conditions"].as_array().cloned().unwrap_or_default();
    let old = all.iter().position(|c| c["type"] == kind);
    let same = old.filter(|i| all[*i]["status"] == value);
    let since = same.map_or_else(|| now.to_string().into(), |i| all[i]["lastTransitionTime"].clone());
    let new = json!({"type": kind, "status": value, "reason": reason, "message": message,
        "lastTransitionTime": since});
    match old {
        Some(i) => all[i] = new,
        None => all.push(new),
    }
    status["conditions"] = all.into();
}

fn is_true(definition: &Object, kind: &str) -> bool {
    let all = definition.get(&["status", "conditions"]).and_then(Value::as_array);
    all.is_some_and(|a| a.iter().any(|c| c["type"] == kind && c["status"] == "True"))
}

fn strings(v: Option<&Value>) -> Vec<String> {
    let list = v.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn versions(definition: &Object) -> &[Value] {
    definition.get(&["spec", "versions"]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn stored_version(definition: &Object) -> &str {
    let stored = versions(definition).iter().find(|v| v["storage"] == true);
    stored.and_then(|v| v["name"].as_str()).unwrap_or_default()
}

/// The kinds of a definition, one for each served version, the preferred one first.
fn kinds(definition: &Object, since: u64) -> Vec<Served> {
    let mut all: Vec<&Value> = versions(definition).iter().take(MAX_CRD_VERSIONS).collect();
    all.retain(|v| v["served"] == true);
    all.sort_by_key(|v| std::cmp::Reverse(version_order(v["name"].as_str().unwrap_or_default())));
    all.into_iter().map(|v| served(definition, v, since)).collect()
}

fn served(definition: &Object, version: &Value, since: u64) -> Served {
    let schema = &version["schema"]["openAPIV3Schema"];
    let mut kind = kind(definition, version);
    kind.deprecated = (version["deprecated"] == true).then(|| {
        let own = version["deprecationWarning"].as_str().map(str::to_owned);
        own.unwrap_or_else(|| format!("{} {} is deprecated", kind.api_version(), kind.kind)).into()
    });
    let custom = Custom {
        crd: definition.metadata.name.clone(),
        openapi: openapi(&kind, schema),
        terminating: definition.metadata.is_deleting(),
        stored: stored_model(definition, version),
        since,
    };
    Served { kind: Arc::new(kind), model: Model::custom(schema), custom: Some(Arc::new(custom)) }
}

/// The schema of the stored version, where `version` is another one.
fn stored_model(definition: &Object, version: &Value) -> Option<Arc<Model>> {
    let stored = versions(definition).iter().find(|v| v["storage"] == true)?;
    (stored["name"] != version["name"]).then(|| Model::custom(&stored["schema"]["openAPIV3Schema"])).flatten()
}

/// The author's schema with what every object has.
fn openapi(kind: &Kind, schema: &Value) -> Value {
    let mut v = if schema.is_object() { schema.clone() } else { json!({"type": "object"}) };
    v["x-kubernetes-group-version-kind"] =
        json!([{"group": kind.group, "version": kind.version, "kind": kind.kind}]);
    embed(&mut v);
    add_type(&mut v);
    v
}

/// Objects within the object have a type and metadata too.
fn embed(v: &mut Value) {
    let Value::Object(map) = v else { return };
    let properties = map.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten();
    properties.for_each(|(_, below)| embed(below));
    for key in ["items", "additionalProperties"] {
        map.get_mut(key).into_iter().for_each(embed);
    }
    if v["x-kubernetes-embedded-resource"] == true {
        add_type(v);
        let own = strings(v.get("required"));
        let all = ["apiVersion", "kind"].map(str::to_owned).into_iter().chain(own);
        v["required"] = all.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>().into();
    }
}

/// The fields that every object has, with upstream's explanations.
fn add_type(v: &mut Value) {
    const MORE: &str =
        "More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md";
    let text = |what: &str, at: &str| json!({"type": "string", "description": format!("{what} {MORE}#{at}")});
    let version = text(
        "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized \
         schemas to the latest internal value, and may reject unrecognized values.",
        "resources",
    );
    let name = text(
        "Kind is a string value representing the REST resource this object represents. Servers may infer this from the \
         endpoint the client submits requests to. Cannot be updated. In CamelCase.",
        "types-kinds",
    );
    let metadata = json!({"description": format!("Standard object's metadata. {MORE}#metadata"),
        "allOf": [{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}]});
    for (name, property) in [("apiVersion", version), ("kind", name), ("metadata", metadata)] {
        v["properties"][name] = property;
    }
}

fn kind(definition: &Object, version: &Value) -> Kind {
    let text = |path: &[&str]| Text::Owned(definition.str(path).to_owned());
    let names = |field: &str| text(&["spec", "names", field]);
    let owned = |list: Vec<String>| list.into_iter().map(Text::Owned).collect();
    let group = text(&["spec", "group"]);
    let name = Text::Owned(version["name"].as_str().unwrap_or_default().to_owned());
    let stored = Stored {
        group: group.clone(),
        version: Text::Owned(stored_version(definition).to_owned()),
        resource: names("plural"),
        to_stored: None,
        from_stored: None,
    };
    let schema = {
        let reversed: Vec<&str> = group.rsplit('.').collect();
        format!("{}.{name}.{}", reversed.join("."), names("kind"))
    };
    Kind {
        kind: names("kind"),
        list_kind: names("listKind"),
        resource: names("plural"),
        singular: names("singular"),
        short_names: owned(strings(definition.get(&["spec", "names", "shortNames"]))),
        categories: owned(strings(definition.get(&["spec", "names", "categories"]))),
        namespaced: definition.str(&["spec", "scope"]) == "Namespaced",
        verbs: Verbs::ALL,
        subresources: subresources(&group, &name, &names("kind"), version),
        schema: schema.into(),
        stored: Some(stored),
        columns: columns(version),
        printer: Printer::Paths,
        fields: fields(version),
        empty_status: None,
        counts_generation: true,
        deprecated: None,
        strategy: &CUSTOM,
        group,
        version: name,
    }
}

fn subresources(group: &Text, version: &Text, kind: &Text, v: &Value) -> Vec<Subresource> {
    let mut all = Vec::new();
    if v["subresources"].get("status").is_some() {
        all.push(Subresource {
            name: "status".into(),
            group: group.clone(),
            version: version.clone(),
            kind: kind.clone(),
            verbs: Verbs::PART,
            action: Action::Update(&CUSTOM_STATUS),
        });
    }
    if let Some(scale) = v["subresources"].get("scale").filter(|s| s.is_object()) {
        let path = |key: &str| -> Text {
            scale[key].as_str().unwrap_or_default().trim_start_matches('.').to_owned().into()
        };
        all.push(Subresource {
            name: "scale".into(),
            group: "autoscaling".into(),
            version: "v1".into(),
            kind: "Scale".into(),
            verbs: Verbs::PART,
            action: Action::Scale(ScalePaths {
                spec_replicas: path("specReplicasPath"),
                status_replicas: path("statusReplicasPath"),
                selector: path("labelSelectorPath"),
            }),
        });
    }
    all
}

/// The name, and the author's columns; without any, the age.
fn columns(version: &Value) -> Vec<Column> {
    let column = |name: &str, ty: &str, format: &str, description: &str, priority: i32, path: &str| Column {
        name: name.to_owned().into(),
        r#type: ty.to_owned().into(),
        format: format.to_owned().into(),
        description: description.to_owned().into(),
        priority,
        json_path: path.to_owned().into(),
    };
    let mut all = vec![column("Name", "string", "name", "Name of the object.", 0, "")];
    let own = version["additionalPrinterColumns"].as_array().map(Vec::as_slice).unwrap_or_default();
    for c in own {
        let text = |key: &str| c[key].as_str().unwrap_or_default();
        let priority = c["priority"].as_i64().and_then(|p| i32::try_from(p).ok()).unwrap_or(0);
        all.push(column(
            text("name"),
            text("type"),
            text("format"),
            text("description"),
            priority,
            text("jsonPath"),
        ));
    }
    if own.is_empty() {
        all.push(column("Age", "date", "", "Creation time.", 0, ".metadata.creationTimestamp"));
    }
    all
}

fn fields(version: &Value) -> Vec<Field> {
    let own = version["selectableFields"].as_array().map(Vec::as_slice).unwrap_or_default();
    own.iter()
        .filter_map(|f| f["jsonPath"].as_str())
        .map(|path| path.trim_start_matches('.').to_owned())
        .map(|path| Field { label: path.clone().into(), path: path.into(), default: "".into() })
        .collect()
}
