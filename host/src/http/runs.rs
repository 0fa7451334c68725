//! Runs: what became of them, and what a person decides about them.

mod in_memory;

use axum::{Json, extract::State};
use roost_scheduler::{
    event::{Done, Request},
    names::RunId,
    time::Instant,
    zone::Zone,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{
    extract::{Json as Body, Path, Query},
    limits,
    page::{Limit, Page, cut, resume},
    params::{Device, Job, Plugin, Time},
    problem::{Answered, Problem},
    state::ApiState,
};
use crate::{
    clock,
    store::{self, Owed, RunView},
};

/// A step that is later than this cannot be missed by the reader.
const OVERDUE_MS: i64 = 24 * 60 * 60 * 1_000;

/// A run for programs. Times are RFC 3339 in the device's zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct RunRecord {
    /// Its id: plugin, device, job, occurrence, and what made it, if that is not the job's trigger.
    pub(crate) run: String,
    #[schema(inline, value_type = Plugin)]
    pub(crate) plugin: String,
    #[schema(inline, value_type = Device)]
    pub(crate) device: String,
    #[schema(inline, value_type = Job)]
    pub(crate) job: String,
    /// The nominal time, before jitter.
    #[schema(format = DateTime)]
    pub(crate) occurrence: String,
    #[schema(pattern = "^(running|succeeded|failed|missed|skipped|cancelled|denied)$")]
    pub(crate) state: String,
    /// Why; of a run that is under way, what went wrong so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) started: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) ended: Option<String>,
    /// At its last step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attempts: Option<u32>,
    /// What its plugin said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    /// Why, with all values; nothing of one that simply succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<NextStep>,
}

/// What a run under way does next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct NextStep {
    /// Counted from 1.
    pub(crate) step: usize,
    pub(crate) of: usize,
    #[schema(format = DateTime)]
    pub(crate) due: String,
    /// Whether it is sent whatever happens.
    pub(crate) owed: bool,
    /// By more than a day.
    pub(crate) overdue: bool,
}

impl RunRecord {
    /// In its device's zone, or the host's, where that is not known.
    pub(crate) fn new(run: &RunView, host: Zone, now: Instant) -> Self {
        let zone = run.zone.unwrap_or(host);
        let text = |at: Instant| at.in_zone(zone);
        Self {
            run: run.id.to_string(),
            plugin: run.id.plugin.to_string(),
            device: run.id.device.to_string(),
            job: run.id.job.to_string(),
            occurrence: text(run.id.occurrence),
            state: run.state.clone(),
            reason: run.reason.clone(),
            started: run.started.map(text),
            ended: run.ended.map(text),
            attempts: run.attempts,
            note: run.note.clone(),
            why: run.why.as_deref().and_then(|why| serde_json::from_str(why).ok()),
            next: run.owed.as_ref().map(|&Owed { step, of, due, has_started }| NextStep {
                step,
                of,
                due: text(due),
                owed: has_started && step > 1,
                overdue: now.ms_since(due) > OVERDUE_MS,
            }),
        }
    }
}

impl RunRecord {
    /// One that has begun, or waits.
    pub(super) fn under_way(id: &RunId, started: Option<Instant>, zone: Zone) -> Self {
        Self {
            run: id.to_string(),
            plugin: id.plugin.to_string(),
            device: id.device.to_string(),
            job: id.job.to_string(),
            occurrence: id.occurrence.in_zone(zone),
            state: "running".into(),
            reason: None,
            started: started.map(|at| at.in_zone(zone)),
            ended: None,
            attempts: None,
            note: None,
            why: None,
            next: None,
        }
    }
}

/// Like what a run is, or ended.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RunState {
    Running,
    Succeeded,
    Failed,
    Missed,
    Skipped,
    Cancelled,
    Denied,
}

impl RunState {
    const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Missed => "missed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::Denied => "denied",
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct RunsQuery {
    /// Only those that are, or ended, like this
    #[param(inline)]
    state: Option<RunState>,
    /// Only those of this plugin
    #[param(inline)]
    plugin: Option<Plugin>,
    /// Only those of devices with this name
    #[param(inline)]
    device: Option<Device>,
    /// Only those of jobs with this id
    #[param(inline)]
    job: Option<Job>,
    /// Of those that have ended, only those of this time or later
    #[param(value_type = String, required = false, format = DateTime, example = "2027-03-01T06:30:00Z")]
    since: Option<Time>,
    /// Of those that have ended, only those before this time
    #[param(value_type = String, required = false, format = DateTime)]
    until: Option<Time>,
    /// How many at the most
    #[param(value_type = u32, minimum = 1, maximum = 1000, default = 100)]
    #[serde(default)]
    limit: Limit,
    /// `next` of the page before
    cursor: Option<String>,
}

/// What became of runs: first those under way, the longest due first, then those that have ended, the newest first
#[utoipa::path(get, path = "/api/v1/runs", tag = "runs", params(RunsQuery),
    responses((status = 200, body = Page<RunRecord>)))]
