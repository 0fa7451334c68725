//! What a component or settings would change: the messages with their times, the jobs, and the grant.

use chrono::{DateTime, TimeDelta};
use maud::{Markup, html};

use super::{
    plugin::sentence,
    refusals,
    text::{self, WallTime},
};
use crate::http::{
    ChangedMessageRecord, DeviceDifferencesRecord, DifferencesRecord, MessageChangesRecord, Problem, TrialRecord,
};

/// Devices of which the changed jobs or the faults are listed.
const DEVICES: usize = 20;
/// A message of the same content counts as moved if it is sent at most this much earlier or later.
const MOVED: TimeDelta = TimeDelta::hours(12);

/// Shows what a trial has found.
pub(super) fn changes(trial: &TrialRecord, now: &WallTime) -> Markup {
    let DifferencesRecord { new, changed, gone, unchanged, .. } = trial.jobs;
    html! {
        @if trial.running { p { "This version runs already with these settings." } }
        p { (text::count(new, "job")) " new, " (changed) " changed, " (gone) " gone, " (unchanged) " unchanged." }
        (faults(&trial.jobs))
        (messages(&trial.messages, now))
        (jobs(&trial.jobs))
        h3 { "Grant" }
        @for note in &trial.notes { p { (sentence(note)) } }
    }
}

/// Shows why a component or settings are refused: what, why, and what to do.
pub(super) fn refused(title: &str, place: Option<(usize, usize)>, problem: &Problem) -> Markup {
    html! {
        h1 { (title) }
        p.banner.bad data-line=[place.map(|(line, _)| line)] data-column=[place.map(|(_, column)| column)] {
            @if let Some((line, _)) = place { "Line " (line) ": " }
            (problem.detail)
        }
        @if let Some(hint) = &problem.hint { p { (text::lines(hint)) } }
    }
}

/// Shows the devices whose plan would be refused, with the line that this is about, and what would go on.
fn faults(DifferencesRecord { devices, refused, .. }: &DifferencesRecord) -> Markup {
    let faulty = devices.iter().filter_map(|device| Some((device, device.error.as_ref()?)));
    html! {
        @for (device, error) in faulty.take(DEVICES) {
            div.banner.bad {
                p { "✕ The plan of " (device.device) " is refused: " (text::lines(error)) }
                p { (refusals::of_device(device.unchanged.count)) }
                @if let Some(line) = device.line {
                    button type="button" data-line=(line) aria-label={ "Show line " (line) ", of " (device.device) } {
                        "Show line " (line)
                    }
                }
            }
        }
        @if *refused > DEVICES { p.state-failed { "✕ and those of " (text::count(refused - DEVICES, "more device")) } }
    }
}

/// Says in a few words what would go on where plans are refused, if any are.
pub(super) fn consequence(DifferencesRecord { devices, refused, .. }: &DifferencesRecord) -> Option<String> {
    let faulty: Vec<_> = devices.iter().filter(|device| device.error.is_some()).collect();
    let words = |has_jobs, of_one: &str, of_many: &str| {
        let of: Vec<_> = faulty.iter().filter(|device| (device.unchanged.count > 0) == has_jobs).collect();
        match of.as_slice() {
            [] => None,
            [one] => Some(format!("{} {of_one}", one.device)),
            many => Some(format!("{} {of_many}", text::count(many.len(), "device"))),
        }
    };
    if *refused > faulty.len() {
        return Some(format!("{} keep their earlier plans, or have none", text::count(*refused, "device")));
    }
    let words = [
        words(true, "keeps its earlier plan", "keep their earlier plans"),
        words(false, "has no plan", "have no plan"),
    ];
    let words = words.into_iter().flatten().collect::<Vec<_>>().join(", ");
    Some(words).filter(|words| !words.is_empty())
}

/// A message as it is sent now, and as it would be sent.
type Row<'m> = (Option<&'m ChangedMessageRecord>, Option<&'m ChangedMessageRecord>);

fn messages(changes: &MessageChangesRecord, now: &WallTime) -> Markup {
    let rows = rows(&changes.gone.first, &changes.new.first);
    let more = changes.gone.count + changes.new.count - changes.gone.first.len() - changes.new.first.len();
    html! {
        @if rows.is_empty() { p { "The same messages would be sent until " (text::time(&changes.until, now.zone(), now)) "." } }
        @else {
            table.changes {
                caption { "Messages that would change until " (text::time(&changes.until, now.zone(), now)) }
                thead { tr { th scope="col" { "Message" } th scope="col" { "Now" } th scope="col" { "Then" } } }
                tbody { @for row in rows { (self::row(row, now)) } }
            }
        }
        @if more > 0 { p.soft { "and " (text::count(more, "more message")) } }
        @if !changes.complete { p.soft { "There are more changes: not all jobs were compared until then." } }
    }
}

