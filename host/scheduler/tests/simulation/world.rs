//! A simulated world around the scheduler: a disk that commits on demand, a broker that answers on demand, a process
//! that can crash. It checks the invariants at each step.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    mem,
    sync::Arc,
};

use roost_scheduler::{
    event::{
        ByHand, CallId, Change, Digest, Done, Effect, Event, Loaded, LoadedDevice, Part, PauseChange, Plan, Publish,
        Request, Version, WatchId,
    },
    model::{Confirm, Job, Reply, Task},
    names::{DeviceName, PluginName, RunId},
    outcome::Outcome,
    pause::Pause,
    rate::Rates,
    scheduler::Scheduler,
    time::Instant,
    topic::Grant,
};

use crate::{
    checker::Checker,
    days::InForce,
    disk::{Disk, full_grant},
    dsl::{name, site},
};

/// Steps without a moment of time between them: more than thousands of runs at once need, so that a scheduler that wakes
/// itself again and again fails instead of running for ever.
const STEPS_AT_ONCE: u32 = 100_000;

pub(crate) struct World {
    pub(crate) scheduler: Scheduler,
    /// A second scheduler that gets the same events, and must return the same steps (I1).
    twin: Option<Scheduler>,
    pub(crate) now: Instant,
    /// The latest time that the clock has shown.
    pub(crate) latest: Instant,
    pub(crate) wake: Option<Instant>,
    /// When the last step was, and how many there were at that time.
    last_steps: (Instant, u32),
    pub(crate) disk: Disk,
    pub(crate) checker: Checker,
    /// Steps that are not durable yet, with the effects that wait for them.
    uncommitted: VecDeque<(Vec<Change>, Vec<Effect>)>,
    /// Whether the last of these is incomplete.
    pub(crate) partial: bool,
    /// Whether the store has failed.
    pub(crate) is_failing: bool,
    /// Messages that were sent and not acknowledged.
    pub(crate) in_flight: Vec<Publish>,
    /// The attempts that have arrived at the broker.
    arrived: HashSet<u64>,
    pub(crate) link: Option<u64>,
    links: u64,
    /// How many messages may be in flight.
    credit: u32,
    /// Subscriptions that the broker has not answered.
    pub(crate) subscribing: Vec<WatchId>,
    /// Subscriptions to reports, and whether the broker has accepted them.
    watches: BTreeMap<WatchId, (Arc<Confirm>, bool)>,
    /// Topics of subscriptions that the broker refused.
    refused_topics: HashSet<String>,
    /// The run of the message that the current event puts off.
    deferred: Option<RunId>,
    /// Topics without subscribers.
    pub(crate) unsubscribed: HashSet<String>,
    /// Whether devices do not send reports.
    pub(crate) is_silent: bool,
    /// The plans that plugins return.
    pub(crate) plans: BTreeMap<(PluginName, DeviceName), Vec<Job>>,
    pub(crate) plan_requests: Vec<(PluginName, DeviceName, u64)>,
    /// The reply of plugins to tasks, and the calls that are open.
    pub(crate) reply: Result<Reply, String>,
    pub(crate) called: Vec<(CallId, Task)>,
    /// Whether events are printed at once.
    pub(crate) is_verbose: bool,
    /// The events, as text.
    pub(crate) log: Vec<String>,
    /// What requests have changed, as it was reported.
    pub(crate) by_hand: Vec<ByHand>,
    /// Failed runs, which may be replayed.
    pub(crate) dead_letters: Vec<RunId>,
    /// All contents that calendars ever had.
    pub(crate) calendars: Vec<InForce>,
}

impl World {
    pub(crate) fn new(now: Instant) -> Self {
        let disk = Disk::default();
        let twin = Some(disk.restart(now));
        Self { twin, ..Self::without_twin(now) }
    }

    /// Sets the operator's rates from the beginning.
    pub(crate) fn set_rates(&mut self, rates: Rates) {
        self.disk.rates = rates;
        self.scheduler = self.disk.restart(self.now);
        self.twin = self.twin.is_some().then(|| self.disk.restart(self.now));
    }

