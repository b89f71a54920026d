//! The events that a detector may still come back to.

mod block;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use lavender_core::event::Event;
use lavender_core::{Bytes, EventId, Result, Timestamp};

use self::block::Block;

/// How many events are remembered that are not in blocks.
const EVENTS_MAX: usize = 4_096;

/// The newest of some events. Saved only where that is asked for.
#[derive(Debug)]
pub(super) struct Remembered {
    /// Before the keys of parts.
    prefix: &'static str,
    /// In the order in which they came; where they are saved, those that are not yet.
    events: VecDeque<Arc<Event>>,
    saving: Option<Saving>,
    forgotten: u64,
}

/// What is saved: blocks of events, which are read when an event of theirs is asked for.
#[derive(Debug)]
struct Saving {
    bytes_max: usize,
    bytes: usize,
    /// In the order in which they were made.
    blocks: VecDeque<Block>,
    /// All that are remembered.
    ids: HashSet<EventId>,
    gone: Vec<String>,
    /// How many events a block is begun with: as many as had room in one before.
    block_events: usize,
}

impl Remembered {
    /// None, whose parts have this before their keys.
    pub(super) const fn new(prefix: &'static str) -> Self {
        Self { prefix, events: VecDeque::new(), saving: None, forgotten: 0 }
    }

    /// Whether a part of this key is one of them.
    pub(super) fn has(&self, key: &str) -> bool {
        key.starts_with(self.prefix)
    }

    /// Saves what fits into so many bytes.
    pub(super) fn saved(&mut self, bytes_max: usize) {
        self.saving = Some(Saving {
            bytes_max,
            bytes: 0,
            blocks: VecDeque::new(),
            ids: HashSet::new(),
            gone: Vec::new(),
            block_events: block::EVENTS_MAX,
        });
    }

    pub(super) fn find(&mut self, id: EventId) -> Option<Arc<Event>> {
        if let Some(event) = self.events.iter().rev().find(|event| event.id == id) {
            return Some(Arc::clone(event));
        }
        let Saving { blocks, ids, .. } =
            self.saving.as_mut().filter(|saving| saving.ids.contains(&id))?;
        let event = blocks.iter_mut().rev().find_map(|block| block.event(id));
        if event.is_none() {
            // Its block cannot be read.
            ids.remove(&id);
            self.forgotten += 1;
        }
        event
    }

    /// The one that happened last.
    pub(super) fn newest(&mut self) -> Option<Arc<Event>> {
        let waiting = self.events.iter().map(|event| (event.observed_at, event.id));
        let blocks = self.saving.iter().flat_map(|saving| &saving.blocks);
        let saved = blocks.flat_map(Block::stamps).copied();
        let newest: Option<(Timestamp, EventId)> = waiting.chain(saved).max();
        newest.and_then(|(_, id)| self.find(id))
    }

    pub(super) fn add(&mut self, event: &Arc<Event>) {
        if self.saving.as_mut().is_some_and(|saving| !saving.ids.insert(event.id)) {
            return;
        }
        self.events.push_back(Arc::clone(event));
        if self.events.len() > EVENTS_MAX
            && let Some(oldest) = self.events.pop_front()
            && let Some(saving) = &mut self.saving
        {
            saving.ids.remove(&oldest.id);
            self.forgotten += 1;
        }
    }

    /// Takes all of them out.
    pub(super) fn take(&mut self) -> Vec<Arc<Event>> {
        let mut taken = Vec::new();
        for block in self.saving.iter_mut().flat_map(|saving| &mut saving.blocks) {
            let count = block.stamps().len();
            let events = block.events();
            self.forgotten += count.saturating_sub(events.len()) as u64;
            taken.extend_from_slice(events);
        }
        taken.extend(self.events.iter().map(Arc::clone));
        self.clear();
        taken
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.events.clear();
        if let Some(Saving { bytes, blocks, ids, gone, .. }) = &mut self.saving {
            gone.extend(blocks.drain(..).filter(|block| block.saved).map(|block| block.key));
            ids.clear();
            *bytes = 0;
        }
    }

    pub(super) fn changed(&mut self, each: &mut dyn FnMut(&str, Option<Bytes>)) {
        let Some(saving) = &mut self.saving else { return };
        self.forgotten += saving.pack(self.prefix, self.events.make_contiguous());
        self.events.clear();
        for key in saving.gone.drain(..) {
            each(&key, None);
        }
        for block in saving.blocks.iter_mut().filter(|block| !block.saved) {
            block.saved = true;
            each(&block.key, Some(block.value.clone()));
        }
    }

    pub(super) fn restore(&mut self, key: &str, value: &[u8]) -> Result<()> {
        let Some(saving) = &mut self.saving else { return Ok(()) };
        let block = Block::read(self.prefix, key, value)?;
        saving.ids.extend(block.stamps().iter().map(|(_, id)| *id));
        self.forgotten += saving.push(block);
        Ok(())
    }

    /// How many were to be saved and could not be, for want of room.
    pub(super) const fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

impl Saving {
    /// Makes blocks of events, the newest of them first, as long as there is room. How many events are forgotten.
    fn pack(&mut self, prefix: &'static str, events: &[Arc<Event>]) -> u64 {
        // One alone may not drive out all others.
        let block_bytes_max = self.bytes_max / 4;
        let (mut made, mut bytes, mut forgotten) = (Vec::new(), 0, 0);
        let mut rest = events;
        while !rest.is_empty() && bytes < self.bytes_max {
            let (older, newer) = rest.split_at(rest.len().saturating_sub(self.block_events));
            let block = block::pack(prefix, newer);
            match block.filter(|block| block.bytes() <= block_bytes_max) {
                Some(block) => {
                    // Events are much alike, and each try costs writing them.
                    let is_full = newer.len() == self.block_events;
                    if is_full && block.bytes() * 3 <= block_bytes_max {
                        self.block_events = (self.block_events * 2).min(block::EVENTS_MAX);
                    }
                    bytes += block.bytes();
                    made.push(block);
                    rest = older;
                }
                None if newer.len() == 1 => {
                    forgotten += self.forget(newer);
                    rest = older;
                }
                None => self.block_events = newer.len() / 2,
            }
        }
        forgotten += self.forget(rest);
        while let Some(block) = made.pop() {
            forgotten += self.push(block);
        }
        forgotten
    }

    /// How many events are forgotten to make room.
    fn push(&mut self, block: Block) -> u64 {
        self.bytes += block.bytes();
        self.blocks.push_back(block);
        let mut forgotten = 0;
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.blocks.pop_front()
        {
            self.bytes -= oldest.bytes();
            for (_, id) in oldest.stamps() {
                self.ids.remove(id);
                forgotten += 1;
            }
            if oldest.saved {
                self.gone.push(oldest.key);
            }
        }
        forgotten
    }

    fn forget<'a>(&mut self, events: impl IntoIterator<Item = &'a Arc<Event>>) -> u64 {
        let mut forgotten = 0;
        for event in events {
            self.ids.remove(&event.id);
            forgotten += 1;
        }
        forgotten
    }
}
