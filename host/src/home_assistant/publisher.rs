//! Publishes descriptions and states, each only if it differs from the one that the broker has.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
};

use bytes::Bytes;
use roost_scheduler::{
    event::{Announcement, Part},
    names::{DeviceName, JobId, PluginName, RunId},
    outcome::RunState,
    text::excerpt,
    zone::Zone,
};
use serde_json::json;
use tokio::time::{Instant, interval, sleep_until};

use super::{
    agenda::{Agenda, Turn},
    commands::Commands,
    description::{self, Description, Platforms},
    device_view::{self, DeviceView, Next},
    limits,
    state::{self, DeviceState, HostState, NextOfAll, NextState, Urgent},
    tokens::Tokens,
    topics::{Name, Subject, Topics},
};
use crate::{
    config::HomeAssistant,
    event_log::{HostEvent, Page},
    http::{ApiState, HomeAssistantStatus, Problem, TaskDescriptionRecord, plugin_tasks},
    mqtt::background::{Background, Event, Message, Order, Refused},
    report::Report,
};

/// The edge's state.
pub(super) struct Publisher {
    /// `None`: everything is removed.
    settings: Option<HomeAssistant>,
    topics: Topics,
    status_topic: Option<String>,
    /// The client id of this host, by which it finds what is its own.
    host: String,
    state: ApiState,
    commands: Commands,
    agenda: Agenda,
    /// From when on the next subject of many is looked at.
    bulk_from: Instant,
    phase: Phase,
    /// What the broker has, or will have once `ready` is published.
    on_broker: HashMap<String, u64>,
    hasher: RandomState,
    subjects: HashMap<Subject, Described>,
    /// The tasks of plugins, until they are loaded again.
    tasks: HashMap<PluginName, Arc<[TaskDescriptionRecord]>>,
    /// Messages to publish, in this order.
    ready: VecDeque<Order>,
    /// What the host's status shows.
    status: HomeAssistantStatus,
    /// The topic at which the broker has just ended a connection: it may have restarted at that moment.
    suspected: Option<String>,
    /// Topics at which the broker has ended two connections, one after the other. They are left out until all is looked
    /// at again.
    denied: HashSet<String>,
    /// The refusals of the broker that were logged since a connection was made for another reason than those.
    logged_refusals: BTreeSet<Refused>,
    /// Whether another host was logged since the connection was made.
    has_logged_other_host: bool,
    /// The number of the last event that was read.
    last_event: u64,
    /// The events of jobs that come often are thinned out.
    frequent: HashMap<(Name, JobId), Tokens>,
}

/// What the edge does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// There is no connection.
    Down,
    /// It reads what the broker has retained: descriptions, then states. It ends when nothing has come for a while.
    Reading {
        what: Retained,
        until: Instant,
        at_most: Instant,
    },
    Publishing,
}

/// What is read from the broker: one after the other, because together they may be more than it queues for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retained {
    Descriptions,
    States,
}

/// What was published of a subject.
struct Described {
    platforms: Platforms,
    /// When the next description may be published, and the next state.
    description_from: Instant,
    state_from: Instant,
    /// When it may be looked at again because of an event: a device may have thousands of jobs.
    look_from: Instant,
    urgent: Option<Urgent>,
    /// The device's next run, and its time zone.
    next: Option<(Next, Zone)>,
    changes: Tokens,
    /// Whether a run has begun of which the first message may not have been sent yet: no event says when it is.
    awaits_run: bool,
    /// Since when it is gone.
    gone: Option<Instant>,
    /// Whether another host has published its state since the connection was made, or before and last of all.
    is_of_other_host: bool,
}

impl Described {
    fn new(now: Instant) -> Self {
        Self {
            platforms: Platforms::new(),
            description_from: now,
            state_from: now,
            look_from: now,
            urgent: None,
            next: None,
            changes: Tokens::full(limits::BURST),
            awaits_run: false,
            gone: None,
            is_of_other_host: false,
        }
    }
}

