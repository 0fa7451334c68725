//! The host and its devices: what was published of each, and when each is looked at next.

use std::collections::HashMap;

use roost_scheduler::names::{DeviceName, PluginName, RunId};
use tokio::time::Instant;

use super::{
    Edge,
    agenda::{Agenda, Turn},
    described::Described,
    limits,
    state::{NextOfAll, NextState},
    topics::{Name, Subject},
};

/// All subjects that are described or may be.
#[derive(Default)]
pub(super) struct Subjects {
    described: HashMap<Subject, Described>,
    agenda: Agenda,
}

impl Subjects {
    /// Returns what was published of a subject, if anything was, or is about to be.
    pub(super) fn get(&mut self, subject: &Subject) -> Option<&mut Described> {
        self.described.get_mut(subject)
    }

    /// Returns what was published of a subject, which is known from now on.
    pub(super) fn of(&mut self, subject: &Subject, now: Instant) -> &mut Described {
        self.described.entry(subject.clone()).or_insert_with(|| Described::new(now))
    }

    pub(super) fn forget(&mut self, subject: &Subject) {
        self.described.remove(subject);
    }

    /// Takes in that there is a new connection: it is not known any more what is of another host.
    pub(super) fn on_connection(&mut self) {
        self.described.values_mut().for_each(|described| described.set_of_other_host(false));
    }

    pub(super) fn on_end_of_connection(&mut self) {
        self.agenda.clear();
    }

    /// Takes in that a run of a device has begun or ended.
    pub(super) fn set_awaits_run(&mut self, run: &RunId, awaits_run: bool) {
        if let Some(described) = self.get(&Subject::Device((run.plugin.clone(), run.device.clone()))) {
            described.set_awaits_run(awaits_run);
        }
    }

    /// Returns when the next subject is to be looked at.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.agenda.next()
    }

    /// Takes the next subject that is to be looked at.
    pub(super) fn take(&mut self, now: Instant) -> Option<(Turn, Subject)> {
        self.agenda.take(now)
    }

    /// Puts off the next look at one of many.
    pub(super) fn put_bulk_off(&mut self, until: Instant) {
        self.agenda.put_bulk_off(until);
    }

    /// Notes that a subject is to be looked at, at the latest at a time.
    pub(super) fn look_at(&mut self, subject: Subject, turn: Turn, at: Instant) {
        self.agenda.add(subject, turn, at);
    }

    /// Notes that something has happened to a device.
    pub(super) fn look_at_device(&mut self, name: Name) {
        let (subject, now) = (Subject::Device(name), Instant::now());
        let at = self.get(&subject).map_or(now, |described| described.look_from().max(now));
        self.agenda.add(subject, Turn::Next, at);
    }

    /// Notes that the state of the host may have changed.
    pub(super) fn look_at_host(&mut self) {
        self.agenda.add(Subject::Host, Turn::Bulk, Instant::now());
    }

    /// Notes that all known devices of a plugin are to be looked at.
    pub(super) fn look_at_plugin(&mut self, plugin: &PluginName) {
        self.look_at_those(|subject| matches!(subject, Subject::Device((of, _)) if of == plugin));
    }

    /// Notes that all known subjects are to be looked at.
    pub(super) fn look_at_known(&mut self) {
        self.look_at_those(|_| true);
    }

    fn look_at_those(&mut self, is_meant: impl Fn(&Subject) -> bool) {
        let now = Instant::now();
        for subject in self.described.keys().filter(|subject| is_meant(subject)) {
            self.agenda.add(subject.clone(), Turn::Bulk, now);
        }
    }

    /// Notes that all known subjects and all of the host are to be looked at.
    pub(super) async fn look_at_all(&mut self, edge: &Edge) {
        self.look_at_known();
        self.look_at_host();
        let mut plugin = None;
        loop {
            let after: Option<PluginName> = plugin.take();
            let next = edge.state.inspect(move |scheduler| {
                scheduler.plugins_after(after.as_ref()).next().map(|plugin| plugin.name.clone())
            });
            let Ok(Some(name)) = next.await else { return };
            self.look_at_all_of(&name, edge).await;
            plugin = Some(name);
        }
    }

    /// Notes that all devices of a plugin are to be looked at, new ones as well.
    pub(super) async fn look_at_all_of(&mut self, plugin: &PluginName, edge: &Edge) {
        let (now, mut last) = (Instant::now(), None);
        loop {
            let (plugin, after): (_, Option<DeviceName>) = (plugin.clone(), last.take());
            let batch = edge.state.inspect(move |scheduler| {
                let devices = scheduler.devices_after(&plugin, after.as_ref()).take(limits::DEVICES_PER_QUERY);
                devices.map(|device| (plugin.clone(), device.name.clone())).collect::<Vec<Name>>()
            });
            let Ok(names) = batch.await else { return };
            for name in names.iter().filter(|name| edge.includes(name)) {
                self.agenda.add(Subject::Device(name.clone()), Turn::Bulk, now);
            }
            match names.last() {
                Some((_, device)) if names.len() == limits::DEVICES_PER_QUERY => last = Some(device.clone()),
                _ => return,
            }
        }
    }

    /// Returns how many devices have a description.
    pub(super) fn described_devices(&self) -> usize {
        let is_counted = |(subject, described): &(&Subject, &Described)| {
            matches!(subject, Subject::Device(_)) && described.is_described()
        };
        self.described.iter().filter(is_counted).count()
    }

    /// Returns the next run of all devices; of several at the same time, that of the first device by name.
    pub(super) fn next_of_all(&self) -> Option<NextOfAll> {
        let all = self.described.iter().filter_map(|(subject, described)| match subject {
            Subject::Device(name) => Some((name, described.next()?)),
            Subject::Host => None,
        });
        let ((plugin, device), (next, zone)) = all.min_by_key(|(name, (next, _))| (next.at, *name))?;
        let (plugin, device) = (plugin.to_string(), device.to_string());
        Some(NextOfAll { plugin, device, next: NextState::new(next, *zone) })
    }
}

