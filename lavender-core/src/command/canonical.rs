//! The one form of a command as bytes. The table is in the module's documentation.

use std::sync::Arc;

use crate::command::{Command, CommandAction, CommandId, KeyId, Nonce};
use crate::id::{AgentId, ProcessId, TenantId};
use crate::response::{FileIdentity, FileTarget};
use crate::text::ByteString;
use crate::time::Timestamp;

/// The most that a signed command is long: what is longer is refused unread.
pub const MAX_COMMAND_BYTES: usize = 8 * 1024;

const DOMAIN: &[u8; 16] = b"lavender-command";
const VERSION: u8 = 1;
const MAX_PATH_BYTES: usize = 4096;

/// Bytes that are no command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// More bytes than any command has.
    #[error("{bytes} bytes are more than the {MAX_COMMAND_BYTES} that a command may have")]
    TooLong {
        /// How many there are.
        bytes: usize,
    },
    /// The bytes end too soon.
    #[error("the bytes end within the {field}")]
    Short {
        /// What they end in.
        field: &'static str,
    },
    /// The bytes begin as no command does.
    #[error("the bytes do not begin as a command does")]
    NotACommand,
    /// A version that came later.
    #[error("version {version} of commands is not known here: update the agent")]
    Version {
        /// The version.
        version: u8,
    },
    /// An action that came later.
    #[error("action {action} is not known here: update the agent")]
    Action {
        /// Its number.
        action: u8,
    },
    /// A field that holds what it must not.
    #[error("the {field} is not valid")]
    Field {
        /// Which field.
        field: &'static str,
    },
    /// Bytes behind the end.
    #[error("{bytes} bytes stand behind the end of the command")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

/// A command that has no form as bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a command cannot be written: its {field} is empty or longer than {max_bytes} bytes")]
pub struct Unencodable {
    /// Which field.
    pub field: &'static str,
    /// How long it may be.
    pub max_bytes: usize,
}

pub(super) fn encode(command: &Command) -> Result<Vec<u8>, Unencodable> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(DOMAIN);
    out.push(VERSION);
    out.extend_from_slice(&command.id.as_u128().to_be_bytes());
    out.extend_from_slice(command.nonce.as_bytes());
    out.extend_from_slice(&command.issued_at.as_nanos().to_be_bytes());
    out.extend_from_slice(&command.expires_at.as_nanos().to_be_bytes());
    put_name(&mut out, "key id", command.key.as_str())?;
    put_name(&mut out, "tenant", command.tenant.as_str())?;
    put_name(&mut out, "agent", command.agent.as_str())?;
    match &command.action {
        CommandAction::Ping => out.push(1),
        CommandAction::Kill { process } => put_process(&mut out, 2, *process),
        CommandAction::KillTree { process } => put_process(&mut out, 3, *process),
        CommandAction::Isolate => out.push(4),
        CommandAction::Release => out.push(5),
        CommandAction::Quarantine { file } => {
            out.push(6);
            put_path(&mut out, &file.path)?;
            match file.identity {
                None => out.push(0),
                Some(FileIdentity { inode, device }) => {
                    out.push(1);
                    out.extend_from_slice(&inode.to_be_bytes());
                    out.extend_from_slice(&device.to_be_bytes());
                }
            }
        }
        CommandAction::Restore { entry } => {
            out.push(7);
            put_name(&mut out, "quarantine entry", entry)?;
        }
        CommandAction::ListProcesses => out.push(8),
        CommandAction::HashFile { path } => {
            out.push(9);
            put_path(&mut out, path)?;
        }
        CommandAction::CollectFile { path, max_bytes } => {
            out.push(10);
            put_path(&mut out, path)?;
            out.extend_from_slice(&max_bytes.to_be_bytes());
        }
        CommandAction::ReloadRules => out.push(11),
    }
    Ok(out)
}

fn put_process(out: &mut Vec<u8>, action: u8, process: ProcessId) {
    out.push(action);
    out.extend_from_slice(&process.as_u128().to_be_bytes());
}

fn put_name(out: &mut Vec<u8>, field: &'static str, name: &str) -> Result<(), Unencodable> {
    let length = u8::try_from(name.len()).ok().filter(|length| *length > 0);
    out.push(length.ok_or(Unencodable { field, max_bytes: 255 })?);
    out.extend_from_slice(name.as_bytes());
    Ok(())
}

