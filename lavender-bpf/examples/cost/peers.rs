//! Sensors that are programs of their own: how each is told what to watch, and ended.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;

use crate::sensors::Watched;
use crate::work::{Group, WORKER_UID};

/// The same calls as Lavender's probes watch: those that run, open, change and connect.
const AUDIT_CALLS: [&str; 4] = [
    "execve,execveat,fork,vfork,clone,clone3,exit_group",
    "open,openat,openat2,creat",
    "connect",
    "unlink,unlinkat,rmdir,rename,renameat,renameat2,link,linkat,symlink,symlinkat,chmod,fchmod,fchmodat",
];

/// The same events, as a script. An open and a connect are told with their results, as Lavender does. Its output is
/// buffered in full, which is cheapest; so what it says first fills the buffer.
const BPFTRACE_LIFE: &str = r#"
BEGIN { printf("ready\n"); unroll(99) { printf("%60d\n", 0); } }
tracepoint:sched:sched_process_fork /uid == UID/ { printf("fork %d %d\n", args->parent_pid, args->child_pid); }
tracepoint:syscalls:sys_enter_execve /uid == UID/ { printf("exec %d %d %s ", pid, uid, comm); join(args->argv); }
tracepoint:sched:sched_process_exit /uid == UID/ { printf("exit %d %s\n", pid, comm); }
"#;

/// System calls by tracepoints of their own, which see none that a program makes as 32-bit calls.
const BPFTRACE_CALLS: &str = r#"
tracepoint:syscalls:sys_enter_openat /uid == UID/ { @path[tid] = args->filename; @flags[tid] = args->flags; }
tracepoint:syscalls:sys_exit_openat /uid == UID && (uint64)@path[tid]/ {
  printf("open %d %s %s %d %d\n", pid, comm, str(@path[tid]), @flags[tid], args->ret);
  delete(@path[tid]); delete(@flags[tid]);
}
tracepoint:syscalls:sys_enter_connect /uid == UID/ { @address[tid] = args->uservaddr; }
tracepoint:syscalls:sys_exit_connect /uid == UID && (uint64)@address[tid]/ {
  $to = (struct sockaddr_in *)@address[tid];
  printf("connect %d %s %s %d %d\n", pid, comm, ntop(2, $to->sin_addr.s_addr), $to->sin_port, args->ret);
  delete(@address[tid]);
}
"#;

/// The same by the tracepoints of every call, which see 32-bit calls too: 295 is their openat, 362 their connect.
const BPFTRACE_EVERY_CALL: &str = r#"
tracepoint:raw_syscalls:sys_enter /(args->id == 257 || args->id == 295) && uid == UID/ {
  @path[tid] = args->args[1]; @flags[tid] = args->args[2];
}
tracepoint:raw_syscalls:sys_exit /(args->id == 257 || args->id == 295) && uid == UID && (uint64)@path[tid]/ {
  printf("open %d %s %s %d %d\n", pid, comm, str(@path[tid]), @flags[tid], args->ret);
  delete(@path[tid]); delete(@flags[tid]);
}
tracepoint:raw_syscalls:sys_enter /(args->id == 42 || args->id == 362) && uid == UID/ { @address[tid] = args->args[1]; }
tracepoint:raw_syscalls:sys_exit /(args->id == 42 || args->id == 362) && uid == UID && (uint64)@address[tid]/ {
  $to = (struct sockaddr_in *)@address[tid];
  printf("connect %d %s %s %d %d\n", pid, comm, ntop(2, $to->sin_addr.s_addr), $to->sin_port, args->ret);
  delete(@address[tid]);
}
"#;

/// What bpftrace watches system calls by.
#[derive(Clone, Copy)]
pub(crate) enum Calls {
    Single,
    Every,
}

