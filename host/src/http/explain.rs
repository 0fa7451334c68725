//! Why a run did or did not happen: what was recorded, or else what can be told from the plan and the clock.

mod facts;
mod reason;
mod sentence;
#[cfg(test)]
mod tests;

use axum::{Json, extract::State};
use roost_scheduler::{
    names::{JobName, PluginName, ResourceName},
    outcome::{Attempt, Denied, Level, Outcome},
    scheduler::NextRun,
    time::Instant,
    topic::{Excess, Topic},
    trigger::{Never, SunCache, Trigger},
    zone::Zone,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use self::{
    facts::{ActiveRun, Facts, Planned},
    sentence::{BY_HAND, Sentence},
};
use super::{
    extract::Query,
    limits,
    params::{Device, Job, Plugin},
    problem::{Answered, Problem},
    runs::RunRecord,
    state::ApiState,
};
use crate::{
    clock,
    config::grant::{Access, how_to_allow, how_to_raise},
    plugins::Fault,
    report::Report,
    store::{self, Around, RunView},
    when::When,
};

const DAY_MS: i64 = 86_400_000;

/// Why a run did or did not happen.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Explanation {
    #[schema(inline, value_type = Plugin)]
    pub(crate) plugin: String,
    #[schema(inline, value_type = Device)]
    pub(crate) device: String,
    #[schema(inline, value_type = Job)]
    pub(crate) job: String,
    /// Which occurrence this is about: that of the run that is nearest to what was asked for, or should have been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) occurrence: Option<String>,
    /// What became of it. `due`: it has not come yet. `undecided`: it has come, and nothing has started yet. `forgotten`: there is no
    /// record of it any more, or it was not planned then. `never`: nothing was or will be due. `unknown`: there is no such job.
    #[schema(
        pattern = "^(succeeded|failed|missed|skipped|cancelled|denied|running|due|undecided|forgotten|never|unknown)$"
    )]
    pub(crate) verdict: String,
    /// The same for people, in one line.
    pub(crate) sentence: String,
    /// What else has to do with it, as things are now, and what to do: some with lines to be copied.
    pub(crate) notes: Vec<String>,
    /// The run, with its reason as data; of one that nothing is on disk of yet, only which it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<RunRecord>,
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
    /// When it should have happened, more or less: `2027-03-01T06:30:00Z`, or by the device's clock `2027-03-01T06:30`.
    /// Default: its last run, whatever made it
    #[param(example = "2027-03-01T06:30", max_length = 64)]
    at: Option<String>,
}

/// Why a run did or did not happen
///
/// About the run of the job that is nearest to `at`, whether its trigger made it or a person did, under way or ended: what was
/// recorded when it was decided; or why it has not come yet, or what it waits for; or why there was none.
#[utoipa::path(get, path = "/api/v1/explain", tag = "runs", params(ExplainQuery), responses((status = 200, body = Explanation)))]
pub(super) async fn explain(State(desk): State<ApiState>, Query(wanted): Query<ExplainQuery>) -> Answered<Explanation> {
    let ExplainQuery { plugin: Plugin(plugin), device: Device(device), job: Job(job), at } = wanted;
    let at = at.map(|at| at.parse::<When>()).transpose().map_err(|why| Problem::bad_request(format!("`at`: {why}")))?;
    let name = (plugin, device, job);
    let mut explanation = told(&desk, &name, at.as_ref()).await?;
    for _ in 0..limits::EXPLAINED_AGAIN {
        if !explanation.may_be_early(at.is_some()) {
            break;
        }
        tokio::time::sleep(limits::DURABLE).await;
        explanation = told(&desk, &name, at.as_ref()).await?;
    }
    Ok(Json(explanation))
}

impl Explanation {
    /// Whether a moment later there may be more to say: how a run ended is on disk a little after it has. Until then there is
    /// nothing of it, as of a job that never ran, or that it has not ended.
    fn may_be_early(&self, has_time: bool) -> bool {
        match (&self.run, self.verdict.as_str()) {
            (Some(run), _) => run.next.is_some(),
            (None, "forgotten") => true,
            (None, "due") => !has_time,
            (None, _) => false,
        }
    }
}

