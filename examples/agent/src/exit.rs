//! How the agent ends: one exit code for each thing that can be done about it.

use std::fmt;

use crate::config::ConfigError;
use crate::identity::IdentityError;

/// The exit code of `lavender-agent`.
///
/// A script can rely on the numbers; the message on stderr says what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything went well, or the agent was asked to stop and has flushed everything.
    Success = 0,
    /// Something failed while running.
    Failure = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The configuration or a rule is wrong.
    Configuration = 3,
    /// This host cannot do what was asked: a capability is missing.
    Host = 4,
    /// The capture is damaged or is none.
    Capture = 5,
    /// Something could not be stored.
    Store = 6,
}

impl Exit {
    /// Every code with its meaning, for the help text and the tests.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Success, "everything went well"),
        (Self::Failure, "something failed while running"),
        (Self::Usage, "the command line is wrong"),
        (Self::Configuration, "the configuration or a rule is wrong"),
        (Self::Host, "this host cannot: a capability is missing"),
        (Self::Capture, "the capture is damaged"),
        (Self::Store, "something could not be stored"),
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

/// Why a command could not do what it was asked, and the exit code that says so.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// A failure with the message for whoever started the agent: what failed, on what, and what to do.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string() }
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

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        Self::new(Exit::Configuration, error)
    }
}
