//! Correlation by any number of workers, with state in a store.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::store::{PutMode, Version};
use lavender_core::{Bytes, Error, ErrorKind, EventId, Result, Sink, StateStore, Timestamp};

use super::alert::{CorrelationAlert, EventStamp, Losses};
use super::correlation::Correlation;
use super::correlator::CorrelationCounters;
use super::encode;
use super::memory::Found;
use super::observe::Columns;
use super::plan::Engine;
use super::settled::Held;
use super::state::State;
use super::window::Scratch;
use crate::record::Record;
use crate::ruleset::{Rule, RuleSet};

/// How detections are correlated on a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredCorrelatorOptions {
    /// How much later than the newest event another may come and still count. 2 s unless said. No worker may lag
    /// behind another by as much: see [`StoredCorrelator`].
    pub lateness: Duration,
    /// How long state is kept beyond its own time, for when events stop to come and go on later. 1 h unless said.
    pub outage: Duration,
    /// How often a step is done again because another worker was faster. 32 unless said.
    pub attempts_max: u32,
}

impl Default for StoredCorrelatorOptions {
    fn default() -> Self {
        Self {
            lateness: Duration::from_secs(2),
            outage: Duration::from_secs(3_600),
            attempts_max: 32,
        }
    }
}

/// Correlates what rules find, with state in a [`StateStore`], so that any worker may take any detection.
///
/// [`observe`](Self::observe) and [`advance`](Self::advance) note what came; [`flush`](Self::flush) takes it into
/// state. Acknowledge a detection when the flush after it has succeeded. Each step loads the state of one group, gives
/// the alerts to the sink, and only then swaps the state for the new one; so whoever is stopped in between does, or
/// leaves to another, the same again: the sink sees the same alert twice, by the same id, and never misses it.
///
/// # What workers owe each other
///
/// - Detections are given again until they were acknowledged.
/// - The times that workers have come to lie less than the lateness apart, redelivered detections included. A worker
///   that gets no detections learns the time from heartbeats, through [`advance`](Self::advance).
/// - Every worker is told of every loss ([`lost`](Self::lost)), as `lost` events are given to all of them: whichever
///   decides marks the alert, by what it was told.
/// - A worker that starts calls [`recover`](Self::recover), as do all of them every now and then: what is to be
///   decided when its time comes, and was left by a worker that is gone, is then decided by this one.
#[derive(Debug)]
pub struct StoredCorrelator {
    rules: RuleSet,
    store: Arc<dyn StateStore>,
    sink: Arc<dyn Sink<CorrelationAlert>>,
    options: StoredCorrelatorOptions,
    lateness: i64,
    watermark: i64,
    queue: VecDeque<Queued>,
    timers: BinaryHeap<Reverse<(i64, u128)>>,
    /// For which watermark the timer of a group is set, and of which correlation it is.
    due: HashMap<u128, (i64, u32)>,
    losses: Losses,
    counters: CorrelationCounters,
    columns: Columns,
    scratch: Scratch,
}

#[derive(Clone, Debug)]
enum Queued {
    Time(i64),
    Detection(i64, Vec<Input>),
}

/// What goes into one group.
#[derive(Clone, Debug)]
struct Input {
    correlation: u32,
    key: u128,
    group: Box<[u8]>,
    held: Held,
}

const PREFIX: &str = "correlation/";
/// How many keys are listed at once.
const PAGE: usize = 256;
/// For how long a state that is over stays as nothing: long enough for no clock to be too coarse.
const OVER: Duration = Duration::from_secs(1);

type Step<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

fn key_text(key: u128) -> String {
    format!("{PREFIX}{key:032x}")
}

impl StoredCorrelator {
    /// A worker on this store, whose alerts go to this sink.
    pub fn new(
        rules: RuleSet,
        store: Arc<dyn StateStore>,
        sink: Arc<dyn Sink<CorrelationAlert>>,
        options: StoredCorrelatorOptions,
    ) -> Self {
        Self {
            rules,
            store,
            sink,
            lateness: i64::try_from(options.lateness.as_nanos()).unwrap_or(i64::MAX / 64),
            options,
            watermark: i64::MIN,
            queue: VecDeque::new(),
            timers: BinaryHeap::new(),
            due: HashMap::new(),
            losses: Losses::default(),
            counters: CorrelationCounters::default(),
            columns: Columns::default(),
            scratch: Scratch::default(),
        }
    }

    /// Notes the detection of a rule of this set, with the record at hand.
    pub fn observe<R: Record + ?Sized>(&mut self, rule: &Rule, at: EventStamp, record: &R) {
        let rules = self.rules.clone();
        let feeds = rules.inner_correlations().feeds.get(rule.number as usize);
        let feeds = feeds.map_or(&[][..], |feeds| feeds);
        if feeds.is_empty() {
            return;
        }
        self.counters.detections += 1;
        if !at.is_sound() {
            self.counters.late += 1;
            return;
        }
        let mut inputs = Vec::new();
        for feed in feeds {
            self.columns.row.fill(record, feed);
            self.inputs(&rules, feed, at, &mut inputs);
        }
        self.queue.push_back(Queued::Detection(at.time.as_nanos(), inputs));
    }

