//! What is new about what `eval` finds.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::event::{Event, EventData};
use lavender_core::{AgentId, BootId, Origin, TenantId, Timestamp};
use lavender_detect::correlate::EventStamp;
use lavender_detect::novelty::{Novelty, NoveltyOptions, Sighting};
use lavender_detect::{Record, Rule, RuleSet};

use crate::correlate::LOSS_SPAN;
use crate::exit::Failure;

/// Knows which values the rules have seen so far.
#[derive(Debug)]
pub struct Learned {
    novelty: Novelty,
    /// What the events of other programs are numbered by: their lines.
    lines: Option<Origin>,
    /// Matches on events that have no time.
    untimed: u64,
}

impl Learned {
    /// With the rules of this set that ask for novelty; they learn first, unless there is to be no baseline.
    pub fn new(rules: RuleSet, no_baseline: bool) -> Self {
        let agent = AgentId::new("stdin").ok();
        let origin = |agent| Origin::new(&TenantId::default(), &agent, BootId::from_u128(0));
        let mut options = NoveltyOptions::default();
        options.baseline = no_baseline.then_some(Duration::ZERO);
        let novelty = Novelty::new(rules, options);
        Self { novelty, lines: agent.map(origin), untimed: 0 }
    }

    /// Lets one of Lavender's events tell the time, and of losses.
    pub fn pass(&mut self, event: &Arc<Event>) {
        if let EventData::Lost(_) = event.data {
            self.novelty.lost(event.observed_at.saturating_sub(LOSS_SPAN), event.observed_at);
        } else {
            self.novelty.advance(event.observed_at);
        }
    }

    /// What becomes of a rule's match on one of Lavender's events.
    pub fn event<R: Record + ?Sized>(
        &mut self,
        rule: &Rule,
        event: &Event,
        record: &R,
    ) -> Sighting {
        self.novelty.sight(rule, EventStamp::of(event), record)
    }

    /// Lets the object on a line tell the time.
    pub fn pass_object(&mut self, time: Option<Timestamp>) {
        time.into_iter().for_each(|time| self.novelty.advance(time));
    }

    /// What becomes of a rule's match on the object on a line.
    pub fn object<R: Record + ?Sized>(
        &mut self,
        rule: &Rule,
        (line, time): (u64, Option<Timestamp>),
        record: &R,
    ) -> Sighting {
        if rule.novelty().is_none() {
            return Sighting::Plain;
        }
        match (self.lines, time) {
            (Some(lines), Some(time)) => {
                let at = EventStamp { id: lines.event(line), time };
                self.novelty.sight(rule, at, record)
            }
            _ => {
                self.untimed += 1;
                Sighting::Known
            }
        }
    }

    /// Says what could not be looked at.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn finish(self, problems: &mut dyn Write) -> Result<(), Failure> {
        let counters = self.novelty.counters();
        for (count, what) in [
            (
                self.untimed + counters.untimed,
                "matches are on events without a time that can be read, and are not new",
            ),
            (counters.valueless, "matches lack the value of which only the first sight counts"),
            (
                counters.learned,
                "values were learned in the time that rules take for it, and raised nothing",
            ),
            (counters.forgotten, "values that had been seen were forgotten for lack of room"),
        ] {
            if count > 0 {
                writeln!(problems, "{count} {what}")?;
            }
        }
        Ok(())
    }
}
