//! A bucket of tokens, for what may come in a burst and not for ever.

use tokio::time::Instant;

use super::limits;

/// Tokens that come back one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens {
    most: u32,
    left: u32,
    refilled: Instant,
}

impl Tokens {
    pub(super) fn full(most: u32) -> Self {
        Self { most, left: most, refilled: Instant::now() }
    }

    /// Takes a token if there is one.
    pub(super) fn take(&mut self) -> bool {
        self.refill();
        let has_one = self.left > 0;
        self.left = self.left.saturating_sub(1);
        has_one
    }

    /// Returns when there is a token again, if there is none now.
    pub(super) fn next(&mut self) -> Option<Instant> {
        self.refill();
        (self.left == 0).then(|| self.refilled + limits::REFILL)
    }

    fn refill(&mut self) {
        let periods = self.refilled.elapsed().as_secs() / limits::REFILL.as_secs();
        if periods > 0 {
            self.left = self.most.min(self.left.saturating_add(u32::try_from(periods).unwrap_or(u32::MAX)));
            self.refilled += limits::REFILL * u32::try_from(periods).unwrap_or(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_takes_all_tokens_and_time_brings_them_back() {
        let mut tokens = Tokens::full(2);
        assert_eq!(tokens.next(), None);
        assert_eq!([tokens.take(), tokens.take(), tokens.take()], [true, true, false]);
        assert_eq!(tokens.next(), Some(tokens.refilled + limits::REFILL));
        // One period and a half later.
        let passed =
            |tokens: Tokens, time: Duration| Tokens { refilled: tokens.refilled.checked_sub(time).unwrap(), ..tokens };
        tokens = passed(tokens, limits::REFILL * 3 / 2);
        assert_eq!(tokens.next(), None);
        assert_eq!([tokens.take(), tokens.take()], [true, false]);
        // The half period counts.
        tokens = passed(tokens, limits::REFILL / 2);
        assert_eq!([tokens.take(), tokens.take()], [true, false]);
        // There are never more than at first.
        tokens = passed(tokens, limits::REFILL * 9);
        assert_eq!([tokens.take(), tokens.take(), tokens.take()], [true, true, false]);
    }
}
