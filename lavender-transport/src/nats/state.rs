//! State on a key-value bucket of JetStream.
//!
//! A bucket is a stream with one message for each key. A version is the message's place in that stream, so that
//! it never comes again, not even after a deletion, and whether it expires: what does not is swapped by the server's
//! own comparison, and nothing is read before. Keys become subjects, in which every byte can stand: each
//! part between slashes is a token, so that the parts of a prefix that are whole are looked up by the server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, LastRawMessageErrorKind, RawMessageErrorKind, Stream,
};
use futures_util::TryStreamExt as _;
use lavender_core::store::{PutMode, Version};
use lavender_core::{
    Bytes, Clock, Error, ErrorKind, Result, StateStore, SystemClock, Timestamp, async_trait,
};

use super::Setup;
use super::connection::Connection;
use super::streams;

/// When the value expires by the clock of who wrote it, in ns since the epoch.
const EXPIRES: &str = "Lav-Expires";

/// How much longer than it lasts the server keeps a value: clocks differ, and only this one forgets for good.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// The longest subject that is used: servers read lines of 4 KiB.
const SUBJECT_MAX: usize = 2_048;

/// How often a value that others change is read again before it is a conflict.
const TRIES: usize = 8;

/// What a bucket must be like.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BucketOptions {
    /// Its name. `lavender-state` unless said.
    pub name: String,
    /// How many servers keep it. 1 unless said.
    pub replicas: usize,
    /// The most bytes that it holds; a write beyond them is refused. 256 MiB unless said. The server sets them
    /// aside.
    pub bytes_max: u64,
    /// By which values expire.
    pub clock: Arc<dyn Clock>,
}

impl Default for BucketOptions {
    fn default() -> Self {
        Self {
            name: "lavender-state".into(),
            replicas: 1,
            bytes_max: 256 << 20,
            clock: Arc::new(SystemClock),
        }
    }
}

impl BucketOptions {
    /// The bucket of published rulesets, `lavender-rules`: 64 MiB, the same for who publishes and who evaluates them.
    pub fn rules() -> Self {
        Self { name: "lavender-rules".into(), bytes_max: 64 << 20, ..Self::default() }
    }
}

