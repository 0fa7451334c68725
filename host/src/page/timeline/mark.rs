//! A run in its lane: a mark of the shape of its state, and a bar if it has several messages.

use maud::{Markup, html};
use roost_scheduler::{names::RunId, time::Instant};

use super::scale::{Scale, instant};
use crate::{
    http::TimelineRecord,
    page::{
        actions::JobRef,
        text::{self, WallTime},
    },
};

/// The height of a row.
pub(super) const ROW: u32 = 28;
const MIDDLE: u32 = ROW / 2;

/// The shapes, by the id that they are drawn with, and their names in the legend.
pub(super) const SHAPES: [(&str, &str); 7] = [
    ("done", "done"),
    ("wrong", "failed"),
    ("ahead", "expected"),
    ("under-way", "under way"),
    ("off", "skipped"),
    ("paused", "paused"),
    ("missed", "missed"),
];

/// Returns the shape of a state.
pub(super) fn shape(state: &str) -> &'static str {
    match state {
        "succeeded" => "done",
        "failed" | "denied" => "wrong",
        "missed" => "missed",
        "skipped" | "cancelled" => "off",
        "paused" => "paused",
        "running" => "under-way",
        _ => "ahead",
    }
}

/// Defines the shapes, each around its middle, and the hatching of what is owed.
pub(super) fn shapes() -> Markup {
    html! {
        svg width="0" height="0" aria-hidden="true" {
            defs {
                g #mark-done { circle r="5.5" {} }
                g #mark-wrong { path.halo d="M-4.5-4.5 4.5 4.5M4.5-4.5-4.5 4.5" {} path d="M-4.5-4.5 4.5 4.5M4.5-4.5-4.5 4.5" {} }
                g #mark-ahead { circle r="4.75" {} }
                g #mark-under-way { circle r="4.75" {} path d="M0-4.75a4.75 4.75 0 0 1 0 9.5z" {} }
                g #mark-off { circle r="5" {} path d="M-3.5 3.5 3.5-3.5" {} }
                g #mark-paused { circle r="5" stroke-dasharray="2 1.93" {} }
                g #mark-missed { circle r="7" {} text y="4.5" text-anchor="middle" { "?" } }
                pattern #owed width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    rect width="6" height="6" {}
                    path d="M1.5 0v6" {}
                }
            }
        }
    }
}

/// Where the parts of a run are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Drawn<'a> {
    pub(super) state: &'a str,
    /// When it started or will start; if it did not, its occurrence.
    pub(super) at: Instant,
    /// From its occurrence to its start: the jitter, or the wait for a resource.
    wait: Option<(Instant, Instant)>,
    /// From its first message to the last one that was sent.
    sent: Option<(Instant, Instant)>,
    /// From now to the due time of its last owed step.
    owed: Option<(Instant, Instant)>,
    /// From its first message to its last one, if it has not begun.
    ahead: Option<(Instant, Instant)>,
}

/// Finds where the parts of a run are. Returns `None` if its times are not known.
pub(super) fn drawn(run: &[TimelineRecord], now: Instant) -> Option<Drawn<'_>> {
    let first = run.first()?;
    let record = run.iter().find_map(|one| one.run.as_ref());
    let state = match (record, &first.paused) {
        (Some(record), _) => record.state.as_str(),
        (None, Some(_)) => "paused",
        (None, None) if first.skipped => "skipped",
        (None, None) => first.state.as_str(),
    };
    let time = |text: Option<&String>| text.and_then(|text| instant(text));
    let occurrence = instant(&first.occurrence)?;
    let is_of_trigger =
        record.and_then(|record| record.run.parse::<RunId>().ok()).is_none_or(|id| id.origin.is_trigger());
    let (started, ended) =
        (time(record.and_then(|one| one.started.as_ref())), time(record.and_then(|one| one.ended.as_ref())));
    let messages =
        || run.iter().filter(|one| one.step.is_some() || one.task.is_some()).filter_map(|one| instant(&one.time));
    let due = time(record.and_then(|record| record.next.as_ref()).map(|next| &next.due));
    let last = messages().chain(due).max();
    let at = started.or_else(|| messages().min()).unwrap_or(occurrence);
    let stretch = |from: Instant, to: Option<Instant>| to.filter(|to| *to > from).map(|to| (from, to));
    let is_running = state == "running";
    let (sent, owed, ahead) = match started {
        Some(started) if is_running => (stretch(started, Some(now)), stretch(now.max(started), last), None),
        Some(started) => (stretch(started, ended), None, None),
        None => (None, None, stretch(at, last)),
    };
    let waits_until = if started.is_none() && is_running { now.max(at) } else { at };
    let wait = stretch(occurrence, Some(waits_until)).filter(|_| is_of_trigger);
    Some(Drawn { state, at, wait, sent, owed, ahead })
}

/// Draws a run, with a link to its explanation. The lists have the same links for the keyboard.
pub(super) fn mark(run: &[TimelineRecord], scale: Scale, now: &WallTime) -> Option<Markup> {
    let drawn = drawn(run, now.instant())?;
    let Drawn { state, at, wait, sent, owed, ahead } = &drawn;
    let first = &run[0];
    let bar = |class: &'static str, part: &Option<(Instant, Instant)>| {
        let part = part.and_then(|part| scale.clip(part));
        html! { @if let Some(part) = part { rect.{ "bar " (class) } x=(scale.x(part.0)) width=(scale.width(part)) y=(MIDDLE - 5) height="10" rx="3" {} } }
    };
    let (bars, line) = ([("sent", sent), ("owed", owed), ("planned", ahead)], wait.and_then(|part| scale.clip(part)));
    let is_shown = scale.has(*at)
        || line.is_some()
        || bars.iter().any(|(_, part)| part.is_some_and(|part| scale.clip(part).is_some()));
    let name = JobRef::from(first).name();
    let label = first.label.as_deref().unwrap_or(&first.job);
    let when =
        WallTime::parse(&first.time, &first.time_zone).map_or_else(|| first.time.clone(), |time| time.write(now));
    is_shown.then(|| html! {
        a.{ "why mark " (shape(state)) } tabindex="-1" href={ "/why/" (name) "?at=" (first.occurrence.replace('+', "%2B")) } {
            title { (text::line(label)) ", " (when) ", " (text::outcome(state)) }
            @if let Some((from, to)) = line { line.wait x1=(scale.x(from)) x2=(scale.x(to)) y1=(MIDDLE) y2=(MIDDLE) {} }
            @for (class, part) in bars { (bar(class, part)) }
            @if scale.has(*at) {
                // A finger needs more than the shape.
                svg x=(scale.x(*at)) overflow="visible" { rect.hit x="-12" width="24" height=(ROW) {} }
                use href={ "#mark-" (shape(state)) } x=(scale.x(*at)) y=(MIDDLE) {}
            }
        }
    })
}
