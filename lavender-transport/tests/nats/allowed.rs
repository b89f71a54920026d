//! Who may what: mutual TLS, an nkey for each agent, and no agent that speaks for another.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lavender_core::command::{
    self, CommandAction, CommandOutcome, CommandReport, CommandResult, CommandSource as _, KeyId,
    ReportSource as _, SignedCommand, Signer,
};
use lavender_core::conformance::sample::Sample;
use lavender_core::ruleset::{PublishedRulesets, RuleFile, Ruleset};
use lavender_core::transport::{
    Message, Payload, Publisher as _, Subscriber as _, Subscription, Topic,
};
use lavender_core::{
    AgentId, BootId, Bytes, Clock as _, ErrorKind, Origin, Sequencer, SystemClock, TenantId,
};
use lavender_transport::ingest::{Ingest, IngestOptions};
use lavender_transport::nats::{
    BucketOptions, Credentials, JetStream, JetStreamOptions, Setup, command_permissions,
    control_plane_permissions, ruleset_permissions,
};
use lavender_transport::spool::{Reporter, SpoolOptions, Spooled};
use lavender_transport::{Retry, RetryOptions};
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair as CertificateKey};
use tempfile::TempDir;

use crate::server::{Server, available, small};

/// An authority, a server that trusts it, and users by nkey.
pub(crate) struct Site {
    server: Server,
    files: TempDir,
}

fn write(path: PathBuf, text: &str) -> PathBuf {
    std::fs::write(&path, text).unwrap();
    path
}

impl Site {
    pub(crate) async fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let path = |name: &str| files.path().join(name);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = CertificateKey::generate().unwrap();
        let authority = params.self_signed(&authority_key).unwrap();
        let ca = write(path("ca.pem"), &authority.pem());
        let issuer = Issuer::new(params, authority_key);
        for name in ["server", "client"] {
            let key = CertificateKey::generate().unwrap();
            let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
            let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer);
            write(path(&format!("{name}.pem")), &certificate.unwrap().pem());
            write(path(&format!("{name}.key")), &key.serialize_pem());
        }
        let mut users = String::new();
        for name in ["web-1", "web-2", "worker", "ingest", "control-plane"] {
            let pair = KeyPair::new_user();
            write(path(&format!("{name}.nk")), &format!("{}\n", pair.seed().unwrap()));
            let permissions = match name {
                "worker" => String::new(),
                "ingest" => {
                    "permissions { publish: { deny: \"telemetry.accepted.>\" } }".to_owned()
                }
                "control-plane" => {
                    let publish = control_plane_permissions(&[TenantId::new("acme").unwrap()]);
                    format!(
                        "permissions {{ publish: {publish:?}, subscribe: [\"_INBOX_{name}.>\"] }}"
                    )
                }
                agent => {
                    let (tenant, id) =
                        (TenantId::new("acme").unwrap(), AgentId::new(agent).unwrap());
                    let more: Vec<String> = command_permissions(&tenant, &id)
                        .into_iter()
                        .chain(ruleset_permissions(&tenant))
                        .map(|subject| format!("{subject:?}"))
                        .collect();
                    format!(
                        "permissions {{ publish: [\"telemetry.raw.acme.{agent}\", \"alerts.acme.{agent}\", {}], subscribe: [\"_INBOX_{agent}.>\"] }}",
                        more.join(", ")
                    )
                }
            };
            users.push_str(&format!("{{ nkey: {}, {permissions} }}\n", pair.public_key()));
        }
        let (cert, key) = (path("server.pem"), path("server.key"));
        let server = Server::start_with(&format!(
            "tls {{ cert_file: {cert:?}, key_file: {key:?}, ca_file: {ca:?}, verify: true }}\nauthorization {{ users: [\n{users}] }}"
        ))
        .await;
        let site = Self { server, files };
        // The worker makes the streams; agents may not.
        JetStream::open(site.options("worker")).await.unwrap();
        site
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    pub(crate) fn options(&self, user: &str) -> JetStreamOptions {
        let mut options = small(self.server.options());
        options.tls.required = true;
        options.tls.ca = Some(self.file("ca.pem"));
        options.tls.identity = Some((self.file("client.pem"), self.file("client.key")));
        options.credentials = Credentials::Nkey(self.file(&format!("{user}.nk")));
        if user.starts_with("web") || user == "control-plane" {
            (options.setup, options.inbox_prefix) = (Setup::Skip, Some(format!("_INBOX_{user}")));
        }
        options
    }
}