/// A [`StateStore`] on a bucket of JetStream. Made by [`JetStream::state`](super::JetStream::state).
pub struct JetStreamState {
    connection: Connection,
    stream: Stream,
    prefix: String,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for JetStreamState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamState").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// A stored value.
pub(super) struct Entry {
    pub(super) value: Bytes,
    pub(super) version: Version,
    until: Option<Timestamp>,
}

impl Entry {
    pub(super) fn is_there(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

/// The version of the message at this place.
const fn version(sequence: u64, expires: bool) -> Version {
    Version(sequence << 1 | expires as u64)
}

/// The place of a version's message.
const fn sequence(version: Version) -> u64 {
    version.0 >> 1
}

const fn expires(version: Version) -> bool {
    version.0 & 1 == 1
}

/// What a message holds; `None` for a marker, by which other tools delete.
pub(super) fn entry(
    connection: &Connection,
    subject: &str,
    found: StreamMessage,
) -> Result<Option<Entry>> {
    if found.headers.get("KV-Operation").is_some() {
        return Ok(None);
    }
    let until = match found.headers.get(EXPIRES).map(async_nats::HeaderValue::as_str) {
        None => None,
        Some(text) => match text.parse() {
            Ok(nanos) => Some(Timestamp::from_nanos(nanos)),
            Err(_) => {
                let why = format!("{subject}: header {EXPIRES} is `{text}`");
                return Err(connection.error(ErrorKind::Corrupt, why));
            }
        },
    };
    let version = version(found.sequence, until.is_some());
    Ok(Some(Entry { value: found.payload, version, until }))
}

/// The subject of a key.
pub(super) fn subject(connection: &Connection, prefix: &str, key: &str) -> Result<String> {
    let mut subject = prefix.to_owned();
    push_tokens(&mut subject, key);
    if subject.len() > SUBJECT_MAX {
        let why = format!("a key of {} bytes is too long for a subject", key.len());
        return Err(connection.error(ErrorKind::Invalid, why));
    }
    Ok(subject)
}

impl JetStreamState {
    pub(super) async fn open(
        connection: Connection,
        setup: Setup,
        options: BucketOptions,
    ) -> Result<Self> {
        let BucketOptions { name, replicas, bytes_max, clock } = options;
        connection.check_name("bucket", &name)?;
        let prefix = format!("$KV.{name}.");
        // As `nats kv add` would make it, so that `nats kv` can look at it.
        let wanted = Config {
            name: format!("KV_{name}"),
            subjects: vec![format!("{prefix}>")],
            max_messages_per_subject: 1,
            max_bytes: i64::try_from(bytes_max).unwrap_or(i64::MAX),
            max_messages: -1,
            discard: DiscardPolicy::New,
            num_replicas: replicas,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            allow_message_ttl: true,
            duplicate_window: Duration::from_secs(120),
            ..Config::default()
        };
        let stream = streams::stream(&connection, setup, wanted).await?;
        Ok(Self { connection, stream, prefix, clock })
    }

    fn subject(&self, key: &str) -> Result<String> {
        subject(&self.connection, &self.prefix, key)
    }

    fn failed(&self, error: impl fmt::Display) -> Error {
        self.connection.error(ErrorKind::Unavailable, format!("{}: {error}", self.prefix))
    }

    /// Reads from the server that leads the stream: others may be behind it.
    async fn read(&self, subject: &str) -> Result<Option<Entry>> {
        let found = match self.stream.get_last_raw_message_by_subject(subject).await {
            Ok(found) => found,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                return Ok(None);
            }
            Err(error) => return Err(self.failed(error)),
        };
        entry(&self.connection, subject, found)
    }

    /// Writes if this is still the last message of the subject; `None` when it is not.
    async fn swap(
        &self,
        subject: &str,
        value: &Bytes,
        last: u64,
        ttl: Option<Duration>,
    ) -> Result<Option<Version>> {
        let mut message = PublishMessage::build().payload(value.clone());
        if let Some(ttl) = ttl {
            let mut headers = HeaderMap::new();
            let until = self.clock.now().saturating_add(ttl);
            headers.insert(EXPIRES, until.as_nanos().to_string().as_str());
            // Only what the server's whole seconds can say; what lasts longer than that lasts.
            let seconds = ttl.saturating_add(FORGET_AFTER).as_secs();
            if seconds <= 100 * 365 * 24 * 3_600 {
                headers.insert("Nats-TTL", format!("{seconds}s").as_str());
            }
            message = message.headers(headers);
        }
        let message = message.expected_last_subject_sequence(last);
        let sent = self.connection.context.send_publish(subject.to_owned(), message).await;
        let answer = match sent {
            Ok(ack) => ack.await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(ack) => Ok(Some(version(ack.sequence, ttl.is_some()))),
            Err(error) => match error.kind() {
                PublishErrorKind::WrongLastSequence => Ok(None),
                PublishErrorKind::MaxPayloadExceeded => {
                    Err(self.connection.error(ErrorKind::Invalid, error))
                }
                PublishErrorKind::TimedOut => Err(self.connection.error(ErrorKind::Timeout, error)),
                _ => Err(self.failed(error)),
            },
        }
    }

    fn conflict(&self, key: &str, mode: PutMode, found: Option<Version>) -> Error {
        let why = format!("`{key}` was to be written by {mode:?}, and its version is {found:?}");
        self.connection.error(ErrorKind::Conflict, why)
    }
}

#[async_trait]
impl StateStore for JetStreamState {
    async fn get(&self, key: &str) -> Result<Option<(Bytes, Version)>> {
        let entry = self.read(&self.subject(key)?).await?;
        let entry = entry.filter(|entry| entry.is_there(self.clock.now()));
        Ok(entry.map(|entry| (entry.value, entry.version)))
    }

