//! Timestamps as the API writes them: RFC 3339 in UTC with whole seconds (`metav1.Time`) or microseconds
//! (`metav1.MicroTime`).

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant with second precision, written as `2006-01-02T15:04:05Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(jiff::Timestamp);

impl Time {
    /// The instant `t`, cut to whole seconds.
    pub fn new(t: jiff::Timestamp) -> Self {
        Self::from_second(t.as_second())
    }

    /// Seconds since the Unix epoch; out-of-range values saturate.
    pub fn from_second(s: i64) -> Self {
        let t = jiff::Timestamp::from_second(s);
        Self(t.unwrap_or(if s < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX }))
    }

    /// Seconds since the Unix epoch.
    pub fn as_second(self) -> i64 {
        self.0.as_second()
    }

    /// The instant itself.
    pub fn timestamp(self) -> jiff::Timestamp {
        self.0
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0}", self.0)
    }
}

impl std::str::FromStr for Time {
    type Err = jiff::Error;
    fn from_str(s: &str) -> Result<Self, jiff::Error> {
        s.parse::<jiff::Timestamp>().map(Self::new)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let s = String::deserialize(d)?;
        s.parse().map_err(|e| serde::de::Error::custom(format!("invalid time {s:?}: {e}")))
    }
}

/// Formats `t` as `metav1.MicroTime`: RFC 3339 with exactly six fractional digits.
pub fn micro_time(t: jiff::Timestamp) -> String {
    format!("{t:.6}")
}
