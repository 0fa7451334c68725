//! Why: the explanation of one run, as a page and in the dialog of other pages.

use axum::extract::{Path, State};
use maud::{Markup, html};
use roost_scheduler::names::{DeviceName, JobId, JobName, PluginName};
use serde::Deserialize;

use super::{
    Failed, Html,
    actions::{self, JobRef},
    frame::{Current, frame},
    sentence::{sentence, sentences},
    text::{self, WallTime},
};
use crate::{
    clock,
    http::{ApiState, Explanation, Problem, Query, explain_run, runs::find},
    when::When,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WhyQuery {
    /// The time that is asked about, in RFC 3339.
    at: Option<String>,
}

pub(super) async fn why(
    State(state): State<ApiState>,
    Path(names): Path<(String, String, String)>,
    Query(WhyQuery { at }): Query<WhyQuery>,
) -> Result<Html, Failed> {
    let name = parse(&names)?;
    let at = at.map(|at| at.parse::<When>()).transpose().map_err(|why| Problem::bad_request(format!("`at`: {why}")))?;
    let explanation = explain_run(&state, &name, at.as_ref()).await?;
    let remedies = remedies(&state, &explanation).await;
    let page = content(&explanation, &remedies, &WallTime::of(clock::now(), state.zone()));
    Ok(Html(frame(&format!("Why {}?", JobRef::from(&explanation).name()), Current::None, &page)))
}

/// Parses the names of a job.
pub(super) fn parse((plugin, device, job): &(String, String, String)) -> Result<JobName, Problem> {
    let wrong = |error: &dyn std::fmt::Display| Problem::not_found(error.to_string());
    Ok((
        PluginName::parse_owner(plugin).map_err(|error| wrong(&error))?,
        DeviceName::parse(device).map_err(|error| wrong(&error))?,
        JobId::parse(job).map_err(|error| wrong(&error))?,
    ))
}

/// Returns the buttons for the remedies of an explanation.
pub(super) async fn remedies(state: &ApiState, explanation: &Explanation) -> Vec<Markup> {
    let mut buttons = Vec::new();
    for remedy in &explanation.remedies {
        match remedy.abandons() {
            // It may have ended meanwhile.
            Some(run) => {
                let is_own = explanation.run.as_ref().is_some_and(|own| own.run == run.to_string());
                let text = Some(remedy.label.as_str()).filter(|_| !is_own);
                buttons.extend(find(state, &run).await.ok().map(|run| actions::abandon(&run, text)));
            }
            None => buttons.push(actions::remedy(remedy)),
        }
    }
    buttons
}

fn content(explanation: &Explanation, remedies: &[Markup], now: &WallTime) -> Markup {
    let job = JobRef::from(explanation);
    html! {
        h1 { "Why " a href=(job.page()) { (job.name()) } "?" }
        (answer(explanation, now))
        @if let Some(run) = &explanation.run { p { a href={ "/runs/" (run.run) } { "All about this run" } } }
        @if !remedies.is_empty() { div.actions { @for remedy in remedies { (remedy) } } }
    }
}

/// Shows the verdict, the sentence and the notes of an explanation.
pub(super) fn answer(Explanation { sentence, notes, verdict, time_zone, .. }: &Explanation, now: &WallTime) -> Markup {
    html! {
        p.{ "state-" (verdict) } { (text::outcome(verdict)) }
        p { (self::sentence(sentence, time_zone, now)) }
        @if !notes.is_empty() {
            ul.notes { @for note in notes { li { (sentences(note, time_zone, now)) } } }
        }
    }
}
