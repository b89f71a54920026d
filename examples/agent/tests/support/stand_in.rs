//! Harmless stand-ins of attacks: they look like one to the kernel and do nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::cgroup::Cgroup;

/// A program that is no shell and can start others: perl, which every Debian has, under another name.
pub fn service(folder: &Path) -> PathBuf {
    named(folder, "webserver")
}

/// The same under this name.
pub fn named(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    if !path.exists() {
        fs::copy("/usr/bin/perl", &path).unwrap();
    }
    path
}

/// A program asks the kernel for a way to an address that nobody has: of a datagram socket, so nothing is sent.
pub fn connect_out(cgroup: &Cgroup, program: &Path) {
    let mut command = cgroup.command(program);
    command.args([
        "-e",
        r#"use Socket; socket(my $s, PF_INET, SOCK_DGRAM, 0); connect($s, sockaddr_in(4443, inet_aton("203.0.113.9")))"#,
    ]);
    run(command);
}

/// A program starts another.
pub fn start_child(cgroup: &Cgroup, program: &Path, child: &[&str]) {
    let mut command = cgroup.command(program);
    command.args(["-e", "system(@ARGV)"]).args(child);
    run(command);
}

fn run(mut command: Command) {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.unwrap();
}

/// A service starts a shell.
pub fn shell_from_service(cgroup: &Cgroup, folder: &Path) {
    let mut command = cgroup.command(service(folder));
    command.args(["-e", r#"system("/bin/sh", "-c", "id; true")"#]);
    run(command);
}

/// A file is read that the configuration lists as sensitive.
pub fn read_sensitive(cgroup: &Cgroup, file: &Path) {
    let mut command = cgroup.command("/bin/cat");
    command.arg(file);
    run(command);
}

/// A connection to a port that remote-control tools listen on; on this machine, to nobody.
pub fn connect(cgroup: &Cgroup, folder: &Path, port: u16) {
    let mut command = cgroup.command(service(folder));
    command.args(["-e", &connect_program(port)]);
    run(command);
}

/// The program of [`connect`].
pub fn connect_program(port: u16) -> String {
    format!(
        r#"use Socket; socket(my $s, PF_INET, SOCK_STREAM, 0); connect($s, sockaddr_in({port}, inet_aton("127.0.0.1")))"#
    )
}

/// The script of [`decoded_payload`]: `aWQ=` is `id`.
pub const PAYLOAD: &str = "echo aWQ= | base64 -d | bash";

/// A shell runs what it decodes.
pub fn decoded_payload(cgroup: &Cgroup) {
    let mut command = cgroup.command("/bin/bash");
    command.args(["-c", PAYLOAD]);
    run(command);
}
