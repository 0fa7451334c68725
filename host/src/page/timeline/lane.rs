//! A device's lane: its runs in one row, and below it a row for each job that is due often.

use std::collections::BTreeSet;

use maud::{Markup, html};
use roost_scheduler::{time::Location, trigger::Band, zone::Zone};

use super::{
    bands::sky,
    mark::{ROW, mark, shape},
    scale::Scale,
    ticks::Axis,
};
use crate::{
    describe,
    http::{COLLAPSED_BUCKETS as BUCKETS, CollapsedRecord, DeviceRecord, Spread, TimelineRecord},
    page::text::{self, WallTime},
    zones,
};

/// Rows of jobs that are due often; the others are only counted.
const REPEATED_ROWS: usize = 3;

/// A device and what it does in the period.
pub(in super::super) struct Lane {
    pub(in super::super) plugin: String,
    pub(in super::super) device: String,
    pub(in super::super) zone: Zone,
    pub(in super::super) location: Option<Location>,
    /// How light it is there, if its location is known.
    pub(in super::super) bands: Vec<Band>,
    pub(in super::super) is_faulty: bool,
    pub(in super::super) runs: Vec<Vec<TimelineRecord>>,
    pub(in super::super) repeated: Vec<CollapsedRecord>,
}

impl Lane {
    /// Returns the lane of a device, with nothing in it yet.
    pub(super) fn of(device: &DeviceRecord, is_faulty: bool, host: Zone) -> Self {
        let zone = zones::find(&device.time_zone).unwrap_or(host);
        let place = device.latitude.zip(device.longitude);
        let location = place.and_then(|(latitude, longitude)| Location::new(latitude, longitude));
        Self { location, is_faulty, ..Self::gone(&device.plugin, &device.device, zone) }
    }

    /// Returns the lane of a device of which only runs are known.
    pub(super) fn gone(plugin: &str, device: &str, zone: Zone) -> Self {
        Self {
            plugin: plugin.to_owned(),
            device: device.to_owned(),
            zone,
            location: None,
            bands: Vec::new(),
            is_faulty: false,
            runs: Vec::new(),
            repeated: Vec::new(),
        }
    }
}

/// What the lanes of a picture have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common<'p> {
    pub(super) scale: Scale,
    pub(super) axis: &'p Axis,
    pub(super) now: &'p WallTime,
    /// Whether they are at one place, so that its light is drawn once.
    pub(super) is_one_place: bool,
}

/// Draws what is behind a lane: the light at a place, the hours, and the present.
pub(super) fn back(bands: &[Band], axis: &Axis, scale: Scale, now: &WallTime) -> Markup {
    let at = now.instant();
    html! {
        (sky(bands, scale))
        (axis.lines())
        @if scale.has(at) { line.now x1=(scale.x(at)) x2=(scale.x(at)) y2="100%" {} }
    }
}

/// Shows a lane: a link with its name, a row of marks, and a row for each job that is due often.
pub(super) fn lane(lane: &Lane, Common { scale, axis, now, is_one_place }: Common<'_>) -> Markup {
    let Lane { plugin, device, zone, bands, is_faulty, runs, repeated, .. } = lane;
    let name = if plugin == device { device.clone() } else { format!("{plugin}/{device}") };
    let own_axis = (*zone != axis.zone).then(|| Axis::new(scale, *zone));
    html! {
        li {
            @if own_axis.is_some() || !is_one_place {
                svg.back width="100%" height="100%" aria-hidden="true" {
                    (back(if is_one_place { &[] } else { bands }, own_axis.as_ref().unwrap_or(axis), scale, now))
                }
            }
            a.label href={ "/devices/" (plugin) "/" (device) } {
                span { (name) }
                @if *is_faulty { span.state-failed { "✕ at fault" } }
                @if own_axis.is_some() { span.soft { (zone.name()) } }
            }
            @if !runs.is_empty() || repeated.is_empty() {
                svg.row-of-marks width="100%" height=(ROW) aria-hidden="true" {
                    @for run in runs { @if let Some(mark) = mark(run, scale, now) { (mark) } }
                }
            }
            @for job in repeated.iter().take(REPEATED_ROWS) { (strip(job)) }
            @if repeated.len() > REPEATED_ROWS { p.often { "and " (repeated.len() - REPEATED_ROWS) " more jobs that are due often" } }
            @if let Some(axis) = &own_axis {
                svg.axis width="100%" height="28" aria-hidden="true" { (axis.day_labels(11)) (axis.hour_labels(24)) }
            }
        }
    }
}

/// Draws a job that is due often as one band, in the colours of what became of its runs, and says how often.
fn strip(job: &CollapsedRecord) -> Markup {
    let expected = if job.paused.is_some() { "paused" } else { "ahead" };
    let of_shape = |name: &str| {
        let shape = |state: &str| if state == "expected" { expected } else { shape(state) };
        job.spread.iter().filter(move |(state, _)| shape(state) == name).map(|(_, spread)| spread).collect::<Vec<_>>()
    };
    html! {
        p.often { (often(job)) }
        svg.strip width="100%" height="10" viewBox={ "0 0 " (BUCKETS) " 10" } preserveAspectRatio="none" aria-hidden="true" {
            // Faults are drawn last, and not less than two buckets wide: one of thousands is seen.
            @for (shape, least) in [("ahead", 1), ("paused", 1), ("off", 1), ("done", 1), ("under-way", 1), ("missed", 2), ("wrong", 2)] {
                @let cells = cells(&of_shape(shape), least);
                @if !cells.is_empty() { path.band.(shape) d=(cells) {} }
            }
        }
    }
}

/// Draws the buckets with runs, those beside one another as one.
fn cells(spreads: &[&Spread], least: usize) -> String {
    let buckets: BTreeSet<usize> = spreads.iter().flat_map(|spread| spread.iter()).map(|(bucket, _)| bucket).collect();
    let mut stretches: Vec<(usize, usize)> = Vec::new();
    for bucket in buckets {
        match stretches.last_mut() {
            // A gap of one bucket is less than an eye sees.
            Some((_, end)) if bucket <= *end + 1 => *end = bucket + 1,
            _ => stretches.push((bucket, bucket + 1)),
        }
    }
    let path = stretches.iter().map(|(start, end)| {
        let width = (end - start).max(least);
        format!("M{start} 1.5h{width}v7h-{width}z")
    });
    path.collect()
}

/// Says how often a job is due: `Mist: every minute, 1,440 times`.
pub(super) fn often(job: &CollapsedRecord) -> String {
    let every = job.every_ms.map(|ms| describe::period(ms) + ", ").unwrap_or_default();
    let more = if job.more { "+" } else { "" };
    let name = text::line(job.label.as_deref().unwrap_or(&job.job));
    let faults = job.states.iter().filter(|(state, _)| !matches!(state.as_str(), "expected" | "succeeded" | "running"));
    let faults: String = faults.map(|(state, count)| format!(", {} {state}", text::grouped(*count as usize))).collect();
    let paused = job.paused.as_ref().map(|what| format!(", {}", text::paused(what))).unwrap_or_default();
    format!("{name}: {every}{}{more} times{faults}{paused}", text::grouped(job.count as usize))
}
