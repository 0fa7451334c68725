//! The settings of a plugin: the text of its file, what a change of it would do, and the button that writes it.

use axum::{
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use maud::{Markup, html};

use super::{
    Failed, Html, difference,
    frame::{Current, frame},
    plugins,
    text::WallTime,
    trial,
};
use crate::{
    clock,
    http::{
        ApiState, PluginRecord, Problem, SettingsRecord, check_settings, plugin_name, plugin_record, receive_settings,
        settings_file, tag,
    },
    plugins::SettingsFile,
};

pub(super) async fn settings(State(state): State<ApiState>, Path(name): Path<String>) -> Result<Html, Failed> {
    let name = plugin_name(&name)?;
    let file = settings_file(&state, &name).await?;
    // Settings may come before their plugin.
    let plugin = plugin_record(&state, &name).await.ok();
    let (title, now) = (format!("Settings of {name}"), WallTime::of(clock::now(), state.zone()));
    Ok(Html(frame(&title, Current::Plugins, &content(name.as_str(), file.as_ref(), plugin.as_ref(), &now))))
}

fn content(name: &str, file: Option<&SettingsFile>, plugin: Option<&PluginRecord>, now: &WallTime) -> Markup {
    let text = file.map_or("", |file| file.text.as_str());
    // A browser's text has line feeds alone.
    let ends = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let tag = file.map(|file| tag(file.digest));
    html! {
        h1 { "Settings of " (name) }
        @if file.is_none() { p { "There is no settings file: the plugin has the default settings." } }
        // The newest tag of the file, which the page compares with that of the text that is edited.
        p #file .row data-tag=[&tag] {
            a.name href={ "/plugins/" (name) } { (name) }
            @if let Some(plugin) = plugin { (plugins::state(plugin, now)) }
        }
        @if let Some(error) = plugin.and_then(|plugin| plugin.error.as_ref()) { (plugins::fault(error, now)) }
        section #settings data-keep data-only="plugin" data-plugin=(name) {
            form data-plugin=(name) data-tag=[&tag] data-ends=(ends) {
                label for="text" { code { "plugins/" (name) ".toml" } }
                // The first line feed after the tag is not part of the text.
                textarea #text name="text" rows="20" spellcheck="false" autocapitalize="off" autocomplete="off" { "\n" (text) }
                div.actions.by-script { button { "Check" } }
            }
            div.result {}
        }
    }
}

