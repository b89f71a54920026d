//! The state of correlations in memory: what detections are taken into, timers decide, and is bounded.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use lavender_core::Timestamp;

use super::alert::{CorrelationAlert, EventStamp, Losses};
use super::changes::Changes;
use super::correlation::{Correlation, Feed};
use super::correlator::{CorrelationCounters, CorrelatorOptions};
use super::digest;
use super::element::{Element, Firing};
use super::groups::{Group, Groups, Timer, Values, Wanted};
use super::observe::{self, Columns};
use super::row;
use super::settled::Held;
use super::state::{EngineState, State};
use super::window::Scratch;
use crate::record::Record;
use crate::schema::FieldId;

pub(super) struct Memory {
    pub(super) lateness: i64,
    bytes_max: usize,
    pub(super) groups: Groups,
    /// When groups have something to decide or to forget. An entry is void when its group is queued for another time.
    timers: BinaryHeap<Reverse<Timer>>,
    pub(super) watermark: i64,
    pub(super) losses: Losses,
    bytes: usize,
    pub(super) counters: CorrelationCounters,
    columns: Columns,
    scratch: Scratch,
    found: Vec<Found>,
    /// Up to when groups that were forgotten before their time may have had something.
    pub(super) evicted_to: i64,
    pub(super) changes: Changes,
    pub(super) saved_time: Option<(i64, i64)>,
}

/// What a correlation found, on its way to alerts and to the correlations that rest on it.
pub(crate) struct Found {
    pub(crate) correlation: u32,
    pub(crate) group: Box<[u8]>,
    pub(crate) firing: Firing,
    pub(crate) carried: Option<Box<[u8]>>,
    /// Whether a part of its window was forgotten for want of room.
    pub(crate) forgotten: bool,
}

/// Room for so many timers is not given back.
const TIMERS_MIN: usize = 64;

