//! A greenhouse: vented by the calendar, misted during a part of the day, lit from sunset to the evening.
//!
//! Cron and sun triggers recur by themselves. Misting at an interval within a part of the day cannot be expressed by a
//! trigger: the plugin computes the times of today and tomorrow. The task `air` opens the vent on request.

#[cfg(test)]
mod tests;

use std::iter::successors;

use roost_plugin_sdk::{
    Context, Date, Device, Error, Job, Messages, Reply, Result, Span, Task, TaskDescription, Tasks, Time, hours,
    milliseconds, minutes,
};
use serde::Deserialize;

/// The settings of a greenhouse.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Greenhouse {
    /// When its vent opens, which may differ in summer and in winter.
    #[serde(default)]
    vent: Vec<Opening>,
    /// The vent's command topic. Default: `greenhouse/<device>/vent/set`.
    vent_topic: Option<String>,
    mist: Option<Mist>,
    lamps: Option<Lamps>,
}

/// When the vent opens, and for how long.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Opening {
    name: String,
    /// A cron expression, or a trigger such as `solar-noon in MAY-SEP`. It may be limited to days.
    when: String,
    open_for: Span,
}

/// Mist at an interval, but only during a part of the day.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mist {
    every: Span,
    /// The first mist of the day.
    from: Time,
    /// The end, exclusive.
    until: Time,
    /// How long the nozzles are on.
    spray: Span,
    /// The days, as in a trigger: `MON-FRI except holidays`. Default: all.
    days: Option<String>,
    /// The command topic of the nozzles. Default: `greenhouse/<device>/mist/set`.
    topic: Option<String>,
}

/// Lamps that extend the day: on at sunset, off in the evening.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lamps {
    on_not_before: Time,
    on_not_after: Time,
    off: Time,
    /// The days, as in a trigger: `MON-FRI except holidays`. Default: all.
    days: Option<String>,
    /// 0 to 255, for lamps that can be dimmed.
    brightness: Option<u8>,
    /// The command topic of the lamps. Default: `greenhouse/<device>/lamps/set`.
    topic: Option<String>,
    /// Whether the broker retains the last message, so that lamps that were offline get the current state.
    #[serde(default = "yes")]
    retain: bool,
}

impl Device for Greenhouse {
    fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<Job>> {
        if self.vent.is_empty() && self.mist.is_none() && self.lamps.is_none() {
            return Err(Error::new("config: there is nothing to do, set `vent`, `mist` or `lamps`"));
        }
        let openings = self.vent.iter();
        let mut jobs: Vec<Job> =
            openings.map(|opening| opening.job().messages(self.air(ctx, opening.open_for))).collect();
        if let Some(mist) = &self.mist {
            jobs.extend(mist.jobs(ctx)?);
        }
        if let Some(lamps) = &self.lamps {
            jobs.extend(lamps.jobs(ctx)?);
        }
        Ok(jobs)
    }
}

impl Greenhouse {
    /// Returns the messages that open the vent, and close it after some time.
    fn air(&self, ctx: &Context, time: Span) -> Messages {
        let vent = self.vent_topic.clone().unwrap_or_else(|| ctx.topic("vent/set"));
        Messages::new().publish(&vent, "OPEN").then(time, &vent, "CLOSE")
    }
}

/// The arguments of the task `air`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Air {
    minutes: u16,
}

const AIR_ARGS: &str = r#"{
    "type": "object",
    "properties": { "minutes": { "type": "integer", "minimum": 1, "maximum": 240 } },
    "required": ["minutes"],
    "additionalProperties": false
}"#;

impl Tasks for Greenhouse {
    fn list() -> Vec<TaskDescription> {
        vec![TaskDescription::new("air", "Open the vent for some minutes").args_schema(AIR_ARGS)]
    }

