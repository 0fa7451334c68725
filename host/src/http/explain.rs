//! Explanations why a run did or did not happen: from its recorded outcome, or else from the plan and the clock.

mod advice;
mod facts;
mod remedy;
mod sentence;
#[cfg(test)]
mod tests;
mod text;

use axum::{Json, extract::State};
use roost_scheduler::{
    accept::Permission,
    names::{JobName, PluginName, RunId},
    outcome::{Attempt, Cause, Denied, Outcome, RunState, Skipped},
    pause::PausedBy,
    scheduler::{JobStatus, NextRun, RunStatus, SkippedBy},
    time::Instant,
    trigger::{Never, Trigger},
    zone::Zone,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

pub(crate) use self::remedy::Remedy;
use self::{
    facts::{Facts, LeftOut},
    text::Sentence,
};
use super::{
    extract::Query,
    limits,
    params::{Device, Job, Plugin},
    problem::{Answered, Problem},
    runs::{RunRecord, with_topic},
    state::ApiState,
};
use crate::{
    calendars, clock, describe,
    plugins::Fault,
    report::Report,
    store::{Around, RunView, outcome_from_json},
    when::When,
};

const DAY_MS: i64 = 86_400_000;

/// The note on a run that was denied what is allowed by now.
const ALLOWED_NOW: &str = "it is allowed now";

/// An explanation why a run did or did not happen.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Explanation {
    #[schema(inline, value_type = Plugin)]
    pub(crate) plugin: String,
    #[schema(inline, value_type = Device)]
    pub(crate) device: String,
    #[schema(inline, value_type = Job)]
    pub(crate) job: String,
    /// The time zone of the times in the texts: that of the device.
    pub(crate) time_zone: String,
    /// The occurrence that is explained: the one of the run that is nearest to the requested time, or that should have
    /// been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) occurrence: Option<String>,
    /// The state or outcome of the run, or else: `due` if the occurrence is in the future; `undecided` if it is past
    /// and no run has started yet; `forgotten` if there is no record of it, because it is too old or was not planned
    /// then; `left-out` if the job would be due then without its limits to days; `never` if it is not due around that
    /// time; `unknown` if there is no such job.
    #[schema(
        pattern = "^(succeeded|failed|missed|skipped|cancelled|denied|running|due|undecided|forgotten|left-out|never|unknown)$"
    )]
    pub(crate) verdict: String,
    /// The explanation, in one line.
    pub(crate) sentence: String,
    /// Notes on the current state, and on how to solve the problem. Some have several lines, with settings to copy.
    pub(crate) notes: Vec<String>,
    /// The requests that mend what is wrong, the best one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) remedies: Vec<Remedy>,
    /// What leaves the occurrence out, if the verdict is `left-out`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) left_out: Option<LeftOutRecord>,
    /// The run, with its reason as data. If it is not on disk yet, only its names and state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<RunRecord>,
}

