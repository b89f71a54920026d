//! Times of events, as JSON lines write them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use lavender_core::Timestamp;
use lavender_detect::FieldValue;

/// Reads a time: RFC 3339, with a space for the `T` and without an offset (UTC) too; or a number since 1970.
///
/// ```
/// use lavender_rules::time::read;
///
/// let time = read("2023-11-14T23:13:20.5+01:00".into()).unwrap();
/// assert_eq!(time.as_millis(), 1_700_000_000_500);
/// assert_eq!(read(1_700_000_000.5.into()), Some(time));
/// assert_eq!(read("1700000000500".into()), Some(time));
/// assert_eq!(read("yesterday".into()), None);
/// ```
pub fn read(value: FieldValue<'_>) -> Option<Timestamp> {
    match value {
        FieldValue::Int(number) => whole(number),
        FieldValue::Uint(number) => fraction(number as f64),
        FieldValue::Float(number) => fraction(number),
        FieldValue::Text(text) => {
            let text = std::str::from_utf8(text).ok()?.trim();
            if let Ok(number) = text.parse() {
                return whole(number);
            }
            rfc3339(text).or_else(|| text.parse().ok().and_then(fraction))
        }
        _ => None,
    }
}

/// The unit of a number tells from its size: in each, the years 1973 to 5138 are apart from those in the others.
fn whole(number: i64) -> Option<Timestamp> {
    let unit = match number.unsigned_abs() {
        0..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    };
    number.checked_mul(unit).map(Timestamp::from_nanos)
}

/// Seconds, or milliseconds, with a fraction.
fn fraction(number: f64) -> Option<Timestamp> {
    let seconds = if number.abs() < 1e11 { number } else { number / 1e3 };
    // The bounds of what 64 bits of ns hold; no number is between them when it is none. The fraction apart, since the
    // whole in ns has more digits than a float.
    let nanos = || seconds.trunc() as i64 * 1_000_000_000 + (seconds.fract() * 1e9).round() as i64;
    (seconds.abs() < 9.2e9).then(|| Timestamp::from_nanos(nanos()))
}

fn rfc3339(text: &str) -> Option<Timestamp> {
    let moment = text.parse().or_else(|_| {
        let clock: DateTime = text.parse()?;
        TimeZone::UTC.to_timestamp(clock)
    });
    let moment: jiff::Timestamp = moment.ok()?;
    i64::try_from(moment.as_nanosecond()).ok().map(Timestamp::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for (value, millis) in [
            (FieldValue::from("1970-01-01T00:00:00Z"), 0),
            (FieldValue::from("2024-02-29 12:00:00.250"), 1_709_208_000_250),
            (FieldValue::from("2024-02-29 12:00"), 1_709_208_000_000),
            (FieldValue::from("2024-02-29T12:00:00.250123456-0130"), 1_709_213_400_250),
            (FieldValue::from(1_709_208_000), 1_709_208_000_000),
            (FieldValue::from(1_709_208_000_250_i64), 1_709_208_000_250),
            (FieldValue::from(1_709_208_000_250_000_i64), 1_709_208_000_250),
            (FieldValue::from(1_709_208_000_250_000_000_i64), 1_709_208_000_250),
            (FieldValue::from("1709208000.25"), 1_709_208_000_250),
        ] {
            assert_eq!(read(value).map(Timestamp::as_millis), Some(millis), "{value:?}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for value in [
            FieldValue::Null,
            FieldValue::from("2024-13-01T00:00:00Z"),
            FieldValue::from("2024-01-01T00:00:00+1"),
            FieldValue::from("2024-01-01T00:00:00.x"),
            FieldValue::from("9999-12-31T23:59:59Z"),
            FieldValue::from("\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}"),
            FieldValue::from("nan"),
        ] {
            assert_eq!(read(value), None, "{value:?}");
        }
    }
}
