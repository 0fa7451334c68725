//! Settings over HTTP: the text of the file, checked before it is written, and never over a change of another program.

use std::{
    fmt::Write as _,
    fs,
    io::{ErrorKind, Write as _},
    net::TcpStream,
    os::unix::fs::{PermissionsExt as _, symlink},
    process::Command,
    thread,
};

use expect_test::expect;
use roost_tests::{
    guest,
    http::{ask, has_header, problem, talk},
    redact_in,
};
use serde_json::Value;

use crate::{job, ticking};

const PATH: &str = "/api/v1/plugins/declared/settings";
const TOML: &str = "content-type: application/toml\r\n";

/// Returns the tag and the text of the settings.
fn read(address: &str) -> (String, String) {
    let (status, head, text) =
        talk(address, &format!("GET {PATH} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"));
    assert!(status == 200 && has_header(&head, "content-type", "application/toml"), "{head}");
    assert!(has_header(&head, "cache-control", "no-store"), "{head}");
    (head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("a tag").to_owned(), text)
}

#[test]
fn settings_are_read_checked_and_written_with_their_comments() {
    let (_broker, site, _listener, host) = ticking("declared");
    let (address, file) = (host.address(), site.plugin("declared.toml"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let put = |query: &str, headers: &str, body: &str| {
        ask(&address, "PUT", &format!("{PATH}{query}"), &format!("{TOML}{headers}"), body)
    };
    let (tag, before) = read(&address);
    assert_eq!(before, fs::read_to_string(&file).unwrap());
    let after = format!("# Half as often.\n{}", job("tick", "every_ms = 2000", "declared/tick"));

    let head = format!("PUT {PATH}?dry_run=true HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{TOML}");
    let (_, head, _) = talk(&address, &format!("{head}content-length: {}\r\n\r\n{after}", after.len()));
    assert!(head.contains(" 200 ") && !head.contains("etag:"), "the file has another text: {head}");
    let (status, checked) = put("?dry_run=true", "", &after);
    assert_eq!((status, &checked["written"], &checked["trial"]["jobs"]["changed"]), (200, &false.into(), &1.into()));
    assert!(checked["trial"]["messages"]["gone"]["count"].as_u64() > Some(1_000), "{checked}");
    let mut refusals = String::new();
    for (what, headers, body) in [
        ("no condition", String::new(), after.as_str()),
        ("another file", format!("if-match: \"{}\"\r\n", "00".repeat(32)), &after),
        ("no file", "if-none-match: *\r\n".into(), &after),
        ("an unknown key", format!("if-match: {tag}\r\n"), "\n[confg]\n"),
        ("not TOML", format!("if-match: {tag}\r\n"), "config = ["),
        ("no grant", "if-match: *\r\n".into(), &job("tick", "every_ms = 2000", "elsewhere/tick")),
    ] {
        writeln!(refusals, "{what}: {}", problem(&put("", &headers, body))).unwrap();
    }
    expect![[r#"
        no condition: 428 Precondition Required: the request does not say which settings it replaces
          hint: send `If-Match` with the `ETag` of the settings that were read, or `If-None-Match: *` if there are none
        another file: 412 Precondition Failed: the settings of plugin `declared` were not written: `plugins/declared.toml` is not the file that the request expects
          hint: read the settings again, and repeat the change
        no file: 412 Precondition Failed: the settings of plugin `declared` were not written: `plugins/declared.toml` is not the file that the request expects
          hint: read the settings again, and repeat the change
        an unknown key: 422 Unprocessable Entity: the settings of plugin `declared` are refused: declared.toml:2:2: unknown key `confg`
          hint: did you mean `config`?
        not TOML: 422 Unprocessable Entity: the settings of plugin `declared` are refused: declared.toml:1:11: unclosed array, expected `]`
        no grant: 422 Unprocessable Entity: the settings of plugin `declared` are refused: declared.toml:2:6: device `declared` has no plan: job `tick`, step 1: `topic` `elsewhere/tick`: it is outside what `declared` may publish to
          hint: to allow it, put this into `plugins/declared.toml`:
          [grants]
          publish = ["declared/#", "elsewhere/tick"]
    "#]].assert_eq(&refusals);
    let (status, _) = ask(&address, "PUT", PATH, "content-type: application/json\r\nif-match: *\r\n", "{}");
    assert_eq!((status, read(&address)), (415, (tag.clone(), before)));

    let (status, written) = put("", &format!("if-match: {tag}\r\n"), &after);
    assert_eq!((status, &written["written"], &written["plugin"]), (200, &true.into(), &"declared".into()));
    let (tag, text) = read(&address);
    assert_eq!((text.as_str(), tag), (after.as_str(), format!("\"{}\"", written["sha256"].as_str().unwrap())));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    host.wait_for_log("jobs of `declared`: 0 new, 1 changed");
    assert!(host.stop().success());
}

#[test]
fn a_plan_that_is_refused_has_its_line_and_concerns_its_device_alone() {
    let (_broker, site, _listener, host) = ticking("declared");
    let address = host.address();
    let check = |plugin: &str, text: &str| {
        ask(&address, "PUT", &format!("/api/v1/plugins/{plugin}/settings?dry_run=true"), TOML, text)
    };
    let device = |name: &str, topic: &str| {
        format!(
            "\n[[device]]\nname = \"{name}\"\nconfig.jobs = [{{ id = \"a\", trigger = {{ every_ms = 1000 }}, \
             steps = [{{ topic = \"{topic}\", payload = \"\" }}] }}]\n"
        )
    };
    let (status, checked) = check("declared", &[device("a", "declared/a"), device("declared", "elsewhere")].concat());
    let jobs = &checked["trial"]["jobs"];
    assert_eq!((status, &jobs["refused"], &jobs["new"], &jobs["gone"]), (200, &1.into(), &1.into(), &0.into()));
    let refused = &jobs["devices"][0];
    assert_eq!((&refused["device"], &refused["line"]), (&"declared".into(), &8.into()), "{refused}");
    assert_eq!(refused["unchanged"]["ids"], serde_json::json!(["tick"]), "its earlier plan goes on");
    assert_eq!(jobs["devices"][1]["line"], Value::Null);

    let text = [device("a", "declared/a"), device("declared", "elsewhere")].concat();
    let put = |most: &str| ask(&address, "PUT", &format!("{PATH}{most}"), &format!("{TOML}if-match: *\r\n"), &text);
    expect![[r#"
        409 Conflict: the settings of plugin `declared` were not written: 1 device would have no new plan
          hint: check them with `?dry_run=true`, which has the reasons, or raise `refused_at_most`"#]]
    .assert_eq(&problem(&put("?refused_at_most=0")));
    assert_ne!(read(&address).1, text);
    assert_eq!(put("?refused_at_most=1").0, 200);
    assert_eq!(read(&address).1, text);

    site.drop_in(&guest("errors"), "errors");
    host.wait_for_log("plugin `errors` was not loaded");
    expect![[r#"
        422 Unprocessable Entity: the settings of plugin `errors` are refused: errors.toml:3:9: device `errors` has no plan: `schedule-jobs` returned an error: no tide table for [DATE], put one into `tides`
          hint: the error is the plugin's own: see the documentation of its settings"#]]
    .assert_eq(&redact_in(site.path(), &problem(&check("errors", "\n[config]\ntides = \"none\"\n"))));
    let removed = |plugin: &str| ask(&address, "DELETE", &format!("/api/v1/plugins/{plugin}"), "", "").1;
    assert_eq!(removed("errors"), serde_json::json!({ "plugin": "errors", "settings": false }));
    assert_eq!(removed("declared"), serde_json::json!({ "plugin": "declared", "settings": true }));
    assert!(host.stop().success());
}

#[test]
fn settings_may_come_first_and_a_link_is_left_alone() {
    let (_broker, site, _listener, host) = ticking("declared");
    let address = host.address();
    let path = "/api/v1/plugins/porch/settings";
    let put = |headers: &str, body: &str| ask(&address, "PUT", path, &format!("{TOML}{headers}"), body);
    assert_eq!(ask(&address, "GET", path, "", "").0, 404);
    assert_eq!(put("if-match: *\r\n", "").0, 412);
    assert_eq!(put("if-none-match: *\r\n", "[limits]\ncpu_ms = 1\n").0, 422, "it is checked without a component");
    let text = format!("# The porch.\n{}", job("tick", "every_ms = 1000", "porch/tick"));
    let (status, made) = put("if-none-match: *\r\n", &text);
    assert_eq!((status, &made["trial"]), (201, &Value::Null), "{made}");
    assert_eq!(fs::read_to_string(site.plugin("porch.toml")).unwrap(), text);

    let elsewhere = site.path().join("elsewhere.toml");
    fs::rename(site.plugin("porch.toml"), &elsewhere).unwrap();
    symlink(&elsewhere, site.plugin("porch.toml")).unwrap();
    let refused = [ask(&address, "GET", path, "", ""), put("if-match: *\r\n", "")].map(|refused| problem(&refused));
    expect![[r#"
        409 Conflict: the settings of plugin `porch` are not shown: a link leads to a file outside of the plugin folder
          hint: replace the link by the file, or open the file it leads to
        409 Conflict: the settings of plugin `porch` were not written: `plugins/porch.toml` is a link
          hint: change the file that it leads to, or replace the link by the file"#]]
    .assert_eq(&redact_in(site.path(), &refused.join("\n")));
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), text);
    assert!(host.stop().success());
}

#[test]
fn slow_uploads_delay_neither_settings_nor_other_uploads() {
    let (_broker, _site, _listener, host) = ticking("declared");
    let address = host.address();
    let begin = |head: &str, kind: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "{head} HTTP/1.1\r\nhost: {address}\r\ncontent-type: {kind}\r\ncontent-length: 9\r\n\r\n#")
            .unwrap();
        stream
    };
    let text = format!("{PATH}?dry_run=true");
    let mut slow: Vec<_> = (0..3).map(|_| begin("POST /api/v1/check?plugin=porch", "application/wasm")).collect();
    slow.extend((0..3).map(|_| begin(&format!("PUT {text}"), "application/toml")));
    let check = || ask(&address, "PUT", &text, TOML, &job("tick", "every_ms = 2000", "declared/tick"));
    assert_eq!(check().0, 200);
    let component = Command::new("curl")
        .args(["-s", "-H", "content-type: application/wasm", "-T", guest("declared").to_str().unwrap()])
        .arg(format!("http://{address}/api/v1/plugins/declared"))
        .output()
        .unwrap();
    let installed: Value = serde_json::from_slice(&component.stdout).unwrap();
    assert_eq!(installed["new"], false, "{installed}");
    for stream in &slow {
        stream.set_nonblocking(true).unwrap();
        assert_eq!(stream.peek(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "it is still received");
    }
    assert!(host.stop().success());
}

#[test]
fn of_two_changes_of_one_text_at_a_time_the_second_is_refused() {
    let (_broker, site, _listener, host) = ticking("declared");
    let address = host.address();
    let (tag, _) = read(&address);
    let put = |period: u32| {
        let text = job("tick", &format!("every_ms = {period}"), "declared/tick");
        let (status, answer) = ask(&address, "PUT", PATH, &format!("{TOML}if-match: {tag}\r\n"), &text);
        (status, text, answer)
    };
    let mut both = thread::scope(|scope| {
        [2000, 3000]
            .map(|period| {
                let put = &put;
                scope.spawn(move || put(period))
            })
            .map(|put| put.join().unwrap())
    });
    both.sort_by_key(|(status, ..)| *status);
    let [(first, text, _), (second, _, refused)] = both;
    assert_eq!((first, second), (200, 412), "{refused}");
    assert!(refused["detail"].as_str().unwrap().ends_with("is not the file that the request expects"), "{refused}");
    assert_eq!(fs::read_to_string(site.plugin("declared.toml")).unwrap(), text);
    assert!(host.stop().success());
}

#[test]
fn a_component_replaces_the_one_that_was_there_at_its_check() {
    let (_broker, site, _listener, host) = ticking("declared");
    let address = host.address();
    let wasm = guest("declared");
    let file = wasm.to_str().unwrap();
    let url = |path: &str| format!("http://{address}/api/v1/{path}");
    let curl = |arguments: &[&str]| {
        let mut curl = Command::new("curl");
        let ran = curl.args(["-s", "-H", "content-type: application/wasm"]).args(arguments).output().unwrap();
        serde_json::from_slice::<Value>(&ran.stdout).unwrap()
    };
    let data = format!("@{file}");
    let checked = curl(&["--data-binary", &data, &url("check?plugin=declared")]);
    let replaces = checked["replaces"].as_str().unwrap();
    assert_eq!(checked["replaces"], checked["component"], "the same file");
    let fresh = curl(&["--data-binary", &data, &url("check?plugin=porch")]);
    assert_eq!(fresh["replaces"], Value::Null);
    let put = |condition: &str| curl(&["-T", file, "-H", condition, &url("plugins/declared")]);
    assert_eq!(put("if-none-match: *")["status"], 412);
    expect!["plugin `declared` was not written into the folder: `plugins/declared.wasm` was changed meanwhile"]
        .assert_eq(&redact_in(
            site.path(),
            put(&format!("if-match: \"{}\"", "00".repeat(32)))["detail"].as_str().unwrap(),
        ));
    assert_eq!(put(&format!("if-match: \"{replaces}\""))["new"], false);
    assert!(host.stop().success());
}
