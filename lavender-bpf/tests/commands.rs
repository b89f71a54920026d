//! Commands carried out on processes and files of the test's own: what is no order is refused, and an order is carried
//! out once, whatever is killed.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod enforcement;

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use enforcement::{TRIES, Victim, armed, enforcer, id_of};
use lavender_bpf::{CommandJournal, EnforcerOptions, HostExecutor, ReloadRules, SharedEnforcer};
use lavender_core::command::{
    CommandAction, CommandExecutor, CommandId, CommandOutcome, CommandOutput, CommandRefusal,
    CommandReport, KeyId, Signer, Verifier,
};
use lavender_core::{
    AgentId, ByteString, Clock as _, CommandCounts, CommandsRefused, FileTarget, Outcome,
    ResponseAction, ResponseCause, ResponseOutcome, SystemClock, TenantId, Timestamp,
};
use tempfile::TempDir;

fn signer() -> Signer {
    Signer::from_secret(KeyId::new("ops-1").unwrap(), &[7; 32])
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn agent(name: &str) -> AgentId {
    AgentId::new(name).unwrap()
}

/// An order of this moment to the agent under test.
fn order(action: CommandAction) -> Vec<u8> {
    order_of(&signer(), "acme", "web-1", SystemClock.now(), action)
}

fn order_of(by: &Signer, of: &str, to: &str, at: Timestamp, action: CommandAction) -> Vec<u8> {
    let minute = Duration::from_secs(60);
    by.order(tenant(of), agent(to), action, at, minute).unwrap().to_bytes()
}

#[derive(Debug)]
struct Rules;

impl ReloadRules for Rules {
    fn reload(&mut self) -> Result<CommandOutput, Arc<str>> {
        Ok(CommandOutput::Rules { rules: 7 })
    }
}

/// A folder with a journal and a quarantine.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    /// The executor of an agent that starts now.
    fn start(&self, options: EnforcerOptions) -> HostExecutor {
        let who = (tenant("acme"), agent("web-1"));
        let verifier = Verifier::new(who.0.clone(), who.1.clone())
            .with_key(signer().key().clone(), signer().public_key())
            .unwrap();
        let journal =
            CommandJournal::open(self.path("commands"), (&who.0, &who.1), SystemClock.now());
        let options = EnforcerOptions { quarantine: self.path("quarantine"), ..options };
        let enforcer = SharedEnforcer::new(enforcer(options));
        HostExecutor::new(who, verifier, journal, enforcer, Arc::new(SystemClock)).with_rules(Rules)
    }
}

/// What is reported of something that comes for the first time, and what was done.
fn take(executor: &mut HostExecutor, signed: &[u8]) -> (Vec<CommandReport>, Vec<ResponseOutcome>) {
    let mut responses = Vec::new();
    let reports = executor.take(signed, 1, &mut responses);
    (reports, responses)
}

fn outcome(executor: &mut HostExecutor, action: CommandAction) -> CommandOutcome {
    let (reports, _) = take(executor, &order(action));
    let [CommandReport::Result(result)] = &reports[..] else { panic!("{reports:?}") };
    result.outcome.clone()
}

fn output(executor: &mut HostExecutor, action: CommandAction) -> CommandOutput {
    match outcome(executor, action) {
        CommandOutcome::Done { output: Some(output) } => output,
        other => panic!("{other:?}"),
    }
}

fn bytes(path: &Path) -> ByteString {
    path.as_os_str().as_bytes().into()
}

