//! The buttons. Each names the request of the API that it makes, and the whole name of what it acts on.

use maud::{Markup, html};
use serde_json::json;

use super::text::{self, WallTime};
use crate::{
    http::{CollapsedRecord, Explanation, JobRecord, Remedy, TimelineRecord, runs::RunRecord},
    report::counted,
};

/// The names of a job.
#[derive(Clone, Copy, Debug)]
pub(super) struct JobRef<'a> {
    plugin: &'a str,
    device: &'a str,
    job: &'a str,
}

/// Makes the names of the job from a record that has them.
macro_rules! job_of {
    ($($record:ident),+) => {
        $(impl<'a> From<&'a $record> for JobRef<'a> {
            fn from($record { plugin, device, job, .. }: &'a $record) -> Self {
                Self { plugin, device, job }
            }
        })+
    };
}

job_of!(TimelineRecord, CollapsedRecord, RunRecord, Explanation, JobRecord);

impl JobRef<'_> {
    /// Returns its whole name: `coop-door/north/close`.
    pub(super) fn name(&self) -> String {
        let Self { plugin, device, job } = self;
        format!("{plugin}/{device}/{job}")
    }

    /// Returns the address of its page.
    pub(super) fn page(&self) -> String {
        format!("/jobs/{}", self.name())
    }

    /// Returns the address of the page of its device.
    pub(super) fn device_page(&self) -> String {
        let Self { plugin, device, .. } = self;
        format!("/devices/{plugin}/{device}")
    }

    /// Returns the name of its device, without the plugin's if that is the same.
    pub(super) fn device(&self) -> String {
        if self.plugin == self.device { self.device.to_owned() } else { format!("{}/{}", self.plugin, self.device) }
    }
}

/// Returns a button that makes a request about a job, and the request that undoes it. The two buttons of a pair have one
/// id, so that the focus stays where one takes the place of the other.
fn button(
    job: &JobRef<'_>,
    (id, method, verb): (&str, &str, &str),
    (text, name, done): (&str, String, String),
    undo: Option<(&str, &str)>,
) -> Markup {
    let job = job.name();
    let path = |verb: &str| format!("/api/v1/jobs/{job}/{verb}");
    html! {
        button type="button" id={ (id) "-" (job) } data-method=(method) data-path=(path(verb)) data-done=(done)
            data-undo-method=[undo.map(|(method, _)| method)] data-undo-path=[undo.map(|(_, verb)| path(verb))]
            aria-label=(name) { (text) }
    }
}

/// Returns the button that pauses a device, or resumes it.
pub(super) fn pause_device(name: &str, is_paused: bool) -> Markup {
    let (verb, text, done) =
        if is_paused { ("resume", "Resume", "is resumed") } else { ("pause", "Pause", "is paused") };
    let path = |verb: &str| format!("/api/v1/devices/{name}/{verb}");
    let undo = Some(path("resume")).filter(|_| !is_paused);
    html! {
        button type="button" id={ "pause-" (name) } data-method="POST" data-path=(path(verb)) data-done={ (name) " " (done) "." }
            data-undo-method=[undo.as_ref().map(|_| "POST")] data-undo-path=[undo] aria-label={ (text) " " (name) } { (text) }
    }
}

/// Returns the button that pauses all devices with a fault of one reason, and then undoes that.
pub(super) fn pause_faulty(reason: &str, devices: usize) -> Markup {
    let all = format!("the {}", text::count(devices, "device"));
    html! {
        button type="button" id={ "pause-" (reason.replace(char::is_whitespace, "-")) } data-method="POST" data-path="/api/v1/devices/pause" data-body=(json!({ "fault": reason }))
            data-done={ "Paused: " (all) "." } data-undo-method="POST" data-undo-path="/api/v1/devices/resume" data-undo-answer=""
            aria-label={ "Pause " (all) ": " (reason) } { "Pause " (all) }
    }
}

/// Returns the button that resumes a plugin.
pub(super) fn resume_plugin(name: &str) -> Markup {
    html! {
        button type="button" id={ "resume-" (name) } data-method="POST" data-path={ "/api/v1/plugins/" (name) "/resume" }
            data-done={ (name) " is resumed." } { "Resume " (name) }
    }
}

