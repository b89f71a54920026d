//! What gets code where none was before: into another process, into memory, into the kernel.

use serde::{Deserialize, Serialize};

use super::{ProcessTarget, SyscallResult};
use crate::text::{ByteString, Captured};

/// A process took hold of another by `ptrace`, or wrote its memory or registers so, or could not.
///
/// Requests that only read, or let the other go on, are no events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ptrace {
    /// What was asked for.
    pub request: PtraceRequest,
    /// The process that it was asked of; `None` where there is none of that number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<ProcessTarget>,
    /// The thread that it was asked of, in the initial pid namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_tid: Option<u32>,
    /// Zero, or why it failed.
    pub result: SyscallResult,
}

/// A request of `ptrace` that takes hold of a process or changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PtraceRequest {
    /// `PTRACE_ATTACH`.
    Attach,
    /// `PTRACE_SEIZE`.
    Seize,
    /// `PTRACE_POKETEXT`.
    PokeText,
    /// `PTRACE_POKEDATA`.
    PokeData,
    /// `PTRACE_POKEUSER`.
    PokeUser,
    /// `PTRACE_SETREGS`, `PTRACE_SETFPREGS`, `PTRACE_SETFPXREGS`, `PTRACE_SETREGSET`.
    SetRegisters,
    /// One that this version has no name for.
    Other,
}

impl PtraceRequest {
    /// From the call's number: `include/uapi/linux/ptrace.h`, and `ptrace-abi.h` of x86.
    pub const fn from_kernel(request: u32) -> Self {
        match request {
            4 => Self::PokeText,
            5 => Self::PokeData,
            6 => Self::PokeUser,
            13 | 15 | 19 | 0x4205 => Self::SetRegisters,
            16 => Self::Attach,
            0x4206 => Self::Seize,
            _ => Self::Other,
        }
    }

    /// The name as rules write it: `attach`, `seize`, `poke_text`, `poke_data`, `poke_user`, `set_registers`, `other`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attach => "attach",
            Self::Seize => "seize",
            Self::PokeText => "poke_text",
            Self::PokeData => "poke_data",
            Self::PokeUser => "poke_user",
            Self::SetRegisters => "set_registers",
            Self::Other => "other",
        }
    }
}

/// A process wrote another's memory by `process_vm_writev`, or could not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessVmWrite {
    /// The process whose memory it is; `None` where there is none of that number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<ProcessTarget>,
    /// How many bytes were written, or why it failed.
    pub result: SyscallResult,
}

/// A file that lives in memory only was made by `memfd_create` or `memfd_secret`, or could not be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemfdCreate {
    /// The name as given, which means nothing to the kernel; empty of `memfd_secret`, which takes none.
    pub name: Captured<ByteString>,
    /// The flags of the call.
    pub flags: u32,
    /// Whether not even the kernel can read the memory (`memfd_secret`).
    #[serde(default)]
    pub secret: bool,
    /// The descriptor, or why it failed.
    pub result: SyscallResult,
}

/// A kernel module was loaded by `init_module` or `finit_module`, or could not be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModuleLoad {
    /// The file that it was loaded from, as the kernel resolved it; `None` of `init_module`, which takes it from memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Captured<ByteString>>,
    /// The parameters as given.
    pub parameters: Captured<ByteString>,
    /// Zero, or why it failed.
    pub result: SyscallResult,
}
