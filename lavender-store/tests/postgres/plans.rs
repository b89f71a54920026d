//! Every query goes by an index, and looks only at the days that it is about: as the server's own log has it.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::conformance::sample::{START, Sample};
use lavender_core::event::{EventKind, LossStage};
use lavender_core::store::{
    AccessStore as _, AlertQuery, AuditQuery, EventQuery, FeedPosition, FeedStore as _,
    FleetStore as _, LossQuery, PutMode, StatisticsQuery, TimeRange, TokenId, TokenQuery,
    TransitionQuery, TriageStore as _,
};
use lavender_core::{
    AlertId, AlertStatus, AlertStore as _, EventStore as _, Severity, StateStore as _,
};
use lavender_store::{PostgresOptions, PostgresStore, Store as _};

use crate::support::{Server, connect, wait_ms};

const DAY: Duration = Duration::from_secs(86_400);
const DAYS: u32 = 6;

/// What the server says of the statements that ran since the last time.
struct Log<'a> {
    server: &'a Server,
    read: usize,
}

impl Log<'_> {
    fn plans(&mut self) -> String {
        // The line is written just after the answer.
        wait_ms(30);
        let log = fs::read_to_string(self.server.path().join("log")).unwrap();
        let plans = log[self.read..].to_owned();
        self.read = log.len();
        plans
    }

    /// Checks the plans of what has just run: by an index of a table, and never through all of one that grows.
    fn goes_by(&mut self, index: &str) -> String {
        let plans = self.plans();
        assert!(plans.contains("plan:"), "nothing ran: {plans}");
        for line in plans.lines().filter(|line| line.contains("Seq Scan on")) {
            let small = ["sources", "days", "agents", "state_totals"];
            assert!(small.iter().any(|table| line.contains(&format!("on {table}"))), "{plans}");
        }
        assert!(
            plans.lines().any(|line| line.contains("Index") && line.contains(index)),
            "{plans}"
        );
        plans
    }
}

/// The days whose events a plan read from.
fn days(plans: &str) -> BTreeSet<&str> {
    let ran = plans.lines().filter(|line| !line.contains("never executed"));
    ran.filter_map(|line| line.split(" on events_").nth(1)?.get(..8)).collect()
}

