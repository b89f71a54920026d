//! Access tokens: list, make, take back.

use axum::extract::State;
use axum::http::StatusCode;
use lavender_core::store::{AccessToken, Role, TokenId, TokenQuery};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::access::{Admin, new_token};
use crate::extract::{Json, Path, Query, Time, cursor, limit, named};
use crate::plane::ControlPlane;
use crate::problem::Problem;
use crate::view::PageView;

/// A token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenView {
    /// Its id.
    id: String,
    /// What it allows: `viewer`, `analyst` or `admin`.
    #[schema(value_type = String)]
    role: Role,
    /// What it is called.
    name: String,
    /// Who made it.
    created_by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    /// When it stops to be good.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Time>,
    /// When it was taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Time>,
}

impl From<AccessToken> for TokenView {
    fn from(token: AccessToken) -> Self {
        Self {
            id: token.id.to_string(),
            role: token.role,
            name: token.name.to_string(),
            created_by: token.created_by.to_string(),
            created_at: Time(token.created_at),
            expires_at: token.expires_at.map(Time),
            revoked_at: token.revoked_at.map(Time),
        }
    }
}

/// Which tokens.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// The most on a page, 50 unless said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Tokens, newest first, without their secrets.
#[utoipa::path(get, path = "/tokens", tag = "access", params(Paging),
    responses((status = 200, body = PageView<TokenView>)))]
pub(crate) async fn list(
    State(plane): State<ControlPlane>,
    Admin(caller): Admin,
    Query(paging): Query<Paging>,
) -> Result<axum::Json<PageView<TokenView>>, Problem> {
    let query = TokenQuery { limit: limit(paging.limit)?, after: cursor(paging.after) };
    let page = plane.store().tokens(&caller.tenant, &query).await?;
    Ok(axum::Json(PageView::of(page, TokenView::from)))
}

/// A token that is to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    /// What it is called.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// What it allows: `viewer`, `analyst` or `admin`.
    #[schema(value_type = String, example = "viewer", pattern = "^(viewer|analyst|admin)$")]
    role: Role,
    /// When it stops to be good; never unless said.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Time>,
}

/// A new token, with its secret: shown here, and never again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedToken {
    /// What to send as `Authorization: Bearer …`.
    secret: String,
    /// The token.
    token: TokenView,
}

/// Makes a token for the caller's tenant.
#[utoipa::path(post, path = "/tokens", tag = "access", request_body = NewToken,
    responses((status = 201, body = CreatedToken)))]
pub(crate) async fn create(
    State(plane): State<ControlPlane>,
    Admin(caller): Admin,
    Json(new): Json<NewToken>,
) -> Result<(StatusCode, axum::Json<CreatedToken>), Problem> {
    if !(1..=100).contains(&new.name.chars().count()) {
        return Err(Problem::invalid("the name can have 1 to 100 characters"));
    }
    let (now, expires_at) = (plane.now(), new.expires_at.map(|time| time.0));
    if expires_at.is_some_and(|end| end <= now) {
        return Err(Problem::invalid("it would have expired already"));
    }
    let make = move || new_token(caller.tenant, new.role, new.name, caller.actor, now, expires_at);
    let made = tokio::task::spawn_blocking(make).await.map_err(|error| {
        tracing::error!("a token could not be made: {error}");
        Problem::internal()
    })?;
    let (secret, token) = made.map_err(|error| {
        tracing::error!("{error}");
        Problem::internal()
    })?;
    plane.store().create_token(&token).await?;
    let created = CreatedToken { secret: secret.reveal(), token: token.into() };
    Ok((StatusCode::CREATED, axum::Json(created)))
}

/// Takes a token back. It is refused from then on.
#[utoipa::path(delete, path = "/tokens/{id}", tag = "access",
    params(("id" = String, Path, description = "The token's id", format = "uuid")),
    responses((status = 204)))]
pub(crate) async fn revoke(
    State(plane): State<ControlPlane>,
    Admin(caller): Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = TokenId::from_u128(named::<Uuid>(&id)?.as_u128());
    plane.store().revoke_token(&caller.tenant, id, &caller.actor, plane.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
