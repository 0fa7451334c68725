//! One plugin: its state, its grant, its limits, its versions, its newest log lines, and what can be done with it.

use axum::extract::{Path, State};
use maud::{Markup, html};
use roost_scheduler::names::PluginName;

use super::{
    Failed, Html, actions,
    frame::{Current, frame},
    logs,
    pauses::choice,
    plugins,
    text::{self, WallTime},
};
use crate::{
    clock,
    http::{
        ApiState, GrantRecord, LimitsRecord, Logs, PluginRecord, Problem, UsedRecord, has_settings, newest_logs,
        plugin_record,
    },
};

/// Lines of the log on the page.
const LOG_LINES: usize = 20;
/// Digits of a digest that tell versions apart.
const DIGITS: usize = 12;

pub(super) async fn plugin(State(state): State<ApiState>, Path(name): Path<String>) -> Result<Html, Failed> {
    let name = parse(&name)?;
    let plugin = plugin_record(&state, &name).await?;
    let has_settings = has_settings(&state, &name).await;
    let log = newest_logs(&state, Some(name), LOG_LINES).await?;
    let now = WallTime::of(clock::now(), state.zone());
    Ok(Html(frame(&plugin.plugin, Current::Plugins, &content(&plugin, has_settings, &log, &now))))
}

/// Parses the name of a plugin in an address.
pub(super) fn parse(name: &str) -> Result<PluginName, Problem> {
    PluginName::parse_owner(name).map_err(|error| Problem::not_found(error.to_string()))
}

fn content(plugin: &PluginRecord, has_settings: bool, log: &Logs, now: &WallTime) -> Markup {
    let name = &plugin.plugin;
    let is_own = plugin.state == "built-in";
    html! {
        h1 { (name) }
        p.row { (plugins::state(plugin, now)) }
        @if let Some(error) = &plugin.error { (plugins::fault(error, now)) }
        @if plugin.faults > 0 { (plugins::plans_refused(plugin)) }
        (buttons(plugin, has_settings, now))
        dl {
            dt { "Devices" } dd { a href={ "/devices?plugin=" (name) } { (text::grouped(plugin.devices)) } }
            dt { "Jobs" } dd { (text::grouped(plugin.jobs)) }
        }
        @if let Some(grant) = plugin.grant.as_ref().filter(|_| !is_own) { (self::grant(grant)) }
        @if let Some(limits) = &plugin.limits { (self::limits(limits, plugin.used.as_ref())) }
        @if !is_own { (versions(plugin)) }
        h2 { "Log" }
        (logs::list(&log.items, now, false))
        p { a.button href={ "/logs?plugin=" (name) } aria-label={ "The whole log of " (name) } { "The whole log" } }
    }
}

/// Shows the requests that concern the whole plugin. Those of its versions are beside them.
fn buttons(plugin: &PluginRecord, has_settings: bool, now: &WallTime) -> Markup {
    let name = &plugin.plugin;
    html! {
        div.actions {
            @let own = plugin.pause.as_ref().filter(|pause| pause.by == "plugin");
            @if plugin.paused || own.is_some() {
                (button(name, ("POST", "resume"), ("Resume", &format!("{name} is resumed.")), None))
            } @else {
                (button(name, ("POST", "pause"), ("Pause", &format!("{name} is paused.")), None))
            }
            @if plugin.pause.as_ref().is_some_and(|pause| pause.by == "all") { (actions::resume_all()) }
            (choice(name, &format!("/api/v1/plugins/{name}"), now))
            @if plugin.state != "built-in" {
                a.button href={ "/plugins/" (name) "/settings" } aria-label={ "Settings of " (name) } { "Settings" }
                (button(name, ("POST", "replan"), ("Plan again", &format!("{name} is asked for new plans.")), None))
                @let rest = if has_settings { format!(" Its settings, plugins/{name}.toml, stay.") } else { String::new() };
                @let question = format!("Remove {name}? Its file is deleted and its jobs end.{rest}");
                (button(name, ("DELETE", ""), ("Remove", &format!("{name} is removed within seconds.")), Some(&question)))
            }
        }
    }
}

/// Returns a button that makes a request about a plugin.
fn button(plugin: &str, (method, verb): (&str, &str), (text, done): (&str, &str), confirm: Option<&str>) -> Markup {
    let path = format!("/api/v1/plugins/{plugin}/{verb}");
    html! {
        button type="button" id={ (plugin) "-" (method) "-" (verb) } data-method=(method)
            data-path=(path.trim_end_matches('/')) data-done=(done) data-confirm=[confirm]
            aria-label={ (text) " " (plugin) } { (text) }
    }
}

/// Shows in words what the plugin may publish and read.
pub(super) fn grant(grant: &GrantRecord) -> Markup {
    html! {
        h2 { "Grant" }
        @for note in grant.notes() { p { (sentence(&note)) } }
    }
}

/// Returns a text that begins with a capital and ends with a full stop.
pub(super) fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), rest.as_str()))
}

