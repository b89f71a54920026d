//! How a worker ends: one exit code for each thing that can be done about it.

use std::fmt;

use lavender_core::{Error, ErrorKind};

use crate::config::ConfigError;

/// The exit code of `lavender-worker`; those that `lavender-agent` has too mean the same there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The worker was asked to stop, and what it had taken is done with.
    Success = 0,
    /// Something failed while running.
    Failure = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The configuration is wrong, or the broker does not permit what the role needs.
    Configuration = 3,
    /// The store could not be used, or was away when the worker had to stop.
    Store = 6,
    /// The broker could not be used.
    Transport = 7,
}

impl Exit {
    /// Every code with its meaning, for the help text and the tests.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Success, "it was asked to stop, and has done with what it had taken"),
        (Self::Failure, "something failed while running"),
        (Self::Usage, "the command line is wrong"),
        (Self::Configuration, "the configuration is wrong, or the broker does not permit it"),
        (Self::Store, "the store could not be used"),
        (Self::Transport, "the broker could not be used"),
    ];

    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The table as the end of a help text.
    pub fn help() -> String {
        let mut text = String::from("Exit codes:\n");
        for (exit, meaning) in Self::ALL {
            text.push_str(&format!("  {}  {meaning}\n", exit.code()));
        }
        text
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a role ended otherwise than asked, and the exit code that says so.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// A failure with the message for whoever started the worker: what failed, on what, and what to do.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string() }
    }

    /// A failure of something that was called: `exit`, unless only the configuration can mend it.
    pub fn of(exit: Exit, error: &Error) -> Self {
        let exit = match error.kind() {
            ErrorKind::Denied | ErrorKind::Invalid | ErrorKind::Unsupported => Exit::Configuration,
            _ => exit,
        };
        Self::new(exit, error)
    }

    /// The exit code.
    pub const fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Configuration, error)
    }
}
