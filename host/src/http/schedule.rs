//! Jobs that people and programs make, which no plan touches.

use std::hash::{BuildHasher as _, RandomState};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use roost_scheduler::{
    body::PackedJob,
    event::{Digest, Done, Idempotency, NewJob, Part, Request},
    model::{Action, Job as Model, Matches, Message, Policy, Step, hold_ms},
    names::{DeviceName, JobId, PluginName},
    rules::{self, Fault},
    scheduler::api_device,
    time::{Instant, Site},
    topic::{Grant, Topic},
    trigger::{self, Trigger},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::{
    extract::{Json as Body, Path},
    jobs::{self, JobRecord},
    not_found::not_found,
    params::{Device, JobPath, Plugin},
    problem::Problem,
    state::ApiState,
};
use crate::{
    clock,
    config::{
        grant::{self, Access, how_to_allow, how_to_raise},
        rules::NotNeedable,
    },
    records, zones,
};

/// Says that two requests are one: 1 to 255 visible characters of ASCII.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Bytes of such a key.
const KEY_BYTES: usize = 255;

/// A job to be made: when, and either one message (`topic`, …), or several (`steps`), or a `task` of a plugin.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"trigger": "at now+2s", "topic": "porch/light/set", "payload": "ON"}))]
pub(crate) struct NewJobRecord {
    /// Unique among the jobs of its device. Default: one is made up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    pub(crate) id: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1024)]
    pub(crate) label: Option<String>,
    /// When: `now`, `at now+2s`, `at 2027-03-01T06:30:00Z`, `every 15m`, `cron 30 6 * * MON-FRI`, `sunset -20m`.
    #[schema(example = "at now+2s")]
    pub(crate) trigger: String,
    /// The plugin under whose grant it publishes. Default: none; what `[grants.api]` says counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(inline, value_type = Option<Plugin>)]
    pub(crate) plugin: Option<String>,
    /// Of which device, where a plugin is named. Default: the one that has the plugin's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(inline, value_type = Option<Device>)]
    pub(crate) device: Option<String>,
    /// Where to, of a single message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) topic: Option<String>,
    /// What, of a single message. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) payload: Option<String>,
    /// 0, 1 or 2, of a single message. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 2)]
    pub(crate) qos: Option<u8>,
    /// Whether the broker keeps a single message for those who subscribe later. Default: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retain: Option<bool>,
    /// Messages, each at its time after the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<records::StepRecord<'static>>>, min_items = 1, max_items = 100)]
    pub(crate) steps: Option<Value>,
    /// What the plugin is asked to do when it is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    pub(crate) task: Option<String>,
    /// Its arguments. Default: `null`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) args: Option<Value>,
    /// How its runs are treated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<records::PolicyRecord>)]
    pub(crate) policy: Option<Value>,
}

/// Where a job is to be, and what it may do there.
struct JobTarget {
    plugin: PluginName,
    device: DeviceName,
    site: Site,
    grant: Grant,
}

/// Make a job
///
/// It is kept over restarts, and no plan of a plugin touches it. When it is never due again it stays for a day, so that what
/// became of it can be seen. With the header `Idempotency-Key`, the same request twice makes one job.
#[utoipa::path(post, path = "/api/v1/jobs", tag = "jobs", request_body = NewJobRecord,
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$",
        description = "The same request with the same key makes no second job, for as long as the first one is there")),
    responses((status = 201, body = JobRecord, headers(("Location" = String, description = "Where the job is"))),
              (status = 200, body = JobRecord, description = "It is there already, by the same request")))]
pub(super) async fn schedule(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Body(body): Body<Value>,
) -> Result<Response, Problem> {
    let idempotency = idempotency(&headers, &body)?;
    if let Some(asked) = idempotency {
        // What was accepted then need not be acceptable now.
        match state.inspect(move |scheduler| scheduler.made_before(asked)).await? {
            Some(Ok((plugin, device, job))) => {
                return Ok(Json(jobs::record(&state, plugin, device, job, 0).await?).into_response());
            }
            Some(Err(refusal)) => return Err(refusal.into()),
            None => {}
        }
    }
    make(&state, read(body)?, idempotency, false).await
}

