//! The hosts that share a database, of which one works and the others are standbys; or the only one.

use axum::{Json, extract::State};
use roost_scheduler::{time::Instant, zone::Zone};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{pagination::Page, problem::Answered, state::ApiState};
use crate::{clock, store};

/// After this time without a sign of life a host counts as away: it gives one each second.
const AWAY_MS: i64 = 5_000;

/// What a host does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// It works.
    Owner,
    /// It is ready to take over.
    Standby,
    /// It has given no sign of life for some seconds: it was stopped, or has lost the database.
    Away,
}

/// A host.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Host)]
pub(crate) struct HostRecord {
    #[schema(example = "attic")]
    pub(crate) name: String,
    /// Where it is reached. Omitted if it listens on no port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "http://10.0.0.5:8080")]
    pub(crate) address: Option<String>,
    pub(crate) version: String,
    pub(crate) role: Role,
    /// What it owns. Always empty if no database is shared.
    #[serde(default)]
    pub(crate) cells: Vec<CellRecord>,
    /// When it gave its last sign of life.
    #[schema(format = DateTime)]
    pub(crate) seen: String,
    /// By how much its clock is ahead of the database's. Omitted if no database is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) clock_ahead_ms: Option<i64>,
    /// Whether it is the one that was asked.
    pub(crate) answers: bool,
}

/// A cell that a host owns.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Cell)]
pub(crate) struct CellRecord {
    pub(crate) cell: i64,
    /// How often the cell was taken over.
    #[schema(minimum = 1)]
    pub(crate) epoch: i64,
}

impl HostRecord {
    /// `own` is the id of the host that was asked.
    pub(crate) fn new(host: &store::Host, own: &str, cells: &[store::OwnedCell], zone: Zone) -> Self {
        let is_of_it = |cell: &&store::OwnedCell| cell.is_owned && cell.host.as_deref() == Some(&host.id);
        let cells: Vec<_> = cells.iter().filter(is_of_it).collect();
        let role = match () {
            () if host.unseen_ms > AWAY_MS => Role::Away,
            () if !cells.is_empty() => Role::Owner,
            () => Role::Standby,
        };
        Self {
            name: host.name.clone(),
            address: host.address.clone(),
            version: host.version.clone(),
            role,
            cells: cells.iter().map(|cell| CellRecord { cell: cell.number, epoch: cell.epoch }).collect(),
            seen: Instant::from_millis_clamped(host.seen_ms).in_zone(zone),
            clock_ahead_ms: Some(host.clock_ahead_ms),
            answers: host.id == own,
        }
    }
}

/// List the hosts that share a database
///
/// Each host answers, also while there is no owner. A host without `[store] url` lists itself.
#[utoipa::path(get, path = "/api/v1/hosts", tag = "host", responses((status = 200, body = Page<HostRecord>)))]
pub(super) async fn hosts(State(state): State<ApiState>) -> Answered<Page<HostRecord>> {
    let own = HostRecord {
        name: state.name().into(),
        address: state.guard().address().map(|address| format!("http://{address}")),
        version: env!("CARGO_PKG_VERSION").into(),
        role: Role::Owner,
        cells: Vec::new(),
        seen: clock::now().in_zone(state.zone()),
        clock_ahead_ms: None,
        answers: true,
    };
    Ok(Json(Page { items: vec![own], next: None }))
}