    /// Asks the server that leads the stream for what stands behind that place, which most often is nothing.
    async fn get_newer(&self, key: &str, known: Version) -> Result<Option<(Bytes, Version)>> {
        let subject = self.subject(key)?;
        let behind = sequence(known).saturating_add(1);
        let found = match self.stream.get_first_raw_message_by_subject(&subject, behind).await {
            Ok(found) => found,
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        };
        let entry = entry(&self.connection, &subject, found)?;
        let entry = entry.filter(|entry| entry.is_there(self.clock.now()));
        Ok(entry.map(|entry| (entry.value, entry.version)))
    }

    async fn put(
        &self,
        key: &str,
        value: Bytes,
        mode: PutMode,
        ttl: Option<Duration>,
    ) -> Result<Version> {
        let subject = self.subject(key)?;
        // Most often it is as the caller thinks, and nothing need be read. Whether the time of a value is up, only
        // reading it says.
        let last = match mode {
            PutMode::Create => Some(0),
            PutMode::Update(version) if !expires(version) => Some(sequence(version)),
            PutMode::Update(_) | PutMode::Overwrite => None,
        };
        if let Some(last) = last
            && let Some(version) = self.swap(&subject, &value, last, ttl).await?
        {
            return Ok(version);
        }
        for _ in 0..TRIES {
            // A value whose time is up is not there, though the server still has it.
            let stored = self.read(&subject).await?;
            let last = stored.as_ref().map_or(0, |entry| sequence(entry.version));
            let now = self.clock.now();
            let found = stored.filter(|entry| entry.is_there(now)).map(|entry| entry.version);
            let holds = match mode {
                PutMode::Create => found.is_none(),
                PutMode::Update(version) => found == Some(version),
                PutMode::Overwrite => true,
            };
            if !holds {
                return Err(self.conflict(key, mode, found));
            }
            if let Some(version) = self.swap(&subject, &value, last, ttl).await? {
                return Ok(version);
            }
        }
        Err(self.conflict(key, mode, None))
    }

    async fn keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        let mut filter = self.prefix.clone();
        // What stands behind the last slash may be the beginning of a part.
        if let Some((whole, _)) = prefix.rsplit_once('/') {
            push_tokens(&mut filter, whole);
            filter.push('.');
        }
        filter.push('>');
        let subjects = self.stream.info_with_subjects(&filter).await;
        let subjects = subjects.map_err(|error| self.failed(error))?;
        let mut keys: Vec<String> = subjects
            .map_err(|error| self.failed(error))
            .try_filter_map(|(subject, _)| std::future::ready(Ok(self.key(&subject))))
            .try_collect()
            .await?;
        keys.retain(|key| key.starts_with(prefix) && after.is_none_or(|after| &**key > after));
        keys.sort_unstable();
        let mut found = Vec::new();
        for key in keys {
            if found.len() == limit {
                break;
            }
            // Whether its time is up, only the value says.
            if self.get(&key).await?.is_some() {
                found.push(key);
            }
        }
        Ok(found)
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let subject = self.subject(key)?;
        match self.stream.purge().filter(subject).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }
}

impl JetStreamState {
    /// The key of a subject; `None` for one that was not made here.
    fn key(&self, subject: &str) -> Option<String> {
        let mut bytes = Vec::new();
        for (number, token) in subject.strip_prefix(&self.prefix)?.split('.').enumerate() {
            if number > 0 {
                bytes.push(b'/');
            }
            read_token(token, &mut bytes)?;
        }
        String::from_utf8(bytes).ok()
    }
}

/// Each part between slashes as a token: `=` and what follows for what cannot stand there, `_` before it all, so
/// that no token is empty.
pub(super) fn push_tokens(subject: &mut String, key: &str) {
    for (number, part) in key.split('/').enumerate() {
        if number > 0 {
            subject.push('.');
        }
        subject.push('_');
        for byte in part.bytes() {
            if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
                subject.push(char::from(byte));
            } else {
                subject.push('=');
                for digit in [byte >> 4, byte & 15] {
                    subject.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
                }
            }
        }
    }
}

fn read_token(token: &str, out: &mut Vec<u8>) -> Option<()> {
    let mut rest = token.strip_prefix('_')?.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'=' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            out.push((high << 4 | low) as u8);
        } else {
            out.push(byte);
        }
    }
    Some(())
}
