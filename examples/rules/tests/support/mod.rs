//! What the tests share.
#![allow(unreachable_pub)]

pub mod event;
mod tool;

pub use tool::*;
