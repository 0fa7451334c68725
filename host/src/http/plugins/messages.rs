//! The messages that an upload would change: those of new, changed and gone jobs in the order of time, compared like two
//! simulations.

use std::{cell::Cell, cmp::Reverse, collections::BinaryHeap};

use roost_scheduler::{
    body::PackedJob,
    names::{DeviceName, PluginName},
    time::{Instant, Site},
    trigger::Almanac,
    zone::Zone,
};

use super::{
    super::{limits, timeline::next_before},
    records::{ChangedMessageRecord, MessageChangesRecord},
};
use crate::{
    job_json,
    simulation::{
        Sent, SimulatedEvent, SimulatedEventKind,
        differences::{Differences, Side},
    },
};

/// A job of a device.
pub(super) struct Timed {
    device: DeviceName,
    site: Site,
    job: PackedJob,
}

impl Timed {
    pub(super) fn new(device: &DeviceName, site: Site, job: PackedJob) -> Self {
        Self { device: device.clone(), site, job }
    }
}

/// The jobs that an upload changes, as they are and as they would be.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) old: Vec<Timed>,
    pub(super) new: Vec<Timed>,
}

impl Changes {
    /// Returns the messages that change in a period.
    pub(super) fn messages(
        mut self,
        plugin: &PluginName,
        (from, until): (Instant, Instant),
        host: Zone,
    ) -> MessageChangesRecord {
        let is_cut = self.old.len().max(self.new.len()) > limits::CHECK_JOBS;
        self.old.truncate(limits::CHECK_JOBS);
        self.new.truncate(limits::CHECK_JOBS);
        let cut_at = Cell::new(None);
        let events = |jobs| Messages::new(plugin, jobs, (from, until), &cut_at);
        let mut record = MessageChangesRecord {
            from: from.in_zone(host),
            until: until.in_zone(host),
            gone: Default::default(),
            new: Default::default(),
            complete: false,
        };
        for (side, event) in Differences::new(events(&self.old), events(&self.new)) {
            // From here on, the messages of one side are unknown.
            if cut_at.get().is_some_and(|cut| event.at >= cut) {
                break;
            }
            let list = if side == Side::Old { &mut record.gone } else { &mut record.new };
            list.count += 1;
            if list.first.len() < limits::CHANGED_MESSAGES {
                list.first.extend(changed_message(&event, if side == Side::Old { &self.old } else { &self.new }));
            }
        }
        record.complete = !is_cut && cut_at.get().is_none();
        record
    }
}

fn changed_message(event: &SimulatedEvent, jobs: &[Timed]) -> Option<ChangedMessageRecord> {
    let job = event.job.as_ref()?;
    let is_its = |timed: &&Timed| timed.device == event.device && timed.job.body.id() == job.as_str();
    let body = &jobs.iter().find(is_its)?.job.body;
    let message = match &event.what {
        SimulatedEventKind::Message(sent) => serde_json::to_value(job_json::step(&sent.message())).ok(),
        SimulatedEventKind::Note(_) => None,
    };
    Some(ChangedMessageRecord {
        due: event.at.in_zone(event.zone),
        time_zone: event.zone.name().to_owned(),
        device: event.device.to_string(),
        job: job.to_string(),
        label: body.label().map(str::to_owned),
        task: body.task().filter(|_| message.is_none()).map(|task| task.name.to_string()),
        message,
    })
}

/// The messages of jobs in the order of time, computed lazily.
struct Messages<'j> {
    plugin: &'j PluginName,
    jobs: &'j [Timed],
    until: Instant,
    /// The next message of a run: its time, its job, its occurrence and its step, counted from 1; step 0 is the
    /// occurrence itself.
    waiting: BinaryHeap<Reverse<(Instant, usize, Instant, usize)>>,
    sun: Almanac,
    /// The number of messages that may still be examined.
    left: usize,
    /// When messages were first left out.
    cut_at: &'j Cell<Option<Instant>>,
}

impl<'j> Messages<'j> {
    fn new(
        plugin: &'j PluginName,
        jobs: &'j [Timed],
        (from, until): (Instant, Instant),
        cut_at: &'j Cell<Option<Instant>>,
    ) -> Self {
        let (waiting, left) = (BinaryHeap::new(), limits::CHECK_MESSAGES);
        let mut messages = Self { plugin, jobs, until, waiting, sun: Almanac::default(), left, cut_at };
        (0..jobs.len()).for_each(|job| messages.push_next(job, from));
        messages
    }

    fn push_next(&mut self, index: usize, after: Instant) {
        let Timed { site, job, .. } = &self.jobs[index];
        let next = next_before((&job.trigger, site), after, self.until, &mut self.sun);
        self.waiting.extend(next.map(|occurrence| Reverse((occurrence, index, occurrence, 0))));
    }
}

