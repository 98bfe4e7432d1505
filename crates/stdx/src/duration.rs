//! Durations as text: Go's `1m30s` (flags, `metav1.Duration`) and the short ages of kubectl's tables
//! (`k8s.io/apimachinery/pkg/util/duration`).

/// Why a text is no duration; worded as Go's `time.ParseDuration`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError(String);

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseError {}

const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Parses `-1.5h`, `300ms`, `2h45m` to nanoseconds.
pub fn parse(text: &str) -> Result<i64, ParseError> {
    let invalid = || ParseError(format!("time: invalid duration {text:?}"));
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(invalid());
        }
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        if unit.is_empty() {
            return Err(ParseError(format!("time: missing unit in duration {text:?}")));
        }
        let Some((_, scale)) = UNITS.iter().find(|(u, _)| *u == unit) else {
            return Err(ParseError(format!("time: unknown unit {unit:?} in duration {text:?}")));
        };
        total = amount(whole, fraction, *scale).and_then(|n| total.checked_add(n)).ok_or_else(invalid)?;
        rest = tail;
    }
    i64::try_from(total * sign).map_err(|_| invalid())
}

/// `whole.fraction` times `scale`; digits finer than the unit resolves are dropped.
fn amount(whole: &str, fraction: &str, scale: i64) -> Option<i128> {
    let scale = i128::from(scale);
    let head: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fine = &fraction[..fraction.len().min(18)];
    let tail: i128 = if fine.is_empty() { 0 } else { fine.parse().ok()? };
    head.checked_mul(scale)?.checked_add(tail * scale / 10i128.pow(fine.len() as u32))
}

/// Writes nanoseconds as Go's `time.Duration` prints itself: `1h0m0s`, `1.5s`, `2µs`.
pub fn format(nanos: i64) -> String {
    let n = nanos.unsigned_abs();
    let sign = if nanos < 0 { "-" } else { "" };
    let decimal = |n: u64, unit: u64| {
        let (whole, part) = (n / unit, n % unit);
        let width = unit.ilog10() as usize;
        let fraction = format!("{part:0width$}");
        let fraction = fraction.trim_end_matches('0');
        if part == 0 { whole.to_string() } else { format!("{whole}.{fraction}") }
    };
    let text = match n {
        0 => return "0s".to_owned(),
        1..1_000 => format!("{n}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(n, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(n, 1_000_000)),
        _ => {
            let minutes = n / 60_000_000_000;
            let seconds = decimal(n % 60_000_000_000, 1_000_000_000);
            match minutes {
                0 => format!("{seconds}s"),
                1..60 => format!("{minutes}m{seconds}s"),
                _ => format!("{}h{}m{seconds}s", minutes / 60, minutes % 60),
            }
        }
    };
    format!("{sign}{text}")
}

/// An age for a table: `5s`, `3m12s`, `5d3h`, `2y40d`. Up to two seconds of the future are now.
pub fn human(seconds: i64) -> String {
    const YEAR: i64 = 24 * 365;
    let pair = |a: i64, ua: &str, b: i64, ub: &str| {
        if b == 0 { format!("{a}{ua}") } else { format!("{a}{ua}{b}{ub}") }
    };
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => pair(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => pair(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 24 * 8 => pair(hours / 24, "d", hours % 24, "h"),
        _ if hours < YEAR * 2 => format!("{}d", hours / 24),
        _ if hours < YEAR * 8 => pair(hours / YEAR, "y", hours / 24 % 365, "d"),
        _ => format!("{}y", hours / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_text() {
        for (text, want) in [
            ("0", "0s"),
            ("1m30s", "1m30s"),
            ("90s", "1m30s"),
            ("1.5h", "1h30m0s"),
            ("-2ms", "-2ms"),
            ("1us", "1µs"),
            ("100ns", "100ns"),
            ("1.000000001s", "1.000000001s"),
            ("2h45m", "2h45m0s"),
            (".5s", "500ms"),
            ("3000000h", "time: invalid duration \"3000000h\""),
            ("1", "time: missing unit in duration \"1\""),
            ("", "time: invalid duration \"\""),
            ("1d", "time: unknown unit \"d\" in duration \"1d\""),
            (".s", "time: invalid duration \".s\""),
        ] {
            assert_eq!(parse(text).map_or_else(|e| e.to_string(), format), want, "{text}");
        }
    }

    #[test]
    fn ages() {
        const M: i64 = 60;
        const H: i64 = 3600;
        const D: i64 = 24 * H;
        for (s, want) in [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (121, "2m1s"),
            (10 * M, "10m"),
            (179 * M + 59, "179m"),
            (3 * H, "3h"),
            (7 * H + 59 * M, "7h59m"),
            (8 * H + M, "8h"),
            (47 * H, "47h"),
            (2 * D, "2d"),
            (2 * D + H, "2d1h"),
            (8 * D + H, "8d"),
            (2 * 365 * D, "2y"),
            (2 * 365 * D + D, "2y1d"),
            (9 * 365 * D, "9y"),
        ] {
            assert_eq!(human(s), want, "{s}");
        }
    }
}
