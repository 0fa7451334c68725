//! A device's lane: its runs in one row, and below it a row for each job that is due often.

use maud::{Markup, html};
use roost_scheduler::{
    time::{Instant, Location},
    trigger::Band,
    zone::Zone,
};

use super::{
    bands::sky,
    mark::{ROW, mark},
    scale::{Scale, instant},
    ticks::Axis,
};
use crate::{
    http::{CollapsedRecord, DeviceRecord, TimelineRecord},
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

/// What a lane does not share with the others, and thus shows itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    pub(super) sky: bool,
    pub(super) axis: bool,
}

/// Shows a lane: a link with its name, a row of marks, and a row for each job that is due often.
pub(super) fn lane(lane: &Lane, own: Own, scale: Scale, now: &WallTime) -> Markup {
    let Lane { plugin, device, zone, bands, is_faulty, runs, repeated, .. } = lane;
    let name = if plugin == device { device.clone() } else { format!("{plugin}/{device}") };
    let axis = own.axis.then(|| Axis::new(scale, *zone));
    html! {
        li {
            @if own.sky || own.axis {
                svg.back width="100%" height="100%" aria-hidden="true" {
                    @if own.sky { (sky(bands, scale)) }
                    @if let Some(axis) = &axis { (axis.lines()) }
                }
            }
            a.label href={ "/devices/" (plugin) "/" (device) } {
                span { (name) }
                @if *is_faulty { span.state-failed { "✕ at fault" } }
                @if own.axis { span.soft { (zone.name()) } }
            }
            @if !runs.is_empty() || repeated.is_empty() {
                svg.row-of-marks width="100%" height=(ROW) aria-hidden="true" {
                    @for run in runs { @if let Some(mark) = mark(run, scale, now) { (mark) } }
                }
            }
            @for job in repeated.iter().take(REPEATED_ROWS) { (strip(job, scale, now.instant())) }
            @if repeated.len() > REPEATED_ROWS { p.often { "and " (repeated.len() - REPEATED_ROWS) " more jobs that are due often" } }
            @if let Some(axis) = &axis {
                svg.axis width="100%" height="28" aria-hidden="true" { (axis.day_labels(11)) (axis.hour_labels(24)) }
            }
        }
    }
}

/// Draws a job that is due often as one band, and says how often.
fn strip(job: &CollapsedRecord, scale: Scale, now: Instant) -> Markup {
    let (Some(first), Some(last)) = (instant(&job.first), instant(&job.last)) else { return html! {} };
    let next = job.next.as_deref().and_then(instant);
    let is_past = job.states.keys().any(|state| state != "expected");
    let past = is_past.then(|| (first, next.map_or(last, |next| next.min(now)).min(last)));
    let shape = if job.paused.is_some() { "off" } else { "ahead" };
    let parts = [("done", past), (shape, next.map(|next| (next, last)))];
    let parts = parts.into_iter().filter_map(|(shape, part)| Some((shape, scale.clip(part?)?)));
    html! {
        p.often { (often(job)) }
        svg.strip width="100%" height="10" aria-hidden="true" {
            @for (shape, part) in parts {
                rect.band.(shape) x=(scale.x(part.0)) width=(scale.width(part)) y="1" height="7" rx="2" {}
            }
        }
    }
}

/// Says how often a job is due: `Mist: every minute, 1,440 times`.
pub(super) fn often(job: &CollapsedRecord) -> String {
    let every = job.every_ms.map(|ms| text::every(ms) + ", ").unwrap_or_default();
    let more = if job.more { "+" } else { "" };
    let name = job.label.as_deref().unwrap_or(&job.job);
    let faults = job.states.iter().filter(|(state, _)| !matches!(state.as_str(), "expected" | "succeeded" | "running"));
    let faults: String = faults.map(|(state, count)| format!(", {} {state}", text::grouped(*count as usize))).collect();
    let paused = job.paused.as_ref().map(|what| format!(", its {what} is paused")).unwrap_or_default();
    format!("{name}: {every}{}{more} times{faults}{paused}", text::grouped(job.count as usize))
}
