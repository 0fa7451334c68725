//! The checker of the invariants, with the state that it needs.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use roost_scheduler::{
    event::{Part, Publish, RunEnded, SavedRun},
    limits::{self, HOLD_SLACK_MS},
    model::{Job, Overlap, Policy},
    names::{DeviceName, GroupName, JobId, Origin, PluginName, ResourceName, RunId},
    outcome::{Cancelled, Cause, Outcome, Several, Skipped},
    pause::{Level, Pause, PausedBy},
    rate::{Rate, Rates},
    scheduler::{Phase, RunStatus, Scheduler},
    time::Instant,
    topic::{Grant, HostTopic},
    trigger::{Almanac, Search},
};

use crate::{
    disk::{Disk, LONGEST_HOLD_MS},
    dsl::site,
};

/// Observes all changes and effects of the scheduler.
#[derive(Default)]
pub(crate) struct Checker {
    /// Outcomes that are recorded on disk.
    ended: HashMap<RunId, Outcome>,
    /// Runs of which the broker has, or may have, a step.
    on_the_wire: BTreeMap<RunId, Sent>,
    /// The messages that the broker has, in order: the device, the topic, the run, the step.
    received: Vec<(PluginName, DeviceName, String, RunId, usize)>,
    /// Steps marked `once` that were sent: the run, the topic.
    once: BTreeSet<(RunId, String)>,
    /// Runs that were armed on disk when the host crashed, so that a step marked `once` counts as possibly sent.
    armed: BTreeSet<RunId>,
    /// How often each step was sent, as far as the host can know: the run, the topic.
    times_sent: BTreeMap<(RunId, String), u32>,
    /// Runs that have started and have not ended.
    active: BTreeMap<RunId, Publish>,
    /// The topics of reports that a run has to wait for, because it has sent a step that needs one.
    unreported: BTreeMap<RunId, BTreeSet<String>>,
    /// The newest occurrence of each group that was sent.
    groups: HashMap<(PluginName, DeviceName, GroupName), (Instant, JobId)>,
    /// The current jobs of each device, as far as known.
    pub(crate) plans: BTreeMap<(PluginName, DeviceName), Vec<Job>>,
    /// Runs that continued although the store had failed: they go back after the crash.
    unsaved: BTreeSet<RunId>,
    /// Runs that ended in the current step.
    pub(crate) just_ended: Vec<RunId>,
    /// Runs that are or were on disk.
    saved: BTreeSet<RunId>,
    /// The newer runs by which runs were cut short; their origin is unknown.
    newer: BTreeMap<RunId, RunId>,
    /// Saved runs with steps that are not repeated, or that a report may complete.
    may_be_unsent: BTreeSet<RunId>,
    /// Devices with an abandoned run, which may have taken over owed steps of others.
    abandoned: BTreeSet<(PluginName, DeviceName)>,
    /// Whether the clock was set back. Then a crash may lose a run of one step, which is not on disk before it has
    /// ended: the occurrence comes again, in a new series.
    clock_was_set_back: bool,
    /// The stretch that the clock was last set forward over, if there was no crash since.
    jumped: Option<(Instant, Instant)>,
    /// Runs that were active when the clock was set, until that is durable.
    shifted: Vec<RunId>,
    /// Whether a crash would lose by how much the clock was set.
    clock_set_is_not_durable: bool,
    /// How many thousandths of a message each plugin may send, and since when.
    buckets: HashMap<PluginName, (Instant, i64)>,
    /// Until when owed steps that a run has taken over may be put off, by device, job and occurrence.
    put_off_until: HashMap<(PluginName, DeviceName, JobId, Instant), Instant>,
    /// Since when active runs hold their resource, by the scheduler's measure.
    holding: BTreeMap<RunId, (ResourceName, Instant)>,
    /// Runs that have held it for the longest time, and continue without it.
    freed: BTreeSet<RunId>,
    /// Runs for which that is unknown after a crash: they may hold it.
    may_be_freed: BTreeSet<RunId>,
    /// Since when runs that were cut short held a resource: newer ones may have taken it over.
    left: HashMap<(PluginName, DeviceName, ResourceName), Instant>,
    /// By resource, the run that had it last, and the runs that were waiting for it then.
    turns: HashMap<ResourceName, (RunId, BTreeSet<RunId>)>,
    /// The runs that wait for a resource now and start as soon as they have it.
    waiting: BTreeMap<RunId, ResourceName>,
    /// Whether calendars changed while the host was down. Then a run of one step, which is not on disk before it has
    /// ended, may be one of several occurrences that newer calendars decide.
    pub(crate) calendars_changed_while_down: bool,
    /// The pauses that were ever set.
    pub(crate) pauses: Vec<(Part, Pause)>,
}

