//! Counts of runs in the database.

use std::path::Path;

use rusqlite::named_params;

use super::{
    StoreError,
    queries::{Count, CountBy, CountFilter, EndedRun},
    reading::query_current,
    rows::{self, Row},
};

pub(super) const ENDED: &str =
    "SELECT plugin, device, job, state, occurrence, origin = '' OR origin GLOB 'series-*', label FROM runs
     WHERE state <> 'running' AND occurrence >= :from AND occurrence < :to
           AND (:plugin IS NULL OR plugin = :plugin) AND (:device IS NULL OR device = :device)";

/// Collects the runs that have ended, in the order of their occurrences.
pub(in crate::store) fn collect_ended<T: Default>(
    data: &Path,
    filter: &CountFilter,
    mut collect: impl FnMut(&mut T, EndedRun<'_>),
) -> Result<T, StoreError> {
    let CountFilter { window: (from, to), plugin, device } = filter;
    query_current(data, |connection| {
        let mut statement = connection.prepare(ENDED)?;
        let period = named_params! { ":from": from.millis(), ":to": to.millis(), ":plugin": plugin, ":device": device };
        let (mut rows, mut collected) = (statement.query(period)?, T::default());
        while let Some(row) = rows.next()? {
            collect(&mut collected, rows::ended_run(&Row::new("runs", 0, row))?);
        }
        Ok(collected)
    })
}

pub(super) fn counts_sql(by: CountBy) -> String {
    let (plugin, group) = by.columns();
    format!(
        "SELECT (occurrence - :from) * :buckets / (:to - :from), {plugin}, {group}, state, count(*) FROM runs
         WHERE state <> 'running' AND occurrence >= :from AND occurrence < :to
               AND (:plugin IS NULL OR plugin = :plugin) AND (:device IS NULL OR device = :device)
         GROUP BY 1, 2, 3, 4"
    )
}

/// Counts the runs that have ended in equal parts of a period.
pub(in crate::store) fn count_ended<T: Default>(
    data: &Path,
    filter: &CountFilter,
    (by, buckets): (CountBy, u32),
    mut collect: impl FnMut(&mut T, Count<'_>),
) -> Result<T, StoreError> {
    let CountFilter { window: (from, to), plugin, device } = filter;
    query_current(data, |connection| {
        let mut statement = connection.prepare(&counts_sql(by))?;
        let mut rows = statement.query(named_params! {
            ":from": from.millis(),
            ":to": to.millis(),
            ":buckets": buckets,
            ":plugin": plugin,
            ":device": device,
        })?;
        let mut collected = T::default();
        while let Some(row) = rows.next()? {
            collect(&mut collected, rows::count(&Row::new("runs", 0, row))?);
        }
        Ok(collected)
    })
}
