//! What the kernel tells of what it did.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lavender_core::{
    BootId, Outcome, PreventionAction, ProcessId, ResponseAction, ResponseCause, ResponseOrder,
    ResponseOutcome, ResponseTarget,
};
use libbpf_rs::{ErrorKind, MapHandle, RingBuffer, RingBufferBuilder};
use zerocopy::little_endian::{I32, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::tables::Entry;

/// `struct prevent_record`.
#[derive(Clone, Copy, Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Record {
    start_ns: U64,
    tgid: U32,
    entry: U32,
    hook: U32,
    what: U32,
    result: I32,
    reserved: U32,
}

/// `prevent_record.what`.
const DRY_RUN: u32 = 1;
const DENIED: u32 = 2;
const SIGNALLED: u32 = 4;

/// The ring that it is told by.
#[derive(Debug)]
pub(super) struct Told {
    ring: RingBuffer<'static>,
    taken: Arc<Mutex<Vec<Record>>>,
    boot: BootId,
    /// Keeps the ring's descriptor.
    _map: MapHandle,
}

impl Told {
    pub(super) fn new(map: MapHandle, boot: BootId) -> Result<Self, libbpf_rs::Error> {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&taken);
        let mut builder = RingBufferBuilder::new();
        builder.add(&map, move |bytes| {
            if let Ok((record, _)) = Record::read_from_prefix(bytes) {
                into.lock().unwrap_or_else(PoisonError::into_inner).push(record);
            }
            0
        })?;
        let ring = builder.build()?;
        Ok(Self { ring, taken, boot, _map: map })
    }

    /// Waits for what is told, and says what it means by the tests that have these numbers.
    pub(super) fn poll<'e>(
        &self,
        timeout: Duration,
        entry: impl Fn(u32) -> Option<&'e Entry>,
    ) -> Result<Vec<ResponseOutcome>, libbpf_rs::Error> {
        match self.ring.poll(timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let taken = std::mem::take(&mut *self.taken.lock().unwrap_or_else(PoisonError::into_inner));
        let tell = |record: &Record| {
            let entry = entry(record.entry.get())?;
            Some(outcome(record, entry, self.boot))
        };
        Ok(taken.iter().filter_map(tell).collect())
    }
}

fn outcome(record: &Record, entry: &Entry, boot: BootId) -> ResponseOutcome {
    let what = record.what.get();
    let action = match what {
        what if what & DRY_RUN != 0 => entry.action.into(),
        what if what & SIGNALLED != 0 => ResponseAction::from(PreventionAction::Kill),
        _ => ResponseAction::Deny,
    };
    let target = ProcessId::new(boot, record.start_ns.get(), record.tgid.get());
    let order = ResponseOrder {
        cause: ResponseCause::Rule(Arc::clone(&entry.rule)),
        action,
        target: ResponseTarget::Process(target),
        decided_by: format!("in the kernel: {}", entry.test).into(),
    };
    let result = record.result.get();
    let outcome = if what & DRY_RUN != 0 {
        Outcome::DryRun
    } else if result == 0 {
        Outcome::Done
    } else {
        let error = std::io::Error::from_raw_os_error(-result);
        let denied = if what & DENIED != 0 { "the call was refused, and " } else { "" };
        Outcome::Failed { reason: format!("{denied}the signal was not sent: {error}").into() }
    };
    ResponseOutcome::new(order, outcome)
}