/// The longest jitter of any job.
const LONGEST_JITTER_MS: i64 = 20_000;

/// A run of which the broker may have a step.
struct Sent {
    topics: Vec<String>,
    /// The index in `received` at which it began.
    since: usize,
    /// Whether it has steps that are not repeated, or that any report completes.
    may_be_unsent: bool,
    /// Whether it has steps that any report completes.
    confirms: bool,
    /// Whether it was not on disk when the host crashed.
    forgotten: bool,
    /// Whether it has begun: a run sends steps that it has taken over from an earlier one also before its first.
    has_begun: bool,
}

impl Checker {
    /// Checks an attempt that is decided, and made as soon as the changes it depends on are durable.
    pub(crate) fn decided(&self, now: Instant, publish: &Publish, grants: &[Grant]) {
        let (run, policy) = (&publish.run, publish.body.policy());
        if publish.step > 0 || publish.number > 1 {
            return;
        }
        let late_ms = now.ms_since(publish.due);
        assert!(late_ms >= 0 || self.clock_was_set_back, "{run} starts {} ms too early", -late_ms);
        let in_time = late_ms <= i64::from(policy.grace_ms) || policy.group().is_some();
        assert!(in_time, "{run} starts {late_ms} ms late, after its grace");
        let host = HostTopic::default();
        let by = |grant: &Grant| {
            publish.body.steps().all(|step| grant.excess(&host, step.topic(), step.qos, step.retain).is_none())
        };
        assert!(grants.is_empty() || grants.iter().any(by), "I8: {run} publishes outside its plugin's grant");
    }

    /// Checks that a device is running from the first message of a run, which may have arrived, to the end of the run.
    /// Bursts are left out, because they would take minutes.
    pub(crate) fn check_running(&self, scheduler: &Scheduler, runs: &[RunStatus], in_flight: &[Publish]) {
        if runs.len() > 100 {
            return;
        }
        let in_flight: HashSet<&RunId> = in_flight.iter().map(|publish| &publish.run).collect();
        let mut devices: BTreeMap<_, (bool, bool)> = BTreeMap::new();
        for RunStatus { id, started, .. } in runs {
            // After a crash, a run of one message starts anew.
            let is_on_the_wire =
                self.on_the_wire.get(id).is_some_and(|sent| sent.has_begun && !sent.forgotten && sent.topics.len() > 1);
            let (must, may) = devices.entry((&id.plugin, &id.device)).or_default();
            *must |= is_on_the_wire || in_flight.contains(id);
            *may |= started.is_some();
        }
        for ((plugin, device), (must, may)) in devices {
            let is_running = scheduler.is_running(plugin, device);
            assert!(
                is_running || !must,
                "a run of {plugin}/{device} has sent a message, and the device is not running"
            );
            assert!(may || !is_running, "no run of {plugin}/{device} has started, and the device is running");
        }
    }

    /// Checks that no run starts that was due in a pause, whenever it starts. All changes are on disk.
    pub(crate) fn check_pause(&self, publish: &Publish, disk: &Disk) {
        if publish.step > 0 || publish.number > 1 || !publish.run.origin.is_trigger() {
            return;
        }
        let start = publish.due.plus_ms(-i64::from(publish.message().after_ms));
        for pause in disk.pauses_of(&publish.run) {
            let is_in =
                pause.from().is_none_or(|from| from <= start) && pause.until().is_none_or(|until| start < until);
            assert!(!is_in, "{} starts although it was due in {pause:?}", publish.run);
        }
    }

    /// Checks that what was due in a pause is recorded as skipped, and not as missed. All changes are on disk.
    pub(crate) fn check_missed(ended: &RunEnded, disk: &Disk) {
        if !matches!(ended.outcome, Outcome::Missed(_)) || !ended.id.origin.is_trigger() {
            return;
        }
        let since = ended.outcome.several().map_or(ended.id.occurrence, |several| several.since);
        for (pause, at) in
            disk.pauses_of(&ended.id).into_iter().flat_map(|pause| [(pause, since), (pause, ended.id.occurrence)])
        {
            let is_in = pause.from().is_none_or(|from| from <= at)
                && pause.until().is_none_or(|until| at.plus_ms(LONGEST_JITTER_MS) < until);
            assert!(!is_in, "{} is missed, and {at} was in {pause:?}: {}", ended.id, ended.outcome);
        }
    }