impl Publisher {
    pub(super) fn new(
        settings: Option<HomeAssistant>,
        topics: Topics,
        (status_topic, host): (Option<String>, String),
        state: ApiState,
    ) -> Self {
        Self {
            settings,
            topics,
            status_topic,
            host,
            commands: Commands::new(state.clone()),
            agenda: Agenda::default(),
            bulk_from: Instant::now(),
            phase: Phase::Down,
            on_broker: HashMap::new(),
            hasher: RandomState::new(),
            subjects: HashMap::new(),
            tasks: HashMap::new(),
            ready: VecDeque::new(),
            status: HomeAssistantStatus::default(),
            suspected: None,
            denied: HashSet::new(),
            logged_refusals: BTreeSet::new(),
            has_logged_other_host: false,
            last_event: state.event_log().last(),
            frequent: HashMap::new(),
            state,
        }
    }

    /// Runs until the event log is closed or the connections end for good; without settings, until all is removed.
    pub(super) async fn run(mut self, mut link: Background) {
        let mut events = self.state.event_log().subscribe();
        let mut look_again = interval(limits::LOOK_AGAIN);
        let mut is_acknowledged = false;
        self.show_status();
        loop {
            if is_acknowledged && self.is_done() {
                return;
            }
            let is_up = self.phase != Phase::Down;
            let next = match self.phase {
                Phase::Down => None,
                Phase::Reading { until, .. } => Some(until),
                Phase::Publishing => self.agenda.next(self.bulk_from).filter(|_| self.ready.is_empty()),
            };
            tokio::select! {
                // Commands first: a person waits for them.
                biased;
                event = link.events.recv() => match event {
                    Some(event) => {
                        is_acknowledged = event == Event::Idle;
                        let is_message = matches!(event, Event::Arrived(_));
                        self.on_link(event);
                        if !is_message {
                            self.show_status();
                        }
                    }
                    None => return,
                },
                permit = link.orders.reserve(), if is_up && !self.ready.is_empty() => {
                    let (Ok(permit), Some(order)) = (permit, self.ready.pop_front()) else { return };
                    permit.send(order);
                    is_acknowledged = false;
                }
                changed = events.changed() => {
                    if changed.is_err() || *events.borrow_and_update() {
                        return;
                    }
                    self.read_events().await;
                }
                _ = look_again.tick() => {
                    self.denied.clear();
                    self.look_at_all().await;
                }
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => self.advance().await,
            }
        }
    }

    /// Does what is due: ends the reading, or looks at the next subject.
    async fn advance(&mut self) {
        let now = Instant::now();
        match self.phase {
            Phase::Down => {}
            Phase::Reading { what: Retained::Descriptions, .. } => {
                self.ready.push_back(Order::Unsubscribe(self.topics.descriptions()));
                self.read(Retained::States);
            }
            Phase::Reading { what: Retained::States, .. } => {
                // The subscription stays: new ones are of other hosts.
                self.phase = Phase::Publishing;
                self.look_at_all().await;
            }
            Phase::Publishing => {
                let Some((turn, subject)) = self.agenda.take(now, self.bulk_from) else { return };
                let looked = match &subject {
                    Subject::Host => self.look_at_host(now).await,
                    Subject::Device(name) => self.look_at_device(name.clone(), now).await,
                };
                if turn == Turn::Bulk && !self.ready.is_empty() {
                    self.bulk_from = now + limits::BULK_PACE;
                }
                if let Err(problem) = looked {
                    tracing::debug!("{subject:?} cannot be looked at: {}", problem.detail);
                    self.agenda.add(subject, Turn::Next, now + limits::BETWEEN_DESCRIPTIONS);
                }
            }
        }
    }

