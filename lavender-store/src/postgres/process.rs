//! Processes: stored once a day for every state that events showed them in, each known by a digest.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use deadpool_postgres::Transaction;
use lavender_core::event::Process;
use lavender_core::{ExecId, Timestamp};
use sha2::{Digest as _, Sha256};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::error::{PostgresError, Result};
use super::schema::number;
use super::text::escaped;
use crate::day::Day;
use crate::process::{StoredProcesses, command_line};

/// The first half of a SHA-256: what an attacker writes into a process must not make it look like another.
pub(super) fn digest(parts: &[&[u8]]) -> Uuid {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut half = [0; 16];
    half.copy_from_slice(&hasher.finalize()[..16]);
    Uuid::from_bytes(half)
}

/// A process that may have no row yet.
struct Row<'e> {
    parent: Option<Uuid>,
    process: &'e Arc<Process>,
    seen_at: Timestamp,
    body: String,
}

/// The processes of a batch that are not known to be stored.
#[derive(Default)]
pub(super) struct NewProcesses<'e> {
    known: HashMap<(Day, usize), Uuid>,
    /// In the order of their keys, so that writers who meet wait for each other and not in a circle.
    rows: BTreeMap<(i32, Uuid), Row<'e>>,
}

impl<'e> NewProcesses<'e> {
    /// What a process is known by; it and its ancestors become rows where they may have none.
    pub(super) fn digest(
        &mut self,
        stored: &StoredProcesses<Uuid>,
        day: Day,
        seen_at: Timestamp,
        process: &'e Arc<Process>,
    ) -> Result<Uuid> {
        if let Some(digest) = self.find(stored, day, process) {
            return Ok(digest);
        }
        let mut missing = vec![process];
        let mut parent = None;
        for ancestor in process.ancestors() {
            parent = self.find(stored, day, ancestor);
            if parent.is_some() {
                break;
            }
            missing.push(ancestor);
        }
        let mut own = Uuid::nil();
        for process in missing.into_iter().rev() {
            let body = serde_json::to_string(process).map_err(|error| {
                PostgresError::Invalid(format!("process {}: {error}", process.pid))
            })?;
            own = digest(&[parent.unwrap_or_default().as_bytes(), body.as_bytes()]);
            self.known.insert((day, Arc::as_ptr(process).addr()), own);
            self.rows.insert((number(day), own), Row { parent, process, seen_at, body });
            parent = Some(own);
        }
        Ok(own)
    }

    fn find(
        &self,
        stored: &StoredProcesses<Uuid>,
        day: Day,
        process: &Arc<Process>,
    ) -> Option<Uuid> {
        let key = (day, Arc::as_ptr(process).addr());
        stored.row(day, process).or_else(|| self.known.get(&key).copied())
    }

    /// Writes the rows.
    pub(super) async fn write(
        &self,
        transaction: &Transaction<'_>,
    ) -> Result<(), tokio_postgres::Error> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = || self.rows.values();
        let processes = || rows().map(|row| row.process);
        let days: Vec<i32> = self.rows.keys().map(|(day, _)| *day).collect();
        let digests: Vec<Uuid> = self.rows.keys().map(|(_, digest)| *digest).collect();
        let parents: Vec<Option<Uuid>> = rows().map(|row| row.parent).collect();
        let ids: Vec<Uuid> =
            processes().map(|of| Uuid::from_u128(of.exec_id.process.as_u128())).collect();
        let generations: Vec<i64> =
            processes().map(|of| i64::from(of.exec_id.generation)).collect();
        let seen: Vec<i64> = rows().map(|row| row.seen_at.as_nanos()).collect();
        let pids: Vec<i64> = processes().map(|of| i64::from(of.pid)).collect();
        let uids: Vec<i64> = processes().map(|of| i64::from(of.credentials.uid)).collect();
        let users: Vec<Option<_>> = processes().map(|of| of.user.as_deref().map(escaped)).collect();
        let executables: Vec<String> = processes().map(executable).collect();
        let lines: Vec<String> = processes().map(shown_command_line).collect();
        let containers: Vec<Option<_>> = processes()
            .map(|of| of.container.as_ref().map(|container| escaped(&container.id)))
            .collect();
        let bodies: Vec<&str> = rows().map(|row| row.body.as_str()).collect();
        let insert = transaction
            .prepare_cached(
                r#"INSERT INTO lavender.processes (day, process, parent, process_id, generation, seen_at, pid, uid,
                       "user", executable, command_line, container_id, body)
                   SELECT * FROM unnest($1::int[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[], $6::bigint[],
                       $7::bigint[], $8::bigint[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[])
                   ON CONFLICT DO NOTHING"#,
            )
            .await?;
        let columns: [&(dyn ToSql + Sync); 13] = [
            &days,
            &digests,
            &parents,
            &ids,
            &generations,
            &seen,
            &pids,
            &uids,
            &users,
            &executables,
            &lines,
            &containers,
            &bodies,
        ];
        transaction.execute(&insert, &columns).await?;
        Ok(())
    }

