//! The story of a run: its row, its messages, and the kills around it.

use std::fmt::Write;

use roost_scheduler::{names::RunId, time::Instant};

use crate::{ends::Due, history::History, record::Record};

/// How long before an occurrence its story begins, and how long after the last event it ends.
const AROUND_S: f64 = 0.5;

/// Tells the story of an occurrence and of the others of its group at that time, in the order of events. Times of
/// messages are those of the subscriber, which may be late.
pub(crate) fn story(history: &History, record: &Record<'_>, due: &Due) -> String {
    let is_it = |run: &RunId| Due::of(run) == *due;
    let from = seconds(due.at);
    let ended = record.rows.values().filter(|row| is_it(&row.run)).filter_map(|row| row.ended).map(seconds);
    let messages = record.messages.iter().filter(|(run, _)| is_it(run)).flat_map(|(_, messages)| messages);
    let until = ended.chain(messages.map(|received| received.message.at)).fold(from, f64::max) + AROUND_S;
    let from = from - AROUND_S;
    let is_near = |at: f64| from <= at && at <= until;

    let mut events: Vec<(f64, String)> = Vec::new();
    let groups = [["open", "close"], ["raise", "lower"]];
    let is_of_group = |run: &RunId| {
        let jobs = [run.job.as_str(), due.job.as_str()];
        let is_same = jobs[0] == jobs[1] || groups.iter().any(|group| jobs.iter().all(|job| group.contains(job)));
        is_same && run.device.as_str() == due.device
    };
    for row in record.rows.values().filter(|row| is_of_group(&row.run)) {
        let name = format!("{} {}", row.run.job, row.run.occurrence);
        events.push((seconds(row.run.occurrence), format!("{name} is due")));
        if let Some(started) = row.started {
            events.push((seconds(started), format!("{name} starts")));
        }
        if let Some(ended) = row.ended {
            events.push((seconds(ended), format!("{name} ends: {} {}", row.state, row.reason)));
        }
    }
    for (run, messages) in record.messages.iter().filter(|(run, _)| is_of_group(run)) {
        for received in messages {
            let number = received.message.property("roost-attempt").unwrap_or("?");
            let what = format!("`{}` #{number} of {} {}", received.message.payload, run.job, run.occurrence);
            events.push((received.message.at, format!("received from host {}: {what}", received.host)));
        }
    }
    let kills = history.kills.iter().enumerate().filter(|(_, kill)| is_near(seconds(kill.within.1)));
    for (number, kill) in kills {
        let Some(disk) = &kill.disk else { continue };
        let mut text = format!("host {number} is killed; on disk:");
        for (run, kept) in disk.iter().filter(|(run, kept)| is_of_group(run) && kept.steps_done != usize::MAX) {
            let started = if kept.is_known { "started" } else { "not started" };
            let armed = if kept.armed { ", armed" } else { "" };
            let _ = write!(text, " {} {} ({started}, {} steps done{armed})", run.job, run.occurrence, kept.steps_done);
        }
        events.push((seconds(kill.within.1), text));
    }
    events.extend(history.events.iter().cloned());
    events.retain(|(at, _)| is_near(*at));
    events.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    events.into_iter().map(|(at, what)| format!("    {:+8.3} s  {what}\n", at - from - AROUND_S)).collect()
}

/// Returns the time of a message at an instant.
pub(crate) fn seconds(at: Instant) -> f64 {
    at.millis() as f64 / 1_000.0
}
