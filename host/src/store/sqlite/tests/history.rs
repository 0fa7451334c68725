//! Retention of old runs, and queries for runs.

use roost_scheduler::{
    event::RunEnded,
    names::{PluginName, RunId},
};

use super::*;

fn kept(store: &Database) -> i64 {
    store.connection.query_row("SELECT count(*) FROM runs", [], |row| row.get(0)).unwrap()
}

/// Counts the runs, and waits for the count.
fn count(store: &mut Database) {
    let path = store.path.clone();
    store.past.start_counting(&path);
    store.past.counted_now();
}

#[test]
fn the_number_of_runs_is_limited_and_runs_under_way_stay() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = Database::open(data.path(), Retention { days: 3_650, runs: 1_000 }).unwrap();
    store.commit(&(0..600).map(|n| run_saved(n, n as i64, 0)).collect::<Vec<_>>()).unwrap();
    store.commit(&(600..2_600).map(|n| run_ended(None, n, n)).collect::<Vec<_>>()).unwrap();
    assert_eq!(kept(&store), 2_600, "until they are counted");
    count(&mut store);
    store.commit(&[run_ended(None, 2_600, 2_600)]).unwrap();
    assert_eq!(kept(&store), 2_100, "a little with each batch");
    for n in 0..5 {
        store.commit(&[run_ended(None, 2_601 + n, 2_601)]).unwrap();
    }
    assert_eq!(kept(&store), 1_000);
    // A row that exists is not counted twice.
    store.commit(&[run_ended(None, 2_605, 2_605), run_saved(7, 7, 0), run_ended(Some(7), 7, 7)]).unwrap();
    assert_eq!(kept(&store), 1_000);
    assert_eq!(store.past.counted_now().all(), 1_000);
    drop(store);
    let (_, saved) = open(data.path()).unwrap();
    assert_eq!(saved.runs.len(), 599);
}

#[test]
fn a_run_that_has_just_ended_stays_however_old_its_occurrence() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = Database::open(data.path(), Retention { days: 1, runs: 1_000 }).unwrap();
    store.commit(&[run_saved(7, 7, 0)]).unwrap();
    store.commit(&(2_000..3_000).map(|n| run_ended(None, n, n)).collect::<Vec<_>>()).unwrap();
    count(&mut store);
    let is_kept = |of: i64| -> bool {
        let connection = Connection::open(data.path().join(DATABASE)).unwrap();
        connection.query_row("SELECT count(*) FROM runs WHERE occurrence = ?1", [of], |row| row.get(0)).unwrap()
    };
    store.commit(&[run_ended(Some(7), 7, 4_000)]).unwrap();
    assert_eq!((kept(&store), is_kept(7), is_kept(2_000)), (1_000, true, false));
    // Those that ended before it go first.
    store.commit(&(4_001..4_501).map(|n| run_ended(None, n, n)).collect::<Vec<_>>()).unwrap();
    assert_eq!((kept(&store), is_kept(7), is_kept(2_500), is_kept(2_501)), (1_000, true, false, true));
    // By a clock that was set back it ends before all others.
    store.commit(&[run_ended(None, 8, 1)]).unwrap();
    assert_eq!((kept(&store), is_kept(8)), (1_001, true));
    store.commit(&[run_ended(None, DAY_MS, 2 * DAY_MS), run_ended(None, 9, 3)]).unwrap();
    assert!(is_kept(9));
}

/// Returns SQLite's plan for a query.
fn plan(store: &Database, sql: &str) -> Vec<String> {
    let mut plan = store.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let no = vec![rusqlite::types::Null; plan.parameter_count()];
    let lines = plan.query_map(rusqlite::params_from_iter(no), |row| row.get::<_, String>(3)).unwrap();
    lines.collect::<Result<Vec<_>, _>>().unwrap()
}

