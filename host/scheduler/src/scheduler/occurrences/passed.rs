//! Occurrences that have passed: those that are not caught up are recorded, and the newest one may become a run. The
//! beginning and the end of a pause divide them: those on either side are decided separately, whenever that is.

use crate::{
    event::JobKey,
    limits,
    mutants::{Mutation, mutated},
    outcome::{Missed, MissedReason, Outcome, Several, Skipped},
    pause::{Level, PausedBy},
    scheduler::occurrences::admission::Due,
    scheduler::state::Scheduler,
    time::{Instant, Site},
    trigger::{Almanac, Search, Trigger},
};

/// The occurrences of a job that have passed: those up to the next beginning or end of a pause.
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
    /// The newest one after them that has passed and is in no pause, if a pause follows them.
    pub(crate) newer: Option<Instant>,
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

    /// Returns the occurrences of a job that have passed up to an instant. The next one is in no pause.
    pub(crate) fn passed_occurrences(&mut self, until: Instant, key: JobKey) -> Option<PassedOccurrences> {
        let next = self.catalog.job(key)?.next;
        let until = self.undecided_until(key, until)?;
        let pause = self.catalog.pauses_of(key).next_after(next.timer()?);
        let mut passed = self.passed_before(key, until, pause)?;
        if pause.is_some_and(|from| from <= until) && !mutated(Mutation::PauseDividesCatchUp) {
            passed.newer = self.last_unpaused(key, passed.newest, until);
        }
        Some(passed)
    }

    /// Returns how far the occurrences of a job may be looked at together, at most up to an instant.
    fn undecided_until(&self, key: JobKey, until: Instant) -> Option<Instant> {
        let oldest = self.catalog.job(key)?.next.due()?;
        let before = self.decided_before(key).map(|(from, _)| from).filter(|from| oldest <= *from);
        Some(before.map_or(until, |from| until.min(from)))
    }

    /// Returns the occurrences of a job that have passed up to an instant and start before another one.
    fn passed_before(&mut self, key: JobKey, mut until: Instant, bound: Option<Instant>) -> Option<PassedOccurrences> {
        let state = self.catalog.job(key)?;
        let (oldest, trigger) = (state.next.due()?, state.job.trigger.clone());
        let site = self.catalog.device(state.device)?.site;
        if let Some(bound) = bound.filter(|bound| *bound <= until) {
            until = bound.plus_ms(-1);
            // Only the last one before the bound may start after it, by its jitter.
            if let Search::Found(at) = trigger.last(oldest, until, &site, self.agenda.almanac())
                && self.start_at(key, at)? >= bound
            {
                until = at.plus_ms(-1);
            }
        }
        let mut passed = PassedOccurrences::only(key, site, oldest);
        passed.count_until(&trigger, until, self.agenda.almanac());
        Some(passed)
    }

    /// Returns when the run of an occurrence of a job starts.
    fn start_at(&mut self, key: JobKey, occurrence: Instant) -> Option<Instant> {
        let state = self.catalog.job(key)?;
        let (job, device, site) = (state.job.clone(), state.device, self.catalog.site_of(key)?);
        Some(occurrence.plus_ms(self.jitter_of(&job, device, occurrence, &site).into()))
    }

    /// Returns the newest occurrence of a job in `after < occurrence ≤ until` that is in no pause.
    pub(crate) fn last_unpaused(&mut self, key: JobKey, after: Instant, mut until: Instant) -> Option<Instant> {
        let (trigger, site) = (self.catalog.job(key)?.job.trigger.clone(), self.catalog.site_of(key)?);
        // Each search passes over a pause, or over the one occurrence that starts in it only by its jitter.
        for _ in 0..=2 * Level::ALL.len() {
            let Search::Found(at) = trigger.last(after, until, &site, self.agenda.almanac()) else { return None };
            let start = self.start_at(key, at)?;
            let Some(by) = self.paused_at(key, start) else { return Some(at) };
            until = by.pause.from()?.min(at).plus_ms(-1);
        }
        None
    }

    /// Admits the newest occurrence, and records the older ones as missed.
    pub(crate) fn admit_newest(&mut self, passed: &PassedOccurrences) {
        let PassedOccurrences { key, site, oldest, newest, before_newest, count, more, newer } = *passed;
        if let Some(by) = newer {
            // It is admitted after the pause that follows these.
            return self.record_missed(passed, MissedReason::Superseded { job: None, by });
        }
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

    /// Records the occurrences in a pause as skipped, up to an instant.
    pub(crate) fn record_paused(&mut self, key: JobKey, by: PausedBy, until: Instant) {
        self.disarm_timer(key);
        let until = self.undecided_until(key, until);
        let Some(passed) = until.and_then(|until| self.passed_before(key, until, by.pause.until())) else { return };
        self.record_passed(&passed, |several| Outcome::Skipped(Skipped::Paused { by, several }));
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
        Self { key, site, oldest: at, newest: at, before_newest: at, count: 0, more: false, newer: None }
    }

    /// Returns the newest of all that have passed and are in no pause.
    pub(crate) fn last(&self) -> Instant {
        self.newer.unwrap_or(self.newest)
    }

    /// Finds the newest of several passed occurrences, and counts the others.
    fn count_until(&mut self, trigger: &Trigger, until: Instant, almanac: &mut Almanac) {
        if let Trigger::Every(every) = trigger {
            let period_ms = every.period();
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
