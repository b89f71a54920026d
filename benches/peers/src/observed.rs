//! The events of the comparison: one struct, which every engine reads through an adapter of its own.

use lavender_core::event::{Event, EventData, NetConnect, Process};
use serde_json::{Map, Number, Value};

/// The fields of an [`Observed`]: those of Sysmon for Linux, in its order.
pub const FIELDS: [&str; 37] = [
    "RuleName",
    "UtcTime",
    "ProcessGuid",
    "ProcessId",
    "Image",
    "FileVersion",
    "Description",
    "Product",
    "Company",
    "OriginalFileName",
    "CommandLine",
    "CurrentDirectory",
    "User",
    "LogonGuid",
    "LogonId",
    "TerminalSessionId",
    "IntegrityLevel",
    "Hashes",
    "ParentProcessGuid",
    "ParentProcessId",
    "ParentImage",
    "ParentCommandLine",
    "ParentUser",
    "TargetFilename",
    "CreationUtcTime",
    "Protocol",
    "Initiated",
    "SourceIsIpv6",
    "SourceIp",
    "SourceHostname",
    "SourcePort",
    "SourcePortName",
    "DestinationIsIpv6",
    "DestinationIp",
    "DestinationHostname",
    "DestinationPort",
    "DestinationPortName",
];

/// Where in [`Observed::values`] the field of this name stands.
pub fn index_of(field: &str) -> Option<usize> {
    Some(match field {
        "RuleName" => 0,
        "UtcTime" => 1,
        "ProcessGuid" => 2,
        "ProcessId" => 3,
        "Image" => 4,
        "FileVersion" => 5,
        "Description" => 6,
        "Product" => 7,
        "Company" => 8,
        "OriginalFileName" => 9,
        "CommandLine" => 10,
        "CurrentDirectory" => 11,
        "User" => 12,
        "LogonGuid" => 13,
        "LogonId" => 14,
        "TerminalSessionId" => 15,
        "IntegrityLevel" => 16,
        "Hashes" => 17,
        "ParentProcessGuid" => 18,
        "ParentProcessId" => 19,
        "ParentImage" => 20,
        "ParentCommandLine" => 21,
        "ParentUser" => 22,
        "TargetFilename" => 23,
        "CreationUtcTime" => 24,
        "Protocol" => 25,
        "Initiated" => 26,
        "SourceIsIpv6" => 27,
        "SourceIp" => 28,
        "SourceHostname" => 29,
        "SourcePort" => 30,
        "SourcePortName" => 31,
        "DestinationIsIpv6" => 32,
        "DestinationIp" => 33,
        "DestinationHostname" => 34,
        "DestinationPort" => 35,
        "DestinationPortName" => 36,
        _ => return None,
    })
}

/// The value of a field.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Scalar {
    /// There is none.
    #[default]
    Absent,
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
    /// A truth.
    Flag(bool),
}

impl Scalar {
    /// What Sysmon writes where it knows nothing.
    fn none() -> Self {
        Self::Text("-".into())
    }

    fn guid(process: &Process) -> Self {
        Self::Text(format!("{{{}}}", process.id()))
    }

    fn user(process: &Process) -> Self {
        process.user.as_deref().map_or(Self::Absent, |user| Self::Text(user.into()))
    }

    fn text(bytes: &[u8]) -> Self {
        Self::Text(String::from_utf8_lossy(bytes).into_owned())
    }
}

/// Of which category an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// `process_creation`
    ProcessCreation,
    /// `file_event`
    FileEvent,
    /// `network_connection`
    NetworkConnection,
}

impl Category {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ProcessCreation, Self::FileEvent, Self::NetworkConnection];

    /// Sigma's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProcessCreation => "process_creation",
            Self::FileEvent => "file_event",
            Self::NetworkConnection => "network_connection",
        }
    }
}

/// An event, already parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Its category.
    pub category: Category,
    /// Its fields, in the order of [`FIELDS`].
    pub values: [Scalar; FIELDS.len()],
}

