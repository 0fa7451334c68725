//! The simulation: the real scheduler and the real plugins in virtual time, without faults. Time jumps to the next
//! event, changes are durable at once, and the broker acknowledges each message as it is sent.

pub(crate) mod differences;

use std::collections::{BTreeMap, HashMap, VecDeque};

use roost_scheduler::{
    body::{Body, StepRef},
    calendar,
    event::{Change, DeviceKey, Effect, Event, Loaded, Plan, Publish, RunEnded, Saved, SavedDevice, WatchId},
    names::{DeviceName, JobId, PluginName},
    outcome::Outcome,
    scheduler::Scheduler,
    time::{Instant, Site},
    topic::Topic,
    trigger::Trigger,
    zone::Zone,
};

use crate::plugins::sandbox::{LoadedPlugin, PendingPlan, Sandbox};

/// The one connection to the broker.
const LINK: u64 = 1;

/// An event of a simulation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SimulatedEvent {
    pub(crate) at: Instant,
    /// The device's time zone.
    pub(crate) zone: Zone,
    pub(crate) plugin: PluginName,
    pub(crate) device: DeviceName,
    /// `None` if it concerns the device as a whole.
    pub(crate) job: Option<JobId>,
    pub(crate) what: SimulatedEventKind,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SimulatedEventKind {
    /// A message is sent.
    Message(Sent),
    /// A note about a job or a device: a missing run, or a refused plan.
    Note(String),
}

/// A message that is sent, as a step of its job.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// The run's occurrence.
    pub(crate) occurrence: Instant,
    /// Counted from 0.
    pub(crate) step: usize,
    pub(crate) body: Body,
}

impl Sent {
    pub(crate) fn message(&self) -> StepRef<'_> {
        self.body.step(self.step).expect("a sent message is a step of its job")
    }

    /// Returns the run's occurrence, before its jitter, plus the step's offset.
    pub(crate) fn due(&self) -> Instant {
        self.occurrence.plus_ms(self.message().after_ms.into())
    }

    /// Returns the parts that distinguish messages; other properties of their jobs do not.
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
    /// Returns the parts of its subject: `coop-door/north/open`, or `coop-door/north`.
    pub(crate) fn subject(&self) -> impl Iterator<Item = &str> {
        let job = self.job.iter().flat_map(|job| ["/", job.as_str()]);
        [self.plugin.as_str(), "/", self.device.as_str()].into_iter().chain(job)
    }

    /// Returns a key that distinguishes it from all other events at the same instant.
    pub(crate) fn identity(&self) -> impl Ord {
        let (occurrence, note) = match &self.what {
            SimulatedEventKind::Message(sent) => (Some((sent.due(), sent.step)), None),
            SimulatedEventKind::Note(note) => (None, Some(note)),
        };
        (&self.plugin, &self.device, &self.job, occurrence, note)
    }
}

/// Runs the scheduler from one event to the next. No run starts from `until` on; owed steps are still sent.
pub(crate) struct Simulation<'w> {
    sandbox: &'w Sandbox,
    plugins: BTreeMap<PluginName, SimulatedPlugin>,
    scheduler: Scheduler,
    now: Instant,
    until: Instant,
    /// Whether `until` was reached.
    closing: bool,
    wake: Option<Instant>,
    events: VecDeque<Event>,
    pending: VecDeque<SimulatedEvent>,
    /// The refused plans that were noted, with their errors.
    refused: HashMap<DeviceKey, String>,
    /// The topics of watched reports: each device executes every command, and reports it.
    watches: BTreeMap<WatchId, Topic>,
}

/// A plugin of the simulation.
struct SimulatedPlugin {
    loaded_plugin: LoadedPlugin,
    sites: BTreeMap<DeviceName, Site>,
    /// Plans that were requested ahead of the time when they are due.
    pending_plans: HashMap<DeviceName, (Instant, PendingPlan)>,
}

impl<'w> Simulation<'w> {
    /// Starts a simulation of plugins that were loaded at `from`, with distinct names.
    pub(crate) fn new(
        sandbox: &'w Sandbox,
        plugins: impl IntoIterator<Item = (LoadedPlugin, Loaded)>,
        from: Instant,
        until: Instant,
    ) -> Self {
        let mut simulation = Self {
            sandbox,
            plugins: BTreeMap::new(),
            scheduler: Scheduler::new(Saved::default(), [], sandbox.operator(), from),
            now: from,
            until,
            closing: false,
            wake: None,
            events: [Event::LinkUp { link: LINK, credit: u32::MAX }].into(),
            pending: VecDeque::new(),
            refused: HashMap::new(),
            watches: BTreeMap::new(),
        };
        for (loaded_plugin, loaded) in plugins {
            let sites = loaded.devices.iter().map(|device| (device.name.clone(), device.site)).collect();
            simulation
                .plugins
                .insert(loaded.plugin.clone(), SimulatedPlugin { loaded_plugin, sites, pending_plans: HashMap::new() });
            for device in &loaded.devices {
                if let Ok(plan) = &device.plan {
                    simulation.note_missing_sun_events(&loaded.plugin, &device.name, plan);
                }
            }
            simulation.events.push_back(Event::Loaded(loaded));
        }
        simulation
    }

