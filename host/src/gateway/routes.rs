//! What the gateway answers by itself, and who may ask for the rest.

use std::time::Duration;

use axum::{
    Extension, Json, Router,
    body::{Body, to_bytes},
    extract::{FromRef, Path, Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn, from_fn_with_state, map_response},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use subtle::ConstantTimeEq as _;
use tokio::time::timeout;

use super::{
    forward::{Forwarder, Reach, SECRET, TARGET},
    limits,
};
use crate::{
    http::{
        Access, AnsweringHost, CODES, Found, Health, HostFigures, HostRecord, Page, Problem, Role, check_access,
        content_type, host_metrics, make_code, security_headers,
    },
    page,
    report::Report,
};

/// The state of the handlers. Clones refer to the same state.
#[derive(Clone)]
pub(super) struct Gateway {
    pub(super) forwarder: Forwarder,
    pub(super) access: Access,
    /// The name of this host.
    pub(super) name: String,
}

impl FromRef<Gateway> for Access {
    fn from_ref(gateway: &Gateway) -> Self {
        gateway.access.clone()
    }
}

/// Returns the routes for clients over TCP, and for those that may use the socket.
pub(super) fn routers(gateway: &Gateway) -> [Router; 2] {
    let routes = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/api/v1/hosts", get(hosts))
        .route("/api/v1/status", get(status))
        .route(CODES, post(make_code))
        .route("/assets/{digest}/{name}", get(asset))
        .merge(page::own_routes())
        .fallback(pass)
        .method_not_allowed_fallback(pass)
        .with_state(gateway.clone())
        .layer(from_fn(content_type));
    let on_tcp = routes.clone().layer(from_fn_with_state(gateway.clone(), admit));
    [on_tcp, routes].map(|routes| routes.layer(map_response(security_headers)))
}

/// Admits a request of a client that is allowed to ask, and one that another host forwards.
async fn admit(State(gateway): State<Gateway>, mut request: Request, next: Next) -> Result<Response, Response> {
    let headers = request.headers_mut();
    let (secret, target) = (headers.remove(SECRET), headers.remove(TARGET));
    let Some(presented) = secret else {
        return check_access(State(gateway.access.guard), request, next).await.map_err(IntoResponse::into_response);
    };
    let known = gateway.forwarder.view.borrow().secret().map(str::to_owned);
    let is_known = known.is_some_and(|known| presented.as_bytes().ct_eq(known.as_bytes()).into());
    let is_meant = target.is_some_and(|target| target.as_bytes() == gateway.forwarder.own.as_bytes());
    match (is_known, is_meant) {
        (true, true) => {
            let passed = gateway.forwarder.pass(request, Reach::Own, limits::HOLD).await;
            let nothing = (gateway.access.guard.clone(), None);
            passed
                .map(|passed| passed.into_response(gateway.forwarder.cell, nothing))
                .map_err(IntoResponse::into_response)
        }
        (true, false) => Err(refused(StatusCode::MISDIRECTED_REQUEST, "the request is for another host")),
        (false, _) => {
            Err(refused(StatusCode::FORBIDDEN, "the request claims to come from another host, and its secret is wrong"))
        }
    }
}

fn refused(status: StatusCode, detail: &str) -> Response {
    let mut response = Problem::of(status, Report::new(detail)).into_response();
    response.headers_mut().insert(SECRET, HeaderValue::from_static("refused"));
    response
}

/// Passes a request on.
async fn pass(State(gateway): State<Gateway>, session: Option<Extension<Found>>, request: Request) -> Response {
    let is_page = *request.method() == Method::GET && page::is_asked_for(request.uri().path(), request.headers());
    let Gateway { forwarder, access: Access { guard, .. }, .. } = gateway;
    match forwarder.pass(request, Reach::Any, limits::HOLD).await {
        Ok(passed) => passed.into_response(forwarder.cell, (guard, session.map(|Extension(found)| found))),
        Err(problem) if is_page => page::passing(problem).await,
        Err(problem) => problem.into_response(),
    }
}

/// Passes a request for the status on, and adds which host answers.
async fn status(State(gateway): State<Gateway>, request: Request) -> Result<Response, Problem> {
    let Gateway { forwarder, access: Access { guard, .. }, name } = gateway;
    let passed = forwarder.pass(request, Reach::Any, limits::HOLD).await?;
    let (owner, is_own) = (passed.owner.host.name.clone(), forwarder.is_own(&passed.owner));
    let response = passed.into_response(forwarder.cell, (guard, None));
    if is_own || response.status() != StatusCode::OK {
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    let broken = |error: &dyn std::fmt::Display| {
        let report = Report::new(format!("the status of the owner, `{owner}`, is incomplete")).cause(error);
        Problem::of(StatusCode::SERVICE_UNAVAILABLE, report.hint("try again"))
    };
    let bytes = to_bytes(body, limits::STATUS_BYTES).await.map_err(|error| broken(&error))?;
    let mut status: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| broken(&error))?;
    let host = AnsweringHost { name, role: Role::Standby, owner: owner.clone() };
    status["host"] = serde_json::to_value(host).map_err(|error| broken(&error))?;
    parts.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(parts, Body::from(status.to_string())))
}