    /// Checks that a run was skipped by a pause only if that was set, and if the run was due in it.
    fn check_skipped(&self, ended: &RunEnded) {
        let Outcome::Skipped(Skipped::Paused { by: PausedBy { what, pause }, several }) = &ended.outcome else {
            return;
        };
        let RunId { plugin, device, job, occurrence, .. } = ended.id.clone();
        let part = match what {
            Level::All => Part::All,
            Level::Plugin => Part::Plugin(plugin),
            Level::Device => Part::Device(plugin, device),
            Level::Job => Part::Job((plugin, device, job)),
        };
        let is_set = self.pauses.iter().any(|(of, set)| *of == part && *set == **pause);
        assert!(is_set, "{} was skipped by a pause of {part:?} that was never set: {pause:?}", ended.id);
        assert!(pause.until().is_none_or(|until| occurrence < until), "{} was due after {pause:?}", ended.id);
        let oldest = several.map_or(occurrence, |several| several.since).plus_ms(LONGEST_JITTER_MS);
        assert!(pause.from().is_none_or(|from| from <= oldest), "{} was due before {pause:?}", ended.id);
    }

    /// Checks that no plugin sends more than its rate allows (I7).
    pub(crate) fn check_rate(&mut self, now: Instant, plugin: &PluginName, rates: &Rates) {
        let Rate { per_second, burst } = rates.for_plugin(plugin);
        let full = i64::from(burst) * 1_000;
        let (since, left) = self.buckets.get(plugin).copied().unwrap_or((now, full));
        let left = full.min(left + now.ms_since(since) * i64::from(per_second)) - 1_000;
        assert!(left >= 0, "I7: {plugin} sends more than its rate allows");
        self.buckets.insert(plugin.clone(), (now, left));
    }

    /// Checks a message that is sent although the store has failed.
    pub(crate) fn sent_unsaved(&mut self, publish: &Publish) {
        assert!(publish.step > 0, "{} is started although the store has failed", publish.run);
        assert!(!publish.message().once, "I4: {} sends a `once` step that cannot be saved as sent", publish.run);
        self.unsaved.insert(publish.run.clone());
    }

    /// Checks a message that is sent.
    pub(crate) fn sent(&mut self, publish: &Publish, disk: &Disk, listens: bool) {
        let (run, message) = (&publish.run, publish.message());
        let outcome = self.ended.get(run);
        assert!(outcome.is_none(), "I2: {run} is sent after it ended: {outcome:?}");
        let saved = disk.runs.values().find(|saved| saved.id == *run);
        let is_planned = saved.is_some() || self.unsaved.contains(run) || disk.plans(run, &publish.body);
        assert!(is_planned, "I3: {run} is sent before its plan is durable");
        let is_long = publish.body.step_count() > 1;
        assert!(
            !is_long || saved.is_some() || self.unsaved.contains(run),
            "I3: {run} owes later steps, and is not on disk"
        );
        if message.once {
            let is_armed = saved.is_some_and(|saved| saved.progress.armed && saved.progress.steps_done == publish.step);
            assert!(is_armed, "I3: {run} is to be sent once, and is not armed");
            let is_new = self.once.insert((run.clone(), message.topic().to_owned()));
            assert!(is_new, "I4: step {} of {run} is sent twice", publish.step);
        }
        self.check_repeat(publish);
        assert!(message.confirm().is_none() || listens, "{run} is sent before its subscription");
        if let Some(confirm) = message.confirm().filter(|confirm| listens && !confirm.already) {
            self.unreported.entry(run.clone()).or_default().insert(confirm.topic.to_string());
        }
        if publish.step == 0 && !self.active.contains_key(run) && !self.just_ended.contains(run) {
            self.check_start(publish, disk);
        }
    }

    /// Returns the newer run by which a run was cut short; its origin is unknown.
    pub(crate) fn newer(&self, run: &RunId) -> Option<RunId> {
        self.newer.get(run).cloned()
    }

