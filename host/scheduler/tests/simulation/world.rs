//! A world round the scheduler: a disk that commits when it is told to, a broker that answers when it is told to, a
//! process that can crash. It checks the invariants at each step.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    mem,
};

use roost_scheduler::{
    event::{Change, Digest, Effect, Event, Loaded, LoadedDevice, Plan, Publish, RunEnded, Version},
    model::Job,
    names::{DeviceName, PluginName, RunId},
    outcome::{Missed, Outcome},
    scheduler::Scheduler,
    time::{Instant, Site},
};

use crate::disk::{Disk, everything};

pub(crate) struct World {
    pub(crate) scheduler: Scheduler,
    /// Fed with the same events: it must answer the same (I1).
    twin: Scheduler,
    pub(crate) now: Instant,
    pub(crate) wake: Option<Instant>,
    pub(crate) disk: Disk,
    /// Steps whose changes are not durable yet, with the effects that wait for them.
    uncommitted: VecDeque<(Vec<Change>, Vec<Effect>)>,
    /// Whether the last of these is not complete.
    pub(crate) partial: bool,
    /// What was handed to the broker and not answered.
    pub(crate) in_flight: Vec<Publish>,
    /// What the broker has, in order.
    pub(crate) received: Vec<Received>,
    pub(crate) link: Option<u64>,
    links: u64,
    /// The answers that a plugin gives when it is asked for a plan.
    pub(crate) plans: BTreeMap<(PluginName, DeviceName), Vec<Job>>,
    pub(crate) asked: Vec<(PluginName, DeviceName, u64)>,
    /// What happened, as text.
    pub(crate) log: Vec<String>,
    ended: HashMap<RunId, Outcome>,
    /// Runs of which the broker has, or may have, a step, and how many steps they have.
    on_the_wire: HashMap<RunId, usize>,
}

pub(crate) struct Received {
    run: RunId,
    step: usize,
}

pub(crate) fn name<T, E: std::fmt::Debug>(parsed: Result<T, E>) -> T {
    parsed.expect("a valid name")
}

pub(crate) fn site() -> Site {
    Site { zone: chrono_tz::Europe::London, location: None }
}

impl World {
    pub(crate) fn new(now: Instant) -> Self {
        let disk = Disk::default();
        Self {
            scheduler: disk.restart(now),
            twin: disk.restart(now),
            now,
            wake: Some(now),
            disk,
            uncommitted: VecDeque::new(),
            partial: false,
            in_flight: Vec::new(),
            received: Vec::new(),
            link: None,
            links: 0,
            plans: BTreeMap::new(),
            asked: Vec::new(),
            log: Vec::new(),
            ended: HashMap::new(),
            on_the_wire: HashMap::new(),
        }
    }

    /// Answers how much there was to be kept.
    pub(crate) fn step(&mut self, event: Event) -> usize {
        let step = self.scheduler.step(self.now, event.clone());
        let twin = self.twin.step(self.now, event);
        assert_eq!(format!("{step:?}"), format!("{twin:?}"), "I1: equal events give equal steps");
        for change in &step.changes {
            self.look_at(change);
        }
        self.wake = step.wake;
        let count = step.changes.len();
        let (later, at_once) = step.effects.into_iter().partition::<Vec<_>, _>(Effect::after_commit);
        if mem::replace(&mut self.partial, step.partial)
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
        for effect in at_once {
            self.start(effect);
        }
        count
    }

    fn look_at(&mut self, change: &Change) {
        let Change::RunEnded(ended) = change else { return };
        let reason = ended.outcome.to_string();
        let colon = if reason.is_empty() { "" } else { ": " };
        self.note(&format!("{} {} {}{colon}{reason}", ended.outcome.word(), ended.id.job, ended.id.occurrence));
    }

    pub(crate) fn note(&mut self, text: &str) {
        self.log.push(format!("{} {text}", self.now));
    }

    fn start(&mut self, effect: Effect) {
        match effect {
            Effect::Publish(publish) if self.link == Some(publish.link) => self.sent(publish),
            Effect::Publish(_) => {}
            Effect::Confirm(ticket) => {
                self.step(Event::Confirmed(ticket));
            }
            Effect::Announce(said) => self.note(&format!(
                "{}: {} new, {} changed, {} gone, {} unchanged",
                said.plugin, said.new, said.changed, said.gone, said.unchanged
            )),
            Effect::Plan { plugin, device, generation } => self.asked.push((plugin, device, generation)),
        }
    }

    fn sent(&mut self, publish: Publish) {
        let outcome = self.ended.get(&publish.run);
        assert!(outcome.is_none(), "I2: {} is sent after it ended: {outcome:?}", publish.run);
        if publish.body.step_count() > 1 {
            let saved = self.disk.runs.values().any(|run| run.id == publish.run);
            assert!(saved, "I3: {} owes later steps, and is not on disk", publish.run);
        }
        let topic = publish.message().topic();
        self.note(&format!("publish {topic} #{}", publish.number));
        self.in_flight.push(publish);
    }

    /// The oldest batch becomes durable.
    pub(crate) fn commit(&mut self) -> bool {
        if self.partial && self.uncommitted.len() == 1 {
            return false;
        }
        let Some((changes, effects)) = self.uncommitted.pop_front() else { return false };
        for change in changes {
            if let Change::RunEnded(ended) = &change
                && !matches!(ended.outcome, Outcome::Skipped { .. } | Outcome::Missed(_))
            {
                self.ended.insert(ended.id.clone(), ended.outcome.clone());
            }
            self.disk.apply(change);
        }
        for effect in effects {
            self.start(effect);
        }
        true
    }

