//! Turns a batch of changes into few statements: one for all changes of a kind, except where several change one row.
//!
//! A change of a row that an earlier change of the batch has touched belongs to a later wave. Within a wave each row
//! changes once, so that the order of the statements is without meaning; the waves are executed one after the other.

use std::collections::{BTreeMap, HashMap};

use roost_scheduler::{
    body::{Body, PackedJob},
    event::{
        Change, JobKey, Override, PauseScope, Progress, RunEnded, RunKey, SavedDevice, SavedJob, SavedRun, Tombstone,
    },
    names::RunId,
    outcome::Outcome,
    pause::{Level, Pause},
    time::{Instant, Location},
};
use serde_json::Result;

use super::kinds::Kind;
use crate::{
    job_json::{action_to_json, messages_to_json, policy_to_json},
    store::{
        outcomes::outcome_to_json,
        progress::{ProgressText, progress_to_json},
        tables::Value,
    },
};

/// The rows of a statement.
pub(super) type Rows = Vec<Vec<Value>>;

/// A batch: the rows of each statement, in the order of their execution.
#[derive(Debug, Default)]
pub(super) struct Batch {
    statements: BTreeMap<(usize, Kind), Rows>,
    /// The next wave of each row that was touched.
    waves: HashMap<Identity, usize>,
    /// The first wave of tombstones that are not forgotten with those before.
    tombstones_from: usize,
    last_tombstones: usize,
}

/// What identifies a row. A run has two: it is found by its number while it is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Identity {
    Cell,
    Plugin(u32),
    Device(u32),
    Job(JobKey),
    Override(JobKey),
    Pause(&'static str, u32),
    Tombstone(String),
    RunNumber(RunKey),
    Run(RunId),
}

impl Batch {
    /// Makes the batch of some changes.
    pub(super) fn new(changes: &[Change]) -> Result<Self> {
        let mut batch = Self::default();
        changes.iter().try_for_each(|change| batch.add(change))?;
        Ok(batch)
    }

    pub(super) fn into_statements(self) -> impl Iterator<Item = (Kind, Rows)> {
        self.statements.into_iter().map(|((_, kind), rows)| (kind, rows))
    }

    fn add(&mut self, change: &Change) -> Result<()> {
        match change {
            Change::PluginSaved { key, name, version } => {
                let row = vec![
                    key.into(),
                    name.as_str().into(),
                    version.component.to_string().into(),
                    version.settings.to_string().into(),
                ];
                self.put(Kind::SavePlugin, [Identity::Plugin(*key)], row);
            }
            Change::PluginRemoved { key } => self.put(Kind::RemovePlugin, [Identity::Plugin(*key)], vec![key.into()]),
            Change::DeviceSaved(device) => self.save_device(device),
            Change::DeviceRemoved { key } => self.put(Kind::RemoveDevice, [Identity::Device(*key)], vec![key.into()]),
            Change::JobSaved(job) => self.save_job(job)?,
            Change::JobAdvanced { key, watermark, due, decided } => {
                let row = vec![key.into(), watermark.into(), due.as_ref().into(), decided.into()];
                self.put(Kind::AdvanceJob, [Identity::Job(*key)], row);
            }
            Change::JobRemoved { key, tombstone } => {
                self.put(Kind::RemoveJob, [Identity::Job(*key)], vec![key.into()]);
                self.put(Kind::RemoveOverride, [Identity::Override(*key)], vec![key.into()]);
                if let Some(tombstone) = tombstone {
                    self.save_tombstone(tombstone);
                }
            }
            Change::OverrideSaved { key, job_override } => self.save_override(*key, job_override),
            Change::PauseSaved { scope, pause } => self.save_pause(*scope, pause.as_deref()),
            Change::TombstonesForgotten { before } => {
                // Those before it are forgotten, and none behind it.
                self.tombstones_from = self.last_tombstones.max(self.tombstones_from) + 2;
                let wave = self.tombstones_from - 1;
                self.statements.entry((wave, Kind::ForgetTombstones)).or_default().push(vec![before.into()]);
            }
            Change::RunSaved { key, run } => self.save_run(*key, run)?,
            Change::RunAdvanced { key, progress } => {
                let row = [vec![key.into()], of_progress(progress)?].concat();
                self.put(Kind::AdvanceRun, [Identity::RunNumber(*key)], row);
            }
            // It is part of the run's progress.
            Change::ResourceFreed { .. } => {}
            Change::ZonesKnown(rules) => self.put(Kind::SetZones, [Identity::Cell], vec![rules.as_ref().into()]),
            Change::SeriesBegun(series) => self.put(Kind::SetSeries, [Identity::Cell], vec![series.into()]),
            Change::RunEnded(ended) => self.end_run(ended)?,
        }
        Ok(())
    }