async fn told(desk: &ApiState, name: &JobName, at: Option<&When>) -> Result<Explanation, Problem> {
    let of = name.clone();
    let facts = desk.look(move |scheduler| Facts::of(scheduler, &of)).await?;
    let fault = desk.plugins().board.plugin(&name.0).and_then(|standing| standing.fault);
    let fault =
        fault.map(|Fault { report: Report { what, causes, .. }, at }| (at, [vec![what], causes].concat().join(": ")));
    let facts = Facts { fault, rules: desk.rules().clone(), ..facts };
    let zone = facts.site.map_or(desk.zone(), |site| site.zone);
    let (at, now) = (at.map(|at| at.in_zone(zone)), clock::now());
    let (name, kept_days) = (name.clone(), desk.history_days());
    if at.is_some_and(|at| at.ms_since(now) > limits::EXPLAINED_MS) {
        let problem = Problem::bad_request("`at` is more than 400 days ahead");
        return Err(problem.hint("`roost jobs` says when a job is due next"));
    }
    let told = desk.read(move |data| {
        let mut case = Case::new(name, facts, at, now, (zone, kept_days));
        case.disk = store::around(data, &case.name, case.nominal.ok(), at.unwrap_or(now), case.window())?;
        Ok(case.explain())
    });
    told.await
}

/// Everything that an explanation is made of.
struct Case {
    name: JobName,
    facts: Facts,
    /// What was asked for, if anything was.
    at: Option<Instant>,
    now: Instant,
    zone: Zone,
    /// For how long it is kept what became of runs.
    kept_days: u32,
    /// The occurrence of its trigger that is nearest, or why there is none.
    nominal: Result<Instant, Option<Never>>,
    /// When the run of that starts.
    start: Option<Instant>,
    /// What comes next.
    next: Option<NextRun>,
    disk: Around,
}

/// A run that an explanation is about.
enum Found<'a> {
    UnderWay(&'a ActiveRun),
    /// Perhaps it stands for the one that is meant.
    OnDisk(&'a RunView),
}

impl Found<'_> {
    fn moment(&self) -> Instant {
        match self {
            Self::UnderWay(begun) => begun.id.moment(),
            Self::OnDisk(run) => run.id.moment(),
        }
    }
}

impl Case {
    fn new(name: JobName, facts: Facts, at: Option<Instant>, now: Instant, (zone, kept_days): (Zone, u32)) -> Self {
        let mut sky = SunCache::default();
        let nominal = facts.nominal(at.unwrap_or(now), at.is_none(), &mut sky);
        let start = nominal.ok().map(|nominal| facts.start(&name, nominal, &mut sky));
        let next = facts.next(now, &mut sky);
        Self { name, facts, at, now, zone, kept_days, nominal, start, next, disk: Around::default() }
    }

    /// From when to when a run may have been due that nobody has planned for the time that is meant.
    fn window(&self) -> (Instant, Instant) {
        match (self.at, self.nominal) {
            (Some(at), _) => (at.plus_ms(-DAY_MS), at.plus_ms(DAY_MS + 1)),
            (None, Ok(nominal)) if nominal <= self.now => (nominal, self.now.plus_ms(1)),
            (None, Ok(_)) => (Instant::MIN, self.now.plus_ms(1)),
            // What a job would have done that has gone is recorded, too.
            (None, Err(_)) => (Instant::MIN, Instant::MAX),
        }
    }

