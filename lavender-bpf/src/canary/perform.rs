//! What the process of an act does.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::{env, io};

use rustix::net::{AddressFamily, SocketType, connect, socket};

use super::CanaryError;

/// `act TOKEN`: does it.
pub(super) const ACT: &str = "act";
/// `enter TOKEN CGROUP UID`: enters the control group, if it is not empty, and becomes the user, if it is not, and then
/// the same program with `act TOKEN`. What happens before is not seen, and the exec is.
pub(super) const ENTER: &str = "enter";

/// `discard`. Nothing is sent there.
pub(super) const PORT: u16 = 9;

pub(super) fn perform(arguments: &[OsString]) -> Result<(), CanaryError> {
    match arguments {
        [verb, _token] if verb == ACT => act(),
        [verb, token, cgroup, uid] if verb == ENTER => {
            if !cgroup.is_empty() {
                enter(Path::new(cgroup))?;
            }
            Err(become_seen(arguments.len(), token, uid)?)
        }
        _ => Err(CanaryError::Arguments),
    }
}

fn enter(folder: &Path) -> Result<(), CanaryError> {
    let failed = |source| CanaryError::Cgroup { folder: folder.to_owned(), source };
    fs::write(folder.join("cgroup.procs"), "0").map_err(failed)
}

/// Becomes the same program where it is seen. Returns why it did not.
fn become_seen(behind: usize, token: &OsStr, uid: &OsStr) -> Result<CanaryError, CanaryError> {
    let program = own_program()?;
    let own = env::args_os().len().saturating_sub(behind);
    let mut command = Command::new(&program);
    command.args(env::args_os().take(own).skip(1)).arg(ACT).arg(token);
    if !uid.is_empty() {
        let uid = uid.to_str().and_then(|uid| uid.parse().ok()).ok_or(CanaryError::Arguments)?;
        command.uid(uid);
    }
    let source = command.exec();
    Ok(CanaryError::Run { program, source })
}

fn act() -> Result<(), CanaryError> {
    let failed = |what| move |source: io::Error| CanaryError::Act { what, source };
    File::open(own_program()?).map_err(failed("open its own file"))?;
    let failed = |what| move |error: rustix::io::Errno| failed(what)(error.into());
    let loopback = SocketAddrV4::new(Ipv4Addr::LOCALHOST, PORT);
    let socket =
        socket(AddressFamily::INET, SocketType::DGRAM, None).map_err(failed("have a socket"))?;
    connect(&socket, &loopback).map_err(failed("connect to the loopback"))
}

fn own_program() -> Result<std::path::PathBuf, CanaryError> {
    env::current_exe().map_err(|source| CanaryError::Act { what: "find its own file", source })
}
