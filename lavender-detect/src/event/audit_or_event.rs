//! A record of audit's with the event that it was made of.

use std::ops::ControlFlow;

use super::{AuditRecord, EventRecord};
use crate::record::{FieldValue, Record};
use crate::schema::FieldId;

/// What a correlation may group by where a rule matched one of audit's records: its fields, and those of the event.
#[derive(Debug)]
pub(crate) struct AuditOrEvent<'a> {
    pub(crate) audit: &'a AuditRecord<'a>,
    pub(crate) event: &'a EventRecord<'a>,
}

impl Record for AuditOrEvent<'_> {
    fn value(&self, field: FieldId) -> FieldValue<'_> {
        match self.audit.value(field) {
            FieldValue::Absent => self.event.value(field),
            value => value,
        }
    }

    fn elements(
        &self,
        field: FieldId,
        visit: &mut dyn FnMut(FieldValue<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self.audit.value(field) {
            FieldValue::Absent => self.event.elements(field, visit),
            _ => self.audit.elements(field, visit),
        }
    }
}
