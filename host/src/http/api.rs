//! The routes of the API, their limits, and their OpenAPI description.

use std::{
    collections::{HashSet, VecDeque},
    convert::Infallible,
    future::pending,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::to_bytes,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{Method, StatusCode, Uri, header},
    middleware::{Next, from_fn, from_fn_with_state, map_response, map_response_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use http_body_util::LengthLimitError;
use tokio::{sync::oneshot, time::timeout};
use tower::limit::GlobalConcurrencyLimitLayer;
use utoipa::{
    PartialSchema as _,
    openapi::{
        ContentBuilder, Info, OpenApi, Ref, RefOr, ResponseBuilder,
        path::{Operation, Parameter, ParameterIn},
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::{Guard, check, content_type, is_page, security_headers},
    codes, device_pauses, devices, events, explain,
    extract::{NoParameters, Query},
    faults, health,
    host_events::{GapRecord, HostEventRecord},
    hosts, jobs, limits, links, logs, metrics, overrides, pauses, plugins,
    plugins::{settings, steering, uploads},
    problem::Problem,
    runs, schedule, session,
    state::ApiState,
    status, sun, timeline,
};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Returns the router of the API and of other routes. The guard checks requests over TCP; the socket has none.
pub(super) fn router(state: ApiState, others: Router<ApiState>, guard: Option<Guard>) -> Router {
    let (routes, mut api) = routes();
    describe(&mut api);
    let text: Arc<str> = api.to_json().unwrap_or_default().into();
    let description = get(move || async move { ([(header::CONTENT_TYPE, "application/json")], text.to_string()) });
    let routes = routes
        .route("/api/v1/openapi.json", description)
        .route_layer(from_fn_with_state(without_parameters(&api), refuse_parameters))
        .merge(others)
        .method_not_allowed_fallback(not_allowed)
        .with_state(state.clone())
        .layer(DefaultBodyLimit::max(limits::JSON_BYTES))
        .layer(from_fn(content_type));
    let routes = match guard {
        Some(guard) => routes.layer(from_fn_with_state(guard, check)),
        None => routes,
    };
    routes.layer(map_response(security_headers)).layer(map_response_with_state(state, count_request))
}

/// Returns the routes and their description. Each kind of request has a concurrency limit of its own, so that slow
/// reads of the history do not delay writes.
fn routes() -> (Router<ApiState>, OpenApi) {
    let health = OpenApiRouter::new().routes(routes!(health::healthz)).routes(routes!(health::readyz));
    let reads = OpenApiRouter::new()
        .routes(routes!(status::status))
        .routes(routes!(hosts::hosts))
        .routes(routes!(metrics::metrics))
        .routes(routes!(plugins::plugins))
        .routes(routes!(plugins::plugin))
        .routes(routes!(settings::settings))
        .routes(routes!(logs::logs))
        .routes(routes!(logs::all_logs))
        .routes(routes!(devices::devices))
        .routes(routes!(devices::device))
        .routes(routes!(faults::faults))
        .routes(routes!(jobs::jobs))
        .routes(routes!(jobs::job));
    // A stream has its own limit, in its handler, because it may last for days.
    let streams = OpenApiRouter::new().routes(routes!(events::events));
    let histories = OpenApiRouter::new()
        .routes(routes!(sun::sun))
        .routes(routes!(timeline::timeline))
        .routes(routes!(timeline::density::density))
        .routes(routes!(runs::runs))
        .routes(routes!(runs::run))
        .routes(routes!(runs::run_of_origin))
        .routes(routes!(explain::explain));
    let writes = OpenApiRouter::new()
        .routes(routes!(codes::make))
        .routes(routes!(runs::replay))
        .routes(routes!(runs::abandon))
        .routes(routes!(schedule::schedule))
        .routes(routes!(schedule::replace, schedule::cancel))
        .routes(routes!(overrides::run_now))
        .routes(routes!(overrides::skip, overrides::unskip))
        .routes(routes!(pauses::pause_job))
        .routes(routes!(pauses::resume_job))
        .routes(routes!(pauses::pause_device))
        .routes(routes!(pauses::resume_device))
        .routes(routes!(pauses::pause))
        .routes(routes!(pauses::resume))
        .routes(routes!(pauses::pause_all))
        .routes(routes!(pauses::resume_all))
        .routes(routes!(device_pauses::pause_devices))
        .routes(routes!(device_pauses::resume_devices))
        .routes(routes!(steering::replan))
        .routes(routes!(steering::roll_back))
        .routes(routes!(steering::remove));
    // Separate from the reads at the same path, which must not wait for compilations. The number at a time is limited in
    // the handlers, because a page checks components as well.
    let uploads = OpenApiRouter::new()
        .routes(routes!(uploads::upload))
        .routes(routes!(uploads::check))
        .routes(routes!(settings::write_settings));
    health
        .merge(streams)
        .merge(limited(reads, limits::READS, limits::REQUEST))
        .merge(limited(histories, limits::HISTORIES, limits::REQUEST))
        .merge(
            limited(writes, limits::WRITES, limits::REQUEST)
                .route_layer(from_fn_with_state(BodyBounds::of_writes(), buffer_body)),
        )
        .merge(uploads.route_layer(from_fn_with_state(limits::UPLOAD, limit_time)))
        .split_for_parts()
}

/// Limits how many requests of these routes run at a time, and how long each may take, including the wait for its turn.
fn limited<S>(routes: OpenApiRouter<S>, most: usize, within: Duration) -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    let routes = routes.route_layer(GlobalConcurrencyLimitLayer::new(most));
    routes.route_layer(from_fn_with_state(within, limit_time))
}

/// The bounds on a body that is read before its request is processed.
#[derive(Clone)]
pub(crate) struct BodyBounds {
    bytes: usize,
    within: Duration,
    /// The bodies that are being read, the oldest first, if their number is limited. Each ends if its sender is dropped.
    slots: Option<Arc<Mutex<VecDeque<oneshot::Sender<Infallible>>>>>,
}

impl BodyBounds {
    fn of_writes() -> Self {
        Self { bytes: limits::JSON_BYTES, within: limits::BODY, slots: None }
    }

    /// Any client can send the form of the login.
    pub(crate) fn of_login() -> Self {
        Self { bytes: limits::LOGIN_BYTES, within: limits::LOGIN_BODY, slots: Some(Arc::default()) }
    }

    /// Takes a place when first polled, and waits until a newer body takes it.
    async fn displaced(&self) {
        let Some(slots) = &self.slots else { return pending().await };
        let displaced = {
            let (place, displaced) = oneshot::channel();
            let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.retain(|place| !place.is_closed());
            if slots.len() >= limits::LOGIN_BODIES {
                slots.pop_front();
            }
            slots.push_back(place);
            displaced
        };
        drop(displaced.await);
    }
}

/// Reads the whole body before the request counts against the concurrency limit, so that slow clients do not block
/// others.
pub(crate) async fn buffer_body(
    State(bounds): State<BodyBounds>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let BodyBounds { bytes: most, within, .. } = bounds;
    let (parts, body) = request.into_parts();
    let read = tokio::select! {
        biased;
        read = timeout(within, to_bytes(body, most)) => read.map_err(|_| {
            let detail = format!("the body was not received within {} s", within.as_secs());
            Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
        })?,
        () = bounds.displaced() => {
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many clients are logging in");
            return Err(problem.hint("try again"));
        }
    };
    let bytes = read.map_err(|error| match error.into_inner() {
        error if error.is::<LengthLimitError>() => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {most} bytes"))
        }
        error => Problem::bad_request(format!("the body is incomplete: {error}")),
    })?;
    Ok(next.run(Request::from_parts(parts, bytes.into())).await)
}

async fn count_request(State(state): State<ApiState>, response: Response) -> Response {
    state.metrics().count_request(response.status().as_u16());
    response
}

/// Limits the time of a request.
pub(crate) async fn limit_time(
    State(within): State<Duration>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    timeout(within, next.run(request)).await.map_err(|_| {
        let detail = format!("the request was not completed within {} s", within.as_secs());
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .hint("the host may be busy with other requests: try again")
    })
}

/// Returns the operations of the API that have no parameters in the query, by path. The others refuse unknown ones when
/// they read their own.
fn without_parameters(api: &OpenApi) -> Arc<HashSet<(Method, String)>> {
    let has_none = |operation: &&Operation| {
        let mut parameters = operation.parameters.iter().flatten();
        parameters.all(|parameter| !matches!(parameter, RefOr::T(Parameter { parameter_in: ParameterIn::Query, .. })))
    };
    let operations = api.paths.paths.iter().flat_map(|(path, item)| {
        let methods = [
            (Method::GET, &item.get),
            (Method::POST, &item.post),
            (Method::PUT, &item.put),
            (Method::DELETE, &item.delete),
        ];
        let without = methods.into_iter().filter(|(_, operation)| operation.as_ref().is_some_and(|one| has_none(&one)));
        without.map(|(method, _)| (method, path.clone()))
    });
    // Programs that watch hosts add parameters of their own to other paths.
    Arc::new(operations.filter(|(_, path)| path.starts_with("/api/")).collect())
}

async fn refuse_parameters(
    State(without): State<Arc<HashSet<(Method, String)>>>,
    path: MatchedPath,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if request.uri().query().is_some() && without.contains(&(request.method().clone(), path.as_str().to_owned())) {
        Query::<NoParameters>::of(request.uri())?;
    }
    Ok(next.run(request).await)
}

/// Answers requests of a path that does not exist.
pub(crate) async fn unknown(uri: Uri) -> Problem {
    let hint = if is_page(uri.path()) {
        "`/` is the first page, and `/api/v1/openapi.json` describes the API"
    } else {
        "see `/api/v1/openapi.json` for the paths that exist"
    };
    Problem::not_found(format!("there is no `{}`", uri.path())).hint(hint)
}

async fn not_allowed(request: Request) -> Response {
    let detail = format!("`{}` does not support `{}`", request.uri().path(), request.method());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail).into_response()
}

