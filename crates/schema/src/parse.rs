//! OpenAPI v3 JSON to the compact table. Descriptions are left behind: only documentation needs them.

use crate::model::{
    Additional, Arena, GoField, Id, ListType, Node, Pattern, Rules, Schema, Schemas, Strategy, Type, Zero,
};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// Nesting that a schema may have. Requests are bounded earlier; this bounds the recursion here.
const MAX_NESTING: usize = 128;

#[derive(Default)]
struct Reader {
    nodes: Vec<Node>,
    words: HashMap<Box<str>, Arc<str>>,
    definitions: HashMap<Arc<str>, Id>,
    /// Nodes without properties by their text, so that one `{"type":"string"}` serves all.
    leaves: HashMap<String, Id>,
    /// Built-in definitions: objects without any properties are open.
    built_in: bool,
    depth: usize,
}

impl Schemas {
    /// Reads a table of definitions: full name → OpenAPI v3 schema, with `$ref`s into the table.
    pub fn from_openapi(definitions: &Value) -> Self {
        let empty = Map::new();
        let table = definitions.as_object().unwrap_or(&empty);
        let mut r = Reader { built_in: true, ..Reader::default() };
        for (i, name) in table.keys().enumerate() {
            let name = r.word(name);
            r.nodes.push(Node::default());
            r.definitions.insert(name, i as Id);
        }
        let mut by_kind = HashMap::new();
        for (i, (name, schema)) in table.iter().enumerate() {
            let mut node = r.node(schema);
            if name.ends_with(".JSON") {
                // Published as an object, but any JSON value stands there (defaults and examples in CRDs).
                node.ty = Type::Any;
            }
            node.name = Some(r.word(name));
            r.nodes[i] = node;
            for gvk in schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
                let text = |key: &str| gvk[key].as_str().unwrap_or_default().to_owned();
                by_kind.insert((text("group"), text("version"), text("kind")), i as Id);
            }
        }
        let arena = Arc::new(Arena { nodes: r.nodes, ..Arena::default() });
        Self { arena, by_name: Arc::new(r.definitions), by_kind: Arc::new(by_kind) }
    }
}

impl Schema {
    /// Reads the `openAPIV3Schema` of a custom kind's version. `metadata` is ObjectMeta's schema, put in
    /// place of what the schema says about `metadata`, as upstream does.
    pub fn from_custom(schema: &Value, metadata: &Schema) -> Self {
        let mut r = Reader::default();
        let mut root = r.node(schema);
        let mut fields: Vec<(Arc<str>, Id)> = root.fields.into_vec();
        fields.retain(|(name, _)| !matches!(name.as_ref(), "apiVersion" | "kind" | "metadata"));
        for (name, ty) in [
            ("apiVersion", Type::String),
            ("kind", Type::String),
            ("metadata", Type::Foreign(metadata.clone())),
        ] {
            let id = r.push(Node { ty, ..Node::default() });
            fields.push((r.word(name), id));
        }
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        root.fields = fields.into_boxed_slice();
        if matches!(root.ty, Type::Any) {
            root.ty = Type::Object;
        }
        let id = r.push(root);
        let own = schema.pointer("/properties/metadata").filter(|m| m.get("properties").is_some());
        let names = own.map(|m| r.add(m));
        #[cfg(feature = "cel")]
        let rules = crate::cel::CelRules::compile(schema);
        let arena = Arena {
            nodes: r.nodes,
            names,
            #[cfg(feature = "cel")]
            rules,
        };
        Self(Arc::new(arena), id)
    }

    /// Reads one schema that stands alone, without any references.
    pub fn from_json(schema: &Value) -> Self {
        let mut r = Reader::default();
        let root = r.node(schema);
        let id = r.push(root);
        Self(Arc::new(Arena { nodes: r.nodes, ..Arena::default() }), id)
    }
}

fn flag(map: &Map<String, Value>, key: &str) -> bool {
    map.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    map.get(key).and_then(Value::as_str)
}

/// The name that a `$ref` ends in, on the map itself or as the only member of `allOf`.
fn reference(map: &Map<String, Value>) -> Option<&str> {
    let direct = text(map, "$ref");
    let only = map.get("allOf").and_then(Value::as_array).filter(|a| a.len() == 1);
    let wrapped = only.and_then(|a| a[0].get("$ref")).and_then(Value::as_str);
    let full = direct.or(wrapped)?;
    full.rsplit('/').next()
}

