//! Sessions of browsers: the login, what a session opens, and its end.

use std::fs;

use expect_test::expect;
use roost_tests::{
    Broker, Ran, Roost, Site,
    http::{ask, has_header, refusals, talk, text},
    redact,
};

use crate::ticking_in;

pub(crate) const TOKEN: &str = "0123456789abcdef";

/// Returns a site whose host has a token.
pub(crate) fn with_token() -> Site {
    let site = Site::new();
    fs::write(site.path().join("token"), format!("{TOKEN}\n")).unwrap();
    fs::write(site.path().join("roost.toml"), "[http]\ntoken_file = \"token\"\n").unwrap();
    site
}

/// Returns the header with the token.
pub(crate) fn bearer() -> String {
    format!("authorization: Bearer {TOKEN}\r\n")
}

/// Asks for a one-time code.
pub(crate) fn code(site: &Site) -> String {
    text(&site.json(&["login"]), "code").to_owned()
}

/// Sends the form of the login, with header lines.
fn send(address: &str, headers: &str, form: &str) -> (u16, String, String) {
    let kind = "content-type: application/x-www-form-urlencoded";
    let length = form.len();
    let head = format!("POST /login HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{kind}\r\n{headers}");
    talk(address, &format!("{head}content-length: {length}\r\n\r\n{form}"))
}

fn page(address: &str, path: &str, headers: &str) -> (u16, String, String) {
    talk(address, &format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n"))
}

fn port(address: &str) -> &str {
    address.rsplit(':').next().unwrap()
}

/// Logs in, and returns the header line with the cookie.
pub(crate) fn log_in(address: &str, secret: &str) -> String {
    let headers = format!("origin: http://{address}\r\nuser-agent: <img onerror=x>\r\n");
    let (status, head, body) = send(address, &headers, &format!("secret={secret}&next=%2Fdevices"));
    assert_eq!((status, has_header(&head, "location", "/devices")), (303, true), "{head}\n{body}");
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect(&head);
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "path=/; max-age=7776000; httponly; samesite=strict");
    assert!(!cookie.contains(TOKEN), "{cookie}");
    format!("cookie: {pair}\r\n")
}

