//! What must hold whatever happens, and the memory that it takes to see it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use roost_scheduler::{
    event::{Publish, RunEnded, SavedRun},
    limits::{self, HOLD_SLACK_MS},
    model::{Job, Overlap, Policy},
    names::{DeviceName, GroupName, JobId, Origin, PluginName, ResourceName, RunId},
    outcome::{Cancelled, Cause, Outcome, Several},
    rate::{Rate, Rates},
    scheduler::RunUnderWay,
    time::Instant,
    topic::Grant,
    trigger::{Search, SunCache},
};

use crate::{
    disk::{Disk, LONGEST_HOLD_MS},
    world::site,
};

/// Sees everything that leaves the scheduler.
#[derive(Default)]
pub(crate) struct Checker {
    /// Recorded on disk as sent and ended.
    ended: HashMap<RunId, Outcome>,
    /// Runs of which the broker has, or may have, a step.
    on_the_wire: BTreeMap<RunId, Sent>,
    /// What the broker has, in order: the device, the topic, the run, the step.
    received: Vec<(PluginName, DeviceName, String, RunId, usize)>,
    /// Steps that say `once` and were handed over.
    once: BTreeSet<(RunId, usize)>,
    /// Runs that have started and have not ended.
    going: BTreeMap<RunId, Publish>,
    /// The newest occurrence of each group that was sent.
    groups: HashMap<(PluginName, DeviceName, GroupName), (Instant, JobId)>,
    /// The jobs that each device has now, as far as is known.
    pub(crate) plans: BTreeMap<(PluginName, DeviceName), Vec<Job>>,
    /// Runs that went on although nothing could be kept of that: after the crash they go back.
    unkept: BTreeSet<RunId>,
    /// By the step whose attempts leave now.
    pub(crate) just_ended: Vec<RunId>,
    /// Runs that are on disk, or were.
    saved: BTreeSet<RunId>,
    /// Saved runs with steps that are not repeated, or that are done as soon as a device says so.
    may_be_unsent: BTreeSet<RunId>,
    /// Devices of which a run was abandoned: perhaps one that had taken over what others owed.
    abandoned: BTreeSet<(PluginName, DeviceName)>,
    /// Whether the clock was set back. Then a crash may forget a run of one step, which is not on disk before it has ended:
    /// the occurrence comes again, in a series of its own.
    clock_was_set_back: bool,
    /// What the clock was set past last, if nothing has crashed since.
    jumped: Option<(Instant, Instant)>,
    /// Runs that were under way when the clock was set, and that is not durable yet.
    shifted: Vec<RunId>,
    /// Whether a crash takes along by how much the clock was set.
    clock_set_is_not_kept: bool,
    /// How many thousandths of a message each plugin may send, and when that was so.
    buckets: HashMap<PluginName, (Instant, i64)>,
    /// Until when what a run has taken over from earlier ones may be put off, by its device, its job and its occurrence.
    put_off_until: HashMap<(PluginName, DeviceName, JobId, Instant), Instant>,
    /// Since when runs that are going on hold what they need, by the scheduler's own measure.
    holding: BTreeMap<RunId, (ResourceName, Instant)>,
    /// Those that have held it for long enough, and go on without.
    freed: BTreeSet<RunId>,
    /// Those of which that cannot be known after a crash: they may hold it.
    may_be_freed: BTreeSet<RunId>,
    /// What runs that were cut short held since when: newer ones may have taken it over.
    left: HashMap<(PluginName, DeviceName, ResourceName), Instant>,
    /// By resource, the plugin that had it last, and the runs that waited for it then.
    turns: HashMap<ResourceName, (PluginName, BTreeSet<RunId>)>,
    /// The runs that wait for a resource now, of those that start as soon as they have it.
    waiting: BTreeMap<RunId, ResourceName>,
}

/// What is known of a run on the wire.
struct Sent {
    topics: Vec<String>,
    /// Where in what was received it began.
    since: usize,
    /// Whether there are steps that are not repeated, or are done as soon as a device says so, whatever made it.
    may_be_unsent: bool,
    /// Whether it was not on disk when the host crashed.
    forgotten: bool,
}

