//! What an assembler holds, for whoever watches that it does not grow.

use super::Assembler;
use crate::host::Host;

/// How much an assembler holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Processes that are known, those that ended of late included.
    pub processes: usize,
    /// Those of them that live, as far as it knows.
    pub living: usize,
    /// Records that wait for their process.
    pub waiting: usize,
    /// Execs that wait for the rest of their arguments.
    pub arguments: usize,
    /// Look-ups that wait for their answer.
    pub questions: usize,
    /// Execs that wait for the hash of their program.
    pub execs: usize,
    /// Files of programs whose hash is remembered.
    pub hashes: usize,
    /// Containers of which it is remembered what their runtime says.
    pub containers: usize,
    /// Events whose memory is to be used again, those that are still on their way included.
    pub events: usize,
    /// Bytes of the buffers of their texts.
    pub text_bytes: usize,
}

impl<H: Host> Assembler<H> {
    /// How much it holds.
    pub fn held(&self) -> Held {
        Held {
            processes: self.processes.len(),
            living: self.processes.all_living().count(),
            waiting: self.waiting.len(),
            arguments: self.pending.len(),
            questions: self.questions.len(),
            execs: self.hashes.held(),
            hashes: self.hashes.known(),
            containers: self.containers.described(),
            events: self.pool.len(),
            text_bytes: self.texts.bytes(),
        }
    }
}

/// For whoever holds the table against the kernel's.
#[cfg(all(feature = "load", target_os = "linux"))]
mod live {
    use std::sync::Arc;

    use lavender_core::ProcessId;
    use lavender_core::event::Process;

    use super::{Assembler, Host};
    use crate::record::RecordHeader;

    impl<H: Host> Assembler<H> {
        pub(crate) fn living(&self) -> impl Iterator<Item = ProcessId> {
            self.processes.all_living()
        }

        /// A process as it is now.
        pub(crate) fn process(&self, id: ProcessId) -> Option<&Arc<Process>> {
            self.processes.latest(id)
        }

        pub(crate) fn knows(&self, id: ProcessId) -> bool {
            self.processes.latest(id).is_some()
        }

        pub(crate) fn process_of(&self, header: &RecordHeader) -> ProcessId {
            self.process_id(header)
        }
    }
}
