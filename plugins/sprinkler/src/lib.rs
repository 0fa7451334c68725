//! A sprinkler: it waters its zones one after the other.
//!
//! A whole round is one run, so that two zones never share the water pressure, and an opened valve is always closed.
//! Its task `water` waters one zone on request.

use roost_plugin_sdk::{
    Context, Device, Error, Job, Messages, Reply, Result, Span, Task, TaskDescription, Tasks, Time, hours, milliseconds,
};
use serde::Deserialize;

/// The settings of a controller and its zones.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sprinkler {
    zones: Vec<Zone>,
    /// When the first zone is turned on, on `days`.
    start: Option<Time>,
    #[serde(default)]
    days: Days,
    /// Months without watering, 1 to 12.
    #[serde(default)]
    months_off: Vec<u8>,
    /// Instead of `start`: the period of rounds, day and night. For mist over seedlings.
    every: Option<Span>,
    /// The pause between two zones, for the pressure to recover.
    #[serde(default)]
    pause: Span,
    /// The resource that this and other controllers draw from: a `[[resource]]` in `roost.toml`.
    pump: Option<String>,
    /// How late a round may begin, for example because the pump is in use. Default: an hour with `start`, 5 minutes
    /// with `every`.
    grace: Option<Span>,
    #[serde(default = "on")]
    on_payload: String,
    #[serde(default = "off")]
    off_payload: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Zone {
    name: String,
    /// How long the valve is open.
    water: Span,
    /// The valve's command topic. Default: `sprinkler/<device>/<zone>/set`.
    topic: Option<String>,
}

/// The days of watering. Odd and even are days of the month, as water authorities count them: the 31st is followed by
/// the 1st, and both are odd.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Days {
    #[default]
    All,
    Odd,
    Even,
}

fn on() -> String {
    "ON".into()
}

fn off() -> String {
    "OFF".into()
}

impl Device for Sprinkler {
    fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<Job>> {
        let round = self.round();
        let mut job = match (self.start, self.every) {
            (Some(start), None) => {
                fits(round, hours(24))?;
                // Watering an hour late is harmless; in the heat of the day it is not.
                let grace = self.grace.unwrap_or_else(|| hours(1));
                Job::cron("water", self.cron(start)?).label("Water all zones").grace(grace)
            }
            (None, Some(every)) => {
                fits(round, every)?;
                let job = Job::every("mist", every).label("Mist all zones");
                match self.grace {
                    Some(grace) => job.grace(grace),
                    None => job,
                }
            }
            _ => return Err(Error::new("one of `start` and `every` must be set, and not both")),
        };
        if let Some(pump) = &self.pump {
            job = job.needs(pump);
        }
        let mut wait = Span::default();
        for zone in &self.zones {
            job = job.messages(self.water(ctx, zone, wait, zone.water));
            wait = self.pause;
        }
        Ok(vec![job])
    }
}

/// The arguments of the task `water`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Water {
    zone: ZoneRef,
    minutes: f64,
}

/// A zone, by its number in the settings, counted from 1, or by its name.
#[derive(Deserialize)]
#[serde(untagged, expecting = "it is neither a zone's number nor its name")]
enum ZoneRef {
    Number(usize),
    Name(String),
}

const WATER_ARGS: &str = r#"{
    "type": "object",
    "properties": {
        "zone": { "type": ["integer", "string"], "description": "its number, counted from 1, or its name" },
        "minutes": { "type": "number", "minimum": 0.1, "maximum": 240 }
    },
    "required": ["zone", "minutes"],
    "additionalProperties": false
}"#;

impl Tasks for Sprinkler {
    fn list() -> Vec<TaskDescription> {
        vec![TaskDescription::new("water", "Water one zone for some minutes").args_schema(WATER_ARGS)]
    }

    fn run_task(&self, ctx: &Context, task: &Task) -> Result<Reply> {
        match task.name() {
            "water" => {
                let Water { zone, minutes } = task.args()?;
                let zone = self.zone(&zone)?;
                if !(0.1..=240.0).contains(&minutes) {
                    return Err(Error::new("args `minutes`: they are not 0.1 to 240"));
                }
                let time = milliseconds((minutes * 60_000.0).round() as i64);
                Ok(Reply::from(self.water(ctx, zone, Span::default(), time)).note(format!("{} for {time}", zone.name)))
            }
            _ => Err(task.unknown()),
        }
    }
}