    /// Checks that a device can recognise a message that is repeated.
    fn check_repeat(&mut self, publish: &Publish) {
        let topic = publish.message().topic();
        let is_of_topic = publish.body.steps().filter(|step| step.topic() == topic).count() == 1;
        let times = self.times_sent.entry((publish.run.clone(), topic.to_owned())).or_default();
        *times += 1;
        let is_known = is_of_topic && !self.unsaved.contains(&publish.run);
        let is_marked = *times == 1 || publish.number > 1 || !is_known;
        assert!(is_marked, "{} repeats `{topic}` as its first attempt", publish.run);
    }

    /// Records a report that confirms the steps that were sent.
    pub(crate) fn reported(&mut self, topic: &str) {
        for topics in self.unreported.values_mut() {
            topics.remove(topic);
        }
    }

    /// Records that a message was put off: a `once` step is still to be sent.
    pub(crate) fn unsent(&mut self, publish: &Publish) {
        let step = (publish.run.clone(), publish.message().topic().to_owned());
        self.once.remove(&step);
        if let Some(times) = self.times_sent.get_mut(&step) {
            *times -= 1;
        }
    }

    /// Records that a run has not started, as far as the host knows.
    pub(crate) fn record_not_started(&mut self, run: &RunId) {
        self.active.remove(run);
    }

    /// A run starts, or is tried again after a crash that knew nothing of it.
    fn check_start(&mut self, publish: &Publish, disk: &Disk) {
        let (run, policy) = (&publish.run, publish.body.policy());
        let of_device = |other: &RunId| (&other.plugin, &other.device) == (&run.plugin, &run.device);
        let of_job = |other: &RunId| of_device(other) && other.job == run.job;
        let most = |policy: &Policy| if let Overlap::Allow(most) = policy.overlap { most } else { 1 };
        let others = || self.active.iter().filter(|(other, _)| of_job(other));
        let at_once = others().count();
        // A plan may have changed the policy in between.
        let most = others().map(|(_, sent)| most(&sent.body.policy())).fold(most(&policy), u32::max);
        assert!(at_once < most as usize, "{run} starts beside {at_once} others of its job");
        if let Some(needs) = &policy.needs {
            let holds = |other: &&Publish| {
                let same = other.body.policy().needs.as_ref() == Some(needs) && other.run != *run;
                same && !self.freed.contains(&other.run)
            };
            let holder = self.active.values().find(holds).map(|other| &other.run);
            assert!(holder.is_none(), "{run} starts although {holder:?} holds `{needs}`");
            self.check_turn(run, needs);
        }
        if let Some(group) = policy.group() {
            let of_group =
                |(other, sent): &(&RunId, &Publish)| of_device(other) && sent.body.policy().group() == Some(group);
            let other = self.active.iter().find(of_group).map(|(other, _)| other);
            assert!(other.is_none(), "{run} starts before {other:?} of its group has ended");
            let key = (run.plugin.clone(), run.device.clone(), group.clone());
            let own = (run.occurrence, run.job.clone());
            let (newest, job) = self.groups.entry(key).or_insert_with(|| own.clone()).clone();
            let is_known = self.is_due_by_plan(run, &job, newest, disk);
            if run.origin == Origin::Trigger && !self.clock_was_set_back {
                assert!(
                    run.occurrence >= newest || !is_known,
                    "{run} starts after the newer one of {newest} of its group"
                );
                self.groups.insert((run.plugin.clone(), run.device.clone(), group.clone()), own);
            }
        }
        let is_in = |(from, to)| from < run.occurrence && run.occurrence <= to;
        // Of a job that no plan changes; what is on disk may have been admitted long before the clock was set.
        let is_new = run.origin.is_trigger() && run.job.as_str() == "every" && !self.saved.contains(run);
        if is_new && self.jumped.is_some_and(is_in) {
            let same = |other: &&RunId| {
                **other != *run && other.origin.is_trigger() && of_job(other) && other.occurrence == run.occurrence
            };
            let before = self.ended.keys().find(same);
            assert!(before.is_none(), "I11: {run} is caught up, and ran before the clock was set back: {before:?}");
        }
        self.active.insert(run.clone(), publish.clone());
    }

    /// I7: a plugin does not have a resource twice while a run of another one waits for it.
    fn check_turn(&mut self, run: &RunId, needs: &ResourceName) {
        assert!(
            needs.as_str() != "well" || run.plugin.as_str() == "other",
            "{run} holds `{needs}`, which is not granted"
        );
        let waiting = self.waiting_for(needs);
        let took_over = self.left.contains_key(&(run.plugin.clone(), run.device.clone(), needs.clone()));
        let is_next = |last: &RunId| last != run && last.plugin == run.plugin && !took_over;
        if let Some((last, before)) = self.turns.get(needs).filter(|(last, _)| is_next(last)) {
            let passed = waiting.intersection(before).find(|other| other.plugin != last.plugin);
            assert!(passed.is_none(), "I7: {run} has `{needs}` after another one of its plugin, and {passed:?} waits");
        }
        self.turns.insert(needs.clone(), (run.clone(), waiting));
    }

