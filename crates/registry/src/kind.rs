//! What the server knows of a kind: its identity, and everything that follows from it.
//!
//! One [`Kind`] value serves a built-in kind and a custom resource alike, so that routes, discovery, tables, field
//! selectors and the write path have one mechanism. Built-in kinds are made once, from the list in [`crate::kinds`];
//! those of custom resources are made by the API server from each CustomResourceDefinition.

use crate::strategy::{PLAIN, STATUS, Strategy, Update};
use crate::table::Printer;
use meta::{GroupKind, GroupVersionKind, GroupVersionResource, Object};
use serde_json::Value;
use std::borrow::Cow;

/// A word of a kind's identity: static for built-in kinds, owned for custom ones.
pub type Text = Cow<'static, str>;

/// What may be done to a resource; the API's own words, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verbs(u16);

impl Verbs {
    /// `create`
    pub const CREATE: Self = Self(1);
    /// `delete`
    pub const DELETE: Self = Self(2);
    /// `deletecollection`
    pub const DELETECOLLECTION: Self = Self(4);
    /// `get`
    pub const GET: Self = Self(8);
    /// `list`
    pub const LIST: Self = Self(16);
    /// `patch`
    pub const PATCH: Self = Self(32);
    /// `update`
    pub const UPDATE: Self = Self(64);
    /// `watch`
    pub const WATCH: Self = Self(128);
    /// Everything that a stored resource can do.
    pub const ALL: Self = Self(255);
    /// What `status` and other parts of a stored object can do.
    pub const PART: Self = Self::GET.and(Self::PATCH).and(Self::UPDATE);
    /// What a subresource that carries a connection can do.
    pub const CONNECT: Self = Self::CREATE.and(Self::GET);
    /// What an HTTP proxy subresource can do.
    pub const PROXY: Self = Self::CREATE.and(Self::DELETE).and(Self::PART);

    const WORDS: [&'static str; 8] =
        ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

    /// Both sets together.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether every verb of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The words in alphabetical order, as discovery lists them.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        Self::WORDS.iter().enumerate().filter(move |(i, _)| self.0 & (1 << i) != 0).map(|(_, w)| *w)
    }
}

/// What a request to a subresource does.
#[derive(Clone)]
pub enum Action {
    /// It replaces one part of the stored object (`status`, `ephemeralcontainers`, `finalize` ...).
    Update(&'static Update),
    /// It shows the object as `autoscaling/v1 Scale`, and writes its replicas.
    Scale(ScalePaths),
    /// Anything else; the API server knows it by resource and name (`pods/log`, `pods/binding` ...).
    Special,
}

/// Where a scalable object keeps what its `Scale` shows. Paths are dotted, without a leading dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    /// The wanted replicas, for example `spec.replicas`.
    pub spec_replicas: Text,
    /// The observed replicas, for example `status.replicas`.
    pub status_replicas: Text,
    /// The selector: a label selector object, a map of labels, or a string; empty where there is none.
    pub selector: Text,
}

/// One subresource of a kind.
#[derive(Clone)]
pub struct Subresource {
    /// Name as in the path, for example `status`.
    pub name: Text,
    /// Group of the kind that is read or written; may differ from the parent's.
    pub group: Text,
    /// Version of that kind.
    pub version: Text,
    /// That kind.
    pub kind: Text,
    /// What may be done.
    pub verbs: Verbs,
    /// What a request does.
    pub action: Action,
}

/// One column of the server-side table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Heading, as upstream writes it (`Node Selector`).
    pub name: Text,
    /// OpenAPI type of the cells.
    pub r#type: Text,
    /// OpenAPI format; `name` for the column that holds the object's name.
    pub format: Text,
    /// What the column shows.
    pub description: Text,
    /// 0 is shown always; others only by `-o wide`.
    pub priority: i32,
    /// For custom resources: JSONPath of the cell.
    pub json_path: Text,
}

