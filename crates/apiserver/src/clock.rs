//! What the core takes from outside instead of asking for it: the time, and names that nobody can guess.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// The time. The simulator gives a virtual one.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> jiff::Timestamp;
}

/// Where UIDs and the endings of generated names come from. The simulator gives a seeded one.
pub trait Uids: Send + Sync {
    /// A UUID in its text form.
    fn uid(&self) -> String;

    /// `n` characters out of [`NAME_ALPHABET`].
    fn suffix(&self, n: usize) -> String;
}

/// The characters of generated names: no vowels and no look-alikes, so that no words arise
/// (`k8s.io/apimachinery/pkg/util/rand`).
pub const NAME_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The machine's clock.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }
}

/// Random UIDs (version 4) from the operating system.
#[derive(Debug)]
pub struct RandomUids(ring::rand::SystemRandom);

impl Default for RandomUids {
    fn default() -> Self {
        Self(ring::rand::SystemRandom::new())
    }
}

impl RandomUids {
    fn bytes(&self) -> [u8; 16] {
        let mut b = [0u8; 16];
        // The kernel's generator doesn't fail once it is seeded; zeros would show up at once as equal UIDs.
        let _ = ring::rand::SecureRandom::fill(&self.0, &mut b);
        b
    }
}

impl Uids for RandomUids {
    fn uid(&self) -> String {
        uuid_text(self.bytes())
    }

    fn suffix(&self, n: usize) -> String {
        let bytes = self.bytes();
        (0..n).map(|i| char::from(NAME_ALPHABET[usize::from(bytes[i % 16]) % NAME_ALPHABET.len()])).collect()
    }
}

/// A UUID version 4 out of 16 bytes.
pub fn uuid_text(mut b: [u8; 16]) -> String {
    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    let hex: String = b.iter().map(|x| format!("{x:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[0..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32])
}

/// A clock that stands still until it is told; for tests and simulations.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Starts at `second` of the Unix epoch.
    pub fn new(second: i64) -> Self {
        Self(AtomicI64::new(second))
    }

    /// Goes `seconds` on.
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_second(self.0.load(Ordering::Relaxed)).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

/// UIDs that count up; for tests and simulations.
#[derive(Debug, Default)]
pub struct CountingUids(AtomicU64);

impl Uids for CountingUids {
    fn uid(&self) -> String {
        let n = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        let mut b = [0u8; 16];
        b[8..].copy_from_slice(&n.to_be_bytes());
        uuid_text(b)
    }

    fn suffix(&self, n: usize) -> String {
        let mut x = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        let mut out = Vec::with_capacity(n);
        for _ in 0..n {
            out.push(char::from(NAME_ALPHABET[(x % 27) as usize]));
            x /= 27;
        }
        out.into_iter().rev().collect()
    }
}
