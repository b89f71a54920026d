//! Commands to agents, and what they report.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use bytes::Bytes;
use lavender_core::command::{
    CommandDelivery, CommandOutcome, CommandReply, CommandReport, CommandSink, CommandSource,
    ReportDelivery, ReportSource, SignedCommand,
};
use lavender_core::{AgentId, ErrorKind, Result, TenantId, async_trait};

use super::answer::JetStreamAck;
use super::consume::EnvelopeDelivery;
use super::{EnvelopeConsumer, JetStream};

const COMMANDS: &str = "COMMANDS";
pub(super) const RESULTS: &str = "COMMAND_RESULTS";

/// The durable by which control planes share what agents report.
pub(super) const CONTROL_PLANE: &str = "control-plane";

/// How long the durable of an agent is kept that does not come: longer than its commands.
const KEPT_FOR: Duration = Duration::from_secs(14 * 24 * 3_600);

/// The durable of an agent. The length keeps names apart that have dashes in them.
fn durable_of(tenant: &TenantId, agent: &AgentId) -> String {
    format!("agent-{}-{tenant}-{agent}", tenant.as_str().len())
}

/// What an agent's user must be permitted, to take commands and to report.
///
/// Beside `telemetry.raw.…`, `alerts.…` and `heartbeat.…`. It lets an agent read its own commands, and report as itself,
/// and do neither for another.
///
/// ```
/// use lavender_core::{AgentId, TenantId};
/// use lavender_transport::nats::command_permissions;
///
/// # fn main() -> Result<(), lavender_core::IdError> {
/// let publish = command_permissions(&TenantId::new("acme")?, &AgentId::new("web-1")?);
/// assert_eq!(publish[0], "cmd.result.acme.web-1");
/// assert_eq!(publish[1], "$JS.API.CONSUMER.CREATE.COMMANDS.agent-4-acme-web-1.cmd.acme.web-1");
/// # Ok(())
/// # }
/// ```
pub fn command_permissions(tenant: &TenantId, agent: &AgentId) -> [String; 4] {
    let durable = durable_of(tenant, agent);
    [
        format!("cmd.result.{tenant}.{agent}"),
        format!("$JS.API.CONSUMER.CREATE.{COMMANDS}.{durable}.cmd.{tenant}.{agent}"),
        format!("$JS.API.CONSUMER.MSG.NEXT.{COMMANDS}.{durable}"),
        format!("$JS.ACK.{COMMANDS}.{durable}.>"),
    ]
}

impl JetStream {
    /// Begins to read what comes for an agent, or goes on where it was. The durable is made if it is missing, with these
    /// [permissions](command_permissions).
    ///
    /// # Errors
    ///
    /// When the stream is missing, or the durable cannot be had.
    pub async fn commands(&self, tenant: &TenantId, agent: &AgentId) -> Result<JetStreamCommands> {
        let config = pull::Config {
            durable_name: Some(durable_of(tenant, agent)),
            filter_subject: format!("cmd.{tenant}.{agent}"),
            inactive_threshold: KEPT_FOR,
            ..self.durable_config()
        };
        let consumer = self.subscribe_to(COMMANDS, config).await?;
        let subject = format!("cmd.result.{tenant}.{agent}");
        Ok(JetStreamCommands { consumer, transport: self.clone(), subject })
    }

    /// Begins to read what agents report, or goes on where it was: for control planes, which share it.
    ///
    /// # Errors
    ///
    /// When the stream is missing, or the durable cannot be had.
    pub async fn command_reports(&self) -> Result<JetStreamReports> {
        let config =
            pull::Config { durable_name: Some(CONTROL_PLANE.to_owned()), ..self.durable_config() };
        Ok(JetStreamReports(self.subscribe_to(RESULTS, config).await?))
    }

    fn durable_config(&self) -> pull::Config {
        pull::Config {
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.shared.options.consumer.ack_wait,
            max_deliver: -1,
            ..pull::Config::default()
        }
    }

    async fn subscribe_to(&self, stream: &str, config: pull::Config) -> Result<EnvelopeConsumer> {
        let shared = &*self.shared;
        let made = shared.connection.context.create_consumer_on_stream(config, stream).await;
        let durable = made.map_err(|error| {
            let why = format!("what is in stream {stream} cannot be read: {error}");
            shared.connection.error(ErrorKind::Unavailable, why)
        })?;
        EnvelopeConsumer::open(
            shared.connection.clone(),
            durable,
            shared.options.consumer,
            shared.dropped.clone(),
            shared.closed.subscribe(),
        )
        .await
    }