    fn run_task(&self, ctx: &Context, task: &Task) -> Result<Reply> {
        match task.name() {
            "air" => match task.args::<Air>()?.minutes {
                time @ 1..=240 => Ok(self.air(ctx, minutes(time.into())).into()),
                time => Err(Error::new(format!("args `minutes`: {time} is not 1 to 240"))),
            },
            _ => Err(task.unknown()),
        }
    }
}

impl Opening {
    fn job(&self) -> Job {
        let when = self.when.trim();
        let is_cron = when.starts_with(|first: char| first.is_ascii_digit() || "*@".contains(first));
        Job::when(format!("vent-{}", self.name), if is_cron { format!("cron {when}") } else { when.into() })
            .label(format!("Air the house, {}", self.name))
            .jitter(minutes(1))
            // Heat under glass kills within an hour: venting goes first, and late is better than never.
            .priority(1)
            .grace(hours(1))
    }
}

impl Mist {
    fn jobs(&self, ctx: &Context) -> Result<Vec<Job>> {
        self.check()?;
        if let Some(days) = &self.days {
            return Ok(self.jobs_on_days(days, ctx));
        }
        let [today, tomorrow] = days_of_plan(ctx)?;
        let mut jobs = self.jobs_on(today, ctx)?;
        jobs.extend(self.jobs_on(tomorrow, ctx)?);
        Ok(jobs)
    }

    /// Returns the jobs of a date. The wall clock determines when a day's misting begins and ends; the interval between
    /// is elapsed time, which does not change when summer time begins or ends meanwhile.
    fn jobs_on(&self, date: Date, ctx: &Context) -> Result<Vec<Job>> {
        let (from, until) = (ctx.instant(date, self.from)?, ctx.instant(date, self.until)?);
        let times = successors(Some(from), |at| Some(*at + self.every)).take_while(|at| *at < until);
        // Numbered through the day, whenever the plan is made: the same mist has the same id in each plan. Past times
        // do not belong to the plan.
        let times = times.zip(1..).filter(|(at, _)| *at >= ctx.now());
        Ok(times.map(|(at, number)| self.mist(Job::at(format!("mist-{date}-{number}"), at), ctx)).collect())
    }

    /// Returns a job for each time of day. Only the host knows the days of its calendars, so these jobs are due by the wall
    /// clock.
    fn jobs_on_days(&self, days: &str, ctx: &Context) -> Vec<Job> {
        let seconds =
            |time: Time| (u32::from(time.hour()) * 60 + u32::from(time.minute())) * 60 + u32::from(time.second());
        let every = usize::try_from(self.every.millis() / 1_000).unwrap_or(usize::MAX);
        let job = |(at, number): (u32, u32)| {
            let time = format!("{:02}:{:02}:{:02}", at / 3_600, at / 60 % 60, at % 60);
            self.mist(Job::when(format!("mist-{number}"), format!("daily {time}{}", clauses(days))), ctx)
        };
        (seconds(self.from)..seconds(self.until)).step_by(every).zip(1..).map(job).collect()
    }

    fn mist(&self, job: Job, ctx: &Context) -> Job {
        let topic = &self.topic.clone().unwrap_or_else(|| ctx.topic("mist/set"));
        job.label("Mist")
            // Later than this, the next mist is nearer.
            .grace(milliseconds(self.every.millis() / 2))
            .publish(topic, "ON")
            .expiry(self.spray)
            .user_property("for", self.spray.to_string())
            .then(self.spray, topic, "OFF")
    }

    fn check(&self) -> Result<()> {
        if self.every < minutes(1) {
            return Err(Error::new(format!(
                "config `mist.every`: {} is too often, mist once a minute at most",
                self.every
            )));
        }
        if self.spray >= self.every {
            let Self { spray, every, .. } = self;
            return Err(Error::new(format!(
                "config `mist.spray`: {spray} leaves no pause, the next one begins after {every}"
            )));
        }
        later("mist.until", self.until, "mist.from", self.from)
    }
}

