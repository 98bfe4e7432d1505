//! Waiting longer after each failure (`client-go/util/flowcontrol.Backoff`), and Go's way to write a duration.

use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// First wait before a failed container or pull is tried again.
pub const INITIAL: SignedDuration = SignedDuration::from_secs(10);
/// Longest wait.
pub const MAX: SignedDuration = SignedDuration::from_secs(300);

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    delay: SignedDuration,
    updated: Timestamp,
}

/// Waits by key. A key that was quiet for twice the longest wait starts anew.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backoff {
    entries: BTreeMap<String, Entry>,
}

fn expired(event: Timestamp, updated: Timestamp) -> bool {
    event.duration_since(updated) > MAX * 2
}

impl Backoff {
    /// The present wait of `key`; zero when there is none.
    pub fn delay(&self, key: &str) -> SignedDuration {
        self.entries.get(key).map_or(SignedDuration::ZERO, |e| e.delay)
    }

    /// When the wait of `key` that began with `event` is over; none if it is over or there is none.
    pub fn until(&self, key: &str, event: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let e = self.entries.get(key)?;
        if expired(event, e.updated) {
            return None;
        }
        let end = event.saturating_add(e.delay).ok()?;
        (now < end).then_some(end)
    }

    /// When the wait of `key` counted from its last failure is over.
    pub fn until_since_update(&self, key: &str, now: Timestamp) -> Option<Timestamp> {
        let e = self.entries.get(key)?;
        self.until(key, e.updated, now)
    }

    /// Notes a failure at `event`: the wait of `key` begins at 10 s and doubles.
    pub fn next(&mut self, key: &str, event: Timestamp, now: Timestamp) {
        let delay = match self.entries.get(key) {
            Some(e) if !expired(event, e.updated) => (e.delay * 2).min(MAX),
            _ => INITIAL,
        };
        // Keys come and go with what they stand for.
        self.entries.retain(|_, e| !expired(now, e.updated));
        self.entries.insert(key.to_owned(), Entry { delay, updated: now });
    }

    /// Forgets `key`.
    pub fn forget(&mut self, key: &str) {
        self.entries.remove(key);
    }
}

/// A duration as Go prints it: `1m20s`, `5m0s`, `1.5s`, `350ms`.
pub fn go_duration(d: SignedDuration) -> String {
    let nanos = d.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let n = nanos.unsigned_abs();
    let trim = |whole: u128, frac: u128, width: usize| {
        let f = format!("{frac:0width$}");
        let f = f.trim_end_matches('0');
        if f.is_empty() { whole.to_string() } else { format!("{whole}.{f}") }
    };
    if n < 1_000 {
        return format!("{sign}{n}ns");
    }
    if n < 1_000_000 {
        return format!("{sign}{}µs", trim(n / 1_000, n % 1_000, 3));
    }
    if n < 1_000_000_000 {
        return format!("{sign}{}ms", trim(n / 1_000_000, n % 1_000_000, 6));
    }
    let secs = n / 1_000_000_000;
    let s = trim(secs % 60, n % 1_000_000_000, 9);
    match (secs / 3_600, secs / 60 % 60) {
        (0, 0) => format!("{sign}{s}s"),
        (0, m) => format!("{sign}{m}m{s}s"),
        (h, m) => format!("{sign}{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_doubles_to_its_limit_and_starts_anew_after_a_quiet_time() {
        let mut b = Backoff::default();
        let mut now = Timestamp::UNIX_EPOCH;
        let mut seen = Vec::new();
        for _ in 0..7 {
            b.next("c", now, now);
            seen.push(go_duration(b.delay("c")));
            let end = b.until("c", now, now).unwrap();
            assert_eq!(b.until("c", now, end), None);
            now = end;
        }
        assert_eq!(seen.join(" "), "10s 20s 40s 1m20s 2m40s 5m0s 5m0s");
        now = now.saturating_add(SignedDuration::from_secs(601)).unwrap();
        b.next("c", now, now);
        assert_eq!(go_duration(b.delay("c")), "10s");
    }

    #[test]
    fn keys_that_were_quiet_are_forgotten() {
        let mut b = Backoff::default();
        for i in 0..3 {
            let now = Timestamp::from_second(i * 400).unwrap();
            b.next(&format!("c/{i}"), now, now);
        }
        assert_eq!(b.entries.keys().collect::<Vec<_>>(), ["c/1", "c/2"]);
    }

    #[test]
    fn durations_read_as_go_prints_them() {
        let show = |ms| go_duration(SignedDuration::from_millis(ms));
        assert_eq!([show(0), show(1), show(1500), show(3_600_000)].join(" "), "0s 1ms 1.5s 1h0m0s");
    }
}
