//! Alerts on the wire: one by itself, or a batch of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{CodecError, Lineage, OwnedLineage, VERSION, header_of, lines_of, push_line};
use crate::alert::{AgentIdentity, Alert, AlertStatus};
use crate::event::EventKind;
use crate::id::{AlertId, EventId, IncidentId};
use crate::risk::{Repeats, Risk};
use crate::rule::{Certainty, Evidence, RuleMeta, Severity};
use crate::time::{BootTime, Timestamp};

#[derive(Serialize, Deserialize)]
struct Header {
    lavender: u32,
    #[serde(flatten)]
    source: AgentIdentity,
    alerts: usize,
}

/// One alert as it is written. The kind comes first, so that a stream of events and alerts can be told
/// apart by eye.
#[derive(Serialize, Deserialize)]
struct AlertLine<S, R, K, P, E> {
    kind: Arc<str>,
    id: AlertId,
    severity: Severity,
    status: AlertStatus,
    #[serde(flatten)]
    source: S,
    observed_at: Timestamp,
    boot_time: BootTime,
    created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    incident: Option<IncidentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repeats: Option<Repeats>,
    event_kind: EventKind,
    rule: R,
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    risk: Option<K>,
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    process: Option<P>,
    evidence: E,
    certainty: Certainty,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    incomplete: bool,
    events: Vec<EventId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capture: Option<Arc<str>>,
}

/// One alert as a line of JSON, without the line's end; its process and the ancestors stand inside.
///
/// # Errors
///
/// [`CodecError::Write`] for a value that JSON cannot hold.
pub fn alert_to_json(alert: &Alert) -> Result<String, CodecError> {
    serde_json::to_string(&AlertLine {
        kind: "alert".into(),
        id: alert.id,
        severity: alert.severity,
        status: alert.status,
        source: &alert.source,
        observed_at: alert.observed_at,
        boot_time: alert.boot_time,
        created_at: alert.created_at,
        incident: alert.incident,
        repeats: alert.repeats,
        event_kind: alert.event_kind,
        rule: &*alert.rule,
        risk: alert.risk.as_deref(),
        process: alert.process.as_ref().map(Lineage::of),
        evidence: &alert.evidence,
        certainty: alert.certainty.clone(),
        incomplete: alert.incomplete,
        events: alert.events.clone(),
        capture: alert.capture.clone(),
    })
    .map_err(CodecError::Write)
}

type OwnedAlertLine = AlertLine<AgentIdentity, RuleMeta, Risk, OwnedLineage, Vec<Evidence>>;

impl OwnedAlertLine {
    fn into_alert(self) -> Alert {
        Alert {
            id: self.id,
            source: self.source,
            rule: Arc::new(self.rule),
            severity: self.severity,
            status: self.status,
            observed_at: self.observed_at,
            boot_time: self.boot_time,
            created_at: self.created_at,
            event_kind: self.event_kind,
            events: self.events,
            process: self.process.map(OwnedLineage::join),
            evidence: self.evidence,
            certainty: self.certainty,
            incomplete: self.incomplete,
            incident: self.incident,
            risk: self.risk.map(Arc::new),
            repeats: self.repeats,
            capture: self.capture,
        }
    }
}

/// Reads what [`alert_to_json`] wrote.
///
/// # Errors
///
/// [`CodecError::Line`].
pub fn alert_from_json(json: &str) -> Result<Alert, CodecError> {
    let line: OwnedAlertLine =
        serde_json::from_str(json).map_err(|source| CodecError::Line { line: 1, source })?;
    Ok(line.into_alert())
}

/// Writes alerts of one agent as a batch.
///
/// # Errors
///
/// [`CodecError::Write`] for a value that JSON cannot hold, [`CodecError::Source`] for an alert of another agent.
pub fn encode_alerts(source: &AgentIdentity, alerts: &[Arc<Alert>]) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::with_capacity(2_048 * alerts.len() + 128);
    let header = Header { lavender: VERSION, source: source.clone(), alerts: alerts.len() };
    push_line(&mut out, &header)?;
    for (at, alert) in alerts.iter().enumerate() {
        if alert.source != *source {
            return Err(CodecError::Source { line: at + 2 });
        }
        out.extend_from_slice(alert_to_json(alert)?.as_bytes());
        out.push(b'\n');
    }
    Ok(out)
}

/// Reads what [`encode_alerts`] wrote.
///
/// # Errors
///
/// What is wrong and on which line; nothing of a batch with an error is used.
pub fn decode_alerts(bytes: &[u8]) -> Result<(AgentIdentity, Vec<Arc<Alert>>), CodecError> {
    let mut lines = lines_of(bytes);
    let header: Header = header_of(&mut lines, |header: &Header| (header.lavender, header.alerts))?;
    let mut alerts = Vec::new();
    for (line, text) in lines {
        let parsed: OwnedAlertLine =
            serde_json::from_slice(text).map_err(|source| CodecError::Line { line, source })?;
        let alert = parsed.into_alert();
        if alert.source != header.source {
            return Err(CodecError::Source { line });
        }
        alerts.push(Arc::new(alert));
    }
    if alerts.len() != header.alerts {
        return Err(CodecError::Count { expected: header.alerts, found: alerts.len() });
    }
    Ok((header.source, alerts))
}