    /// Remembers what is stored now.
    pub(super) fn remember(self, stored: &mut StoredProcesses<Uuid>) {
        for ((day, digest), row) in self.rows {
            stored.remember(Day(day.into()), row.process, digest);
        }
    }
}

/// A process's executable as it can be shown and searched.
pub(super) fn executable(process: &Arc<Process>) -> String {
    escaped(&process.executable.path.value.to_string_lossy()).into_owned()
}

/// A process's command line as it can be shown and searched.
pub(super) fn shown_command_line(process: &Arc<Process>) -> String {
    escaped(&command_line(process)).into_owned()
}

/// Reads processes of a day with their ancestors, each once, so that events of one process share it again.
pub(super) async fn read(
    transaction: &Transaction<'_>,
    day: i32,
    wanted: &[Uuid],
) -> Result<HashMap<Uuid, Arc<Process>>> {
    let select = transaction.prepare_cached(LINES).await?;
    let mut rows: HashMap<Uuid, (Option<Uuid>, String)> = HashMap::new();
    for row in transaction.query(&select, &[&day, &wanted]).await? {
        rows.insert(row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?));
    }
    let mut read = HashMap::new();
    for wanted in wanted {
        build(&rows, &mut read, *wanted)?;
    }
    Ok(read)
}

/// `LIMIT 1` keeps the server from reading a whole day: it takes the number of ancestors for a hundred times what it is.
const LINES: &str = "WITH RECURSIVE lines (process, parent) AS (
     SELECT process, parent FROM lavender.processes WHERE day = $1 AND process = ANY ($2)
     UNION
     SELECT p.process, p.parent FROM lines l, LATERAL (
         SELECT process, parent FROM lavender.processes WHERE process = l.parent AND day = $1 LIMIT 1) p
 )
 SELECT l.process, l.parent, p.body FROM lines l, LATERAL (
     SELECT body FROM lavender.processes WHERE process = l.process AND day = $1 LIMIT 1) p";

fn build(
    rows: &HashMap<Uuid, (Option<Uuid>, String)>,
    read: &mut HashMap<Uuid, Arc<Process>>,
    wanted: Uuid,
) -> Result<()> {
    let mut line = Vec::new();
    let mut known = None;
    let mut next = Some(wanted);
    while let Some(digest) = next {
        known = read.get(&digest).map(Arc::clone);
        // A digest is over those of its ancestors, so this ends; the bound is for rows that were tampered with.
        if known.is_some() || line.len() > Process::MAX_ANCESTORS {
            break;
        }
        let (parent, body) = rows
            .get(&digest)
            .ok_or_else(|| PostgresError::Damaged(format!("there is no process {digest}")))?;
        let process: Process = serde_json::from_str(body)
            .map_err(|error| PostgresError::unreadable("a process", &error))?;
        line.push((digest, process));
        next = *parent;
    }
    let mut parent = known;
    for (digest, process) in line.into_iter().rev() {
        let process = Arc::new(Process { parent, ..process });
        read.insert(digest, Arc::clone(&process));
        parent = Some(process);
    }
    Ok(())
}

/// The newest state of a program, whatever the day.
pub(super) async fn newest(
    transaction: &Transaction<'_>,
    id: ExecId,
) -> Result<Option<Arc<Process>>> {
    let select = transaction.prepare_cached(NEWEST).await?;
    let process_id = Uuid::from_u128(id.process.as_u128());
    let generation = i64::from(id.generation);
    let found = transaction.query_opt(&select, &[&process_id, &generation]).await?;
    let Some(row) = found else { return Ok(None) };
    let (day, digest): (i32, Uuid) = (row.try_get(0)?, row.try_get(1)?);
    Ok(read(transaction, day, &[digest]).await?.remove(&digest))
}

const NEWEST: &str = "SELECT day, process FROM lavender.processes
 WHERE process_id = $1 AND generation = $2 ORDER BY seen_at DESC LIMIT 1";
