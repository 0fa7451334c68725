//! A real browser, and a malicious page.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

use roost_tests::{
    Chromium, PATIENCE, Roost, Site,
    http::{ask, text},
};
use serde_json::Value;

use crate::{
    login::{TOKEN, bearer, code, with_token},
    ticking, ticking_in,
};

/// A page that does not exist, and what it shows. The others follow events, so that the browser would wait for their end.
const PAGE: &str = "/nothing";
const SHOWN: &str = "there is no `/nothing`";

/// The first byte of a connection with TLS.
const TLS: u8 = 0x16;

/// Serves a page at another origin, and receives the page's results.
pub(crate) fn serve(page: String) -> (String, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (reports, messages) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (page, reports) = (page.clone(), reports.clone());
            thread::spawn(move || answer(stream, &page, &reports));
        }
    });
    (address, messages)
}

fn answer(mut stream: TcpStream, page: &str, reports: &mpsc::Sender<Value>) {
    let mut request = Vec::new();
    let mut piece = [0; 4_096];
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        request.extend_from_slice(&piece[..count]);
        if request[0] == TLS {
            return;
        }
        let so_far = String::from_utf8_lossy(&request);
        let Some((head, body)) = so_far.split_once("\r\n\r\n") else { continue };
        if head.starts_with("GET ") {
            let length = page.len();
            let _ =
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n\r\n{page}");
            return;
        }
        if let Ok(value) = serde_json::from_str(body) {
            let _ = reports.send(value);
            let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            return;
        }
    }
}

#[test]
fn a_page_of_another_origin_reads_nothing_and_changes_nothing() {
    let (_broker, site, _listener, host) = ticking("declared");
    attack(&mut Chromium::start(site.path()), &site, &host, "");
    assert!(host.stop().success());
}

#[test]
fn nor_does_it_in_a_browser_that_has_logged_in() {
    let (_broker, site, _listener, host) = ticking_in(with_token(), "declared");
    let mut browser = Chromium::start(site.path());
    browser.open(&format!("http://{}/login?next={PAGE}#{}", host.address(), code(&site)));
    browser.wait_for(SHOWN);
    attack(&mut browser, &site, &host, &bearer());
    assert!(host.stop().success());
}

/// Lets a malicious page of another origin try everything. The other requests of the test have the given headers.
fn attack(browser: &mut Chromium, site: &Site, host: &Roost, headers: &str) {
    let address = host.address();
    let get = |path: &str| {
        let (status, value) = ask(&address, "GET", path, headers, "");
        assert_eq!(status, 200, "{path}: {value}");
        value
    };
    let named = address.replace("127.0.0.1", "coop.example");
    let before = get("/api/v1/jobs/declared/declared/tick");
    let page = include_str!("page.html").replace("HOST", &address).replace("NAMED", &named);
    let (elsewhere, messages) = serve(page);

    browser.open(&format!("http://{elsewhere}/"));
    let read = messages.recv_timeout(PATIENCE).expect("the page says what it has read");
    let read = read.as_object().unwrap();
    assert_eq!(read.len(), 14, "{read:?}");
    for (what, answer) in read {
        assert!(answer.is_null(), "{what}: {answer}");
    }

    let after = get("/api/v1/jobs/declared/declared/tick");
    assert_eq!((&after["trigger"], &after["paused"]), (&before["trigger"], &before["paused"]), "{after}");
    assert_eq!(get("/api/v1/jobs?plugin=roost")["items"], Value::Array(Vec::new()));
    assert_eq!(get("/api/v1/plugins")["items"].as_array().unwrap().len(), 1);
    assert!(site.runs(&[]).iter().all(|run| !text(run, "run").ends_with("/manual")), "{:?}", site.runs(&[]));
    // Other clients may make the same requests: the page's did not fail because they were invalid.
    let (status, run) = ask(&address, "POST", "/api/v1/jobs/declared/declared/tick/run", headers, "");
    assert_eq!(status, 200, "{run}");

    browser.open(&format!("http://{named}/api/v1/status"));
    browser.wait_for("\"status\":421");
}

#[test]
fn a_browser_logs_in_by_the_address_or_the_form_and_stays_logged_in() {
    let (_broker, site, _listener, host) = ticking_in(with_token(), "declared");
    let address = host.address();
    let mut browser = Chromium::start(site.path());
    let mut show = |url: &str, expected: &str| {
        browser.open(url);
        browser.wait_for(expected);
    };
    let at = |path: &str| format!("http://{address}{path}");
    // A page leads to the login, and the login to the page; the API takes the session.
    show(&at(PAGE), "Token or one-time code");
    show(&at("/api/v1/status"), "\"status\":401");
    show(&at(&format!("/login?next={PAGE}#{}", code(&site))), SHOWN);
    show(&at("/api/v1/status"), "\"started\":");
    show(&at("/login"), "HeadlessChrome");
    show(&at("/login"), "(this browser)");
    // A browser leaves out the cookie where a link of another site leads, and sends it with the request after that.
    let (elsewhere, _messages) = serve(format!("<script>location.replace('http://{address}{PAGE}')</script>"));
    show(&format!("http://{}/", elsewhere.replace("127.0.0.1", "localhost")), SHOWN);

    assert!(host.stop().success());
    assert!(!std::fs::read_to_string(site.path().join("data/sessions.json")).unwrap().contains(TOKEN));
}

#[test]
fn a_fragment_that_is_no_code_makes_no_wrong_try() {
    let (_broker, site, _listener, host) = ticking_in(with_token(), "declared");
    let mut browser = Chromium::start(site.path());
    browser.open(&format!("http://{}/login#no-code", host.address()));
    browser.wait_for("Token or one-time code");
    assert!(!browser.text().contains("neither the token"), "{}", browser.text());
    assert!(host.stop().success());
}

#[test]
fn a_page_of_another_origin_opens_pages_and_nothing_else() {
    let (_broker, site, _listener, host) = ticking("declared");
    let address = host.address();
    let link = |path: &str| format!("<script>location.replace('http://{address}{path}')</script>");
    let form =
        format!("<form method=post action='http://{address}{PAGE}'></form><script>document.forms[0].submit()</script>");
    let refused = "\"status\":403";
    let mut browser = Chromium::start(site.path());
    for (page, path, expected) in
        [(link(PAGE), PAGE, SHOWN), (link("/api/v1/status"), "/api/v1/status", refused), (form, "a form", refused)]
    {
        let (elsewhere, _messages) = serve(page);
        browser.open(&format!("http://{elsewhere}/"));
        browser.wait_for(expected);
        assert!(
            browser.eval("location.href").as_str().is_some_and(|at| at.starts_with(&format!("http://{address}"))),
            "{path}"
        );
    }
    assert!(host.stop().success());
}