impl Iterator for Messages<'_> {
    type Item = SimulatedEvent;

    fn next(&mut self) -> Option<SimulatedEvent> {
        loop {
            let Reverse((at, index, occurrence, step)) = self.waiting.pop()?;
            let Timed { device, site, job } = &self.jobs[index];
            let what = match (step.checked_sub(1), job.body.task()) {
                (Some(step), _) => SimulatedEventKind::Message(Sent { occurrence, step, body: job.body.clone() }),
                (None, Some(task)) => SimulatedEventKind::Note(format!("{} {}", task.name, task.args)),
                (None, None) => {
                    let steps = (1..).zip(job.body.steps());
                    let due = steps.map(|(number, step)| (occurrence.plus_ms(step.after_ms.into()), number));
                    self.waiting.extend(due.map(|(at, number)| Reverse((at, index, occurrence, number))));
                    self.push_next(index, occurrence);
                    continue;
                }
            };
            if step == 0 {
                self.push_next(index, occurrence);
            }
            if self.left == 0 {
                self.cut_at.set(Some(self.cut_at.get().map_or(at, |cut| cut.min(at))));
                return None;
            }
            self.left -= 1;
            let (plugin, zone) = (self.plugin.clone(), site.zone);
            let id = Some(job.body.job_id());
            return Some(SimulatedEvent { at, zone, plugin, device: device.clone(), job: id, what });
        }
    }
}

#[cfg(test)]
mod tests {
    use roost_scheduler::{
        model::{Action, Job, Message, Policy, Qos, Step},
        names::JobId,
        topic::Topic,
        trigger::{CronCache, parse},
    };

    use super::*;

    fn timed(id: &str, trigger: &str, payload: &[u8]) -> Timed {
        let topic = Topic::parse("coop/door").unwrap();
        let message =
            Message { topic, payload: payload.into(), qos: Qos::AtLeastOnce, retain: false, properties: None };
        let step = Step { after_ms: 1_000, message, once: false, confirm: None };
        let job = Job {
            id: JobId::parse(id).unwrap(),
            label: Some("Door".into()),
            trigger: parse(trigger, Instant::MIN, &mut CronCache::default()).unwrap(),
            action: Action::Steps([step].into()),
            policy: Policy::default(),
        };
        Timed::new(&DeviceName::parse("north").unwrap(), Site { zone: Zone::UTC, location: None }, (&job).into())
    }

    fn changes(old: Vec<Timed>, new: Vec<Timed>) -> MessageChangesRecord {
        let from = "2027-03-01T00:00:00Z".parse::<crate::when::When>().unwrap().in_zone(Zone::UTC);
        let plugin = PluginName::parse("coop").unwrap();
        Changes { old, new }.messages(&plugin, (from, from.plus_ms(2 * 86_400_000)), Zone::UTC)
    }

    #[test]
    fn moved_messages_are_gone_and_new_with_their_times() {
        let record = changes(
            vec![timed("close", "cron 44 16 * * *", b"CLOSE"), timed("open", "cron 0 6 * * *", b"OPEN")],
            vec![timed("close", "cron 54 16 * * *", b"CLOSE"), timed("open", "cron 0 6,7 * * *", b"OPEN")],
        );
        let times = |list: &[ChangedMessageRecord]| {
            list.iter().map(|one| format!("{} {}", one.job, one.due)).collect::<Vec<_>>()
        };
        assert_eq!(times(&record.gone.first), ["close 2027-03-01T16:44:01Z", "close 2027-03-02T16:44:01Z"]);
        let expected = ["open 2027-03-01T07:00:01Z", "close 2027-03-01T16:54:01Z"];
        assert_eq!((&times(&record.new.first)[..2], record.new.count), (&expected.map(str::to_owned)[..], 4));
        let first = &record.new.first[0];
        assert_eq!(
            (first.label.as_deref(), &first.message.as_ref().unwrap()["payload"]),
            (Some("Door"), &"OPEN".into())
        );
        assert!(record.complete);
    }

    #[test]
    fn many_messages_are_counted_and_only_the_first_are_listed() {
        let record = changes(vec![], vec![timed("mist", "every 1m", b"ON")]);
        assert_eq!((record.new.count, record.new.first.len()), (2_879, limits::CHANGED_MESSAGES));
        let record = changes(vec![timed("mist", "every 1s", b"ON")], vec![timed("mist", "every 1s", b"ON")]);
        assert_eq!((record.new.count, record.gone.count, record.complete), (0, 0, false));
    }
}
