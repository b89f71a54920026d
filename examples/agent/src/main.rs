//! Lavender.
fn main() {}
