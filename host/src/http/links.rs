//! The links of the OpenAPI description: the operations that take what a response names.

use serde_json::json;
use utoipa::openapi::{
    OpenApi, RefOr,
    link::Link,
    path::{Operation, PathItem},
};

/// What a response names, by the parameters that take it.
const PLUGIN: &[&str] = &["plugin"];
const DEVICE: &[&str] = &["plugin", "device"];
const JOB: &[&str] = &["plugin", "device", "job"];

/// The operations that return one of each, and where in the response it is; the path of a request names it, too.
const SOURCES: &[(&str, &str, &[&str])] = &[
    ("upload", "$request.path.", PLUGIN),
    ("plugins", "$response.body#/items/0/", PLUGIN),
    ("devices", "$response.body#/items/0/", DEVICE),
    ("schedule", "$response.body#/", JOB),
    ("replace", "$response.body#/", JOB),
    ("jobs", "$response.body#/items/0/", JOB),
];
/// The operations that take one of each.
const TARGETS: &[(&str, &[&str])] = &[
    ("plugin", PLUGIN),
    ("logs", PLUGIN),
    ("settings", PLUGIN),
    ("devices", PLUGIN),
    ("device", DEVICE),
    ("jobs", DEVICE),
    ("sun", DEVICE),
    ("job", JOB),
    ("runs", JOB),
    ("explain", JOB),
    ("run_now", JOB),
    ("cancel", JOB),
];
/// The operations that return the name of a run, where it is, and the operation that takes it.
const RUNS: &[(&str, &str, &str)] =
    &[("runs", "$response.body#/items/0/run", "replay"), ("run_now", "$response.body#/run", "abandon")];

/// Adds the links to the responses of success.
pub(super) fn add(api: &mut OpenApi) {
    for operation in operations(api) {
        let id = operation.operation_id.clone().unwrap_or_default();
        let mut links: Vec<_> = SOURCES.iter().filter(|(source, ..)| *source == id).flat_map(of_names).collect();
        let of_run = RUNS.iter().filter(|(source, ..)| *source == id);
        links.extend(of_run.map(|(_, place, target)| {
            (*target, Link::builder().operation_id(*target).request_body(Some(json!({ "run": place }))).build())
        }));
        let responses = operation.responses.responses.iter_mut().filter(|(status, _)| status.starts_with('2'));
        for (_, response) in responses {
            let RefOr::T(response) = response else { continue };
            response.links.extend(links.iter().map(|(name, link)| ((*name).to_owned(), RefOr::T(link.clone()))));
        }
    }
}

/// Returns the links from a response that names something.
fn of_names<'s>(&(source, place, names): &'s (&str, &str, &[&str])) -> impl Iterator<Item = (&'static str, Link)> + 's {
    let takes = move |(target, takes): &&(&str, &[&str])| *target != source && names.starts_with(takes);
    TARGETS.iter().filter(takes).map(move |(target, takes)| {
        let link = Link::builder().operation_id(*target);
        let link = takes.iter().fold(link, |link, name| link.parameter(*name, json!(format!("{place}{name}"))));
        (*target, link.build())
    })
}

/// Returns all operations.
pub(super) fn operations(api: &mut OpenApi) -> impl Iterator<Item = &mut Operation> {
    api.paths.paths.values_mut().flat_map(|item| {
        let PathItem { get, put, post, delete, patch, .. } = item;
        [get, put, post, delete, patch].into_iter().flatten()
    })
}
