//! Label selectors and field selectors: their text, their objects, and what they match
//! (`k8s.io/apimachinery/pkg/labels`, `pkg/fields`, `metav1.LabelSelector`).

mod field_text;
mod label_text;

use crate::field::{FieldError, FieldPath};
use crate::names;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

pub use field_text::{FieldSelector, FieldTerm};

/// Why a selector is not one; the text is upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

/// How a [`Requirement`] relates a key and its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `key=value`
    Equals,
    /// `key==value`
    DoubleEquals,
    /// `key!=value`
    NotEquals,
    /// `key in (a,b)`
    In,
    /// `key notin (a,b)`
    NotIn,
    /// `key`
    Exists,
    /// `!key`
    DoesNotExist,
    /// `key>1`
    GreaterThan,
    /// `key<1`
    LessThan,
}

/// One term of a label selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Label key.
    pub key: String,
    /// Relation.
    pub operator: Operator,
    /// Values, sorted and without repeats when parsed from text.
    pub values: Vec<String>,
}

/// A label selector: every requirement must hold. Empty matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

/// `metav1.LabelSelector`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels that must be there with these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// `metav1.LabelSelectorRequirement`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelectorRequirement {
    /// Label key.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// Values for `In` and `NotIn`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

impl Requirement {
    /// Checks the parts as upstream's `labels.NewRequirement` does.
    pub fn new(key: &str, operator: Operator, values: Vec<String>) -> Result<Self, SelectorError> {
        use Operator::*;
        let path = FieldPath::new("values");
        let mut errors: Vec<FieldError> = key_error(key, &FieldPath::new("key")).into_iter().collect();
        let count = values.len();
        let wrong = match operator {
            In | NotIn if count == 0 => "for 'in', 'notin' operators, values set can't be empty",
            Equals | DoubleEquals | NotEquals if count != 1 => {
                "exact-match compatibility requires one single value"
            }
            Exists | DoesNotExist if count != 0 => "values set must be empty for exists and does not exist",
            GreaterThan | LessThan if count != 1 => "for 'Gt', 'Lt' operators, exactly one value is required",
            _ => "",
        };
        if !wrong.is_empty() {
            errors.push(FieldError::invalid(&path, values.clone(), wrong));
        }
        for (i, value) in values.iter().enumerate() {
            if matches!(operator, GreaterThan | LessThan) && value.parse::<i64>().is_err() {
                let why = "for 'Gt', 'Lt' operators, the value must be an integer";
                errors.push(FieldError::invalid(&path.index(i), value.as_str(), why));
            }
        }
        for (i, value) in values.iter().enumerate() {
            let why = names::label_value(value);
            if !why.is_empty() {
                errors.push(FieldError::invalid(&path.index(i).key(key), value.as_str(), why.join("; ")));
            }
        }
        match errors.as_slice() {
            [] => Ok(Self { key: key.to_owned(), operator, values }),
            [one] => Err(SelectorError(one.to_string())),
            many => {
                let texts: Vec<String> = many.iter().map(ToString::to_string).collect();
                Err(SelectorError(format!("[{}]", texts.join(", "))))
            }
        }
    }

    /// Whether a label set fulfils the requirement; `get` looks a key up.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        use Operator::*;
        let label = get(&self.key);
        let has = |v: &str| self.values.iter().any(|x| x == v);
        match self.operator {
            In | Equals | DoubleEquals => label.is_some_and(has),
            NotIn | NotEquals => !label.is_some_and(has),
            Exists => label.is_some(),
            DoesNotExist => label.is_none(),
            GreaterThan | LessThan => {
                let (Some(Ok(have)), [bound]) = (label.map(str::parse::<i64>), self.values.as_slice()) else {
                    return false;
                };
                let Ok(bound) = bound.parse::<i64>() else { return false };
                if self.operator == GreaterThan { have > bound } else { have < bound }
            }
        }
    }
}

fn key_error(key: &str, path: &FieldPath) -> Option<FieldError> {
    let why = names::qualified_name(key);
    (!why.is_empty()).then(|| FieldError::invalid(path, key, why.join("; ")))
}