/// A limit to days that leaves an occurrence out.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = LeftOut)]
pub(crate) struct LeftOutRecord {
    /// The date that is left out, by the device's clock. That of a sun event after midnight is the evening before.
    #[schema(format = Date, example = "2026-12-25")]
    pub(crate) date: String,
    /// The clause of the trigger.
    #[schema(example = "except holidays")]
    pub(crate) by: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainQuery {
    #[param(inline)]
    plugin: Plugin,
    #[param(inline)]
    device: Device,
    #[param(inline)]
    job: Job,
    /// The approximate time at which the run should have happened: `2027-03-01T06:30:00Z`, or `2027-03-01T06:30` in the
    /// device's time zone. Default: the run under way or, if there is none, the last run that is known or, if there is
    /// none, the next occurrence
    #[param(example = "2027-03-01T06:30", max_length = 64)]
    at: Option<String>,
}

/// Explain why a run did or did not happen
///
/// Explains the run of the job that is nearest to `at`, whether it was started by its trigger or by hand: its recorded
/// outcome if it has ended, what it waits for if it has not, or why there is no such run.
#[utoipa::path(get, path = "/api/v1/explain", tag = "runs", params(ExplainQuery), responses((status = 200, body = Explanation)))]
pub(super) async fn explain(State(state): State<ApiState>, Query(query): Query<ExplainQuery>) -> Answered<Explanation> {
    let ExplainQuery { plugin: Plugin(plugin), device: Device(device), job: Job(job), at } = query;
    let at = at.map(|at| at.parse::<When>()).transpose().map_err(|why| Problem::bad_request(format!("`at`: {why}")))?;
    explain_run(&state, &(plugin, device, job), at.as_ref()).await.map(Json)
}

/// Explains the run of a job that is nearest to a time, or else its last one.
pub(crate) async fn explain_run(state: &ApiState, name: &JobName, at: Option<&When>) -> Result<Explanation, Problem> {
    explain_when_known(state, name, at, None).await
}

/// Explains one run, whichever others were due at its time.
pub(crate) async fn explain_id(state: &ApiState, run: &RunId) -> Result<Explanation, Problem> {
    let at = When::At(run.moment());
    explain_when_known(state, &run.clone().into_job_name(), Some(&at), Some(run)).await
}

async fn explain_when_known(
    state: &ApiState,
    name: &JobName,
    at: Option<&When>,
    only: Option<&RunId>,
) -> Result<Explanation, Problem> {
    let mut explanation = explain_once(state, name, at, only).await?;
    for _ in 0..limits::EXPLAIN_RETRIES {
        if !explanation.may_be_premature(at.is_some()) {
            break;
        }
        tokio::time::sleep(limits::DURABLE).await;
        explanation = explain_once(state, name, at, only).await?;
    }
    Ok(explanation)
}

impl Explanation {
    /// Checks whether the explanation may soon change. The outcome of a run is on disk shortly after its end; until
    /// then the run looks as if it were under way, or had never been.
    fn may_be_premature(&self, has_time: bool) -> bool {
        match (&self.run, self.verdict.as_str()) {
            (Some(run), _) => run.next.is_some(),
            (None, "forgotten") => true,
            (None, "due") => !has_time,
            (None, _) => false,
        }
    }
}

async fn explain_once(
    state: &ApiState,
    name: &JobName,
    at: Option<&When>,
    only: Option<&RunId>,
) -> Result<Explanation, Problem> {
    let of = name.clone();
    let facts = state.inspect(move |scheduler| Facts::of(scheduler, &of)).await?;
    let fault = state.plugins().statuses.plugin(&name.0).and_then(|status| status.fault);
    let fault =
        fault.map(|Fault { report: Report { what, causes, .. }, at }| (at, [vec![what], causes].concat().join(": ")));
    let (rules, calendars) = (state.rules().clone(), calendars::states());
    let facts = Facts { fault, rules, calendars, ..facts };
    let zone = facts.site.map_or(state.zone(), |site| site.zone);
    let (at, now) = (at.map(|at| at.in_zone(zone)), clock::now());
    let (name, kept_days) = (name.clone(), state.history_days());
    if at.is_some_and(|at| at.ms_since(now) > limits::EXPLAIN_AHEAD_MS) {
        let problem = Problem::bad_request("`at` is more than 400 days ahead");
        return Err(problem.hint("`roost jobs` shows when a job is due next"));
    }
    let only = only.cloned();
    let explanation = state.read(move |store| {
        let mut case = Case::new(name, facts, at, now, (zone, kept_days));
        case.disk = store.around(&case.name, case.nominal.ok(), at.unwrap_or(now), case.window())?;
        if let Some(id) = only {
            let on_disk = store.run(&id)?;
            case.only = Some((id, on_disk));
        }
        Ok(case.explain())
    });
    explanation.await
}

/// Everything that an explanation is based on.
struct Case {
    name: JobName,
    facts: Facts,
    /// The requested time, if any.
    at: Option<Instant>,
    now: Instant,
    zone: Zone,
    /// For how many days outcomes are kept.
    kept_days: u32,
    /// The nearest occurrence of the trigger, or why there is none.
    nominal: Result<Instant, Option<Never>>,
    /// The occurrence nearest to the requested time that a limit to days leaves out.
    left_out: Option<LeftOut>,
    /// When the run of that occurrence starts.
    start: Option<Instant>,
    /// The next occurrence.
    next: Option<NextRun>,
    /// The first occurrence from the next one on that is not skipped.
    next_unskipped: Option<Instant>,
    disk: Around,
    /// The run to explain, if it is known, and its record on disk.
    only: Option<(RunId, Option<RunView>)>,
}

/// A run that is explained.
enum Found<'a> {
    UnderWay(&'a RunStatus),
    /// A record on disk. It may cover several occurrences, among them the requested one.
    OnDisk(&'a RunView),
}

impl Found<'_> {
    fn moment(&self) -> Instant {
        match self {
            Self::UnderWay(run) => run.id.moment(),
            Self::OnDisk(run) => run.id.moment(),
        }
    }
}

impl Case {
    fn new(name: JobName, facts: Facts, at: Option<Instant>, now: Instant, (zone, kept_days): (Zone, u32)) -> Self {
        let mut sun = calendars::almanac();
        let nominal = facts.nominal(at.unwrap_or(now), at.is_none(), &mut sun);
        let left_out = at.and_then(|at| facts.left_out(at, &mut sun));
        let planned = facts.planned.as_ref();
        let start = planned.zip(nominal.ok()).map(|(job, nominal)| job.start(nominal, &mut sun));
        let next = facts.next(now, &mut sun);
        let next_unskipped = match (planned, next) {
            (Some(job), Some(NextRun::Due(next))) => job.first_unskipped(next, &mut sun),
            _ => None,
        };
        let disk = Around::default();
        Self { name, facts, at, now, zone, kept_days, nominal, left_out, start, next, next_unskipped, disk, only: None }
    }