fn put_path(out: &mut Vec<u8>, path: &ByteString) -> Result<(), Unencodable> {
    let length = u16::try_from(path.len())
        .ok()
        .filter(|length| (1..=MAX_PATH_BYTES).contains(&usize::from(*length)));
    let length = length.ok_or(Unencodable { field: "path", max_bytes: MAX_PATH_BYTES })?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(path.as_bytes());
    Ok(())
}

pub(super) fn decode(bytes: &[u8]) -> Result<Command, Malformed> {
    if bytes.len() > MAX_COMMAND_BYTES {
        return Err(Malformed::TooLong { bytes: bytes.len() });
    }
    let mut rest = Reader { bytes };
    if &rest.array::<16>("beginning")? != DOMAIN {
        return Err(Malformed::NotACommand);
    }
    let version = rest.byte("version")?;
    if version != VERSION {
        return Err(Malformed::Version { version });
    }
    let id = CommandId::from_u128(u128::from_be_bytes(rest.array("command id")?));
    let nonce = Nonce::from_bytes(rest.array("nonce")?);
    let issued_at = Timestamp::from_nanos(i64::from_be_bytes(rest.array("time of issue")?));
    let expires_at = Timestamp::from_nanos(i64::from_be_bytes(rest.array("time of expiry")?));
    let key = rest.name("key id", KeyId::new)?;
    let tenant = rest.name("tenant", TenantId::new)?;
    let agent = rest.name("agent", AgentId::new)?;
    let action = rest.action()?;
    if !rest.bytes.is_empty() {
        return Err(Malformed::Trailing { bytes: rest.bytes.len() });
    }
    Ok(Command { id, nonce, tenant, agent, action, issued_at, expires_at, key })
}

/// What is not read yet.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(Malformed::Short { field })?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(Malformed::Short { field })?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn byte(&mut self, field: &'static str) -> Result<u8, Malformed> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    fn name<T, E>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Malformed> {
        let length = self.byte(field)?;
        let name = self.take(usize::from(length), field)?;
        let name = std::str::from_utf8(name).map_err(|_| Malformed::Field { field })?;
        read(name).map_err(|_| Malformed::Field { field })
    }

    fn path(&mut self) -> Result<ByteString, Malformed> {
        let length = usize::from(u16::from_be_bytes(self.array("path")?));
        if !(1..=MAX_PATH_BYTES).contains(&length) {
            return Err(Malformed::Field { field: "path" });
        }
        Ok(ByteString::from(self.take(length, "path")?))
    }

    fn process(&mut self) -> Result<ProcessId, Malformed> {
        let bits = u128::from_be_bytes(self.array("process id")?);
        ProcessId::from_u128(bits).map_err(|_| Malformed::Field { field: "process id" })
    }

    fn file(&mut self) -> Result<FileTarget, Malformed> {
        let path = self.path()?;
        let identity = match self.byte("file identity")? {
            0 => None,
            1 => Some(FileIdentity {
                inode: u64::from_be_bytes(self.array("inode")?),
                device: u32::from_be_bytes(self.array("device")?),
            }),
            _ => return Err(Malformed::Field { field: "file identity" }),
        };
        Ok(FileTarget { path, identity })
    }

    fn action(&mut self) -> Result<CommandAction, Malformed> {
        Ok(match self.byte("action")? {
            1 => CommandAction::Ping,
            2 => CommandAction::Kill { process: self.process()? },
            3 => CommandAction::KillTree { process: self.process()? },
            4 => CommandAction::Isolate,
            5 => CommandAction::Release,
            6 => CommandAction::Quarantine { file: self.file()? },
            7 => {
                let entry =
                    |name: &str| if name.is_empty() { Err(()) } else { Ok(Arc::from(name)) };
                CommandAction::Restore { entry: self.name("quarantine entry", entry)? }
            }
            8 => CommandAction::ListProcesses,
            9 => CommandAction::HashFile { path: self.path()? },
            10 => CommandAction::CollectFile {
                path: self.path()?,
                max_bytes: u32::from_be_bytes(self.array("bound of bytes")?),
            },
            11 => CommandAction::ReloadRules,
            action => return Err(Malformed::Action { action }),
        })
    }
}
