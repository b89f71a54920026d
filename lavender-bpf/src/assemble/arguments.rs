//! Arguments that came in parts.

use std::collections::BTreeMap;

use lavender_core::event::Arguments;
use lavender_core::{BootTime, Captured, ExecId, ProcessId, Provenance};

use super::{Assembler, Batch};
use crate::decode::{Program, Record, decode};
use crate::host::Host;
use crate::record::{ARGUMENTS_MAX_BYTES, ArgumentsRecord, flag};

/// The most bytes that incomplete execs hold together. Beyond it the oldest is finished with what it has.
const PENDING_MAX_BYTES: usize = 64 << 20;

/// Execs of which arguments are still to come. A probe writes all parts without a pause, so that an exec is
/// here for a moment, unless a part was lost.
#[derive(Debug, Default)]
pub(super) struct PendingArguments {
    execs: BTreeMap<ExecId, Pending>,
    bytes: usize,
}

#[derive(Debug)]
struct Pending {
    since: BootTime,
    /// The exec's own record.
    record: Vec<u8>,
    /// The arguments from the start on, without a gap.
    arguments: Vec<u8>,
    /// How many bytes there are in truth.
    total: u32,
    /// How many of them are to come.
    captured: u32,
    unreadable: bool,
}

impl PendingArguments {
    pub(super) fn len(&self) -> usize {
        self.execs.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.execs.is_empty()
    }

    /// Takes an exec of which more is to come; `record` is its own.
    pub(super) fn begin(
        &mut self,
        exec: ExecId,
        since: BootTime,
        record: &[u8],
        program: &Program<'_>,
    ) {
        let total = program.record.arguments_total.get();
        self.bytes += record.len() + program.arguments.len();
        let pending = Pending {
            since,
            record: record.to_vec(),
            arguments: program.arguments.to_vec(),
            total,
            captured: total.min(ARGUMENTS_MAX_BYTES),
            unreadable: false,
        };
        if let Some(before) = self.execs.insert(exec, pending) {
            self.bytes -= before.bytes();
        }
    }

    /// Adds a part. Whether the exec is whole now.
    fn add(&mut self, exec: ExecId, part: &ArgumentsRecord, bytes: &[u8]) -> bool {
        let Some(pending) = self.execs.get_mut(&exec) else { return false };
        pending.unreadable |= part.header.flags.get() & flag::ARGUMENTS_UNREADABLE != 0;
        let room = (pending.captured as usize).saturating_sub(pending.arguments.len());
        // A part behind a gap is of no use: the value is a prefix of the truth.
        if part.offset.get() as usize == pending.arguments.len() && bytes.len() <= room {
            pending.arguments.extend_from_slice(bytes);
            self.bytes += bytes.len();
        }
        pending.unreadable || pending.arguments.len() as u32 == pending.captured
    }

    fn take(&mut self, exec: ExecId) -> Option<Pending> {
        let pending = self.execs.remove(&exec)?;
        self.bytes -= pending.bytes();
        Some(pending)
    }

    fn of_process(&self, process: ProcessId) -> Option<ExecId> {
        let from = ExecId { process, generation: 0 };
        let to = ExecId { process, generation: u32::MAX };
        self.execs.range(from..=to).next().map(|(exec, _)| *exec)
    }

    /// An exec that no part will come for any more: it has waited since an earlier batch than the last, or
    /// there are too many.
    fn stale(&self, now: BootTime) -> Option<ExecId> {
        let oldest = self.execs.iter().min_by_key(|(_, pending)| pending.since)?;
        let too_much = self.bytes > PENDING_MAX_BYTES;
        let waited = now.since(oldest.1.since) >= std::time::Duration::from_millis(500);
        (too_much || waited).then_some(*oldest.0)
    }
}

impl Pending {
    fn bytes(&self) -> usize {
        self.record.len() + self.arguments.len()
    }

    fn captured(&self) -> Captured<Arguments> {
        let whole = self.arguments.len() as u32 == self.total;
        let provenance = if whole {
            Provenance::Complete
        } else {
            Provenance::Truncated { true_length: self.total }
        };
        Captured::new(Arguments::new(&self.arguments), provenance)
    }
}

impl<H: Host> Assembler<H> {
    pub(super) fn arguments(&mut self, batch: &mut Batch, part: &ArgumentsRecord, bytes: &[u8]) {
        let exec = self.exec_id(&part.header);
        if self.pending.add(exec, part, bytes) {
            self.finish_arguments(batch, exec);
        }
    }

    fn finish_arguments(&mut self, batch: &mut Batch, exec: ExecId) {
        let Some(pending) = self.pending.take(exec) else { return };
        if let Ok(Record::Exec(program)) = decode(&pending.record) {
            self.exec_with(batch, &program, pending.captured());
        }
    }

    pub(super) fn finish_arguments_of(&mut self, batch: &mut Batch, process: ProcessId) {
        if self.pending.is_empty() {
            return;
        }
        while let Some(exec) = self.pending.of_process(process) {
            self.finish_arguments(batch, exec);
        }
    }

    pub(super) fn finish_stale_arguments(&mut self, batch: &mut Batch) {
        while let Some(exec) = self.pending.stale(batch.drained_at) {
            self.finish_arguments(batch, exec);
        }
    }

    /// Finishes every exec whose arguments are incomplete: nothing will come any more.
    pub(super) fn finish_all_arguments(&mut self, batch: &mut Batch) {
        while let Some((exec, _)) = self.pending.execs.first_key_value() {
            let exec = *exec;
            self.finish_arguments(batch, exec);
        }
    }
}