#[test]
fn old_runs_are_found_without_a_full_scan() {
    let data = tempfile::tempdir().unwrap();
    let (store, _) = open(data.path()).unwrap();
    for sql in retention::STATEMENTS {
        let plan = plan(&store, sql);
        let start = ["SEARCH runs USING PRIMARY KEY (", "SEARCH runs USING INDEX runs_failed ("];
        assert!(start.iter().any(|start| plan[0].starts_with(start)), "{plan:#?}");
        assert!(!plan.iter().any(|line| line.starts_with("SCAN runs")), "{plan:#?}");
        // The examined rows may be sorted.
        let mut all = plan.iter().take_while(|line| !line.starts_with("SCAN (subquery"));
        assert!(!all.any(|line| line.contains("TEMP B-TREE")), "{plan:#?}");
    }
}

#[test]
fn failed_runs_are_found_without_a_full_scan() {
    let data = tempfile::tempdir().unwrap();
    let (store, _) = open(data.path()).unwrap();
    let plan = plan(&store, &runs::select_sql(runs::FAILED, false));
    assert_eq!(plan[0], "SEARCH runs USING INDEX runs_failed (occurrence>? AND occurrence<?)", "{plan:#?}");
    assert!(!plan.iter().any(|line| line.contains("TEMP B-TREE")), "{plan:#?}");
}

#[test]
fn reading_a_missing_database_fails_and_makes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let text = report(&runs(&data, &RunFilter::default()).unwrap_err());
    assert!(
        text.ends_with("roost.db`\nhint: it is made when Roost runs first; name its data folder with `--data DIR`")
    );
    assert!(!data.exists());
}

/// Returns a store whose limit of runs is reached.
fn full(data: &Path, runs: u32) -> Database {
    let (mut store, _) = Database::open(data, Retention { days: 3_650, runs }).unwrap();
    store.commit(&(0..i64::from(runs)).map(|n| run_ended(None, n, n)).collect::<Vec<_>>()).unwrap();
    count(&mut store);
    store
}

#[test]
fn a_full_table_does_not_grow_however_many_runs_end_at_once() {
    let data = tempfile::tempdir().unwrap();
    let mut store = full(data.path(), 20_000);
    for batch in 4..8 {
        let ended: Vec<_> = (batch * 5_000..(batch + 1) * 5_000).map(|n| run_ended(None, n, n)).collect();
        store.commit(&ended).unwrap();
        assert_eq!(kept(&store), 20_000);
    }
}

