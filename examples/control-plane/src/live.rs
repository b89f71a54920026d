//! The live stream: each client follows the feed in the store by itself, at its own pace.
//!
//! Nothing is queued for a client but the page that it reads just now, and one page serves all who are at the same place:
//! a slow one costs little memory and holds up nobody. What it reads next stands in the store behind what it has read, so
//! nothing is missed between a list and the stream, or over a reconnection. Who falls too far behind is told how much they
//! missed.

mod pages;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use axum::response::sse::Event;
use futures_util::Stream;
use lavender_core::event::EventKind;
use lavender_core::store::{EventQuery, FeedPosition, TimeRange, TokenId};
use lavender_core::{AgentId, Result, TenantId, Timestamp};
use serde::Serialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::sleep;

use self::pages::Change;
pub(crate) use self::pages::Pages;
use crate::access::Caller;
use crate::plane::ControlPlane;
use crate::view::EventView;

/// How many changes a client may be behind before the rest is skipped.
const BEHIND_MAX: u64 = 1_000;

/// How often it is seen to that the token is still good, and how long a store that does not answer is left alone.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// How often telemetry is looked at.
const TELEMETRY_EVERY: Duration = Duration::from_secs(1);

/// How old an event is before it is shown: what is stored later than that is found by a search, and not shown live.
const TELEMETRY_LAG: Duration = Duration::from_secs(2);

/// How many events are shown of one look; the rest is skipped, and told of.
const TELEMETRY_MAX: u32 = 500;

/// A place in the live stream: what a message's `id` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    feed: FeedPosition,
    /// Up to when telemetry was shown.
    telemetry: Option<Timestamp>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.telemetry {
            None => self.feed.0.fmt(f),
            Some(telemetry) => write!(f, "{}.{}", self.feed.0, telemetry.as_nanos()),
        }
    }
}

/// What is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("that is not the `id` of a message of the live stream")]
pub struct NoPlace;

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> std::result::Result<Self, NoPlace> {
        let (feed, telemetry) = match text.split_once('.') {
            None => (text, None),
            Some((feed, nanos)) => (feed, Some(nanos.parse().map_err(|_| NoPlace)?)),
        };
        let feed = FeedPosition(feed.parse().map_err(|_| NoPlace)?);
        Ok(Self { feed, telemetry: telemetry.map(Timestamp::from_nanos) })
    }
}

/// Which telemetry somebody wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Only of this agent.
    pub agent: Option<AgentId>,
    /// Only of this kind.
    pub kind: Option<EventKind>,
}

/// One client of the live stream.
#[derive(Debug)]
pub struct Follower {
    plane: ControlPlane,
    tenant: TenantId,
    token: TokenId,
    place: Place,
    wanted: Option<Wanted>,
    pending: VecDeque<Event>,
    end: watch::Receiver<FeedPosition>,
    _seat: OwnedSemaphorePermit,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.plane.metrics().live_clients.dec();
    }
}

