//! What a [`TriageStore`] promises, and what its changes leave in the audit log and in the feed.

use std::sync::Arc;
use std::time::Duration;

use super::sample::{START, Sample};
use crate::store::{
    AccessStore, AgentCount, AlertBucket, AlertQuery, AlertRecord, AuditAction, AuditQuery,
    FeedChange, FeedStore, Revision, RuleCount, StatisticsQuery, StatusUpdate, TechniqueCount,
    TimeRange, TriageStore,
};
use crate::{
    Alert, AlertId, AlertStatus, ErrorKind, IncidentId, RuleMeta, Severity, TenantId, Timestamp,
};

/// Checks that a store of alerts keeps what the trait promises to those who work on them.
///
/// # Panics
///
/// Where it does not.
pub async fn triage_store(store: &(impl TriageStore + AccessStore + FeedStore)) {
    every_filter_selects_within_the_tenant(store).await;
    a_technique_is_found_by_itself_and_by_what_it_is_part_of(store).await;
    a_status_is_changed_by_who_has_seen_the_last(store).await;
    another_tenant_sees_and_changes_nothing(store).await;
    statistics_count_in_buckets(store).await;
    statistics_beyond_bounds_are_refused(store).await;
    super::statistics::are_equal_to_counting(store).await;
}

fn tenant(sample: &Sample) -> TenantId {
    sample.source().tenant.clone()
}

fn tagged(sample: &mut Sample, rule: &str, severity: Severity, tags: &[&str]) -> Arc<Alert> {
    let process = sample.process();
    let event = sample.exec(&process);
    let alert = sample.alert(&event, rule, severity);
    let tags = tags.iter().map(|tag| (*tag).into()).collect();
    Arc::new(Alert {
        rule: Arc::new(RuleMeta { tags, ..(*alert.rule).clone() }),
        ..(*alert).clone()
    })
}

async fn ids(store: &impl TriageStore, tenant: &TenantId, mut query: AlertQuery) -> Vec<AlertId> {
    let mut ids = Vec::new();
    loop {
        let page = store.triage(tenant, &query).await.unwrap();
        assert!(page.items.len() <= query.limit as usize);
        ids.extend(page.items.iter().map(|record| record.alert.id));
        match page.next {
            None => return ids,
            Some(next) => query.after = Some(next),
        }
    }
}

fn update(revision: u64, to: AlertStatus) -> StatusUpdate {
    StatusUpdate {
        revision: Revision(revision),
        to,
        actor: "ana".into(),
        reason: Some("looked".into()),
        at: START.saturating_add(Duration::from_secs(60)),
    }
}

