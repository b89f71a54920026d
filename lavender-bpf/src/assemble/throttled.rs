//! What was over a limit: a loss, told as an event of who it was.

use std::sync::Arc;

use lavender_core::event::{EventData, EventKind, Loss, LossStage, Process};

use super::{Assembler, Batch};
use crate::host::Host;
use crate::record::{RecordHeader, ThrottledRecord};
use crate::record_kind::event_of;

impl<H: Host> Assembler<H> {
    /// The process that was over a limit; `None` when it is worth waiting for. What it acts with is left as it is known:
    /// the header may be older.
    pub(super) fn throttled(
        &mut self,
        batch: &Batch,
        header: &RecordHeader,
        waits: u8,
    ) -> Option<Arc<Process>> {
        match self.processes.with_program(self.exec_id(header)).cloned() {
            Some(process) => Some(process),
            None if batch.may_wait(waits) => None,
            None => Some(self.find(batch, header)),
        }
    }
}

pub(super) fn throttled(record: &ThrottledRecord) -> EventData {
    let stage = match record.by_cgroup.get() {
        0 => LossStage::ThrottledProcess,
        _ => LossStage::ThrottledCgroup,
    };
    let kind = u16::try_from(record.of_kind.get()).ok().and_then(event_of);
    EventData::Lost(Loss::new(stage, kind.unwrap_or(EventKind::Unknown), record.count.get()))
}