impl Follower {
    /// Follows from a place, or from now.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn new(
        plane: ControlPlane,
        caller: Caller,
        place: Option<Place>,
        wanted: Option<Wanted>,
        seat: OwnedSemaphorePermit,
    ) -> Result<Self> {
        let (end, start) = (plane.store().feed_end().await?, plane.store().feed_start().await?);
        let asked = place.map(|place| place.feed);
        let known = asked.is_none_or(|feed| (start..=end).contains(&feed));
        let feed = asked.filter(|_| known).unwrap_or(end);
        // Not the future, where nothing would ever come.
        let now = plane.now().saturating_sub(TELEMETRY_LAG);
        let telemetry = place.and_then(|place| place.telemetry).unwrap_or(now).min(now);
        plane.metrics().live_clients.inc();
        let mut follower = Self {
            place: Place { feed, telemetry: wanted.as_ref().map(|_| telemetry) },
            tenant: caller.tenant,
            token: caller.token,
            wanted,
            pending: VecDeque::new(),
            end: plane.feed_end().subscribe(),
            _seat: seat,
            plane,
        };
        follower.say("ready", &json!({}));
        if !known {
            // Forgotten, or of another store: nobody can tell how much.
            follower.say("missed", &json!({ "changes": null }));
        }
        Ok(follower)
    }

    /// Its messages, for as long as its token is good.
    pub fn messages(self) -> impl Stream<Item = std::result::Result<Event, Infallible>> + Send {
        futures_util::stream::unfold(self, |mut follower| async move {
            let message = follower.next().await?;
            Some((Ok(message), follower))
        })
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(message) = self.pending.pop_front() {
                return Some(message);
            }
            let read = match self.is_admitted().await {
                Ok(false) => return None,
                Ok(true) => self.read().await,
                Err(error) => Err(error),
            };
            if let Err(error) = read {
                tracing::warn!("the live stream waits for the store: {error}");
                sleep(CHECK_EVERY).await;
            } else if self.pending.is_empty() && !self.wait().await {
                return None;
            }
        }
    }

    async fn is_admitted(&self) -> Result<bool> {
        let token = self.plane.store().token(self.token).await?;
        Ok(token.is_some_and(|token| token.is_good(self.plane.now())))
    }

    /// Waits until there may be something to read; `false` at the end of the control plane.
    async fn wait(&mut self) -> bool {
        let every = if self.wanted.is_some() { TELEMETRY_EVERY } else { CHECK_EVERY };
        let feed = self.place.feed;
        tokio::select! {
            moved = self.end.wait_for(|end| *end > feed) => moved.is_ok(),
            () = sleep(every) => true,
        }
    }

    async fn read(&mut self) -> Result<()> {
        self.read_feed().await?;
        match self.wanted.clone() {
            Some(wanted) => self.read_telemetry(&wanted).await,
            None => Ok(()),
        }
    }

    async fn read_feed(&mut self) -> Result<()> {
        let (store, end) = (self.plane.store(), *self.end.borrow());
        let behind = end.0.saturating_sub(self.place.feed.0);
        if behind == 0 {
            return Ok(());
        }
        if behind > BEHIND_MAX {
            let changes = store.feed_count(&self.tenant, self.place.feed, end).await?;
            if changes > BEHIND_MAX {
                self.place.feed = end;
                self.plane.metrics().live_missed.inc_by(changes);
                self.say("missed", &json!({ "changes": changes }));
                return Ok(());
            }
        }
        let page = self.plane.feed_pages().read(store, &self.tenant, self.place.feed).await?;
        if page.is_empty() {
            self.place.feed = end;
        }
        for Change { position, message } in &*page {
            self.place.feed = *position;
            if let Some((name, json)) = message {
                let id = self.place.to_string();
                self.pending.push_back(Event::default().event(name).id(id).data(json));
            }
        }
        Ok(())
    }

    async fn read_telemetry(&mut self, wanted: &Wanted) -> Result<()> {
        let to = self.plane.now().saturating_sub(TELEMETRY_LAG);
        let from = self.place.telemetry.unwrap_or(to);
        if to <= from {
            return Ok(());
        }
        let query = EventQuery {
            tenant: Some(self.tenant.clone()),
            agent: wanted.agent.clone(),
            kind: wanted.kind,
            limit: TELEMETRY_MAX,
            ..EventQuery::new(TimeRange { from, to })
        };
        let page = self.plane.store().events(&query).await?;
        self.place.telemetry = Some(to);
        for stored in &page.items {
            // What JSON cannot hold is in the log, and found by nobody else either.
            if let Ok(view) = EventView::of(stored) {
                self.say("telemetry", &view);
            }
        }
        if let Some(last) = page.items.last().filter(|_| page.next.is_some()) {
            let (from, to) = (last.event.observed_at.to_string(), to.to_string());
            self.say("missed", &json!({ "telemetry": { "from": from, "to": to } }));
        }
        Ok(())
    }

    fn say(&mut self, name: &str, data: &impl Serialize) {
        let message = Event::default().event(name).id(self.place.to_string());
        match message.json_data(data) {
            Ok(message) => self.pending.push_back(message),
            Err(error) => tracing::error!("a message of the live stream: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_leads_back_to_itself() {
        for text in ["0", "18446744073709551615", "7.-1", "7.1700000000000000000"] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        for text in ["", ".", "7.", "-1", "7.x", "7.1.2", "7\n"] {
            assert_eq!(text.parse::<Place>(), Err(NoPlace), "{text}");
        }
    }
}