    /// Creates a world without a twin, which takes half the time.
    pub(crate) fn without_twin(now: Instant) -> Self {
        let disk = Disk::default();
        Self {
            scheduler: disk.restart(now),
            twin: None,
            now,
            latest: now,
            wake: Some(now),
            last_steps: (now, 0),
            disk,
            checker: Checker::default(),
            uncommitted: VecDeque::new(),
            partial: false,
            is_failing: false,
            in_flight: Vec::new(),
            arrived: HashSet::new(),
            link: None,
            links: 0,
            credit: 0,
            subscribing: Vec::new(),
            watches: BTreeMap::new(),
            refused_topics: HashSet::new(),
            deferred: None,
            unsubscribed: HashSet::new(),
            is_silent: false,
            plans: BTreeMap::new(),
            plan_requests: Vec::new(),
            reply: Err("trap".into()),
            called: Vec::new(),
            is_verbose: false,
            log: Vec::new(),
            by_hand: Vec::new(),
            dead_letters: Vec::new(),
            calendars: Vec::new(),
        }
    }

    /// Steps the scheduler. Returns the number of changes.
    pub(crate) fn step(&mut self, event: Event) -> usize {
        let (at, count) = self.last_steps;
        self.last_steps = (self.now, if at == self.now { count + 1 } else { 0 });
        assert!(count < STEPS_AT_ONCE, "I4: the scheduler does not come to rest");
        let may_pause = matches!(event, Event::Requested { .. });
        let step = match &mut self.twin {
            None => self.scheduler.step(self.now, event),
            Some(twin) => {
                let step = self.scheduler.step(self.now, event.clone());
                let twins = twin.step(self.now, event);
                assert_eq!(format!("{step:?}"), format!("{twins:?}"), "I1: equal events give equal steps");
                step
            }
        };
        if let Some(run) = self.deferred.take() {
            self.check_deferred(&run);
        }
        for change in &step.changes {
            self.observe(change);
            if let Change::RunEnded(ended) = change
                && self.uncommitted.is_empty()
                && !may_pause
            {
                Checker::check_missed(ended, &self.disk);
            }
        }
        let runs = self.scheduler.runs_from(0).0;
        self.checker.check_holders(self.now, &runs);
        self.checker.check_running(&self.scheduler, &runs, &self.in_flight);
        let ends = |change: &Change| if let Change::RunEnded(ended) = change { Some(ended.id.clone()) } else { None };
        let ended = step.changes.iter().filter_map(ends).collect();
        self.wake = step.wake;
        let count = step.changes.len();
        for effect in &step.effects {
            if let Effect::Publish(publish) = effect {
                self.checker.check_rate(self.now, &publish.run.plugin, &self.disk.rates);
                self.checker.decided(
                    self.now,
                    publish,
                    self.disk.grants.get(&publish.run.plugin).map_or(&[], Vec::as_slice),
                );
                if self.uncommitted.is_empty() && !may_pause {
                    self.checker.check_pause(publish, &self.disk);
                }
            }
        }
        let (later, at_once) = step.effects.into_iter().partition::<Vec<_>, _>(Effect::after_commit);
        // A message that is sent in the step that ends its run was decided before.
        self.checker.just_ended = ended;
        for effect in at_once {
            self.start(effect);
        }
        self.checker.just_ended.clear();
        if self.is_failing {
            // Nothing is saved any more, and effects that wait for a commit never start.
        } else if mem::replace(&mut self.partial, step.partial)
            && let Some((changes, waiting)) = self.uncommitted.back_mut()
        {
            changes.extend(step.changes);
            waiting.extend(later);
        } else if !step.changes.is_empty() {
            self.uncommitted.push_back((step.changes, later));
        } else if let Some((_, waiting)) = self.uncommitted.back_mut() {
            waiting.extend(later);
        } else {
            later.into_iter().for_each(|effect| self.start(effect));
        }
        count
    }

    fn observe(&mut self, change: &Change) {
        if let Change::RunSaved { run, .. } = change {
            self.checker.saved(run);
        }
        if let Change::ResourceFreed { run, resource, held_ms } = change {
            self.checker.freed(self.now, run, resource);
            self.note(&format!("freed {resource} of {} after {} s", run.job, held_ms / 1_000));
        }
        let Change::RunEnded(ended) = change else { return };
        self.checker.ended_in_memory(ended);
        let reason = ended.outcome.to_string();
        let colon = if reason.is_empty() { "" } else { ": " };
        let origin = if ended.id.origin.to_string().is_empty() { "" } else { " again" };
        let (RunId { job, occurrence, .. }, state) = (&ended.id, ended.outcome.state());
        self.note(&format!("{state} {job} {occurrence}{origin}{colon}{reason}"));
    }

