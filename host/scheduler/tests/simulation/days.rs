//! Jobs that are limited to days, in random histories with calendars that change. Each run is on a day that was allowed
//! by the calendars in force when it was due, and each occurrence on such a day has an outcome.
//!
//! The definition of days here is independent of the core's: the times are those of triggers without limits.

use chrono::{Datelike, Days, NaiveDate, Weekday};
use roost_scheduler::{
    calendar::to_local,
    event::Event,
    model::Job,
    names::{CalendarName, DeviceName, JobId, RunId},
    time::Instant,
    trigger::{Almanac, Calendars, Context, CronCache, Dates, Search, Trigger, parse},
};

use crate::{
    checker::is_accounted_for,
    dsl::{at, job, name, site, with},
    rng::Rng,
    world::World,
};

/// A job that no plan ever changes.
struct Fixed {
    id: &'static str,
    trigger: &'static str,
    /// The trigger of its times, without limits.
    times: &'static str,
    /// How long before its times it is due.
    before_ms: i64,
    /// How long the evening that it belongs to lasts beyond midnight.
    evening_ms: i64,
    is_allowed: fn(NaiveDate, &Calendars) -> bool,
}

const FIXED: &[Fixed] = &[
    Fixed {
        id: "work",
        trigger: "cron */9 * * * * except holidays",
        times: "cron */9 * * * *",
        before_ms: 0,
        evening_ms: 0,
        is_allowed: |date, calendars| !is_in("holidays", date, calendars),
    },
    Fixed {
        id: "rest",
        trigger: "cron */11 * * * * on SUN,holidays except school",
        times: "cron */11 * * * *",
        before_ms: 0,
        evening_ms: 0,
        is_allowed: |date, calendars| {
            (date.weekday() == Weekday::Sun || is_in("holidays", date, calendars)) && !is_in("school", date, calendars)
        },
    },
    Fixed {
        id: "second",
        trigger: "cron */13 * * * * every 2 days from 2027-03-01",
        times: "cron */13 * * * *",
        before_ms: 0,
        evening_ms: 0,
        is_allowed: |date, _| date.num_days_from_ce() % 2 == day("2027-03-01").num_days_from_ce() % 2,
    },
    Fixed {
        id: "week",
        trigger: "cron */17 * * * * in school every 2 weeks from 2026-12-30",
        times: "cron */17 * * * *",
        before_ms: 0,
        evening_ms: 0,
        is_allowed: |date, calendars| {
            // 2026-12-28 is a Monday.
            let weeks = (date.num_days_from_ce() - day("2026-12-28").num_days_from_ce()) / 7;
            weeks % 2 == 0 && is_in("school", date, calendars)
        },
    },
    Fixed {
        id: "evening",
        trigger: "solar-midnight except holidays",
        times: "solar-midnight",
        before_ms: 0,
        evening_ms: 12 * 3_600_000,
        is_allowed: |date, calendars| !is_in("holidays", date, calendars),
    },
    Fixed {
        id: "finish",
        trigger: "finish cron */12 * * * * on holidays after 5m",
        times: "cron */12 * * * *",
        before_ms: 300_000,
        evening_ms: 0,
        is_allowed: |date, calendars| is_in("holidays", date, calendars),
    },
];

impl Fixed {
    /// Returns when it was due in a stretch of time, each with the date by which it is limited.
    fn due(&self, since: Instant, until: Instant) -> Vec<(Instant, NaiveDate)> {
        let (trigger, mut almanac) = (read(self.times), Almanac::default());
        let (mut from, mut due) = (since.plus_ms(self.before_ms), Vec::new());
        while let Search::Found(at) = trigger.next(from, &site(), &mut almanac) {
            let occurrence = at.plus_ms(-self.before_ms);
            if occurrence > until {
                break;
            }
            due.push((occurrence, to_local(at.plus_ms(-self.evening_ms), site().zone).0));
            from = at;
        }
        due
    }
}

fn day(text: &str) -> NaiveDate {
    text.parse().expect(text)
}

fn is_in(calendar: &str, date: NaiveDate, calendars: &Calendars) -> bool {
    let dates = calendars.dates(&name(CalendarName::parse(calendar)));
    dates.is_some_and(|dates| dates.ranges().iter().any(|(from, to)| *from <= date && date <= *to))
}

fn read(text: &str) -> Trigger {
    parse(text, &Context::at(Instant::MIN), &mut CronCache::default()).expect(text)
}

pub(crate) fn fixed_jobs() -> Vec<Job> {
    let jobs = FIXED.iter().map(|fixed| job(fixed.id, fixed.trigger, &[(0, &format!("fixed/{}", fixed.id))]));
    // A calendar may change between a due time and its run.
    jobs.map(|job| with(job, |job| job.policy.jitter_ms = if job.id.as_str() == "work" { 20_000 } else { 0 })).collect()
}

/// Limits a job by the calendar, if it is one that can be.
pub(crate) fn limit(rng: &mut Rng, job: &mut Job) {
    const LIMITS: [&str; 5] =
        ["on MON", "except holidays", "on school,1,28", "every 3 days from 2027-02-27", "in FEB-MAR except SAT"];
    if matches!(job.trigger, Trigger::Cron(_)) && !rng.one_in(3) {
        let finish = if rng.one_in(4) { ("finish ", " after 2m") } else { ("", "") };
        let limit = LIMITS[rng.index(LIMITS.len())];
        job.trigger = read(&format!("{}{} {limit}{}", finish.0, job.trigger, finish.1));
    }
}

