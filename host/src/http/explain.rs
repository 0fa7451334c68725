//! Why a run did or did not happen: what was recorded, or else what can be told from the plan and the clock.

mod sentence;
#[cfg(test)]
mod tests;

use axum::{Json, extract::State};
use chrono_tz::Tz;
use roost_scheduler::{
    body::PackedJob,
    event::Wish,
    names::{JobName, Origin, PluginName},
    outcome::Level,
    scheduler::{NextRun, Scheduler},
    time::{Instant, Site},
    trigger::{Never, Search, Sky, Trigger},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use self::sentence::{Progress, Sentence};
use super::{
    desk::Desk,
    extract::Query,
    limits,
    problem::{Answered, Problem},
    runs::RunRecord,
    words::{Device, Job, Plugin},
};
use crate::{
    clock,
    plugins::Fault,
    report::Report,
    store::{self, RunView},
    when::When,
};

/// How far from what was asked for a run may be that nothing was planned for then.
const NEAR_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;
/// Searches for an occurrence in the past: a month each, of what follows the sun.
const SEARCHES: usize = 13;

/// Why a run did or did not happen.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Explanation {
    #[schema(inline, value_type = Plugin)]
    pub(crate) plugin: String,
    #[schema(inline, value_type = Device)]
    pub(crate) device: String,
    #[schema(inline, value_type = Job)]
    pub(crate) job: String,
    /// Which occurrence this is about: the one that is nearest to what was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) occurrence: Option<String>,
    /// What became of it. `due`: it has not come yet. `undecided`: it has come, and waits for others. `forgotten`: there is no
    /// record of it any more, or it was not planned then. `never`: nothing was or will be due. `unknown`: there is no such job.
    #[schema(
        pattern = "^(succeeded|failed|missed|skipped|cancelled|denied|running|due|undecided|forgotten|never|unknown)$"
    )]
    pub(crate) verdict: String,
    /// The same for people.
    pub(crate) sentence: String,
    /// What else has to do with it, as things are now.
    pub(crate) notes: Vec<String>,
    /// The run, with its reason as data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<RunRecord>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    #[param(inline)]
    plugin: Plugin,
    #[param(inline)]
    device: Device,
    #[param(inline)]
    job: Job,
    /// When it should have happened, more or less: `2027-03-01T06:30:00Z`, or by the device's clock `2027-03-01T06:30`.
    /// Default: the last time that it was due
    #[param(example = "2027-03-01T06:30", max_length = 64)]
    at: Option<String>,
}

/// What the scheduler knows of a job.
struct Facts {
    has_plugin: bool,
    has_device: bool,
    /// Why the device keeps an older plan.
    error: Option<String>,
    replan_at: Option<Instant>,
    site: Option<Site>,
    planned: Option<Planned>,
    /// Its runs that have not ended.
    under_way: Vec<(Instant, Origin, Progress)>,
    is_linked: bool,
    is_stopping: bool,
    /// Why its plugin's newest files were refused, if they were, and when.
    fault: Option<(Instant, String)>,
}

/// A job that is planned.
struct Planned {
    job: PackedJob,
    next: NextRun,
    watermark: Instant,
    wish: Wish,
    paused: Option<Level>,
}

impl Facts {
    fn of(scheduler: &Scheduler, name: &JobName) -> Self {
        let (plugin, device, job) = name;
        let found = scheduler.device(plugin, device);
        let planned = scheduler.job(plugin, device, job);
        let runs = scheduler.runs_named(name).take(limits::RUNS);
        Self {
            has_plugin: scheduler.plugin(plugin).is_some(),
            has_device: found.is_some(),
            error: found.as_ref().and_then(|device| device.error.map(str::to_owned)),
            replan_at: found.as_ref().map(|device| device.replan_at),
            site: found.as_ref().map(|device| *device.site),
            under_way: runs.map(|run| (run.id.occurrence, run.id.origin, Progress::of(&run))).collect(),
            planned: planned.as_ref().map(|view| Planned {
                job: view.job.clone(),
                next: view.next,
                watermark: view.watermark,
                wish: view.wish.cloned().unwrap_or_default(),
                paused: view.paused,
            }),
            is_linked: scheduler.link_since().is_some(),
            is_stopping: scheduler.is_stopping(),
            fault: None,
        }
    }
}

