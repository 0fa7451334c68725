//! Why a run may not start: a pause, its grace, its plugin's grant, its resource.

use crate::{
    body::StepRef,
    mutants::{Mutation, mutated},
    outcome::{Cause, Denied, Missed, MissedReason, Outcome, Skipped},
    policy::grace,
    runs::Run,
    scheduler::state::Scheduler,
    topic::{Excess, Topic},
};

impl Scheduler {
    /// Returns why a run may not start, if so.
    pub(crate) fn start_refusal(&self, run: &Run) -> Option<Outcome> {
        if let Some(by) = self.paused_run(run) {
            return Some(Outcome::Skipped(Skipped::Paused { by, several: None }));
        }
        let late_ms = self.now.ms_since(run.start);
        if grace::is_over(&run.policy, run.start, self.now) && !mutated(Mutation::RunStartsAfterGrace) {
            // A run with a grace that ended before the link came up was not held up by its rate.
            let waited_for_link =
                run.is_over_rate() && run.grace_end().is_some_and(|end| end <= self.delivery.link_since());
            let cause = match &run.held_by {
                Some(cause) if !waited_for_link => cause.clone(),
                _ if self.agenda.was_skipped_by_clock(run.start) => Cause::ClockSet,
                _ if run.start < self.agenda.since() => Cause::HostAway,
                _ if run.start < self.delivery.link_since() => Cause::LinkDown,
                _ => Cause::Busy,
            };
            let why = MissedReason::TooLate { late_ms, grace_ms: run.policy.grace_ms, cause };
            return Some(Outcome::Missed(Missed { why, several: None }));
        }
        if let Some(denied) = self.denied_resource(run) {
            return Some(Outcome::Denied(denied));
        }
        self.denied(run).map(Outcome::Denied)
    }

    /// Returns why a run may not have its resource: checked again, because the settings may have changed since.
    fn denied_resource(&self, run: &Run) -> Option<Denied> {
        let name = run.policy.needs.as_ref()?;
        let Some(rule) = self.resources.rule(name) else { return Some(Denied::Resource(name.clone())) };
        let hold_ms = run.steps.checked_sub(1).and_then(|last| run.body.step(last)).map_or(0, |step| step.after_ms);
        let is_ignored =
            |denied: &Denied| matches!(denied, Denied::NotGranted(_)) && mutated(Mutation::ResourceIsNotGranted);
        rule.denied(name, &run.id.plugin, hold_ms).filter(|denied| !is_ignored(denied))
    }

    /// Checks a run against its plugin's grant again before it starts (I8). All its steps are checked then, because
    /// owed steps use the grant under which the run started.
    fn denied(&self, run: &Run) -> Option<Denied> {
        let grant = &self.catalog.plugin_named(&run.id.plugin)?.grant;
        let denial = |step: StepRef<'_>| {
            if let Some(excess) = grant.excess(&self.host.topic, step.topic(), step.qos, step.retain) {
                let topic = Topic::unchecked(step.topic());
                return Some(match excess {
                    Excess::Topic | Excess::HostTopic if mutated(Mutation::TopicsAreNotGranted) => return None,
                    Excess::Qos | Excess::Retain if mutated(Mutation::GrantCeilingsAreIgnored) => return None,
                    Excess::Topic => Denied::Topic(topic),
                    Excess::HostTopic => Denied::HostTopic(topic),
                    Excess::Qos => Denied::Qos { topic, qos: step.qos, most: grant.max_qos },
                    Excess::Retain => Denied::Retain(topic),
                });
            }
            let report = step.confirm()?.topic;
            let is_granted = grant.allows_subscribe(report.as_str()) || mutated(Mutation::ReportsAreNotGranted);
            (!is_granted).then_some(Denied::Report(report))
        };
        run.body.steps().find_map(denial)
    }
}