#[test]
fn failed_runs_are_deleted_last() {
    let data = tempfile::tempdir().unwrap();
    let mut store = full(data.path(), 1_000);
    let ends = |from: i64| (from..from + 1_500).map(|n| run_ended(None, n, n)).collect::<Vec<_>>();
    let fails = |from: i64, count: i64| (from..from + count).map(|n| run_failed(run_id(n), 0)).collect::<Vec<_>>();
    let failed = |store: &Database| -> i64 {
        let sql = "SELECT count(*) FROM runs WHERE state = 'failed'";
        store.connection.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    store.commit(&fails(10_000, 100)).unwrap();
    for batch in 0..9 {
        store.commit(&ends(20_000 + batch * 1_500)).unwrap();
        assert_eq!((kept(&store), failed(&store)), (1_600, 100), "and the runs that have just ended");
    }
    store.commit(&[run_ended(None, 40_000, 40_000)]).unwrap();
    store.commit(&[run_ended(None, 40_001, 40_001)]).unwrap();
    assert_eq!((kept(&store), failed(&store)), (1_000, 100));
    // A run that ends again with another outcome no longer counts as failed.
    store.commit(&[run_ended(None, 10_000, 40_002)]).unwrap();
    assert_eq!((kept(&store), failed(&store), store.past.counted_now().failed()), (1_000, 99, 99));
}

/// Returns how many runs of a plugin are kept, and how many of them failed.
fn kept_of(store: &Database, plugin: &str) -> (i64, i64) {
    let sql = "SELECT count(*), count(*) FILTER (WHERE state = 'failed') FROM runs WHERE plugin = ?1";
    store.connection.query_row(sql, [plugin], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

/// Returns the ends of consecutive runs of a plugin, from an occurrence on.
fn ends_of(plugin: &str, from: i64, count: i64, fails: bool) -> Vec<Change> {
    let of_plugin = |n: i64| {
        let change = if fails { run_failed(run_id(n), 0) } else { run_ended(None, n, n) };
        let Change::RunEnded(ended) = change else { unreachable!() };
        let id = RunId { plugin: PluginName::parse(plugin).unwrap(), ..ended.id };
        Change::RunEnded(RunEnded { id, ended: at(n), ..ended })
    };
    (from..from + count).map(of_plugin).collect()
}

#[test]
fn a_plugin_with_many_runs_pushes_out_no_other_plugins_runs() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = Database::open(data.path(), Retention { days: 3_650, runs: 6_000 }).unwrap();
    store.commit(&ends_of("quiet", 0, 90, false)).unwrap();
    store.commit(&ends_of("quiet", 90, 10, true)).unwrap();
    store.commit(&ends_of("half", 100, 4_000, false)).unwrap();
    count(&mut store);
    for batch in 0..30 {
        store.commit(&ends_of("hog", 10_000 + batch * 1_000, 1_000, false)).unwrap();
        assert!(kept(&store) <= 6_000, "{} in batch {batch}", kept(&store));
        assert_eq!(kept_of(&store, "quiet"), (100, 10));
        assert!(kept_of(&store, "half").0 >= 2_000, "less than a third of all");
    }
    // The two have equal shares of the rest, also after a restart.
    assert_eq!((kept_of(&store, "half").0, kept_of(&store, "hog").0), (2_950, 2_950));
    drop(store);
    let (mut store, _) = Database::open(data.path(), Retention { days: 3_650, runs: 6_000 }).unwrap();
    count(&mut store);
    store.commit(&ends_of("hog", 50_000, 500, true)).unwrap();
    assert_eq!((kept_of(&store, "half").0, kept_of(&store, "hog")), (2_950, (2_950, 500)));
    let oldest = "SELECT min(occurrence) FROM runs WHERE plugin = 'hog'";
    let oldest: i64 = store.connection.query_row(oldest, [], |row| row.get(0)).unwrap();
    assert_eq!(oldest, 40_000 - 2_450, "the oldest are deleted");
    // Two plugins whose runs end in turns keep their shares.
    for n in 0..200 {
        store.commit(&ends_of("hog", 60_000 + n, 1, false)).unwrap();
        store.commit(&ends_of("half", 60_000 + n, 1, false)).unwrap();
    }
    assert_eq!((kept_of(&store, "half").0, kept_of(&store, "hog")), (2_950, (2_950, 500)));
}

#[test]
fn a_plugin_whose_runs_all_fail_pushes_out_no_other_plugins_runs() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = Database::open(data.path(), Retention { days: 3_650, runs: 1_000 }).unwrap();
    store.commit(&ends_of("quiet", 0, 100, false)).unwrap();
    store.commit(&ends_of("quiet", 100, 100, true)).unwrap();
    count(&mut store);
    for batch in 0..6 {
        store.commit(&ends_of("hog", 1_000 + batch * 1_000, 1_000, true)).unwrap();
        assert_eq!(kept_of(&store, "quiet"), (200, 100));
    }
    store.commit(&ends_of("hog", 9_000, 1, true)).unwrap();
    assert_eq!((kept_of(&store, "quiet"), kept_of(&store, "hog")), ((200, 100), (800, 800)));
    // Its own runs that did not fail are deleted first.
    store.commit(&ends_of("hog", 9_001, 100, false)).unwrap();
    store.commit(&ends_of("hog", 9_200, 1, true)).unwrap();
    assert_eq!((kept_of(&store, "quiet"), kept_of(&store, "hog")), ((200, 100), (800, 800)));
}
