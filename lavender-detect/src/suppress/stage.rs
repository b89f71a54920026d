//! The stage that alerts pass.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use lavender_core::{
    Alert, AlertId, AlertStage, Bytes, Error, ErrorKind, Gaps, Result, Stateful, Timestamp,
};

use super::entry::{self, Entry, Told, digest, key_in_cell};
use super::{SuppressionAnchor, SuppressionCounters, SuppressionOptions};

/// How many alerts are known by their id, so that the same one is not raised again.
const KNOWN_MAX: usize = 8_192;

/// Holds back what repeats an alert, and counts it there.
///
/// The first alert is raised at once. What repeats it within the window changes nothing but its
/// [`repeats`](lavender_core::Alert::repeats), which are told with the alert's id: soon, whenever they have doubled,
/// and at the end. The window is one of event time from the first on, so that what goes on is raised again once a
/// window. A repeat in a process that was not answered for is answered, though it is not raised. Rules that say
/// `suppress: false` under their key `lavender` are left alone.
///
/// The same alert again, by its id, is no repeat. Counts only grow, so whoever keeps alerts takes the greater; what was
/// told once is never taken back, whatever is restarted.
///
/// ```
/// use lavender_core::AlertStage;
/// use lavender_detect::{SuppressionOptions, SuppressionStage};
///
/// let stage = SuppressionStage::new(SuppressionOptions::default());
/// assert_eq!(stage.suppressed(), 0);
/// ```
#[derive(Debug)]
pub struct SuppressionStage {
    options: SuppressionOptions,
    window: i64,
    entries: HashMap<u128, Entry>,
    /// All of them by when their window began.
    order: BTreeSet<(Timestamp, u128)>,
    /// Those with repeats that were not told.
    untold: Vec<u128>,
    /// What is told of those that are counted no more.
    over: Vec<Alert>,
    gone: Vec<u128>,
    known: HashSet<AlertId>,
    known_order: VecDeque<AlertId>,
    newest: Timestamp,
    bytes: usize,
    batch: u64,
    counters: SuppressionCounters,
}

impl SuppressionStage {
    /// A stage without state.
    pub fn new(options: SuppressionOptions) -> Self {
        Self {
            window: i64::try_from(options.window.as_nanos()).unwrap_or(i64::MAX),
            options,
            entries: HashMap::new(),
            order: BTreeSet::new(),
            untold: Vec::new(),
            over: Vec::new(),
            gone: Vec::new(),
            known: HashSet::new(),
            known_order: VecDeque::new(),
            newest: Timestamp::from_nanos(i64::MIN),
            bytes: 0,
            batch: 0,
            counters: SuppressionCounters::default(),
        }
    }

    /// What became of alerts so far.
    pub const fn counters(&self) -> SuppressionCounters {
        self.counters
    }

    /// What the alerts take whose repeats are counted, in bytes.
    pub const fn state_bytes(&self) -> usize {
        self.bytes
    }

    /// Whether an alert is raised; otherwise it is counted where it belongs.
    fn raises(&mut self, alert: &mut Alert, repeated: &mut Vec<Alert>) -> bool {
        if self.known.contains(&alert.id) {
            self.counters.duplicates += 1;
            return false;
        }
        let by_cell = self.options.anchor == SuppressionAnchor::Cell;
        let is_left_alone = alert.rule.unsuppressed || (by_cell && !is_of_events(alert));
        if is_left_alone || self.window == 0 {
            self.know(alert.id);
            return true;
        }
        let window = self.window;
        let mut key = digest(alert, self.options.key);
        let cell = by_cell.then(|| alert.observed_at.as_nanos().div_euclid(window));
        if let Some(cell) = cell {
            key = key_in_cell(key, cell);
        }
        let distance = |entry: &Entry| {
            let (at, first) = (alert.observed_at.as_nanos(), entry.observed_at.as_nanos());
            at.saturating_sub(first).saturating_abs()
        };
        match self.entries.get_mut(&key) {
            Some(entry) if entry.knows(alert.id) => {
                self.counters.duplicates += 1;
                false
            }
            Some(entry) if by_cell || distance(entry) < window => {
                self.counters.suppressed += 1;
                if !entry.is_untold() {
                    self.untold.push(key);
                }
                if entry.repeat(alert) {
                    let (id, repeats) = (entry.id, entry.repeats());
                    repeated.push(Alert { id, repeats, ..alert.clone() });
                }
                false
            }
            _ => {
                let first = alert.id;
                if let Some(cell) = cell {
                    let start = cell.saturating_mul(window);
                    alert.id = AlertId::of_correlation(&alert.rule.id, &key.to_be_bytes(), start);
                }
                self.know(alert.id);
                self.forget(key);
                self.order.insert((alert.observed_at, key));
                let entry = Entry::new(alert, first);
                self.bytes += entry.bytes;
                self.entries.insert(key, entry);
                true
            }
        }
    }

