//! Commands to agents: give, list, look what became of one.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use lavender_core::AgentId;
use lavender_core::command::{CommandAction, CommandId, MAX_LIFETIME, SigningError};
use lavender_core::store::{CommandQuery, IssuedCommand};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::access::{Analyst, Caller, Viewer};
use crate::command::needed_role;
use crate::delivery::{Handed, send};
use crate::extract::{Json, Path, Query, cursor, limit, named};
use crate::plane::ControlPlane;
use crate::problem::Problem;
use crate::view::{CommandView, PageView};

/// How many seconds a command is good for, unless said.
const LIFETIME_S: u64 = 300;

/// A command that is to be given.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCommand {
    /// What the agent is told to do: `action` is `ping`, `list_processes`, `hash_file` (`path`), which analysts may
    /// give; `kill`, `kill_tree` (`process`), `isolate`, `release`, `quarantine` (`file`), `restore` (`entry`),
    /// `collect_file` (`path`, `max_bytes`) or `reload_rules`, which admins may.
    #[schema(value_type = Object, example = json!({"action": "ping"}))]
    command: Value,
    /// Why.
    #[schema(max_length = 2000)]
    reason: Option<String>,
    /// For how many seconds it is good: a day at the most, five minutes unless said.
    #[schema(minimum = 1, maximum = 86400)]
    lifetime_s: Option<u64>,
}

/// A command that was given.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GivenCommand {
    /// Whether it is on its way. If not, no way to agents is configured, or it could not be had just now: then it is tried
    /// again until the command expires.
    sent: bool,
    /// The command.
    command: CommandView,
}

/// Reads an action and refuses what it does not know, which would not be done.
fn action(given: &Value) -> Result<CommandAction, Problem> {
    let wrong = |why: String| Problem::invalid(format!("`command`: {why}"));
    let action = CommandAction::deserialize(given).map_err(|error| wrong(error.to_string()))?;
    let known = serde_json::to_value(&action).map_err(|error| wrong(error.to_string()))?;
    let given = given.as_object().into_iter().flat_map(|fields| fields.keys());
    match given.into_iter().find(|field| known.get(field).is_none()) {
        Some(field) => Err(wrong(format!("{} takes no `{field}`", action.as_str()))),
        None => Ok(action),
    }
}

/// Refuses who may not give that.
fn check_role(caller: &Caller, action: &CommandAction) -> Result<(), Problem> {
    let needed = needed_role(action);
    if caller.role.may_act_as(needed) {
        return Ok(());
    }
    let name = action.as_str();
    let detail =
        format!("{name} takes the role {needed}, and the token has the role {}", caller.role);
    Err(Problem::new(StatusCode::FORBIDDEN, detail))
}

async fn check_agent(
    plane: &ControlPlane,
    caller: &Caller,
    agent: &AgentId,
) -> Result<(), Problem> {
    let known = plane.store().fleet_agent(&caller.tenant, agent).await?;
    known.map(|_| ()).ok_or_else(|| Problem::not_found(format!("there is no agent {agent}")))
}

/// Signs a command and sends it to an agent. 503 where the control plane has no signing key.
#[utoipa::path(post, path = "/agents/{agent}/commands", tag = "commands",
    params(("agent" = String, Path, description = "The agent's id")),
    request_body = NewCommand, responses((status = 201, body = GivenCommand)))]
pub(crate) async fn issue(
    State(plane): State<ControlPlane>,
    Analyst(caller): Analyst,
    Path(agent): Path<String>,
    Json(new): Json<NewCommand>,
) -> Result<(StatusCode, axum::Json<GivenCommand>), Problem> {
    let agent: AgentId = named(&agent)?;
    let action = action(&new.command)?;
    check_role(&caller, &action)?;
    if new.reason.as_ref().is_some_and(|reason| reason.chars().count() > 2_000) {
        return Err(Problem::invalid("the reason has more than 2,000 characters"));
    }
    let lifetime = Duration::from_secs(new.lifetime_s.unwrap_or(LIFETIME_S));
    if lifetime.is_zero() || lifetime > MAX_LIFETIME {
        return Err(Problem::invalid("`lifetime_s` can be 1 to 86400"));
    }
    check_agent(&plane, &caller, &agent).await?;
    let Some(signer) = &plane.options().commanding.signer else {
        let detail = "no command can be signed: start the control plane with --signing-key";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    };
    let now = plane.now();
    let (tenant, to) = (caller.tenant.clone(), agent.clone());
    let signed = signer.order(tenant, to, action, now, lifetime).map_err(|error| match error {
        SigningError::Unencodable(error) => Problem::invalid(error.to_string()),
        error => {
            tracing::error!("{error}");
            Problem::internal()
        }
    })?;
    let issued = IssuedCommand::new(signed, Arc::clone(&caller.actor), new.reason.map(Into::into));
    // Kept and audited first: nothing is sent of which nobody knows.
    plane.store().issue(&issued).await?;
    let sent = send(&plane, &issued).await == Handed::Over;
    let given = GivenCommand { sent, command: CommandView::of(&issued, now) };
    Ok((StatusCode::CREATED, axum::Json(given)))
}

/// Which commands.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CommandFilter {
    /// The most on a page, 50 unless said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Commands to an agent, newest first.
#[utoipa::path(get, path = "/agents/{agent}/commands", tag = "commands",
    params(("agent" = String, Path, description = "The agent's id"), CommandFilter),
    responses((status = 200, body = PageView<CommandView>)))]
pub(crate) async fn list(
    State(plane): State<ControlPlane>,
    Viewer(caller): Viewer,
    Path(agent): Path<String>,
    Query(filter): Query<CommandFilter>,
) -> Result<axum::Json<PageView<CommandView>>, Problem> {
    let agent: AgentId = named(&agent)?;
    check_agent(&plane, &caller, &agent).await?;
    let query = CommandQuery { agent, limit: limit(filter.limit)?, after: cursor(filter.after) };
    let page = plane.store().commands(&caller.tenant, &query).await?;
    let now = plane.now();
    Ok(axum::Json(PageView::of(page, |issued| CommandView::of(&issued, now))))
}

/// One command, and what became of it. `output`, what it gave, is for whoever may give such a command.
#[utoipa::path(get, path = "/commands/{id}", tag = "commands",
    params(("id" = String, Path, description = "The command's id", format = "uuid")),
    responses((status = 200, body = CommandView)))]
pub(crate) async fn get(
    State(plane): State<ControlPlane>,
    Viewer(caller): Viewer,
    Path(id): Path<String>,
) -> Result<axum::Json<CommandView>, Problem> {
    let id: CommandId = named(&id)?;
    let known = plane.store().command(&caller.tenant, id).await?;
    let known = known.ok_or_else(|| Problem::not_found(format!("there is no command {id}")))?;
    let view = CommandView::of(&known, plane.now());
    let may_see = caller.role.may_act_as(needed_role(&known.command().action));
    Ok(axum::Json(if may_see { view.with_output(&known) } else { view }))
}