impl fmt::Display for Requirement {
    /// The term as it stands in a query parameter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Operator::*;
        let mut values = self.values.clone();
        values.sort();
        let (key, values) = (&self.key, values.join(","));
        match self.operator {
            Exists => f.write_str(key),
            DoesNotExist => write!(f, "!{key}"),
            Equals => write!(f, "{key}={values}"),
            DoubleEquals => write!(f, "{key}=={values}"),
            NotEquals => write!(f, "{key}!={values}"),
            In => write!(f, "{key} in ({values})"),
            NotIn => write!(f, "{key} notin ({values})"),
            GreaterThan => write!(f, "{key}>{values}"),
            LessThan => write!(f, "{key}<{values}"),
        }
    }
}

impl Selector {
    /// Matches every object.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Matches no object, as an absent (null) `LabelSelector` does.
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// Parses a query parameter such as `a=b,c!=d,e in (x,y),!f`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        label_text::parse(text).map(Self::from_requirements)
    }

    /// From requirements; they are sorted by key.
    pub fn from_requirements(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements, nothing: false }
    }

    /// Matches objects that have all of `labels`; the labels are taken as valid.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Self {
        let term = |(k, v): (&String, &String)| Requirement {
            key: k.clone(),
            operator: Operator::Equals,
            values: vec![v.clone()],
        };
        Self { requirements: labels.iter().map(term).collect(), nothing: false }
    }

    /// Whether the labels fulfil every requirement.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches_with(|k| labels.get(k).map(String::as_str))
    }

    /// Like [`Selector::matches`] over any look-up.
    pub fn matches_with<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(&get))
    }

    /// Whether the selector restricts nothing.
    pub fn is_empty(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    /// The terms, sorted by key.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, r) in self.requirements.iter().enumerate() {
            write!(f, "{}{r}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl LabelSelector {
    /// Reads the object out of JSON; `null` or a wrong shape is an error text.
    pub fn from_value(v: &serde_json::Value) -> Result<Self, SelectorError> {
        Self::deserialize(v).map_err(|e| SelectorError(e.to_string()))
    }

    /// The selector that the object means (`metav1.LabelSelectorAsSelector`). Empty matches everything; for
    /// an absent object use [`Selector::nothing`].
    pub fn selector(&self) -> Result<Selector, SelectorError> {
        let mut all = Vec::with_capacity(self.match_labels.len() + self.match_expressions.len());
        for (key, value) in &self.match_labels {
            all.push(Requirement::new(key, Operator::Equals, vec![value.clone()])?);
        }
        for e in &self.match_expressions {
            let operator = match e.operator.as_str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    return Err(SelectorError(format!("{other:?} is not a valid label selector operator")));
                }
            };
            all.push(Requirement::new(&e.key, operator, e.values.clone())?);
        }
        Ok(Selector::from_requirements(all))
    }

    /// Whether the object restricts nothing.
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    /// What is wrong with the object at `path` (`metav1/validation.ValidateLabelSelector`).
    pub fn validate(&self, path: &FieldPath) -> Vec<FieldError> {
        let mut errors = validate_labels(&self.match_labels, &path.child("matchLabels"));
        for (i, e) in self.match_expressions.iter().enumerate() {
            e.validate(&path.child("matchExpressions").index(i), &mut errors);
        }
        errors
    }
}

impl LabelSelectorRequirement {
    fn validate(&self, path: &FieldPath, errors: &mut Vec<FieldError>) {
        let values = path.child("values");
        match self.operator.as_str() {
            "In" | "NotIn" if self.values.is_empty() => {
                let why = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(FieldError::required(&values, why));
            }
            "Exists" | "DoesNotExist" if !self.values.is_empty() => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(FieldError::forbidden(&values, why));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(FieldError::invalid(
                &path.child("operator"),
                other,
                "not a valid selector operator",
            )),
        }
        for why in names::qualified_name(&self.key) {
            errors.push(FieldError::invalid(&path.child("key"), self.key.as_str(), why));
        }
        for (i, value) in self.values.iter().enumerate() {
            for why in names::label_value(value) {
                errors.push(FieldError::invalid(&values.index(i), value.as_str(), why));
            }
        }
    }
}