    /// Notes that an event happened at this time. An event with a detection need not be announced.
    pub fn advance(&mut self, time: Timestamp) {
        self.queue.push_back(Queued::Time(time.as_nanos().min(i64::MAX / 2)));
    }

    /// Says that events were lost between two moments; `lost` is the event that says so. This worker remembers it, and
    /// no other.
    pub fn lost(&mut self, lost: EventId, from: Timestamp, to: Timestamp) {
        self.losses.add(lost, from.as_nanos(), to.as_nanos());
    }

    /// Takes what was noted into state, in the order in which it was, and decides what is due.
    ///
    /// # Errors
    ///
    /// When store or sink fail, or other workers were faster too often. What was not taken is still noted: flush
    /// again, or drop the worker and leave it to others.
    pub async fn flush(&mut self) -> Result<()> {
        while let Some(queued) = self.queue.front().cloned() {
            match queued {
                Queued::Time(time) => self.move_to(time).await?,
                Queued::Detection(time, _) if time < self.watermark => self.counters.late += 1,
                Queued::Detection(time, inputs) => {
                    self.move_to(time).await?;
                    for input in inputs {
                        let (correlation, key) = (input.correlation, input.key);
                        self.apply(correlation, key, Some(input), self.watermark).await?;
                    }
                }
            }
            self.queue.pop_front();
        }
        Ok(())
    }

