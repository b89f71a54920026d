//! What a command gave, where it gives something.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::ProcessId;
use crate::text::ByteString;

/// The most bytes of a file that a command collects: with the rest of the result it fits into one message of a broker.
pub const MAX_COLLECTED_BYTES: u32 = 256 * 1024;

/// What a command gave.
///
/// ```
/// use lavender_core::command::{CommandOutcome, CommandOutput, FileContent};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let content = FileContent::new(&b"#!/bin/sh\n"[..]);
/// let done = CommandOutcome::done(CommandOutput::File { content, bytes: 10 });
/// let text = serde_json::to_string(&done)?;
/// assert!(text.contains(r#""output":{"kind":"file","content":"IyEvYmluL3NoCg==""#), "{text}");
/// assert_eq!(serde_json::from_str::<CommandOutcome>(&text)?, done);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum CommandOutput {
    /// What became of a tree of processes.
    Tree {
        /// How many were killed.
        killed: u64,
        /// How many were left alone, since they are protected.
        spared: u64,
    },
    /// What was put into quarantine.
    Quarantined {
        /// The name of its entry, by which it is restored.
        entry: Arc<str>,
    },
    /// Which processes run.
    Processes {
        /// In the order of their pids.
        processes: Vec<RunningProcess>,
        /// How many there are beside these, for which there was no room.
        left_out: u64,
    },
    /// A file's digest.
    Digest {
        /// Its SHA-256, in hex.
        sha256: Arc<str>,
        /// How long the file is.
        bytes: u64,
    },
    /// A file, or the beginning of it.
    File {
        /// Its content.
        content: FileContent,
        /// How long the whole file is.
        bytes: u64,
    },
    /// The rules that are in use now.
    Rules {
        /// How many there are.
        rules: u64,
    },
}

impl CommandOutput {
    /// The name of its kind.
    ///
    /// ```
    /// use lavender_core::command::CommandOutput;
    ///
    /// assert_eq!(CommandOutput::Rules { rules: 7 }.as_str(), "rules");
    /// ```
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Tree { .. } => "tree",
            Self::Quarantined { .. } => "quarantined",
            Self::Processes { .. } => "processes",
            Self::Digest { .. } => "digest",
            Self::File { .. } => "file",
            Self::Rules { .. } => "rules",
        }
    }
}

/// A process that runs. Its arguments are not told: they may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RunningProcess {
    /// Exactly which: what a command to kill takes.
    pub process: ProcessId,
    /// The pid of its parent; 0 where it has none here.
    pub parent: u32,
    /// The real user.
    pub uid: u32,
    /// The name that it gave itself.
    pub name: ByteString,
    /// The program's path; `None` for threads of the kernel, and where it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<ByteString>,
}

/// The bytes of a file; base64 where they are text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileContent(Bytes);

impl FileContent {
    /// These bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<FileContent> for String {
    fn from(content: FileContent) -> Self {
        STANDARD.encode(&content.0)
    }
}

impl TryFrom<String> for FileContent {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        STANDARD.decode(text).map(Self::new)
    }
}
