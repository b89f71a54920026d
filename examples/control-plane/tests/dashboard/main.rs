//! The dashboard in a real browser, against a control plane whose store is filled while it is looked at.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod browser;
mod stage;

use std::sync::Arc;
use std::time::Duration;

use lavender_core::command::{CommandAction, CommandResult, KeyId, Signer};
use lavender_core::event::{
    BpfCommand, BpfMapType, BpfProgramType, Event, EventData, Heartbeat, MemoryProtection,
    NamespaceTypes,
};
use lavender_core::ruleset::Ruleset;
use lavender_core::store::{
    CommandQuery, IssuedCommand, LivenessTimes, Publication, UploadedRuleset,
};
use lavender_core::{AgentId, Clock as _, Severity, SystemClock, TenantId};
use serde::Deserialize as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::browser::Browser;
use crate::stage::Stage;

/// What an attacker may call something.
const HOSTILE: &str = "<img src=x onerror=\"window.hacked=1\">\u{202e}';alert(1)//";

/// Does what a scenario asks for.
async fn act(stage: &mut Stage, asked: &Value) -> Value {
    let ahead = asked["ahead"].as_u64().map_or(Duration::ZERO, Duration::from_secs);
    let now = SystemClock.now().saturating_add(ahead);
    match asked["do"].as_str().unwrap() {
        "act" => {
            let alert = stage.act(now).await;
            json!({"id": alert.id.to_string(), "title": &*alert.rule.title, "host": &*alert.source.host})
        }
        "hostile" => {
            let command = [HOSTILE, HOSTILE];
            let alert = stage.raise(0, now, HOSTILE, Severity::Critical, HOSTILE, &command).await;
            json!({"id": alert.id.to_string(), "text": HOSTILE})
        }
        "kernel" => {
            stage.call_kernel(now).await;
            json!({})
        }
        "heard" => {
            for agent in 0..stage.agents.len() {
                stage.heard(agent, now, true).await;
            }
            json!({"agents": stage.agents.len()})
        }
        "status" => {
            let (tenant, id) = (Default::default(), asked["id"].as_str().unwrap().parse().unwrap());
            let record = stage.store.alert_record(&tenant, id).await.unwrap().unwrap();
            let history = stage.store.alert_history(&tenant, id).await.unwrap();
            let reasons: Vec<_> = history.iter().map(|change| change.reason.as_deref()).collect();
            json!({"status": record.alert.status.as_str(), "reasons": reasons})
        }
        "token" => {
            let role = asked["role"].as_str().unwrap().parse().unwrap();
            json!({"secret": stage::token(&*stage.store, role).await})
        }
        "result" => {
            let (tenant, agent) =
                (TenantId::default(), AgentId::new(asked["agent"].as_str().unwrap()).unwrap());
            let query = CommandQuery { agent: agent.clone(), limit: 1, after: None };
            let given = stage.store.commands(&tenant, &query).await.unwrap().items.remove(0);
            let outcome = serde_json::from_value(asked["outcome"].clone()).unwrap();
            let result = CommandResult {
                command: given.command().id,
                tenant,
                agent,
                outcome,
                finished_at: now,
            };
            stage.store.record_result(&result, now).await.unwrap();
            json!({
                "command": given.command().action,
                "actor": &*given.actor,
                "reason": given.reason.as_deref(),
            })
        }
        "beats" => {
            for (agent, beat) in asked["beats"].as_array().unwrap().iter().enumerate() {
                let mut told = json!({"uptime_ms": 1, "events": 1, "alerts": 0, "lost": 0});
                told.as_object_mut().unwrap().extend(beat.as_object().unwrap().clone());
                self::beat(stage, agent, Heartbeat::deserialize(told).unwrap()).await;
            }
            json!({})
        }
        "rules" => {
            let (tenant, at) = (TenantId::default(), now);
            let rules = Ruleset::new(Vec::new()).unwrap();
            let uploaded = UploadedRuleset::new(&rules, "somebody", None, at);
            stage.store.put_ruleset(&tenant, &rules, &uploaded).await.unwrap();
            for revision in 1..=asked["revisions"].as_u64().unwrap() {
                let (digest, actor) = (rules.digest(), "somebody".into());
                let next = Publication { revision, digest, actor, reason: None, at };
                stage.store.publish_ruleset(&tenant, &next).await.unwrap();
            }
            json!({})
        }
        "orders" => {
            let agent = AgentId::new(asked["agent"].as_str().unwrap()).unwrap();
            let signer = Signer::generate(KeyId::new("test").unwrap()).unwrap();
            for _ in 0..asked["count"].as_u64().unwrap() {
                let (to, action) = (agent.clone(), CommandAction::Ping);
                let minute = Duration::from_secs(60);
                let signed = signer.order(Default::default(), to, action, now, minute).unwrap();
                stage.store.issue(&IssuedCommand::new(signed, "somebody", None)).await.unwrap();
            }
            json!({})
        }
        "published" => {
            let last = stage.store.published_ruleset(&Default::default()).await.unwrap().unwrap();
            json!({"revision": last.revision, "reason": last.reason.as_deref()})
        }
        "publish" => {
            // Again what is published, and by somebody else.
            let tenant = TenantId::default();
            let last = stage.store.published_ruleset(&tenant).await.unwrap().unwrap();
            let revision = last.revision + 1;
            let next = Publication { revision, actor: "somebody".into(), ..last };
            stage.store.publish_ruleset(&tenant, &next).await.unwrap();
            json!({"revision": revision})
        }
        "place" => json!({"id": stage.store.feed_end().await.unwrap().0.to_string()}),
        other => panic!("the scenario asks for `{other}`"),
    }
}

