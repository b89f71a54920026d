//! Numbers: their values.

use serde_json::Number;

use crate::record::FieldValue;

/// So many digits fit a signed number of 64 bits, whichever they are.
const SAFE_DIGITS: usize = 18;

/// A number without an exponent and of at most so many bytes is in the range of a float, whose largest has 309
/// digits.
const SAFE_BYTES: usize = 300;

/// Whether a number that is well formed is in range, too.
pub(super) fn in_range(number: &[u8], has_exponent: bool) -> bool {
    (!has_exponent && number.len() <= SAFE_BYTES) || parse(number).is_some()
}

/// What a number says. Short whole numbers are read here; all others are left to `serde_json`, so that both round
/// alike.
pub(super) fn value(number: &[u8]) -> FieldValue<'static> {
    if let Some(whole) = whole(number) {
        return FieldValue::Int(whole);
    }
    parse(number).map_or(FieldValue::Null, |number| of(&number))
}

/// The value of a parsed number.
pub(super) fn of(number: &Number) -> FieldValue<'static> {
    match (number.as_i64(), number.as_u64()) {
        (Some(value), _) => FieldValue::Int(value),
        (None, Some(value)) => FieldValue::Uint(value),
        (None, None) => FieldValue::Float(number.as_f64().unwrap_or(f64::NAN)),
    }
}

fn parse(number: &[u8]) -> Option<Number> {
    serde_json::from_slice(number).ok()
}

fn whole(number: &[u8]) -> Option<i64> {
    let (negative, digits) = match number.strip_prefix(b"-") {
        // Minus zero is a float.
        Some(b"0") => return None,
        Some(digits) => (true, digits),
        None => (false, number),
    };
    if digits.len() > SAFE_DIGITS {
        return None;
    }
    let value = digits.iter().try_fold(0, |value, digit| {
        digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0'))
    })?;
    Some(if negative { -value } else { value })
}
