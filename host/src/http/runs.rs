//! Runs and their outcomes; replay and abandon.

mod in_memory;

use axum::{Json, extract::State};
use roost_scheduler::{
    event::{Done, Request},
    names::RunId,
    outcome::{RunState, Success},
    scheduler::NextStep,
    time::Instant,
    zone::Zone,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{
    extract::{Json as Body, Path, Query},
    limits,
    pagination::{Limit, Page, cut, resume},
    params::{Device, Job, Plugin, States, Time},
    problem::{Answered, Problem},
    state::ApiState,
};
use crate::{
    clock,
    job_json::MessageRecord,
    store::{self, RunView},
};

/// Steps that are late by more than this are marked as overdue.
const OVERDUE_MS: i64 = 24 * 60 * 60 * 1_000;

/// A run. Times are RFC 3339 in the device's time zone or, if that is unknown, in the host's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct RunRecord {
    /// The name of the run: plugin, device, job, occurrence, and its origin unless that is the job's trigger.
    pub(crate) run: String,
    #[schema(inline, value_type = Plugin)]
    pub(crate) plugin: String,
    #[schema(inline, value_type = Device)]
    pub(crate) device: String,
    #[schema(inline, value_type = Job)]
    pub(crate) job: String,
    /// The IANA name of the time zone in which its times are; omitted in events, and until the run is on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "Europe/London")]
    pub(crate) time_zone: Option<String>,
    /// The nominal time, without jitter.
    #[schema(format = DateTime)]
    pub(crate) occurrence: String,
    #[schema(pattern = "^(running|succeeded|failed|missed|skipped|cancelled|denied)$")]
    pub(crate) state: String,
    /// The reason of the outcome; for a run under way, what has gone wrong so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) started: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) ended: Option<String>,
    /// The number of attempts at its last step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attempts: Option<u32>,
    /// The plugin's note about the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    /// A description of the job for users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "Close the door")]
    pub(crate) label: Option<String>,
    /// The messages of a run that has started and ended, at most the first ten, as they were then. If it did not succeed,
    /// not all of them may have been sent. Omitted of runs that ended before Roost kept them and, in lists, of runs under
    /// way; those have sent the messages before the `next` step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, max_items = 10)]
    pub(crate) messages: Vec<MessageRecord>,
    /// The reason as data; omitted for a run that succeeded without remarks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<NextStepRecord>,
}

/// The next step of a run under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = NextStep)]
pub(crate) struct NextStepRecord {
    /// The number of the step, counted from 1.
    pub(crate) step: usize,
    pub(crate) of: usize,
    #[schema(format = DateTime)]
    pub(crate) due: String,
    /// Whether the step is owed: it is sent whatever happens to the job.
    pub(crate) owed: bool,
    /// Whether the step is late by more than a day.
    pub(crate) overdue: bool,
}

/// Names the topic of a step that a reason has only the number of, if the message is known.
pub(super) fn with_topic(reason: &str, messages: &[MessageRecord]) -> String {
    let named = || {
        let (before, rest) = reason.split_once(Success::TOPIC_OF_STEP)?;
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let MessageRecord { topic, .. } = messages.get(rest[..digits].parse::<usize>().ok()?.checked_sub(1)?)?;
        Some(format!("{before}`{topic}`{}", &rest[digits..]))
    };
    named().unwrap_or_else(|| reason.to_owned())
}