    fn on_link(&mut self, event: Event) {
        match event {
            Event::Up { keeps_retained: false, .. } if self.settings.is_some() => {
                let refused = Some("retained messages".to_owned());
                self.status = HomeAssistantStatus { up: true, refused, ..self.status };
                tracing::warn!(
                    "Home Assistant has no devices of this host: it reads them from retained messages, and the broker \
                     keeps none\nhint: in Mosquitto's configuration, remove the line `retain_available false`"
                );
            }
            Event::Up { ended_at, .. } => {
                self.status.up = true;
                match ended_at {
                    Some(topic) => self.on_ended_at(topic),
                    None => {
                        self.status.refused = None;
                        self.suspected = None;
                        self.denied.clear();
                        self.logged_refusals.clear();
                    }
                }
                self.on_broker.clear();
                self.ready.clear();
                self.has_logged_other_host = false;
                self.subjects.values_mut().for_each(|described| described.is_of_other_host = false);
                if self.has_commands() {
                    let filter = self.topics.commands();
                    self.ready.push_back(Order::Subscribe { filter, with_retained: false });
                }
                self.read(Retained::Descriptions);
            }
            Event::Down => {
                self.phase = Phase::Down;
                self.status.up = false;
                self.ready.clear();
                self.agenda.clear();
            }
            Event::Refused { topic, what, reason } => {
                self.on_refused(&topic, what, &reason);
                if what == Refused::Subscription {
                    self.read_on();
                }
            }
            Event::Arrived(message) if message.topic.starts_with(&format!("{}/set/", self.topics.own)) => {
                self.commands.obey(&self.topics, &message);
            }
            Event::Arrived(message) => self.on_description_or_state(&message),
            Event::Subscribed(filter) => {
                if matches!(self.phase, Phase::Reading { what, .. } if filter == self.filter(what)) {
                    self.read_on();
                }
            }
            Event::Idle => {}
        }
    }

    /// Reads what the broker has retained.
    fn read(&mut self, what: Retained) {
        self.ready.push_back(Order::Subscribe { filter: self.filter(what), with_retained: true });
        // The broker's answer brings the end nearer. Other messages do not put it off.
        let at_most = Instant::now() + limits::READING;
        self.phase = Phase::Reading { what, until: at_most, at_most };
    }

    fn filter(&self, what: Retained) -> String {
        match what {
            Retained::Descriptions => self.topics.descriptions(),
            Retained::States => self.topics.states(),
        }
    }

    /// Reads for a while longer, because the broker has sent something.
    fn read_on(&mut self) {
        if let Phase::Reading { until, at_most, .. } = &mut self.phase {
            *until = (Instant::now() + limits::QUIET).min(*at_most);
        }
    }

    /// Checks whether all is removed, if it is to be.
    fn is_done(&self) -> bool {
        self.settings.is_none() && self.phase == Phase::Publishing && self.ready.is_empty() && self.on_broker.is_empty()
    }

    fn has_commands(&self) -> bool {
        self.settings.as_ref().is_some_and(|settings| settings.commands)
    }

    /// Remembers a description or a state that the broker has, which an earlier life of this host or another one has
    /// published.
    fn on_description_or_state(&mut self, Message { topic, payload, .. }: &Message) {
        self.read_on();
        let (subject, platforms) = match self.topics.subject_of_state(topic) {
            Some(subject) => (subject, None),
            None => {
                let Some((state_topic, platforms)) = Description::read(payload) else { return };
                let Some(subject) = self.topics.subject_of_state(&state_topic) else { return };
                // Another program may describe a device that reads this host's state.
                if *topic != self.topics.description(&subject) {
                    return;
                }
                (subject, Some(platforms))
            }
        };
        let other_host = match platforms {
            Some(_) => None,
            None => state::host_of(payload).filter(|host| *host != self.host),
        };
        if matches!(self.phase, Phase::Reading { .. }) {
            self.on_broker.insert(topic.clone(), self.hasher.hash_one(payload));
            let described = self.subjects.entry(subject.clone()).or_insert_with(|| Described::new(Instant::now()));
            if let Some(platforms) = platforms {
                described.platforms = platforms;
            }
        } else if payload.is_empty() && self.on_broker.remove(topic).is_some() {
            // A host that has this one's topic and did not know that it has this device as well has removed it.
            self.on_broker.remove(&self.topics.description(&subject));
            self.agenda.add(subject.clone(), Turn::Bulk, Instant::now());
        }
        if let Some(other) = other_host {
            self.on_other_host(&subject, topic, &other);
        }
    }

    /// Shows in the host's status what has changed.
    fn show_status(&mut self) {
        if self.settings.is_none() {
            return;
        }
        let is_described = |(subject, described): &(&Subject, &Described)| {
            matches!(subject, Subject::Device(_)) && !described.platforms.is_empty()
        };
        self.status.devices = self.subjects.iter().filter(is_described).count();
        self.state.set_home_assistant(self.status.clone());
    }

