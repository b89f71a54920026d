//! What a [`FleetStore`] promises.

use std::sync::Arc;
use std::time::Duration;

use super::sample::{START, Sample};
use crate::event::{
    CanaryHealth, CanaryMissing, Event, EventData, EventKind, Heartbeat, LossStage, RulesetHealth,
};
use crate::store::{
    Cursor, FeedChange, FeedStore, FleetAgent, FleetQuery, FleetStore, Liveness, LivenessReason,
    LivenessTimes, LivenessTransition, TimeRange, TransitionQuery,
};
use crate::{CommandCounts, CommandsRefused, ErrorKind, TenantId, Timestamp};

const TIMES: LivenessTimes = LivenessTimes {
    degraded_after: Duration::from_secs(30),
    offline_after: Duration::from_secs(45),
};

/// Checks that a store keeps what the trait promises of the agents of a tenant. Nothing else may have told the store
/// of an agent.
///
/// # Panics
///
/// Where it does not.
pub async fn fleet_store(store: &(impl FleetStore + FeedStore)) {
    an_agent_comes_and_goes(store).await;
    agents_come_by_pages_and_by_state(store).await;
    losses_are_of_one_tenant(store).await;
    the_last_heartbeat_is_kept(store).await;
    an_agent_that_does_not_see_is_degraded(store).await;
}

fn after(seconds: u64) -> Timestamp {
    START.saturating_add(Duration::from_secs(seconds))
}

async fn all(
    store: &impl FleetStore,
    tenant: &TenantId,
    mut query: TransitionQuery,
) -> Vec<LivenessTransition> {
    let mut found = Vec::new();
    loop {
        let page = store.transitions(tenant, &query).await.unwrap();
        assert!(page.items.len() <= query.limit as usize);
        found.extend(page.items);
        match page.next {
            None => return found,
            Some(next) => query.after = Some(next),
        }
    }
}

async fn an_agent_comes_and_goes(store: &(impl FleetStore + FeedStore)) {
    let mut sample = Sample::new("fleet-life", "a", 1);
    let source = sample.source().clone();
    let (tenant, agent) = (&source.tenant, &source.agent);
    assert_eq!(store.sweep_liveness(&TIMES, START).await.unwrap(), 0);
    let before = store.feed_end().await.unwrap();
    store.append(&source, &[sample.agent_start("0.1.0")]).await.unwrap();
    let known = store.fleet_agent(tenant, agent).await.unwrap().unwrap();
    assert_eq!((known.liveness, known.rules), (None, Some(6)));
    assert_eq!(known.kinds, ["exec".into(), "file_open".into()]);
    assert_eq!(known.record.version.as_deref(), Some("0.1.0"));

    let mut expected: Vec<(u64, Option<Liveness>, Liveness, LivenessReason)> = Vec::new();
    let mut state = None;
    for (second, event, to, reason) in [
        (1, None, Liveness::Online, LivenessReason::Heard),
        (2, None, Liveness::Online, LivenessReason::Heard),
        (31, None, Liveness::Degraded, LivenessReason::Late),
        (40, None, Liveness::Degraded, LivenessReason::Late),
        (46, None, Liveness::Offline, LivenessReason::Silent),
        (50, Some("heartbeat"), Liveness::Online, LivenessReason::Heard),
        (55, Some("lost"), Liveness::Degraded, LivenessReason::Losing),
        (99, Some("heartbeat"), Liveness::Degraded, LivenessReason::Losing),
        (101, None, Liveness::Online, LivenessReason::Heard),
        (110, Some("stop"), Liveness::Offline, LivenessReason::Stopped),
        (115, Some("start"), Liveness::Online, LivenessReason::Heard),
        (116, Some("ahead"), Liveness::Degraded, LivenessReason::ClockAhead),
    ] {
        sample.set_now(after(second));
        let event = event.map(|kind| match kind {
            "heartbeat" => sample.heartbeat(),
            "lost" => sample.lost(LossStage::KernelRing, EventKind::FileOpen, 7),
            "stop" => sample.agent_stop(),
            "ahead" => {
                sample.set_now(after(1_000));
                sample.heartbeat()
            }
            _ => sample.agent_start("0.2.0"),
        });
        store.append(&source, event.as_slice()).await.unwrap();
        let changed = store.sweep_liveness(&TIMES, after(second)).await.unwrap();
        assert_eq!(changed, u64::from(state != Some(to)), "at {second}");
        assert_eq!(store.sweep_liveness(&TIMES, after(second)).await.unwrap(), 0, "once is enough");
        if state != Some(to) {
            expected.push((second, state, to, reason));
            state = Some(to);
        }
        let known = store.fleet_agent(tenant, agent).await.unwrap().unwrap();
        let since = after(expected.last().unwrap().0);
        assert_eq!(known.liveness, Some((to, since)), "at {second}");
    }
    let transitions: Vec<LivenessTransition> = expected
        .into_iter()
        .map(|(second, from, to, reason)| LivenessTransition {
            tenant: tenant.clone(),
            agent: agent.clone(),
            from,
            to,
            reason,
            at: after(second),
        })
        .collect();
    let feed = store.feed(tenant, before, 100).await.unwrap();
    let fed: Vec<_> = feed.into_iter().map(|item| item.change).collect();
    let told: Vec<_> = transitions.iter().cloned().map(FeedChange::AgentLiveness).collect();
    assert_eq!(fed, told);

    let newest_first: Vec<_> = transitions.iter().rev().cloned().collect();
    for limit in [1, 4, 100] {
        let query = TransitionQuery { limit, ..TransitionQuery::new(TimeRange::ALL) };
        assert_eq!(all(store, tenant, query).await, newest_first, "by {limit}");
    }
    let time = TimeRange { from: after(31), to: after(50) };
    let query = TransitionQuery { agent: Some(agent.clone()), ..TransitionQuery::new(time) };
    assert_eq!(
        all(store, tenant, query.clone()).await,
        newest_first[newest_first.len() - 3..][..2]
    );
    let stranger = TenantId::new("fleet-stranger").unwrap();
    assert!(all(store, &stranger, query).await.is_empty());
    assert_eq!(store.fleet_agent(&stranger, agent).await.unwrap(), None);
}