#[cfg(test)]
mod tests {
    use roost_scheduler::{names::JobId, zone::Zone};

    use super::{super::device_view::Next, *};

    fn name(device: &str) -> Name {
        (PluginName::parse("coop-door").unwrap(), DeviceName::parse(device).unwrap())
    }

    fn next(at_ms: i64) -> Option<(Next, Zone)> {
        let at = roost_scheduler::time::Instant::from_millis(at_ms).unwrap();
        let job = JobId::parse("close").unwrap();
        Some((Next { at, job, label: "Close".to_owned(), message: None }, Zone::UTC))
    }

    #[test]
    fn the_next_run_of_all_is_that_of_the_first_device_until_it_is_gone() {
        let (mut subjects, now) = (Subjects::default(), Instant::now());
        for (device, at_ms) in [("south", 1_000), ("east", 2_000), ("north", 1_000), ("west", 1_000)] {
            assert!(subjects.of(&Subject::Device(name(device)), now).set_next(next(at_ms)));
        }
        let first = |subjects: &Subjects| subjects.next_of_all().map(|next| next.device);
        for device in ["north", "south", "west", "east"] {
            assert_eq!(first(&subjects).as_deref(), Some(device));
            assert!(subjects.of(&Subject::Device(name(device)), now).set_next(None));
        }
        assert_eq!(first(&subjects), None);
    }

    #[test]
    fn a_device_is_looked_at_again_soon_and_the_host_in_its_turn() {
        let (mut subjects, now) = (Subjects::default(), Instant::now());
        let subject = Subject::Device(name("north"));
        subjects.look_at_host();
        assert!(!subjects.of(&subject, now).on_look(false, now));
        subjects.look_at_device(name("north"));
        let again = now + limits::BETWEEN_STATES;
        assert_eq!(subjects.take(again), Some((Turn::Next, subject)));
        assert_eq!(subjects.take(again), Some((Turn::Bulk, Subject::Host)));
        assert_eq!(subjects.next_look(), None);
    }
}