/// Shows the limits of a call, and what the calls have used of them.
fn limits(limits: &LimitsRecord, used: Option<&UsedRecord>) -> Markup {
    html! {
        h2 { "Limits of a call" }
        dl {
            dt { "Memory" }
            dd { @if let Some(used) = used { (mib(used.memory_bytes)) " at the most, of " } (limits.memory_mib) " MiB" }
            dt { "Processor" } dd { (limits.cpu_ms) " ms" }
            dt { "Time" }
            dd {
                @if let Some(ms) = used.and_then(|used| used.longest_plan_ms) { (ms) " ms for the longest plan, of " }
                (text::grouped(limits.wall_ms as usize)) " ms"
            }
            dt { "Jobs in a plan" } dd { (text::grouped(limits.jobs)) }
            @if let Some(used) = used {
                dt { "Calls" }
                dd {
                    (text::grouped(used.calls as usize)) " since the host started, "
                    span.state-failed[used.failed > 0] { (text::grouped(used.failed as usize)) " failed" }
                }
            }
        }
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Shows the version that runs and the one before it, with the way back.
fn versions(plugin: &PluginRecord) -> Markup {
    let name = &plugin.plugin;
    let short = |digest: &str| digest.chars().take(DIGITS).collect::<String>();
    html! {
        h2 { "Versions" }
        dl {
            dt { "Running" } dd { @if let Some(digest) = &plugin.component { code { (short(digest)) } } @else { "none" } }
            dt { "Before" } dd { @if let Some(digest) = &plugin.previous { code { (short(digest)) } } @else { "none" } }
        }
        div.actions {
            @if can_roll_back(plugin) { (roll_back(name)) }
        }
    }
}

/// Checks whether there is a version to go back to: the one before, or the one that runs instead of a refused file.
pub(super) fn can_roll_back(plugin: &PluginRecord) -> bool {
    plugin.previous.is_some() || (plugin.component.is_some() && plugin.state == "outdated")
}

/// Returns the button that puts the other version into the folder.
pub(super) fn roll_back(name: &str) -> Markup {
    button(name, ("POST", "rollback"), ("Roll back", &format!("{name} is rolled back, and is being loaded.")), None)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::page::plugins::tests::{now, plugin as record};

    fn shown(change: &Value) -> String {
        let log = serde_json::from_value(json!({ "items": [], "more": false, "next": "1-1" })).unwrap();
        content(&record(change), true, &log, &now()).into_string()
    }

    #[test]
    fn settings_stay_at_a_removal_where_there_are_any() {
        let question = |has_settings| buttons(&record(&json!({})), has_settings, &now()).into_string();
        assert!(
            question(true).contains("its jobs end. Its settings, plugins/coop-door.toml, stay.\""),
            "{}",
            question(true)
        );
        assert!(question(false).contains("its jobs end.\""), "{}", question(false));
    }

    #[test]
    fn a_plugin_can_be_paused_and_rolled_back_where_it_has_a_version_before() {
        let page = shown(&json!({}));
        assert!(page.contains("aria-label=\"Pause coop-door\"") && !page.contains("Roll back"), "{page}");
        assert!(page.contains("data-method=\"DELETE\" data-path=\"/api/v1/plugins/coop-door\""), "{page}");
        let page = shown(&json!({ "paused": true, "previous": "ab".repeat(32) }));
        assert!(page.contains("aria-label=\"Resume coop-door\"") && page.contains("Roll back coop-door"), "{page}");
        let refused = shown(&json!({ "state": "outdated", "component": "ab".repeat(32) }));
        assert!(refused.contains("Roll back coop-door"), "the running version replaces the refused file: {refused}");
    }

    #[test]
    fn the_grant_is_in_words_and_the_limits_show_what_was_used() {
        let page = shown(&json!({
            "grant": { "publish": ["coop-door/#", "zigbee2mqtt/#"], "subscribe": [], "max_qos": 1, "retain": false },
            "limits": { "memory_mib": 256, "cpu_ms": 500, "wall_ms": 10000, "jobs": 10000, "lift_mib": 16 },
            "used": { "calls": 1234, "failed": 2, "traps": 1, "longest_plan_ms": 34, "memory_bytes": 2621440 },
        }));
        assert!(page.contains("It may publish to coop-door/# zigbee2mqtt/# (QoS 1 at most, not retained)"), "{page}");
        assert!(page.contains("Beware, it may publish to topics of others"), "{page}");
        assert!(page.contains("2.5 MiB at the most, of 256 MiB") && page.contains("1,234 since"), "{page}");
        assert!(page.contains("34 ms for the longest plan, of 10,000 ms"), "{page}");
    }

    #[test]
    fn the_host_itself_has_no_versions_and_is_not_removed() {
        let page = shown(&json!({ "plugin": "roost", "state": "built-in" }));
        assert!(page.contains("Pause roost") && !page.contains("Remove") && !page.contains("Versions"), "{page}");
    }
}