impl Column {
    /// Reads our notation: `Age`, `Desired:integer`, and a `*` at the end for a column of `-o wide`.
    pub fn parse(text: &'static str) -> Self {
        let (text, priority) = text.strip_suffix('*').map_or((text, 0), |t| (t, 1));
        let (name, r#type) = text.split_once(':').unwrap_or((text, "string"));
        let format = if name == "Name" { "name" } else { "" };
        let (name, r#type, format) = (name.into(), r#type.into(), format.into());
        Self { name, r#type, format, description: "".into(), priority, json_path: "".into() }
    }
}

/// A field that field selectors may name. Its value is the scalar at `path`, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The label in the selector, for example `spec.nodeName`.
    pub label: Text,
    /// Where the value stands, dotted, below the object; several separated by `|`, the first that is set counts.
    pub path: Text,
    /// The value where the path holds none.
    pub default: Text,
}

/// Where objects of the kind are stored, and how they get from and to the stored form. Several served versions (or
/// groups: `events`) of one resource share one stored form.
#[derive(Clone)]
pub struct Stored {
    /// Group in the key; `core` for the core group is put in by [`Kind::key_prefix`].
    pub group: Text,
    /// Version in which it is stored.
    pub version: Text,
    /// Resource in the key.
    pub resource: Text,
    /// From the served form to the stored one, where they differ in more than `apiVersion`.
    pub to_stored: Option<fn(&mut Object)>,
    /// And back.
    pub from_stored: Option<fn(&mut Object)>,
}

/// Everything that the server knows of a kind in one version.
#[derive(Clone)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: Text,
    /// Version.
    pub version: Text,
    /// Kind, for example `Pod`.
    pub kind: Text,
    /// Kind of a list of it, for example `PodList`.
    pub list_kind: Text,
    /// Plural resource, for example `pods`.
    pub resource: Text,
    /// Singular, for example `pod`.
    pub singular: Text,
    /// Short names, for example `po`.
    pub short_names: Vec<Text>,
    /// Categories, for example `all`.
    pub categories: Vec<Text>,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// What may be done.
    pub verbs: Verbs,
    /// Subresources.
    pub subresources: Vec<Subresource>,
    /// Name of the OpenAPI definition, for example `io.k8s.api.core.v1.Pod`.
    pub schema: Text,
    /// Where it is stored; none for kinds that only answer (reviews, bindings).
    pub stored: Option<Stored>,
    /// Columns of the server-side table.
    pub columns: Vec<Column>,
    /// What fills the table's cells.
    pub printer: Printer,
    /// Fields for field selectors, beside `metadata.name` and `metadata.namespace`, which all kinds have.
    pub fields: Vec<Field>,
    /// What a new object's `status` is; none where the kind has no status or clients may set it at creation.
    pub empty_status: Option<Value>,
    /// Whether `metadata.generation` counts the changes of everything but metadata and status.
    pub counts_generation: bool,
    /// A warning with which each request is answered: this version is deprecated.
    pub deprecated: Option<Text>,
    /// Behaviour on writes.
    pub strategy: &'static Strategy,
}

/// `PodList` of `Pod`.
fn list_kind(kind: &'static str) -> Text {
    format!("{kind}List").into()
}

/// The package in the name of a built-in kind's OpenAPI definition.
pub(crate) fn definition(group: &str, version: &str, kind: &str) -> Text {
    match group {
        "" => format!("io.k8s.api.core.{version}.{kind}"),
        "apiextensions.k8s.io" => {
            format!("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.{version}.{kind}")
        }
        "apiregistration.k8s.io" => {
            format!("io.k8s.kube-aggregator.pkg.apis.apiregistration.{version}.{kind}")
        }
        group => format!("io.k8s.api.{}.{version}.{kind}", group.split('.').next().unwrap_or_default()),
    }
    .into()
}

/// How the files below `kinds` write down a built-in kind.
impl Kind {
    fn new(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        resource: &'static str,
        namespaced: bool,
    ) -> Self {
        let stored = Stored {
            group: group.into(),
            version: version.into(),
            resource: resource.into(),
            to_stored: None,
            from_stored: None,
        };
        Self {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            list_kind: list_kind(kind),
            resource: resource.into(),
            singular: kind.to_ascii_lowercase().into(),
            short_names: Vec::new(),
            categories: Vec::new(),
            namespaced,
            verbs: Verbs::ALL,
            subresources: Vec::new(),
            schema: definition(group, version, kind),
            stored: Some(stored),
            columns: ["Name", "Created At:date"].map(Column::parse).into(),
            printer: Printer::Rows(crate::table::name_and_created),
            fields: Vec::new(),
            empty_status: None,
            counts_generation: false,
            deprecated: None,
            strategy: &PLAIN,
        }
    }