/// Make a job of that name, or replace one that was made like this
///
/// Its runs that have not started are cancelled, whatever made them; what those owe that have is sent all the same.
#[utoipa::path(put, path = "/api/v1/jobs/{plugin}/{device}/{job}", tag = "jobs", request_body = NewJobRecord,
    params(JobPath),
    responses((status = 201, body = JobRecord, headers(("Location" = String, description = "Where the job is"))),
              (status = 200, body = JobRecord, description = "It has taken the place of another one")))]
pub(super) async fn replace(
    State(state): State<ApiState>,
    Path(path): Path<JobPath>,
    Body(body): Body<Value>,
) -> Result<Response, Problem> {
    let (plugin, device, job) = path.name();
    let wanted = read(body)?;
    let own = plugin == PluginName::of_host();
    if own && device != api_device() {
        return Err(Problem::not_found(format!("`{plugin}` has no device `{device}`, only `{}`", api_device())));
    }
    let said = [
        ("plugin", &wanted.plugin, plugin.as_str()),
        ("device", &wanted.device, device.as_str()),
        ("id", &wanted.id, job.as_str()),
    ];
    if let Some((field, value, place)) =
        said.iter().find_map(|(field, said, place)| Some((field, said.as_deref().filter(|said| said != place)?, place)))
    {
        return Err(Problem::bad_request(format!("`{field}` is `{value}`, and the path says `{place}`")));
    }
    let (plugin, device) = ((!own).then(|| plugin.to_string()), (!own).then(|| device.to_string()));
    make(&state, NewJobRecord { plugin, device, id: Some(job.to_string()), ..wanted }, None, true).await
}

/// Take away a job that was made by hand
///
/// Its runs that have not started are cancelled; those that have send what they owe at once.
#[utoipa::path(delete, path = "/api/v1/jobs/{plugin}/{device}/{job}", tag = "jobs",
    params(JobPath),
    responses((status = 204)))]
pub(super) async fn cancel(State(state): State<ApiState>, Path(path): Path<JobPath>) -> Result<StatusCode, Problem> {
    let asked = state.request(Request::Cancel(path.name())).await;
    asked.map(|_| StatusCode::NO_CONTENT).map_err(|problem| match problem.status {
        409 => problem.hint("pause it instead, or change the plugin's settings"),
        _ => problem,
    })
}

fn read(body: Value) -> Result<NewJobRecord, Problem> {
    if !body.is_object() {
        return Err(Problem::bad_request("the body is not a job: it is no JSON object"));
    }
    serde_json::from_value(body).map_err(|error| Problem::bad_request(format!("the body is not a job: {error}")))
}

fn idempotency(headers: &HeaderMap, body: &Value) -> Result<Option<Idempotency>, Problem> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    if keys.next().is_some() {
        return Err(Problem::bad_request("there is more than one `Idempotency-Key`"));
    }
    let is_key = |key: &str| (1..=KEY_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    let key = key.to_str().ok().filter(|key| is_key(key));
    let key =
        key.ok_or_else(|| Problem::bad_request("`Idempotency-Key` must be 1 to 255 visible characters of ASCII"))?;
    let digest = |bytes: &[u8]| Digest(Sha256::digest(bytes).into());
    Ok(Some(Idempotency { key: digest(key.as_bytes()), request: digest(body.to_string().as_bytes()) }))
}

async fn make(
    state: &ApiState,
    wanted: NewJobRecord,
    idempotency: Option<Idempotency>,
    replaces: bool,
) -> Result<Response, Problem> {
    let place = place(state, &wanted).await?;
    let job = accept(state, wanted, &place).await?;
    let (plugin, device) = (place.plugin, place.device);
    let new = NewJob { plugin, device, job: PackedJob::from(&job), idempotency, replaces };
    let Done::Job { job: (plugin, device, job), is_new } = state.request(Request::Schedule(new.into())).await? else {
        return Err(Problem::bug(&"it was made, and is no job"));
    };
    let location = format!("/api/v1/jobs/{plugin}/{device}/{job}");
    let record = jobs::record(state, plugin, device, job, 0).await?;
    if !is_new {
        return Ok(Json(record).into_response());
    }
    let location = HeaderValue::from_str(&location).map_err(|error| Problem::bug(&error))?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(record)).into_response())
}

