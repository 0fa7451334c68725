//! Addresses of pages that are wrong, as a browser asks for them, and parameters that do not exist.

use roost_tests::{
    Broker, Site, guest,
    http::{ask, get, has_header, talk, text},
};
use serde_json::Value;

use crate::job;

/// The methods of an OpenAPI description, as requests have them.
const METHODS: [&str; 4] = ["get", "post", "put", "delete"];

/// Asks for a page as a browser does.
fn browse(address: &str, path: &str) -> (u16, String, String) {
    let accept = "accept: text/html,application/xhtml+xml,*/*;q=0.8";
    talk(address, &format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{accept}\r\n\r\n"))
}

#[test]
fn a_wrong_address_leads_to_a_page_that_says_why_and_where_to_go_on() {
    let (broker, site) = (Broker::new(), Site::new());
    site.settings("coop-door", &job("close", r#"cron = "30 22 * * *""#, "coop-door/set"));
    site.drop_in(&guest("declared"), "coop-door");
    let host = site.start(&broker);
    host.wait_for_log("1 new");
    let address = host.address();
    for (path, status, why) in [
        ("/nothing", 404, "there is no `/nothing`"),
        ("/devices/coop-door/nort", 404, "plugin `coop-door` has no device `nort`"),
        ("/devices/coop-door/%ff", 400, "the address is not understood"),
        ("/jobs/coop-door/coop-door/clos", 404, "did you mean `coop-door/coop-door/close`"),
        ("/runs/coop-door/coop-door/close/2027-03-01T22:30:00Z", 404, "there is no run"),
        ("/plugins/coop-dor", 404, "did you mean `coop-door`"),
        ("/?colour=red", 400, "unknown field `colour`, there are no fields"),
        ("/devices/coop-door/coop-door?colour=red", 400, "unknown field `colour`"),
        ("/runs?outcome=failed", 400, "there is no parameter `outcome`"),
        (
            "/runs?outcome=failed",
            400,
            "the parameters are `plugin`, `device`, `job`, `since`, `until`, `state`, `cursor`",
        ),
        ("/devices?colour=red", 400, "expected one of `q`, `plugin`, `fault`, `reason`, `paused`, `cursor`"),
        ("/timeline?colour=red", 400, "unknown field `colour`"),
        ("/plugins?colour=red", 400, "unknown field `colour`, expected `cursor`"),
        ("/logs?colour=red", 400, "expected one of `plugin`, `all`, `line`"),
        ("/logs?line=1-1", 404, "the line is not kept any more"),
        ("/why/coop-door/coop-door/close?colour=red", 400, "unknown field `colour`, expected `at`"),
    ] {
        let (answered, head, page) = browse(&address, path);
        assert_eq!(answered, status, "{path}: {page}");
        assert!(
            has_header(&head, "content-type", "text/html; charset=utf-8") && head.contains("script-src"),
            "{path}: {head}"
        );
        let page = page.replace("&quot;", "\"");
        assert!(page.contains(why), "{path}: no `{why}` in {page}");
        for link in ["/", "/devices", "/plugins"] {
            assert!(page.contains(&format!("<a href=\"{link}\"")), "{path}: no link to {link}: {page}");
        }
    }
    // Programs get what they get of the API, and browsers, too, where it is the API that they ask.
    assert_eq!(ask(&address, "GET", "/nothing", "", "").0, 404);
    assert_eq!(ask(&address, "GET", "/api/v1/nothing", "accept: text/html\r\n", "").0, 404);
    assert!(host.stop().success());
}

#[test]
fn each_operation_of_the_api_refuses_a_parameter_that_it_does_not_have() {
    let (broker, site) = (Broker::new(), Site::new());
    let host = site.start(&broker);
    let address = host.address();
    let description = get(&address, "/api/v1/openapi.json");
    let mut asked = 0;
    for (path, item) in description["paths"].as_object().unwrap() {
        for method in METHODS.into_iter().filter(|method| item[method].is_object()) {
            // Those that load balancers ask may have any, and codes are made over the socket alone.
            if !path.starts_with("/api/") || path == "/api/v1/login-codes" {
                continue;
            }
            let sample = |name: &str| if name == "occurrence" { "2027-03-01T06:30:00Z" } else { "a" };
            let mut parts: Vec<&str> = path.split('/').collect();
            for part in &mut parts {
                if let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                    *part = sample(name);
                }
            }
            let asks = format!("{}?colour=red", parts.join("/"));
            let (status, problem) = ask(&address, &method.to_uppercase(), &asks, "", "");
            assert_eq!(status, 400, "{method} {asks}: {problem}");
            assert!(text(&problem, "detail").contains("unknown field `colour`"), "{method} {asks}: {problem}");
            asked += 1;
        }
    }
    let operations = description["paths"].as_object().unwrap().values().flat_map(Value::as_object);
    let operations: usize =
        operations.map(|item| METHODS.iter().filter(|method| item.contains_key(**method)).count()).sum();
    // The description, the metrics, the two checks of health, and codes.
    assert!(asked + 4 >= operations && asked > 30, "{asked} of {operations}");
    assert!(host.stop().success());
}