impl Reader {
    fn word(&mut self, s: &str) -> Arc<str> {
        if let Some(w) = self.words.get(s) {
            return w.clone();
        }
        let w: Arc<str> = s.into();
        self.words.insert(s.into(), w.clone());
        w
    }

    fn words(&mut self, v: Option<&Value>) -> Box<[Arc<str>]> {
        let all = v.and_then(Value::as_array).into_iter().flatten();
        all.filter_map(Value::as_str).map(|s| self.word(s)).collect()
    }

    fn push(&mut self, node: Node) -> Id {
        self.nodes.push(node);
        (self.nodes.len() - 1) as Id
    }

    /// The id of a schema below another one; equal leaves and plain references share one node.
    fn add(&mut self, schema: &Value) -> Id {
        if self.depth >= MAX_NESTING {
            return self.push(Node { preserve: true, ..Node::default() });
        }
        let key = schema.as_object().and_then(leaf_key);
        if let Some(id) = key.as_ref().and_then(|k| self.leaves.get(k)) {
            return *id;
        }
        self.depth += 1;
        let node = self.node(schema);
        self.depth -= 1;
        let id = match node {
            Node { ty: Type::Ref(to), .. } if is_bare(&node) => to,
            node => self.push(node),
        };
        if let Some(key) = key {
            self.leaves.insert(key, id);
        }
        id
    }

    fn node(&mut self, schema: &Value) -> Node {
        let Value::Object(map) = schema else {
            return Node { preserve: true, nullable: true, ..Node::default() };
        };
        let mut node = Node {
            ty: self.kind_of(map),
            format: text(map, "format").map(|f| self.word(f)),
            default: map.get("default").filter(|d| !d.is_null()).cloned().map(Box::new),
            list: list_type(map),
            list_keys: self.words(map.get("x-kubernetes-list-map-keys")),
            map_atomic: text(map, "x-kubernetes-map-type").map(|t| t == "atomic"),
            merge_key: text(map, "x-kubernetes-patch-merge-key").map(|k| self.word(k)),
            strategy: strategy(map),
            preserve: flag(map, "x-kubernetes-preserve-unknown-fields"),
            embedded: flag(map, "x-kubernetes-embedded-resource"),
            nullable: flag(map, "nullable"),
            rules: self.rules(map),
            go: self.go(map),
            ..Node::default()
        };
        if matches!(node.ty, Type::Ref(_)) {
            return node;
        }
        let fields = map.get("properties").and_then(Value::as_object).into_iter().flatten();
        let mut fields: Vec<(Arc<str>, Id)> = fields.map(|(k, v)| (self.word(k), self.add(v))).collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        let always = |id: Id| {
            let go = self.nodes.get(id as usize).and_then(|n| n.go.as_ref());
            go.is_some_and(|g| g.zero == Zero::Always)
        };
        let written = fields.iter().zip(0u32..).filter(|((_, id), _)| always(*id));
        node.always = written.map(|(_, i)| i).collect();
        node.fields = fields.into_boxed_slice();
        node.required = self.words(map.get("required"));
        node.items = map.get("items").map(|v| self.add(v));
        node.additional = match map.get("additionalProperties") {
            Some(Value::Bool(true)) => Additional::Any,
            Some(v @ Value::Object(_)) => Additional::Of(self.add(v)),
            _ => Additional::None,
        };
        let closed = !node.fields.is_empty() || !matches!(node.additional, Additional::None);
        if self.built_in && !closed && matches!(node.ty, Type::Any | Type::Object) {
            node.preserve = true;
        }
        node
    }

    fn kind_of(&mut self, map: &Map<String, Value>) -> Type {
        if let Some(id) = reference(map).and_then(|name| self.definitions.get(name)) {
            return Type::Ref(*id);
        }
        if flag(map, "x-kubernetes-int-or-string") || text(map, "format") == Some("int-or-string") {
            return Type::IntOrString;
        }
        match text(map, "type") {
            Some("object") => Type::Object,
            Some("array") => Type::Array,
            Some("string") => Type::String,
            Some("integer") => Type::Integer,
            Some("number") => Type::Number,
            Some("boolean") => Type::Boolean,
            _ if map.contains_key("properties") => Type::Object,
            _ => either(map).unwrap_or_default(),
        }
    }

