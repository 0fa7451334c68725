//! One device: its place, what is wrong with it, its jobs, and what it sent lately.

use std::collections::BTreeMap;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use maud::{Markup, html};
use roost_scheduler::{
    names::{DeviceName, PluginName},
    time::Instant,
    zone::Zone,
};

use super::{
    Failed, Html,
    actions::{self, JobRef},
    devices::{self, outcome},
    frame::{Current, frame},
    history, job,
    pauses::choice,
    tasks,
    text::{self, WallTime},
};
use crate::{
    clock,
    http::{
        ApiState, DeviceRecord, JobRecord, Page, Problem, Query, find_device, list_jobs,
        runs::{self, RunRecord},
        stem,
    },
};

/// Jobs that are read, and runs that are shown.
const JOBS: usize = 1_000;
const RUNS: usize = 10;
/// More jobs that are due once, and whose ids differ only in numbers, are one line.
const ALIKE: usize = 6;

pub(super) async fn device(
    State(state): State<ApiState>,
    Path((plugin, device)): Path<(String, String)>,
) -> Result<Html, Failed> {
    read(&state, &plugin, &device).await.map_err(|problem| {
        let is_missing = problem.status == StatusCode::NOT_FOUND.as_u16();
        let search = html! { p { a.button href=(text::address("/devices", &[("q", &device)])) { "Search for “" (text::short(&device)) "”" } } };
        Failed(problem, if is_missing { search } else { Markup::default() })
    })
}

async fn read(state: &ApiState, plugin: &str, device: &str) -> Result<Html, Problem> {
    let plugin = PluginName::parse_owner(plugin).map_err(|error| Problem::not_found(error.to_string()))?;
    let device = DeviceName::parse(device).map_err(|error| Problem::not_found(error.to_string()))?;
    let record = find_device(state, (plugin.clone(), device.clone())).await?;
    let Query(query) = Query::parse(&format!("plugin={plugin}&device={device}&limit={RUNS}"))?;
    let runs = runs::list(state, query).await?;
    let jobs = list_jobs(state, (Some(plugin), Some(device)), 0, JOBS, None).await?;
    let page = content(&record, &jobs, &runs, (clock::now(), state.zone()));
    Ok(Html(frame(&name(&record), Current::Devices, &page)))
}

fn name(device: &DeviceRecord) -> String {
    format!("{}/{}", device.plugin, device.device)
}

fn content(
    device: &DeviceRecord,
    jobs: &Page<JobRecord>,
    runs: &Page<RunRecord>,
    (now, host): (Instant, Zone),
) -> Markup {
    let (there, now) = (text::wall(now, &device.time_zone), WallTime::of(now, host));
    let of_device = [("plugin", device.plugin.as_str()), ("device", &device.device)];
    html! {
        h1 { (name(device)) }
        (place(device, &there))
        (pauses(device, &there))
        @if let Some(last) = &device.last { p { "Last run " (outcome(last, &device.time_zone, &now)) } }
        (devices::faults(device, &now))
        @if let Some(fault) = &device.fault { p { (devices::why(&fault.run)) } }
        h2 { "Jobs" }
        (job_list(jobs, &now))
        (tasks::link(&device.plugin, &device.device))
        (plan(device, &now))
        h2 { "What it sent lately" }
        @if runs.items.is_empty() { p.soft { "It has sent nothing yet." } }
        (history::lines(&runs.items, &now))
        div.actions {
            a.button href=(text::address("/runs", &of_device)) { "All its runs" }
            a.button href=(text::address("/timeline", &of_device)) { "Its timeline" }
        }
    }
}

/// Shows where a device is, and what time it is there.
fn place(device: &DeviceRecord, there: &WallTime) -> Markup {
    html! {
        p.soft {
            span data-now { (there.clock()) } " in " (device.time_zone)
            @match (device.latitude, device.longitude) {
                (Some(latitude), Some(longitude)) => {
                    " · " (text::degrees(latitude, ["N", "S"])) ", " (text::degrees(longitude, ["E", "W"]))
                }
                _ => " · its place is not known",
            }
        }
    }
}

/// Shows what is paused, with the button that ends it, or the button that pauses the device.
fn pauses(device: &DeviceRecord, now: &WallTime) -> Markup {
    let name = name(device);
    let shown = device.pause.as_ref();
    let by = shown.map(|pause| pause.by.as_str());
    html! {
        @if let Some(pause) = shown {
            p.banner { (text::pause(pause, "device", &device.time_zone, now)) ". What falls due in it is skipped." }
        }
        // The one that is shown may be another one.
        @if device.paused && by != Some("device") { p.banner { (text::outcome("paused")) ", the device itself, too." } }
        @if device.plugin_paused && by != Some("plugin") { p.banner { (text::paused("plugin")) ", too." } }
        div.actions {
            (actions::pause_device(&name, device.paused || by == Some("device")))
            @if device.plugin_paused || by == Some("plugin") { (actions::resume_plugin(&device.plugin)) }
            @if by == Some("all") { (actions::resume_all()) }
            (choice(&name, &format!("/api/v1/devices/{name}"), now))
        }
    }
}

