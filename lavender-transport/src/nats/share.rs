//! Which of the consumers of a durable takes the messages of which agent.
//!
//! A durable gives each message to whoever asks next. What is known of an agent would then go from one worker to the
//! other with every message, and reading and writing it is most of the work. So consumers say once a second that they
//! are there, over core NATS, and hand a message on to the one that its subject falls to: the highest hash of subject and
//! consumer, so that one more or less moves no more than its share. It is acknowledged there, by the same answer.
//!
//! Nothing rests on it. Whoever has a message handed on takes it, whatever it thinks itself; and what was handed to one
//! that is gone is not acknowledged, and comes again.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use async_nats::Subscriber;
use futures_util::{FutureExt as _, StreamExt as _};
use lavender_core::{ErrorKind, Result};
use tokio::time::Instant;

use super::connection::Connection;

/// How often a consumer says that it is there.
const BEAT: Duration = Duration::from_secs(1);

/// For how long one is there that says nothing.
const GONE_AFTER: Duration = Duration::from_secs(4);

/// How many others are known at the most.
const OTHERS_MAX: usize = 1_024;

/// The longest id of one.
const ID_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Share {
    connection: Connection,
    /// `worker.<durable>.`
    prefix: String,
    id: String,
    /// When each other was heard last.
    others: HashMap<String, Instant>,
    beat_at: Instant,
    beats: Subscriber,
    handed: Subscriber,
    /// To whom, and what.
    elsewhere: VecDeque<(String, async_nats::Message)>,
}

impl Share {
    pub(super) async fn open(connection: Connection, durable: &str) -> Result<Self> {
        let inbox = connection.client.new_inbox();
        // Its last part, which no other client has.
        let id = inbox.rsplit('.').next().unwrap_or_default().to_owned();
        let prefix = format!("worker.{durable}.");
        let subscribe = async |subject: String| {
            let subscriber = connection.client.subscribe(subject).await;
            subscriber.map_err(|error| connection.error(ErrorKind::Unavailable, error))
        };
        let beats = subscribe(format!("{prefix}here.*")).await?;
        let handed = subscribe(format!("{prefix}to.{id}.>")).await?;
        Ok(Self {
            connection,
            prefix,
            id,
            others: HashMap::new(),
            beat_at: Instant::now(),
            beats,
            handed,
            elsewhere: VecDeque::new(),
        })
    }

    /// Hears of the others, and says that this one is there, if it is time. When to do so again.
    pub(super) async fn beat(&mut self) -> Instant {
        while let Some(Some(message)) = self.beats.next().now_or_never() {
            self.hear(&message);
        }
        let now = Instant::now();
        if now >= self.beat_at {
            self.others.retain(|_, heard| now.duration_since(*heard) < GONE_AFTER);
            self.beat_at = now + BEAT;
            let subject = format!("{}here.{}", self.prefix, self.id);
            // Who is not heard is handed nothing, which is all that may come of it.
            let _ = self.connection.client.publish(subject, "here".into()).await;
        }
        self.beat_at
    }

    fn hear(&mut self, message: &async_nats::Message) {
        let id = message.subject.rsplit('.').next().unwrap_or_default();
        if id == self.id || id.len() > ID_MAX {
            return;
        }
        if &*message.payload == b"gone" {
            self.others.remove(id);
        } else if self.others.len() < OTHERS_MAX || self.others.contains_key(id) {
            self.others.insert(id.to_owned(), Instant::now());
        }
    }

    /// Keeps what falls to another; gives back what is for here.
    pub(super) fn keep(&mut self, message: async_nats::Message) -> Option<async_nats::Message> {
        if self.others.is_empty() {
            return Some(message);
        }
        let subject = message.subject.as_bytes();
        let own = weight(&self.id, subject);
        let others = self.others.keys().map(|id| (weight(id, subject), id));
        match others.max() {
            Some((weight, id)) if (weight, id) > (own, &self.id) => {
                self.elsewhere.push_back((id.clone(), message));
                None
            }
            _ => Some(message),
        }
    }

    /// Hands on what falls to others. Dropping the future loses nothing.
    pub(super) async fn hand_on(&mut self) -> Result<()> {
        while let Some((id, message)) = self.elsewhere.front() {
            let Some(reply) = message.reply.clone() else {
                self.elsewhere.pop_front();
                continue;
            };
            let subject = address(&self.prefix, id, &reply, &message.subject);
            let headers = message.headers.clone().unwrap_or_default();
            let payload = message.payload.clone();
            let client = &self.connection.client;
            let sent = client.publish_with_headers(subject, headers, payload).await;
            sent.map_err(|error| self.connection.error(ErrorKind::Unavailable, error))?;
            self.elsewhere.pop_front();
        }
        Ok(())
    }

