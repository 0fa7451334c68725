//! The limits of a call of a plugin (I7): those in the plugin's settings, and the operator's ceilings.

use std::ops::RangeInclusive;

use roost_scheduler::limits::JOBS_PER_PLAN;

use super::document::{Table, Value};
use crate::report::Report;

/// The limits of one call of a plugin (I7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallLimits {
    /// The total of its memories. Pages that are never touched cost nothing.
    pub(crate) memory_mib: u32,
    /// Time that it computes.
    pub(crate) cpu_ms: u32,
    /// Time in all, waiting included.
    pub(crate) wall_ms: u32,
    /// Jobs in one plan.
    pub(crate) jobs: usize,
    /// The size of its result when the host copies it out.
    pub(crate) lift_mib: u32,
}

/// A plugin in Rust needs 2 MiB, one in Python 256; beyond 2 GiB two calls at once would fill a small host.
const MEMORY_MIB: RangeInclusive<u32> = 1..=2_048;
/// A plugin that needs a minute of a core for each plan is faulty.
const CPU_MS: RangeInclusive<u32> = 10..=60_000;
/// A plan that takes longer than five minutes holds up the plans of other plugins.
const WALL_MS: RangeInclusive<u32> = 10..=300_000;
/// The scheduler takes no longer plans (I10).
const JOBS: RangeInclusive<u32> = 1..=JOBS_PER_PLAN as u32;
/// The host holds two results at once, each several times as large once it is decoded.
const LIFT_MIB: RangeInclusive<u32> = 1..=64;

impl Default for CallLimits {
    fn default() -> Self {
        Self { memory_mib: 256, cpu_ms: 500, wall_ms: 10_000, jobs: JOBS_PER_PLAN, lift_mib: 16 }
    }
}

const LIMIT_KEYS: [&str; 5] = ["memory_mib", "cpu_ms", "wall_ms", "jobs", "lift_mib"];

impl CallLimits {
    /// The largest limits that a plugin's settings may set, unless the operator sets lower ceilings.
    pub(crate) const MOST: Self = Self {
        memory_mib: *MEMORY_MIB.end(),
        cpu_ms: *CPU_MS.end(),
        wall_ms: *WALL_MS.end(),
        jobs: JOBS_PER_PLAN,
        lift_mib: *LIFT_MIB.end(),
    };

    /// Reads `[limits]` of a plugin's settings. Missing keys have their defaults, or the ceiling where that is less.
    pub(crate) fn read(value: &Value<'_>, ceilings: &Self) -> Result<Self, Report> {
        let limits = Self::read_table(&value.table(&LIMIT_KEYS)?, Self::default().within(ceilings))?;
        let too_much = Self::named(&limits).into_iter().zip(Self::named(ceilings)).find(|(set, most)| set.1 > most.1);
        let Some(((key, set), (_, most))) = too_much else { return Ok(limits) };
        let at = value.any_table()?.get(key);
        let what = format!("`{key}` is {set}, and the operator allows {most} at most");
        let report = at.as_ref().unwrap_or(value).error(what);
        Err(report.hint(format!(
            "if the plugin needs that much, put this into `roost.toml` and start Roost again:\n[ceilings]\n{key} = {set}"
        )))
    }

    /// Reads `[ceilings]` of `roost.toml`. Missing keys have the largest values.
    pub(super) fn read_ceilings(value: &Value<'_>) -> Result<Self, Report> {
        Self::read_table(&value.table(&LIMIT_KEYS)?, Self::MOST)
    }

    fn read_table(table: &Table<'_>, default: Self) -> Result<Self, Report> {
        let limit = |key, range, default| table.get(key).map_or(Ok(default), |value| value.integer_in(range));
        Ok(Self {
            memory_mib: limit("memory_mib", MEMORY_MIB, default.memory_mib)?,
            cpu_ms: limit("cpu_ms", CPU_MS, default.cpu_ms)?,
            wall_ms: limit("wall_ms", WALL_MS, default.wall_ms)?,
            jobs: limit("jobs", JOBS, default.jobs as u32)? as usize,
            lift_mib: limit("lift_mib", LIFT_MIB, default.lift_mib)?,
        })
    }

    fn named(&self) -> [(&'static str, u64); 5] {
        [
            ("memory_mib", self.memory_mib.into()),
            ("cpu_ms", self.cpu_ms.into()),
            ("wall_ms", self.wall_ms.into()),
            ("jobs", self.jobs as u64),
            ("lift_mib", self.lift_mib.into()),
        ]
    }

    /// Returns the limits, reduced to the ceilings.
    pub(crate) fn within(self, ceilings: &Self) -> Self {
        Self {
            memory_mib: self.memory_mib.min(ceilings.memory_mib),
            cpu_ms: self.cpu_ms.min(ceilings.cpu_ms),
            wall_ms: self.wall_ms.min(ceilings.wall_ms),
            jobs: self.jobs.min(ceilings.jobs),
            lift_mib: self.lift_mib.min(ceilings.lift_mib),
        }
    }
}
