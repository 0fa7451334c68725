//! What can be asked, and its description.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::to_bytes,
    extract::{DefaultBodyLimit, Request, State},
    http::{StatusCode, Uri, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use http_body_util::LengthLimitError;
use tokio::{sync::Semaphore, time::timeout};
use utoipa::{
    PartialSchema as _,
    openapi::{
        ContentBuilder, Info, OpenApi, Ref, RefOr, ResponseBuilder,
        path::PathItem,
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::{Guard, content_type, guard, security_headers},
    devices, events, explain, health,
    host_events::GapRecord,
    jobs, limits, logs, metrics, overrides, plugins,
    plugins::{steering, uploads},
    problem::Problem,
    runs, schedule,
    state::ApiState,
    status, timeline,
};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Everything that can be asked: over TCP with a guard before it, on the socket without.
pub(super) fn router(desk: ApiState, checked: Option<Guard>) -> Router {
    let (routes, mut api) = described();
    describe(&mut api);
    let text: Arc<str> = api.to_json().unwrap_or_default().into();
    let description = get(move || async move { ([(header::CONTENT_TYPE, "application/json")], text.to_string()) });
    let routes = routes
        .route("/api/v1/openapi.json", description)
        .fallback(unknown)
        .method_not_allowed_fallback(not_allowed)
        .with_state(desk.clone())
        .layer(DefaultBodyLimit::max(limits::JSON_BYTES))
        .layer(from_fn(content_type));
    let routes = match checked {
        Some(checked) => routes.layer(from_fn_with_state(checked, guard)),
        None => routes,
    };
    routes.layer(from_fn(security_headers)).layer(from_fn_with_state(desk, counted))
}

/// Each kind has room of its own: whoever reads a long history holds up nobody who wants something done.
fn described() -> (Router<ApiState>, OpenApi) {
    let health = OpenApiRouter::new().routes(routes!(health::healthz)).routes(routes!(health::readyz));
    let reads = OpenApiRouter::new()
        .routes(routes!(status::status))
        .routes(routes!(metrics::metrics))
        .routes(routes!(plugins::plugins))
        .routes(routes!(plugins::plugin))
        .routes(routes!(logs::logs))
        .routes(routes!(logs::all_logs))
        .routes(routes!(devices::devices))
        .routes(routes!(jobs::jobs))
        .routes(routes!(jobs::job));
    // Whoever follows has a place of its own, for as long as it takes.
    let streams = OpenApiRouter::new().routes(routes!(events::events));
    let histories = OpenApiRouter::new()
        .routes(routes!(timeline::timeline))
        .routes(routes!(runs::runs))
        .routes(routes!(runs::run))
        .routes(routes!(runs::run_of_origin))
        .routes(routes!(explain::explain));
    let writes = OpenApiRouter::new()
        .routes(routes!(runs::replay))
        .routes(routes!(runs::abandon))
        .routes(routes!(schedule::schedule))
        .routes(routes!(schedule::replace, schedule::cancel))
        .routes(routes!(overrides::run_now))
        .routes(routes!(overrides::skip, overrides::unskip))
        .routes(routes!(overrides::pause_job))
        .routes(routes!(overrides::resume_job))
        .routes(routes!(overrides::pause_device))
        .routes(routes!(overrides::resume_device))
        .routes(routes!(steering::replan))
        .routes(routes!(steering::pause))
        .routes(routes!(steering::resume))
        .routes(routes!(steering::roll_back))
        .routes(routes!(steering::remove));
    // Beside what is read at the same address, which is not to wait for compiles.
    let uploads = OpenApiRouter::new().routes(routes!(uploads::upload)).routes(routes!(uploads::check));
    health
        .merge(streams)
        .merge(room(reads, limits::READS, limits::REQUEST))
        .merge(room(histories, limits::HISTORIES, limits::REQUEST))
        .merge(room(writes, limits::WRITES, limits::REQUEST).route_layer(from_fn(whole)))
        .merge(room(uploads, limits::UPLOADS, limits::UPLOAD))
        .split_for_parts()
}

fn room(routes: OpenApiRouter<ApiState>, places: usize, within: Duration) -> OpenApiRouter<ApiState> {
    let routes = routes.route_layer(from_fn_with_state(Arc::new(Semaphore::new(places)), limit_concurrency));
    routes.route_layer(from_fn_with_state(within, limit_time))
}

/// Whoever is slow to send what he wants takes nobody's place.
async fn whole(request: Request, next: Next) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let read = timeout(limits::BODY, to_bytes(body, limits::JSON_BYTES)).await.map_err(|_| {
        let detail = format!("the body did not come within {} s", limits::BODY.as_secs());
        Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
    })?;
    let bytes = read.map_err(|error| match error.into_inner() {
        error if error.is::<LengthLimitError>() => {
            let detail = format!("the body has more than {} bytes", limits::JSON_BYTES);
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        }
        error => Problem::bad_request(format!("the body was cut off: {error}")),
    })?;
    Ok(next.run(Request::from_parts(parts, bytes.into())).await)
}

async fn limit_concurrency(State(places): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    // Nobody closes it.
    let _place = places.acquire().await;
    next.run(request).await
}

async fn counted(State(desk): State<ApiState>, request: Request, next: Next) -> Response {
    let answer = next.run(request).await;
    desk.metrics().count_request(answer.status().as_u16());
    answer
}

async fn limit_time(State(within): State<Duration>, request: Request, next: Next) -> Result<Response, Problem> {
    timeout(within, next.run(request)).await.map_err(|_| {
        let detail = format!("it was not done within {} s", within.as_secs());
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).hint("others ask as well: try again")
    })
}

async fn unknown(uri: Uri) -> Problem {
    Problem::not_found(format!("there is no `{}`", uri.path())).hint("`/api/v1/openapi.json` says what there is")
}

async fn not_allowed(request: Request) -> Response {
    let detail = format!("`{}` does not take `{}`", request.uri().path(), request.method());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail).into_response()
}

/// What all answers have in common.
fn describe(api: &mut OpenApi) {
    api.info = Info::new("Roost", VERSION);
    api.info.description = Some(
        "What plugins plan, what became of it, and what to do about it. Times are RFC 3339 in the device's zone."
            .into(),
    );
    let components = api.components.get_or_insert_default();
    components.schemas.insert("GapRecord".into(), GapRecord::schema());
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    components.security_schemes.insert("token".into(), RefOr::T(bearer));
    // Where no token is configured, none is needed.
    api.security = Some(vec![SecurityRequirement::default(), SecurityRequirement::new::<_, [&str; 0], _>("token", [])]);
    for item in api.paths.paths.values_mut() {
        let PathItem { get, put, post, delete, patch, .. } = item;
        for operation in [get, put, post, delete, patch].into_iter().flatten() {
            let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
            let other = ResponseBuilder::new()
                .description("What is wrong, and what to do")
                .content("application/problem+json", problem)
                .build();
            operation.responses.responses.insert("default".into(), RefOr::T(other));
        }
    }
}
