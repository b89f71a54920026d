//! What the kernel prevents by itself: what rules say to enforcement, without knowing each other.

mod health;
mod text;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::health::{PreventionCounts, PreventionHealth};
pub use self::text::{PathText, PreventionText, TextFault};
use crate::response::ResponseAction;
use crate::rule::UnknownName;

/// What the kernel does about what a rule finds, before it takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreventionAction {
    /// The call fails with an error, and the process goes on.
    Deny,
    /// The process is killed: of a new program no instruction runs.
    Kill,
}

impl PreventionAction {
    /// Every action, the weakest first.
    pub const ALL: [Self; 2] = [Self::Deny, Self::Kill];

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Kill => "kill",
        }
    }
}

impl fmt::Display for PreventionAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PreventionAction {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let named = Self::ALL.into_iter().find(|action| action.as_str() == name);
        named.ok_or_else(|| UnknownName { what: "way to prevent", name: name.to_owned() })
    }
}

impl From<PreventionAction> for ResponseAction {
    fn from(action: PreventionAction) -> Self {
        match action {
            PreventionAction::Deny => Self::Deny,
            PreventionAction::Kill => Self::Kill,
        }
    }
}

/// Which paths, as the kernel resolved them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PathTest {
    /// This path.
    Whole(PathText),
    /// What lies in this folder, or in a folder below it.
    Below(PathText),
    /// Whatever has this name, in any folder.
    Name(PreventionText),
}

impl fmt::Display for PathTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(path) => write!(f, "{path}"),
            Self::Below(path) => write!(f, "{path}/*"),
            Self::Name(name) => write!(f, "*/{name}"),
        }
    }
}

/// How a program was called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CalledTest {
    /// By this path, in these letters.
    Whole(PreventionText),
    /// By a path that ends in a slash and this name.
    Name(PreventionText),
}

impl fmt::Display for CalledTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(path) => write!(f, "{path}"),
            Self::Name(name) => write!(f, "*/{name}"),
        }
    }
}

/// For what a file is opened. An open may be for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileUse {
    /// To read it.
    Read,
    /// So that its content may change, or to make it.
    Change,
}

/// Which peers; all of them have a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerTest {
    /// Whatever is at this port.
    Port(u16),
    /// This host, at whatever port.
    Address(IpAddr),
    /// This host, at this port.
    Both(IpAddr, u16),
}

impl fmt::Display for PeerTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "port {port}"),
            Self::Address(address) => write!(f, "{address}"),
            Self::Both(address, port) => write!(f, "{address} port {port}"),
        }
    }
}

/// Something that the kernel decides by itself, without knowing anything but the call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PreventionTest {
    /// A program is started from one of these files.
    Program(PathTest),
    /// A program is started by such a name: a script's is the script's.
    Called(CalledTest),
    /// A file is opened.
    Open(FileUse, PathTest),
    /// A socket is connected.
    Connect(PeerTest),
}

impl fmt::Display for PreventionTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program(path) => write!(f, "exec of {path}"),
            Self::Called(called) => write!(f, "exec as {called}"),
            Self::Open(FileUse::Read, path) => write!(f, "read of {path}"),
            Self::Open(FileUse::Change, path) => write!(f, "change of {path}"),
            Self::Connect(peer) => write!(f, "connect to {peer}"),
        }
    }
}

/// A rule that the kernel decides: any of its tests is a match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PreventionRule {
    /// The rule's id.
    pub id: Arc<str>,
    /// What is done.
    pub action: PreventionAction,
    /// What it is done about.
    pub tests: Vec<PreventionTest>,
}

/// What the kernel is to prevent. Unlike a [`SensorPlan`](crate::SensorPlan), which lets through what it cannot decide, this
/// is exact: each test says what its rule says, no more.
///
/// ```
/// use lavender_core::{PathTest, PreventionAction, PreventionPlan, PreventionRule, PreventionTest};
///
/// let miner = PathTest::Name("xmrig".parse().unwrap());
/// let plan = PreventionPlan::new([PreventionRule {
///     id: "a rule".into(),
///     action: PreventionAction::Kill,
///     tests: vec![PreventionTest::Program(miner)],
/// }]);
/// assert_eq!(plan.rules()[0].tests[0].to_string(), "exec of */xmrig");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PreventionPlan {
    rules: Vec<PreventionRule>,
}

impl PreventionPlan {
    /// Of these rules.
    pub fn new(rules: impl IntoIterator<Item = PreventionRule>) -> Self {
        Self { rules: rules.into_iter().collect() }
    }

    /// The rules.
    pub fn rules(&self) -> &[PreventionRule] {
        &self.rules
    }

    /// Whether nothing is prevented.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}