    pub(crate) fn namespaced(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        resource: &'static str,
    ) -> Self {
        Self::new(group, version, kind, resource, true)
    }

    pub(crate) fn cluster(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        resource: &'static str,
    ) -> Self {
        Self::new(group, version, kind, resource, false)
    }

    pub(crate) fn short(mut self, names: &[&'static str]) -> Self {
        self.short_names = names.iter().map(|n| Text::Borrowed(*n)).collect();
        self
    }

    pub(crate) fn category(mut self, name: &'static str) -> Self {
        self.categories.push(name.into());
        self
    }

    pub(crate) fn verbs(mut self, verbs: Verbs) -> Self {
        self.verbs = verbs;
        self
    }

    /// Only answers; nothing is stored.
    pub(crate) fn not_stored(mut self, verbs: Verbs) -> Self {
        self.stored = None;
        self.verbs = verbs;
        self
    }

    /// Stored as another served version (or group) of the same resource.
    pub(crate) fn stored_as(
        mut self,
        group: &'static str,
        version: &'static str,
        to_stored: fn(&mut Object),
        from_stored: fn(&mut Object),
    ) -> Self {
        self.stored = Some(Stored {
            group: group.into(),
            version: version.into(),
            resource: self.resource.clone(),
            to_stored: Some(to_stored),
            from_stored: Some(from_stored),
        });
        self
    }

    /// Adds a `status` subresource; new objects start with `empty`, or with what the client sent where it is null.
    pub(crate) fn status(self, empty: Value) -> Self {
        self.status_with(empty, &STATUS)
    }

    pub(crate) fn status_with(mut self, empty: Value, update: &'static Update) -> Self {
        self.empty_status = (!empty.is_null()).then_some(empty);
        self.part("status", update)
    }

    /// Adds a subresource that replaces one part of the object.
    pub(crate) fn part(mut self, name: &'static str, update: &'static Update) -> Self {
        let (group, version, kind) = (self.group.clone(), self.version.clone(), self.kind.clone());
        let (verbs, action) = (Verbs::PART, Action::Update(update));
        self.subresources.push(Subresource { name: name.into(), group, version, kind, verbs, action });
        self
    }

    /// Adds a subresource that the API server handles by its name.
    pub(crate) fn special(
        mut self,
        name: &'static str,
        (group, version, kind): (&'static str, &'static str, &'static str),
        verbs: Verbs,
    ) -> Self {
        let (group, version, kind) = (group.into(), version.into(), kind.into());
        let action = Action::Special;
        self.subresources.push(Subresource { name: name.into(), group, version, kind, verbs, action });
        self
    }

    /// Adds `scale` with the paths that all built-in scalable kinds share.
    pub(crate) fn scale(mut self) -> Self {
        let action = Action::Scale(ScalePaths {
            spec_replicas: "spec.replicas".into(),
            status_replicas: "status.replicas".into(),
            selector: "spec.selector".into(),
        });
        let (group, version, kind) = ("autoscaling".into(), "v1".into(), "Scale".into());
        self.subresources.push(Subresource {
            name: "scale".into(),
            group,
            version,
            kind,
            verbs: Verbs::PART,
            action,
        });
        self
    }

    /// The table: headings in the notation of [`Column::parse`], and what fills a row.
    pub(crate) fn table(mut self, columns: &[&'static str], rows: crate::table::Rows) -> Self {
        self.columns = columns.iter().map(|c| Column::parse(c)).collect();
        self.printer = Printer::Rows(rows);
        self
    }

    /// A selectable field whose label is its path.
    pub(crate) fn field(self, label: &'static str) -> Self {
        self.field_or(label, label, "")
    }

    pub(crate) fn field_or(mut self, label: &'static str, path: &'static str, default: &'static str) -> Self {
        self.fields.push(Field { label: label.into(), path: path.into(), default: default.into() });
        self
    }

    pub(crate) fn generation(mut self) -> Self {
        self.counts_generation = true;
        self
    }

    pub(crate) fn deprecated(mut self, warning: &'static str) -> Self {
        self.deprecated = Some(warning.into());
        self
    }

    pub(crate) fn strategy(mut self, strategy: &'static Strategy) -> Self {
        self.strategy = strategy;
        self
    }
}

/// What follows from a kind.
impl Kind {
    /// Group, version and kind.
    pub fn gvk(&self) -> GroupVersionKind {
        let (group, version) = (self.group.clone().into_owned(), self.version.clone().into_owned());
        GroupVersionKind { group, version, kind: self.kind.clone().into_owned() }
    }

    /// Group, version and resource.
    pub fn gvr(&self) -> GroupVersionResource {
        let (group, version) = (self.group.clone().into_owned(), self.version.clone().into_owned());
        GroupVersionResource { group, version, resource: self.resource.clone().into_owned() }
    }

    /// Group and kind, as errors name it.
    pub fn group_kind(&self) -> GroupKind {
        GroupKind { group: self.group.clone().into_owned(), kind: self.kind.clone().into_owned() }
    }

    /// `apiVersion` of its objects.
    pub fn api_version(&self) -> String {
        meta::gvk::api_version(&self.group, &self.version)
    }

    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// Whether it has a `status` subresource, so that the main endpoint leaves `status` alone.
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    /// Prefix of the keys of all its objects, ending in `/`; none for kinds that aren't stored.
    pub fn key_prefix(&self) -> Option<String> {
        let stored = self.stored.as_ref()?;
        let group = if stored.group.is_empty() { "core" } else { &stored.group };
        Some(format!("/registry/{group}/{}/", stored.resource))
    }

    /// Key of one object.
    pub fn key(&self, namespace: &str, name: &str) -> Option<String> {
        let prefix = self.key_prefix()?;
        Some(if self.namespaced { format!("{prefix}{namespace}/{name}") } else { format!("{prefix}{name}") })
    }

    /// `apiVersion` of the stored form.
    pub fn stored_api_version(&self) -> Option<String> {
        self.stored.as_ref().map(|s| meta::gvk::api_version(&s.group, &s.version))
    }

    /// Turns an object of this kind into its stored form.
    pub fn to_stored(&self, object: &mut Object) {
        let Some(stored) = &self.stored else { return };
        if let Some(convert) = stored.to_stored {
            convert(object);
        }
        object.api_version = meta::gvk::api_version(&stored.group, &stored.version);
    }

    /// Whether [`Kind::to_stored`] has nothing to change in an object that names this kind's version.
    pub fn stored_as_served(&self) -> bool {
        self.served_as_stored() && self.stored.as_ref().is_some_and(|s| s.to_stored.is_none())
    }

    /// Turns the stored form into an object of this kind.
    pub fn from_stored(&self, object: &mut Object) {
        if let Some(convert) = self.stored.as_ref().and_then(|s| s.from_stored) {
            convert(object);
        }
        object.api_version = self.api_version();
    }

    /// Whether bytes in the store are bytes to serve: no conversion, same `apiVersion`.
    pub fn served_as_stored(&self) -> bool {
        self.stored
            .as_ref()
            .is_some_and(|s| s.from_stored.is_none() && s.group == self.group && s.version == self.version)
    }
}