async fn place(state: &ApiState, wanted: &NewJobRecord) -> Result<JobTarget, Problem> {
    let name = |error: &dyn std::fmt::Display| Problem::bad_request(error.to_string());
    let Some(plugin) = &wanted.plugin else {
        if wanted.device.is_some() {
            return Err(Problem::bad_request("there is a `device`, and no `plugin`").hint("say whose device it is"));
        }
        let operator = state.operator();
        let (plugin, device) = (PluginName::of_host(), api_device());
        return Ok(JobTarget { plugin, device, site: operator.site, grant: operator.grant.clone() });
    };
    let plugin = PluginName::parse(plugin).map_err(|error| name(&error))?;
    let device =
        DeviceName::parse(wanted.device.as_deref().unwrap_or(plugin.as_str())).map_err(|error| name(&error))?;
    let (of, named) = (plugin.clone(), device.clone());
    let found = state.inspect(move |scheduler| {
        let grant = scheduler.plugin(&of)?.grant.clone();
        Some((grant, scheduler.device(&of, &named).map(|device| *device.site)))
    });
    match found.await? {
        None => Err(not_found(state, Part::Plugin(plugin)).await),
        Some((_, None)) => Err(not_found(state, Part::Device(plugin, device)).await),
        Some((grant, Some(site))) => Ok(JobTarget { plugin, device, site, grant }),
    }
}

/// Checked as a plugin's plan is.
async fn accept(state: &ApiState, wanted: NewJobRecord, place: &JobTarget) -> Result<Model, Problem> {
    let id = wanted.id.clone().unwrap_or_else(made_up);
    let id = JobId::parse(&id).map_err(|error| Problem::bad_request(error.to_string()))?;
    let policy = policy(wanted.policy.clone())?;
    let trigger = trigger(&wanted.trigger, &place.site)?;
    let label = wanted.label.clone().map(Into::into);
    let action = action(state, wanted, place).await?;
    let job = Model { id, label, trigger, action, policy };
    rules::job(&job).map_err(|fault| broken(&fault))?;
    allowed(state, &job, place)?;
    Ok(job)
}

fn made_up() -> String {
    let moment = clock::now().millis();
    format!("job-{:016x}", RandomState::new().hash_one(moment))
}

fn policy(wanted: Option<Value>) -> Result<Policy, Problem> {
    let wrong = |what: String| Problem::bad_request(what);
    let Some(wanted) = wanted else { return Ok(Policy::default()) };
    let record = serde_json::from_value(wanted).map_err(|error| wrong(format!("policy: {error}")))?;
    records::policy_from_record(record).map_err(wrong)
}

fn trigger(text: &str, site: &Site) -> Result<Trigger, Problem> {
    let now = clock::now();
    let trigger = trigger::parse(text, now, &mut zones::patterns())
        .map_err(|error| Problem::bad_request(error.to_string()).hint(error.hint()))?;
    match &trigger {
        Trigger::At(at) if *at < now => Err(past(*at, now)),
        Trigger::Sun(_) if site.location.is_none() => {
            let problem = Problem::unprocessable("the sun is wanted, and it is not known where the device is");
            Err(problem.hint("put `latitude` and `longitude` into its settings, or at the top of `roost.toml`"))
        }
        _ => Ok(trigger),
    }
}

fn past(at: Instant, now: Instant) -> Problem {
    Problem::unprocessable(format!("{at} has passed: it is {now}")).hint("write `now` for at once, or `at now+2s`")
}

async fn action(state: &ApiState, wanted: NewJobRecord, place: &JobTarget) -> Result<Action, Problem> {
    let NewJobRecord { topic, payload, qos, retain, steps, task, args, .. } = wanted;
    let of_message = payload.is_some() || qos.is_some() || retain.is_some();
    match (topic, steps, task) {
        (Some(topic), None, None) if args.is_none() => {
            let mut step = Map::new();
            step.insert("topic".into(), topic.into());
            step.extend(payload.map(|payload| ("payload".into(), payload.into())));
            step.extend(qos.map(|qos| ("qos".into(), qos.into())));
            step.extend(retain.map(|retain| ("retain".into(), retain.into())));
            messages(&Value::Array(vec![step.into()]))
        }
        (None, Some(steps), None) if args.is_none() && !of_message => messages(&steps),
        (None, None, Some(task)) if !of_message => {
            if place.plugin == PluginName::of_host() {
                let problem = Problem::bad_request("there is a `task`, and no `plugin`");
                return Err(problem.hint("say whose task it is, and for which device"));
            }
            let is_told_nothing = args.is_none();
            let args = args.unwrap_or_default().to_string();
            let (plugin, device) = (place.plugin.clone(), place.device.clone());
            let refused = |why: String| match why.split_once('\n') {
                Some((what, hint)) => Problem::unprocessable(what).hint(hint),
                None if is_told_nothing => {
                    let problem = Problem::unprocessable(why);
                    problem.hint(format!(
                        "if it wants arguments, say `args`, on the command line such as `--args '{{\"zone\": 2}}'`: `roost plugins {}` lists them",
                        place.plugin
                    ))
                }
                None => Problem::unprocessable(why),
            };
            let inquiries = &state.plugins().inquiries;
            let accepted = inquiries.task(plugin.clone(), task.clone(), args.clone()).await.map_err(refused)?;
            // It is asked now what it would do, so that arguments it does not take are told at once.
            inquiries.rehearse_task(plugin, device, task, args).await.map_err(refused)?;
            Ok(Action::Task(accepted.into()))
        }
        _ => {
            let problem = Problem::bad_request("it is not clear what the job is to do");
            Err(problem.hint(
                "say one of these: `topic` (with `payload`, `qos`, `retain`) for a message, `steps` for several, or `task` (with \
                 `args`) for what a plugin does",
            ))
        }
    }
}

