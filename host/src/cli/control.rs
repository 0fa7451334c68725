//! `roost run-now`, `skip`, `pause` and `resume`: the operator's overrides of jobs.

use std::io::Write;

use anyhow::Result;
use hyper::Method;
use serde::Deserialize;
use serde_json::Value;

use super::{
    client::Client,
    output,
    table::local,
    target::{JobPath, Target},
};
use crate::{
    clock,
    config::DataFlags,
    http::{
        JobRecord,
        pauses::{NewPauseRecord, PauseRecord, ReplacedPause},
        runs::RunName,
    },
    report::Report,
};

/// Run jobs now, in addition to their triggers
///
/// Prints the names of the runs. A paused job runs as well.
#[derive(clap::Args)]
#[command(after_help = "Example:
  roost run-now sprinkler/garden/water")]
pub(super) struct RunNow {
    #[command(flatten)]
    jobs: Jobs,
}

/// Skip the next run of jobs
///
/// Prints the names of the runs that will be skipped.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost skip sprinkler/garden/water
  roost skip sprinkler/garden/water --undo")]
pub(super) struct Skip {
    /// Undo the skip
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    jobs: Jobs,
}

#[derive(clap::Args)]
struct Jobs {
    /// The jobs, named as in `roost jobs`; the `NAME` alone suffices for a job made with `roost schedule`
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<JobPath>,
    #[command(flatten)]
    data: DataFlags,
}

/// Pause plugins, devices or jobs, or everything
///
/// Runs that are due in a pause are recorded as skipped and are not caught up. Runs that have started continue, so that a
/// valve that was opened is closed. Without an end, a pause lasts until it is resumed. A new pause replaces the one that
/// its plugin, device or job has.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost pause sprinkler
  roost pause sprinkler/garden --for 24h --reason rain
  roost pause sprinkler/garden/water --from 2027-07-01 --until 2027-07-15T08:00
  roost pause --all --reason 'painting the barn'")]
pub(super) struct Pause {
    #[command(flatten)]
    targets: Targets,
    /// How long it lasts, from its beginning on: `24h`, `2d12h`
    #[arg(long = "for", value_name = "DURATION", conflicts_with = "until")]
    lasts: Option<String>,
    /// When it ends: `2027-03-05T08:00` in the time zone of the device (of the host, for a plugin or `--all`), or an instant
    /// such as `2027-03-05T08:00:00Z`
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// When it begins, in the same form [default: at once]
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Why, in one line: it is shown with the pause, and with each run that it skips
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Resume plugins, devices or jobs that were paused
///
/// Also removes a pause that has not begun. What is paused itself stays so when what it belongs to is resumed.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost resume sprinkler/garden
  roost resume --all")]
pub(super) struct Resume {
    #[command(flatten)]
    targets: Targets,
}

#[derive(clap::Args)]
struct Targets {
    /// The plugins, devices or jobs; a job made with `roost schedule --topic` is `roost/api/NAME`
    #[arg(required_unless_present = "all", value_name = "PLUGIN[/DEVICE[/JOB]]")]
    targets: Vec<Target>,
    /// All plugins, and the jobs made with `roost schedule`
    #[arg(long, conflicts_with = "targets")]
    all: bool,
    #[command(flatten)]
    data: DataFlags,
}

impl Targets {
    /// Returns the client, and what is paused or resumed.
    fn open(self) -> Result<(Client, Vec<Paused>)> {
        let named = self.targets.into_iter().map(Paused::Target);
        Ok((Client::new(self.data)?, if self.all { vec![Paused::All] } else { named.collect() }))
    }
}

/// What is paused or resumed.
enum Paused {
    All,
    Target(Target),
}

impl Paused {
    /// Returns what of it the API pauses: `POST …/pause`.
    fn path(&self) -> String {
        match self {
            Self::All => "/api/v1".to_owned(),
            Self::Target(target) => target.path(),
        }
    }

    /// Returns its name for users, and for `roost resume`.
    fn names(&self) -> [String; 2] {
        match self {
            Self::All => ["everything".to_owned(), "--all".to_owned()],
            Self::Target(target) => [format!("`{target}`"), target.to_string()],
        }
    }

    /// Returns the word of what it is, as in [`PauseRecord::by`].
    const fn level(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Target(Target { job: Some(_), .. }) => "job",
            Self::Target(Target { device: Some(_), .. }) => "device",
            Self::Target(_) => "plugin",
        }
    }