    fn go(&mut self, map: &Map<String, Value>) -> Option<Box<GoField>> {
        if !self.built_in {
            return None;
        }
        let mark = text(map, "x-go-zero").unwrap_or_default();
        let (pointer, always) = (mark.starts_with('*'), mark.ends_with('!'));
        let zero = match (always, pointer) {
            (true, _) => Zero::Always,
            (false, true) => Zero::Keep,
            (false, false) => Zero::Drop,
        };
        let mut word = |key: &str| text(map, key).map(|w| self.word(w));
        let (ty, embedded) = (word("x-go-type"), word("x-go-in"));
        let any = zero != Zero::Drop || ty.is_some() || embedded.is_some();
        any.then(|| Box::new(GoField { zero, pointer, ty, embedded }))
    }

    fn rules(&mut self, map: &Map<String, Value>) -> Option<Box<Rules>> {
        let number = |key: &str| map.get(key).and_then(Value::as_f64);
        let count = |key: &str| map.get(key).and_then(Value::as_u64);
        let list = |key: &str| map.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let plain = reference(map).is_some() || either(map).is_some();
        let mut junctors = |key: &str| -> Vec<Id> {
            let all = if plain { Vec::new() } else { list(key) };
            all.iter().map(|v| self.add(v)).collect()
        };
        let mut rules = Rules {
            all_of: junctors("allOf"),
            any_of: junctors("anyOf"),
            one_of: junctors("oneOf"),
            allowed: list("enum"),
            minimum: number("minimum"),
            maximum: number("maximum"),
            exclusive_minimum: flag(map, "exclusiveMinimum"),
            exclusive_maximum: flag(map, "exclusiveMaximum"),
            multiple_of: number("multipleOf"),
            min_length: count("minLength"),
            max_length: count("maxLength"),
            min_items: count("minItems"),
            max_items: count("maxItems"),
            min_properties: count("minProperties"),
            max_properties: count("maxProperties"),
            unique_items: flag(map, "uniqueItems"),
            pattern: text(map, "pattern").filter(|p| !p.is_empty()).map(Pattern::new),
            not: None,
        };
        if let Some(not) = map.get("not").filter(|n| n.is_object()) {
            rules.not = Some(self.add(not));
        }
        let any =
            ["enum", "minimum", "maximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems"]
                .into_iter()
                .chain([
                    "minProperties",
                    "maxProperties",
                    "uniqueItems",
                    "pattern",
                    "not",
                    "x-kubernetes-validations",
                ])
                .any(|key| map.contains_key(key));
        let joined = !(rules.all_of.is_empty() && rules.any_of.is_empty() && rules.one_of.is_empty());
        (any || joined).then(|| Box::new(rules))
    }
}

/// `oneOf: [string, integer]` is an IntOrString and `oneOf: [string, number]` a Quantity in upstream's
/// published definitions of built-in types.
fn either(map: &Map<String, Value>) -> Option<Type> {
    if map.contains_key("type") {
        return None;
    }
    let [a, b] = map.get("oneOf")?.as_array()?.as_slice() else { return None };
    let only =
        |v: &Value| v.as_object().filter(|m| m.len() == 1).and_then(|m| text(m, "type")).map(str::to_owned);
    match (only(a)?.as_str(), only(b)?.as_str()) {
        ("string", "integer") | ("integer", "string") => Some(Type::IntOrString),
        ("string", "number") | ("number", "string") => Some(Type::Quantity),
        _ => None,
    }
}

fn list_type(map: &Map<String, Value>) -> ListType {
    match text(map, "x-kubernetes-list-type") {
        Some("atomic") => ListType::Atomic,
        Some("set") => ListType::Set,
        Some("map") => ListType::Map,
        _ => ListType::Unset,
    }
}

fn strategy(map: &Map<String, Value>) -> Strategy {
    let words = text(map, "x-kubernetes-patch-strategy").unwrap_or_default();
    let has = |w: &str| words.split(',').any(|x| x.trim() == w);
    Strategy { merge: has("merge"), retain_keys: has("retainKeys"), replace: has("replace") }
}

/// The text by which equal leaves are recognized; none for a schema with schemas below it.
fn leaf_key(map: &Map<String, Value>) -> Option<String> {
    if ["properties", "items", "additionalProperties", "not", "anyOf"].iter().any(|k| map.contains_key(*k)) {
        return None;
    }
    let rest: Map<String, Value> =
        map.iter().filter(|(k, _)| *k != "description").map(|(k, v)| (k.clone(), v.clone())).collect();
    Some(Value::Object(rest).to_string())
}

/// A reference that adds nothing.
fn is_bare(node: &Node) -> bool {
    node.default.is_none()
        && node.list == ListType::Unset
        && node.map_atomic.is_none()
        && node.merge_key.is_none()
        && !node.strategy.is_set()
        && !node.nullable
        && node.rules.is_none()
        && node.go.is_none()
}
