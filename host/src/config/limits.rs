//! How much of the machine a call of a plugin may use: what a plugin's own settings ask for, and the operator's ceilings.

use std::ops::RangeInclusive;

use roost_scheduler::limits::JOBS_PER_PLAN;

use super::document::{Table, Value};
use crate::report::Report;

/// How much of the machine one call of the plugin may use (I7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Memory, all of it together. Pages that are never touched cost nothing.
    pub(crate) memory_mib: u32,
    /// Time that it computes.
    pub(crate) cpu_ms: u32,
    /// Time that it may take in all, waiting included.
    pub(crate) wall_ms: u32,
    /// Jobs in one plan.
    pub(crate) jobs: usize,
    /// How much its answer may hold when the host copies it out.
    pub(crate) lift_mib: u32,
}

/// A plugin in Rust is content with 2, one in Python wants 256; beyond 2 GiB two calls at once would fill a small host.
const MEMORY_MIB: RangeInclusive<u32> = 1..=2_048;
/// A minute of a core for each plan is a plugin out of order.
const CPU_MS: RangeInclusive<u32> = 10..=60_000;
/// A plan that takes longer than five minutes holds up the plans of the others.
const WALL_MS: RangeInclusive<u32> = 10..=300_000;
/// I10: the scheduler takes no longer plans.
const JOBS: RangeInclusive<u32> = 1..=JOBS_PER_PLAN as u32;
/// The host holds two answers at once, each several times as large once it is taken apart.
const LIFT_MIB: RangeInclusive<u32> = 1..=64;

impl Default for Limits {
    fn default() -> Self {
        Self { memory_mib: 256, cpu_ms: 500, wall_ms: 10_000, jobs: JOBS_PER_PLAN, lift_mib: 16 }
    }
}

const LIMIT_KEYS: [&str; 5] = ["memory_mib", "cpu_ms", "wall_ms", "jobs", "lift_mib"];

impl Limits {
    /// The most that a plugin's settings may ask for, unless the operator says less.
    pub(crate) const MOST: Self = Self {
        memory_mib: *MEMORY_MIB.end(),
        cpu_ms: *CPU_MS.end(),
        wall_ms: *WALL_MS.end(),
        jobs: JOBS_PER_PLAN,
        lift_mib: *LIFT_MIB.end(),
    };

    /// `[limits]` of a plugin's settings: what is left out is as usual, or the ceiling where that is less.
    pub(crate) fn read(value: &Value<'_>, ceilings: &Self) -> Result<Self, Report> {
        let asked = Self::read_table(&value.table(&LIMIT_KEYS)?, Self::default().within(ceilings))?;
        let too_much =
            Self::named(&asked).into_iter().zip(Self::named(ceilings)).find(|(asked, most)| asked.1 > most.1);
        let Some(((key, asked), (_, most))) = too_much else { return Ok(asked) };
        let at = value.any_table()?.get(key);
        let what = format!("`{key}` is {asked}, and the operator allows {most} at most");
        let report = at.as_ref().unwrap_or(value).error(what);
        Err(report.hint(format!(
            "if the plugin needs that much, put this into `roost.toml` and start Roost again:\n[ceilings]\n{key} = {asked}"
        )))
    }

    /// `[ceilings]` of `roost.toml`: what is left out is as high as it can be.
    pub(super) fn read_ceilings(value: &Value<'_>) -> Result<Self, Report> {
        Self::read_table(&value.table(&LIMIT_KEYS)?, Self::MOST)
    }

    fn read_table(table: &Table<'_>, otherwise: Self) -> Result<Self, Report> {
        let limit = |key, range, default| table.get(key).map_or(Ok(default), |value| value.integer_in(range));
        Ok(Self {
            memory_mib: limit("memory_mib", MEMORY_MIB, otherwise.memory_mib)?,
            cpu_ms: limit("cpu_ms", CPU_MS, otherwise.cpu_ms)?,
            wall_ms: limit("wall_ms", WALL_MS, otherwise.wall_ms)?,
            jobs: limit("jobs", JOBS, otherwise.jobs as u32)? as usize,
            lift_mib: limit("lift_mib", LIFT_MIB, otherwise.lift_mib)?,
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

    /// No more than the ceilings allow.
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
