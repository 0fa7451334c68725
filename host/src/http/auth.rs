//! Access control over TCP: tokens, sessions, and protection against requests that foreign web pages send through a
//! browser.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use roost_scheduler::zone::Zone;
use url::form_urlencoded;

use super::{codes::PATH as CODES, login::Login, problem::Problem, session::Found};
use crate::clock;

/// How clients log in, and the names by which they may address the host.
#[derive(Clone)]
pub(crate) struct Guard(Arc<Rules>);

struct Rules {
    /// `None`: no token is configured, and none is required.
    login: Option<Login>,
    hosts: Vec<String>,
    /// The address that the host listens on, if it does.
    address: Option<SocketAddr>,
}

/// What handlers of the login need: the guard, and the zone of times.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) guard: Guard,
    pub(crate) zone: Zone,
}

/// The page to log in at. It is the only path that takes a form.
pub(crate) const LOGIN: &str = "/login";

/// The files of the pages. Caches that several browsers share may keep them, so that no cookie may go with them.
const ASSETS: &str = "/assets/";

/// Checks whether a path needs neither token nor session. Such paths reveal nothing about plugins. Load balancers and
/// systemd have no token, and a browser has none before the login.
fn is_public(path: &str) -> bool {
    ["/healthz", "/readyz", LOGIN].contains(&path) || path.starts_with(ASSETS)
}

impl Guard {
    pub(super) fn new(login: Option<Login>, hosts: Vec<String>, address: Option<SocketAddr>) -> Self {
        Self(Arc::new(Rules { login, hosts, address }))
    }

    /// Returns the guard of a process that no client reaches over TCP.
    pub(crate) fn none() -> Self {
        Self::new(None, Vec::new(), None)
    }

    /// Returns how clients log in, if they have to.
    pub(crate) fn login(&self) -> Option<&Login> {
        self.0.login.as_ref()
    }

    /// Waits for the end of the session of a request: for ever, if it has none.
    pub(crate) async fn session_ended(&self, session: Option<&Found>) {
        match (self.login(), session) {
            (Some(login), Some(session)) => login.sessions.ended(&session.digest, clock::now).await,
            _ => std::future::pending().await,
        }
    }

    /// Returns the names of the host that are configured.
    pub(super) fn hosts(&self) -> &[String] {
        &self.0.hosts
    }

    /// Returns the address that the host listens on, if it does.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.0.address
    }

    /// Returns the session of a request that is accepted, if it has one.
    fn check(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<Option<Found>, Problem> {
        let host = self.host(headers)?;
        check_origin(method, path, headers, host)?;
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        if path == CODES {
            let problem = Problem::new(StatusCode::FORBIDDEN, "one-time codes are made only over the host's socket");
            return Err(problem.hint("run `roost login` as the user that runs the host"));
        }
        let Some(login) = self.login() else { return Ok(None) };
        let is_without = bearer(headers).is_some() || path.starts_with(ASSETS);
        let found = if is_without { None } else { login.sessions.find(headers, clock::now()) };
        if !is_read && (found.is_some() || path == LOGIN) {
            require_origin(headers, host)?;
        }
        if found.is_none() && !is_public(path) {
            check_token(login, headers)?;
        }
        Ok(found)
    }

    /// Returns the `Host` of a request if it is a name of this host. A page of a domain that resolves to this machine
    /// (DNS rebinding) sends its own domain. Addresses cannot be rebound, but browsers send `Sec-Fetch-Site` only to
    /// trustworthy ones, which are those of the loopback interface.
    fn host<'h>(&self, headers: &'h HeaderMap) -> Result<&'h str, Problem> {
        let host = text(headers, header::HOST);
        let host = host.ok_or_else(|| Problem::bad_request("the request has no `Host`"))?;
        if headers.get_all(header::HOST).iter().count() > 1 {
            return Err(Problem::bad_request("the request has more than one `Host`"));
        }
        let name = without_port(host);
        let is_known = |known: &String| name.eq_ignore_ascii_case(known);
        let address = address(name);
        let is_own = address.is_some_and(|address| self.0.login.is_some() || address.is_loopback());
        if is_own || name.eq_ignore_ascii_case("localhost") || self.0.hosts.iter().any(is_known) {
            return Ok(host);
        }
        let problem = Problem::new(StatusCode::MISDIRECTED_REQUEST, format!("`{name}` is not a name of this host"));
        Err(problem.hint("use `localhost`, or add the name to `hosts` below `[http]` in `roost.toml`"))
    }
}

