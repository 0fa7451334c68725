//! History: the runs under way and those that have ended, by a filter.

use axum::{
    extract::{RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use roost_scheduler::{outcome::RunState, zone::Zone};
use url::form_urlencoded;

use super::{
    Html,
    actions::JobRef,
    frame::{Current, frame},
    sentence::sentence,
    text::{self, WallTime},
};
use crate::{
    clock,
    http::{
        ApiState, Page, Problem, Query,
        runs::{NextStepRecord, RunRecord, list},
    },
    when::When,
};

const ADDRESS: &str = "/runs";
/// Runs of a page.
const RUNS: &str = "50";
const STATE: &str = "state";
/// States of a filter: more than there are, so that an unknown one is shown with its error.
const STATES: usize = 8;
const CURSOR: &str = "cursor";
const TEXTS: [(&str, &str); 3] = [("plugin", "Plugin"), ("device", "Device"), ("job", "Job")];
const TIMES: [(&str, &str); 2] = [("since", "From"), ("until", "Before")];

pub(super) async fn history(State(state): State<ApiState>, RawQuery(query): RawQuery) -> Response {
    let filter = Filter::parse(query.as_deref().unwrap_or_default());
    let now = WallTime::of(clock::now(), state.zone());
    let found = runs(&state, &filter).await;
    let status = found.as_ref().err().map_or(Ok(StatusCode::OK), |problem| StatusCode::from_u16(problem.status));
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let page = html! {
        h1 { "History" }
        p.soft { "As of " span data-now { (now.clock()) } " in " (now.zone()) " · times by each device's clock" }
        (chips(&filter))
        // The form stays, so that a mistake can be put right in it.
        @if let Err(problem) = &found { (wrong(problem)) }
        (form(&filter, state.zone(), found.is_err()))
        @if let Ok(page) = &found { (list_of(page, &filter, &now)) }
    };
    (status, Html(frame("History", Current::History, &page))).into_response()
}

async fn runs(state: &ApiState, filter: &Filter) -> Result<Page<RunRecord>, Problem> {
    let Query(query) = Query::parse(&filter.query(state.zone())?)?;
    list(state, query).await
}

/// The address of the runs of a job.
pub(super) fn of_job(plugin: &str, device: &str, job: &str) -> String {
    format!("{ADDRESS}?plugin={plugin}&device={device}&job={job}")
}

/// A filter as it was written, each of several states by itself, and a name that is no field. What is wrong is shown again.
#[derive(Debug, Default)]
struct Filter(Vec<(String, String)>, Option<String>);

impl Filter {
    /// Reads a query. Fields that were left empty do not count, nor do repetitions, whose addresses would take the square
    /// of their length.
    fn parse(query: &str) -> Self {
        let is_known = |name: &str| TEXTS.iter().chain(&TIMES).any(|(known, _)| *known == name);
        let mut fields: Vec<(String, String)> = Vec::new();
        let mut unknown = None;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let values: Vec<&str> = match &*name {
                STATE => value.split(',').collect(),
                CURSOR => vec![&value],
                name if is_known(name) => vec![value.trim()],
                _ => {
                    unknown.get_or_insert_with(|| name.to_string());
                    continue;
                }
            };
            for value in values.into_iter().filter(|value| !value.is_empty()) {
                let mut same = fields.iter().filter(|(known, _)| *known == *name);
                let is_new = match &*name {
                    STATE => same.clone().count() < STATES && same.all(|(_, known)| known != value),
                    _ => same.next().is_none(),
                };
                if is_new {
                    fields.push((name.to_string(), value.to_owned()));
                }
            }
        }
        Self(fields, unknown)
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Writes the query of the API, with local times taken in a zone.
    fn query(&self, zone: Zone) -> Result<String, Problem> {
        if let Some(unknown) = &self.1 {
            let known: Vec<_> = TEXTS.iter().chain(&TIMES).map(|(name, _)| *name).chain([STATE, CURSOR]).collect();
            let problem = Problem::bad_request(format!("there is no parameter `{unknown}`"));
            return Err(problem.hint(format!("the parameters are `{}`", known.join("`, `"))));
        }
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.0.iter().filter(|(name, _)| name != STATE) {
            if TIMES.iter().any(|(known, _)| known == name) {
                let at: When = value
                    .parse()
                    .map_err(|why| Problem::bad_request(format!("`{name}`: `{value}` is no time: {why}")))?;
                query.append_pair(name, &at.in_zone(zone).to_string());
            } else {
                query.append_pair(name, value);
            }
        }
        let states = self.values(STATE).collect::<Vec<_>>().join(",");
        if !states.is_empty() {
            query.append_pair(STATE, &states);
        }
        Ok(query.append_pair("limit", RUNS).finish())
    }

    /// Returns the address of a list with some of the fields.
    fn address(&self, mut has: impl FnMut(usize, &str) -> bool, cursor: Option<&str>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (index, (name, value)) in self.0.iter().enumerate() {
            if name != CURSOR && has(index, name) {
                query.append_pair(name, value);
            }
        }
        query.extend_pairs(cursor.map(|cursor| (CURSOR, cursor)));
        let query = query.finish();
        if query.is_empty() { ADDRESS.to_owned() } else { format!("{ADDRESS}?{query}") }
    }
}

/// Shows the fields that are set, each a link that removes it.
fn chips(filter: &Filter) -> Markup {
    let set = || filter.0.iter().enumerate().filter(|(_, (name, _))| name != CURSOR);
    html! {
        @if set().next().is_some() {
            ul.chips aria-label="What the list is limited to" {
                @for (index, (name, value)) in set() {
                    @let text = format!("{name}: {}", text::short(value));
                    li {
                        a.button href=(filter.address(|other, _| other != index, None)) aria-label={ (text) ", remove" } {
                            (text) span aria-hidden="true" { "\u{a0}✕" }
                        }
                    }
                }
            }
        }
    }
}

fn form(filter: &Filter, zone: Zone, is_open: bool) -> Markup {
    html! {
        details #filter data-keep open[is_open] {
            summary #filter-summary { "Filter" }
            form.fields action=(ADDRESS) {
                @for (name, label) in TEXTS {
                    p {
                        label for=(name) { (label) }
                        input id=(name) name=(name) value=[filter.value(name)] autocapitalize="none" autocomplete="off" spellcheck="false";
                    }
                }
                fieldset {
                    legend { "State" }
                    @for state in RunState::WORDS {
                        label {
                            input type="checkbox" name=(STATE) value=(state) checked[filter.values(STATE).any(|set| set == state)];
                            " " (text::outcome(state))
                        }
                    }
                }
                @for (name, label) in TIMES { (time_field(name, label, filter.value(name), zone)) }
                p { button.main { "Show" } }
            }
        }
    }
}

/// Shows a field for a time on the clock of a zone. A text that is no time stays as it is.
fn time_field(name: &str, label: &str, text: Option<&str>, zone: Zone) -> Markup {
    let local = |text: &str| {
        let at = text.parse::<When>().ok()?.in_zone(zone).in_zone(zone);
        Some(WallTime::parse(&at, zone.name())?.local())
    };
    let (kind, value) = match text.map(|text| local(text).ok_or(text)) {
        Some(Err(wrong)) => ("text", Some(wrong.to_owned())),
        Some(Ok(local)) => ("datetime-local", Some(local)),
        None => ("datetime-local", None),
    };
    html! {
        p {
            label for=(name) { (label) " (clock of " (zone.name()) ")" }
            input id=(name) name=(name) type=(kind) value=[value];
        }
    }
}

fn wrong(Problem { detail, hint, .. }: &Problem) -> Markup {
    html! {
        p.banner.bad role="alert" { (detail) @if let Some(hint) = hint { ". " (text::lines(hint)) } }
    }
}

fn list_of(Page { items, next }: &Page<RunRecord>, filter: &Filter, now: &WallTime) -> Markup {
    let under_way = items.iter().take_while(|run| run.next.is_some()).count();
    let (under_way, ended) = items.split_at(under_way);
    let is_first = filter.value(CURSOR).is_none();
    html! {
        @if !under_way.is_empty() { h2 { "Under way" } (lines(under_way, now)) }
        @if !ended.is_empty() { h2 { "Ended" } (lines(ended, now)) }
        @if items.is_empty() {
            p.soft { @if is_first { "There are no such runs." } @else { "There are no older runs." } }
        }
        div.actions {
            @if !is_first { a.button href=(filter.address(|_, _| true, None)) { "Newest" } }
            @if next.is_some() { a.button rel="next" href=(filter.address(|_, _| true, next.as_deref())) { "Older" } }
        }
    }
}

/// Shows runs, one entry each.
pub(super) fn lines(runs: &[RunRecord], now: &WallTime) -> Markup {
    html! { ul.rows { @for run in runs { li { (line(run, now)) } } } }
}

fn line(run: &RunRecord, now: &WallTime) -> Markup {
    let (name, zone) = (JobRef::from(run).name(), run.time_zone.as_deref().unwrap_or(now.zone()));
    let when = WallTime::parse(&run.occurrence, zone).map_or_else(|| run.occurrence.clone(), |at| at.write(now));
    html! {
        div.row {
            (text::time(&run.occurrence, zone, now))
            a.name href={ "/runs/" (run.run) } aria-label={ (name) " at " (when) } { (name) }
            @if let Some(label) = &run.label { span { (label) } }
            span.end.{ "state-" (run.state) } { (text::outcome(&run.state)) }
        }
        @for message in &run.messages { div.message { (text::message(message)) } }
        @if let Some(why) = run.reason.as_ref().or(run.note.as_ref()) { p.soft { (sentence(why, zone, now)) } }
        @if let Some(next) = &run.next { p.soft { (next_step(next, zone, now)) } }
    }
}

/// Shows which step of a run under way is next, and when it is due.
pub(super) fn next_step(next: &NextStepRecord, zone: &str, now: &WallTime) -> Markup {
    let NextStepRecord { step, of, due, owed, overdue } = next;
    html! {
        @if *of > 1 { "step " (step) " of " (of) } @else { "its message" }
        @if *owed { " is owed, due " } @else { " is due " }
        (text::time(due, zone, now))
        @if *overdue { ", more than a day late" }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::zones::zone;

    fn now() -> WallTime {
        WallTime::parse("2027-03-01T20:00:00+00:00", "Europe/London").unwrap()
    }

    fn run(change: &serde_json::Value) -> RunRecord {
        let mut run = json!({
            "run": "coop-door/north/close/2027-03-01T16:44:00Z", "plugin": "coop-door", "device": "north", "job": "close",
            "time_zone": "Europe/London", "occurrence": "2027-03-01T16:44:00Z", "state": "succeeded", "label": "Close the door",
            "messages": [{ "topic": "coop-door/north/set", "payload": "CLOSE" }],
        });
        run.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value(run).unwrap()
    }

    fn shown(items: Vec<RunRecord>, next: Option<&str>, query: &str) -> String {
        let page = Page { items, next: next.map(str::to_owned) };
        list_of(&page, &Filter::parse(query), &now()).into_string()
    }

    #[test]
    fn a_line_has_the_time_the_name_the_label_the_state_the_message_and_the_reason() {
        let page = shown(vec![run(&json!({ "reason": "the pump <b> was busy" }))], None, "");
        for part in [
            "<time datetime=\"2027-03-01T16:44:00+00:00\" data-zone=\"Europe/London\">16:44</time>",
            "href=\"/runs/coop-door/north/close/2027-03-01T16:44:00Z\" aria-label=\"coop-door/north/close at 16:44\"",
            "Close the door",
            "<span class=\"end state-succeeded\">● succeeded</span>",
            "coop-door/north/set ← CLOSE",
            "the pump &lt;b&gt; was busy",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }

    #[test]
    fn a_long_query_makes_no_long_page() {
        for query in [
            "state=".to_owned() + &"a,".repeat(30_000),
            (0..9_000).map(|n| format!("state=s{n}&")).collect(),
            "plugin=a&".repeat(7_000),
        ] {
            let filter = Filter::parse(&query);
            assert!(filter.0.len() <= STATES, "{}", filter.0.len());
            assert!(chips(&filter).into_string().len() < 20_000);
        }
        assert_eq!(Filter::parse("state=a,b,a&state=b&plugin=x&plugin=y").0.len(), 3);
    }

    #[test]
    fn texts_of_plugins_and_brokers_are_text() {
        let page = shown(
            vec![run(&json!({ "label": "<img onerror=x>", "note": "a\u{202e}b",
                              "messages": [{ "topic": "a/<b>", "payload": "\u{202e}\n" }] }))],
            None,
            "",
        );
        assert!(page.contains("&lt;img onerror=x&gt;") && page.contains("a/&lt;b&gt; ← \\u{202e}\\n"), "{page}");
        assert!(!page.contains('\u{202e}'), "{page}");
    }

    #[test]
    fn runs_under_way_come_first_with_their_next_step() {
        let next = json!({ "step": 2, "of": 3, "due": "2027-03-01T20:44:00Z", "owed": true, "overdue": false });
        let page = shown(vec![run(&json!({ "state": "running", "next": next })), run(&json!({}))], None, "");
        let (under_way, ended) = page.split_once("<h2>Ended</h2>").unwrap();
        assert!(under_way.contains("◐ running") && under_way.contains("step 2 of 3 is owed, due <time"), "{under_way}");
        assert!(ended.contains("● succeeded"), "{ended}");
    }

    #[test]
    fn older_runs_are_a_link_that_keeps_the_filter() {
        let page = shown(vec![run(&json!({}))], Some("c0ffee"), "state=failed,missed&plugin=coop-door&cursor=1");
        let newest = "/runs?state=failed&amp;state=missed&amp;plugin=coop-door";
        assert!(page.contains(&format!("href=\"{newest}&amp;cursor=c0ffee\"")), "{page}");
        assert!(page.contains(&format!("href=\"{newest}\"")), "{page}");
        assert!(shown(Vec::new(), None, "").contains("There are no such runs."));
    }

    #[test]
    fn a_filter_becomes_the_query_of_the_api() {
        let query = |text: &str| Filter::parse(text).query(zone("Europe/Berlin"));
        assert_eq!(
            query("plugin=coop-door&device=&state=failed&state=missed%2Cdenied&since=2027-03-01T06:30").unwrap(),
            "plugin=coop-door&since=2027-03-01T05%3A30%3A00Z&state=failed%2Cmissed%2Cdenied&limit=50"
        );
        let unknown = query("state=failed&outcome=failed").unwrap_err();
        assert_eq!(unknown.detail, "there is no parameter `outcome`");
        let wrong = query("until=tomorrow").unwrap_err();
        assert_eq!(wrong.status, 400);
        assert!(wrong.detail.starts_with("`until`: `tomorrow` is no time: write `2027-03-01T06:30:00Z`"), "{wrong:?}");
    }

    #[test]
    fn each_field_that_is_set_has_a_link_that_removes_it_and_stays_in_the_form() {
        let filter = Filter::parse("plugin=%3Cb%3E&state=failed&since=2027-03-01T06:30:00Z&until=x\"y");
        let chips = chips(&filter).into_string();
        assert!(chips.contains("aria-label=\"plugin: &lt;b&gt;, remove\""), "{chips}");
        assert!(
            chips.contains("href=\"/runs?plugin=%3Cb%3E&amp;since=2027-03-01T06%3A30%3A00Z&amp;until=x%22y\""),
            "{chips}"
        );
        let form = form(&filter, zone("Europe/Berlin"), false).into_string();
        for part in [
            "name=\"plugin\" value=\"&lt;b&gt;\"",
            "name=\"state\" value=\"failed\" checked>",
            "name=\"since\" type=\"datetime-local\" value=\"2027-03-01T07:30\"",
            "name=\"until\" type=\"text\" value=\"x&quot;y\"",
        ] {
            assert!(form.contains(part), "{part} is not in {form}");
        }
        assert_eq!(form.matches(" checked").count(), 1, "{form}");
    }
}
