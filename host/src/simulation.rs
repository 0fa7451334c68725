//! What would happen: the real scheduler and the real plugins, in a world where nothing goes wrong. Time jumps to what
//! comes next, what is decided is durable at once, and the broker acknowledges each message as it is sent.

use std::collections::{BTreeMap, HashMap, VecDeque};

use roost_scheduler::{
    body::{Body, StepRef},
    calendar,
    event::{Change, DeviceKey, Effect, Event, Loaded, Plan, Publish, RunEnded, Saved, WatchId},
    names::{DeviceName, JobId, PluginName},
    outcome::Outcome,
    scheduler::Scheduler,
    time::{Instant, Site},
    topic::Topic,
    trigger::Trigger,
    zone::Zone,
};

use crate::plugins::sandbox::{Asked, LoadedPlugin, Sandbox};

/// The one connection to the broker.
const LINK: u64 = 1;

/// Something that happens, in order of time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SimulatedEvent {
    pub(crate) at: Instant,
    /// Of the device.
    pub(crate) zone: Zone,
    pub(crate) plugin: PluginName,
    pub(crate) device: DeviceName,
    /// Unless it concerns the device as a whole.
    pub(crate) job: Option<JobId>,
    pub(crate) what: SimulatedEventKind,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SimulatedEventKind {
    /// A message is sent.
    Message(Sent),
    /// Something else becomes of a job or a device: no run, or no plan.
    Note(String),
}

/// A message that is sent, as it lies in its job.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// The run's.
    pub(crate) occurrence: Instant,
    /// Counted from 0.
    pub(crate) step: usize,
    pub(crate) body: Body,
}

impl Sent {
    pub(crate) fn message(&self) -> StepRef<'_> {
        self.body.step(self.step).expect("what is sent is a step of its job")
    }

    /// The run's occurrence, before its jitter, and the step's `after`.
    pub(crate) fn due(&self) -> Instant {
        self.occurrence.plus_ms(self.message().after_ms.into())
    }

    /// Whatever else its job says does not count.
    fn content(&self) -> impl PartialEq {
        let message = self.message();
        let StepRef { payload, qos, retain, .. } = message;
        (self.due(), self.step, message.topic(), payload, qos, retain, message.properties())
    }
}

impl PartialEq for Sent {
    fn eq(&self, other: &Self) -> bool {
        self.content() == other.content()
    }
}

impl SimulatedEvent {
    /// What it concerns: `coop-door/north/open`, or `coop-door/north`.
    pub(crate) fn subject(&self) -> impl Iterator<Item = &str> {
        let job = self.job.iter().flat_map(|job| ["/", job.as_str()]);
        [self.plugin.as_str(), "/", self.device.as_str()].into_iter().chain(job)
    }

    /// What tells it from all else that happens at the same instant.
    pub(crate) fn identity(&self) -> impl Ord {
        let (occurrence, note) = match &self.what {
            SimulatedEventKind::Message(sent) => (Some((sent.due(), sent.step)), None),
            SimulatedEventKind::Note(note) => (None, Some(note)),
        };
        (&self.plugin, &self.device, &self.job, occurrence, note)
    }
}

/// Runs the scheduler from one happening to the next. No run starts from `until` on; what a run owes then is still sent.
pub(crate) struct Simulation<'w> {
    workbench: &'w Sandbox,
    plugins: BTreeMap<PluginName, SimulatedPlugin>,
    scheduler: Scheduler,
    now: Instant,
    until: Instant,
    /// Whether `until` was reached.
    closing: bool,
    wake: Option<Instant>,
    events: VecDeque<Event>,
    happened: VecDeque<SimulatedEvent>,
    /// Why devices have no newer plan, as it was told.
    refused: HashMap<DeviceKey, String>,
    /// Where reports are listened to: each device does what it is told, and says so.
    watches: BTreeMap<WatchId, Topic>,
}

/// A plugin that takes part.
struct SimulatedPlugin {
    specimen: LoadedPlugin,
    sites: BTreeMap<DeviceName, Site>,
    /// What devices were asked ahead, for the time they are due to be asked.
    asked: HashMap<DeviceName, (Instant, Asked)>,
}

