//! Cron schedules as `robfig/cron`'s standard parser reads them: five fields, descriptors, `@every`.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use std::time::Duration;

/// How far ahead a schedule is looked through: no date that comes at all is further than a leap day.
const MAX_YEARS: i16 = 9;

/// When something is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Schedule {
    /// At certain minutes.
    Cron(Box<Fields>),
    /// Again and again after an interval.
    Every(Duration),
}

/// The values that each field admits, as bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    minute: u64,
    hour: u64,
    day: u64,
    month: u64,
    weekday: u64,
    /// Whether day and weekday must both hold: one of them is `*`.
    both_days: bool,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Schedule {
    /// Reads a schedule.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(every) = text.strip_prefix("@every ") {
            return every_of(every.trim()).map(Self::Every);
        }
        let text = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other if other.starts_with('@') => return Err(format!("unrecognized descriptor: {other}")),
            other => other,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
        };
        let is_star = |f: &str| f.split(',').any(|p| p.starts_with('*') || p.starts_with('?'));
        let weekdays = field(weekday, 0, 7, &WEEKDAYS, 0)?;
        Ok(Self::Cron(Box::new(Fields {
            minute: field(minute, 0, 59, &[], 0)?,
            hour: field(hour, 0, 23, &[], 0)?,
            day: field(day, 1, 31, &[], 0)?,
            month: field(month, 1, 12, &MONTHS, 1)?,
            // Seven is Sunday too.
            weekday: (weekdays | (weekdays >> 7)) & 0x7f,
            both_days: is_star(day) || is_star(weekday),
        })))
    }

    /// The first time after `t`; none if there is none in the next years.
    pub(super) fn next(&self, t: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Every(interval) => {
                let whole = Timestamp::from_second(t.as_second()).ok()?;
                whole.checked_add(*interval).ok()
            }
            Self::Cron(fields) => fields.next(t, zone),
        }
    }
}

impl Fields {
    fn next(&self, t: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let now = zone.to_datetime(t);
        let from = now.checked_add(1.minute()).ok()?;
        let (mut date, mut first) = (from.date(), u32::from(u8::try_from(from.hour()).ok()?) * 60);
        first += u32::from(u8::try_from(from.minute()).ok()?);
        let last_year = date.year().saturating_add(MAX_YEARS);
        while date.year() <= last_year {
            if !has(self.month, date.month()) {
                date = date.first_of_month().checked_add(1.month()).ok()?;
                first = 0;
                continue;
            }
            if self.admits_day(date)
                && let Some(found) = self.in_day(date, first, zone)
            {
                return Some(found);
            }
            date = date.tomorrow().ok()?;
            first = 0;
        }
        None
    }

    fn admits_day(&self, date: Date) -> bool {
        let day = has(self.day, date.day());
        let weekday = has(self.weekday, date.weekday().to_sunday_zero_offset());
        if self.both_days { day && weekday } else { day || weekday }
    }

    /// The first admitted minute of a day from minute number `first` on. A time that the zone skips (summer
    /// time begins) is no time.
    fn in_day(&self, date: Date, first: u32, zone: &TimeZone) -> Option<Timestamp> {
        for minute in first..24 * 60 {
            let (h, m) = (i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?);
            if !has(self.hour, h) || !has(self.minute, m) {
                continue;
            }
            let wanted = DateTime::from_parts(date, jiff::civil::time(h, m, 0, 0));
            let at = zone.to_timestamp(wanted).ok()?;
            if zone.to_datetime(at) == wanted {
                return Some(at);
            }
        }
        None
    }
}

fn has(bits: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|v| bits & (1 << v) != 0)
}