    /// Returns the period in which other runs than that of the nearest occurrence are considered.
    fn window(&self) -> (Instant, Instant) {
        match (self.at, self.nominal) {
            (Some(at), _) => (at.plus_ms(-DAY_MS), at.plus_ms(DAY_MS + 1)),
            (None, Ok(_)) => (Instant::MIN, self.now.plus_ms(1)),
            // The job may have been removed; its records are still there.
            (None, Err(_)) => (Instant::MIN, Instant::MAX),
        }
    }

    fn explain(self) -> Explanation {
        let writer = Sentence { zone: self.zone, now: self.now, rule: self.rule() };
        let (mut notes, mut remedies) = (Vec::new(), Vec::new());
        let (mut about, mut run) = (None, None);
        let found = self.found();
        let left_out = self.left_out.as_ref().filter(|left_out| self.is_nearest(left_out.at, found.as_ref()));
        let (verdict, sentence) = match (found, self.nominal) {
            _ if let Some(left_out) = left_out => {
                about = Some(left_out.at);
                ("left-out".to_owned(), writer.left_out(left_out))
            }
            (Some(Found::OnDisk(found)), _) => {
                let outcome = found.why.as_deref().and_then(|why| outcome_from_json(why).ok());
                let covered = self.covered(found, outcome.as_ref());
                let (mut sentence, hint) = writer.on_disk(found, outcome.as_ref(), covered);
                if found.state == RunState::Failed && self.facts.can_be_replayed(&found.id) {
                    let is_unclear =
                        matches!(&outcome, Some(Outcome::Failed(failed)) if failed.last == Attempt::PossiblySent);
                    sentence += if is_unclear { "; replay it if it did not arrive" } else { "" };
                }
                notes.extend(hint);
                if let Some(Outcome::Denied(denied)) = &outcome {
                    notes.extend(self.how_to_allow(denied));
                }
                remedies.extend(self.for_ended(found, notes.last().is_some_and(|note| note == ALLOWED_NOW), &writer));
                about = Some(covered.unwrap_or(found.id.occurrence));
                let record = RunRecord::new(found, self.zone, self.now);
                let sentence = with_topic(&sentence, &record.messages);
                run = Some(record);
                (found.state.to_string(), sentence)
            }
            (Some(Found::UnderWay(found)), _) => {
                let (sentence, hint) = writer.under_way(found, self.facts.is_linked);
                remedies.extend(Remedy::for_waiting(found, hint.is_some(), &writer));
                notes.extend(hint);
                about = Some(found.id.occurrence);
                run = Some(RunRecord::under_way(&found.id, found.body.label(), found.started, self.zone));
                (RunState::Running.to_string(), sentence)
            }
            (None, Ok(nearest)) if self.at.is_some_and(|at| !is_of_day(at, nearest)) => {
                ("never".to_owned(), writer.not_then(self.at.unwrap_or(self.now), nearest, self.is_of_sun()))
            }
            (None, Ok(occurrence)) if let Some(next) = self.first_due(occurrence) => {
                about = Some(next);
                ("due".to_owned(), self.not_yet(&writer, occurrence, next))
            }
            (None, Ok(occurrence)) => {
                about = Some(occurrence);
                let (verdict, sentence) = self.without_run(&writer, occurrence);
                (verdict.to_owned(), sentence)
            }
            (None, Err(never)) if self.facts.planned.is_some() => ("never".to_owned(), writer.never(never)),
            (None, Err(_)) => ("unknown".to_owned(), self.unknown(&writer)),
        };
        remedies.extend(self.run_now().filter(|_| run.is_none() && verdict == "forgotten"));
        self.add_state(&writer, (&verdict, about), &mut notes, &mut remedies);
        let (plugin, device, job) = &self.name;
        Explanation {
            plugin: plugin.to_string(),
            device: device.to_string(),
            job: job.to_string(),
            time_zone: self.zone.name().to_owned(),
            occurrence: about.map(|at| at.in_zone(self.zone)),
            verdict,
            sentence,
            notes,
            remedies,
            left_out: left_out.map(|LeftOut { date, by, .. }| LeftOutRecord { date: date.to_string(), by: by.clone() }),
            run,
        }
    }

