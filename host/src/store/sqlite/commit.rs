//! Writes a batch of changes in one transaction.

use roost_scheduler::{
    body::{Body, PackedJob},
    event::{
        Change, JobKey, Override, PauseScope, Progress, RunEnded, RunKey, SavedDevice, SavedJob, SavedRun, Tombstone,
    },
    outcome::Outcome,
    pause::{Level, Pause},
    time::{Instant, Location},
};
use rusqlite::{Connection, Params, ToSql, Transaction, TransactionBehavior, params};

use super::{
    outcomes::outcome_to_json,
    progress::{ProgressText, progress_to_json},
    retention::Past,
};
use crate::job_json::{action_to_json, messages_to_json, policy_to_json};

/// Commits all changes, or none.
pub(super) fn commit(connection: &mut Connection, past: &mut Past, changes: &[Change]) -> rusqlite::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for change in changes {
        write(&transaction, past, change)?;
    }
    past.prune(&transaction, changes)?;
    transaction.commit()
}

pub(super) fn write(to: &Transaction<'_>, past: &mut Past, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::PluginSaved { key, name, version } => run(
            to,
            "INSERT INTO plugins (id, name, component, settings) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET name = ?2, component = ?3, settings = ?4",
            params![key, name.as_str(), version.component.to_string(), version.settings.to_string()],
        ),
        Change::PluginRemoved { key } => run(to, "DELETE FROM plugins WHERE id = ?1", params![key]),
        Change::DeviceSaved(SavedDevice { key, plugin, name, site, replan_at, error }) => run(
            to,
            "INSERT INTO devices (id, plugin, name, time_zone, latitude, longitude, replan_at, error)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (id) DO UPDATE SET plugin = ?2, name = ?3, time_zone = ?4, latitude = ?5, longitude = ?6,
                                            replan_at = ?7, error = ?8",
            params![
                key,
                plugin,
                name.as_str(),
                site.zone.name(),
                site.location.map(Location::latitude),
                site.location.map(Location::longitude),
                replan_at.millis(),
                error
            ],
        ),
        Change::DeviceRemoved { key } => run(to, "DELETE FROM devices WHERE id = ?1", params![key]),
        Change::JobSaved(job) => save_job(to, job),
        Change::JobAdvanced { key, watermark, due, decided } => run(
            to,
            "UPDATE jobs SET watermark = ?2, due = ?3, decided = ?4 WHERE id = ?1",
            params![key, watermark.millis(), due.map(Instant::millis), decided.millis()],
        ),
        Change::JobRemoved { key, tombstone } => {
            run(to, "DELETE FROM jobs WHERE id = ?1", params![key])?;
            run(to, "DELETE FROM wishes WHERE job = ?1", params![key])?;
            tombstone.as_ref().map_or(Ok(()), |tombstone| save_tombstone(to, tombstone))
        }
        Change::OverrideSaved { key, job_override } => save_override(to, *key, job_override),
        Change::PauseSaved { scope, pause } => save_pause(to, *scope, pause.as_deref()),
        Change::TombstonesForgotten { before } => {
            run(to, "DELETE FROM tombstones WHERE watermark < ?1", params![before.millis()])
        }
        Change::RunSaved { key, run } => save_run(to, past, *key, run),
        Change::RunAdvanced { key, progress } => advance_run(to, *key, progress),
        // It is part of the run's progress.
        Change::ResourceFreed { .. } => Ok(()),
        Change::ZonesKnown(rules) => run(to, "UPDATE clock SET zones = ?1", params![rules]),
        Change::SeriesBegun(series) => run(to, "UPDATE clock SET series = ?1", params![series]),
        Change::RunEnded(ended) => end_run(to, past, ended),
    }
}

fn run(to: &Transaction<'_>, sql: &str, params: impl Params) -> rusqlite::Result<()> {
    to.prepare_cached(sql)?.execute(params).map(|_| ())
}

/// A row of a run. Both statements have the same parameters, of which the first five are the run's id.
struct RunRow<'a> {
    plugin: &'a str,
    insert: &'a str,
    update: &'a str,
    params: &'a [&'a dyn ToSql],
    has_failed: bool,
}

