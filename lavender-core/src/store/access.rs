//! Who may look and who may act, and who did.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Cursor, Page, StatusChange, TimeRange};
use crate::error::Result;
use crate::id::{AlertId, TenantId};
use crate::rule::UnknownName;
use crate::time::Timestamp;

/// What a token allows. Each role may do what the ones before it may.
///
/// ```
/// use lavender_core::store::Role;
///
/// assert!(Role::Admin.may_act_as(Role::Viewer));
/// assert!(!Role::Viewer.may_act_as(Role::Analyst));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Works on alerts.
    Analyst,
    /// Gives and takes tokens, and reads the audit log.
    Admin,
}

impl Role {
    /// Every role, from the least.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Analyst, Self::Admin];

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Analyst => "analyst",
            Self::Admin => "admin",
        }
    }

    /// Whether this role may do what `needed` may.
    pub const fn may_act_as(self, needed: Self) -> bool {
        self as u8 >= needed as u8
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == name)
            .ok_or_else(|| UnknownName { what: "role", name: name.to_owned() })
    }
}

/// The id of an access token. It is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(u128);

impl TokenId {
    /// An id by its 128 bits, which should be random.
    pub const fn from_u128(bits: u128) -> Self {
        Self(bits)
    }

    /// Its 128 bits.
    pub const fn as_u128(self) -> u128 {
        self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_u128(self.0).hyphenated().fmt(f)
    }
}

/// What a token's secret is checked against: argon2's own text form. Shown by nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenHash(Arc<str>);

impl TokenHash {
    /// A hash in its text form.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text form, for who checks or stores it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// A way in: for one tenant, with one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// Its id.
    pub id: TokenId,
    /// The tenant that it is for.
    pub tenant: TenantId,
    /// What it allows.
    pub role: Role,
    /// What it is called: the actor in the audit log.
    pub name: Arc<str>,
    /// What its secret is checked against.
    pub hash: TokenHash,
    /// Who made it.
    pub created_by: Arc<str>,
    /// When.
    pub created_at: Timestamp,
    /// When it stops to be good; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
}

impl AccessToken {
    /// Whether it is good at this moment.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// Which tokens to read.
#[derive(Clone, Debug)]
pub struct TokenQuery {
    /// The most tokens on a page, 1 to 1,000.
    pub limit: u32,
    /// Where the page begins; `None` for the first.
    pub after: Option<Cursor>,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditAction {
    /// The status of an alert was changed.
    AlertStatus,
    /// A token was made.
    TokenCreate,
    /// A token was taken back.
    TokenRevoke,
    /// A command was given to an agent.
    CommandIssue,
    /// An agent reported what became of a command.
    CommandResult,
    /// An agent refused what it was sent.
    CommandRefuse,
    /// A ruleset was uploaded.
    RulesetUpload,
    /// A ruleset was published.
    RulesetPublish,
}

impl AuditAction {
    /// Every action.
    pub const ALL: [Self; 8] = [
        Self::AlertStatus,
        Self::TokenCreate,
        Self::TokenRevoke,
        Self::CommandIssue,
        Self::CommandResult,
        Self::CommandRefuse,
        Self::RulesetUpload,
        Self::RulesetPublish,
    ];

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AlertStatus => "alert_status",
            Self::TokenCreate => "token_create",
            Self::TokenRevoke => "token_revoke",
            Self::CommandIssue => "command_issue",
            Self::CommandResult => "command_result",
            Self::CommandRefuse => "command_refuse",
            Self::RulesetUpload => "ruleset_upload",
            Self::RulesetPublish => "ruleset_publish",
        }
    }
}

impl FromStr for AuditAction {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|action| action.as_str() == name)
            .ok_or_else(|| UnknownName { what: "audited action", name: name.to_owned() })
    }
}

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Arc<str>,
    /// What.
    pub action: AuditAction,
    /// To what: the id of an alert, of a token or of a command, or the digest of a ruleset; `none` for what had none that
    /// could be read.
    pub target: Arc<str>,
    /// What is different after it.
    pub change: Arc<str>,
    /// Why, where a reason was given.
    pub reason: Option<Arc<str>>,
}

impl AuditEntry {
    /// The line for a change of an alert's status.
    pub fn of_status(id: AlertId, change: &StatusChange) -> Self {
        Self {
            at: change.at,
            actor: Arc::clone(&change.actor),
            action: AuditAction::AlertStatus,
            target: id.to_string().into(),
            change: format!("{} to {}", change.from, change.to).into(),
            reason: change.reason.clone(),
        }
    }

    /// The line for a token that is made.
    pub fn of_new_token(token: &AccessToken) -> Self {
        Self {
            at: token.created_at,
            actor: Arc::clone(&token.created_by),
            action: AuditAction::TokenCreate,
            target: token.id.to_string().into(),
            change: format!("{} for {}", token.role, token.name).into(),
            reason: None,
        }
    }

    /// The line for a token that is taken back.
    pub fn of_revoked_token(token: &AccessToken, actor: &Arc<str>, at: Timestamp) -> Self {
        Self {
            at,
            actor: Arc::clone(actor),
            action: AuditAction::TokenRevoke,
            target: token.id.to_string().into(),
            change: format!("{} of {}", token.role, token.name).into(),
            reason: None,
        }
    }
}

/// Which lines of the audit log to read.
#[derive(Clone, Debug)]
pub struct AuditQuery {
    /// When it was done.
    pub time: TimeRange,
    /// Only by this actor.
    pub actor: Option<Arc<str>>,
    /// The most lines on a page, 1 to 1,000.
    pub limit: u32,
    /// Where the page begins; `None` for the first.
    pub after: Option<Cursor>,
}

impl AuditQuery {
    /// Every line in a span of time, a hundred to the page.
    pub const fn new(time: TimeRange) -> Self {
        Self { time, actor: None, limit: 100, after: None }
    }
}

/// Keeps tokens and the audit log.
///
/// # Contract
///
/// - Every method but [`token`](Self::token) sees and changes what is of one tenant.
/// - What is changed is audited in one step with the change.
#[async_trait]
pub trait AccessStore: fmt::Debug + Send + Sync + 'static {
    /// Keeps a new token.
    ///
    /// # Errors
    ///
    /// [`Conflict`](crate::ErrorKind::Conflict) when there is one by its id.
    async fn create_token(&self, token: &AccessToken) -> Result<()>;

    /// Keeps a new token if its tenant has never had one, and says whether it did. Of several who try at once, one
    /// does.
    ///
    /// # Errors
    ///
    /// When the store cannot be written.
    async fn create_first_token(&self, token: &AccessToken) -> Result<bool>;

    /// One token, whoever's it is: it tells the tenant.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    async fn token(&self, id: TokenId) -> Result<Option<AccessToken>>;

    /// Reads tokens, newest first.
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or the cursor is not one of its own.
    async fn tokens(&self, tenant: &TenantId, query: &TokenQuery) -> Result<Page<AccessToken>>;

    /// Takes a token back. One that was taken back before stays as it is.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) for a token that this tenant does not have.
    async fn revoke_token(
        &self,
        tenant: &TenantId,
        id: TokenId,
        actor: &Arc<str>,
        at: Timestamp,
    ) -> Result<()>;

    /// Reads the audit log, newest first.
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or the cursor is not one of its own.
    async fn audit(&self, tenant: &TenantId, query: &AuditQuery) -> Result<Page<AuditEntry>>;
}
