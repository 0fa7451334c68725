//! The picture: past and future of devices on one axis, with the light at their place behind it.

use maud::{Markup, html};
use roost_scheduler::{trigger::Band, zone::Zone};

use super::{
    lane::{Common, Lane, back, lane},
    mark::{SHAPES, shapes},
    scale::Scale,
    ticks::Axis,
};
use crate::page::text::WallTime;

/// What a picture shows.
pub(in super::super) struct View {
    pub(in super::super) scale: Scale,
    /// The zone of the axis. A lane in another zone has an axis of its own.
    pub(in super::super) zone: Zone,
    pub(in super::super) lanes: Vec<Lane>,
    /// Lanes above these: what there is of all devices, if there are too many for a lane each.
    pub(in super::super) crowd: Option<Markup>,
}

impl View {
    /// Returns how light it is where all lanes are, if that is one place.
    fn one_sky(&self) -> Option<&[Band]> {
        let mut known = self.lanes.iter().filter(|lane| lane.location.is_some());
        let Some(first) = known.next() else { return Some(&[]) };
        known.all(|lane| lane.location == first.location).then_some(&first.bands)
    }
}

/// Shows a picture. `same` names the lists that hold the same.
pub(in super::super) fn picture(view: &View, same: &str, now: &WallTime) -> Markup {
    let View { scale, zone, lanes, crowd } = view;
    let (axis, one_sky) = (Axis::new(*scale, *zone), view.one_sky());
    let common = Common { scale: *scale, axis: &axis, now, is_one_place: one_sky.is_some() };
    let is_now = scale.has(now.instant());
    let [from, to] = [scale.from(), scale.to()].map(|at| WallTime::of(at, *zone).write(now));
    html! {
        figure.picture {
            (shapes())
            figcaption.soft { "By the clock of " (zone.name()) }
            svg.axis width="100%" height="30" aria-hidden="true" { (axis.day_labels(11)) (axis.hour_labels(26)) }
            div.plot {
                svg.back role="img" aria-labelledby="picture-title" width="100%" height="100%" {
                    title #picture-title { "Picture of " (lanes.len()) @if lanes.len() == 1 { " device" } @else { " devices" } " from " (from) " to " (to) ". " (same) }
                    (back(one_sky.unwrap_or_default(), &axis, *scale, now))
                }
                ul.lanes {
                    @if let Some(crowd) = crowd { (crowd) }
                    @for one in lanes {
                        (lane(one, common))
                    }
                }
            }
            @if is_now {
                svg.axis width="100%" height="16" aria-hidden="true" {
                    text.now x=(scale.x(now.instant())) y="12" text-anchor="middle" { "now " (now.clock()) }
                }
            }
            (legend())
            @for note in axis.change_notes() { p.soft { (note) } }
        }
    }
}

fn legend() -> Markup {
    let sign = |shape: &str| html! { svg width="18" height="18" viewBox="-9 -9 18 18" aria-hidden="true" { g.mark.(shape) { use href={ "#mark-" (shape) } {} } } };
    html! {
        ul.legend {
            @for (shape, name) in SHAPES { li { (sign(shape)) (name) } }
            li { svg width="26" height="10" aria-hidden="true" { rect.bar.owed width="26" height="10" rx="3" {} } "owed" }
        }
    }
}

#[cfg(test)]
mod tests {
    use roost_scheduler::{calendar::parse_zone, time::Location, trigger::Almanac};
    use serde_json::json;

    use super::super::scale::{
        instant,
        tests::{at, scale},
    };
    use super::*;
    use crate::http::{CollapsedRecord, Spread, TimelineRecord};

    const FROM: &str = "2027-03-01T04:00:00Z";
    const TO: &str = "2027-03-02T04:00:00Z";

    fn now() -> WallTime {
        WallTime::parse("2027-03-01T12:00:00+00:00", "Europe/London").unwrap()
    }

    /// Returns an entry of `coop/north/close` at 18:23.
    fn entry(change: &serde_json::Value) -> TimelineRecord {
        let mut entry = json!({
            "time": "2027-03-01T18:23:00Z", "plugin": "coop", "device": "north", "job": "close", "label": "Close",
            "time_zone": "Europe/London", "occurrence": "2027-03-01T18:23:00Z", "state": "expected", "step": 1,
        });
        entry.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value(entry).unwrap()
    }

    /// Returns an entry of a past run, or of one under way, that was due at 10:00.
    fn past(state: &str, change: &serde_json::Value) -> TimelineRecord {
        let mut run = json!({
            "run": "coop/north/close/2027-03-01T10:00:00Z", "plugin": "coop", "device": "north", "job": "close",
            "occurrence": "2027-03-01T10:00:00Z", "state": state,
        });
        run.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let at = "2027-03-01T10:00:00Z";
        entry(&json!({ "time": at, "occurrence": at, "state": state, "step": null, "run": run }))
    }