    /// After each step of the scheduler: which runs hold resources and wait for them.
    pub(crate) fn check_holders(&mut self, now: Instant, runs: &[RunStatus]) {
        self.waiting.clear();
        let mut holders = BTreeSet::new();
        for run in runs {
            let Some(needs) = run.body.policy().needs else { continue };
            match run.started {
                // What asks its plugin or its device first may have to give its turn back.
                None => {
                    let waits = matches!(run.phase, Phase::Held(_)) && run.held_by == Some(Cause::Taken(needs.clone()));
                    let is_plain = !run.body.asks_plugin() && run.body.steps().all(|step| step.confirm().is_none());
                    if waits {
                        holders.extend(run.holders.iter().map(|holder| (needs.clone(), holder.clone())));
                    }
                    if waits && is_plain {
                        self.waiting.insert(run.id.clone(), needs);
                    }
                }
                Some(started) => {
                    let is_new = self.holding.insert(run.id.clone(), (needs.clone(), started)).is_none();
                    let held_ms = now.ms_since(started);
                    let most = i64::from(LONGEST_HOLD_MS) + HOLD_SLACK_MS;
                    let is_free = is_new || self.freed.contains(&run.id);
                    assert!(is_free || held_ms <= most, "I7: {} has held `{needs}` for {held_ms} ms", run.id);
                }
            }
        }
        // A run that has the resource has its turn, also if its plugin's rate does not let it start before the hold expires.
        for (needs, holder) in holders {
            let is_other = self.turns.get(&needs).is_some_and(|(last, _)| last.plugin != holder.plugin);
            if is_other && !self.active.contains_key(&holder) {
                let waiting = self.waiting_for(&needs);
                self.turns.insert(needs, (holder, waiting));
            }
        }
    }

    fn waiting_for(&self, needs: &ResourceName) -> BTreeSet<RunId> {
        self.waiting.iter().filter(|(_, what)| *what == needs).map(|(run, _)| run.clone()).collect()
    }

    /// Checks that a run released its resource no earlier than allowed.
    pub(crate) fn freed(&mut self, now: Instant, run: &RunId, needs: &ResourceName) {
        let left = self.left.get(&(run.plugin.clone(), run.device.clone(), needs.clone()));
        let own = self.holding.get(run).map(|(_, since)| since);
        let since = own.into_iter().chain(left).min();
        let held_ms = since.map_or(i64::MAX, |since| now.ms_since(*since));
        assert!(held_ms >= i64::from(LONGEST_HOLD_MS), "{run} had to release its resource after {held_ms} ms");
        self.may_be_freed.remove(run);
        self.freed.insert(run.clone());
    }

    /// Returns whether a device still has a job that was due at an instant, by the calendars in force; unknown for removed
    /// jobs.
    fn is_due_by_plan(&self, of: &RunId, job: &JobId, at: Instant, disk: &Disk) -> bool {
        let plan = self.plans.get(&(of.plugin.clone(), of.device.clone()));
        plan.into_iter().flatten().filter(|planned| planned.id == *job && planned.policy.group().is_some()).any(
            |planned| {
                let found =
                    planned.trigger.last(at.plus_ms(-1), at, &site(), &mut Almanac::new(disk.calendars.clone()));
                found == Search::Found(at)
            },
        )
    }

    /// Checks a message that reaches the broker.
    pub(crate) fn received(&mut self, publish: &Publish) {
        self.possibly_received(publish);
        let run = &publish.run;
        // A run that was cut short has fewer steps; its topics are still in order.
        let topics = self.on_the_wire.get(run).map(|sent| &sent.topics);
        let place = topics.and_then(|topics| topics.iter().position(|topic| topic == publish.message().topic()));
        let step = place.expect("one of its steps");
        let newest = self.received.iter().filter(|(.., other, _)| other == run).map(|(.., step)| *step).max();
        let newest = newest.filter(|_| !self.unsaved.contains(run));
        assert!(newest.is_none_or(|newest| newest <= step), "a step of {run} after a later one");
        let topic = publish.message().topic().to_owned();
        self.received.push((run.plugin.clone(), run.device.clone(), topic, run.clone(), step));
    }

