//! One run: why it ended as it did, its messages, and what can be done about it.

use axum::extract::{Path, State};
use maud::{Markup, html};
use roost_scheduler::names::{Origin, RunId};

use super::{
    Failed, Html,
    actions::{self, JobRef},
    frame::{Current, frame},
    history::next_step,
    text::{self, WallTime},
    why,
};
use crate::{
    clock,
    http::{
        ApiState, Explanation, explain_id, job_record,
        runs::{RunRecord, find, parse_name},
    },
};

pub(super) async fn run(State(state): State<ApiState>, Path(name): Path<String>) -> Result<Html, Failed> {
    let id = parse_name(&name)?;
    let run = find(&state, &id).await?;
    let explanation = explain_id(&state, &id).await?;
    let has_job = job_record(&state, id.clone().into_job_name(), 0).await.is_ok();
    let mut buttons = why::remedies(&state, &explanation).await;
    buttons.extend(further(&run, &explanation, has_job));
    let page = content(&run, &id, (&explanation, &buttons), &WallTime::of(clock::now(), state.zone()));
    Ok(Html(frame("Run", Current::History, &page)))
}

/// Returns the buttons that are of use although nothing is wrong.
fn further(run: &RunRecord, explanation: &Explanation, has_job: bool) -> Vec<Markup> {
    let job = JobRef::from(run);
    let path = format!("/api/v1/jobs/{}/run", job.name());
    let remedies = &explanation.remedies;
    let abandons_it = remedies.iter().filter_map(|remedy| remedy.abandons()).any(|other| other.to_string() == run.run);
    let mut buttons = Vec::new();
    if run.next.is_some() && !abandons_it {
        buttons.push(actions::abandon(run, None));
    }
    if has_job && !remedies.iter().any(|remedy| remedy.path == path) {
        buttons.push(actions::run_now(&job));
    }
    buttons
}

fn content(run: &RunRecord, id: &RunId, (explanation, buttons): (&Explanation, &[Markup]), now: &WallTime) -> Markup {
    let zone = run.time_zone.as_deref().unwrap_or(now.zone());
    html! {
        h1 { (JobRef::from(run).name()) " at " (text::time(&run.occurrence, zone, now)) }
        p.soft { "As of " span data-now { (now.clock()) } " · times of the device’s clock, " (zone) }
        (why::answer(explanation, now))
        div.actions { @for button in buttons { (button) } }
        (facts(run, id, zone, now))
        (messages(run, zone, now))
    }
}

fn facts(run: &RunRecord, id: &RunId, zone: &str, now: &WallTime) -> Markup {
    let job = JobRef::from(run);
    let times = [("Started", &run.started), ("Ended", &run.ended)];
    html! {
        dl {
            dt { "Device" } dd { a href=(job.device_page()) { (job.device()) } }
            dt { "Job" } dd { a href=(job.page()) { (run.label.as_ref().unwrap_or(&run.job)) } }
            dt { "Made by" } dd { (made_by(id, zone)) }
            dt { "Due" } dd { (text::second(&run.occurrence, zone, now)) }
            @for (name, at) in times {
                @if let Some(at) = at { dt { (name) } dd { (text::second(at, zone, now)) } }
            }
            @if let Some(next) = &run.next { dt { "Next" } dd { (next_step(next, zone, now)) } }
            @if let Some(attempts) = run.attempts.filter(|attempts| *attempts > 0) { dt { "Attempts" } dd { (attempts) @if run.next.is_none() { " at its last message" } } }
            @if let Some(note) = &run.note { dt { "Note" } dd { (text::line(note)) } }
        }
    }
}

/// Writes what made a run.
fn made_by(id: &RunId, zone: &str) -> String {
    match id.origin {
        Origin::Trigger | Origin::Series(_) => "its trigger".to_owned(),
        Origin::Manual { .. } => "hand".to_owned(),
        Origin::Replay { at, .. } => format!("a replay, at {}", text::wall(at, zone).local().replace('T', " ")),
    }
}

fn messages(run: &RunRecord, zone: &str, now: &WallTime) -> Markup {
    let start = run.started.as_ref().or(run.next.as_ref().map(|next| &next.due));
    let start = start.and_then(|start| WallTime::parse(start, zone));
    let of = run.next.as_ref().map_or(run.messages.len(), |next| next.of);
    html! {
        @if !run.messages.is_empty() {
            h2 { "Messages" }
            @if run.next.is_none() && run.state != "succeeded" {
                p.soft { "It did not succeed: not all of these may have been sent." }
            }
            ol.rows {
                @for (index, message) in run.messages.iter().enumerate() {
                    @let (state, word) = progress(run, index);
                    li {
                        div.row {
                            @if let Some(start) = &start { (start.later(message.after_ms.into()).show(now)) }
                            span.end.{ "state-" (state) } { (word) }
                        }
                        div.message { (text::message(message)) }
                    }
                }
            }
            @if of > run.messages.len() { p.soft { "and " (of - run.messages.len()) " more" } }
        }
    }
}