/// Has an agent say that of itself.
async fn beat(stage: &mut Stage, agent: usize, beat: Heartbeat) {
    let sample = &mut stage.agents[agent];
    sample.set_now(SystemClock.now());
    let event = sample.heartbeat();
    let event = Arc::new(Event { data: EventData::Heartbeat(Box::new(beat)), ..(*event).clone() });
    stage.store.append(&sample.source().clone(), &[event]).await.unwrap();
}

/// Runs a scenario over so many agents and alerts.
async fn scenario(name: &str, agents: usize, alerts: usize, liveness: LivenessTimes) {
    let Some(browser) = Browser::find() else { return };
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("lavender.db");
    let mut stage = Stage::open(&path, agents, liveness).await;
    if alerts > 0 {
        stage.fill(alerts).await;
    }
    stage.watch();
    let (url, token) = (stage.url.clone(), stage.token.clone());
    let store = Arc::clone(&stage.store);
    block_in_place(|| {
        browser.run(name, &url, &token, |asked| Handle::current().block_on(act(&mut stage, asked)));
    });
    store.close().await.unwrap();
}

macro_rules! scenarios {
    ($($(#[$doc:meta])* $name:ident($agents:expr, $alerts:expr);)*) => {
        $($(#[$doc])*
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            scenario(stringify!($name), $agents, $alerts, LivenessTimes::default()).await;
        })*
    };
}

scenarios! {
    who_has_no_token_is_asked_for_one(1, 3);
    an_alert_appears_without_a_reload(4, 20);
    an_alert_is_worked_on_by_keys(4, 12);
    what_is_shown_survives_a_reload(4, 40);
    a_cut_stream_goes_on_where_it_was(2, 3);
    hostile_names_stay_text(2, 1);
    who_lags_behind_is_seen(4, 0);
    events_are_shown_as_they_happen(3, 3);
    stored_events_are_searched(3, 3);
    what_the_kernel_numbers_is_shown_in_words(1, 0);
    rules_are_uploaded_tested_and_published(3, 12);
    those_who_cannot_see_it_can_use_it(12, 60);
    what_a_role_may_not_do_is_not_offered(2, 6);
    commands_are_given_and_their_results_shown(4, 12);
    what_commands_gave_is_shown(2, 6);
    tokens_are_made_and_taken_back(1, 3);
    what_was_changed_is_told(2, 8);
}

/// Who is not heard for as long as was configured is shown as offline, and many at once are told of.
#[tokio::test(flavor = "multi_thread")]
async fn agents_that_fall_silent_are_seen() {
    let second = Duration::from_secs(1);
    let liveness = LivenessTimes { degraded_after: second * 2, offline_after: second * 4 };
    scenario("agents_that_fall_silent_are_seen", 24, 0, liveness).await;
}

/// However many alerts there are, the document has only those that can be seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_any_length_draws_what_can_be_seen() {
    let Some(browser) = Browser::find() else { return };
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("lavender.db");
    let mut stage = Stage::open(&path, 4, LivenessTimes::default()).await;
    stage.flood(10_000).await;
    block_in_place(|| {
        let (url, token) = (stage.url.clone(), stage.token.clone());
        let name = "a_list_of_any_length_draws_what_can_be_seen";
        browser.run(name, &url, &token, |_| json!({}));
    });
    stage.store.close().await.unwrap();
}

/// A table of `ui/kernel.js`, which are written as JSON.
fn table(name: &str) -> Value {
    let text = include_str!("../../ui/kernel.js");
    let (_, rest) = text.split_once(&format!("const {name} = ")).unwrap();
    let (table, _) = rest.split_once(';').unwrap();
    serde_json::from_str(table).unwrap()
}

#[test]
fn numbers_are_called_what_rules_call_them() {
    let told = |show: fn(u32) -> String| -> Vec<String> {
        (0..1_000).filter(|number| show(*number) != number.to_string()).map(show).collect()
    };
    assert_eq!(table("PROGRAM_TYPES"), json!(told(|number| BpfProgramType(number).to_string())));
    assert_eq!(table("MAP_TYPES"), json!(told(|number| BpfMapType(number).to_string())));
    let commands = table("COMMANDS");
    for number in 0..1_000 {
        let name = BpfCommand(number).to_string();
        let shown = commands.get(number.to_string()).and_then(Value::as_str);
        assert_eq!(shown.unwrap_or(&number.to_string()), name);
    }
    let bits = |names: fn(u32) -> Vec<&'static str>| -> Value {
        let bits = (0..32).map(|bit| 1_u32 << bit).filter(|bit| !names(*bit).is_empty());
        bits.map(|bit| json!([names(bit)[0], bit])).collect()
    };
    assert_eq!(table("NAMESPACES"), bits(|bit| NamespaceTypes(bit).names().collect()));
    assert_eq!(table("PROTECTIONS"), bits(|bit| MemoryProtection(bit).names().collect()));
}
