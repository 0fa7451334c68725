//! The messages about the ends of runs: not retained, and thinned out where a job is due often.

use std::collections::HashMap;

use bytes::Bytes;
use roost_scheduler::{event::RunEnded, names::JobId, zone::Zone};
use serde_json::json;

use super::{limits, tokens::Tokens, topics::Name};

/// How often the runs of jobs have ended lately.
#[derive(Default)]
pub(super) struct RunEvents {
    recent: HashMap<(Name, JobId), Tokens>,
}

impl RunEvents {
    /// Writes the message about the end of a run, unless there were many of its job lately.
    pub(super) fn write(&mut self, run: &RunEnded, zone: Zone) -> Option<Bytes> {
        if self.recent.len() >= limits::FREQUENT {
            self.recent.retain(|_, tokens| tokens.next().is_some());
            if self.recent.len() >= limits::FREQUENT {
                self.recent.clear();
            }
        }
        let (id, outcome) = (&run.id, &run.outcome);
        let key = ((id.plugin.clone(), id.device.clone()), id.job.clone());
        if !self.recent.entry(key).or_insert_with(|| Tokens::full(limits::BURST)).take() {
            return None;
        }
        let reason = Some(outcome.reason(&|at| at.in_zone(zone)).to_string()).filter(|reason| !reason.is_empty());
        let event = json!({
            "event_type": outcome.state().as_str(),
            "run": id.to_string(),
            "job": id.job.as_str(),
            "reason": reason,
        });
        Some(event.to_string().into())
    }
}
