//! Alerts as the API shows them.

use std::sync::Arc;

use lavender_core::event::Process;
use lavender_core::store::{AlertRecord, AlertStatistics, StatusChange};
use lavender_core::{Alert, AlertStatus, Severity};
use serde::Serialize;
use utoipa::ToSchema;

use crate::extract::Time;

/// What a list of alerts shows of each.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AlertSummary {
    /// Its id.
    pub id: String,
    /// How often its status was changed: to be given back by who changes it.
    pub revision: u64,
    /// What has been done about it.
    #[schema(value_type = String, example = "open")]
    pub status: AlertStatus,
    /// How bad it is.
    #[schema(value_type = String, example = "high")]
    pub severity: Severity,
    /// The id of the rule that found it.
    pub rule: String,
    /// The rule's title.
    pub title: String,
    /// The ATT&CK techniques that the rule names.
    pub techniques: Vec<String>,
    /// The agent on whose host it happened.
    pub agent: String,
    /// The host.
    pub host: String,
    /// When the event happened that completed it.
    #[schema(value_type = String, format = DateTime)]
    pub observed_at: Time,
    /// When the rule found it.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Time,
    /// When its status was last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub updated_at: Option<Time>,
    /// The kind of that event.
    pub event_kind: String,
    /// What it is part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
    /// The risk score of its process tree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<u32>,
    /// How often it was repeated.
    pub repeats: u64,
    /// Whether it matched for certain.
    pub certain: bool,
    /// Whether events were lost in its window.
    pub incomplete: bool,
    /// The process that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessView>,
}

impl From<&AlertRecord> for AlertSummary {
    fn from(record: &AlertRecord) -> Self {
        let alert: &Alert = &record.alert;
        Self {
            id: alert.id.to_string(),
            revision: record.revision.0,
            status: alert.status,
            severity: alert.severity,
            rule: alert.rule.id.to_string(),
            title: alert.rule.title.to_string(),
            techniques: alert.rule.techniques().collect(),
            agent: alert.source.agent.to_string(),
            host: alert.source.host.to_string(),
            observed_at: Time(alert.observed_at),
            created_at: Time(alert.created_at),
            updated_at: record.updated_at.map(Time),
            event_kind: alert.event_kind.to_string(),
            incident: alert.incident.map(|incident| incident.to_string()),
            score: alert.risk.as_ref().map(|risk| risk.score),
            repeats: alert.repeats.map_or(0, |repeats| repeats.count),
            certain: alert.certainty.is_certain(),
            incomplete: alert.incomplete,
            process: alert.process.as_deref().map(ProcessView::from),
        }
    }
}

/// Everything of one alert.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AlertDetail {
    /// What a list shows of it.
    #[serde(flatten)]
    pub summary: AlertSummary,
    /// What the rule is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The rule's tags.
    pub tags: Vec<String>,
    /// What else can cause it.
    pub false_positives: Vec<String>,
    /// Where to read more.
    pub references: Vec<String>,
    /// The fields and values that made the rule match.
    pub evidence: Vec<EvidenceView>,
    /// The ids of the events that it rests on.
    pub events: Vec<String>,
    /// The capture with what came before, as the path of a file on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture: Option<String>,
    /// The process's ancestors, the parent first.
    pub ancestors: Vec<ProcessView>,
    /// Every change of its status, the oldest first.
    pub history: Vec<StatusChangeView>,
}

impl AlertDetail {
    /// Everything of one alert, with the changes of its status.
    pub fn of(record: &AlertRecord, history: Vec<StatusChange>) -> Self {
        let alert: &Alert = &record.alert;
        let texts = |all: &[std::sync::Arc<str>]| all.iter().map(ToString::to_string).collect();
        let ancestors = alert.process.iter().flat_map(|process| process.ancestors());
        Self {
            summary: record.into(),
            description: alert.rule.description.as_ref().map(ToString::to_string),
            tags: texts(&alert.rule.tags),
            false_positives: texts(&alert.rule.false_positives),
            references: texts(&alert.rule.references),
            evidence: alert
                .evidence
                .iter()
                .map(|evidence| EvidenceView {
                    field: evidence.field.to_string(),
                    value: evidence.value.to_string_lossy().into_owned(),
                })
                .collect(),
            events: alert.events.iter().map(ToString::to_string).collect(),
            capture: alert.capture.as_deref().map(Into::into),
            ancestors: ancestors.map(|process| ProcessView::from(&**process)).collect(),
            history: history.into_iter().map(StatusChangeView::from).collect(),
        }
    }
}

/// A field that made a rule match.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EvidenceView {
    /// The field.
    pub field: String,
    /// Its value, with a mark for each byte that is no text.
    pub value: String,
}

