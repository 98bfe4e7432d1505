//! The compact table of schemas and the cursors that walk it.

use regex::Regex;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock};

/// Index of a node in its arena.
pub(crate) type Id = u32;

/// What JSON a node describes.
#[derive(Clone, Debug, Default)]
pub(crate) enum Type {
    /// Anything.
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    /// `x-kubernetes-int-or-string`.
    IntOrString,
    /// `resource.Quantity`: a string or a number.
    Quantity,
    /// A node of the same arena; this one only adds attributes.
    Ref(Id),
    /// A schema of another arena, for example the built-in ObjectMeta below a custom kind.
    Foreign(Schema),
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ListType {
    /// Not said: atomic for server-side apply.
    #[default]
    Unset,
    Atomic,
    Set,
    Map,
}

/// What keys besides the named properties an object may have.
#[derive(Clone, Debug, Default)]
pub(crate) enum Additional {
    #[default]
    None,
    /// `additionalProperties: true`.
    Any,
    Of(Id),
}

/// `x-kubernetes-patch-strategy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Strategy {
    pub(crate) merge: bool,
    pub(crate) retain_keys: bool,
    pub(crate) replace: bool,
}

impl Strategy {
    pub(crate) fn is_set(self) -> bool {
        self.merge || self.retain_keys || self.replace
    }
}

/// A pattern, compiled when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct Pattern {
    pub(crate) text: String,
    compiled: OnceLock<Result<Regex, String>>,
}

/// Bytes that one compiled pattern may take; a schema's author chooses the pattern.
const MAX_REGEX_BYTES: usize = 1 << 20;

impl Pattern {
    pub(crate) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), compiled: OnceLock::new() }
    }

    pub(crate) fn regex(&self) -> Result<&Regex, &str> {
        let made = self.compiled.get_or_init(|| {
            let built = regex::RegexBuilder::new(&self.text).size_limit(MAX_REGEX_BYTES).build();
            built.map_err(|e| e.to_string())
        });
        made.as_ref().map_err(String::as_str)
    }
}

/// Value validations, apart from the structure: most nodes have none.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    pub(crate) allowed: Vec<Value>,
    pub(crate) minimum: Option<f64>,
    pub(crate) maximum: Option<f64>,
    pub(crate) exclusive_minimum: bool,
    pub(crate) exclusive_maximum: bool,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_items: Option<u64>,
    pub(crate) min_properties: Option<u64>,
    pub(crate) max_properties: Option<u64>,
    pub(crate) unique_items: bool,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) all_of: Vec<Id>,
    pub(crate) any_of: Vec<Id>,
    pub(crate) one_of: Vec<Id>,
    pub(crate) not: Option<Id>,
}

/// What becomes of an empty value of a built-in kind's field, as Go writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Zero {
    /// It goes.
    #[default]
    Drop,
    /// It stays: the field is a pointer.
    Keep,
    /// It is written also where nobody set it.
    Always,
}

/// What Go's type says of a field of a built-in kind.
#[derive(Debug, Default)]
pub(crate) struct GoField {
    pub(crate) zero: Zero,
    /// Whether nothing is nil here also where it is always written.
    pub(crate) pointer: bool,
    /// What errors call its type, where that doesn't follow from the schema.
    pub(crate) ty: Option<Arc<str>>,
    /// The embedded structs that it stands in, joined by dots.
    pub(crate) embedded: Option<Arc<str>>,
}

/// One node of the table.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) ty: Type,
    /// Full name of the definition, for example `io.k8s.api.apps.v1.DeploymentSpec`.
    pub(crate) name: Option<Arc<str>>,
    /// Properties, sorted by name.
    pub(crate) fields: Box<[(Arc<str>, Id)]>,
    pub(crate) required: Box<[Arc<str>]>,
    pub(crate) additional: Additional,
    pub(crate) items: Option<Id>,
    pub(crate) format: Option<Arc<str>>,
    pub(crate) default: Option<Box<Value>>,
    pub(crate) list: ListType,
    pub(crate) list_keys: Box<[Arc<str>]>,
    pub(crate) map_atomic: Option<bool>,
    pub(crate) merge_key: Option<Arc<str>>,
    pub(crate) strategy: Strategy,
    pub(crate) preserve: bool,
    pub(crate) embedded: bool,
    pub(crate) nullable: bool,
    pub(crate) rules: Option<Box<Rules>>,
    /// What Go says of the field that this node was made for.
    pub(crate) go: Option<Box<GoField>>,
    /// Which of `fields` are always written.
    pub(crate) always: Box<[u32]>,
}

/// The nodes that belong together.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    pub(crate) nodes: Vec<Node>,
    /// What a custom kind demands of `metadata.name` and `metadata.generateName`.
    pub(crate) names: Option<Id>,
    /// A custom kind's CEL rules.
    #[cfg(feature = "cel")]
    pub(crate) rules: Option<crate::cel::CelRules>,
}

/// A place in a schema: the node there, and the node that adds attributes to it where it is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    arena: &'a Arena,
    over: &'a Node,
    pub(crate) node: &'a Node,
}

/// Stands in for an id that no node has, which the parser never makes.
static NOWHERE: LazyLock<Node> = LazyLock::new(|| Node { preserve: true, nullable: true, ..Node::default() });

impl Arena {
    fn node(&self, id: Id) -> &Node {
        self.nodes.get(id as usize).unwrap_or(&NOWHERE)
    }