    #[allow(clippy::print_stderr, reason = "shown when a history is repeated")]
    pub(crate) fn note(&mut self, text: &str) {
        if self.is_verbose {
            eprintln!("{} {text}", self.now);
        }
        self.log.push(format!("{} {text}", self.now));
    }

    fn start(&mut self, effect: Effect) {
        match effect {
            Effect::Publish(publish) if self.link == Some(publish.link) => self.sent(publish),
            Effect::Publish(_) => {}
            Effect::NotifyDurable(ticket) => {
                self.step(Event::Durable(ticket));
            }
            Effect::ZonesMoved { rules, jobs } => self.note(&format!("time zones {rules}: {jobs} jobs moved")),
            Effect::Announce(announcement) => {
                if announcement.loaded
                    && let Some(grants) = self.disk.grants.get_mut(&announcement.plugin)
                {
                    grants.remove(0);
                }
                self.note(&format!(
                    "{}: {} new, {} changed, {} gone, {} unchanged",
                    announcement.plugin,
                    announcement.new,
                    announcement.changed,
                    announcement.gone,
                    announcement.unchanged
                ));
            }
            Effect::Plan { plugin, device, generation } => self.plan_requests.push((plugin, device, generation)),
            Effect::Call { call, task, due, .. } => {
                self.note(&format!("call {} {} of {due}", task.name, task.args));
                self.called.push((call, task));
            }
            Effect::Watch { link, watch, confirm } => {
                if self.link == Some(link) {
                    self.watches.insert(watch, (confirm, false));
                    self.subscribing.push(watch);
                }
            }
            Effect::Unwatch { watch, .. } => {
                if let Some((confirm, false)) = self.watches.remove(&watch) {
                    self.refused_topics.insert(confirm.topic.to_string());
                }
                self.subscribing.retain(|other| *other != watch);
            }
            Effect::PauseChanged { what, change: change @ (PauseChange::Begun | PauseChange::Ended), .. } => {
                self.note(&format!("pause of {what:?} has {change:?}").to_lowercase());
            }
            Effect::PauseChanged { .. } => {}
            Effect::ByHand(change) => {
                if let ByHand::RunNow(run) | ByHand::Replayed(run) = &change {
                    let is_saved =
                        self.disk.history.contains_key(run) || self.disk.runs.values().any(|saved| saved.id == *run);
                    assert!(is_saved, "I3: {run} is reported before it is on disk");
                }
                self.by_hand.push(change);
            }
            Effect::Answer { answer, .. } => {
                let answer = match answer {
                    Ok(Done::Run(run)) => run.job.to_string(),
                    Ok(Done::Job { job: (plugin, device, job), is_new }) => {
                        format!("{plugin}/{device}/{job}{}", if is_new { "" } else { ", as before" })
                    }
                    Ok(Done::Pauses(before)) => {
                        let was = |before: Arc<Pause>| format!(", was paused{}", before.suffix(&|at| at.to_string()));
                        format!("done{}", before.into_iter().flatten().map(was).collect::<String>())
                    }
                    Ok(Done::Nothing) => "done".to_owned(),
                    Err(refusal) => refusal.to_string(),
                };
                self.note(&format!("answer: {answer}"));
            }
        }
    }

    fn sent(&mut self, publish: Publish) {
        let is_heard = |confirm: &Confirm| {
            self.watches.values().any(|(watched, is_subscribed)| *is_subscribed && watched.topic == confirm.topic)
        };
        // I5: an owed step is sent even without a subscription.
        let was_refused = |confirm: &Confirm| publish.step > 0 && self.refused_topics.contains(confirm.topic.as_str());
        let listens = publish.message().confirm().is_none_or(|confirm| is_heard(&confirm) || was_refused(&confirm));
        if self.is_failing {
            self.checker.sent_unsaved(&publish);
        }
        self.checker.sent(&publish, &self.disk, listens);
        let topic = publish.message().topic();
        let run_suffix = if self.is_verbose { format!(" by {}", publish.run) } else { String::new() };
        self.note(&format!("publish {topic} #{}{run_suffix}", publish.number));
        self.check_in_flight(&publish);
        self.in_flight.push(publish);
        assert!(self.in_flight.len() <= self.credit as usize, "I7: more is sent than the link takes");
    }

