//! `resource.Quantity`: a fixed-point number with a unit, such as `500m`, `1Gi` or `1e3`
//! (`k8s.io/apimachinery/pkg/api/resource`).

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;

/// The finest unit: 10⁻⁹. Finer values are rounded up to it.
const NANO: i32 = -9;
/// Largest power of ten that a suffix may name. Upstream has no bound and computes for ever.
const EXPONENT_MAX: i32 = 36;
/// The largest value that a binary suffix may give (2⁶³−1); larger ones are capped, as upstream does.
const BINARY_MAX: i128 = i64::MAX as i128;

const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, i32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

/// How a quantity is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// `12M`
    #[default]
    DecimalSi,
    /// `12Mi`
    BinarySi,
    /// `12e6`
    DecimalExponent,
}

/// Why a text is no quantity; the texts are upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not the form of a quantity.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// A number that can't be represented.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// An unknown unit.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// A fixed-point number that remembers how it is to be written. Equality and order are those of the number.
#[derive(Clone, Debug, Default)]
pub struct Quantity {
    /// The number is `value × 10^scale`.
    value: i128,
    scale: i32,
    format: Format,
    /// The text as read, where upstream keeps it though it isn't what [`fmt::Display`] would make.
    text: Option<Box<str>>,
}

/// The parts of a text: sign, digits before and after the point, suffix.
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

fn digits(s: &str) -> (&str, &str) {
    s.split_at(s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len()))
}

fn split(text: &str) -> Result<Parts<'_>, QuantityError> {
    let negative = text.starts_with('-');
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, rest) = digits(rest);
    let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), digits);
    let tail = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let tail = tail.strip_prefix(['-', '+']).unwrap_or(tail);
    if !tail.bytes().all(|c| c.is_ascii_digit()) {
        return Err(QuantityError::Format);
    }
    Ok(Parts { negative, whole: whole.trim_start_matches('0'), fraction, suffix })
}

/// Base, exponent and format of a suffix.
fn unit(suffix: &str) -> Result<(i128, i32, Format), QuantityError> {
    if let Some((_, e)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
        return Ok((10, *e, Format::DecimalSi));
    }
    if let Some((_, e)) = BINARY.iter().find(|(s, _)| *s == suffix) {
        return Ok((2, *e, Format::BinarySi));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).and_then(|s| s.parse::<i64>().ok());
    let exponent = exponent.ok_or(QuantityError::Suffix)?;
    let bound = i64::from(EXPONENT_MAX);
    if exponent > bound {
        return Err(QuantityError::Numeric);
    }
    Ok((10, exponent.max(-bound) as i32, Format::DecimalExponent))
}

/// `value / 10^by`, away from zero, and whether it was exact.
fn divide(value: i128, by: u32) -> (i128, bool) {
    let Some(d) = 10i128.checked_pow(by) else { return (value.signum(), value == 0) };
    let (q, r) = (value / d, value % d);
    if r == 0 { (q, true) } else { (q + r.signum(), false) }
}

fn multiply(value: i128, power: u32) -> Option<i128> {
    if value == 0 { Some(0) } else { value.checked_mul(10i128.checked_pow(power)?) }
}

