//! The page: HTML for people, from the same records that the API returns. Everything can be read without script, which
//! adds what needs it: buttons, explanations in place, and the newest state by itself.
//!
//! The page depends on `http`, which does not know it: the routes are passed to the server.

mod actions;
mod assets;
mod density;
mod device;
mod devices;
mod difference;
mod frame;
mod history;
mod install;
mod job;
mod lists;
mod login;
mod logs;
mod pauses;
mod plugin;
mod plugins;
mod refusals;
mod run;
mod sentence;
mod settings;
mod shared;
mod tasks;
mod text;
mod timeline;
mod tonight;
mod trial;
mod why;

use axum::{
    Extension, Router,
    extract::{FromRef, Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{Next, from_extractor, from_fn, from_fn_with_state, map_response},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use maud::Markup;
use tower::limit::GlobalConcurrencyLimitLayer;

use self::{
    frame::{Current, frame},
    shared::Shared,
};
use crate::http::{
    Access, ApiState, BodyBounds, LOGIN, NoParameters, Problem, Query, REQUEST, UPLOAD, buffer_body, is_page,
    limit_time, unknown,
};

/// Pages that are made at a time: each reads the database.
const AT_A_TIME: usize = 4;

/// Scripts and styles come from this host alone, and nothing inline runs, so that a text of a plugin cannot.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Returns the routes of the page.
pub(crate) fn routes() -> Router<ApiState> {
    // Their number at a time is that of uploads and settings of the API, because each is one.
    let checks = Router::new()
        .route("/plugins", post(install::check))
        .route("/plugins/{plugin}/settings", post(settings::check))
        .route_layer(from_fn_with_state(UPLOAD, limit_time));
    let no_parameters = || from_extractor::<Query<NoParameters>>();
    let pages = Router::new()
        .route("/devices/{plugin}/{device}", get(device::device))
        .route("/plugins/{plugin}", get(plugin::plugin))
        .route("/plugins/{plugin}/settings", get(settings::settings))
        .route("/devices/{plugin}/{device}/tasks", get(tasks::tasks))
        .route("/jobs/{plugin}/{device}/{job}", get(job::job))
        .route("/runs/{*run}", get(run::run))
        .route_layer(no_parameters())
        .route("/devices", get(devices::devices))
        .route("/plugins", get(plugins::plugins))
        .route("/logs", get(logs::logs))
        .route("/timeline", get(timeline::timeline))
        .route("/runs", get(history::history))
        .route("/why/{plugin}/{device}/{job}", get(why::why));
    // Made once for all readers, their number needs no limit.
    let tonight = Router::new().route("/", get(tonight::tonight)).layer(Extension(Shared::default()));
    limited(pages)
        .merge(tonight.layer(from_fn(in_time)).layer(no_parameters()))
        // A form that comes slowly takes no place meanwhile.
        .merge(checks)
        .merge(login())
        .fallback(unknown)
        .layer(map_response(headers))
        .layer(from_fn(problem_as_page))
        .route("/assets/{digest}/{name}", get(assets::asset))
}

/// Returns the routes at which a browser logs in.
fn login<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Access: FromRef<S>,
{
    let login = limited(Router::new().route(LOGIN, get(login::show).post(login::submit)));
    login.route_layer(from_fn_with_state(BodyBounds::of_login(), buffer_body))
}

/// Returns the routes of the page that every host serves by itself, whichever one works.
pub(crate) fn own_routes<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Access: FromRef<S>,
{
    login().layer(map_response(headers)).layer(from_fn(problem_as_page))
}

/// Returns a file of the page, unless it is one of another version.
pub(crate) async fn asset(digest: String, name: String) -> Option<Response> {
    let response = assets::asset(Path((digest, name))).await;
    response.status().is_success().then_some(response)
}

/// Checks whether a client asks for a page.
pub(crate) fn is_asked_for(path: &str, wanted: &HeaderMap) -> bool {
    let accepted = wanted.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    is_page(path) && accepted.into_iter().any(|kinds| kinds.contains("text/html"))
}

/// Returns a page with a problem that passes. It is loaded again by itself.
pub(crate) async fn passing(problem: Problem) -> Response {
    let Problem { status, detail, hint, .. } = &problem;
    let page = maud::html! {
        (maud::DOCTYPE)
        html lang="en" {
            (frame::head("Please wait", &maud::html! { meta http-equiv="refresh" content="2"; }))
            body { main {
                h1 { "Please wait" }
                p { (detail) }
                @if let Some(hint) = hint { p.soft { (text::lines(hint)) } }
                p { "This page is loaded again by itself." }
            } }
        }
    };
    let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    headers((status, [(header::RETRY_AFTER, "2")], Html(page)).into_response()).await
}

/// Shows a problem as a page to a client that asks for one.
async fn problem_as_page(request: Request, next: Next) -> Response {
    let is_asked_for = is_asked_for(request.uri().path(), request.headers());
    let mut response = next.run(request).await;
    if !is_asked_for {
        return response;
    }
    let mut problem = response.extensions_mut().remove::<Problem>();
    // The library writes what it refuses by itself in a line of text.
    let is_text =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if response.status() == StatusCode::BAD_REQUEST && is_text {
        problem = Some(Problem::bad_request("the address is not understood"));
    }
    match problem {
        Some(problem) => headers(Failed::from(problem).into_response()).await,
        None => response,
    }
}

/// Limits how many requests of these routes run at a time, and how long each may take, including the wait for its turn.
fn limited<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    routes.route_layer(GlobalConcurrencyLimitLayer::new(AT_A_TIME)).route_layer(from_fn(in_time))
}

async fn in_time(request: Request, next: Next) -> Result<Response, Failed> {
    Ok(limit_time(State(REQUEST), request, next).await?)
}

async fn headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // With `no-referrer`, browsers send `Origin: null` with forms, so that the host would refuse its own.
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A page of HTML.
struct Html(Markup);

impl IntoResponse for Html {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], self.0.into_string()).into_response()
    }
}

/// A problem of the API, as a page, and what to show below it.
struct Failed(Problem, Markup);

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Self(problem, Markup::default())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let Self(Problem { status, detail, hint, .. }, below) = self;
        let title = if status == StatusCode::NOT_FOUND.as_u16() { "Not found" } else { "It did not work" };
        let page = frame(
            title,
            Current::None,
            &maud::html! {
                h1 { (title) }
                p { (detail) }
                @if let Some(hint) = hint { p.soft { (text::lines(&hint)) } }
                (below)
                p { "Go on with " a href="/" { "Tonight" } ", " a href="/devices" { "Devices" } " or " a href="/plugins" { "Plugins" } "." }
            },
        );
        (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Html(page)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use axum::body::Body;
    use tokio::task::JoinSet;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn pages_that_hang_end_and_let_others_have_their_places() {
        let routes = Router::new().route("/hangs", get(pending::<&'static str>)).route("/", get(|| async { "made" }));
        let routes = limited(routes);
        let ask = |path: &str| routes.clone().oneshot(Request::get(path).body(Body::empty()).unwrap());
        let mut hanging = JoinSet::new();
        for _ in 0..2 * AT_A_TIME {
            hanging.spawn(ask("/hangs"));
        }
        while let Some(response) = hanging.join_next().await {
            let response = response.unwrap().unwrap();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8", "it is a page");
        }
        assert_eq!(ask("/").await.unwrap().status(), StatusCode::OK);
    }
}
