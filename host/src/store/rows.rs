//! Rows of a store, read as the values that were written to them.

use std::fmt;

use roost_scheduler::{
    body::PackedJob,
    event::{
        AdHoc, Digest, Idempotency, JobKey, Override, PauseScope, Progress, RunKey, SavedDevice, SavedJob, SavedPlugin,
        SavedRun, Tombstone, Version,
    },
    model::{Action, Policy},
    names::{DeviceName, JobId, PluginName, RunId},
    outcome::{Outcome, RunState},
    pause::{Level, Pause},
    scheduler::NextStep,
    time::{Instant, Location, Site},
    topic::Grant,
    trigger::{self, CronCache},
};

use super::{
    error::Damage,
    last_outcomes::LastOutcome,
    outcomes::outcome_from_json,
    progress::{cancelled_from_json, failed_from_json, late_from_json},
    queries::{Count, EndedRun, RunView},
    tables::{Type, Value},
};
use crate::{
    job_json::{action_from_json, body_from_json, policy_from_json},
    zones,
};

/// The columns of a row, by their numbers.
pub(super) trait Columns {
    fn integer(&self, column: usize) -> Result<Option<i64>, String>;
    fn real(&self, column: usize) -> Result<Option<f64>, String>;
    fn text(&self, column: usize) -> Result<Option<&str>, String>;
}

/// A row, with its table and number for errors.
pub(super) struct Row<'a> {
    table: &'static str,
    number: i64,
    columns: &'a dyn Columns,
}

impl<'a> Row<'a> {
    /// `count` is the row's number in the answer, which stands for it where its first column is no key.
    pub(super) fn new(table: &'static str, count: i64, columns: &'a dyn Columns) -> Self {
        Self { table, number: columns.integer(0).ok().flatten().unwrap_or(count), columns }
    }

    pub(super) fn damage(&self, what: impl fmt::Display) -> Damage {
        Damage::Row { table: self.table, row: self.number, what: what.to_string() }
    }

    fn optional_integer<T: TryFrom<i64>>(&self, column: usize) -> Result<Option<T>, Damage> {
        let found = self.columns.integer(column).map_err(|error| self.damage(error))?;
        let fit = |value| T::try_from(value).map_err(|_| self.damage(format!("{value} is out of range")));
        found.map(fit).transpose()
    }

    pub(super) fn integer<T: TryFrom<i64>>(&self, column: usize) -> Result<T, Damage> {
        self.optional_integer(column)?.ok_or_else(|| self.damage("a number is missing"))
    }

    /// Returns the value of a column as it is.
    pub(super) fn value(&self, column: usize, of: Type) -> Result<Value, Damage> {
        Ok(match of {
            Type::Integer => Value::Integer(self.optional_integer(column)?),
            Type::Real => Value::Real(self.real(column)?),
            Type::Text => Value::Text(self.owned_text(column)?),
        })
    }

    fn flag(&self, column: usize) -> Result<bool, Damage> {
        self.integer::<i64>(column).map(|flag| flag != 0)
    }

    fn real(&self, column: usize) -> Result<Option<f64>, Damage> {
        self.columns.real(column).map_err(|error| self.damage(error))
    }

    pub(super) fn optional_text(&self, column: usize) -> Result<Option<&'a str>, Damage> {
        self.columns.text(column).map_err(|error| self.damage(error))
    }

    fn text(&self, column: usize) -> Result<&'a str, Damage> {
        self.optional_text(column)?.ok_or_else(|| self.damage("a text is missing"))
    }

    fn owned_text(&self, column: usize) -> Result<Option<String>, Damage> {
        Ok(self.optional_text(column)?.map(str::to_owned))
    }

    /// Returns the parsed text of a column.
    pub(super) fn parsed<T, E: fmt::Display>(
        &self,
        column: usize,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Damage> {
        parse(self.text(column)?).map_err(|error| self.damage(error))
    }

    fn optional_parsed<T>(
        &self,
        column: usize,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Damage> {
        self.optional_text(column)?.map(parse).transpose().map_err(|error| self.damage(error))
    }

    fn optional_instant(&self, column: usize) -> Result<Option<Instant>, Damage> {
        let Some(millis) = self.optional_integer(column)? else { return Ok(None) };
        Instant::from_millis(millis).map(Some).ok_or_else(|| self.damage(format!("{millis} is not an instant")))
    }

    fn instant(&self, column: usize) -> Result<Instant, Damage> {
        self.optional_instant(column)?.ok_or_else(|| self.damage("an instant is missing"))
    }

    fn policy(&self, column: usize) -> Result<Policy, Damage> {
        policy_from_json(self.optional_text(column)?).map_err(|error| self.damage(error))
    }

    pub(super) fn digest(&self, column: usize) -> Result<Digest, Damage> {
        let bytes = hex::decode(self.text(column)?).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Digest).ok_or_else(|| self.damage("a SHA-256 is not one"))
    }

    /// Reads the id of a run from five columns.
    fn run_id(&self, first: usize) -> Result<RunId, Damage> {
        Ok(RunId {
            plugin: self.parsed(first, PluginName::parse_owner)?,
            device: self.parsed(first + 1, DeviceName::parse)?,
            job: self.parsed(first + 2, JobId::parse)?,
            occurrence: self.instant(first + 3)?,
            origin: self.parsed(first + 4, str::parse)?,
        })
    }

    /// Reads a site from three columns.
    fn site(&self, first: usize) -> Result<Site, Damage> {
        let zone = self.parsed(first, zones::find_stored)?;
        let location = match (self.real(first + 1)?, self.real(first + 2)?) {
            (Some(latitude), Some(longitude)) => {
                Some(Location::new(latitude, longitude).ok_or_else(|| self.damage("its location is not on Earth"))?)
            }
            _ => None,
        };
        Ok(Site { zone, location })
    }
}

