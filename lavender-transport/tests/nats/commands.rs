//! Commands over JetStream: each agent reads its own, and reports as itself.

use std::time::Duration;

use lavender_core::command::{
    CommandAction, CommandRefusal, CommandReport, CommandSink as _, CommandSource as _, KeyId,
    ReportSource as _, Signer,
};
use lavender_core::conformance;
use lavender_core::conformance::sample::START;
use lavender_core::{AgentId, Bytes, ErrorKind, TenantId};
use lavender_transport::nats::{JetStream, command_permissions};

use crate::allowed::Site;
use crate::server::{Server, available};

fn who(agent: &str) -> (TenantId, AgentId) {
    (TenantId::new("acme").unwrap(), AgentId::new(agent).unwrap())
}

fn ping(agent: &str) -> Bytes {
    let signer = Signer::from_secret(KeyId::new("ops-1").unwrap(), &[7; 32]);
    let (tenant, agent) = who(agent);
    let minute = Duration::from_secs(60);
    signer.order(tenant, agent, CommandAction::Ping, START, minute).unwrap().to_bytes().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms() {
    if !available() {
        return;
    }
    let server = Server::start().await;
    let transport = server.open().await;
    let (tenant, agent) = who("web-1");
    let mut source = transport.commands(&tenant, &agent).await.unwrap();
    let mut reports = transport.command_reports().await.unwrap();
    conformance::command_delivery((&tenant, &agent), &transport, &mut source, &mut reports).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_again_comes_once_and_waits_for_the_agent() {
    if !available() {
        return;
    }
    let server = Server::start().await;
    let transport = server.open().await;
    let ((tenant, agent), signed) = (who("web-1"), ping("web-1"));
    for _ in 0..3 {
        transport.publish(&tenant, &agent, signed.clone()).await.unwrap();
    }
    let error = transport.publish(&tenant, &agent, Bytes::from_static(b"garbage")).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
    let mut source = transport.commands(&tenant, &agent).await.unwrap();
    let delivery = source.next().await.unwrap().unwrap();
    assert_eq!(delivery.signed, signed);
    delivery.reply.report(Vec::new()).await.unwrap();
    let more = tokio::time::timeout(Duration::from_millis(500), source.next()).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_reads_its_own_commands_and_reports_as_itself() {
    if !available() {
        return;
    }
    let site = Site::start().await;
    let plane = JetStream::open(site.options("worker")).await.unwrap();
    let mut reports = plane.command_reports().await.unwrap();
    for agent in ["web-1", "web-2"] {
        let (tenant, to) = who(agent);
        plane.publish(&tenant, &to, ping(agent)).await.unwrap();
    }
    let agent = JetStream::open(site.options("web-1")).await.unwrap();
    let ((tenant, own), (_, other)) = (who("web-1"), who("web-2"));
    let mut source = agent.commands(&tenant, &own).await.unwrap();
    let delivery = source.next().await.unwrap().unwrap();
    let refusal = |agent: &AgentId| {
        CommandReport::Refusal(CommandRefusal {
            tenant: tenant.clone(),
            agent: agent.clone(),
            claimed: None,
            reason: "a test".into(),
            refused_at: START,
        })
    };
    // It may not read what is for its neighbour, nor give commands.
    agent.commands(&tenant, &other).await.unwrap_err();
    let error = agent.publish(&tenant, &other, ping("web-2")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    // What it says in its neighbour's name is not believed.
    delivery.reply.report(vec![refusal(&other), refusal(&own)]).await.unwrap();
    let told = reports.next().await.unwrap().unwrap();
    assert_eq!(told.report, refusal(&own));
    told.ack.ack().await.unwrap();
    assert_eq!(command_permissions(&tenant, &own).len(), 4);
}
