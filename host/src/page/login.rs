//! The page at which a browser logs in, and at which sessions are ended.

use std::borrow::Cow;

use axum::{
    body::Bytes,
    extract::{Extension, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use maud::{DOCTYPE, Markup, html};
use roost_scheduler::{time::Instant, zone::Zone};
use serde::Deserialize;
use url::form_urlencoded;

use super::{Html, assets, frame::head as common_head};
use crate::{
    clock,
    http::{
        Access, Found, LOGIN, Login, NEXT_BYTES, Problem, Query, Session, comes_from_elsewhere, is_page, is_secure,
    },
    report::Report,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoginQuery {
    /// The page to go to after the login.
    next: Option<String>,
}

/// Shows the form, or to a browser with a session the list of sessions.
pub(super) async fn show(
    State(access): State<Access>,
    session: Option<Extension<Found>>,
    headers: HeaderMap,
    Query(query): Query<LoginQuery>,
) -> Response {
    let next = query.next.as_deref().filter(|next| is_safe(next));
    let Some(login) = access.guard.login() else { return Html(no_login()).into_response() };
    match (session.as_deref(), next) {
        (Some(_), Some(next)) => Redirect::to(next).into_response(),
        (Some(own), None) => Html(list(&login.sessions.list(clock::now()), own, access.zone)).into_response(),
        // A browser leaves out the cookie where a link on another site has led here. It sends it with the next request,
        // which comes from this page.
        (None, Some(next)) if comes_from_elsewhere(&headers) => Html(again(next)).into_response(),
        (None, next) => Html(form(next, false)).into_response(),
    }
}

/// Begins or ends a session.
pub(super) async fn submit(
    State(access): State<Access>,
    session: Option<Extension<Found>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let field = |name: &str| {
        let mut fields = form_urlencoded::parse(&body);
        fields.find(|(other, _)| other == name).map(|(_, value)| value)
    };
    let Some(login) = access.guard.login() else { return Ok(Redirect::to("/").into_response()) };
    match (field("secret"), field("end")) {
        (Some(secret), _) => begin(login, &headers, &secret, field("next")).await,
        (None, Some(ended)) => end(login, session.as_deref(), &ended).await,
        (None, None) => Err(Problem::bad_request("the form has neither `secret` nor `end`")
            .hint("send the token or a one-time code as `secret`")),
    }
}

async fn begin(
    login: &Login,
    headers: &HeaderMap,
    secret: &str,
    next: Option<Cow<'_, str>>,
) -> Result<Response, Problem> {
    let next = next.as_deref().filter(|next| is_safe(next));
    if !login.check(secret, clock::monotonic()) {
        let scheme = [(header::WWW_AUTHENTICATE, "Bearer realm=\"roost\"")];
        return Ok((StatusCode::UNAUTHORIZED, scheme, Html(form(next, true))).into_response());
    }
    let agent = headers.get(header::USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes()));
    let agent = agent.as_deref().unwrap_or("unknown browser");
    let cookie = login.sessions.begin(agent, is_secure(headers), clock::now()).await.map_err(unkept)?;
    tracing::info!("a browser has logged in");
    Ok(with_cookie(Redirect::to(next.unwrap_or("/")), &cookie))
}

async fn end(login: &Login, own: Option<&Found>, ended: &str) -> Result<Response, Problem> {
    let back = Redirect::to(LOGIN);
    let Some(own) = own else { return Ok(back.into_response()) };
    login.sessions.end(ended).await.map_err(unkept)?;
    Ok(if own.digest == ended { with_cookie(back, &login.sessions.no_cookie()) } else { back.into_response() })
}

fn unkept(report: Report) -> Problem {
    Problem::of(StatusCode::SERVICE_UNAVAILABLE, report.hint("see whether the disk is full, and try again"))
}

fn with_cookie(redirect: Redirect, cookie: &str) -> Response {
    let mut response = redirect.into_response();
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// Checks whether an address is a page of this host. Browsers take `//` and `/\` for the beginning of another host.
fn is_safe(next: &str) -> bool {
    let is_local = next.starts_with('/') && !next.starts_with("//") && !next.contains('\\');
    let path = next.split(['?', '#']).next().unwrap_or_default();
    is_local && next.len() <= NEXT_BYTES && next.bytes().all(|byte| byte.is_ascii_graphic()) && is_page(path)
}

fn frame(title: &str, head: &Markup, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (common_head(title, head))
            body { main { h1 { (title) } (content) } }
        }
    }
}

fn form(next: Option<&str>, is_wrong: bool) -> Markup {
    let content = html! {
        form #login method="post" action=(LOGIN) {
            @if is_wrong { p #error role="alert" { "This is neither the token nor a valid code." } }
            p { label for="secret" { "Token or one-time code" } }
            p {
                input #secret type="password" name="secret" required autocomplete="current-password"
                    aria-describedby=(if is_wrong { "error help" } else { "help" })
                    aria-invalid[is_wrong];
            }
            @if let Some(next) = next { input type="hidden" name="next" value=(next); }
            p { button { "Log in" } }
        }
        p #help { "On the machine that runs Roost, " code { "roost login" } " prints a code and a QR code for a phone." }
        @if let Some(next) = next { p { a href=(next) { "This browser has logged in before" } } }
    };
    frame("Log in", &html! { script src=(assets::address("login.js")) defer {} }, &content)
}

/// Returns a page that leads to the login once more.
fn again(next: &str) -> Markup {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
    let address = format!("{LOGIN}?{query}");
    let refresh = html! { meta http-equiv="refresh" content={ "0; url=" (address) }; };
    frame("Log in", &refresh, &html! { p { a href=(address) { "Go on" } } })
}

fn no_login() -> Markup {
    let content = html! { p { "This host has no token, so there is nothing to log in to. " a href="/" { "Go on" } } };
    frame("Log in", &html! {}, &content)
}

fn list(sessions: &[Session], own: &Found, zone: Zone) -> Markup {
    let content = html! {
        p { "Browsers that have logged in. Times are of " (zone) ", to the hour for the last use." }
        ul.rows { @for session in sessions { li { (row(session, session.digest == own.digest, zone)) } } }
        p { a href="/" { "Go on" } }
    };
    frame("Sessions", &html! {}, &content)
}

fn row(session: &Session, is_own: bool, zone: Zone) -> Markup {
    let label = if is_own { "End this session" } else { "End" };
    html! {
        div { b { (session.agent) @if is_own { " (this browser)" } } }
        div.soft { "since " (time(session.made(), zone)) ", used " (time(session.used(), zone)) }
        form.actions method="post" action=(LOGIN) {
            input type="hidden" name="end" value=(session.digest);
            button aria-label={ (label) ": " (session.agent) } { (label) }
        }
    }
}

fn time(at: Instant, zone: Zone) -> Markup {
    let text = at.in_zone(zone);
    let shown = text.get(..16).unwrap_or(&text).replace('T', " ");
    html! { time datetime=(text) { (shown) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_only_to_pages_of_this_host() {
        for next in ["/", "/devices/coop-door/north?day=1", "/login", "/a:b@c"] {
            assert!(is_safe(next), "{next}");
        }
        let long = format!("/{}", "a".repeat(NEXT_BYTES));
        for next in [
            "",
            "a",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "/\t/evil.example",
            "/ /",
            "/ü",
            "javascript:alert(1)",
            "/api/v1/status",
            "/metrics",
            "/a\r\nset-cookie: a=b",
            &long,
        ] {
            assert!(!is_safe(next), "{next}");
        }
    }

    #[test]
    fn what_a_request_says_is_shown_as_text() {
        let shown = form(Some("/\"><script>alert(1)</script>"), false).into_string();
        assert!(shown.contains("value=\"/&quot;&gt;&lt;script&gt;") && !shown.contains("<script>"), "{shown}");
        let shown = again("/?a=\"><script>").into_string();
        assert!(shown.contains("url=/login?next=%2F%3Fa%3D%22%3E%3Cscript%3E\""), "{shown}");
    }
}
