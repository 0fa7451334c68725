//! Ad-hoc jobs: jobs made over the API, which plans do not change.

use std::hash::{BuildHasher as _, RandomState};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use roost_scheduler::{
    accept::{
        self, Fault, FaultKind, Owner, Terms,
        draft::{ActionDraft, JobDraft, TaskDraft, TriggerDraft},
    },
    body::PackedJob,
    event::{Digest, Done, Idempotency, NewJob, Part, Request},
    model::{Action, Job as Model, Task},
    names::{DeviceName, JobName, PluginName},
    scheduler::api_device,
    time::{Instant, Site},
    topic::Grant,
    trigger::{self, Context, Trigger},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::{
    extract::{Json as Body, Path},
    jobs::{self, JobRecord},
    limits,
    params::{Device, JobPath, Plugin},
    problem::Problem,
    state::ApiState,
};
use crate::{
    calendars, clock,
    job_json::{self, PolicyRecord},
    plugins::TriggerCache,
    zones,
};

/// Header that identifies repetitions of a request: 1 to 255 visible ASCII characters.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A new job: a trigger, and either a message (`topic`, …), several messages (`steps`), or a `task` of a plugin.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"trigger": "at now+2s", "topic": "porch/light/set", "payload": "ON"}))]
pub(crate) struct NewJobRecord {
    /// The id, unique among the jobs of its device. Default: generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    pub(crate) id: Option<String>,
    /// A description for users. Default: the name of the `task`, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1024)]
    pub(crate) label: Option<String>,
    /// When to run: `now`, `at now+2s`, `at 2027-03-01T06:30:00Z`, `every 15m`, `cron 30 6 * * MON-FRI`, `sunset -20m`.
    #[schema(example = "at now+2s")]
    pub(crate) trigger: String,
    /// The plugin that the job belongs to, with its grant. Default: none; the grant is `[grants.api]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(inline, value_type = Option<Plugin>)]
    pub(crate) plugin: Option<String>,
    /// The device of that plugin. Default: the device with the plugin's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(inline, value_type = Option<Device>)]
    pub(crate) device: Option<String>,
    /// The topic of a single message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) topic: Option<String>,
    /// The payload of a single message. Default: empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) payload: Option<String>,
    /// The payload in base64 with padding (RFC 4648, section 4), if it is not text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) payload_base64: Option<String>,
    /// The QoS of a single message: 0, 1 or 2. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 2)]
    pub(crate) qos: Option<u8>,
    /// Whether a single message is retained: the broker keeps it for later subscribers. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retain: Option<bool>,
    /// Several messages, each with its time after the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<job_json::StepRecord<'static>>>, min_items = 1, max_items = 100)]
    pub(crate) steps: Option<Value>,
    /// The task of the plugin that is called when the job is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    pub(crate) task: Option<String>,
    /// The arguments of the task. Default: `null`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) args: Option<Value>,
    /// The policy for its runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<job_json::PolicyRecord>)]
    pub(crate) policy: Option<Value>,
}

/// The device of a new job, and the grant that applies to it.
struct JobTarget {
    plugin: PluginName,
    device: DeviceName,
    site: Site,
    grant: Grant,
}

/// Make a job
///
/// The job survives restarts, and no plan of a plugin changes it. When it has no next run it is kept for a day, so that
/// its outcome can be read. With the header `Idempotency-Key`, repetitions of a request do not make another job.
#[utoipa::path(post, path = "/api/v1/jobs", tag = "jobs", request_body = NewJobRecord,
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$",
        description = "Repetitions of a request with the same key make no second job while the first one exists")),
    responses((status = 201, body = JobRecord, headers(("Location" = String, description = "The path of the job"))),
              (status = 200, body = JobRecord, description = "The job exists already, by the same request")))]
pub(super) async fn schedule(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Body(body): Body<Value>,
) -> Result<Response, Problem> {
    let idempotency = idempotency(&headers, &body)?;
    if let Some(idempotency) = idempotency {
        // Checked first, because a request that was accepted then might not be accepted now.
        match state.inspect(move |scheduler| scheduler.made_before(idempotency)).await? {
            Some(Ok(name)) => return Ok(Json(jobs::record(&state, name, 0).await?).into_response()),
            Some(Err(refusal)) => return Err(refusal.into()),
            None => {}
        }
    }
    make(&state, parse(body)?, idempotency, false).await
}

