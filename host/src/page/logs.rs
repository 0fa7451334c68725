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
    http::{ApiState, HostEventRecord, Problem, Query, newest_logs},
    report::printable,
};

/// Lines of the page that follows the log: it is fetched again with each line.
const LINES: usize = 100;
/// All lines: the host keeps no more of a plugin.
const ALL_LINES: usize = 500;
/// Characters of a line's text, and of its hint, in a list.
const CHARS: usize = 300;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LogsQuery {
    /// The plugin; all if it is empty.
    plugin: String,
    /// All lines that are kept, as they are now, if it is not empty.
    all: String,
    /// Only the line with this id, with its whole text.
    line: String,
}

pub(super) async fn logs(State(state): State<ApiState>, Query(query): Query<LogsQuery>) -> Result<Html, Failed> {
    let name = Some(query.plugin.as_str()).filter(|name| !name.is_empty()).map(parse).transpose()?;
    let title = name.as_ref().map_or_else(|| "Log of all plugins".to_owned(), |name| format!("Log of {name}"));
    let follows = query.all.is_empty() && query.line.is_empty();
    let most = if follows { LINES } else { ALL_LINES };
    let log = newest_logs(&state, name.clone(), most).await?;
    let now = WallTime::of(clock::now(), state.zone());
    let lines = match query.line.as_str() {
        "" if follows => list(&log.items, &now, name.is_none()),
        "" => lines(&log.items, &now, name.is_none()),
        id => one(&log.items, id, &now)
            .ok_or_else(|| Problem::not_found("the line is not kept any more").hint("the log has newer ones"))?,
    };
    let of_plugin = [("plugin", query.plugin.as_str()), ("all", if follows { "true" } else { "" })];
    let page = html! {
        h1 { (title) }
        p.soft {
            span data-now { (now.clock()) } " in " (now.zone())
            @if query.line.is_empty() { " · the newest " (most) " lines, the newest first" }
        }
        (lines)
        p {
            a.button href=(text::address("/logs", &of_plugin)) {
                @if follows { "All " (ALL_LINES) " lines" } @else { "The newest lines" }
            }
            " "
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
        @else { div data-follows="log" { (self::lines(lines, now, with_plugin)) } }
    }
}

fn lines(lines: &[HostEventRecord], now: &WallTime, with_plugin: bool) -> Markup {
    html! { ul.log { @for line in lines.iter().rev() { li { (self::line(line, now, with_plugin, CHARS)) } } } }
}

/// Shows one line as it was logged.
fn one(lines: &[HostEventRecord], id: &str, now: &WallTime) -> Option<Markup> {
    let line = lines.iter().find(|line| line.id == id)?;
    Some(html! { p.log { (self::line(line, now, true, usize::MAX)) } })
}

/// Shows a line with a text of at most `most` characters, and otherwise a link to the whole of it.
fn line(
    HostEventRecord { id, time, level, text, hint, plugin, .. }: &HostEventRecord,
    now: &WallTime,
    with_plugin: bool,
    most: usize,
) -> Markup {
    let is_long = |text: &String| text.chars().nth(most).is_some();
    let cut = |text: &str| printable(&text.chars().take(most).collect::<String>());
    let whole = [("plugin", plugin.as_deref().unwrap_or_default()), ("line", id)];
    let class = match level.as_str() {
        "error" => "state-failed",
        "warn" => "state-running",
        _ => "soft",
    };
    html! {
        (text::second(time, now.zone(), now)) " "
        span.(class) { (level) } " "
        @if let Some(plugin) = plugin.as_ref().filter(|_| with_plugin) { a href={ "/plugins/" (plugin) } { (plugin) } " " }
        span.lines { (cut(text)) }
        @if let Some(hint) = hint { div.lines.soft { (cut(hint)) } }
        @if is_long(text) || hint.as_ref().is_some_and(is_long) {
            "… " a href=(text::address("/logs", &whole)) aria-label={ "The whole line of " (time) } { "The whole line" }
        }
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

    #[test]
    fn a_long_line_is_cut_in_a_list_and_whole_by_itself() {
        let entries = [entry(1, &"ü".repeat(4_000)), entry(2, &"b".repeat(CHARS))];
        let page = list(&entries, &now(), true).into_string();
        assert_eq!((page.matches('ü').count(), page.matches("The whole line</a>").count()), (CHARS, 1), "{page}");
        assert!(page.contains("href=\"/logs?plugin=coop-door&amp;line=1-1\""), "{page}");
        let page = one(&entries, "1-1", &now()).unwrap().into_string();
        assert_eq!((page.matches('ü').count(), page.contains("The whole line")), (4_000, false));
        assert!(one(&entries, "1-3", &now()).is_none());
        // All that the live page can have, with the longest of names.
        let longest: Vec<_> = (0..500).map(|number| entry(number, &"\u{1f431}".repeat(1_000))).collect();
        let size = list(&longest[..LINES], &now(), true).into_string().len();
        assert!(size < 200_000, "{size} bytes");
    }
}
