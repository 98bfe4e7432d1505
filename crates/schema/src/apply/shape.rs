//! How server-side apply sees a place in a schema: as a scalar, a map or a list, granular or atomic
//! (`k8s.io/kube-openapi/pkg/schemaconv`).

use super::fields;
use crate::model::{Additional, Cursor, ListType, Type};
use serde_json::Value;
use std::sync::Arc;

/// A place in a schema, or one that the schema says nothing of.
#[derive(Clone, Copy)]
pub(super) enum At<'a> {
    /// In the schema; and whether something above it keeps unknown fields.
    Known(Cursor<'a>, bool),
    /// Unknown but kept: maps are granular, lists atomic.
    Deduced,
    /// Unknown: everything is atomic.
    Untyped,
    /// Not declared.
    Missing,
}

/// How items of a granular list are told apart.
#[derive(Clone, Copy)]
pub(super) enum Items<'a> {
    Atomic,
    Set,
    Keys(&'a [Arc<str>]),
    Key(&'a str),
}

/// What a value at a place is.
#[derive(Clone, Copy)]
pub(super) enum Shape<'a> {
    Scalar,
    Map { atomic: bool },
    List(Items<'a>),
}

impl Shape<'_> {
    pub(super) fn same(self, other: Shape<'_>) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

impl<'a> At<'a> {
    pub(super) fn root(c: Cursor<'a>) -> Self {
        At::Known(c, false)
    }

    /// The place of a member, and whether it is a named field.
    pub(super) fn member(self, name: &str) -> (At<'a>, bool) {
        let At::Known(c, kept) = self else { return (self, false) };
        let kept = kept || c.node.preserve;
        if let Some(p) = c.property(name) {
            return (At::Known(p, kept), true);
        }
        let at = match c.node.additional {
            Additional::Of(id) => At::Known(c.at(id), kept),
            Additional::Any => At::Deduced,
            Additional::None if kept || c.node.fields.is_empty() => At::Deduced,
            Additional::None => At::Missing,
        };
        (at, false)
    }

    pub(super) fn item(self) -> At<'a> {
        match self {
            At::Known(c, kept) => c.items().map_or(At::Untyped, |i| At::Known(i, kept)),
            _ => At::Untyped,
        }
    }

    fn items(c: Cursor<'a>) -> Items<'a> {
        match (c.list(), c.strategy().merge, c.merge_key()) {
            (ListType::Set, ..) => Items::Set,
            (ListType::Map, ..) => Items::Keys(&c.node.list_keys),
            (ListType::Unset, true, Some(key)) => Items::Key(key),
            (ListType::Unset, true, None) => Items::Set,
            _ => Items::Atomic,
        }
    }

    /// What a value is here; nothing and null are whatever the place is first of all.
    pub(super) fn shape(self, v: Option<&Value>) -> Shape<'a> {
        let free = |atomic: bool, list: Items<'a>| match v {
            None | Some(Value::Null | Value::Object(_)) => Shape::Map { atomic },
            Some(Value::Array(_)) => Shape::List(list),
            Some(_) => Shape::Scalar,
        };
        match self {
            At::Known(c, _) if c.is_definition("RawExtension") => free(true, Items::Atomic),
            At::Known(c, _) => match c.ty() {
                Type::Object => Shape::Map { atomic: c.map_atomic() },
                Type::Array => Shape::List(Self::items(c)),
                Type::Any => free(c.map_atomic(), Self::items(c)),
                _ => Shape::Scalar,
            },
            At::Deduced => free(false, Items::Atomic),
            At::Untyped | At::Missing => free(true, Items::Atomic),
        }
    }

    /// The step to an item of a granular list; an error in upstream's words.
    pub(super) fn step(self, items: Items<'a>, item: &Value) -> Result<String, String> {
        let one: [Arc<str>; 1];
        let keys = match items {
            Items::Keys(keys) => keys,
            Items::Key(key) => {
                one = [key.into()];
                &one
            }
            Items::Set | Items::Atomic => return set_step(item),
        };
        let map = match item {
            Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
            Value::Object(map) => map,
            _ => return Err("associative list with keys may not have non-map elements".to_owned()),
        };
        let default = |key: &str| match self.item() {
            At::Known(c, _) => c.property(key).and_then(Cursor::default),
            _ => None,
        };
        let found: Vec<(&str, &Value)> = keys
            .iter()
            .filter_map(|k| map.get(k.as_ref()).or_else(|| default(k)).map(|v| (k.as_ref(), v)))
            .collect();
        if found.is_empty() {
            let names: Vec<String> = keys.iter().map(|k| format!("{k:?}")).collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
                names.join(" ")
            ));
        }
        Ok(fields::item_keys(found.into_iter()))
    }
}

fn set_step(item: &Value) -> Result<String, String> {
    match item {
        Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
        Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
        Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
        v => Ok(fields::item_value(v)),
    }
}

/// Equality in which `1` and `1.0` are one number.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(a, b)| same(a, b)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(k, v)| y.get(k).is_some_and(|w| same(v, w)))
        }
        _ => a == b,
    }
}