/// Why a run did or did not happen
///
/// About the occurrence of the job that is nearest to `at`: what was recorded when it was decided; or why it has not come yet,
/// or what it waits for; or why there was none.
#[utoipa::path(get, path = "/api/v1/explain", tag = "runs", params(Wanted), responses((status = 200, body = Explanation)))]
pub(super) async fn explain(State(desk): State<Desk>, Query(wanted): Query<Wanted>) -> Answered<Explanation> {
    let Wanted { plugin: Plugin(plugin), device: Device(device), job: Job(job), at } = wanted;
    let at = at.map(|at| at.parse::<When>()).transpose().map_err(|why| Problem::bad_request(format!("`at`: {why}")))?;
    let name = (plugin, device, job);
    // How it ended is on disk a moment after it has.
    let told = told(&desk, &name, at.as_ref()).await?;
    if told.verdict != "forgotten" {
        return Ok(Json(told));
    }
    tokio::time::sleep(limits::DURABLE).await;
    self::told(&desk, &name, at.as_ref()).await.map(Json)
}

async fn told(desk: &Desk, name: &JobName, at: Option<&When>) -> Result<Explanation, Problem> {
    let of = name.clone();
    let facts = desk.look(move |scheduler| Facts::of(scheduler, &of)).await?;
    let fault = desk.plugins().board.plugin(&name.0).and_then(|standing| standing.fault);
    let fault =
        fault.map(|Fault { report: Report { what, causes, .. }, at }| (at, [vec![what], causes].concat().join(": ")));
    let facts = Facts { fault, ..facts };
    let zone = facts.site.map_or(desk.zone(), |site| site.zone);
    let (at, now) = (at.map(|at| at.in_zone(zone)), clock::now());
    let (of, kept_days) = (name.clone(), desk.history_days());
    if at.is_some_and(|at| at.ms_since(now) > limits::EXPLAINED_MS) {
        let problem = Problem::bad_request("`at` is more than 400 days ahead");
        return Err(problem.hint("`GET /api/v1/jobs` tells when a job is due next"));
    }
    let told = desk.read(move |data| {
        let nominal = facts.nominal(at.unwrap_or(now), at.is_none(), &mut Sky::default());
        let (before, after) = store::around(data, &of, nominal.unwrap_or_else(|_| at.unwrap_or(now)))?;
        Ok(Case { name: of, facts, at, now, zone, kept_days, nominal, before, after }.explain())
    });
    told.await
}

impl Facts {
    /// The occurrence that is meant: the nearest one, or the last one, if nobody says which.
    fn nominal(&self, at: Instant, is_last: bool, sky: &mut Sky) -> Result<Instant, Option<Never>> {
        let (Some(planned), Some(site)) = (&self.planned, &self.site) else { return Err(None) };
        let trigger = &planned.job.trigger;
        let before = last(trigger, at, site, sky);
        let after = trigger.find(at, site, sky);
        match (before, after) {
            (Some(before), Ok(after)) if !is_last && after.ms_since(at) < at.ms_since(before) => Ok(after),
            (Some(before), _) => Ok(before),
            (None, Ok(after)) => Ok(after),
            (None, Err(never)) => Err(Some(never)),
        }
    }
}

/// The newest occurrence up to an instant, as far as it makes sense to look.
fn last(trigger: &Trigger, at: Instant, site: &Site, sky: &mut Sky) -> Option<Instant> {
    let mut until = at;
    for _ in 0..SEARCHES {
        match trigger.last(Instant::MIN, until, site, sky) {
            Search::Found(found) => return Some(found),
            Search::NotUntil(earlier) if earlier < until => until = earlier,
            Search::NotUntil(_) | Search::Never(_) => return None,
        }
    }
    None
}