/// Make or replace a job
///
/// Replaces only jobs that were made over the API. Runs of the replaced job that have not started are cancelled; runs
/// that have started send their owed messages.
#[utoipa::path(put, path = "/api/v1/jobs/{plugin}/{device}/{job}", tag = "jobs", request_body = NewJobRecord,
    params(JobPath),
    responses((status = 201, body = JobRecord, headers(("Location" = String, description = "The path of the job"))),
              (status = 200, body = JobRecord, description = "The job is replaced")))]
pub(super) async fn replace(
    State(state): State<ApiState>,
    Path(path): Path<JobPath>,
    Body(body): Body<Value>,
) -> Result<Response, Problem> {
    let (plugin, device, job) = path.name();
    let new = parse(body)?;
    let is_own = plugin == PluginName::host();
    if is_own && device != api_device() {
        return Err(Problem::not_found(format!("`{plugin}` has no device `{device}`, only `{}`", api_device())));
    }
    let names = [
        ("plugin", &new.plugin, plugin.as_str()),
        ("device", &new.device, device.as_str()),
        ("id", &new.id, job.as_str()),
    ];
    let conflict = names
        .iter()
        .find_map(|(field, value, in_path)| Some((field, value.as_deref().filter(|value| value != in_path)?, in_path)));
    if let Some((field, value, in_path)) = conflict {
        return Err(Problem::bad_request(format!("`{field}` is `{value}` in the body and `{in_path}` in the path")));
    }
    let (plugin, device) = ((!is_own).then(|| plugin.to_string()), (!is_own).then(|| device.to_string()));
    make(&state, NewJobRecord { plugin, device, id: Some(job.to_string()), ..new }, None, true).await
}

/// Cancel an ad-hoc job
///
/// Runs that have not started are cancelled. Runs that have started send their owed messages at once.
#[utoipa::path(delete, path = "/api/v1/jobs/{plugin}/{device}/{job}", tag = "jobs",
    params(JobPath),
    responses((status = 204)))]
pub(super) async fn cancel(State(state): State<ApiState>, Path(path): Path<JobPath>) -> Result<StatusCode, Problem> {
    let cancelled = state.request(Request::Cancel(path.name())).await;
    cancelled.map(|_| StatusCode::NO_CONTENT).map_err(|problem| match problem.status {
        409 => problem.hint("pause it instead, or change the plugin's settings"),
        _ => problem,
    })
}

fn parse(body: Value) -> Result<NewJobRecord, Problem> {
    if !body.is_object() {
        return Err(Problem::bad_request("the body is not a job: it must be a JSON object"));
    }
    serde_json::from_value(body).map_err(|error| Problem::bad_request(format!("the body is not a job: {error}")))
}

fn idempotency(headers: &HeaderMap, body: &Value) -> Result<Option<Idempotency>, Problem> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    if keys.next().is_some() {
        return Err(Problem::bad_request("the request has more than one `Idempotency-Key`"));
    }
    let is_key = |key: &str| {
        (1..=limits::IDEMPOTENCY_KEY_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let key = key.to_str().ok().filter(|key| is_key(key));
    let key = key.ok_or_else(|| Problem::bad_request("`Idempotency-Key` must be 1 to 255 visible ASCII characters"))?;
    let digest = |bytes: &[u8]| Digest(Sha256::digest(bytes).into());
    Ok(Some(Idempotency { key: digest(key.as_bytes()), request: digest(body.to_string().as_bytes()) }))
}

async fn make(
    state: &ApiState,
    new: NewJobRecord,
    idempotency: Option<Idempotency>,
    replaces: bool,
) -> Result<Response, Problem> {
    let (name, is_new) = add(state, new, idempotency, replaces).await?;
    let (plugin, device, job) = &name;
    let location = format!("/api/v1/jobs/{plugin}/{device}/{job}");
    let record = jobs::record(state, name, 0).await?;
    if !is_new {
        return Ok(Json(record).into_response());
    }
    let location = HeaderValue::from_str(&location).map_err(|error| Problem::bug(&error))?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(record)).into_response())
}

/// Makes a job. Returns its name, and whether it is new.
async fn add(
    state: &ApiState,
    new: NewJobRecord,
    idempotency: Option<Idempotency>,
    replaces: bool,
) -> Result<(JobName, bool), Problem> {
    let target = find_target(state, &new).await?;
    let job = accept(state, new, &target).await?;
    let (plugin, device) = (target.plugin, target.device);
    let new = NewJob { plugin, device, job: PackedJob::from(&job), idempotency, replaces };
    match state.request(Request::Schedule(new.into())).await? {
        Done::Job { job, is_new } => Ok((job, is_new)),
        _ => Err(Problem::bug(&"the scheduler did not return a job")),
    }
}

