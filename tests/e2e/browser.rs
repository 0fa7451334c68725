//! A real browser, and a malicious page.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
};

use roost_tests::{
    PATIENCE, Roost, Site,
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
fn serve(page: String) -> (String, mpsc::Receiver<Value>) {
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

/// Returns a browser for which `coop.example` is this machine, as after an attack on name resolution.
fn browser(site: &Site, arguments: &[&str]) -> Command {
    let mut command = Command::new("chromium");
    command.args([
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-extensions",
        "--disable-dev-shm-usage",
        // The pages of these tests have no TLS, and a try with it is not answered.
        "--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,HttpsFirstModeV2",
    ]);
    command.arg("--host-resolver-rules=MAP coop.example 127.0.0.1");
    command.arg(format!("--user-data-dir={}", site.path().join("browser").display()));
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn a_page_of_another_origin_reads_nothing_and_changes_nothing() {
    let (_broker, site, _listener, host) = ticking("declared");
    attack(&site, &host, "");
    assert!(host.stop().success());
}

#[test]
fn nor_does_it_in_a_browser_that_has_logged_in() {
    let (_broker, site, _listener, host) = ticking_in(with_token(), "declared");
    let shown = shown(&site, &format!("http://{}/login?next={PAGE}#{}", host.address(), code(&site)));
    assert!(shown.contains(SHOWN), "the login leads to the page: {shown}");
    attack(&site, &host, &bearer());
    assert!(host.stop().success());
}

/// Lets a malicious page of another origin try everything. The other requests of the test have the given headers.
fn attack(site: &Site, host: &Roost, headers: &str) {
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

    let mut running = browser(site, &["--remote-debugging-port=0", &format!("http://{elsewhere}/")])
        .stdout(Stdio::null())
        .spawn()
        .expect("`make setup` installs chromium");
    let read = messages.recv_timeout(PATIENCE).expect("the page says what it has read");
    running.kill().unwrap();
    running.wait().unwrap();
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

    let shown = shown(site, &format!("http://{named}/api/v1/status"));
    assert!(shown.contains("\"status\":421"), "{shown}");
}

#[test]
fn a_browser_logs_in_by_the_address_or_the_form_and_stays_logged_in() {
    let (_broker, site, _listener, host) = ticking_in(with_token(), "declared");
    let address = host.address();
    let open = |path: &str| shown(&site, &format!("http://{address}{path}"));
    let (form, status) = ("Token or one-time code", "\"started\":");
    assert!(open(PAGE).contains(form), "a page leads to the login");
    assert!(open("/api/v1/status").contains("\"status\":401"));
    assert!(open(&format!("/login?next={PAGE}#{}", code(&site))).contains(SHOWN), "the login leads to the page");
    assert!(open("/api/v1/status").contains(status), "the API takes the session");
    let sessions = open("/login");
    assert!(sessions.contains("HeadlessChrome") && sessions.contains("(this browser)"), "{sessions}");
    // A browser leaves out the cookie where a link of another site leads, and sends it with the request after that.
    let (elsewhere, _messages) = serve(format!("<script>location.replace('http://{address}{PAGE}')</script>"));
    let elsewhere = elsewhere.replace("127.0.0.1", "localhost");
    let shown = shown(&site, &format!("http://{elsewhere}/"));
    assert!(shown.contains(SHOWN), "{shown}");

    assert!(host.stop().success());
    assert!(!std::fs::read_to_string(site.path().join("data/sessions.json")).unwrap().contains(TOKEN));
}

#[test]
fn a_fragment_that_is_no_code_makes_no_wrong_try() {
    let (_broker, site, _listener, host) = ticking_in(with_token(), "declared");
    let shown = shown(&site, &format!("http://{}/login#no-code", host.address()));
    assert!(shown.contains("Token or one-time code") && !shown.contains("neither the token"), "{shown}");
    assert!(host.stop().success());
}

/// Returns what the browser shows when it has opened an address, and followed what the page there leads to.
fn shown(site: &Site, url: &str) -> String {
    let output = browser(site, &["--virtual-time-budget=10000", "--dump-dom", url]).output();
    String::from_utf8_lossy(&output.expect("`make setup` installs chromium").stdout).into_owned()
}

#[test]
fn a_page_of_another_origin_opens_pages_and_nothing_else() {
    let (_broker, site, _listener, host) = ticking("declared");
    let address = host.address();
    let link = |path: &str| format!("<script>location.replace('http://{address}{path}')</script>");
    let form =
        format!("<form method=post action='http://{address}{PAGE}'></form><script>document.forms[0].submit()</script>");
    let refused = "\"status\":403";
    for (page, path, expected) in
        [(link(PAGE), PAGE, SHOWN), (link("/api/v1/status"), "/api/v1/status", refused), (form, "a form", refused)]
    {
        let (elsewhere, _messages) = serve(page);
        let shown = shown(&site, &format!("http://{elsewhere}/"));
        assert!(shown.contains(expected), "{path}: {shown}");
    }
    assert!(host.stop().success());
}