impl RunRecord {
    /// Converts a run from the store.
    pub(crate) fn new(run: &RunView, host: Zone, now: Instant) -> Self {
        let zone = run.zone.unwrap_or(host);
        let text = |at: Instant| at.in_zone(zone);
        // The text in the store has its times in UTC.
        let outcome = run.why.as_deref().and_then(|why| store::outcome_from_json(why).ok());
        let reason = outcome.map(|outcome| outcome.text(&text).to_string()).or_else(|| run.reason.clone());
        let messages: Vec<MessageRecord> =
            run.messages.as_deref().and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        Self {
            run: run.id.to_string(),
            plugin: run.id.plugin.to_string(),
            device: run.id.device.to_string(),
            job: run.id.job.to_string(),
            time_zone: Some(zone.name().to_owned()),
            occurrence: text(run.id.occurrence),
            state: run.state.to_string(),
            reason: reason.map(|reason| with_topic(&reason, &messages)),
            started: run.started.map(text),
            ended: run.ended.map(text),
            attempts: run.attempts,
            note: run.note.clone(),
            label: run.label.clone(),
            messages,
            why: run.why.as_deref().and_then(|why| serde_json::from_str(why).ok()),
            next: run.next.map(|NextStep { step, of, due }| NextStepRecord {
                step,
                of,
                due: text(due),
                owed: run.started.is_some() && step > 1,
                overdue: now.ms_since(due) > OVERDUE_MS,
            }),
        }
    }
}

