//! Correlations over what `eval` finds.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::event::{Event, EventData};
use lavender_core::{AgentId, BootId, Origin, TenantId, Timestamp};
use lavender_detect::correlate::{CorrelationAlert, Correlator, CorrelatorOptions, EventStamp};
use lavender_detect::{Record, Rule, RuleSet};
use serde::Serialize;

use crate::eval::RuleLine;
use crate::exit::Failure;

/// How long before it is told of a loss may have happened: the agent tells of them once a second.
pub(crate) const LOSS_SPAN: Duration = Duration::from_secs(1);

/// Correlates detections, and writes what comes of it.
#[derive(Debug)]
pub struct Correlate {
    correlator: Correlator,
    alerts: Vec<CorrelationAlert>,
    /// What the events of other programs are numbered by: their lines.
    lines: Option<Origin>,
    /// Events with detections that have no time.
    untimed: u64,
}

/// A line of output.
#[derive(Serialize)]
struct AlertLine<'a> {
    kind: &'static str,
    rule: RuleLine<'a>,
    #[serde(flatten)]
    alert: &'a CorrelationAlert,
    /// The lines of the events, where they have no ids of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lines: Vec<u64>,
}

impl Correlate {
    /// With the correlations of these rules.
    pub fn new(rules: RuleSet) -> Self {
        let agent = AgentId::new("stdin").ok();
        let origin = |agent| Origin::new(&TenantId::default(), &agent, BootId::from_u128(0));
        Self {
            correlator: Correlator::new(rules, CorrelatorOptions::default()),
            alerts: Vec::new(),
            lines: agent.map(origin),
            untimed: 0,
        }
    }

    /// Takes the detection of a rule on one of Lavender's events.
    pub fn event<R: Record + ?Sized>(&mut self, rule: &Rule, event: &Event, record: &R) {
        self.correlator.observe(rule, EventStamp::of(event), record, &mut self.alerts);
    }

    /// Lets one of Lavender's events tell the time, and of losses.
    pub fn pass(&mut self, event: &Arc<Event>) {
        if let EventData::Lost(_) = event.data {
            let from = event.observed_at.saturating_sub(LOSS_SPAN);
            self.correlator.lost(event.id, from, event.observed_at);
        }
        self.correlator.advance(event.observed_at, &mut self.alerts);
    }

    /// Takes the detection of a rule on the object on a line.
    pub fn object<R: Record + ?Sized>(
        &mut self,
        rule: &Rule,
        (line, time): (u64, Option<Timestamp>),
        record: &R,
    ) {
        match (self.lines, time) {
            (Some(lines), Some(time)) => {
                let at = EventStamp { id: lines.event(line), time };
                self.correlator.observe(rule, at, record, &mut self.alerts);
            }
            _ => self.untimed += 1,
        }
    }

    /// Writes what was raised since, a line each.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        for alert in self.alerts.drain(..) {
            let made_here = self.lines.filter(|lines| lines.made(alert.event));
            let line = AlertLine {
                kind: "correlation",
                rule: RuleLine::of(&alert.rule),
                lines: match made_here {
                    Some(_) => alert.events.iter().map(|event| event.sequence()).collect(),
                    None => Vec::new(),
                },
                alert: &alert,
            };
            serde_json::to_writer(&mut *out, &line)?;
            writeln!(out)?;
            // Whoever follows a stream sees an alert at once; they are rare.
            out.flush()?;
        }
        Ok(())
    }

    /// Decides what is still open, writes it, and says what could not be correlated.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn finish(mut self, out: &mut dyn Write, problems: &mut dyn Write) -> Result<(), Failure> {
        self.correlator.finish(&mut self.alerts);
        self.write(out)?;
        if self.correlator.rules().correlations().is_empty() {
            return Ok(());
        }
        let counters = self.correlator.counters();
        for (count, what) in [
            (
                self.untimed,
                "detections are on events without a time that can be read, and are not correlated",
            ),
            (counters.late, "detections came too late to be correlated"),
            (counters.ungrouped, "times a detection lacked a field that a correlation groups by"),
            (counters.valueless, "times a detection lacked the value that a correlation looks at"),
            (counters.overflowed, "times a correlation had to forget what it still needed"),
            (counters.evicted, "groups were forgotten before their time for lack of room"),
        ] {
            if count > 0 {
                writeln!(problems, "{count} {what}")?;
            }
        }
        Ok(())
    }
}
