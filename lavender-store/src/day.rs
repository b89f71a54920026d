//! The UTC days that events are kept by.

use lavender_core::Timestamp;

const DAY_NS: i64 = 86_400 * 1_000_000_000;

/// A UTC day, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Day(pub(crate) i64);

impl Day {
    pub(crate) const fn of(time: Timestamp) -> Self {
        Self(time.as_nanos().div_euclid(DAY_NS))
    }

    /// Its first moment. The first day that a timestamp can lie in is cut: it begins in its middle.
    pub(crate) const fn start(self) -> Timestamp {
        Timestamp::from_nanos(self.0.saturating_mul(DAY_NS))
    }

    /// `20231114`: what its tables are named after.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn name(self) -> String {
        self.start().to_string().chars().take(10).filter(char::is_ascii_digit).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_holds_its_first_moment_and_not_the_next_days() {
        let day = Day::of(Timestamp::from_millis(1_700_000_000_000));
        assert_eq!(Day::of(day.start()), day);
        assert_eq!(Day::of(Timestamp::from_nanos(day.start().as_nanos() - 1)), Day(day.0 - 1));
        assert_eq!(day.start().to_string(), "2023-11-14T00:00:00.000000000Z");
    }

    #[test]
    fn the_ends_of_time_are_in_days_of_their_own() {
        for end in [i64::MIN, i64::MAX] {
            let day = Day::of(Timestamp::from_nanos(end));
            assert_eq!(Day::of(day.start()), day);
        }
    }

    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    #[test]
    fn a_name_is_the_date() {
        assert_eq!(Day(19_675).name(), "20231114");
        assert_eq!(Day(-1).name(), "19691231");
    }
}