pub(super) async fn runs(State(state): State<ApiState>, Query(wanted): Query<RunsQuery>) -> Answered<Page<RunRecord>> {
    let RunsQuery { state, plugin, device, job, since, until, limit: Limit(limit), cursor: at } = wanted;
    let after = resume(at.as_deref(), place)?;
    let wanted = store::RunFilter {
        state: state.map(|state| state.word().to_owned()),
        plugin: plugin.map(|Plugin(name)| name.to_string()),
        device: device.map(|Device(name)| name.to_string()),
        job: job.map(|Job(id)| id.to_string()),
        since: since.map(|Time(at)| at),
        until: until.map(|Time(at)| at),
        after,
        limit: limit + 1,
        in_order: false,
    };
    // Before the others are read: what ends meanwhile is among those.
    let in_memory = in_memory::in_memory(&state, &wanted).await?;
    let saved = state.read(move |data| store::runs(data, &wanted)).await?;
    let runs = in_memory::merged(saved, in_memory);
    let (runs, next) = cut(runs, limit, |run| {
        let due = run.owed.as_ref().map(|owed| owed.due.to_string()).unwrap_or_default();
        format!("{due} {}", run.id)
    });
    let items = runs.iter().map(|run| RunRecord::new(run, state.zone(), clock::now())).collect();
    Ok(Json(Page { items, next }))
}

/// `2027-03-01T06:40:00Z coop/north/open/2027-03-01T06:30:00Z`, without the time where the run has ended.
fn place(text: &str) -> Option<store::RunCursor> {
    let (due, run) = text.split_once(' ')?;
    let time = |due: &str| Instant::from_millis(chrono::DateTime::parse_from_rfc3339(due).ok()?.timestamp_millis());
    let due = if due.is_empty() { None } else { Some(time(due)?) };
    Some(store::RunCursor { due, run: run.parse().ok()? })
}

/// A run: the rest of the path is its id
#[utoipa::path(get, path = "/api/v1/runs/{plugin}/{device}/{job}/{occurrence}", tag = "runs",
    params(
        ("plugin" = String, Path, pattern = "^[a-z0-9][a-z0-9-]{0,62}$"),
        ("device" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
        ("job" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
        ("occurrence" = String, Path, format = DateTime),
    ),
    responses((status = 200, body = RunRecord)))]
pub(super) async fn run(State(state): State<ApiState>, Path(parts): Path<[String; 4]>) -> Answered<RunRecord> {
    one(&state, &parts.join("/")).await
}

/// A run that its job's trigger has not made: the rest of the path is its id
#[utoipa::path(get, path = "/api/v1/runs/{plugin}/{device}/{job}/{occurrence}/{origin}", tag = "runs",
    params(
        ("plugin" = String, Path, pattern = "^[a-z0-9][a-z0-9-]{0,62}$"),
        ("device" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
        ("job" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
        ("occurrence" = String, Path, format = DateTime),
        ("origin" = String, Path, description = "What made it, such as `replay-2027-03-02T10:00:00Z`"),
    ),
    responses((status = 200, body = RunRecord)))]
pub(super) async fn run_of_origin(State(state): State<ApiState>, Path(parts): Path<[String; 5]>) -> Answered<RunRecord> {
    one(&state, &parts.join("/")).await
}

async fn one(state: &ApiState, text: &str) -> Answered<RunRecord> {
    let id = parsed(text)?;
    let wanted = id.clone();
    let read = || {
        let wanted = wanted.clone();
        state.read(move |data| store::run(data, &wanted))
    };
    let mut run = read().await?;
    if run.is_none() {
        run = in_memory::one(state, id.clone()).await?;
    }
    if run.is_none() {
        // How it ended is on disk a moment after it has.
        tokio::time::sleep(limits::DURABLE).await;
        run = read().await?;
    }
    let run = run.ok_or_else(|| Problem::not_found(format!("there is no run `{id}`")))?;
    Ok(Json(RunRecord::new(&run, state.zone(), clock::now())))
}

/// Which run.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    #[schema(example = "coop-door/north/open/2027-03-01T06:30:00Z", max_length = 512)]
    pub(crate) run: String,
}

fn parsed(text: &str) -> Result<RunId, Problem> {
    text.parse::<RunId>().map_err(|error| Problem::not_found(error.to_string()))
}

/// Do a run again that has failed
///
/// It is done once more, at once and by what it was to do then, as a run of its own, which is the answer.
#[utoipa::path(post, path = "/api/v1/runs/replay", tag = "runs", request_body = Which,
    responses((status = 200, body = Which)))]
pub(super) async fn replay(State(state): State<ApiState>, Body(Which { run }): Body<Which>) -> Answered<Which> {
    let shown = "`roost runs --failed` shows those that can be replayed, as long as their plugin is there, and `roost runs \
                 --state running` those that are on their way";
    let replay = async {
        let run = parsed(&run)?;
        let failed = run.clone();
        let body = state.read(move |data| store::dead_letter(data, &failed)).await?;
        state.request(Request::Replay { run, body }).await
    };
    done(replay.await, shown)
}

/// End a run, whatever it owes
///
/// What it has not sent yet is never sent.
#[utoipa::path(post, path = "/api/v1/runs/abandon", tag = "runs", request_body = Which,
    responses((status = 200, body = Which)))]
pub(super) async fn abandon(State(state): State<ApiState>, Body(Which { run }): Body<Which>) -> Answered<Which> {
    let shown = "`roost runs --state running` shows those that can be abandoned";
    let abandon = async { state.request(Request::Abandon(parsed(&run)?)).await };
    done(abandon.await, shown)
}

pub(super) fn which(done: Done) -> Answered<Which> {
    match done {
        Done::Run(run) => Ok(Json(Which { run: run.to_string() })),
        other => Err(Problem::bug(&format!("{other:?} is no run"))),
    }
}

fn done(done: Result<Done, Problem>, shown: &str) -> Answered<Which> {
    match done {
        Ok(done) => which(done),
        Err(problem) if problem.hint.is_none() && problem.status < 500 => Err(problem.hint(shown)),
        Err(problem) => Err(problem),
    }
}
