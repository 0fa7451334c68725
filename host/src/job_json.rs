//! Actions and policies as JSON, for the store and for programs. Defaults are left out, to keep the JSON readable.

#[cfg(test)]
mod tests;

use std::{borrow::Cow, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use roost_scheduler::{
    accept::{
        self,
        draft::{ConfirmDraft, PolicyDraft, PropertiesDraft, StepDraft},
    },
    body::{Body, StepRef},
    model::{Action, Confirm, Matches, MessageProperties, Misfire, Overlap, Policy, Qos, Step, Task},
    names::{JobId, TaskName},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A message of a job.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepRecord<'a> {
    #[serde(default, skip_serializing_if = "is_zero")]
    after_ms: u32,
    #[serde(borrow)]
    #[schema(value_type = String)]
    topic: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    #[schema(value_type = String)]
    payload: Cow<'a, str>,
    /// The payload in base64 with padding (RFC 4648, section 4), if it is not text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    #[serde(default = "default_qos", skip_serializing_if = "is_default_qos")]
    qos: u8,
    #[serde(default, skip_serializing_if = "is_false")]
    retain: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    properties: Option<PropertiesRecord>,
    #[serde(default, skip_serializing_if = "is_false")]
    once: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    confirm: Option<ConfirmRecord>,
}

/// The device's report that a step waits for.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfirmRecord {
    topic: String,
    matches: MatchesRecord,
    within_ms: u32,
    #[serde(default, skip_serializing_if = "is_false")]
    already: bool,
}

/// The condition on such a report.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MatchesRecord {
    Any,
    Text(String),
    /// In base64, if the bytes are not text.
    Base64(String),
    Json {
        pointer: String,
        value: String,
    },
    /// The numbers are text, so that they are read back exactly.
    JsonRange {
        pointer: String,
        min: String,
        max: String,
    },
}

/// Properties of MQTT 5.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PropertiesRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expiry_ms: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response_topic: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Vec<String>>)]
    user: Vec<(String, String)>,
}

/// How a job's runs are treated.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grace_ms: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jitter_ms: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    priority: Option<i8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    give_up_after_ms: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backoff_ms: Option<u32>,
    #[serde(default, skip_serializing_if = "is_false")]
    run_all: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    latest_of_group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<OverlapRecord>)]
    overlap: Option<NamedOverlap>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    needs: Option<String>,
}

/// The overlap policy: what happens if a job is due again before its run has ended.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(remote = "Overlap", rename_all = "snake_case")]
pub(crate) enum OverlapRecord {
    #[serde(skip)]
    Skip,
    Queue(u32),
    Allow(u32),
    Replace,
}

#[derive(Serialize, Deserialize)]
struct NamedOverlap(#[serde(with = "OverlapRecord")] Overlap);

/// Returns bytes as text, or in base64 if they are not UTF-8: the one form of binary payloads, for programs and for
/// people.
pub(crate) fn text_or_base64(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| BASE64_STANDARD.encode(bytes))
}

/// Messages of a run that are kept for users: it has 100 at most, and there may be a million runs.
const KEPT_MESSAGES: usize = 10;
/// Bytes of each payload that are kept.
const KEPT_PAYLOAD_BYTES: usize = 256;

/// A message of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RunMessage)]
pub(crate) struct MessageRecord {
    /// How long after the start of the run it is due.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    pub(crate) after_ms: u32,
    pub(crate) topic: String,
    /// The payload, or its first 256 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) payload: String,
    /// The same in base64 with padding, if it is not text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) payload_base64: Option<String>,
    /// Whether the payload is longer.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) cut: bool,
}

impl From<StepRef<'_>> for MessageRecord {
    fn from(step: StepRef<'_>) -> Self {
        let kept = &step.payload[..step.payload.len().min(KEPT_PAYLOAD_BYTES)];
        // Not in the middle of a character.
        let kept = match std::str::from_utf8(kept) {
            Err(error) if error.error_len().is_none() => &kept[..error.valid_up_to()],
            _ => kept,
        };
        let (payload, payload_base64) = match text_or_base64(kept) {
            Ok(text) => (text.to_owned(), None),
            Err(base64) => (String::new(), Some(base64)),
        };
        let (topic, cut) = (step.topic().to_owned(), kept.len() < step.payload.len());
        Self { after_ms: step.after_ms, topic, payload, payload_base64, cut }
    }
}

/// Encodes the first messages of a run, for users.
pub(crate) fn messages_to_json(body: &Body) -> serde_json::Result<String> {
    serde_json::to_string(&body.steps().take(KEPT_MESSAGES).map(MessageRecord::from).collect::<Vec<_>>())
}