impl Observed {
    /// An event of Lavender's in the form of the comparison; `None` for kinds that it leaves out.
    pub fn of(event: &Event) -> Option<Self> {
        let category = match &event.data {
            EventData::Exec(_) => Category::ProcessCreation,
            EventData::FileOpen(_) => Category::FileEvent,
            EventData::NetConnect(_) => Category::NetworkConnection,
            _ => return None,
        };
        let mut observed = Self { category, values: [const { Scalar::Absent }; FIELDS.len()] };
        let process = event.process.as_ref()?;
        let time = event.observed_at.to_string();
        observed.set("RuleName", Scalar::none());
        observed.set("UtcTime", Scalar::Text(time.clone()));
        observed.set("ProcessGuid", Scalar::guid(process));
        observed.set("ProcessId", Scalar::Number(process.pid.into()));
        observed.set("Image", Scalar::text(&process.executable.path.value));
        observed.set("User", Scalar::user(process));
        match &event.data {
            EventData::Exec(_) => observed.set_exec(process),
            EventData::FileOpen(open) => {
                observed.set("TargetFilename", Scalar::text(&open.path.value));
                observed.set("CreationUtcTime", Scalar::Text(time));
            }
            EventData::NetConnect(connect) => observed.set_connect(connect),
            _ => return None,
        }
        Some(observed)
    }

    fn set_exec(&mut self, process: &Process) {
        for field in ["FileVersion", "Description", "Product", "Company", "OriginalFileName"] {
            self.set(field, Scalar::none());
        }
        self.set("CommandLine", Scalar::text(process.arguments.value.command_line()));
        self.set("CurrentDirectory", Scalar::text(&process.working_directory.value));
        self.set("LogonGuid", Scalar::guid(process));
        self.set("LogonId", Scalar::Number(process.credentials.uid.into()));
        self.set("TerminalSessionId", Scalar::Number(7));
        self.set("IntegrityLevel", Scalar::Text("no level".into()));
        self.set("Hashes", Scalar::none());
        if let Some(parent) = &process.parent {
            self.set("ParentProcessGuid", Scalar::guid(parent));
            self.set("ParentProcessId", Scalar::Number(parent.pid.into()));
            self.set("ParentImage", Scalar::text(&parent.executable.path.value));
            self.set("ParentCommandLine", Scalar::text(parent.arguments.value.command_line()));
            self.set("ParentUser", Scalar::user(parent));
        }
    }

    fn set_connect(&mut self, connect: &NetConnect) {
        self.set("Protocol", Scalar::Text(connect.transport.as_str().into()));
        self.set("Initiated", Scalar::Flag(true));
        if let Some(source) = connect.source {
            self.set("SourceIsIpv6", Scalar::Flag(source.is_ipv6()));
            self.set("SourceIp", Scalar::Text(source.ip().to_string()));
            self.set("SourceHostname", Scalar::none());
            self.set("SourcePort", Scalar::Number(source.port().into()));
            self.set("SourcePortName", Scalar::none());
        }
        self.set("DestinationIsIpv6", Scalar::Flag(connect.destination.is_ipv6()));
        self.set("DestinationIp", Scalar::Text(connect.destination.ip().to_string()));
        self.set("DestinationHostname", Scalar::none());
        self.set("DestinationPort", Scalar::Number(connect.destination.port().into()));
        self.set("DestinationPortName", Scalar::none());
    }

    /// Sets a field that there is.
    pub fn set(&mut self, field: &str, value: Scalar) {
        if let Some(index) = index_of(field) {
            self.values[index] = value;
        }
    }

    /// The fields that have a value, as JSON.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        for (name, value) in FIELDS.iter().zip(&self.values) {
            let value = match value {
                Scalar::Absent => continue,
                Scalar::Text(text) => Value::String(text.clone()),
                Scalar::Number(number) => Value::Number(Number::from(*number)),
                Scalar::Flag(flag) => Value::Bool(*flag),
            };
            object.insert((*name).to_owned(), value);
        }
        Value::Object(object)
    }
}
