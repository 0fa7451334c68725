//! Retention of old runs, and queries for runs.

use super::*;
use crate::job_json::MessageRecord;
use roost_scheduler::{
    outcome::{RunState, Skipped, Success},
    scheduler::NextStep,
    zone::Zone,
};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

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
fn old_runs_are_deleted_a_few_at_a_time() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = open(data.path()).unwrap();
    let old: Vec<_> = (0..10).map(|n| run_ended(None, n, n)).collect();
    store.commit(&old).unwrap();
    let month = 31 * DAY_MS;
    store.commit(&[run_ended(None, month, month)]).unwrap();
    assert_eq!(history(data.path()).len(), 9);
    let more: Vec<_> = (1..10).map(|n| run_ended(None, month + n, month + n)).collect();
    store.commit(&more).unwrap();
    assert_eq!(history(data.path()).len(), 10);
}

#[test]
fn an_old_occurrence_that_has_just_ended_is_kept() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = open(data.path()).unwrap();
    let month = 31 * DAY_MS;
    store.commit(&[run_ended(None, 2, 2)]).unwrap();
    store.commit(&[run_ended(None, 1, month), run_ended(None, month, month)]).unwrap();
    assert_eq!(history(data.path()).len(), 2);
    let (first, last): (i64, i64) = store
        .connection
        .query_row("SELECT min(occurrence), max(occurrence) FROM runs", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!((first, last), (1, month));
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

fn listed(data: &Path, filter: &RunFilter) -> Vec<String> {
    let found = runs(data, filter).unwrap();
    found.iter().map(|run| format!("{} {}", run.state, run.id.occurrence.millis())).collect()
}

#[test]
fn around_finds_the_nearest_runs_and_the_run_of_an_occurrence() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = open(data.path()).unwrap();
    let ended = |id: RunId| {
        let Change::RunEnded(ended) = run_ended(None, 0, 1) else { unreachable!() };
        Change::RunEnded(RunEnded { id, ..ended })
    };
    let of = |occurrence, origin| RunId { origin, ..run_id(occurrence) };
    let by_hand = |occurrence| of(occurrence, Origin::Manual { series: 0 });
    let again = |occurrence, when| of(occurrence, Origin::Replay { at: at(when), series: 0 });
    let mut runs: Vec<RunId> = (0..30).map(|n| by_hand(100 + 2 * n)).collect();
    runs.extend([run_id(50), of(50, Origin::Series(1)), again(50, 131), again(50, 400), run_id(300)]);
    runs.push(RunId { plugin: PluginName::parse("other").unwrap(), ..run_id(7) });
    store.commit(&runs.into_iter().map(ended).collect::<Vec<_>>()).unwrap();
    store.commit(&[run_saved(1, 163, 4)]).unwrap();
    let (plugin, device, job) = run_id(0).into_job_name();
    let job = (plugin, device, job);
    let around = |occurrence: Option<i64>, when| {
        let window = (Instant::MIN, at(350));
        let found = around(data.path(), &job, occurrence.map(at), at(when), window).unwrap();
        let text = |run: &RunView| format!("{} {}", run.id.occurrence.millis(), run.id.origin);
        let nearest: Vec<_> = found.nearest.iter().map(text).collect();
        (found.of_occurrence.as_ref().map(text), found.behind.as_ref().map(text), nearest, found.oldest)
    };
    let replay = |when| format!("50 replay-{}", at(when));
    let (of_occurrence, behind, nearest, oldest) = around(Some(50), 100);
    assert_eq!((of_occurrence.as_deref(), behind), (Some("50 series-1"), None));
    assert_eq!((nearest, oldest), (vec!["100 manual".into(), "102 manual".into(), replay(131)], Some(at(7))));
    let (of_occurrence, behind, nearest, _) = around(Some(170), 163);
    assert_eq!((of_occurrence, behind.as_deref()), (None, Some("300 ")));
    // One that is under way, too.
    assert_eq!(nearest, ["163 ".into(), "300 ".into(), replay(131)]);
    assert_eq!(around(None, 300).2, ["300 ".into(), replay(400)]);
}

