//! A control plane in a process of its own, on a free port.

use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A running control plane; ended with the test.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Kept, so that it can still write.
    lines: Lines<BufReader<ChildStdout>>,
    /// The admin token that was printed at the start, if one was.
    pub(crate) token: Option<String>,
    /// `host:port`.
    pub(crate) address: String,
}

pub(crate) fn command(store: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lavender-control-plane"));
    command.args(["--store", store, "--listen", "127.0.0.1:0"]).stderr(Stdio::piped());
    command
}

impl Server {
    /// Starts one over a SQLite file.
    pub(crate) fn start(path: &Path, more: &[&str]) -> Self {
        let mut child = command(&format!("sqlite:{}", path.display()))
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut server = Self { child, lines, token: None, address: String::new() };
        while let Some(line) = server.lines.next() {
            let line = line.unwrap();
            if let Some(address) = line.strip_prefix("listening on http://") {
                server.address = address.to_owned();
                return server;
            }
            server.token = line.split_once("shown only now: ").map(|(_, token)| token.to_owned());
        }
        let mut said = String::new();
        server.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        panic!("it does not start: {said}");
    }

    /// The status and the body of an answer.
    pub(crate) fn get(&self, path: &str, token: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n",
            self.address
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        (status, text.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    /// Asks it to end, and waits; what it has said on stderr.
    pub(crate) fn stop(mut self) -> String {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success(), "it does not end well");
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