/// A program that watches.
pub(crate) struct Peer {
    child: Child,
    /// Undoes what was set in the kernel.
    at_end: Option<Box<dyn FnOnce()>>,
    /// The last that it says, where that tells something.
    last_words: Option<JoinHandle<Option<String>>>,
    /// Its output and its files; removed at the end.
    _folder: TempDir,
}

impl Peer {
    /// Does the work, ends the program, and says what CPU time it took meanwhile. What it does but once, when it starts, is
    /// over by then.
    pub(crate) fn during(mut self, work: impl FnOnce()) -> Watched {
        let pid = self.child.id();
        let before = settled(pid);
        work();
        // What is still on its way to it is its cost too.
        let after = settled(pid);
        if let Some(end) = self.at_end.take() {
            end();
        }
        self.end();
        let last = self.last_words.take().and_then(|words| words.join().unwrap());
        let told = |what| last.as_deref().and_then(|line| number_behind(line, what));
        Watched {
            cpu_ns: after.0.saturating_sub(before.0),
            store_ns: after.1.zip(before.1).map(|(after, before)| after - before),
            events: told(" events=").unwrap_or_default(),
            lost: told(" lost=").unwrap_or_default(),
            ..Watched::default()
        }
    }
}

impl Peer {
    /// Asks until it has ended: bpftrace, asked while it reads, goes to sleep all the same.
    fn end(&mut self) {
        let child = rustix::process::Pid::from_child(&self.child);
        for turn in 0_u32.. {
            if turn % 200 == 0 {
                rustix::process::kill_process(child, rustix::process::Signal::TERM).unwrap();
            }
            if self.child.try_wait().unwrap().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// What it has taken once it has no more to do: for a while next to nothing is added.
fn settled(pid: u32) -> (u64, Option<u64>) {
    let mut last = cpu_ns(pid);
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let now = cpu_ns(pid);
        if now.saturating_sub(last) <= 10_000_000 {
            return (now, store_cpu_ns(pid));
        }
        last = now;
    }
}

fn number_behind(line: &str, what: &str) -> Option<u64> {
    let rest = line.split_once(what)?.1;
    rest.split(' ').next()?.parse().ok()
}

/// What its threads have run for: user and system time in ns. `stat` knows only ticks of 10 ms.
fn cpu_ns(pid: u32) -> u64 {
    threads(pid).map(|thread| ran_ns(&thread)).sum()
}

/// The same of the threads that are the agent's store alone: writing events as rows, and reading them.
fn store_cpu_ns(pid: u32) -> Option<u64> {
    let is_store = |thread: &PathBuf| {
        // A name has 15 bytes.
        fs::read_to_string(thread.join("comm")).is_ok_and(|name| name == "lavender-sqlite\n")
    };
    threads(pid).filter(is_store).map(|thread| ran_ns(&thread)).reduce(|sum, one| sum + one)
}

fn threads(pid: u32) -> impl Iterator<Item = PathBuf> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.map(|thread| thread.unwrap().path())
}

/// 0 for a thread that has just ended.
fn ran_ns(thread: &Path) -> u64 {
    let ran = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    ran.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or_default()
}

/// Reads until a line holds this; what comes behind it is read by a thread, which gives the last of it.
fn until_said(output: impl Read + Send + 'static, what: &str) -> JoinHandle<Option<String>> {
    let mut lines = BufReader::new(output).lines();
    let said = lines.by_ref().map_while(Result::ok).any(|line| line.contains(what));
    assert!(said, "it ended before it said `{what}`");
    std::thread::spawn(move || lines.map_while(Result::ok).last())
}

pub(crate) fn agent(program: &Path, group: &Group) -> Peer {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("lavender.db").display());
    let output = fs::File::create(folder.path().join("alerts.jsonl")).unwrap();
    let mut child = Command::new(program)
        .args(["run", "--store", &store, "--cgroup"])
        .arg(&group.0)
        .env("LAVENDER_CONFIG", config(folder.path()))
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let last_words = until_said(child.stderr.take().unwrap(), "is watching");
    Peer { child, at_end: None, last_words: Some(last_words), _folder: folder }
}

