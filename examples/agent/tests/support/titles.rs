//! The titles of built-in rules.

pub const CREDENTIAL_CHAIN: &str = "Sensitive File Read, Then a Program Started";
pub const REVERSE_SHELL: &str = "Reverse Shell";
pub const RAPID_STARTS: &str = "Many Programs Started in a Short Time";
pub const FIRST_CONNECTION: &str = "First Connection of a Program to Another Network";
pub const FIRST_CHILD: &str = "First Shell or Tool of Its Kind Started by a Service";
