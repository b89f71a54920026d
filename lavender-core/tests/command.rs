//! Signed commands: what is refused, and why; what is read from any bytes.
#![allow(clippy::unwrap_used, reason = "tests fail loudly")]

use std::time::Duration;

use lavender_core::command::{
    Command, CommandAction, CommandId, Executed, KeyId, Malformed, Nonce, PinError, Refusal,
    SignedCommand, Signer, SigningError, Verifier,
};
use lavender_core::{AgentId, BootId, FileIdentity, FileTarget, ProcessId, TenantId, Timestamp};
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);
const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn key(name: &str) -> KeyId {
    KeyId::new(name).unwrap()
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn agent(name: &str) -> AgentId {
    AgentId::new(name).unwrap()
}

fn signer(name: &str, seed: u8) -> Signer {
    Signer::from_secret(key(name), &[seed; 32])
}

fn verifier(signers: &[&Signer]) -> Verifier {
    signers.iter().fold(Verifier::new(tenant("acme"), agent("web-1")), |verifier, signer| {
        verifier.with_key(signer.key().clone(), signer.public_key()).unwrap()
    })
}

/// The command by this number, good for a minute.
fn command(number: u8, action: CommandAction) -> Command {
    Command {
        id: CommandId::from_u128(u128::from(number)),
        nonce: Nonce::from_bytes([number; 16]),
        tenant: tenant("acme"),
        agent: agent("web-1"),
        action,
        issued_at: NOW,
        expires_at: NOW.saturating_add(MINUTE),
        key: key("a"),
    }
}

fn actions() -> impl Strategy<Value = CommandAction> {
    let process = || {
        (any::<u64>(), any::<u32>()).prop_map(|(s, t)| ProcessId::new(BootId::from_u128(7), s, t))
    };
    let path = || prop::collection::vec(any::<u8>(), 1..300);
    let identity = prop::option::of((any::<u64>(), any::<u32>()));
    prop_oneof![
        Just(CommandAction::Ping),
        process().prop_map(|process| CommandAction::Kill { process }),
        process().prop_map(|process| CommandAction::KillTree { process }),
        Just(CommandAction::Isolate),
        Just(CommandAction::Release),
        (path(), identity).prop_map(|(path, identity)| CommandAction::Quarantine {
            file: FileTarget {
                path: path.into(),
                identity: identity.map(|(inode, device)| FileIdentity { inode, device }),
            },
        }),
        "[a-z0-9ü]{1,60}".prop_map(|entry| CommandAction::Restore { entry: entry.as_str().into() }),
        Just(CommandAction::ListProcesses),
        path().prop_map(|path| CommandAction::HashFile { path: path.into() }),
        (path(), any::<u32>()).prop_map(|(path, max_bytes)| CommandAction::CollectFile {
            path: path.into(),
            max_bytes
        }),
        Just(CommandAction::ReloadRules),
    ]
}

proptest! {
    #[test]
    fn a_command_arrives_as_it_was_signed(action in actions(), number in any::<u8>()) {
        let signer = signer("a", 1);
        let command = command(number, action);
        let wire = signer.sign(command.clone()).unwrap().to_bytes();
        prop_assert_eq!(SignedCommand::from_bytes(&wire).unwrap().to_bytes(), wire.clone());
        let admitted = verifier(&[&signer]).admit(&wire, NOW, &mut Executed::new(10));
        prop_assert_eq!(admitted, Ok(command));
    }

    #[test]
    fn any_changed_byte_is_refused(action in actions(), at in any::<prop::sample::Index>(), by in 1u8..) {
        let signer = signer("a", 1);
        let mut wire = signer.sign(command(1, action)).unwrap().to_bytes();
        let at = at.index(wire.len());
        wire[at] ^= by;
        let mut executed = Executed::new(10);
        let refused = verifier(&[&signer]).admit(&wire, NOW, &mut executed).unwrap_err();
        prop_assert!(
            matches!(refused, Refusal::Malformed(_) | Refusal::UnknownKey { .. } | Refusal::Forged { .. }),
            "{refused}"
        );
        prop_assert!(executed.is_empty());
    }

    #[test]
    fn any_cut_and_any_addition_is_refused(action in actions(), cut in any::<prop::sample::Index>(), more in any::<u8>()) {
        let signer = signer("a", 1);
        let mut wire = signer.sign(command(1, action)).unwrap().to_bytes();
        let verifier = verifier(&[&signer]);
        let mut executed = Executed::new(10);
        prop_assert!(verifier.admit(&wire[..cut.index(wire.len())], NOW, &mut executed).is_err());
        wire.push(more);
        prop_assert!(verifier.admit(&wire, NOW, &mut executed).is_err());
        prop_assert!(executed.is_empty());
    }

    #[test]
    fn hostile_bytes_are_an_error_or_have_one_form(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        begins_well in any::<bool>(),
    ) {
        let mut wire = if begins_well { b"lavender-command\x01".to_vec() } else { Vec::new() };
        wire.extend(bytes);
        if let Ok(signed) = SignedCommand::from_bytes(&wire) {
            prop_assert_eq!(signed.to_bytes(), wire);
        }
    }
}

/// The layout that the documentation promises, byte by byte.
#[test]
fn the_form_is_the_documented_one() {
    let process = ProcessId::new(BootId::from_u128(7), 5, 42);
    let wire = signer("a", 1).sign(command(3, CommandAction::Kill { process })).unwrap().to_bytes();
    let mut expected = b"lavender-command\x01".to_vec();
    expected.extend(3_u128.to_be_bytes());
    expected.extend([3; 16]);
    expected.extend(1_700_000_000_000_000_000_i64.to_be_bytes());
    expected.extend(1_700_000_060_000_000_000_i64.to_be_bytes());
    expected.extend(b"\x01a\x04acme\x05web-1\x02");
    expected.extend(process.as_u128().to_be_bytes());
    assert_eq!(wire[..wire.len() - 64], expected);
}

#[test]
fn a_hundred_of_a_hundred_bad_commands_of_each_sort_are_refused() {
    let (signer, stranger) = (signer("a", 1), signer("a", 2));
    let verifier = verifier(&[&signer]);
    let mut executed = Executed::new(1_000);
    let late = NOW.saturating_add(MINUTE + Verifier::DEFAULT_SKEW);
    for number in 0..100 {
        let good = command(number, CommandAction::Isolate);
        let wire =
            |signer: &Signer, command: &Command| signer.sign(command.clone()).unwrap().to_bytes();

        let forged = verifier.admit(&wire(&stranger, &good), NOW, &mut executed);
        assert_eq!(forged, Err(Refusal::Forged { key: key("a") }));

        let other = Command { tenant: tenant("umbrella"), ..good.clone() };
        let wrong_tenant = verifier.admit(&wire(&signer, &other), NOW, &mut executed);
        assert_eq!(wrong_tenant, Err(Refusal::WrongTenant { tenant: tenant("umbrella") }));

        let other = Command { agent: agent("web-2"), ..good.clone() };
        let wrong_agent = verifier.admit(&wire(&signer, &other), NOW, &mut executed);
        assert_eq!(wrong_agent, Err(Refusal::WrongAgent { agent: agent("web-2") }));

        let expired = verifier.admit(&wire(&signer, &good), late, &mut executed);
        assert_eq!(expired, Err(Refusal::Expired { expires_at: good.expires_at, now: late }));

        assert_eq!(verifier.admit(&wire(&signer, &good), NOW, &mut executed), Ok(good.clone()));
        let replayed = verifier.admit(&wire(&signer, &good), NOW, &mut executed);
        assert_eq!(replayed, Err(Refusal::Replayed { command: good.id }));
    }
    assert_eq!(executed.len(), 100, "the good ones, each once");
}

#[test]
fn an_id_and_a_nonce_are_good_for_one_command() {
    let signer = signer("a", 1);
    let verifier = verifier(&[&signer]);
    let mut executed = Executed::new(10);
    let first = command(1, CommandAction::Ping);
    let same_id = Command { nonce: Nonce::from_bytes([9; 16]), ..first.clone() };
    let same_nonce = Command { id: CommandId::from_u128(9), ..first.clone() };
    let mut admit = |command: Command| {
        verifier.admit(&signer.sign(command).unwrap().to_bytes(), NOW, &mut executed)
    };
    assert!(admit(first).is_ok());
    assert!(matches!(admit(same_id), Err(Refusal::Replayed { .. })));
    assert!(matches!(admit(same_nonce), Err(Refusal::Replayed { .. })));
}

#[test]
fn a_clock_set_back_does_not_revive_a_command() {
    let signer = signer("a", 1);
    let verifier = verifier(&[&signer]);
    let mut executed = Executed::new(10);
    let first = signer.sign(command(1, CommandAction::Ping)).unwrap().to_bytes();
    verifier.admit(&first, NOW, &mut executed).unwrap();

    let later = NOW.saturating_add(MINUTE * 10);
    let second = Command {
        issued_at: later,
        expires_at: later.saturating_add(MINUTE),
        ..command(2, CommandAction::Ping)
    };
    let second = signer.sign(second).unwrap().to_bytes();
    verifier.admit(&second, later, &mut executed).unwrap();
    assert_eq!(executed.len(), 1, "the first is forgotten");
    assert!(matches!(verifier.admit(&first, NOW, &mut executed), Err(Refusal::Expired { .. })));
}

#[test]
fn what_was_admitted_is_known_after_a_restart() {
    let signer = signer("a", 1);
    let verifier = verifier(&[&signer]);
    let mut executed = Executed::new(10);
    let first = signer.sign(command(1, CommandAction::Ping)).unwrap().to_bytes();
    verifier.admit(&first, NOW, &mut executed).unwrap();
    let later = NOW.saturating_add(MINUTE * 10);
    let second = Command {
        issued_at: later,
        expires_at: later.saturating_add(MINUTE),
        ..command(2, CommandAction::Ping)
    };
    let second = signer.sign(second).unwrap().to_bytes();
    verifier.admit(&second, later, &mut executed).unwrap();

    let mut restored = Executed::from_bytes(10, &executed.to_bytes()).unwrap();
    assert!(matches!(verifier.admit(&second, later, &mut restored), Err(Refusal::Replayed { .. })));
    assert!(matches!(verifier.admit(&first, NOW, &mut restored), Err(Refusal::Expired { .. })));

    let saved = executed.to_bytes();
    for end in 0..saved.len() {
        assert!(Executed::from_bytes(10, &saved[..end]).is_none(), "cut at {end}");
    }
}

#[test]
fn a_full_memory_refuses_and_forgets_nothing() {
    let signer = signer("a", 1);
    let verifier = verifier(&[&signer]);
    let mut executed = Executed::new(2);
    let wires: Vec<_> =
        (0..3).map(|n| signer.sign(command(n, CommandAction::Ping)).unwrap().to_bytes()).collect();
    verifier.admit(&wires[0], NOW, &mut executed).unwrap();
    verifier.admit(&wires[1], NOW, &mut executed).unwrap();
    let third = verifier.admit(&wires[2], NOW, &mut executed);
    assert_eq!(third, Err(Refusal::TooMany { capacity: 2 }));
    assert!(matches!(verifier.admit(&wires[0], NOW, &mut executed), Err(Refusal::Replayed { .. })));
}

#[test]
fn times_must_make_sense() {
    let signer = signer("a", 1);
    let verifier = verifier(&[&signer]);
    let admit = |command: Command, now| {
        let wire = signer.sign(command).unwrap().to_bytes();
        verifier.admit(&wire, now, &mut Executed::new(1))
    };
    let good = command(1, CommandAction::Ping);
    let backwards = Command { expires_at: NOW, ..good.clone() };
    assert!(matches!(admit(backwards, NOW), Err(Refusal::Lifetime { .. })));
    let forever = Command { expires_at: Timestamp::from_nanos(i64::MAX), ..good.clone() };
    assert!(matches!(admit(forever, NOW), Err(Refusal::Lifetime { .. })));
    let always = Command {
        issued_at: Timestamp::from_nanos(i64::MIN),
        expires_at: Timestamp::from_nanos(i64::MAX),
        ..good.clone()
    };
    assert!(matches!(admit(always, NOW), Err(Refusal::Lifetime { .. })));

    let skew = Verifier::DEFAULT_SKEW;
    assert!(admit(good.clone(), NOW.saturating_sub(skew)).is_ok());
    let nanosecond = Duration::from_nanos(1);
    let early = NOW.saturating_sub(skew + nanosecond);
    assert!(matches!(admit(good.clone(), early), Err(Refusal::NotYet { .. })));
    let last = NOW.saturating_add(MINUTE + skew).saturating_sub(nanosecond);
    assert!(admit(good, last).is_ok());
}

#[test]
fn keys_rotate() {
    let (old, new) = (signer("old", 1), signer("new", 2));
    let order = |signer: &Signer| {
        let action = CommandAction::Ping;
        signer.order(tenant("acme"), agent("web-1"), action, NOW, MINUTE).unwrap().to_bytes()
    };
    let both = verifier(&[&old, &new]);
    let mut executed = Executed::new(10);
    assert!(both.admit(&order(&old), NOW, &mut executed).is_ok());
    assert!(both.admit(&order(&new), NOW, &mut executed).is_ok());
    let refused = verifier(&[&new]).admit(&order(&old), NOW, &mut executed);
    assert_eq!(refused, Err(Refusal::UnknownKey { key: key("old") }));
    let without = Verifier::new(tenant("acme"), agent("web-1"));
    let refused = without.admit(&order(&new), NOW, &mut executed);
    assert_eq!(refused, Err(Refusal::UnknownKey { key: key("new") }));
}

#[test]
fn a_key_that_anyone_could_sign_with_is_not_pinned() {
    let without = || Verifier::new(tenant("acme"), agent("web-1"));
    // The neutral element of the curve.
    let mut weak = [0; 32];
    weak[0] = 1;
    let refused = without().with_key(key("a"), weak).unwrap_err();
    assert_eq!(refused, PinError::Invalid { key: key("a") });
    let good = signer("a", 1).public_key();
    let twice = without().with_key(key("a"), good).unwrap().with_key(key("a"), good).unwrap_err();
    assert_eq!(twice, PinError::Twice { key: key("a") });
}

#[test]
fn a_secret_is_kept_and_not_shown() {
    let made = Signer::generate(key("a")).unwrap();
    let again = Signer::from_secret(key("a"), &made.secret());
    assert_eq!(again.public_key(), made.public_key());
    assert_ne!(Signer::generate(key("a")).unwrap().public_key(), made.public_key());
    assert_eq!(format!("{made:?}"), "Signer(a, …)");
}

#[test]
fn what_has_no_form_is_not_signed() {
    let path = vec![b'a'; 4097].into();
    let refused = signer("a", 1).sign(command(1, CommandAction::HashFile { path }));
    assert!(matches!(refused, Err(SigningError::Unencodable(_))));
    let longest = CommandAction::HashFile { path: vec![b'a'; 4096].into() };
    let wire = signer("a", 1).sign(command(1, longest)).unwrap().to_bytes();
    assert!(SignedCommand::from_bytes(&wire).is_ok());
    let long = SignedCommand::from_bytes(&vec![0; 100_000]);
    assert_eq!(long, Err(Malformed::TooLong { bytes: 100_000 }));
}