/// Shows when the next plan is requested.
fn plan(device: &DeviceRecord, now: &WallTime) -> Markup {
    html! {
        @if device.planning {
            p.soft { "A new plan has been requested from its plugin." }
        } @else if let Some(at) = &device.replan_at {
            p.soft { "The next plan is requested at " (text::time(at, &device.time_zone, now)) "." }
        }
    }
}

/// Jobs that are one line: one, or several whose ids differ only in numbers, in the order of their next runs.
type Line<'j> = Vec<&'j JobRecord>;

/// Checks whether a job was made by hand and has run: it stays for a day, and its runs are in the history.
fn is_done(job: &JobRecord) -> bool {
    job.made.is_some() && job.due.is_none() && job.not_before.is_none()
}

/// Returns the lines in the order of their next runs; jobs that are not due are last.
fn job_lines(jobs: &[JobRecord]) -> Vec<Line<'_>> {
    let mut alike: BTreeMap<String, Line<'_>> = BTreeMap::new();
    for job in jobs.iter().filter(|job| !is_done(job)) {
        let is_due_once = job.trigger.starts_with("at ") && job.made.is_none();
        alike.entry(if is_due_once { stem(&job.job) } else { job.job.clone() }).or_default().push(job);
    }
    let order = |job: &JobRecord| {
        let due = job.due.as_ref().map(|due| chrono::DateTime::parse_from_rfc3339(due).ok());
        (due.is_none(), due, job.job.clone())
    };
    let mut lines = Vec::new();
    for mut line in alike.into_values() {
        line.sort_by_cached_key(|job| order(job));
        if line.len() > ALIKE { lines.push(line) } else { lines.extend(line.into_iter().map(|job| vec![job])) }
    }
    lines.sort_by_cached_key(|line| order(line[0]));
    lines
}

fn job_list(Page { items, next }: &Page<JobRecord>, now: &WallTime) -> Markup {
    let lines = job_lines(items);
    html! {
        @if lines.is_empty() { p.soft { "It has no jobs." } }
        ul.rows {
            @for line in lines {
                li { @if let [job] = line[..] { (one(job, now)) } @else { (alike(&line, now)) } }
            }
        }
        @if next.is_some() { p.soft { "It has more than " (text::grouped(items.len())) " jobs. The others are not listed." } }
    }
}

/// Shows a job, with its buttons.
fn one(job: &JobRecord, now: &WallTime) -> Markup {
    let (name, is_skipped) = (JobRef::from(job), job.skip.is_some());
    html! {
        div.row {
            (due(job, now))
            (link(job, &job.job))
            @match (&job.pause, job.paused.as_deref()) {
                (Some(pause), _) => { span.end.state-paused { (text::pause(pause, "job", &job.time_zone, now)) } }
                (None, Some(what)) => { span.end.state-paused { (text::paused(what)) } }
                (None, None) if is_skipped => { span.end.state-skipped { "⊘ will be skipped" } }
                (None, None) => {}
            }
        }
        @if let Some(run) = &job.next_run { div.soft { "next run " (text::time(run, &job.time_zone, now)) } }
        div.soft {
            @if let Some(words) = job::trigger(job) { (words) " " }
            code { (text::line(&job.trigger)) }
            @if let Some(note) = &job.note { " " (text::line(note)) }
        }
        div.actions {
            (actions::run_now(&name))
            (actions::skip_and_pause(&name, job.paused.as_deref(), is_skipped))
        }
    }
}

/// Shows jobs that differ only in numbers.
fn alike(jobs: &[&JobRecord], now: &WallTime) -> Markup {
    let (first, last) = (jobs[0], jobs.iter().rfind(|job| job.due.is_some()));
    html! {
        div.row { (due(first, now)) (link(first, &stem(&first.job))) span.end { (text::grouped(jobs.len())) " jobs" } }
        @if let Some((at, job)) = last.and_then(|last| Some((last.due.as_ref()?, last))) {
            div.soft { "the last one " (text::time(at, &job.time_zone, now)) }
        }
    }
}

/// Leads to the page of a job, by its label and its id.
fn link(job: &JobRecord, id: &str) -> Markup {
    html! {
        a.name href=(JobRef::from(job).page()) { (text::line(job.label.as_deref().unwrap_or(id))) }
        @if job.label.is_some() { span.soft { (id) } }
    }
}

