//! Events as rows: how the two ways of writing them take them.

use std::pin::pin;
use std::sync::Arc;

use deadpool_postgres::Transaction;
use lavender_core::codec;
use lavender_core::event::{Event, EventData};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::error::{PostgresError, Result};
use super::process::NewProcesses;
use super::text::escaped;
use crate::day::Day;
use crate::process::StoredProcesses;

/// Those of the columns, in the order in which both ways name them.
const TYPES: [Type; 11] = [
    Type::INT4,
    Type::UUID,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::UUID,
    Type::UUID,
    Type::UUID,
    Type::TEXT,
    Type::TEXT,
];

/// Events column by column.
pub(super) struct Columns<'e> {
    ids: Vec<Uuid>,
    times: Vec<i64>,
    boot_times: Vec<i64>,
    sequences: Vec<i64>,
    tids: Vec<i64>,
    process_ids: Vec<Option<Uuid>>,
    processes: Vec<Option<Uuid>>,
    responses: Vec<Option<Uuid>>,
    kinds: Vec<std::borrow::Cow<'e, str>>,
    data: Vec<String>,
}

impl<'e> Columns<'e> {
    pub(super) fn new(
        events: &[&'e Arc<Event>],
        stored: &StoredProcesses<Uuid>,
        new: &mut NewProcesses<'e>,
    ) -> Result<Self> {
        let digest = |event: &&'e Arc<Event>| {
            let of_day = |process| {
                new.digest(stored, Day::of(event.observed_at), event.observed_at, process)
            };
            event.process.as_ref().map(of_day).transpose()
        };
        let processes = events.iter().map(digest).collect::<Result<_>>()?;
        let events = || events.iter().map(|event| &***event);
        Ok(Self {
            ids: events().map(|event| Uuid::from_u128(event.id.as_u128())).collect(),
            times: events().map(|event| event.observed_at.as_nanos()).collect(),
            boot_times: events().map(|event| event.boot_time.as_nanos().cast_signed()).collect(),
            sequences: events().map(|event| event.id.sequence().cast_signed()).collect(),
            tids: events().map(|event| i64::from(event.tid)).collect(),
            process_ids: events().map(process_id).collect(),
            processes,
            responses: events().map(response_to).collect(),
            kinds: events().map(kind).collect(),
            data: events().map(data).collect::<Result<_>>()?,
        })
    }

    /// Copies the rows in. Fails where one of them is there already.
    pub(super) async fn copy(
        &self,
        transaction: &Transaction<'_>,
        source: i32,
    ) -> Result<(), tokio_postgres::Error> {
        let copy = transaction
            .prepare_cached(
                "COPY lavender.events (source, event_id, observed_at, boot_time, sequence, tid, process_id, process,
                     response_to, kind, data) FROM STDIN BINARY",
            )
            .await?;
        let mut rows = pin!(BinaryCopyInWriter::new(transaction.copy_in(&copy).await?, &TYPES));
        for number in 0..self.ids.len() {
            let row: [&(dyn ToSql + Sync); 11] = [
                &source,
                &self.ids[number],
                &self.times[number],
                &self.boot_times[number],
                &self.sequences[number],
                &self.tids[number],
                &self.process_ids[number],
                &self.processes[number],
                &self.responses[number],
                &self.kinds[number],
                &self.data[number],
            ];
            rows.as_mut().write(&row).await?;
        }
        rows.finish().await?;
        Ok(())
    }

    /// Writes the rows and passes over those that are there; returns the ids of those that were not.
    pub(super) async fn write(
        &self,
        transaction: &Transaction<'_>,
        source: i32,
    ) -> Result<Vec<Uuid>, tokio_postgres::Error> {
        let insert = transaction
            .prepare_cached(
                "INSERT INTO lavender.events (source, event_id, observed_at, boot_time, sequence, tid, process_id,
                     process, response_to, kind, data)
                 SELECT $1::int, * FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                     $7::uuid[], $8::uuid[], $9::uuid[], $10::text[], $11::text[])
                 ON CONFLICT DO NOTHING RETURNING event_id",
            )
            .await?;
        let columns: [&(dyn ToSql + Sync); 11] = [
            &source,
            &self.ids,
            &self.times,
            &self.boot_times,
            &self.sequences,
            &self.tids,
            &self.process_ids,
            &self.processes,
            &self.responses,
            &self.kinds,
            &self.data,
        ];
        let rows = transaction.query(&insert, &columns).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

fn process_id(event: &Event) -> Option<Uuid> {
    event.process.as_ref().map(|process| Uuid::from_u128(process.exec_id.process.as_u128()))
}

fn response_to(event: &Event) -> Option<Uuid> {
    match &event.data {
        EventData::Response(response) => {
            response.order.cause.alert().map(|alert| Uuid::from_u128(alert.as_u128()))
        }
        _ => None,
    }
}

fn kind(event: &Event) -> std::borrow::Cow<'_, str> {
    match &event.data {
        EventData::Unknown { kind, .. } => escaped(kind),
        known => known.kind().as_str().into(),
    }
}

fn data(event: &Event) -> Result<String> {
    let data = codec::data_to_json(&event.data)
        .map_err(|error| PostgresError::Invalid(format!("event {}: {error}", event.id)))?;
    if data.contains('\0') {
        let why = format!("event {}: its body is not JSON, there is a NUL in it", event.id);
        return Err(PostgresError::Invalid(why));
    }
    Ok(data)
}