    /// Adds a row to the first wave in which none of its identities has been touched.
    fn put<const N: usize>(&mut self, kind: Kind, identities: [Identity; N], row: Vec<Value>) {
        self.put_from(0, kind, identities, row);
    }

    fn put_from<const N: usize>(
        &mut self,
        from: usize,
        kind: Kind,
        identities: [Identity; N],
        row: Vec<Value>,
    ) -> usize {
        let wave = identities.iter().filter_map(|identity| self.waves.get(identity)).copied().max();
        let wave = wave.unwrap_or(0).max(from);
        for identity in identities {
            self.waves.insert(identity, wave + 1);
        }
        self.statements.entry((wave, kind)).or_default().push(row);
        wave
    }

    fn save_device(&mut self, SavedDevice { key, plugin, name, site, replan_at, error }: &SavedDevice) {
        let row = vec![
            key.into(),
            plugin.into(),
            name.as_str().into(),
            site.zone.name().into(),
            Value::Real(site.location.map(Location::latitude)),
            Value::Real(site.location.map(Location::longitude)),
            replan_at.into(),
            Value::Text(error.clone()),
        ];
        self.put(Kind::SaveDevice, [Identity::Device(*key)], row);
    }

    fn save_job(&mut self, saved: &SavedJob) -> Result<()> {
        let SavedJob { key, device, job: PackedJob { trigger, body }, watermark, due, decided } = saved;
        let row = vec![
            key.into(),
            device.into(),
            body.id().into(),
            body.label().into(),
            trigger.to_string().into(),
            action_to_json(body)?.into(),
            Value::Text(policy_to_json(&body.policy())?),
            watermark.into(),
            due.as_ref().into(),
            decided.into(),
        ];
        self.put(Kind::SaveJob, [Identity::Job(*key)], row);
        Ok(())
    }

    fn save_override(&mut self, key: JobKey, saved: &Override) {
        if *saved == Override::default() {
            return self.put(Kind::RemoveOverride, [Identity::Override(key)], vec![(&key).into()]);
        }
        let Override { skip, ad_hoc } = saved;
        let idempotency = ad_hoc.as_ref().and_then(|ad_hoc| ad_hoc.idempotency);
        let row = vec![
            (&key).into(),
            skip.as_ref().into(),
            ad_hoc.as_ref().map(|ad_hoc| &ad_hoc.made).into(),
            Value::Text(idempotency.map(|idempotency| idempotency.key.to_string())),
            Value::Text(idempotency.map(|idempotency| idempotency.request.to_string())),
        ];
        self.put(Kind::SaveOverride, [Identity::Override(key)], row);
    }

    fn save_pause(&mut self, scope: PauseScope, pause: Option<&Pause>) {
        let (level, item) = match scope {
            PauseScope::All => (Level::All, 0),
            PauseScope::Plugin(key) => (Level::Plugin, key),
            PauseScope::Device(key) => (Level::Device, key),
            PauseScope::Job(key) => (Level::Job, key),
        };
        let (level, identity) = (level.as_str(), Identity::Pause(level.as_str(), item));
        let Some(pause) = pause else {
            return self.put(Kind::RemovePause, [identity], vec![level.into(), (&item).into()]);
        };
        let (from, until) = (pause.from(), pause.until());
        let row =
            vec![level.into(), (&item).into(), from.as_ref().into(), until.as_ref().into(), pause.reason().into()];
        self.put(Kind::SavePause, [identity], row);
    }

