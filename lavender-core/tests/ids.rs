//! Ids can be derived again from what they name, and read back from their text.
#![allow(clippy::unwrap_used, reason = "tests fail loudly")]

use lavender_core::{AgentId, AlertId, BootId, EventId, Origin, ProcessId, Sequencer, TenantId};
use proptest::prelude::*;

fn origin(agent: &str, boot: u128) -> Origin {
    Origin::new(
        &TenantId::new("acme").unwrap(),
        &AgentId::new(agent).unwrap(),
        BootId::from_u128(boot),
    )
}

proptest! {
    #[test]
    fn an_event_id_keeps_its_sequence_and_its_origin(boot: u128, sequence in 0..=EventId::MAX_SEQUENCE) {
        let id = origin("web-1", boot).event(sequence);
        prop_assert_eq!(id.sequence(), sequence);
        prop_assert!(origin("web-1", boot).made(id));
        prop_assert!(!origin("web-2", boot).made(id));
        prop_assert!(!origin("web-1", boot ^ 1).made(id));
        // Word of a gap takes no event's id.
        prop_assert!(!origin("web-1", boot).of_gaps().made(id));
        prop_assert_eq!(origin("web-1", boot).of_gaps().event(sequence).sequence(), sequence);
        prop_assert_eq!(id.to_string().parse::<EventId>().unwrap(), id);
        prop_assert_eq!(EventId::from_u128(id.as_u128()).unwrap(), id);
        prop_assert_eq!(uuid::Uuid::parse_str(&id.to_string()).unwrap().get_version_num(), 8);
    }

    #[test]
    fn a_process_id_keeps_its_start_and_tgid(
        boot: u128,
        start_ns in 0..(1_u64 << 58),
        tgid in 0..(1_u32 << 22),
    ) {
        let id = ProcessId::new(BootId::from_u128(boot), start_ns, tgid);
        prop_assert_eq!((id.start_ns(), id.tgid()), (start_ns, tgid));
        prop_assert_eq!(id.to_string().parse::<ProcessId>().unwrap(), id);
        prop_assert_ne!(id, ProcessId::new(BootId::from_u128(boot), start_ns ^ 1, tgid));
        prop_assert_ne!(id, ProcessId::new(BootId::from_u128(boot ^ 1), start_ns, tgid));
    }

    #[test]
    fn reading_an_id_never_panics(text in ".{0,80}") {
        let _ = text.parse::<EventId>();
        let _ = text.parse::<ProcessId>();
        let _ = text.parse::<AlertId>();
        let _ = text.parse::<BootId>();
        let _ = AgentId::new(&text);
    }
}

#[test]
fn names_that_could_change_a_subject_are_refused() {
    for name in ["", "a.b", "*", ">", "a b", "a\0b", "ü", "a/b", &"x".repeat(65)] {
        let error = AgentId::new(name).unwrap_err().to_string();
        assert!(error.contains("agent id"), "{error}");
        assert!(TenantId::new(name).is_err(), "{name}");
    }
    assert!(AgentId::new(&"x".repeat(64)).is_ok());
}

#[test]
fn an_alert_id_depends_on_rule_and_evidence_and_not_on_its_order() {
    let events = Sequencer::new(origin("web-1", 7));
    let (a, b) = (events.next(), events.next());
    assert_eq!(AlertId::new("rule", &[a, b]), AlertId::new("rule", &[b, a, b]));
    assert_ne!(AlertId::new("rule", &[a]), AlertId::new("rule", &[b]));
    assert_ne!(AlertId::new("rule", &[a]), AlertId::new("other", &[a]));
}

#[test]
fn a_sequence_has_no_gaps_and_no_repeats_across_threads() {
    let ids = Sequencer::resume(origin("web-1", 7), 100);
    let mut seen: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..1_000).map(|_| ids.next().sequence()).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    seen.sort_unstable();
    assert_eq!(seen, (100..4_100).collect::<Vec<_>>());
    assert_eq!(ids.peek(), 4_100);
}