    /// Returns the next occurrence of a job that has not run yet, if no time is requested: its last occurrence was
    /// before it was planned.
    fn first_due(&self, last: Instant) -> Option<Instant> {
        let planned = self.facts.planned.as_ref().filter(|_| self.at.is_none())?;
        match self.next {
            Some(NextRun::Due(next)) if last <= planned.watermark && last <= self.now => Some(next),
            _ => None,
        }
    }

    fn not_yet(&self, writer: &Sentence, last: Instant, next: Instant) -> String {
        let due = match self.skipped(next) {
            Some(by) => writer.will_be_skipped(next, &self.why_skipped(writer, by)),
            None => writer.due(next, next, 0),
        };
        let is_kept = self.now.ms_since(last) < i64::from(self.kept_days) * DAY_MS;
        format!("{due}; {}", writer.forgotten((last, false), self.disk.oldest, is_kept, self.kept_days))
    }

    /// Finds the run to explain, if that is not known: one that is nearer to the requested time than the trigger's occurrence, or else the
    /// run of that occurrence. If no time is requested, a run under way comes first.
    fn found(&self) -> Option<Found<'_>> {
        let under_way = &self.facts.under_way;
        if let Some((id, on_disk)) = &self.only {
            let active = under_way.iter().find(|run| run.id == *id);
            return active.map(Found::UnderWay).or_else(|| on_disk.as_ref().map(Found::OnDisk));
        }
        if self.at.is_none()
            && let Some(newest) = under_way.iter().max_by_key(|run| run.id.moment())
        {
            return Some(Found::UnderWay(newest));
        }
        let is_under_way = |run: &&RunView| under_way.iter().any(|active| active.id == run.id);
        let on_disk = self.disk.nearest.iter().filter(|run| !is_under_way(run)).map(Found::OnDisk);
        let all = under_way.iter().map(Found::UnderWay).chain(on_disk);
        let target = self.at.unwrap_or(self.now);
        let distance = |found: &Found<'_>| {
            let is_ahead = self.at.is_none() && found.moment() > target;
            (is_ahead, found.moment().ms_since(target).abs())
        };
        let nearest = all.filter(|found| self.is_nearer(found.moment())).min_by_key(distance);
        nearest.or_else(|| self.nominal_run())
    }

    /// Checks whether a run is nearer to the requested time than the trigger's occurrence.
    fn is_nearer(&self, moment: Instant) -> bool {
        match (self.at, self.nominal) {
            (Some(at), Ok(nominal)) => is_of_day(at, moment) && moment.ms_since(at).abs() < nominal.ms_since(at).abs(),
            (Some(at), Err(_)) => is_of_day(at, moment),
            (None, Ok(nominal)) => moment <= self.now && (moment > nominal || !self.is_undecided(nominal)),
            (None, Err(_)) => true,
        }
    }

    /// Checks whether an occurrence that is left out is nearer to the requested time than any run or other occurrence.
    fn is_nearest(&self, left_out: Instant, found: Option<&Found<'_>>) -> bool {
        let Some(at) = self.at.filter(|at| self.only.is_none() && is_of_day(*at, left_out)) else { return false };
        let mut others = found.map(Found::moment).into_iter().chain(self.nominal.ok());
        others.all(|other| left_out.ms_since(at).abs() < other.ms_since(at).abs())
    }

    /// Checks whether an occurrence is past and the scheduler has not decided it yet.
    fn is_undecided(&self, occurrence: Instant) -> bool {
        let is_open = |planned: &JobStatus| occurrence > planned.watermark;
        occurrence <= self.now && self.facts.planned.as_ref().is_some_and(is_open)
    }

    /// Finds the run of the trigger's occurrence, or a record that covers it.
    fn nominal_run(&self) -> Option<Found<'_>> {
        let nominal = self.nominal.ok()?;
        let is_nominal = |run: &&RunStatus| run.id.occurrence == nominal && run.id.origin.is_trigger();
        if let Some(run) = self.facts.under_way.iter().find(is_nominal) {
            return Some(Found::UnderWay(run));
        }
        let covers = |run: &&RunView| since(run).is_some_and(|since| since <= nominal);
        let behind = self.disk.behind.as_ref().filter(covers);
        self.disk.of_occurrence.as_ref().or(behind).map(Found::OnDisk)
    }

    /// Returns the requested occurrence if it is an earlier one of several that a record covers.
    fn covered(&self, run: &RunView, outcome: Option<&Outcome>) -> Option<Instant> {
        outcome?.several().filter(|_| self.only.is_none())?;
        self.nominal.ok().filter(|nominal| *nominal < run.id.occurrence)
    }

    /// Explains an occurrence without a run. Returns the verdict and the sentence.
    fn without_run(&self, writer: &Sentence, occurrence: Instant) -> (&'static str, String) {
        let Some(planned) = &self.facts.planned else { return ("unknown", self.unknown(writer)) };
        let JobStatus { job, watermark, .. } = planned;
        let start = self.start.unwrap_or(occurrence);
        if occurrence <= *watermark && occurrence <= self.now {
            let kept_ms = i64::from(self.kept_days) * DAY_MS;
            let is_kept = self.now.ms_since(occurrence) < kept_ms;
            return (
                "forgotten",
                writer.forgotten((occurrence, self.at.is_some()), self.disk.oldest, is_kept, self.kept_days),
            );
        }
        let verdict = if occurrence > self.now { "due" } else { "undecided" };
        let sentence = match self.skipped(occurrence) {
            Some(by) => writer.will_be_skipped(occurrence, &self.why_skipped(writer, by)),
            None if start > self.now => writer.due(occurrence, start, job.body.policy().jitter_ms),
            None => writer.undecided(occurrence, !self.facts.under_way.is_empty()),
        };
        (verdict, sentence)
    }

    fn is_of_sun(&self) -> bool {
        self.facts.planned.as_ref().is_some_and(|planned| matches!(planned.job.trigger, Trigger::Sun(_)))
    }

    fn unknown(&self, writer: &Sentence) -> String {
        let (plugin, device, job) = &self.name;
        match &self.facts.fault {
            Some((at, why)) if !self.facts.has_plugin() => {
                let (why, _) = text::lines(why);
                format!("plugin `{plugin}` does not run, because its file was refused {}: {why}", writer.local(*at))
            }
            _ if *plugin == PluginName::host() => {
                format!("there is no ad-hoc job `{job}`, or it has been removed")
            }
            _ if !self.facts.has_plugin() => format!("there is no plugin `{plugin}` in the plugin folder"),
            _ if !self.facts.has_device => {
                format!("plugin `{plugin}` has no device `{device}`: see its settings")
            }
            _ => format!("device `{plugin}/{device}` has no job `{job}` in its plan"),
        }
    }

    /// Returns the settings that allow what was denied, or a note that it is allowed by now.
    fn how_to_allow(&self, denied: &Denied) -> Option<String> {
        let (grant, rules, plugin) = (self.facts.grant.as_ref()?, &self.facts.rules, &self.name.0);
        let is_held_back = |name, hold_ms| {
            rules.resources.get(name).is_none_or(|resource| resource.denied(name, plugin, hold_ms).is_some())
        };
        let (permission, is_lacking) = match denied {
            Denied::Topic(topic) => (Permission::Publish(topic.clone()), !grant.allows_publish(topic.as_str())),
            Denied::HostTopic(topic) => (Permission::HostTopic, rules.host_topic.covers(topic.as_str())),
            Denied::Report(topic) => (Permission::Read(topic.clone()), !grant.allows_subscribe(topic.as_str())),
            Denied::Qos { qos, .. } => (Permission::Qos(*qos), *qos > grant.max_qos),
            Denied::Retain(_) => (Permission::Retain, !grant.retain),
            Denied::Resource(name) | Denied::NotGranted(name) => {
                (Permission::Resource(name.clone(), 0), is_held_back(name, 0))
            }
            Denied::HoldTooLong { resource, hold_ms, .. } => {
                (Permission::Resource(resource.clone(), *hold_ms), is_held_back(resource, *hold_ms))
            }
        };
        let how = if is_lacking { rules.how_to_permit(&permission, plugin, grant) } else { ALLOWED_NOW.into() };
        Some(how)
    }

    /// Returns what skips the run of an occurrence that is to come.
    fn skipped(&self, occurrence: Instant) -> Option<SkippedBy<'_>> {
        self.facts.planned.as_ref()?.skipped(occurrence, &mut calendars::almanac())
    }

    /// Returns why a run will be skipped.
    fn why_skipped(&self, writer: &Sentence, by: SkippedBy<'_>) -> String {
        let PausedBy { what, pause } = match by {
            SkippedBy::Pause(by) => by,
            SkippedBy::Operator => return Skipped::BY_OPERATOR.to_owned(),
        };
        // Of one to come: what it will be then.
        let is = if pause.covers(self.now) { "is" } else { "will be" };
        format!("{what} {is} paused{}", pause.suffix(&|at| writer.local(at)))
    }

    /// Returns the note about a pause.
    fn paused(&self, writer: &Sentence, PausedBy { what, pause }: &PausedBy) -> String {
        let local = |at| writer.local(at);
        let suffix = pause.suffix(&local);
        match pause.from().filter(|from| *from > self.now) {
            Some(from) => format!("{what} will be paused from {}{suffix}", writer.local(from)),
            None if pause.until().is_some() => format!("{what} is paused{suffix}"),
            None => format!("{what} is paused now{suffix}"),
        }
    }

    /// Returns what makes the job due, in words.
    fn rule(&self) -> Option<String> {
        match &self.facts.planned.as_ref()?.job.trigger {
            // Its time is that of the occurrence.
            Trigger::At(_) => Some("once".to_owned()),
            trigger @ Trigger::Cron(cron) if !describe::is_in_words(cron) => {
                Some(format!("{}, `{trigger}`", describe::trigger(trigger, self.zone)))
            }
            trigger => Some(describe::trigger(trigger, self.zone)),
        }
    }

    /// Adds the notes about the current state of the plugin, the device, the job and the host, and their remedies. `about`
    /// is the occurrence that is explained: a remedy for another one needs a note that names that.
    fn add_state(
        &self,
        writer: &Sentence,
        (verdict, about): (&str, Option<Instant>),
        notes: &mut Vec<String>,
        remedies: &mut Vec<Remedy>,
    ) {
        let Facts { error, replan_at, planned, is_linked, is_stopping, fault, .. } = &self.facts;
        if let Some((at, why)) = fault.as_ref().filter(|_| self.facts.has_plugin()) {
            let (at, (why, hint)) = (writer.local(*at), text::lines(why));
            notes.push(format!(
                "its plugin runs in its previous version, because the newest files were refused {at}: {why}"
            ));
            notes.extend(hint);
        }
        if let Some(error) = error {
            let (why, hint) = text::lines(error);
            let retry = match replan_at {
                Some(at) if *at > self.now => format!("; a new plan is requested {}", writer.local(*at)),
                Some(_) => "; a new plan has been requested".into(),
                None => String::new(),
            };
            notes.push(format!("the device's newest plan was refused: {why}{retry}"));
            notes.extend(hint);
        }
        if let Some(planned) = planned {
            let next_due = self.next.and_then(|next| if let NextRun::Due(at) = next { Some(at) } else { None });
            let skipped = next_due.and_then(|next| self.skipped(next));
            // Only to remove the pause that skips the run, or the next one if that run is past, mends something.
            let to_come = about.filter(|_| matches!(verdict, "due" | "undecided"));
            match to_come.map_or(skipped, |about| self.skipped(about)) {
                Some(SkippedBy::Pause(by)) => {
                    remedies.insert(0, Remedy::resume(&self.name, by.what).for_note(notes.len()));
                    notes.push(self.paused(writer, by));
                }
                _ => notes.extend(planned.pauses.shown(self.now).map(|by| self.paused(writer, by))),
            }
            let skip = planned.job_override.skip;
            let next = self.next.filter(|_| verdict != "due");
            if let Some(skip) = skip.filter(|skip| self.next == Some(NextRun::Due(*skip))) {
                let unskip = Remedy::unskip(&self.name, skip, writer);
                if next.is_some() {
                    remedies.push(unskip.for_note(notes.len()));
                } else if about == Some(skip) {
                    remedies.push(unskip);
                }
            }
            let why = skipped.map(|by| self.why_skipped(writer, by));
            notes.extend(next.map(|next| writer.next(next, why.as_deref(), self.next_unskipped)));
            notes.extend(self.facts.of_calendars());
        } else if verdict != "unknown" {
            notes.push(format!("its job has been removed: {}", self.unknown(writer)));
        }
        if !is_linked {
            notes.push(format!("{} now", Cause::LinkDown.lasting()));
        }
        if *is_stopping {
            notes.push("the host is stopping".into());
        }
    }
}

/// Checks whether two instants are at most a day apart.
fn is_of_day(one: Instant, other: Instant) -> bool {
    one.ms_since(other).abs() <= DAY_MS
}

/// Returns the first occurrence that a record covers, if it covers several.
fn since(run: &RunView) -> Option<Instant> {
    let outcome = outcome_from_json(run.why.as_deref()?).ok()?;
    outcome.several().map(|several| several.since)
}