/// Everything that an explanation is made of.
struct Case {
    name: JobName,
    facts: Facts,
    /// What was asked for, if anything was.
    at: Option<Instant>,
    now: Instant,
    zone: Tz,
    /// For how long it is kept what became of runs.
    kept_days: u32,
    /// Which occurrence it is about, or why there is none.
    nominal: Result<Instant, Option<Never>>,
    /// Runs on disk up to that, the newest first, and the one after it.
    before: Vec<RunView>,
    after: Option<RunView>,
}

impl Case {
    fn explain(self) -> Explanation {
        let say = Sentence { zone: self.zone, now: self.now };
        let recorded = self.recorded();
        let (verdict, occurrence, sentence) = match (&recorded, self.nominal) {
            (Some(run), _) => {
                let meant = self.meant(run);
                (run.state.clone(), Some(meant.unwrap_or(run.id.occurrence)), say.ended(run, meant))
            }
            (None, Ok(nearest)) if self.at.is_some_and(|at| !is_of_day(at, nearest)) => {
                let at = self.at.unwrap_or(self.now);
                ("never".to_owned(), None, say.not_then(at, nearest, self.is_of_sun()))
            }
            (None, Ok(occurrence)) => {
                let (verdict, sentence) = self.unrecorded(&say, occurrence);
                (verdict.to_owned(), Some(occurrence), sentence)
            }
            (None, Err(never)) if self.facts.planned.is_some() => ("never".to_owned(), None, say.never(never)),
            (None, Err(_)) => match self.facts.under_way.first() {
                Some((occurrence, _, progress)) => {
                    let sentence = say.under_way(*occurrence, progress, self.facts.is_linked);
                    ("running".to_owned(), Some(*occurrence), format!("{sentence}; its job has gone"))
                }
                None => ("unknown".to_owned(), None, self.unknown(&say)),
            },
        };
        let notes = self.notes(&say, &verdict);
        let (plugin, device, job) = &self.name;
        Explanation {
            plugin: plugin.to_string(),
            device: device.to_string(),
            job: job.to_string(),
            occurrence: occurrence.map(|at| at.in_zone(self.zone)),
            verdict,
            sentence,
            notes,
            run: recorded.map(|run| RunRecord::new(&run, self.zone, self.now)),
        }
    }

    /// The run that is meant, or one that stands for it.
    fn recorded(&self) -> Option<RunView> {
        let of_trigger = |run: &&RunView| run.id.origin.is_of_trigger();
        let Ok(nominal) = self.nominal else {
            // Of a job that has gone, or is never due: what there is.
            let is_wanted = |run: &&RunView| match self.at {
                Some(at) => is_of_day(at, run.id.occurrence),
                None => self.facts.planned.is_none(),
            };
            // What a job would have done that has gone is recorded, too.
            return self.before.iter().chain(&self.after).find(is_wanted).cloned();
        };
        let at = self.at.unwrap_or(nominal);
        if self.facts.under_way.iter().any(|(occurrence, origin, _)| *occurrence == nominal && origin.is_of_trigger()) {
            return None;
        }
        let exact = |run: &&RunView| run.id.occurrence == nominal;
        let exact = self.before.iter().filter(of_trigger).find(exact);
        // One that somebody wanted at about that time, where the job itself was not due then.
        let by_hand = |run: &&RunView| is_near(run.id.occurrence, at) && !is_near(nominal, at);
        let by_hand = self.before.iter().chain(&self.after).find(by_hand);
        let stands_for =
            self.after.iter().filter(of_trigger).find(|run| since(run).is_some_and(|since| since <= nominal));
        exact.or(by_hand).or(stands_for).cloned()
    }