impl Checker {
    /// An attempt is to be made, as soon as what it depends on is durable.
    pub(crate) fn decided(&self, now: Instant, publish: &Publish, grants: &[Grant]) {
        let (run, policy) = (&publish.run, publish.body.policy());
        if publish.step > 0 || publish.number > 1 {
            return;
        }
        let late_ms = now.ms_since(publish.due);
        assert!(late_ms >= 0 || self.clock_was_set_back, "{run} starts {} ms too early", -late_ms);
        let in_time = late_ms <= i64::from(policy.grace_ms) || policy.group().is_some();
        assert!(in_time, "{run} starts {late_ms} ms late, after its grace");
        let by = |grant: &Grant| {
            publish.body.steps().all(|step| grant.excess(step.topic(), step.qos, step.retain).is_none())
        };
        assert!(grants.is_empty() || grants.iter().any(by), "I8: {run} publishes outside its plugin's grant");
    }

    /// I7: no plugin sends more than its rate allows.
    pub(crate) fn keeps_to_rate(&mut self, now: Instant, plugin: &PluginName, rates: &Rates) {
        let Rate { per_second, burst } = rates.of(plugin);
        let full = i64::from(burst) * 1_000;
        let (since, left) = self.buckets.get(plugin).copied().unwrap_or((now, full));
        let left = full.min(left + now.ms_since(since) * i64::from(per_second)) - 1_000;
        assert!(left >= 0, "I7: {plugin} sends more than its rate allows");
        self.buckets.insert(plugin.clone(), (now, left));
    }

    /// An attempt leaves although nothing can be kept any more.
    pub(crate) fn sent_unkept(&mut self, publish: &Publish) {
        assert!(publish.step > 0, "{} is begun although nothing can be kept", publish.run);
        assert!(!publish.message().once, "I4: {} says `once`, and it cannot be kept that it was sent", publish.run);
        self.unkept.insert(publish.run.clone());
    }

    /// An attempt leaves.
    pub(crate) fn sent(&mut self, publish: &Publish, disk: &Disk, listens: bool) {
        let (run, message) = (&publish.run, publish.message());
        let outcome = self.ended.get(run);
        assert!(outcome.is_none(), "I2: {run} is sent after it ended: {outcome:?}");
        let saved = disk.runs.values().find(|saved| saved.id == *run);
        let is_planned = saved.is_some() || self.unkept.contains(run) || disk.plans(run, &publish.body);
        assert!(is_planned, "I3: {run} is sent before its plan is durable");
        let is_long = publish.body.step_count() > 1;
        assert!(
            !is_long || saved.is_some() || self.unkept.contains(run),
            "I3: {run} owes later steps, and is not on disk"
        );
        if message.once {
            let is_armed = saved.is_some_and(|saved| saved.progress.armed && saved.progress.steps_done == publish.step);
            assert!(is_armed, "I3: {run} is to be sent once, and is not armed");
            let is_new = self.once.insert((run.clone(), publish.step));
            assert!(is_new, "I4: step {} of {run} is sent twice", publish.step);
        }
        assert!(message.confirm().is_none() || listens, "{run} is sent before its device is listened to");
        if publish.step == 0 && !self.going.contains_key(run) && !self.just_ended.contains(run) {
            self.starts(publish);
        }
    }

    /// An attempt was decided, and has not left: whatever it says of once is still to come.
    pub(crate) fn unsent(&mut self, publish: &Publish) {
        self.once.remove(&(publish.run.clone(), publish.step));
    }

    /// Nothing of a run has been sent, as far as the host knows: a crash may have made it forget.
    pub(crate) fn has_not_started(&mut self, run: &RunId) {
        self.going.remove(run);
    }

