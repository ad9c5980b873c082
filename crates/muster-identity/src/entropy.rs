//! Randomness as an argument: [`Entropy`].
//!
//! It refuses to know a source; the caller above the waterline brings the operating system's, a test
//! brings a counter.

/// A source of random bytes, handed in by the caller.
///
/// For secrets it must be a cryptographically secure source that cannot fail or that aborts when it does:
/// a short answer is not an answer.
pub trait Entropy {
    /// Overwrites all of `bytes` with random ones.
    fn fill(&mut self, bytes: &mut [u8]);
}

impl<F: FnMut(&mut [u8])> Entropy for F {
    fn fill(&mut self, bytes: &mut [u8]) {
        self(bytes);
    }
}

#[cfg(test)]
pub(crate) mod counting {
    //! A source for tests: bytes that differ and can be foretold.

    /// Returns a source that yields the bytes of a simple generator started at `seed`.
    pub(crate) fn from(seed: u64) -> impl FnMut(&mut [u8]) {
        let mut state = seed;
        move |bytes: &mut [u8]| {
            for byte in bytes {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                *byte = (state >> 33) as u8;
            }
        }
    }
}
