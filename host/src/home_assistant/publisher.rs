//! Publishes descriptions and states, each only if it differs from the one that the broker has.

use std::collections::BTreeSet;

use bytes::Bytes;
use roost_scheduler::{
    event::{Announcement, Part},
    names::PluginName,
    text::excerpt,
};
use tokio::time::{Instant, interval, sleep_until};

use super::{
    Edge,
    agenda::Turn,
    broker::Broker,
    commands::Commands,
    description::{self, Description},
    device_view, limits,
    run_events::RunEvents,
    state::{self, DeviceState, HostState},
    subjects::Subjects,
    tasks::Tasks,
    topics::{Name, Subject},
};
use crate::{
    event_log::{HostEvent, Page},
    http::{HomeAssistantStatus, Problem},
    mqtt::background::{Background, Event, Message},
};

/// The edge at work, with one root of topics.
pub(super) struct Publisher {
    edge: Edge,
    broker: Broker,
    subjects: Subjects,
    tasks: Tasks,
    run_events: RunEvents,
    commands: Commands,
    /// Whether there is a connection, as the host's status shows it.
    is_connected: bool,
    /// Whether another host was logged since the connection was made.
    has_logged_other_host: bool,
    /// The number of the last event of the host's log that was read.
    last_event: u64,
}

impl Publisher {
    pub(super) fn new(edge: Edge) -> Self {
        Self {
            broker: Broker::new(edge.topics.clone()),
            subjects: Subjects::default(),
            tasks: Tasks::default(),
            run_events: RunEvents::default(),
            commands: Commands::new(edge.state.clone()),
            is_connected: false,
            has_logged_other_host: false,
            last_event: edge.state.event_log().last(),
            edge,
        }
    }

