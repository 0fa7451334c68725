//! A greenhouse: vented by the calendar, misted during a part of the day, lit from sunset to the evening.
//!
//! Cron and sun triggers recur by themselves. Misting at an interval within a part of the day cannot be expressed by a
//! trigger: the plugin computes the times of today and tomorrow. The task `air` opens the vent on request.

use std::iter::successors;

use roost_plugin_sdk::{
    Context, Date, Device, Error, Instant, Job, Messages, Reply, Result, Span, Task, TaskDescription, Tasks, Time,
    hours, milliseconds, minutes,
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
    /// 0 to 255, for lamps that can be dimmed.
    brightness: Option<u8>,
    /// The command topic of the lamps. Default: `greenhouse/<device>/lamps/set`.
    topic: Option<String>,
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
        let [today, tomorrow] = days_of_plan(ctx)?;
        let mut jobs = self.jobs_on(today, ctx)?;
        jobs.extend(self.jobs_on(tomorrow, ctx)?);
        Ok(jobs)
    }

    /// Returns the jobs of a date. The wall clock determines when a day's misting begins and ends; the interval between
    /// is elapsed time, which does not change when summer time begins or ends meanwhile.
    fn jobs_on(&self, date: Date, ctx: &Context) -> Result<Vec<Job>> {
        let topic = self.topic.clone().unwrap_or_else(|| ctx.topic("mist/set"));
        let (from, until) = (ctx.instant(date, self.from)?, ctx.instant(date, self.until)?);
        let times = successors(Some(from), |at| Some(*at + self.every)).take_while(|at| *at < until);
        // Numbered through the day, whenever the plan is made: the same mist has the same id in each plan. Past times
        // do not belong to the plan.
        let times = times.zip(1..).filter(|(at, _)| *at >= ctx.now());
        Ok(times.map(|(at, number)| self.job(at, &format!("mist-{date}-{number}"), &topic)).collect())
    }

    fn job(&self, at: Instant, id: &str, topic: &str) -> Job {
        Job::at(id, at)
            .label("Mist")
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
        job.grace(hours(6)).publish(lamps, state).content_type("application/json").retain()
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

fn later(key: &str, time: Time, than_key: &str, than: Time) -> Result<()> {
    if time > than {
        return Ok(());
    }
    Err(Error::new(format!("config `{key}`: {time} must be later in the day than `{than_key}`, which is {than}")))
}

roost_plugin_sdk::export!(Greenhouse, tasks);

#[cfg(test)]
mod tests {
    use roost_plugin_sdk::testing::{Plan, TestHost};
    use serde_json::{Value, json};

    use super::*;

    fn test_host(config: Value, now: &str) -> TestHost {
        TestHost::new("greenhouse", "tomatoes")
            .time_zone("Europe/London")
            .location(51.4779, -0.0015)
            .config(config)
            .at(now)
    }

    fn plan(config: Value, now: &str) -> Result<Plan> {
        test_host(config, now).schedule_jobs::<Greenhouse>()
    }

    fn mist(from: &str, until: &str, every: &str) -> Value {
        json!({ "mist": { "from": from, "until": until, "every": every, "spray": "15s" } })
    }

    fn lamps() -> Value {
        json!({ "lamps": { "on_not_before": "15:00", "on_not_after": "20:00", "off": "21:30" } })
    }

    fn due(plan: &Plan) -> Vec<String> {
        plan.ids().iter().flat_map(|id| plan.job(id).due(1)).collect()
    }

    #[test]
    fn the_vent_opens_by_the_calendar() -> Result<()> {
        let config = json!({ "vent": [
            { "name": "summer", "when": "0 10-18/2 * MAY-SEP *", "open_for": "45m" },
            { "name": "winter", "when": "30 12 * OCT-DEC,JAN-APR MON,WED,FRI", "open_for": "10m" },
        ] });
        let plan = plan(config, "2027-09-30T17:00:00+01:00")?;
        assert_eq!(plan.job("vent-summer").due(2), ["2027-09-30T18:00:00+01:00", "2028-05-01T10:00:00+01:00"]);
        assert_eq!(plan.job("vent-winter").due(1), ["2027-10-01T12:30:00+01:00"]);
        let messages = ["0s greenhouse/tomatoes/vent/set OPEN", "45m greenhouse/tomatoes/vent/set CLOSE"];
        assert_eq!(plan.job("vent-summer").messages(), messages);
        assert_eq!((plan.job("vent-summer").jitter(), plan.job("vent-summer").priority()), (minutes(1), 1));
        Ok(())
    }

    #[test]
    fn the_vent_may_open_by_the_sun_and_on_some_days() -> Result<()> {
        let config = json!({ "vent": [
            { "name": "noon", "when": "solar-noon -1h in MAY-SEP except 2027-06-02", "open_for": "2h" },
            { "name": "weekend", "when": "0 9 * * * on SAT-SUN,holidays", "open_for": "10m" },
        ] });
        let plan = plan(config, "2027-06-01T17:00:00+01:00")?;
        assert!(plan.job("vent-noon").due(1)[0].starts_with("2027-06-03T11:5"), "{:?}", plan.job("vent-noon").due(1));
        assert_eq!(plan.job("vent-weekend").trigger(), "cron 0 9 * * * on SAT-SUN,holidays");
        Ok(())
    }

    #[test]
    fn the_task_opens_the_vent() -> Result<()> {
        let host = test_host(lamps(), "2027-06-01T12:00:00Z");
        let answer = host.run_task::<Greenhouse>("air", json!({ "minutes": 10 }))?;
        assert_eq!(
            answer.messages(),
            ["0s greenhouse/tomatoes/vent/set OPEN", "10m greenhouse/tomatoes/vent/set CLOSE"]
        );
        let error = host.run_task::<Greenhouse>("air", json!({ "minutes": 0 })).unwrap_err();
        assert_eq!(error.to_string(), "args `minutes`: 0 is not 1 to 240");
        Ok(())
    }

    #[test]
    fn mist_is_limited_to_a_part_of_the_day() -> Result<()> {
        let plan = plan(mist("16:30", "18:00", "40m"), "2027-06-01T17:00:00+01:00")?;
        assert_eq!(
            plan.ids(),
            ["mist-2027-06-01-2", "mist-2027-06-01-3", "mist-2027-06-02-1", "mist-2027-06-02-2", "mist-2027-06-02-3"]
        );
        assert_eq!(
            due(&plan)[..3],
            ["2027-06-01T17:10:00+01:00", "2027-06-01T17:50:00+01:00", "2027-06-02T16:30:00+01:00"]
        );
        let mist = plan.job("mist-2027-06-02-1");
        assert_eq!(mist.grace(), minutes(20));
        assert_eq!(
            mist.messages(),
            ["0s greenhouse/tomatoes/mist/set ON, expires after 15s, for=15s", "15s greenhouse/tomatoes/mist/set OFF"]
        );
        Ok(())
    }

    #[test]
    fn the_same_mist_has_the_same_id_in_the_next_plan() -> Result<()> {
        let today = plan(mist("08:00", "19:00", "10m"), "2027-10-30T12:00:00+01:00")?;
        let tomorrow = plan(mist("08:00", "19:00", "10m"), "2027-10-31T00:00:00+01:00")?;
        let both: Vec<&str> = today.ids().into_iter().filter(|id| tomorrow.ids().contains(id)).collect();
        assert_eq!(both.len(), 66);
        for id in both {
            assert_eq!(today.job(id).due(1), tomorrow.job(id).due(1), "{id}");
        }
        Ok(())
    }

    #[test]
    fn the_interval_does_not_change_when_summer_time_begins_or_ends() -> Result<()> {
        let spring = plan(mist("00:30", "03:00", "30m"), "2027-03-28T00:00:00Z")?;
        assert_eq!(
            due(&spring)[..4],
            [
                "2027-03-28T00:30:00Z",
                "2027-03-28T02:00:00+01:00",
                "2027-03-28T02:30:00+01:00",
                "2027-03-29T00:30:00+01:00"
            ]
        );
        let autumn = plan(mist("00:30", "02:00", "30m"), "2027-10-31T00:00:00+01:00")?;
        assert_eq!(
            due(&autumn)[..6],
            [
                "2027-10-31T00:30:00+01:00",
                "2027-10-31T01:00:00+01:00",
                "2027-10-31T01:30:00+01:00",
                "2027-10-31T01:00:00Z",
                "2027-10-31T01:30:00Z",
                "2027-11-01T00:30:00Z"
            ]
        );
        // Both ends of the window are in the skipped hour: nothing of it is left.
        let skipped = plan(mist("01:10", "01:50", "10m"), "2027-03-27T12:00:00Z")?;
        assert!(skipped.ids().is_empty(), "{:?}", skipped.ids());
        Ok(())
    }

    #[test]
    fn lamps_are_turned_on_at_sunset_within_limits() -> Result<()> {
        let summer = plan(lamps(), "2027-06-01T12:00:00+01:00")?;
        assert_eq!(summer.ids(), ["lamps-on", "lamps-off"]);
        assert_eq!(summer.job("lamps-on").due(1), ["2027-06-01T20:00:00+01:00"]);
        assert_eq!(summer.job("lamps-off").due(1), ["2027-06-01T21:30:00+01:00"]);
        let winter = plan(lamps(), "2027-12-21T12:00:00Z")?;
        assert!(winter.job("lamps-on").due(1)[0].starts_with("2027-12-21T15:5"), "{:?}", winter.job("lamps-on").due(1));
        Ok(())
    }

    #[test]
    fn lamps_that_were_offline_get_the_retained_state() -> Result<()> {
        let mut config = lamps();
        config["lamps"]["brightness"] = json!(200);
        config["lamps"]["topic"] = json!("zigbee2mqtt/lamps/set");
        let plan = plan(config, "2027-06-01T12:00:00+01:00")?;
        assert_eq!(
            plan.job("lamps-on").messages(),
            [r#"0s zigbee2mqtt/lamps/set {"state":"ON","brightness":200}, retained, application/json, off-at=21:30"#]
        );
        assert_eq!(
            plan.job("lamps-off").messages(),
            [r#"0s zigbee2mqtt/lamps/set {"state":"OFF"}, retained, application/json"#]
        );
        assert!(plan.job("lamps-on").priority() > plan.job("lamps-off").priority());
        Ok(())
    }

    #[test]
    fn lamps_are_on_through_the_polar_night_and_off_under_the_midnight_sun() -> Result<()> {
        let ids = |latitude: f64, zone: &str, now: &str| -> Result<Vec<String>> {
            let host = test_host(lamps(), now).time_zone(zone).location(latitude, 18.9553);
            let plan = host.schedule_jobs::<Greenhouse>()?;
            Ok(plan.ids().iter().map(|id| format!("{id} {}", plan.job(id).due(1).join(""))).collect())
        };
        let night = ids(69.6492, "Europe/Oslo", "2027-12-21T12:00:00+01:00")?;
        assert_eq!(
            night[2..],
            ["lamps-on-2027-12-21 2027-12-21T15:00:00+01:00", "lamps-on-2027-12-22 2027-12-22T15:00:00+01:00"]
        );
        let day = ids(69.6492, "Europe/Oslo", "2027-06-21T12:00:00+02:00")?;
        assert_eq!(day.len(), 2, "{day:?}");
        assert!(day[0].starts_with("lamps-on 2027-07-"), "{day:?}");
        // In the south it is the other way round.
        assert_eq!(ids(-77.85, "Antarctica/McMurdo", "2027-06-21T12:00:00+12:00")?.len(), 4);
        assert_eq!(ids(-77.85, "Antarctica/McMurdo", "2027-12-21T12:00:00+13:00")?.len(), 2);
        Ok(())
    }

    #[test]
    fn impossible_settings_are_refused() {
        let error = |config| plan(config, "2027-06-01T12:00:00Z").unwrap_err().to_string();
        let with = |mut config: Value, part: &str, key: &str, value: &str| {
            config[part][key] = json!(value);
            error(config)
        };
        let misted = || mist("08:00", "19:00", "10m");
        assert_eq!(error(json!({})), "config: there is nothing to do, set `vent`, `mist` or `lamps`");
        assert_eq!(
            with(misted(), "mist", "every", "30s"),
            "config `mist.every`: 30s is too often, mist once a minute at most"
        );
        assert_eq!(
            with(misted(), "mist", "spray", "10m"),
            "config `mist.spray`: 10m leaves no pause, the next one begins after 10m"
        );
        assert_eq!(
            with(misted(), "mist", "until", "08:00"),
            "config `mist.until`: 08:00 must be later in the day than `mist.from`, which is 08:00"
        );
        assert_eq!(
            with(lamps(), "lamps", "off", "00:30"),
            "config `lamps.off`: 00:30 must be later in the day than `lamps.on_not_after`, which is 20:00"
        );
        let vent = json!({ "vent": [{ "name": "never", "when": "0 12 31 FEB *", "open_for": "1h" }] });
        assert!(error(vent).starts_with("job `vent-never`: "));
        let nowhere =
            TestHost::new("greenhouse", "tomatoes").config(lamps()).schedule_jobs::<Greenhouse>().unwrap_err();
        assert!(
            nowhere.to_string().starts_with("job `lamps-on`: `trigger.sun`: the device has no location"),
            "{nowhere}"
        );
    }
}
