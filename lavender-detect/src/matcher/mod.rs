//! Tests on single values: text patterns, regular expressions, numbers, networks, moments.

pub(crate) mod cidr;
pub(crate) mod fold;
pub(crate) mod number;
pub(crate) mod pattern;
pub(crate) mod regex;
pub(crate) mod time;
mod truncated;
