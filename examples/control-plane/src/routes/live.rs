//! The live stream.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::response::sse::{KeepAlive, Sse};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::access::Viewer;
use crate::extract::{Query, kind, optional};
use crate::live::{Follower, Place, Wanted};
use crate::plane::ControlPlane;
use crate::problem::Problem;

/// What to follow.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LiveFilter {
    /// Where to begin: the `id` of the last message that was seen, as `Last-Event-ID` has it. Now unless said.
    after: Option<String>,
    /// Whether to send events too.
    telemetry: Option<bool>,
    /// Only events of this agent.
    agent: Option<String>,
    /// Only events of this kind.
    #[param(example = "exec")]
    kind: Option<String>,
}

/// What happens, as it is stored: `alert_raised`, `alert_status` and `agent_liveness`; `telemetry` where it is asked
/// for; and `missed` for who could not keep up, with how much. Each message has an `id` to go on behind, and the first
/// one, `ready`, has the place where the stream begins: whatever is listed after it has come is listed with everything
/// before that place.
#[utoipa::path(get, path = "/live", tag = "live", params(LiveFilter,
        ("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last message that was seen")),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
pub(crate) async fn live(
    State(plane): State<ControlPlane>,
    Viewer(caller): Viewer,
    Query(filter): Query<LiveFilter>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let last = headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?").to_owned());
    let place: Option<Place> = optional(last.or(filter.after).as_deref())?;
    let only =
        Wanted { agent: optional(filter.agent.as_deref())?, kind: kind(filter.kind.as_deref())? };
    let wanted = match filter.telemetry {
        Some(true) => Some(only),
        _ if only.agent.is_some() || only.kind.is_some() => {
            return Err(Problem::invalid(
                "`agent` and `kind` choose telemetry: say `telemetry=true`",
            ));
        }
        _ => None,
    };
    let seat = plane.live().clone().try_acquire_owned().map_err(|_| {
        let detail = "the live stream has as many clients as it takes; try again later";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })?;
    let follower = Follower::new(plane, caller, place, wanted, seat).await?;
    let stream = Sse::new(follower.messages()).keep_alive(KeepAlive::default());
    Ok(([("x-accel-buffering", "no")], stream))
}
