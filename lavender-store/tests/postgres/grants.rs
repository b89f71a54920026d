//! A user who is a control plane: what it may do, and what it may not.

use std::sync::Arc;
use std::time::Duration;

use lavender_core::command::{CommandAction, CommandOutcome, CommandResult, KeyId, Signer};
use lavender_core::conformance::sample::{START, Sample};
use lavender_core::ruleset::Ruleset;
use lavender_core::store::{
    AccessStore as _, AccessToken, AuditQuery, CommandStore as _, EventQuery, FeedPosition,
    FeedStore as _, FleetQuery, FleetStore as _, IssuedCommand, LivenessTimes, Publication,
    PutMode, Revision, Role, RulesetStore as _, StatisticsQuery, StatusUpdate, TimeRange,
    TokenHash, TokenId, TriageStore as _, UploadedRuleset,
};
use lavender_core::{
    AlertStatus, AlertStore as _, Bytes, EventStore as _, ManualClock, Severity, StateStore as _,
};
use lavender_store::{PostgresOptions, PostgresStore, Store as _};

use crate::open;
use crate::support::{Server, connect};

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_can_do_its_work_and_nothing_else() {
    let Some(mut server) = Server::start() else { return };
    let url = server.database().await;
    let owner = open(&url);
    let mut sample = Sample::new("acme", "web-1", 1);
    let source = sample.source().clone();
    let shell = sample.process();
    let events = vec![sample.agent_start("0.1.0"), sample.exec(&shell)];
    owner.append(&source, &events).await.unwrap();
    let alert = sample.alert(&events[1], "rule", Severity::High);
    owner.insert(&[Arc::clone(&alert)]).await.unwrap();
    let admin = connect(&url).await;
    let role = "dash-board";
    admin.batch_execute("CREATE ROLE \"dash-board\" LOGIN").await.unwrap();
    let own = url.replace("lavender@", "dash-board@");
    let refused = PostgresStore::open(&own, PostgresOptions::default()).unwrap_err();
    assert!(refused.to_string().contains("permission denied"), "{refused}");
    admin.batch_execute(&PostgresStore::control_plane_grants(role)).await.unwrap();

    // Days that nobody has made yet are not its to make.
    let mut options = PostgresOptions::default();
    options.clock = Arc::new(ManualClock::new(START.saturating_add(4_000 * DAY)));
    let store = PostgresStore::open(&own, options).unwrap();
    let tenant = &source.tenant;
    let (at, actor): (_, Arc<str>) = (START, "somebody".into());
    store.sweep_liveness(&LivenessTimes::default(), at).await.unwrap();
    let update = StatusUpdate {
        revision: Revision(0),
        to: AlertStatus::Acknowledged,
        actor: Arc::clone(&actor),
        reason: None,
        at,
    };
    let record = store.update_status(tenant, alert.id, &update).await.unwrap();
    assert_eq!(record.alert.status, AlertStatus::Acknowledged);
    let token = AccessToken {
        id: TokenId::from_u128(7),
        tenant: tenant.clone(),
        role: Role::Admin,
        name: "x".into(),
        hash: TokenHash::new("x"),
        created_by: Arc::clone(&actor),
        created_at: at,
        expires_at: None,
        revoked_at: None,
    };
    assert!(store.create_first_token(&token).await.unwrap());
    store.revoke_token(tenant, token.id, &actor, at).await.unwrap();
    let signer = Signer::generate(KeyId::new("test").unwrap()).unwrap();
    let (agent, ping) = (source.agent.clone(), CommandAction::Ping);
    let signed = signer.order(tenant.clone(), agent, ping, at, DAY).unwrap();
    let issued = IssuedCommand::new(signed, Arc::clone(&actor), None);
    store.issue(&issued).await.unwrap();
    let result = CommandResult {
        command: issued.command().id,
        tenant: tenant.clone(),
        agent: source.agent.clone(),
        outcome: CommandOutcome::Done { output: None },
        finished_at: at,
    };
    assert!(store.record_result(&result, at).await.unwrap());
    let rules = Ruleset::new(Vec::new()).unwrap();
    let uploaded = UploadedRuleset::new(&rules, Arc::clone(&actor), None, at);
    store.put_ruleset(tenant, &rules, &uploaded).await.unwrap();
    let digest = rules.digest();
    let publication =
        Publication { revision: 1, digest, actor: Arc::clone(&actor), reason: None, at };
    store.publish_ruleset(tenant, &publication).await.unwrap();
    assert_eq!(store.audit(tenant, &AuditQuery::new(TimeRange::ALL)).await.unwrap().items.len(), 7);
    let found = store.events(&EventQuery::new(TimeRange::ALL)).await.unwrap();
    assert_eq!(found.items.len(), 2);
    let day = TimeRange { from: at, to: at.saturating_add(DAY) };
    let counted = store.statistics(tenant, &StatisticsQuery::new(day, DAY)).await.unwrap();
    assert_eq!(counted.total, 1);
    let agents = store.fleet(tenant, &FleetQuery::default()).await.unwrap();
    assert!(agents.items[0].liveness.is_some());
    assert_eq!(store.tenant_losses(tenant, None, TimeRange::ALL).await.unwrap(), []);
    let (end, start) = (store.feed_end().await.unwrap(), store.feed_start().await.unwrap());
    assert!(end > start && end > FeedPosition(2));

    store.append(&source, &[sample.exec(&shell)]).await.unwrap_err();
    let made_up = sample.alert(&events[1], "made up", Severity::Low);
    store.insert(&[made_up]).await.unwrap_err();
    store.put("key", Bytes::new(), PutMode::Overwrite, None).await.unwrap_err();
    store.retain(START.saturating_add(DAY)).await.unwrap_err();
    // What it is that refuses: the server, and not the store.
    let client = connect(&own).await;
    for sql in [
        "INSERT INTO lavender.events DEFAULT VALUES",
        "INSERT INTO lavender.alerts DEFAULT VALUES",
        "INSERT INTO lavender.state DEFAULT VALUES",
        "DELETE FROM lavender.events",
        "DELETE FROM lavender.audit",
        "UPDATE lavender.audit SET actor = 'nobody'",
        "DELETE FROM lavender.tokens",
        "UPDATE lavender.tokens SET role = 'admin'",
        "UPDATE lavender.alerts SET body = ''",
        "DELETE FROM lavender.alerts",
        "DELETE FROM lavender.alert_history",
        "UPDATE lavender.commands SET signed = ''",
        "SELECT 1 FROM lavender.state",
        "CREATE TABLE lavender.more ()",
    ] {
        let error = client.batch_execute(sql).await.unwrap_err();
        let said = error.as_db_error().unwrap().message().to_owned();
        assert!(said.starts_with("permission denied"), "{sql}: {said}");
    }
    assert!(client.batch_execute("DROP SCHEMA lavender CASCADE").await.is_err());
    store.close().await.unwrap();
    owner.close().await.unwrap();
}
