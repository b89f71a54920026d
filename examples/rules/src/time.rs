//! Times of events, as JSON lines write them.

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
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let [year, month, day] = numbers(date, '-')?;
    let zone = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(zone);
    let (clock, decimals) = clock.trim_end().split_once('.').unwrap_or((clock.trim_end(), ""));
    let [hour, minute, second] = numbers(clock, ':')?;
    let sound = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60
        && decimals.bytes().all(|b| b.is_ascii_digit());
    if !sound {
        return None;
    }
    let decimals: String = decimals.chars().chain("000000000".chars()).take(9).collect();
    let nanos: i64 = decimals.parse().ok()?;
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    (seconds - offset(zone)?)
        .checked_mul(1_000_000_000)?
        .checked_add(nanos)
        .map(Timestamp::from_nanos)
}

fn numbers<const N: usize>(text: &str, separator: char) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; N];
    for number in &mut numbers {
        let part = parts.next()?;
        if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Seconds ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    let sign = match zone.chars().next() {
        None | Some('Z' | 'z') => return (zone.len() <= 1).then_some(0),
        Some('-') => -1,
        _ => 1,
    };
    let digits: String = zone[1..].chars().filter(|c| *c != ':').collect();
    if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes): (i64, i64) = (digits[..2].parse().ok()?, digits[2..].parse().ok()?);
    Some(sign * (hours * 3_600 + minutes * 60))
}

/// Days since 1970-01-01 of a date, in years that begin in March so that the leap day comes last.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for (value, millis) in [
            (FieldValue::from("1970-01-01T00:00:00Z"), 0),
            (FieldValue::from("2024-02-29 12:00:00.250"), 1_709_208_000_250),
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
            FieldValue::from("2024-01-01T00:00"),
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
