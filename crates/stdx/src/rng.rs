//! A small generator of pseudo-random numbers whose whole future follows from its seed. Not for secrets.

/// xoshiro256++, seeded through SplitMix64 (Blackman and Vigna, public domain).
#[derive(Clone, Debug)]
pub struct Rng([u64; 4]);

/// Letters that upstream's generated names are made of: no vowels, so no words, and no look-alikes
/// (`k8s.io/apimachinery/pkg/util/rand`).
const NAME_LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

impl Rng {
    /// A generator for this seed.
    pub fn new(seed: u64) -> Self {
        let mut x = seed;
        Self([(); 4].map(|()| {
            x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.0;
        let out = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }

    /// A number in `0..n`; 0 for `n` = 0. The bias of at most n/2⁶⁴ is of no account here.
    pub fn below(&mut self, n: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(n);
        (wide >> 64) as u64
    }

    /// An index in `0..len`; 0 for an empty list.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A number in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with this probability.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Puts the items in random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.index(i + 1);
            items.swap(i, j);
        }
    }

    /// A suffix for a generated name, such as `x7k2p`.
    pub fn name_suffix(&mut self, len: usize) -> String {
        (0..len).map(|_| char::from(NAME_LETTERS[self.index(NAME_LETTERS.len())])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_from_the_seed() {
        let draw = |seed| {
            (0..4)
                .map({
                    let mut r = Rng::new(seed);
                    move |_| r.next_u64()
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn ranges() {
        let mut r = Rng::new(3);
        let mut seen = [0; 5];
        (0..1000).for_each(|_| seen[r.index(5)] += 1);
        assert!(seen.iter().all(|n| *n > 120), "{seen:?}");
        assert_eq!((r.below(0), r.index(0)), (0, 0));
        assert!((0..100).all(|_| (0.0..1.0).contains(&r.unit())));
        let mut v: Vec<u32> = (0..20).collect();
        r.shuffle(&mut v);
        v.sort_unstable();
        assert_eq!(v, (0..20).collect::<Vec<_>>());
        assert_eq!(r.name_suffix(5).len(), 5);
    }
}