async fn fill(store: &PostgresStore) -> (Sample, Arc<lavender_core::event::Process>, AlertId) {
    let mut sample = Sample::new("acme", "web-1", 1);
    let (shell, responded) = (sample.process(), AlertId::new("r", &[sample.origin().event(1)]));
    for day in 0..DAYS {
        sample.set_now(START.saturating_add(DAY * day));
        for seed in 2..7 {
            let mut other = Sample::new("acme", &format!("web-{seed}"), u64::from(day) * 10 + seed);
            other.set_now(sample.now());
            let mut events = other.busy(1_000);
            events.extend((0..50).map(|_| other.lost(LossStage::Queue, EventKind::Exec, 1)));
            store.append(other.source(), &events).await.unwrap();
        }
        let mut events = sample.busy(300);
        events.push(sample.exec(&shell));
        events.push(sample.heartbeat());
        let alerts: Vec<_> = (0..300)
            .map(|number| sample.alert(&events[number], &format!("rule-{number}"), Severity::Low))
            .collect();
        if day == 2 {
            events.extend(sample.responses(&shell, responded));
        }
        store.append(sample.source(), &events).await.unwrap();
        store.insert(&alerts).await.unwrap();
    }
    for number in 0..2_000 {
        let ttl = Some(Duration::from_secs(3_600));
        store.put(&format!("key/{number}"), "v".into(), PutMode::Create, ttl).await.unwrap();
    }
    (sample, shell, responded)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_query_goes_by_an_index_and_to_its_days() {
    let started = Server::start_with(|_| {
        "session_preload_libraries = 'auto_explain'\nauto_explain.log_min_duration = 0\n\
         auto_explain.log_analyze = on\nauto_explain.log_timing = off\nautovacuum = off\nfsync = off"
            .into()
    });
    let Some(mut server) = started else { return };
    let url = server.database().await;
    let store = PostgresStore::open(&url, PostgresOptions::default()).unwrap();
    let (sample, shell, responded) = fill(&store).await;
    // Of what a test has few of, and a fleet many.
    let many =
        "INSERT INTO lavender.sequences SELECT gen_random_uuid(), 1 FROM generate_series(1, 3000);
        INSERT INTO lavender.alert_history (alert_id, from_status, to_status, actor, at)
            SELECT gen_random_uuid(), 'open', 'resolved', 'ana', 0 FROM generate_series(1, 3000);
        INSERT INTO lavender.audit (at, tenant, actor, action, target, change)
            SELECT n, 'acme', 'ana', 'token_create', 't', 'c' FROM generate_series(1, 3000) AS n;
        INSERT INTO lavender.tokens (token_id, tenant, role, name, hash, created_by, created_at)
            SELECT gen_random_uuid(), 'acme', 'viewer', 'n', 'h', 'ana', n FROM generate_series(1, 3000) AS n;
        INSERT INTO lavender.agent_transitions (tenant, agent, to_state, reason, at)
            SELECT 'acme', 'web-' || n % 50, 'online', 'heard', n FROM generate_series(1, 3000) AS n;
        INSERT INTO lavender.alert_slots
            SELECT 'acme', n, 1, 'open', 1 FROM generate_series(1, 9000) AS n;
        INSERT INTO lavender.alert_days
            SELECT 'acme', 'rule', n, sha256('r'), 'r', 1 FROM generate_series(1, 9000) AS n;
        ANALYZE";
    connect(&url).await.batch_execute(many).await.unwrap();
    let mut log = Log { server: &server, read: 0 };
    log.plans();

    let from = START.saturating_add(DAY * 2);
    let hour = TimeRange { from, to: from.saturating_add(Duration::from_secs(3_600)) };
    let mut query = EventQuery::new(hour);
    let page = store.events(&query).await.unwrap();
    let plans = log.goes_by("events_20231116_pkey");
    assert_eq!(days(&plans), ["20231116"].into(), "{plans}");
    assert!(plans.contains("processes_20231116_pkey") && !plans.contains("processes_20231115"));
    query.after = page.next;
    store.events(&query).await.unwrap();
    assert_eq!(days(&log.goes_by("events_20231116_pkey")), ["20231116"].into());
    // The first page of all time ends within the first day, and so does the look.
    store.events(&EventQuery::new(TimeRange::ALL)).await.unwrap();
    let plans = log.goes_by("events_20231114_pkey");
    assert_eq!(days(&plans), ["20231114"].into(), "{plans}");

    let base = EventQuery::new(hour);
    let agent = Some(sample.source().agent.clone());
    store.events(&EventQuery { agent, limit: 10, ..base.clone() }).await.unwrap();
    log.goes_by("events_20231116_source_observed_at_idx");
    let kind = Some(EventKind::Heartbeat);
    assert_eq!(store.events(&EventQuery { kind, ..base.clone() }).await.unwrap().items.len(), 1);
    log.goes_by("events_20231116_kind_observed_at_idx");
    let process = Some(shell.id());
    let week = TimeRange { from: START, to: START.saturating_add(DAY * 7) };
    let query = EventQuery { process, ..EventQuery::new(week) };
    assert!(store.events(&query).await.unwrap().items.len() >= DAYS as usize);
    log.goes_by("events_20231116_process_id_observed_at_idx");
    let response_to = Some(responded);
    let query = EventQuery { response_to, ..EventQuery::new(week) };
    assert!(!store.events(&query).await.unwrap().items.is_empty());
    log.goes_by("events_20231116_response_to_observed_at_idx");

    store.process(shell.exec_id).await.unwrap().unwrap();
    log.goes_by("process_id_generation_seen_at_idx");
    store.last_sequence(sample.origin()).await.unwrap().unwrap();
    log.goes_by("sequences_pkey");
    let losses = LossQuery { time: hour, agent: None };
    assert_eq!(store.losses(&losses).await.unwrap()[0].count, 50);
    log.goes_by("losses_observed_at_idx");

    let mut query = AlertQuery::new(TimeRange::ALL);
    query.limit = 10;
    let page = store.alerts(&query).await.unwrap();
    log.goes_by("alerts_observed_at_alert_id_idx");
    store.alerts(&AlertQuery { after: page.next, ..query.clone() }).await.unwrap();
    log.goes_by("alerts_observed_at_alert_id_idx");
    let status = Some(AlertStatus::Resolved);
    store.alerts(&AlertQuery { status, ..query.clone() }).await.unwrap();
    log.goes_by("alerts_status_observed_at_alert_id_idx");
    let tenant = Some(lavender_core::TenantId::new("nobody").unwrap());
    store.alerts(&AlertQuery { tenant, ..query.clone() }).await.unwrap();
    log.goes_by("alerts_tenant_observed_at_alert_id_idx");
    let tenant = Some(sample.source().tenant.clone());
    let min_severity = Some(Severity::Critical);
    store.alerts(&AlertQuery { tenant, min_severity, ..query.clone() }).await.unwrap();
    log.goes_by("alerts_tenant_status_severity_observed_at_alert_id_idx");
    let agent = Some(lavender_core::AgentId::new("nobody").unwrap());
    store.alerts(&AlertQuery { agent, ..query.clone() }).await.unwrap();
    log.goes_by("alerts_agent_observed_at_alert_id_idx");
    let rule = Some("rule-7".into());
    assert_eq!(store.alerts(&AlertQuery { rule, ..query.clone() }).await.unwrap().items.len(), 6);
    log.goes_by("alerts_md5_observed_at_alert_id_idx");
    let incident = page.items[0].incident;
    assert!(incident.is_some());
    query.incident = incident;
    store.alerts(&query).await.unwrap();
    log.goes_by("alerts_incident_observed_at_alert_id_idx");
    let alert = page.items[0].id;
    store.alert(alert).await.unwrap().unwrap();
    log.goes_by("alerts_pkey");
    store.status_history(alert).await.unwrap();
    log.goes_by("alert_history_alert_id_change_idx");

    within_a_tenant(&store, &sample, &mut log).await;

    let (_, version) = store.get("key/7").await.unwrap().unwrap();
    log.goes_by("state_pkey");
    for mode in [PutMode::Update(version), PutMode::Overwrite] {
        store.put("key/7", "w".into(), mode, None).await.unwrap();
        log.goes_by("state_pkey");
    }
    assert_eq!(store.keys("key/19", None, 5).await.unwrap().len(), 5);
    log.goes_by("state_pkey");
    store.delete("key/7").await.unwrap();
    log.goes_by("state_pkey");
    store.retain(START).await.unwrap();
    log.goes_by("state_expires_at_idx");
}

/// What a control plane asks.
async fn within_a_tenant(store: &PostgresStore, sample: &Sample, log: &mut Log<'_>) {
    let (tenant, agent) = (&sample.source().tenant, &sample.source().agent);
    let mut query = AlertQuery::new(TimeRange::ALL);
    query.limit = 10;
    let page = store.triage(tenant, &query).await.unwrap();
    log.goes_by("alerts_");
    let rule = Some("rule-7".into());
    assert_eq!(
        store.triage(tenant, &AlertQuery { rule, ..query.clone() }).await.unwrap().items.len(),
        6
    );
    log.goes_by("alerts_");
    for (technique, status, min_severity, after) in [
        ("T1003", None, None, None),
        ("T1059.004", None, None, page.next),
        ("T1059.004", Some(AlertStatus::Dismissed), None, None),
        ("T1059.004", None, Some(Severity::Critical), None),
    ] {
        let technique = Some(technique.into());
        let filter = AlertQuery { technique, status, min_severity, after, ..query.clone() };
        store.triage(tenant, &filter).await.unwrap();
        log.goes_by("alert_techniques_pkey");
    }
    let (status, critical) = (Some(AlertStatus::Dismissed), Some(Severity::Critical));
    let of_agent = AlertQuery { agent: Some(agent.clone()), ..query.clone() };
    for (status, min_severity) in [(None, None), (status, None), (None, critical)] {
        let filter = AlertQuery { status, min_severity, ..of_agent.clone() };
        store.triage(tenant, &filter).await.unwrap();
        log.goes_by("on alerts ");
    }
    let rule = Some("rule-7".into());
    store.triage(tenant, &AlertQuery { rule, status, ..query }).await.unwrap();
    log.goes_by("alerts_tenant_rule");

    let hours = |hours: u64| Duration::from_secs(3_600 * hours);
    let week = TimeRange { from: START, to: START.saturating_add(DAY * 7) };
    store.statistics(tenant, &StatisticsQuery::new(week, hours(24))).await.unwrap();
    let plans = log.goes_by("alert_slots_pkey");
    for index in ["alert_days_pkey", "alert_techniques_tenant_observed_at_technique_idx"] {
        assert!(plans.contains(index), "{index}: {plans}");
    }
    let alert = page.items[0].alert.id;
    store.alert_record(tenant, alert).await.unwrap().unwrap();
    log.goes_by("alerts_pkey");
    store.feed_end().await.unwrap();
    log.goes_by("feed_pkey");
    let near_the_end = FeedPosition(store.feed_end().await.unwrap().0 - 5);
    log.plans();
    assert_eq!(store.feed(tenant, near_the_end, 10).await.unwrap().len(), 5);
    log.goes_by("feed_");
    let mut query = TransitionQuery::new(TimeRange::ALL);
    query.limit = 10;
    store.transitions(tenant, &query).await.unwrap();
    log.goes_by("agent_transitions_tenant_at_transition_idx");
    query.agent = Some(agent.clone());
    store.transitions(tenant, &query).await.unwrap();
    log.goes_by("agent_transitions_tenant_agent_at_transition_idx");
    let mut query = AuditQuery::new(TimeRange::ALL);
    query.limit = 10;
    store.audit(tenant, &query).await.unwrap();
    log.goes_by("audit_tenant_at_entry_idx");
    store.tokens(tenant, &TokenQuery { limit: 10, after: None }).await.unwrap();
    log.goes_by("tokens_tenant_created_at_token_id_idx");
    store.token(TokenId::from_u128(7)).await.unwrap();
    log.goes_by("tokens_pkey");
}
