//! The log of a plugin, or of all plugins: the newest lines first.

use axum::extract::State;
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    Failed, Html,
    frame::{Current, frame},
    plugin::parse,
    text::{self, WallTime},
};
use crate::{
    clock,
    http::{ApiState, HostEventRecord, Query, newest_logs},
    report::printable,
};

/// Lines that are shown: the host keeps no more of a plugin.
const LINES: usize = 500;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    /// The plugin; all if it is omitted.
    plugin: Option<String>,
}

pub(super) async fn logs(
    State(state): State<ApiState>,
    Query(LogsQuery { plugin }): Query<LogsQuery>,
) -> Result<Html, Failed> {
    let name = plugin.as_deref().filter(|name| !name.is_empty()).map(parse).transpose()?;
    let title = name.as_ref().map_or_else(|| "Log of all plugins".to_owned(), |name| format!("Log of {name}"));
    let log = newest_logs(&state, name.clone(), LINES).await?;
    let now = WallTime::of(clock::now(), state.zone());
    let page = html! {
        h1 { (title) }
        p.soft { span data-now { (now.clock()) } " in " (now.zone()) " · the newest " (LINES) " lines, the newest first" }
        (list(&log.items, &now, name.is_none()))
        p {
            @if let Some(name) = &name { a.button href={ "/plugins/" (name) } { (name) } " " }
            @if name.is_some() { a.button href="/logs" { "The log of all plugins" } }
        }
    };
    Ok(Html(frame(&title, Current::Plugins, &page)))
}

/// Shows lines of a log, the newest first. The page follows the log while it has this list.
pub(super) fn list(lines: &[HostEventRecord], now: &WallTime, with_plugin: bool) -> Markup {
    html! {
        @if lines.is_empty() { p.soft data-follows="log" { "Nothing was logged since the host started." } }
        @else {
            ul.log data-follows="log" { @for line in lines.iter().rev() { li { (self::line(line, now, with_plugin)) } } }
        }
    }
}

fn line(
    HostEventRecord { time, level, text, hint, plugin, .. }: &HostEventRecord,
    now: &WallTime,
    with_plugin: bool,
) -> Markup {
    let class = match level.as_str() {
        "error" => "state-failed",
        "warn" => "state-running",
        _ => "soft",
    };
    html! {
        (text::second(time, now.zone(), now)) " "
        span.(class) { (level) } " "
        @if let Some(plugin) = plugin.as_ref().filter(|_| with_plugin) { a href={ "/plugins/" (plugin) } { (plugin) } " " }
        span.lines { (printable(text)) }
        @if let Some(hint) = hint { div.lines.soft { (printable(hint)) } }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::page::plugins::tests::now;

    fn entry(number: u32, text: &str) -> HostEventRecord {
        let entry = json!({ "id": format!("1-{number}"), "time": "2027-03-01T15:42:07+00:00", "kind": "log",
            "level": "warn", "text": text, "plugin": "coop-door" });
        serde_json::from_value(entry).unwrap()
    }

    #[test]
    fn the_newest_line_is_first_and_its_text_is_text() {
        let page = list(&[entry(1, "old"), entry(2, "<script>new\n  caused by: \u{202e}")], &now(), true).into_string();
        assert!(page.find("&lt;script&gt;new") < page.find("old"), "{page}");
        assert!(page.contains("new\n  caused by: ") && !page.contains('\u{202e}'), "{page}");
        assert!(page.contains(">15:42:07</time>") && page.contains("href=\"/plugins/coop-door\""), "{page}");
        assert!(!list(&[entry(1, "old")], &now(), false).into_string().contains("href"));
        assert!(list(&[], &now(), false).into_string().contains("Nothing was logged"));
    }
}
