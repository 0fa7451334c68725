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
        buttons.push(actions::abandon(run));
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
        (why::answer(explanation))
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
            @if let Some(attempts) = run.attempts { dt { "Attempts" } dd { (attempts) " at its last message" } }
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