    fn lane_of(device: &str, (zone, latitude): (&str, f64), runs: Vec<Vec<TimelineRecord>>) -> Lane {
        let location = Location::new(latitude, 0.0);
        let window = (instant(FROM).unwrap(), instant(TO).unwrap());
        let bands = Almanac::default().bands(window, location.unwrap()).unwrap();
        let lane = Lane::gone("coop", device, parse_zone(zone).unwrap());
        Lane { location, bands, runs, ..lane }
    }

    fn north(runs: Vec<Vec<TimelineRecord>>) -> Lane {
        lane_of("north", ("Europe/London", 51.5), runs)
    }

    fn shown(lanes: Vec<Lane>) -> String {
        let view = View { scale: scale(FROM, TO), zone: parse_zone("Europe/London").unwrap(), lanes, crowd: None };
        picture(&view, "The lists hold the same.", &now()).into_string()
    }

    /// Returns the value of an attribute of the first element that begins like this.
    fn value<'p>(page: &'p str, element: &str, name: &str) -> &'p str {
        let (_, rest) = page.split_once(element).unwrap_or_else(|| panic!("{element} is not in {page}"));
        let (_, value) = rest.split_once(&format!(" {name}=\"")).unwrap();
        value.split('"').next().unwrap()
    }

    #[test]
    fn the_shape_of_a_mark_is_that_of_its_state() {
        for (run, shape) in [
            (past("succeeded", &json!({})), "done"),
            (past("failed", &json!({})), "wrong"),
            (past("denied", &json!({})), "wrong"),
            (past("missed", &json!({})), "missed"),
            (past("skipped", &json!({})), "off"),
            (past("running", &json!({})), "under-way"),
            (entry(&json!({})), "ahead"),
            (entry(&json!({ "skipped": true })), "off"),
            (entry(&json!({ "paused": "device" })), "paused"),
        ] {
            let page = shown(vec![north(vec![vec![run]])]);
            assert!(page.contains(&format!("class=\"why mark {shape}\"")), "{shape}: {page}");
            assert_eq!(page.matches(&format!("href=\"#mark-{shape}\"")).count(), 2, "in the lane and in the legend");
        }
    }

    #[test]
    fn a_mark_is_where_its_instant_is_and_leads_to_the_explanation() {
        let page = shown(vec![north(vec![vec![entry(&json!({}))]])]);
        let x = value(&page, "<use href=\"#mark-ahead\"", "x");
        assert!(at(scale(FROM, TO), x).ms_since(instant("2027-03-01T18:23:00Z").unwrap()).abs() < 1_000, "{x}");
        assert!(page.contains("href=\"/why/coop/north/close?at=2027-03-01T18:23:00Z\""), "{page}");
        assert!(page.contains("<title>Close, 18:23, ○ expected</title>"), "{page}");
    }

    #[test]
    fn a_run_of_several_messages_is_a_bar_from_the_first_to_the_last() {
        let last = json!({ "time": "2027-03-01T18:53:00Z", "step": 2 });
        let page = shown(vec![north(vec![vec![entry(&json!({})), entry(&last)]])]);
        assert_eq!(value(&page, "<rect class=\"bar planned\"", "width"), "2.083%", "half an hour: {page}");
        let done = json!({ "started": "2027-03-01T10:06:00Z", "ended": "2027-03-01T10:36:00Z" });
        let page = shown(vec![north(vec![vec![past("succeeded", &done)]])]);
        assert_eq!(value(&page, "<rect class=\"bar sent\"", "width"), "2.083%");
        // It waited for six minutes.
        assert_eq!(value(&page, "<line class=\"wait\"", "x1"), "25%");
        assert_eq!(value(&page, "<line class=\"wait\"", "x2"), "25.417%");
    }

    #[test]
    fn what_is_owed_is_hatched_from_now_to_its_due_time() {
        let run = json!({ "started": "2027-03-01T10:00:00Z",
            "next": { "step": 2, "of": 2, "due": "2027-03-01T14:00:00Z", "owed": true, "overdue": false } });
        let page = shown(vec![north(vec![vec![past("running", &run)]])]);
        assert_eq!((value(&page, "bar owed\"", "x"), value(&page, "bar owed\"", "width")), ("33.333%", "8.333%"));
        assert_eq!((value(&page, "bar sent\"", "x"), value(&page, "bar sent\"", "width")), ("25%", "8.333%"));
        assert_eq!(value(&page, "<line class=\"now\"", "x1"), "33.333%");
    }

    #[test]
    fn a_replay_is_where_it_started_and_did_not_wait() {
        let replay = json!({ "run": "coop/north/close/2027-02-01T10:00:00Z/replay-2027-03-01T10:00:00Z",
            "started": "2027-03-01T11:00:00Z" });
        let page = shown(vec![north(vec![vec![past("running", &replay)]])]);
        assert!(!page.contains("class=\"wait\""), "{page}");
    }

    #[test]
    fn at_one_place_the_night_is_behind_all_lanes_and_otherwise_each_has_its_own() {
        let nights = |page: &str| page.matches("<rect class=\"night\"").count();
        let one = shown(vec![north(Vec::new()), lane_of("south", ("Europe/London", 51.5), Vec::new())]);
        // The end of one night and the beginning of the next.
        assert_eq!(nights(&one), 2, "{one}");
        let two = shown(vec![north(Vec::new()), lane_of("henhouse", ("Asia/Kolkata", 28.6), Vec::new())]);
        assert_eq!(nights(&two), 4, "{two}");
        assert!(two.contains("<span class=\"soft\">Asia/Kolkata</span>"), "{two}");
        // The lane there has an axis of its own, with its days: 04:00 in London is 09:30 there.
        assert_eq!(two.matches(">Tue 2 Mar</text>").count(), 2, "{two}");
        let (_, lanes) = two.split_once("<ul class=\"lanes\">").unwrap();
        assert!(lanes.contains("<text x=\"10.417%\" y=\"24\" text-anchor=\"middle\">12:00</text>"), "{lanes}");
    }

    #[test]
    fn it_has_a_lane_for_each_device_and_names_them_as_they_are() {
        for count in [1, 20] {
            let lanes = (0..count).map(|number| lane_of(&format!("d{number}"), ("Europe/London", 51.5), Vec::new()));
            let page = shown(lanes.collect());
            assert_eq!(page.matches("href=\"/devices/coop/d").count(), count);
            assert_eq!(page.matches("class=\"row-of-marks\" width=\"100%\" height=\"28\"").count(), count, "{page}");
        }
        let odd = json!({ "label": "<b>", "plugin": "<b>" });
        let page =
            shown(vec![Lane { is_faulty: true, ..lane_of("<b>", ("Europe/London", 51.5), vec![vec![entry(&odd)]]) }]);
        assert!(!page.contains("<b>") && page.contains("✕ at fault"), "{page}");
    }

    #[test]
    fn a_job_that_is_due_often_is_one_band_and_a_fault_of_it_is_seen() {
        let mut mist: CollapsedRecord = serde_json::from_value(json!({
            "plugin": "coop", "device": "north", "job": "mist", "time_zone": "Europe/London", "label": "Mist",
            "count": 1440, "states": { "succeeded": 479, "failed": 1, "expected": 960 }, "every_ms": 60_000,
            "first": FROM, "last": "2027-03-02T03:59:00Z", "next": "2027-03-01T12:00:00Z",
        }))
        .unwrap();
        // A minute is a sixth of a bucket. Every other hour has none.
        let hours = (0..160).map(|bucket| if bucket / 10 % 2 == 0 { 6 } else { 0 }).collect();
        mist.spread = [("succeeded", (0, vec![6; 80])), ("failed", (40, vec![1])), ("expected", (80, hours))]
            .map(|(state, (start, counts))| (state, Spread { start, counts }))
            .into();
        let page = shown(vec![Lane { repeated: vec![mist], ..north(Vec::new()) }]);
        assert!(page.contains("Mist: every minute, 1,440 times, 1 failed</p>"), "{page}");
        assert_eq!(page.matches("class=\"band ").count(), 3, "past, faults and future: {page}");
        assert_eq!(value(&page, "band done\"", "d"), "M0 1.5h80v7h-80z");
        assert_eq!(value(&page, "band wrong\"", "d"), "M40 1.5h2v7h-2z");
        assert_eq!(value(&page, "band ahead\"", "d").matches('M').count(), 8);
        assert!(!page.contains("row-of-marks"), "nothing else is in the lane: {page}");
        assert!(page.len() < 9_000, "{}", page.len());
    }

    #[test]
    fn its_title_names_the_lists_and_nothing_is_styled_or_run_inline() {
        let page = shown(vec![north(vec![vec![entry(&json!({}))]])]);
        let title = "<title id=\"picture-title\">Picture of 1 device from 04:00 to 04:00 tomorrow. The lists hold the same.</title>";
        assert!(page.contains(&format!("<svg class=\"back\" role=\"img\" aria-labelledby=\"picture-title\" width=\"100%\" height=\"100%\">{title}")), "{page}");
        assert!(!page.contains(" style=") && !page.contains(" on") && !page.contains("<script"), "{page}");
    }
}
