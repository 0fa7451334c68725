//! One job: when it is due and what it sends, its last runs, and what can be done about it.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use roost_scheduler::{trigger::parse_stored, zone::Zone};
use serde::Deserialize as _;

use super::{
    Failed, Html,
    actions::{self, JobRef},
    frame::{Current, frame},
    history,
    pauses::choice,
    tasks,
    text::{self, WallTime},
    why,
};
use crate::{
    clock, describe,
    http::{
        ApiState, JobRecord, Page, Query, job_record,
        runs::{RunRecord, list},
    },
    job_json::{MessageRecord, policy_from_json},
    zones,
};

/// Occurrences that are shown after the next one.
const FOLLOWING: u32 = 4;
/// Runs that are shown.
const RUNS: &str = "10";
/// Messages of an occurrence that are shown.
const MESSAGES: usize = 10;

pub(super) async fn job(
    State(state): State<ApiState>,
    Path(names): Path<(String, String, String)>,
) -> Result<Response, Failed> {
    let name = why::parse(&names)?;
    let (plugin, device, job) = &name;
    let of_job = history::of_job(plugin.as_str(), device.as_str(), job.as_str());
    let record = match job_record(&state, name.clone(), FOLLOWING).await {
        Ok(record) => record,
        Err(problem) if problem.status == StatusCode::NOT_FOUND.as_u16() => {
            let past = html! { p { a href=(of_job) { "Its past runs" } } };
            return Ok(Failed(problem, past).into_response());
        }
        Err(problem) => return Err(problem.into()),
    };
    let Query(query) = Query::parse(&format!("plugin={plugin}&device={device}&job={job}&limit={RUNS}"))?;
    let runs = list(&state, query).await?;
    let page = content(&record, &runs, &of_job, &WallTime::of(clock::now(), state.zone()));
    Ok(Html(frame(&JobRef::from(&record).name(), Current::None, &page)).into_response())
}

fn content(job: &JobRecord, runs: &Page<RunRecord>, all_runs: &str, now: &WallTime) -> Markup {
    let name = JobRef::from(job);
    html! {
        h1 { (name.name()) }
        @if let Some(label) = &job.label { p { (label) } }
        p.soft { "As of " span data-now { (now.clock()) } " in " (now.zone()) " · times of the device’s clock, " (job.time_zone) }
        @let by = job.pause.as_ref().map(|pause| pause.by.as_str());
        @if let Some(pause) = &job.pause {
            p.banner {
                (text::pause(pause, "job", &job.time_zone, now)) @if by == Some("job") { " (this job alone)" }
                ". What falls due in it is skipped."
            }
        }
        div.actions {
            (actions::run_now(&name))
            (actions::skip_and_pause(&name, by.filter(|by| job.paused.is_some() || *by == "job"), job.skip.is_some()))
            @match by {
                Some("all") => (actions::resume_all()),
                Some("device") => (actions::pause_device(&format!("{}/{}", job.plugin, job.device), true)),
                Some("plugin") => (actions::resume_plugin(&job.plugin)),
                _ => {}
            }
            (choice(&name.name(), &format!("/api/v1/jobs/{}", name.name()), &text::wall(now.instant(), &job.time_zone)))
        }
        (facts(job, now))
        (tasks::link(&job.plugin, &job.device))
        (coming(job, now))
        h2 { "Runs" }
        @if runs.items.is_empty() { p.soft { "It has not run yet." } }
        (history::lines(&runs.items, now))
        @if runs.next.is_some() { div.actions { a.button href=(all_runs) { "All its runs" } } }
    }
}

/// Returns the trigger of a job in words.
pub(super) fn trigger(job: &JobRecord) -> Option<String> {
    let zone = zones::find(&job.time_zone).unwrap_or(Zone::UTC);
    let trigger = parse_stored(&job.trigger, &mut zones::patterns()).ok()?;
    Some(describe::trigger(&trigger, zone))
}

