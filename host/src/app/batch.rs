//! What the loop has in hand: what is gathered for the disk, on its way there, and waits for it.

use std::{collections::VecDeque, slice};

use roost_scheduler::{
    event::{Change, Effect, Refusal},
    time::Instant,
};

use super::PendingReplies;
use crate::{clock, event_log::HostEvent, report::Report, store::StoreError};

/// Changes that are gathered no longer: a transaction must stay short, for the next one waits for it.
const CHANGES_PER_BATCH: usize = 8_192;

/// What the loop has in hand.
#[derive(Default)]
pub(super) struct CommitBatch {
    /// The number of the batch that is being gathered.
    pub(super) gathering: u64,
    pub(super) changes: Vec<Change>,
    /// Whether they are a part of something that is committed as a whole.
    pub(super) partial: bool,
    /// Whether a batch is on its way to the disk.
    pub(super) committing: bool,
    /// Since when.
    pub(super) committing_since: Option<std::time::Instant>,
    /// What is to be told when it is there, so that whoever hears of it finds it there.
    pub(super) untold: Vec<HostEvent>,
    /// The batches before this one are durable.
    pub(super) durable: u64,
    /// Effects that wait for the batch of that number, or, when it is durable, for their turn.
    pub(super) waiting: VecDeque<(u64, Effect)>,
    /// When the scheduler wants to be woken.
    pub(super) wake: Option<Instant>,
    /// Why nothing is kept any more: then nothing more is begun either.
    pub(super) failed: Option<Report>,
    /// Since when. Not by the wall clock, which may be set (I11).
    pub(super) failed_at: Option<std::time::Instant>,
}

impl CommitBatch {
    /// The batch that has to be durable before everything is. What comes after effects that wait does so too.
    pub(super) fn newest_batch(&self) -> Option<u64> {
        if !self.changes.is_empty() {
            return Some(self.gathering);
        }
        if self.committing { Some(self.gathering - 1) } else { self.waiting.back().map(|(batch, _)| *batch) }
    }

    /// The next effect that waited for a batch that is durable now.
    pub(super) fn next_durable(&mut self) -> Option<Effect> {
        self.waiting.pop_front_if(|(batch, _)| *batch < self.durable).map(|(_, effect)| effect)
    }

    /// Whether there is something to hand over, and the store would take it.
    pub(super) fn can_be_kept(&self) -> bool {
        !self.committing && !self.changes.is_empty() && !self.partial && self.failed.is_none()
    }

    /// Whether what was gathered is to be handed over now: when something waits for it, or there is enough of it.
    pub(super) fn is_due(&self) -> bool {
        let is_awaited = self.waiting.back().is_some_and(|(batch, _)| *batch == self.gathering);
        is_awaited || self.changes.len() >= CHANGES_PER_BATCH
    }

    /// A commit failed: memory must not run ahead of the disk, so what waits for it never starts. Who waits is told.
    pub(super) fn fail(&mut self, error: &StoreError, answers: &PendingReplies) {
        let report = Report::from(error);
        let why = [slice::from_ref(&report.what), &report.causes].concat().join(": ");
        let lost = || Err(Refusal::Lost(why.clone()));
        for (batch, effect) in self.waiting.drain(..) {
            if let Effect::Answer { request, answer } = effect {
                answers.give(request, if batch < self.durable { answer } else { lost() });
            }
        }
        self.committing = false;
        self.untold.clear();
        self.changes.clear();
        self.partial = false;
        self.failed_at = Some(clock::monotonic());
        tracing::error!("stopping, for what is decided cannot be kept any more: {report}");
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
    fn what_nothing_waits_for_is_gathered_until_there_is_enough_of_it() {
        assert!(!gathered(CHANGES_PER_BATCH - 1).is_due());
        assert!(gathered(CHANGES_PER_BATCH).is_due());
    }

    #[test]
    fn what_an_effect_waits_for_is_handed_over_at_once() {
        let mut hand = gathered(1);
        hand.waiting.push_back((6, Effect::NotifyDurable(CommitToken::MIN)));
        assert!(!hand.is_due(), "that one waits for the batch that is on its way");
        hand.waiting.push_back((7, Effect::NotifyDurable(CommitToken::MAX)));
        assert!(hand.is_due());
    }

    #[test]
    fn what_is_durable_has_its_turn_in_order() {
        let mut hand = CommitBatch { gathering: 8, durable: 7, ..CommitBatch::default() };
        hand.waiting
            .extend([(6, Effect::NotifyDurable(CommitToken::MIN)), (7, Effect::NotifyDurable(CommitToken::MAX))]);
        assert_eq!(hand.newest_batch(), Some(7), "what comes now must not overtake them");
        assert!(matches!(hand.next_durable(), Some(Effect::NotifyDurable(CommitToken::MIN))));
        assert!(hand.next_durable().is_none(), "the other batch is on its way");
        hand.durable = 8;
        assert!(matches!(hand.next_durable(), Some(Effect::NotifyDurable(CommitToken::MAX))));
        assert_eq!(hand.newest_batch(), None);
    }

    #[test]
    fn whoever_waits_for_what_cannot_be_kept_is_told() {
        let (answers, run) = (PendingReplies::default(), "coop/north/open/2027-03-01T06:30:00Z");
        let answer = |request| Effect::Answer { request, answer: Ok(Done::Run(run.parse().unwrap())) };
        let ((kept, mut told), (lost, mut not_kept)) = (answers.expect(), answers.expect());
        let mut hand = CommitBatch { durable: 7, ..gathered(1) };
        hand.waiting.extend([(6, answer(kept)), (7, answer(lost))]);
        hand.fail(&StoreError::Full("roost.db".into()), &answers);
        assert_eq!(told.try_recv().unwrap(), Ok(Done::Run(run.parse().unwrap())));
        let why = not_kept.try_recv().unwrap().unwrap_err().to_string();
        assert!(why.starts_with("it could not be saved, and the host is stopping: there is no space"), "{why}");
    }

    #[test]
    fn whoever_is_refused_something_does_not_wait_for_the_disk() {
        let answer = |answer| Effect::Answer { request: 1, answer };
        assert!(answer(Ok(Done::Nothing)).after_commit());
        assert!(!answer(Err(Refusal::Stopping)).after_commit());
    }

    #[test]
    fn nothing_is_handed_over_twice_at_a_time_or_after_a_failure() {
        assert!(gathered(1).can_be_kept());
        assert!(!gathered(0).can_be_kept());
        assert!(!CommitBatch { partial: true, ..gathered(1) }.can_be_kept());
        assert!(!CommitBatch { committing: true, ..gathered(1) }.can_be_kept());
        assert!(!CommitBatch { failed: Some(Report::new("a full disk")), ..gathered(1) }.can_be_kept());
    }
}
