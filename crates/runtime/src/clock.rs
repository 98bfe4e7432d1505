//! The wall clock, and its text in logs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970, as CRI counts time.
pub(crate) fn now_nanos() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
}

/// RFC 3339 with nanoseconds in UTC, as CRI logs write it.
pub(crate) fn rfc3339_nano(nanos: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(nanos)).map_or_else(|_| String::new(), |t| format!("{t:.9}"))
}

/// A short wait between two looks at a kernel state that offers no notification (cgroups that empty themselves).
pub(crate) fn pause(duration: Duration) {
    let timeout = rustix::event::Timespec {
        tv_sec: duration.as_secs() as i64,
        tv_nsec: duration.subsec_nanos().into(),
    };
    let _ = rustix::event::poll(&mut [], Some(&timeout));
}

#[cfg(test)]
mod tests {
    #[test]
    fn nanoseconds_are_always_nine_digits() {
        assert_eq!(super::rfc3339_nano(1_700_000_000_000_000_000), "2023-11-14T22:13:20.000000000Z");
        assert_eq!(super::rfc3339_nano(1_700_000_000_123_456_789), "2023-11-14T22:13:20.123456789Z");
    }
}
