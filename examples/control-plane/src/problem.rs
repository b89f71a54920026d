//! Errors as the API gives them: problem details of RFC 9457.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lavender_core::{Error, ErrorKind};
use lavender_detect::Fault;
use serde::Serialize;
use utoipa::ToSchema;

/// What went wrong with a request, as `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// The HTTP status again.
    pub status: u16,
    /// What kind of problem it is.
    pub title: &'static str,
    /// What went wrong here, and what to do about it.
    pub detail: String,
    /// Of refused rules, what is wrong with them: the first thousand faults, by file and line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<FaultView>,
}

/// What is wrong with a rule, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FaultView {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 when the fault is of the file as a whole.
    pub line: u32,
    /// The rule's title, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What is wrong, and what to do about it.
    pub reason: String,
}

/// The most faults that a problem tells of.
const FAULTS_MAX: usize = 1_000;

impl Problem {
    /// Each status that any route may answer with, and what it means.
    pub const ALL: [(StatusCode, &'static str); 11] = [
        (StatusCode::BAD_REQUEST, "The request is wrong"),
        (StatusCode::UNAUTHORIZED, "A token is needed"),
        (StatusCode::FORBIDDEN, "The token's role does not allow it"),
        (StatusCode::NOT_FOUND, "It is not there"),
        (StatusCode::CONFLICT, "Somebody else was first"),
        (StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is not JSON"),
        (StatusCode::UNPROCESSABLE_ENTITY, "The body is not what it should be"),
        (StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
        (StatusCode::INTERNAL_SERVER_ERROR, "The control plane failed"),
        (StatusCode::SERVICE_UNAVAILABLE, "Not available just now"),
    ];

    /// A problem with its status, one of [`ALL`](Self::ALL).
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = Self::ALL
            .into_iter()
            .find(|(known, _)| *known == status)
            .map_or("It cannot be done", |(_, title)| title);
        Self { status: status.as_u16(), title, detail: detail.into(), errors: Vec::new() }
    }

    /// The same, with what is wrong with rules.
    #[must_use]
    pub fn with_faults(mut self, faults: &[Fault]) -> Self {
        let view = |fault: &Fault| FaultView {
            file: fault.file.to_string(),
            line: fault.line,
            rule: fault.rule.as_ref().map(ToString::to_string),
            reason: fault.reason.clone(),
        };
        self.errors = faults.iter().take(FAULTS_MAX).map(view).collect();
        self
    }

    /// What was asked is wrong.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// What was asked for is not there, or is another tenant's.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// Who asks has not said who they are.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// The control plane failed in a way that it does not tell of.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the log of the control plane says why")
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::Unavailable | ErrorKind::Timeout => {
                tracing::warn!("{error}");
                let detail = "the store cannot be reached; try again in a moment";
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, detail);
            }
            _ => {
                tracing::error!("{error}");
                return Self::internal();
            }
        };
        // Without the name of the store, which tells where it is.
        let text = error.to_string();
        let detail = text.strip_prefix(error.component()).unwrap_or("");
        Self::new(status, detail.trim_start_matches(": "))
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::invalid(rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::invalid(rejection.body_text())
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
