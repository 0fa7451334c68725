//! What scenarios are written in: times, jobs, a world with a plugin, and the check of what was published and how runs
//! ended.

use std::sync::Arc;

use expect_test::Expect;
use roost_scheduler::{
    event::{Digest, Event, Loaded, LoadedDevice, Plan, Version},
    model::{Action, Confirm, Job, Matches, Message, Misfire, Policy, Qos, Step},
    names::{DeviceName, GroupName, JobId, PluginName},
    time::{Instant, Location, Site},
    topic::Topic,
    trigger::{CronCache, parse},
    zone::Zone,
};

use crate::{disk::full_grant, world::World};

/// When worlds begin.
pub(crate) const START: &str = "2027-03-01T06:00:00Z";

pub(crate) fn at(text: &str) -> Instant {
    chrono::DateTime::parse_from_rfc3339(text).expect("RFC 3339").into()
}

pub(crate) fn name<T, E: std::fmt::Debug>(parsed: Result<T, E>) -> T {
    parsed.expect("a valid name")
}

pub(crate) fn site() -> Site {
    Site { zone: Zone::bundled("Europe/London").expect("a zone"), location: Location::new(51.5, -0.1) }
}

/// Returns a job: `job("open", "every 1m", &[(0, "door/open")])`.
pub(crate) fn job(id: &str, trigger: &str, steps: &[(u32, &str)]) -> Job {
    let step = |(after_s, topic): &(u32, &str)| Step {
        after_ms: after_s * 1000,
        message: Message {
            topic: name(Topic::parse(topic)),
            payload: Arc::from(id.as_bytes()),
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: None,
        },
        once: false,
        confirm: None,
    };
    Job {
        id: name(JobId::parse(id)),
        label: None,
        trigger: parse(trigger, &roost_scheduler::trigger::Context::at(at(START)), &mut CronCache::default())
            .expect("a trigger"),
        action: Action::Steps(steps.iter().map(step).collect()),
        policy: Policy::default(),
    }
}

/// Returns a job with a change.
pub(crate) fn with(mut job: Job, change: impl FnOnce(&mut Job)) -> Job {
    change(&mut job);
    job
}

/// Returns a job with a change of each step.
pub(crate) fn each_step(job: Job, change: impl Fn(&mut Step)) -> Job {
    let mut steps = job.steps().to_vec();
    steps.iter_mut().for_each(change);
    Job { action: Action::Steps(steps.into()), ..job }
}

/// Returns a job of the group `door`.
pub(crate) fn in_group(id: &str, trigger: &str, steps: &[(u32, &str)]) -> Job {
    let group = Misfire::LatestOfGroup(name(GroupName::parse("door")));
    with(job(id, trigger, steps), |job| job.policy.misfire = group)
}

/// Returns a job whose steps wait for a report on `door/state`; an earlier one counts if `already` says so.
pub(crate) fn confirmed(job: Job, already: bool) -> Job {
    let topic: Topic = name(Topic::parse("door/state"));
    each_step(job, |step| {
        step.confirm =
            Some(Arc::new(Confirm { topic: topic.clone(), matches: Matches::Any, within_ms: 5_000, already }));
    })
}

/// Returns a world at 06:00 with a link, and a plugin `coop` with a device `north`.
pub(crate) fn world(jobs: &[Job]) -> World {
    let mut world = World::new(at(START));
    world.link_up(100);
    world.load("coop", 1, &[("north", jobs.to_vec())]);
    world.run_until(at(START));
    world.log.clear();
    world
}

/// Returns the event that loads `coop` with devices at different sites, or with plans that failed.
pub(crate) fn loaded(version: u8, devices: Vec<(&str, Site, Result<Plan, String>)>) -> Event {
    let digest = Digest([version; 32]);
    let devices = devices
        .into_iter()
        .map(|(device, site, plan)| LoadedDevice { name: name(DeviceName::parse(device)), site, plan })
        .collect();
    Event::Loaded(Loaded {
        plugin: name(PluginName::parse("coop")),
        version: Version { component: digest, settings: digest },
        grant: full_grant(),
        devices,
    })
}

/// Returns what was published and how runs ended, one a line, without the date of the first day.
pub(crate) fn lines(world: &World) -> Vec<String> {
    world.log.iter().map(|line| line.replace("2027-03-01T", "").replace('Z', "")).collect()
}

/// Checks all that was published, and how all runs ended.
pub(crate) fn check(world: &World, expected: &Expect) {
    check_only(world, "", expected);
}

/// Checks the lines that contain a text.
pub(crate) fn check_only(world: &World, text: &str, expected: &Expect) {
    let lines = lines(world).into_iter().filter(|line| line.contains(text));
    expected.assert_eq(&lines.map(|line| line + "\n").collect::<String>());
}