    /// Records that a message may have reached the broker.
    pub(crate) fn possibly_received(&mut self, publish: &Publish) {
        // An occurrence of a run that was never on disk comes again by the current plan.
        if self.on_the_wire.get(&publish.run).is_some_and(|sent| sent.forgotten) {
            self.on_the_wire.remove(&publish.run);
        }
        let since = self.received.len();
        let steps = || publish.body.steps();
        let sent = self.on_the_wire.entry(publish.run.clone()).or_insert_with(|| Sent {
            topics: steps().map(|step| step.topic().to_owned()).collect(),
            since,
            may_be_unsent: steps().any(|step| step.once || step.confirm().is_some()),
            confirms: steps().any(|step| step.confirm().is_some()),
            forgotten: false,
            has_begun: false,
        });
        sent.has_begun |= publish.step == 0;
    }

    /// Moves measured times after the clock was set. Occurrences have new ids from here on, and active runs must keep
    /// theirs.
    pub(crate) fn clock_set(&mut self, from: Instant, to: Instant) {
        self.buckets.values_mut().for_each(|(since, _)| *since = since.plus_ms(to.ms_since(from)));
        self.jumped = (from < to).then_some((from, to));
        let own = self.holding.values_mut().map(|(_, since)| since);
        for since in self.left.values_mut().chain(own) {
            *since = since.plus_ms(to.ms_since(from));
        }
        self.clock_was_set_back |= to < from;
        self.put_off_until.values_mut().for_each(|until| *until = until.plus_ms(to.ms_since(from)));
        self.shifted = self.active.keys().cloned().collect();
        self.clock_set_is_not_durable = true;
    }

    /// Checks that everything is durable.
    pub(crate) fn all_is_durable(&mut self, disk: &Disk) {
        self.clock_set_is_not_durable = false;
        for run in self.shifted.drain(..).filter(|run| self.active.contains_key(run)) {
            let is_kept = disk.runs.values().any(|saved| saved.id == run);
            assert!(is_kept, "I2: {run} was active when the clock was set, and is not on disk");
        }
    }

    /// Forgets the newest occurrences of groups, which were by an earlier plan.
    pub(crate) fn loaded(&mut self, plugin: &PluginName) {
        self.groups.retain(|(of, ..), _| of != plugin);
    }

    /// Records a saved run.
    pub(crate) fn saved(&mut self, run: &SavedRun) {
        self.saved.insert(run.id.clone());
        if let Some((job, by)) = run.progress.cancelled.as_ref().and_then(|why| newer(&run.id, why)) {
            self.newer.insert(run.id.clone(), RunId { job: job.clone(), occurrence: by, ..run.id.clone() });
        }
        if run.body.steps().any(|step| step.once || step.confirm().is_some()) {
            self.may_be_unsent.insert(run.id.clone());
        }
    }

    /// Records the end of a run that is not durable yet.
    pub(crate) fn ended_in_memory(&mut self, ended: &RunEnded) {
        self.check_skipped(ended);
        if ended.outcome == Outcome::Cancelled(Cancelled::Abandoned) {
            self.abandoned.insert((ended.id.plugin.clone(), ended.id.device.clone()));
        }
        let unreported = self.unreported.remove(&ended.id).unwrap_or_default();
        let is_confirmed = unreported.is_empty() || !matches!(ended.outcome, Outcome::Succeeded(_));
        assert!(is_confirmed, "{} has succeeded without a report on {unreported:?}", ended.id);
        self.check_put_off(ended);
        let RunId { plugin, device, .. } = &ended.id;
        if let (Some((needs, since)), Outcome::Cancelled(_)) = (self.holding.get(&ended.id), &ended.outcome)
            && (!self.freed.contains(&ended.id) || self.may_be_freed.contains(&ended.id))
        {
            let left = self.left.entry((plugin.clone(), device.clone(), needs.clone())).or_insert(*since);
            *left = (*left).min(*since);
        }
        self.turns.retain(|_, (_, waiting)| {
            // Its turn may have come before it ended.
            waiting.retain(|run| (&run.plugin, &run.device) != (plugin, device));
            true
        });
        self.holding.remove(&ended.id);
        self.freed.remove(&ended.id);
        self.may_be_freed.remove(&ended.id);
        self.active.remove(&ended.id);
    }