    /// Checks that no step is sent again while it is in flight, unless it was left to a newer run and came back: that run
    /// does not start, or not in time.
    fn check_in_flight(&self, publish: &Publish) {
        let (run, topic) = (&publish.run, publish.message().topic());
        let is_same = |other: &Publish| other.run == *run && other.message().topic() == topic;
        if !self.in_flight.iter().any(is_same) {
            return;
        }
        let was_left_to = |newer: RunId| {
            let id = |run: &RunId| (run.device.clone(), run.job.clone(), run.occurrence);
            let (runs, _) = self.scheduler.runs_from(0);
            let newer = runs.iter().find(|run| id(&run.id) == id(&newer)).filter(|_| !self.is_failing);
            newer.is_none_or(|newer| newer.body.steps().skip(1).any(|step| step.topic() == topic))
        };
        let newer = self.checker.newer(run).filter(|_| publish.number > 1);
        assert!(newer.is_some_and(was_left_to), "{run} sends `{topic}` while it is in flight");
    }

    /// Makes the oldest batch durable.
    pub(crate) fn commit(&mut self) -> bool {
        if self.is_failing || (self.partial && self.uncommitted.len() == 1) {
            return false;
        }
        let Some((changes, effects)) = self.uncommitted.pop_front() else { return false };
        for change in changes {
            if let Change::RunEnded(ended) = &change {
                self.checker.ended_on_disk(ended);
                if matches!(ended.outcome, Outcome::Failed(_)) {
                    self.dead_letters.push(ended.id.clone());
                }
            }
            self.disk.apply(change);
        }
        if self.uncommitted.is_empty() {
            self.checker.all_is_durable(&self.disk);
        }
        for effect in effects {
            self.start(effect);
        }
        true
    }

    /// The broker acknowledges a message.
    pub(crate) fn ack(&mut self, index: usize) {
        let is_subscribed = !self.unsubscribed.contains(self.in_flight[index].message().topic());
        self.ack_to(index, is_subscribed);
    }

    /// The broker acknowledges a message without subscribers.
    pub(crate) fn ack_without_subscriber(&mut self, index: usize) {
        self.ack_to(index, false);
    }

    fn ack_to(&mut self, index: usize, is_subscribed: bool) {
        // Earlier messages have arrived before.
        let sent: Vec<Publish> = self.in_flight[..=index].to_vec();
        for sent in sent {
            self.deliver(&sent);
        }
        let publish = self.in_flight.remove(index);
        let (link, attempt) = (publish.link, publish.attempt);
        self.step(Event::Acked { link, attempt, no_subscriber: !is_subscribed });
    }

    /// The broker refuses a message, unless it has it already.
    pub(crate) fn refuse(&mut self, index: usize) {
        if self.arrived.contains(&self.in_flight[index].attempt) {
            return self.ack(index);
        }
        let publish = self.in_flight.remove(index);
        let reason = "not authorized".to_owned();
        self.step(Event::Refused { link: publish.link, attempt: publish.attempt, reason });
    }

    /// The link puts a message off, unless the broker has it already.
    pub(crate) fn defer(&mut self, index: usize, wait_ms: i64) {
        if self.arrived.contains(&self.in_flight[index].attempt) {
            return self.ack(index);
        }
        let publish = self.in_flight.remove(index);
        self.checker.unsent(&publish);
        self.note(&format!("deferred {} #{}", publish.message().topic(), publish.number));
        self.deferred = Some(publish.run);
        self.step(Event::Deferred { link: publish.link, attempt: publish.attempt, wait_ms });
    }

    /// A run of a message that was put off may not have started, and then others go first.
    fn check_deferred(&mut self, run: &RunId) {
        let mut place = Some(0);
        while let Some(from) = place {
            let (runs, next) = self.scheduler.runs_from(from);
            if runs.iter().any(|other| other.id == *run && other.started.is_none()) {
                self.checker.record_not_started(run);
            }
            place = next;
        }
    }