/// Inserts or updates a row, and counts it. `is_running` says whether the row is expected to exist.
fn put(to: &Transaction<'_>, past: &mut Past, row: &RunRow<'_>, is_running: bool) -> rusqlite::Result<()> {
    let written = |sql| Ok::<_, rusqlite::Error>(to.prepare_cached(sql)?.execute(row.params)? > 0);
    // Most rows are as expected; only after a crash they may not be.
    if is_running && written(row.update)? {
        past.turn(row.plugin, false, row.has_failed);
    } else if written(row.insert)? {
        past.add(row.plugin);
        past.turn(row.plugin, false, row.has_failed);
    } else {
        let state = "SELECT state = 'failed' FROM runs
                     WHERE plugin = ?1 AND device = ?2 AND job = ?3 AND occurrence = ?4 AND origin = ?5";
        let had_failed = to.prepare_cached(state)?.query_row(&row.params[..5], |row| row.get(0))?;
        written(row.update)?;
        past.turn(row.plugin, had_failed, row.has_failed);
    }
    Ok(())
}

pub(super) fn not_json(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}

fn save_job(to: &Transaction<'_>, saved: &SavedJob) -> rusqlite::Result<()> {
    let SavedJob { key, device, job: PackedJob { trigger, body }, watermark, due, decided } = saved;
    // I2: no plan moves a watermark back, unless the clock was set back.
    run(
        to,
        "INSERT INTO jobs (id, device, job, label, trigger, steps, policy, watermark, due, decided)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (id) DO UPDATE SET device = ?2, job = ?3, label = ?4, trigger = ?5, steps = ?6, policy = ?7,
                                        watermark = CASE WHEN ?10 < watermark THEN max(watermark, ?8) ELSE ?8 END,
                                        due = ?9, decided = ?10",
        params![
            key,
            device,
            body.id(),
            body.label(),
            trigger.to_string(),
            action_to_json(body).map_err(not_json)?,
            policy_to_json(&body.policy()).map_err(not_json)?,
            watermark.millis(),
            due.map(Instant::millis),
            decided.millis()
        ],
    )
}

fn save_override(to: &Transaction<'_>, key: JobKey, saved: &Override) -> rusqlite::Result<()> {
    if *saved == Override::default() {
        return run(to, "DELETE FROM wishes WHERE job = ?1", params![key]);
    }
    let Override { skip, ad_hoc } = saved;
    let idempotency = ad_hoc.as_ref().and_then(|ad_hoc| ad_hoc.idempotency);
    run(
        to,
        "INSERT INTO wishes (job, skip, made, key, request) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (job) DO UPDATE SET skip = ?2, made = ?3, key = ?4, request = ?5",
        params![
            key,
            skip.map(Instant::millis),
            ad_hoc.as_ref().map(|ad_hoc| ad_hoc.made.millis()),
            idempotency.map(|idempotency| idempotency.key.to_string()),
            idempotency.map(|idempotency| idempotency.request.to_string())
        ],
    )
}

fn save_pause(to: &Transaction<'_>, scope: PauseScope, pause: Option<&Pause>) -> rusqlite::Result<()> {
    let (level, item) = match scope {
        PauseScope::All => (Level::All, 0),
        PauseScope::Plugin(key) => (Level::Plugin, key),
        PauseScope::Device(key) => (Level::Device, key),
        PauseScope::Job(key) => (Level::Job, key),
    };
    let level = level.as_str();
    let Some(pause) = pause else {
        return run(to, "DELETE FROM pauses WHERE level = ?1 AND item = ?2", params![level, item]);
    };
    run(
        to,
        "INSERT INTO pauses (level, item, since, until, reason) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (level, item) DO UPDATE SET since = ?3, until = ?4, reason = ?5",
        params![level, item, pause.from().map(Instant::millis), pause.until().map(Instant::millis), pause.reason()],
    )
}

fn save_tombstone(to: &Transaction<'_>, tombstone: &Tombstone) -> rusqlite::Result<()> {
    let (plugin, device, job) = &tombstone.name;
    run(
        to,
        "INSERT INTO tombstones (plugin, device, job, watermark) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (plugin, device, job) DO UPDATE SET watermark = max(watermark, ?4)",
        params![plugin.as_str(), device.as_str(), job.as_str(), tombstone.watermark.millis()],
    )
}

