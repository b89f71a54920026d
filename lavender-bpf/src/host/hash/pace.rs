//! How much may be read: so many bytes a second, of which a second's worth may come at once.

use std::time::Duration;

use lavender_core::BootTime;

/// A bucket of bytes that fills with time.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_s: u64,
    /// Below 0 by less than one piece.
    left: i64,
    filled_at: BootTime,
}

impl Pace {
    pub(super) fn new(bytes_per_s: u64, now: BootTime) -> Self {
        Self { bytes_per_s, left: signed(bytes_per_s), filled_at: now }
    }

    /// How long to wait before more may be read; zero: not at all.
    pub(super) fn pause(&mut self, now: BootTime) -> Duration {
        let passed = now.since(self.filled_at).as_nanos();
        let filled = passed.saturating_mul(self.bytes_per_s.into()) / 1_000_000_000;
        // What is less than a byte is not thrown away.
        if filled > 0 {
            let filled = i64::try_from(filled).unwrap_or(i64::MAX);
            self.left = self.left.saturating_add(filled).min(signed(self.bytes_per_s));
            self.filled_at = now;
        }
        let missing = u64::try_from(1_i64.saturating_sub(self.left)).unwrap_or(0);
        let ns = u128::from(missing) * 1_000_000_000 / u128::from(self.bytes_per_s.max(1));
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    pub(super) fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> BootTime {
        BootTime::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn a_second_s_worth_comes_at_once_and_the_rest_at_the_rate() {
        let mut pace = Pace::new(1_000_000, at(0));
        assert_eq!(pace.pause(at(0)), Duration::ZERO);
        pace.spend(1_200_000);
        let pause = pace.pause(at(0));
        assert!((200..=201).contains(&pause.as_millis()), "{pause:?}");
        assert_eq!(pace.pause(at(201)), Duration::ZERO);
        // However long nothing is read, more than a second's worth never gathers.
        assert_eq!(pace.pause(at(1_000_000)), Duration::ZERO);
        pace.spend(1_000_000);
        assert!(pace.pause(at(1_000_000)) > Duration::ZERO);
    }
}