fn facts(job: &JobRecord, now: &WallTime) -> Markup {
    let name = JobRef::from(job);
    let trigger = trigger(job);
    let policy = policy_from_json(Some(&job.policy.to_string())).map(|policy| describe::policy(&policy));
    html! {
        dl {
            dt { "Device" } dd { a href=(name.device_page()) { (name.device()) } ", clock of " (job.time_zone) }
            dt { "Due" }
            dd {
                @if let Some(words) = trigger { (words) " " }
                code { (job.trigger) }
                @if let Some(note) = &job.note { span.soft { " " (note) } }
            }
            dt { "Policy" }
            dd { @match policy { Ok(words) if !words.is_empty() => (words), _ => "the default" } }
            @if let Some(task) = &job.task { dt { "Asks" } dd { "its plugin, task " (task.task) " " code { (text::short(&task.args.to_string())) } } }
            @if let Some(made) = &job.made { dt { "Made" } dd { "by hand, " (text::time(made, &job.time_zone, now)) } }
        }
    }
}

/// Shows the next occurrences with their messages.
fn coming(job: &JobRecord, now: &WallTime) -> Markup {
    let steps = job.steps.as_array().map(Vec::as_slice).unwrap_or_default();
    let messages: Vec<MessageRecord> =
        steps.iter().take(MESSAGES).filter_map(|step| MessageRecord::deserialize(step).ok()).collect();
    let more = steps.len() - messages.len();
    html! {
        h2 { "Next" }
        @match (&job.due, &job.not_before) {
            (Some(_), _) => {},
            (None, Some(at)) => p.soft { "It is not due before " (text::time(at, &job.time_zone, now)) "." },
            (None, None) => p.soft { "It is never due again." },
        }
        @if let Some(run) = &job.next_run { p { "The next run that is not skipped is due " (text::time(run, &job.time_zone, now)) "." } }
        ol.rows {
            @for due in job.due.iter().chain(&job.following) {
                li { (occurrence(job, due, &messages, now)) @if more > 0 { p.soft { "and " (more) " more messages" } } }
            }
        }
    }
}