impl Quantity {
    /// Parses `text`.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        if text.is_empty() {
            return Err(QuantityError::Format);
        }
        let parts = split(text)?;
        let (base, exponent, format) = unit(parts.suffix)?;
        let shifted = format!("{}{}", parts.whole, parts.fraction);
        let mut value: i128 = match shifted.as_str() {
            "" => 0,
            s => s.parse().map_err(|_| QuantityError::Numeric)?,
        };
        let mut scale = -(i32::try_from(parts.fraction.len()).map_err(|_| QuantityError::Numeric)?);
        if base == 2 {
            value = value.saturating_mul(1 << exponent);
        } else {
            scale += exponent;
        }
        let exact = scale >= NANO && i64::try_from(value).is_ok();
        if scale < NANO {
            (value, scale) = (divide(value, scale.abs_diff(NANO)).0, NANO);
        }
        let mut q = Self { value, scale, format, text: None };
        if base == 2 {
            q.cap_binary();
        }
        if parts.negative {
            q.value = -q.value;
        }
        q.text = (exact && q.keeps(text, &parts, &shifted)).then(|| text.into());
        Ok(q)
    }

    fn cap_binary(&mut self) {
        if self.cmp_int(BINARY_MAX as i64) == Ordering::Greater {
            (self.value, self.scale) = (BINARY_MAX, 0);
        } else if self.value > 0 && self.cmp_int(1) == Ordering::Less {
            self.format = Format::DecimalSi;
        }
    }

    /// Whether upstream writes the text back as it was read though it has a sign, a point, leading zeros or
    /// an exponent in it.
    fn keeps(&self, text: &str, parts: &Parts<'_>, shifted: &str) -> bool {
        let odd = text.starts_with(['+', '0'])
            || text.starts_with("-0")
            || text.contains(['.', 'e'])
            || (self.format == Format::DecimalExponent);
        let canonical = match self.format {
            Format::BinarySi => parts.fraction.is_empty() && shifted.parse::<i64>().is_ok_and(|v| v & 7 != 0),
            _ => self.scale % 3 == 0 && !parts.whole.is_empty() && !shifted.ends_with("000"),
        };
        odd && canonical
    }

    /// The whole number `value`.
    pub fn from_int(value: i64, format: Format) -> Self {
        Self { value: value.into(), scale: 0, format, text: None }
    }

    /// `value` thousandths.
    pub fn from_milli(value: i64, format: Format) -> Self {
        Self { value: value.into(), scale: -3, format, text: None }
    }

    /// How the quantity is written.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The number rounded to a whole one, away from zero; saturates.
    pub fn value(&self) -> i64 {
        self.scaled_value(0)
    }

    /// The number in thousandths, rounded away from zero; saturates.
    pub fn milli_value(&self) -> i64 {
        self.scaled_value(-3)
    }

    /// The number divided by `10^scale`, rounded away from zero; saturates.
    pub fn scaled_value(&self, scale: i32) -> i64 {
        let by = self.scale.saturating_sub(scale);
        let v = match by {
            ..0 => Some(divide(self.value, by.unsigned_abs()).0),
            _ => multiply(self.value, by.unsigned_abs()),
        };
        let end = if self.value < 0 { i64::MIN } else { i64::MAX };
        v.and_then(|v| i64::try_from(v).ok()).unwrap_or(end)
    }

    /// The number as a float, possibly not exact.
    pub fn as_f64(&self) -> f64 {
        self.value as f64 * 10f64.powi(self.scale)
    }

    /// Whether the number is zero.
    pub fn is_zero(&self) -> bool {
        self.value == 0
    }

    /// −1, 0 or 1.
    pub fn signum(&self) -> i32 {
        self.value.signum() as i32
    }

    /// Both numbers at one scale; none on overflow.
    fn align(&self, other: &Self) -> Option<(i128, i128, i32)> {
        let scale = if self.value == 0 {
            other.scale
        } else if other.value == 0 {
            self.scale
        } else {
            self.scale.min(other.scale)
        };
        let at = |q: &Self| {
            if q.value == 0 { Some(0) } else { multiply(q.value, q.scale.abs_diff(scale)) }
        };
        Some((at(self)?, at(other)?, scale))
    }

    fn combine(&mut self, y: &Self, op: fn(i128, i128) -> Option<i128>) {
        if self.is_zero() {
            self.format = y.format;
        }
        self.text = None;
        match self.align(y).and_then(|(a, b, scale)| Some((op(a, b)?, scale))) {
            Some((value, scale)) => (self.value, self.scale) = (value, scale),
            // Far beyond what any resource can be: the larger one stands for the sum.
            None if y.as_f64().abs() > self.as_f64().abs() => {
                let sign = op(0, y.signum().into()).unwrap_or(1);
                (self.value, self.scale) = (y.value.saturating_abs() * sign, y.scale);
            }
            None => {}
        }
    }

    /// Adds `y`. A zero takes `y`'s format.
    pub fn add(&mut self, y: &Self) {
        self.combine(y, i128::checked_add);
    }

    /// Subtracts `y`. A zero takes `y`'s format.
    pub fn sub(&mut self, y: &Self) {
        self.combine(y, i128::checked_sub);
    }

    /// Order against a whole number.
    pub fn cmp_int(&self, y: i64) -> Ordering {
        self.cmp(&Self::from_int(y, Format::DecimalSi))
    }

    /// Mantissa and exponent (a multiple of 3, at most `top`) without trailing zeros.
    fn canonical_decimal(&self, top: i32) -> (i128, i32) {
        let (mut m, mut e) = (self.value, self.scale);
        while m % 10 == 0 && m != 0 && e < top {
            (m, e) = (m / 10, e + 1);
        }
        while e.rem_euclid(3) != 0 || e > top {
            match m.checked_mul(10) {
                Some(next) => (m, e) = (next, e - 1),
                None => break,
            }
        }
        (m, e)
    }

    fn write_binary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut m = self.value();
        let mut at = 0;
        while m % 1024 == 0 && m != 0 && at < BINARY.len() {
            (m, at) = (m / 1024, at + 1);
        }
        write!(f, "{m}{}", if at == 0 { "" } else { BINARY[at - 1].0 })
    }

    fn is_whole(&self) -> bool {
        self.scale >= 0 || divide(self.value, self.scale.unsigned_abs()).1
    }
}

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, the largest unit that loses nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = &self.text {
            return f.write_str(text);
        }
        if self.is_zero() {
            return f.write_str("0");
        }
        let small = self.cmp_int(-1024).is_gt() && self.cmp_int(1024).is_lt();
        match self.format {
            Format::BinarySi if !small && self.is_whole() => self.write_binary(f),
            Format::DecimalExponent => match self.canonical_decimal(EXPONENT_MAX) {
                (m, 0) => write!(f, "{m}"),
                (m, e) => write!(f, "{m}e{e}"),
            },
            Format::DecimalSi | Format::BinarySi => {
                let (m, e) = self.canonical_decimal(18);
                let suffix = DECIMAL.iter().find(|(_, x)| *x == e).map_or("", |(s, _)| s);
                write!(f, "{m}{suffix}")
            }
        }
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        match self.align(other) {
            Some((a, b, _)) => a.cmp(&b),
            None => self.as_f64().total_cmp(&other.as_f64()),
        }
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Quantity {}

