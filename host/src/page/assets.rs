//! The scripts and the styles, built in. Their addresses have a digest of all of them, so that a browser may keep them
//! for ever, and a new version is never mixed with an old one.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use sha2::{Digest as _, Sha256};

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// Each file by its name, with its type.
const FILES: &[(&str, &str, &str)] = &[
    ("page.css", "text/css; charset=utf-8", include_str!("assets/page.css")),
    ("page.js", JAVASCRIPT, include_str!("assets/page.js")),
    ("act.js", JAVASCRIPT, include_str!("assets/act.js")),
    ("check.js", JAVASCRIPT, include_str!("assets/check.js")),
    ("host.js", JAVASCRIPT, include_str!("assets/host.js")),
    ("login.js", JAVASCRIPT, include_str!("assets/login.js")),
    ("clock.js", JAVASCRIPT, include_str!("assets/clock.js")),
    ("pause.js", JAVASCRIPT, include_str!("assets/pause.js")),
    ("picture.js", JAVASCRIPT, include_str!("assets/picture.js")),
    ("stream.js", JAVASCRIPT, include_str!("assets/stream.js")),
    ("swap.js", JAVASCRIPT, include_str!("assets/swap.js")),
    ("task.js", JAVASCRIPT, include_str!("assets/task.js")),
    ("why.js", JAVASCRIPT, include_str!("assets/why.js")),
];

/// A digest of all files.
static DIGEST: LazyLock<String> = LazyLock::new(|| {
    let digest = FILES.iter().fold(Sha256::new(), |digest, (_, _, text)| digest.chain_update(text));
    hex::encode(&digest.finalize()[..8])
});

/// Returns the address of a file.
pub(super) fn address(name: &str) -> String {
    format!("/assets/{}/{name}", *DIGEST)
}

/// Serves a file. Modules import one another by relative names, which have the digest of the importing one.
pub(super) async fn asset(Path((digest, name)): Path<(String, String)>) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name && digest == *DIGEST) {
        Some((_, kind, text)) => {
            let headers =
                [(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
            (headers, *text).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