    fn know(&mut self, id: AlertId) {
        if self.known_order.len() == KNOWN_MAX
            && let Some(oldest) = self.known_order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.known.insert(id);
        self.known_order.push_back(id);
    }

    /// Counts no more for an alert, and keeps what was not told of it.
    fn forget(&mut self, key: u128) {
        let Some(mut entry) = self.entries.remove(&key) else { return };
        self.order.remove(&(entry.observed_at, key));
        self.bytes -= entry.bytes;
        match entry.tell(self.batch, true) {
            Told::Nothing => {}
            Told::Alert(alert) => self.over.push(*alert),
            Told::Unreadable => self.counters.forgotten += 1,
        }
        if entry.saved {
            self.gone.push(key);
        }
    }

    /// Forgets those whose window is over, and the oldest of too many.
    fn expire(&mut self) {
        while let Some((first, key)) = self.order.first().copied() {
            let age = self.newest.as_nanos().saturating_sub(first.as_nanos());
            // Twice as long, since what comes late may still be earlier than what came before.
            let over = age >= self.window.saturating_mul(2);
            let fits = self.entries.len() <= self.options.alerts_max
                && self.bytes <= self.options.state_bytes_max;
            if !over && fits {
                return;
            }
            self.counters.forgotten += u64::from(!over);
            self.forget(key);
        }
    }
}

/// Whether an alert's id is that of the events that it rests on.
fn is_of_events(alert: &Alert) -> bool {
    alert.id == AlertId::new(&alert.rule.id, &alert.events)
}

impl AlertStage for SuppressionStage {
    fn pass(&mut self, raised: &mut Vec<Alert>, repeated: &mut Vec<Alert>) {
        raised.retain_mut(|alert| {
            self.newest = self.newest.max(alert.observed_at);
            let raises = self.raises(alert, repeated);
            self.counters.raised += u64::from(raises);
            raises
        });
        self.expire();
    }

    fn updates(&mut self, last: bool, out: &mut Vec<Alert>) {
        self.batch += 1;
        out.append(&mut self.over);
        let Self { entries, batch, counters, untold, .. } = self;
        untold.retain(|key| {
            let Some(entry) = entries.get_mut(key) else { return false };
            match entry.tell(*batch, last) {
                Told::Nothing => {}
                Told::Alert(alert) => out.push(*alert),
                Told::Unreadable => counters.forgotten += 1,
            }
            entry.is_untold()
        });
    }

    fn suppressed(&self) -> u64 {
        self.counters.suppressed
    }

    fn state(&mut self) -> Option<&mut dyn Stateful> {
        Some(self)
    }
}

const PREFIX: &str = "suppressed/";

impl Stateful for SuppressionStage {
    fn changed(&mut self, each: &mut dyn FnMut(&str, Option<Bytes>)) {
        for key in self.gone.drain(..) {
            if !self.entries.contains_key(&key) {
                each(&format!("{PREFIX}{key:032x}"), None);
            }
        }
        for (key, entry) in self.entries.iter_mut().filter(|(_, entry)| entry.unsaved) {
            (entry.unsaved, entry.saved) = (false, true);
            each(&format!("{PREFIX}{key:032x}"), entry::write(entry));
        }
    }

    fn restore(&mut self, key: &str, value: &[u8]) -> Result<()> {
        let number = key.strip_prefix(PREFIX).and_then(|hex| u128::from_str_radix(hex, 16).ok());
        let number = number.ok_or_else(|| {
            Error::new(ErrorKind::Invalid, format!("state {key}"), "it is no key of suppression")
        })?;
        // Whoever shares state with others publishes before it saves, so that what was told was.
        let was_told = self.options.anchor == SuppressionAnchor::Cell;
        let entry = entry::read(key, value, was_told)?;
        self.newest = self.newest.max(entry.observed_at);
        if let Some(old) = self.entries.remove(&number) {
            self.order.remove(&(old.observed_at, number));
            self.bytes -= old.bytes;
        }
        self.bytes += entry.bytes;
        self.order.insert((entry.observed_at, number));
        self.know(entry.id);
        if entry.is_untold() {
            self.untold.push(number);
        }
        self.entries.insert(number, entry);
        self.expire();
        Ok(())
    }

    fn gaps(&self) -> Gaps {
        Gaps { forgotten: self.counters().forgotten, late: 0 }
    }
}
