//! Remedies as data: the requests of the API that mend what an explanation describes.

use roost_scheduler::{
    names::{JobName, RunId},
    outcome::RunState,
    pause::Level,
    scheduler::{Phase, RunStatus},
    time::Instant,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Case, text::Sentence};
use crate::store::RunView;

const ABANDON: &str = "/api/v1/runs/abandon";

/// A request that mends what the explanation describes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Remedy {
    /// The method of the request.
    #[schema(pattern = "^(POST|DELETE)$")]
    pub(crate) method: String,
    /// The path of the request.
    #[schema(example = "/api/v1/jobs/coop-door/north/open/resume")]
    pub(crate) path: String,
    /// The JSON body of the request, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) body: Option<serde_json::Value>,
    /// What the request does, for a button.
    /// What concerns one run names it by its local time.
    #[schema(example = "Do not skip coop-door/north/open of Mon 2027-03-01 06:30:00 GMT")]
    pub(crate) label: String,
    /// The command that does the same.
    #[schema(example = "roost skip coop-door/north/open --undo")]
    pub(crate) command: String,
    /// The index in `notes` of the note that it belongs to, counted from 0, if it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<usize>,
}

impl Remedy {
    fn new(method: &str, path: String, label: String, command: String) -> Self {
        Self { method: method.to_owned(), path, body: None, label, command, note: None }
    }

    fn of_run(path: &str, run: &RunId, label: String, verb: &str) -> Self {
        let body = Some(json!({ "run": run.to_string() }));
        Self { body, ..Self::new("POST", path.to_owned(), label, format!("roost {verb} {run}")) }
    }

    pub(super) fn replay(run: &RunId, writer: &Sentence) -> Self {
        Self::of_run("/api/v1/runs/replay", run, format!("Replay {}", writer.run(run)), "replay")
    }

    pub(super) fn abandon(run: &RunId, writer: &Sentence) -> Self {
        Self::of_run(ABANDON, run, format!("Abandon {}", writer.run(run)), "abandon")
    }

    /// Returns the run that it abandons, if it abandons one.
    pub(crate) fn abandons(&self) -> Option<RunId> {
        let body = self.body.as_ref().filter(|_| self.path == ABANDON)?;
        body["run"].as_str()?.parse().ok()
    }

    pub(super) fn resume((plugin, device, job): &JobName, what: Level) -> Self {
        let (kind, name) = match what {
            Level::All => {
                let path = "/api/v1/resume".to_owned();
                return Self::new("POST", path, "Resume everything".to_owned(), "roost resume --all".to_owned());
            }
            Level::Plugin => ("plugins", plugin.to_string()),
            Level::Device => ("devices", format!("{plugin}/{device}")),
            Level::Job => ("jobs", format!("{plugin}/{device}/{job}")),
        };
        let command = format!("roost resume {name}");
        Self::new("POST", format!("/api/v1/{kind}/{name}/resume"), format!("Resume {name}"), command)
    }

    /// Returns the remedy that undoes the skip of an occurrence.
    pub(super) fn unskip((plugin, device, job): &JobName, skipped: Instant, writer: &Sentence) -> Self {
        let name = format!("{plugin}/{device}/{job}");
        let label = format!("Do not skip {name} of {}", writer.local(skipped));
        Self::new("DELETE", format!("/api/v1/jobs/{name}/skip"), label, format!("roost skip {name} --undo"))
    }

    pub(super) fn run_now((plugin, device, job): &JobName) -> Self {
        let name = format!("{plugin}/{device}/{job}");
        let command = format!("roost run-now {name}");
        Self::new("POST", format!("/api/v1/jobs/{name}/run"), format!("Run {name} now"), command)
    }

    /// Returns the remedy for a run that waits: to abandon the run that holds its resource, or the run itself if its
    /// attempts fail. `has_note` is whether the first note is about the holder.
    pub(super) fn for_waiting(run: &RunStatus, has_note: bool, writer: &Sentence) -> Option<Self> {
        match run.phase {
            Phase::Held(_) => {
                let holder = run.holders.first().map(|holder| Self::abandon(holder, writer));
                holder.map(|remedy| if has_note { remedy.for_note(0) } else { remedy })
            }
            Phase::Pausing(_) => Some(Self::abandon(&run.id, writer)),
            _ => None,
        }
    }

    #[must_use]
    pub(super) fn for_note(self, note: usize) -> Self {
        Self { note: Some(note), ..self }
    }
}

impl Case {
    /// Returns the remedy for a run that has ended: a replay, or another run of its job. `is_allowed` is whether a run
    /// that was denied would be allowed now.
    pub(super) fn for_ended(&self, run: &RunView, is_allowed: bool, writer: &Sentence) -> Option<Remedy> {
        match run.state {
            RunState::Failed if self.facts.can_be_replayed(&run.id) => Some(Remedy::replay(&run.id, writer)),
            RunState::Failed | RunState::Missed | RunState::Skipped | RunState::Cancelled => self.run_now(),
            RunState::Denied if is_allowed => self.run_now(),
            RunState::Denied | RunState::Succeeded | RunState::Running => None,
        }
    }

    /// Returns the remedy to run the job now, if nothing of it is under way.
    pub(super) fn run_now(&self) -> Option<Remedy> {
        let can_run = self.facts.planned.is_some() && self.facts.under_way.is_empty() && !self.facts.is_stopping;
        can_run.then(|| Remedy::run_now(&self.name))
    }
}