    /// Forgets how long owed steps were put off and which were due, because the clock was set while the host was down.
    pub(crate) fn forget_put_off(&mut self) {
        self.put_off_until.clear();
        self.times_sent.clear();
    }

    /// Checks that newer runs do not put off owed steps without end (I5).
    fn check_put_off(&mut self, ended: &RunEnded) {
        let (Some((job, by)), Some(started)) = (heir(ended), ended.started) else { return };
        let RunId { plugin, device, job: own_job, occurrence, .. } = ended.id.clone();
        let (Some(first), Some(sent)) = (self.active.get(&ended.id), self.on_the_wire.get(&ended.id)) else { return };
        let Some(last) = first.body.steps().skip(1).last().filter(|_| !sent.may_be_unsent) else { return };
        let is_last = |(of, at, topic, ..): &(PluginName, DeviceName, String, RunId, usize)| {
            (of, at, topic.as_str()) == (&plugin, &device, last.topic())
        };
        if self.received[sent.since..].iter().any(is_last) {
            return;
        }
        let after_ms = last.after_ms;
        let own = started.plus_ms(i64::from(after_ms) + i64::from(limits::PUT_OFF_MS.max(after_ms)));
        let taken_over = self.put_off_until.get(&(plugin.clone(), device.clone(), own_job, occurrence)).copied();
        let until = taken_over.map_or(own, |until| until.min(own));
        assert!(
            ended.ended <= until,
            "I5: {} leaves `{}` to {by}, and was to do so until {until}",
            ended.id,
            last.topic()
        );
        self.put_off_until.insert((plugin, device, job.clone(), by), until);
    }

    /// Records the end of a run on disk.
    pub(crate) fn ended_on_disk(&mut self, ended: &RunEnded) {
        // An occurrence without sent messages may be decided again after a crash, with another reason.
        if !matches!(ended.outcome, Outcome::Skipped(_) | Outcome::Missed(_)) {
            self.ended.insert(ended.id.clone(), ended.outcome.clone());
        }
    }

    /// Continues with the state on disk after a crash.
    pub(crate) fn crashed(&mut self, now: Instant, disk: &Disk) {
        if std::mem::take(&mut self.clock_set_is_not_durable) {
            self.forget_put_off();
        }
        (self.left, self.turns, self.waiting) = Default::default();
        self.holding = disk
            .runs
            .values()
            .filter_map(|saved| {
                let since = saved.progress.started?.min(now);
                Some((saved.id.clone(), (saved.body.policy().needs?, since)))
            })
            .collect();
        let most = i64::from(LONGEST_HOLD_MS) + HOLD_SLACK_MS;
        let is_over = |(_, (_, since)): &(&RunId, &(ResourceName, Instant))| now.ms_since(*since) >= most;
        self.freed = self.holding.iter().filter(is_over).map(|(run, _)| run.clone()).collect();
        // If a crash lost by how much the clock was set back, a run that had released the resource appears to have just
        // begun to hold it; which one is unknown, so that each may leave it to a newer run.
        let may_be_freed = |of: &(&RunId, &(ResourceName, Instant))| {
            let holders = || self.holding.values().filter(|(other, _)| *other == of.1.0).count();
            self.clock_was_set_back && !is_over(of) && holders() > 1
        };
        self.may_be_freed = self.holding.iter().filter(may_be_freed).map(|(run, _)| run.clone()).collect();
        self.freed.extend(self.may_be_freed.iter().cloned());
        self.shifted.clear();
        self.buckets.clear();
        self.jumped = None;
        let armed = disk.runs.values().filter(|saved| saved.progress.armed);
        self.armed.extend(armed.map(|saved| saved.id.clone()));
        let kept: HashMap<&RunId, bool> =
            disk.runs.values().map(|saved| (&saved.id, saved.progress.started.is_some())).collect();
        self.active.retain(|run, _| kept.get(run) == Some(&true));
        self.times_sent.retain(|(run, _), _| kept.get(run) == Some(&true));
        self.unreported.retain(|run, _| kept.contains_key(run));
        for (run, sent) in &mut self.on_the_wire {
            sent.forgotten |= !kept.contains_key(run) && !self.ended.contains_key(run);
        }
    }