    /// The broker has what was sent, and says so.
    pub(crate) fn ack(&mut self, index: usize) {
        let publish = self.in_flight.remove(index);
        self.deliver(&publish);
        self.step(Event::Acked { link: publish.link, attempt: publish.attempt });
    }

    pub(crate) fn refuse(&mut self, index: usize) {
        let publish = self.in_flight.remove(index);
        let reason = "not authorized".to_owned();
        self.step(Event::Refused { link: publish.link, attempt: publish.attempt, reason });
    }

    /// The message reaches the broker.
    pub(crate) fn deliver(&mut self, publish: &Publish) {
        let same_run = |received: &&Received| received.run == publish.run;
        let newest = self.received.iter().filter(same_run).map(|received| received.step).max();
        assert!(newest.is_none_or(|step| step <= publish.step), "a step of {} after a later one", publish.run);
        self.on_the_wire.insert(publish.run.clone(), publish.body.step_count());
        self.received.push(Received { run: publish.run.clone(), step: publish.step });
    }

    pub(crate) fn link_up(&mut self, credit: u32) {
        self.link_down();
        self.links += 1;
        self.link = Some(self.links);
        self.step(Event::LinkUp { link: self.links, credit });
    }

    pub(crate) fn link_down(&mut self) {
        self.lose_in_flight();
        if let Some(link) = self.link.take() {
            self.step(Event::LinkDown { link });
        }
    }

    /// What was sent and not answered: every second one has arrived.
    fn lose_in_flight(&mut self) {
        for (index, publish) in std::mem::take(&mut self.in_flight).into_iter().enumerate() {
            if index % 2 == 0 {
                self.deliver(&publish);
            } else {
                self.on_the_wire.insert(publish.run.clone(), publish.body.step_count());
            }
        }
    }

    /// The process is gone, with all that is not durable, and starts again.
    pub(crate) fn crash(&mut self) {
        self.note("crash");
        self.uncommitted.clear();
        self.partial = false;
        self.lose_in_flight();
        self.asked.clear();
        self.link = None;
        self.scheduler = self.disk.restart(self.now);
        self.twin = self.disk.restart(self.now);
        self.step(Event::Woke);
    }

    pub(crate) fn load(&mut self, plugin: &str, version: u8, devices: &[(&str, Vec<Job>)]) {
        let plugin = name(PluginName::parse(plugin));
        let digest = Digest([version; 32]);
        self.plans.retain(|(of, _), _| *of != plugin);
        let mut loaded = Vec::new();
        for (device, jobs) in devices {
            let device = name(DeviceName::parse(device));
            self.plans.insert((plugin.clone(), device.clone()), jobs.clone());
            let plan = Ok(Plan::new(self.now, jobs));
            loaded.push(LoadedDevice { name: device, site: site(), plan });
        }
        let loaded = Loaded {
            devices: loaded,
            plugin,
            version: Version { component: digest, settings: digest },
            grant: everything(),
        };
        self.step(Event::Loaded(loaded));
    }

    pub(crate) fn remove(&mut self, plugin: &str) {
        let plugin = name(PluginName::parse(plugin));
        self.plans.retain(|(of, _), _| *of != plugin);
        self.step(Event::Removed(plugin));
    }

    /// Answers one question for a plan.
    pub(crate) fn answer(&mut self) -> bool {
        let Some((plugin, device, generation)) = self.asked.pop() else { return false };
        let jobs = self.plans.get(&(plugin.clone(), device.clone())).cloned();
        let plan = jobs.map(|jobs| Plan::new(self.now, &jobs)).ok_or_else(|| "trap".to_owned());
        self.step(Event::Planned { plugin, device, generation, plan });
        true
    }

    /// Everything goes well, until an instant.
    pub(crate) fn run_until(&mut self, until: Instant) {
        loop {
            while self.commit() || self.answer() {}
            if !self.in_flight.is_empty() {
                self.ack(0);
                continue;
            }
            let Some(wake) = self.wake.filter(|wake| *wake <= until) else { break };
            self.now = self.now.max(wake);
            self.step(Event::Woke);
        }
        self.now = until;
    }

    /// I5: of a run of which anything may have reached the broker, the last step has reached it.
    pub(crate) fn check_owed(&self) {
        for (run, steps) in &self.on_the_wire {
            let of_run = |received: &&Received| received.run == *run && received.step + 1 == *steps;
            assert!(*steps == 1 || self.received.iter().any(|one| of_run(&one)), "I5: {run} still owes steps");
        }
    }

    /// Everything that went over the wire has a recorded end (I13), of its own or as one of several.
    pub(crate) fn check_ended(&self) {
        for run in self.on_the_wire.keys() {
            let stands_for = |ended: &RunEnded| match &ended.outcome {
                Outcome::Missed(Missed::Superseded { since, .. }) => {
                    let same = RunId { occurrence: run.occurrence, ..ended.id.clone() } == *run;
                    same && *since <= run.occurrence && run.occurrence <= ended.id.occurrence
                }
                _ => false,
            };
            let recorded = self.disk.history.contains_key(run) || self.disk.history.values().any(stands_for);
            assert!(recorded, "I13: {run} has no recorded end");
        }
    }
}
