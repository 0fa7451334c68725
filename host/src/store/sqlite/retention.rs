//! Deletes old runs.

use std::{cmp::Reverse, collections::HashMap, path::Path, sync::mpsc, thread};

use roost_scheduler::{
    event::Change,
    outcome::{Outcome, RunState},
    time::Instant,
};
use rusqlite::{Connection, Transaction, params};

use super::{Retention, ended::snapshot, limits};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Deletes runs that are too old.
const TOO_OLD: &str = "DELETE FROM runs WHERE (occurrence, plugin, device, job, origin) IN (
     SELECT occurrence, plugin, device, job, origin
     FROM (SELECT * FROM runs WHERE occurrence < ?1 AND state <> 'running' ORDER BY occurrence LIMIT ?3)
     WHERE ended < ?1 LIMIT ?2) RETURNING plugin, state = 'failed'";

/// Ended runs that did not fail, and failed runs, from an occurrence and a plugin on.
const OTHERS: &str = "SELECT occurrence, plugin, device, job, origin, ended FROM runs
     WHERE (occurrence, plugin) >= (?1, ?2) AND state NOT IN ('running', 'failed') ORDER BY occurrence, plugin";
const FAILED: &str = "SELECT occurrence, plugin, device, job, origin, ended FROM runs INDEXED BY runs_failed
     WHERE (occurrence, plugin) >= (?1, ?2) AND state = 'failed' ORDER BY occurrence, plugin";

const DELETE: &str =
    "DELETE FROM runs WHERE occurrence = ?1 AND plugin = ?2 AND device = ?3 AND job = ?4 AND origin = ?5";

/// The statements that find and delete old runs.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 4] = [TOO_OLD, OTHERS, FAILED, DELETE];

/// The counted rows of the table of runs, and how many are kept.
#[derive(Debug)]
pub(super) struct Past {
    keep: Retention,
    /// Receives the count, until it has arrived.
    count: Option<mpsc::Receiver<Rows>>,
    is_counted: bool,
    /// The numbers of rows or, before they are counted, the differences since the count began.
    rows: Rows,
}

/// The numbers of rows, by plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rows(HashMap<String, PluginRows>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PluginRows {
    all: i64,
    failed: i64,
    /// Lower bounds of the occurrences of ended runs that did not fail, and of failed runs, so that a search need not
    /// begin at the first row.
    others_from: i64,
    failed_from: i64,
}

impl Default for PluginRows {
    fn default() -> Self {
        Self { all: 0, failed: 0, others_from: i64::MAX, failed_from: i64::MAX }
    }
}

