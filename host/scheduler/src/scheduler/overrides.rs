//! What people want beside the plans: what they pause and leave out, and the jobs that they make themselves, which no plan
//! touches.

use super::{
    Device, DeviceKey, Instant, JobKey, Plugin, PluginKey, Scheduler, api_device, jobs::Next, reconcile::Comparison,
    run::Run,
};
use crate::{
    event::{
        AdHoc, Announcement, Change, Done, Effect, Idempotency, NewJob, Override, Refusal, RequestId, Step, Version,
    },
    limits,
    names::{JobName, PluginName},
    outcome::{Cancelled, Level, Outcome},
    trigger::Trigger,
};

impl Scheduler {
    /// People have said something of a job.
    pub(super) fn wish(&mut self, key: JobKey, change: impl FnOnce(&mut Override), out: &mut Step) {
        let mut wish = self.wishes.get(&key).cloned().unwrap_or_default();
        change(&mut wish);
        self.remember_wish(key, wish.clone());
        out.changes.push(Change::WishSaved { key, wish });
    }

    pub(super) fn remember_wish(&mut self, key: JobKey, wish: Override) {
        self.forget_wish(key);
        if let Some(by_hand) = &wish.by_hand {
            let bytes = self.jobs.get(key).map_or(0, |state| state.job.body.bytes());
            self.by_hand.insert(key, bytes);
            self.by_hand_bytes += bytes;
            by_hand.idempotency.map(|asked| self.requests.insert(asked.key, key));
        }
        if wish != Override::default() {
            self.wishes.insert(key, wish);
        }
    }

    pub(super) fn forget_wish(&mut self, key: JobKey) {
        let by_hand = self.wishes.remove(&key).and_then(|wish| wish.by_hand);
        if let Some(asked) = by_hand.and_then(|by_hand| by_hand.idempotency) {
            self.requests.remove(&asked.key);
        }
        self.by_hand_bytes -= self.by_hand.remove(&key).unwrap_or_default();
    }

    /// Whether somebody wants an occurrence to be left out, or wanted so: that is known until he wants something else.
    pub(super) fn is_unwanted(&self, key: JobKey, occurrence: Instant) -> bool {
        self.wishes.get(&key).is_some_and(|wish| wish.skip == Some(occurrence))
    }

    /// The next occurrence is to be left out, also where that is another one than it was.
    pub(super) fn keep_unwanted(&mut self, key: JobKey, before: Option<Instant>, out: &mut Step) {
        let next = self.jobs.get(key).and_then(|state| state.next.due());
        if let (Some(before), Some(next)) = (before, next)
            && before != next
            && self.is_unwanted(key, before)
        {
            self.wish(key, |wish| wish.skip = Some(next), out);
        }
    }

    /// Whether nothing of a job is to start.
    pub(super) fn is_paused(&self, key: JobKey) -> Option<Level> {
        if self.wishes.get(&key).is_some_and(|wish| wish.paused) {
            return Some(Level::Job);
        }
        let device = self.devices.get(self.jobs.get(key)?.device)?;
        level(device, self.plugins.get(device.plugin))
    }

    /// The same of a run, whose job may have gone.
    pub(super) fn is_run_paused(&self, run: &Run) -> Option<Level> {
        if let Some(key) = run.job {
            return self.is_paused(key);
        }
        let plugin = self.plugins.get(*self.plugin_keys.get(&run.id.plugin)?)?;
        level(self.devices.get(*plugin.devices.get(&run.id.device)?)?, Some(plugin))
    }

    /// Whether a device has a job of that name that is no plan's. One that is done with makes room.
    pub(super) fn is_by_hand(&mut self, device: DeviceKey, id: &str, out: &mut Step) -> bool {
        if self.by_hand.is_empty() {
            return false;
        }
        let Some(key) = self.job_key(device, id).filter(|key| self.by_hand.contains_key(key)) else { return false };
        if self.is_finished(key).is_some() {
            self.drop_job(key, out);
            return false;
        }
        true
    }

    /// When a job was due last that is never due again, and whose runs have ended.
    fn is_finished(&self, key: JobKey) -> Option<Instant> {
        let state = self.jobs.get(key).filter(|state| state.next == Next::Never && state.unconfirmed.is_none())?;
        // What follows the sun waits for a place.
        let is_over = !matches!(state.job.trigger, Trigger::Sun(_)) && self.line_of(key).next().is_none();
        is_over.then_some(state.watermark)
    }

