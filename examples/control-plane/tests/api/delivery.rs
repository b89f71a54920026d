//! Commands on their way: each is brought once, whatever else is pending.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lavender_control_plane::{Commanding, watch};
use lavender_core::command::{CommandAction, CommandId, CommandSink, SignedCommand};
use lavender_core::conformance::sample::START;
use lavender_core::store::IssuedCommand;
use lavender_core::{AgentId, Bytes, Error, ErrorKind, Result, TenantId, async_trait};
use lavender_store::MemoryStore;
use tokio::time::timeout;

use crate::commands::signer;
use crate::plane::Plane;

/// A watch for a hang, and no measure.
const HANGS: Duration = Duration::from_secs(60);

/// Takes what it is given, in order; one command only when it comes for the third time.
#[derive(Debug, Default)]
struct Road {
    taken: Mutex<Vec<CommandId>>,
    blocked: Mutex<Option<(CommandId, u32)>>,
}

#[async_trait]
impl CommandSink for Road {
    async fn publish(&self, _: &TenantId, _: &AgentId, signed: Bytes) -> Result<()> {
        let id = SignedCommand::from_bytes(&signed).unwrap().claimed_id();
        if let Some((blocked, tries)) = &mut *self.blocked.lock().unwrap()
            && *blocked == id
            && *tries < 2
        {
            *tries += 1;
            return Err(Error::new(ErrorKind::Unavailable, "broker", "it is away"));
        }
        self.taken.lock().unwrap().push(id);
        Ok(())
    }
}

impl Road {
    fn taken(&self) -> Vec<CommandId> {
        self.taken.lock().unwrap().clone()
    }

    async fn has_taken(&self, count: usize) {
        let all = async {
            while self.taken().len() < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let late = || panic!("{} of {count} were brought", self.taken().len());
        timeout(HANGS, all).await.unwrap_or_else(|_| late());
    }
}

/// A command that is good for so many seconds, of which nobody but the store knows.
async fn order(plane: &Plane, seconds: u64) -> CommandId {
    let (tenant, agent) = (TenantId::new("acme").unwrap(), AgentId::new("web-1").unwrap());
    let lifetime = Duration::from_secs(seconds);
    let signed = signer().order(tenant, agent, CommandAction::Ping, START, lifetime).unwrap();
    let id = signed.claimed_id();
    plane.store.issue(&IssuedCommand::new(signed, "ana", None)).await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_behind_thousands_that_nobody_answers_is_brought() {
    let road = Arc::new(Road::default());
    let sink: Arc<dyn CommandSink> = road.clone();
    let plane = Plane::over(Arc::new(MemoryStore::new()), |options| {
        options.commanding = Commanding { signer: Some(Arc::new(signer())), sink: Some(sink) };
        options.resend_every = Duration::from_millis(10);
    });
    let mut given = HashSet::new();
    for number in 0..2_500 {
        given.insert(order(&plane, 60 + number % 7).await);
    }
    // The one that expires last, and so stands behind all of them, cannot be sent when its turn comes.
    let last = order(&plane, 3_600).await;
    *road.blocked.lock().unwrap() = Some((last, 0));
    given.insert(last);
    let watching = tokio::spawn(watch(plane.plane.clone()));
    road.has_taken(given.len()).await;
    assert_eq!(road.taken().last(), Some(&last));
    // Whoever takes one that is given now has gone through all of it again.
    for _ in 0..2 {
        given.insert(order(&plane, 30).await);
        road.has_taken(given.len()).await;
    }
    given.insert(order(&plane, 7_200).await);
    road.has_taken(given.len()).await;
    watching.abort();
    let taken = road.taken();
    assert_eq!(taken.len(), given.len(), "each once");
    assert_eq!(taken.into_iter().collect::<HashSet<_>>(), given);
}
