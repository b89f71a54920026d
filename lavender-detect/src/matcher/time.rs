//! Moments and their parts, in UTC.

use std::fmt;

use lavender_core::Timestamp;

use crate::record::FieldValue;

/// Sigma's `minute`, `hour`, `day`, `week`, `month`, `year`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TimePart {
    Minute,
    Hour,
    Day,
    /// The ISO 8601 week, 1 to 53.
    Week,
    Month,
    Year,
}

impl TimePart {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// The part of a moment given in seconds since the epoch.
    pub(crate) const fn of(self, seconds: i64) -> i64 {
        let days = seconds.div_euclid(86_400);
        match self {
            Self::Minute => seconds.div_euclid(60).rem_euclid(60),
            Self::Hour => seconds.div_euclid(3_600).rem_euclid(24),
            Self::Day => civil(days).2,
            Self::Week => iso_week(days),
            Self::Month => civil(days).1,
            Self::Year => civil(days).0,
        }
    }
}

/// Year, month and day of a number of days since 1970-01-01, in the proleptic Gregorian calendar. The
/// algorithm counts eras of 400 years that begin on the first of March.
const fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + (month <= 2) as i64;
    (year, month, day)
}

/// Days since 1970-01-01 of a date.
const fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

const fn iso_week(days: i64) -> i64 {
    // The week belongs to the year of its Thursday; 1970-01-01 was one.
    let weekday = (days + 3).rem_euclid(7);
    let thursday = days - weekday + 3;
    let year = civil(thursday).0;
    (thursday - days_of(year, 1, 1)) / 7 + 1
}

/// Seconds since the epoch of a moment in a field: a moment, a text in RFC 3339 or with a space for the `T`
/// (UTC where it names no offset), or a number of seconds or milliseconds since the epoch.
pub(crate) fn seconds_of(value: &FieldValue<'_>) -> Option<i64> {
    match value {
        FieldValue::Time(time) => Some(time.as_nanos().div_euclid(1_000_000_000)),
        FieldValue::Int(number) => Some(seconds_of_number(*number)),
        FieldValue::Uint(number) => i64::try_from(*number).ok().map(seconds_of_number),
        FieldValue::Float(number) => Some(seconds_of_number(*number as i64)),
        FieldValue::Text(text) => parse(text),
        FieldValue::Short(text) => parse(text.as_bytes()),
        _ => None,
    }
}

const fn seconds_of_number(number: i64) -> i64 {
    // In seconds, 10^12 is the year 33658.
    if number > 1_000_000_000_000 { number / 1_000 } else { number }
}

fn parse(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let number = |from: usize, to: usize, low: i64, high: i64| {
        let digits = text.get(from..to)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
        digits.parse().ok().filter(|value| (low..=high).contains(value))
    };
    let separator = |at: usize, any: &str| text.get(at..=at).is_some_and(|c| any.contains(c));
    let (year, month, day) = (number(0, 4, 0, 9_999)?, number(5, 7, 1, 12)?, number(8, 10, 1, 31)?);
    let (hour, minute, second) =
        (number(11, 13, 0, 23)?, number(14, 16, 0, 59)?, number(17, 19, 0, 60)?);
    let well_formed = separator(4, "-")
        && separator(7, "-")
        && separator(10, "Tt ")
        && separator(13, ":")
        && separator(16, ":");
    well_formed.then_some(())?;
    let mut rest = &text[19..];
    if let Some(fraction) = rest.strip_prefix('.') {
        rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    let offset = match rest {
        "" | "Z" | "z" => 0,
        _ => offset_seconds(rest)?,
    };
    Some(days_of(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset)
}

fn offset_seconds(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('+') {
        Some(digits) => (1, digits),
        None => (-1, text.strip_prefix('-')?),
    };
    let (hours, minutes) = digits.split_once(':')?;
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    ((0..24).contains(&hours) && (0..60).contains(&minutes)).then_some(())?;
    Some(sign * (hours * 3_600 + minutes * 60))
}

/// Writes a moment as Sysmon does: `2026-01-31 23:59:59.123`.
pub(crate) fn write(out: &mut impl fmt::Write, time: Timestamp) -> fmt::Result {
    let milliseconds = time.as_nanos().div_euclid(1_000_000);
    let seconds = milliseconds.div_euclid(1_000);
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let (hour, minute) = (TimePart::Hour.of(seconds), TimePart::Minute.of(seconds));
    let (second, millisecond) = (seconds.rem_euclid(60), milliseconds.rem_euclid(1_000));
    write!(out, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{millisecond:03}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_known_moments() {
        // 2026-12-31 is a Thursday in ISO week 53; 2024-12-30 is a Monday in week 1 of 2025.
        for (text, part, expected) in [
            ("2026-12-31T23:59:58Z", TimePart::Week, 53),
            ("2024-12-30 00:00:00.123", TimePart::Week, 1),
            ("2024-02-29T12:34:56+02:00", TimePart::Hour, 10),
            ("2024-02-29T12:34:56", TimePart::Minute, 34),
            ("2024-02-29T00:30:00+01:00", TimePart::Day, 28),
            ("1969-12-31T23:00:00Z", TimePart::Year, 1969),
            ("2000-03-01T00:00:00Z", TimePart::Month, 3),
        ] {
            let seconds = parse(text.as_bytes()).unwrap();
            assert_eq!(part.of(seconds), expected, "{text} {part:?}");
        }
        for bad in ["", "2024-13-01T00:00:00Z", "2024-01-01", "2024-01-01T00:00:00+1", "häh"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn days_and_dates_are_inverse() {
        for days in -800_000..800_000 {
            let (year, month, day) = civil(days);
            assert_eq!(days_of(year, month, day), days);
        }
    }
}