impl Sprinkler {
    /// Returns the messages for a zone: on after a wait, then off.
    fn water(&self, ctx: &Context, zone: &Zone, wait: Span, time: Span) -> Messages {
        let valve = zone.topic.clone().unwrap_or_else(|| ctx.topic(&format!("{}/set", zone.name)));
        let (on, off) = (self.on_payload.as_str(), self.off_payload.as_str());
        Messages::new().then(wait, &valve, on).then(time, &valve, off)
    }

    fn zone(&self, which: &ZoneRef) -> Result<&Zone> {
        let found = match which {
            ZoneRef::Number(number) => number.checked_sub(1).and_then(|place| self.zones.get(place)),
            ZoneRef::Name(name) => self.zones.iter().find(|zone| zone.name == *name),
        };
        found.ok_or_else(|| {
            let names: Vec<&str> = self.zones.iter().map(|zone| zone.name.as_str()).collect();
            Error::new(format!("args `zone`: there is no such zone, they are (from 1 on) {}", names.join(", ")))
        })
    }

    /// Returns how long all zones take together.
    fn round(&self) -> Span {
        self.zones.iter().fold(Span::default(), |total, zone| total + zone.water + self.pause)
    }

    /// Returns a cron expression, which recurs by itself: the job is the same whenever it is planned.
    fn cron(&self, start: Time) -> Result<String> {
        let day = match self.days {
            Days::All => "*",
            Days::Odd => "1-31/2",
            Days::Even => "2-30/2",
        };
        Ok(format!("{} {} {} {day} {} *", start.second(), start.minute(), start.hour(), self.months()?))
    }

    /// Returns the months with watering: `4,5,6,7,8,9`.
    fn months(&self) -> Result<String> {
        if let Some(month) = self.months_off.iter().find(|month| !(1..=12).contains(*month)) {
            return Err(Error::new(format!("config `months_off`: there is no month {month}, they are 1 to 12")));
        }
        if self.months_off.is_empty() {
            return Ok("*".into());
        }
        let months: Vec<String> =
            (1..=12).filter(|month| !self.months_off.contains(month)).map(|month| month.to_string()).collect();
        if months.is_empty() {
            return Err(Error::new("config `months_off`: it leaves no month"));
        }
        Ok(months.join(","))
    }
}

/// Checks that a round ends before the next one begins, which would be skipped otherwise.
fn fits(round: Span, period: Span) -> Result<()> {
    if round < period {
        return Ok(());
    }
    Err(Error::new(format!("one round of all zones takes {round}, and the next one begins after {period}")))
}

roost_plugin_sdk::export!(Sprinkler, tasks);

#[cfg(test)]
mod tests {
    use roost_plugin_sdk::testing::{Plan, TestHost};
    use serde_json::{Value, json};

    use super::*;

    fn plan(config: Value, now: &str) -> Result<Plan> {
        let host = TestHost::new("sprinkler", "garden").time_zone("Europe/London");
        host.config(config).at(now).schedule_jobs::<Sprinkler>()
    }

    fn garden() -> Value {
        json!({
            "start": "05:30",
            "zones": [{ "name": "lawn", "water": "12m" }, { "name": "beds", "water": "8m" }],
        })
    }

    fn garden_with(key: &str, value: Value) -> Value {
        let mut config = garden();
        config[key] = value;
        config
    }

    #[test]
    fn zones_take_turns() -> Result<()> {
        let plan = plan(garden_with("pause", json!("5s")), "2027-06-01T12:00:00+01:00")?;
        assert_eq!(
            plan.job("water").messages(),
            [
                "0s sprinkler/garden/lawn/set ON",
                "12m sprinkler/garden/lawn/set OFF",
                "12m5s sprinkler/garden/beds/set ON",
                "20m5s sprinkler/garden/beds/set OFF",
            ]
        );
        Ok(())
    }