    /// A run starts, or is tried again after a crash that knew nothing of it.
    fn starts(&mut self, publish: &Publish) {
        let (run, policy) = (&publish.run, publish.body.policy());
        let of_device = |other: &RunId| (&other.plugin, &other.device) == (&run.plugin, &run.device);
        let of_job = |other: &RunId| of_device(other) && other.job == run.job;
        let most = |policy: &Policy| if let Overlap::Allow(most) = policy.overlap { most } else { 1 };
        let others = || self.going.iter().filter(|(other, _)| of_job(other));
        let at_once = others().count();
        // A plan may have changed the policy in between.
        let most = others().map(|(_, sent)| most(&sent.body.policy())).fold(most(&policy), u32::max);
        assert!(at_once < most as usize, "{run} starts beside {at_once} others of its job");
        if let Some(needs) = &policy.needs {
            let holds = |other: &&Publish| {
                let same = other.body.policy().needs.as_ref() == Some(needs) && other.run != *run;
                same && !self.freed.contains(&other.run)
            };
            let holder = self.going.values().find(holds).map(|other| &other.run);
            assert!(holder.is_none(), "{run} starts although {holder:?} holds `{needs}`");
            self.takes_its_turn(run, needs);
        }
        if let Some(group) = policy.group() {
            let of_group =
                |(other, sent): &(&RunId, &Publish)| of_device(other) && sent.body.policy().group() == Some(group);
            let other = self.going.iter().find(of_group).map(|(other, _)| other);
            assert!(other.is_none(), "{run} starts before {other:?} of its group has ended");
            let key = (run.plugin.clone(), run.device.clone(), group.clone());
            let own = (run.occurrence, run.job.clone());
            let (newest, job) = self.groups.entry(key).or_insert_with(|| own.clone()).clone();
            let is_known = self.is_due_by_plan(run, &job, newest);
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
        let is_new = run.origin.is_of_trigger() && run.job.as_str() == "every" && !self.saved.contains(run);
        if is_new && self.jumped.is_some_and(is_in) {
            let same = |other: &&RunId| {
                **other != *run && other.origin.is_of_trigger() && of_job(other) && other.occurrence == run.occurrence
            };
            let before = self.ended.keys().find(same);
            assert!(
                before.is_none(),
                "I11: {run} is made up for, and was done before the clock was set back: {before:?}"
            );
        }
        self.going.insert(run.clone(), publish.clone());
    }

    /// I7: a plugin does not have a resource twice while a run of another one waits for it.
    fn takes_its_turn(&mut self, run: &RunId, needs: &ResourceName) {
        assert!(
            needs.as_str() != "well" || run.plugin.as_str() == "other",
            "{run} holds `{needs}`, which is not granted"
        );
        let waits = |(_, what): &(&RunId, &ResourceName)| *what == needs;
        let waiting: BTreeSet<RunId> = self.waiting.iter().filter(waits).map(|(run, _)| run.clone()).collect();
        let took_over = self.left.contains_key(&(run.plugin.clone(), run.device.clone(), needs.clone()));
        if let Some((last, before)) = self.turns.get(needs).filter(|(last, _)| *last == run.plugin && !took_over) {
            let passed = waiting.intersection(before).find(|other| other.plugin != *last);
            assert!(passed.is_none(), "I7: {run} has `{needs}` after another one of its plugin, and {passed:?} waits");
        }
        self.turns.insert(needs.clone(), (run.plugin.clone(), waiting));
    }

    /// After each step of the scheduler: which runs hold resources and wait for them.
    pub(crate) fn looks_at(&mut self, now: Instant, runs: &[RunUnderWay<'_>]) {
        self.waiting.clear();
        for run in runs {
            let Some(needs) = run.body.policy().needs else { continue };
            match run.started {
                // What asks its plugin or its device first may have to give its turn back.
                None => {
                    let waits = run.state == "held" && run.held_by == Some(&Cause::Taken(needs.clone()));
                    let is_plain = !run.body.asks_plugin() && run.body.steps().all(|step| step.confirm().is_none());
                    if waits && is_plain {
                        self.waiting.insert(run.id.clone(), needs);
                    }
                }
                Some(started) => {
                    let is_new = self.holding.insert(run.id.clone(), (needs.clone(), started)).is_none();
                    let held_ms = now.ms_since(started);
                    let most = i64::from(LONGEST_HOLD_MS) + HOLD_SLACK_MS;
                    let is_free = is_new || self.freed.contains(run.id);
                    assert!(is_free || held_ms <= most, "I7: {} has held `{needs}` for {held_ms} ms", run.id);
                }
            }
        }
    }

    /// A run goes on without what it needs.
    pub(crate) fn freed(&mut self, now: Instant, run: &RunId, needs: &ResourceName) {
        let left = self.left.get(&(run.plugin.clone(), run.device.clone(), needs.clone()));
        let own = self.holding.get(run).map(|(_, since)| since);
        let since = own.into_iter().chain(left).min();
        let held_ms = since.map_or(i64::MAX, |since| now.ms_since(*since));
        assert!(held_ms >= i64::from(LONGEST_HOLD_MS), "{run} has to let go after {held_ms} ms");
        self.may_be_freed.remove(run);
        self.freed.insert(run.clone());
    }

    /// Whether a device still has a job that was due then: of a job that has gone, nothing is known.
    fn is_due_by_plan(&self, of: &RunId, job: &JobId, at: Instant) -> bool {
        let plan = self.plans.get(&(of.plugin.clone(), of.device.clone()));
        plan.into_iter().flatten().filter(|planned| planned.id == *job && planned.policy.group().is_some()).any(
            |planned| {
                let found = planned.trigger.last(at.plus_ms(-1), at, &site(), &mut SunCache::default());
                found == Search::Found(at)
            },
        )
    }

    /// A message reaches the broker.
    pub(crate) fn received(&mut self, publish: &Publish) {
        self.possibly_received(publish);
        let run = &publish.run;
        // A run that is cut short has fewer steps; its topics are still in their order.
        let topics = self.on_the_wire.get(run).map(|sent| &sent.topics);
        let place = topics.and_then(|topics| topics.iter().position(|topic| topic == publish.message().topic()));
        let step = place.expect("one of its steps");
        let newest = self.received.iter().filter(|(.., other, _)| other == run).map(|(.., step)| *step).max();
        let newest = newest.filter(|_| !self.unkept.contains(run));
        assert!(newest.is_none_or(|newest| newest <= step), "a step of {run} after a later one");
        let topic = publish.message().topic().to_owned();
        self.received.push((run.plugin.clone(), run.device.clone(), topic, run.clone(), step));
    }

    /// A message may have reached the broker.
    pub(crate) fn possibly_received(&mut self, publish: &Publish) {
        // Of a run that no disk has known, the occurrence comes again as the plan of now has it.
        if self.on_the_wire.get(&publish.run).is_some_and(|sent| sent.forgotten) {
            self.on_the_wire.remove(&publish.run);
        }
        let since = self.received.len();
        let steps = || publish.body.steps();
        self.on_the_wire.entry(publish.run.clone()).or_insert_with(|| Sent {
            topics: steps().map(|step| step.topic().to_owned()).collect(),
            since,
            may_be_unsent: steps().any(|step| step.once || step.confirm().is_some()),
            forgotten: false,
        });
    }

    /// From here on, occurrences have other ids: what is under way has to keep its own.
    pub(crate) fn clock_set(&mut self, from: Instant, to: Instant) {
        self.buckets.values_mut().for_each(|(since, _)| *since = since.plus_ms(to.ms_since(from)));
        self.jumped = (from < to).then_some((from, to));
        let own = self.holding.values_mut().map(|(_, since)| since);
        for since in self.left.values_mut().chain(own) {
            *since = since.plus_ms(to.ms_since(from));
        }
        self.clock_was_set_back |= to < from;
        self.put_off_until.values_mut().for_each(|until| *until = until.plus_ms(to.ms_since(from)));
        self.shifted = self.going.keys().cloned().collect();
        self.clock_set_is_not_kept = true;
    }

    /// Everything so far is durable.
    pub(crate) fn all_is_kept(&mut self, disk: &Disk) {
        self.clock_set_is_not_kept = false;
        for run in self.shifted.drain(..).filter(|run| self.going.contains_key(run)) {
            let is_kept = disk.runs.values().any(|saved| saved.id == run);
            assert!(is_kept, "I2: {run} was under way when the clock was set, and is not on disk");
        }
    }

    /// What was newest was so by another plan.
    pub(crate) fn loaded(&mut self, plugin: &PluginName) {
        self.groups.retain(|(of, ..), _| of != plugin);
    }

    /// A run is to be kept.
    pub(crate) fn saved(&mut self, run: &SavedRun) {
        self.saved.insert(run.id.clone());
        if run.body.steps().any(|step| step.once || step.confirm().is_some()) {
            self.may_be_unsent.insert(run.id.clone());
        }
    }

    /// A run ends, as far as the memory knows.
    pub(crate) fn ends(&mut self, ended: &RunEnded) {
        if ended.outcome == Outcome::Cancelled(Cancelled::Abandoned) {
            self.abandoned.insert((ended.id.plugin.clone(), ended.id.device.clone()));
        }
        self.leaves_what_it_owes(ended);
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
        self.going.remove(&ended.id);
    }

    /// The clock was set while the host was away: what is owed has been put off for a time that cannot be known.
    pub(crate) fn forgets_how_long_it_was(&mut self) {
        self.put_off_until.clear();
    }

    /// Newer runs may begin the time of what is owed anew, but not for ever (I5).
    fn leaves_what_it_owes(&mut self, ended: &RunEnded) {
        let (Some((job, by)), Some(started)) = (heir(ended), ended.started) else { return };
        let RunId { plugin, device, job: own_job, occurrence, .. } = ended.id.clone();
        let (Some(first), Some(sent)) = (self.going.get(&ended.id), self.on_the_wire.get(&ended.id)) else { return };
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

    /// The same, on disk.
    pub(crate) fn ended(&mut self, ended: &RunEnded) {
        // An occurrence that nothing was sent of may be decided again after a crash, by another reason.
        if !matches!(ended.outcome, Outcome::Skipped(_) | Outcome::Missed(_)) {
            self.ended.insert(ended.id.clone(), ended.outcome.clone());
        }
    }

    /// The memory is gone; what the disk knows goes on.
    pub(crate) fn crashed(&mut self, now: Instant, disk: &Disk) {
        if std::mem::take(&mut self.clock_set_is_not_kept) {
            self.forgets_how_long_it_was();
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
        // Where a crash took along by how much the clock was set back, a run that had given up the resource seems to have
        // just begun to hold it; and which of them that is cannot be seen, so that each may leave it to a newer one.
        let may_be_freed = |of: &(&RunId, &(ResourceName, Instant))| {
            let holders = || self.holding.values().filter(|(other, _)| *other == of.1.0).count();
            self.clock_was_set_back && !is_over(of) && holders() > 1
        };
        self.may_be_freed = self.holding.iter().filter(may_be_freed).map(|(run, _)| run.clone()).collect();
        self.freed.extend(self.may_be_freed.iter().cloned());
        self.shifted.clear();
        self.buckets.clear();
        self.jumped = None;
        let kept: HashMap<&RunId, bool> =
            disk.runs.values().map(|saved| (&saved.id, saved.progress.started.is_some())).collect();
        self.going.retain(|run, _| kept.get(run) == Some(&true));
        for (run, sent) in &mut self.on_the_wire {
            sent.forgotten |= !kept.contains_key(run) && !self.ended.contains_key(run);
        }
    }

    /// Nothing is given up of what is owed (I5), and everything has a recorded end (I13).
    pub(crate) fn all_is_done(&self, disk: &Disk) {
        for (run, sent) in &self.on_the_wire {
            let outcome = disk.history.get(run).map(|ended| &ended.outcome);
            self.is_not_owed_any_more(run, sent, outcome, disk);
            let forgotten = self.clock_was_set_back && sent.topics.len() == 1;
            let recorded = forgotten || outcome.is_some() || disk.history.values().any(|ended| stands_for(ended, run));
            assert!(recorded, "I13: {run} has no recorded end");
        }
    }

    fn is_not_owed_any_more(&self, run: &RunId, sent: &Sent, outcome: Option<&Outcome>, disk: &Disk) {
        let Some(last) = sent.topics.last().filter(|_| sent.topics.len() > 1) else { return };
        let is_abandoned = self.abandoned.contains(&(run.plugin.clone(), run.device.clone()));
        // What was left to a newer run is that one's to owe: of one that failed there was a step that is not repeated.
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
        if is_left || sent.may_be_unsent {
            return;
        }
        let of_device = |(plugin, device, ..): &&(PluginName, DeviceName, String, RunId, usize)| {
            (plugin, device) == (&run.plugin, &run.device)
        };
        let mut since = self.received[sent.since..].iter().filter(of_device);
        let is_sent = match outcome {
            // What it owed was sent at once, or somebody else published there.
            Some(Outcome::Cancelled(_)) => since.any(|(_, _, topic, ..)| topic == last),
            _ => since.any(|(_, _, topic, other, _)| topic == last && other == run),
        };
        assert!(is_sent, "I5: {run} still owes `{last}`: {outcome:?}");
    }
}

/// The job and the occurrence of the run that took another one's place.
fn heir(ended: &RunEnded) -> Option<(&JobId, Instant)> {
    match &ended.outcome {
        Outcome::Cancelled(Cancelled::Replaced { by }) => Some((&ended.id.job, *by)),
        Outcome::Cancelled(Cancelled::NewerOfGroup { job, by }) => Some((job, *by)),
        _ => None,
    }
}

/// Whether a recorded end is that of several runs, and this is one of them.
fn stands_for(ended: &RunEnded, run: &RunId) -> bool {
    let Some(Several { since, .. }) = ended.outcome.several() else { return false };
    let same = RunId { occurrence: run.occurrence, ..ended.id.clone() } == *run;
    same && since <= run.occurrence && run.occurrence <= ended.id.occurrence
}

/// Every occurrence from `since` on has an end of its own, or is one of several that have one (I13).
pub(crate) fn is_accounted_for(
    disk: &Disk,
    (device, job): (&str, &str),
    since: Instant,
    until: Instant,
    next: impl Fn(Instant) -> Instant,
) {
    let of_job = |run: &&RunEnded| {
        let id: &RunId = &run.id;
        id.origin.is_of_trigger() && id.device.as_str() == device && id.job == JobId::parse(job).expect("a name")
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
