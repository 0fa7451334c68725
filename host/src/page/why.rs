//! Why: the explanation of one run, as a page and in the dialog of other pages.

use axum::extract::{Path, Query, State};
use maud::{Markup, html};
use roost_scheduler::names::{DeviceName, JobId, JobName, PluginName};
use serde::Deserialize;

use super::{
    Failed, Html, actions,
    frame::{Current, frame},
    text,
};
use crate::{
    http::{ApiState, Explanation, Problem, explain_run},
    when::When,
};

#[derive(Deserialize)]
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
    Ok(Html(frame(&title(&explanation), Current::None, &content(&explanation))))
}

fn parse((plugin, device, job): &(String, String, String)) -> Result<JobName, Problem> {
    let wrong = |error: &dyn std::fmt::Display| Problem::not_found(error.to_string());
    Ok((
        PluginName::parse_owner(plugin).map_err(|error| wrong(&error))?,
        DeviceName::parse(device).map_err(|error| wrong(&error))?,
        JobId::parse(job).map_err(|error| wrong(&error))?,
    ))
}

fn title(Explanation { plugin, device, job, .. }: &Explanation) -> String {
    format!("Why {plugin}/{device}/{job}?")
}

fn content(explanation: &Explanation) -> Markup {
    let Explanation { sentence, notes, remedies, verdict, .. } = explanation;
    html! {
        h1 { (title(explanation)) }
        p.{ "state-" (verdict) } { (text::outcome(verdict)) }
        p { (sentence) }
        @if !notes.is_empty() {
            ul.notes { @for note in notes { li { (text::lines(note)) } } }
        }
        @if !remedies.is_empty() {
            div.actions { @for remedy in remedies { (actions::remedy(remedy)) } }
        }
    }
}