/// Makes a job of which no other request is a repetition.
pub(crate) async fn make_job(state: &ApiState, new: NewJobRecord) -> Result<JobName, Problem> {
    add(state, new, None, false).await.map(|(name, _)| name)
}

async fn find_target(state: &ApiState, new: &NewJobRecord) -> Result<JobTarget, Problem> {
    let invalid = |error: &dyn std::fmt::Display| Problem::bad_request(error.to_string());
    let Some(plugin) = &new.plugin else {
        if new.device.is_some() {
            let problem = Problem::bad_request("there is a `device`, and no `plugin`");
            return Err(problem.hint("add the `plugin` of the device"));
        }
        let operator = state.operator();
        let (plugin, device) = (PluginName::host(), api_device());
        return Ok(JobTarget { plugin, device, site: operator.site, grant: operator.grant.clone() });
    };
    let plugin = PluginName::parse(plugin).map_err(|error| invalid(&error))?;
    let device =
        DeviceName::parse(new.device.as_deref().unwrap_or(plugin.as_str())).map_err(|error| invalid(&error))?;
    let name = (plugin.clone(), device.clone());
    let found = state.inspect(move |scheduler| {
        let grant = scheduler.plugin(&name.0)?.grant.clone();
        Some((grant, scheduler.device(&name.0, &name.1).map(|device| *device.site)))
    });
    match found.await? {
        None => Err(state.not_found(Part::Plugin(plugin)).await),
        Some((_, None)) => Err(state.not_found(Part::Device(plugin, device)).await),
        Some((grant, Some(site))) => Ok(JobTarget { plugin, device, site, grant }),
    }
}

/// Checks a new job by the terms for the jobs of plugins, and calls its task once for a test, so that invalid arguments
/// are reported at once.
async fn accept(state: &ApiState, new: NewJobRecord, target: &JobTarget) -> Result<Model, Problem> {
    let JobTarget { plugin, device, site, grant } = target;
    let is_single = new.topic.is_some();
    let draft = draft(new, target)?;
    let queries = &state.plugins().queries;
    let tasks = match &draft.action {
        ActionDraft::Task(_) => queries.tasks(plugin.clone()).await.map_err(|why| refused(&why))?,
        ActionDraft::Steps(_) => Vec::new(),
    };
    let terms = Terms {
        site,
        owner: Some(Owner {
            plugin,
            grant,
            resources: &state.rules().resources,
            host_topic: &state.rules().host_topic,
        }),
        calendars: Some(calendars::has),
        tasks: Some(&tasks),
        jobs: 1,
        syntax: &TriggerCache::default(),
    };
    let job = accept::job(draft, &terms).map_err(|fault| {
        let fault = state.rules().with_hint(fault, plugin, grant);
        // A single message has no number.
        violation(&if is_single { Fault { place: String::new(), ..fault } } else { fault })
    })?;
    if let Action::Task(task) = &job.action {
        let tested = queries.dry_run_task(plugin.clone(), device.clone(), Task::clone(task).into()).await;
        tested.map_err(|why| without_args(refused(&of_task(&why, task)), task, plugin))?;
    }
    Ok(job)
}

/// Returns the problem of a plugin that did not answer, or answered with an error, and the hint below it.
fn refused(why: &str) -> Problem {
    match why.split_once('\n') {
        Some((what, hint)) => Problem::unprocessable(what).hint(hint),
        None => Problem::unprocessable(why),
    }
}

/// Names the task that a plugin refused, instead of the function of the plugin that was called for it.
fn of_task(why: &str, task: &Task) -> String {
    let reason = why.strip_prefix("`run-task` returned an error: ");
    reason.map_or_else(|| why.to_owned(), |reason| format!("task `{}`: {reason}", task.name))
}

/// Adds the hint to pass arguments, if there were none.
fn without_args(problem: Problem, task: &Task, plugin: &PluginName) -> Problem {
    if task.args != "null" || problem.hint.is_some() {
        return problem;
    }
    problem.hint(format!(
        "if the task has arguments, pass `args`, on the command line such as `--args '{{\"zone\": 2}}'`: `roost plugins \
         {plugin}` lists them"
    ))
}