    #[test]
    fn controllers_that_share_a_pump_take_turns() -> Result<()> {
        let plan = plan(garden_with("pump", json!("well")), "2027-06-01T12:00:00+01:00")?;
        assert_eq!(plan.job("water").needs(), Some("well"));
        assert_eq!(self::plan(garden(), "2027-06-01T12:00:00+01:00")?.job("water").needs(), None);
        Ok(())
    }

    #[test]
    fn the_grace_can_be_configured() -> Result<()> {
        let now = "2027-06-01T12:00:00+01:00";
        assert_eq!(plan(garden(), now)?.job("water").grace(), hours(1));
        assert_eq!(plan(garden_with("grace", json!("3h")), now)?.job("water").grace(), hours(3));
        Ok(())
    }

    #[test]
    fn odd_days_are_counted_by_the_month() -> Result<()> {
        let plan = plan(garden_with("days", json!("odd")), "2027-05-30T12:00:00+01:00")?;
        assert_eq!(
            plan.job("water").due(3),
            ["2027-05-31T05:30:00+01:00", "2027-06-01T05:30:00+01:00", "2027-06-03T05:30:00+01:00"]
        );
        let plan = self::plan(garden_with("days", json!("even")), "2027-02-27T12:00:00Z")?;
        assert_eq!(plan.job("water").due(2), ["2027-02-28T05:30:00Z", "2027-03-02T05:30:00Z"]);
        Ok(())
    }

    #[test]
    fn winters_are_off() -> Result<()> {
        let plan = plan(garden_with("months_off", json!([11, 12, 1, 2, 3])), "2027-10-31T12:00:00Z")?;
        assert_eq!(plan.job("water").due(1), ["2028-04-01T05:30:00+01:00"]);
        Ok(())
    }

    #[test]
    fn seedlings_are_misted_periodically() -> Result<()> {
        let config = json!({ "every": "1m", "zones": [{ "name": "mist", "water": "10s" }] });
        let plan = plan(config, "2027-06-01T12:00:00Z")?;
        assert_eq!(plan.job("mist").due(2), ["2027-06-01T13:01:00+01:00", "2027-06-01T13:02:00+01:00"]);
        assert_eq!(plan.job("mist").messages().len(), 2);
        Ok(())
    }

    #[test]
    fn the_task_waters_one_zone() -> Result<()> {
        let host = TestHost::new("sprinkler", "garden").config(garden());
        for zone in [json!(2), json!("beds")] {
            let answer = host.run_task::<Sprinkler>("water", json!({ "zone": zone, "minutes": 1.5 }))?;
            assert_eq!(answer.messages(), ["0s sprinkler/garden/beds/set ON", "1m30s sprinkler/garden/beds/set OFF"]);
            assert_eq!(answer.note(), "beds for 1m30s");
        }
        let error = |args| host.run_task::<Sprinkler>("water", args).unwrap_err().to_string();
        for zone in [json!(0), json!(3), json!("pond")] {
            assert_eq!(
                error(json!({ "zone": zone, "minutes": 1 })),
                "args `zone`: there is no such zone, they are (from 1 on) lawn, beds"
            );
        }
        assert_eq!(
            error(json!({ "zone": [], "minutes": 1 })),
            "args `zone`: it is neither a zone's number nor its name"
        );
        assert_eq!(error(json!({ "zone": 1, "minutes": 300 })), "args `minutes`: they are not 0.1 to 240");
        assert_eq!(error(json!({ "zone": 1 })), "args: missing field `minutes`");
        Ok(())
    }

    #[test]
    fn impossible_settings_are_refused() {
        let error = |config| plan(config, "2027-06-01T12:00:00Z").unwrap_err().to_string();
        assert_eq!(error(garden_with("every", json!("1h"))), "one of `start` and `every` must be set, and not both");
        assert_eq!(
            error(json!({ "every": "1m", "zones": [{ "name": "mist", "water": "2m" }] })),
            "one round of all zones takes 2m, and the next one begins after 1m"
        );
        assert_eq!(
            error(garden_with("months_off", json!([13]))),
            "config `months_off`: there is no month 13, they are 1 to 12"
        );
        assert_eq!(
            error(json!({ "start": "05:30", "zones": [] })),
            "job `water`: it has nothing to do: give it a message with `.publish(topic, payload)`"
        );
    }
}