/// The columns of each table that is read when the host starts, in the order in which they are read here.
pub(super) const PLUGINS: &str = "id, name, component, settings";
pub(super) const DEVICES: &str = "id, plugin, name, time_zone, latitude, longitude, replan_at, error";
pub(super) const JOBS: &str = "id, device, job, label, trigger, steps, policy, watermark, due, decided";
pub(super) const RUNS: &str =
    "number, plugin, device, job, occurrence, origin, steps, policy, start, steps_done, armed,
    started, failed, cancelled, late, note, attempts, put_off_until, no_subscriber, label";
pub(super) const TOMBSTONES: &str = "plugin, device, job, watermark";
pub(super) const OVERRIDES: &str = "job, skip, made, key, request";
pub(super) const PAUSES: &str = "item, level, since, until, reason";

pub(super) fn plugin(row: &Row<'_>) -> Result<SavedPlugin, Damage> {
    let name = row.parsed(1, PluginName::parse_owner)?;
    let version = Version { component: row.digest(2)?, settings: row.digest(3)? };
    let grant = Grant::default_for(&name);
    Ok(SavedPlugin { key: row.integer(0)?, name, version, grant, devices: Vec::new() })
}

/// Reads a device into its plugin. The plugins are in the order of their keys.
pub(super) fn device(row: &Row<'_>, plugins: &mut [SavedPlugin]) -> Result<(), Damage> {
    let owner = row.integer(1)?;
    let plugin = plugins.binary_search_by_key(&owner, |plugin| plugin.key);
    let plugin = plugin.map_err(|_| row.damage("its plugin is missing"))?;
    let device = SavedDevice {
        key: row.integer(0)?,
        plugin: owner,
        name: row.parsed(2, DeviceName::parse)?,
        site: row.site(3)?,
        replan_at: row.instant(6)?,
        error: row.owned_text(7)?,
    };
    plugins[plugin].devices.push(device);
    Ok(())
}

/// Reads a job. `patterns` keeps cron patterns, of which many jobs have the same.
pub(super) fn job(row: &Row<'_>, patterns: &mut CronCache) -> Result<SavedJob, Damage> {
    let (id, policy) = (row.parsed(2, JobId::parse)?, row.policy(6)?);
    let trigger = row.parsed(4, |text| trigger::parse_stored(text, patterns))?;
    let label = row.optional_text(3)?;
    let body = row.parsed(5, |action| body_from_json(&id, label, &policy, action))?;
    Ok(SavedJob {
        key: row.integer(0)?,
        device: row.integer(1)?,
        job: PackedJob { trigger, body },
        watermark: row.instant(7)?,
        due: row.optional_instant(8)?,
        decided: row.instant(9)?,
    })
}

/// Reads a run that is under way.
pub(super) fn run(row: &Row<'_>) -> Result<(RunKey, SavedRun), Damage> {
    let id = row.run_id(1)?;
    let policy = row.policy(7)?;
    let label = row.optional_text(19)?;
    let body = row.parsed(6, |action| body_from_json(&id.job, label, &policy, action))?;
    let armed = row.flag(10)?;
    let progress = Progress {
        steps_done: row.integer(9)?,
        // An older version did not count them: an armed step has been tried.
        attempts: row.optional_integer(16)?.unwrap_or_else(|| u32::from(armed)),
        armed,
        started: row.optional_instant(11)?,
        failed: row.optional_parsed(12, failed_from_json)?,
        cancelled: row.optional_parsed(13, cancelled_from_json)?,
        late: row.optional_parsed(14, late_from_json)?,
        note: row.optional_text(15)?.map(Into::into),
        put_off_until: row.optional_instant(17)?,
        no_subscriber: row.optional_integer(18)?,
    };
    if !body.asks_plugin() && progress.steps_done >= body.step_count() {
        return Err(row.damage("it has no step left"));
    }
    Ok((row.integer(0)?, SavedRun { id, body, start: row.instant(8)?, progress }))
}