    fn explain(self) -> Explanation {
        let say = Sentence { zone: self.zone, now: self.now };
        let mut notes = Vec::new();
        let (mut about, mut run) = (None, None);
        let (verdict, sentence) = match (self.found(), self.nominal) {
            (Some(Found::OnDisk(found)), _) => {
                let outcome = found.why.as_deref().and_then(|why| store::outcome_from_json(why).ok());
                let meant = self.meant(found, outcome.as_ref());
                let (mut sentence, hint) = say.on_disk(found, outcome.as_ref(), meant);
                if found.state == "failed" && self.facts.can_be_done_again(&found.id) {
                    let is_unclear =
                        matches!(&outcome, Some(Outcome::Failed(failed)) if failed.last == Attempt::PossiblySent);
                    let whether = if is_unclear { "if it did not arrive, " } else { "" };
                    sentence += &format!("; {whether}`roost replay {}` does it again", found.id);
                }
                notes.extend(hint);
                if let Some(Outcome::Denied(denied)) = &outcome {
                    notes.extend(self.how_to_allow(denied));
                }
                about = Some(meant.unwrap_or(found.id.occurrence));
                run = Some(RunRecord::new(found, self.zone, self.now));
                (found.state.clone(), sentence)
            }
            (Some(Found::UnderWay(ActiveRun { id, started, progress })), _) => {
                let (sentence, hint) = say.under_way(id, progress, self.facts.is_linked);
                notes.extend(hint);
                about = Some(id.occurrence);
                run = Some(RunRecord::under_way(id, *started, self.zone));
                ("running".to_owned(), sentence)
            }
            (None, Ok(nearest)) if self.at.is_some_and(|at| !is_of_day(at, nearest)) => {
                ("never".to_owned(), say.not_then(self.at.unwrap_or(self.now), nearest, self.is_of_sun()))
            }
            (None, Ok(occurrence)) if let Some(next) = self.first_due(occurrence) => {
                about = Some(next);
                ("due".to_owned(), self.not_yet(&say, occurrence, next))
            }
            (None, Ok(occurrence)) => {
                about = Some(occurrence);
                let (verdict, sentence) = self.undone(&say, occurrence);
                (verdict.to_owned(), sentence)
            }
            (None, Err(never)) if self.facts.planned.is_some() => ("never".to_owned(), say.never(never)),
            (None, Err(_)) => ("unknown".to_owned(), self.unknown(&say)),
        };
        notes.extend(self.notes(&say, &verdict));
        let (plugin, device, job) = &self.name;
        Explanation {
            plugin: plugin.to_string(),
            device: device.to_string(),
            job: job.to_string(),
            occurrence: about.map(|at| at.in_zone(self.zone)),
            verdict,
            sentence,
            notes,
            run,
        }
    }

    /// When a job is due that has no run yet, where no time is asked for: its last one was before it was planned.
    fn first_due(&self, last: Instant) -> Option<Instant> {
        let planned = self.facts.planned.as_ref().filter(|_| self.at.is_none())?;
        match self.next {
            Some(NextRun::Due(next)) if last <= planned.watermark && last <= self.now => Some(next),
            _ => None,
        }
    }

    fn not_yet(&self, say: &Sentence, last: Instant, next: Instant) -> String {
        let is_unwanted = self.facts.planned.as_ref().is_some_and(|planned| planned.wish.skip == Some(next));
        let due = if is_unwanted { say.left_out(next, BY_HAND) } else { say.due(next, next, 0) };
        let is_kept = self.now.ms_since(last) < i64::from(self.kept_days) * DAY_MS;
        format!("{due}; {}", say.forgotten((last, false), self.disk.oldest, is_kept, self.kept_days))
    }