    /// Notes that another host has published the state of a subject.
    fn on_other_host(&mut self, subject: &Subject, topic: &str, other: &str) {
        if let Some(described) = self.subjects.get_mut(subject) {
            described.is_of_other_host = true;
        }
        // A state that is left of a device that was deleted in Home Assistant harms nothing.
        let is_left =
            self.phase != Phase::Publishing && !self.on_broker.contains_key(&self.topics.description(subject));
        if is_left || std::mem::replace(&mut self.has_logged_other_host, true) {
            return;
        }
        let (own, host, other) = (&self.topics.own, &self.host, excerpt(other));
        tracing::warn!(
            "the host `{other}` describes devices below `{own}` in Home Assistant as well\n  caused by: it has \
             published `{topic}`, and this host is `{host}`\nhint: give one of the hosts a topic of its own: `topic` in \
             `[mqtt]`; or if the other one is gone, such as after its data folder was lost, delete in Home Assistant \
             the devices that this host does not have"
        );
    }

    fn on_refused(&mut self, topic: &str, what: Refused, reason: &str) {
        let refused = match what {
            Refused::Message | Refused::LargeMessage => "a message to",
            Refused::Subscription => "the subscription to",
        };
        self.status.refused.get_or_insert_with(|| format!("{refused} `{topic}`: {reason}"));
        self.log_refusal(what, &format!("the broker refused {refused} `{topic}`, which Home Assistant needs"), reason);
    }

    /// Leaves a topic out at which the broker has ended the connection again: otherwise it would never get any further.
    fn on_ended_at(&mut self, topic: String) {
        if self.suspected.as_ref() != Some(&topic) {
            self.suspected = Some(topic);
            return;
        }
        self.status.refused.get_or_insert_with(|| format!("a message to `{topic}`: it has ended the connection"));
        // Otherwise the broker has said itself what it refuses.
        if self.logged_refusals.is_empty() {
            let what = format!("the broker ended the connection for Home Assistant just after it was sent `{topic}`");
            self.log_refusal(Refused::Message, &what, "it may deny that; it is left out for now");
        }
        self.denied.insert(topic);
    }

    /// Logs the first refusal of its kind: of many devices, each would have several.
    fn log_refusal(&mut self, kind: Refused, what: &str, reason: &str) {
        if !self.logged_refusals.insert(kind) {
            tracing::debug!("{what}: {reason}");
            return;
        }
        let (own, discovery) = (&self.topics.own, &self.topics.discovery);
        let hint = match kind {
            Refused::LargeMessage => "let the broker accept larger messages: in Mosquitto's configuration, \
                                      `max_packet_size` and `message_size_limit`; or leave the device out by `devices` \
                                      in `[home_assistant]`"
                .to_owned(),
            Refused::Message | Refused::Subscription => format!(
                "let Roost's user of the broker use these topics: in Mosquitto's `acl_file`, the lines `topic readwrite \
                 {own}/#` and `topic readwrite {discovery}/device/#` below the user's line"
            ),
        };
        tracing::warn!("{}", Report::new(what).cause(reason).hint(hint));
    }

    /// Reads the events since the last ones.
    async fn read_events(&mut self) {
        let mut changed = BTreeSet::new();
        loop {
            let Page { entries, missed } = self.state.event_log().after(self.last_event, limits::EVENTS_PER_READ);
            let Some(last) = entries.last() else { break };
            self.last_event = last.number;
            if missed > 0 {
                self.tasks.clear();
                self.look_at_all().await;
            }
            for entry in &entries {
                self.on_event(&entry.what);
                if let HostEvent::Loaded { plugin, .. } | HostEvent::Planned(Announcement { plugin, .. }) = &entry.what
                {
                    changed.insert(plugin.clone());
                }
            }
        }
        // They may have new devices.
        for plugin in changed {
            self.find_devices(&plugin, Instant::now()).await;
        }
    }