impl RunRecord {
    /// Returns the record of a run that has not ended.
    pub(super) fn under_way(id: &RunId, label: Option<&str>, started: Option<Instant>, zone: Zone) -> Self {
        Self {
            run: id.to_string(),
            plugin: id.plugin.to_string(),
            device: id.device.to_string(),
            job: id.job.to_string(),
            time_zone: None,
            occurrence: id.occurrence.in_zone(zone),
            state: RunState::Running.to_string(),
            reason: None,
            started: started.map(|at| at.in_zone(zone)),
            ended: None,
            attempts: None,
            note: None,
            label: label.map(str::to_owned),
            messages: Vec::new(),
            why: None,
            next: None,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunsQuery {
    /// Only runs in these states, or with these outcomes, such as `failed,missed,denied`: one or more of `running`,
    /// `succeeded`, `failed`, `missed`, `skipped`, `cancelled` and `denied`
    #[param(value_type = String, required = false, pattern = "^(running|succeeded|failed|missed|skipped|cancelled|denied)(,(running|succeeded|failed|missed|skipped|cancelled|denied))*$")]
    #[serde(default)]
    state: States,
    /// Only runs of this plugin
    #[param(inline)]
    plugin: Option<Plugin>,
    /// Only runs of devices with this name
    #[param(inline)]
    device: Option<Device>,
    /// Only runs of jobs with this id
    #[param(inline)]
    job: Option<Job>,
    /// Of the runs that have ended, only those due at this time or later
    #[param(value_type = String, required = false, format = DateTime, example = "2027-03-01T06:30:00Z")]
    since: Option<Time>,
    /// Of the runs that have ended, only those due before this time
    #[param(value_type = String, required = false, format = DateTime)]
    until: Option<Time>,
    /// The maximum number of items
    #[param(value_type = u32, minimum = 1, maximum = 1000, default = 100)]
    #[serde(default)]
    limit: Limit,
    /// The value of `next` of the previous page
    cursor: Option<String>,
}

/// List runs: first those under way, longest due first, then those that have ended, newest first
#[utoipa::path(get, path = "/api/v1/runs", tag = "runs", params(RunsQuery),
    responses((status = 200, body = Page<RunRecord>)))]
pub(super) async fn runs(State(state): State<ApiState>, Query(query): Query<RunsQuery>) -> Answered<Page<RunRecord>> {
    list(&state, query).await.map(Json)
}

/// Returns a page of runs.
pub(crate) async fn list(state: &ApiState, query: RunsQuery) -> Result<Page<RunRecord>, Problem> {
    let RunsQuery { state: States(states), plugin, device, job, since, until, limit: Limit(limit), cursor: at } = query;
    let after = resume(at.as_deref(), parse_cursor)?;
    let filter = store::RunFilter {
        states,
        plugin: plugin.map(|Plugin(name)| name.to_string()),
        device: device.map(|Device(name)| name.to_string()),
        job: job.map(|Job(id)| id.to_string()),
        since: since.map(|Time(at)| at),
        until: until.map(|Time(at)| at),
        after,
        limit: limit + 1,
        in_order: false,
    };
    // Before the database is read: a run that ends meanwhile is found there.
    let in_memory = in_memory::in_memory(state, &filter).await?;
    let saved = state.read(move |store| store.runs(&filter)).await?;
    let runs = in_memory::merge(saved, in_memory);
    let (runs, next) = cut(runs, limit, |run| {
        let due = run.next.map(|next| next.due.to_string()).unwrap_or_default();
        format!("{due} {}", run.id)
    });
    let items = runs.iter().map(|run| RunRecord::new(run, state.zone(), clock::now())).collect();
    Ok(Page { items, next })
}

/// Parses `2027-03-01T06:40:00Z coop/north/open/2027-03-01T06:30:00Z`; the time is empty if the run has ended.
fn parse_cursor(text: &str) -> Option<store::RunCursor> {
    let (due, run) = text.split_once(' ')?;
    let time = |due: &str| Instant::from_millis(chrono::DateTime::parse_from_rfc3339(due).ok()?.timestamp_millis());
    let due = if due.is_empty() { None } else { Some(time(due)?) };
    Some(store::RunCursor { due, run: run.parse().ok()? })
}

/// Get a run by its name
#[utoipa::path(get, path = "/api/v1/runs/{plugin}/{device}/{job}/{occurrence}", tag = "runs",
    params(
        ("plugin" = String, Path, pattern = "^[a-z0-9][a-z0-9-]{0,62}$"),
        ("device" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
        ("job" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
        ("occurrence" = String, Path, format = DateTime),
    ),
    responses((status = 200, body = RunRecord)))]
pub(super) async fn run(State(state): State<ApiState>, Path(parts): Path<[String; 4]>) -> Answered<RunRecord> {
    find(&state, &parse_name(&parts.join("/"))?).await.map(Json)
}

/// Get a run that was not started by its job's trigger, by its name
#[utoipa::path(get, path = "/api/v1/runs/{plugin}/{device}/{job}/{occurrence}/{origin}", tag = "runs",
    params(
        ("plugin" = String, Path, pattern = "^[a-z0-9][a-z0-9-]{0,62}$"),
        ("device" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
        ("job" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
        ("occurrence" = String, Path, format = DateTime),
        ("origin" = String, Path, description = "The origin of the run, such as `replay-2027-03-02T10:00:00Z`"),
    ),
    responses((status = 200, body = RunRecord)))]
pub(super) async fn run_of_origin(
    State(state): State<ApiState>,
    Path(parts): Path<[String; 5]>,
) -> Answered<RunRecord> {
    find(&state, &parse_name(&parts.join("/"))?).await.map(Json)
}

/// Finds a run.
pub(crate) async fn find(state: &ApiState, id: &RunId) -> Result<RunRecord, Problem> {
    let read = || {
        let id = id.clone();
        state.read(move |store| store.run(&id))
    };
    let mut run = read().await?;
    if run.as_ref().is_none_or(|run| run.next.is_some()) {
        let in_memory = in_memory::find(state, id.clone()).await?;
        run = match run {
            Some(saved) => Some(RunView { messages: in_memory.and_then(|run| run.messages), ..saved }),
            None => in_memory,
        };
    }
    if run.is_none() {
        // The outcome is on disk shortly after the end of the run.
        tokio::time::sleep(limits::DURABLE).await;
        run = read().await?;
    }
    let run = run.ok_or_else(|| Problem::not_found(format!("there is no run `{id}`")))?;
    Ok(RunRecord::new(&run, state.zone(), clock::now()))
}

/// The name of a run.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Which)]
pub(crate) struct RunName {
    /// The run.
    #[schema(example = "coop-door/north/open/2027-03-01T06:30:00Z", max_length = 512)]
    pub(crate) run: String,
}

/// Parses the name of a run.
pub(crate) fn parse_name(text: &str) -> Result<RunId, Problem> {
    text.parse::<RunId>().map_err(|error| Problem::not_found(error.to_string()))
}

/// Replay a run that failed
///
/// Repeats it at once, with the steps that it had then, as a new run. Returns the name of the new run.
#[utoipa::path(post, path = "/api/v1/runs/replay", tag = "runs", request_body = RunName,
    responses((status = 200, body = RunName)))]