    /// Runs until the event log is closed or the connections end for good; without settings, until all is removed.
    pub(super) async fn run(mut self, mut link: Background) {
        let mut events = self.edge.state.event_log().subscribe();
        let mut look_again = interval(limits::LOOK_AGAIN);
        let mut is_acknowledged = false;
        self.show_status();
        loop {
            if is_acknowledged && self.edge.settings.is_none() && self.broker.has_nothing() {
                return;
            }
            let looks_at = self.subjects.next_look().filter(|_| self.broker.is_read() && !self.broker.has_orders());
            let next = self.broker.reads_until().or(looks_at);
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
                permit = link.orders.reserve(), if self.broker.is_up() && self.broker.has_orders() => {
                    let (Ok(permit), Some(order)) = (permit, self.broker.next_order()) else { return };
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
                    self.broker.try_all_again();
                    self.look_at_all().await;
                }
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => self.advance().await,
            }
        }
    }

    /// Shows in the host's status what has changed.
    fn show_status(&self) {
        if self.edge.settings.is_none() {
            return;
        }
        self.edge.state.set_home_assistant(HomeAssistantStatus {
            up: self.is_connected,
            devices: self.subjects.described_devices(),
            refused: self.broker.first_refusal().map(str::to_owned),
        });
    }

    fn on_link(&mut self, event: Event) {
        match event {
            Event::Up { keeps_retained: false, .. } if self.edge.settings.is_some() => {
                self.is_connected = true;
                self.broker.on_no_retained_messages();
            }
            Event::Up { ended_at, .. } => {
                self.is_connected = true;
                self.has_logged_other_host = false;
                self.subjects.on_connection();
                let has_commands = self.edge.settings.as_ref().is_some_and(|settings| settings.commands);
                self.broker.on_connection(ended_at, has_commands);
            }
            Event::Down => {
                self.is_connected = false;
                self.broker.on_end_of_connection();
                self.subjects.on_end_of_connection();
            }
            Event::Refused { topic, what, reason } => self.broker.on_refused(&topic, what, &reason),
            Event::Arrived(message) if self.edge.topics.command_in(&message.topic).is_some() => {
                self.commands.obey(&self.edge.topics, &message);
            }
            Event::Arrived(message) => self.on_description_or_state(&message),
            Event::Subscribed(filter) => self.broker.on_subscribed(&filter),
            Event::Idle => {}
        }
    }

    /// Takes in a description or a state that the broker has, which an earlier life of this host or another one has
    /// published.
    fn on_description_or_state(&mut self, Message { topic, payload, .. }: &Message) {
        self.broker.read_on();
        let topics = &self.edge.topics;
        let (subject, platforms) = match topics.subject_of_state(topic) {
            Some(subject) => (subject, None),
            None => {
                let Some((state_topic, platforms)) = Description::read(payload) else { return };
                let Some(subject) = topics.subject_of_state(&state_topic) else { return };
                // Another program may describe a device that reads this host's state.
                if *topic != topics.description(&subject) {
                    return;
                }
                (subject, Some(platforms))
            }
        };
        let other_host = match platforms {
            Some(_) => None,
            None => state::host_of(payload).filter(|host| *host != self.edge.host),
        };
        if self.broker.reads_until().is_some() {
            self.broker.on_retained(topic, payload);
            let described = self.subjects.of(&subject, Instant::now());
            if let Some(platforms) = platforms {
                described.set_platforms(platforms);
            }
        } else if payload.is_empty() && self.broker.forget(topic) {
            // A host that has this one's topic and did not know that it has this device as well has removed it.
            self.broker.forget(&topics.description(&subject));
            self.subjects.look_at(subject.clone(), Turn::Bulk, Instant::now());
        }
        if let Some(other) = other_host {
            self.on_other_host(&subject, topic, &other);
        }
    }

    /// Takes in that another host has published the state of a subject.
    fn on_other_host(&mut self, subject: &Subject, topic: &str, other: &str) {
        if let Some(described) = self.subjects.get(subject) {
            described.set_of_other_host(true);
        }
        let Edge { topics, host, settings, .. } = &self.edge;
        // A state that is left of a device that was deleted in Home Assistant harms nothing.
        let is_left = !self.broker.is_read() && !self.broker.has(&topics.description(subject));
        // Without settings, this host leaves the topic to the other one.
        if settings.is_none() || is_left || std::mem::replace(&mut self.has_logged_other_host, true) {
            return;
        }
        let (own, other) = (&topics.own, excerpt(other));
        tracing::warn!(
            "the host `{other}` describes devices below `{own}` in Home Assistant as well\n  caused by: it has \
             published `{topic}`, and this host is `{host}`\nhint: give one of the hosts a topic of its own: `topic` in \
             `[mqtt]`; or if the other one is gone, such as after its data folder was lost, delete in Home Assistant \
             the devices that this host does not have"
        );
    }

    /// Reads the events of the host's log since the last one: they say what is looked at again.
    async fn read_events(&mut self) {
        let mut changed = BTreeSet::new();
        loop {
            let Page { entries, missed } = self.edge.state.event_log().after(self.last_event, limits::EVENTS_PER_READ);
            let Some(last) = entries.last() else { break };
            self.last_event = last.number;
            if missed > 0 {
                self.tasks.forget_all();
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
            self.subjects.look_at_all_of(&plugin, &self.edge).await;
        }
    }

    fn on_event(&mut self, event: &HostEvent) {
        match event {
            HostEvent::Logged { .. } | HostEvent::Freed { .. } => return,
            HostEvent::Ended(run) => {
                self.subjects.set_awaits_run(&run.id, false);
                let name = (run.id.plugin.clone(), run.id.device.clone());
                if self.broker.is_up()
                    && self.edge.includes(&name)
                    && let Some(payload) = self.run_events.write(run, self.edge.state.zone())
                {
                    self.broker.publish(self.edge.topics.event(&Subject::Device(name)), payload);
                }
            }
            HostEvent::Pause { what: Part::All, .. } | HostEvent::ClockSet { .. } => self.subjects.look_at_known(),
            HostEvent::Loaded { plugin, .. } => self.tasks.forget(plugin),
            HostEvent::Started { run, .. } => self.subjects.set_awaits_run(run, true),
            _ => {}
        }
        match (event.plugin(), event.device()) {
            (Some(plugin), Some(device)) => {
                let name = (plugin.clone(), device.clone());
                if self.edge.includes(&name) {
                    self.subjects.look_at_device(name);
                }
            }
            (Some(plugin), None) => self.subjects.look_at_plugin(plugin),
            _ => {}
        }
        if !matches!(event, HostEvent::Started { .. }) {
            self.subjects.look_at_host();
        }
    }

    /// Notes that everything is to be looked at, once it is known what the broker has.
    async fn look_at_all(&mut self) {
        if self.broker.is_read() {
            self.subjects.look_at_all(&self.edge).await;
        }
    }

    /// Does what is due: ends a part of the reading, or looks at the next subject.
    async fn advance(&mut self) {
        let now = Instant::now();
        if !self.broker.is_read() {
            self.broker.end_part();
            return self.look_at_all().await;
        }
        let Some((turn, subject)) = self.subjects.take(now) else { return };
        let looked = match &subject {
            Subject::Host => self.look_at_host(now).await,
            Subject::Device(name) => self.look_at_device(name, now).await,
        };
        if turn == Turn::Bulk && self.broker.has_orders() {
            self.subjects.put_bulk_off(now + limits::BULK_PACE);
        }
        if let Err(problem) = looked {
            tracing::debug!("{subject:?} cannot be looked at: {}", problem.detail);
            self.subjects.look_at(subject, Turn::Next, now + limits::BETWEEN_DESCRIPTIONS);
        }
    }

    /// Publishes the description and the state of a device, as far as they have changed.
    async fn look_at_device(&mut self, name: &Name, now: Instant) -> Result<(), Problem> {
        let Edge { topics, status_topic, host, settings, state } = &self.edge;
        let subject = Subject::Device(name.clone());
        let found = if self.edge.includes(name) { device_view::look_at(state, name).await? } else { None };
        let Some((view, settings)) = found.zip(settings.as_ref()) else {
            let may_come_back = self.edge.includes(name) && self.may_come_back(&name.0);
            self.remove(subject, may_come_back, now);
            return Ok(());
        };
        let tasks = self.tasks.of(&name.0, state).await;
        let description = description::of_device((topics, status_topic.as_deref()), name, &view, &tasks, settings);
        let described = self.subjects.of(&subject, now);
        let awaits_run = described.on_look(view.is_running, now);
        let is_other_next = described.set_next(view.next.clone().map(|next| (next, view.zone)));
        // The state first: it says whose device it is.
        let device_state = DeviceState::new(host, &view);
        let state_from = described.publish_state(topics.state(&subject), device_state, (&mut self.broker, now));
        let description_from = described.describe(topics.description(&subject), &description, (&mut self.broker, now));
        let run_from = awaits_run.then_some(now + limits::BETWEEN_STATES);
        for at in [state_from, description_from, run_from].into_iter().flatten() {
            self.subjects.look_at(subject.clone(), Turn::Next, at);
        }
        if view.error.is_some() {
            self.subjects.look_at(subject, Turn::Bulk, now + limits::AT_FAULT);
        }
        if is_other_next {
            self.subjects.look_at_host();
        }
        Ok(())
    }

    /// Publishes the description and the state of the host, as far as they have changed.
    async fn look_at_host(&mut self, now: Instant) -> Result<(), Problem> {
        let Edge { topics, status_topic, host, settings, state } = &self.edge;
        let subject = Subject::Host;
        if settings.is_none() {
            self.remove(subject, false, now);
            return Ok(());
        }
        let is_loading = state.plugins().statuses.first_loads.progress().is_some();
        if let Some(from) = self.subjects.of(&subject, now).delay_of_host(is_loading, now) {
            self.subjects.look_at(subject, Turn::Next, from);
            return Ok(());
        }
        let host_state = HostState::new(host, state, self.subjects.next_of_all()).await?;
        if host_state.faults > 0 {
            self.subjects.look_at(subject.clone(), Turn::Bulk, now + limits::AT_FAULT);
        }
        let (topic, payload) = (topics.state(&subject), Bytes::from(host_state.write()));
        if self.broker.lacks(&topic, &payload) {
            self.broker.retain(topic, payload);
        }
        let description = description::of_host((topics, status_topic.as_deref()));
        let described = self.subjects.of(&subject, now);
        let from = described.describe(topics.description(&subject), &description, (&mut self.broker, now));
        if let Some(from) = from {
            self.subjects.look_at(subject, Turn::Next, from);
        }
        Ok(())
    }

    /// Checks whether a plugin is at fault or not loaded yet, so that its devices may come back: Home Assistant would
    /// forget their areas and their names.
    fn may_come_back(&self, plugin: &PluginName) -> bool {
        let statuses = &self.edge.state.plugins().statuses;
        let is_at_fault = || statuses.plugin(plugin).is_some_and(|status| status.running.is_none());
        statuses.first_loads.progress().is_some() || is_at_fault()
    }

    /// Removes what is gone, after a while.
    fn remove(&mut self, subject: Subject, may_come_back: bool, now: Instant) {
        let Some(described) = self.subjects.get(&subject) else { return };
        let topics = (self.edge.topics.description(&subject), self.edge.topics.state(&subject));
        let again = described.remove(topics, may_come_back, (&mut self.broker, now));
        let (had_next, is_of_other_host) = (described.set_next(None), described.is_of_other_host());
        match again {
            Some(at) => self.subjects.look_at(subject, Turn::Next, at),
            None if is_of_other_host => {}
            None => self.subjects.forget(&subject),
        }
        if had_next {
            // The next run of all may have been that one.
            self.subjects.look_at_host();
        }
    }
}
