//! A schema's rules, parsed once, in a tree like the schema's.

use kube_cel::cel::common::ast::IdedExpr;
use kube_cel::cel::parser::Parser;
use serde_json::Value;
use std::collections::BTreeMap;

/// Nesting of a schema that is followed; a schema that nests deeper is refused elsewhere.
const DEPTH_MAX: usize = 64;

/// The rules at one node of a schema, and below it.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) rules: Vec<Rule>,
    pub(super) properties: BTreeMap<String, Node>,
    pub(super) items: Option<Box<Node>>,
    pub(super) additional: Option<Box<Node>>,
    pub(super) all_of: Vec<Node>,
}

/// One of `x-kubernetes-validations`.
#[derive(Debug)]
pub(super) struct Rule {
    /// As it stands in the schema.
    pub(super) source: Value,
    /// What must be true; or why it doesn't parse. None where it is empty.
    pub(super) expression: Option<Result<IdedExpr, String>>,
    /// What says why it isn't.
    pub(super) message: Option<Result<IdedExpr, String>>,
    /// Whether it looks at what was before.
    pub(super) uses_old: bool,
}

impl Rule {
    fn of(source: &Value) -> Self {
        let parsed = |key: &str| {
            let text = source.get(key).and_then(Value::as_str).unwrap_or_default();
            (!text.trim().is_empty()).then(|| parse(text))
        };
        let expression = parsed("rule");
        let uses_old = match &expression {
            Some(Ok(e)) => e.references().has_variable("oldSelf"),
            _ => false,
        };
        Self { source: source.clone(), expression, message: parsed("messageExpression"), uses_old }
    }

    /// A text of the rule; empty where there is none.
    pub(super) fn text(&self, key: &str) -> &str {
        self.source.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// What errors call the rule by: its message, or else itself.
    pub(super) fn shown(&self) -> &str {
        match self.text("message").trim() {
            "" => self.text("rule").trim(),
            message => message,
        }
    }

    /// Whether it runs without what was before, which it then sees as none.
    pub(super) fn is_old_optional(&self) -> bool {
        self.source.get("optionalOldSelf") == Some(&Value::Bool(true))
    }
}

/// Parses an expression; the error is the compiler's.
pub(super) fn parse(text: &str) -> Result<IdedExpr, String> {
    let parser = Parser::new().enable_optional_syntax(true);
    // The compiler of upstream indents the lines below its sentence.
    parser.parse(text).map_err(|e| e.to_string().replace("\n|", "\n |"))
}

impl Node {
    /// The rules of a schema.
    pub(super) fn of(schema: &Value) -> Self {
        Self::at(schema, 0)
    }

    fn at(schema: &Value, depth: usize) -> Self {
        if depth > DEPTH_MAX {
            return Self::default();
        }
        let list = |key: &str| schema.get(key).and_then(Value::as_array).into_iter().flatten();
        let below = |key: &str| {
            let found = schema.get(key).filter(|s| s.is_object());
            found.map(|s| Self::at(s, depth + 1)).filter(|n| !n.is_empty()).map(Box::new)
        };
        let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        let properties = properties.map(|(name, s)| (name.clone(), Self::at(s, depth + 1)));
        Self {
            rules: list("x-kubernetes-validations").map(Rule::of).collect(),
            properties: properties.filter(|(_, n)| !n.is_empty()).collect(),
            items: below("items"),
            additional: below("additionalProperties"),
            all_of: list("allOf").map(|s| Self::at(s, depth + 1)).collect(),
        }
    }

    /// Whether nothing is to be run here or below.
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
            && self.properties.is_empty()
            && self.items.is_none()
            && self.additional.is_none()
            && self.all_of.iter().all(Self::is_empty)
    }
}
