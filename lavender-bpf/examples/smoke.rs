//! The sensor on the kernel at hand: prints what can be used, runs a child that execs, opens and connects,
//! and checks that each arrives. Exits with 1 if anything is missing. Needs root and `/proc`; for guest kernels.
#![allow(clippy::print_stdout, reason = "a program for a terminal")]
#![allow(unsafe_code, reason = "a request of io_uring")]

use std::error::Error;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use lavender_bpf::{Sensor, SensorBuilder, host, support};
use lavender_core::event::{Event, EventData, EventKind, Process};
use lavender_core::{AgentId, AgentIdentity, Origin, Sequencer, TenantId};

/// Set for the children of the storm.
const STORM: &str = "LAVENDER_SMOKE_STORM";
const STORM_OPENS: usize = 20_000;

/// Set for the child: the port to connect to.
const CHILD: &str = "LAVENDER_SMOKE_PORT";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    if let Ok(port) = std::env::var(CHILD) {
        return child(port.parse()?);
    }
    if std::env::var_os(STORM).is_some() {
        for _ in 0..STORM_OPENS {
            std::fs::File::open("/dev/null")?;
        }
        return Ok(());
    }
    let table = support::capabilities();
    println!("kernel {} {}", table.kernel_release, table.architecture);
    for row in &table.probes {
        println!("{:<14} {:<28} {:?}", row.probe.as_str(), row.mechanism, row.status);
    }
    println!("{:<14} {:<28} {:?}", "isolate", "cgroup_skb", table.isolation);
    for row in &table.prevention {
        println!("{:<14} {:<28} {:?}", row.hook.as_str(), row.mechanism, row.status);
    }
    for missing in &table.missing {
        println!("missing: {missing}");
    }
    if table.probes.iter().any(|row| !row.is_available()) {
        return Err("not every probe can be used".into());
    }
    // Only loaded here: whoever runs this by hand keeps the network.
    if table.cgroup_mount.is_some() && table.isolation != support::ProbeStatus::Available {
        return Err("nothing can be isolated".into());
    }
    // The other hooks take BPF among the active security modules.
    let kills = |row: &&support::PreventionReport| row.hook == support::PreventionHook::ExecKill;
    if !table.prevention.iter().find(kills).is_some_and(support::PreventionReport::is_available) {
        return Err("no program can be killed as it starts".into());
    }
    let asked: Vec<_> =
        table.prevention.iter().filter(|row| row.mechanism.starts_with("lsm/")).collect();
    let available = asked.iter().filter(|row| row.is_available()).count();
    if available != 0 && available != asked.len() {
        return Err("some of the security module's programs cannot be used".into());
    }
    watch()
}

fn sensor() -> Result<Sensor, Box<dyn Error>> {
    let identity = AgentIdentity {
        tenant: TenantId::default(),
        agent: AgentId::new("smoke")?,
        host: "guest".into(),
    };
    let boot = host::boot_id()?;
    let ids = Sequencer::new(Origin::new(&identity.tenant, &identity.agent, boot));
    Ok(SensorBuilder::new(identity, boot, ids).open()?)
}

fn watch() -> Result<(), Box<dyn Error>> {
    let mut sensor = sensor()?;
    sensor.poll(Duration::from_millis(100))?;

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let argument = "x".repeat(100 * 1024);
    let mut child = Command::new(std::env::current_exe()?)
        .arg(&argument)
        .env(CHILD, port.to_string())
        .spawn()?;
    let pid = child.id();
    if !child.wait()?.success() {
        return Err("the child failed".into());
    }
    let mut events = sensor.poll(Duration::from_secs(1))?.events;
    let stats = sensor.stats();
    for batch in sensor.finish()? {
        events.extend(batch.events);
        for lost in batch.lost {
            println!("lost: {lost:?}");
        }
    }
    println!("{stats:?}");
    let of_child =
        |event: &&Arc<Event>| event.process.as_ref().is_some_and(|process| process.pid == pid);
    let events: Vec<Arc<Event>> = events.iter().filter(of_child).cloned().collect();
    check(&events, port, argument.len())?;
    storm()
}

/// Several children open at full speed, on all processors: every open is delivered or counted.
fn storm() -> Result<(), Box<dyn Error>> {
    let mut sensor = sensor()?;
    sensor.poll(Duration::from_millis(100))?;
    let spawn = |_| Command::new(std::env::current_exe()?).env(STORM, "1").spawn();
    let mut children = (0..4).map(spawn).collect::<Result<Vec<_>, _>>()?;
    let mut batches = Vec::new();
    let mut running = children.len();
    while running > 0 {
        batches.push(sensor.poll(Duration::from_millis(20))?);
        running = 0;
        for child in &mut children {
            running += usize::from(child.try_wait()?.is_none());
        }
    }
    batches.extend(sensor.finish()?);
    let pids: Vec<u32> = children.iter().map(|child| child.id()).collect();
    let is_of_storm = |event: &&Arc<Event>| {
        event.process.as_ref().is_some_and(|process| pids.contains(&process.pid))
            && matches!(&event.data, EventData::FileOpen(open) if open.path.value == "/dev/null")
    };
    let delivered = batches.iter().flat_map(|batch| &batch.events).filter(is_of_storm).count();
    let lost: Vec<_> = batches.iter().flat_map(|batch| &batch.lost).collect();
    let done = children.len() * STORM_OPENS;
    println!("storm: {delivered} of {done} opens delivered; lost: {lost:?}");
    if delivered < done && lost.is_empty() {
        return Err("opens are missing, and nothing is counted as lost".into());
    }
    Ok(())
}

