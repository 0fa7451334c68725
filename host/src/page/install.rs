//! Installs a plugin from a file: the form, and what the file would change before anything is installed.

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    Html,
    frame::{Current, frame},
    text::{self, WallTime},
    trial,
};
use crate::{
    clock,
    http::{ApiState, Days, Query, TrialRecord, tag, try_upload},
    plugins::COMPONENT_BYTES,
};

/// The form. The page keeps it, with its result, when it fetches its content again.
pub(super) fn form() -> Markup {
    html! {
        section #install data-keep .by-script {
            h2 { "Install or replace a plugin" }
            p { "Drop a " code { ".wasm" } " file anywhere on this page, or choose one. You see what it would change before it is installed." }
            form data-most=(COMPONENT_BYTES) {
                div.field { label for="file" { "Plugin file" } input #file name="file" type="file" accept=".wasm,application/wasm"; }
                div.field {
                    label for="name" { "Name on this host" }
                    input #name name="plugin" required pattern="[a-z0-9][a-z0-9\\-]{0,62}" autocapitalize="off" autocomplete="off" spellcheck="false";
                }
                div.actions { button { "Check" } }
            }
            div.result {}
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckQuery {
    /// The name that the plugin would have.
    plugin: String,
}

/// Checks the component in the body, and returns what it would change, with the button that installs it.
pub(super) async fn check(
    State(state): State<ApiState>,
    Query(CheckQuery { plugin }): Query<CheckQuery>,
    request: Request,
) -> Response {
    let (status, page) = match try_upload(&state, &plugin, Days::default(), request).await {
        Ok(trial) => (StatusCode::OK, result(&trial, &WallTime::of(clock::now(), state.zone()))),
        Err(problem) => {
            let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, trial::refused(&format!("{} cannot be installed", text::line(&plugin)), None, &problem))
        }
    };
    (status, Html(frame("Check", Current::Plugins, &page))).into_response()
}

fn result(trial: &TrialRecord, now: &WallTime) -> Markup {
    let TrialRecord { plugin, replaces, .. } = trial;
    let (verb, done) = match replaces {
        Some(_) => ("Replace", "replaced"),
        None => ("Install", "installed"),
    };
    let tag = replaces.as_ref().map(tag);
    html! {
        h1 { "What " (plugin) " would change" }
        (trial::changes(trial, now))
        div.actions {
            button.main type="button" data-method="PUT" data-path={ "/api/v1/plugins/" (plugin) }
                data-type="application/wasm" data-if-match=[tag.as_ref()] data-if-none-match=[tag.is_none().then_some("*")]
                data-done={ (plugin) " is " (done) ", and is being loaded." } aria-label={ (verb) " " (plugin) } { (verb) }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::page::{plugins::tests::now, trial::tests::trial};

    #[test]
    fn the_button_replaces_what_the_check_has_seen_and_nothing_else() {
        let mut trial = trial(&[], &[], &json!({}));
        let page = result(&trial, &now()).into_string();
        assert!(page.contains("data-if-none-match=\"*\"") && page.contains("Install coop-door"), "{page}");
        trial.replaces = Some("cd".repeat(32));
        let page = result(&trial, &now()).into_string();
        assert!(page.contains("data-if-match=\"&quot;cdcd") && !page.contains("none-match"), "{page}");
        assert!(
            page.contains("data-path=\"/api/v1/plugins/coop-door\"") && page.contains("Replace coop-door"),
            "{page}"
        );
    }

    #[test]
    fn each_control_of_the_form_has_a_label() {
        let page = form().into_string();
        for id in ["file", "name"] {
            assert!(
                page.contains(&format!("<label for=\"{id}\">")) && page.contains(&format!("id=\"{id}\"")),
                "{page}"
            );
        }
    }
}