impl<'w> Simulation<'w> {
    /// Begins with plugins that were loaded at `from`; each has a name of its own.
    pub(crate) fn new(
        workbench: &'w Sandbox,
        plugins: impl IntoIterator<Item = (LoadedPlugin, Loaded)>,
        from: Instant,
        until: Instant,
    ) -> Self {
        let mut rehearsal = Self {
            workbench,
            plugins: BTreeMap::new(),
            scheduler: Scheduler::new(Saved::default(), [], workbench.operator(), from),
            now: from,
            until,
            closing: false,
            wake: None,
            events: [Event::LinkUp { link: LINK, credit: u32::MAX }].into(),
            happened: VecDeque::new(),
            refused: HashMap::new(),
            watches: BTreeMap::new(),
        };
        for (specimen, loaded) in plugins {
            let sites = loaded.devices.iter().map(|device| (device.name.clone(), device.site)).collect();
            rehearsal.plugins.insert(loaded.plugin.clone(), SimulatedPlugin { specimen, sites, asked: HashMap::new() });
            for device in &loaded.devices {
                if let Ok(plan) = &device.plan {
                    rehearsal.look_at_the_sun(&loaded.plugin, &device.name, plan);
                }
            }
            rehearsal.events.push_back(Event::Loaded(loaded));
        }
        rehearsal
    }

