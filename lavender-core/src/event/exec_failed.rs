//! Programs that could not be started.

use serde::{Deserialize, Serialize};

use super::{Arguments, SyscallResult};
use crate::text::{ByteString, Captured};

/// A program could not be started by `execve` or `execveat`: it is not there, not permitted, no program.
///
/// The event's process is the one that tried, and goes on as it was. A shell that looks for a program in the folders of
/// its `PATH` by trying makes one event for each that does not have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecFailed {
    /// The absolute path that was asked for, with links in the name as given not followed.
    pub path: Captured<ByteString>,
    /// The arguments that it would have had, the first 4 KiB at least.
    pub arguments: Captured<Arguments>,
    /// Why it failed.
    pub result: SyscallResult,
}
