//! What the picture shows, as a list.

use maud::{Markup, html};

use super::{
    lane::{Lane, often},
    mark::drawn,
};
use crate::{
    http::TimelineRecord,
    page::{
        actions::{self, JobRef},
        sentence::sentence,
        text::{self, WallTime},
    },
};

/// Shows the runs of all lanes in the order of time, and before them the jobs that are due often.
pub(super) fn list(lanes: &[Lane], now: &WallTime) -> Markup {
    let mut runs: Vec<_> =
        lanes.iter().flat_map(|lane| &lane.runs).filter_map(|run| Some((drawn(run, now.instant())?, run))).collect();
    runs.sort_by_key(|(drawn, _)| drawn.at);
    let repeated = || lanes.iter().flat_map(|lane| &lane.repeated);
    html! {
        @if runs.is_empty() && repeated().next().is_none() { p.soft { "Nothing." } }
        ul.rows {
            @for job in repeated() {
                li { div.row { span.name { (job.plugin) "/" (job.device) } span { (often(job)) } } }
            }
            @for (drawn, run) in &runs { (self::run(run, drawn.state, now)) }
        }
    }
}

fn run(run: &[TimelineRecord], state: &str, now: &WallTime) -> Markup {
    let (first, job) = (&run[0], JobRef::from(&run[0]));
    let messages = run.iter().filter(|one| one.step.is_some()).count();
    let reason = run.iter().find_map(|one| one.run.as_ref()).and_then(|run| run.reason.as_ref());
    html! {
        li {
            div.row {
                (text::time(&first.time, &first.time_zone, now))
                span.name { (job.device()) }
                span { (text::line(first.label.as_deref().unwrap_or(&first.job))) }
                @if let Some(last) = run.last().filter(|_| messages > 1) {
                    span.soft { (messages) " messages until " (text::time(&last.time, &last.time_zone, now)) }
                }
                span.end.{ "state-" (state) } { (text::outcome(state)) }
            }
            @if let Some(reason) = reason { p.soft { (sentence(reason, &first.time_zone, now)) } }
            div.actions { (actions::why(first, now)) }
        }
    }
}
