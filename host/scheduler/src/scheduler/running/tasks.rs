//! Tasks: a run calls its plugin when it is due, and continues with the messages of the reply.

use crate::{
    event::CallId,
    model::Reply,
    mutants::{Mutation, mutated},
    outcome::{Attempt, Cause, Outcome, Success},
    scheduler::state::Scheduler,
};

impl Scheduler {
    /// Handles a plugin's reply. A reply for a run that has ended or stopped waiting is ignored.
    pub(crate) fn task_answered(&mut self, call: CallId, reply: Result<Reply, String>) {
        let Some(slot) = self.delivery.end_call(call) else { return };
        let Some(run) = self.runs.get_mut(slot) else { return };
        let Reply { steps, replan, note } = match reply {
            Ok(reply) => reply,
            Err(why) => {
                // Other runs may hold its resource until the next attempt (I7).
                self.give_up_resource(slot);
                return self.attempt_failed(slot, Attempt::Unanswered(why));
            }
        };
        if self.now.ms_since(run.start) > i64::from(run.policy.grace_ms) {
            run.held_by = Some(Cause::SlowPlugin);
        }
        // The attempts at the messages are counted anew.
        (run.progress.attempts, run.tried_since) = (0, None);
        run.progress.note = note.map(Into::into);
        let id = run.id.clone();
        if steps.is_empty() {
            self.end(slot, Outcome::Succeeded(Success::PLAIN));
        } else {
            run.body = run.body.with_steps(&steps);
            run.steps = steps.len();
            if run.key.is_some() && !mutated(Mutation::TaskReplyIsUnsaved) {
                self.save_run(slot);
            }
            self.enqueue(slot);
        }
        if replan && let Some(device) = self.catalog.device_key(&id.plugin, &id.device) {
            self.request_plan(device);
        }
    }
}