/// Returns the button that removes the pause of all.
pub(super) fn resume_all() -> Markup {
    html! {
        button type="button" id="resume-all" data-method="POST" data-path="/api/v1/resume"
            data-done="All that is not paused itself is resumed." { "Resume everything" }
    }
}

/// Returns the button for a remedy of the API.
pub(super) fn remedy(Remedy { method, path, body, label, .. }: &Remedy) -> Markup {
    html! {
        button type="button" data-method=(method) data-path=(path) data-body=[body.as_ref()]
            data-done={ (label) ": done." } { (label) }
    }
}

/// Returns the button that abandons a run, after a question that names the messages that it would never send. `text` names
/// the run if it is not the one that is shown.
pub(super) fn abandon(run: &RunRecord, text: Option<&str>) -> Markup {
    let name = text.map_or_else(|| format!("Abandon {}", run.run), str::to_owned);
    html! {
        button type="button" id={ "abandon-" (run.run) } data-method="POST" data-path="/api/v1/runs/abandon"
            data-body=(json!({ "run": run.run })) data-confirm=(unsent(run)) data-done={ (run.run) " is abandoned." }
            aria-label=(name) { (text.unwrap_or("Abandon")) }
    }
}

/// Asks whether a run is to be abandoned.
fn unsent(run: &RunRecord) -> String {
    let (sent, of) = run.next.as_ref().map_or((0, 0), |next| (next.step - 1, next.of));
    let messages: Vec<String> = run.messages.iter().skip(sent).map(text::message).collect();
    let more = of.saturating_sub(sent + messages.len());
    let mut question = format!("Abandon {}? It would never send", run.run);
    if run.messages.is_empty() {
        return question + " its messages.";
    }
    question += ":";
    for message in messages {
        question += "\n";
        question += &message;
    }
    if more > 0 {
        question += &format!("\n{}", counted(more as u64, "more message"));
    }
    question
}

pub(super) fn run_now(job: &JobRef<'_>) -> Markup {
    let name = job.name();
    let text = ("Run now", format!("Run {name} now"), format!("{name} runs now."));
    button(job, ("run", "POST", "run"), text, None)
}

fn skip(job: &JobRef<'_>) -> Markup {
    let name = job.name();
    let text = ("Skip", format!("Skip the next run of {name}"), format!("The next run of {name} is skipped."));
    button(job, ("skip", "POST", "skip"), text, Some(("DELETE", "skip")))
}

fn unskip(job: &JobRef<'_>) -> Markup {
    let name = job.name();
    let text = (
        "Do not skip",
        format!("Do not skip the next run of {name}"),
        format!("The next run of {name} is not skipped."),
    );
    button(job, ("skip", "DELETE", "skip"), text, None)
}

fn pause(job: &JobRef<'_>) -> Markup {
    let name = job.name();
    let text = ("Pause", format!("Pause {name}"), format!("{name} is paused."));
    button(job, ("pause", "POST", "pause"), text, Some(("POST", "resume")))
}

fn resume(job: &JobRef<'_>) -> Markup {
    let name = job.name();
    let text = ("Resume", format!("Resume {name}"), format!("{name} is resumed."));
    button(job, ("pause", "POST", "resume"), text, None)
}

/// Returns the button that pauses a job, or resumes it. `paused` is what is paused.
pub(super) fn pause_or_resume(job: &JobRef<'_>, paused: Option<&str>) -> Markup {
    if paused == Some("job") { resume(job) } else { pause(job) }
}

/// Returns the buttons that skip the next run of a job and pause it, or undo that. `paused` is what is paused.
pub(super) fn skip_and_pause(job: &JobRef<'_>, paused: Option<&str>, is_skipped: bool) -> Markup {
    html! {
        @match paused {
            None if is_skipped => (unskip(job)),
            None => (skip(job)),
            Some(_) => {},
        }
        (pause_or_resume(job, paused))
    }
}

/// Returns the link to the explanation of a run.
pub(super) fn why(record: &TimelineRecord, now: &WallTime) -> Markup {
    let (name, at) = (JobRef::from(record).name(), &record.occurrence);
    let when = WallTime::parse(&record.time, &record.time_zone).map_or_else(|| at.clone(), |time| time.write(now));
    html! {
        a.why.button id={ "why-" (name) "-" (at) } href={ "/why/" (name) "?at=" (at.replace('+', "%2B")) }
            aria-label={ "Why " (name) " at " (when) } { "Why?" }
    }
}
