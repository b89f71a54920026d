//! The routes: what each takes, who may ask, and what it answers.

mod agents;
mod alerts;
mod audit;
mod commands;
mod events;
mod health;
mod live;
mod metrics;
mod rules;
mod rulesets;
mod session;
mod tokens;

use axum::extract::DefaultBodyLimit;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::plane::ControlPlane;

/// The routes under `/api/v1`.
pub(crate) fn v1() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new()
        .routes(routes!(alerts::list))
        .routes(routes!(alerts::statistics))
        .routes(routes!(alerts::get))
        .routes(routes!(alerts::set_status))
        .routes(routes!(alerts::tree))
        .routes(routes!(events::list))
        .routes(routes!(agents::list))
        .routes(routes!(agents::get))
        .routes(routes!(commands::list, commands::issue))
        .routes(routes!(commands::get))
        .routes(routes!(agents::transitions))
        .routes(routes!(agents::losses))
        .routes(routes!(metrics::agents))
        .routes(routes!(rules::list))
        .routes(routes!(session::get))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(audit::list))
        .routes(routes!(rulesets::get))
        .routes(routes!(rulesets::publish))
        .routes(routes!(rulesets::publications))
        .merge(with_rules())
}

/// The most bytes of a body that holds a ruleset: 4 MiB of text, as JSON writes it.
const RULES_BODY_MAX: usize = 8 << 20;

/// The routes that are given rulesets.
fn with_rules() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new()
        .routes(routes!(rules::test))
        .routes(routes!(rulesets::list, rulesets::upload))
        .layer(DefaultBodyLimit::max(RULES_BODY_MAX))
}

/// The live stream, which lasts as long as its client does.
pub(crate) fn stream() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new().routes(routes!(live::live))
}

/// What is asked without a token.
pub(crate) fn open() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new().routes(routes!(health::healthz)).routes(routes!(health::metrics))
}