async fn agents_come_by_pages_and_by_state(store: &impl FleetStore) {
    let tenant = TenantId::new("fleet-pages").unwrap();
    let mut names: Vec<String> = (0..7).map(|number| format!("web-{number}")).collect();
    for (seed, name) in names.iter().enumerate() {
        for of in ["fleet-pages", "fleet-pages-other"] {
            let mut sample = Sample::new(of, name, seed as u64 + 10);
            sample.set_now(after(if seed % 2 == 0 { 1_000 } else { 2_000 }));
            store.append(&sample.source().clone(), &[sample.heartbeat()]).await.unwrap();
        }
    }
    store.sweep_liveness(&TIMES, after(2_001)).await.unwrap();
    let mut read = Vec::new();
    let mut query = FleetQuery { limit: 3, ..FleetQuery::default() };
    loop {
        let page = store.fleet(&tenant, &query).await.unwrap();
        assert!(page.items.len() <= 3);
        read.extend(page.items);
        match page.next {
            None => break,
            Some(next) => query.after = Some(next),
        }
    }
    names.sort();
    let told = |agents: &[FleetAgent]| -> Vec<String> {
        agents.iter().map(|agent| agent.record.source.agent.to_string()).collect()
    };
    assert_eq!(told(&read), names);
    assert!(read.iter().all(|agent| agent.record.source.tenant == tenant));
    let query = FleetQuery { liveness: Some(Liveness::Online), ..FleetQuery::default() };
    let online = store.fleet(&tenant, &query).await.unwrap().items;
    assert_eq!(told(&online), ["web-1", "web-3", "web-5"]);
    for query in [
        FleetQuery { limit: 0, ..FleetQuery::default() },
        FleetQuery { after: Some(Cursor("web-1".into())), ..FleetQuery::default() },
        FleetQuery { after: Some(Cursor("f.no name".into())), ..FleetQuery::default() },
    ] {
        let error = store.fleet(&tenant, &query).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{query:?}");
    }
}

async fn losses_are_of_one_tenant(store: &impl FleetStore) {
    let mut samples = [("fleet-lost", "a"), ("fleet-lost", "b"), ("fleet-lost-other", "a")]
        .map(|(tenant, agent)| Sample::new(tenant, agent, 30));
    for sample in &mut samples {
        let lost: Vec<Arc<_>> =
            (0..3).map(|_| sample.lost(LossStage::Queue, EventKind::Exec, 5)).collect();
        store.append(&sample.source().clone(), &lost).await.unwrap();
    }
    let source = samples[0].source();
    let lines = store.tenant_losses(&source.tenant, None, TimeRange::ALL).await.unwrap();
    let told: Vec<_> = lines.iter().map(|line| (line.source.clone(), line.count)).collect();
    assert_eq!(told, [(samples[0].source().clone(), 15), (samples[1].source().clone(), 15)]);
    let one =
        store.tenant_losses(&source.tenant, Some(&source.agent), TimeRange::ALL).await.unwrap();
    assert_eq!(one, lines[..1]);
    let time = TimeRange { from: START.saturating_add(Duration::from_millis(1)), ..TimeRange::ALL };
    assert_eq!(store.tenant_losses(&source.tenant, None, time).await.unwrap()[0].count, 10);
}

