//! What is done through `io_uring` on the live kernel: by the thread that submits, and by the kernel's for it.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(unsafe_code, reason = "requests of io_uring")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use io_uring::{IoUring as Ring, opcode, squeue, types};
use lavender_core::event::{EventData, EventKind, IoUring, IoUringOperation, NetworkTransport};

use support::{Group, Watch, can_run, of_kind, process, temporary};

/// Whether this kernel lets programs use it at all.
fn has_rings() -> bool {
    match Ring::new(2) {
        Ok(_) => true,
        Err(error) => {
            println!("skipped: io_uring cannot be used here: {error}");
            false
        }
    }
}

/// Has one thing done, and waits for it. Its result.
fn run(ring: &mut Ring, request: &squeue::Entry) -> i32 {
    // SAFETY: what it refers to lives until it is done.
    unsafe { ring.submission().push(request).unwrap() };
    ring.submit_and_wait(1).unwrap();
    ring.completion().next().unwrap().result()
}

/// Watches only what a child has done, below a folder of the test's own. What was seen, in order.
fn seen(folder: &Path, act: impl FnOnce()) -> Vec<IoUring> {
    let group = Group::new();
    let mut watch = Watch::group(&group);
    let child = group.fork(|| {
        std::env::set_current_dir(folder).unwrap();
        act();
    });
    let pid = child.pid;
    assert_eq!(watch.until_ended(child), 0);
    let batch = watch.finish();
    assert_eq!(batch.lost, []);
    of_kind(&batch.events, EventKind::IoUring)
        .inspect(|event| assert_eq!(process(event).pid, pid))
        .map(|event| match &event.data {
            EventData::IoUring(request) => request.clone(),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn base() -> (tempfile::TempDir, PathBuf) {
    let folder = temporary();
    let base = fs::canonicalize(folder.path()).unwrap();
    fs::create_dir(base.join("sub")).unwrap();
    fs::write(base.join("a"), "x").unwrap();
    (folder, base)
}

fn here() -> types::Fd {
    types::Fd(libc::AT_FDCWD)
}

fn shown(base: &Path, request: &IoUring) -> String {
    let path = request.path.as_ref().unwrap();
    assert!(path.is_whole(), "{path:?}");
    let text = path.value.to_string_lossy().into_owned();
    let text = text.strip_prefix(&format!("{}/", base.display())).unwrap_or(&text);
    format!("{} {text} {:?}", request.operation, request.flags.map(|flags| flags.0))
}

#[test]
fn opens_and_removals() {
    if !can_run() || !has_rings() {
        return;
    }
    let (_folder, base) = base();
    let requests = seen(&base, || {
        let mut ring = Ring::new(4).unwrap();
        let open = |folder, name: &std::ffi::CStr, flags| {
            opcode::OpenAt::new(folder, name.as_ptr()).flags(flags).mode(0o600).build()
        };
        assert!(run(&mut ring, &open(here(), c"sub/../a", libc::O_RDWR)) >= 0);
        assert!(run(&mut ring, &open(here(), c"/dev/null", libc::O_RDONLY)) >= 0);
        let sub = fs::File::open("sub").unwrap();
        let folder = types::Fd(sub.as_raw_fd());
        assert_eq!(run(&mut ring, &open(folder, c"none", libc::O_RDONLY)), -2);
        let how = types::OpenHow::new().flags((libc::O_CREAT | libc::O_WRONLY) as u64).mode(0o600);
        let open = opcode::OpenAt2::new(folder, c"new".as_ptr(), &raw const how).build();
        assert!(run(&mut ring, &open) >= 0);
        let remove = opcode::UnlinkAt::new(here(), c"./a".as_ptr()).build();
        assert_eq!(run(&mut ring, &remove), 0);
        // None of these.
        assert_eq!(run(&mut ring, &opcode::Nop::new().build()), 0);
    });
    // The kernel adds to the flags what it always does for calls that open: O_LARGEFILE.
    let large = 0o100_000;
    let lines: Vec<_> = requests.iter().map(|request| shown(&base, request)).collect();
    let expected = [
        format!("openat a Some({})", 2 | large),
        format!("openat /dev/null Some({large})"),
        format!("openat sub/none Some({large})"),
        format!("openat2 sub/new Some({})", 0o101 | large),
        "unlinkat a None".to_owned(),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn connects() {
    if !can_run() || !has_rings() {
        return;
    }
    let (_folder, base) = base();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = seen(&base, || {
        let mut ring = Ring::new(4).unwrap();
        let address = libc::sockaddr_in {
            sin_family: 2,
            sin_port: port.to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
            sin_zero: [0; 8],
        };
        // SAFETY: a socket of the test's own.
        let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) };
        let at = (&raw const address).cast();
        let connect = opcode::Connect::new(types::Fd(socket), at, 16).build();
        assert_eq!(run(&mut ring, &connect), 0);
    });
    let [connect] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(connect.operation, IoUringOperation::CONNECT);
    assert_eq!(connect.transport, Some(NetworkTransport::Tcp));
    assert_eq!(connect.destination, Some(SocketAddr::from(([127, 0, 0, 1], port))));
    assert_eq!(connect.path, None);
}

/// No call at all: a thread of the kernel looks whether there is something to do.
#[test]
fn a_thread_of_the_kernel_submits() {
    if !can_run() || !has_rings() {
        return;
    }
    let (_folder, base) = base();
    let requests = seen(&base, || {
        let mut ring = Ring::builder().setup_sqpoll(1_000).build(4).unwrap();
        let open = opcode::OpenAt::new(here(), c"a".as_ptr()).build();
        assert!(run(&mut ring, &open) >= 0);
    });
    let [open] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(open.path.as_ref().unwrap().value, *base.join("a").to_str().unwrap());
}
