//! How the host is.

use axum::{Json, extract::State};
use roost_scheduler::{scheduler::Scheduler, time::Instant};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{desk::Desk, problem::Answered};
use crate::clock;

/// How a host is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Status {
    pub(crate) version: String,
    /// When it started, by the wall clock.
    #[schema(format = DateTime)]
    pub(crate) started: String,
    pub(crate) uptime_ms: u64,
    pub(crate) clock: ClockStatus,
    pub(crate) link: LinkStatus,
    pub(crate) store: StoreStatus,
    pub(crate) counts: Counts,
    /// Whether it has been told to stop.
    pub(crate) stopping: bool,
}

/// What its clock shows.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ClockStatus {
    #[schema(format = DateTime)]
    pub(crate) now: String,
    /// The zone of what is not of a device.
    pub(crate) zone: String,
}

/// The connection to the broker.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct LinkStatus {
    pub(crate) up: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) since: Option<String>,
}

/// The database.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct StoreStatus {
    /// Whether what is decided can be kept.
    pub(crate) writes: bool,
}

/// How many there are.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Counts {
    pub(crate) plugins: usize,
    pub(crate) devices: usize,
    pub(crate) jobs: usize,
    /// Runs that have not ended.
    pub(crate) runs: usize,
    /// Messages that the broker has not acknowledged yet.
    pub(crate) attempts: usize,
}

/// What the host says of itself
#[utoipa::path(get, path = "/api/v1/status", tag = "host", responses((status = 200, body = Status)))]
pub(super) async fn status(State(desk): State<Desk>) -> Answered<Status> {
    let (counts, link_since, writes, stopping) = desk
        .look(|scheduler| (counts(scheduler), scheduler.link_since(), scheduler.can_keep(), scheduler.is_stopping()))
        .await?;
    let zone = desk.zone();
    let text = |at: Instant| at.in_zone(zone);
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        started: text(desk.started()),
        uptime_ms: desk.uptime_ms(),
        clock: ClockStatus { now: text(clock::now()), zone: zone.name().into() },
        link: LinkStatus { up: link_since.is_some(), since: link_since.map(text) },
        store: StoreStatus { writes },
        counts,
        stopping,
    }))
}

fn counts(scheduler: &Scheduler) -> Counts {
    Counts {
        plugins: scheduler.plugin_count(),
        devices: scheduler.device_count(),
        jobs: scheduler.job_count(),
        runs: scheduler.run_count(),
        attempts: scheduler.attempts_under_way(),
    }
}