impl Memory {
    pub(super) fn new(options: &CorrelatorOptions) -> Self {
        Self {
            lateness: i64::try_from(options.lateness.as_nanos()).unwrap_or(i64::MAX / 64),
            bytes_max: options.state_bytes_max,
            groups: Groups::default(),
            timers: BinaryHeap::new(),
            watermark: i64::MIN,
            losses: Losses::default(),
            bytes: 0,
            counters: CorrelationCounters::default(),
            columns: Columns::default(),
            scratch: Scratch::default(),
            found: Vec::new(),
            evicted_to: i64::MIN,
            changes: Changes::default(),
            saved_time: None,
        }
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a detection into the correlations that it feeds.
    pub(super) fn observe<R: Record + ?Sized>(
        &mut self,
        correlations: &[Correlation],
        feeds: &[Feed<FieldId>],
        at: EventStamp,
        record: &R,
        out: &mut Vec<CorrelationAlert>,
    ) {
        self.counters.detections += 1;
        if at.time.as_nanos() < self.watermark || !at.is_sound() {
            self.counters.late += 1;
            return;
        }
        self.advance(correlations, at.time, out);
        for feed in feeds {
            let correlation = &correlations[feed.correlation as usize];
            let single = observe::single(record, correlation, feed, at);
            match single.as_ref().and_then(|(value, element)| Some((row::text(value)?, element))) {
                Some((text, element)) => self.take_single(correlation, feed, text, *element),
                None => {
                    self.columns.row.fill(record, feed);
                    self.take(correlations, feed, at, self.watermark);
                }
            }
            if !self.found.is_empty() {
                self.pass_on(correlations, self.watermark, out);
            }
        }
        if self.bytes > self.bytes_max {
            self.make_room(correlations);
        }
    }

    /// Decides what an event of this time makes final.
    pub(super) fn advance(
        &mut self,
        correlations: &[Correlation],
        time: Timestamp,
        out: &mut Vec<CorrelationAlert>,
    ) {
        let watermark = time.as_nanos().min(i64::MAX / 2).saturating_sub(self.lateness);
        if watermark > self.watermark {
            self.watermark = watermark;
            self.run_timers(correlations, watermark, out);
        }
    }

    /// Decides everything.
    pub(super) fn finish(&mut self, correlations: &[Correlation], out: &mut Vec<CorrelationAlert>) {
        self.watermark = i64::MAX;
        self.run_timers(correlations, i64::MAX, out);
    }

    /// Gives groups the new numbers of their correlations, and forgets those of correlations that are no more.
    pub(super) fn renumber(&mut self, number: impl Fn(u32) -> Option<usize>) {
        let mut gone = Vec::new();
        for (place, group) in self.groups.placed_mut() {
            match number(group.correlation) {
                Some(new) => group.correlation = new as u32,
                None => {
                    self.changes.note(group, place);
                    gone.push(place);
                }
            }
        }
        for place in gone {
            self.remove(place);
        }
    }

    /// Takes an element into the group of this text.
    #[inline]
    fn take_single(
        &mut self,
        correlation: &Correlation,
        feed: &Feed<FieldId>,
        text: &[u8],
        element: Element,
    ) {
        let content = correlation.content;
        let values = Values::Text(text);
        let wanted = Wanted { correlation: feed.correlation, content: content[0], values };
        let place = self.groups.find(wanted).unwrap_or_else(|| {
            let key = digest::wide(content, text);
            self.begin(correlation, feed.correlation, key, row::kept(text))
        });
        self.step(correlation, place, Held { element, carried: None }, self.watermark);
    }

    /// Takes what is in the row into the groups that it belongs to.
    fn take<C>(
        &mut self,
        correlations: &[Correlation],
        feed: &Feed<C>,
        at: EventStamp,
        watermark: i64,
    ) {
        let correlation = &correlations[feed.correlation as usize];
        let content = correlation.content[0];
        let mut columns = std::mem::take(&mut self.columns);
        let observed = columns.observe(correlation, feed, at, |observation| {
            let values = Values::Kept(observation.values);
            let wanted = Wanted { correlation: feed.correlation, content, values };
            let place = self.groups.find(wanted).unwrap_or_else(|| {
                let (key, values) = (observation.key(), observation.values.into());
                self.begin(correlation, feed.correlation, key, values)
            });
            self.step(correlation, place, observation.held, watermark);
        });
        self.columns = columns;
        if let Err(left) = observed {
            self.counters.left(left);
        }
    }

    /// Begins a group, and says where.
    fn begin(
        &mut self,
        correlation: &Correlation,
        number: u32,
        key: u128,
        values: Box<[u8]>,
    ) -> u32 {
        let state = State::new(&correlation.plan);
        let group = Group::new(key, number, values, state, self.evicted_to);
        self.bytes += group.bytes();
        self.groups.insert(correlation.content[0], group)
    }

    /// Takes what was observed into a group.
    #[inline]
    fn step(&mut self, correlation: &Correlation, place: u32, held: Held, watermark: i64) {
        let lag = self.lateness.saturating_mul(i64::from(correlation.level));
        let Some(group) = self.groups.get_mut(place) else { return };
        self.changes.note(group, place);
        let Group { correlation: number, values, state, gap, .. } = group;
        let (number, found) = (*number, &mut self.found);
        let mut fire = |firing: Firing, carried| {
            let (group, forgotten) = (values.clone(), *gap >= firing.from);
            found.push(Found { correlation: number, group, firing, carried, forgotten });
        };
        // What was found earlier in time than this group has come to is not late: its own watermark lags behind.
        let local = watermark.saturating_sub(lag).min(held.element.time);
        let outcome = state.step(&correlation.plan, held, local, &mut self.scratch, &mut fire);
        self.counters.outcome(outcome);
        group.account(&mut self.bytes);
        // Behind what decides at once there is only something to forget, and that the later the more comes.
        let set = group.queued != i64::MAX;
        if set && !matches!(group.state.engine, EngineState::Settled(_)) {
            return;
        }
        let due = group.state.due(&correlation.plan).saturating_add(lag);
        if due < group.queued {
            group.queued = due;
            self.timers.push(Reverse((due, place)));
        }
    }

    /// Raises what was found, and gives it to the correlations that rest on it.
    fn pass_on(
        &mut self,
        correlations: &[Correlation],
        watermark: i64,
        out: &mut Vec<CorrelationAlert>,
    ) {
        while let Some(Found { correlation, group, firing, carried, forgotten }) = self.found.pop()
        {
            let correlation = &correlations[correlation as usize];
            let at = EventStamp { id: firing.id, time: Timestamp::from_nanos(firing.time) };
            if correlation.raises && !firing.repeated {
                self.counters.alerts += 1;
                let mut alert = CorrelationAlert::new(correlation, &group, firing, &self.losses);
                alert.incomplete |= forgotten;
                out.push(alert);
            }
            for feed in &correlation.parents {
                self.columns
                    .row
                    .fill_carried(carried.as_deref().unwrap_or_default(), &feed.columns);
                self.take(correlations, feed, at, watermark);
            }
        }
    }

    /// See [`Correlator::due`](super::Correlator::due).
    pub(super) fn due(&self) -> Option<Timestamp> {
        let Reverse((watermark, _)) = self.timers.peek()?;
        Some(Timestamp::from_nanos(watermark.saturating_add(self.lateness)))
    }

    /// Decides and forgets what is due, in the order in which it is.
    fn run_timers(
        &mut self,
        correlations: &[Correlation],
        watermark: i64,
        out: &mut Vec<CorrelationAlert>,
    ) {
        while let Some(Reverse((due, place))) = self.timers.peek().copied() {
            if due > watermark {
                return;
            }
            self.timers.pop();
            let Some(group) = self.groups.get_mut(place).filter(|group| group.queued == due) else {
                continue;
            };
            let correlation = &correlations[group.correlation as usize];
            let lag = self.lateness.saturating_mul(i64::from(correlation.level));
            self.changes.note(group, place);
            let Group { correlation: number, values, state, gap, .. } = group;
            let (number, found) = (*number, &mut self.found);
            let mut fire = |firing: Firing, carried| {
                let (group, forgotten) = (values.clone(), *gap >= firing.from);
                found.push(Found { correlation: number, group, firing, carried, forgotten });
            };
            let local = due.saturating_sub(lag);
            if !state.settle(&correlation.plan, local, &mut self.scratch, &mut fire) {
                self.counters.overflowed += 1;
            }
            if group.state.is_over(&correlation.plan) {
                self.remove(place);
            } else {
                group.account(&mut self.bytes);
                let next = group.state.due(&correlation.plan).saturating_add(lag);
                group.queued = next.max(due.saturating_add(1));
                self.timers.push(Reverse((group.queued, place)));
            }
            self.pass_on(correlations, due, out);
        }
    }

    /// Puts in a group that was somewhere else so far.
    pub(super) fn insert(&mut self, correlation: &Correlation, mut group: Group) {
        let content = correlation.content[0];
        let values = Values::Kept(&group.values);
        let wanted = Wanted { correlation: group.correlation, content, values };
        if let Some(before) = self.groups.find(wanted) {
            self.remove(before);
        }
        self.bytes += group.bytes();
        group.account(&mut self.bytes);
        let queued = group.queued;
        let place = self.groups.insert(content, group);
        self.timers.push(Reverse((queued, place)));
    }

    fn remove(&mut self, place: u32) {
        if let Some(group) = self.groups.remove(place) {
            self.bytes -= group.bytes();
        }
        let room = self.timers.capacity();
        if room > TIMERS_MIN && self.groups.len() * 8 < room {
            self.timers.shrink_to(self.timers.len() * 2);
        }
    }

    /// Forgets the groups that would be forgotten the soonest, until the rest has room.
    pub(super) fn make_room(&mut self, correlations: &[Correlation]) {
        while self.bytes > self.bytes_max {
            let Some(Reverse((due, place))) = self.timers.pop() else { return };
            let Some(group) = self.groups.get_mut(place).filter(|group| group.queued == due) else {
                continue;
            };
            let correlation = &correlations[group.correlation as usize];
            let lag = self.lateness.saturating_mul(i64::from(correlation.level));
            // A timer is set when its group comes up, and not moved with every detection.
            let now = group.state.due(&correlation.plan).saturating_add(lag);
            if now > due {
                group.queued = now;
                self.timers.push(Reverse((now, place)));
                continue;
            }
            self.changes.note(group, place);
            self.remove(place);
            self.counters.evicted += 1;
            // What it had was not later than the newest event.
            self.evicted_to = self.watermark.saturating_add(self.lateness);
        }
    }
}
