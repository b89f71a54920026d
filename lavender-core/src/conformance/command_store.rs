//! What a [`CommandStore`] promises.

use std::sync::Arc;
use std::time::Duration;

use super::sample::START;
use crate::command::{
    Command, CommandAction, CommandId, CommandOutcome, CommandOutput, CommandRefusal,
    CommandResult, FileContent, KeyId, Nonce, Signer,
};
use crate::store::{
    AccessStore, AuditEntry, AuditQuery, CommandQuery, CommandStatus, CommandStore, Cursor,
    IssuedCommand, PendingQuery, TimeRange,
};
use crate::{AgentId, ErrorKind, TenantId, Timestamp};

/// Checks that a store of commands keeps what the trait promises.
///
/// # Panics
///
/// Where it does not.
pub async fn command_store(store: &(impl CommandStore + AccessStore)) {
    commands_come_back_newest_first_and_are_audited(store).await;
    the_first_result_stands(store).await;
    a_result_comes_from_whom_it_was_given_to(store).await;
    what_is_pending_is_found_whoever_it_is_for(store).await;
    a_refusal_is_audited_and_changes_no_command(store).await;
}

fn after(seconds: u64) -> Timestamp {
    START.saturating_add(Duration::from_secs(seconds))
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn agent(name: &str) -> AgentId {
    AgentId::new(name).unwrap()
}

/// A command of a second, good for a minute.
fn issued(of: &str, to: &str, number: u64, second: u64, action: CommandAction) -> IssuedCommand {
    let signer = Signer::from_secret(KeyId::new("ops-1").unwrap(), &[7; 32]);
    let signed = signer
        .sign(Command {
            id: CommandId::from_u128(u128::from(number) << 96 | 0xfeed),
            nonce: Nonce::from_bytes([number as u8; 16]),
            tenant: tenant(of),
            agent: agent(to),
            action,
            issued_at: after(second),
            expires_at: after(second + 60),
            key: signer.key().clone(),
        })
        .unwrap();
    let reason: Option<Arc<str>> = number.is_multiple_of(2).then(|| "zoë's \0 \\ reason".into());
    IssuedCommand::new(signed, "token a \0 b", reason)
}

fn result(issued: &IssuedCommand, outcome: CommandOutcome, second: u64) -> CommandResult {
    let command = issued.command();
    CommandResult {
        command: command.id,
        tenant: command.tenant.clone(),
        agent: command.agent.clone(),
        outcome,
        finished_at: after(second),
    }
}

async fn audit(store: &impl AccessStore, tenant: &TenantId) -> Vec<AuditEntry> {
    store.audit(tenant, &AuditQuery::new(TimeRange::ALL)).await.unwrap().items
}

async fn commands_come_back_newest_first_and_are_audited(
    store: &(impl CommandStore + AccessStore),
) {
    let of = tenant("command-list");
    // Two and two of one moment: the id decides.
    let mut made: Vec<IssuedCommand> = (1..=7)
        .map(|number| {
            let action = match number % 3 {
                0 => CommandAction::HashFile { path: b"/tmp/\xff\0"[..].into() },
                1 => CommandAction::Ping,
                _ => CommandAction::CollectFile { path: b"/etc/passwd"[..].into(), max_bytes: 9 },
            };
            issued("command-list", "web-1", number, number / 2, action)
        })
        .collect();
    for command in &made {
        store.issue(command).await.unwrap();
        let known = store.command(&of, command.command().id).await.unwrap();
        assert_eq!(known.as_ref(), Some(command));
    }
    store.issue(&issued("command-list", "web-2", 8, 8, CommandAction::Ping)).await.unwrap();
    let error = store.issue(&made[0]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let told: Vec<_> = made.iter().rev().map(AuditEntry::of_command).collect();
    assert_eq!(audit(store, &of).await[1..], told);

    made.reverse();
    for limit in [1, 3, 100] {
        let mut query = CommandQuery { limit, ..CommandQuery::new(agent("web-1")) };
        let mut read = Vec::new();
        loop {
            let page = store.commands(&of, &query).await.unwrap();
            assert!(page.items.len() <= limit as usize);
            read.extend(page.items);
            match page.next {
                None => break,
                Some(next) => query.after = Some(next),
            }
        }
        assert_eq!(read, made, "by {limit}");
    }
    let stranger = tenant("command-stranger");
    let query = CommandQuery::new(agent("web-1"));
    assert!(store.commands(&stranger, &query).await.unwrap().items.is_empty());
    assert_eq!(store.command(&stranger, made[0].command().id).await.unwrap(), None);
    assert_eq!(store.command(&of, CommandId::from_u128(7)).await.unwrap(), None);
    for query in [
        CommandQuery { limit: 0, ..query.clone() },
        CommandQuery { after: Some(Cursor("a.1.2".into())), ..query },
    ] {
        let error = store.commands(&of, &query).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{query:?}");
    }
}

async fn the_first_result_stands(store: &(impl CommandStore + AccessStore)) {
    let of = tenant("command-result");
    let because = |reason: &str| -> Arc<str> { reason.into() };
    let content = FileContent::new(&b"a \0 b \xff"[..]);
    let file = CommandOutput::File { content, bytes: 7 };
    for (number, outcome, status) in [
        (20, CommandOutcome::DONE, CommandStatus::Done),
        (21, CommandOutcome::DryRun, CommandStatus::DryRun),
        (22, CommandOutcome::Refused { reason: because("a \0 b") }, CommandStatus::Refused),
        (23, CommandOutcome::Failed { reason: because("no such file") }, CommandStatus::Failed),
        (24, CommandOutcome::done(file), CommandStatus::Done),
    ] {
        let command = issued("command-result", "web-1", number, number, CommandAction::Ping);
        let id = command.command().id;
        store.issue(&command).await.unwrap();
        let pending = store.command(&of, id).await.unwrap().unwrap();
        assert_eq!(pending.status(after(number + 59)), CommandStatus::Pending);
        assert_eq!(pending.status(after(number + 60)), CommandStatus::Expired);
        let first = result(&command, outcome.clone(), number + 1);
        // What comes late stands all the same.
        let at = after(number + 1_000);
        assert!(store.record_result(&first, at).await.unwrap());
        let lines = audit(store, &of).await;
        assert_eq!(lines[0], AuditEntry::of_command_result(&first, at));
        let failed = CommandOutcome::Failed { reason: because("second") };
        for second in [first.clone(), result(&command, failed, number + 2)] {
            assert!(!store.record_result(&second, at).await.unwrap());
        }
        assert_eq!(audit(store, &of).await, lines);
        let known = store.command(&of, id).await.unwrap().unwrap();
        assert_eq!(known.result, Some((outcome, after(number + 1))));
        assert_eq!(known.status(after(number + 2_000)), status);
        let query = CommandQuery { limit: 1, ..CommandQuery::new(agent("web-1")) };
        assert_eq!(store.commands(&of, &query).await.unwrap().items, [known]);
    }
}

async fn a_result_comes_from_whom_it_was_given_to(store: &(impl CommandStore + AccessStore)) {
    let command = issued("command-whose", "web-1", 30, 0, CommandAction::Isolate);
    store.issue(&command).await.unwrap();
    let good = result(&command, CommandOutcome::DONE, 1);
    for wrong in [
        CommandResult { tenant: tenant("command-stranger"), ..good.clone() },
        CommandResult { agent: agent("web-2"), ..good.clone() },
        CommandResult { command: CommandId::from_u128(7), ..good.clone() },
    ] {
        let error = store.record_result(&wrong, after(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{wrong:?}");
    }
    let of = &command.command().tenant;
    assert_eq!(store.command(of, good.command).await.unwrap(), Some(command.clone()));
    assert_eq!(audit(store, of).await.len(), 1);
    assert!(audit(store, &tenant("command-stranger")).await.is_empty());
    assert!(store.record_result(&good, after(1)).await.unwrap());
}

async fn what_is_pending_is_found_whoever_it_is_for(store: &(impl CommandStore + AccessStore)) {
    let all = async |second, limit| {
        let mut query = PendingQuery { limit, after: None };
        let mut read = Vec::new();
        loop {
            let page = store.pending_commands(after(second), &query).await.unwrap();
            assert!(page.items.len() <= limit as usize);
            read.extend(page.items);
            match page.next {
                None => return read,
                Some(next) => query.after = Some(next),
            }
        }
    };
    let mut made = Vec::new();
    for (number, of, to) in [(40, "command-late", "web-1"), (41, "command-early", "web-2")] {
        let command = issued(of, to, number, 5_000 - number, CommandAction::Ping);
        store.issue(&command).await.unwrap();
        made.push(command);
    }
    made.reverse();
    assert_eq!(all(5_000, 1_000).await, made, "the one that expires first, first");
    assert_eq!(all(5_019, 1_000).await, made[1..], "the first has expired");
    assert_eq!(all(5_020, 1_000).await, []);
    let done = result(&made[0], CommandOutcome::DONE, 5_001);
    assert!(store.record_result(&done, after(5_001)).await.unwrap());
    assert_eq!(all(5_002, 1_000).await, made[1..]);

    // However many expire before it, and at the same moment, each comes once.
    let mut made: Vec<IssuedCommand> = (60..80)
        .map(|number| {
            issued("command-many", "web-1", number, 9_000 + number / 7, CommandAction::Ping)
        })
        .collect();
    for command in made.iter().rev() {
        store.issue(command).await.unwrap();
    }
    for limit in [1, 3, 7, 1_000] {
        assert_eq!(all(9_000, limit).await, made, "by {limit}");
    }
    // What ends while it is read, wherever the page stands, holds up nothing behind it.
    let mut query = PendingQuery { limit: 5, after: None };
    let page = store.pending_commands(after(9_000), &query).await.unwrap();
    for ended in [4, 5] {
        let done = result(&made[ended], CommandOutcome::DONE, 9_001);
        assert!(store.record_result(&done, after(9_001)).await.unwrap());
    }
    query.after = page.next;
    let page = store.pending_commands(after(9_000), &query).await.unwrap();
    assert_eq!(page.items, made[6..11]);
    query.after = page.next;
    let late = store.pending_commands(after(9_070), &query).await.unwrap();
    let good = |issued: &&IssuedCommand| issued.command().expires_at > after(9_070);
    let behind: Vec<_> = made[11..].iter().filter(good).take(5).cloned().collect();
    assert!(!behind.is_empty());
    assert_eq!(late.items, behind, "what has expired meanwhile is passed over");
    made.drain(4..=5);
    assert_eq!(all(9_000, 1_000).await, made);

    for query in [
        PendingQuery { limit: 0, after: None },
        PendingQuery { limit: 1_001, after: None },
        PendingQuery {
            after: Some(Cursor("c.1.00000000000000000000000000000001".into())),
            limit: 1,
        },
    ] {
        let error = store.pending_commands(after(0), &query).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{query:?}");
    }
}

async fn a_refusal_is_audited_and_changes_no_command(store: &(impl CommandStore + AccessStore)) {
    let command = issued("command-refusal", "web-1", 50, 0, CommandAction::Ping);
    store.issue(&command).await.unwrap();
    let of = &command.command().tenant;
    for claimed in [Some(command.command().id), None] {
        let refusal = CommandRefusal {
            tenant: of.clone(),
            agent: agent("web-1"),
            claimed,
            reason: "a \0 b".into(),
            refused_at: after(1),
        };
        store.record_refusal(&refusal, after(2)).await.unwrap();
        let lines = audit(store, of).await;
        assert_eq!(lines[0], AuditEntry::of_command_refusal(&refusal, after(2)));
    }
    assert_eq!(store.command(of, command.command().id).await.unwrap(), Some(command));
}