    /// The broker ends the connection at a message that is alone on it; it may have arrived.
    pub(crate) fn end_at(&mut self, index: usize, has_arrived: bool) {
        let publish = self.in_flight.remove(index);
        if has_arrived && self.arrived.insert(publish.attempt) {
            self.checker.received(&publish);
        } else {
            self.checker.possibly_received(&publish);
        }
        let how = "the broker closed the connection".to_owned();
        self.step(Event::EndedLink { link: publish.link, attempt: publish.attempt, how });
        self.link_down();
    }

    /// A message reaches the broker, and the device reports it.
    fn deliver(&mut self, publish: &Publish) {
        if !self.arrived.insert(publish.attempt) {
            return;
        }
        self.checker.received(publish);
        if let Some(confirm) = publish.message().confirm().filter(|_| !self.is_silent) {
            self.report(confirm.topic.as_str(), true, false);
        }
    }

    /// A device sends a report.
    pub(crate) fn report(&mut self, topic: &str, matches: bool, retained: bool) {
        let Some(link) = self.link else { return };
        let listening = |(_, (confirm, _)): &(&WatchId, &(Arc<Confirm>, bool))| confirm.topic.as_str() == topic;
        let watches: Vec<WatchId> = self.watches.iter().filter(listening).map(|(watch, _)| *watch).collect();
        if matches && !retained && !watches.is_empty() {
            self.checker.reported(topic);
        }
        for watch in watches {
            self.step(Event::Reported { link, watch, matches, retained, excerpt: "other".into() });
        }
    }

    /// Returns the topics of subscriptions to reports.
    pub(crate) fn subscriptions(&self) -> Vec<String> {
        self.watches.values().map(|(confirm, _)| confirm.topic.to_string()).collect()
    }

    /// The broker answers a subscription.
    pub(crate) fn subscribed(&mut self, index: usize, refused: Option<String>) {
        let watch = self.subscribing.remove(index);
        let Some(link) = self.link else { return };
        if let Some((_, is_subscribed)) = self.watches.get_mut(&watch) {
            *is_subscribed = refused.is_none();
        }
        self.step(Event::Watching { link, watch, refused });
    }

    pub(crate) fn link_up(&mut self, credit: u32) {
        self.link_down();
        self.links += 1;
        self.link = Some(self.links);
        self.credit = credit;
        self.step(Event::LinkUp { link: self.links, credit });
    }

    pub(crate) fn link_down(&mut self) {
        self.lose_in_flight();
        if let Some(link) = self.link.take() {
            self.step(Event::LinkDown { link });
        }
    }

    /// Loses the messages in flight, of which every second one has arrived.
    fn lose_in_flight(&mut self) {
        self.watches.clear();
        self.subscribing.clear();
        let lost = mem::take(&mut self.in_flight);
        for (index, publish) in lost.iter().enumerate() {
            if index % 2 == 0 && self.arrived.insert(publish.attempt) {
                self.checker.received(publish);
            } else {
                self.checker.possibly_received(publish);
            }
        }
        self.arrived.clear();
    }

    /// The host crashes and restarts with a different clock.
    pub(crate) fn crash_and_shift(&mut self, by_ms: i64) {
        self.shift_clock(by_ms);
        self.checker.forget_put_off();
        self.crash();
    }

    fn shift_clock(&mut self, by_ms: i64) {
        let from = self.now;
        self.latest = self.latest.max(from);
        self.now = from.plus_ms(by_ms);
        self.checker.clock_set(from, self.now);
    }

    /// The clock is set while the host runs.
    pub(crate) fn set_clock(&mut self, by_ms: i64) {
        self.shift_clock(by_ms);
        self.note("clock set");
        self.step(Event::ClockSet { by_ms });
    }

    /// A commit fails: nothing is saved from here on.
    pub(crate) fn fail_store(&mut self) {
        self.note("commits fail");
        self.is_failing = true;
        self.uncommitted.clear();
        self.step(Event::StoreFailed);
    }

    /// Pauses or resumes one thing.
    pub(crate) fn pause(&mut self, what: Part, pause: impl Into<Option<Pause>>) {
        self.request(Request::Pause(vec![(what, pause.into().map(Arc::new))]));
    }