    fn save_tombstone(&mut self, Tombstone { name: (plugin, device, job), watermark }: &Tombstone) {
        let row = vec![plugin.as_str().into(), device.as_str().into(), job.as_str().into(), watermark.into()];
        let identity = Identity::Tombstone(format!("{plugin}/{device}/{job}"));
        let wave = self.put_from(self.tombstones_from, Kind::SaveTombstone, [identity], row);
        self.last_tombstones = self.last_tombstones.max(wave);
    }

    fn save_run(&mut self, key: RunKey, saved: &SavedRun) -> Result<()> {
        let SavedRun { id, body, start, progress } = saved;
        let row = [
            of_id(id),
            vec![
                (&key).into(),
                action_to_json(body)?.into(),
                Value::Text(policy_to_json(&body.policy())?),
                start.into(),
                body.label().into(),
            ],
            of_progress(progress)?,
        ];
        self.put(Kind::SaveRun, [Identity::RunNumber(key), Identity::Run(id.clone())], row.concat());
        Ok(())
    }

    /// Adds the end of a run, whether the run was saved or not, and whether its end was written before or not: after a
    /// crash, a run whose end was not known to be durable may end again.
    fn end_run(&mut self, ended: &RunEnded) -> Result<()> {
        let reason = ended.outcome.to_string();
        // For a replay.
        let (steps, policy) = match &ended.body {
            Some(body) if matches!(ended.outcome, Outcome::Failed(_)) => {
                (Some(action_to_json(body)?), policy_to_json(&body.policy())?)
            }
            _ => (None, None),
        };
        let has_sent = |body: &&Body| ended.started.is_some() && body.step_count() > 0;
        let messages = ended.body.as_ref().filter(has_sent).map(messages_to_json).transpose()?;
        let row = [
            of_id(&ended.id),
            vec![
                ended.outcome.state().as_str().into(),
                Value::Text((!reason.is_empty()).then_some(reason)),
                ended.started.as_ref().into(),
                (&ended.ended).into(),
                (&ended.attempts).into(),
                Value::Text(steps),
                Value::Text(policy),
                Value::Text(ended.note.as_deref().map(str::to_owned)),
                Value::Text(outcome_to_json(&ended.outcome)?),
                ended.body.as_ref().and_then(Body::label).into(),
                Value::Text(messages),
            ],
        ];
        let (kind, id) = (if ended.body.is_some() { Kind::EndRun } else { Kind::EndRunOnly }, ended.id.clone());
        match ended.key {
            Some(key) => self.put(kind, [Identity::RunNumber(key), Identity::Run(id)], row.concat()),
            None => self.put(kind, [Identity::Run(id)], row.concat()),
        }
        Ok(())
    }
}

fn of_id(id: &RunId) -> Vec<Value> {
    vec![
        (&id.occurrence).into(),
        id.plugin.as_str().into(),
        id.device.as_str().into(),
        id.job.as_str().into(),
        id.origin.to_string().into(),
    ]
}

/// Returns the columns of a run's progress, in the order of [`super::kinds::PROGRESS`].
fn of_progress(progress: &Progress) -> Result<Vec<Value>> {
    let ProgressText { failed, cancelled, late } = progress_to_json(progress)?;
    Ok(vec![
        Value::Integer(Some(progress.steps_done as i64)),
        Value::Integer(Some(progress.armed.into())),
        progress.started.as_ref().into(),
        Value::Text(failed),
        Value::Text(cancelled),
        Value::Text(late),
        Value::Text(progress.note.as_deref().map(str::to_owned)),
        (&progress.attempts).into(),
        progress.put_off_until.as_ref().into(),
        Value::Integer(progress.no_subscriber.map(|step| step as i64)),
    ])
}

impl From<&u32> for Value {
    fn from(number: &u32) -> Self {
        Self::Integer(Some((*number).into()))
    }
}

impl From<&u64> for Value {
    fn from(number: &u64) -> Self {
        // Numbers of runs begin at 0 and would take a million years to leave this range.
        Self::Integer(i64::try_from(*number).ok())
    }
}

impl From<&Instant> for Value {
    fn from(at: &Instant) -> Self {
        Self::Integer(Some(at.millis()))
    }
}

impl From<Option<&Instant>> for Value {
    fn from(at: Option<&Instant>) -> Self {
        Self::Integer(at.map(|at| at.millis()))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(str::to_owned))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}
