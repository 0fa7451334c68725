//! The plugins: their states and faults.

use axum::extract::State;
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    Failed, Html,
    frame::{Current, frame},
    install, plugin, refusals,
    text::{self, WallTime},
};
use crate::{
    clock,
    http::{ApiState, FaultRecord, Page, PluginRecord, Query, list_plugins},
};

/// Plugins on a page.
const AT_ONCE: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PluginsQuery {
    /// The place of the page in the list.
    cursor: Option<String>,
}

pub(super) async fn plugins(
    State(state): State<ApiState>,
    Query(PluginsQuery { cursor }): Query<PluginsQuery>,
) -> Result<Html, Failed> {
    let found = list_plugins(&state, cursor.as_deref(), AT_ONCE).await?;
    let now = WallTime::of(clock::now(), state.zone());
    let page = html! {
        h1 { "Plugins" }
        p.soft {
            span data-now { (now.clock()) } " in " (now.zone())
            span.by-script { " · " a href="#install" { "Install or replace a plugin" } }
        }
        (list(&found, &now))
        (install::form())
    };
    Ok(Html(frame("Plugins", Current::Plugins, &page)))
}

fn list(Page { items, next }: &Page<PluginRecord>, now: &WallTime) -> Markup {
    html! {
        @if items.is_empty() { p { "There are no plugins." } }
        ul.rows { @for plugin in items { li { (line(plugin, now)) } } }
        @if let Some(next) = next { p { a.button href={ "/plugins?cursor=" (next) } { "More plugins" } } }
    }
}

fn line(plugin: &PluginRecord, now: &WallTime) -> Markup {
    html! {
        div.row {
            a.name href={ "/plugins/" (plugin.plugin) } { (plugin.plugin) }
            (state(plugin, now))
            span.end.soft { (text::count(plugin.devices, "device")) ", " (text::count(plugin.jobs, "job")) }
        }
        @if plugin.faults > 0 { (plans_refused(plugin)) }
        @if let Some(error) = &plugin.error { (fault(error, now)) }
        @let is_faulty = plugin.error.is_some() || plugin.faults > 0;
        @if is_faulty || plugin::can_roll_back(plugin) {
            div.actions {
                @if is_faulty { (refusals::settings(&plugin.plugin)) }
                @if plugin::can_roll_back(plugin) { (plugin::roll_back(&plugin.plugin)) }
            }
        }
    }
}

/// Shows how many devices have a refused plan, with a link to them, and what goes on.
pub(super) fn plans_refused(PluginRecord { plugin, faults, without_plan, .. }: &PluginRecord) -> Markup {
    let (plan, was) = if *faults == 1 { ("plan", "was") } else { ("plans", "were") };
    let devices = [("plugin", plugin.as_str()), ("fault", "true")];
    html! {
        div.banner.bad {
            p {
                "✕ The newest " (plan) " of " a href=(text::address("/devices", &devices)) { (text::count(*faults, "device")) }
                " " (was) " refused."
            }
            p { (refusals::goes_on("plan", *faults, *without_plan)) }
        }
    }
}

/// Shows the state of a plugin, since when, and whether it is paused or a version is being loaded.
pub(super) fn state(plugin: &PluginRecord, now: &WallTime) -> Markup {
    let (class, words) = match plugin.state.as_str() {
        "running" => ("succeeded", "● runs"),
        "outdated" => ("failed", "✕ its newest files were refused; the version before runs"),
        "refused" => ("failed", "✕ its files were refused; nothing runs"),
        "removed" => ("skipped", "⊘ its file is gone, and its jobs are about to be removed"),
        "built-in" => ("skipped", "○ jobs that were made by hand"),
        _ => ("running", "◐ is being loaded"),
    };
    html! {
        span.{ "state-" (class) } { (words) }
        @if let Some(since) = &plugin.since { span.soft { "since " (text::time(since, now.zone(), now)) } }
        @if plugin.loading && plugin.state != "loading" { span.state-running { "◐ a version is being loaded" } }
        @if let Some(pause) = &plugin.pause {
            span.state-paused { (text::pause(pause, "plugin", now.zone(), now)) }
        } @else if plugin.paused {
            span.state-paused { "◌ paused" }
        }
    }
}

/// Shows why files were refused: what, why, and what to do.
pub(super) fn fault(FaultRecord { what, causes, hint, at }: &FaultRecord, now: &WallTime) -> Markup {
    html! {
        div.banner.bad {
            p { (what) " " span.soft { "at " (text::time(at, now.zone(), now)) } }
            @for cause in causes { p { "because " (text::lines(cause)) } }
            @if let Some(hint) = hint { p.soft { (text::lines(hint)) } }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    pub(in super::super) fn now() -> WallTime {
        WallTime::parse("2027-03-01T15:50:00+00:00", "Europe/London").unwrap()
    }

    /// Returns the plugin `coop-door`, which runs.
    pub(in super::super) fn plugin(change: &Value) -> PluginRecord {
        let mut plugin = json!({
            "plugin": "coop-door", "state": "running", "since": "2027-03-01T15:42:00+00:00", "loading": false,
            "paused": false, "devices": 2, "jobs": 4,
        });
        plugin.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value(plugin).unwrap()
    }

    fn shown(items: Vec<PluginRecord>) -> String {
        list(&Page { items, next: None }, &now()).into_string()
    }

    #[test]
    fn the_state_is_words_with_its_time() {
        let page = shown(vec![plugin(&json!({})), plugin(&json!({ "paused": true, "loading": true, "faults": 1 }))]);
        assert!(
            page.contains("● runs</span><span class=\"soft\">since <time datetime=\"2027-03-01T15:42:00"),
            "{page}"
        );
        assert!(page.contains("2 devices, 4 jobs") && page.contains("◌ paused"), "{page}");
        assert!(
            page.contains("plan of <a href=\"/devices?plugin=coop-door&amp;fault=true\">1 device</a> was refused."),
            "{page}"
        );
        assert!(page.contains("Its earlier plan goes on.") && page.contains("a version is being loaded"), "{page}");
        assert!(page.contains("href=\"/plugins/coop-door/settings\""), "{page}");
    }

    #[test]
    fn a_refused_file_has_its_causes_and_its_hint_as_text() {
        let error = json!({ "what": "plugin `porch` was not loaded", "causes": ["<b>", "the\nrest"],
            "hint": "add this:\n[limits]", "at": "2027-03-01T15:42:00+00:00" });
        let page = shown(vec![plugin(&json!({ "state": "outdated", "error": error }))]);
        assert!(page.contains("because &lt;b&gt;") && !page.contains("<b>"), "{page}");
        assert!(page.contains("add this:<pre>[limits]</pre>"), "{page}");
    }

    #[test]
    fn a_list_without_plugins_says_so_and_a_long_one_continues() {
        assert!(shown(Vec::new()).contains("There are no plugins"));
        let page = list(&Page { items: Vec::new(), next: Some("ab".into()) }, &now()).into_string();
        assert!(page.contains("href=\"/plugins?cursor=ab\""), "{page}");
    }
}