/// What is wrong with a label map at `path` (`metav1/validation.ValidateLabels`).
pub fn validate_labels(labels: &BTreeMap<String, String>, path: &FieldPath) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in labels {
        for why in names::qualified_name(key) {
            errors.push(FieldError::invalid(path, key.as_str(), why));
        }
        for why in names::label_value(value) {
            errors.push(FieldError::invalid(path, value.as_str(), why));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn round_trips() {
        let cases = [
            ("", ""),
            ("x=a,y=b,z=c", "x=a,y=b,z=c"),
            ("z in (b,a) , !x,y", "!x,y,z in (a,b)"),
            ("x!=a,y==b", "x!=a,y==b"),
            ("x=,y= ", "x=,y="),
            ("x>1,z <0", "x>1,z<0"),
            ("x in (),y", "x in (),y"),
            ("x in (a,,b)", "x in (,a,b)"),
            ("x notin (in, notin)", "x notin (in,notin)"),
            ("=", "err found '=', expected: !, identifier, or 'end of string'"),
            (
                "x=a||y=b",
                "err unable to parse requirement: values[0][x]: Invalid value: \"a||y\": a valid label",
            ),
            ("x,a,", "err found '', expected: identifier after ','"),
            ("!x=a", "err found '=', expected: ',' or 'end of string'"),
            ("x==a==b", "err found '==', expected: ',' or 'end of string'"),
            ("x in a", "err unable to parse requirement: found 'a' expected: '('"),
            ("x ~ a", "err unable to parse requirement: found '~', expected: in, notin, =, ==, !=, gt, lt"),
            ("a b", "err unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            (
                "x>a",
                "err unable to parse requirement: values[0]: Invalid value: \"a\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
        ];
        for (text, want) in cases {
            match Selector::parse(text) {
                Ok(s) => assert_eq!(s.to_string(), want, "{text}"),
                Err(e) => {
                    assert!(format!("err {e}").starts_with(want) && want.starts_with("err "), "{text}: {e}")
                }
            }
        }
    }

    #[test]
    fn bad_key_names_the_rule() {
        let e = Selector::parse("a/b/c=d").unwrap_err();
        assert!(
            e.0.starts_with(
                "unable to parse requirement: <nil>: Invalid value: \"a/b/c\": a valid label key must consist"
            ),
            "{e}"
        );
    }

    #[test]
    fn matching() {
        let set = labels(&[("x", "a"), ("n", "5")]);
        for (text, want) in [
            ("", true),
            ("x=a", true),
            ("x=b", false),
            ("x!=b", true),
            ("y!=b", true),
            ("x in (a,b)", true),
            ("x notin (a)", false),
            ("y notin (a)", true),
            ("x", true),
            ("!x", false),
            ("!y", true),
            ("n>4", true),
            ("n<5", false),
            ("x>1", false),
        ] {
            assert_eq!(Selector::parse(text).unwrap().matches(&set), want, "{text}");
        }
        assert!(!Selector::nothing().matches(&set));
    }

    #[test]
    fn objects() {
        let s = LabelSelector::from_value(&json!({"matchLabels": {"a": "b"},
            "matchExpressions": [{"key": "c", "operator": "In", "values": ["y", "x"]}, {"key": "d", "operator": "Exists"}]}));
        assert_eq!(s.unwrap().selector().unwrap().to_string(), "a=b,c in (x,y),d");
        let bad = LabelSelector::from_value(&json!({"matchExpressions": [{"key": "c", "operator": "Foo"}]}))
            .unwrap();
        assert_eq!(bad.selector().unwrap_err().0, "\"Foo\" is not a valid label selector operator");
        let texts: Vec<String> =
            bad.validate(&FieldPath::new("spec.selector")).iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "spec.selector.matchExpressions[0].operator: Invalid value: \"Foo\": not a valid selector operator"
            ]
        );
    }
}
