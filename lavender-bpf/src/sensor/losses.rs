//! What the probes could not deliver: counters in the kernel, read as differences.

use lavender_core::event::{EventKind, Loss, LossStage};
use libbpf_rs::{MapCore, MapFlags, MapHandle};

use crate::record::kind;

/// `struct loss_counters` has one counter for each kind of record, for each of these.
const STAGES: [LossStage; 2] = [LossStage::KernelRing, LossStage::KernelRead];

const COUNTERS: usize = STAGES.len() * kind::COUNT;

/// The counters as they were last read.
#[derive(Debug)]
pub(super) struct Losses {
    map: MapHandle,
    seen: Vec<[u64; COUNTERS]>,
}

/// What was lost since the last time.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// Events.
    pub(super) events: Vec<Loss>,
    /// Parts of arguments: the exec that they belong to is delivered, and says that they are missing.
    pub(super) argument_parts: u64,
    /// Whether process life is among it, so that the process table may be wrong.
    pub(super) process_life: bool,
}

impl Losses {
    pub(super) const fn new(map: MapHandle) -> Self {
        Self { map, seen: Vec::new() }
    }

    /// What was lost since the last call.
    pub(super) fn read(&mut self) -> Result<Lost, libbpf_rs::Error> {
        let mut lost = Lost::default();
        let values = self.map.lookup_percpu(&0_u32.to_ne_bytes(), MapFlags::ANY)?;
        let values = values.unwrap_or_default();
        self.seen.resize(values.len(), [0; COUNTERS]);
        for (cpu, (value, seen)) in (0..).zip(values.iter().zip(&mut self.seen)) {
            for (index, (now, before)) in counters(value).zip(seen).enumerate() {
                let count = now.wrapping_sub(*before);
                *before = now;
                if count > 0 {
                    lost.add(cpu, index, count);
                }
            }
        }
        Ok(lost)
    }
}

fn counters(value: &[u8]) -> impl Iterator<Item = u64> {
    value.as_chunks::<8>().0.iter().map(|bytes| u64::from_ne_bytes(*bytes))
}

impl Lost {
    fn add(&mut self, cpu: u32, index: usize, count: u64) {
        let (stage, record) = (STAGES[index / kind::COUNT % 2], (index % kind::COUNT) as u16);
        let event = match record {
            kind::EXEC => EventKind::Exec,
            kind::FORK => EventKind::Fork,
            kind::EXIT => EventKind::Exit,
            kind::OPEN => EventKind::FileOpen,
            kind::DELETE => EventKind::FileDelete,
            kind::RENAME => EventKind::FileRename,
            kind::LINK => EventKind::FileLink,
            kind::MODE => EventKind::FileMode,
            kind::SIGNAL => EventKind::Signal,
            kind::PTRACE => EventKind::Ptrace,
            kind::VM_WRITE => EventKind::ProcessVmWrite,
            kind::MEMFD | kind::SECRET => EventKind::MemfdCreate,
            kind::MODULE => EventKind::ModuleLoad,
            kind::CREDENTIALS => EventKind::CredChange,
            kind::BPF => EventKind::Bpf,
            kind::MOUNT => EventKind::Mount,
            kind::NAMESPACE => EventKind::NsChange,
            kind::MEMORY => EventKind::MemoryProtect,
            kind::CONNECT => EventKind::NetConnect,
            kind::BIND => EventKind::NetBind,
            kind::LISTEN => EventKind::NetListen,
            kind::ACCEPT => EventKind::NetAccept,
            kind::SEND => EventKind::NetSend,
            kind::DNS => EventKind::DnsQuery,
            kind::IO_URING => EventKind::IoUring,
            kind::EXEC_FAILED => EventKind::ExecFailed,
            kind::ARGUMENTS => {
                self.argument_parts += count;
                return;
            }
            // Of a process outside the filters: no event is missing, but the table may be wrong.
            kind::TASK => {
                self.process_life = true;
                return;
            }
            _ => EventKind::Unknown,
        };
        self.process_life |= matches!(event, EventKind::Exec | EventKind::Fork | EventKind::Exit);
        self.events.push(Loss { stage, kind: event, cpu: Some(cpu), count });
    }
}