fn from_base64(what: &str, text: &str) -> Result<Arc<[u8]>, String> {
    let wrong = |error: base64::DecodeError| {
        let error = error.to_string();
        format!("{what} is not base64 with padding: {}", error.trim_end_matches('.'))
    };
    let bytes = BASE64_STANDARD.decode(text).map_err(wrong)?;
    Ok(bytes.into())
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

fn default_qos() -> u8 {
    Qos::AtLeastOnce as u8
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_default_qos(qos: &u8) -> bool {
    *qos == default_qos()
}

pub(crate) fn step(step: &StepRef<'_>) -> impl Serialize {
    StepRecord::from(*step)
}

pub(crate) fn steps(body: &Body) -> impl Serialize {
    body.steps().map(StepRecord::from).collect::<Vec<_>>()
}

/// A task, in place of a list of steps.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskRecord {
    task: String,
    /// JSON text, unchanged.
    args: String,
}

/// Encodes a list of steps, or a task.
pub(crate) fn action_to_json(body: &Body) -> serde_json::Result<String> {
    match body.task() {
        Some(Task { name, args }) => serde_json::to_string(&TaskRecord { task: name.as_str().to_owned(), args }),
        None => serde_json::to_string(&steps(body)),
    }
}

/// Decodes a body that [`action_to_json`] has encoded.
pub(crate) fn body_from_json(id: &JobId, label: Option<&str>, policy: &Policy, action: &str) -> Result<Body, String> {
    Ok(match action_from_json(action)? {
        Action::Steps(steps) if steps.is_empty() => return Err("it has no steps".into()),
        Action::Steps(steps) => Body::new(id, label, policy, &steps),
        Action::Task(task) => Body::from_task(id, label, policy, &task),
    })
}

pub(crate) fn action_from_json(text: &str) -> Result<Action, String> {
    if text.starts_with('{') {
        let TaskRecord { task, args } = serde_json::from_str(text).map_err(|error| format!("task: {error}"))?;
        let name = TaskName::parse(&task).map_err(|error| error.to_string())?;
        return Ok(Action::Task(Task { name, args }.into()));
    }
    let records: Vec<StepRecord<'_>> = serde_json::from_str(text).map_err(|error| format!("steps: {error}"))?;
    let step = |record: StepRecord<'_>| accept::step(record.into_draft()?).map_err(|fault| fault.to_string());
    let steps: Result<Vec<Step>, String> = records.into_iter().map(step).collect();
    Ok(Action::Steps(steps?.into()))
}

/// Returns steps in which payloads and conditions were in hexadecimal digits, as earlier versions stored them, with these
/// in base64; `None` if they cannot be read.
pub(crate) fn base64_payloads(steps: &str) -> Option<String> {
    fn recode(record: &mut Value, from: &str, to: &str) -> Option<()> {
        let Some(digits) = record.as_object_mut()?.remove(from) else { return Some(()) };
        record[to] = BASE64_STANDARD.encode(hex::decode(digits.as_str()?).ok()?).into();
        Some(())
    }
    let mut records: Vec<Value> = serde_json::from_str(steps).ok()?;
    for record in &mut records {
        recode(record, "payload_hex", "payload_base64")?;
        if let Some(matches) = record.pointer_mut("/confirm/matches").filter(|matches| matches.is_object()) {
            recode(matches, "hex", "base64")?;
        }
    }
    serde_json::to_string(&records).ok()
}

/// Encodes a policy; `None` for the default.
pub(crate) fn policy_to_json(policy: &Policy) -> serde_json::Result<Option<String>> {
    if *policy == Policy::default() {
        return Ok(None);
    }
    serde_json::to_string(&self::policy(policy)).map(Some)
}

pub(crate) fn policy(policy: &Policy) -> impl Serialize {
    let default = Policy::default();
    let retry = policy.retry;
    PolicyRecord {
        grace_ms: Some(policy.grace_ms).filter(|value| *value != default.grace_ms),
        jitter_ms: Some(policy.jitter_ms).filter(|value| *value != default.jitter_ms),
        priority: Some(policy.priority).filter(|value| *value != default.priority),
        attempts: retry.attempts,
        give_up_after_ms: Some(retry.give_up_after_ms).filter(|value| *value != default.retry.give_up_after_ms),
        backoff_ms: Some(retry.backoff_ms).filter(|value| *value != default.retry.backoff_ms),
        run_all: policy.misfire == Misfire::RunAll,
        latest_of_group: policy.group().map(|group| group.as_str().to_owned()),
        overlap: Some(policy.overlap).filter(|value| *value != default.overlap).map(NamedOverlap),
        needs: policy.needs.as_ref().map(|name| name.as_str().to_owned()),
    }
}

pub(crate) fn policy_from_json(text: Option<&str>) -> Result<Policy, String> {
    let Some(text) = text else { return Ok(Policy::default()) };
    let record: PolicyRecord = serde_json::from_str(text).map_err(|error| format!("policy: {error}"))?;
    accept::policy(record.into()).map_err(|fault| fault.to_string())
}

impl From<PolicyRecord> for PolicyDraft {
    fn from(record: PolicyRecord) -> Self {
        let misfire = match record.latest_of_group {
            Some(group) => Misfire::LatestOfGroup(group),
            None if record.run_all => Misfire::RunAll,
            None => Misfire::RunOnce,
        };
        let overlap = record.overlap.map(|NamedOverlap(overlap)| overlap).unwrap_or_default();
        let PolicyRecord { grace_ms, jitter_ms, priority, attempts, give_up_after_ms, backoff_ms, needs, .. } = record;
        Self { misfire, grace_ms, overlap, jitter_ms, priority, attempts, give_up_after_ms, backoff_ms, needs }
    }
}

impl From<Confirm> for ConfirmRecord {
    fn from(Confirm { topic, matches, within_ms, already }: Confirm) -> Self {
        let matches = match matches {
            Matches::Any => MatchesRecord::Any,
            Matches::Bytes(bytes) => match text_or_base64(&bytes) {
                Ok(text) => MatchesRecord::Text(text.to_owned()),
                Err(base64) => MatchesRecord::Base64(base64),
            },
            Matches::Json { pointer, value } => MatchesRecord::Json { pointer, value },
            Matches::JsonRange { pointer, min, max } => {
                MatchesRecord::JsonRange { pointer, min: min.to_string(), max: max.to_string() }
            }
        };
        Self { topic: topic.as_str().to_owned(), matches, within_ms, already }
    }
}

impl ConfirmRecord {
    fn into_draft(self) -> Result<ConfirmDraft, String> {
        let matches = match self.matches {
            MatchesRecord::Any => Matches::Any,
            MatchesRecord::Text(text) => Matches::Bytes(text.into_bytes().into()),
            MatchesRecord::Base64(text) => Matches::Bytes(from_base64("`base64` of a condition", &text)?),
            MatchesRecord::Json { pointer, value } => Matches::Json { pointer, value },
            MatchesRecord::JsonRange { pointer, min, max } => {
                let number = |text: &str| text.parse().map_err(|_| format!("`{text}` is not a number"));
                Matches::JsonRange { pointer, min: number(&min)?, max: number(&max)? }
            }
        };
        let Self { topic, within_ms, already, .. } = self;
        Ok(ConfirmDraft { topic, matches, within_ms, already })
    }
}

impl<'a> From<StepRef<'a>> for StepRecord<'a> {
    fn from(step: StepRef<'a>) -> Self {
        let (payload, payload_base64) = match text_or_base64(step.payload) {
            Ok(text) => (Cow::Borrowed(text), None),
            Err(base64) => (Cow::Borrowed(""), Some(base64)),
        };
        Self {
            after_ms: step.after_ms,
            topic: Cow::Borrowed(step.topic()),
            payload,
            payload_base64,
            qos: step.qos as u8,
            retain: step.retain,
            properties: step.properties().map(PropertiesRecord::from),
            once: step.once,
            confirm: step.confirm().map(ConfirmRecord::from),
        }
    }
}