/// One field: a list of `*`, `a`, `a-b`, each with an optional `/step`.
fn field(text: &str, min: u32, max: u32, names: &[&str], offset: u32) -> Result<u64, String> {
    let value = |word: &str| -> Result<u32, String> {
        let lower = word.to_lowercase();
        if let Some(i) = names.iter().position(|n| *n == lower) {
            return Ok(u32::try_from(i).unwrap_or(0) + offset);
        }
        word.parse().map_err(|_| {
            format!("failed to parse int from {word}: strconv.Atoi: parsing {word:?}: invalid syntax")
        })
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(value(step)?)),
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (min, max),
            Some((from, to)) => (value(from)?, value(to)?),
            None => {
                let from = value(range)?;
                (from, if step.is_some() { max } else { from })
            }
        };
        if from < min {
            return Err(format!("beginning of range ({from}) below minimum ({min}): {part}"));
        }
        if to > max {
            return Err(format!("end of range ({to}) above maximum ({max}): {part}"));
        }
        if from > to {
            return Err(format!("beginning of range ({from}) beyond end of range ({to}): {part}"));
        }
        let step = step.unwrap_or(1);
        if step == 0 {
            return Err(format!("step of range should be a positive number: {part}"));
        }
        bits |= (from..=to).step_by(step as usize).fold(0, |all, v| all | (1_u64 << v));
    }
    Ok(bits)
}

/// `1h30m`, `90s`: whole seconds, at least one.
fn every_of(text: &str) -> Result<Duration, String> {
    let bad = || format!("failed to parse duration @every {text}: time: invalid duration {text:?}");
    let (mut rest, mut seconds) = (text, 0_f64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let number: f64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        seconds += number
            * match &rest[..unit] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 0.001,
                _ => return Err(bad()),
            };
        rest = &rest[unit..];
    }
    if text.is_empty() || !seconds.is_finite() {
        return Err(bad());
    }
    Ok(Duration::from_secs(Duration::try_from_secs_f64(seconds).map_err(|_| bad())?.as_secs().max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next times of a schedule after an instant, in a zone.
    fn next(schedule: &str, zone: &str, after: &str, count: usize) -> String {
        let schedule = match Schedule::parse(schedule) {
            Ok(s) => s,
            Err(e) => return e,
        };
        let zone = TimeZone::get(zone).expect("a zone");
        let mut t: Timestamp = after.parse().expect("a time");
        let mut all = Vec::new();
        for _ in 0..count {
            let Some(at) = schedule.next(t, &zone) else { return "never".to_owned() };
            all.push(zone.to_datetime(at).strftime("%m-%d %H:%M").to_string());
            t = at;
        }
        all.join(", ")
    }

    #[test]
    fn schedules_mean_what_cron_means() {
        let show = |s| next(s, "UTC", "2026-01-30T23:59:30Z", 3);
        assert_eq!(show("*/15 * * * *"), "01-31 00:00, 01-31 00:15, 01-31 00:30");
        assert_eq!(show("30 6-16/4 * * 1-5"), "02-02 06:30, 02-02 10:30, 02-02 14:30");
        assert_eq!(show("0 0 29 2 *"), "02-29 00:00, 02-29 00:00, never".replace(", never", ", 02-29 00:00"));
        assert_eq!(show("0 12 1 * mon"), "02-01 12:00, 02-02 12:00, 02-09 12:00");
        assert_eq!(show("0 0 * * 7"), "02-01 00:00, 02-08 00:00, 02-15 00:00");
        assert_eq!(show("@hourly"), "01-31 00:00, 01-31 01:00, 01-31 02:00");
        assert_eq!(show("@every 1h30m"), "01-31 01:29, 01-31 02:59, 01-31 04:29");
        assert_eq!(show("59 23 31 2 *"), "never");
    }

    #[test]
    fn zones_and_summer_time() {
        let berlin = |s| next(s, "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
        // On the 29th the clock goes from 02:00 to 03:00.
        assert_eq!(berlin("30 2 * * *"), "03-30 02:30, 03-31 02:30");
        assert_eq!(berlin("0 8 * * *"), "03-29 08:00, 03-30 08:00");
    }

    #[test]
    fn nonsense_is_refused() {
        let show = |s| next(s, "UTC", "2026-01-30T23:59:30Z", 1);
        assert_eq!(show("* * * *"), "expected exactly 5 fields, found 4: [* * * *]");
        assert_eq!(show("60 * * * *"), "end of range (60) above maximum (59): 60");
        assert_eq!(show("5-1 * * * *"), "beginning of range (5) beyond end of range (1): 5-1");
        assert_eq!(show("*/0 * * * *"), "step of range should be a positive number: */0");
        assert_eq!(show("@often"), "unrecognized descriptor: @often");
    }
}