fn check_token(login: &Login, headers: &HeaderMap) -> Result<(), Problem> {
    let hint = "send `Authorization: Bearer TOKEN` with the content of the host's token file";
    let problem = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, detail).hint(hint);
    let presented = bearer(headers).ok_or_else(|| problem("the request has no token"))?;
    if login.is_token(presented) { Ok(()) } else { Err(problem("the token is wrong")) }
}

/// Returns the token of a request. Another scheme is none: a proxy may have a password of its own, and pass it on.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get_all(header::AUTHORIZATION).iter().find_map(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
    })
}

/// Refuses a write without `Origin`. A browser sends a cookie by itself, and over plain HTTP no other header states
/// which page the request comes from. [`check_origin`] has compared the origin with the host.
fn require_origin(headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    if headers.contains_key(header::ORIGIN) {
        return Ok(());
    }
    let problem = Problem::new(StatusCode::FORBIDDEN, "the request does not state which page it comes from");
    Err(problem
        .hint(format!("send `Origin: http://{host}`, or a token instead of a cookie: `Authorization: Bearer TOKEN`")))
}

/// Checks whether a request says that it comes from a page of another site, or from a link on one. Browsers leave out
/// the session's cookie then.
pub(crate) fn comes_from_elsewhere(headers: &HeaderMap) -> bool {
    let site = text(headers, HeaderName::from_static("sec-fetch-site"));
    let host = text(headers, header::HOST).unwrap_or_default();
    let referrer = text(headers, header::REFERER).and_then(|referrer| url::Url::parse(referrer).ok());
    matches!(site, Some("cross-site" | "same-site"))
        || referrer.is_some_and(|referrer| !referrer.authority().eq_ignore_ascii_case(host))
}

/// Checks whether the browser that sends a form reaches the host by TLS, through a proxy.
pub(crate) fn is_secure(headers: &HeaderMap) -> bool {
    text(headers, header::ORIGIN).is_some_and(|origin| origin.starts_with("https://"))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

fn address(name: &str) -> Option<IpAddr> {
    let in_brackets = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    match in_brackets {
        Some(address) => address.parse().ok().map(IpAddr::V6),
        None => name.parse().ok().map(IpAddr::V4),
    }
}

/// Checks whether a path is that of a page rather than of the API. Pages only show: to open one changes nothing.
pub(crate) fn is_page(path: &str) -> bool {
    let first = path.split('/').nth(1).unwrap_or_default();
    !["api", "assets", "healthz", "metrics", "readyz"].contains(&first)
}

/// Checks whether a browser opens a page in a window of its own: neither in a frame, nor by a script, nor with a form
/// that posts.
fn opens_page(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    let is = |name, expected| text(headers, HeaderName::from_static(name)) == Some(expected);
    *method == Method::GET && is_page(path) && is("sec-fetch-mode", "navigate") && is("sec-fetch-dest", "document")
}

/// Refuses requests of foreign pages, by the headers that browsers add. A link on such a page may lead to a page of
/// Roost.
fn check_origin(method: &Method, path: &str, headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    let foreign = |what: String| Problem::new(StatusCode::FORBIDDEN, what);
    if let Some(origin) = headers.get(header::ORIGIN) {
        let authority = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")));
        if !authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host)) {
            return Err(foreign("the request comes from a page of another origin".into()));
        }
    }
    match text(headers, HeaderName::from_static("sec-fetch-site")) {
        Some(site @ ("cross-site" | "same-site")) if !opens_page(method, path, headers) => {
            Err(foreign(format!("the request comes from a page of another origin: it is `{site}`")))
        }
        _ => Ok(()),
    }
}

/// Checks a request over TCP. A browser that opens a page without a session is led to the login.
pub(crate) async fn check(State(guard): State<Guard>, mut request: Request, next: Next) -> Result<Response, Problem> {
    let (method, headers) = (request.method(), request.headers());
    match guard.check(method, request.uri().path(), headers) {
        Ok(None) => Ok(next.run(request).await),
        Ok(Some(found)) => {
            let renewed = found.renewed.clone();
            request.extensions_mut().insert(found);
            let mut response = next.run(request).await;
            // The login sets another one, or none.
            if let Some(cookie) = renewed.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) {
                response.headers_mut().entry(header::SET_COOKIE).or_insert(cookie);
            }
            Ok(response)
        }
        Err(problem)
            if problem.status == StatusCode::UNAUTHORIZED.as_u16()
                && matches!(*method, Method::GET | Method::HEAD)
                && is_page(request.uri().path())
                && bearer(headers).is_none() =>
        {
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", path).finish();
            Ok(Redirect::to(&format!("{LOGIN}?{query}")).into_response())
        }
        Err(problem) => Err(problem),
    }
}

