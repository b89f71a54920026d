//! Making room: the oldest telemetry of the lowest priority is given up, and counted where it lay.
//!
//! A segment is written anew without what is given up and with the counts of it, and takes the old one's place in
//! one step: whatever happens meanwhile, an event is either there or counted.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use lavender_core::envelope::Content;
use lavender_core::event::{Event, EventData, EventKind, Loss, LossStage, Priority};
use lavender_core::transport::{Message, Payload, Topic};

use super::Reporter;
use super::frame::{Frame, is_shed, scan};
use super::queue::{Full, Queue};
use super::segment::{self, MAGIC};

impl Reporter {
    /// Events that say what was lost, as frames.
    pub(super) fn report(
        &self,
        losses: &[Loss],
        topic: Topic,
        body_bytes_max: usize,
    ) -> Vec<Frame> {
        let event = |loss: &Loss| {
            Arc::new(Event {
                id: self.sequencer.next(),
                observed_at: self.clock.now(),
                boot_time: self.clock.boot_time(),
                tid: 0,
                process: None,
                data: EventData::Lost(*loss),
            })
        };
        let payload = Payload::Events(losses.iter().map(event).collect());
        let message = Message { source: self.source.clone(), topic, payload };
        Frame::of(&message, body_bytes_max).unwrap_or_else(|error| {
            tracing::error!(%error, ?losses, "losses cannot be reported");
            Vec::new()
        })
    }
}

impl Queue {
    /// Gives up telemetry until so many bytes fit.
    pub(super) fn make_room(&mut self, more: u64, reporter: &Reporter) -> Result<(), Full> {
        for up_to in Priority::ALL {
            for at in 0..self.segments.len() {
                if self.has_room(more) {
                    return Ok(());
                }
                let done = self.segments[at].shed.is_some_and(|before| before >= up_to);
                if !done && self.may_shed(at) {
                    self.shed(at, up_to, reporter).map_err(Full::Disk)?;
                }
            }
        }
        // What is being written may be the largest part of it.
        let active = self.segments.back().map_or(0, |active| active.bytes);
        if !self.has_room(more) && self.segments.len() < 3 && active > MAGIC.len() as u64 {
            self.rotate().map_err(Full::Disk)?;
            return self.make_room(more, reporter);
        }
        if self.has_room(more) { Ok(()) } else { Err(Full::Kept) }
    }

    /// Gives up everything of a segment up to a priority.
    fn shed(&mut self, at: usize, up_to: Priority, reporter: &Reporter) -> io::Result<()> {
        let path = segment::path_of(&self.directory, self.segments[at].number);
        let frames = scan(&segment::read(&path)?, MAGIC.len()).frames;
        self.segments[at].shed = Some(up_to);
        if !frames.iter().any(|frame| frame.holds(up_to)) {
            return Ok(());
        }
        let mut lost = BTreeMap::new();
        let mut topic = Topic::TelemetryRaw;
        let mut kept = Vec::new();
        for frame in frames {
            if let Content::Events { .. } = frame.envelope.content() {
                topic = frame.envelope.subject().topic;
            }
            if frame.holds(up_to) {
                kept.extend(without(frame, up_to, &mut lost, self.options.body_bytes_max));
            } else {
                kept.push(frame);
            }
        }
        let losses: Vec<Loss> =
            lost.iter().map(|(kind, count)| Loss::new(LossStage::Spool, *kind, *count)).collect();
        let count: u64 = lost.values().sum();
        tracing::warn!(events = count, %up_to, "the spool is full: telemetry is given up");
        kept.extend(reporter.report(&losses, topic, self.options.body_bytes_max));
        let mut content = MAGIC.to_vec();
        for frame in &kept {
            content.extend(frame.write().unwrap_or_default());
        }
        segment::replace(&self.directory, &path, &content)?;
        for frame in &kept {
            if let Content::Events { origin, last, .. } = frame.envelope.content() {
                self.state.saw(origin, last);
            }
        }
        let segment = &mut self.segments[at];
        (segment.bytes, segment.frames) = (content.len() as u64, kept.len() as u64);
        self.status.shed += count;
        self.count();
        Ok(())
    }
}

/// What is left of a frame, and what is given up of it by kind.
fn without(
    frame: Frame,
    up_to: Priority,
    lost: &mut BTreeMap<EventKind, u64>,
    body_bytes_max: usize,
) -> Vec<Frame> {
    let keeps_some = frame.kinds.keys().any(|kind| !is_shed(*kind, up_to));
    if keeps_some {
        if let Ok(Message { source, topic, payload: Payload::Events(mut events) }) =
            frame.envelope.decode()
        {
            events.retain(|event| !is_shed(event.kind(), up_to));
            let rest = Message { source, topic, payload: Payload::Events(events) };
            if let Ok(rest) = Frame::of(&rest, body_bytes_max) {
                let given_up = frame.kinds.iter().filter(|(kind, _)| is_shed(**kind, up_to));
                given_up.for_each(|(kind, count)| *lost.entry(*kind).or_default() += count);
                return rest;
            }
        }
        tracing::error!(subject = %frame.envelope.subject(), "a frame cannot be opened; all of it is given up");
    }
    frame.kinds.iter().for_each(|(kind, count)| *lost.entry(*kind).or_default() += count);
    Vec::new()
}
