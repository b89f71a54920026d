//! From bytes to typed records. Pure: no bytes make it panic, and it borrows everything.
//!
//! ```
//! use lavender_bpf::decode::{Record, decode};
//! use lavender_bpf::record::{ExitRecord, RecordHeader, kind};
//! use zerocopy::IntoBytes;
//!
//! let exit = ExitRecord {
//!     header: RecordHeader { length: 72.into(), kind: kind::EXIT.into(), ..Default::default() },
//!     exit_code: 0x700.into(),
//!     ..Default::default()
//! };
//! assert!(matches!(decode(exit.as_bytes()), Ok(Record::Exit(record)) if record.exit_code == 0x700));
//! assert!(decode(&[0; 10]).is_err());
//! ```

use zerocopy::FromBytes;

use crate::record::{
    ArgumentsRecord, BpfRecord, ChangeRecord, ConnectRecord, CredentialsRecord, DnsRecord,
    ExecFailedRecord, ExitRecord, ForkRecord, IoUringRecord, ListenRecord, MemoryRecord,
    MountRecord, NamespaceRecord, OpenRecord, Place, ProgramRecord, RecordHeader, SignalRecord,
    THROTTLED, TamperRecord, ThrottledRecord, kind,
};

/// A record, its parts borrowed from the bytes.
#[derive(Clone, Copy, Debug)]
pub enum Record<'a> {
    /// A process runs a new program.
    Exec(Program<'a>),
    /// More of an exec's arguments.
    Arguments(&'a ArgumentsRecord, &'a [u8]),
    /// A new process.
    Fork(&'a ForkRecord),
    /// A process ended.
    Exit(&'a ExitRecord),
    /// A file was opened, or could not be.
    Open(Open<'a>),
    /// A file's names, mode or owner were changed, or could not be.
    Change(Change<'a>),
    /// A socket was connected, or could not be.
    Connect(&'a ConnectRecord),
    /// A socket was bound, a connection was accepted, or a message was sent to a new peer; or could not be.
    Socket(&'a ConnectRecord),
    /// A socket was made to listen, or could not be.
    Listen(&'a ListenRecord),
    /// A request was made of `io_uring`.
    IoUring(Request<'a>),
    /// A message to or from a name server.
    Dns(Dns<'a>),
    /// A program could not be started.
    ExecFailed(FailedExec<'a>),
    /// A process sent another a signal.
    Signal(&'a SignalRecord),
    /// What gets code into another process, into memory, into the kernel.
    Tamper(Tamper<'a>),
    /// A process changed the ids or the capabilities that it acts with.
    Credentials(&'a CredentialsRecord),
    /// A process, or its control group, did more than is told one by one.
    Throttled(&'a ThrottledRecord),
    /// A BPF program or map was made or taken hold of, or could not be.
    Bpf(Bpf<'a>),
    /// Something was mounted or unmounted, or could not be.
    Mount(Mount<'a>),
    /// A process went into other namespaces, or made one in new ones, or could not.
    Namespace(&'a NamespaceRecord),
    /// Memory was made executable, or could not be; with names from the file behind it up, each ended by a NUL.
    Memory(&'a MemoryRecord, &'a [u8]),
    /// A process found by the snapshot.
    Task(Program<'a>),
}

impl<'a> Record<'a> {
    /// Who and when.
    pub const fn header(&self) -> &'a RecordHeader {
        match self {
            Self::Exec(program) | Self::Task(program) => &program.record.header,
            Self::Arguments(record, _) => &record.header,
            Self::Fork(record) => &record.header,
            Self::Exit(record) => &record.header,
            Self::Open(open) => &open.record.header,
            Self::Change(change) => &change.record.header,
            Self::Connect(record) | Self::Socket(record) => &record.header,
            Self::Listen(record) => &record.socket.header,
            Self::IoUring(request) => &request.record.header,
            Self::Dns(dns) => &dns.record.socket.header,
            Self::ExecFailed(failed) => &failed.record.header,
            Self::Signal(record) => &record.header,
            Self::Credentials(record) => &record.header,
            Self::Throttled(record) => &record.header,
            Self::Bpf(bpf) => &bpf.record.header,
            Self::Mount(mount) => &mount.record.header,
            Self::Namespace(record) => &record.header,
            Self::Memory(record, _) => &record.header,
            Self::Tamper(tamper) => &tamper.record.header,
        }
    }
}

/// A process with its program.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// The fixed part.
    pub record: &'a ProgramRecord,
    /// The name that the call gave, without a NUL.
    pub name: &'a [u8],
    /// The program's path: its names from the file up, each ended by a NUL.
    pub program: &'a [u8],
    /// The working directory: its names from the folder up, each ended by a NUL.
    pub directory: &'a [u8],
    /// The first of the arguments.
    pub arguments: &'a [u8],
    /// When the program's file was changed last, in ns since 1970; `None` where there is no file, or the record does not
    /// say.
    pub changed_ns: Option<i64>,
}

impl Program<'_> {
    /// Whether this process of a snapshot has ended, and nobody has waited for it.
    pub(crate) fn has_ended(&self) -> bool {
        self.record.header.flags.get() & crate::record::flag::TASK_ENDED != 0
    }
}

/// An open.
#[derive(Clone, Copy, Debug)]
pub struct Open<'a> {
    /// The fixed part.
    pub record: &'a OpenRecord,
    /// Names from the file, or from the folder that the name is relative to, up; each ended by a NUL.
    pub walk: &'a [u8],
    /// The name that the call gave, without a NUL; empty where the walk is the file's.
    pub name: &'a [u8],
}

/// A request of `io_uring`.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The fixed part.
    pub record: &'a IoUringRecord,
    /// Names from the folder that the name is relative to up; each ended by a NUL.
    pub walk: &'a [u8],
    /// The name as it was given, without a NUL.
    pub name: &'a [u8],
}

/// A message to or from a name server.
#[derive(Clone, Copy, Debug)]
pub struct Dns<'a> {
    /// The fixed part.
    pub record: &'a DnsRecord,
    /// The start of the payload: for all but the longest, all of it.
    pub payload: &'a [u8],
}

/// An exec that failed.
#[derive(Clone, Copy, Debug)]
pub struct FailedExec<'a> {
    /// The fixed part.
    pub record: &'a ExecFailedRecord,
    /// Names from the file, or from the folder that the name is relative to, up; each ended by a NUL.
    pub walk: &'a [u8],
    /// The name that the call gave, without a NUL; empty where the walk is the file's.
    pub name: &'a [u8],
    /// The arguments, each ended by a NUL.
    pub arguments: &'a [u8],
}

/// A change of a file's names, mode or owner.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The fixed part.
    pub record: &'a ChangeRecord,
    /// The name, and of a rename or a link the new one.
    pub names: [ChangeName<'a>; 2],
}

/// One name of a change.
#[derive(Clone, Copy, Debug)]
pub struct ChangeName<'a> {
    /// The fixed part.
    pub place: &'a Place,
    /// Names from the file, or from the folder that the name is relative to, up; each ended by a NUL.
    pub walk: &'a [u8],
    /// The name that the call gave, without a NUL; empty where the walk is the file's.
    pub name: &'a [u8],
}

/// What gets code into another process, into memory, into the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Tamper<'a> {
    /// The fixed part.
    pub record: &'a TamperRecord,
    /// Names from the file up, each ended by a NUL; empty where there is no file.
    pub walk: &'a [u8],
    /// The name or the parameters that the call gave, without a NUL.
    pub name: &'a [u8],
}

/// A call of `bpf`.
#[derive(Clone, Copy, Debug)]
pub struct Bpf<'a> {
    /// The fixed part.
    pub record: &'a BpfRecord,
    /// Names from the folder that the path is relative to up; each ended by a NUL.
    pub walk: &'a [u8],
    /// The path as it was given, without a NUL.
    pub name: &'a [u8],
}

/// A mount.
#[derive(Clone, Copy, Debug)]
pub struct Mount<'a> {
    /// The fixed part.
    pub record: &'a MountRecord,
    /// What is mounted, and where.
    pub names: [ChangeName<'a>; 2],
}

/// Bytes that are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// There are fewer bytes than the record says it has, or than its kind needs.
    #[error("a record of kind {kind} needs {needed} bytes, and there are {available}")]
    Short {
        /// The record's kind; 0 where not even that is there.
        kind: u16,
        /// How many bytes it needs.
        needed: usize,
        /// How many there are.
        available: usize,
    },
    /// No record has this kind.
    #[error("there is no record of kind {kind}")]
    Kind {
        /// The kind.
        kind: u16,
    },
}

/// Reads one record from the start of `bytes`, which may be longer (rings pad to 8).
///
/// # Errors
///
/// When the bytes are too few for what they say they are, or of no known kind.
pub fn decode(bytes: &[u8]) -> Result<Record<'_>, DecodeError> {
    let (header, _) = fixed::<RecordHeader>(bytes, 0)?;
    let kind = header.kind.get();
    let length = header.length.get() as usize;
    let bytes = bytes.get(..length).ok_or(DecodeError::Short {
        kind,
        needed: length,
        available: bytes.len(),
    })?;
    match kind {
        kind::EXEC => Ok(Record::Exec(program(bytes, kind)?)),
        kind::TASK => Ok(Record::Task(program(bytes, kind)?)),
        kind::ARGUMENTS => {
            let (record, rest) = fixed::<ArgumentsRecord>(bytes, kind)?;
            let (part, _) = take(rest, record.length.get() as usize, kind)?;
            Ok(Record::Arguments(record, part))
        }
        kind::FORK => Ok(Record::Fork(fixed(bytes, kind)?.0)),
        kind::EXIT => Ok(Record::Exit(fixed(bytes, kind)?.0)),
        kind::OPEN => {
            let (record, rest) = fixed::<OpenRecord>(bytes, kind)?;
            let (walk, rest) = take(rest, record.walk_length.get().into(), kind)?;
            let (name, _) = take(rest, record.name_length.get().into(), kind)?;
            Ok(Record::Open(Open { record, walk, name: without_nul(name) }))
        }
        kind::DELETE | kind::RENAME | kind::LINK | kind::MODE => {
            let (record, rest) = fixed::<ChangeRecord>(bytes, kind)?;
            let [first, second] = &record.places;
            let (first, rest) = change_name(first, rest, kind)?;
            let (second, _) = change_name(second, rest, kind)?;
            Ok(Record::Change(Change { record, names: [first, second] }))
        }
        kind::CONNECT => Ok(Record::Connect(fixed(bytes, kind)?.0)),
        kind::BIND | kind::ACCEPT | kind::SEND => Ok(Record::Socket(fixed(bytes, kind)?.0)),
        kind::LISTEN => Ok(Record::Listen(fixed(bytes, kind)?.0)),
        kind::IO_URING => {
            let (record, rest) = fixed::<IoUringRecord>(bytes, kind)?;
            let (walk, rest) = take(rest, record.walk_length.get().into(), kind)?;
            let (name, _) = take(rest, record.name_length.get().into(), kind)?;
            Ok(Record::IoUring(Request { record, walk, name: without_nul(name) }))
        }
        kind::DNS => {
            let (record, rest) = fixed::<DnsRecord>(bytes, kind)?;
            let (payload, _) = take(rest, record.length.get() as usize, kind)?;
            Ok(Record::Dns(Dns { record, payload }))
        }
        kind::EXEC_FAILED => {
            let (record, rest) = fixed::<ExecFailedRecord>(bytes, kind)?;
            let (walk, rest) = take(rest, record.walk_length.get().into(), kind)?;
            let (name, rest) = take(rest, record.name_length.get().into(), kind)?;
            let (arguments, _) = take(rest, record.arguments_length.get().into(), kind)?;
            Ok(Record::ExecFailed(FailedExec { record, walk, name: without_nul(name), arguments }))
        }
        kind::SIGNAL => Ok(Record::Signal(fixed(bytes, kind)?.0)),
        kind::PTRACE | kind::VM_WRITE | kind::MEMFD | kind::SECRET | kind::MODULE => {
            let (record, rest) = fixed::<TamperRecord>(bytes, kind)?;
            let (walk, rest) = take(rest, record.walk_length.get().into(), kind)?;
            let (name, _) = take(rest, record.name_length.get().into(), kind)?;
            Ok(Record::Tamper(Tamper { record, walk, name: without_nul(name) }))
        }
        THROTTLED => Ok(Record::Throttled(fixed(bytes, kind)?.0)),
        kind::CREDENTIALS => Ok(Record::Credentials(fixed(bytes, kind)?.0)),
        kind::BPF => {
            let (record, rest) = fixed::<BpfRecord>(bytes, kind)?;
            let (walk, rest) = take(rest, record.walk_length.get().into(), kind)?;
            let (name, _) = take(rest, record.name_length.get().into(), kind)?;
            Ok(Record::Bpf(Bpf { record, walk, name: without_nul(name) }))
        }
        kind::MOUNT => {
            let (record, rest) = fixed::<MountRecord>(bytes, kind)?;
            let [first, second] = &record.places;
            let (first, rest) = change_name(first, rest, kind)?;
            let (second, _) = change_name(second, rest, kind)?;
            Ok(Record::Mount(Mount { record, names: [first, second] }))
        }
        kind::NAMESPACE => Ok(Record::Namespace(fixed(bytes, kind)?.0)),
        kind::MEMORY => {
            let (record, rest) = fixed::<MemoryRecord>(bytes, kind)?;
            let (walk, _) = take(rest, record.walk_length.get().into(), kind)?;
            Ok(Record::Memory(record, walk))
        }
        _ => Err(DecodeError::Kind { kind }),
    }
}

fn program(bytes: &[u8], kind: u16) -> Result<Program<'_>, DecodeError> {
    let (record, rest) = fixed::<ProgramRecord>(bytes, kind)?;
    let (changed, rest) = take(rest, record.changed_length.get().into(), kind)?;
    let changed_ns = changed.first_chunk().map(|bytes| i64::from_le_bytes(*bytes));
    let (name, rest) = take(rest, record.name_length.get().into(), kind)?;
    let (program, rest) = take(rest, record.program_length.get().into(), kind)?;
    let (directory, rest) = take(rest, record.directory_length.get().into(), kind)?;
    let (arguments, _) = take(rest, record.arguments_length.get() as usize, kind)?;
    Ok(Program {
        record,
        name: without_nul(name),
        program,
        directory,
        arguments,
        changed_ns: changed_ns.filter(|ns| *ns != 0),
    })
}

fn change_name<'a>(
    place: &'a Place,
    bytes: &'a [u8],
    kind: u16,
) -> Result<(ChangeName<'a>, &'a [u8]), DecodeError> {
    let (walk, rest) = take(bytes, place.walk_length.get().into(), kind)?;
    let (name, rest) = take(rest, place.name_length.get().into(), kind)?;
    Ok((ChangeName { place, walk, name: without_nul(name) }, rest))
}

fn fixed<T>(bytes: &[u8], kind: u16) -> Result<(&T, &[u8]), DecodeError>
where
    T: FromBytes + zerocopy::KnownLayout + zerocopy::Immutable + zerocopy::Unaligned,
{
    T::ref_from_prefix(bytes).map_err(|_| DecodeError::Short {
        kind,
        needed: size_of::<T>(),
        available: bytes.len(),
    })
}

fn take(bytes: &[u8], length: usize, kind: u16) -> Result<(&[u8], &[u8]), DecodeError> {
    bytes.split_at_checked(length).ok_or(DecodeError::Short {
        kind,
        needed: length,
        available: bytes.len(),
    })
}

fn without_nul(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b"\0").unwrap_or(bytes)
}

/// Reads records that stand one after the other, each with its bytes. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
}

impl<'a> Records<'a> {
    /// The records in these bytes.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(&'a [u8], Record<'a>), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let decoded = decode(self.bytes);
        let length = match &decoded {
            Ok(record) => record.header().length.get() as usize,
            Err(_) => self.bytes.len(),
        };
        let (bytes, rest) = self.bytes.split_at_checked(length).unwrap_or((self.bytes, &[]));
        self.bytes = rest;
        Some(decoded.map(|record| (bytes, record)))
    }
}