#[test]
fn runs_under_way_are_listed_first_and_then_the_newest() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = open(data.path()).unwrap();
    store.commit(&[plugin_saved(1, "coop"), device_saved(1, 1, "north")]).unwrap();
    let under_way = [run_saved(1, 40, 4), run_saved(2, 10, 5)];
    let other = RunId { plugin: PluginName::parse("other").unwrap(), ..run_id(25) };
    let ended = [run_ended(None, 20, 21), run_ended(None, 30, 31), run_failed(run_id(5), 0), run_failed(other, 0)];
    store.commit(&[under_way.as_slice(), &ended].concat()).unwrap();
    let all = RunFilter { limit: 9, ..RunFilter::default() };
    // With a running host, and without.
    let beside = listed(data.path(), &all);
    drop(store);
    let files = || {
        let mut names: Vec<_> = fs::read_dir(data.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = files();
    assert_eq!(listed(data.path(), &all), beside);
    assert_eq!(files(), before, "reading changes no file");
    assert_eq!(beside, ["running 40", "running 10", "cancelled 30", "failed 25", "cancelled 20", "failed 5"]);
    let some = |filter: RunFilter| listed(data.path(), &filter);
    let limit = 9;
    assert_eq!(some(RunFilter { limit: 3, ..RunFilter::default() }), beside[..3]);
    assert_eq!(some(RunFilter { limit: 1, ..RunFilter::default() }), beside[..1]);
    assert_eq!(some(RunFilter { limit, since: Some(at(25)), ..RunFilter::default() }), beside[..4]);
    assert_eq!(
        some(RunFilter { limit, states: vec![RunState::Failed], ..RunFilter::default() }),
        ["failed 25", "failed 5"]
    );
    assert_eq!(some(RunFilter { limit, states: vec![RunState::Running], ..RunFilter::default() }), beside[..2]);
    let states = vec![RunState::Running, RunState::Failed];
    let several = ["running 40", "running 10", "failed 25", "failed 5"];
    assert_eq!(some(RunFilter { limit, states, ..RunFilter::default() }), several);
    assert_eq!(some(RunFilter { limit, plugin: Some("other".into()), ..RunFilter::default() }), ["failed 25"]);
    assert_eq!(some(RunFilter { limit, device: Some("south".into()), ..RunFilter::default() }), [""; 0]);
    assert_eq!(some(RunFilter { limit, job: Some("open".into()), ..RunFilter::default() }).len(), 6);
    assert_eq!(
        some(RunFilter { limit, since: Some(at(20)), until: Some(at(30)), ..RunFilter::default() })[2..],
        beside[3..5]
    );
    // Pages add up to the same list.
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let page = runs(data.path(), &RunFilter { limit: 1, after: after.take(), ..RunFilter::default() }).unwrap();
        let Some(run) = page.into_iter().next() else { break };
        paged.push(format!("{} {}", run.state, run.id.occurrence.millis()));
        after = Some(RunCursor { due: run.next.map(|next| next.due), run: run.id });
    }
    assert_eq!(paged, beside);
}

#[test]
fn a_run_under_way_shows_its_next_step() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = open(data.path()).unwrap();
    // The first one waits, the second one has sent a step.
    store
        .commit(&[device_saved(1, 1, "north"), plugin_saved(1, "coop"), run_saved(1, 1, 6), run_saved(2, 2, 5)])
        .unwrap();
    let found = runs(data.path(), &RunFilter { limit: 9, ..RunFilter::default() }).unwrap();
    let next = |step, due| Some(NextStep { step, of: 2, due: at(due) });
    assert_eq!((found[0].next, found[0].started), (next(1, 8), None));
    assert_eq!((found[1].next, found[1].started.is_some()), (next(2, 9 + 600_005), true));
    assert_eq!(found[1].zone, Some(Zone::UTC));
    assert_eq!(found[0].reason.as_deref(), Some("its device was removed"));
    let reason = "step 1 was given up after 3 attempts: the device did not confirm the step within 5ms; its last \
                report was `OPENING\u{1}`";
    assert_eq!(found[1].reason.as_deref(), Some(reason));
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

#[test]
fn a_run_keeps_its_label_and_the_beginning_of_its_messages() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = open(data.path()).unwrap();
    let long = "ö".repeat(1_000);
    let mut steps = vec![step(0, b"OPEN"), step(1, &[0xff, 0x00]), step(2, long.as_bytes())];
    steps.extend((3..20).map(|after_ms| step(after_ms, b"")));
    let body = Body::new(&run_id(0).job, Some("Open the door"), &Policy::default(), &steps);
    let ended = |occurrence, outcome, started| RunEnded {
        key: None,
        id: run_id(occurrence),
        outcome,
        body: Some(body.clone()),
        started,
        ended: at(99),
        attempts: 1,
        note: None,
    };
    let succeeded = Outcome::Succeeded(Success::PLAIN);
    let skipped = Outcome::Skipped(Skipped::ByOperator);
    let changes = [
        Change::RunEnded(ended(1, succeeded.clone(), Some(at(1)))),
        Change::RunEnded(ended(2, skipped, None)),
        // A run of an earlier format has no label, and keeps the one with which it was saved.
        Change::RunSaved { key: 7, run: Box::new(SavedRun { body: body.clone(), ..saved_run(run_id(3), 1) }) },
        Change::RunEnded(RunEnded { key: Some(7), body: None, ..ended(3, succeeded, Some(at(3))) }),
    ];
    store.commit(&changes).unwrap();
    let found = runs(data.path(), &RunFilter { limit: 9, in_order: true, ..RunFilter::default() }).unwrap();
    assert!(found.iter().all(|run| run.label.as_deref() == Some("Open the door")));
    let messages: Vec<_> = found.iter().map(|run| run.messages.as_deref()).collect();
    let [Some(messages), None, None] = messages[..] else { panic!("{messages:?}") };
    let messages: Vec<MessageRecord> = serde_json::from_str(messages).unwrap();
    let shown = |one: &MessageRecord| (one.payload.clone(), one.payload_base64.clone(), one.cut);
    assert_eq!(
        messages.iter().map(shown).take(3).collect::<Vec<_>>(),
        [("OPEN".into(), None, false), (String::new(), Some("/wA=".into()), false), ("ö".repeat(128), None, true),]
    );
    assert!(messages.len() == 10 && messages.iter().all(|one| one.topic == "coop/north/door"));
    // Only a failed run can be replayed.
    assert!(matches!(dead_letter(data.path(), &run_id(1)), Err(StoreError::NotFailed { .. })));
}