/// Shows when a job is due.
fn due(job: &JobRecord, now: &WallTime) -> Markup {
    html! {
        @match (&job.due, &job.not_before) {
            (Some(at), _) => (text::time(at, &job.time_zone, now)),
            (None, Some(at)) => { span.soft { "not before " (text::time(at, &job.time_zone, now)) } }
            (None, None) => { span.soft { "not due" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::zones::zone;

    fn job(id: &str, change: &Value) -> JobRecord {
        let mut job = json!({
            "plugin": "greenhouse", "device": "tomatoes", "job": id, "time_zone": "Europe/London",
            "trigger": "cron 30 6 * * *", "due": "2027-03-02T06:30:00Z", "steps": [], "policy": {},
        });
        job.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value(job).unwrap()
    }

    fn shown(change: &Value, jobs: Vec<JobRecord>) -> String {
        let mut device = json!({
            "plugin": "greenhouse", "device": "tomatoes", "time_zone": "Europe/London", "latitude": 51.4779,
            "longitude": -0.0015, "planning": false, "running": false, "paused": false, "jobs": jobs.len(),
            "plugin_paused": false, "paused_jobs": 0,
        });
        device.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let (jobs, runs) = (Page { items: jobs, next: None }, Page { items: Vec::new(), next: None });
        let now = Instant::from_millis(1_803_916_800_000).unwrap();
        content(&serde_json::from_value(device).unwrap(), &jobs, &runs, (now, zone("Europe/Berlin"))).into_string()
    }

    #[test]
    fn a_device_has_its_place_its_jobs_with_their_buttons_and_its_history() {
        let page = shown(&json!({}), vec![job("vents", &json!({ "label": "Open <the> vents\u{202e}" }))]);
        for part in [
            "<h1>greenhouse/tomatoes</h1>",
            "<span data-now>16:00</span> in Europe/London · 51.478° N, 0.002° W",
            "aria-label=\"Pause greenhouse/tomatoes\"",
            "<a class=\"name\" href=\"/jobs/greenhouse/tomatoes/vents\">Open &lt;the&gt; vents\\u{202e}</a>",
            "aria-label=\"Run greenhouse/tomatoes/vents now\"",
            "<div class=\"soft\">every day at 06:30 <code>cron 30 6 * * *</code></div>",
            "href=\"/timeline?plugin=greenhouse&amp;device=tomatoes\"",
            "It has sent nothing yet.",
            "href=\"/runs?plugin=greenhouse&amp;device=tomatoes\"",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }

    #[test]
    fn what_is_paused_can_be_resumed() {
        let own =
            json!({ "paused": true, "pause": { "by": "device", "until": "2027-03-02T08:00:00Z", "reason": "<rain>" } });
        let page = shown(&own, vec![job("vents", &json!({ "paused": "device" }))]);
        assert!(
            page.contains("◌ paused until 08:00 tomorrow: &lt;rain&gt;. What falls due in it is skipped."),
            "{page}"
        );
        assert!(page.contains("◌ paused with its device"), "{page}");
        let then = json!({ "paused": "device", "pause": { "by": "device" }, "next_run": "2027-03-03T06:30:00Z" });
        let page = shown(&own, vec![job("vents", &then)]);
        assert!(page.contains("<div class=\"soft\">next run <time datetime=\"2027-03-03T06:30:00+00:00\""), "{page}");
        assert!(page.contains("data-path=\"/api/v1/devices/greenhouse/tomatoes/resume\""), "{page}");
        let with_plugin = json!({ "plugin_paused": true, "pause": { "by": "plugin" } });
        let page = shown(&with_plugin, vec![job("vents", &json!({ "paused": "plugin" }))]);
        assert!(page.contains("◌ paused with its plugin. What falls due"), "{page}");
        assert!(page.contains("data-path=\"/api/v1/plugins/greenhouse/resume\""), "{page}");
    }

    #[test]
    fn jobs_that_differ_only_in_numbers_are_one_line_in_the_order_of_time() {
        let mist = |number: usize| {
            let at = format!("2027-03-01T{:02}:00:00Z", 17 + number % 7);
            job(&format!("mist-{number}"), &json!({ "trigger": format!("at {at}"), "due": at }))
        };
        let mut jobs = vec![job("never", &json!({ "due": null })), job("vents", &json!({}))];
        jobs.extend((0..7).map(mist));
        let page = shown(&json!({}), jobs);
        let lines: Vec<&str> = page.split("<li>").skip(1).collect();
        assert_eq!(lines.len(), 3, "{page}");
        assert!(lines[0].contains(">mist-*</a><span class=\"end\">7 jobs</span>"), "{page}");
        assert!(lines[0].contains("the last one <time datetime=\"2027-03-01T23:00:00+00:00\""), "{page}");
        assert!(lines[1].contains("vents") && lines[2].contains("not due"), "{page}");
        assert!(!lines[0].contains("<button"), "{page}");
    }

    #[test]
    fn a_job_that_was_made_by_hand_and_is_done_is_no_job_of_the_device() {
        let made = |due: Value| job("job-1f", &json!({ "made": "2027-03-01T06:00:00Z", "label": "water", "due": due }));
        assert!(shown(&json!({}), vec![made(Value::Null)]).contains("It has no jobs."));
        assert!(shown(&json!({}), vec![made("2027-03-02T06:00:00Z".into())]).contains("job-1f"));
    }

    #[test]
    fn a_device_without_jobs_and_place_says_so() {
        let page = shown(&json!({ "latitude": null, "longitude": null, "planning": true }), Vec::new());
        for part in ["its place is not known", "It has no jobs.", "A new plan has been requested"] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }
}
