//! A sprinkler: it waters its zones one after the other.
//!
//! A whole round is one run, so that two zones never share the water pressure unless they are to, and an opened valve is
//! always closed. Its task `water` waters one zone on request.

mod round;
mod settings;
#[cfg(test)]
mod tests;
mod when;

use roost_plugin_sdk::{
    Context, Device, Error, Job, Reply, Result, Span, Task, TaskDescription, Tasks, hours, milliseconds,
};
use serde::Deserialize;

use self::{
    round::Round,
    settings::{Sprinkler, Starts, Zone},
    when::Closest,
};

impl Device for Sprinkler {
    fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<Job>> {
        if self.zones.is_empty() {
            return Err(Error::new("config `zones`: there is none; each has a `name` and `water`"));
        }
        match (&self.start, self.every) {
            (Some(Starts(starts)), None) if starts.is_empty() => Err(Error::new("config `start`: there is none")),
            (Some(starts), None) => self.rounds(ctx, starts),
            (None, Some(every)) => Ok(vec![self.mist(ctx, every)?]),
            _ => Err(Error::new("one of `start` and `every` must be set, and not both")),
        }
    }
}

impl Sprinkler {
    /// Returns a job for each start and each percentage, which is due in the months that have it.
    fn rounds(&self, ctx: &Context, Starts(starts): &Starts) -> Result<Vec<Job>> {
        when::check_months(&self.months_off)?;
        let percents = self.percents();
        let mut jobs = Vec::new();
        for (percent, months_off) in &percents {
            let round = self.round(ctx, *percent)?;
            fits(&round, hours(24))?;
            if let Some(closest) = when::closest(ctx, starts, round.length, &self.days, months_off)? {
                apart(&round, &closest)?;
            }
            for (number, start) in (1..).zip(starts) {
                let mut id = if number == 1 { "water".into() } else { format!("water-{number}") };
                let mut label = String::from("Water all zones");
                if percents.len() > 1 {
                    id += &format!("-{percent}-percent");
                    label += &format!(", {percent} %");
                }
                let job = Job::when(id, when::trigger(start, &self.days, months_off)).label(label);
                // Watering an hour late is harmless; in the heat of the day it is not.
                jobs.push(
                    self.with_pump(job.grace(self.grace.unwrap_or_else(|| hours(1)))).messages(round.messages.clone()),
                );
            }
        }
        Ok(jobs)
    }

    /// Returns the percentages that are not 0, each with the months that do not have it.
    fn percents(&self) -> Vec<(u16, Vec<u8>)> {
        let percents = &self.percent.0;
        let mut different: Vec<(u16, Vec<u8>)> = Vec::new();
        for percent in percents {
            if *percent == 0 || different.iter().any(|(other, _)| other == percent) {
                continue;
            }
            let is_off = |month: &u8| {
                let other = percents.len() == 12 && percents[usize::from(*month - 1)] != *percent;
                other || self.months_off.contains(month)
            };
            different.push((*percent, (1..=12).filter(is_off).collect()));
        }
        different.retain(|(_, months_off)| months_off.len() < 12);
        different
    }

    fn mist(&self, ctx: &Context, every: Span) -> Result<Job> {
        let [percent] = self.percent.0[..] else {
            return Err(Error::new(
                "config `percent`: a list of months belongs to `start`, set one number for `every`",
            ));
        };
        let round = self.round(ctx, percent)?;
        fits(&round, every)?;
        let job = self.with_pump(Job::every("mist", every).label("Mist all zones")).messages(round.messages);
        Ok(match self.grace {
            Some(grace) => job.grace(grace),
            None => job,
        })
    }

    fn with_pump(&self, job: Job) -> Job {
        match &self.pump {
            Some(pump) => job.needs(pump),
            None => job,
        }
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
                Ok(Reply::from(self.water(ctx, zone, time)?).note(format!("{} for {time}", zone.name)))
            }
            _ => Err(task.unknown()),
        }
    }
}

/// Checks that a round ends before the next one begins, which would be skipped otherwise.
fn fits(round: &Round, period: Span) -> Result<()> {
    if round.length + round.pause < period {
        return Ok(());
    }
    Err(Error::new(format!("one round of all zones takes {round}, and the next one begins after {period}")))
}

/// Checks that a round ends before one of another start begins, which would be at the same time otherwise.
fn apart(round: &Round, Closest { period, date, first, second }: &Closest) -> Result<()> {
    if round.length + round.pause < *period {
        return Ok(());
    }
    Err(Error::new(format!(
        "config `start`: one round of all zones takes {round}, and on {date} that of `{second}` begins {period} after that \
         of `{first}`; set other starts, or name months without rounds in `months_off`"
    )))
}

roost_plugin_sdk::export!(Sprinkler, tasks);