fn telemetry(sample: &mut Sample) -> Message {
    let source = sample.source().clone();
    Message { source, topic: Topic::TelemetryRaw, payload: Payload::Events(sample.busy(10)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_speaks_for_itself_and_for_no_other() {
    if !available() {
        return;
    }
    let site = Site::start().await;
    let agent = JetStream::open(site.options("web-1")).await.unwrap();
    let (mut own, mut other) = (Sample::new("acme", "web-1", 1), Sample::new("acme", "web-2", 2));
    let message = telemetry(&mut own);
    agent.publish(vec![message.clone()]).await.unwrap();

    // Refused when it happens, and not by waiting; and it is no matter of trying again.
    let started = tokio::time::Instant::now();
    let retrying = Retry::new(agent.clone(), RetryOptions::default());
    let error = retrying.publish(vec![telemetry(&mut other)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(error.to_string().contains("telemetry.raw.acme.web-2"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(4), "it waited for its timeout");
    // A tenant of another name, and a topic that only workers write.
    let mut foreign = telemetry(&mut Sample::new("rival", "web-1", 3));
    assert_eq!(agent.publish(vec![foreign.clone()]).await.unwrap_err().kind(), ErrorKind::Denied);
    foreign = telemetry(&mut own);
    foreign.topic = Topic::TelemetryAccepted;
    assert_eq!(agent.publish(vec![foreign]).await.unwrap_err().kind(), ErrorKind::Denied);
    // The refusals were no harm to what is permitted.
    let second = telemetry(&mut own);
    agent.publish(vec![second.clone()]).await.unwrap();
    // Nor may it read.
    let ingest = Subscription { topic: Topic::TelemetryRaw, durable: "ingest".into() };
    agent.subscribe(ingest.clone()).await.unwrap_err();

    let worker = JetStream::open(site.options("worker")).await.unwrap();
    let mut consumer = worker.subscribe(ingest).await.unwrap();
    let mut got = Vec::new();
    while got.len() < 2 {
        for delivery in consumer.next(10).await.unwrap() {
            got.push(delivery.message.clone());
            delivery.ack.ack().await.unwrap();
        }
    }
    assert_eq!(got, [message, second], "only what it may publish");
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_that_may_not_publish_says_so_and_does_not_try_for_ever() {
    if !available() {
        return;
    }
    let site = Site::start().await;
    let agent = JetStream::open(site.options("web-1")).await.unwrap();
    let mut sample = Sample::new("acme", "web-1", 1);
    sample.set_now(SystemClock.now());
    agent.publish(vec![telemetry(&mut sample)]).await.unwrap();
    let transport = JetStream::open(site.options("ingest")).await.unwrap();
    let mut bucket = BucketOptions::default();
    bucket.bytes_max = 8 << 20;
    let state = Arc::new(transport.state(bucket).await.unwrap());
    let ingest = Ingest::open(&transport, state, IngestOptions::default()).await.unwrap();
    let run = ingest.run(std::future::pending::<()>());
    let error = tokio::time::timeout(Duration::from_secs(90), run).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(error.to_string().contains("telemetry.accepted.acme.web-1"), "{error}");
    // It was not acknowledged.
    let worker = JetStream::open(site.options("worker")).await.unwrap();
    let mut consumer = worker.subscribe_envelopes(Ingest::subscription()).await.unwrap();
    let again = tokio::time::timeout(Duration::from_secs(90), consumer.next(1)).await.unwrap();
    assert_eq!(again.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_known_does_not_get_in() {
    if !available() {
        return;
    }
    let site = Site::start().await;
    let stranger = KeyPair::new_user();
    write(site.file("stranger.nk"), &stranger.seed().unwrap());
    let error = JetStream::open(site.options("stranger")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(!error.to_string().contains(&stranger.seed().unwrap()));

    let mut options = site.options("web-1");
    options.credentials = Credentials::None;
    assert_eq!(JetStream::open(options).await.unwrap_err().kind(), ErrorKind::Denied);

    let mut options = site.options("web-1");
    options.tls.identity = None;
    JetStream::open(options).await.expect_err("no certificate, no connection");

    let mut options = site.options("web-1");
    options.tls.ca = None;
    JetStream::open(options).await.expect_err("a server that nobody vouches for");

    let mut options = site.options("web-1");
    options.credentials = Credentials::Nkey(Path::new("/nowhere/agent.nk").into());
    let error = JetStream::open(options).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("/nowhere/agent.nk"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_that_is_not_its_own_is_said_to_be_the_fault() {
    if !available() {
        return;
    }
    let site = Site::start().await;
    let mut options = site.options("web-1");
    (options.inbox_prefix, options.timeout) = (None, Duration::from_secs(1));
    let agent = JetStream::open(options).await.unwrap();
    let message = telemetry(&mut Sample::new("acme", "web-1", 1));
    let error = agent.publish(vec![message]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(error.to_string().contains("inbox prefix"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_says_that_it_is_not_permitted_and_keeps_what_it_has() {
    if !available() {
        return;
    }
    let site = Site::start().await;
    let directory = tempfile::tempdir().unwrap();
    let mut other = Sample::new("acme", "web-2", 2);
    let source = other.source().clone();
    let origin = Origin::new(&source.tenant, &source.agent, BootId::from_u128(99));
    let reporter =
        Reporter { source, sequencer: Sequencer::new(origin), clock: Arc::new(SystemClock) };
    let options = SpoolOptions::default();
    let wrong = site.options("web-1");
    let spool = Spooled::open(directory.path(), options.clone(), reporter.clone(), wrong).unwrap();
    spool.publish(vec![telemetry(&mut other)]).await.unwrap();
    for _ in 0..1_000 {
        if spool.status().fault.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let status = spool.close(Duration::ZERO).await;
    assert!(status.fault.unwrap().contains("not permitted"));
    assert_eq!((status.waiting, status.delivered), (1, 0));
    drop(spool);
    // With the right key it goes on.
    let right = site.options("web-2");
    let spool = Spooled::open(directory.path(), options, reporter, right).unwrap();
    let status = spool.close(Duration::from_secs(90)).await;
    assert_eq!((status.waiting, status.delivered, status.fault), (0, 1, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_reads_the_published_rules_of_its_tenant_and_no_others_and_changes_none() {
    if !available() {
        return;
    }
    let site = Site::start().await;
    let worker = JetStream::open(site.options("worker")).await.unwrap();
    let bucket = Arc::new(worker.state(BucketOptions::rules()).await.unwrap());
    let everybodys = PublishedRulesets::new(bucket);
    let [acme, globex] = ["acme", "globex"].map(|name| TenantId::new(name).unwrap());
    let agent = JetStream::open(site.options("web-1")).await.unwrap();
    let reader = Arc::new(agent.published_rules().await.unwrap());
    let own = PublishedRulesets::new(reader.clone());
    assert_eq!(own.published(&acme).await.unwrap(), None);

    let rules = Ruleset::new([RuleFile::new("a.yml", "title: A").unwrap()]).unwrap();
    for tenant in [&acme, &globex] {
        assert!(everybodys.publish(tenant, 1, &rules).await.unwrap());
    }
    let published = own.published(&acme).await.unwrap().unwrap();
    assert_eq!(own.fetch(&acme, &published).await.unwrap(), rules);
    for error in [
        own.published(&globex).await.unwrap_err(),
        own.fetch(&globex, &published).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    }
    let error = own.publish(&acme, 2, &rules).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    // It may not even ask for the bucket that can be written.
    agent.state(BucketOptions::rules()).await.unwrap_err();
    assert_eq!(everybodys.published(&acme).await.unwrap(), Some(published));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_gives_orders_and_publishes_rules_within_its_tenants_and_nothing_else() {
    if !available() {
        return;
    }
    let site = Site::start().await;
    let [acme, globex] = ["acme", "globex"].map(|name| TenantId::new(name).unwrap());
    let web = AgentId::new("web-1").unwrap();
    let worker = JetStream::open(site.options("worker")).await.unwrap();
    let bucket = Arc::new(worker.state(BucketOptions::rules()).await.unwrap());
    let everybodys = PublishedRulesets::new(bucket);
    let mut options = site.options("control-plane");
    // Who is not permitted to ask is not answered.
    options.timeout = Duration::from_secs(2);
    let plane = JetStream::open(options).await.unwrap();

    // An order goes out, and what became of it comes back.
    let signer = Signer::from_secret(KeyId::new("ops-1").unwrap(), &[7; 32]);
    let order = |tenant: &TenantId| {
        let (now, minute) = (SystemClock.now(), Duration::from_secs(60));
        let (tenant, to) = (tenant.clone(), web.clone());
        Bytes::from(signer.order(tenant, to, CommandAction::Ping, now, minute).unwrap().to_bytes())
    };
    let agent = JetStream::open(site.options("web-1")).await.unwrap();
    let mut commands = agent.commands(&acme, &web).await.unwrap();
    let mut reports = plane.command_reports().await.unwrap();
    let given = order(&acme);
    command::CommandSink::publish(&plane, &acme, &web, given.clone()).await.unwrap();
    let delivery = commands.next().await.unwrap().unwrap();
    assert_eq!(delivery.signed, given);
    let result = CommandResult {
        command: SignedCommand::from_bytes(&given).unwrap().claimed_id(),
        tenant: acme.clone(),
        agent: web.clone(),
        outcome: CommandOutcome::DONE,
        finished_at: SystemClock.now(),
    };
    let report = CommandReport::Result(result);
    delivery.reply.report(vec![report.clone()]).await.unwrap();
    let told = reports.next().await.unwrap().unwrap();
    assert_eq!(told.report, report);
    told.ack.ack().await.unwrap();

    // Rules are published, and what was before goes.
    let own = PublishedRulesets::new(Arc::new(plane.state(BucketOptions::rules()).await.unwrap()));
    for revision in 1..=3 {
        let file = RuleFile::new("a.yml", format!("title: {revision}")).unwrap();
        let rules = Ruleset::new([file]).unwrap();
        assert!(own.publish(&acme, revision, &rules).await.unwrap());
        let published = everybodys.published(&acme).await.unwrap().unwrap();
        assert_eq!(published.revision, revision);
        assert_eq!(everybodys.fetch(&acme, &published).await.unwrap(), rules);
    }

    // Neither for another tenant, nor anything that is others' to say or to read.
    let error =
        command::CommandSink::publish(&plane, &globex, &web, order(&globex)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    own.publish(&globex, 1, &Ruleset::new([]).unwrap()).await.unwrap_err();
    assert_eq!(everybodys.published(&globex).await.unwrap(), None);
    let message = telemetry(&mut Sample::new("acme", "web-1", 1));
    for topic in [Topic::TelemetryRaw, Topic::TelemetryAccepted, Topic::Alerts] {
        let Message { source, payload, .. } = message.clone();
        let denied = plane.publish(vec![Message { source, topic, payload }]).await;
        assert_ne!(denied.map_err(|error| error.kind()), Ok(()), "{topic:?}");
    }
    let ingest = Subscription { topic: Topic::TelemetryRaw, durable: "ingest".into() };
    plane.subscribe(ingest).await.unwrap_err();
    plane.commands(&acme, &web).await.unwrap_err();
    plane.state(BucketOptions::default()).await.unwrap_err();
}