fn messages(steps: &Value) -> Result<Action, Problem> {
    if !steps.is_array() {
        return Err(Problem::bad_request("`steps` is not a list"));
    }
    let action = records::action_from_json(&steps.to_string());
    if let Ok(Action::Steps(steps)) = &action {
        steps.iter().try_for_each(condition)?;
    }
    action.map_err(|error| Problem::bad_request(error.strip_prefix("steps: ").unwrap_or(&error).to_owned()))
}

/// What a report is compared with has to be JSON, or it never is so.
fn condition(step: &Step) -> Result<(), Problem> {
    let Some(Matches::Json { value, .. }) = step.confirm.as_deref().map(|confirm| &confirm.matches) else {
        return Ok(());
    };
    match serde_json::from_str::<Value>(value) {
        Ok(_) => Ok(()),
        Err(error) => {
            let problem = Problem::unprocessable(format!("`confirm.matches.json.value` is not JSON: {error}"));
            Err(problem.hint("a text needs its quotes, as in `\"open\"`"))
        }
    }
}

/// A rule that is broken, in the words of the API.
fn broken(fault: &Fault) -> Problem {
    let Fault { step, field, value, rule } = fault;
    let step = step.map(|step| format!("step {step}: ")).unwrap_or_default();
    let field = field.trim_start_matches("action.").replace('-', "_");
    Problem::unprocessable(format!("{step}`{field}` {value}: {rule}"))
}

/// I8, and what the operator has.
fn allowed(state: &ApiState, job: &Model, place: &JobTarget) -> Result<(), Problem> {
    let JobTarget { plugin, grant, .. } = place;
    let whose = if *plugin == PluginName::of_host() { "the API".into() } else { format!("`{plugin}`") };
    let outside = |field: &str, topic: &Topic, access: Access| {
        let verb = if access == Access::Publish { "publish to" } else { "read" };
        let problem =
            Problem::new(StatusCode::FORBIDDEN, format!("`{field}` `{topic}` is outside what {whose} may {verb}"));
        problem.hint(how_to_allow(plugin, topic, access, grant, state.is_granted_by_operator(plugin)))
    };
    for step in job.steps() {
        let Message { topic, qos, retain, .. } = &step.message;
        if let Some(excess) = grant.excess(topic.as_str(), *qos, *retain) {
            let by_operator = state.is_granted_by_operator(plugin);
            let above = grant::above(excess, &whose, *qos, grant);
            return Err(match (above, how_to_raise(plugin, excess, *qos, by_operator)) {
                (Some(what), Some(hint)) => {
                    Problem::new(StatusCode::FORBIDDEN, format!("{what}, in the message to `{topic}`")).hint(hint)
                }
                _ => outside("topic", topic, Access::Publish),
            });
        }
        if let Some(confirm) = &step.confirm
            && !grant.allows_subscribe(confirm.topic.as_str())
        {
            return Err(outside("confirm.topic", &confirm.topic, Access::Read));
        }
    }
    let needed = job.policy.needs.as_ref().map(|name| state.rules().needable(name, plugin, hold_ms(job.steps())));
    needed.unwrap_or(Ok(())).map_err(|NotNeedable { what, hint }| Problem::unprocessable(what).hint(hint))
}
