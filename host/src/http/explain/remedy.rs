//! Remedies as data: the requests of the API that mend what an explanation describes.

use roost_scheduler::{
    names::{JobName, RunId},
    outcome::RunState,
    pause::Level,
    scheduler::{Phase, RunStatus},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::Case;
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
    #[schema(example = "Resume coop-door/north/open")]
    pub(crate) label: String,
    /// The index in `notes` of the note that it belongs to, counted from 0, if it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<usize>,
}

impl Remedy {
    fn new(method: &str, path: String, label: String) -> Self {
        Self { method: method.to_owned(), path, body: None, label, note: None }
    }

    fn of_run(path: &str, run: &RunId, label: String) -> Self {
        let body = Some(json!({ "run": run.to_string() }));
        Self { body, ..Self::new("POST", path.to_owned(), label) }
    }

    pub(super) fn replay(run: &RunId) -> Self {
        Self::of_run("/api/v1/runs/replay", run, format!("Replay {run}"))
    }

    pub(super) fn abandon(run: &RunId) -> Self {
        Self::of_run(ABANDON, run, format!("Abandon {run}"))
    }

    /// Returns the run that it abandons, if it abandons one.
    pub(crate) fn abandons(&self) -> Option<RunId> {
        let body = self.body.as_ref().filter(|_| self.path == ABANDON)?;
        body["run"].as_str()?.parse().ok()
    }

    pub(super) fn resume((plugin, device, job): &JobName, what: Level) -> Self {
        let (kind, name) = match what {
            Level::All => return Self::new("POST", "/api/v1/resume".to_owned(), "Resume everything".to_owned()),
            Level::Plugin => ("plugins", plugin.to_string()),
            Level::Device => ("devices", format!("{plugin}/{device}")),
            Level::Job => ("jobs", format!("{plugin}/{device}/{job}")),
        };
        Self::new("POST", format!("/api/v1/{kind}/{name}/resume"), format!("Resume {name}"))
    }

    pub(super) fn unskip((plugin, device, job): &JobName) -> Self {
        let name = format!("{plugin}/{device}/{job}");
        Self::new("DELETE", format!("/api/v1/jobs/{name}/skip"), format!("Do not skip {name}"))
    }

    pub(super) fn run_now((plugin, device, job): &JobName) -> Self {
        let name = format!("{plugin}/{device}/{job}");
        Self::new("POST", format!("/api/v1/jobs/{name}/run"), format!("Run {name} now"))
    }

    /// Returns the remedy for a run that waits: to abandon the run that holds its resource, or the run itself if its
    /// attempts fail. `has_note` is whether the first note is about the holder.
    pub(super) fn for_waiting(run: &RunStatus, has_note: bool) -> Option<Self> {
        match run.phase {
            Phase::Held(_) => {
                let holder = run.holders.first().map(Self::abandon);
                holder.map(|remedy| if has_note { remedy.for_note(0) } else { remedy })
            }
            Phase::Pausing(_) => Some(Self::abandon(&run.id)),
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
    pub(super) fn for_ended(&self, run: &RunView, is_allowed: bool) -> Option<Remedy> {
        match run.state {
            RunState::Failed if self.facts.can_be_replayed(&run.id) => Some(Remedy::replay(&run.id)),
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
