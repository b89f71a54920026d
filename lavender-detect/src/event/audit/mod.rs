//! Lavender's events as the records that Linux audit would have written for them.
//!
//! What the event does not know is absent, and never guessed; what was captured in part is undetermined, as
//! everywhere.

mod field;
mod record;
mod words;

use lavender_core::event::EventKind;

pub use self::field::AuditField;
pub(crate) use self::field::AuditFields;
pub use self::record::AuditRecord;
use crate::logsource::LogSource;
use crate::outlook::Possible;
use crate::schema::FieldId;

/// A record that audit writes about one kind of events. An event has several, and each is evaluated by itself, by
/// the rules of `product: linux, service: auditd` and by no others.
///
/// ```
/// use lavender_core::event::EventKind;
/// use lavender_detect::AuditView;
///
/// let types: Vec<&str> = AuditView::of(EventKind::Exec).map(AuditView::record_type).collect();
/// assert_eq!(types, ["SYSCALL", "EXECVE", "CWD", "PATH"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuditView {
    /// `SYSCALL` of an exec.
    ExecSyscall,
    /// `EXECVE`: its arguments.
    ExecArguments,
    /// `CWD` of an exec. That of an open is not known: a process may have moved since it began.
    ExecDirectory,
    /// `PATH` of an exec: the program.
    ExecPath,
    /// `SYSCALL` of an open.
    OpenSyscall,
    /// `PATH` of an open.
    OpenPath,
    /// `SYSCALL` of a connect.
    ConnectSyscall,
    /// `SOCKADDR` of a connect.
    ConnectAddress,
}

impl AuditView {
    /// Every record.
    pub const ALL: [Self; 8] = [
        Self::ExecSyscall,
        Self::ExecArguments,
        Self::ExecDirectory,
        Self::ExecPath,
        Self::OpenSyscall,
        Self::OpenPath,
        Self::ConnectSyscall,
        Self::ConnectAddress,
    ];

    /// The records about events of a kind, in audit's order.
    pub fn of(kind: EventKind) -> impl Iterator<Item = Self> {
        let (first, last) = match kind {
            EventKind::Exec => (0, 4),
            EventKind::FileOpen => (4, 6),
            EventKind::NetConnect => (6, 8),
            _ => (0, 0),
        };
        Self::ALL[first..last].iter().copied()
    }

    /// The kind of the events.
    pub const fn kind(self) -> EventKind {
        match self {
            Self::ExecSyscall | Self::ExecArguments | Self::ExecDirectory | Self::ExecPath => {
                EventKind::Exec
            }
            Self::OpenSyscall | Self::OpenPath => EventKind::FileOpen,
            Self::ConnectSyscall | Self::ConnectAddress => EventKind::NetConnect,
        }
    }

    /// Audit's type of the record: its field `type`.
    pub const fn record_type(self) -> &'static str {
        match self {
            Self::ExecSyscall | Self::OpenSyscall | Self::ConnectSyscall => "SYSCALL",
            Self::ExecArguments => "EXECVE",
            Self::ExecDirectory => "CWD",
            Self::ExecPath | Self::OpenPath => "PATH",
            Self::ConnectAddress => "SOCKADDR",
        }
    }

    /// The log source of all of them.
    pub fn logsource() -> LogSource {
        LogSource::product("linux").with_service("auditd")
    }

    /// The fields that it can have; of the arguments, the first stands for all.
    pub fn fields(self) -> impl Iterator<Item = AuditField> {
        let all = AuditField::NAMED.iter().copied().chain([AuditField::Argument(0)]);
        all.filter(move |field| self.possible(*field) != Possible::Absent)
    }

    /// Whether a rule for this log source is for these records: it has to name audit. Rules for all of Linux are
    /// evaluated on the event as it is, and would count it twice.
    pub fn serves(logsource: &LogSource) -> bool {
        logsource.service.is_some() && logsource.applies_to(&Self::logsource())
    }

    /// The values that a field can have in it.
    pub(crate) fn possible(self, field: AuditField) -> Possible {
        use AuditField as F;
        let in_type = |name: &str| self.record_type() == name;
        let open_if = |there: bool| if there { Possible::Anything } else { Possible::Absent };
        match field {
            F::Type => Possible::Is(self.record_type()),
            F::Syscall => match self {
                Self::ExecSyscall => Possible::Is("execve"),
                Self::ConnectSyscall => Possible::Is("connect"),
                _ => Possible::Absent,
            },
            F::Success if self == Self::ExecSyscall => Possible::Is("yes"),
            F::Success if in_type("SYSCALL") => Possible::MayBe(&["yes", "no"]),
            F::Argc | F::Argument(_) => open_if(in_type("EXECVE")),
            F::Cwd => open_if(in_type("CWD")),
            F::Name | F::Inode => open_if(in_type("PATH")),
            F::Nametype => match self {
                Self::ExecPath => Possible::Is("NORMAL"),
                Self::OpenPath => Possible::MayBe(&["NORMAL", "CREATE"]),
                _ => Possible::Absent,
            },
            F::SaddrFamily if in_type("SOCKADDR") => Possible::MayBe(&["inet", "inet6"]),
            F::SaddrFamily | F::Success => Possible::Absent,
            F::Laddr | F::Lport => open_if(in_type("SOCKADDR")),
            _ => open_if(in_type("SYSCALL")),
        }
    }

    /// The values that a field of a rule set can have in it.
    pub(crate) fn possible_of(self, fields: &AuditFields, field: FieldId) -> Possible {
        fields.get(field).map_or(Possible::Absent, |field| self.possible(field))
    }
}