impl PluginRows {
    const fn from(&mut self, which: Which) -> &mut i64 {
        match which {
            Which::Failed => &mut self.failed_from,
            Which::Others => &mut self.others_from,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Failed,
    Others,
}

impl Rows {
    pub(super) fn all(&self) -> i64 {
        self.0.values().map(|of| of.all).sum()
    }

    #[cfg(test)]
    pub(super) fn failed(&self) -> i64 {
        self.0.values().map(|of| of.failed).sum()
    }

    fn of(&mut self, plugin: &str) -> &mut PluginRows {
        // Most plugins are in the map, which saves a copy of the name.
        if !self.0.contains_key(plugin) {
            self.0.insert(plugin.to_owned(), PluginRows::default());
        }
        self.0.get_mut(plugin).expect("it is there now")
    }

    /// Notes that a run has ended, or had when it was counted.
    fn has_ended(&mut self, plugin: &str, occurrence: i64, which: Which) {
        let from = self.of(plugin).from(which);
        *from = occurrence.min(*from);
    }

    fn deleted(&mut self, plugin: &str, has_failed: bool) {
        let of = self.of(plugin);
        (of.all, of.failed) = (of.all - 1, of.failed - i64::from(has_failed));
    }

    fn add(&mut self, since: &Self) {
        for (plugin, since) in &since.0 {
            let of = self.of(plugin);
            (of.all, of.failed) = (of.all + since.all, of.failed + since.failed);
            of.others_from = of.others_from.min(since.others_from);
            of.failed_from = of.failed_from.min(since.failed_from);
        }
    }

    /// Decides how many runs of each plugin are deleted if there are too many. Plugins with more than an equal share
    /// are reduced to the same number, and the others keep theirs, so that no plugin pushes another below its share. Of
    /// each plugin, failed runs are deleted last.
    fn to_go(&self, too_many: i64) -> Vec<ToGo> {
        let mut all: Vec<i64> = self.0.values().map(|of| of.all).collect();
        all.sort_unstable_by_key(|count| Reverse(*count));
        let (mut level, mut sum) = (0, 0);
        for (index, count) in all.iter().enumerate() {
            sum += count;
            level = (sum - too_many) / (index as i64 + 1);
            if all.get(index + 1).is_none_or(|next| *next <= level) {
                break;
            }
        }
        let of_plugin = |(plugin, of): (&String, &PluginRows)| {
            let failed = (of.failed - level).max(0);
            ToGo { plugin: plugin.clone(), failed, others: of.all - level - failed }
        };
        self.0.iter().filter(|(_, of)| of.all > level).map(of_plugin).collect()
    }
}

/// How many runs of a plugin are to be deleted at most.
#[derive(Debug, PartialEq, Eq)]
struct ToGo {
    plugin: String,
    failed: i64,
    others: i64,
}

/// A run that may be deleted.
struct Old {
    ended: i64,
    occurrence: i64,
    /// The index of its plugin's search.
    plugin: usize,
    device: String,
    job: String,
    origin: String,
}

impl Past {
    pub(super) fn new(keep: Retention) -> Self {
        Self { keep, count: None, is_counted: false, rows: Rows::default() }
    }

    /// Counts the rows on a thread of its own, because a million take a moment, and a commit must not wait for that. No
    /// other connection may commit meanwhile.
    pub(super) fn start_counting(&mut self, path: &Path) {
        match counting(path) {
            Ok(count) => *self = Self { count: Some(count), ..Self::new(self.keep) },
            Err(error) => tracing::warn!("runs are kept by their age alone, because they cannot be counted: {error}"),
        }
    }

    /// Counts a new row.
    pub(super) fn add(&mut self, plugin: &str) {
        self.rows.of(plugin).all += 1;
    }

    /// Counts whether a row is a failed run now, and was before.
    pub(super) fn turn(&mut self, plugin: &str, had_failed: bool, has_failed: bool) {
        if had_failed != has_failed {
            self.rows.of(plugin).failed += i64::from(has_failed) - i64::from(had_failed);
        }
    }

    /// Returns the numbers of rows, once they are counted.
    fn rows(&mut self) -> Option<&mut Rows> {
        if let Some(count) = &self.count
            && let Ok(mut rows) = count.try_recv()
        {
            rows.add(&self.rows);
            (self.rows, self.count, self.is_counted) = (rows, None, true);
        }
        self.is_counted.then_some(&mut self.rows)
    }

    /// Waits for the count, and returns the numbers of rows.
    #[cfg(test)]
    pub(super) fn counted_now(&mut self) -> Rows {
        loop {
            match self.rows() {
                Some(rows) => return rows.clone(),
                None => thread::yield_now(),
            }
        }
    }

    /// Deletes old runs: with each batch as many as it added and a few more, so that the table shrinks to its limit and
    /// stays there.
    pub(super) fn prune(&mut self, of: &Transaction<'_>, changes: &[Change]) -> rusqlite::Result<()> {
        let ended =
            || changes.iter().filter_map(|change| if let Change::RunEnded(run) = change { Some(run) } else { None });
        let times = || ended().map(|run| run.ended);
        let (Some(first), Some(last)) = (times().min(), times().max()) else { return Ok(()) };
        for run in ended() {
            let which = if matches!(run.outcome, Outcome::Failed(_)) { Which::Failed } else { Which::Others };
            self.rows.has_ended(run.id.plugin.as_str(), run.id.occurrence.millis(), which);
        }
        let count = ended().count() as i64;
        let most = count + limits::PRUNED_BEYOND;
        // Runs that end with this batch stay, even if the clock was set back meanwhile (I13).
        let before = last.plus_ms(-DAY_MS * i64::from(self.keep.days)).min(first);
        self.delete_old(of, before, most.min(2 * count), most)?;
        let limit = i64::from(self.keep.runs);
        let Some(rows) = self.rows() else { return Ok(()) };
        rows.0.retain(|_, of| of.all > 0);
        let too_many = rows.all() - limit;
        if too_many > 0 {
            let (to_go, most) = (rows.to_go(too_many), most.min(too_many));
            let deleted = rows.delete(of, Which::Failed, &to_go, first.millis(), most)?;
            rows.delete(of, Which::Others, &to_go, first.millis(), most - deleted)?;
        }
        Ok(())
    }

    /// Deletes runs that ended too long ago. Only the oldest occurrences are examined, so a run that ended much later
    /// holds back those behind it until it is old itself.
    fn delete_old(&mut self, of: &Transaction<'_>, before: Instant, most: i64, examined: i64) -> rusqlite::Result<()> {
        let mut delete = of.prepare_cached(TOO_OLD)?;
        let mut rows = delete.query([before.millis(), most, examined])?;
        while let Some(row) = rows.next()? {
            self.rows.deleted(row.get_ref(0)?.as_str()?, row.get(1)?);
        }
        Ok(())
    }
}

impl Rows {
    /// Deletes runs that ended before an instant, the oldest first. Returns how many.
    fn delete(
        &mut self,
        of: &Transaction<'_>,
        which: Which,
        to_go: &[ToGo],
        before: i64,
        most: i64,
    ) -> rusqlite::Result<i64> {
        let may_go = |to_go: &ToGo| most.min(if which == Which::Failed { to_go.failed } else { to_go.others });
        let mut of_plugins: Vec<Search<'_>> = to_go
            .iter()
            .filter(|to_go| may_go(to_go) > 0)
            .map(|to_go| Search { plugin: &to_go.plugin, most: may_go(to_go), found: 0, is_over: false })
            .collect();
        of_plugins.sort_unstable_by_key(|search| search.plugin);
        let mut found = self.find(of, which, &mut of_plugins, most)?;
        found.sort_by_key(|old| old.ended);
        let mut delete = of.prepare_cached(DELETE)?;
        let mut deleted = 0;
        for Old { ended, occurrence, plugin, device, job, origin } in found {
            let Search { plugin, most: ref mut left, .. } = of_plugins[plugin];
            if ended < before && *left > 0 && deleted < most {
                delete.execute(params![occurrence, plugin, device, job, origin])?;
                self.deleted(plugin, which == Which::Failed);
                (*left, deleted) = (*left - 1, deleted + 1);
            } else {
                self.has_ended(plugin, occurrence, which);
            }
        }
        Ok(deleted)
    }

    /// Finds the oldest occurrences of plugins, sorted by occurrence. The bound of each plugin is moved past those
    /// found.
    fn find(
        &mut self,
        of: &Transaction<'_>,
        which: Which,
        of_plugins: &mut [Search<'_>],
        most: i64,
    ) -> rusqlite::Result<Vec<Old>> {
        let mut select = of.prepare_cached(if which == Which::Failed { FAILED } else { OTHERS })?;
        let spared = limits::SPARED / of_plugins.len().max(1) as i64 + 1;
        let mut left = limits::EXAMINED * (most + limits::SPARED);
        let mut found = Vec::new();
        while let Some((from, plugin)) = self.begin(which, of_plugins) {
            let mut rows = select.query(params![from, plugin])?;
            loop {
                let Some(row) = rows.next()? else {
                    // There are no more rows.
                    for search in of_plugins.iter().filter(|search| !search.is_over) {
                        *self.of(search.plugin).from(which) = i64::MAX;
                    }
                    return Ok(found);
                };
                let (occurrence, plugin): (i64, &str) = (row.get(0)?, row.get_ref(1)?.as_str()?);
                if left == 0 {
                    for search in of_plugins.iter().filter(|search| !search.is_over) {
                        let from = self.of(search.plugin).from(which);
                        // Plugins sorted before the row have no more runs of this occurrence.
                        *from = (occurrence + i64::from(search.plugin < plugin)).max(*from);
                    }
                    return Ok(found);
                }
                left -= 1;
                let Ok(place) = of_plugins.binary_search_by_key(&plugin, |search| search.plugin) else { continue };
                let search = &mut of_plugins[place];
                if search.is_over {
                    continue;
                }
                if search.found == search.most + spared {
                    search.is_over = true;
                    let behind = self.of(plugin).from(which);
                    *behind = occurrence.max(*behind);
                    // The other searches may begin much later.
                    if self.begin(which, of_plugins).is_none_or(|begin| begin > (occurrence, plugin)) {
                        break;
                    }
                    continue;
                }
                search.found += 1;
                let (device, job, origin, ended) = (row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?);
                found.push(Old { ended, occurrence, plugin: place, device, job, origin });
            }
        }
        Ok(found)
    }

    /// Returns the least occurrence and plugin from which an unfinished search continues.
    fn begin<'p>(&mut self, which: Which, of_plugins: &[Search<'p>]) -> Option<(i64, &'p str)> {
        let searches = of_plugins.iter().filter(|search| !search.is_over);
        searches.map(|search| (*self.of(search.plugin).from(which), search.plugin)).min()
    }
}

/// The search for old runs of a plugin.
struct Search<'p> {
    plugin: &'p str,
    /// How many are to be deleted.
    most: i64,
    found: i64,
    is_over: bool,
}

