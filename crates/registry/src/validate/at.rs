//! A place in an object: a value with its path, for validation that reads like a list of rules.

use meta::names;
use meta::quantity::Quantity;
use meta::{FieldError, FieldPath, LabelSelector, Object};
use serde_json::Value;
use std::collections::BTreeSet;
use std::rc::Rc;

/// What is wrong, in the order in which it was found.
pub(crate) type Faults = Vec<FieldError>;

/// One step of a path. Paths are made into text only where there is something to say.
enum Step {
    Root(FieldPath),
    Field(Rc<Step>, &'static str),
    Index(Rc<Step>, usize),
    Key(Rc<Step>, String),
}

impl Step {
    fn path(&self) -> FieldPath {
        match self {
            Self::Root(path) => path.clone(),
            Self::Field(up, name) => up.path().child(name),
            Self::Index(up, i) => up.path().index(*i),
            Self::Key(up, key) => up.path().key(key),
        }
    }
}

/// A value and where it stands. An absent value reads as null.
#[derive(Clone)]
pub(crate) struct At<'a> {
    value: &'a Value,
    step: Rc<Step>,
}

static NULL: Value = Value::Null;

impl<'a> At<'a> {
    /// The value at a top-level field of the object.
    pub(crate) fn top(object: &'a Object, field: &'static str) -> Self {
        let value = object.body.get(field).unwrap_or(&NULL);
        Self { value, step: Rc::new(Step::Root(FieldPath::new(field))) }
    }

    /// A value at a path of its own.
    pub(crate) fn new(value: &'a Value, path: FieldPath) -> Self {
        Self { value, step: Rc::new(Step::Root(path)) }
    }

