//! The statements of batches. Each takes the cell and a list for each column of its rows.

/// A kind of change, with one statement for all of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    SavePlugin,
    RemovePlugin,
    SaveDevice,
    RemoveDevice,
    SaveJob,
    AdvanceJob,
    RemoveJob,
    SaveOverride,
    RemoveOverride,
    SavePause,
    RemovePause,
    SaveTombstone,
    ForgetTombstones,
    SetZones,
    SetSeries,
    SaveRun,
    AdvanceRun,
    /// The end of a run whose content is known, and with it the label.
    EndRun,
    /// The end of a run that keeps its label.
    EndRunOnly,
}

/// The columns of a run's progress.
pub(super) const PROGRESS: &str =
    "steps_done, armed, started, failed, cancelled, late, note, attempts, put_off_until, no_subscriber";
const PROGRESS_TYPES: &str = "int8, int8, int8, text, text, text, text, int8, int8, int8";
const ID: &str = "occurrence, plugin, device, job, origin";
const ID_TYPES: &str = "int8, text, text, text, text";

impl Kind {
    /// Returns the statement: `$1` is the cell, and the columns of the rows follow.
    pub(super) fn sql(self) -> String {
        match self {
            Self::SavePlugin => upsert("plugins", "id", "id, name, component, settings", "int8, text, text, text", &[]),
            Self::RemovePlugin => delete("plugins", "id", "int8"),
            Self::SaveDevice => upsert(
                "devices",
                "id",
                "id, plugin, name, time_zone, latitude, longitude, replan_at, error",
                "int8, int8, text, text, float8, float8, int8, text",
                &[],
            ),
            Self::RemoveDevice => delete("devices", "id", "int8"),
            Self::SaveJob => upsert(
                "jobs",
                "id",
                "id, device, job, label, trigger, steps, policy, watermark, due, decided",
                "int8, int8, text, text, text, text, text, int8, int8, int8",
                // I2: no plan moves a watermark back, unless the clock was set back.
                &[(
                    "watermark",
                    "CASE WHEN excluded.decided < jobs.watermark THEN greatest(jobs.watermark, excluded.watermark)
                     ELSE excluded.watermark END",
                )],
            ),
            Self::AdvanceJob => update("jobs", "id", "watermark, due, decided", "int8, int8, int8, int8"),
            Self::RemoveJob => delete("jobs", "id", "int8"),
            Self::SaveOverride => {
                upsert("overrides", "job", "job, skip, made, key, request", "int8, int8, int8, text, text", &[])
            }
            Self::RemoveOverride => delete("overrides", "job", "int8"),
            Self::SavePause => {
                upsert("pauses", "level, item", "level, item, since, until, reason", "text, int8, int8, int8, text", &[])
            }
            Self::RemovePause => delete("pauses", "level, item", "text, int8"),
            Self::SaveTombstone => upsert(
                "tombstones",
                "plugin, device, job",
                "plugin, device, job, watermark",
                "text, text, text, int8",
                &[("watermark", "greatest(tombstones.watermark, excluded.watermark)")],
            ),
            Self::ForgetTombstones => {
                "DELETE FROM tombstones WHERE cell = $1 AND watermark < (SELECT max(before) FROM unnest($2::int8[]) AS u (before))"
                    .to_owned()
            }
            Self::SetZones => "UPDATE cells SET zones = ($2::text[])[1] WHERE id = $1".to_owned(),
            Self::SetSeries => "UPDATE cells SET series = ($2::int8[])[1] WHERE id = $1".to_owned(),
            Self::SaveRun => upsert(
                "runs",
                ID,
                &format!("{ID}, number, steps, policy, start, label, {PROGRESS}, state"),
                &format!("{ID_TYPES}, int8, text, text, int8, text, {PROGRESS_TYPES}, 'running'"),
                &[("reason", "NULL"), ("why", "NULL"), ("ended", "NULL"), ("messages", "NULL")],
            ),
            Self::AdvanceRun => update("runs", "number", PROGRESS, &format!("int8, {PROGRESS_TYPES}")),
            Self::EndRun => Self::end(None),
            Self::EndRunOnly => Self::end(Some(("label", "runs.label"))),
        }
    }

    fn end(label: Option<(&str, &str)>) -> String {
        let cleared = ["number", "start", "steps_done", "armed", "failed", "cancelled", "late", "no_subscriber"];
        let mut set: Vec<(&str, &str)> = cleared.iter().map(|column| (*column, "NULL")).collect();
        set.extend(label);
        upsert(
            "runs",
            ID,
            &format!("{ID}, state, reason, started, ended, attempts, steps, policy, note, why, label, messages"),
            &format!("{ID_TYPES}, text, text, int8, int8, int8, text, text, text, text, text, text"),
            &set,
        )
    }
}

fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim)
}

/// Returns the lists that are the rows of a statement, `$2` and those that follow. A quoted text stands for a column of
/// all rows.
fn lists(types: &str) -> String {
    let lists: Vec<String> = names(types)
        .filter(|of| !of.starts_with('\''))
        .enumerate()
        .map(|(at, of)| format!("${}::{of}[]", at + 2))
        .collect();
    lists.join(", ")
}

/// Inserts rows. One that is there gets the new values, or those in `set`.
fn upsert(table: &str, key: &str, columns: &str, types: &str, set: &[(&str, &str)]) -> String {
    let fixed: Vec<&str> = names(types).filter(|of| of.starts_with('\'')).collect();
    let fixed = fixed.iter().map(|text| format!(", {text}")).collect::<String>();
    let is_new = |column: &&str| !names(key).any(|of| of == *column) && set.iter().all(|(of, _)| of != column);
    let values = names(columns).filter(is_new).map(|column| format!("{column} = excluded.{column}"));
    let set: Vec<String> = values.chain(set.iter().map(|(column, value)| format!("{column} = {value}"))).collect();
    format!(
        "INSERT INTO {table} (cell, {columns}) SELECT $1::int8, u.*{fixed} FROM unnest({}) AS u
         ON CONFLICT (cell, {key}) DO UPDATE SET {}",
        lists(types),
        set.join(", ")
    )
}

/// Updates rows. The first type is that of the key.
fn update(table: &str, key: &str, columns: &str, types: &str) -> String {
    let set: Vec<String> = names(columns).map(|column| format!("{column} = u.{column}")).collect();
    format!(
        "UPDATE {table} SET {} FROM unnest({}) AS u ({key}, {columns}) WHERE {table}.cell = $1 AND {table}.{key} = u.{key}",
        set.join(", "),
        lists(types)
    )
}

/// Deletes rows.
fn delete(table: &str, key: &str, types: &str) -> String {
    let is_row: Vec<String> = names(key).map(|column| format!(" AND {table}.{column} = u.{column}")).collect();
    format!(
        "DELETE FROM {table} USING unnest({}) AS u ({key}) WHERE {table}.cell = $1{}",
        lists(types),
        is_row.concat()
    )
}