pub(super) fn tombstone(row: &Row<'_>) -> Result<Tombstone, Damage> {
    Ok(Tombstone {
        name: (
            row.parsed(0, PluginName::parse_owner)?,
            row.parsed(1, DeviceName::parse)?,
            row.parsed(2, JobId::parse)?,
        ),
        watermark: row.instant(3)?,
    })
}

pub(super) fn job_override(row: &Row<'_>) -> Result<(JobKey, Override), Damage> {
    let idempotency = match row.optional_text(3)? {
        Some(_) => Some(Idempotency { key: row.digest(3)?, request: row.digest(4)? }),
        None => None,
    };
    let ad_hoc = row.optional_instant(2)?.map(|made| AdHoc { made, idempotency });
    Ok((row.integer(0)?, Override { skip: row.optional_instant(1)?, ad_hoc }))
}

pub(super) fn pause(row: &Row<'_>) -> Result<(PauseScope, Pause), Damage> {
    let key = row.integer(0)?;
    let scope = match Level::parse(row.text(1)?) {
        Some(Level::All) => PauseScope::All,
        Some(Level::Plugin) => PauseScope::Plugin(key),
        Some(Level::Device) => PauseScope::Device(key),
        Some(Level::Job) => PauseScope::Job(key),
        None => return Err(row.damage("its level is unknown")),
    };
    let pause = Pause::new(row.optional_instant(2)?, row.optional_instant(3)?, row.optional_text(4)?);
    Ok((scope, pause.map_err(|fault| row.damage(fault))?))
}

/// Reads a run as it is listed.
pub(super) fn view(row: &Row<'_>) -> Result<RunView, Damage> {
    let mut run = RunView {
        id: row.run_id(0)?,
        state: row.parsed(5, parse_state)?,
        reason: row.owned_text(6)?,
        started: row.optional_instant(7)?,
        ended: row.optional_instant(8)?,
        attempts: row.optional_integer(9)?,
        zone: row.optional_text(10)?.and_then(|zone| zones::find(zone).ok()),
        next: None,
        note: row.owned_text(17)?,
        why: row.owned_text(18)?,
        label: row.owned_text(19)?,
        messages: row.owned_text(20)?,
    };
    if row.flag(11)? {
        let (action, done): (_, usize) = (row.parsed(12, action_from_json)?, row.integer(13)?);
        let (of, after_ms) = match &action {
            Action::Steps(steps) => {
                let step = steps.get(done).ok_or_else(|| row.damage("it has no step left"))?;
                (steps.len(), step.after_ms)
            }
            // Its plugin has not been called yet.
            Action::Task(_) => (1, 0),
        };
        let start = row.instant(14)?;
        let due = match run.started {
            Some(started) if done > 0 => started.plus_ms(after_ms.into()),
            _ => start,
        };
        run.next = Some(NextStep { step: done + 1, of, due });
        let failed = row.optional_parsed(15, failed_from_json)?.map(|failed| failed.to_string());
        let cancelled = row.optional_parsed(16, cancelled_from_json)?;
        run.reason = cancelled.map(|cancelled| Outcome::Cancelled(cancelled).to_string()).or(failed);
    }
    Ok(run)
}

pub(super) fn parse_state(word: &str) -> Result<RunState, String> {
    RunState::parse(word).ok_or_else(|| format!("`{word}` is not the state of a run"))
}

pub(super) const LAST_OUTCOMES: &str = "plugin, device, job, occurrence, origin, state, ended, why, reason";

/// Reads how a run ended.
pub(super) fn last_outcome(row: &Row<'_>) -> Result<LastOutcome, Damage> {
    let outcome = row.optional_text(7)?.and_then(|why| outcome_from_json(why).ok());
    let (run, state, ended) = (row.run_id(0)?, row.parsed(5, parse_state)?, row.instant(6)?);
    // An older version kept only a text.
    Ok(LastOutcome::new(run, state, ended, outcome.as_ref(), row.optional_text(8)?))
}

/// Reads a run that has ended, as it is counted.
pub(super) fn ended_run<'a>(row: &Row<'a>) -> Result<EndedRun<'a>, Damage> {
    Ok(EndedRun {
        plugin: row.text(0)?,
        device: row.text(1)?,
        job: row.text(2)?,
        state: row.text(3)?,
        occurrence: Instant::from_millis_clamped(row.integer(4)?),
        of_trigger: row.flag(5)?,
        label: row.optional_text(6)?,
    })
}

pub(super) fn count<'a>(row: &Row<'a>) -> Result<Count<'a>, Damage> {
    Ok(Count {
        bucket: row.integer(0)?,
        plugin: row.text(1)?,
        group: row.text(2)?,
        state: row.text(3)?,
        count: row.integer(4)?,
    })
}
