//! The fields of audit's records: one table.

use crate::event::ValueKind;
use crate::schema::{FieldId, Fields};

macro_rules! fields {
    ($($variant:ident, $name:literal, $kind:ident, $doc:literal;)*) => {
        /// A field of the records that [`AuditRecord`](crate::AuditRecord) shows, by audit's own name.
        ///
        /// Which records have which is told by [`AuditView::fields`](crate::AuditView::fields).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum AuditField {
            $(#[doc = $doc] $variant,)*
            /// Argument number N, from 0, as the program was given it: whole, and not written in hexadecimal.
            Argument(u32),
        }

        impl AuditField {
            /// Every field but the arguments, which have no end.
            pub const NAMED: &[Self] = &[$(Self::$variant,)*];

            /// The name in rules; of an argument, `aN`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Argument(_) => "aN",
                }
            }

            /// What it holds.
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => $doc,)*
                    Self::Argument(_) => {
                        "Argument number N, from 0, as the program was given it: whole, and not in hexadecimal."
                    }
                }
            }

            /// What kind of value it has.
            pub const fn value_kind(self) -> ValueKind {
                match self {
                    $(Self::$variant => ValueKind::$kind,)*
                    Self::Argument(_) => ValueKind::Text,
                }
            }
        }
    };
}

fields! {
    Type, "type", Text, "The record's type.";
    Syscall, "SYSCALL", Text, "The system call's name: `execve` of an exec (`execveat` is not told apart), `connect` of a connect; absent of an open, of which it is not known whether `open`, `openat`, `openat2` or `creat` was called.";
    Success, "success", Text, "`yes` or `no`.";
    Exit, "exit", Number, "What the call returned: 0 or a descriptor, or the negated number of the error.";
    Ppid, "ppid", Number, "The number of the process that made this one, though that may have ended since.";
    Pid, "pid", Number, "The process's number in the initial pid namespace.";
    Auid, "auid", Number, "The user who logged in; absent where nobody did or it is not known (audit writes 4294967295).";
    Uid, "uid", Number, "The real user id.";
    Gid, "gid", Number, "The real group id.";
    Euid, "euid", Number, "The effective user id.";
    Egid, "egid", Number, "The effective group id.";
    Tty, "tty", Text, "The controlling terminal: `pts0`, `tty1`, `ttyS0`; absent where there is none or it is not known (audit writes `(none)`).";
    Ses, "ses", Number, "The login session; absent where there is none or it is not known (audit writes 4294967295).";
    Comm, "comm", Text, "The kernel's short name of the task: up to 15 bytes.";
    Exe, "exe", Text, "The program's path, as the kernel resolved it; for a script, the interpreter's.";
    AuidName, "AUID", Text, "The name of `auid`, where that is the real user.";
    UidName, "UID", Text, "The name of `uid`, where it is known.";
    GidName, "GID", Text, "The name of `gid`, where it is known.";
    EuidName, "EUID", Text, "The name of `euid`, where that is the real user.";
    EgidName, "EGID", Text, "The name of `egid`, where that is the real group.";
    Argc, "argc", Number, "How many arguments there are.";
    Cwd, "cwd", Text, "The working directory.";
    Name, "name", Text, "The path: of an exec as it was given, of an open as the kernel resolved it, symbolic links followed (audit writes it as given).";
    Nametype, "nametype", Text, "`NORMAL` for a file that was there, `CREATE` for one that the call made. An open that makes the file only where there is none leaves it undetermined; absent where the open failed.";
    Inode, "inode", Number, "The file's inode number, where it is known to be that of `name`.";
    SaddrFamily, "saddr_fam", Text, "The address family: `inet` or `inet6`.";
    Laddr, "laddr", Address, "The address of the other side, as audit calls it.";
    Lport, "lport", Number, "The port of the other side, as audit calls it.";
}

impl AuditField {
    /// The field of a name; `None` where these records have none of it.
    ///
    /// ```
    /// use lavender_detect::AuditField;
    ///
    /// assert_eq!(AuditField::from_name("exe"), Some(AuditField::Exe));
    /// assert_eq!(AuditField::from_name("a12"), Some(AuditField::Argument(12)));
    /// assert_eq!(AuditField::from_name("key"), None);
    /// ```
    pub fn from_name(name: &str) -> Option<Self> {
        if let Some(field) = Self::NAMED.iter().find(|field| field.name() == name) {
            return Some(*field);
        }
        let digits = name.strip_prefix('a')?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        let shortest = digits == "0" || !digits.starts_with('0');
        (plain && shortest).then(|| digits.parse().ok().map(Self::Argument)).flatten()
    }
}

/// Which number of a rule set is which field: resolved once per rule set, never per event.
#[derive(Debug)]
pub(crate) struct AuditFields(Box<[Option<AuditField>]>);

impl AuditFields {
    pub(crate) fn new(fields: &Fields) -> Self {
        Self(fields.iter().map(|(_, name)| AuditField::from_name(name)).collect())
    }

    #[inline]
    pub(crate) fn get(&self, field: FieldId) -> Option<AuditField> {
        self.0.get(field.index()).copied().flatten()
    }
}
