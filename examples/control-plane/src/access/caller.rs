//! Who asks. A route takes a [`Viewer`], an [`Analyst`] or an [`Admin`], and so cannot forget to ask.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use lavender_core::TenantId;
use lavender_core::store::{Role, TokenId};

use super::{Secret, gate};
use crate::limit::Peer;
use crate::plane::ControlPlane;
use crate::problem::Problem;

/// Who asks: what they see, what they may do, and what the audit log calls them.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The only tenant that they see.
    pub tenant: TenantId,
    /// What they may do.
    pub role: Role,
    /// What the audit log calls them.
    pub actor: Arc<str>,
    /// The token that they have sent.
    pub token: TokenId,
}

async fn caller(parts: &Parts, plane: &ControlPlane, needed: Role) -> Result<Caller, Problem> {
    let peer = parts.extensions.get::<Peer>().copied().unwrap_or_default();
    let refused = || {
        plane.metrics().refused.inc();
        plane.limits().has_failed(peer);
        Problem::unauthorized("send a good token: `Authorization: Bearer lvd_…`")
    };
    let secret = parts
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .and_then(Secret::parse)
        .ok_or_else(refused)?;
    let admitted = plane.gate().admit(plane.store(), secret, plane.now()).await?;
    let token = admitted.ok_or_else(refused)?;
    if !token.role.may_act_as(needed) {
        let detail =
            format!("it takes the role {needed}, and the token has the role {}", token.role);
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    Ok(Caller {
        role: token.role,
        actor: gate::actor(&token),
        token: token.id,
        tenant: token.tenant,
    })
}

macro_rules! role {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(pub Caller);

        impl FromRequestParts<ControlPlane> for $name {
            type Rejection = Problem;

            async fn from_request_parts(
                parts: &mut Parts,
                plane: &ControlPlane,
            ) -> Result<Self, Problem> {
                caller(parts, plane, Role::$name).await.map(Self)
            }
        }
    };
}
role!(
    /// Somebody who may look.
    Viewer
);
role!(
    /// Somebody who may work on alerts.
    Analyst
);
role!(
    /// Somebody who may give and take tokens, and read the audit log.
    Admin
);