pub(super) async fn replay(State(state): State<ApiState>, Body(RunName { run }): Body<RunName>) -> Answered<RunName> {
    let hint = "`roost runs --failed` lists runs that can be replayed while their plugin is loaded, and `roost runs --state \
                running` those that are under way";
    let replay = async {
        let run = parse_name(&run)?;
        let failed = run.clone();
        let body = state.read(move |store| store.dead_letter(&failed)).await?;
        state.request(Request::Replay { run, body }).await
    };
    with_hint(replay.await, hint)
}

/// Abandon a run and its owed messages
///
/// Ends the run. Messages that it has not sent yet are never sent.
#[utoipa::path(post, path = "/api/v1/runs/abandon", tag = "runs", request_body = RunName,
    responses((status = 200, body = RunName)))]
pub(super) async fn abandon(State(state): State<ApiState>, Body(RunName { run }): Body<RunName>) -> Answered<RunName> {
    let hint = "`roost runs --state running` lists the runs that can be abandoned";
    let abandon = async { state.request(Request::Abandon(parse_name(&run)?)).await };
    with_hint(abandon.await, hint)
}

/// Converts the result of a command that names a run.
pub(super) fn run_name(done: Done) -> Answered<RunName> {
    match done {
        Done::Run(run) => Ok(Json(RunName { run: run.to_string() })),
        other => Err(Problem::bug(&format!("{other:?} is not a run"))),
    }
}

/// Adds a hint to a refusal that has none.
fn with_hint(done: Result<Done, Problem>, hint: &str) -> Answered<RunName> {
    match done {
        Ok(done) => run_name(done),
        Err(problem) if problem.hint.is_none() && problem.status < 500 => Err(problem.hint(hint)),
        Err(problem) => Err(problem),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use roost_scheduler::{
        outcome::{Outcome, Several, Skipped},
        pause::Level,
    };

    use super::{super::pauses::tests::paused_by, *};
    use crate::zones;

    #[test]
    fn a_reason_names_the_topic_of_a_step_if_it_is_known() {
        let topic = |topic: &str| serde_json::from_value(serde_json::json!({ "topic": topic })).unwrap();
        let messages = [topic("barn/door"), topic("barn/lamp")];
        for (reason, expected) in [
            ("no device listens on the topic of step 2", "no device listens on `barn/lamp`"),
            ("a; no device listens on the topic of step 1; b", "a; no device listens on `barn/door`; b"),
            ("no device listens on the topic of step 3", "no device listens on the topic of step 3"),
            ("the topic of step 0", "the topic of step 0"),
            ("the topic of step x", "the topic of step x"),
        ] {
            assert_eq!(with_topic(reason, &messages), expected);
        }
    }

    #[test]
    fn the_times_in_a_reason_are_by_the_clock_of_the_device() {
        let at = |text: &str| Instant::from(chrono::DateTime::parse_from_rfc3339(text).unwrap());
        let by = paused_by(Level::Device, None, Some(at("2027-07-02T08:00:00Z")));
        let reason = |several| {
            let outcome = Outcome::Skipped(Skipped::Paused { by: by.clone(), several });
            let run = RunView {
                id: "coop-door/north/open/2027-07-01T06:30:00Z".parse().unwrap(),
                state: outcome.state(),
                reason: Some(outcome.to_string()),
                started: None,
                ended: Some(at("2027-07-01T06:30:00Z")),
                attempts: None,
                zone: Some(zones::zone("Europe/London")),
                note: None,
                why: store::why_as_json(&outcome).unwrap(),
                label: None,
                messages: None,
                next: None,
            };
            RunRecord::new(&run, Zone::UTC, at("2027-07-01T12:00:00Z")).reason.unwrap()
        };
        let several = Several { since: at("2027-06-30T06:30:00Z"), count: 2, more: false };
        expect![[r#"
            its device was paused until 2027-07-02T09:00:00+01:00 (rain)
            2 skipped since 2027-06-30T07:30:00+01:00; its device was paused until 2027-07-02T09:00:00+01:00 (rain)"#]]
        .assert_eq(&[None, Some(several)].map(reason).join("\n"));
    }
}