/// Returns when a history begins: before midnight of a Sunday, and of the nights in which the clock changes.
pub(crate) fn start(rng: &mut Rng) -> Instant {
    at(["2027-02-28T22:40:00Z", "2027-03-27T22:40:00Z", "2027-10-30T21:40:00Z"][rng.index(3)])
}

/// Returns calendars with some of the days around an instant.
pub(crate) fn any_calendars(rng: &mut Rng, now: Instant) -> Calendars {
    let today = to_local(now, site().zone).0;
    let mut some = || {
        let days = [today.pred_opt().expect("a day"), today, today + Days::new(1), today + Days::new(2)];
        Dates::new(days.into_iter().filter(|_| rng.one_in(2)).map(|day| (day, day)).collect())
    };
    ["holidays", "school"].map(|calendar| (name(CalendarName::parse(calendar)), some())).into_iter().collect()
}

/// Contents of calendars, and since when they are in force.
pub(crate) struct InForce {
    since: Instant,
    /// When the host stopped, if they changed while it was down.
    stopped: Instant,
    /// The jobs with an occurrence that had passed and was not decided. It stays; those after it may be decided by these.
    undecided: Vec<(DeviceName, String, Instant)>,
    calendars: Calendars,
}

/// Changes the calendars while the host runs.
pub(crate) fn change(world: &mut World, calendars: Calendars) {
    settle(world);
    replace(world, world.now, calendars.clone());
    world.note("calendars changed");
    world.step(Event::CalendarsChanged(calendars));
    settle(world);
}

/// Makes all durable: a crash that lost a change of calendars would leave open which ones were in force.
fn settle(world: &mut World) {
    while world.commit() || world.partial {
        if world.partial {
            world.step(Event::Woke);
        }
    }
}

fn replace(world: &mut World, stopped: Instant, calendars: Calendars) {
    let (disk, since) = (&mut world.disk, world.now);
    disk.calendars = calendars.clone();
    let undecided = disk.jobs.values().filter_map(|row| {
        let due = row.due.filter(|due| *due <= since)?;
        Some((disk.devices.get(&row.device)?.name.clone(), row.job.body.id().to_owned(), due))
    });
    let undecided = undecided.collect();
    world.calendars.push(InForce { since, stopped, undecided, calendars });
}

/// Changes the calendars, perhaps while the host is down, seldom for a day.
pub(crate) fn random_event(world: &mut World, rng: &mut Rng) {
    let calendars = any_calendars(rng, world.now);
    if !rng.one_in(3) {
        return change(world, calendars);
    }
    settle(world);
    let stopped = world.now;
    world.now = stopped.plus_ms(if rng.one_in(8) { rng.below::<i64>(30 * 3_600_000) } else { 100 });
    replace(world, stopped, calendars);
    world.note("calendars changed while the host was down");
    world.checker.calendars_changed_while_down = true;
    world.crash();
    settle(world);
}

/// Checks all runs of the fixed jobs, and that none is missing.
pub(crate) fn check(world: &World, since: Instant, until: Instant) {
    for (fixed, device) in FIXED.iter().flat_map(|fixed| [(fixed, "north"), (fixed, "south")]) {
        let due = fixed.due(since, until);
        let allowed_by = |(at, date): &(Instant, NaiveDate)| {
            let held = in_force(world, (device, fixed.id), *at);
            let by = |calendars: &&Calendars| (fixed.is_allowed)(*date, calendars);
            (held.iter().any(by), held.iter().all(by))
        };
        let own = name(JobId::parse(fixed.id));
        let of_job = |id: &RunId| id.origin.is_trigger() && id.device.as_str() == device && id.job == own;
        for ended in world.disk.history.values().filter(|ended| of_job(&ended.id)) {
            let oldest = ended.outcome.several().map_or(ended.id.occurrence, |several| several.since);
            for occurrence in [oldest, ended.id.occurrence] {
                let found = due.iter().find(|(at, _)| *at == occurrence);
                let may_be = found.is_some_and(|found| allowed_by(found).0);
                assert!(may_be, "{occurrence} of {} is not on one of its days: {}", ended.id, ended.outcome);
            }
        }
        let required: Vec<Instant> = due.iter().filter(|due| allowed_by(due).1).map(|(at, _)| *at).collect();
        let next = |after: Instant| required.iter().copied().find(|at| *at > after).unwrap_or(Instant::MAX);
        is_accounted_for(&world.disk, (device, fixed.id), since, until, next);
    }
}

/// Returns the calendars by which an occurrence of a job may have been decided: those that were in force, and later ones
/// if it had passed undecided.
fn in_force<'a>(world: &'a World, (device, job): (&str, &str), at: Instant) -> Vec<&'a Calendars> {
    let all = &world.calendars;
    let until = |index: usize| all.get(index + 1).map_or(Instant::MAX, |next| next.since);
    let since = |change: &InForce| {
        let of_job =
            |(on, of, due): &(DeviceName, String, Instant)| (on.as_str() == device && of == job).then_some(*due);
        change.undecided.iter().find_map(of_job).map_or(change.stopped, |due| due.plus_ms(1).min(change.stopped))
    };
    let held = all.iter().enumerate().filter(|(index, change)| since(change) <= at && at <= until(*index));
    held.map(|(_, change)| &change.calendars).collect()
}
