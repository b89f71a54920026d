//! State as bytes: what a store keeps of a group.
//!
//! Version 1: the version; the digest of the correlation (16 bytes); the group's values; the watermark; the state of
//! the engine. Whole numbers are variable-length, seven bits to the byte, signed ones zigzag; a time is the difference
//! from the one before it, an event id only its sequence number where the rest is that of the one before it.

use std::collections::VecDeque;

use lavender_core::EventId;

use super::closing::Opened;
use super::correlation::Correlation;
use super::element::Element;
use super::log::Log;
use super::missing::{Steps, Whole};
use super::plan::{Engine, Plan, SettledTest};
use super::sequence::{Prefix, Sequence};
use super::settled::{Held, Machine, Settled};
use super::state::{EngineState, State};
use super::window::Window;

const VERSION: u8 = 1;

/// Why bytes are no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// Of a version that this one does not know.
    Version,
    /// Of a correlation that says something else by now.
    Content,
    /// Cut, or not made by this.
    Malformed,
}

type Read<T> = Result<T, DecodeError>;

/// The digest of the correlation that bytes are the state of.
pub(crate) fn content(bytes: &[u8]) -> Read<[u64; 2]> {
    let mut reader = Reader::new(bytes);
    if reader.byte()? != VERSION {
        return Err(DecodeError::Version);
    }
    Ok([reader.fixed()?, reader.fixed()?])
}

/// Writes the state of a group.
pub(crate) fn encode(correlation: &Correlation, group: &[u8], state: &State) -> Vec<u8> {
    let mut writer = Writer { bytes: vec![VERSION], time: 0, origin: 0 };
    writer.fixed(correlation.content[0]);
    writer.fixed(correlation.content[1]);
    writer.blob(group);
    writer.time(state.watermark);
    match &state.engine {
        EngineState::Window(window) => {
            writer.log(&window.log);
            writer.times(window.fired.cells().iter().copied());
        }
        EngineState::Sequence(sequence) => {
            writer.prefixes(sequence.settled());
            writer.log(&sequence.log);
            writer.times(sequence.heads());
            writer.times(sequence.fired.iter().copied());
        }
        EngineState::Settled(settled) => writer.settled(settled),
    }
    writer.bytes
}

/// Reads what [`encode`] wrote: the group's values and its state.
pub(crate) fn decode(correlation: &Correlation, bytes: &[u8]) -> Read<(Box<[u8]>, State)> {
    if content(bytes)? != correlation.content {
        return Err(DecodeError::Content);
    }
    let mut reader = Reader::new(bytes);
    reader.bytes(17)?;
    let group = reader.blob()?.into();
    let watermark = reader.time()?;
    let slots = correlation.members.len() as u16;
    let engine = reader.engine(&correlation.plan, slots)?;
    if !reader.rest.is_empty() {
        return Err(DecodeError::Malformed);
    }
    Ok((group, State { watermark, engine }))
}

struct Writer {
    bytes: Vec<u8>,
    time: i64,
    origin: u128,
}

impl Writer {
    fn fixed(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    fn time(&mut self, time: i64) {
        let difference = time.wrapping_sub(self.time);
        self.number(((difference << 1) ^ (difference >> 63)).cast_unsigned());
        self.time = time;
    }

    fn times(&mut self, times: impl ExactSizeIterator<Item = i64>) {
        self.number(times.len() as u64);
        times.for_each(|time| self.time(time));
    }

    fn blob(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    fn id(&mut self, id: EventId) {
        let bits = id.as_u128();
        if bits >> 48 == self.origin {
            // One more, so that 0 says that the whole id follows.
            self.number((bits as u64 & EventId::MAX_SEQUENCE) + 1);
        } else {
            self.number(0);
            self.bytes.extend_from_slice(&bits.to_le_bytes());
            self.origin = bits >> 48;
        }
    }

    fn ids(&mut self, ids: &[EventId]) {
        self.number(ids.len() as u64);
        ids.iter().for_each(|id| self.id(*id));
    }

    fn element(&mut self, element: &Element) {
        self.time(element.time);
        self.id(element.id);
        self.number(u64::from(element.slot));
        self.fixed(element.value);
    }

    fn elements(&mut self, elements: &VecDeque<Element>) {
        self.number(elements.len() as u64);
        elements.iter().for_each(|element| self.element(element));
    }

    fn log(&mut self, log: &Log) {
        self.number(log.len() as u64);
        log.iter().for_each(|element| self.element(&element));
    }

    fn prefixes<'a>(&mut self, prefixes: impl ExactSizeIterator<Item = (i64, &'a [EventId])>) {
        self.number(prefixes.len() as u64);
        for (start, events) in prefixes {
            self.time(start);
            self.ids(events);
        }
    }

    fn carried(&mut self, carried: Option<&[u8]>) {
        match carried {
            None => self.bytes.push(0),
            Some(carried) => {
                self.bytes.push(1);
                self.blob(carried);
            }
        }
    }

    fn held(&mut self, held: &Held) {
        self.element(&held.element);
        self.carried(held.carried.as_deref());
    }