    /// Returns the pause that applies to it: its own, or a wider one.
    fn pause(&self, client: &Client) -> Result<Option<PauseRecord>, Report> {
        #[derive(Deserialize)]
        struct Record {
            #[serde(default)]
            pause: Option<PauseRecord>,
        }
        let path = if matches!(self, Self::All) { "/api/v1/status".to_owned() } else { self.path() };
        client.get::<Record>(&path).map(|record| record.pause)
    }

    /// Returns the sentence about a pause of it and how to end it.
    fn note(&self, pause: &PauseRecord) -> String {
        let [name, target] = self.names();
        let runs = match self.level() {
            "job" => "its runs",
            "all" => "all runs",
            _ => "the runs of its jobs",
        };
        let (words, has_begun) = pause.in_words(clock::now(), local);
        let is = if has_begun { "is" } else { "will be" };
        if pause.until.is_none() && has_begun {
            return format!("{name} {is} {words}: {runs} are skipped until `roost resume {target}`");
        }
        let ends = if has_begun { "ends that before" } else { "removes that" };
        format!("{name} {is} {words}: {runs} are skipped; `roost resume {target}` {ends}")
    }
}

pub(super) fn run_now(args: RunNow) -> Result<()> {
    let Jobs { jobs, data } = args.jobs;
    let client = Client::new(data)?;
    for job in &jobs {
        let RunName { run } = client.post(&format!("{}/run", job.path()), &Value::Null)?;
        writeln!(output::stdout(), "{run}")?;
    }
    Ok(())
}

pub(super) fn skip(args: Skip) -> Result<()> {
    let Jobs { jobs, data } = args.jobs;
    let client = Client::new(data)?;
    for job in &jobs {
        let path = format!("{}/skip", job.path());
        if args.undo && client.get::<JobRecord>(&job.path())?.skip.is_none() {
            writeln!(output::stderr(), "no run of `{}` was to be skipped", job.as_str())?;
            continue;
        }
        let RunName { run } = if args.undo { client.delete(&path)? } else { client.post(&path, &Value::Null)? };
        writeln!(output::stdout(), "{run}")?;
        writeln!(output::stderr(), "{}", if args.undo { "it will not be skipped" } else { "it will be skipped" })?;
    }
    Ok(())
}

pub(super) fn pause(args: Pause) -> Result<()> {
    let Pause { targets, lasts, until, from, reason } = args;
    let new = NewPauseRecord { from, until, lasts, reason };
    let (client, targets) = targets.open()?;
    for target in &targets {
        let before: Option<ReplacedPause> = client.post(&format!("{}/pause", target.path()), &new)?;
        // A wider pause may end later.
        let own = target.pause(&client)?.filter(|pause| pause.by == target.level());
        let [name, resume] = target.names();
        let note = own.map_or_else(
            || format!("{name}: the pause is set; `roost resume {resume}` removes it"),
            |pause| target.note(&pause),
        );
        writeln!(output::stderr(), "{note}")?;
        if let Some(ReplacedPause { replaced: NewPauseRecord { from, until, reason, .. } }) = before {
            let before = PauseRecord { from, until, reason, by: target.level().to_owned() };
            let (words, _) = before.in_words(clock::now(), local);
            let span = words.strip_prefix("paused").unwrap_or_default();
            writeln!(output::stderr(), "note: this replaces its earlier pause{span}")?;
        }
    }
    Ok(())
}

pub(super) fn resume(args: Resume) -> Result<()> {
    let (client, targets) = args.targets.open()?;
    for target in &targets {
        client.send::<()>(Method::POST, &format!("{}/resume", target.path()))?;
        let [name, _] = target.names();
        let is = if matches!(target, Paused::All) { "all that is not paused itself" } else { &*name };
        writeln!(output::stderr(), "{is} is resumed")?;
        if let (Paused::Target(target), Some(pause)) = (target, target.pause(&client)?) {
            writeln!(output::stderr(), "note: {}", wider(target, &pause).note(&pause))?;
        }
    }
    Ok(())
}

/// Returns what a pause of a target was set on.
fn wider(target: &Target, pause: &PauseRecord) -> Paused {
    let Target { plugin, device, job } = target.clone();
    match &*pause.by {
        "all" => Paused::All,
        "plugin" => Paused::Target(Target { plugin, device: None, job: None }),
        "device" => Paused::Target(Target { plugin, device, job: None }),
        _ => Paused::Target(Target { plugin, device, job }),
    }
}

/// Returns the sentence about the pause of a job, its device, its plugin or all, if there is one.
pub(super) fn paused(job: &JobRecord) -> Option<String> {
    let pause = job.pause.as_ref()?;
    let target = format!("{}/{}/{}", job.plugin, job.device, job.job).parse().ok()?;
    Some(wider(&target, pause).note(pause))
}
