//! Lines of events, read in one go: the kind stands before the data, and says what they are.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{CodecError, data_from_json};
use crate::event::{Event, EventData, EventKind, Process};
use crate::id::EventId;
use crate::time::{BootTime, Timestamp};

/// A kind by its name on the wire.
#[derive(Clone)]
pub(super) enum Kind {
    Known(EventKind),
    /// One that is not known here.
    Other(Arc<str>),
}

impl Kind {
    pub(super) fn of(name: &str) -> Self {
        match name.parse() {
            Ok(EventKind::Unknown) | Err(_) => Self::Other(name.into()),
            Ok(known) => Self::Known(known),
        }
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;

        impl Visitor<'_> for Name {
            type Value = Kind;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a kind of event")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Kind, E> {
                Ok(Kind::of(name))
            }
        }

        deserializer.deserialize_str(Name)
    }
}

/// The data of an event of this kind. Of one that is not known here they are kept as they are.
pub(super) struct DataOf(pub(super) Kind);

impl<'de> DeserializeSeed<'de> for DataOf {
    type Value = EventData;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<EventData, D::Error> {
        let known = match self.0 {
            Kind::Known(known) => known,
            Kind::Other(kind) => {
                let raw = <&RawValue>::deserialize(deserializer)?;
                let body = Bytes::copy_from_slice(raw.get().trim().as_bytes());
                return Ok(EventData::Unknown { kind, body });
            }
        };
        Ok(match known {
            EventKind::Exec => EventData::Exec(Deserialize::deserialize(deserializer)?),
            EventKind::Fork => EventData::Fork(Deserialize::deserialize(deserializer)?),
            EventKind::Exit => EventData::Exit(Deserialize::deserialize(deserializer)?),
            EventKind::FileOpen => EventData::FileOpen(Deserialize::deserialize(deserializer)?),
            EventKind::FileDelete => EventData::FileDelete(Deserialize::deserialize(deserializer)?),
            EventKind::FileRename => EventData::FileRename(Deserialize::deserialize(deserializer)?),
            EventKind::FileLink => EventData::FileLink(Deserialize::deserialize(deserializer)?),
            EventKind::FileMode => EventData::FileMode(Deserialize::deserialize(deserializer)?),
            EventKind::NetConnect => EventData::NetConnect(Deserialize::deserialize(deserializer)?),
            EventKind::NetBind => EventData::NetBind(Deserialize::deserialize(deserializer)?),
            EventKind::NetListen => EventData::NetListen(Deserialize::deserialize(deserializer)?),
            EventKind::NetAccept => EventData::NetAccept(Deserialize::deserialize(deserializer)?),
            EventKind::NetSend => EventData::NetSend(Deserialize::deserialize(deserializer)?),
            EventKind::ExecFailed => EventData::ExecFailed(Deserialize::deserialize(deserializer)?),
            EventKind::IoUring => EventData::IoUring(Deserialize::deserialize(deserializer)?),
            EventKind::Signal => EventData::Signal(Deserialize::deserialize(deserializer)?),
            EventKind::Ptrace => EventData::Ptrace(Deserialize::deserialize(deserializer)?),
            EventKind::ProcessVmWrite => {
                EventData::ProcessVmWrite(Deserialize::deserialize(deserializer)?)
            }
            EventKind::MemfdCreate => {
                EventData::MemfdCreate(Deserialize::deserialize(deserializer)?)
            }
            EventKind::ModuleLoad => EventData::ModuleLoad(Deserialize::deserialize(deserializer)?),
            EventKind::CredChange => EventData::CredChange(Deserialize::deserialize(deserializer)?),
            EventKind::Bpf => EventData::Bpf(Deserialize::deserialize(deserializer)?),
            EventKind::Mount => EventData::Mount(Deserialize::deserialize(deserializer)?),
            EventKind::NsChange => EventData::NsChange(Deserialize::deserialize(deserializer)?),
            EventKind::MemoryProtect => {
                EventData::MemoryProtect(Deserialize::deserialize(deserializer)?)
            }
            EventKind::DnsQuery => EventData::DnsQuery(Deserialize::deserialize(deserializer)?),
            EventKind::Heartbeat => EventData::Heartbeat(Deserialize::deserialize(deserializer)?),
            EventKind::Lost => EventData::Lost(Deserialize::deserialize(deserializer)?),
            EventKind::AgentStart => EventData::AgentStart(Deserialize::deserialize(deserializer)?),
            EventKind::AgentStop => EventData::AgentStop(Deserialize::deserialize(deserializer)?),
            EventKind::Response => EventData::Response(Deserialize::deserialize(deserializer)?),
            EventKind::Unknown => return Err(de::Error::custom("no kind is named so")),
        })
    }
}

