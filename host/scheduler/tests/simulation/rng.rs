//! A random number generator with a seed.

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a number below a limit.
    pub(crate) fn below<T: TryFrom<u64>>(&mut self, limit: u64) -> T {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        T::try_from((mixed ^ (mixed >> 31)) % limit).ok().expect("a limit in the range of the type")
    }

    /// Returns an index of a slice of that length.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        self.below(length as u64)
    }

    /// Returns true once in so many times.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below::<u64>(times) == 0
    }
}
