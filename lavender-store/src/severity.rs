//! Lists of alerts that are so bad or worse.

use lavender_core::store::AlertQuery;
use lavender_core::{AlertStatus, Severity};

/// The pairs of status and severity that a query selects, where these are what leads to its alerts.
///
/// Within a pair the index has the order of time, so a page is merged from the heads of a few pairs, and what is rare is
/// found at once. `None` where an agent, a rule, a technique or an incident leads, or nothing is left out.
pub(crate) fn pairs(query: &AlertQuery) -> Option<Vec<(AlertStatus, Severity)>> {
    let least = query.min_severity.filter(|least| *least > Severity::Informational)?;
    query.tenant.as_ref()?;
    let narrower = query.agent.is_some()
        || query.rule.is_some()
        || query.technique.is_some()
        || query.incident.is_some();
    if narrower {
        return None;
    }
    let statuses = AlertStatus::ALL
        .into_iter()
        .filter(|status| query.status.is_none_or(|only| only == *status));
    let worse = || Severity::ALL.into_iter().filter(|severity| *severity >= least);
    Some(statuses.flat_map(|status| worse().map(move |severity| (status, severity))).collect())
}
