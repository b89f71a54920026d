//! A build without the loader isolates nothing.

use std::fs::File;
use std::io;
use std::net::SocketAddr;

use super::IsolationCounts;

/// Programs in the kernel: there are none.
#[derive(Debug)]
pub(super) enum Programs {}

#[derive(Debug)]
pub(super) enum Attached {}

pub(super) fn load(_allow: &[SocketAddr], _dhcp: bool) -> Result<Programs, String> {
    Err("this build cannot load programs: build with the feature that needs clang and libelf"
        .into())
}

pub(super) fn attach(_cgroup: &File, programs: &Programs) -> io::Result<()> {
    match *programs {}
}

pub(super) fn attached(_cgroup: &File) -> io::Result<Vec<Attached>> {
    Ok(Vec::new())
}

pub(super) fn can_find(programs: &Programs) -> io::Result<()> {
    match *programs {}
}

pub(super) fn detach(_cgroup: &File, programs: &[Attached]) -> io::Result<bool> {
    match programs.first() {
        Some(program) => match *program {},
        None => Ok(false),
    }
}

pub(super) fn is_complete(programs: &[Attached]) -> bool {
    !programs.is_empty()
}

pub(super) fn counts(_programs: &[Attached]) -> io::Result<IsolationCounts> {
    Err(io::ErrorKind::NotFound.into())
}