/// A configuration of its own, so that one of this machine's is not read. All that a round makes may wait for the store: what
/// was shed would cost nothing.
fn config(folder: &Path) -> PathBuf {
    let file = folder.join("lavender.toml");
    fs::write(&file, "[store]\nqueue_events = 1000000\n").unwrap();
    file
}

pub(crate) fn bpftrace(program: &Path, calls: Calls) -> Peer {
    let calls = match calls {
        Calls::Single => BPFTRACE_CALLS,
        Calls::Every => BPFTRACE_EVERY_CALL,
    };
    let script = format!("{BPFTRACE_LIFE}{calls}").replace("UID", &WORKER_UID.to_string());
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(program)
        .args(["-B", "full", "-e", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until_said(child.stdout.take().unwrap(), "ready");
    Peer { child, at_end: None, last_words: None, _folder: folder }
}

/// Starts auditd, unpacked into `root`, with rules for the worker's user alone.
pub(crate) fn auditd(root: &Path) -> Peer {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display();
    fs::create_dir(folder.path().join("plugins.d")).unwrap();
    let settings = format!(
        "local_events = yes\nwrite_logs = yes\nlog_file = {place}/audit.log\nlog_format = RAW\n\
         flush = INCREMENTAL_ASYNC\nfreq = 50\nmax_log_file = 100\nnum_logs = 2\nmax_log_file_action = ROTATE\n\
         space_left = 75\nspace_left_action = IGNORE\nadmin_space_left = 50\nadmin_space_left_action = IGNORE\n\
         disk_full_action = IGNORE\ndisk_error_action = IGNORE\nplugin_dir = {place}/plugins.d\n"
    );
    fs::write(folder.path().join("auditd.conf"), settings).unwrap();
    let run = |program: &str| {
        let mut command = Command::new(root.join("sbin").join(program));
        command.env("LD_LIBRARY_PATH", library_path(root)).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let child = run("auditd").args(["-n", "-c"]).arg(folder.path()).spawn().unwrap();
    // It answers no question; it is there when the kernel says that it listens.
    let told = |arguments: &[&str]| run("auditctl").args(arguments).status().unwrap().success();
    let listens = || {
        let mut status = run("auditctl");
        let output = status.arg("-s").stdout(Stdio::piped()).output().unwrap();
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .any(|line| line == format!("pid {}", child.id()))
    };
    let start = std::time::Instant::now();
    while !listens() {
        assert!(start.elapsed().as_secs() < 10, "auditd does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(told(&["-b", "65536"]), "auditctl -b");
    let by_user = format!("uid={WORKER_UID}");
    for calls in AUDIT_CALLS {
        let rule = ["-a", "always,exit", "-F", "arch=b64", "-S", calls, "-F", &by_user];
        assert!(told(&rule), "auditctl {rule:?}");
    }
    let root = root.to_owned();
    let at_end = move || {
        for calls in AUDIT_CALLS {
            let rule = ["-d", "always,exit", "-F", "arch=b64", "-S", calls, "-F"];
            let _ = Command::new(root.join("sbin/auditctl"))
                .env("LD_LIBRARY_PATH", library_path(&root))
                .args(rule)
                .arg(format!("uid={WORKER_UID}"))
                .status();
        }
        let _ = Command::new(root.join("sbin/auditctl"))
            .env("LD_LIBRARY_PATH", library_path(&root))
            .args(["-e", "0"])
            .stdout(Stdio::null())
            .status();
    };
    Peer { child, at_end: Some(Box::new(at_end)), last_words: None, _folder: folder }
}

/// Where the libraries lie that were unpacked beside it.
fn library_path(root: &Path) -> String {
    let below = ["lib", "usr/lib"].map(|place| root.join(place).join("x86_64-linux-gnu"));
    below.map(|place| place.display().to_string()).join(":")
}
