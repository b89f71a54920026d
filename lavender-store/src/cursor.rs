//! Pages: how many items, and where the next begins.

use lavender_core::store::{Cursor, EventQuery, Page};
use lavender_core::{AgentId, Error, ErrorKind, Result, Timestamp};

/// The last item of a page, by what the answer is ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) time: Timestamp,
    pub(crate) id: u128,
}

/// Where reading forward goes on that passes over what is not behind this moment.
pub(crate) fn behind(moment: Timestamp, after: Option<Position>) -> Position {
    let moment = Position { time: moment, id: u128::MAX };
    after.map_or(moment, |after| after.max(moment))
}

/// The end of a span of time that is read from the newest on, behind a place in it: databases begin there, and not at
/// the end of the span.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn end(to: Timestamp, after: Option<Position>) -> Timestamp {
    let behind = |after: Position| after.time.saturating_add(std::time::Duration::from_nanos(1));
    after.map_or(to, |after| to.min(behind(after)))
}

/// What is paged through; a cursor of one is refused by the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    Events,
    Alerts,
    Transitions,
    Tokens,
    Audit,
    Commands,
    Pending,
    Rulesets,
    Publications,
}

impl Listing {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Events => "e",
            Self::Alerts => "a",
            Self::Transitions => "t",
            Self::Tokens => "k",
            Self::Audit => "u",
            Self::Commands => "c",
            Self::Pending => "w",
            Self::Rulesets => "r",
            Self::Publications => "p",
        }
    }

    pub(crate) fn cursor(self, at: Position) -> Cursor {
        Cursor(format!("{}.{}.{:032x}", self.prefix(), at.time.as_nanos(), at.id))
    }

    /// The place that a query's cursor names.
    pub(crate) fn position(self, cursor: Option<&Cursor>) -> Result<Option<Position>> {
        let Some(Cursor(text)) = cursor else { return Ok(None) };
        let parse = || {
            let rest = text.strip_prefix(self.prefix())?.strip_prefix('.')?;
            let (time, id) = rest.split_once('.')?;
            let hex = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
            Some(Position {
                time: Timestamp::from_nanos(time.parse().ok()?),
                id: u128::from_str_radix(id, 16).ok().filter(|_| hex)?,
            })
        };
        match parse() {
            Some(position) => Ok(Some(position)),
            None => Err(invalid("the cursor is not one that this query gave")),
        }
    }

    /// Makes a page of items of which there may be one more than asked for.
    pub(crate) fn page<T>(
        self,
        mut items: Vec<T>,
        limit: usize,
        position: impl Fn(&T) -> Position,
    ) -> Page<T> {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|last| self.cursor(position(last)));
        Page { items, next }
    }
}

/// The agent that a page of agents goes on behind.
pub(crate) fn after_agent(cursor: Option<&Cursor>) -> Result<Option<AgentId>> {
    let Some(Cursor(text)) = cursor else { return Ok(None) };
    match text.strip_prefix("f.").and_then(|name| AgentId::new(name).ok()) {
        Some(agent) => Ok(Some(agent)),
        None => Err(invalid("the cursor is not one that this query gave")),
    }
}

/// Makes a page of agents of which there may be one more than asked for.
pub(crate) fn agents_page<T>(
    mut items: Vec<T>,
    limit: usize,
    agent: impl Fn(&T) -> &AgentId,
) -> Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| Cursor(format!("f.{}", agent(last))));
    Page { items, next }
}

/// Checks how many items a page may have.
pub(crate) fn limit(limit: u32) -> Result<usize> {
    if (1..=EventQuery::MAX_LIMIT).contains(&limit) {
        return Ok(limit as usize);
    }
    Err(invalid(format!("a page of {limit} was asked for; 1 to {} can be", EventQuery::MAX_LIMIT)))
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Invalid, "store query", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_place() {
        for time in [i64::MIN, -1, 0, i64::MAX] {
            let at = Position { time: Timestamp::from_nanos(time), id: u128::MAX - 7 };
            let cursor = Listing::Events.cursor(at);
            assert_eq!(Listing::Events.position(Some(&cursor)).unwrap(), Some(at));
            assert!(Listing::Alerts.position(Some(&cursor)).is_err());
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in
            ["", "e", "e.", "e.1", "e.1.2", "e.x.00", "e.1.+0000000000000000000000000000001"]
        {
            let error = Listing::Events.position(Some(&Cursor(text.to_owned()))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
        }
    }
}