    fn on_event(&mut self, event: &HostEvent) {
        match event {
            HostEvent::Logged { .. } | HostEvent::Freed { .. } => return,
            HostEvent::Ended(run) => {
                let id = &run.id;
                self.set_awaits_run(id, false);
                let zone = self.state.zone();
                let reason = run.outcome.reason(&|at| at.in_zone(zone)).to_string();
                self.publish_event(
                    (id.plugin.clone(), id.device.clone()),
                    &id.job,
                    (&id.to_string(), run.outcome.state(), reason),
                );
            }
            HostEvent::Pause { what: Part::All, .. } | HostEvent::ClockSet { .. } => self.touch_all(),
            HostEvent::Loaded { plugin, .. } => drop(self.tasks.remove(plugin)),
            HostEvent::Started { run, .. } => self.set_awaits_run(run, true),
            _ => {}
        }
        match (event.plugin(), event.device()) {
            (Some(plugin), Some(device)) => self.touch((plugin.clone(), device.clone())),
            (Some(plugin), None) => self.touch_plugin(plugin),
            _ => {}
        }
        if !matches!(event, HostEvent::Started { .. }) {
            self.agenda.add(Subject::Host, Turn::Bulk, Instant::now());
        }
    }

    fn set_awaits_run(&mut self, run: &RunId, awaits_run: bool) {
        let subject = Subject::Device((run.plugin.clone(), run.device.clone()));
        if let Some(described) = self.subjects.get_mut(&subject) {
            described.awaits_run = awaits_run;
        }
    }

    /// Publishes the end of a run as an event.
    fn publish_event(&mut self, name: Name, job: &JobId, (run, outcome, reason): (&str, RunState, String)) {
        if self.phase == Phase::Down || !self.is_included(&name) {
            return;
        }
        if self.ready.len() >= limits::EVENTS {
            tracing::debug!("the event of {run} is dropped: {} messages wait", self.ready.len());
            return;
        }
        if self.frequent.len() >= limits::FREQUENT {
            self.frequent.retain(|_, tokens| tokens.next().is_some());
            if self.frequent.len() >= limits::FREQUENT {
                self.frequent.clear();
            }
        }
        let key = (name.clone(), job.clone());
        if !self.frequent.entry(key).or_insert_with(|| Tokens::full(limits::BURST)).take() {
            return;
        }
        let reason = Some(reason).filter(|reason| !reason.is_empty());
        let payload = json!({ "event_type": outcome.as_str(), "run": run, "job": job.as_str(), "reason": reason });
        let topic = self.topics.event(&Subject::Device(name));
        self.ready.push_back(Order::Publish { topic, payload: payload.to_string().into(), retain: false });
    }

    /// Looks at a device again soon.
    fn touch(&mut self, name: Name) {
        if self.is_included(&name) {
            let (subject, now) = (Subject::Device(name), Instant::now());
            let at = self.subjects.get(&subject).map_or(now, |described| described.look_from.max(now));
            self.agenda.add(subject, Turn::Next, at);
        }
    }

    fn touch_plugin(&mut self, plugin: &PluginName) {
        let of_plugin = |subject: &&Subject| matches!(subject, Subject::Device((of, _)) if of == plugin);
        let known: Vec<Subject> = self.subjects.keys().filter(of_plugin).cloned().collect();
        let now = Instant::now();
        for subject in known {
            self.agenda.add(subject, Turn::Bulk, now);
        }
    }

    fn touch_all(&mut self) {
        let now = Instant::now();
        for subject in self.subjects.keys() {
            self.agenda.add(subject.clone(), Turn::Bulk, now);
        }
    }

    /// Looks at every device of the host and at every one that the broker knows, soon.
    async fn look_at_all(&mut self) {
        if self.phase != Phase::Publishing {
            return;
        }
        self.touch_all();
        let (now, mut plugin) = (Instant::now(), None);
        self.agenda.add(Subject::Host, Turn::Bulk, now);
        loop {
            let after: Option<PluginName> = plugin.take();
            let next = self.state.inspect(move |scheduler| {
                scheduler.plugins_after(after.as_ref()).next().map(|plugin| plugin.name.clone())
            });
            let Ok(Some(name)) = next.await else { return };
            self.find_devices(&name, now).await;
            plugin = Some(name);
        }
    }

    /// Looks at every device of a plugin, soon.
    async fn find_devices(&mut self, plugin: &PluginName, now: Instant) {
        let mut last: Option<DeviceName> = None;
        loop {
            let (plugin, after) = (plugin.clone(), last.take());
            let batch = self.state.inspect(move |scheduler| {
                let devices = scheduler.devices_after(&plugin, after.as_ref()).take(limits::DEVICES_PER_QUERY);
                devices.map(|device| (plugin.clone(), device.name.clone())).collect::<Vec<Name>>()
            });
            let Ok(names) = batch.await else { return };
            for name in &names {
                if self.is_included(name) {
                    self.agenda.add(Subject::Device(name.clone()), Turn::Bulk, now);
                }
            }
            match names.last() {
                Some((_, device)) if names.len() == limits::DEVICES_PER_QUERY => last = Some(device.clone()),
                _ => return,
            }
        }
    }

