//! BPF programs, namespaces, mounts and executable memory, by a harmless stand-in on the live kernel: stored in full, alerts
//! of the built-in rules, and by a plan only what rules need.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod support;

use lavender_core::event::{
    BpfCommand, BpfProgramType, EventData, EventKind, MountCall, NamespaceTypes,
};
use support::setting::Setting;
use support::stand_in;
use support::store::Stored;

/// `bpf`, `mmap`, `unshare` and `mount`: `arch/x86/entry/syscalls/syscall_64.tbl`, `include/uapi/asm-generic/unistd.h`.
const CALLS: [&str; 4] = if cfg!(target_arch = "x86_64") {
    ["321", "9", "272", "165"]
} else {
    ["280", "222", "97", "40"]
};

/// Loads a program that does nothing, takes a page that can be written and executed, makes a user namespace, and in it mounts
/// a folder where it is. The kernel writes through strings, so that none may be a literal.
const SCRIPT: &str = r#"
my ($bpf, $mmap, $unshare, $mount, $from, $to) = @ARGV;
my ($code, $license) = (pack("QQ", 0xb7, 0x95), "GPL");
my $attributes = pack("LLppLLQLLa16x64", 2, 2, $code, $license, 0, 0, 0, 0, 0, "watcher");
syscall($bpf + 0, 5, $attributes, 128) >= 0 or die "bpf: $!";
syscall($mmap + 0, 0, 4096, 7, 0x22, -1, 0) != -1 or die "mmap: $!";
syscall($unshare + 0, 0x10020000) == 0 or die "unshare: $!";
syscall($mount + 0, $from, $to, 0, 0x1000, 0) == 0 or die "mount: $!";
"#;

fn act(setting: &Setting) {
    let program = stand_in::named(setting.folder.path(), "helper").canonicalize().unwrap();
    let folder = setting.path("mounted");
    std::fs::create_dir_all(&folder).unwrap();
    let mut command = setting.cgroup.command(program);
    command.args(["-e", SCRIPT]).args(CALLS).args([&folder, &folder]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// What the stand-in did by events of a kind.
fn data(stored: &Stored, kind: EventKind) -> Vec<EventData> {
    stored.events(Some(kind)).into_iter().map(|stored| stored.event.data.clone()).collect()
}

#[test]
fn each_is_stored_in_full_and_known_to_the_built_in_rules() {
    need_kernel!();
    let setting = Setting::new("");
    let mut agent = setting.run(&[]);
    act(&setting);
    for title in [
        "BPF Program That Watches or Changes the Kernel Loaded",
        "Writable and Executable Memory in a Program From a Temporary Folder",
        "User Namespace Made, Then Something Mounted",
    ] {
        agent.wait_for(title, |line| line["rule"]["title"] == title);
    }
    let finished = agent.stop();
    assert_eq!(finished.code, Some(0), "{finished:?}");

    let stored = setting.stored();
    let [EventData::Bpf(bpf)] = &data(&stored, EventKind::Bpf)[..] else { panic!() };
    assert_eq!(bpf.command, BpfCommand::PROG_LOAD);
    assert_eq!(bpf.program_type, Some(BpfProgramType::KPROBE));
    assert_eq!(bpf.name.as_ref().unwrap(), "watcher");
    let memory = data(&stored, EventKind::MemoryProtect);
    let [EventData::MemoryProtect(memory)] = &memory[..] else { panic!("{memory:?}") };
    assert!(memory.protection.writes() && memory.protection.executes());
    let changes = data(&stored, EventKind::NsChange);
    let [EventData::NsChange(change)] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(change.types, NamespaceTypes(NamespaceTypes::USER.0 | NamespaceTypes::MNT.0));
    let (before, after) = (change.before.unwrap(), change.after.unwrap());
    assert!(before.user != after.user && before.mnt != after.mnt && before.net == after.net);
    let mounts = data(&stored, EventKind::Mount);
    let [EventData::Mount(mount)] = &mounts[..] else { panic!("{mounts:?}") };
    assert_eq!(mount.call, MountCall::Mount);
    assert_eq!(mount.target.as_ref().unwrap().value, *setting.path("mounted").to_str().unwrap());
}

#[test]
fn by_a_plan_only_those_come_that_a_rule_needs() {
    need_kernel!();
    let setting = Setting::new(
        "[sensor]\ntelemetry = \"rules\"\n[rules]\nbuiltin = false\n[alerts]\nsuppress_secs = 0\n",
    );
    let rules = setting.path("rules");
    support::write(
        &rules.join("mount.yml"),
        "title: Mounted\nid: 8b2a7c1e-0000-4000-8000-000000000004\n\
         logsource: {product: linux, category: mount}\n\
         detection:\n  selection: {MountFlags: bind, Result: success}\n  condition: selection\n\
         level: low\n",
    );
    let mut agent = setting.run(&["--rules", rules.to_str().unwrap()]);
    act(&setting);
    agent.wait_for("Mounted", |line| line["rule"]["title"] == "Mounted");
    let finished = agent.stop();
    assert_eq!(finished.code, Some(0), "{finished:?}");

    let stored = setting.stored();
    assert_eq!(stored.count(EventKind::Mount), 1);
    assert_eq!(stored.count(EventKind::Bpf), 1, "with it an agent is made blind");
    for kind in [EventKind::NsChange, EventKind::MemoryProtect, EventKind::Lost] {
        assert_eq!(stored.count(kind), 0, "{kind}");
    }
}