/// This host works, whether there is an owner or not.
async fn healthz(State(gateway): State<Gateway>) -> Json<Health> {
    let response = ask(&gateway.forwarder, Reach::Any, "/healthz").await;
    Json(Health::of_several(response.is_ok_and(|response| response.status().is_success())))
}

/// The owner is ready, and this host reaches it.
async fn readyz(State(gateway): State<Gateway>) -> Result<Response, Problem> {
    ask(&gateway.forwarder, Reach::Any, "/readyz").await
}

/// Asks the owner something by which its state is known, without waiting for a takeover.
async fn ask(forwarder: &Forwarder, reach: Reach, path: &'static str) -> Result<Response, Problem> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = axum::http::Uri::from_static(path);
    let asked = async {
        let passed = forwarder.pass(request, reach, Duration::ZERO).await?;
        let (mut parts, body) = passed.response.into_parts();
        let bytes = to_bytes(Body::new(body), limits::METRICS_BYTES).await;
        let bytes = bytes.map_err(|error| {
            Problem::of(
                StatusCode::SERVICE_UNAVAILABLE,
                Report::new("the answer of the owner is incomplete").cause(error),
            )
        })?;
        for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
            parts.headers.remove(name);
        }
        Ok(Response::from_parts(parts, Body::from(bytes)))
    };
    timeout(limits::QUESTION, asked).await.unwrap_or_else(|_| {
        let what = format!("the owner did not answer within {} s", limits::QUESTION.as_secs());
        Err(Problem::of(StatusCode::SERVICE_UNAVAILABLE, Report::new(what)))
    })
}

/// The figures of this host and, if it is the owner, of its work.
async fn metrics(State(gateway): State<Gateway>) -> Response {
    let Gateway { forwarder, name, .. } = gateway;
    let is_owner = forwarder.owner().is_some_and(|owner| forwarder.is_own(&owner));
    let mut text = {
        let view = forwarder.view.borrow();
        host_metrics(&HostFigures {
            name: &name,
            is_owner,
            cell: view.beat(forwarder.cell),
            clock_ahead_ms: view.host(&forwarder.own).map(|host| host.clock_ahead_ms),
            database_up: view.is_current,
        })
    };
    let of_work = ask(&forwarder, Reach::Own, "/metrics").await.ok().filter(|response| response.status().is_success());
    if let Some(response) = of_work
        && let Ok(bytes) = to_bytes(response.into_body(), limits::METRICS_BYTES).await
    {
        text.push_str(&String::from_utf8_lossy(&bytes));
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn hosts(State(gateway): State<Gateway>) -> Json<Page<HostRecord>> {
    let Gateway { forwarder, access, .. } = gateway;
    let view = forwarder.view.borrow();
    let hosts = view.hosts().iter().map(|host| HostRecord::new(host, &forwarder.own, view.cells(), access.zone));
    Json(Page { items: hosts.collect(), next: None })
}

/// Returns a file of the page. A page of an owner of another version has other files, which the owner has.
async fn asset(
    State(gateway): State<Gateway>,
    Path((digest, name)): Path<(String, String)>,
    request: Request,
) -> Response {
    match page::asset(digest, name).await {
        Some(response) => response,
        None => pass(State(gateway), None, request).await,
    }
}
