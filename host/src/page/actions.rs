//! The buttons. Each names the request of the API that it makes, and the whole name of what it acts on.

use maud::{Markup, html};

use super::text::WallTime;
use crate::http::{Remedy, TimelineRecord};

/// The names of a job.
#[derive(Clone, Copy, Debug)]
pub(super) struct JobRef<'a> {
    plugin: &'a str,
    device: &'a str,
    job: &'a str,
}

impl<'a> From<&'a TimelineRecord> for JobRef<'a> {
    fn from(TimelineRecord { plugin, device, job, .. }: &'a TimelineRecord) -> Self {
        Self { plugin, device, job }
    }
}

impl JobRef<'_> {
    /// Returns its whole name: `coop-door/north/close`.
    pub(super) fn name(&self) -> String {
        let Self { plugin, device, job } = self;
        format!("{plugin}/{device}/{job}")
    }

    /// Returns the name of its device, without the plugin's if that is the same.
    pub(super) fn device(&self) -> String {
        if self.plugin == self.device { self.device.to_owned() } else { format!("{}/{}", self.plugin, self.device) }
    }
}

/// Returns a button that makes a request about a job.
fn button(job: &JobRef<'_>, (method, verb): (&str, &str), (text, name, done): (&str, String, String)) -> Markup {
    let job = job.name();
    html! {
        button type="button" id={ (verb) "-" (method) "-" (job) } data-method=(method)
            data-path={ "/api/v1/jobs/" (job) "/" (verb) } data-done=(done) aria-label=(name) { (text) }
    }
}

/// Returns the button for a remedy of the API.
pub(super) fn remedy(Remedy { method, path, body, label, .. }: &Remedy) -> Markup {
    html! {
        button type="button" data-method=(method) data-path=(path) data-body=[body.as_ref()]
            data-done={ (label) ": done." } { (label) }
    }
}

pub(super) fn run_now(job: &JobRef<'_>) -> Markup {
    let name = job.name();
    button(job, ("POST", "run"), ("Run now", format!("Run {name} now"), format!("{name} runs now.")))
}

pub(super) fn skip(job: &JobRef<'_>) -> Markup {
    let name = job.name();
    button(
        job,
        ("POST", "skip"),
        ("Skip", format!("Skip the next run of {name}"), format!("The next run of {name} is skipped.")),
    )
}

pub(super) fn unskip(job: &JobRef<'_>) -> Markup {
    let name = job.name();
    let text = (
        "Do not skip",
        format!("Do not skip the next run of {name}"),
        format!("The next run of {name} is not skipped."),
    );
    button(job, ("DELETE", "skip"), text)
}

pub(super) fn pause(job: &JobRef<'_>) -> Markup {
    let name = job.name();
    button(job, ("POST", "pause"), ("Pause", format!("Pause {name}"), format!("{name} is paused.")))
}

pub(super) fn resume(job: &JobRef<'_>) -> Markup {
    let name = job.name();
    button(job, ("POST", "resume"), ("Resume", format!("Resume {name}"), format!("{name} is resumed.")))
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