async fn every_filter_selects_within_the_tenant(store: &impl TriageStore) {
    let mut mine = Sample::new("triage-filter", "one", 1);
    let mut beside = Sample::new("triage-filter", "two", 2);
    let mut other = Sample::new("triage-other", "one", 3);
    let severities = [Severity::Low, Severity::High, Severity::Critical];
    let mut all: Vec<Arc<Alert>> = Vec::new();
    for number in 0..9_usize {
        let rule = format!("rule-{}", number % 2);
        let at = START.saturating_add(Duration::from_secs(number as u64));
        for sample in [&mut mine, &mut beside, &mut other] {
            sample.set_now(at);
            all.push(tagged(sample, &rule, severities[number % 3], &["attack.t1003"]));
        }
    }
    store.insert(&all).await.unwrap();
    let tenant = tenant(&mine);
    let acknowledged = all[0].id;
    store
        .update_status(&tenant, acknowledged, &update(0, AlertStatus::Acknowledged))
        .await
        .unwrap();
    let mut own: Vec<&Arc<Alert>> =
        all.iter().filter(|alert| alert.source.tenant == tenant).collect();
    own.sort_by_key(|alert| std::cmp::Reverse((alert.observed_at, alert.id)));
    let expect = |keep: &dyn Fn(&Alert) -> bool| -> Vec<AlertId> {
        own.iter().filter(|alert| keep(alert)).map(|alert| alert.id).collect()
    };
    let base = AlertQuery { limit: 4, ..AlertQuery::new(TimeRange::ALL) };
    assert_eq!(ids(store, &tenant, base.clone()).await, expect(&|_| true));
    // The tenant of the query is not what decides.
    let foreign = AlertQuery { tenant: Some(other.source().tenant.clone()), ..base.clone() };
    assert_eq!(ids(store, &tenant, foreign).await, expect(&|_| true));
    let time = TimeRange { from: own[9].observed_at, to: own[2].observed_at };
    let agent = Some(beside.source().agent.clone());
    let incident = IncidentId::of_tree(own[4].process.as_ref().unwrap().tree_id());
    let status = Some(AlertStatus::Open);
    for (query, keep) in [
        (
            AlertQuery { status, ..base.clone() },
            &(|alert: &Alert| alert.id != acknowledged) as &dyn Fn(&Alert) -> bool,
        ),
        (AlertQuery { agent: agent.clone(), ..base.clone() }, &|alert| {
            Some(&alert.source.agent) == agent.as_ref()
        }),
        (AlertQuery { min_severity: Some(Severity::High), ..base.clone() }, &|alert| {
            alert.severity >= Severity::High
        }),
        // One status and one severity, and more of either.
        (AlertQuery { status, min_severity: Some(Severity::Critical), ..base.clone() }, &|alert| {
            alert.id != acknowledged && alert.severity == Severity::Critical
        }),
        (AlertQuery { status, min_severity: Some(Severity::High), ..base.clone() }, &|alert| {
            alert.id != acknowledged && alert.severity >= Severity::High
        }),
        (AlertQuery { rule: Some("rule-1".into()), ..base.clone() }, &|alert| {
            &*alert.rule.id == "rule-1"
        }),
        (AlertQuery { incident: Some(incident), ..base.clone() }, &|alert| {
            alert.incident == Some(incident)
        }),
        (AlertQuery { time, ..base.clone() }, &|alert| time.contains(alert.observed_at)),
        (
            AlertQuery {
                time,
                status,
                agent: agent.clone(),
                rule: Some("rule-0".into()),
                technique: Some("T1003".into()),
                ..base.clone()
            },
            &|alert| {
                time.contains(alert.observed_at)
                    && Some(&alert.source.agent) == agent.as_ref()
                    && &*alert.rule.id == "rule-0"
            },
        ),
    ] {
        let expected = expect(keep);
        assert!(!expected.is_empty(), "{query:?} checks nothing");
        assert_eq!(ids(store, &tenant, query.clone()).await, expected, "{query:?}");
    }
}

async fn a_technique_is_found_by_itself_and_by_what_it_is_part_of(store: &impl TriageStore) {
    let mut sample = Sample::new("triage-technique", "a", 1);
    let shell =
        tagged(&mut sample, "shell", Severity::Low, &["attack.t1059.004", "attack.t1059.001"]);
    let plain = tagged(&mut sample, "plain", Severity::Low, &["attack.execution", "attack.t1059"]);
    let other = tagged(&mut sample, "other", Severity::Low, &["attack.t1003", "cve.2021-4034"]);
    store.insert(&[shell.clone(), plain.clone(), other.clone()]).await.unwrap();
    for (technique, expected) in [
        ("T1059", vec![plain.id, shell.id]),
        ("T1059.004", vec![shell.id]),
        ("T1059.001", vec![shell.id]),
        ("T1003", vec![other.id]),
        ("T105", vec![]),
        ("T1059.", vec![]),
    ] {
        let technique = Some(technique.into());
        let query = AlertQuery { technique, limit: 1, ..AlertQuery::new(TimeRange::ALL) };
        assert_eq!(ids(store, &tenant(&sample), query.clone()).await, expected, "{query:?}");
        // Also of all tenants together.
        let page = store.alerts(&AlertQuery { limit: 100, ..query }).await.unwrap();
        for id in expected {
            assert!(page.items.iter().any(|alert| alert.id == id));
        }
    }
}

