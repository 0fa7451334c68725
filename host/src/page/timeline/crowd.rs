//! Many devices: for each plugin, device or reason, how many runs there are in each part of the period.

use maud::{Markup, html};
use roost_scheduler::outcome::RunState;

use super::mark::ROW;
use crate::{
    http::{DensityRecord, GroupRecord, Spread},
    page::text,
};

/// The height that is left for bars, and the least of a bar: 52 of 10,000 are seen.
const HEIGHT: u64 = ROW as u64 - 2;
const LEAST: u64 = 2;
/// The states of runs that need attention, as `/runs` is asked for them.
const FAULTS: &str = "failed,missed,denied";

/// What a bar stands for, from the bottom up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Done,
    Ahead,
    Wrong,
}

impl Kind {
    fn of(state: &str) -> Self {
        match RunState::parse(state) {
            Some(RunState::Failed | RunState::Missed | RunState::Denied) => Self::Wrong,
            Some(RunState::Running) | None => Self::Ahead,
            Some(_) => Self::Done,
        }
    }
}

/// Returns the number of runs of a kind in each bucket.
fn counts(group: &GroupRecord, kind: Kind, buckets: usize) -> Vec<u64> {
    let mut counts = vec![0; buckets];
    let spreads = group.states.iter().filter(|(state, _)| Kind::of(state) == kind).map(|(_, spread)| spread);
    for (bucket, count) in spreads.flat_map(Spread::iter) {
        if let Some(sum) = counts.get_mut(bucket) {
            *sum += u64::from(count);
        }
    }
    counts
}

/// Shows a lane for each group. `address` returns where the name of a group leads to.
pub(super) fn crowd(density: &DensityRecord, address: &dyn Fn(&str) -> Option<String>) -> Markup {
    let more = |groups: usize| format!("{} more", text::grouped(groups));
    html! {
        @for group in &density.groups { (lane(group, &group.name, address(&group.name), density)) }
        @if let Some(other) = &density.other { (lane(other, &more(other.groups), None, density)) }
    }
}

/// Shows a group: its name, its numbers, and bars that are as high as the most runs of one bucket of it need.
fn lane(group: &GroupRecord, name: &str, address: Option<String>, density: &DensityRecord) -> Markup {
    let buckets = density.buckets as usize;
    let [done, ahead, wrong] = [Kind::Done, Kind::Ahead, Kind::Wrong].map(|kind| counts(group, kind, buckets));
    let most = (0..buckets).map(|at| done[at] + ahead[at] + wrong[at]).max().unwrap_or(0).max(1);
    let height = |count: u64| if count == 0 { 0 } else { (count * HEIGHT / most).max(LEAST) };
    let none = vec![0; buckets];
    let parts = [
        ("done", bars(&done, &none, height)),
        ("ahead", bars(&ahead, &done, height)),
        ("wrong", bars(&wrong, &none, height)),
    ];
    html! {
        li.crowd {
            @match address {
                Some(address) => a.label href=(address) { (name) },
                None => span.label { (text::line(name)) },
            }
            p.often { (numbers([&done, &ahead, &wrong].map(|counts| counts.iter().sum()), density)) }
            svg width="100%" height=(ROW) viewBox={ "0 0 " (buckets) " " (ROW) } preserveAspectRatio="none" aria-hidden="true" {
                // Faults are drawn last, over the others.
                @for (class, path) in parts { @if !path.is_empty() { path.(class) d=(path) {} } }
            }
        }
    }
}

/// Draws a bar for each bucket with runs, above those of another kind.
fn bars(counts: &[u64], below: &[u64], height: impl Fn(u64) -> u64) -> String {
    let filled = counts.iter().zip(below).enumerate().filter(|(_, (count, _))| **count > 0);
    let bar = filled.map(|(bucket, (count, below))| {
        let bottom = u64::from(ROW) - height(*below);
        let tall = height(*count).min(bottom);
        format!("M{bucket} {bottom}h1v-{tall}h-1z")
    });
    bar.collect()
}

/// Writes the numbers of a group, with a link to its faults.
fn numbers([done, ahead, wrong]: [u64; 3], density: &DensityRecord) -> Markup {
    let number = |count: u64| text::grouped(usize::try_from(count).unwrap_or(usize::MAX));
    html! {
        (number(done)) " ended, " (number(ahead)) @if density.more { "+" } " to come"
        @if wrong > 0 {
            ", "
            a.state-failed href=(text::address("/runs", &[("since", &density.from), ("until", &density.to), ("state", FAULTS)])) {
                "✕ " (number(wrong)) " failed, missed or denied"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::http::By;

    fn density(states: &[(&'static str, usize, &[u32])]) -> DensityRecord {
        let spread = |(state, start, counts): &(&'static str, usize, &[u32])| {
            (*state, Spread { start: *start, counts: counts.to_vec() })
        };
        let states: BTreeMap<_, _> = states.iter().map(spread).collect();
        DensityRecord {
            from: "2027-03-01T00:00:00Z".into(),
            to: "2027-03-02T00:00:00Z".into(),
            buckets: 240,
            by: By::Plugin,
            groups: vec![GroupRecord { name: "<b>".into(), groups: 1, count: 1, states }],
            other: None,
            more: false,
        }
    }

    #[test]
    fn ten_thousand_runs_are_three_paths_and_fifty_two_of_them_are_seen() {
        let record =
            density(&[("succeeded", 0, &[9_948; 80]), ("failed", 79, &[52]), ("expected", 80, &[10_000; 160])]);
        let page = crowd(&record, &|_| None).into_string();
        assert_eq!(page.matches("<path").count(), 3, "{page}");
        assert!(page.contains("<path class=\"wrong\" d=\"M79 28h1v-2h-1z\">"), "at least two pixels: {page}");
        assert!(page.contains("795,840 ended, 1,600,000 to come, "), "{page}");
        assert!(page.contains("✕ 52 failed, missed or denied</a>") && page.len() < 6_000, "{}", page.len());
        assert!(page.contains("&lt;b&gt;") && !page.contains("<b>"), "{page}");
    }

    #[test]
    fn what_is_to_come_is_above_what_has_ended() {
        let record = density(&[("succeeded", 3, &[1]), ("running", 3, &[1])]);
        let page = crowd(&record, &|name| Some(format!("/timeline?plugin={name}"))).into_string();
        assert!(page.contains("d=\"M3 28h1v-13h-1z\"") && page.contains("d=\"M3 15h1v-13h-1z\""), "{page}");
    }
}
