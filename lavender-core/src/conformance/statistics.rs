//! Statistics say what counting every alert says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::sample::{START, Sample};
use crate::store::{
    AlertQuery, AlertRecord, AlertStatistics, Revision, StatisticsQuery, StatusUpdate, TimeRange,
    TriageStore,
};
use crate::{Alert, AlertStatus, RuleMeta, Severity, Timestamp};

const MINUTE_NS: u64 = 60_000_000_000;
const SPAN_NS: u64 = 5 * 24 * 60 * MINUTE_NS;

/// The same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn time(&mut self) -> Timestamp {
        // Some lie where counts are cut, to the nanosecond.
        let unit = [1, MINUTE_NS, 5 * MINUTE_NS, 24 * 60 * MINUTE_NS][self.below(4) as usize];
        let nanos = START.as_nanos() + self.below(SPAN_NS) as i64;
        Timestamp::from_nanos(nanos - nanos % unit as i64)
    }
}

pub(super) async fn are_equal_to_counting(store: &impl TriageStore) {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut samples: Vec<Sample> =
        (0..3).map(|seed| Sample::new("statistics", &format!("host-{seed}"), seed)).collect();
    let tenant = samples[0].source().tenant.clone();
    let mut stored: Vec<Arc<Alert>> = Vec::new();
    for round in 0..6 {
        let new: Vec<_> = (0..50).map(|_| raised(&mut numbers, &mut samples)).collect();
        store.insert(&new).await.unwrap();
        stored.extend(new);
        // What is there already counts once.
        let again: Vec<_> =
            (0..10).map(|_| stored[numbers.below(stored.len() as u64) as usize].clone()).collect();
        store.insert(&again).await.unwrap();
        for _ in 0..20 {
            let alert = &stored[numbers.below(stored.len() as u64) as usize];
            let seen = store.alert_record(&tenant, alert.id).await.unwrap().unwrap();
            let to = AlertStatus::ALL[numbers.below(4) as usize];
            let update = StatusUpdate {
                revision: Revision(seen.revision.0),
                to,
                actor: "ana".into(),
                reason: None,
                at: START,
            };
            // One that may not be is refused, and must leave the counts as they are.
            let done = store.update_status(&tenant, alert.id, &update).await;
            assert_eq!(done.is_ok(), seen.alert.status.may_become(to), "round {round}");
        }
        let all = all(store, &tenant).await;
        assert_eq!(all.len(), stored.len());
        for _ in 0..12 {
            let (a, b) = (numbers.time(), numbers.time());
            let time = TimeRange { from: a.min(b), to: a.max(b) };
            let span = time.to.as_nanos() - time.from.as_nanos();
            let bucket = numbers.below(2 * 24 * 60 * MINUTE_NS).max(1 + span as u64 / 900);
            let unit = [1, MINUTE_NS][numbers.below(2) as usize];
            let bucket = Duration::from_nanos(bucket.div_ceil(unit) * unit);
            let query = StatisticsQuery {
                top: 1 + numbers.below(9) as u32,
                ..StatisticsQuery::new(time, bucket)
            };
            let found = store.statistics(&tenant, &query).await.unwrap();
            assert_eq!(found, counted(&all, &query), "round {round}, {query:?}");
        }
    }
}

fn raised(numbers: &mut Numbers, samples: &mut [Sample]) -> Arc<Alert> {
    let sample = &mut samples[numbers.below(3) as usize];
    sample.set_now(numbers.time());
    let process = sample.process();
    let event = sample.exec(&process);
    let severity = Severity::ALL[numbers.below(5) as usize];
    let alert = sample.alert(&event, &format!("rule-{}", numbers.below(7)), severity);
    let names = ["attack.t1059.004", "attack.t1059", "attack.t1003", "attack.execution"];
    let tags = names.iter().filter(|_| numbers.below(2) == 0).map(|tag| (*tag).into()).collect();
    let rule = Arc::new(RuleMeta { tags, ..(*alert.rule).clone() });
    Arc::new(Alert { rule, ..(*alert).clone() })
}

async fn all(store: &impl TriageStore, tenant: &crate::TenantId) -> Vec<AlertRecord> {
    let mut query = AlertQuery::new(TimeRange::ALL);
    let mut all = Vec::new();
    loop {
        let page = store.triage(tenant, &query).await.unwrap();
        all.extend(page.items);
        query.after = page.next;
        if query.after.is_none() {
            return all;
        }
    }
}

/// What the alerts themselves say.
fn counted(all: &[AlertRecord], query: &StatisticsQuery) -> AlertStatistics {
    let (bucket, from) = (query.bucket_nanos().unwrap(), query.time.from.as_nanos());
    let mut cells: BTreeMap<(i64, Severity, AlertStatus), u64> = BTreeMap::new();
    let mut tops: [BTreeMap<String, u64>; 3] = Default::default();
    for AlertRecord { alert, .. } in all {
        if !query.time.contains(alert.observed_at) {
            continue;
        }
        let number = (alert.observed_at.as_nanos() - from) / bucket;
        *cells.entry((number, alert.severity, alert.status)).or_default() += 1;
        for technique in alert.rule.techniques() {
            *tops[0].entry(technique).or_default() += 1;
        }
        *tops[1].entry(alert.rule.id.to_string()).or_default() += 1;
        *tops[2].entry(alert.source.agent.as_str().to_owned()).or_default() += 1;
    }
    let mut expected = AlertStatistics::default();
    for ((number, severity, status), count) in cells {
        expected.count(Timestamp::from_nanos(from + number * bucket), severity, status, count);
    }
    let [techniques, rules, agents] = tops.map(|counts| {
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts.truncate(query.top as usize);
        counts
    });
    for (technique, count) in techniques {
        expected
            .techniques
            .push(crate::store::TechniqueCount { technique: technique.into(), count });
    }
    for (rule, count) in rules {
        expected.rules.push(crate::store::RuleCount { rule: rule.into(), count });
    }
    for (agent, count) in agents {
        let agent = crate::AgentId::new(&agent).unwrap();
        expected.agents.push(crate::store::AgentCount { agent, count });
    }
    expected
}
