//! How the tool ends: one exit code for each thing that can be done about it.

use std::fmt;
use std::io;

/// The exit code of `lavender-rules`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything is fine.
    Success = 0,
    /// Something was found: refused rules, failed tests, malformed events.
    Findings = 1,
    /// The command line is wrong.
    Usage = 2,
    /// What should be read cannot be read.
    Input = 3,
}

impl Exit {
    /// Every code with its meaning, for the help text and the tests.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Success, "everything is fine"),
        (
            Self::Findings,
            "something was found: refused rules, failed tests, malformed events, or with --deny what lint finds",
        ),
        (Self::Usage, "the command line is wrong"),
        (Self::Input, "something cannot be read"),
    ];

    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// `Findings` when there are any, else `Success`.
    pub const fn findings(any: bool) -> Self {
        if any { Self::Findings } else { Self::Success }
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
    /// `None` when there is nobody left to tell.
    message: Option<String>,
}

impl Failure {
    /// A failure with the message for whoever started the tool: what failed, on what, and what to do.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: Some(message.to_string()) }
    }

    /// Something that cannot be read.
    pub fn input(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self::new(Exit::Input, format!("{what}: {error}"))
    }

    /// The exit code.
    pub const fn exit(&self) -> Exit {
        self.exit
    }

    /// What to say; nothing when the reader of stdout has gone, as `head` does once it has enough.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }
}

/// Of writing to stdout.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { exit: Exit::Success, message: None };
        }
        Self::new(Exit::Input, format!("cannot write to stdout: {error}"))
    }
}

/// Of writing JSON to stdout.
impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::from(io::Error::from(error))
    }
}