/// A line of an event; its process is told by a number, or stands inside.
pub(super) struct OwnedEventLine<P> {
    id: EventId,
    observed_at: Timestamp,
    boot_time: BootTime,
    tid: u32,
    process: Option<P>,
    data: EventData,
}

impl<P> OwnedEventLine<P> {
    pub(super) fn into_event(
        self,
        process: impl FnOnce(P) -> Result<Arc<Process>, CodecError>,
    ) -> Result<Event, CodecError> {
        Ok(Event {
            id: self.id,
            observed_at: self.observed_at,
            boot_time: self.boot_time,
            tid: self.tid,
            process: self.process.map(process).transpose()?,
            data: self.data,
        })
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Id,
    Kind,
    ObservedAt,
    BootTime,
    Tid,
    Process,
    Data,
    #[serde(other)]
    Other,
}

/// Sets a field that may be there once.
fn set<T, E: de::Error>(field: &mut Option<T>, name: &'static str, value: T) -> Result<(), E> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::duplicate_field(name)),
    }
}

impl<'de, P: Deserialize<'de>> Deserialize<'de> for OwnedEventLine<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Line(PhantomData))
    }
}

struct Line<P>(PhantomData<P>);

impl<'de, P: Deserialize<'de>> Visitor<'de> for Line<P> {
    type Value = OwnedEventLine<P>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut id, mut kind, mut observed_at, mut boot_time) = (None, None, None, None);
        let (mut tid, mut process, mut data) = (None, None, None);
        // What stands before its kind.
        let mut early: Option<&RawValue> = None;
        while let Some(field) = map.next_key()? {
            match field {
                Field::Id => set(&mut id, "id", map.next_value()?)?,
                Field::Kind => set(&mut kind, "kind", map.next_value::<Kind>()?)?,
                Field::ObservedAt => set(&mut observed_at, "observed_at", map.next_value()?)?,
                Field::BootTime => set(&mut boot_time, "boot_time", map.next_value()?)?,
                Field::Tid => set(&mut tid, "tid", map.next_value()?)?,
                Field::Process => set(&mut process, "process", map.next_value()?)?,
                Field::Data if early.is_some() => return Err(de::Error::duplicate_field("data")),
                Field::Data => match &kind {
                    Some(kind) => {
                        set(&mut data, "data", map.next_value_seed(DataOf(kind.clone()))?)?;
                    }
                    None => early = Some(map.next_value()?),
                },
                Field::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let missing = de::Error::missing_field;
        let kind = kind.ok_or_else(|| missing("kind"))?;
        let data = match (data, early) {
            (Some(data), _) => data,
            (None, Some(early)) => {
                let name = match &kind {
                    Kind::Known(known) => known.as_str(),
                    Kind::Other(name) => name,
                };
                data_from_json(name, early.get()).map_err(de::Error::custom)?
            }
            (None, None) => return Err(missing("data")),
        };
        Ok(OwnedEventLine {
            id: id.ok_or_else(|| missing("id"))?,
            observed_at: observed_at.ok_or_else(|| missing("observed_at"))?,
            boot_time: boot_time.ok_or_else(|| missing("boot_time"))?,
            tid: tid.unwrap_or_default(),
            process: process.unwrap_or_default(),
            data,
        })
    }
}
