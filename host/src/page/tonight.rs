//! Tonight: what is wrong, what will be sent in the next hours, and what happened in the last ones.

use std::collections::{BTreeSet, HashSet};

use axum::extract::{Extension, State};
use maud::{Markup, html};
use roost_scheduler::time::Instant;

use super::{
    Failed, Html,
    actions::{self, JobRef},
    density::{HOUR_MS, Hours},
    devices::{search_field, with_fault},
    frame::{Current, frame},
    lists::{Lists, lists},
    pauses::rain_delay,
    refusals,
    sentence::sentence,
    shared::Shared,
    text::{self, WallTime},
    timeline::{self, Read, Whose},
};
use crate::{
    clock, describe,
    http::{
        ApiState, CollapsedRecord, DEVICES_PAUSED, FaultGroup, Faults, Faulty, LOGIN, Status, TimelineRecord, grouped,
        host_status, plugin_names,
    },
};

/// The period that is shown, from now on and back.
const AHEAD_MS: i64 = 36 * HOUR_MS;
const BACK_MS: i64 = 12 * HOUR_MS;
/// Entries that are read for each list: a run of several messages has one each.
const ENTRIES: usize = 120;
/// More jobs are counted by the hour instead of listed.
const LISTED_JOBS: usize = 1_000;
/// Reasons of faults that are shown.
const REASONS: usize = 20;
/// Lines of the list of what happened.
const PAST_LINES: usize = 20;

pub(super) async fn tonight(
    State(state): State<ApiState>,
    Extension(shared): Extension<Shared>,
) -> Result<Html, Failed> {
    shared.get(async move { page(&state).await }).await.map(Html)
}

async fn page(state: &ApiState) -> Result<Markup, Failed> {
    let now = clock::now();
    let (status, faults) = (host_status(state).await?, grouped(state).await?);
    let plugins = plugin_names(state).await?;
    let runs = if status.counts.jobs > LISTED_JOBS { many(state, now).await? } else { few(state, now).await? };
    let now = WallTime::of(now, state.zone());
    let page = html! {
        h1 { "Tonight" }
        (host(&status, &now))
        (host_faults(&status, &now))
        (fault_groups(&faults, &now))
        div.actions { (rain_delay(&plugins)) }
        (runs)
        @if state.has_login() { p { a.button href=(LOGIN) { "Sign out or see all sessions" } } }
    };
    Ok(frame("Tonight", Current::Tonight, &page))
}

/// Shows what will be sent, and what happened.
async fn few(state: &ApiState, now: Instant) -> Result<Markup, Failed> {
    let coming = lists(state, (None, None), (now, now.plus_ms(AHEAD_MS)), ENTRIES).await?;
    let past = lists(state, (None, None), (now.plus_ms(-BACK_MS), now), ENTRIES).await?;
    let period = (now.plus_ms(-BACK_MS), now.plus_ms(2 * BACK_MS));
    let picture = timeline::read(state, &Whose::default(), period).await?;
    let now = WallTime::of(now, state.zone());
    Ok(html! {
        (coming_list(&coming, &now))
        (repeated(&coming.repeated, &now))
        (timeline(&picture, &now))
        (past_list(&past, &now))
    })
}

/// Shows how many runs there are in each hour, and the way to each device.
async fn many(state: &ApiState, now: Instant) -> Result<Markup, Failed> {
    let hours = [BACK_MS, AHEAD_MS].map(|ms| u32::try_from(ms / HOUR_MS).unwrap_or_default());
    let hours = Hours::count(state, now, hours.into()).await?;
    let now = WallTime::of(now, state.zone());
    Ok(html! {
        form.find role="search" action="/devices" { (search_field("")) }
        (hours.show(&now))
        h2 { a href="/timeline" { "Timeline" } }
        p.soft { "It shows a page of the devices at a time, those at fault first." }
    })
}

/// Shows the broker and the clock.
fn host(status: &Status, now: &WallTime) -> Markup {
    let zone = &status.clock.zone;
    html! {
        p.soft {
            // Nothing is known of the broker while the host is away.
            span.link-state { @if status.link.up { "Connected" } @else { "Not connected to the broker" } " · " }
            span data-now { (now.clock()) } " in " (zone) " · times by each device's clock"
        }
    }
}

