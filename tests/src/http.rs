//! Requests to a host's HTTP API.

use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use serde_json::Value;

use crate::redact;

/// The header of a request with JSON.
pub const JSON: &str = "content-type: application/json\r\n";

/// Sends a request as it is written. Returns the response's status, its head in lower case, and its body.
pub fn talk(address: &str, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {request}: {answer}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

/// Returns whether a response's head, in lower case, has a header with that value.
pub fn has_header(head: &str, name: &str, value: &str) -> bool {
    head.lines().skip(1).filter_map(|line| line.split_once(": ")).any(|header| header == (name, value))
}

/// Sends a request, with header lines and a body. Returns the response's status and its JSON, and checks what all
/// responses have in common.
pub fn ask(address: &str, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{length}{headers}\r\n");
    let (status, head, text) = talk(address, &(head + body));
    let kind = if status < 300 { "application/json" } else { "application/problem+json" };
    for (name, value) in
        [("content-type", kind), ("x-content-type-options", "nosniff"), ("cross-origin-resource-policy", "same-origin")]
    {
        assert!(has_header(&head, name, value), "{method} {path}: no `{name}: {value}` in\n{head}\n{text}");
    }
    let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{method} {path}: {error}: {text}"));
    if status >= 300 {
        assert_eq!((value["status"].as_u64(), value["type"].as_str()), (Some(status.into()), Some("about:blank")));
        assert!(value["detail"].is_string(), "{value}");
    }
    (status, value)
}

/// Gets a resource that exists.
pub fn get(address: &str, path: &str) -> Value {
    let (status, value) = ask(address, "GET", path, "", "");
    assert_eq!(status, 200, "{path}: {value}");
    value
}

/// Posts JSON.
pub fn post(address: &str, path: &str, body: &Value) -> (u16, Value) {
    ask(address, "POST", path, JSON, &body.to_string())
}

/// Makes an ad-hoc job, and returns it.
pub fn schedule(address: &str, job: &Value) -> Value {
    let (status, made) = post(address, "/api/v1/jobs", job);
    assert_eq!(status, 201, "{made}");
    made
}

/// Returns a text of an object.
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no `{key}` in {value}"))
}

/// Returns a problem as a snapshot shows it: its status, its title, its detail and its hint, redacted.
pub fn problem((status, value): &(u16, Value)) -> String {
    let mut shown = format!("{status} {}: {}", text(value, "title"), text(value, "detail"));
    if let Some(hint) = value["hint"].as_str() {
        write!(shown, "\nhint: {hint}").expect("a text grows");
    }
    // Lines of it are indented below the request's.
    redact(&shown).replace('\n', "\n  ")
}

/// Sends requests that are refused, each a method, a path, header lines and a body. Returns each with its problem, for
/// a snapshot.
pub fn refusals<'a>(address: &str, requests: impl IntoIterator<Item = [&'a str; 4]>) -> String {
    let mut shown = String::new();
    for [method, path, headers, body] in requests {
        let answer = ask(address, method, path, headers, body);
        assert!(answer.0 >= 400, "{method} {path} {body}: {answer:?}");
        let headers = if headers == JSON { String::new() } else { headers.replace("\r\n", " ") };
        let request = [&format!("{method} {path}"), headers.trim(), &cut(body)].map(|part| format!("{part} ")).concat();
        let request = request.split_whitespace().collect::<Vec<_>>().join(" ");
        writeln!(shown, "{}\n  {}", redact(&request), problem(&answer)).expect("a text grows");
    }
    shown
}

/// Leaves out the end of a body that is too long to be read, and escapes what cannot be read.
fn cut(body: &str) -> String {
    let is_plain = |char: &char| char.is_ascii() || char.is_alphanumeric();
    let readable: String = body
        .chars()
        .map(|char| if is_plain(&char) { char.to_string() } else { char.escape_unicode().to_string() })
        .collect();
    match readable.char_indices().nth(120) {
        Some((at, _)) => format!("{}…", &readable[..at]),
        None => readable,
    }
}
