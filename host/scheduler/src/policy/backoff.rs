//! The backoff: the pause between two attempts at a step.

use super::Retry;
use crate::{names::RunId, occurrence};

/// The longest pause, in milliseconds: 5 minutes.
const LONGEST_MS: u32 = 300_000;

/// Returns the pause after some attempts in milliseconds: doubled each time, with up to a quarter of it taken off at
/// random, so that runs that failed together are not tried together.
pub(crate) fn pause_ms(retry: &Retry, attempts: u32, run: &RunId) -> i64 {
    let doubled = u64::from(retry.backoff_ms) << attempts.saturating_sub(1).min(31);
    let pause = u32::try_from(doubled).unwrap_or(u32::MAX).min(LONGEST_MS);
    i64::from(pause - occurrence::salted(run, attempts, pause / 4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        names::{DeviceName, JobId, Origin, PluginName},
        time::Instant,
    };

    #[test]
    fn the_pause_doubles_up_to_its_cap_and_differs_from_run_to_run() {
        let run = |job: &str| RunId {
            plugin: PluginName::parse("coop").unwrap(),
            device: DeviceName::parse("north").unwrap(),
            job: JobId::parse(job).unwrap(),
            occurrence: Instant::MIN,
            origin: Origin::Trigger,
        };
        let retry = Retry { backoff_ms: 1_000, ..Retry::default() };
        for (attempts, whole_ms) in
            [(1, 1_000), (2, 2_000), (3, 4_000), (9, 256_000), (10, 300_000), (u32::MAX, 300_000)]
        {
            let pause = pause_ms(&retry, attempts, &run("open"));
            assert!((whole_ms * 3 / 4..=whole_ms).contains(&pause), "{pause} ms after {attempts} attempts");
        }
        assert_ne!(pause_ms(&retry, 9, &run("open")), pause_ms(&retry, 9, &run("close")));
    }
}