    /// Publishes under an id, by which publishing it again is publishing it once.
    async fn publish_as(&self, subject: &str, id: &str, body: Bytes) -> Result<()> {
        let outbox = &self.shared.outbox;
        outbox.send_one(subject, id, body).await.map_err(|fault| outbox.error(fault))
    }
}

#[async_trait]
impl CommandSink for JetStream {
    async fn publish(&self, tenant: &TenantId, agent: &AgentId, signed: Bytes) -> Result<()> {
        let command = SignedCommand::from_bytes(&signed)
            .map_err(|error| self.shared.connection.error(ErrorKind::Invalid, error))?;
        let id = format!("cmd/{tenant}/{agent}/{}", command.claimed_id());
        self.publish_as(&format!("cmd.{tenant}.{agent}"), &id, signed).await
    }
}

/// What comes for one agent. See [`JetStream::commands`].
#[derive(Debug)]
pub struct JetStreamCommands {
    consumer: EnvelopeConsumer,
    transport: JetStream,
    subject: String,
}

#[async_trait]
impl CommandSource for JetStreamCommands {
    async fn next(&mut self) -> Result<Option<CommandDelivery>> {
        let Some(delivery) = self.consumer.next(1).await?.pop() else { return Ok(None) };
        let EnvelopeDelivery { body, attempt, sequence, ack, .. } = delivery;
        let reply = JetStreamReply {
            transport: self.transport.clone(),
            subject: self.subject.clone(),
            sequence,
            ack,
        };
        Ok(Some(CommandDelivery { signed: body, attempt, reply: Box::new(reply) }))
    }
}

/// Reports, and then acknowledges what it is about.
#[derive(Debug)]
struct JetStreamReply {
    transport: JetStream,
    subject: String,
    sequence: u64,
    ack: JetStreamAck,
}

impl JetStreamReply {
    /// A report as bytes. What the broker does not take is said, and left out.
    fn encode(&self, report: &CommandReport) -> Result<Bytes> {
        let encode = |report: &CommandReport| {
            let error = |error| self.transport.shared.connection.error(ErrorKind::Internal, error);
            serde_json::to_vec(report).map_err(|why| error(Box::new(why)))
        };
        let body = encode(report)?;
        let (bytes, most) = (body.len(), self.transport.shared.outbox.body_bytes_max());
        match report {
            CommandReport::Result(result) if bytes > most => {
                let reason = format!("what it gave takes {bytes} bytes, and the broker {most}");
                let outcome = CommandOutcome::Failed { reason: reason.into() };
                let mut result = result.clone();
                result.outcome = outcome;
                Ok(encode(&CommandReport::Result(result))?.into())
            }
            _ => Ok(body.into()),
        }
    }
}

#[async_trait]
impl CommandReply for JetStreamReply {
    async fn report(self: Box<Self>, reports: Vec<CommandReport>) -> Result<()> {
        for (number, report) in reports.iter().enumerate() {
            let about = match report {
                CommandReport::Result(result) => result.command.to_string(),
                _ => "refusal".to_owned(),
            };
            // By the delivery: one that comes again reports again, and once.
            let id = format!("{}/{about}/{}/{number}", self.subject, self.sequence);
            self.transport.publish_as(&self.subject, &id, self.encode(report)?).await?;
        }
        self.ack.confirm("+ACK").await
    }
}

/// What agents report. See [`JetStream::command_reports`].
#[derive(Debug)]
pub struct JetStreamReports(EnvelopeConsumer);

#[async_trait]
impl ReportSource for JetStreamReports {
    async fn next(&mut self) -> Result<Option<ReportDelivery>> {
        loop {
            let Some(delivery) = self.0.next(1).await?.pop() else { return Ok(None) };
            match read(&delivery) {
                Ok(report) => {
                    return Ok(Some(ReportDelivery { report, ack: Box::new(delivery.ack) }));
                }
                Err(reason) => {
                    // Said, and left to come again, where it cannot be put aside.
                    if let Err(error) = delivery.reject(reason).await {
                        tracing::error!(%error, "a report that is none comes again");
                    }
                }
            }
        }
    }
}

/// Reads a report, which must be of the agent that may publish on its subject.
fn read(delivery: &EnvelopeDelivery) -> Result<CommandReport, String> {
    let report: CommandReport =
        serde_json::from_slice(&delivery.body).map_err(|error| error.to_string())?;
    let subject = format!("cmd.result.{}.{}", report.tenant(), report.agent());
    if subject == delivery.subject() {
        Ok(report)
    } else {
        Err(format!("it is of {}.{}, and not of who sent it", report.tenant(), report.agent()))
    }
}