    /// What others have handed on and is here already.
    pub(super) fn handed_now(&mut self) -> Option<async_nats::Message> {
        loop {
            let message = self.handed.next().now_or_never()??;
            if let Some(message) = self.as_it_was(message) {
                return Some(message);
            }
        }
    }

    /// Waits for what others hand on.
    pub(super) async fn handed(&mut self) -> Option<async_nats::Message> {
        loop {
            let message = self.handed.next().await?;
            if let Some(message) = self.as_it_was(message) {
                return Some(message);
            }
        }
    }

    /// Ends it. What was to be handed on, and what was and nobody has looked at.
    pub(super) fn end(mut self) -> Vec<async_nats::Message> {
        let mut left: Vec<_> = self.elsewhere.drain(..).map(|(_, message)| message).collect();
        left.extend(std::iter::from_fn(|| self.handed_now()));
        left
    }

    /// With the subject and the answer's that it had; `None` for what no consumer sent.
    fn as_it_was(&self, mut message: async_nats::Message) -> Option<async_nats::Message> {
        let (reply, subject) = parts(&self.prefix, &self.id, &message.subject)?;
        let (reply, subject) = (reply.into(), subject.into());
        (message.reply, message.subject) = (Some(reply), subject);
        Some(message)
    }
}

/// The subject by which a message is handed on: `<prefix>to.<id>.<length>.<reply>.<subject>`. No client may send with the
/// reply of an acknowledgement, so it stands here.
fn address(prefix: &str, id: &str, reply: &str, subject: &str) -> String {
    format!("{prefix}to.{id}.{}.{reply}.{subject}", reply.len())
}

/// Reply and subject of what was handed on.
fn parts<'a>(prefix: &str, id: &str, address: &'a str) -> Option<(&'a str, &'a str)> {
    let rest = address.strip_prefix(prefix)?.strip_prefix("to.")?.strip_prefix(id)?;
    let (length, rest) = rest.strip_prefix('.')?.split_once('.')?;
    let (reply, subject) = rest.split_at_checked(length.parse().ok()?)?;
    Some((reply, subject.strip_prefix('.')?))
}

/// So that the others need not wait until it is forgotten.
impl Drop for Share {
    fn drop(&mut self) {
        let (client, subject) =
            (self.connection.client.clone(), format!("{}here.{}", self.prefix, self.id));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = client.publish(subject, "gone".into()).await;
            });
        }
    }
}

/// FNV-1a with the last steps of MurmurHash3, whose bits are all worth the same: every consumer comes to the same. Who
/// chooses the names of agents can load one consumer more than others, and no more.
fn weight(id: &str, subject: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in id.bytes().chain([b'.']).chain(subject.iter().copied()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_on_comes_back_as_it_was_and_anything_else_is_nothing() {
        let (reply, subject) = ("$JS.ACK.S.d.1.2.3.4.5", "telemetry.accepted.acme.web-1");
        let whole = address("worker.d.", "k1", reply, subject);
        assert_eq!(parts("worker.d.", "k1", &whole), Some((reply, subject)));
        assert_eq!(parts("worker.d.", "k2", &whole), None);
        for rest in ["", "x.a.b", "99.a.b", "3.äb"] {
            assert_eq!(parts("worker.d.", "k1", &format!("worker.d.to.k1.{rest}")), None, "{rest}");
        }
    }

    #[test]
    fn each_has_its_share_and_one_more_takes_no_more_than_its_own() {
        let ids = ["Jf3kQ0aTwJ5sU1rX8bWq2c", "Jf3kQ0aTwJ5sU1rX8bWq9d", "k1", "k2"];
        let owner = |ids: &[&str], agent: u32| {
            let subject = format!("telemetry.accepted.acme.web-{agent}");
            let weigh = |id: &&str| (weight(id, subject.as_bytes()), id.len());
            (0..ids.len()).max_by_key(|place| weigh(&ids[*place])).unwrap()
        };
        let mut shares = [0; 4];
        let mut moved = 0;
        for agent in 0..10_000 {
            let (of_three, of_four) = (owner(&ids[..3], agent), owner(&ids, agent));
            shares[of_four] += 1;
            assert!(of_four == of_three || of_four == 3);
            moved += u32::from(of_four != of_three);
        }
        assert!(shares.iter().all(|share| (2_300..2_700).contains(share)), "{shares:?}");
        assert_eq!(moved, shares[3]);
    }
}