fn refusal(reports: &[CommandReport]) -> &CommandRefusal {
    match reports {
        [CommandReport::Refusal(refusal)] => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_no_order_is_refused_every_time_and_ends_no_other() {
    let place = Place::new();
    let mut executor = place.start(armed());
    let mut victim = Victim::start();
    let kill = || CommandAction::Kill { process: victim_id(&victim) };
    let stranger = Signer::from_secret(KeyId::new("ops-1").unwrap(), &[8; 32]);
    let unpinned = Signer::from_secret(KeyId::new("ops-2").unwrap(), &[7; 32]);
    for number in 0..TRIES {
        let now = SystemClock.now();
        let mut changed = order(kill());
        let at = number % changed.len();
        changed[at] ^= 1;
        let garbage: Vec<u8> = (0..number).map(|byte| byte as u8).collect();
        for (what, signed) in [
            ("forged", order_of(&stranger, "acme", "web-1", now, kill())),
            ("by a key that is not pinned", order_of(&unpinned, "acme", "web-1", now, kill())),
            ("of another tenant", order_of(&signer(), "globex", "web-1", now, kill())),
            ("for another agent", order_of(&signer(), "acme", "web-2", now, kill())),
            ("changed", changed),
            ("garbage", garbage),
        ] {
            let (reports, done) = take(&mut executor, &signed);
            let told = refusal(&reports);
            assert_eq!((&told.tenant, &told.agent), (&tenant("acme"), &agent("web-1")), "{what}");
            assert!(done.is_empty() && !told.reason.is_empty(), "{what}");
        }
        // These are orders, and get a result.
        let past = now.saturating_sub(Duration::from_secs(120));
        let future = now.saturating_add(Duration::from_secs(120));
        for (at, why) in [(past, "expired"), (future, "check both clocks")] {
            let (reports, done) =
                take(&mut executor, &order_of(&signer(), "acme", "web-1", at, kill()));
            let [CommandReport::Result(result)] = &reports[..] else { panic!("{reports:?}") };
            let CommandOutcome::Refused { reason } = &result.outcome else { panic!("{result:?}") };
            assert!(reason.contains(why) && done.is_empty(), "{reason}");
        }
    }
    let counts = executor.tally().counts();
    let (refused, tries) = (counts.refused, TRIES as u64);
    assert_eq!((counts.admitted, counts.repeated, refused.total()), (0, 0, 8 * tries));
    // A bit that was changed may stand anywhere: it is forged, or no command, or names a key that is not pinned.
    let rest = refused.total() - refused.malformed - refused.unknown_key - refused.forged;
    assert_eq!(rest, 4 * tries);
    assert!(refused.forged >= tries && refused.unknown_key >= tries && refused.malformed >= tries);
    let CommandsRefused { wrong_tenant, wrong_agent, expired, not_yet, .. } = refused;
    assert_eq!([wrong_tenant, wrong_agent, expired, not_yet], [tries; 4]);
    assert!(victim.lives());
}

fn victim_id(victim: &Victim) -> lavender_core::ProcessId {
    victim.id()
}

#[test]
fn an_order_is_carried_out_once_whoever_repeats_it_and_whatever_is_killed() {
    let place = Place::new();
    let mut executor = place.start(armed());
    let mut victim = Victim::start();
    let signed = order(CommandAction::Kill { process: victim.id() });
    let (first, done) = take(&mut executor, &signed);
    let [CommandReport::Result(result)] = &first[..] else { panic!("{first:?}") };
    assert_eq!(result.outcome, CommandOutcome::DONE);
    victim.end();
    let [answer] = &done[..] else { panic!("{done:?}") };
    assert_eq!(answer.order.cause, ResponseCause::Command(result.command));
    assert_eq!((answer.order.action, &answer.outcome), (ResponseAction::Kill, &Outcome::Done));
    assert_eq!(&*answer.order.decided_by, "key ops-1");

    // Nobody has the result yet: whoever asks again, after a kill too, gets it, and nothing is done.
    for mut executor in [executor, place.start(armed())] {
        for attempt in [1, 2, 7] {
            let mut done = Vec::new();
            assert_eq!(executor.take(&signed, attempt, &mut done), first);
            assert!(done.is_empty());
        }
        assert_eq!(executor.tally().counts().repeated, 3);
    }
    // It was reported: a delivery that was not answered comes again, and what is sent anew is refused.
    place.start(armed()).reported(&first);
    let mut executor = place.start(armed());
    assert_eq!(executor.take(&signed, 2, &mut Vec::new()), first);
    for _ in 0..TRIES {
        let (reports, done) = take(&mut executor, &signed);
        assert_eq!(reports[0], first[0]);
        let told = refusal(&reports[1..]);
        assert_eq!(told.claimed, Some(result.command));
        assert!(told.reason.contains("admitted before") && done.is_empty(), "{told:?}");
    }
    let counts = executor.tally().counts();
    let replayed = TRIES as u64;
    assert_eq!(counts.refused, CommandsRefused { replayed, ..CommandsRefused::default() });
    assert_eq!(counts.admitted, 0);
}

#[test]
fn what_was_interrupted_is_said_to_be_and_not_done_again() {
    let place = Place::new();
    let signed = order(CommandAction::Ping);
    let (reports, _) = take(&mut place.start(armed()), &signed);
    let [CommandReport::Result(result)] = &reports[..] else { panic!("{reports:?}") };
    // As if it had been killed before it could keep what came of it.
    fs::remove_file(place.path(&format!("commands/{}.json", result.command))).unwrap();
    let (reports, _) = take(&mut place.start(armed()), &signed);
    let [CommandReport::Result(again)] = &reports[..] else { panic!("{reports:?}") };
    let CommandOutcome::Failed { reason } = &again.outcome else { panic!("{again:?}") };
    assert!(reason.contains("not known"), "{reason}");
    // And the same from then on.
    assert_eq!(take(&mut place.start(armed()), &signed).0, reports);
}

#[test]
fn without_a_file_that_can_be_read_nothing_is_admitted() {
    let place = Place::new();
    let mut victim = Victim::start();
    let file = place.path("commands/executed");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    for garbled in [&b"garbled"[..], b""] {
        fs::write(&file, garbled).unwrap();
        let mut executor = place.start(armed());
        let outcome = outcome(&mut executor, CommandAction::Kill { process: victim.id() });
        let CommandOutcome::Refused { reason } = &outcome else { panic!("{outcome:?}") };
        assert!(reason.contains(file.to_str().unwrap()), "{reason}");
        let refused = CommandsRefused { unkept: 1, ..CommandsRefused::default() };
        let counts = CommandCounts { refused, ..CommandCounts::default() };
        assert_eq!(executor.tally().counts(), counts);
        assert_eq!(fs::read(&file).unwrap(), garbled, "it is left as it was");
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let outcome = outcome(&mut place.start(armed()), CommandAction::Ping);
    assert!(matches!(outcome, CommandOutcome::Refused { .. }), "{outcome:?}");
    assert!(victim.lives());
}

#[test]
fn in_dry_run_nothing_that_acts_acts() {
    let place = Place::new();
    let file = place.path("file");
    fs::write(&file, "content").unwrap();
    let target = FileTarget { path: bytes(&file), identity: None };
    let quarantine = CommandAction::Quarantine { file: target };
    let CommandOutput::Quarantined { entry } =
        output(&mut place.start(armed()), quarantine.clone())
    else {
        panic!("it was not put into quarantine")
    };
    let other = place.path("other");
    fs::write(&other, "content").unwrap();

    let mut victim = Victim::start();
    let process = victim.id();
    let mut executor = place.start(EnforcerOptions { dry_run: true, ..armed() });
    let target = FileTarget { path: bytes(&other), identity: None };
    for action in [
        CommandAction::Kill { process },
        CommandAction::KillTree { process },
        CommandAction::Quarantine { file: target },
        CommandAction::Restore { entry: Arc::clone(&entry) },
    ] {
        assert_eq!(outcome(&mut executor, action.clone()), CommandOutcome::DryRun, "{action:?}");
    }
    assert!(victim.lives() && other.exists() && !file.exists());
    let restored = outcome(&mut place.start(armed()), CommandAction::Restore { entry });
    assert_eq!(restored, CommandOutcome::DONE);
    assert_eq!(fs::read_to_string(&file).unwrap(), "content");
}

#[test]
fn what_holds_for_responses_holds_for_commands() {
    let place = Place::new();
    let mut executor = place.start(EnforcerOptions { max_per_minute: 1, ..armed() });
    let own = id_of(std::process::id());
    let protected = outcome(&mut executor, CommandAction::Kill { process: own });
    let CommandOutcome::Refused { reason } = &protected else { panic!("{protected:?}") };
    assert!(reason.contains("it is the agent"), "{reason}");
    let mut victims = [Victim::start(), Victim::start()];
    let [one, two] = [0, 1].map(|at: usize| victims[at].id());
    let tree = output(&mut executor, CommandAction::KillTree { process: one });
    assert_eq!(tree, CommandOutput::Tree { killed: 1, spared: 0 });
    let limited = outcome(&mut executor, CommandAction::Kill { process: two });
    let CommandOutcome::Refused { reason } = &limited else { panic!("{limited:?}") };
    assert!(reason.contains("last minute"), "{reason}");
    victims[0].end();
    assert!(victims[1].lives());
    // The pid alone is not enough.
    let other = lavender_core::ProcessId::new(enforcement::boot(), 1, victims[1].pid());
    let gone = outcome(&mut executor, CommandAction::Kill { process: other });
    assert!(matches!(gone, CommandOutcome::Failed { .. }), "{gone:?}");
    for action in [CommandAction::Isolate, CommandAction::Release] {
        let told = outcome(&mut executor, action);
        assert!(matches!(told, CommandOutcome::Failed { .. }), "there is no isolator: {told:?}");
    }
}

#[test]
fn commands_that_look_tell_what_is_there() {
    let place = Place::new();
    let mut executor = place.start(EnforcerOptions::default());
    assert_eq!(outcome(&mut executor, CommandAction::Ping), CommandOutcome::DONE);
    let rules = output(&mut executor, CommandAction::ReloadRules);
    assert_eq!(rules, CommandOutput::Rules { rules: 7 });

    let file = place.path("file");
    fs::write(&file, "abc").unwrap();
    let path = bytes(&file);
    let digest = output(&mut executor, CommandAction::HashFile { path: path.clone() });
    // FIPS 180-2, appendix B.1.
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into();
    assert_eq!(digest, CommandOutput::Digest { sha256, bytes: 3 });
    let collect = CommandAction::CollectFile { path, max_bytes: 2 };
    let CommandOutput::File { content, bytes: long } = output(&mut executor, collect) else {
        panic!("it is no file")
    };
    assert_eq!((content.as_bytes(), long), (&b"ab"[..], 3));
    for path in [place.path("missing"), place.0.path().to_owned(), "/dev/zero".into(), "x".into()] {
        let told = outcome(&mut executor, CommandAction::HashFile { path: bytes(&path) });
        assert!(matches!(told, CommandOutcome::Failed { .. }), "{}: {told:?}", path.display());
    }

    let mut victim = Victim::start();
    let CommandOutput::Processes { processes, left_out } =
        output(&mut executor, CommandAction::ListProcesses)
    else {
        panic!("it is no list")
    };
    let found = processes.iter().find(|process| process.process.tgid() == victim.pid());
    let found = found.expect("the process is not in the list").clone();
    assert_eq!((found.parent, left_out), (std::process::id(), 0));
    assert_eq!(found.name, "sleep");
    // What is listed can be killed.
    let killed = outcome(&mut place.start(armed()), CommandAction::Kill { process: found.process });
    assert_eq!(killed, CommandOutcome::DONE);
    victim.end();
}

#[test]
fn results_that_cannot_be_read_are_no_reason_to_act_again() {
    let place = Place::new();
    let signed = order(CommandAction::Ping);
    let (reports, _) = take(&mut place.start(armed()), &signed);
    let [CommandReport::Result(result)] = &reports[..] else { panic!("{reports:?}") };
    let id: CommandId = result.command;
    fs::write(place.path(&format!("commands/{id}.json")), "garbled").unwrap();
    let mut executor = place.start(armed());
    let (again, done) = take(&mut executor, &signed);
    assert!(done.is_empty() && executor.tally().counts().admitted == 0, "{again:?}");
    let [CommandReport::Result(again)] = &again[..] else { panic!("{again:?}") };
    let CommandOutcome::Failed { reason } = &again.outcome else { panic!("{again:?}") };
    assert!(reason.contains("carried out before"), "{reason}");
}