async fn a_status_is_changed_by_who_has_seen_the_last(
    store: &(impl TriageStore + AccessStore + FeedStore),
) {
    let mut sample = Sample::new("triage-status", "a", 1);
    let tenant = tenant(&sample);
    let alert = tagged(&mut sample, "r", Severity::High, &[]);
    store.insert(&[Arc::clone(&alert)]).await.unwrap();
    let fresh = store.alert_record(&tenant, alert.id).await.unwrap().unwrap();
    let expected =
        AlertRecord { alert: Arc::clone(&alert), revision: Revision(0), updated_at: None };
    assert_eq!(fresh, expected);
    let before = store.feed_end().await.unwrap();

    let first = update(0, AlertStatus::Acknowledged);
    let record = store.update_status(&tenant, alert.id, &first).await.unwrap();
    assert_eq!((record.alert.status, record.revision), (first.to, Revision(1)));
    assert_eq!(record.updated_at, Some(first.at));
    assert_eq!(store.alert_record(&tenant, alert.id).await.unwrap().as_ref(), Some(&record));

    // Who has not seen it is refused, even where the change would be allowed.
    let late = update(0, AlertStatus::Dismissed);
    let error = store.update_status(&tenant, alert.id, &late).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let error = store
        .update_status(&tenant, alert.id, &update(1, AlertStatus::Acknowledged))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "it is acknowledged already");
    let second = StatusUpdate { reason: None, ..update(1, AlertStatus::Resolved) };
    let record = store.update_status(&tenant, alert.id, &second).await.unwrap();
    assert_eq!(record.revision, Revision(2));

    let history = store.alert_history(&tenant, alert.id).await.unwrap();
    let told: Vec<_> = history.iter().map(|change| (change.from, change.to)).collect();
    assert_eq!(
        told,
        [
            (AlertStatus::Open, AlertStatus::Acknowledged),
            (AlertStatus::Acknowledged, AlertStatus::Resolved)
        ]
    );
    let audit = store.audit(&tenant, &AuditQuery::new(TimeRange::ALL)).await.unwrap().items;
    assert_eq!(audit.len(), 2, "a refused change is audited as if it were made: {audit:?}");
    assert!(audit.iter().all(|entry| entry.action == AuditAction::AlertStatus
        && *entry.target == *alert.id.to_string()
        && &*entry.actor == "ana"));
    assert_eq!(&*audit[1].change, "open to acknowledged");
    assert_eq!((audit[0].reason.as_deref(), audit[1].reason.as_deref()), (None, Some("looked")));

    let feed = store.feed(&tenant, before, 100).await.unwrap();
    let expected = [FeedChange::AlertStatus(record.clone()), FeedChange::AlertStatus(record)];
    assert_eq!(feed.into_iter().map(|item| item.change).collect::<Vec<_>>(), expected);
}

async fn another_tenant_sees_and_changes_nothing(store: &impl TriageStore) {
    let mut sample = Sample::new("triage-mine", "a", 1);
    let alert = tagged(&mut sample, "r", Severity::High, &["attack.t1003"]);
    store.insert(&[Arc::clone(&alert)]).await.unwrap();
    let stranger = TenantId::new("triage-stranger").unwrap();
    assert_eq!(store.alert_record(&stranger, alert.id).await.unwrap(), None);
    let error = store
        .update_status(&stranger, alert.id, &update(0, AlertStatus::Dismissed))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let own = tenant(&sample);
    store.update_status(&own, alert.id, &update(0, AlertStatus::Dismissed)).await.unwrap();
    assert!(store.alert_history(&stranger, alert.id).await.unwrap().is_empty());
    assert_eq!(store.alert_history(&own, alert.id).await.unwrap().len(), 1);
    let day = TimeRange { from: START, to: START.saturating_add(Duration::from_secs(86_400)) };
    let query = StatisticsQuery::new(day, Duration::from_secs(3_600));
    assert_eq!(store.statistics(&stranger, &query).await.unwrap().total, 0);
    for technique in [None, Some("T1003".into())] {
        let query = AlertQuery { technique, ..AlertQuery::new(TimeRange::ALL) };
        assert!(ids(store, &stranger, query).await.is_empty());
    }
}

