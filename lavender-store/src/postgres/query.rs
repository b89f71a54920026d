//! The conditions of a query, as SQL with numbered parameters.

use deadpool_postgres::Transaction;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use super::error::Result;

/// Conditions that all must hold, and their values.
#[derive(Default)]
pub(super) struct Conditions {
    sql: String,
    values: Vec<Box<dyn ToSql + Sync + Send>>,
}

impl Conditions {
    /// One condition more; its `?` is the value.
    pub(super) fn and(&mut self, condition: &str, value: impl ToSql + Sync + Send + 'static) {
        if !self.sql.is_empty() {
            self.sql += " AND ";
        }
        self.more(condition, value);
    }

    /// Goes on with the condition that was begun.
    pub(super) fn more(&mut self, condition: &str, value: impl ToSql + Sync + Send + 'static) {
        self.values.push(Box::new(value));
        self.sql += &condition.replacen('?', &format!("${}", self.values.len()), 1);
    }

    /// The statement. Its last parameter is how many rows at most.
    pub(super) fn select(&self, columns: &str, table: &str, order: &str) -> String {
        let limit = self.values.len() + 1;
        let Self { sql, .. } = self;
        format!("SELECT {columns} FROM {table} WHERE {sql} ORDER BY {order} LIMIT ${limit}")
    }

    /// The first rows of several selections that share these conditions, each with one more of its own. Each is bounded
    /// by itself, so that the server reads it in the order of its index.
    pub(super) fn select_merged(
        &self,
        columns: &str,
        table: &str,
        each: impl Iterator<Item = String>,
        order: &str,
    ) -> String {
        let limit = self.values.len() + 1;
        let Self { sql, .. } = self;
        let first = format!("ORDER BY {order} LIMIT ${limit}");
        let selects =
            each.map(|own| format!("SELECT {columns} FROM {table} WHERE {sql} AND {own} {first}"));
        let selects: Vec<_> = selects.collect();
        // Of one alone the order is said already, and may not be said twice.
        match &selects[..] {
            [one] => one.clone(),
            _ => format!("({}) {first}", selects.join(") UNION ALL (")),
        }
    }

    /// The rows of a page, and one more where there are more.
    pub(super) async fn query(
        &self,
        transaction: &Transaction<'_>,
        select: &Statement,
        limit: usize,
    ) -> Result<Vec<Row>> {
        let limit = limit as i64 + 1;
        let mut values: Vec<&(dyn ToSql + Sync)> = Vec::with_capacity(self.values.len() + 1);
        values.extend(self.values.iter().map(|value| -> &(dyn ToSql + Sync) { &**value }));
        values.push(&limit);
        Ok(transaction.query(select, &values).await?)
    }
}
