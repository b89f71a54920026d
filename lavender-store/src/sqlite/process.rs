//! Processes: stored once a day each, with a row for every state that events showed them in.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;

use lavender_core::event::Process;
use lavender_core::{ExecId, ProcessId};
use rusqlite::{CachedStatement, Connection, params};

use super::error::{Result, SqliteError};
use crate::day::Day;
use crate::process::{StoredProcesses, command_line};

/// Writes the processes of one day.
pub(super) struct ProcessWriter<'a> {
    day: Day,
    find: CachedStatement<'a>,
    insert: CachedStatement<'a>,
    /// The last one's body, whose room the next one takes.
    body: Vec<u8>,
}

impl<'a> ProcessWriter<'a> {
    pub(super) fn new(connection: &'a Connection, day: Day) -> Result<Self> {
        let name = day.name();
        Ok(Self {
            day,
            find: connection.prepare_cached(&format!(
                "SELECT process, parent IS ?4 AND body = ?5 FROM processes_{name}
                 WHERE process_id = ?1 AND generation = ?2 AND digest = ?3"
            ))?,
            insert: connection.prepare_cached(&format!(
                "INSERT OR IGNORE INTO processes_{name}
                     (process_id, generation, digest, parent, pid, uid, user, executable,
                      command_line, container_id, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
            ))?,
            body: Vec::with_capacity(1_024),
        })
    }

    /// The row of a process; it and its ancestors are written where they are not there yet.
    pub(super) fn row(
        &mut self,
        connection: &Connection,
        stored: &mut StoredProcesses<i64>,
        process: &Arc<Process>,
    ) -> Result<i64> {
        if let Some(row) = stored.row(self.day, process) {
            return Ok(row);
        }
        let mut missing = vec![process];
        let mut parent = None;
        for ancestor in process.ancestors() {
            parent = stored.row(self.day, ancestor);
            if parent.is_some() {
                break;
            }
            missing.push(ancestor);
        }
        let mut row = 0;
        for process in missing.into_iter().rev() {
            row = self.write(connection, process, parent)?;
            stored.remember(self.day, process, row);
            parent = Some(row);
        }
        Ok(row)
    }

    fn write(
        &mut self,
        connection: &Connection,
        process: &Process,
        parent: Option<i64>,
    ) -> Result<i64> {
        self.body.clear();
        serde_json::to_writer(&mut self.body, process)
            .map_err(|error| SqliteError::Invalid(format!("process {}: {error}", process.pid)))?;
        let body = str::from_utf8(&self.body)
            .map_err(|error| SqliteError::Invalid(format!("process {}: {error}", process.pid)))?;
        let mut hasher = DefaultHasher::new();
        hasher.write(body.as_bytes());
        hasher.write_i64(parent.unwrap_or(0));
        let mut digest = hasher.finish().cast_signed();
        let id = process.exec_id.process.as_u128().to_be_bytes();
        let generation = process.exec_id.generation;
        loop {
            let added = self.insert.execute(params![
                id,
                generation,
                digest,
                parent,
                process.pid,
                process.credentials.uid,
                process.user.as_deref(),
                process.executable.path.value.to_string_lossy(),
                command_line(process),
                process.container.as_ref().map(|container| &*container.id),
                body,
            ])?;
            if added == 1 {
                return Ok(connection.last_insert_rowid());
            }
            let (row, same): (i64, bool) =
                self.find.query_row(params![id, generation, digest, parent, body], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?;
            if same {
                return Ok(row);
            }
            // Another state that has the same digest: whoever looked for one found it.
            digest = digest.wrapping_add(1);
        }
    }
}

/// Reads processes back, each once, so that events of one process share it again.
pub(super) struct ProcessReader<'a> {
    connection: &'a Connection,
    read: HashMap<(Day, i64), Arc<Process>>,
}

impl<'a> ProcessReader<'a> {
    pub(super) fn new(connection: &'a Connection) -> Self {
        Self { connection, read: HashMap::new() }
    }

    /// The process in a row, with its ancestors.
    pub(super) fn process(&mut self, day: Day, row: i64) -> Result<Arc<Process>> {
        let mut line = Vec::new();
        let mut known = None;
        let mut next = Some(row);
        {
            let mut select = self.connection.prepare_cached(&format!(
                "SELECT parent, body FROM processes_{} WHERE process = ?1",
                day.name()
            ))?;
            while let Some(row) = next {
                known = self.read.get(&(day, row)).map(Arc::clone);
                // A parent has always a lower row than its child, so this ends; the bound is for files
                // that were tampered with.
                if known.is_some() || line.len() > Process::MAX_ANCESTORS {
                    break;
                }
                let (parent, body) = select.query_row([row], |columns| {
                    Ok((columns.get(0)?, columns.get::<_, String>(1)?))
                })?;
                line.push((row, parse(&body)?));
                next = parent;
            }
        }
        let mut parent = known;
        for (row, process) in line.into_iter().rev() {
            let process = Arc::new(Process { parent, ..process });
            self.read.insert((day, row), Arc::clone(&process));
            parent = Some(process);
        }
        parent.ok_or_else(|| SqliteError::Damaged(format!("there is no process in row {row}")))
    }

    /// The rows of a process on a day, one for each state.
    pub(super) fn rows(&self, day: Day, id: ProcessId) -> Result<HashSet<i64>> {
        let mut select = self.connection.prepare_cached(&format!(
            "SELECT process FROM processes_{} WHERE process_id = ?1",
            day.name()
        ))?;
        let rows = select.query_map([id.as_u128().to_be_bytes()], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The newest row of a program on a day.
    pub(super) fn find(&mut self, day: Day, id: ExecId) -> Result<Option<Arc<Process>>> {
        let row: Option<i64> = self
            .connection
            .prepare_cached(&format!(
                "SELECT max(process) FROM processes_{} WHERE process_id = ?1 AND generation = ?2",
                day.name()
            ))?
            .query_row(params![id.process.as_u128().to_be_bytes(), id.generation], |row| {
                row.get(0)
            })?;
        row.map(|row| self.process(day, row)).transpose()
    }
}

fn parse(body: &str) -> Result<Process> {
    serde_json::from_str(body).map_err(|error| SqliteError::unreadable("a process", &error))
}