    /// The value.
    pub(crate) fn value(&self) -> &'a Value {
        self.value
    }

    /// The path.
    pub(crate) fn path(&self) -> FieldPath {
        self.step.path()
    }

    /// A field below.
    pub(crate) fn get(&self, field: &'static str) -> Self {
        let value = self.value.get(field).unwrap_or(&NULL);
        Self { value, step: Rc::new(Step::Field(self.step.clone(), field)) }
    }

    /// The items of a list.
    pub(crate) fn items(&self) -> impl Iterator<Item = Self> + use<'a> {
        let items = self.value.as_array().map_or(&[][..], Vec::as_slice);
        let step = self.step.clone();
        items
            .iter()
            .enumerate()
            .map(move |(i, value)| Self { value, step: Rc::new(Step::Index(step.clone(), i)) })
    }

    /// The entries of a map.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a str, Self)> + use<'a> {
        let step = self.step.clone();
        self.value.as_object().into_iter().flatten().map(move |(key, value)| {
            (key.as_str(), Self { value, step: Rc::new(Step::Key(step.clone(), key.clone())) })
        })
    }

    /// Whether there is a value.
    pub(crate) fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    /// Whether upstream's typed form would be empty: absent, `""`, `[]`, `{}`.
    pub(crate) fn is_empty(&self) -> bool {
        match self.value {
            Value::Null => true,
            Value::String(s) => s.is_empty(),
            Value::Array(a) => a.is_empty(),
            Value::Object(o) => o.is_empty(),
            _ => false,
        }
    }

    /// The text, or the empty one.
    pub(crate) fn str(&self) -> &'a str {
        self.value.as_str().unwrap_or_default()
    }

    /// The number, if it is one.
    pub(crate) fn int(&self) -> Option<i64> {
        self.value.as_i64()
    }

    /// The flag; false where there is none.
    pub(crate) fn flag(&self) -> bool {
        self.value.as_bool().unwrap_or_default()
    }

    /// The quantity, if it is one.
    pub(crate) fn quantity(&self) -> Option<Quantity> {
        let text = self.value.as_str().map_or_else(|| self.value.to_string(), str::to_owned);
        Quantity::parse(&text).ok()
    }

    /// How many items.
    pub(crate) fn len(&self) -> usize {
        self.value.as_array().map_or(0, Vec::len)
    }

    /// This value is wrong.
    pub(crate) fn invalid(&self, why: impl Into<String>) -> FieldError {
        FieldError::invalid(&self.path(), self.value.clone(), why)
    }

    /// What stands here is wrong, whatever it is: the value is not shown.
    pub(crate) fn invalid_as_such(&self, why: impl Into<String>) -> FieldError {
        FieldError::invalid_as_such(&self.path(), why)
    }

    /// A value is missing here.
    pub(crate) fn missing(&self, why: impl Into<String>) -> FieldError {
        FieldError::required(&self.path(), why)
    }

    /// No value may stand here.
    pub(crate) fn forbidden(&self, why: impl Into<String>) -> FieldError {
        FieldError::forbidden(&self.path(), why)
    }

    /// This value stands twice.
    pub(crate) fn duplicate(&self) -> FieldError {
        FieldError::duplicate(&self.path(), self.value.clone())
    }

    /// Must not be empty. True if it is not.
    pub(crate) fn required(&self, faults: &mut Faults) -> bool {
        if self.is_empty() {
            faults.push(self.missing(""));
        }
        !self.is_empty()
    }

    /// A text that the rule finds nothing wrong with.
    pub(crate) fn rule(&self, rule: fn(&str) -> Vec<String>, faults: &mut Faults) {
        let text = self.str();
        faults.extend(rule(text).into_iter().map(|why| FieldError::invalid(&self.path(), text, why)));
    }

    /// A text that must be there and keep the rule.
    pub(crate) fn required_rule(&self, rule: fn(&str) -> Vec<String>, faults: &mut Faults) {
        if self.required(faults) {
            self.rule(rule, faults);
        }
    }

    /// A text that keeps the rule where it is there.
    pub(crate) fn optional_rule(&self, rule: fn(&str) -> Vec<String>, faults: &mut Faults) {
        if !self.is_empty() {
            self.rule(rule, faults);
        }
    }

    /// A text that keeps the rule where it is there, also if it is empty (upstream: a pointer).
    pub(crate) fn set_rule(&self, rule: fn(&str) -> Vec<String>, faults: &mut Faults) {
        if self.is_set() {
            self.rule(rule, faults);
        }
    }

    /// One of the words; must be there.
    pub(crate) fn one_of(&self, words: &[&str], faults: &mut Faults) {
        if self.required(faults) {
            self.known(words, faults);
        }
    }

    /// One of the words where it is there.
    pub(crate) fn optional_one_of(&self, words: &[&str], faults: &mut Faults) {
        if self.is_set() {
            self.known(words, faults);
        }
    }

    /// One of the words; the empty one isn't.
    pub(crate) fn known(&self, words: &[&str], faults: &mut Faults) {
        if !words.contains(&self.str()) {
            faults.push(FieldError::not_supported(&self.path(), self.str(), words));
        }
    }

    /// A number of 0 or more, where it is there.
    pub(crate) fn non_negative(&self, faults: &mut Faults) {
        if self.int().is_some_and(|n| n < 0) {
            faults.push(self.invalid(super::NEGATIVE));
        }
    }

    /// A port number.
    pub(crate) fn port(&self, faults: &mut Faults) {
        let number = self.int().unwrap_or(0);
        faults.extend(
            names::port_number(number).into_iter().map(|why| FieldError::invalid(&self.path(), number, why)),
        );
    }

    /// A port's number or name.
    pub(crate) fn port_or_name(&self, faults: &mut Faults) {
        match self.value {
            Value::String(_) => self.rule(names::port_name, faults),
            _ => self.port(faults),
        }
    }

    /// A label selector, where it is there.
    pub(crate) fn selector(&self, faults: &mut Faults) -> Option<LabelSelector> {
        let selector = LabelSelector::from_value(self.value).ok()?;
        faults.extend(selector.validate(&self.path()));
        Some(selector)
    }

    /// A map of labels.
    pub(crate) fn labels(&self, faults: &mut Faults) {
        for (key, value) in self.entries() {
            faults.extend(
                names::qualified_name(key).into_iter().map(|why| FieldError::invalid(&self.path(), key, why)),
            );
            let text = value.str();
            faults.extend(
                names::label_value(text).into_iter().map(|why| FieldError::invalid(&self.path(), text, why)),
            );
        }
    }

    /// A number within bounds, where it is there.
    pub(crate) fn within(&self, min: i64, max: i64, faults: &mut Faults) {
        if let Some(n) = self.int() {
            faults.extend(names::range(n, min, max).into_iter().map(|why| self.invalid(why)));
        }
    }
}

/// Names that must differ.
#[derive(Default)]
pub(crate) struct Unique(BTreeSet<String>);

impl Unique {
    /// Whether `name` was there already; notes it.
    pub(crate) fn has(&mut self, name: &str) -> bool {
        !self.0.insert(name.to_owned())
    }

    /// Whether one of them is as asked for.
    pub(crate) fn any(&self, is: impl Fn(&str) -> bool) -> bool {
        self.0.iter().any(|name| is(name))
    }

    /// All of them, in order.
    pub(crate) fn joined(&self) -> String {
        self.0.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    /// Whether `name` is there.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// A fault where the text at `at` was there already.
    pub(crate) fn check(&mut self, at: &At<'_>, faults: &mut Faults) {
        if self.has(at.str()) {
            faults.push(at.duplicate());
        }
    }
}