    /// Decides everything, as if no more events came.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    pub async fn finish(&mut self) -> Result<()> {
        self.flush().await?;
        self.watermark = i64::MAX;
        self.run_timers().await
    }

    /// Looks through the store for what is to be decided when its time comes. Costs a read for each group that has
    /// state.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn recover(&mut self) -> Result<()> {
        let mut after: Option<String> = None;
        loop {
            let keys = self.store.keys(PREFIX, after.as_deref(), PAGE).await?;
            for key in &keys {
                let Some(number) = key.strip_prefix(PREFIX) else { continue };
                let Ok(number) = u128::from_str_radix(number, 16) else { continue };
                let Some((bytes, _)) = self.store.get(key).await? else { continue };
                let Ok(content) = encode::content(&bytes) else { continue };
                let rules = self.rules.clone();
                let found = rules.correlations().iter().position(|c| c.content == content);
                let Some(place) = found else { continue };
                let correlation = &rules.correlations()[place];
                if let Ok((_, state)) = encode::decode(correlation, &bytes) {
                    self.set_timer(correlation, place as u32, number, &state);
                }
            }
            match keys.len() {
                PAGE => after = keys.into_iter().next_back(),
                _ => return Ok(()),
            }
        }
    }

    /// What became of the detections that this worker took. Steps that were done again count again.
    pub const fn counters(&self) -> CorrelationCounters {
        self.counters
    }

    fn inputs<C>(
        &mut self,
        rules: &RuleSet,
        feed: &super::correlation::Feed<C>,
        at: EventStamp,
        inputs: &mut Vec<Input>,
    ) {
        let correlation = &rules.correlations()[feed.correlation as usize];
        let observed = self.columns.observe(correlation, feed, at, |observation| {
            let (key, group) = (observation.key(), observation.values.into());
            let correlation = feed.correlation;
            inputs.push(Input { correlation, key, group, held: observation.held });
        });
        if let Err(left) = observed {
            self.counters.left(left);
        }
    }

    async fn move_to(&mut self, time: i64) -> Result<()> {
        let watermark = time.saturating_sub(self.lateness);
        if watermark > self.watermark {
            self.watermark = watermark;
        }
        self.run_timers().await
    }

    async fn run_timers(&mut self) -> Result<()> {
        while let Some(Reverse((due, key))) = self.timers.peek().copied() {
            if due > self.watermark {
                break;
            }
            let set = self.due.get(&key).copied().filter(|(set, _)| *set == due);
            if let Some((_, correlation)) = set {
                self.apply(correlation, key, None, due).await?;
            }
            // Whether it was void, or the step has set another.
            if self.timers.peek() == Some(&Reverse((due, key))) {
                self.timers.pop();
                if self.due.get(&key).is_some_and(|(set, _)| *set == due) {
                    self.due.remove(&key);
                }
            }
        }
        Ok(())
    }

    /// Does one step: loads the state of a group, takes the input or only the time, gives away what was found, and
    /// swaps the state for the new one; again, when another worker has swapped it in between.
    fn apply(&mut self, number: u32, key: u128, input: Option<Input>, watermark: i64) -> Step<'_> {
        Box::pin(async move {
            let rules = self.rules.clone();
            let correlation = &rules.correlations()[number as usize];
            let text = key_text(key);
            for _ in 0..self.options.attempts_max {
                let loaded = self.store.get(&text).await?;
                let version = loaded.as_ref().map(|(_, version)| *version);
                let before = loaded.map(|(bytes, _)| bytes).filter(|bytes| !bytes.is_empty());
                let known = before.as_ref().and_then(|bytes| self.read(correlation, bytes));
                let (group, mut state) = match (known, &input) {
                    (Some(known), _) => known,
                    (None, Some(input)) => (input.group.clone(), State::new(&correlation.plan)),
                    (None, None) => {
                        self.due.remove(&key);
                        return Ok(());
                    }
                };
                let found = self.step(correlation, (number, &group), &mut state, &input, watermark);
                self.give_away(&rules, found, watermark).await?;
                match self.swap(correlation, &text, (before, version), &group, &state).await {
                    Ok(()) => {
                        self.set_timer(correlation, number, key, &state);
                        return Ok(());
                    }
                    Err(error) if error.kind() == ErrorKind::Conflict => {}
                    Err(error) => return Err(error),
                }
            }
            let reason =
                format!("{text} was changed by others {} times", self.options.attempts_max);
            Err(Error::new(ErrorKind::Conflict, "correlation", reason))
        })
    }

    /// State that cannot be read is left, and counted: it was made by another version, or damaged.
    fn read(&mut self, correlation: &Correlation, bytes: &[u8]) -> Option<(Box<[u8]>, State)> {
        let state = encode::decode(correlation, bytes);
        if state.is_err() {
            self.counters.unreadable += 1;
        }
        state.ok()
    }

    fn step(
        &mut self,
        correlation: &Correlation,
        (number, group): (u32, &[u8]),
        state: &mut State,
        input: &Option<Input>,
        watermark: i64,
    ) -> Vec<Found> {
        let local = watermark.saturating_sub(self.lag(correlation));
        let mut found = Vec::new();
        let mut fire = |firing, carried| {
            let group = group.into();
            found.push(Found { correlation: number, group, firing, carried, forgotten: false });
        };
        match input {
            Some(Input { held, .. }) => {
                let local = local.min(held.element.time);
                let plan = &correlation.plan;
                let outcome = state.step(plan, held.clone(), local, &mut self.scratch, &mut fire);
                self.counters.outcome(outcome);
            }
            None => {
                if !state.settle(&correlation.plan, local, &mut self.scratch, &mut fire) {
                    self.counters.overflowed += 1;
                }
            }
        }
        found
    }

    /// Gives alerts to the sink, and what correlations of this one ask for to them.
    async fn give_away(
        &mut self,
        rules: &RuleSet,
        found: Vec<Found>,
        watermark: i64,
    ) -> Result<()> {
        let mut alerts = Vec::new();
        let mut inputs = Vec::new();
        for Found { correlation, group, firing, carried, .. } in found {
            let correlation = &rules.correlations()[correlation as usize];
            let at = EventStamp { id: firing.id, time: Timestamp::from_nanos(firing.time) };
            for feed in &correlation.parents {
                self.columns
                    .row
                    .fill_carried(carried.as_deref().unwrap_or_default(), &feed.columns);
                self.inputs(rules, feed, at, &mut inputs);
            }
            if correlation.raises && !firing.repeated {
                alerts.push(CorrelationAlert::new(correlation, &group, firing, &self.losses));
            }
        }
        if !alerts.is_empty() {
            self.sink.write(&alerts).await?;
            self.counters.alerts += alerts.len() as u64;
        }
        for input in inputs {
            self.apply(input.correlation, input.key, Some(input), watermark).await?;
        }
        Ok(())
    }

    async fn swap(
        &self,
        correlation: &Correlation,
        key: &str,
        (before, version): (Option<Bytes>, Option<Version>),
        group: &[u8],
        state: &State,
    ) -> Result<()> {
        let mode = version.map_or(PutMode::Create, PutMode::Update);
        if state.is_over(&correlation.plan) {
            if before.is_some() {
                self.store.put(key, Bytes::new(), mode, Some(OVER)).await?;
            }
            return Ok(());
        }
        let after = encode::encode(correlation, group, state);
        if before.is_some_and(|before| before == after) {
            return Ok(());
        }
        let rest = state.due(&correlation.plan).saturating_sub(state.watermark).max(0);
        let rest = Duration::from_nanos(rest.unsigned_abs());
        let ttl = rest.saturating_add(self.options.lateness).saturating_add(self.options.outage);
        self.store.put(key, after.into(), mode, Some(ttl)).await?;
        Ok(())
    }

    fn lag(&self, correlation: &Correlation) -> i64 {
        self.lateness.saturating_mul(i64::from(correlation.level))
    }

    /// What decides at once needs no timer: the store forgets it in time.
    fn set_timer(&mut self, correlation: &Correlation, number: u32, key: u128, state: &State) {
        if !matches!(correlation.plan.engine, Engine::Settled(_)) {
            return;
        }
        if state.is_over(&correlation.plan) {
            self.due.remove(&key);
            return;
        }
        let lag = self.lag(correlation);
        // Later than what it has come to, so that each step gets further.
        let due = state.due(&correlation.plan).max(state.watermark.saturating_add(1));
        let due = due.saturating_add(lag);
        if self.due.insert(key, (due, number)).is_none_or(|(set, _)| set != due) {
            self.timers.push(Reverse((due, key)));
        }
    }
}