impl Lamps {
    fn jobs(&self, ctx: &Context) -> Result<Vec<Job>> {
        later("lamps.on_not_after", self.on_not_after, "lamps.on_not_before", self.on_not_before)?;
        // Otherwise they would be turned on when they should be off, and stay on until the next evening.
        later("lamps.off", self.off, "lamps.on_not_after", self.on_not_after)?;
        if let Some(days) = &self.days {
            let (Self { on_not_before, on_not_after, off, .. }, days) = (self, clauses(days));
            let on = format!("sunset not-before {on_not_before} not-after {on_not_after}{days}");
            let off = Job::when("lamps-off", format!("daily {off}{days}"));
            return Ok(vec![self.turn_on(Job::when("lamps-on", on), ctx), self.turn_off(off, ctx)]);
        }
        let sunset = Job::sunset("lamps-on").not_before(self.on_not_before).not_after(self.on_not_after);
        let off = Job::daily("lamps-off", self.off);
        let mut jobs = vec![self.turn_on(sunset, ctx), self.turn_off(off, ctx)];
        for date in days_of_plan(ctx)? {
            let at = ctx.instant(date, self.on_not_before)?;
            if at >= ctx.now() && is_polar_night(date, ctx)? {
                jobs.push(self.turn_on(Job::at(format!("lamps-on-{date}"), at), ctx));
            }
        }
        Ok(jobs)
    }

    fn turn_on(&self, job: Job, ctx: &Context) -> Job {
        let state = match self.brightness {
            Some(brightness) => format!(r#"{{"state":"ON","brightness":{brightness}}}"#),
            None => r#"{"state":"ON"}"#.into(),
        };
        // Before `off`, if both are late.
        self.switch(job.label("Turn the lamps on").priority(1), state, ctx)
            .user_property("off-at", self.off.to_string())
    }

    fn turn_off(&self, job: Job, ctx: &Context) -> Job {
        self.switch(job.label("Turn the lamps off"), r#"{"state":"OFF"}"#.into(), ctx)
    }

    fn switch(&self, job: Job, state: String, ctx: &Context) -> Job {
        let lamps = self.topic.clone().unwrap_or_else(|| ctx.topic("lamps/set"));
        let job = job.grace(hours(6)).publish(lamps, state).content_type("application/json");
        if self.retain { job.retain() } else { job }
    }
}

/// Returns the clauses that limit a trigger to days; days of the week and calendars need no `on`.
fn clauses(days: &str) -> String {
    let days = days.trim();
    let (first, rest) = days.split_once(char::is_whitespace).unwrap_or((days, ""));
    match first.to_lowercase().as_str() {
        "" => String::new(),
        "all" if rest.is_empty() => String::new(),
        "all" => format!(" {rest}"),
        "on" | "in" | "every" | "except" => format!(" {days}"),
        _ => format!(" on {days}"),
    }
}

/// Returns today and tomorrow, the days of a plan. The next plan is made at midnight.
fn days_of_plan(ctx: &Context) -> Result<[Date; 2]> {
    let today = ctx.today()?;
    Ok([today, today.plus_days(1)])
}

/// Returns whether the sun stays below the horizon all day. Near the poles, a day without sunset has either no daylight
/// or no night; the season determines which.
fn is_polar_night(date: Date, ctx: &Context) -> Result<bool> {
    let Some(place) = ctx.location() else { return Ok(false) };
    let northern_summer = (4..=9).contains(&date.month());
    Ok(northern_summer != (place.latitude > 0.0) && ctx.sunset(date)?.is_none())
}

const fn yes() -> bool {
    true
}

fn later(key: &str, time: Time, than_key: &str, than: Time) -> Result<()> {
    if time > than {
        return Ok(());
    }
    Err(Error::new(format!("config `{key}`: {time} must be later in the day than `{than_key}`, which is {than}")))
}

roost_plugin_sdk::export!(Greenhouse, tasks);