/// Returns how far a message of a run is, as the state that it looks like and in words.
fn progress(run: &RunRecord, index: usize) -> (&'static str, &'static str) {
    match &run.next {
        Some(next) if index + 1 < next.step => ("succeeded", "● sent"),
        Some(next) if next.owed || run.started.is_some() && index + 1 > next.step => ("running", "◐ owed"),
        Some(next) if run.started.is_some() && index + 1 == next.step => ("running", "◐ being sent"),
        Some(_) => ("expected", "○ to be sent"),
        None if run.state == "succeeded" => ("succeeded", "● sent"),
        None => ("expected", ""),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> WallTime {
        WallTime::parse("2027-03-01T20:00:00+00:00", "Europe/London").unwrap()
    }

    /// Returns a run of three messages and its explanation.
    fn sample(change: &serde_json::Value) -> (RunRecord, Explanation) {
        let mut run = json!({
            "run": "coop-door/north/close/2027-03-01T16:44:00Z", "plugin": "coop-door", "device": "north", "job": "close",
            "time_zone": "Europe/London", "occurrence": "2027-03-01T16:44:00Z", "state": "running", "label": "Close <b>",
            "started": "2027-03-01T16:44:01.250Z",
            "messages": [{ "topic": "a/set", "payload": "ON" }, { "topic": "b/set", "payload": "\u{202e}", "after_ms": 60_000 },
                         { "topic": "a/set", "payload": "OFF", "after_ms": 600_000 }],
            "next": { "step": 2, "of": 12, "due": "2027-03-01T16:45:01Z", "owed": true, "overdue": false },
        });
        run.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let explanation = json!({
            "plugin": "coop-door", "device": "north", "job": "close", "verdict": run["state"], "time_zone": "Europe/London",
            "sentence": "it <i>", "notes": ["a note"],
        });
        (serde_json::from_value(run).unwrap(), serde_json::from_value(explanation).unwrap())
    }

    fn shown(change: &serde_json::Value) -> String {
        let (run, explanation) = sample(change);
        let buttons = further(&run, &explanation, true);
        content(&run, &run.run.parse().unwrap(), (&explanation, &buttons), &now()).into_string()
    }

    #[test]
    fn a_run_under_way_shows_what_it_has_sent_and_what_it_owes() {
        let page = shown(&json!({}));
        for part in [
            "it &lt;i&gt;",
            "<li>a note</li>",
            "Close &lt;b&gt;</a>",
            ">16:44:01</time>",
            "step 2 of 12 is owed",
            "and 9 more",
            "b/set ← \\u{202e}",
            "aria-label=\"Run coop-door/north/close now\"",
            "href=\"/jobs/coop-door/north/close\"",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        assert_eq!((page.matches("● sent").count(), page.matches("◐ owed").count()), (1, 2), "{page}");
        assert!(page.contains(">16:54</time>") && !page.contains('\u{202e}'), "{page}");
    }

    #[test]
    fn the_question_before_it_is_abandoned_names_what_would_not_be_sent() {
        let page = shown(&json!({}));
        let question = "data-confirm=\"Abandon coop-door/north/close/2027-03-01T16:44:00Z? It would never send:\n\
                        b/set ← \\u{202e}\na/set ← OFF\n9 more messages\"";
        assert!(page.contains(question), "{page}");
        let asked = shown(&json!({ "messages": [], "next": { "step": 1, "of": 1, "due": "2027-03-01T16:45:01Z",
                                                             "owed": false, "overdue": false } }));
        assert!(asked.contains("It would never send its messages."), "{asked}");
        let ended = shown(&json!({ "next": null, "state": "succeeded", "ended": "2027-03-01T16:54:01Z" }));
        assert!(!ended.contains("Abandon") && ended.matches("● sent").count() == 3, "{ended}");
    }

    #[test]
    fn a_run_that_did_not_succeed_may_not_have_sent_all() {
        let failed = shown(&json!({ "next": null, "state": "failed", "attempts": 3 }));
        assert!(failed.contains("not all of these may have been sent") && !failed.contains("● sent"), "{failed}");
        assert!(failed.contains("3 at its last message"), "{failed}");
    }

    #[test]
    fn the_request_that_made_a_run_is_named() {
        let made = |run: &str| made_by(&run.parse().unwrap(), "Europe/Berlin");
        assert_eq!(made("a/b/c/2027-03-01T06:30:00Z"), "its trigger");
        assert_eq!(made("a/b/c/2027-03-01T06:30:00Z/manual"), "hand");
        assert_eq!(made("a/b/c/2027-03-01T06:30:00Z/replay-2027-03-02T10:00:00Z"), "a replay, at 2027-03-02 11:00");
    }
}