/// Adds what all operations have in common to the description.
fn describe(api: &mut OpenApi) {
    api.info = Info::new("Roost", VERSION);
    api.info.description = Some(
        "The API of a Roost host: plugins, devices, jobs and runs. Times are RFC 3339 in the device's time zone. Lists are \
         paginated: pass `next` back as `cursor`. Errors are `application/problem+json`."
            .into(),
    );
    let components = api.components.get_or_insert_default();
    // The text of an event is one of these.
    components.schemas.insert("HostEventRecord".into(), HostEventRecord::schema());
    components.schemas.insert("GapRecord".into(), GapRecord::schema());
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    components.security_schemes.insert("token".into(), RefOr::T(bearer));
    let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
        session::cookie_name(8080).as_str(),
        "The cookie of a session that was begun at `/login`; its name \
         ends in the port on which the host listens. A write needs an `Origin` equal to the host",
    )));
    components.security_schemes.insert("session".into(), RefOr::T(cookie));
    // Also without: none is required if no token is configured.
    let required = |name: &str| SecurityRequirement::new::<_, [&str; 0], _>(name, []);
    api.security = Some(vec![SecurityRequirement::default(), required("token"), required("session")]);
    links::add(api);
    for operation in links::operations(api) {
        let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let other = ResponseBuilder::new()
            .description("The request failed: the problem and, if known, how to solve it")
            .content("application/problem+json", problem)
            .build();
        operation.responses.responses.insert("default".into(), RefOr::T(other));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeSet, HashMap},
        convert::Infallible,
        future::{pending, poll_fn},
        pin::Pin,
        sync::atomic::{AtomicUsize, Ordering},
        task::{Context, Poll},
    };

    use axum::{
        body::{Body, Bytes},
        routing::post,
    };
    use hyper::body::Frame;
    use tower::ServiceExt as _;

    use super::*;

    #[test]
    fn each_link_leads_to_an_operation_with_its_parameters() {
        let mut api = routes().1;
        describe(&mut api);
        let parameters: HashMap<String, Vec<String>> = links::operations(&mut api)
            .map(|operation| {
                let names = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
                    RefOr::T(parameter) => Some(parameter.name.clone()),
                    RefOr::Ref(_) => None,
                });
                (operation.operation_id.clone().unwrap(), names.collect())
            })
            .collect();
        let mut from = BTreeSet::new();
        for operation in links::operations(&mut api) {
            for response in operation.responses.responses.values() {
                let RefOr::T(response) = response else { continue };
                for link in response.links.values() {
                    let RefOr::T(link) = link else { panic!("a link by itself") };
                    let known = &parameters[&link.operation_id];
                    assert!(link.parameters.keys().all(|name| known.contains(name)), "{}", link.operation_id);
                    assert!(link.request_body.is_some() || !link.parameters.is_empty(), "{}", link.operation_id);
                    from.insert(operation.operation_id.clone().unwrap());
                }
            }
        }
        let from: Vec<_> = from.iter().map(String::as_str).collect();
        assert_eq!(from, ["devices", "jobs", "plugins", "replace", "run_now", "runs", "schedule", "upload"]);
    }

    /// A body of which no part is received.
    struct Endless;

    impl axum::body::HttpBody for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn bodies_of_the_login_are_few_short_and_quick() {
        let routes = Router::new().route("/", post(|body: Bytes| async move { body.len().to_string() }));
        let routes = routes.route_layer(from_fn_with_state(BodyBounds::of_login(), buffer_body));
        let send = |body: Body| Box::pin(routes.clone().oneshot(Request::post("/").body(body).unwrap()));
        let status = |response: Result<Response, _>| response.map(|response| response.status());
        assert_eq!(status(send(vec![b'a'; 8 << 10].into()).await), Ok(StatusCode::OK));
        assert_eq!(status(send(vec![b'a'; (8 << 10) + 1].into()).await), Ok(StatusCode::PAYLOAD_TOO_LARGE));

        let slow = || send(Body::new(Endless));
        let mut held: Vec<_> = (0..limits::LOGIN_BODIES).map(|_| slow()).collect();
        for request in &mut held {
            assert!(poll_fn(|context| Poll::Ready(request.as_mut().poll(context).is_pending())).await);
        }
        assert_eq!(status(send("secret=a".into()).await), Ok(StatusCode::OK), "what is there takes no place");
        let mut newest = slow();
        assert!(poll_fn(|context| Poll::Ready(newest.as_mut().poll(context).is_pending())).await);
        held.push(newest);
        for (number, request) in held.into_iter().enumerate() {
            let expected = if number == 0 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::REQUEST_TIMEOUT };
            assert_eq!(status(request.await), Ok(expected), "{number}");
        }
    }

    #[tokio::test]
    async fn a_request_waits_for_its_turn_but_not_for_ever() {
        let begun = &Arc::new(AtomicUsize::new(0));
        let count = begun.clone();
        let never_ends = get(move || async move {
            count.fetch_add(1, Ordering::Relaxed);
            pending::<()>().await;
        });
        let routes = limited(OpenApiRouter::new().route("/", never_ends), 1, Duration::from_millis(100));
        let router: Router = routes.split_for_parts().0;
        let request = || Box::pin(router.clone().oneshot(Request::new(Body::empty())));
        let status = |response: Result<Response, _>| response.map(|response| response.status());
        // It keeps its place for as long as it is not polled again.
        let mut first = request();
        assert!(poll_fn(|context| Poll::Ready(first.as_mut().poll(context).is_pending())).await);
        assert_eq!(status(request().await), Ok(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(begun.load(Ordering::Relaxed), 1, "the second one has only waited");
        drop(first);
        assert_eq!(status(request().await), Ok(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(begun.load(Ordering::Relaxed), 2);
    }
}