    /// Checks whether a device is one of those that Home Assistant is to have.
    fn is_included(&self, (plugin, device): &Name) -> bool {
        let settings = self.settings.as_ref().filter(|_| description::is_described(plugin));
        settings.is_some_and(|settings| settings.includes(plugin.as_str(), device.as_str()))
    }

    /// Publishes the description and the state of a device, as far as they have changed.
    async fn look_at_device(&mut self, name: Name, now: Instant) -> Result<(), Problem> {
        let subject = Subject::Device(name.clone());
        let found = if self.is_included(&name) { device_view::look_at(&self.state, &name).await? } else { None };
        let Some((view, settings)) = found.zip(self.settings.clone()) else {
            self.is_gone(subject, now);
            return Ok(());
        };
        let tasks = self.tasks_of(&name.0).await;
        let topics = (&self.topics, self.status_topic.as_deref());
        let description = description::of_device(topics, &name, &view, &tasks, &settings);
        let described = self.subjects.entry(subject.clone()).or_insert_with(|| Described::new(now));
        described.gone = None;
        described.look_from = now + limits::BETWEEN_STATES;
        described.awaits_run &= !view.is_running;
        if described.awaits_run {
            self.agenda.add(subject.clone(), Turn::Next, now + limits::BETWEEN_STATES);
        }
        if view.error.is_some() {
            self.agenda.add(subject.clone(), Turn::Bulk, now + limits::AT_FAULT);
        }
        // The state first: it says whose device it is.
        self.publish_state(&subject, &view, now);
        self.describe(&subject, &description, now);
        Ok(())
    }

    async fn tasks_of(&mut self, plugin: &PluginName) -> Arc<[TaskDescriptionRecord]> {
        if let Some(tasks) = self.tasks.get(plugin) {
            return tasks.clone();
        }
        let Some(tasks) = plugin_tasks(&self.state, plugin.clone()).await else { return Arc::default() };
        self.tasks.entry(plugin.clone()).insert_entry(tasks.into()).get().clone()
    }

    /// Removes a device that has been gone for a while, unless its plugin is at fault: Home Assistant would forget its
    /// area and its names.
    fn is_gone(&mut self, subject: Subject, now: Instant) {
        let may_come_back = match &subject {
            Subject::Device(name) => self.is_included(name) && self.may_come_back(&name.0),
            Subject::Host => false,
        };
        let Some(described) = self.subjects.get_mut(&subject) else { return };
        let since = *described.gone.get_or_insert(now);
        if may_come_back || now.duration_since(since) < limits::GONE {
            self.agenda.add(subject, Turn::Next, now + limits::GONE);
            return;
        }
        let topics = [self.topics.description(&subject), self.topics.state(&subject)];
        // What has no state may be another host's, of which the broker has dropped the state.
        let is_own = !described.is_of_other_host && self.on_broker.contains_key(&topics[1]);
        let to_remove: Vec<String> =
            topics.into_iter().filter(|topic| self.on_broker.remove(topic).is_some()).collect();
        if is_own {
            // Remembered for a while, in case it is back soon.
            described.platforms.clear();
            described.description_from = now + limits::BETWEEN_DESCRIPTIONS;
            self.ready.extend(to_remove.into_iter().map(Order::remove));
        }
        match described.description_from > now {
            true => self.agenda.add(subject, Turn::Next, described.description_from),
            false if described.is_of_other_host => {}
            false => drop(self.subjects.remove(&subject)),
        }
    }

    /// Checks whether a plugin is at fault or not loaded yet, so that its devices may come back.
    fn may_come_back(&self, plugin: &PluginName) -> bool {
        let statuses = &self.state.plugins().statuses;
        let is_at_fault = || statuses.plugin(plugin).is_some_and(|status| status.running.is_none());
        statuses.first_loads.progress().is_some() || is_at_fault()
    }