async fn the_last_heartbeat_is_kept(store: &impl FleetStore) {
    let mut sample = Sample::new("fleet-heartbeat", "a", 40);
    let source = sample.source().clone();
    let known = async || {
        let known = store.fleet_agent(&source.tenant, &source.agent).await.unwrap();
        known.unwrap().heartbeat
    };
    store.append(&source, &[sample.agent_start("0.1.0")]).await.unwrap();
    assert_eq!(known().await, None);
    let mut beat = |second, beat: Heartbeat| {
        sample.set_now(after(second));
        let event = sample.heartbeat();
        Arc::new(Event { data: EventData::Heartbeat(Box::new(beat)), ..(*event).clone() })
    };
    let with = |uptime_ms, fault: &str| Heartbeat {
        uptime_ms,
        ruleset: Some(RulesetHealth { in_use: None, fault: Some(fault.into()) }),
        commands: Some(CommandCounts {
            refused: CommandsRefused { replayed: u64::MAX, ..CommandsRefused::default() },
            ..CommandCounts::default()
        }),
        ..Heartbeat::default()
    };
    // Of several in one batch the last; what comes late changes nothing, nor does what nobody would want to read.
    let told = with(u64::MAX, "zo\u{eb}'s \0 \\ rules");
    let batch = [beat(10, with(1, "")), beat(30, told.clone()), beat(20, with(2, ""))];
    store.append(&source, &batch).await.unwrap();
    assert_eq!(known().await, Some((told.clone(), after(30))));
    let long = "x".repeat(20_000);
    for passed_over in [beat(25, with(3, "")), beat(40, with(4, &long))] {
        store.append(&source, &[passed_over]).await.unwrap();
        assert_eq!(known().await, Some((told.clone(), after(30))));
    }
    let next = with(5, "");
    store.append(&source, &[beat(50, next.clone())]).await.unwrap();
    assert_eq!(known().await, Some((next, after(50))));
}

async fn an_agent_that_does_not_see_is_degraded(store: &impl FleetStore) {
    let mut sample = Sample::new("fleet-blind", "a", 50);
    let source = sample.source().clone();
    let missing = |fault: &str| CanaryMissing {
        since: START,
        kinds: vec![EventKind::Exec],
        fault: Some(fault.into()),
    };
    let seen = CanaryHealth { seen: 1, ..CanaryHealth::default() };
    let blind = CanaryHealth { missing: Some(missing("zo\u{eb}'s \0")), ..seen.clone() };
    // What is only spoken of is not so.
    let fault = r#"{"canary":{"missing":{"since":1}}}"#;
    let ruleset = RulesetHealth { in_use: None, fault: Some(fault.into()) };
    let of = |canary: Option<CanaryHealth>| Heartbeat {
        canary: canary.map(Box::new),
        ..Heartbeat::default()
    };
    for (second, beat, to, reason) in [
        (1, of(Some(seen.clone())), Liveness::Online, LivenessReason::Heard),
        (2, of(Some(blind.clone())), Liveness::Degraded, LivenessReason::Blind),
        (3, of(Some(blind)), Liveness::Degraded, LivenessReason::Blind),
        (4, of(Some(seen)), Liveness::Online, LivenessReason::Heard),
        (5, of(None), Liveness::Online, LivenessReason::Heard),
        (
            6,
            Heartbeat { ruleset: Some(ruleset), ..of(None) },
            Liveness::Online,
            LivenessReason::Heard,
        ),
    ] {
        sample.set_now(after(second));
        let event =
            Event { data: EventData::Heartbeat(Box::new(beat)), ..(*sample.heartbeat()).clone() };
        store.append(&source, &[Arc::new(event)]).await.unwrap();
        store.sweep_liveness(&TIMES, after(second)).await.unwrap();
        let query = TransitionQuery { limit: 1, ..TransitionQuery::new(TimeRange::ALL) };
        let told = store.transitions(&source.tenant, &query).await.unwrap().items.remove(0);
        assert_eq!((told.to, told.reason), (to, reason), "at {second}");
    }
}
