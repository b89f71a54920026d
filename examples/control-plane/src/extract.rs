//! What requests bring, refused with a [`Problem`] where it is not what it should be.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequest, FromRequestParts};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use lavender_core::Timestamp;
use lavender_core::event::EventKind;
use lavender_core::store::{Cursor, TimeRange};

use crate::problem::Problem;

/// The parameters behind the `?`.
#[derive(Clone, Copy, Debug, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub struct Query<T>(pub T);

/// The parts of the path that stand for something.
#[derive(Clone, Copy, Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub struct Path<T>(pub T);

/// A body in JSON.
#[derive(Clone, Copy, Debug, FromRequest)]
#[from_request(via(axum::Json), rejection(Problem))]
pub struct Json<T>(pub T);

/// Reads a name or an id in a path or a parameter.
///
/// # Errors
///
/// A [`Problem`] that says what it should be.
pub fn named<T: FromStr<Err: Display>>(text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error: T::Err| Problem::invalid(error.to_string()))
}

/// The same where it may be left out.
///
/// # Errors
///
/// A [`Problem`] that says what it should be.
pub fn optional<T: FromStr<Err: Display>>(text: Option<&str>) -> Result<Option<T>, Problem> {
    text.map(named).transpose()
}

/// A kind of events that may be left out.
///
/// # Errors
///
/// A [`Problem`] for one that this version does not know.
pub fn kind(text: Option<&str>) -> Result<Option<EventKind>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let Ok(kind) = text.parse::<EventKind>();
    if kind == EventKind::Unknown && text != EventKind::Unknown.as_str() {
        return Err(Problem::invalid(format!("`{text}` is not a kind of events")));
    }
    Ok(Some(kind))
}

/// A time as the API has it: RFC 3339, with nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = |why: String| serde::de::Error::custom(format!("`{text}` is no time: {why}"));
        let time: jiff::Timestamp =
            text.parse().map_err(|error: jiff::Error| wrong(error.to_string()))?;
        let nanos = i64::try_from(time.as_nanosecond())
            .map_err(|_| wrong("it is not between the years 1678 and 2261".into()))?;
        Ok(Self(Timestamp::from_nanos(nanos)))
    }
}

/// The span of time from one parameter to another; without them, everything.
pub fn span(from: Option<Time>, to: Option<Time>) -> TimeRange {
    TimeRange {
        from: from.map_or(TimeRange::ALL.from, |time| time.0),
        to: to.map_or(TimeRange::ALL.to, |time| time.0),
    }
}

/// How many items a page may have: the most, and what it has unless asked.
///
/// # Errors
///
/// A [`Problem`] for none or too many.
pub fn limit(asked: Option<u32>) -> Result<u32, Problem> {
    match asked.unwrap_or(50) {
        limit @ 1..=200 => Ok(limit),
        other => Err(Problem::invalid(format!("`limit` is {other}; it can be 1 to 200"))),
    }
}

/// Where a page begins.
pub fn cursor(after: Option<String>) -> Option<Cursor> {
    after.map(Cursor)
}