fn row((gone, new): Row<'_>, now: &WallTime) -> Markup {
    let Some(any) = new.or(gone) else { return html! {} };
    let time = |message: &ChangedMessageRecord| text::time(&message.due, &message.time_zone, now);
    let is_same = gone.zip(new).is_none_or(|(gone, new)| content(gone) == content(new));
    let shown = |message: &ChangedMessageRecord| html! { @if !is_same { div.message { (sent(message)) } } };
    html! {
        tr {
            th scope="row" {
                (any.device) " " span.soft { (any.label.as_deref().unwrap_or(&any.job)) }
                @if is_same { div.message { (sent(any)) } }
            }
            td { @if let Some(gone) = gone { (time(gone)) (shown(gone)) } @else { span.soft { "not sent" } } }
            td {
                @match (gone, new) {
                    (_, None) => span.state-failed { "⊖ no longer sent" },
                    (None, Some(new)) => { (time(new)) " " span.state-succeeded { "⊕ new" } },
                    (Some(_), Some(new)) => { "→ " (time(new)) (shown(new)) },
                }
            }
        }
    }
}

fn content(message: &ChangedMessageRecord) -> Option<String> {
    text::content(message.message.as_ref(), message.task.as_deref())
}

fn sent(message: &ChangedMessageRecord) -> Markup {
    html! { @if let Some(content) = content(message) { (content) } }
}

/// Pairs the messages that would no longer be sent with those that would be sent instead: those of the same job with
/// the same content at the nearest time, or else at the same time. The rows are in the order of time.
fn rows<'m>(gone: &'m [ChangedMessageRecord], new: &'m [ChangedMessageRecord]) -> Vec<Row<'m>> {
    let due = |message: &ChangedMessageRecord| DateTime::parse_from_rfc3339(&message.due).unwrap_or_default();
    let mut left: Vec<&ChangedMessageRecord> = new.iter().collect();
    let mut rows: Vec<Row<'_>> = Vec::with_capacity(gone.len().max(new.len()));
    for gone in gone {
        let instead = |new: &&ChangedMessageRecord| {
            let apart = (due(new) - due(gone)).abs();
            let is_moved = content(new) == content(gone) && apart <= MOVED;
            let is_its = (&new.device, &new.job) == (&gone.device, &gone.job);
            (is_its && (is_moved || apart.is_zero())).then_some(apart)
        };
        let nearest = left.iter().enumerate().filter_map(|(index, new)| Some((instead(new)?, index))).min();
        rows.push((Some(gone), nearest.map(|(_, index)| left.remove(index))));
    }
    rows.extend(left.into_iter().map(|new| (None, Some(new))));
    rows.sort_by_key(|(gone, new)| gone.iter().chain(new).map(|message| due(message)).min());
    rows
}