#[test]
fn a_session_opens_pages_and_the_api_until_it_is_ended() {
    let (broker, site, _listener, host) = ticking_in(with_token(), "declared");
    let address = host.address();
    let (status, head, _) = page(&address, "/devices?a=b", "");
    assert_eq!((status, has_header(&head, "location", "/login?next=%2fdevices%3fa%3db")), (303, true), "{head}");
    let (status, head, form) = page(&address, "/login?next=%2Fdevices", "");
    assert_eq!((status, form.contains("<form id=\"login\" method=\"post\"")), (200, true), "{form}");
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("referrer-policy", "same-origin"),
        (
            "content-security-policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ] {
        assert!(has_header(&head, name, value), "no `{name}: {value}` in {head}");
    }

    let cookie = log_in(&address, TOKEN);
    let origin = format!("origin: http://{address}\r\n");
    let run = "/api/v1/jobs/declared/declared/tick/run";
    assert_eq!(ask(&address, "GET", "/api/v1/status", &cookie, "").0, 200);
    assert_eq!(ask(&address, "POST", run, &format!("{cookie}{origin}"), "").0, 200);
    expect![[r#"
        POST /login
          403 Forbidden: the request does not state which page it comes from
          hint: send `Origin: http://127.0.0.1:[PORT]`, or a token instead of a cookie: `Authorization: Bearer TOKEN`
        POST /api/v1/login-codes
          403 Forbidden: one-time codes are made only over the host's socket
          hint: run `roost login` as the user that runs the host
    "#]]
    .assert_eq(&refusals(&address, [["POST", "/login", "", ""], ["POST", "/api/v1/login-codes", "", ""]]));
    let (status, problem) = ask(&address, "POST", run, &cookie, "");
    assert_eq!((status, text(&problem, "detail")), (403, "the request does not state which page it comes from"));
    assert_eq!(ask(&address, "POST", run, &format!("{cookie}origin: http://127.0.0.1:1\r\n"), "").0, 403);
    assert_eq!(ask(&address, "POST", run, &format!("{cookie}{}", bearer()), "").0, 200, "a token needs no origin");

    assert!(host.stop().success());
    let host = site.start(&broker);
    // It listens on another port, which is in the name of its cookie.
    let cookie = cookie.replacen(port(&address), port(&host.address()), 1);
    let address = host.address();
    host.wait_for_log("connected to the broker");
    assert_eq!(ask(&address, "GET", "/api/v1/status", &cookie, "").0, 200, "it outlives a restart");
    let (_, _, sessions) = page(&address, "/login", &cookie);
    assert!(sessions.contains("&lt;img onerror=x&gt; (this browser)") && !sessions.contains("<img"), "{sessions}");
    ends_with_its_stream(&host, &sessions, &cookie);
    assert!(host.stop().success());
}

/// Ends a session by the button on the page, while its browser follows events.
fn ends_with_its_stream(host: &Roost, sessions: &str, cookie: &str) {
    let address = host.address();
    let session = sessions.split("name=\"end\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let follower = {
        let (address, cookie) = (address.clone(), cookie.to_owned());
        std::thread::spawn(move || page(&address, "/api/v1/events?kind=clock", &cookie))
    };
    host.until("the stream is open", || {
        let metrics = page(&address, "/metrics", &bearer()).2;
        metrics.lines().any(|line| line.starts_with("roost_event_streams") && line.ends_with(" 1")).then_some(())
    });
    let origin = format!("origin: http://{address}\r\n");
    let (status, head, _) = send(&address, &format!("{cookie}{origin}"), &format!("end={session}"));
    assert_eq!((status, has_header(&head, "location", "/login")), (303, true), "{head}");
    let gone = format!("set-cookie: roost-session-{}=; path=/; max-age=0;", port(&address));
    assert!(head.contains(&gone), "{head}");
    assert_eq!(follower.join().unwrap().0, 200, "the stream has ended");
    assert_eq!(ask(&address, "GET", "/api/v1/status", cookie, "").0, 401);
}

#[test]
fn a_one_time_code_opens_one_session_and_wrong_tries_keep_none_out() {
    let broker = Broker::new();
    let site = with_token();
    let host = site.start(&broker);
    let address = host.address();
    host.wait_for_log("connected to the broker");
    let made = site.json(&["login"]);
    let code = text(&made, "code");
    assert_eq!(made["addresses"][0], format!("http://{address}/login#{code}"));
    let cookie = log_in(&address, &code.to_lowercase());
    assert_eq!(ask(&address, "GET", "/api/v1/status", &cookie, "").0, 200);
    assert_eq!(ask(&address, "POST", "/api/v1/login-codes", &bearer(), "").0, 403, "the token makes no codes");

    let origin = format!("origin: http://{address}\r\n");
    for _ in 0..5 {
        let (status, _, shown) = send(&address, &origin, &format!("secret={code}&next=//evil.example"));
        assert_eq!((status, shown.contains("neither the token nor a valid code")), (401, true), "{shown}");
        assert!(!shown.contains("evil"), "{shown}");
    }
    log_in(&address, TOKEN);
    log_in(&address, &self::code(&site));
    // Neither a form that no page of this host has sent, nor another body.
    assert_eq!(send(&address, "", "secret=x").0, 403);
    assert_eq!(send(&address, "origin: http://evil.example\r\n", "secret=x").0, 403);
    assert_eq!(ask(&address, "GET", "/api/v1/status", &bearer(), "").0, 200, "clients with the token are served");
    assert!(host.stop().success());
}

#[test]
fn roost_login_says_what_a_phone_needs() {
    let (broker, site) = (Broker::new(), Site::new());
    let host = site.start(&broker);
    host.address();
    expect![[r#"
        error: the host has no token, so that only this machine can reach it
        hint: browsers on this machine need no login: open `http://127.0.0.1:[PORT]/`. For a phone, make a token with `(umask 077; openssl rand -hex 32 > token)`, set `listen = "0.0.0.0:[PORT]"` and `token_file = "token"` below `[http]` in `roost.toml`, and start Roost again
    "#]].assert_eq(&redact(&Ran::of(&mut site.command(&["login"])).refused()));
    assert!(host.stop().success());
}
