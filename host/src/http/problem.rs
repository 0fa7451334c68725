//! Error responses: problem details as in RFC 9457.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use roost_scheduler::event::Refusal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    app::LoopClosed,
    report::{Report, printable, shown},
    store::StoreError,
};

/// A problem: what failed, why, and how to solve it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`: the status is the type of the problem.
    #[serde(rename = "type")]
    kind: String,
    /// The meaning of the status.
    title: String,
    pub(crate) status: u16,
    /// What failed, and why.
    pub(crate) detail: String,
    /// How to solve the problem, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

pub(super) type Answered<T> = Result<Json<T>, Problem>;

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".into(),
            title: status.canonical_reason().unwrap_or("Problem").into(),
            status: status.as_u16(),
            detail: shown(&detail.into()),
            hint: None,
        }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// A request that is well formed and cannot be fulfilled.
    pub(super) fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// An internal error.
    pub(super) fn bug(error: &dyn std::fmt::Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(printable(&hint.into()));
        self
    }

    /// Converts the report of an edge.
    pub(crate) fn of(status: StatusCode, report: Report) -> Self {
        let Report { what, causes, hint } = report;
        let problem = Self::new(status, [vec![what], causes].concat().join(": ").replace('\n', "; "));
        hint.into_iter().fold(problem, Self::hint)
    }
}

impl From<LoopClosed> for Problem {
    fn from(LoopClosed: LoopClosed) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the host is stopping")
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let status = match &error {
            StoreError::NotFailed { state: None, .. } => StatusCode::NOT_FOUND,
            StoreError::NotFailed { .. } => StatusCode::CONFLICT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::of(status, Report::from(&error))
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::Unknown(_) => StatusCode::NOT_FOUND,
            Refusal::Conflict(_) | Refusal::TooMany(_) => StatusCode::CONFLICT,
            Refusal::Stopping | Refusal::Lost(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, refusal.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"roost\""));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        // The pages show it in their own way.
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_of_a_request_are_escaped_in_a_problem() {
        let name = "a\u{202e}\u{1b}[2J".to_owned() + &"x".repeat(100_000);
        let problem = Problem::bad_request(format!("`{name}` is no name")).hint("not \u{200b}this");
        assert!(problem.detail.starts_with("`a\\u{202e}\\u{1b}[2Jxxx") && problem.detail.len() < 1_000);
        assert_eq!(problem.hint.as_deref(), Some("not \\u{200b}this"));
    }
}
