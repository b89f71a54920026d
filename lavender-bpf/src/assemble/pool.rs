//! Events whose memory is used again once nobody has them any more.

use std::sync::Arc;

use lavender_core::event::{DnsAnswer, Event, EventData, Fork};

use crate::lent::Lent;

/// The most events that are waited for or kept: 5 MiB. Whoever lets go last of one beyond it frees it.
const EVENTS_MAX: usize = 16_384;

/// The most records of answers that the kept lists of them have room for together.
const ANSWERS_MAX: usize = 16_384;

/// Makes events in the memory of those that nobody has any more.
#[derive(Debug, Default)]
pub(super) struct EventPool {
    /// What was delivered.
    delivered: Lent<Arc<Event>>,
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
        let Self { delivered, free, answers, answers_room } = self;
        let let_go = |event: &mut Arc<Event>| {
            let Some(unused) = Arc::get_mut(event) else { return false };
            unused.process = None;
            let data = std::mem::replace(&mut unused.data, EventData::Fork(Fork {}));
            if let EventData::DnsQuery(query) = data {
                keep_answers(answers, answers_room, query.answers.value);
            }
            true
        };
        delivered.take_back(let_go, |event| free.push(event));
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
        self.delivered.forget(too_many - of_free);
        for event in events {
            self.delivered.push(Arc::clone(event));
        }
    }

    /// An empty list of answers.
    pub(super) fn answers(&mut self) -> Vec<DnsAnswer> {
        let answers = self.answers.pop().unwrap_or_default();
        self.answers_room -= answers.capacity();
        answers
    }

    /// Keeps the room of a list of answers.
    pub(super) fn keep_answers(&mut self, list: Vec<DnsAnswer>) {
        keep_answers(&mut self.answers, &mut self.answers_room, list);
    }

    /// How many events it waits for or keeps.
    pub(super) fn len(&self) -> usize {
        self.delivered.len() + self.free.len()
    }
}

fn keep_answers(answers: &mut Vec<Vec<DnsAnswer>>, room: &mut usize, mut list: Vec<DnsAnswer>) {
    list.clear();
    let more = *room + list.capacity();
    if list.capacity() > 0 && more <= ANSWERS_MAX {
        *room = more;
        answers.push(list);
    }
}
