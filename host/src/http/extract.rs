//! Extractors for the parts of a request. Their rejections are [`Problem`]s.

use axum::{
    extract::{FromRequest, FromRequestParts, Request, rejection::JsonRejection},
    http::{StatusCode, Uri, request::Parts},
};
use serde::{Deserialize, de::DeserializeOwned};

use super::problem::Problem;

/// The parameters in the path.
pub(super) struct Path<T>(pub(super) T);

/// The parameters in the query.
pub(crate) struct Query<T>(pub(crate) T);

/// The query of an address that has no parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoParameters {}

/// The body, as JSON.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            Err(error) => {
                let why = error.body_text();
                let why = why.strip_prefix("Invalid URL: ").unwrap_or(&why);
                Err(Problem::bad_request(format!("the path is not understood: {why}")))
            }
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(&parts.uri)
    }
}

impl<T: DeserializeOwned> Query<T> {
    /// Parses a query, such as `plugin=coop-door&state=failed`.
    pub(crate) fn parse(query: &str) -> Result<Self, Problem> {
        Self::of(&Uri::try_from(format!("/?{query}")).map_err(|error| not_understood(&error))?)
    }

    pub(super) fn of(uri: &Uri) -> Result<Self, Problem> {
        let axum::extract::Query(query) =
            axum::extract::Query::try_from_uri(uri).map_err(|error| not_understood(&error))?;
        Ok(Self(query))
    }
}

fn not_understood(error: &dyn std::error::Error) -> Problem {
    Problem::bad_request(format!("the query is not understood: {}", cause(error)))
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match axum::Json::from_request(request, state).await {
            Ok(axum::Json(body)) => Ok(Self(body)),
            Err(JsonRejection::MissingJsonContentType(_)) => {
                let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be JSON");
                Err(problem.hint("send `Content-Type: application/json`"))
            }
            Err(error) => Err(Problem::new(status(&error), format!("the body is not understood: {}", cause(&error)))),
        }
    }
}

/// Returns the root cause of an error.
fn cause(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).last().map(ToString::to_string).unwrap_or_default()
}

/// Returns the status for a rejected body: 400 both for invalid JSON and for JSON of another shape.
fn status(error: &JsonRejection) -> StatusCode {
    match error.status() {
        StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
        status => status,
    }
}