    /// Checks that all owed steps were sent (I5), and that every run has a recorded outcome (I13).
    pub(crate) fn all_is_done(&self, disk: &Disk) {
        for (run, sent) in &self.on_the_wire {
            let outcome = disk.history.get(run).map(|ended| &ended.outcome);
            self.check_owed(run, sent, outcome, disk);
            let forgotten = self.clock_was_set_back && sent.topics.len() == 1
                // Newer calendars leave its day out, and an older occurrence was kept in its place.
                || self.calendars_changed_while_down && sent.forgotten;
            let recorded = forgotten || outcome.is_some() || disk.history.values().any(|ended| stands_for(ended, run));
            assert!(recorded, "I13: {run} has no recorded end");
        }
    }

    fn check_owed(&self, run: &RunId, sent: &Sent, outcome: Option<&Outcome>, disk: &Disk) {
        let Some(last) = sent.topics.last().filter(|_| sent.topics.len() > 1) else { return };
        let is_abandoned = self.abandoned.contains(&(run.plugin.clone(), run.device.clone()));
        // Steps left to a newer run are owed by that run; if it failed, one of its steps was not to be repeated.
        let heir_of = |ended: &&RunEnded| {
            let (job, by) = heir(ended)?;
            let heir =
                |id: &RunId| (&id.plugin, &id.device, &id.job, id.occurrence) == (&run.plugin, &run.device, job, by);
            disk.history.values().find(|ended| heir(&ended.id))
        };
        let heirs = std::iter::successors(disk.history.get(run), heir_of).take(100);
        let heir_failed = heirs
            .skip(1)
            .any(|ended| self.may_be_unsent.contains(&ended.id) || matches!(ended.outcome, Outcome::Failed(_)));
        let is_cut = matches!(outcome, Some(Outcome::Cancelled(_)));
        let is_left = is_cut && (is_abandoned || heir_failed);
        if is_left || sent.confirms || self.armed.contains(run) {
            return;
        }
        let of_device = |(plugin, device, ..): &&(PluginName, DeviceName, String, RunId, usize)| {
            (plugin, device) == (&run.plugin, &run.device)
        };
        let mut since = self.received[sent.since..].iter().filter(of_device);
        let is_sent = match outcome {
            // Its owed steps were sent at once, or another run published to the topic.
            Some(Outcome::Cancelled(_)) => since.any(|(_, _, topic, ..)| topic == last),
            _ => since.any(|(_, _, topic, other, _)| topic == last && other == run),
        };
        let is_sent = is_sent || self.once.contains(&(run.clone(), last.clone()));
        assert!(is_sent, "I5: {run} still owes `{last}`: {outcome:?}");
    }
}

/// Returns the job and the occurrence of the run that replaced this one.
fn heir(ended: &RunEnded) -> Option<(&JobId, Instant)> {
    if let Outcome::Cancelled(why) = &ended.outcome { newer(&ended.id, why) } else { None }
}

/// Returns the job and the occurrence of the newer run by which a run was cut short.
fn newer<'a>(run: &'a RunId, why: &'a Cancelled) -> Option<(&'a JobId, Instant)> {
    match why {
        Cancelled::Replaced { by } => Some((&run.job, *by)),
        Cancelled::NewerOfGroup { job, by } => Some((job, *by)),
        _ => None,
    }
}

/// Returns whether a recorded outcome stands for several runs, including this one.
fn stands_for(ended: &RunEnded, run: &RunId) -> bool {
    let Some(Several { since, .. }) = ended.outcome.several() else { return false };
    let same = RunId { occurrence: run.occurrence, ..ended.id.clone() } == *run;
    same && since <= run.occurrence && run.occurrence <= ended.id.occurrence
}

/// Checks that every occurrence from `since` on has an outcome of its own, or is one of several that share one (I13).
pub(crate) fn is_accounted_for(
    disk: &Disk,
    (device, job): (&str, &str),
    since: Instant,
    until: Instant,
    next: impl Fn(Instant) -> Instant,
) {
    let of_job = |run: &&RunEnded| {
        let id: &RunId = &run.id;
        id.origin.is_trigger() && id.device.as_str() == device && id.job == JobId::parse(job).expect("a name")
    };
    let mut spans: Vec<(Instant, Instant)> = disk
        .history
        .values()
        .filter(of_job)
        .map(|run| {
            let since = run.outcome.several().map_or(run.id.occurrence, |several| several.since);
            (since, run.id.occurrence)
        })
        .collect();
    spans.sort();
    let mut due = next(since.plus_ms(-1));
    while due < until {
        assert!(
            spans.iter().any(|(from, to)| *from <= due && due <= *to),
            "I13: {job} of {device} {due} is unaccounted for"
        );
        due = next(due);
    }
}