/// Starts the count, and returns when the state that it counts is fixed.
fn counting(path: &Path) -> Result<mpsc::Receiver<Rows>, Box<dyn std::error::Error>> {
    let connection = snapshot(path)?;
    let (to, count) = mpsc::channel();
    thread::Builder::new().name("count".into()).spawn(move || {
        match rows(&connection) {
            // The store may have been closed meanwhile.
            Ok(rows) => drop(to.send(rows)),
            Err(error) => tracing::warn!("runs are kept by their age alone, because they cannot be counted: {error}"),
        }
    })?;
    Ok(count)
}

/// Counts the rows one by one, because grouping them in SQL would take a copy of them.
fn rows(connection: &Connection) -> rusqlite::Result<Rows> {
    let mut all = Rows::default();
    let mut select = connection.prepare("SELECT plugin, state, occurrence FROM runs")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (plugin, state) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
        let of = all.of(plugin);
        of.all += 1;
        let state = RunState::parse(state);
        of.failed += i64::from(state == Some(RunState::Failed));
        match state {
            Some(RunState::Running) => {}
            Some(RunState::Failed) => all.has_ended(plugin, row.get(2)?, Which::Failed),
            _ => all.has_ended(plugin, row.get(2)?, Which::Others),
        }
    }
    Ok(all)
}