    pub(crate) fn at(&self, id: Id) -> Cursor<'_> {
        let over = self.node(id);
        match &over.ty {
            Type::Ref(to) => Cursor { arena: self, over, node: self.node(*to) },
            Type::Foreign(s) => {
                let there = s.cursor();
                Cursor { arena: there.arena, over, node: there.node }
            }
            _ => Cursor { arena: self, over, node: over },
        }
    }
}

impl<'a> Cursor<'a> {
    pub(crate) fn at(self, id: Id) -> Cursor<'a> {
        self.arena.at(id)
    }

    /// The property `name`, if it is one of the named ones.
    pub(crate) fn property(self, name: &str) -> Option<Cursor<'a>> {
        let at = self.node.fields.binary_search_by(|(n, _)| n.as_ref().cmp(name)).ok()?;
        self.node.fields.get(at).map(|(_, id)| self.at(*id))
    }

    /// The schema of values under keys that are no named property.
    pub(crate) fn additional(self) -> Option<Cursor<'a>> {
        match self.node.additional {
            Additional::Of(id) => Some(self.at(id)),
            _ => None,
        }
    }

    /// The property `name`, or what additional keys hold.
    pub(crate) fn child(self, name: &str) -> Option<Cursor<'a>> {
        self.property(name).or_else(|| self.additional())
    }

    pub(crate) fn items(self) -> Option<Cursor<'a>> {
        self.node.items.map(|id| self.at(id))
    }

    pub(crate) fn ty(self) -> &'a Type {
        &self.node.ty
    }

    pub(crate) fn default(self) -> Option<&'a Value> {
        self.over.default.as_deref().or(self.node.default.as_deref())
    }

    pub(crate) fn nullable(self) -> bool {
        self.over.nullable || self.node.nullable
    }

    pub(crate) fn list(self) -> ListType {
        if self.over.list == ListType::Unset { self.node.list } else { self.over.list }
    }

    pub(crate) fn map_atomic(self) -> bool {
        self.over.map_atomic.or(self.node.map_atomic).unwrap_or(false)
    }

    pub(crate) fn merge_key(self) -> Option<&'a str> {
        self.over.merge_key.as_deref().or(self.node.merge_key.as_deref())
    }

    pub(crate) fn strategy(self) -> Strategy {
        if self.over.strategy.is_set() { self.over.strategy } else { self.node.strategy }
    }

    /// Both nodes' value validations.
    pub(crate) fn rules(self) -> impl Iterator<Item = &'a Rules> {
        let same = std::ptr::eq(self.over, self.node);
        let over = if same { None } else { self.over.rules.as_deref() };
        over.into_iter().chain(self.node.rules.as_deref())
    }

    /// What Go says of the field that led here.
    pub(crate) fn go(self) -> Option<&'a GoField> {
        self.over.go.as_deref()
    }

    /// What becomes of an empty value here.
    pub(crate) fn zero(self) -> Zero {
        self.go().map(|g| g.zero).unwrap_or_default()
    }

    /// The fields that are written also where nobody set them.
    pub(crate) fn always(self) -> impl Iterator<Item = (&'a str, Cursor<'a>)> {
        let fields = self.node.always.iter().filter_map(move |i| self.node.fields.get(*i as usize));
        fields.map(move |(name, id)| (name.as_ref(), self.at(*id)))
    }

    /// The last step of the definition's name: `DeploymentSpec`.
    pub(crate) fn short_name(self) -> &'a str {
        self.node.name.as_deref().map_or("", |n| n.rsplit('.').next().unwrap_or(n))
    }

    /// Whether the node is the definition with this last step of its name.
    pub(crate) fn is_definition(self, short: &str) -> bool {
        self.node.name.is_some() && self.short_name() == short
    }
}

/// A schema of one kind or type: a handle, cheap to clone.
#[derive(Clone)]
pub struct Schema(pub(crate) Arc<Arena>, pub(crate) Id);

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Schema({:?}, {})", self.name(), self.1)
    }
}

impl Schema {
    pub(crate) fn cursor(&self) -> Cursor<'_> {
        self.0.at(self.1)
    }

    /// Full name of the definition, where it has one.
    pub fn name(&self) -> Option<&str> {
        self.cursor().node.name.as_deref()
    }

    /// Whether `path` leads to a named property, for example `["status"]`.
    pub fn has(&self, path: &[&str]) -> bool {
        path.iter().try_fold(self.cursor(), |c, step| c.property(step)).is_some()
    }
}

/// The schemas of all built-in kinds and of the types that they are made of.
#[derive(Clone, Default)]
pub struct Schemas {
    pub(crate) arena: Arc<Arena>,
    pub(crate) by_name: Arc<HashMap<Arc<str>, Id>>,
    /// (group, version, kind) → definition.
    pub(crate) by_kind: Arc<HashMap<(String, String, String), Id>>,
}

impl Schemas {
    /// The definition with this full name.
    pub fn get(&self, name: &str) -> Option<Schema> {
        self.by_name.get(name).map(|id| Schema(self.arena.clone(), *id))
    }

    /// The definition that says of itself that it is this kind.
    pub fn kind(&self, group: &str, version: &str, kind: &str) -> Option<Schema> {
        let key = (group.to_owned(), version.to_owned(), kind.to_owned());
        self.by_kind.get(&key).map(|id| Schema(self.arena.clone(), *id))
    }

    /// How many definitions there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

/// Handles are shared between threads; with CEL rules in them too.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Schema>();
};
