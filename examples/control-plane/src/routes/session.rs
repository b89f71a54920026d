//! Who asks.

use axum::Json;
use axum::extract::State;
use lavender_core::store::Role;
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::Viewer;
use crate::plane::ControlPlane;

/// What a token is good for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionView {
    /// The tenant that it sees.
    tenant: String,
    /// What it allows: `viewer`, `analyst` or `admin`.
    #[schema(value_type = String)]
    role: Role,
    /// What the audit log calls who has it.
    actor: String,
    /// Whether this control plane can sign commands.
    signs_commands: bool,
}

/// What the token that is sent is good for.
#[utoipa::path(get, path = "/session", tag = "access", responses((status = 200, body = SessionView)))]
pub(crate) async fn get(
    State(plane): State<ControlPlane>,
    Viewer(caller): Viewer,
) -> Json<SessionView> {
    Json(SessionView {
        tenant: caller.tenant.to_string(),
        role: caller.role,
        actor: caller.actor.to_string(),
        signs_commands: plane.options().commanding.signer.is_some(),
    })
}