async fn statistics_count_in_buckets(store: &impl TriageStore) {
    let mut sample = Sample::new("triage-count", "one", 1);
    let mut beside = Sample::new("triage-count", "two", 2);
    let mut all = Vec::new();
    for (minute, rule, severity, tags) in [
        (0, "a", Severity::Low, &["attack.t1059.004", "attack.t1003"][..]),
        (0, "a", Severity::Low, &["attack.t1059.004"]),
        (1, "b", Severity::High, &["attack.t1059"]),
        (59, "b", Severity::Critical, &[]),
        (120, "a", Severity::Low, &["attack.t1003"]),
        (240, "a", Severity::Low, &["attack.t1003"]),
    ] {
        sample.set_now(START.saturating_add(Duration::from_secs(minute * 60)));
        all.push(tagged(&mut sample, rule, severity, tags));
    }
    beside.set_now(START);
    all.push(tagged(&mut beside, "c", Severity::Informational, &[]));
    store.insert(&all).await.unwrap();
    let tenant = tenant(&sample);
    store.update_status(&tenant, all[2].id, &update(0, AlertStatus::Resolved)).await.unwrap();
    let time = TimeRange { from: START, to: START.saturating_add(Duration::from_secs(4 * 3_600)) };
    let query = StatisticsQuery::new(time, Duration::from_secs(3_600));
    let found = store.statistics(&tenant, &query).await.unwrap();
    assert_eq!(found.total, 6, "the end of the span is not in it");
    assert_eq!(found.by_status, [5, 0, 1, 0]);
    assert_eq!(found.by_severity, [1, 3, 0, 1, 1]);
    let later = START.saturating_add(Duration::from_secs(2 * 3_600));
    assert_eq!(
        found.buckets,
        [
            AlertBucket { from: START, by_severity: [1, 2, 0, 1, 1] },
            AlertBucket { from: later, by_severity: [0, 1, 0, 0, 0] },
        ]
    );
    let technique = |name: &str, count| TechniqueCount { technique: name.into(), count };
    assert_eq!(
        found.techniques,
        [technique("T1003", 2), technique("T1059.004", 2), technique("T1059", 1)]
    );
    let rule = |name: &str, count| RuleCount { rule: name.into(), count };
    assert_eq!(found.rules, [rule("a", 3), rule("b", 2), rule("c", 1)]);
    let agent = |sample: &Sample, count| AgentCount { agent: sample.source().agent.clone(), count };
    assert_eq!(found.agents, [agent(&sample, 5), agent(&beside, 1)]);
    let found = store.statistics(&tenant, &StatisticsQuery { top: 1, ..query }).await.unwrap();
    assert_eq!((found.techniques.len(), found.rules.len(), found.agents.len()), (1, 1, 1));
}

async fn statistics_beyond_bounds_are_refused(store: &impl TriageStore) {
    let tenant = TenantId::new("triage-bounds").unwrap();
    let hour = Duration::from_secs(3_600);
    let day = TimeRange { from: START, to: START.saturating_add(hour * 24) };
    let backwards = TimeRange { from: Timestamp::from_nanos(i64::MAX), to: START };
    for query in [
        StatisticsQuery::new(TimeRange::ALL, hour),
        StatisticsQuery::new(day, Duration::ZERO),
        StatisticsQuery::new(day, Duration::from_secs(1)),
        StatisticsQuery { top: 0, ..StatisticsQuery::new(day, hour) },
        StatisticsQuery { top: 101, ..StatisticsQuery::new(day, hour) },
    ] {
        let error = store.statistics(&tenant, &query).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{query:?}");
    }
    let query = StatisticsQuery::new(backwards, hour);
    assert_eq!(store.statistics(&tenant, &query).await.unwrap().total, 0);
}