fn occurrence(job: &JobRecord, due: &str, messages: &[MessageRecord], now: &WallTime) -> Markup {
    let (name, zone) = (JobRef::from(job).name(), &job.time_zone);
    let at = WallTime::parse(due, zone);
    let when = at.as_ref().map_or_else(|| due.to_owned(), |at| at.write(now));
    // Also by a pause that is not the one to show: all before the next run that is not skipped.
    let next_run = job.next_run.as_ref().and_then(|run| WallTime::parse(run, zone));
    let is_before = at.as_ref().zip(next_run).is_some_and(|(at, run)| at.instant() < run.instant());
    let is_skipped = job.skip.as_deref() == Some(due) || is_before;
    let is_paused = at.as_ref().zip(job.pause.as_ref()).is_some_and(|(at, pause)| pause.covers(at.instant()));
    html! {
        div.row {
            (text::time(due, zone, now))
            span { (job.label.as_ref().unwrap_or(&job.job)) }
            @if is_paused {
                span.end.state-paused { (text::outcome("paused")) }
            } @else if is_skipped { span.end.state-skipped { "⊘ will be skipped" } }
            a.why.end id={ "why-" (due) } href={ "/why/" (name) "?at=" (due.replace('+', "%2B")) }
                aria-label={ "Why " (name) " at " (when) } { "Why?" }
        }
        @for message in messages {
            div.message {
                @if message.after_ms > 0 {
                    "then " @if let Some(at) = &at { (at.later(message.after_ms.into()).show(at)) " " }
                }
                (text::message(message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> WallTime {
        WallTime::parse("2027-03-01T20:00:00+00:00", "Europe/London").unwrap()
    }

    fn shown(change: &serde_json::Value) -> String {
        let mut job = json!({
            "plugin": "coop-door", "device": "north", "job": "close", "time_zone": "Europe/London",
            "label": "Close the <door>", "trigger": "sunset -20m", "due": "2027-03-02T17:25:00Z",
            "following": ["2027-03-03T17:27:00Z"], "policy": { "needs": "pump" },
            "steps": [{ "topic": "coop-door/north/set", "payload": "CLOSE" },
                      { "topic": "coop-door/north/set", "payload": "\u{202e}", "after_ms": 600_000 }],
        });
        job.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let runs = Page { items: Vec::new(), next: Some("1".into()) };
        content(&serde_json::from_value(job).unwrap(), &runs, "/runs?x", &now()).into_string()
    }

    #[test]
    fn a_job_is_shown_in_words_with_its_next_occurrences_and_their_messages() {
        let page = shown(&json!({}));
        for part in [
            "<p>Close the &lt;door&gt;</p>",
            "20 minutes before sunset <code>sunset -20m</code>",
            "needs `pump`",
            "<time datetime=\"2027-03-02T17:25:00+00:00\" data-zone=\"Europe/London\">17:25</time>",
            "then <time datetime=\"2027-03-03T17:37:00+00:00\"",
            "coop-door/north/set ← \\u{202e}",
            "aria-label=\"Run coop-door/north/close now\"",
            "data-undo-method=\"DELETE\" data-undo-path=\"/api/v1/jobs/coop-door/north/close/skip\"",
            "href=\"/devices/coop-door/north\"",
            "href=\"/runs?x\"",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        let limited = shown(&json!({ "trigger": "cron 0 6 * * * on MON-FRI in MAY-SEP except holidays" }));
        let words =
            "every day at 06:00, on Monday to Friday, within May to September, except the days of `holidays` <code>";
        assert!(limited.contains(words), "{limited}");
        assert!(page.contains("It has not run yet.") && !page.contains('\u{202e}'), "{page}");
    }

    #[test]
    fn what_is_paused_or_skipped_can_be_undone() {
        let pause = json!({ "by": "plugin", "until": "2027-03-03T08:00:00Z" });
        let paused = shown(&json!({ "paused": "plugin", "pause": pause, "next_run": "2027-03-03T17:27:00Z" }));
        assert!(
            paused.contains("The next run that is not skipped is due <time datetime=\"2027-03-03T17:27:00"),
            "{paused}"
        );
        // Of its two next runs, the second is after the pause.
        assert_eq!(paused.matches("<span class=\"end state-paused\">◌ paused</span>").count(), 1, "{paused}");
        assert!(
            paused.contains("◌ paused with its plugin until 08:00 Wednesday. What falls due in it is skipped.")
                && paused.contains("Resume coop-door")
                && !paused.contains("Skip the next"),
            "{paused}"
        );
        let later = json!({ "by": "plugin", "from": "2027-03-08T08:00:00Z" });
        let by_another = shown(&json!({ "pause": later, "next_run": "2027-03-03T17:27:00Z" }));
        assert_eq!(by_another.matches("⊘ will be skipped").count(), 1, "{by_another}");
        let skipped = shown(&json!({ "skip": "2027-03-02T17:25:00Z" }));
        assert_eq!(skipped.matches("⊘ will be skipped").count(), 1, "{skipped}");
        assert!(skipped.contains("Do not skip the next run of coop-door/north/close"), "{skipped}");
    }

    #[test]
    fn a_job_that_is_never_due_again_says_so() {
        let over = shown(&json!({ "due": null, "following": [], "trigger": "at 2027-03-01T06:30:00Z" }));
        assert!(over.contains("never due again") && over.contains("once, at 2027-03-01 06:30"), "{over}");
        let polar = shown(&json!({ "due": null, "following": [], "not_before": "2027-05-01T00:00:00Z" }));
        assert!(polar.contains("It is not due before <time"), "{polar}");
    }
}