/// Shows the ids of the jobs that change, by device.
fn jobs(DifferencesRecord { devices, left_out, .. }: &DifferencesRecord) -> Markup {
    let is_changed =
        |device: &&DeviceDifferencesRecord| device.new.count + device.changed.count + device.gone.count > 0;
    let changed: Vec<_> = devices.iter().filter(is_changed).collect();
    html! {
        @if !changed.is_empty() {
            h3 { "Jobs" }
            ul.rows {
                @for device in changed.iter().take(DEVICES) {
                    li.row {
                        span.name { (device.device) }
                        @for (word, jobs) in [("new", &device.new), ("changed", &device.changed), ("gone", &device.gone)] {
                            @if jobs.count > 0 {
                                span { (word) ": " (jobs.ids.join(", ")) @if jobs.count > jobs.ids.len() { ", …" } }
                            }
                        }
                    }
                }
            }
            @if changed.len() > DEVICES { p.soft { "and those of " (text::count(changed.len() - DEVICES, "more device")) } }
        }
        @if *left_out > 0 { p.soft { (text::count(*left_out, "further device")) " are only counted." } }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::page::plugins::tests::now;

    fn message(due: &str, job: &str, payload: &str) -> Value {
        json!({ "due": format!("2027-03-01T{due}:00+00:00"), "time_zone": "Europe/London", "device": "north", "job": job,
            "message": { "topic": "coop-door/north/set", "payload": payload } })
    }

    /// Returns a trial of `coop-door` with these messages.
    pub(in super::super) fn trial(gone: &[Value], new: &[Value], device: &Value) -> TrialRecord {
        let digest = "ab".repeat(32);
        let some = |list: &[Value]| json!({ "count": list.len(), "first": list });
        let jobs = |ids: &[&str]| json!({ "count": ids.len(), "ids": ids });
        let mut of_device = json!({ "device": "north", "new": jobs(&[]), "changed": jobs(&["close"]), "gone": jobs(&[]),
            "unchanged": jobs(&["open"]) });
        of_device.as_object_mut().unwrap().extend(device.as_object().unwrap().clone());
        let trial = json!({
            "plugin": "coop-door", "component": digest, "settings": digest, "running": false,
            "grant": { "publish": [], "subscribe": [], "max_qos": 2, "retain": true },
            "notes": ["it may publish to coop-door/#"],
            "jobs": { "new": 0, "changed": 1, "gone": 0, "unchanged": 1, "devices": [of_device], "left_out": 0 },
            "messages": { "from": "2027-03-01T15:50:00+00:00", "until": "2027-03-03T15:50:00+00:00", "complete": true,
                "gone": some(gone), "new": some(new) },
        });
        serde_json::from_value(trial).unwrap()
    }

    fn shown(gone: &[Value], new: &[Value], device: &Value) -> String {
        changes(&trial(gone, new, device), &now()).into_string()
    }

    #[test]
    fn a_message_at_another_time_is_one_row_with_both() {
        let page = shown(&[message("16:44", "close", "CLOSE")], &[message("16:54", "close", "CLOSE")], &json!({}));
        assert_eq!(page.matches("<tr>").count(), 2, "{page}");
        assert!(page.find(">16:44</time>").unwrap() < page.find("→ <time").unwrap(), "{page}");
        assert!(page.contains(">16:54</time>") && page.contains("1 changed, 0 gone, 1 unchanged"), "{page}");
        assert!(page.contains("It may publish to coop-door/#."), "{page}");
    }

    #[test]
    fn new_gone_and_other_contents_are_in_the_order_of_time() {
        let gone = [message("06:00", "open", "OPEN"), message("16:44", "close", "CLOSE")];
        let new = [message("16:44", "close", "DOWN"), message("21:00", "lamp", "OFF")];
        let page = shown(&gone, &new, &json!({}));
        let places = ["no longer sent", "coop-door/north/set ← CLOSE", "coop-door/north/set ← DOWN", "⊕ new"];
        let places = places.map(|text| page.find(text).unwrap_or_else(|| panic!("{text}: {page}")));
        assert!(places.is_sorted(), "{places:?}: {page}");
        assert_eq!(page.matches("<tr>").count(), 4, "{page}");
    }

    #[test]
    fn texts_of_plugins_are_text_and_a_plan_that_fails_is_named() {
        let error = json!({ "error": "`<script>`: no" });
        let page = shown(&[], &[message("16:44", "close", "<img src=x onerror=alert(1)>\u{202e}")], &error);
        assert!(!page.contains("<script") && !page.contains("<img") && !page.contains('\u{202e}'), "{page}");
        assert!(page.contains("The plan of north is refused: `&lt;script&gt;`: no"), "{page}");
        assert!(page.contains("Its earlier plan goes on.") && !page.contains("Show line"), "{page}");
    }

    #[test]
    fn a_plan_that_is_refused_has_its_line_and_what_goes_on() {
        let new = json!({ "error": "no", "line": 7, "unchanged": { "count": 0, "ids": [] } });
        let page = shown(&[], &[], &new);
        assert!(page.contains("data-line=\"7\" aria-label=\"Show line 7, of north\">Show line 7<"), "{page}");
        assert!(page.contains("It has no earlier plan: nothing is sent for it."), "{page}");
        let words = |change: &[Value], refused: usize| {
            let mut jobs = trial(&[], &[], &json!({})).jobs;
            jobs.refused = refused;
            jobs.devices = change.iter().map(|change| trial(&[], &[], change).jobs.devices.remove(0)).collect();
            consequence(&jobs)
        };
        let kept = json!({ "error": "no" });
        assert_eq!(words(&[json!({})], 0), None);
        assert_eq!(words(std::slice::from_ref(&kept), 1).unwrap(), "north keeps its earlier plan");
        assert_eq!(words(&[kept.clone(), kept.clone()], 2).unwrap(), "2 devices keep their earlier plans");
        assert_eq!(words(&[kept.clone(), new], 2).unwrap(), "north keeps its earlier plan, north has no plan");
        assert_eq!(words(&[kept], 1_200).unwrap(), "1,200 devices keep their earlier plans, or have none");
    }

    #[test]
    fn without_changes_there_is_no_table() {
        let page = shown(&[], &[], &json!({}));
        assert!(!page.contains("<table") && page.contains("The same messages would be sent until"), "{page}");
    }
}
