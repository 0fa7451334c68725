//! Occurrences that have passed: those that are not caught up are recorded, and the newest one may become a run.

use crate::{
    event::JobKey,
    limits,
    outcome::{Level, Missed, MissedReason, Outcome, Several, Skipped},
    scheduler::occurrences::admission::Due,
    scheduler::state::Scheduler,
    time::{Instant, Site},
    trigger::{Almanac, Search, Trigger},
};

/// The occurrences of a job that have passed.
pub(crate) struct PassedOccurrences {
    pub(crate) key: JobKey,
    pub(crate) site: Site,
    pub(crate) oldest: Instant,
    pub(crate) newest: Instant,
    pub(crate) before_newest: Instant,
    /// Their number, without the newest.
    pub(crate) count: u32,
    /// Whether there are more than were counted.
    pub(crate) more: bool,
}

impl Scheduler {
    /// Returns the stretch that the clock was set forward over and that a job had decided before the clock was set
    /// back: nothing in it is caught up.
    fn decided_before(&self, key: JobKey) -> Option<(Instant, Instant)> {
        self.agenda.decided_before(self.catalog.decided(key))
    }

    /// Skips a job's occurrences up to the end of the stretch that was decided before the clock was set back. Returns
    /// whether its next occurrence was one of them.
    pub(crate) fn skip_decided(&mut self, key: JobKey, occurrence: Instant) -> bool {
        let is_in = |(from, to): &(Instant, Instant)| *from < occurrence && occurrence <= *to;
        let Some((_, to)) = self.decided_before(key).filter(is_in) else { return false };
        self.resume_after(key, to);
        true
    }

    pub(crate) fn resume_after(&mut self, key: JobKey, watermark: Instant) {
        self.save_runs_of(key);
        self.disarm_timer(key);
        let next = self.next_after(key, watermark);
        let before = self.catalog.job(key).and_then(|state| state.next.due());
        self.advance(key, watermark, next);
        self.move_skip(key, before);
        self.save_progress(key);
    }

    /// Returns the occurrences of a job that have passed up to an instant.
    pub(crate) fn passed_occurrences(&mut self, until: Instant, key: JobKey) -> Option<PassedOccurrences> {
        let state = self.catalog.job(key)?;
        let (oldest, trigger) = (state.next.due()?, state.job.trigger.clone());
        let site = self.catalog.device(state.device)?.site;
        let until = match self.decided_before(key) {
            Some((from, _)) if oldest <= from => until.min(from),
            _ => until,
        };
        let mut passed = PassedOccurrences::only(key, site, oldest);
        passed.count_until(&trigger, until, self.agenda.almanac());
        Some(passed)
    }

    /// Admits the newest occurrence, and records the older ones as missed.
    pub(crate) fn admit_newest(&mut self, passed: &PassedOccurrences) {
        let PassedOccurrences { key, site, oldest, newest, before_newest, count, more } = *passed;
        if count > 0 {
            let several = Some(Several { since: oldest, count, more });
            let missed = Missed { why: MissedReason::Superseded { job: None, by: newest }, several };
            let id = self.run_id(key, before_newest);
            self.decide(key, id, Outcome::Missed(missed));
        }
        let Some(state) = self.catalog.job(key) else { return };
        let (job, device) = (state.job.clone(), state.device);
        let jitter_ms = self.jitter_of(&job, device, newest, &site);
        let following = self.next_after(key, newest);
        self.admit(key, Due { occurrence: newest, jitter_ms, following });
    }

    /// Records the occurrences that are due during a pause as skipped.
    pub(crate) fn record_paused(&mut self, key: JobKey, what: Level, until: Instant) {
        self.disarm_timer(key);
        let Some(passed) = self.passed_occurrences(until, key) else { return };
        self.record_passed(&passed, |several| Outcome::Skipped(Skipped::Paused { what, several }));
    }

    /// Records an occurrence that the operator skips.
    pub(crate) fn record_skipped(&mut self, key: JobKey, occurrence: Instant) {
        self.disarm_timer(key);
        let Some(site) = self.catalog.site_of(key) else { return };
        self.record_passed(&PassedOccurrences::only(key, site, occurrence), |_| Outcome::Skipped(Skipped::ByOperator));
    }

    pub(crate) fn record_missed(&mut self, passed: &PassedOccurrences, why: MissedReason) {
        self.record_passed(passed, |several| Outcome::Missed(Missed { why, several }));
    }

    /// Records all passed occurrences with one outcome; none of them is admitted.
    fn record_passed(&mut self, passed: &PassedOccurrences, outcome: impl FnOnce(Option<Several>) -> Outcome) {
        let PassedOccurrences { key, oldest: since, newest, count, more, .. } = *passed;
        self.save_runs_of(key);
        let id = self.run_id(key, newest);
        let following = self.next_after(key, newest);
        self.advance(key, newest, following);
        let several = Some(Several { since, count: count + 1, more }).filter(|_| count > 0);
        self.decide(key, id, outcome(several));
    }
}

impl PassedOccurrences {
    fn only(key: JobKey, site: Site, at: Instant) -> Self {
        Self { key, site, oldest: at, newest: at, before_newest: at, count: 0, more: false }
    }

    /// Finds the newest of several passed occurrences, and counts the others.
    fn count_until(&mut self, trigger: &Trigger, until: Instant, almanac: &mut Almanac) {
        if let Trigger::Every(every) = trigger {
            let period_ms = i64::from(every.period_ms);
            let passed = until.ms_since(self.oldest).max(0) / period_ms;
            self.newest = self.oldest.plus_ms(passed * period_ms);
            self.before_newest = self.newest.plus_ms(-period_ms);
            self.count = u32::try_from(passed).unwrap_or(u32::MAX);
            return;
        }
        while let Search::Found(next) = trigger.next(self.newest, &self.site, almanac)
            && next <= until
        {
            if self.count == limits::LOOK_BACK {
                self.more = true;
                break;
            }
            (self.before_newest, self.newest) = (self.newest, next);
            self.count += 1;
        }
        let mut until = until;
        while self.more {
            match trigger.last(self.newest, until, &self.site, almanac) {
                Search::Found(newest) => {
                    self.before_newest = match trigger.last(self.newest, newest.plus_ms(-1), &self.site, almanac) {
                        Search::Found(before) => before,
                        Search::NotUntil(_) | Search::Never(_) => self.newest,
                    };
                    self.newest = newest;
                    break;
                }
                Search::NotUntil(earlier) if earlier > self.newest => until = earlier,
                Search::NotUntil(_) | Search::Never(_) => break,
            }
        }
    }
}
