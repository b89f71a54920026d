//! Lists of alerts: what leads to those of them that are asked for.

use lavender_core::store::AlertQuery;
use lavender_core::{AlertStatus, Severity};

/// The pairs of status and severity that a query selects, where an index has its alerts by these.
///
/// Within a pair the index has the order of time, so a page is merged from the heads of at most twenty, and what is rare
/// is found at once. `None` where an incident leads, of which there are few alerts, or nothing but time.
pub(crate) fn pairs(query: &AlertQuery) -> Option<Vec<(AlertStatus, Severity)>> {
    query.tenant.as_ref()?;
    let least = query.min_severity.unwrap_or(Severity::Informational);
    let narrowed = query.agent.is_some()
        || query.rule.is_some()
        || query.technique.is_some()
        || query.status.is_some()
        || least > Severity::Informational;
    if query.incident.is_some() || !narrowed {
        return None;
    }
    let statuses = AlertStatus::ALL
        .into_iter()
        .filter(|status| query.status.is_none_or(|only| only == *status));
    let worse = || Severity::ALL.into_iter().filter(|severity| *severity >= least);
    Some(statuses.flat_map(|status| worse().map(move |severity| (status, severity))).collect())
}
