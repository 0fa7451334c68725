//! Tests of every store: one suite, in a data folder and in a database.

mod model;

use std::fs;
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU32, Ordering},
};

use expect_test::expect;
use roost_scheduler::{
    body::{Body, PackedJob},
    event::{Change, Digest, Progress, RunEnded, Saved, SavedDevice, SavedJob, SavedRun, Version},
    model::{Confirm, Matches, Message, Misfire, Overlap, Policy, Qos, Retry, Step},
    names::{DeviceName, GroupName, JobId, Origin, PluginName, ResourceName, RunId},
    outcome::{Attempt, Cancelled, Failed, Late, Outcome, RunState, Skipped, Success},
    scheduler::NextStep,
    time::{Instant, Location, Site},
    topic::Topic,
    trigger::{self, Context, CronCache, Trigger},
    zone::Zone,
};
use roost_tests::Postgres;
use tempfile::TempDir;

use super::*;
use crate::{job_json::MessageRecord, report::Report, zones::zone};

pub(super) const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// A place that keeps a store.
struct Place {
    data: TempDir,
    /// A database, and the cell in it.
    database: Option<(DatabaseUrl, i64)>,
}

impl Place {
    fn folder() -> Self {
        Self { data: tempfile::tempdir().unwrap(), database: None }
    }

    /// Returns an empty database of a server that all tests of a process share.
    fn database() -> Self {
        static SERVER: OnceLock<Postgres> = OnceLock::new();
        static DATABASES: AtomicU32 = AtomicU32::new(0);
        let name = format!("test-{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let url = SERVER.get_or_init(Postgres::new).database(&name);
        Self { database: Some((url.parse().unwrap(), 3)), ..Self::folder() }
    }

    fn open(&self) -> (Store, Saved) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let cell = self.database.clone().map(|(url, number)| CellOfHost { url, number, host: "host".into() });
        let opened = super::open(self.data.path(), cell, Retention::default());
        runtime.block_on(opened).unwrap()
    }

    fn reader(&self) -> Reader {
        self.database
            .clone()
            .map_or_else(|| Reader::folder(self.data.path()), |(url, cell)| Reader::database(url, cell))
    }
}