fn draft(new: NewJobRecord, target: &JobTarget) -> Result<JobDraft, Problem> {
    let (id, label) = (new.id.clone(), new.label.clone().or_else(|| new.task.clone()));
    let policy = new.policy.clone().map(serde_json::from_value::<PolicyRecord>).transpose();
    let policy = policy.map_err(|error| Problem::bad_request(format!("`policy`: {error}")))?;
    Ok(JobDraft {
        id: id.unwrap_or_else(generate_id),
        label,
        trigger: TriggerDraft::Parsed(trigger(&new.trigger, &target.site)?),
        action: action(new, target)?,
        policy: policy.map(Into::into).unwrap_or_default(),
    })
}

fn generate_id() -> String {
    let moment = clock::now().millis();
    format!("job-{:016x}", RandomState::new().hash_one(moment))
}

fn trigger(text: &str, site: &Site) -> Result<Trigger, Problem> {
    let now = clock::now();
    let context = Context { now: Some(now), site: Some(site), calendars: calendars::in_use() };
    let trigger = trigger::parse(text, &context, &mut zones::patterns())
        .map_err(|error| Problem::bad_request(error.to_string()).hint(error.hint()))?;
    match &trigger {
        Trigger::At(at) if *at < now => Err(past(*at, now)),
        _ => Ok(trigger),
    }
}

fn past(at: Instant, now: Instant) -> Problem {
    Problem::unprocessable(format!("{at} has passed: it is {now}"))
        .hint("use `now` to run at once, or a time such as `at now+2s`")
}

fn action(new: NewJobRecord, target: &JobTarget) -> Result<ActionDraft, Problem> {
    let NewJobRecord { topic, payload, payload_base64, qos, retain, steps, task, args, .. } = new;
    let of_message = payload.is_some() || payload_base64.is_some() || qos.is_some() || retain.is_some();
    match (topic, steps, task) {
        (Some(topic), None, None) if args.is_none() => {
            let mut step = Map::new();
            step.insert("topic".into(), topic.into());
            step.extend(payload.map(|payload| ("payload".into(), payload.into())));
            step.extend(payload_base64.map(|payload| ("payload_base64".into(), payload.into())));
            step.extend(qos.map(|qos| ("qos".into(), qos.into())));
            step.extend(retain.map(|retain| ("retain".into(), retain.into())));
            let step = job_json::step_from_value(step.into()).map_err(Problem::bad_request)?;
            Ok(ActionDraft::Steps(vec![step]))
        }
        (None, Some(Value::Array(steps)), None) if args.is_none() && !of_message => {
            let numbered = |(index, step)| {
                let wrong = |error| Problem::bad_request(format!("step {}: {error}", index + 1));
                job_json::step_from_value(step).map_err(wrong)
            };
            steps.into_iter().enumerate().map(numbered).collect::<Result<_, _>>().map(ActionDraft::Steps)
        }
        (None, Some(_), None) if args.is_none() && !of_message => Err(Problem::bad_request("`steps` is not a list")),
        (None, None, Some(name)) if !of_message => {
            if target.plugin == PluginName::host() {
                let problem = Problem::bad_request("there is a `task`, and no `plugin`");
                return Err(problem.hint("add the `plugin` of the task, and its `device`"));
            }
            Ok(ActionDraft::Task(TaskDraft { name, args: args.unwrap_or_default().to_string() }))
        }
        _ => {
            let problem = Problem::bad_request("the job has no action, or several");
            Err(problem.hint(
                "set one of these: `topic` (with `payload` or `payload_base64`, `qos`, `retain`) for a message, `steps` for \
                 several messages, or \
                 `task` (with `args`) for a task of a plugin",
            ))
        }
    }
}

/// Converts a fault, with the field names of the API.
fn violation(fault: &Fault) -> Problem {
    let status = match &fault.kind {
        FaultKind::Malformed => StatusCode::BAD_REQUEST,
        FaultKind::NotPermitted(permission) if permission.is_of_messages() => StatusCode::FORBIDDEN,
        FaultKind::Rule | FaultKind::NotPermitted(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let field = fault.field.replace('-', "_").replace(".retry.", ".").replace(".misfire.", ".");
    let field = match field.strip_prefix("action.").unwrap_or(&field) {
        "task.name" => "task",
        "task.args" => "args",
        field => field,
    };
    let problem = Problem::new(status, fault.describe(field));
    fault.hint.iter().fold(problem, |problem, hint| problem.hint(hint.as_ref()))
}