impl StepRecord<'_> {
    fn into_draft(self) -> Result<StepDraft, String> {
        let payload = match self.payload_base64 {
            Some(_) if !self.payload.is_empty() => {
                return Err("there are `payload` and `payload_base64`: leave one out".into());
            }
            Some(text) => from_base64("`payload_base64`", &text)?,
            None => self.payload.as_bytes().into(),
        };
        let Self { after_ms, qos, retain, once, .. } = self;
        let confirm = self.confirm.map(ConfirmRecord::into_draft).transpose()?;
        let (topic, properties) = (self.topic.into_owned(), self.properties.map(Into::into));
        Ok(StepDraft { after_ms, topic, payload, qos, retain, properties, once, confirm })
    }
}

/// Reads a step as a client writes it.
pub(crate) fn step_from_value(value: Value) -> Result<StepDraft, String> {
    StepRecord::<'static>::deserialize(value).map_err(|error| error.to_string())?.into_draft()
}

impl From<MessageProperties> for PropertiesRecord {
    fn from(properties: MessageProperties) -> Self {
        Self {
            expiry_ms: properties.expiry_ms,
            content_type: properties.content_type,
            response_topic: properties.response_topic.map(|topic| topic.to_string()),
            user: properties.user,
        }
    }
}

impl From<PropertiesRecord> for PropertiesDraft {
    fn from(PropertiesRecord { expiry_ms, content_type, response_topic, user }: PropertiesRecord) -> Self {
        Self { expiry_ms, content_type, response_topic, user }
    }
}
