//! `lavender-agent`: see the crate's README.

fn main() {}
