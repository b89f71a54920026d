//! The whole API: its routes, what stands before them, and the document that describes them.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::OpenApi as _;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder, SecurityRequirement};
use utoipa_axum::router::OpenApiRouter;

use crate::dashboard;
use crate::limit;
use crate::plane::ControlPlane;
use crate::problem::{FaultView, Problem};
use crate::routes;

/// The most bytes of a body.
const BODY_MAX: usize = 128 << 10;

/// What every answer carries. The API serves no pages, so a browser may do nothing with what it answers; the dashboard's
/// files say themselves what they may.
const HEADERS: [(&str, &str); 6] = [
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; sandbox"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("strict-transport-security", "max-age=31536000"),
];

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Lavender control plane",
        description = "What agents saw and raised, and what people did about it. Each token sees one tenant."
    ),
    components(schemas(FaultView, Problem))
)]
struct Document;

/// The service: the API with everything that stands before it.
pub fn router(plane: ControlPlane) -> Router {
    let (router, document) = routed(&plane);
    let json = document.to_json().unwrap_or_default();
    let kind = [(header::CONTENT_TYPE, "application/json")];
    let document = get(move || async move { (kind, json) });
    let mut router = router
        .route("/api/v1/openapi.json", document)
        .merge(dashboard::routes())
        .fallback(|| async { Problem::not_found("there is no such route") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "the route does not take this method")
        })
        .with_state(plane.clone())
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(CatchPanicLayer::custom(|_| Problem::internal().into_response()))
        .layer(from_fn_with_state(plane.clone(), limit::limit))
        .layer(from_fn_with_state(plane, count));
    for (name, value) in HEADERS {
        router = router.layer(SetResponseHeaderLayer::if_not_present(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        ));
    }
    router.layer(SetResponseHeaderLayer::if_not_present(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-store"),
    ))
}

/// The document that describes the API.
pub fn document(plane: &ControlPlane) -> OpenApi {
    routed(plane).1
}

fn routed(plane: &ControlPlane) -> (Router<ControlPlane>, OpenApi) {
    let timed = routes::v1().layer(from_fn_with_state(plane.clone(), in_time));
    let (router, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .nest("/api/v1", timed.merge(routes::stream()))
        .merge(routes::open())
        .split_for_parts();
    describe(&mut document);
    (router, document)
}

/// Says of every route that it takes a token, and which problems it may answer with.
fn describe(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.add_security_scheme("token", bearer);
    document.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>("token", [])]);
    for item in document.paths.paths.values_mut() {
        let all = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
        for operation in all.into_iter().flatten() {
            for (status, meaning) in Problem::ALL {
                let content = ContentBuilder::new()
                    .schema(Some(RefOr::Ref(Ref::from_schema_name("Problem"))))
                    .build();
                let response = ResponseBuilder::new()
                    .description(meaning)
                    .content("application/problem+json", content)
                    .build();
                let known = &mut operation.responses.responses;
                known.insert(status.as_str().to_owned(), RefOr::T(response));
            }
        }
    }
}

/// Gives up what takes too long.
async fn in_time(State(plane): State<ControlPlane>, request: Request, next: Next) -> Response {
    let limit = plane.options().request_timeout;
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = "it took too long; ask for less";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
        }
    }
}

/// Counts what is answered.
async fn count(State(plane): State<ControlPlane>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    plane.metrics().requests.inc();
    if response.status().is_server_error() {
        plane.metrics().failures.inc();
    }
    response
}