    fn settled(&mut self, settled: &Settled) {
        self.number(settled.pending.len() as u64);
        settled.pending.iter().for_each(|held| self.held(held));
        self.bytes.push(u8::from(settled.fired.is_some()));
        self.time(settled.fired.unwrap_or(self.time));
        match &settled.machine {
            Machine::Sliding(window) | Machine::Aggregate(window, _) => self.elements(window),
            Machine::Sequence(steps) => {
                let prefixes = steps.prefixes.iter();
                self.prefixes(prefixes.map(|prefix| (prefix.start, &*prefix.events)));
                self.time(steps.forbidden_at);
                self.number(steps.whole.len() as u64);
                for whole in &steps.whole {
                    self.time(whole.end);
                    self.time(whole.start);
                    self.ids(&whole.events);
                    self.held(&whole.last);
                }
            }
            Machine::Closing(None) => self.bytes.push(0),
            Machine::Closing(Some(opened)) => {
                self.bytes.push(1);
                self.element(&opened.first);
                self.carried(opened.carried.as_deref());
                self.number(opened.count);
                self.fixed(opened.set);
                self.bytes.extend_from_slice(&opened.sum.to_le_bytes());
                self.number(opened.values.len() as u64);
                opened.values.iter().for_each(|value| self.fixed(*value));
                self.ids(&opened.events);
            }
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    time: i64,
    origin: u128,
}

impl<'a> Reader<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, time: 0, origin: 0 }
    }

    fn bytes(&mut self, count: usize) -> Read<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Malformed)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Malformed)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn byte(&mut self) -> Read<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Read<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Malformed),
        }
    }

    fn fixed(&mut self) -> Read<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn number(&mut self) -> Read<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(DecodeError::Malformed)
    }

    fn time(&mut self) -> Read<i64> {
        let number = self.number()?;
        let difference = (number >> 1).cast_signed() ^ -(number & 1).cast_signed();
        self.time = self.time.wrapping_add(difference);
        Ok(self.time)
    }

    /// Reads as many as a number says that there are; each takes a byte at least.
    fn many<T>(&mut self, mut read: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let count = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if count > self.rest.len() {
            return Err(DecodeError::Malformed);
        }
        (0..count).map(|_| read(self)).collect()
    }

    fn blob(&mut self) -> Read<&'a [u8]> {
        let count = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        self.bytes(count)
    }

    fn id(&mut self) -> Read<EventId> {
        let bits = match self.number()? {
            0 => u128::from_le_bytes(self.array()?),
            number => (self.origin << 48) | u128::from((number - 1) & EventId::MAX_SEQUENCE),
        };
        self.origin = bits >> 48;
        EventId::from_u128(bits).map_err(|_| DecodeError::Malformed)
    }

    fn element(&mut self, slots: u16) -> Read<Element> {
        let (time, id) = (self.time()?, self.id()?);
        let slot = u16::try_from(self.number()?).ok().filter(|slot| *slot < slots);
        let slot = slot.ok_or(DecodeError::Malformed)?;
        Ok(Element { time, id, slot, value: self.fixed()? })
    }

    fn elements(&mut self, slots: u16) -> Read<VecDeque<Element>> {
        self.many(|reader| reader.element(slots)).map(VecDeque::from)
    }

    fn log(&mut self, slots: u16) -> Read<Log> {
        self.many(|reader| reader.element(slots)).map(Log::from_iter)
    }

    fn prefixes(&mut self, steps: u16) -> Read<Vec<Prefix>> {
        let prefixes = self
            .many(|reader| Ok(Prefix { start: reader.time()?, events: reader.many(Self::id)? }))?;
        if prefixes.len() != usize::from(steps) {
            return Err(DecodeError::Malformed);
        }
        Ok(prefixes)
    }

    fn carried(&mut self) -> Read<Option<Box<[u8]>>> {
        Ok(if self.flag()? { Some(self.blob()?.into()) } else { None })
    }

    fn held(&mut self, slots: u16) -> Read<Held> {
        Ok(Held { element: self.element(slots)?, carried: self.carried()? })
    }

    fn engine(&mut self, plan: &Plan, slots: u16) -> Read<EngineState> {
        Ok(match &plan.engine {
            Engine::Window(_) => {
                let log = self.log(slots)?;
                let fired = self.many(Self::time)?.into_iter().collect();
                EngineState::Window(Window { log, fired })
            }
            Engine::Sequence(steps) => {
                let settled = self.prefixes(*steps)?;
                let log = self.log(*steps)?;
                let heads = self.many(Self::time)?;
                let fired = self.many(Self::time)?;
                let sequence = Sequence::restored(&settled, log, &heads, fired);
                EngineState::Sequence(Box::new(sequence.ok_or(DecodeError::Malformed)?))
            }
            Engine::Settled(settling) => {
                let pending = self.many(|reader| reader.held(slots))?.into();
                let has_fired = self.flag()?;
                let fired = Some(self.time()?).filter(|_| has_fired);
                let machine = self.machine(&settling.test, slots)?;
                EngineState::Settled(Box::new(Settled { pending, machine, fired }))
            }
        })
    }

    fn machine(&mut self, test: &SettledTest, slots: u16) -> Read<Machine> {
        Ok(match test {
            SettledTest::Sliding(_) => Machine::Sliding(self.elements(slots)?),
            SettledTest::Aggregate(..) => Machine::aggregate(self.elements(slots)?),
            SettledTest::Sequence(roles) => {
                let prefixes = self.prefixes(super::plan::Role::steps(roles))?;
                let forbidden_at = self.time()?;
                let whole = self.many(|reader| {
                    Ok(Whole {
                        end: reader.time()?,
                        start: reader.time()?,
                        events: reader.many(Self::id)?,
                        last: reader.held(slots)?,
                    })
                })?;
                Machine::Sequence(Steps { prefixes, forbidden_at, whole })
            }
            SettledTest::Closing(_) if !self.flag()? => Machine::Closing(None),
            SettledTest::Closing(_) => Machine::Closing(Some(Opened {
                first: self.element(slots)?,
                carried: self.carried()?,
                count: self.number()?,
                set: self.fixed()?,
                sum: i128::from_le_bytes(self.array()?),
                values: self.many(Self::fixed)?,
                events: self.many(Self::id)?,
            })),
        })
    }
}