    /// The run that is meant: one that is nearer than what the job's trigger would have made, or else that.
    fn found(&self) -> Option<Found<'_>> {
        let under_way = &self.facts.under_way;
        let is_under_way = |run: &&RunView| under_way.iter().any(|begun| begun.id == run.id);
        let on_disk = self.disk.nearest.iter().filter(|run| !is_under_way(run)).map(Found::OnDisk);
        let all = under_way.iter().map(Found::UnderWay).chain(on_disk);
        let target = self.at.unwrap_or(self.now);
        let distance = |found: &Found<'_>| {
            let is_ahead = self.at.is_none() && found.moment() > target;
            (is_ahead, found.moment().ms_since(target).abs())
        };
        let nearest = all.filter(|found| self.is_nearer(found.moment())).min_by_key(distance);
        nearest.or_else(|| self.of_nominal())
    }

    /// Whether a run is meant rather than what the trigger would have made.
    fn is_nearer(&self, moment: Instant) -> bool {
        match (self.at, self.nominal) {
            (Some(at), Ok(nominal)) => is_of_day(at, moment) && moment.ms_since(at).abs() < nominal.ms_since(at).abs(),
            (Some(at), Err(_)) => is_of_day(at, moment),
            (None, Ok(nominal)) => moment <= self.now && (moment > nominal || nominal > self.now),
            (None, Err(_)) => true,
        }
    }

    /// The run of the trigger's occurrence, or one that stands for it.
    fn of_nominal(&self) -> Option<Found<'_>> {
        let nominal = self.nominal.ok()?;
        let is_it = |begun: &&ActiveRun| begun.id.occurrence == nominal && begun.id.origin.is_of_trigger();
        if let Some(begun) = self.facts.under_way.iter().find(is_it) {
            return Some(Found::UnderWay(begun));
        }
        let stands_for = |run: &&RunView| since(run).is_some_and(|since| since <= nominal);
        let behind = self.disk.behind.as_ref().filter(stands_for);
        self.disk.of_occurrence.as_ref().or(behind).map(Found::OnDisk)
    }

    /// The occurrence that was meant, where the record is about several.
    fn meant(&self, run: &RunView, outcome: Option<&Outcome>) -> Option<Instant> {
        outcome?.several()?;
        self.nominal.ok().filter(|nominal| *nominal < run.id.occurrence)
    }

    /// Of an occurrence that there is no run of.
    fn undone(&self, say: &Sentence, occurrence: Instant) -> (&'static str, String) {
        let Some(planned) = &self.facts.planned else { return ("unknown", self.unknown(say)) };
        let Planned { job, wish, paused, watermark, .. } = planned;
        let left_out = match paused {
            Some(what) => Some(format!("{} is paused", sentence::level(*what))),
            None if wish.skip == Some(occurrence) => Some(BY_HAND.to_owned()),
            None => None,
        };
        let start = self.start.unwrap_or(occurrence);
        if occurrence <= *watermark && occurrence <= self.now {
            let kept_ms = i64::from(self.kept_days) * DAY_MS;
            let is_kept = self.now.ms_since(occurrence) < kept_ms;
            return (
                "forgotten",
                say.forgotten((occurrence, self.at.is_some()), self.disk.oldest, is_kept, self.kept_days),
            );
        }
        let verdict = if occurrence > self.now { "due" } else { "undecided" };
        let sentence = match left_out {
            Some(why) => say.left_out(occurrence, &why),
            None if start > self.now => say.due(occurrence, start, job.body.policy().jitter_ms),
            None => say.undecided(occurrence, !self.facts.under_way.is_empty()),
        };
        (verdict, sentence)
    }

    fn is_of_sun(&self) -> bool {
        self.facts.planned.as_ref().is_some_and(|planned| matches!(planned.job.trigger, Trigger::Sun(_)))
    }

    fn unknown(&self, say: &Sentence) -> String {
        let (plugin, device, job) = &self.name;
        match &self.facts.fault {
            Some((at, why)) if !self.facts.has_plugin() => {
                let (why, _) = reason::lines(why);
                format!("nothing of plugin `{plugin}` runs, for its file was refused {}: {why}", say.local(*at))
            }
            _ if *plugin == PluginName::of_host() => {
                format!("there is no job `{job}` that was made by hand, or it has gone")
            }
            _ if !self.facts.has_plugin() => format!("there is no plugin `{plugin}` in the plugin folder"),
            _ if !self.facts.has_device => {
                format!("plugin `{plugin}` has no device `{device}`: its settings say which it has")
            }
            _ => format!("device `{plugin}/{device}` has no job `{job}`: it is not in its plan"),
        }
    }

    /// The lines by which an operator allows what was denied, unless it is allowed by now.
    fn how_to_allow(&self, denied: &Denied) -> Option<String> {
        let (grant, rules, plugin) = (self.facts.grant.as_ref()?, &self.facts.rules, &self.name.0);
        let by_operator = rules.grants.contains_key(plugin);
        let how = |topic: &Topic, access| how_to_allow(plugin, topic, access, grant, by_operator);
        let raise = |excess, qos| how_to_raise(plugin, excess, qos, by_operator);
        let need = |name: &ResourceName, hold_ms| match rules.needable(name, plugin, hold_ms) {
            Ok(()) => Some("that is allowed by now".into()),
            Err(not) => Some(not.hint),
        };
        match denied {
            Denied::Topic(topic) if !grant.allows_publish(topic.as_str()) => Some(how(topic, Access::Publish)),
            Denied::Report(topic) if !grant.allows_subscribe(topic.as_str()) => Some(how(topic, Access::Read)),
            Denied::Qos { qos, .. } if *qos > grant.max_qos => raise(Excess::Qos, *qos),
            Denied::Retain(_) if !grant.retain => raise(Excess::Retain, grant.max_qos),
            Denied::Topic(_) | Denied::Report(_) | Denied::Qos { .. } | Denied::Retain(_) => {
                Some("that is allowed by now".into())
            }
            Denied::Resource(name) | Denied::NotGranted(name) => need(name, 0),
            Denied::HoldTooLong { resource, hold_ms, .. } => need(resource, *hold_ms),
        }
    }

    /// What is paused now, and how to end that.
    fn paused(&self, what: Level) -> String {
        let (plugin, device, job) = &self.name;
        let part = match what {
            Level::Plugin => plugin.to_string(),
            Level::Device => format!("{plugin}/{device}"),
            Level::Job => format!("{plugin}/{device}/{job}"),
        };
        format!("{} is paused now; `roost resume {part}` ends that", sentence::level(what))
    }

    /// What else has to do with it now.
    fn notes(&self, say: &Sentence, verdict: &str) -> Vec<String> {
        let Facts { error, replan_at, planned, is_linked, is_stopping, fault, .. } = &self.facts;
        let mut notes = Vec::new();
        if let Some((at, why)) = fault.as_ref().filter(|_| self.facts.has_plugin()) {
            let (at, (why, hint)) = (say.local(*at), reason::lines(why));
            notes.push(format!("its plugin goes on as it was, for its newest files were refused {at}: {why}"));
            notes.extend(hint);
        }
        if let Some(error) = error {
            let (why, hint) = reason::lines(error);
            let again = match replan_at {
                Some(at) if *at > self.now => format!("; it is asked again {}", say.local(*at)),
                Some(_) => "; it is being asked again".into(),
                None => String::new(),
            };
            notes.push(format!("the device's newest plan was refused: {why}{again}"));
            notes.extend(hint);
        }
        if let Some(planned) = planned {
            notes.extend(planned.paused.map(|what| self.paused(what)));
            let next = self.next.filter(|_| verdict != "due");
            notes.extend(next.map(|next| say.next(next, planned.wish.skip)));
        } else if verdict != "unknown" {
            notes.push(format!("its job has gone: {}", self.unknown(say)));
        }
        if !is_linked {
            notes.push("there is no connection to the broker now".into());
        }
        if *is_stopping {
            notes.push("the host is stopping".into());
        }
        notes
    }
}

/// Whether it is no more than a day away.
fn is_of_day(one: Instant, other: Instant) -> bool {
    one.ms_since(other).abs() <= DAY_MS
}

/// From when on a record stands for all occurrences of its job, if it is about several.
fn since(run: &RunView) -> Option<Instant> {
    let outcome = store::outcome_from_json(run.why.as_deref()?).ok()?;
    outcome.several().map(|several| several.since)
}