    /// What happens next; `None` when nothing more does.
    fn next_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        if self.closing && self.scheduler.run_count() == 0 {
            return None;
        }
        if let Some(wake) = self.wake.filter(|wake| self.closing || *wake < self.until) {
            self.now = self.now.max(wake);
            return Some(Event::Woke);
        }
        if self.closing {
            return None;
        }
        // Of a plugin that is removed, what is owed stays, and nothing else (I5). It is the last moment: a run that is
        // due at `until` must not have started.
        self.closing = true;
        self.now = self.now.max(self.until.plus_ms(-1));
        self.events.extend(self.plugins.keys().cloned().map(Event::Removed));
        self.events.pop_front()
    }

    fn note_change(&mut self, change: Change) {
        match change {
            Change::RunEnded(RunEnded { outcome: Outcome::Succeeded(_), .. }) => {}
            Change::RunEnded(RunEnded { started: None, .. }) if self.closing => {}
            Change::RunEnded(RunEnded { id, outcome, .. }) => {
                let text = format!("{} (due {}): {outcome}", outcome.word(), id.occurrence);
                self.note(&id.plugin, &id.device, Some(id.job), text);
            }
            Change::DeviceSaved { key, plugin, name, replan_at, error, .. } => {
                let Some(plugin) = self.scheduler.plugin_name(plugin).cloned() else { return };
                self.ask_ahead(&plugin, &name, replan_at);
                match error {
                    Some(error) if self.refused.get(&key) != Some(&error) => {
                        self.note(&plugin, &name, None, format!("keeps the plan it has: {error}"));
                        self.refused.insert(key, error);
                    }
                    Some(_) => {}
                    None if self.refused.remove(&key).is_some() => {
                        self.note(&plugin, &name, None, "has a new plan again".into());
                    }
                    None => {}
                }
            }
            _ => {}
        }
    }

    fn start(&mut self, effect: Effect) {
        match effect {
            Effect::Publish(publish) => self.send(publish),
            Effect::NotifyDurable(ticket) => self.events.push_back(Event::Durable(ticket)),
            Effect::Watch { link, watch, confirm } => {
                self.watches.insert(watch, confirm.topic.clone());
                self.events.push_back(Event::Watching { link, watch, refused: None });
            }
            Effect::Unwatch { watch, .. } => {
                self.watches.remove(&watch);
            }
            Effect::Plan { plugin, device, generation } => {
                let Some(cast) = self.plugins.get_mut(&plugin) else { return };
                let asked = cast.asked.remove(&device).filter(|(at, _)| *at == self.now).map(|(_, asked)| asked);
                let asked = asked.unwrap_or_else(|| self.workbench.ask(&cast.specimen, &device, self.now));
                let plan = self.workbench.answer(asked);
                if let Ok(plan) = &plan {
                    self.look_at_the_sun(&plugin, &device, plan);
                }
                self.events.push_back(Event::Planned { plugin, device, generation, plan });
            }
            Effect::Call { call, plugin, device, task, due } => {
                let reply = match self.plugins.get(&plugin) {
                    Some(cast) => self.workbench.run_task(&cast.specimen, &device, task, due, self.now),
                    None => Err(format!("`{plugin}` does not take part")),
                };
                self.events.push_back(Event::Answered { call, reply });
            }
            Effect::Announce(_) | Effect::Answer { .. } | Effect::ZonesMoved { .. } => {}
        }
    }

    /// A plan says the same whenever it is asked for, so that a plugin can think about tomorrow while today passes.
    fn ask_ahead(&mut self, plugin: &PluginName, device: &DeviceName, at: Instant) {
        if at < self.until
            && let Some(cast) = self.plugins.get_mut(plugin)
        {
            cast.asked.insert(device.clone(), (at, self.workbench.ask(&cast.specimen, device, at)));
        }
    }

    fn send(&mut self, publish: Publish) {
        let Publish { link, attempt, run, step, body, .. } = publish;
        self.events.push_back(Event::Acked { link, attempt, no_subscriber: false });
        let confirm = body.step(step).and_then(|step| step.confirm());
        let waits = |(_, topic): &(&WatchId, &Topic)| confirm.as_ref().is_some_and(|confirm| confirm.topic == **topic);
        for (watch, _) in self.watches.iter().filter(waits) {
            let said = String::new();
            self.events.push_back(Event::Reported { link, watch: *watch, matches: true, retained: false, said });
        }
        let sent = Sent { occurrence: run.occurrence, step, body };
        self.happens(run.plugin, run.device, Some(run.job), SimulatedEventKind::Message(sent));
    }

    /// A job whose sun event does not come that day has no run, or one at a stated time, which nothing else says.
    fn look_at_the_sun(&mut self, plugin: &PluginName, device: &DeviceName, plan: &Plan) {
        let Some(site) = self.plugins.get(plugin).and_then(|cast| cast.sites.get(device)).copied() else { return };
        let Some(location) = site.location else { return };
        let today = calendar::to_local(self.now, site.zone).0;
        for job in &plan.jobs {
            if let Trigger::Sun(sun) = &job.trigger
                && !sun.occurs_on(today, location, site.zone, self.scheduler.sun_cache())
            {
                let instead = sun.otherwise.map(|time| format!(", so it is due at {}", time.format("%H:%M")));
                let text = format!("no {} on this day{}", sun.event, instead.unwrap_or_default());
                self.note(plugin, device, Some(job.body.job_id()), text);
            }
        }
    }

    fn note(&mut self, plugin: &PluginName, device: &DeviceName, job: Option<JobId>, text: String) {
        self.happens(plugin.clone(), device.clone(), job, SimulatedEventKind::Note(text));
    }

    fn happens(&mut self, plugin: PluginName, device: DeviceName, job: Option<JobId>, what: SimulatedEventKind) {
        let site = self.plugins.get(&plugin).and_then(|cast| cast.sites.get(&device));
        let zone = site.map_or(Zone::UTC, |site| site.zone);
        self.happened.push_back(SimulatedEvent { at: self.now, zone, plugin, device, job, what });
    }

    /// The time zones of all devices, each once.
    pub(crate) fn zones(&self) -> Vec<Zone> {
        let sites = self.plugins.values().flat_map(|cast| cast.sites.values());
        let mut zones: Vec<Zone> = sites.map(|site| site.zone).collect();
        zones.sort_unstable_by_key(|zone| zone.name());
        zones.dedup();
        zones
    }
}

impl Iterator for Simulation<'_> {
    type Item = SimulatedEvent;

    fn next(&mut self) -> Option<SimulatedEvent> {
        while self.happened.is_empty() {
            let event = self.next_event()?;
            let step = self.scheduler.step(self.now, event);
            self.wake = step.wake;
            for change in step.changes {
                self.note_change(change);
            }
            for effect in step.effects {
                self.start(effect);
            }
        }
        self.happened.pop_front()
    }
}