    pub(crate) fn request(&mut self, what: Request) {
        if let Request::Pause(pauses) = &what {
            let set = pauses.iter().filter_map(|(part, pause)| Some((part.clone(), (**pause.as_ref()?).clone())));
            self.checker.pauses.extend(set);
        }
        self.step(Event::Requested { request: 1, what });
    }

    /// Replays a failed run.
    pub(crate) fn replay(&mut self, run: &RunId) {
        let failed = self.disk.history.get(run).filter(|ended| matches!(ended.outcome, Outcome::Failed(_)));
        let body = failed.and_then(|ended| ended.body.clone());
        if let Some(body) = body {
            self.request(Request::Replay { run: run.clone(), body });
        }
    }

    /// The process crashes, loses everything that is not durable, and starts again.
    pub(crate) fn crash(&mut self) {
        self.note("crash");
        self.uncommitted.clear();
        self.partial = false;
        self.is_failing = false;
        self.lose_in_flight();
        self.plan_requests.clear();
        self.called.clear();
        self.link = None;
        self.disk.grants.values_mut().for_each(|grants| drop(grants.drain(..grants.len() - 1)));
        self.scheduler = self.disk.restart(self.now);
        self.twin = self.twin.is_some().then(|| self.disk.restart(self.now));
        self.checker.crashed(self.now, &self.disk);
        self.step(Event::Woke);
    }

    pub(crate) fn load(&mut self, plugin: &str, version: u8, devices: &[(&str, Vec<Job>)]) {
        self.load_granted(plugin, version, devices, full_grant());
    }

    pub(crate) fn load_granted(&mut self, plugin: &str, version: u8, devices: &[(&str, Vec<Job>)], grant: Grant) {
        let plugin = name(PluginName::parse(plugin));
        let digest = Digest([version; 32]);
        self.plans.retain(|(of, _), _| *of != plugin);
        let mut loaded = Vec::new();
        for (device, jobs) in devices {
            let device = name(DeviceName::parse(device));
            self.plans.insert((plugin.clone(), device.clone()), jobs.clone());
            self.checker.plans.insert((plugin.clone(), device.clone()), jobs.clone());
            let plan = Ok(Plan::new(self.now, jobs));
            loaded.push(LoadedDevice { name: device, site: site(), plan });
        }
        self.checker.loaded(&plugin);
        self.disk.grants.entry(plugin.clone()).or_insert_with(|| vec![full_grant()]).push(grant.clone());
        let loaded =
            Loaded { devices: loaded, plugin, version: Version { component: digest, settings: digest }, grant };
        self.step(Event::Loaded(loaded));
    }

    pub(crate) fn remove(&mut self, plugin: &str) {
        let plugin = name(PluginName::parse(plugin));
        self.plans.retain(|(of, _), _| *of != plugin);
        self.step(Event::Removed(plugin));
    }

    /// Answers one request for a plan.
    pub(crate) fn return_plan(&mut self) -> bool {
        let Some((plugin, device, generation)) = self.plan_requests.pop() else { return false };
        let jobs = self.plans.get(&(plugin.clone(), device.clone())).cloned();
        let plan = jobs.map(|jobs| Plan::new(self.now, &jobs)).ok_or_else(|| "trap".to_owned());
        self.step(Event::Planned { plugin, device, generation, plan });
        true
    }

    /// Answers one task call.
    pub(crate) fn reply(&mut self) -> bool {
        let Some((call, _)) = self.called.pop() else { return false };
        let reply = self.reply.clone();
        self.step(Event::Answered { call, reply });
        true
    }

    /// Runs without faults until an instant.
    pub(crate) fn run_until(&mut self, until: Instant) {
        loop {
            while self.commit() || self.return_plan() || self.reply() {}
            if !self.in_flight.is_empty() {
                self.ack(0);
                continue;
            }
            if !self.subscribing.is_empty() {
                self.subscribed(0, None);
                continue;
            }
            let Some(wake) = self.wake.filter(|wake| *wake <= until) else { break };
            self.now = self.now.max(wake);
            self.step(Event::Woke);
        }
        self.now = until;
    }
}