fn host_faults(status: &Status, now: &WallTime) -> Markup {
    let mut faults = Vec::new();
    if let Some(loading) = &status.not_ready {
        faults.push(loading.clone());
    }
    if !status.store.writes {
        faults.push("The database cannot be written: nothing new is begun until Roost is started again.".into());
    }
    html! {
        @for fault in faults { p.banner.bad { (fault) } }
        @if let Some(pause) = &status.pause {
            div.banner {
                p { "Everything is " (text::pause(pause, "all", now.zone(), now)) }
                div.actions { (actions::resume_all()) }
            }
        }
        @if status.paused.count > 0 {
            p.banner {
                (text::outcome("paused")) ": " (paused_names(status, now)) @if status.paused.count > status.paused.first.len() { ", …" }
            }
        }
    }
}

/// Names what is paused, each with the end and the reason of its pause.
fn paused_names(status: &Status, now: &WallTime) -> String {
    let paused = &status.paused;
    let names = paused.first.iter().enumerate().map(|(index, name)| {
        let pause = paused.pauses.get(index).map(|pause| text::pause(pause, &pause.by, now.zone(), now));
        let rest = pause.as_deref().and_then(|words| words.strip_prefix(&text::outcome("paused")));
        format!("{name}{}", rest.unwrap_or_default())
    });
    names.collect::<Vec<_>>().join(", ")
}

/// Shows the faults of plugins, devices and runs: of each reason one line, however many have it.
fn fault_groups(faults: &Faults, now: &WallTime) -> Markup {
    html! {
        @if !faults.groups.is_empty() {
            h2 { "What is wrong" }
            ul.rows { @for group in faults.groups.iter().take(REASONS) { li { (fault_group(group, now)) } } }
            @let more = faults.more + faults.groups.len().saturating_sub(REASONS);
            @if more > 0 { p { a.button href="/devices?fault=true" { "All devices at fault" } " for " (text::grouped(more)) " more reasons" } }
        }
    }
}

fn fault_group(group: &FaultGroup, now: &WallTime) -> Markup {
    let state = group.state.as_deref().unwrap_or("failed");
    html! {
        div.row {
            span.{ "state-" (state) } { (text::outcome(state)) @if group.count > 1 { ": " (text::grouped(group.count)) } }
            span { (sentence(&group.example, now.zone(), now)) }
        }
        div.row.soft {
            @if let Some(since) = &group.since { "since " (text::time(since, now.zone(), now)) }
            @for faulty in &group.first { (self::faulty(faulty)) }
            @if group.count > group.first.len() { "and " (text::grouped(group.count - group.first.len())) " more" }
        }
        @if let Some(kept) = group.kept { (refused(group, kept)) }
        @if group.devices > group.first.len() {
            div.actions { a.button href=(with_fault(&group.reason)) { "All " (text::grouped(group.devices)) " devices" } (pause_faulty(group)) }
        } @else if group.devices > 1 {
            div.actions { (pause_faulty(group)) }
        }
    }
}

/// Returns the button for all devices of a group, unless it has more than one request may pause.
fn pause_faulty(group: &FaultGroup) -> Markup {
    html! { @if group.devices <= DEVICES_PAUSED { (actions::pause_faulty(&group.reason, group.devices)) } }
}

/// Says what goes on where new versions or plans were refused, and leads to the settings of their plugins.
fn refused(group: &FaultGroup, kept: usize) -> Markup {
    let thing = if group.kind == "plan" { "plan" } else { "version" };
    let plugins: BTreeSet<&str> = group.first.iter().map(|faulty| faulty.plugin.as_str()).collect();
    html! {
        p { (refusals::goes_on(thing, group.count, group.count.saturating_sub(kept))) }
        div.actions { @for plugin in plugins { (refusals::settings(plugin)) } }
    }
}

/// Names what is at fault, with a link to it; of a job, to the explanation.
fn faulty(Faulty { plugin, device, job, at, .. }: &Faulty) -> Markup {
    let name =
        [Some(plugin), device.as_ref(), job.as_ref()].into_iter().flatten().cloned().collect::<Vec<_>>().join("/");
    let at = at.as_ref().map(|at| format!("?at={}", at.replace('+', "%2B"))).unwrap_or_default();
    html! {
        @if job.is_some() {
            a.why id={ "fault-" (name) } href={ "/why/" (name) (at) } aria-label={ "Why did " (name) " fail?" } { (name) }
        } @else if device.is_some() {
            a href={ "/devices/" (name) } { (name) }
        } @else {
            a href={ "/plugins/" (name) } { (name) }
        }
    }
}

