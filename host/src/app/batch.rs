//! The commit batch: changes that are gathered for the store, and the effects that wait for them.

use std::{collections::VecDeque, slice};

use roost_scheduler::{
    event::{Change, Effect, Refusal},
    time::Instant,
};

use super::{PendingReplies, limits};
use crate::{clock, event_log::HostEvent, report::Report, store::StoreError};

/// Changes that are being gathered or committed, and the effects and events that wait for them.
#[derive(Default)]
pub(super) struct CommitBatch {
    /// The number of the batch that is being gathered.
    pub(super) gathering: u64,
    pub(super) changes: Vec<Change>,
    /// Whether `changes` are incomplete: they are committed only together with those of the next step.
    pub(super) partial: bool,
    /// Whether a batch is being committed.
    pub(super) committing: bool,
    /// When that commit began.
    pub(super) committing_since: Option<std::time::Instant>,
    /// Events to publish when that batch is durable, so that a subscriber finds them in the database.
    pub(super) pending: Vec<HostEvent>,
    /// The batches with lower numbers are durable.
    pub(super) durable: u64,
    /// Effects that wait for the batch with that number, or, when it is durable, for their turn.
    pub(super) waiting: VecDeque<(u64, Effect)>,
    /// When the scheduler asked to be woken.
    pub(super) wake: Option<Instant>,
    /// Why the store has failed: then nothing more is started either.
    pub(super) failed: Option<Report>,
    /// When the store failed, by the monotonic clock (I11).
    pub(super) failed_at: Option<std::time::Instant>,
}

impl CommitBatch {
    /// Returns the number of the batch that has to be durable before all changes so far are, if any. Behind effects
    /// that wait, later effects wait as well, so that they keep their order.
    pub(super) fn newest_batch(&self) -> Option<u64> {
        if !self.changes.is_empty() {
            return Some(self.gathering);
        }
        if self.committing { Some(self.gathering - 1) } else { self.waiting.back().map(|(batch, _)| *batch) }
    }

    /// Takes the next effect whose batch is durable.
    pub(super) fn next_durable(&mut self) -> Option<Effect> {
        self.waiting.pop_front_if(|(batch, _)| *batch < self.durable).map(|(_, effect)| effect)
    }

    /// Checks whether there are complete changes, and the store can take them.
    pub(super) fn can_commit(&self) -> bool {
        !self.committing && !self.changes.is_empty() && !self.partial && self.failed.is_none()
    }

    /// Checks whether the gathered changes are to be committed now: an effect waits for them, or there are enough.
    pub(super) fn is_due(&self) -> bool {
        let is_awaited = self.waiting.back().is_some_and(|(batch, _)| *batch == self.gathering);
        is_awaited || self.changes.len() >= limits::CHANGES_PER_BATCH
    }

    /// Handles a failed commit: memory must not run ahead of the disk, so the waiting effects never start, and waiting
    /// requests are answered with an error.
    pub(super) fn fail(&mut self, error: &StoreError, replies: &PendingReplies) {
        let report = Report::from(error);
        let why = [slice::from_ref(&report.what), &report.causes].concat().join(": ");
        let lost = || Err(Refusal::Lost(why.clone()));
        for (batch, effect) in self.waiting.drain(..) {
            if let Effect::Answer { request, answer } = effect {
                replies.send(request, if batch < self.durable { answer } else { lost() });
            }
        }
        self.committing = false;
        self.pending.clear();
        self.changes.clear();
        self.partial = false;
        self.failed_at = Some(clock::monotonic());
        tracing::error!("stopping, because decisions can no longer be written to the database: {report}");
        self.failed.get_or_insert(report);
    }
}

#[cfg(test)]
mod tests {
    use roost_scheduler::event::{CommitToken, Done};

    use super::*;

    fn gathered(changes: usize) -> CommitBatch {
        let change = Change::TombstonesForgotten { before: Instant::MIN };
        CommitBatch { gathering: 7, changes: vec![change; changes], ..CommitBatch::default() }
    }

    #[test]
    fn changes_that_nothing_waits_for_are_gathered_until_there_are_enough() {
        assert!(!gathered(limits::CHANGES_PER_BATCH - 1).is_due());
        assert!(gathered(limits::CHANGES_PER_BATCH).is_due());
    }

    #[test]
    fn changes_that_an_effect_waits_for_are_committed_at_once() {
        let mut batch = gathered(1);
        batch.waiting.push_back((6, Effect::NotifyDurable(CommitToken::MIN)));
        assert!(!batch.is_due(), "that one waits for the batch that is being committed");
        batch.waiting.push_back((7, Effect::NotifyDurable(CommitToken::MAX)));
        assert!(batch.is_due());
    }

    #[test]
    fn durable_effects_start_in_order() {
        let mut batch = CommitBatch { gathering: 8, durable: 7, ..CommitBatch::default() };
        batch
            .waiting
            .extend([(6, Effect::NotifyDurable(CommitToken::MIN)), (7, Effect::NotifyDurable(CommitToken::MAX))]);
        assert_eq!(batch.newest_batch(), Some(7), "later effects must not overtake them");
        assert!(matches!(batch.next_durable(), Some(Effect::NotifyDurable(CommitToken::MIN))));
        assert!(batch.next_durable().is_none(), "the other batch is being committed");
        batch.durable = 8;
        assert!(matches!(batch.next_durable(), Some(Effect::NotifyDurable(CommitToken::MAX))));
        assert_eq!(batch.newest_batch(), None);
    }

    #[test]
    fn requests_that_wait_for_a_failed_commit_get_an_error() {
        let (replies, run) = (PendingReplies::default(), "coop/north/open/2027-03-01T06:30:00Z");
        let answer = |request| Effect::Answer { request, answer: Ok(Done::Run(run.parse().unwrap())) };
        let ((kept, mut durable), (lost, mut failed)) = (replies.register(), replies.register());
        let mut batch = CommitBatch { durable: 7, ..gathered(1) };
        batch.waiting.extend([(6, answer(kept)), (7, answer(lost))]);
        batch.fail(&StoreError::Full("roost.db".into()), &replies);
        assert_eq!(durable.try_recv().unwrap(), Ok(Done::Run(run.parse().unwrap())));
        let why = failed.try_recv().unwrap().unwrap_err().to_string();
        assert!(why.starts_with("it could not be saved, and the host is stopping: there is no space"), "{why}");
    }

    #[test]
    fn refused_requests_do_not_wait_for_the_disk() {
        let answer = |answer| Effect::Answer { request: 1, answer };
        assert!(answer(Ok(Done::Nothing)).after_commit());
        assert!(!answer(Err(Refusal::Stopping)).after_commit());
    }

    #[test]
    fn one_batch_is_committed_at_a_time_and_none_after_a_failure() {
        assert!(gathered(1).can_commit());
        assert!(!gathered(0).can_commit());
        assert!(!CommitBatch { partial: true, ..gathered(1) }.can_commit());
        assert!(!CommitBatch { committing: true, ..gathered(1) }.can_commit());
        assert!(!CommitBatch { failed: Some(Report::new("a full disk")), ..gathered(1) }.can_commit());
    }
}