fn check(events: &[Arc<Event>], port: u16, argument: usize) -> Result<(), Box<dyn Error>> {
    for kind in [EventKind::Fork, EventKind::Exec, EventKind::Exit] {
        let count = events.iter().filter(|event| event.kind() == kind).count();
        println!("{kind}: {count}");
        if count != 1 {
            return Err(format!("{count} events of kind {kind} instead of one").into());
        }
    }
    let exec = find(events, |event| matches!(event.data, EventData::Exec(_)))?;
    let process = exec.process.as_ref().ok_or("an exec without a process")?;
    show(process);
    if process.arguments.value.raw().len() < argument || !process.arguments.is_whole() {
        return Err("the arguments are not whole".into());
    }
    let parent = process.parent.as_ref().ok_or("no parent")?;
    if parent.pid != std::process::id() {
        return Err("the parent is another".into());
    }
    let opened = |path: &'static str, fd: bool| {
        find(events, move |event| {
            matches!(&event.data, EventData::FileOpen(open)
                if open.path.value == path && open.result.is_ok() == fd)
        })
    };
    println!("{:?}", opened("/proc/version", true)?.data);
    println!("{:?}", opened("/tmp/not-there", false)?.data);
    let connect = find(events, |event| {
        matches!(&event.data, EventData::NetConnect(connect)
            if connect.destination.port() == port && connect.result.is_ok())
    })?;
    println!("{:?}", connect.data);
    for kind in [
        EventKind::NetBind,
        EventKind::NetListen,
        EventKind::NetAccept,
        EventKind::NetSend,
        EventKind::DnsQuery,
        EventKind::ExecFailed,
    ] {
        println!("{:?}", find(events, |event| event.kind() == kind)?.data);
    }
    if io_uring::IoUring::new(2).is_ok() {
        println!("{:?}", find(events, |event| event.kind() == EventKind::IoUring)?.data);
    }
    let changed = |what: &'static str| {
        find(events, move |event| match &event.data {
            EventData::FileRename(rename) => {
                what == "rename"
                    && rename.previous_path.value == "/tmp/smoke-a"
                    && rename.path.value == "/tmp/smoke-b"
            }
            EventData::FileLink(link) => what == "link" && link.target.value == "/tmp/smoke-b",
            EventData::FileMode(set) => what == "mode" && set.mode == Some(0o600),
            EventData::FileDelete(delete) => {
                what == "delete" && delete.path.value == "/tmp/smoke-b"
            }
            _ => false,
        })
    };
    for what in ["rename", "link", "mode", "delete"] {
        println!("{:?}", changed(what)?.data);
    }
    Ok(())
}

fn show(process: &Process) {
    let mut shown = process.clone();
    shown.arguments = Default::default();
    shown.parent = None;
    println!("{shown:?}");
}

fn find(
    events: &[Arc<Event>],
    mut is: impl FnMut(&Event) -> bool,
) -> Result<&Arc<Event>, Box<dyn Error>> {
    events.iter().find(|event| is(event)).ok_or_else(|| {
        let data: Vec<_> = events.iter().map(|event| &event.data).collect();
        format!("an expected event is missing; there are: {data:?}").into()
    })
}

fn child(port: u16) -> Result<(), Box<dyn Error>> {
    std::fs::read("/proc/version")?;
    std::env::set_current_dir("/proc")?;
    // Relative, and to be folded.
    if std::fs::read("../tmp/./not-there").is_ok() {
        return Err("/tmp/not-there is there".into());
    }
    TcpStream::connect(("127.0.0.1", port))?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let _stream = TcpStream::connect(listener.local_addr()?)?;
    listener.accept()?;
    UdpSocket::bind("127.0.0.1:0")?.send_to(b"x", ("127.0.0.1", port))?;
    look_up()?;
    // They end with the process, all at once: it makes one event.
    for _ in 0..8 {
        std::thread::spawn(std::thread::park);
    }
    request()?;
    // Comes back, since it is not there.
    let _error = Command::new("/tmp/no-program").exec();
    std::env::set_current_dir("/tmp")?;
    std::fs::write("smoke-a", "x")?;
    std::fs::rename("smoke-a", "./smoke-b")?;
    std::fs::hard_link("smoke-b", "smoke-c")?;
    std::fs::set_permissions("smoke-b", std::fs::Permissions::from_mode(0o600))?;
    std::fs::remove_file("smoke-b")?;
    std::fs::remove_file("smoke-c")?;
    Ok(())
}

/// Asks a name server of its own, which answers with the question.
fn look_up() -> Result<(), Box<dyn Error>> {
    let question = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x05smoke\x04test\0\0\x01\0\x01";
    let server = UdpSocket::bind("127.83.77.75:53")?;
    let client = UdpSocket::bind("127.0.0.1:0")?;
    client.connect(server.local_addr()?)?;
    client.send(question)?;
    let mut bytes = [0; 64];
    let (length, from) = server.recv_from(&mut bytes)?;
    bytes[2] |= 0x80;
    server.send_to(&bytes[..length], from)?;
    client.recv(&mut bytes)?;
    Ok(())
}

/// Opens a file through `io_uring`, where programs may use it.
fn request() -> Result<(), Box<dyn Error>> {
    let Ok(mut ring) = io_uring::IoUring::new(2) else { return Ok(()) };
    let here = io_uring::types::Fd(-100);
    let open = io_uring::opcode::OpenAt::new(here, c"/proc/version".as_ptr()).build();
    // SAFETY: the name lives for ever.
    unsafe { ring.submission().push(&open)? };
    ring.submit_and_wait(1)?;
    Ok(())
}
