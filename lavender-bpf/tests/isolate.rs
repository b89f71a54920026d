//! Isolation of a control group of the test's own, in a network of the test's own.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

mod enforcement;
mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lavender_bpf::{
    CommandJournal, EnforcerOptions, HostExecutor, Isolation, IsolationConfig, IsolationError,
    IsolationState, Isolator, SharedEnforcer,
};
use lavender_core::command::{
    CommandAction, CommandExecutor as _, CommandOutcome, CommandReport, KeyId, Signer, Verifier,
};
use lavender_core::{
    AgentId, Clock as _, Outcome, ResponseAction, ResponseCause, ResponseTarget, SystemClock,
    TenantId,
};

use enforcement::{armed, enforce, enforcer, order};
use support::net::{HERE, Net, THERE, connect, enter, is_answered, loopback, tcp, udp};
use support::{Child, Group, can_run, temporary};

const ALLOWED: u16 = 7001;
const OTHER: u16 = 7002;

fn setting() -> Option<(Group, Net)> {
    if !can_run() {
        return None;
    }
    let net = Net::new()?;
    net.answer_at(ALLOWED);
    net.answer_at(OTHER);
    Some((Group::new(), net))
}

fn there(port: u16) -> [SocketAddr; 2] {
    THERE.map(|address| SocketAddr::new(address.parse().unwrap(), port))
}