/// Adds headers that forbid foreign pages to embed, run or probe a response.
pub(crate) async fn security_headers(mut response: Response) -> Response {
    let headers = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // A page has a policy of its own.
        (header::CONTENT_SECURITY_POLICY, "frame-ancestors 'none'"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in headers {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Requires that bodies are JSON, a component or settings, which the forms of a foreign page cannot send. Only the login takes a
/// form; its guard requires an `Origin`. Where a request needs no body, some clients send an empty one with no type, in
/// chunks, or with the type of any bytes: whether there is one is found when it is read.
pub(crate) async fn content_type(request: Request, next: Next) -> Result<Response, Problem> {
    let headers = request.headers();
    let has_length = text(headers, header::CONTENT_LENGTH).is_some_and(|length| length != "0");
    let has_body = has_length || headers.contains_key(header::TRANSFER_ENCODING);
    let is_accepted = match text(headers, header::CONTENT_TYPE) {
        None => !has_length && !headers.contains_key(header::CONTENT_TYPE),
        Some(kind) => {
            let kind = kind.split(';').next().unwrap_or(kind).trim();
            let is = |known: &&str| kind.eq_ignore_ascii_case(known);
            ["application/json", "application/wasm", "application/toml"].iter().any(is)
                || (is(&"application/x-www-form-urlencoded") && request.uri().path() == LOGIN)
                || (is(&"application/octet-stream") && !has_body)
        }
    };
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_accepted && !is_read {
        let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be JSON");
        return Err(problem.hint("send `Content-Type: application/json`, `application/wasm` with a component, or `application/toml` with settings"));
    }
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{super::limits, *};

    const TOKEN: &str = "0123456789abcdef";

    /// Returns the status of the refusal, or 200.
    fn checked(token: Option<&str>, path: &str, headers: &[(&'static str, &'static str)]) -> u16 {
        let login = token.map(|token| Login::new(token.to_owned(), Path::new("/nonexistent"), 8080));
        let guard = Guard::new(login, vec!["roost.lan".into()], None);
        let headers =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        guard.check(&Method::GET, path, &headers.collect()).map_or_else(|problem| problem.status, |_| 200)
    }

    #[test]
    fn a_link_on_a_foreign_page_opens_a_page_and_nothing_else_does() {
        let status = |method: Method, path: &str, site, mode, dest| {
            let headers = [
                ("host", "localhost:8080"),
                ("sec-fetch-site", site),
                ("sec-fetch-mode", mode),
                ("sec-fetch-dest", dest),
            ];
            let headers = headers.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            let guard = Guard::new(None, Vec::new(), None);
            guard.check(&method, path, &headers.into_iter().collect()).map_or_else(|problem| problem.status, |_| 200)
        };
        for site in ["cross-site", "same-site"] {
            for path in ["/", "/login", "/devices/coop-door/north", "/apis"] {
                assert_eq!(status(Method::GET, path, site, "navigate", "document"), 200, "{path}");
            }
            for path in
                ["/api", "/api/v1/status", "/api/v1/events", "/metrics", "/healthz", "/readyz", "/assets/page.js"]
            {
                assert_eq!(status(Method::GET, path, site, "navigate", "document"), 403, "{path}");
            }
            for method in [Method::POST, Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS] {
                assert_eq!(status(method.clone(), "/", site, "navigate", "document"), 403, "{method}");
            }
            for (mode, dest) in [
                ("navigate", "iframe"),
                ("navigate", "frame"),
                ("navigate", "object"),
                ("navigate", "embed"),
                ("no-cors", "script"),
                ("no-cors", "image"),
                ("no-cors", "empty"),
                ("cors", "empty"),
                ("same-origin", "document"),
                ("websocket", "websocket"),
            ] {
                assert_eq!(status(Method::GET, "/", site, mode, dest), 403, "{mode} {dest}");
            }
        }
        assert_eq!(status(Method::POST, "/", "same-origin", "navigate", "document"), 200);
    }

    #[test]
    fn the_host_is_an_address_or_a_known_name() {
        for (host, status) in [
            ("127.0.0.1:8080", 200),
            ("127.0.0.1", 200),
            ("[::1]:8080", 200),
            ("[::1]", 200),
            ("127.8.9.1", 200),
            ("0.0.0.0:8080", 421),
            ("192.168.1.5:8080", 421),
            ("[::]:8080", 421),
            ("[::ffff:127.0.0.1]:8080", 421),
            ("localhost:8080", 200),
            ("LocalHost", 200),
            ("Roost.lan:1", 200),
            ("evil.example", 421),
            ("127.0.0.1.evil.example:8080", 421),
            ("localhost.evil.example", 421),
            ("localhost:8080:9", 421),
            ("", 421),
            ("user@127.0.0.1", 421),
        ] {
            assert_eq!(checked(None, "/", &[("host", host)]), status, "{host}");
        }
        assert_eq!(checked(None, "/", &[]), 400);
        assert_eq!(checked(Some(TOKEN), "/healthz", &[("host", "192.168.1.5:8080")]), 200);
        assert_eq!(checked(None, "/healthz", &[("host", "evil.example")]), 421);
    }

    #[test]
    fn requests_of_foreign_pages_are_refused() {
        for (header, value, status) in [
            ("origin", "http://localhost:8080", 200),
            ("origin", "https://LOCALHOST:8080", 200),
            ("origin", "http://localhost:3000", 403),
            ("origin", "http://localhost", 403),
            ("origin", "null", 403),
            ("origin", "http://evil.example", 403),
            ("origin", "ftp://localhost:8080", 403),
            ("sec-fetch-site", "same-origin", 200),
            ("sec-fetch-site", "none", 200),
            ("sec-fetch-site", "cross-site", 403),
            ("sec-fetch-site", "same-site", 403),
        ] {
            assert_eq!(checked(None, "/", &[("host", "localhost:8080"), (header, value)]), status, "{header}: {value}");
        }
    }

    #[tokio::test]
    async fn a_file_that_caches_share_renews_no_session() {
        let data = tempfile::tempdir().unwrap();
        let login = Login::new(TOKEN.to_owned(), data.path(), 8080);
        let an_hour_ago = clock::now().plus_ms(-limits::SESSION_USED_MS);
        let cookie = login.sessions.begin("a", false, an_hour_ago).await.unwrap();
        let guard = Guard::new(Some(login), Vec::new(), None);
        let pair = cookie.split(';').next().unwrap();
        let headers = [(header::HOST, "localhost"), (header::COOKIE, pair)];
        let headers = headers.into_iter().map(|(name, value)| (name, HeaderValue::from_str(value).unwrap())).collect();
        assert!(guard.check(&Method::GET, "/assets/0123/page.css", &headers).unwrap().is_none());
        let found = guard.check(&Method::GET, "/devices", &headers).unwrap().unwrap();
        assert_eq!(found.renewed, Some(cookie));
    }

    #[tokio::test]
    async fn a_password_of_a_proxy_is_no_token_and_leaves_the_session() {
        let data = tempfile::tempdir().unwrap();
        let login = Login::new(TOKEN.to_owned(), data.path(), 8080);
        let cookie = login.sessions.begin("a", false, clock::now()).await.unwrap();
        let guard = Guard::new(Some(login), Vec::new(), None);
        let status = |authorization: &[&str]| {
            let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("localhost"))]);
            headers.insert(header::COOKIE, HeaderValue::from_str(cookie.split(';').next().unwrap()).unwrap());
            for value in authorization {
                headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            let checked = guard.check(&Method::GET, "/api/v1/status", &headers);
            checked.map_or_else(|problem| (problem.status, false), |found| (200, found.is_some()))
        };
        assert_eq!(status(&["Basic cGlnOnBpZw=="]), (200, true));
        assert_eq!(status(&["Basic cGlnOnBpZw==", "Bearer 0123456789abcdef"]), (200, false));
        assert_eq!(status(&["Bearer wrong"]), (401, false), "a token that is wrong is not passed over");
    }

    #[test]
    fn a_configured_token_is_required() {
        let host = ("host", "localhost");
        assert_eq!(checked(Some(TOKEN), "/api/v1/status", &[host]), 401);
        assert_eq!(checked(Some(TOKEN), "/healthz", &[host]), 200);
        assert_eq!(checked(Some(TOKEN), "/readyz", &[host]), 200);
        assert_eq!(checked(Some(TOKEN), "/healthz/", &[host]), 401);
        for (presented, status) in [
            ("Bearer 0123456789abcdef", 200),
            ("bearer 0123456789abcdef", 200),
            ("Bearer 0123456789abcdeg", 401),
            ("Bearer 0123456789abcde", 401),
            ("Bearer 0123456789abcdef0", 401),
            ("Bearer ", 401),
            ("Basic 0123456789abcdef", 401),
            ("", 401),
        ] {
            assert_eq!(checked(Some(TOKEN), "/", &[host, ("authorization", presented)]), status, "{presented}");
        }
    }
}
