//! What the host knows of a device, for its description and its state.

use roost_scheduler::{
    event::JobKey,
    names::JobId,
    scheduler::JobStatus,
    time::Instant,
    trigger::{Almanac, Trigger},
    zone::Zone,
};

use super::{limits, topics::Name};
use crate::{
    calendars, clock,
    http::{ApiState, Problem},
    report::Report,
    store::LastOutcome,
};

/// A device, its first jobs and its next run.
#[derive(Clone, Debug)]
pub(super) struct DeviceView {
    pub(super) zone: Zone,
    /// Whether the device itself, its plugin or all is paused now.
    pub(super) is_paused: bool,
    /// Whether a run of it has begun and owes steps.
    pub(super) is_running: bool,
    /// Why its newest plan was refused, or the newest version of its plugin.
    pub(super) error: Option<String>,
    pub(super) last: Option<LastOutcome>,
    /// The newest of the last runs that failed, were missed or were denied.
    pub(super) fault: Option<LastOutcome>,
    pub(super) next: Option<Next>,
    /// Its jobs that recur, in the order of their ids, as many as are shown.
    pub(super) jobs: Vec<Job>,
    /// How many more there are.
    pub(super) jobs_left_out: usize,
}

/// A job that recurs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) label: String,
    /// Whether the job itself is paused, or something that it belongs to.
    pub(super) is_paused: bool,
}

/// The next run of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) at: Instant,
    pub(super) job: JobId,
    pub(super) label: String,
    /// The first message, if it is known before the run.
    pub(super) message: Option<(String, Vec<u8>)>,
}

/// Looks at a device. `None`: it does not exist.
pub(super) async fn look_at(state: &ApiState, name: &Name) -> Result<Option<DeviceView>, Problem> {
    let (plugin, device) = name.clone();
    let query = state.inspect(move |scheduler| {
        let view = scheduler.device(&plugin, &device)?;
        let mut found = DeviceView::new(view.site.zone);
        found.is_paused = view.pauses.at(clock::now()).is_some();
        found.is_running = scheduler.is_running(&plugin, &device);
        found.error = view.error.map(str::to_owned);
        Some(found)
    });
    let Some(mut found) = query.await? else { return Ok(None) };
    let mut from = Some(JobKey::default());
    while let Some(key) = from {
        let (plugin, device) = name.clone();
        let batch = state
            .inspect(move |scheduler| scheduler.jobs_from((Some(&plugin), Some(&device)), key, limits::JOBS_PER_QUERY));
        let (jobs, next) = batch.await?;
        let mut almanac = calendars::almanac();
        jobs.iter().for_each(|job| found.add(job, &mut almanac));
        from = next;
    }
    found.jobs.sort_by(|one, other| one.id.cmp(&other.id));
    found.jobs_left_out = found.jobs.len().saturating_sub(limits::JOBS);
    found.jobs.truncate(limits::JOBS);
    let refused = || {
        let Report { what, causes, .. } = state.plugins().statuses.plugin(&name.0)?.fault?.report;
        Some([vec![what], causes].concat().join(": "))
    };
    found.error = found.error.or_else(refused);
    (found.last, found.fault) = state.last_outcomes().of_device(&name.0, &name.1);
    Ok(Some(found))
}

impl DeviceView {
    pub(super) fn new(zone: Zone) -> Self {
        Self {
            zone,
            is_paused: false,
            is_running: false,
            error: None,
            last: None,
            fault: None,
            next: None,
            jobs: Vec::new(),
            jobs_left_out: 0,
        }
    }

    fn add(&mut self, status: &JobStatus, almanac: &mut Almanac) {
        let JobStatus { job, pauses, job_override, .. } = status;
        let (id, label) = (job.body.job_id(), job.body.label());
        let label = label.map_or_else(|| id.to_string(), str::to_owned);
        if let Some(at) = status.next_unskipped(almanac)
            && self.next.as_ref().is_none_or(|next| at < next.at)
        {
            let message = job.body.steps().next().map(|step| (step.topic().to_owned(), step.payload.to_vec()));
            self.next = Some(Next { at, job: id.clone(), label: label.clone(), message });
        }
        if !matches!(job.trigger, Trigger::At(_)) && job_override.ad_hoc.is_none() {
            self.jobs.push(Job { id, label, is_paused: pauses.at(clock::now()).is_some() });
        }
    }
}
