//! The state of a [`Correlator`] as parts that outlive the process.

use lavender_core::{Bytes, Error, ErrorKind, Gaps, Result, Stateful};

use super::alert::Losses;
use super::correlator::{CorrelationCounters, Correlator};
use super::encode;
use super::groups::Group;
use super::memory::Memory;

const PREFIX: &str = "correlation/";
/// How far time had come, and what was forgotten. Behind all groups in the order of keys.
const TIME: &str = "correlation/time";
const LOSSES: &str = "correlation/losses";

impl Stateful for Correlator {
    fn changed(&mut self, each: &mut dyn FnMut(&str, Option<Bytes>)) {
        let Memory { groups, changes, .. } = &mut self.memory;
        let all = || groups.placed().map(|(place, group)| (group.key(), place)).collect();
        let noted = changes.take().unwrap_or_else(all);
        for same in noted.chunk_by(|(key, _), (other, _)| key == other) {
            let (key, _) = same[0];
            let has_it = |place: &u32| groups.get(*place).is_some_and(|group| group.key() == key);
            let place = same.iter().map(|(_, place)| *place).find(has_it);
            let value = place.and_then(|place| groups.get_mut(place)).map(|group| {
                group.changed = false;
                let correlation = &self.rules.correlations()[group.correlation as usize];
                encode::encode(correlation, &group.values, &group.state).into()
            });
            each(&format!("{PREFIX}{key:032x}"), value);
        }
        if let Some(losses) = self.memory.losses.changed() {
            each(LOSSES, Some(losses.into()));
        }
        let time = (self.memory.watermark, self.memory.evicted_to);
        if self.memory.saved_time.replace(time) != Some(time) {
            let mut bytes = time.0.to_le_bytes().to_vec();
            bytes.extend_from_slice(&time.1.to_le_bytes());
            each(TIME, Some(bytes.into()));
        }
    }

    fn restore(&mut self, key: &str, value: &[u8]) -> Result<()> {
        // What was saved and is over must be said to be no more.
        let Memory { groups, changes, .. } = &mut self.memory;
        changes.begin(groups.placed().map(|(place, group)| (group.key(), place)));
        let restored = match key {
            TIME => self.restore_time(value),
            LOSSES => Losses::restored(value).map(|losses| self.memory.losses = losses),
            _ => self.restore_group(key, value),
        };
        restored.ok_or_else(|| {
            let reason = "not the state of a correlation that there is; it is left";
            Error::new(ErrorKind::Invalid, key.to_owned(), reason)
        })
    }

    fn gaps(&self) -> Gaps {
        let CorrelationCounters { evicted, late, .. } = self.counters();
        Gaps { forgotten: evicted, late }
    }
}

impl Correlator {
    fn restore_time(&mut self, value: &[u8]) -> Option<()> {
        let (watermark, rest) = value.split_first_chunk()?;
        let evicted_to = rest.try_into().ok()?;
        self.memory.watermark = self.memory.watermark.max(i64::from_le_bytes(*watermark));
        self.memory.evicted_to = i64::from_le_bytes(evicted_to);
        // Which groups were begun before that is not known any more.
        for group in self.memory.groups.iter_mut() {
            group.gap = self.memory.evicted_to;
        }
        Some(())
    }

    fn restore_group(&mut self, key: &str, value: &[u8]) -> Option<()> {
        let key = u128::from_str_radix(key.strip_prefix(PREFIX)?, 16).ok()?;
        let content = encode::content(value).ok()?;
        let number = self.rules.correlations().iter().position(|c| c.content == content)?;
        let correlation = &self.rules.correlations()[number];
        let (values, state) = encode::decode(correlation, value).ok()?;
        let lag = self.memory.lateness.saturating_mul(i64::from(correlation.level));
        let queued = state.due(&correlation.plan).saturating_add(lag);
        let gap = self.memory.evicted_to;
        let mut group = Group::new(key, number as u32, values, state, gap);
        group.queued = queued;
        self.memory.insert(correlation, group);
        self.memory.make_room(self.rules.correlations());
        Some(())
    }
}