/// A process.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProcessView {
    /// Its id: no other process has it, whatever its pid.
    pub process_id: String,
    /// Its pid.
    pub pid: u32,
    /// The program's path.
    pub executable: String,
    /// The arguments, joined by spaces.
    pub command_line: String,
    /// The working directory.
    pub working_directory: String,
    /// The user's id.
    pub uid: u32,
    /// The user's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The container that it runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// The container's name in its pod, or else at its runtime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
    /// The image that the container was made of, as its runtime names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_image: Option<String>,
    /// The name of the Kubernetes pod that the container is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// The namespace of the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_namespace: Option<String>,
}

impl From<&Process> for ProcessView {
    fn from(process: &Process) -> Self {
        let text = |text: Option<&Arc<str>>| text.map(ToString::to_string);
        let container = process.container.as_deref();
        let pod = container.and_then(|container| container.pod.as_ref());
        Self {
            process_id: process.id().to_string(),
            pid: process.pid,
            executable: process.executable.path.value.to_string_lossy().into_owned(),
            command_line: String::from_utf8_lossy(process.arguments.value.command_line())
                .into_owned(),
            working_directory: process.working_directory.value.to_string_lossy().into_owned(),
            uid: process.credentials.uid,
            user: process.user.as_ref().map(ToString::to_string),
            container_id: container.map(|container| container.id.to_string()),
            container_name: text(container.and_then(|container| container.name.as_ref())),
            container_image: text(container.and_then(|container| container.image.as_ref())),
            pod_name: text(pod.and_then(|pod| pod.name.as_ref())),
            pod_namespace: text(pod.and_then(|pod| pod.namespace.as_ref())),
        }
    }
}

/// A change of an alert's status.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StatusChangeView {
    /// The status before.
    #[schema(value_type = String)]
    pub from: AlertStatus,
    /// The status after.
    #[schema(value_type = String)]
    pub to: AlertStatus,
    /// Who.
    pub actor: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
}

impl From<StatusChange> for StatusChangeView {
    fn from(change: StatusChange) -> Self {
        Self {
            from: change.from,
            to: change.to,
            actor: change.actor.to_string(),
            reason: change.reason.map(|reason| reason.to_string()),
            at: Time(change.at),
        }
    }
}

/// A rule.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RuleView {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// How bad what it finds is.
    #[schema(value_type = String)]
    pub severity: Severity,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The ATT&CK techniques that it names.
    pub techniques: Vec<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Whether it relates what other rules find.
    pub correlation: bool,
}

/// How many, by name.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CountView {
    /// Of what.
    pub name: String,
    /// How many.
    pub count: u64,
}

/// One bucket of time.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BucketView {
    /// Its first moment.
    #[schema(value_type = String, format = DateTime)]
    pub from: Time,
    /// How many of each severity; those without any are left out.
    pub by_severity: Vec<CountView>,
}

/// Alerts, counted.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StatisticsView {
    /// All of them.
    pub total: u64,
    /// By status.
    pub by_status: Vec<CountView>,
    /// By severity.
    pub by_severity: Vec<CountView>,
    /// The buckets of time that have any, the oldest first.
    pub buckets: Vec<BucketView>,
    /// The most frequent techniques.
    pub techniques: Vec<CountView>,
    /// The most frequent rules, by id.
    pub rules: Vec<CountView>,
    /// The agents with most alerts.
    pub agents: Vec<CountView>,
}

fn count(name: impl ToString, count: u64) -> CountView {
    CountView { name: name.to_string(), count }
}

impl From<AlertStatistics> for StatisticsView {
    fn from(statistics: AlertStatistics) -> Self {
        let by_severity = |counts: [u64; 5]| -> Vec<CountView> {
            let all = Severity::ALL.into_iter().zip(counts);
            all.map(|(severity, number)| count(severity, number)).collect()
        };
        let by_status = AlertStatus::ALL.into_iter().zip(statistics.by_status);
        Self {
            total: statistics.total,
            by_status: by_status.map(|(status, number)| count(status, number)).collect(),
            by_severity: by_severity(statistics.by_severity),
            buckets: statistics
                .buckets
                .into_iter()
                .map(|bucket| {
                    let mut counts = by_severity(bucket.by_severity);
                    counts.retain(|count| count.count > 0);
                    BucketView { from: Time(bucket.from), by_severity: counts }
                })
                .collect(),
            techniques: statistics
                .techniques
                .into_iter()
                .map(|technique| count(technique.technique, technique.count))
                .collect(),
            rules: statistics.rules.into_iter().map(|rule| count(rule.rule, rule.count)).collect(),
            agents: statistics
                .agents
                .into_iter()
                .map(|agent| count(agent.agent, agent.count))
                .collect(),
        }
    }
}