    fn describe(&mut self, subject: &Subject, description: &Description, now: Instant) {
        let Some(described) = self.subjects.get_mut(subject) else { return };
        let (topic, platforms) = (self.topics.description(subject), description.platforms());
        let payload = Bytes::from(description.write(&described.platforms));
        let hash = self.hasher.hash_one(&payload);
        let is_known = self.on_broker.get(&topic) == Some(&hash) && described.platforms == platforms;
        if is_known || self.denied.contains(&topic) {
            return;
        }
        if described.description_from > now {
            self.agenda.add(subject.clone(), Turn::Next, described.description_from);
            return;
        }
        described.description_from = now + limits::BETWEEN_DESCRIPTIONS;
        if described.platforms.keys().any(|key| !platforms.contains_key(key)) {
            // What was named by its platform alone is left out next time.
            self.agenda.add(subject.clone(), Turn::Next, described.description_from);
        }
        described.platforms = platforms;
        self.on_broker.insert(topic.clone(), hash);
        self.ready.push_back(Order::Publish { topic, payload, retain: true });
    }

    fn publish_state(&mut self, subject: &Subject, view: &DeviceView, now: Instant) {
        let Some(described) = self.subjects.get_mut(subject) else { return };
        let next = view.next.clone().map(|next| (next, view.zone));
        if described.next != next {
            described.next = next;
            self.agenda.add(Subject::Host, Turn::Bulk, now);
        }
        let state = DeviceState::new(&self.host, view);
        let payload = Bytes::from(state.write());
        let (topic, hash) = (self.topics.state(subject), self.hasher.hash_one(&payload));
        if self.on_broker.get(&topic) == Some(&hash) || self.denied.contains(&topic) {
            return;
        }
        let is_urgent = described.urgent.as_ref() != Some(&state.urgent) || !self.on_broker.contains_key(&topic);
        let from = match described.changes.next() {
            Some(next) if !is_urgent => next,
            _ => described.state_from,
        };
        if from > now {
            self.agenda.add(subject.clone(), Turn::Next, from);
            return;
        }
        if !is_urgent {
            described.changes.take();
        }
        described.state_from = now + limits::BETWEEN_STATES;
        described.urgent = Some(state.urgent);
        self.on_broker.insert(topic.clone(), hash);
        self.ready.push_back(Order::Publish { topic, payload, retain: true });
    }

    /// Returns the next run of all devices.
    fn next_of_all(&self) -> Option<NextOfAll> {
        let all = self.subjects.iter().filter_map(|(subject, described)| match subject {
            Subject::Device(name) => Some((name, described.next.as_ref()?)),
            Subject::Host => None,
        });
        let ((plugin, device), (next, zone)) = all.min_by_key(|(_, (next, _))| next.at)?;
        let (plugin, device) = (plugin.to_string(), device.to_string());
        Some(NextOfAll { plugin, device, next: NextState::new(next, *zone) })
    }

    /// Publishes the description and the state of the host, as far as they have changed.
    async fn look_at_host(&mut self, now: Instant) -> Result<(), Problem> {
        let subject = Subject::Host;
        if self.settings.is_none() {
            self.is_gone(subject, now);
            return Ok(());
        }
        let is_loading = self.state.plugins().statuses.first_loads.progress().is_some();
        let described = self.subjects.entry(subject.clone()).or_insert_with(|| Described::new(now));
        if is_loading {
            // Until then, devices may be missing.
            described.state_from = now + limits::BETWEEN_STATES;
        }
        if described.state_from > now {
            self.agenda.add(subject, Turn::Next, described.state_from);
            return Ok(());
        }
        described.state_from = now + limits::BETWEEN_HOST_STATES;
        let state = HostState::new(&self.host, &self.state, self.next_of_all()).await?;
        if state.faults > 0 {
            self.agenda.add(subject.clone(), Turn::Bulk, now + limits::AT_FAULT);
        }
        let payload = Bytes::from(state.write());
        let (topic, hash) = (self.topics.state(&subject), self.hasher.hash_one(&payload));
        if !self.denied.contains(&topic) && self.on_broker.insert(topic.clone(), hash) != Some(hash) {
            self.ready.push_back(Order::Publish { topic, payload, retain: true });
        }
        let description = description::of_host((&self.topics, self.status_topic.as_deref()));
        self.describe(&subject, &description, now);
        Ok(())
    }
}