    /// Somebody has made a job.
    pub(super) fn schedule(&mut self, now: Instant, request: RequestId, new: NewJob, out: &mut Step) {
        let answer = self.try_schedule(now, new, out);
        out.effects.push(Effect::Answer { request, answer });
    }

    fn try_schedule(&mut self, now: Instant, new: NewJob, out: &mut Step) -> Result<Done, Refusal> {
        let NewJob { plugin, device, job, idempotency, replaces } = new;
        if let Some(made) = idempotency.and_then(|asked| self.made_before(asked)) {
            return made.map(|job| Done::Job { job, is_new: false });
        }
        let own = plugin == PluginName::of_host() && device == api_device();
        let place = if own { self.api_device(out) } else { self.find_device(&plugin, &device)? };
        let name = (plugin, device, job.body.job_id());
        let existing = self.job_key(place, job.body.id());
        if let Some(existing) = existing {
            self.may_replace(existing, &name, replaces)?;
        }
        let replaced = existing.and_then(|key| self.by_hand.get(&key)).copied();
        self.make_place_by_hand(now, replaced, job.body.bytes(), out)?;
        let Some(site) = self.devices.get(place).map(|device| device.site) else { return Ok(Done::Nothing) };
        let mut alone = Comparison::by_hand(now, self.series, place, site);
        let (key, is_other) = match self.stage(now, &mut alone, job, out) {
            Ok(staged) => (self.adopt_alone(now, &alone, staged, out), true),
            Err(unchanged) => (unchanged, false),
        };
        if is_other {
            // Who says what is to be done means that, and not what was to be done before.
            self.end_unstarted(now, key, &Cancelled::JobReplaced, out);
        }
        let made_by = |before: Option<&AdHoc>| {
            let idempotency = idempotency.or_else(|| before.and_then(|before| before.idempotency));
            Some(AdHoc { made: now, idempotency })
        };
        let change = |wish: &mut Override| {
            wish.by_hand = made_by(wish.by_hand.as_ref());
            wish.skip = wish.skip.filter(|_| !is_other);
        };
        self.wish(key, change, out);
        Ok(Done::Job { job: name, is_new: existing.is_none() })
    }

    /// The job that the same request has made before, if one has; another request with its key is a mistake.
    pub fn made_before(&self, asked: Idempotency) -> Option<Result<JobName, Refusal>> {
        let key = *self.requests.get(&asked.key)?;
        let before = self.wishes.get(&key)?.by_hand.as_ref()?.idempotency?;
        if before.request != asked.request {
            let what = "the same idempotency key came before, with another request".to_owned();
            return Some(Err(Refusal::Conflict(what)));
        }
        Some(Ok(self.run_id(key, Instant::MIN).of_job()))
    }

    fn may_replace(&self, key: JobKey, (plugin, device, job): &JobName, replaces: bool) -> Result<(), Refusal> {
        match () {
            () if !self.by_hand.contains_key(&key) => {
                Err(Refusal::Conflict(format!("job `{plugin}/{device}/{job}` is planned by its plugin")))
            }
            () if !replaces => Err(Refusal::Conflict(format!("there is a job `{plugin}/{device}/{job}` already"))),
            () => Ok(()),
        }
    }

    /// Room for one more, if need be of those that are done with.
    fn make_place_by_hand(
        &mut self,
        now: Instant,
        replaced: Option<usize>,
        bytes: usize,
        out: &mut Step,
    ) -> Result<(), Refusal> {
        let has_place = |of: &Self| replaced.is_some() || of.by_hand.len() < limits::JOBS_BY_HAND;
        let has_room = |of: &Self| of.by_hand_bytes - replaced.unwrap_or_default() + bytes <= limits::BYTES_BY_HAND;
        if replaced.is_none() && !(has_place(self) && has_room(self)) {
            self.drop_finished(now, out);
        }
        match () {
            () if !has_place(self) => {
                Err(Refusal::TooMany(format!("there are {} jobs that were made by hand already", limits::JOBS_BY_HAND)))
            }
            () if !has_room(self) => {
                let most = limits::BYTES_BY_HAND >> 20;
                Err(Refusal::TooMany(format!("the jobs that were made by hand would have more than {most} MiB")))
            }
            () => Ok(()),
        }
    }

    /// Lets jobs go that somebody made, and that are long done with; whether there are more.
    pub(super) fn forget_finished(&mut self, now: Instant, out: &mut Step) -> bool {
        // Not one that is being looked at.
        self.work.is_empty() && self.drop_finished(now.plus_ms(-limits::FINISHED_MS), out)
    }

