//! A network of a test's own: two namespaces and a cable between them.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::cgroup::Cgroup;

/// The address of the other end.
pub const THERE: &str = "10.98.0.2";

pub struct Net {
    here: String,
    there: String,
    servers: Vec<Child>,
}

impl Net {
    /// `None`, and why, where none can be made.
    pub fn new() -> Option<Self> {
        if let Err(error) = Command::new("ip").arg("-V").output() {
            println!("skipped: ip cannot be run: {error}");
            return None;
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = |end: &str| format!("lavender-agent-{}-{count}-{end}", std::process::id());
        let net = Self { here: name("here"), there: name("there"), servers: Vec::new() };
        let (here, there) = (&net.here, &net.there);
        ip(&format!("netns add {here}"));
        ip(&format!("netns add {there}"));
        ip(&format!("link add cable netns {here} type veth peer name cable netns {there}"));
        for (end, address) in [(here, "10.98.0.1"), (there, THERE)] {
            ip(&format!("-n {end} addr add {address}/24 dev cable"));
            ip(&format!("-n {end} link set lo up"));
            ip(&format!("-n {end} link set cable up"));
        }
        Some(net)
    }

    /// Answers whoever connects to this port of the other end.
    #[must_use]
    pub fn answering_at(mut self, port: u16) -> Self {
        let program = format!(
            r#"use IO::Socket::INET; $| = 1;
            my $s = IO::Socket::INET->new(Listen => 9, LocalAddr => "{THERE}", LocalPort => {port}) or die;
            print "ready\n"; while (my $c = $s->accept) {{ print $c "x"; close $c }}"#
        );
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.there, "perl", "-e", &program]);
        let mut server = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        self.servers.push(server);
        assert_eq!(said, "ready\n");
        self
    }

    /// Whether a process of the group is answered at this port of the other end.
    pub fn is_reached(&self, cgroup: &Cgroup, port: u16) -> bool {
        let program = format!(
            r#"use IO::Socket::INET; alarm 2;
            my $s = IO::Socket::INET->new(PeerAddr => "{THERE}", PeerPort => {port}, Timeout => 1) or exit 1;
            exit(<$s> eq "x" ? 0 : 1)"#
        );
        let mut command = cgroup.command("ip");
        command.args(["netns", "exec", &self.here, "perl", "-e", &program]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().unwrap().success()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
        for end in [&self.here, &self.there] {
            let _ = Command::new("ip").args(["netns", "del", end]).status();
        }
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}