/// Checks the settings in the body, and returns what they would change, with the button that writes them.
pub(super) async fn check(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Failed> {
    let headers = request.headers().clone();
    let plugin = plugin_name(&name)?;
    let now = WallTime::of(clock::now(), state.zone());
    let received = receive_settings(&state, request).await?;
    let (status, page) = match check_settings(&state, &plugin, &received).await {
        Ok((record, _)) => (StatusCode::OK, result(&record, &headers, &now)),
        Err(problem) => match StatusCode::from_u16(problem.status) {
            Ok(status @ StatusCode::PRECONDITION_FAILED) => {
                (status, conflict(&name, &received.text, settings_file(&state, &plugin).await?.as_ref()))
            }
            Ok(status @ StatusCode::UNPROCESSABLE_ENTITY) => (status, refused(&name, &problem)),
            _ => return Err(problem.into()),
        },
    };
    Ok((status, Html(frame("Check", Current::Plugins, &page))).into_response())
}

fn result(SettingsRecord { plugin, trial, .. }: &SettingsRecord, headers: &HeaderMap, now: &WallTime) -> Markup {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    // What is saved in spite of a refused plan is saved knowing what goes on.
    let refused = trial.as_ref().map_or(0, |trial| trial.jobs.refused);
    let consequence = trial.as_ref().and_then(|trial| trial::consequence(&trial.jobs));
    let (verb, label) = match &consequence {
        None => ("Save".to_owned(), format!("Save the settings of {plugin}")),
        Some(words) => {
            let verb = format!("Save all the same: {words}");
            (verb.clone(), format!("{verb} (the settings of {plugin})"))
        }
    };
    html! {
        h1 { "What the settings would change" }
        @match trial {
            Some(trial) => (trial::changes(trial, now)),
            None => p { "They are valid. There is no component yet: what it would do with them is not known." },
        }
        div.actions {
            button.main[consequence.is_none()] type="button" data-method="PUT"
                data-path={ "/api/v1/plugins/" (plugin) "/settings?refused_at_most=" (refused) }
                data-type="application/toml" data-if-match=[header(header::IF_MATCH)]
                data-if-none-match=[header(header::IF_NONE_MATCH)]
                data-done={ "The settings of " (plugin) " are saved, and are being loaded." }
                aria-label=(label) { (verb) }
        }
    }
}

/// Shows how the file differs from the text, with the ways to go on: the text is not lost unless a person says so.
fn conflict(name: &str, text: &str, file: Option<&SettingsFile>) -> Markup {
    let path = html! { code { "plugins/" (name) ".toml" } };
    html! {
        @match file {
            Some(file) => {
                h1 { "The file was changed meanwhile" }
                p.banner.bad { (path) " is not the file that was loaded here: another program has changed it. Nothing was written." }
                p { "− is only in the file, + is only in your text:" }
                (difference::show(&file.text, text))
            }
            None => {
                h1 { "The file is gone" }
                p.banner.bad { (path) " was removed since it was loaded here. Nothing was written." }
            }
        }
        div.actions {
            button type="button" data-mine=(file.map(|file| tag(file.digest)).unwrap_or_default())
                aria-label={ "Keep my text of the settings of " (name) } { "Keep my text" }
            a.button href={ "/plugins/" (name) "/settings" } aria-label={ "Load the file of " (name) } { "Load the file" }
        }
        p.soft { "Keep my text: it is checked again, and can then replace the file. Load the file: your text is lost." }
    }
}

fn refused(name: &str, problem: &Problem) -> Markup {
    html! {
        (trial::refused("The settings are refused", place(name, &problem.detail), problem))
        p { "They cannot be saved: the present ones go on." }
    }
}

/// Finds the line and the column in the text of an error: `porch.toml:3:1: unknown key`.
fn place(name: &str, detail: &str) -> Option<(usize, usize)> {
    let mut rest = detail.split_once(&format!("{name}.toml:"))?.1.split(':');
    Some((rest.next()?.parse().ok()?, rest.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::plugins::tests::now;

    #[test]
    fn the_text_is_text_and_keeps_its_first_line_and_its_line_ends() {
        let text = "\n# </textarea><script>\r\n";
        let file = SettingsFile { text: text.into(), digest: roost_scheduler::event::Digest([1; 32]) };
        let page = content("porch", Some(&file), None, &now()).into_string();
        assert!(page.contains(">\n\n# &lt;/textarea&gt;&lt;script&gt;\r\n</textarea>"), "{page}");
        assert!(page.contains("data-tag=\"&quot;0101") && page.contains("data-ends=\"\r\n\""), "{page}");
        assert!(page.contains("<label for=\"text\"><code>plugins/porch.toml</code></label>"), "{page}");
    }

    #[test]
    fn a_conflict_shows_the_difference_and_keeps_the_text() {
        let digest = roost_scheduler::event::Digest([1; 32]);
        let file = SettingsFile { text: "# theirs\n".into(), digest };
        let page = conflict("porch", "# <mine>\n", Some(&file)).into_string();
        assert!(page.contains("<del>− # theirs</del><ins>+ # &lt;mine&gt;</ins>"), "{page}");
        assert!(
            page.contains("data-mine=\"&quot;0101") && page.contains("Keep my text of the settings of porch"),
            "{page}"
        );
        let gone = conflict("porch", "", None).into_string();
        assert!(gone.contains("was removed") && gone.contains("data-mine=\"\""), "{gone}");
    }

    #[test]
    fn an_error_has_its_line() {
        let detail = "the settings of plugin `porch` are refused: porch.toml:3:12: unknown key `<b>`";
        assert_eq!(place("porch", detail), Some((3, 12)));
        assert_eq!(place("porch", "device `porch` has no plan"), None);
        let page = refused("porch", &Problem::bad_request(detail).hint("did you mean `a`?")).into_string();
        assert!(page.contains("data-line=\"3\" data-column=\"12\"") && page.contains("Line 3: "), "{page}");
        assert!(page.contains("`&lt;b&gt;`") && page.contains("did you mean") && !page.contains("<button"), "{page}");
    }

    #[test]
    fn settings_without_a_component_are_valid_and_can_be_saved() {
        let record = SettingsRecord { plugin: "porch".into(), sha256: String::new(), written: false, trial: None };
        let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, "*".parse().unwrap())]);
        let page = result(&record, &headers, &now()).into_string();
        assert!(
            page.contains("class=\"main\"")
                && page.contains("data-if-none-match=\"*\"")
                && page.contains("Save the settings of porch"),
            "{page}"
        );
    }

    #[test]
    fn settings_that_spoil_a_plan_are_saved_only_by_a_button_that_names_what_goes_on() {
        let mut trial = trial::tests::trial(&[], &[], &serde_json::json!({ "error": "no", "line": 3 }));
        trial.jobs.refused = 1;
        let record =
            SettingsRecord { plugin: "coop-door".into(), sha256: String::new(), written: false, trial: Some(trial) };
        let page = result(&record, &HeaderMap::new(), &now()).into_string();
        assert!(page.contains(">Save all the same: north keeps its earlier plan</button>"), "{page}");
        assert!(
            page.contains("Show line 3")
                && page.contains("refused_at_most=1\"")
                && !page.contains(">Save<")
                && !page.contains("class=\"main\""),
            "{page}"
        );
    }
}