    /// Those whose last occurrence is before an instant, the oldest first.
    fn drop_finished(&mut self, before: Instant, out: &mut Step) -> bool {
        let is_finished = |key: &JobKey| Some((self.is_finished(*key).filter(|at| *at < before)?, *key));
        let mut finished: Vec<(Instant, JobKey)> = self.by_hand.keys().filter_map(is_finished).collect();
        finished.sort_unstable();
        let is_more = finished.len() > limits::JOBS_PER_STEP;
        for (_, key) in finished.into_iter().take(limits::JOBS_PER_STEP) {
            self.disarm_timer(key);
            self.remove_job(key);
            self.forget_wish(key);
            // Nothing that somebody makes from here on reaches back to what this one has done.
            out.changes.push(Change::JobRemoved { key, tombstone: None });
        }
        is_more
    }

    /// Somebody takes away a job that somebody made. What its runs owe is sent at once.
    pub(super) fn cancel(&mut self, now: Instant, request: RequestId, name: &JobName, out: &mut Step) {
        let answer = self.try_cancel(now, name, out);
        out.effects.push(Effect::Answer { request, answer });
    }

    fn try_cancel(&mut self, now: Instant, name: &JobName, out: &mut Step) -> Result<Done, Refusal> {
        let key = self.find_job(name)?;
        self.may_replace(key, name, true)?;
        // What is due at this very moment is decided as well.
        self.admit_past(now, key, now.plus_ms(1), out);
        self.end_unstarted(now, key, &Cancelled::JobCancelled, out);
        for slot in self.line_of(key).collect::<Vec<_>>() {
            self.cut_short(now, slot, Cancelled::JobCancelled, None, out);
        }
        self.save_runs_of(key, out);
        self.drop_job(key, out);
        Ok(Done::Nothing)
    }

    /// Runs that have not started never do: their job is not wanted any more.
    fn end_unstarted(&mut self, now: Instant, key: JobKey, reason: &Cancelled, out: &mut Step) {
        for slot in self.line_of(key).collect::<Vec<_>>() {
            if self.runs.get(slot).is_some_and(Run::has_not_started) {
                self.end(now, slot, Outcome::Cancelled(reason.clone()), out);
            }
        }
    }

    /// A job of people's own goes with its device: no plan brings it back, so it is recorded what does not happen (I13).
    pub(super) fn call_off(&mut self, now: Instant, key: JobKey, reason: &Cancelled, out: &mut Step) {
        let next = self.jobs.get(key).filter(|_| self.by_hand.contains_key(&key)).and_then(|state| state.next.due());
        if let Some(next) = next {
            let id = self.run_id(key, next);
            self.decide(now, key, id, Outcome::Cancelled(reason.clone()), out);
        }
    }

    /// The place of the host's own jobs, on disk from the first of them on.
    fn api_device(&mut self, out: &mut Step) -> DeviceKey {
        let (plugin, device) = (PluginName::of_host(), api_device());
        if let Ok(key) = self.find_device(&plugin, &device) {
            return key;
        }
        let plugin_key = self.own_plugin(&plugin, out);
        let key = self.devices.insert(Device::new(plugin_key, &device, self.own.site));
        if let Some(plugin) = self.plugins.get_mut(plugin_key) {
            plugin.devices.insert(device, key);
        }
        self.save_device(key, out);
        key
    }

    fn own_plugin(&mut self, name: &PluginName, out: &mut Step) -> PluginKey {
        if let Some(key) = self.plugin_keys.get(name) {
            return *key;
        }
        let key = self.plugins.insert(Plugin {
            name: name.clone(),
            version: Version::BUILT_IN,
            generation: 0,
            grant: self.own.grant.clone(),
            devices: Default::default(),
            paused: false,
            announcement: Announcement::new(name.clone()),
        });
        self.plugin_keys.insert(name.clone(), key);
        self.save_plugin(key, out);
        key
    }

    /// The host may have another place than when it was started last.
    pub(super) fn move_own_device(&mut self) {
        if let Ok(key) = self.find_device(&PluginName::of_host(), &api_device())
            && let Some(device) = self.devices.get_mut(key)
        {
            device.site = self.own.site;
            device.next_site = self.own.site;
        }
    }
}

fn level(device: &Device, plugin: Option<&Plugin>) -> Option<Level> {
    if device.paused {
        return Some(Level::Device);
    }
    plugin.is_some_and(|plugin| plugin.paused).then_some(Level::Plugin)
}
