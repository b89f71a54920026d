//! State: small values under a key, with compare-and-swap and expiry.

use lavender_core::store::{PutMode, Version};
use lavender_core::{Bytes, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::error::{Result, SqliteError};

/// Reads a value that is there at this time.
pub(super) fn get(
    connection: &Connection,
    key: &str,
    now: Timestamp,
) -> Result<Option<(Bytes, Version)>> {
    let value = connection
        .prepare_cached(
            "SELECT value, version FROM state
             WHERE key = ?1 AND (expires_at IS NULL OR expires_at > ?2)",
        )?
        .query_row(params![key, now.as_nanos()], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))
        })
        .optional()?;
    Ok(value.map(|(bytes, version)| (bytes.into(), Version(version.cast_unsigned()))))
}

/// The keys that begin with `prefix`, behind `after`. The order of the index is that of bytes, so those of a prefix
/// stand together.
pub(super) fn keys(
    connection: &Connection,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT key FROM state
         WHERE key >= ?1 AND (?2 IS NULL OR key > ?2) AND (expires_at IS NULL OR expires_at > ?3)
         ORDER BY key LIMIT ?4",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    // The later of the two bounds is what the index begins at.
    let from = after.filter(|after| *after > prefix).unwrap_or(prefix);
    let mut rows = statement.query(params![from, after, now.as_nanos(), limit])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        let key: String = row.get(0)?;
        if !key.starts_with(prefix) {
            break;
        }
        keys.push(key);
    }
    Ok(keys)
}

/// What is to be written.
#[derive(Debug)]
pub(super) struct Put {
    pub(super) key: String,
    pub(super) value: Bytes,
    pub(super) mode: PutMode,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) now: Timestamp,
}

/// Writes a value, inside a transaction. What has expired makes room first.
pub(super) fn put(connection: &Connection, put: &Put, bytes_max: u64) -> Result<Version> {
    let Put { key, value, mode, expires_at, now } = put;
    connection
        .prepare_cached("DELETE FROM state WHERE expires_at <= ?1")?
        .execute([now.as_nanos()])?;
    let current = get(connection, key, *now)?.map(|(_, version)| version);
    let holds = match mode {
        PutMode::Create => current.is_none(),
        PutMode::Update(version) => current == Some(*version),
        PutMode::Overwrite => true,
    };
    if !holds {
        return Err(SqliteError::Conflict(format!(
            "`{key}` was to be written by {mode:?}, and its version is {current:?}"
        )));
    }
    let last: i64 = connection
        .prepare_cached("SELECT last_version FROM state_totals")?
        .query_row([], |row| row.get(0))?;
    connection
        .prepare_cached(
            "INSERT INTO state (key, value, version, expires_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = excluded.version,
                 expires_at = excluded.expires_at",
        )?
        .execute(params![key, &value[..], last + 1, expires_at.map(Timestamp::as_nanos)])?;
    let used: u64 = connection
        .prepare_cached("SELECT bytes FROM state_totals")?
        .query_row([], |row| row.get::<_, i64>(0).map(i64::cast_unsigned))?;
    if used > bytes_max {
        // The caller takes the write back.
        return Err(SqliteError::StateFull { used, max: bytes_max });
    }
    Ok(Version((last + 1).cast_unsigned()))
}

/// Removes a value.
pub(super) fn delete(connection: &Connection, key: &str) -> Result<()> {
    connection.prepare_cached("DELETE FROM state WHERE key = ?1")?.execute([key])?;
    Ok(())
}