fn save_run(to: &Transaction<'_>, past: &mut Past, key: RunKey, saved: &SavedRun) -> rusqlite::Result<()> {
    let ProgressText { failed, cancelled, late } = progress_to_json(&saved.progress).map_err(not_json)?;
    let row = RunRow {
        plugin: saved.id.plugin.as_str(),
        insert: "INSERT INTO runs (plugin, device, job, occurrence, origin, state, started, number, steps, policy, steps_done, armed,
                           failed, cancelled, late, start, note, attempts, put_off_until, no_subscriber, label)
         VALUES (?1, ?2, ?3, ?4, ?5, 'running', ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)
         ON CONFLICT (occurrence, plugin, device, job, origin) DO NOTHING",
        update: "UPDATE runs SET state = 'running', reason = NULL, why = NULL, started = ?6, ended = NULL, attempts = ?17, number = ?7,
                         steps = ?8, policy = ?9, steps_done = ?10, armed = ?11, failed = ?12, cancelled = ?13, late = ?14,
                         start = ?15, note = ?16, put_off_until = ?18, no_subscriber = ?19, label = ?20, messages = NULL
         WHERE occurrence = ?4 AND plugin = ?1 AND device = ?2 AND job = ?3 AND origin = ?5",
        params: params![
            saved.id.plugin.as_str(),
            saved.id.device.as_str(),
            saved.id.job.as_str(),
            saved.id.occurrence.millis(),
            saved.id.origin.to_string(),
            saved.progress.started.map(Instant::millis),
            key,
            action_to_json(&saved.body).map_err(not_json)?,
            policy_to_json(&saved.body.policy()).map_err(not_json)?,
            saved.progress.steps_done,
            saved.progress.armed,
            failed,
            cancelled,
            late,
            saved.start.millis(),
            saved.progress.note,
            saved.progress.attempts,
            saved.progress.put_off_until.map(Instant::millis),
            saved.progress.no_subscriber,
            saved.body.label()
        ],
        has_failed: false,
    };
    put(to, past, &row, false)
}

fn advance_run(to: &Transaction<'_>, key: RunKey, progress: &Progress) -> rusqlite::Result<()> {
    let ProgressText { failed, cancelled, late } = progress_to_json(progress).map_err(not_json)?;
    run(
        to,
        "UPDATE runs SET steps_done = ?2, armed = ?3, started = ?4, failed = ?5, cancelled = ?6, late = ?7, note = ?8,
                         attempts = ?9, put_off_until = ?10, no_subscriber = ?11
         WHERE number = ?1",
        params![
            key,
            progress.steps_done,
            progress.armed,
            progress.started.map(Instant::millis),
            failed,
            cancelled,
            late,
            progress.note,
            progress.attempts,
            progress.put_off_until.map(Instant::millis),
            progress.no_subscriber
        ],
    )
}

/// Writes the end of a run, whether the run was saved or not, and whether its end was written before or not: after a
/// crash, a run whose end was not known to be durable may end again.
fn end_run(to: &Transaction<'_>, past: &mut Past, ended: &RunEnded) -> rusqlite::Result<()> {
    let reason = ended.outcome.to_string();
    let has_failed = matches!(ended.outcome, Outcome::Failed(_));
    // For a replay.
    let (steps, policy) = match &ended.body {
        Some(body) if has_failed => {
            (Some(action_to_json(body).map_err(not_json)?), policy_to_json(&body.policy()).map_err(not_json)?)
        }
        _ => (None, None),
    };
    let has_sent = |body: &&Body| ended.started.is_some() && body.step_count() > 0;
    let messages = ended.body.as_ref().filter(has_sent).map(messages_to_json).transpose().map_err(not_json)?;
    let row = RunRow {
        plugin: ended.id.plugin.as_str(),
        insert: "INSERT INTO runs (plugin, device, job, occurrence, origin, state, reason, started, ended, attempts, steps, policy,
                           note, why, label, messages)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, iif(?17, ?15, NULL), ?16)
         ON CONFLICT (occurrence, plugin, device, job, origin) DO NOTHING",
        update: "UPDATE runs SET state = ?6, reason = ?7, started = ?8, ended = ?9, attempts = ?10, steps = ?11, policy = ?12,
                         number = NULL, start = NULL, steps_done = NULL, armed = NULL, failed = NULL, cancelled = NULL,
                         late = NULL, no_subscriber = NULL, note = ?13, why = ?14, label = iif(?17, ?15, label), messages = ?16
         WHERE occurrence = ?4 AND plugin = ?1 AND device = ?2 AND job = ?3 AND origin = ?5",
        params: params![
            ended.id.plugin.as_str(),
            ended.id.device.as_str(),
            ended.id.job.as_str(),
            ended.id.occurrence.millis(),
            ended.id.origin.to_string(),
            ended.outcome.state().as_str(),
            (!reason.is_empty()).then_some(reason),
            ended.started.map(Instant::millis),
            ended.ended.millis(),
            ended.attempts,
            steps,
            policy,
            ended.note,
            outcome_to_json(&ended.outcome).map_err(not_json)?,
            ended.body.as_ref().and_then(Body::label),
            messages,
            ended.body.is_some()
        ],
        has_failed,
    };
    put(to, past, &row, ended.key.is_some())
}
