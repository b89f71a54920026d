//! Events whose memory is used again once nobody has them any more.

use std::collections::VecDeque;
use std::sync::Arc;

use lavender_core::event::{DnsAnswer, Event, EventData, Fork};

/// The most events that are waited for or kept: 5 MiB. Whoever lets go last of one beyond it frees it.
const EVENTS_MAX: usize = 16_384;

/// The most records of answers that the kept lists of them have room for together.
const ANSWERS_MAX: usize = 16_384;

/// How many events that are still in use are looked at, beside one for each that is not.
const IN_USE_MAX: usize = 16;

/// Makes events in the memory of those that nobody has any more.
#[derive(Debug, Default)]
pub(super) struct EventPool {
    /// What was delivered, in about that order.
    delivered: VecDeque<Arc<Event>>,
    /// What nobody else has. They hold nothing.
    free: Vec<Arc<Event>>,
    /// Lists of answers, empty.
    answers: Vec<Vec<DnsAnswer>>,
    /// How many answers those have room for.
    answers_room: usize,
}

impl EventPool {
    /// Takes back what nobody has any more, and lets go of what it holds: its process, its texts.
    pub(super) fn take_back(&mut self) {
        let mut in_use_max = IN_USE_MAX;
        for _ in 0..self.delivered.len() {
            let Some(mut event) = self.delivered.pop_front() else { return };
            let Some(unused) = Arc::get_mut(&mut event) else {
                self.delivered.push_back(event);
                in_use_max -= 1;
                if in_use_max == 0 {
                    return;
                }
                continue;
            };
            unused.process = None;
            let data = std::mem::replace(&mut unused.data, EventData::Fork(Fork {}));
            if let EventData::DnsQuery(query) = data {
                self.keep_answers(query.answers.value);
            }
            self.free.push(event);
            in_use_max += 1;
        }
    }

    /// An event of its own.
    pub(super) fn make(&mut self, event: Event) -> Arc<Event> {
        let Some(mut free) = self.free.pop() else { return Arc::new(event) };
        match Arc::get_mut(&mut free) {
            Some(place) => {
                *place = event;
                free
            }
            None => Arc::new(event),
        }
    }

    /// Waits for these events, until nobody else has them.
    pub(super) fn wait_for(&mut self, events: &[Arc<Event>]) {
        let events = &events[events.len().saturating_sub(EVENTS_MAX)..];
        let too_many = (self.len() + events.len()).saturating_sub(EVENTS_MAX);
        let free = self.free.len().saturating_sub(too_many);
        let of_free = self.free.len() - free;
        self.free.truncate(free);
        self.delivered.drain(..too_many - of_free);
        self.delivered.extend(events.iter().cloned());
    }

    /// An empty list of answers.
    pub(super) fn answers(&mut self) -> Vec<DnsAnswer> {
        let answers = self.answers.pop().unwrap_or_default();
        self.answers_room -= answers.capacity();
        answers
    }

    /// Keeps the room of a list of answers.
    pub(super) fn keep_answers(&mut self, mut answers: Vec<DnsAnswer>) {
        answers.clear();
        let room = self.answers_room + answers.capacity();
        if answers.capacity() > 0 && room <= ANSWERS_MAX {
            self.answers_room = room;
            self.answers.push(answers);
        }
    }

    /// How many events it waits for or keeps.
    pub(super) fn len(&self) -> usize {
        self.delivered.len() + self.free.len()
    }
}