fn coming_list(Lists { runs, is_cut, is_too_long, .. }: &Lists, now: &WallTime) -> Markup {
    if *is_too_long {
        return html! { p.soft { "There are too many jobs to list what will be sent: `roost timeline` lists those of one plugin or device." } };
    }
    // The buttons are at the next run of each job: skipping concerns that alone.
    let mut seen = HashSet::new();
    html! {
        h2 { "What will be sent" (span_of("next 36 hours")) }
        @if runs.is_empty() { p.soft { "Nothing, apart from what repeats." } }
        ul.rows {
            @for run in runs {
                @let is_next = seen.insert((&run[0].plugin, &run[0].device, &run[0].job));
                (expected(run, now, is_next))
            }
        }
        @if *is_cut { p.soft { "There is more than fits here." } }
    }
}

/// Shows an expected run with its messages.
fn expected(run: &[TimelineRecord], now: &WallTime, is_next: bool) -> Markup {
    let first = &run[0];
    let job = JobRef::from(first);
    let (state, word) = match (&first.paused, first.skipped) {
        (Some(what), _) => {
            let pause = first.pause.as_ref();
            let words = pause.map(|pause| text::pause(pause, "job", &first.time_zone, now));
            ("paused", words.unwrap_or_else(|| text::paused(what)))
        }
        (None, true) => ("skipped", "⊘ will be skipped".to_owned()),
        (None, false) if first.state == "running" => ("running", "◐ under way".to_owned()),
        (None, false) => ("expected", String::new()),
    };
    html! {
        li {
            div.row {
                (text::time(&first.time, &first.time_zone, now))
                a.name href=(job.device_page()) { (job.device()) }
                a href=(job.page()) { (label(first)) }
                @if state != "expected" { span.end.{ "state-" (state) } { (word) } }
            }
            @for (index, message) in run.iter().enumerate() { (self::message(message, now, index > 0)) }
            div.actions {
                @if is_next {
                    (actions::run_now(&job))
                    (actions::skip_and_pause(&job, first.paused.as_deref(), first.skipped))
                }
                (actions::why(first, now))
            }
        }
    }
}

/// Names the period that a part of the page is about, in its heading.
fn span_of(period: &str) -> Markup {
    html! { span.soft { " · " (period) } }
}

fn label(record: &TimelineRecord) -> &str {
    record.label.as_deref().unwrap_or(&record.job)
}

/// Shows one message of a run; of later ones, when it is sent.
fn message(record: &TimelineRecord, now: &WallTime, is_later: bool) -> Markup {
    let task = record.task.as_ref().map(|task| task.task.as_str());
    let content = text::content(record.message.as_ref(), task);
    html! {
        @if let Some(content) = content {
            div.message {
                @if is_later { "then " (text::time(&record.time, &record.time_zone, now)) " " }
                (content)
            }
        }
    }
}

/// Shows the jobs that are due often, one line each.
fn repeated(jobs: &[CollapsedRecord], now: &WallTime) -> Markup {
    html! {
        @if !jobs.is_empty() {
            h2 { "Again and again" (span_of("next 36 hours")) }
            ul.rows {
                @for job in jobs.iter().filter(|job| job.next.is_some()) {
                    @let name = JobRef::from(job);
                    li {
                        div.row {
                            (repeated_name(job))
                            span.end {
                                @if let Some(ms) = job.every_ms { (describe::period(ms)) ", " }
                                (text::grouped(job.count as usize)) @if job.more { "+" } " times"
                            }
                        }
                        @if let Some(next) = job.next_run.as_ref().or(job.next.as_ref()) {
                            div.soft.row { "next " (text::time(next, &job.time_zone, now)) @if let Some(pause) = &job.pause { span.end.state-paused { (text::pause(pause, "job", &job.time_zone, now)) } } }
                        }
                        // An id with `*` stands for several jobs.
                        @if !job.job.contains('*') {
                            div.actions { (actions::run_now(&name)) (actions::pause_or_resume(&name, job.pause.as_ref().map(|pause| pause.by.as_str()))) }
                        }
                    }
                }
            }
        }
    }
}

/// Names a job that is due often, with links; an id with `*` stands for several jobs.
fn repeated_name(CollapsedRecord { plugin, device, job, label, .. }: &CollapsedRecord) -> Markup {
    let text = label.as_deref().unwrap_or(job);
    html! {
        a.name href={ "/devices/" (plugin) "/" (device) } { (plugin) "/" (device) }
        @if job.contains('*') { span { (text) } } @else { a href={ "/jobs/" (plugin) "/" (device) "/" (job) } { (text) } }
    }
}