/// Makes tests of functions that take a place: one for a data folder and one for a database each.
macro_rules! in_each_store {
    ($($name:ident),* $(,)?) => {
        mod in_a_folder {
            $(#[test] fn $name() { super::$name(&super::Place::folder()); })*
        }
        mod in_a_database {
            $(#[test] fn $name() { super::$name(&super::Place::database()); })*
        }
    };
}

in_each_store! {
    an_ended_run_that_is_reported_again_is_one_run,
    an_ended_run_keeps_no_steps_and_its_number_is_free,
    only_failed_runs_keep_their_steps,
    a_plan_moves_no_watermark_back,
    the_thread_commits_in_order_until_it_is_closed,
    old_runs_are_deleted_a_few_at_a_time,
    an_old_occurrence_that_has_just_ended_is_kept,
    around_finds_the_nearest_runs_and_the_run_of_an_occurrence,
    runs_under_way_are_listed_first_and_then_the_newest,
    a_run_under_way_shows_its_next_step,
    a_run_keeps_its_label_and_the_beginning_of_its_messages,
    an_empty_place_becomes_an_empty_store,
}

pub(super) fn at(millis: i64) -> Instant {
    Instant::from_millis(millis).unwrap()
}

pub(super) fn step(after_ms: u32, payload: &[u8]) -> Step {
    let topic = Topic::parse("coop/north/door").unwrap();
    let message =
        Message { topic, payload: payload.into(), qos: Qos::AtLeastOnce, retain: after_ms > 0, properties: None };
    Step { after_ms, message, once: false, confirm: None }
}

pub(super) fn job(id: &str, variant: u32) -> PackedJob {
    let label = variant.is_multiple_of(2).then(|| format!("Variant {variant}"));
    let body = Body::new(&JobId::parse(id).unwrap(), label.as_deref(), &policy(variant), &steps(variant));
    PackedJob { trigger: trigger(variant), body }
}

/// Variant 0 is the default policy.
pub(super) fn policy(variant: u32) -> Policy {
    let group = GroupName::parse("door").unwrap();
    Policy {
        misfire: [Misfire::RunOnce, Misfire::RunAll, Misfire::LatestOfGroup(group)][variant as usize % 3].clone(),
        overlap: [Overlap::Skip, Overlap::Queue(variant), Overlap::Allow(2), Overlap::Replace][variant as usize % 4],
        jitter_ms: variant % 3,
        priority: (variant % 7) as i8,
        needs: (variant % 5 == 1).then(|| ResourceName::parse("pump").unwrap()),
        retry: Retry { attempts: (variant % 4 == 2).then_some(variant), ..Retry::default() },
        ..Policy::default()
    }
}

pub(super) fn steps(variant: u32) -> [Step; 2] {
    let confirm = |matches| {
        let topic = Topic::parse("coop/north/door/state").unwrap();
        Some(Arc::new(Confirm { topic, matches, within_ms: 1 + variant, already: variant.is_multiple_of(2) }))
    };
    let pointer = "/door".to_owned();
    let first = match variant % 6 {
        1 => confirm(Matches::Any),
        2 => confirm(Matches::Bytes(b"OPEN".as_slice().into())),
        3 => confirm(Matches::Bytes([0xff, 0x00].as_slice().into())),
        4 => confirm(Matches::Json { pointer, value: "[1.0,null]".into() }),
        5 => confirm(Matches::JsonRange { pointer, min: -0.1, max: 1e300 }),
        _ => None,
    };
    let last = Step { once: variant.is_multiple_of(4) && variant > 0, ..step(600_000 + variant, &[0xff]) };
    [Step { confirm: first, once: variant % 4 == 1, ..step(0, b"open") }, last]
}

pub(super) fn trigger(variant: u32) -> Trigger {
    let texts = [
        "at 2027-03-01T06:30:00.007Z",
        "every 1h30m from 2027-03-01T06:30:00Z",
        "cron 30 6 * * MON-FRI in Europe/London",
        "cron @daily",
        "sunset -20m not-before 17:00 not-after 21:30 else 20:00",
    ];
    trigger::parse(texts[variant as usize % texts.len()], &Context::at(Instant::MIN), &mut CronCache::default())
        .unwrap()
}

pub(super) fn version(n: u8) -> Version {
    Version { component: Digest([n; 32]), settings: Digest([n + 1; 32]) }
}

pub(super) fn site(n: u32) -> Site {
    let location = n.is_multiple_of(2).then(|| Location::new(51.123_456_789_012_3, -0.1 - f64::from(n)).unwrap());
    Site { zone: if n.is_multiple_of(3) { Zone::UTC } else { zone("Europe/London") }, location }
}

pub(super) fn plugin_saved(key: u32, name: &str) -> Change {
    Change::PluginSaved { key, name: PluginName::parse(name).unwrap(), version: version(1) }
}

pub(super) fn device_saved(key: u32, plugin: u32, name: &str) -> Change {
    let name = DeviceName::parse(name).unwrap();
    Change::DeviceSaved(SavedDevice { key, plugin, name, site: site(0), replan_at: at(5), error: None })
}

pub(super) fn job_saved(key: u32, device: u32, id: &str) -> Change {
    Change::JobSaved(SavedJob { key, device, job: job(id, 0), watermark: at(10), due: Some(at(20)), decided: at(0) })
}

pub(super) fn run_id(occurrence: i64) -> RunId {
    RunId {
        plugin: PluginName::parse("coop").unwrap(),
        device: DeviceName::parse("north").unwrap(),
        job: JobId::parse("open").unwrap(),
        occurrence: at(occurrence),
        origin: Origin::Trigger,
    }
}

pub(super) fn run_ended(key: Option<u64>, occurrence: i64, ended: i64) -> Change {
    let (id, outcome) = (run_id(occurrence), Outcome::Cancelled(Cancelled::DeviceRemoved));
    Change::RunEnded(RunEnded {
        key,
        id,
        outcome,
        body: None,
        started: None,
        ended: at(ended),
        attempts: 0,
        note: None,
    })
}

pub(super) fn run_failed(id: RunId, variant: u32) -> Change {
    let outcome = Outcome::Failed(failed(variant));
    let body = Some(Body::new(&id.job, None, &policy(variant), &steps(variant)));
    Change::RunEnded(RunEnded {
        key: None,
        id,
        outcome,
        body,
        started: Some(at(2)),
        ended: at(3),
        attempts: 3,
        note: Some("dry".into()),
    })
}

pub(super) fn failed(variant: u32) -> Failed {
    let last = match variant % 8 {
        0 => Attempt::LinkLost,
        6 => Attempt::HostStopped,
        1 => Attempt::Refused("no \"right\"".into()),
        2 => Attempt::Overtaken,
        3 => Attempt::PossiblySent,
        4 => Attempt::NoReport { within_ms: variant, last_report: None },
        7 => Attempt::Unanswered("trap".into()),
        _ => Attempt::NoReport { within_ms: variant, last_report: Some("OPENING\u{1}".into()) },
    };
    Failed { step: 1, attempts: 3, last }
}

pub(super) fn progress(variant: u32) -> Progress {
    let by = at(variant.into());
    Progress {
        steps_done: variant as usize % 2,
        attempts: variant % 4,
        armed: variant % 4 == 1,
        started: (!variant.is_multiple_of(3)).then(|| at(9)),
        failed: (variant % 7 < 6).then(|| failed(variant)),
        cancelled: match variant % 6 {
            0 => Some(Cancelled::DeviceRemoved),
            1 => Some(Cancelled::PluginRemoved),
            2 => Some(Cancelled::Replaced { by }),
            3 => Some(Cancelled::NewerOfGroup { job: JobId::parse("close").unwrap(), by }),
            4 if variant.is_multiple_of(4) => Some(Cancelled::Abandoned),
            4 => Some(Cancelled::Restored),
            _ => None,
        },
        late: variant.is_multiple_of(5).then(|| Late { step: 2, late_ms: i64::from(variant) << 32 }),
        note: (variant % 3 == 1).then(|| "dry".into()),
        no_subscriber: (variant % 7 == 3).then_some(2),
        put_off_until: (variant % 5 == 2).then_some(by),
    }
}

pub(super) fn saved_run(id: RunId, variant: u32) -> SavedRun {
    let label = variant.is_multiple_of(3).then(|| format!("Run {variant}"));
    let body = Body::new(&id.job, label.as_deref(), &policy(variant), &steps(variant));
    SavedRun { id, body, start: at(8), progress: progress(variant) }
}

pub(super) fn run_saved(key: u64, occurrence: i64, variant: u32) -> Change {
    Change::RunSaved { key, run: Box::new(saved_run(run_id(occurrence), variant)) }
}

/// Returns the stored state as text, in a fixed order.
pub(super) fn text_of(saved: &Saved, jobs: &[SavedJob]) -> String {
    let (mut saved, mut jobs) = (saved.clone(), jobs.to_vec());
    jobs.sort_by_key(|job| job.key);
    saved.plugins.sort_by_key(|plugin| plugin.key);
    for plugin in &mut saved.plugins {
        plugin.devices.sort_by_key(|device| device.key);
    }
    saved.runs.sort_by_key(|(key, _)| *key);
    saved.tombstones.sort_by_key(|stone| stone.name.clone());
    saved.pauses.sort_by_key(|(scope, _)| *scope);
    format!("{saved:#?}\n{jobs:#?}")
}

/// Returns the report of an error, redacted.
pub(super) fn report(error: &StoreError) -> String {
    roost_tests::redact(&Report::from(error).to_string())
}

/// Copies the files of a database.
pub(super) fn copy_files(from: &Path, to: &Path) {
    for name in ["roost.db", "roost.db-wal"] {
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

#[test]
fn a_text_with_a_nul_is_stored_without_it_in_a_database() {
    let place = Place::database();
    let (mut store, _) = place.open();
    let Change::RunEnded(ended) = run_failed(run_id(1), 0) else { unreachable!() };
    store.commit(&[Change::RunEnded(RunEnded { note: Some("dry\0run".into()), ..ended })]).unwrap();
    let run = place.reader().run(&run_id(1)).unwrap().unwrap();
    assert_eq!(run.note.as_deref(), Some("dry\u{fffd}run"));
}

fn jobs_in(place: &Place) -> Vec<SavedJob> {
    place.open().0.jobs(|jobs| jobs.collect()).unwrap()
}

/// Returns the states and the reasons of all runs that have ended or are under way, by occurrence.
fn history(place: &Place) -> Vec<(String, Option<String>)> {
    let all = RunFilter { limit: usize::MAX, in_order: true, ..RunFilter::default() };
    let runs = place.reader().runs(&all).unwrap();
    runs.into_iter().map(|run| (run.state.to_string(), run.reason)).collect()
}

fn listed(place: &Place, filter: &RunFilter) -> Vec<String> {
    let runs = place.reader().runs(filter).unwrap();
    runs.iter().map(|run| format!("{} {}", run.state, run.id.occurrence.millis())).collect()
}

fn an_empty_place_becomes_an_empty_store(place: &Place) {
    let (store, saved) = place.open();
    assert!(saved.plugins.is_empty() && saved.runs.is_empty() && saved.tombstones.is_empty());
    drop(store);
    place.open();
}

fn an_ended_run_that_is_reported_again_is_one_run(place: &Place) {
    let (mut store, _) = place.open();
    store.commit(&[run_ended(None, 1, 2)]).unwrap();
    store.commit(&[run_failed(run_id(1), 0)]).unwrap();
    let reason = "step 1 was given up after 3 attempts: the connection was lost before the broker answered";
    assert_eq!(history(place), [("failed".into(), Some(reason.into()))]);
}

fn an_ended_run_keeps_no_steps_and_its_number_is_free(place: &Place) {
    let (mut store, _) = place.open();
    store.commit(&[run_saved(1, 1, 0), run_ended(Some(1), 1, 2), run_saved(1, 2, 0)]).unwrap();
    drop(store);
    let (store, saved) = place.open();
    assert_eq!(saved.runs.len(), 1);
    assert_eq!(saved.runs[0].1.id, run_id(2));
    drop(store);
    assert_eq!(
        history(place),
        [
            ("cancelled".into(), Some("its device was removed".into())),
            ("running".into(), Some("its device was removed".into()))
        ]
    );
}

fn only_failed_runs_keep_their_steps(place: &Place) {
    let (mut store, _) = place.open();
    let replayed = RunId { origin: Origin::Replay { at: at(7), series: 0 }, ..run_id(1) };
    store.commit(&[run_failed(run_id(1), 5), run_failed(replayed.clone(), 7), run_saved(1, 2, 3)]).unwrap();
    store.commit(&[run_ended(None, 3, 3)]).unwrap();
    for (id, variant) in [(run_id(1), 5), (replayed, 7)] {
        assert_eq!(place.reader().dead_letter(&id).unwrap(), saved_run(id, variant).body);
    }
    let reports = [9, 2, 3]
        .map(|occurrence| Report::from(&place.reader().dead_letter(&run_id(occurrence)).unwrap_err()).to_string());
    expect![[r#"
        there is no run `coop/north/open/1970-01-01T00:00:00.009Z`
        hint: `roost runs --failed` shows those that can be replayed
        the run `coop/north/open/1970-01-01T00:00:00.002Z` has not ended
        hint: it continues by itself; `roost runs --state running` shows its progress, `roost abandon coop/north/open/1970-01-01T00:00:00.002Z` ends it
        the run `coop/north/open/1970-01-01T00:00:00.003Z` has not failed: its state is `cancelled`
        hint: `roost runs --failed` shows those that can be replayed"#]].assert_eq(&reports.join("\n"));
}

fn a_plan_moves_no_watermark_back(place: &Place) {
    let (mut store, _) = place.open();
    store.commit(&[plugin_saved(1, "coop"), device_saved(1, 1, "north"), job_saved(1, 1, "open")]).unwrap();
    store.commit(&[Change::JobAdvanced { key: 1, watermark: at(50), due: Some(at(60)), decided: at(0) }]).unwrap();
    store.commit(&[job_saved(1, 1, "open")]).unwrap();
    drop(store);
    let job = &jobs_in(place)[0];
    assert_eq!((job.watermark, job.due), (at(50), Some(at(20))));
}

fn the_thread_commits_in_order_until_it_is_closed(place: &Place) {
    let (store, _) = place.open();
    let (committed, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let writer = store.start(committed).unwrap();
    writer.commit(1, vec![plugin_saved(1, "coop")]);
    assert!(matches!(answers.blocking_recv(), Some(Committed::Done(1))));
    writer.commit(2, vec![]);
    assert!(matches!(answers.blocking_recv(), Some(Committed::Done(2))));
    writer.commit(3, vec![device_saved(1, 1, "north")]);
    writer.close();
    assert!(matches!(answers.blocking_recv(), Some(Committed::Done(3))));
    assert!(answers.blocking_recv().is_none());
    let (_, saved) = place.open();
    assert_eq!(saved.plugins[0].devices.len(), 1);
}

fn old_runs_are_deleted_a_few_at_a_time(place: &Place) {
    let (mut store, _) = place.open();
    let old: Vec<_> = (0..10).map(|n| run_ended(None, n, n)).collect();
    store.commit(&old).unwrap();
    let month = 31 * DAY_MS;
    store.commit(&[run_ended(None, month, month)]).unwrap();
    assert_eq!(history(place).len(), 9);
    let more: Vec<_> = (1..10).map(|n| run_ended(None, month + n, month + n)).collect();
    store.commit(&more).unwrap();
    assert_eq!(history(place).len(), 10);
}

fn an_old_occurrence_that_has_just_ended_is_kept(place: &Place) {
    let (mut store, _) = place.open();
    let month = 31 * DAY_MS;
    store.commit(&[run_ended(None, 2, 2)]).unwrap();
    store.commit(&[run_ended(None, 1, month), run_ended(None, month, month)]).unwrap();
    assert_eq!(history(place).len(), 2);
    let kept = place.reader().runs(&RunFilter { limit: 9, ..RunFilter::default() }).unwrap();
    let (first, last) = (kept[1].id.occurrence.millis(), kept[0].id.occurrence.millis());
    assert_eq!((first, last), (1, month));
}

fn around_finds_the_nearest_runs_and_the_run_of_an_occurrence(place: &Place) {
    let (mut store, _) = place.open();
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
        let found = place.reader().around(&job, occurrence.map(at), at(when), window).unwrap();
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

fn runs_under_way_are_listed_first_and_then_the_newest(place: &Place) {
    let (mut store, _) = place.open();
    store.commit(&[plugin_saved(1, "coop"), device_saved(1, 1, "north")]).unwrap();
    let under_way = [run_saved(1, 40, 4), run_saved(2, 10, 5)];
    let other = RunId { plugin: PluginName::parse("other").unwrap(), ..run_id(25) };
    let ended = [run_ended(None, 20, 21), run_ended(None, 30, 31), run_failed(run_id(5), 0), run_failed(other, 0)];
    store.commit(&[under_way.as_slice(), &ended].concat()).unwrap();
    let all = RunFilter { limit: 9, ..RunFilter::default() };
    // With a running host, and without.
    let beside = listed(place, &all);
    drop(store);
    assert_eq!(listed(place, &all), beside);
    assert_eq!(beside, ["running 40", "running 10", "cancelled 30", "failed 25", "cancelled 20", "failed 5"]);
    let some = |filter: RunFilter| listed(place, &filter);
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
        let page = place.reader().runs(&RunFilter { limit: 1, after: after.take(), ..RunFilter::default() }).unwrap();
        let Some(run) = page.into_iter().next() else { break };
        paged.push(format!("{} {}", run.state, run.id.occurrence.millis()));
        after = Some(RunCursor { due: run.next.map(|next| next.due), run: run.id });
    }
    assert_eq!(paged, beside);
}

fn a_run_under_way_shows_its_next_step(place: &Place) {
    let (mut store, _) = place.open();
    // The first one waits, the second one has sent a step.
    store
        .commit(&[device_saved(1, 1, "north"), plugin_saved(1, "coop"), run_saved(1, 1, 6), run_saved(2, 2, 5)])
        .unwrap();
    let found = place.reader().runs(&RunFilter { limit: 9, ..RunFilter::default() }).unwrap();
    let next = |step, due| Some(NextStep { step, of: 2, due: at(due) });
    assert_eq!((found[0].next, found[0].started), (next(1, 8), None));
    assert_eq!((found[1].next, found[1].started.is_some()), (next(2, 9 + 600_005), true));
    assert_eq!(found[1].zone, Some(Zone::UTC));
    assert_eq!(found[0].reason.as_deref(), Some("its device was removed"));
    let reason = "step 1 was given up after 3 attempts: the device did not confirm the step within 5ms; its last \
                report was `OPENING\u{1}`";
    assert_eq!(found[1].reason.as_deref(), Some(reason));
}

fn a_run_keeps_its_label_and_the_beginning_of_its_messages(place: &Place) {
    let (mut store, _) = place.open();
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
    let found = place.reader().runs(&RunFilter { limit: 9, in_order: true, ..RunFilter::default() }).unwrap();
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
    assert!(matches!(place.reader().dead_letter(&run_id(1)), Err(StoreError::NotFailed { .. })));
}