fn succeeds(mut child: Child) -> bool {
    loop {
        if let Some(status) = child.try_wait() {
            return status == 0;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Holds what is asked against what is expected. What should come may come late on a busy machine.
fn is(expected: bool, ask: impl Fn() -> bool) -> bool {
    if expected { (0..10).any(|_| ask()) } else { !ask() }
}

/// What a process of the group reaches from within the network: of the other end, these ports.
fn reaches(group: &Group, net: &Net, allowed: bool, other: bool) {
    let child = group.fork(|| {
        enter(&net.here);
        for address in ["127.0.0.1", "::1"].into_iter().chain(HERE) {
            assert!(is(true, || loopback(address)), "{address}");
        }
        for (port, expected) in [(ALLOWED, allowed), (OTHER, other)] {
            for to in there(port) {
                assert!(is(expected, || tcp(to)), "TCP to {to}");
                assert!(is(expected, || udp(to, 10)), "UDP to {to}");
                assert!(is(expected, || udp(to, 9_000)), "UDP to {to} in pieces");
            }
        }
    });
    assert!(succeeds(child), "expected: allowed port {allowed}, other port {other}");
}

#[test]
fn nothing_is_lost_on_loopback() {
    let Some((group, net)) = setting() else { return };
    let isolation = Isolation::apply(&IsolationConfig::cgroup(&group.folder)).unwrap();
    let child = group.fork(|| {
        enter(&net.here);
        for _ in 0..100 {
            for address in ["127.0.0.1", "::1"].into_iter().chain(HERE) {
                assert!(is(true, || loopback(address)), "{address}");
            }
        }
    });
    assert!(succeeds(child));
    let counts = isolation.counts().unwrap();
    assert_eq!((counts.in_dropped, counts.out_dropped), (0, 0), "{counts:?}");
    assert!(counts.in_passed >= 400 && counts.out_passed >= 400, "{counts:?}");
}

#[test]
fn nothing_passes_but_loopback_and_the_allowed_peers() {
    let Some((group, net)) = setting() else { return };
    let neighbour = Group::new();
    reaches(&group, &net, true, true);
    let config = IsolationConfig::cgroup(&group.folder).with_allowed(there(ALLOWED));
    let isolation = Isolation::apply(&config).unwrap();
    reaches(&group, &net, true, false);
    reaches(&neighbour, &net, true, true);
    let counts = isolation.counts().unwrap();
    assert!(counts.out_dropped >= 6, "{counts:?}");
    assert!(counts.out_passed >= 6 && counts.in_passed >= 6, "{counts:?}");
    isolation.release().unwrap();
    reaches(&group, &net, true, true);
}

#[test]
fn what_is_applied_again_goes_by_the_new_peers_and_is_lifted_whole() {
    let Some((group, net)) = setting() else { return };
    let alone = IsolationConfig::cgroup(&group.folder);
    Isolation::apply(&alone).unwrap().keep();
    reaches(&group, &net, false, false);
    let isolation = Isolation::apply(&alone.clone().with_allowed(there(OTHER))).unwrap();
    assert_eq!(isolation.counts().unwrap().out_dropped, 0);
    reaches(&group, &net, false, true);
    drop(isolation);
    assert!(Isolation::find(Some(&group.folder)).unwrap().is_none());
    reaches(&group, &net, true, true);
}

#[test]
fn a_group_below_is_isolated_with_it_and_nobody_reaches_in() {
    let Some((group, net)) = setting() else { return };
    let below = Group { folder: group.folder.join("below") };
    fs::create_dir(&below.folder).unwrap();
    let isolation = Isolation::apply(&IsolationConfig::cgroup(&group.folder)).unwrap();
    reaches(&below, &net, false, false);
    for (address, passes) in [("127.0.0.1", true), (HERE[0], false), (HERE[1], false)] {
        let folder = temporary();
        let port = folder.path().join("port");
        let listens = below.fork_to_ask(|| {
            enter(&net.here);
            let listener = TcpListener::bind((address, 0)).unwrap();
            write_whole(&port, &listener.local_addr().unwrap().to_string());
            listener.set_nonblocking(true).unwrap();
            (0..200).any(|_| {
                std::thread::sleep(Duration::from_millis(10));
                listener.accept().is_ok()
            })
        });
        let to: SocketAddr = wait_for(&port).parse().unwrap();
        let namespace = if passes { &net.here } else { &net.there };
        let asks = Group::new();
        let asked = asks.fork_to_ask(|| {
            enter(namespace);
            connect(to).is_some()
        });
        assert_eq!(succeeds(asked), passes, "{to}");
        assert_eq!(succeeds(listens), passes, "{to}");
    }
    assert!(isolation.counts().unwrap().in_dropped > 0);
}

/// In one step, so that whoever waits for it reads it whole.
fn write_whole(path: &Path, text: &str) {
    let part = path.with_extension("part");
    fs::write(&part, text).unwrap();
    fs::rename(part, path).unwrap();
}

fn wait_for(path: &Path) -> String {
    for _ in 0..1_000 {
        if let Ok(text) = fs::read_to_string(path) {
            return text;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} did not come", path.display());
}

#[test]
fn connections_from_before_are_cut_and_go_on_after_the_release() {
    let Some((group, net)) = setting() else { return };
    let folder = temporary();
    let path = |name: &str| folder.path().join(name);
    let child = group.fork(|| {
        enter(&net.here);
        let mut streams = there(OTHER).map(|to| connect(to).unwrap());
        assert!(streams.iter_mut().all(is_answered));
        write_whole(&path("connected"), "");
        wait_for(&path("isolated"));
        assert!(!streams.iter_mut().any(is_answered));
        write_whole(&path("tried"), "");
        wait_for(&path("released"));
        // TCP sends it again when it thinks fit.
        assert!((0..40).any(|_| is_answered(&mut streams[0])));
    });
    wait_for(&path("connected"));
    let isolation = Isolation::apply(&IsolationConfig::cgroup(&group.folder)).unwrap();
    write_whole(&path("isolated"), "");
    wait_for(&path("tried"));
    isolation.release().unwrap();
    write_whole(&path("released"), "");
    assert!(succeeds(child));
}

#[test]
fn it_outlasts_whoever_is_killed_and_comes_back_after_a_boot() {
    let Some((group, net)) = setting() else { return };
    let folder = temporary();
    let state = folder.path().join("state/isolated.json");
    let isolator = |peers: &[SocketAddr]| {
        let config = IsolationConfig::cgroup(&group.folder).with_allowed(peers.iter().copied());
        Isolator::new(config, &state)
    };
    assert!(!isolator(&[]).restore().unwrap());
    let agent = Group::new();
    let killed = agent.fork(|| {
        isolator(&there(ALLOWED)).isolate().unwrap();
        isolator(&there(ALLOWED)).isolate().unwrap();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
            .unwrap();
    });
    assert!(!succeeds(killed));
    assert!(matches!(isolator(&[]).state().unwrap(), IsolationState::Isolated(_)));
    reaches(&group, &net, true, false);

    // As after a boot: the kernel knows nothing of it, and the names of peers are not looked up yet.
    Isolation::find(Some(&group.folder)).unwrap().unwrap().release().unwrap();
    reaches(&group, &net, true, true);
    assert!(isolator(&[]).restore().unwrap());
    reaches(&group, &net, true, false);

    // A file that cannot be understood isolates.
    fs::write(&state, "{").unwrap();
    assert!(isolator(&[]).restore().unwrap());
    reaches(&group, &net, false, false);

    assert!(isolator(&[]).release().unwrap());
    assert!(!state.exists());
    assert!(!isolator(&[]).release().unwrap());
    assert!(!isolator(&[]).restore().unwrap());
    assert_eq!(isolator(&[]).state().unwrap(), IsolationState::Open);
    reaches(&group, &net, true, true);

    // Whoever is killed while he releases has removed the file first. What somebody else isolates is kept once it is
    // ordered.
    Isolation::apply(&IsolationConfig::cgroup(&group.folder)).unwrap().keep();
    isolator(&[]).isolate().unwrap();
    assert!(state.exists());
    fs::remove_file(&state).unwrap();
    assert!(!isolator(&[]).restore().unwrap());
    reaches(&group, &net, true, true);
}

#[test]
fn the_group_that_was_isolated_is_released_when_the_configuration_names_another() {
    let Some((group, net)) = setting() else { return };
    let folder = temporary();
    let state = folder.path().join("isolated.json");
    let other = Group::new();
    let isolator = |group: &Group| Isolator::new(IsolationConfig::cgroup(&group.folder), &state);
    isolator(&group).isolate().unwrap();
    assert!(isolator(&other).restore().unwrap());
    reaches(&group, &net, true, true);
    reaches(&other, &net, false, false);
    assert!(isolator(&group).release().unwrap());
    reaches(&other, &net, true, true);
}

#[test]
fn the_enforcer_isolates_within_its_bounds_and_releases_without_any() {
    let Some((group, _net)) = setting() else { return };
    let folder = temporary();
    let config = IsolationConfig::cgroup(&group.folder);
    let isolator = Isolator::new(config, folder.path().join("isolated.json"));
    let is_isolated = || isolator.state().unwrap() != IsolationState::Open;
    let host = || order(ResponseAction::Isolate, ResponseTarget::Host);
    let outcome = |options: EnforcerOptions, orders: usize| {
        let mut enforcer =
            enforcer(EnforcerOptions { isolator: Some(isolator.clone()), ..options });
        let outcomes: Vec<Outcome> =
            (0..orders).flat_map(|_| enforce(&mut enforcer, host())).map(|o| o.outcome).collect();
        (enforcer, outcomes)
    };
    let (dry, outcomes) = outcome(EnforcerOptions { dry_run: true, ..armed() }, 1);
    assert_eq!(outcomes, [Outcome::DryRun]);
    assert!(!is_isolated());
    let (_, outcomes) = outcome(EnforcerOptions { max_per_minute: 0, ..armed() }, 1);
    assert_eq!(outcomes, [Outcome::RateLimited]);
    assert!(!is_isolated());
    // Once it is isolated, it takes nothing of the rate to find that so.
    let (_, outcomes) = outcome(EnforcerOptions { max_per_minute: 1, ..armed() }, 3);
    assert_eq!(outcomes, [Outcome::Done, Outcome::Done, Outcome::Done]);
    assert!(is_isolated());
    assert_eq!(dry.release(), Outcome::Done);
    assert!(!is_isolated());
    assert_eq!(dry.release(), Outcome::Gone);
}

#[test]
fn a_command_isolates_and_one_releases_in_dry_run_too() {
    let Some((group, net)) = setting() else { return };
    let folder = temporary();
    let config = IsolationConfig::cgroup(&group.folder).with_allowed(there(ALLOWED));
    let isolator = Isolator::new(config, folder.path().join("isolated.json"));
    let signer = Signer::from_secret(KeyId::new("ops-1").unwrap(), &[7; 32]);
    let who = (TenantId::new("acme").unwrap(), AgentId::new("web-1").unwrap());
    let give = |action, dry_run| {
        let options = EnforcerOptions { isolator: Some(isolator.clone()), dry_run, ..armed() };
        let verifier = Verifier::new(who.0.clone(), who.1.clone())
            .with_key(signer.key().clone(), signer.public_key())
            .unwrap();
        let now = SystemClock.now();
        let journal = CommandJournal::open(folder.path().join("commands"), (&who.0, &who.1), now);
        let enforcer = SharedEnforcer::new(enforcer(options));
        let mut executor =
            HostExecutor::new(who.clone(), verifier, journal, enforcer, Arc::new(SystemClock));
        let (tenant, agent) = who.clone();
        let minute = Duration::from_secs(60);
        let signed = signer.order(tenant, agent, action, now, minute).unwrap().to_bytes();
        let mut done = Vec::new();
        let reports = executor.take(&signed, 1, &mut done);
        let [CommandReport::Result(result)] = &reports[..] else { panic!("{reports:?}") };
        let [answer] = &done[..] else { panic!("{done:?}") };
        assert_eq!(answer.order.cause, ResponseCause::Command(result.command));
        result.outcome.clone()
    };
    assert_eq!(give(CommandAction::Isolate, true), CommandOutcome::DryRun);
    reaches(&group, &net, true, true);
    assert_eq!(give(CommandAction::Isolate, false), CommandOutcome::DONE);
    reaches(&group, &net, true, false);
    assert_eq!(give(CommandAction::Release, true), CommandOutcome::DONE);
    reaches(&group, &net, true, true);
    assert_eq!(give(CommandAction::Release, false), CommandOutcome::DONE, "there is none");
}

#[test]
fn what_is_no_control_group_is_refused_and_nothing_is_kept_of_it() {
    if !can_run() {
        return;
    }
    let folder = temporary();
    let state = folder.path().join("isolated.json");
    for path in [folder.path().to_owned(), folder.path().join("none")] {
        let isolator = Isolator::new(IsolationConfig::cgroup(&path), &state);
        let error = isolator.isolate().unwrap_err();
        assert!(matches!(error, IsolationError::Cgroup { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()));
        assert!(!state.exists());
    }
    let group = Group::new();
    let many = (1..=257).map(|port| SocketAddr::from(([10, 0, 0, 1], port)));
    let config = IsolationConfig::cgroup(&group.folder).with_allowed(many);
    let error = Isolator::new(config, &state).isolate().unwrap_err();
    assert!(matches!(error, IsolationError::TooManyPeers { count: 257 }), "{error}");
    assert!(!state.exists());
}

#[test]
fn it_is_told_whether_this_host_can_do_it() {
    let capabilities = lavender_bpf::support::capabilities();
    let available = capabilities.isolation == lavender_bpf::support::ProbeStatus::Available;
    assert_eq!(available, Isolation::check().is_ok(), "{:?}", capabilities.isolation);
}
