//! State: small values under a key, with compare-and-swap and expiry. A write is one statement.

use deadpool_postgres::Client;
use lavender_core::store::{PutMode, Version};
use lavender_core::{Bytes, Timestamp};

use super::error::{PostgresError, Result};

/// Reads a value that is there at this time.
pub(super) async fn get(
    client: &Client,
    key: &str,
    now: Timestamp,
) -> Result<Option<(Bytes, Version)>> {
    let select = client
        .prepare_cached(
            "SELECT value, version FROM lavender.state
             WHERE key = $1 AND (expires_at IS NULL OR expires_at > $2)",
        )
        .await?;
    let row = client.query_opt(&select, &[&key.as_bytes(), &now.as_nanos()]).await?;
    let Some(row) = row else { return Ok(None) };
    let (value, version): (Vec<u8>, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Some((value.into(), Version(version.cast_unsigned()))))
}

/// The keys that begin with `prefix`, behind `after`, in the order of their bytes.
pub(super) async fn keys(
    client: &Client,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<String>> {
    let select = client.prepare_cached(KEYS).await?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    // The first bytes behind all that begin with the prefix: text never has the byte 0xff.
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    } else {
        end.push(0xff);
    }
    let from = after.filter(|after| *after > prefix).unwrap_or(prefix);
    let rows = client
        .query(
            &select,
            &[&from.as_bytes(), &end, &after.map(str::as_bytes), &now.as_nanos(), &limit],
        )
        .await?;
    let key = |row: &tokio_postgres::Row| {
        String::from_utf8(row.try_get(0)?)
            .map_err(|error| PostgresError::unreadable("a key of state", &error))
    };
    rows.iter().map(key).collect()
}

const KEYS: &str = "SELECT key FROM lavender.state
 WHERE key >= $1 AND key < $2 AND ($3::bytea IS NULL OR key > $3)
     AND (expires_at IS NULL OR expires_at > $4)
 ORDER BY key LIMIT $5";

/// What is to be written.
pub(super) struct Put<'a> {
    pub(super) key: &'a str,
    pub(super) value: &'a [u8],
    pub(super) mode: PutMode,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) now: Timestamp,
    /// The most bytes of state. Writers at the same moment may each just fit.
    pub(super) bytes_max: u64,
}

/// There is room: what is in use, without the value that is replaced, and the new one are not too much.
macro_rules! room {
    () => {
        "(SELECT sum(bytes) FROM lavender.state_totals) + octet_length($1::bytea) + octet_length($2::bytea)
             - coalesce((SELECT octet_length(key) + octet_length(value) FROM lavender.state WHERE key = $1), 0)
             <= $4::bigint"
    };
}

macro_rules! insert {
    ($condition:literal) => {
        concat!(
            "INSERT INTO lavender.state AS s (key, value, version, expires_at)
             SELECT $1::bytea, $2::bytea, nextval('lavender.state_version'), $3::bigint WHERE ",
            room!(),
            " ON CONFLICT (key) DO UPDATE
                 SET value = excluded.value, version = excluded.version, expires_at = excluded.expires_at
                 WHERE ",
            $condition,
            " RETURNING version"
        )
    };
}

/// Writes a value. What has expired makes room where there is none.
pub(super) async fn put(client: &Client, put: &Put<'_>) -> Result<Version> {
    for room_was_made in [false, true] {
        if let Some(version) = try_put(client, put).await? {
            return Ok(version);
        }
        let current = get(client, put.key, put.now).await?.map(|(_, version)| version);
        let holds = match put.mode {
            PutMode::Create => current.is_none(),
            PutMode::Update(version) => current == Some(version),
            PutMode::Overwrite => true,
        };
        if !holds {
            return Err(PostgresError::Conflict(format!(
                "`{}` was to be written by {:?}, and its version is {current:?}",
                put.key, put.mode
            )));
        }
        if !room_was_made {
            sweep(client, put.now).await?;
        }
    }
    let used: i64 = client
        .query_one("SELECT sum(bytes)::bigint FROM lavender.state_totals", &[])
        .await?
        .try_get(0)?;
    Err(PostgresError::StateFull { used: used.max(0).cast_unsigned(), max: put.bytes_max })
}

/// `None` where the condition does not hold, or there is no room.
async fn try_put(client: &Client, put: &Put<'_>) -> Result<Option<Version>> {
    let (key, value) = (put.key.as_bytes(), put.value);
    let expires_at = put.expires_at.map(Timestamp::as_nanos);
    let max = i64::try_from(put.bytes_max).unwrap_or(i64::MAX);
    let now = put.now.as_nanos();
    let row = match put.mode {
        PutMode::Create => {
            let insert = client.prepare_cached(insert!("s.expires_at <= $5::bigint")).await?;
            client.query_opt(&insert, &[&key, &value, &expires_at, &max, &now]).await?
        }
        PutMode::Overwrite => {
            let insert = client.prepare_cached(insert!("true")).await?;
            client.query_opt(&insert, &[&key, &value, &expires_at, &max]).await?
        }
        PutMode::Update(Version(version)) => {
            let update = concat!(
                "UPDATE lavender.state
                 SET value = $2, version = nextval('lavender.state_version'), expires_at = $3
                 WHERE key = $1 AND version = $6::bigint
                     AND (expires_at IS NULL OR expires_at > $5::bigint) AND ",
                room!(),
                " RETURNING version"
            );
            let update = client.prepare_cached(update).await?;
            let version = version.cast_signed();
            client.query_opt(&update, &[&key, &value, &expires_at, &max, &now, &version]).await?
        }
    };
    let version: Option<i64> = row.map(|row| row.try_get(0)).transpose()?;
    Ok(version.map(|version| Version(version.cast_unsigned())))
}

/// Deletes what has expired; what is being written just now is left for the next time.
pub(super) async fn sweep(client: &Client, now: Timestamp) -> Result<()> {
    let delete = client
        .prepare_cached(
            "DELETE FROM lavender.state
             WHERE (SELECT pg_try_advisory_xact_lock(7809644666444607332)) AND key IN (
                 SELECT key FROM lavender.state WHERE expires_at <= $1 ORDER BY key FOR UPDATE SKIP LOCKED
             )",
        )
        .await?;
    client.execute(&delete, &[&now.as_nanos()]).await?;
    Ok(())
}

/// Removes a value.
pub(super) async fn delete(client: &Client, key: &str) -> Result<()> {
    let delete = client.prepare_cached("DELETE FROM lavender.state WHERE key = $1").await?;
    client.execute(&delete, &[&key.as_bytes()]).await?;
    Ok(())
}