    /// The occurrence that was meant, where the record is about several.
    fn meant(&self, run: &RunView) -> Option<Instant> {
        self.nominal.ok().filter(|nominal| *nominal < run.id.occurrence && since(run).is_some())
    }

    /// Of an occurrence that nothing is on disk about.
    fn unrecorded(&self, say: &Sentence, occurrence: Instant) -> (&'static str, String) {
        let of_occurrence = |(of, ..): &&(Instant, Origin, Progress)| *of == occurrence;
        if let Some((.., progress)) = self.facts.under_way.iter().find(of_occurrence) {
            return ("running", say.under_way(occurrence, progress, self.facts.is_linked));
        }
        let Some(planned) = &self.facts.planned else { return ("unknown", self.unknown(say)) };
        if occurrence > self.now {
            let skip = planned.wish.skip == Some(occurrence);
            return ("due", say.due(occurrence, planned.job.body.policy().jitter_ms, planned.paused, skip));
        }
        if occurrence > planned.watermark {
            return ("undecided", say.undecided(occurrence, !self.facts.under_way.is_empty()));
        }
        let kept_ms = i64::from(self.kept_days) * DAY_MS;
        ("forgotten", say.forgotten(occurrence, self.now.ms_since(occurrence) < kept_ms, self.kept_days))
    }

    fn is_of_sun(&self) -> bool {
        self.facts.planned.as_ref().is_some_and(|planned| matches!(planned.job.trigger, Trigger::Sun(_)))
    }

    fn unknown(&self, say: &Sentence) -> String {
        let (plugin, device, job) = &self.name;
        match &self.facts.fault {
            Some((at, why)) if !self.facts.has_plugin => {
                format!("nothing of plugin `{plugin}` runs, for its file was refused {}: {why}", say.local(*at))
            }
            _ if *plugin == PluginName::of_host() => format!("nobody has made a job `{job}` by hand, or it has gone"),
            _ if !self.facts.has_plugin => format!("there is no plugin `{plugin}` in the plugin folder"),
            _ if !self.facts.has_device => {
                format!("plugin `{plugin}` has no device `{device}`: its settings say which it has")
            }
            _ => format!("device `{plugin}/{device}` has no job `{job}`: it is not in its plan"),
        }
    }

    /// What else has to do with it now.
    fn notes(&self, say: &Sentence, verdict: &str) -> Vec<String> {
        let Facts { error, replan_at, planned, is_linked, is_stopping, fault, .. } = &self.facts;
        let mut notes = Vec::new();
        if let Some((at, why)) = fault.as_ref().filter(|_| self.facts.has_plugin) {
            let at = say.local(*at);
            notes.push(format!("its plugin goes on as it was, for its newest files were refused {at}: {why}"));
        }
        if let Some(error) = error {
            let again = replan_at.map(|at| format!("; it is asked again {}", say.local(at))).unwrap_or_default();
            notes.push(format!("the device keeps an older plan, for the newest one was refused: {error}{again}"));
        }
        if let Some(planned) = planned {
            if let Some(what) = planned.paused.filter(|_| verdict != "due") {
                notes.push(format!("{} is paused now", sentence::level(what)));
            }
            match planned.next {
                _ if verdict == "due" => {}
                NextRun::Due(next) => notes.push(format!("it is due next {}", say.local(next))),
                NextRun::NotBefore(at) => notes.push(format!("it is not due before {}", say.local(at))),
                NextRun::Never => notes.push("it is never due again".into()),
            }
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

fn is_near(one: Instant, other: Instant) -> bool {
    one.ms_since(other).abs() <= NEAR_MS
}

/// From when on a record stands for all occurrences of its job, if it is about several.
fn since(run: &RunView) -> Option<Instant> {
    let why: serde_json::Value = serde_json::from_str(run.why.as_deref()?).ok()?;
    let of = ["/missed/since", "/skipped/paused/since"].iter().find_map(|place| why.pointer(place)?.as_str())?;
    Some(chrono::DateTime::parse_from_rfc3339(of).ok()?.into())
}
