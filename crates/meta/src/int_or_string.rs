//! `intstr.IntOrString`: a port by number or name, a count or a percentage
//! (`k8s.io/apimachinery/pkg/util/intstr`).

use serde::{Deserialize, Serialize};
use std::fmt;

/// A 32-bit integer or a string.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrString {
    /// A number.
    Int(i32),
    /// A text, for example `50%` or `http`.
    String(String),
}

/// Why a value has no number; the texts are upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid value for IntOrString: {0}")]
pub struct ScaleError(String);

impl IntOrString {
    /// A number where the text is one, else the text.
    pub fn parse(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::String(text.to_owned()), Self::Int)
    }

    /// Reads JSON; none for any other type and for numbers that are no 32-bit integer.
    pub fn from_value(v: &serde_json::Value) -> Option<Self> {
        match v {
            serde_json::Value::String(s) => Some(Self::String(s.clone())),
            v => v.as_i64().and_then(|n| i32::try_from(n).ok()).map(Self::Int),
        }
    }

    /// The value as JSON.
    pub fn to_value(&self) -> serde_json::Value {
        match self {
            Self::Int(n) => (*n).into(),
            Self::String(s) => s.as_str().into(),
        }
    }

    /// The number; a text that isn't one gives 0.
    pub fn int_value(&self) -> i64 {
        match self {
            Self::Int(n) => (*n).into(),
            Self::String(s) => s.parse().unwrap_or(0),
        }
    }

    /// The number, or the percentage of `total` (`GetScaledValueFromIntOrPercent`).
    pub fn scaled(&self, total: i64, round_up: bool) -> Result<i64, ScaleError> {
        let text = match self {
            Self::Int(n) => return Ok((*n).into()),
            Self::String(s) => s,
        };
        let Some(percent) = text.strip_suffix('%') else {
            return Err(ScaleError("invalid type: string is not a percentage".to_owned()));
        };
        let percent: i64 = percent.parse().map_err(|_| {
            ScaleError(format!("invalid value {text:?}: strconv.Atoi: parsing {percent:?}: invalid syntax"))
        })?;
        let part = i128::from(percent) * i128::from(total);
        let whole = if round_up { -(-part).div_euclid(100) } else { part.div_euclid(100) };
        Ok(i64::try_from(whole).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for IntOrString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(n) => n.fmt(f),
            Self::String(s) => f.write_str(s),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling() {
        let s = |t: &str, total, up| IntOrString::parse(t).scaled(total, up).map_err(|e| e.to_string());
        assert_eq!((s("5", 100, true), s("90%", 20, true), s("25%", 3, true)), (Ok(5), Ok(18), Ok(1)));
        assert_eq!((s("25%", 3, false), s("95%", 10, true), s("95%", 10, false)), (Ok(0), Ok(10), Ok(9)));
        let e = s("a", 1, true).unwrap_err();
        assert_eq!(e, "invalid value for IntOrString: invalid type: string is not a percentage");
        assert!(s("x%", 1, true).unwrap_err().contains("parsing \"x\""));
    }

    #[test]
    fn json() {
        assert_eq!(serde_json::from_str::<IntOrString>("80").unwrap(), IntOrString::Int(80));
        assert_eq!(serde_json::to_string(&IntOrString::parse("http")).unwrap(), "\"http\"");
    }
}