    /// Returns the scheduler's next event; `None` at the end.
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
        // Removing the plugins leaves only owed steps (I5). It happens at the last moment before `until`, because a run
        // that is due at `until` must not start.
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
                let text = format!("{} (due {}): {outcome}", outcome.state(), id.occurrence);
                self.note(&id.plugin, &id.device, Some(id.job), text);
            }
            Change::DeviceSaved(SavedDevice { key, plugin, name, replan_at, error, .. }) => {
                let Some(plugin) = self.scheduler.plugin_name(plugin).cloned() else { return };
                self.plan_ahead(&plugin, &name, replan_at);
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
            Effect::NotifyDurable(token) => self.events.push_back(Event::Durable(token)),
            Effect::Watch { link, watch, confirm } => {
                self.watches.insert(watch, confirm.topic.clone());
                self.events.push_back(Event::Watching { link, watch, refused: None });
            }
            Effect::Unwatch { watch, .. } => {
                self.watches.remove(&watch);
            }
            Effect::Plan { plugin, device, generation } => {
                let Some(state) = self.plugins.get_mut(&plugin) else { return };
                let pending =
                    state.pending_plans.remove(&device).filter(|(at, _)| *at == self.now).map(|(_, plan)| plan);
                let pending =
                    pending.unwrap_or_else(|| self.sandbox.request_plan(&state.loaded_plugin, &device, self.now));
                let plan = self.sandbox.wait_for_plan(pending);
                if let Ok(plan) = &plan {
                    self.note_missing_sun_events(&plugin, &device, plan);
                }
                self.events.push_back(Event::Planned { plugin, device, generation, plan });
            }
            Effect::Call { call, plugin, device, task, due } => {
                let reply = match self.plugins.get(&plugin) {
                    Some(state) => self.sandbox.run_task(&state.loaded_plugin, &device, task, due, self.now),
                    None => Err(format!("`{plugin}` is not part of the simulation")),
                };
                self.events.push_back(Event::Answered { call, reply });
            }
            Effect::Announce(_)
            | Effect::Answer { .. }
            | Effect::ZonesMoved { .. }
            | Effect::PauseChanged { .. }
            | Effect::ByHand(_) => {}
        }
    }

    /// Requests a device's next plan ahead of its time: a plan does not depend on when it is computed, so that a plugin
    /// can plan tomorrow while today is simulated.
    fn plan_ahead(&mut self, plugin: &PluginName, device: &DeviceName, at: Instant) {
        if at < self.until
            && let Some(state) = self.plugins.get_mut(plugin)
        {
            state
                .pending_plans
                .insert(device.clone(), (at, self.sandbox.request_plan(&state.loaded_plugin, device, at)));
        }
    }

    fn send(&mut self, publish: Publish) {
        let Publish { link, attempt, run, step, body, .. } = publish;
        self.events.push_back(Event::Acked { link, attempt, no_subscriber: false });
        let confirm = body.step(step).and_then(|step| step.confirm());
        let waits = |(_, topic): &(&WatchId, &Topic)| confirm.as_ref().is_some_and(|confirm| confirm.topic == **topic);
        for (watch, _) in self.watches.iter().filter(waits) {
            let excerpt = String::new();
            self.events.push_back(Event::Reported { link, watch: *watch, matches: true, retained: false, excerpt });
        }
        let sent = Sent { occurrence: run.occurrence, step, body };
        self.push(run.plugin, run.device, Some(run.job), SimulatedEventKind::Message(sent));
    }

    /// Notes the jobs whose sun event does not occur on the present day: they have no run, or one at their `else` time.
    fn note_missing_sun_events(&mut self, plugin: &PluginName, device: &DeviceName, plan: &Plan) {
        let Some(site) = self.plugins.get(plugin).and_then(|state| state.sites.get(device)).copied() else { return };
        let Some(location) = site.location else { return };
        let today = calendar::to_local(self.now, site.zone).0;
        for job in &plan.jobs {
            if let Trigger::Sun(sun) = &job.trigger
                && !sun.occurs_on(today, location, site.zone, self.scheduler.almanac())
            {
                let instead = sun.otherwise.map(|time| format!(", so it is due at {}", time.format("%H:%M")));
                let text = format!("no {} on this day{}", sun.event, instead.unwrap_or_default());
                self.note(plugin, device, Some(job.body.job_id()), text);
            }
        }
    }

    fn note(&mut self, plugin: &PluginName, device: &DeviceName, job: Option<JobId>, text: String) {
        self.push(plugin.clone(), device.clone(), job, SimulatedEventKind::Note(text));
    }

    fn push(&mut self, plugin: PluginName, device: DeviceName, job: Option<JobId>, what: SimulatedEventKind) {
        let site = self.plugins.get(&plugin).and_then(|state| state.sites.get(&device));
        let zone = site.map_or(Zone::UTC, |site| site.zone);
        self.pending.push_back(SimulatedEvent { at: self.now, zone, plugin, device, job, what });
    }

    /// Returns the time zones of all devices, each once.
    pub(crate) fn zones(&self) -> Vec<Zone> {
        let sites = self.plugins.values().flat_map(|state| state.sites.values());
        let mut zones: Vec<Zone> = sites.map(|site| site.zone).collect();
        zones.sort_unstable_by_key(|zone| zone.name());
        zones.dedup();
        zones
    }
}

impl Iterator for Simulation<'_> {
    type Item = SimulatedEvent;

    fn next(&mut self) -> Option<SimulatedEvent> {
        while self.pending.is_empty() {
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
        self.pending.pop_front()
    }
}
