//! The one source of chance: a seeded sequence, and forks of it by name.
//!
//! Invariant: what is drawn for one thing depends on the seed and on the name of that thing alone,
//! so that taking a command or a fault out of a case leaves the luck of all others as it was. That
//! is what lets a failing case shrink.
//!
//! SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a few lines that no release of a library can
//! change under a stored seed.

/// A seeded sequence of numbers.
#[derive(Clone, Debug)]
pub struct Rng(u64);

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The relative length of delays, in percent of the median, from short to long.
const DELAYS: [u64; 13] = [20, 30, 45, 60, 80, 90, 100, 110, 130, 170, 230, 340, 500];

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Rng {
    /// The sequence of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The sequence of one named thing of a seed.
    ///
    /// ```
    /// use bellpunch_sim::rng::Rng;
    /// let (mut a, mut b) = (Rng::of(7, "commit", 1), Rng::of(7, "commit", 2));
    /// assert_ne!(a.number(), b.number());
    /// assert_eq!(Rng::of(7, "commit", 1).number(), Rng::of(7, "commit", 1).number());
    /// ```
    #[must_use]
    pub fn of(seed: u64, name: &str, number: u64) -> Self {
        let name = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(mix(mix(seed.wrapping_add(STEP)) ^ mix(name) ^ mix(number.wrapping_mul(STEP))))
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// 128 bits.
    pub fn wide(&mut self) -> u128 {
        u128::from(self.number()) << 64 | u128::from(self.number())
    }

    /// A number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number().checked_rem(bound).unwrap_or_default()
    }

    /// A place in a list of this length.
    pub fn place(&mut self, length: usize) -> usize {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        usize::try_from(self.below(length)).unwrap_or_default()
    }

    /// A number from `low` up to, and without, `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low.saturating_add(self.below(high.saturating_sub(low)))
    }

    /// True so many times in a thousand.
    pub fn chance(&mut self, permille: u64) -> bool {
        self.below(1_000) < permille
    }

    /// One of a list.
    ///
    /// # Panics
    /// If the list is empty.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        let place = self.place(list.len());
        list.get(place).expect("a list to pick from is not empty")
    }

    /// A delay around a median: mostly near it, sometimes five times as long.
    pub fn delay(&mut self, median: u64) -> u64 {
        let middle = self.below(5).saturating_add(self.below(5)).saturating_add(self.below(5));
        let place = usize::try_from(middle).unwrap_or_default().min(DELAYS.len().saturating_sub(1));
        let percent = DELAYS.get(place).copied().unwrap_or(100);
        let exact = median.saturating_mul(percent).checked_div(100).unwrap_or_default();
        // So that two things of one median are seldom at one instant.
        exact.saturating_add(self.below(exact.checked_div(16).unwrap_or_default().max(1)))
    }
}