/// Shows the picture: the first lanes, those at fault before others.
fn timeline(picture: &Read, now: &WallTime) -> Markup {
    const SAME: &str = "The lists “What will be sent”, “Again and again” and “What happened” hold the same.";
    html! {
        @if !picture.view.lanes.is_empty() {
            h2 { a href="/timeline" { "Timeline" } (span_of("12 hours back, 24 ahead")) }
            (timeline::picture(&picture.view, SAME, now))
            @if picture.next.is_some() { p { a href="/timeline" { "Timeline of all devices" } } }
        }
    }
}

/// Shows what happened, the newest first.
fn past_list(Lists { runs, repeated, is_too_long, .. }: &Lists, now: &WallTime) -> Markup {
    let ended = runs.iter().rev().filter(|run| run[0].state != "expected").take(PAST_LINES);
    html! {
        h2 { "What happened" (span_of("last 12 hours")) }
        @if runs.is_empty() && repeated.is_empty() && !is_too_long { p.soft { "Nothing." } }
        ul.rows {
            @for run in ended {
                @let (first, job) = (&run[0], JobRef::from(&run[0]));
                li {
                    div.row {
                        (text::time(&first.time, &first.time_zone, now))
                        a.name href=(job.device_page()) { (job.device()) }
                        a href=(job.page()) { (label(first)) }
                        span.end.{ "state-" (first.state) } {
                            @match &first.run {
                                Some(run) => a href={ "/runs/" (run.run) } { (text::outcome(&first.state)) },
                                None => (text::outcome(&first.state)),
                            }
                        }
                    }
                    @if let Some(reason) = first.run.as_ref().and_then(|run| run.reason.as_ref()) { p.soft { (sentence(reason, &first.time_zone, now)) } }
                    div.actions { (actions::why(first, now)) }
                }
            }
            @for job in repeated {
                li {
                    div.row {
                        (repeated_name(job))
                        @for (state, count) in job.states.iter().filter(|(state, _)| *state != "expected") {
                            span.{ "state-" (state) } { (text::outcome(state)) " " (text::grouped(*count as usize)) " times" }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> WallTime {
        WallTime::parse("2027-03-01T15:00:00+00:00", "Europe/London").unwrap()
    }

    /// Returns an expected message of `coop-door/north/close`.
    fn entry(change: &serde_json::Value) -> TimelineRecord {
        let mut entry = json!({
            "time": "2027-03-01T16:44:00Z", "plugin": "coop-door", "device": "north", "job": "close",
            "time_zone": "Europe/London", "occurrence": "2027-03-01T16:44:00Z", "state": "expected", "step": 1,
            "message": { "topic": "coop-door/north/set", "payload": "CLOSE" },
        });
        entry.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value(entry).unwrap()
    }

    fn shown(entries: Vec<TimelineRecord>) -> String {
        let mut lists = Lists::default();
        entries.into_iter().for_each(|entry| lists.add(entry));
        coming_list(&lists, &now()).into_string()
    }

    #[test]
    fn texts_of_plugins_are_text() {
        let page = shown(vec![entry(&json!({
            "label": "<img src=x onerror=alert(1)>",
            "message": { "topic": "a\"><script>", "payload": "</div>\u{202e}" },
        }))]);
        assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;"), "{page}");
        assert!(!page.contains("<img") && !page.contains("<script") && !page.contains('\u{202e}'), "{page}");
    }

    #[test]
    fn the_messages_of_a_run_are_one_entry() {
        let later = json!({ "time": "2027-03-01T16:54:00Z", "step": 2,
            "message": { "topic": "coop-door/north/set", "payload": "OFF" } });
        let page = shown(vec![entry(&json!({})), entry(&later)]);
        assert_eq!(page.matches("<li>").count(), 1, "{page}");
        assert!(page.contains("then <time datetime=\"2027-03-01T16:54:00+00:00\""), "{page}");
    }

    #[test]
    fn only_the_next_run_of_a_job_has_buttons_and_no_id_is_there_twice() {
        let tomorrow = json!({ "time": "2027-03-02T16:45:00Z", "occurrence": "2027-03-02T16:45:00Z" });
        let page = shown(vec![entry(&json!({})), entry(&tomorrow)]);
        assert_eq!(page.matches("aria-label=\"Run coop-door/north/close now\"").count(), 1, "{page}");
        let ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "{ids:?}");
    }

    #[test]
    fn what_is_paused_can_be_resumed_and_what_is_skipped_can_be_undone() {
        let paused = shown(vec![entry(&json!({ "paused": "job" }))]);
        assert!(paused.contains("Resume coop-door/north/close") && !paused.contains("Skip the next run"), "{paused}");
        let with_device = shown(vec![entry(&json!({ "paused": "device" }))]);
        assert!(with_device.contains("◌ paused with its device"), "{with_device}");
        let skipped = shown(vec![entry(&json!({ "skipped": true }))]);
        assert!(skipped.contains("Do not skip the next run of coop-door/north/close"), "{skipped}");
    }

    #[test]
    fn a_job_that_is_due_often_has_its_buttons_and_several_in_one_line_have_none() {
        let shown = |job: &str, paused: Option<&str>| {
            let job = json!({
                "plugin": "greenhouse", "device": "tomatoes", "job": job, "time_zone": "Europe/London", "count": 91,
                "more": false, "states": {}, "first": "2027-03-01T15:01:00Z", "last": "2027-03-01T16:31:00Z",
                "next": "2027-03-01T15:01:00Z", "paused": paused, "pause": paused.map(|by| json!({ "by": by })),
            });
            repeated(&[serde_json::from_value(job).unwrap()], &now()).into_string()
        };
        let page = shown("mist", None);
        assert!(page.contains("Run greenhouse/tomatoes/mist now") && page.contains("Pause greenhouse/tomatoes/mist"));
        let page = shown("mist", Some("job"));
        assert!(page.contains("Resume greenhouse/tomatoes/mist") && page.contains("◌ paused"), "{page}");
        assert!(!shown("mist-*", None).contains("<button"));
        // It is paused: the next run is after that.
        let after = json!({
            "plugin": "greenhouse", "device": "tomatoes", "job": "mist", "time_zone": "Europe/London", "count": 9,
            "states": {}, "first": "2027-03-01T15:01:00Z", "last": "2027-03-01T16:31:00Z", "next": "2027-03-01T15:01:00Z",
            "next_run": "2027-03-02T08:01:00Z", "pause": { "by": "job", "until": "2027-03-02T08:00:00Z" },
        });
        let page = repeated(&[serde_json::from_value(after).unwrap()], &now()).into_string();
        assert!(page.contains("next <time datetime=\"2027-03-02T08:01:00") && !page.contains(">15:01<"), "{page}");
    }

    #[test]
    fn a_refused_plan_leads_to_its_device_and_the_settings_and_says_what_goes_on() {
        let shown = |kind: &str, device: Option<&str>, count: usize, kept: usize| {
            let first = json!([{ "plugin": "coop-door", "device": device, "href": "" }]);
            let group = json!({ "kind": kind, "reason": "no", "example": "<b>", "count": count, "devices": 0, "kept": kept,
                "first": first });
            fault_group(&serde_json::from_value(group).unwrap(), &now()).into_string()
        };
        let page = shown("plan", Some("north"), 1, 1);
        for part in [
            "&lt;b&gt;",
            "<a href=\"/devices/coop-door/north\">coop-door/north</a>",
            "Its earlier plan goes on.",
            "href=\"/plugins/coop-door/settings\">Settings of coop-door</a>",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        assert!(shown("plan", Some("north"), 3, 0).contains("They have no earlier plans: nothing is sent for them."));
        let page = shown("plugin", None, 1, 0);
        assert!(
            page.contains("It has no earlier version") && page.contains("<a href=\"/plugins/coop-door\">"),
            "{page}"
        );
    }

    #[test]
    fn a_list_that_would_be_too_long_says_so() {
        let lists = Lists { is_too_long: true, ..Lists::default() };
        let page = coming_list(&lists, &now()).into_string() + &past_list(&lists, &now()).into_string();
        assert!(page.contains("too many jobs") && !page.contains("Nothing"), "{page}");
    }

    #[test]
    fn nothing_runs_inline() {
        let page = shown(vec![entry(&json!({ "skipped": true }))]);
        let page =
            frame("Tonight", Current::Tonight, &html! { h1 { "Tonight" } (maud::PreEscaped(page)) }).into_string();
        assert!(!page.contains(" style=") && !page.contains(" on"), "{page}");
        assert!(
            page.matches("<script").count() == 1 && page.contains("<script type=\"module\" src=\"/assets/"),
            "{page}"
        );
        assert_eq!(page.matches("<h1").count(), 1, "{page}");
    }
}