impl std::str::FromStr for Quantity {
    type Err = QuantityError;
    fn from_str(s: &str) -> Result<Self, QuantityError> {
        Self::parse(s)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    /// A string or a number, as upstream's decoder takes it.
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = match serde_json::Value::deserialize(d)? {
            serde_json::Value::String(s) => s.trim().to_owned(),
            serde_json::Value::Null => return Ok(Self::default()),
            other => other.to_string(),
        };
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        Quantity::parse(text).map_or_else(|e| format!("{e:?}"), |q| q.to_string())
    }

    #[test]
    fn canonical_form() {
        for (text, want) in [
            ("0", "0"),
            ("0n", "0"),
            ("0Ki", "0"),
            ("1", "1"),
            ("1500m", "1500m"),
            ("1.5", "1500m"),
            ("1000m", "1"),
            ("1.5Gi", "1536Mi"),
            ("1024Mi", "1Gi"),
            ("1Ki", "1Ki"),
            ("512", "512"),
            ("0.5Ki", "512"),
            ("1025Ki", "1025Ki"),
            ("1000k", "1M"),
            ("1e3", "1e3"),
            ("1E3", "1E3"),
            ("1000e3", "1e6"),
            ("12e6", "12e6"),
            ("1E", "1E"),
            ("100E", "100E"),
            ("9Ei", "9223372036854775807"),
            ("0.1m", "100u"),
            ("0.0000000001", "1n"),
            ("-0.0000000001", "-1n"),
            ("-1.5Gi", "-1536Mi"),
            ("5.", "5."),
            ("005", "005"),
            ("+5", "+5"),
            ("1.500k", "1.500k"),
            ("0.5", "500m"),
            ("100m", "100m"),
            ("1234567890123456789", "1234567890123456789"),
            ("10000000000000000000000", "10000E"),
            ("0.001Ki", "1024m"),
            ("1.1Ki", "1126400m"),
            ("100e-3", "100e-3"),
            ("", "Format"),
            ("aoeu", "Format"),
            ("1.1.M", "Format"),
            ("1+1.0M", "Format"),
            ("0.1mi", "Suffix"),
            ("0.1am", "Format"),
            ("1i", "Suffix"),
            ("-3.01i", "Suffix"),
            ("-3.01e-", "Suffix"),
            (" 1", "Format"),
            ("1 ", "Format"),
            ("1e99999999999", "Numeric"),
        ] {
            assert_eq!(show(text), want, "{text}");
        }
    }

    #[test]
    fn values_round_away_from_zero() {
        let q = |s| Quantity::parse(s).unwrap();
        assert_eq!((q("1500m").value(), q("-1500m").value(), q("0.1").milli_value()), (2, -2, 100));
        assert_eq!(
            (q("100u").milli_value(), q("1Gi").value(), q("9E").milli_value()),
            (1, 1 << 30, i64::MAX)
        );
    }

    #[test]
    fn arithmetic_and_order() {
        let q = |s| Quantity::parse(s).unwrap();
        let mut a = Quantity::default();
        a.add(&q("1Gi"));
        a.add(&q("512Mi"));
        assert_eq!(a.to_string(), "1536Mi");
        a.sub(&q("1536Mi"));
        assert!(a.is_zero());
        let mut b = q("100m");
        b.add(&q("0.9"));
        assert_eq!(b.to_string(), "1");
        assert!(q("1Gi") > q("1G") && q("1000m") == q("1") && q("-1") < q("0"));
    }

    #[test]
    fn json() {
        assert_eq!(serde_json::from_str::<Quantity>("2").unwrap().to_string(), "2");
        assert_eq!(serde_json::to_string(&Quantity::parse("1.5").unwrap()).unwrap(), "\"1500m\"");
        assert!(serde_json::from_str::<Quantity>("\"x\"").is_err());
    }
}
