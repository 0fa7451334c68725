//! Ten thousand devices of one plugin: the effect on other plugins when all of them are planned again.

use std::{thread, time::Duration};

use roost_tests::{Broker, Site, figure::Figure};

use crate::{
    clock::{in_ms, ms_between, now_ns, sleep_until},
    subscriber::{Subscriber, lateness},
    ticks::{due_between, ticks},
    work::Work,
};

const DEVICES: u32 = 10_000;
/// As many as the samples' devices have.
const JOBS_PER_DEVICE: u32 = 2;
/// Their jobs are due during the day after tomorrow.
const FAR_MS: i64 = 48 * 3_600_000;
const DAY_MS: u32 = 86_400_000;

/// Measures new plans at midnight, and for new settings.
pub(crate) fn devices() -> Vec<Figure> {
    let broker = Broker::new();
    let site = Site::new();
    let host = site.start(&broker);
    let jobs = DEVICES * JOBS_PER_DEVICE;
    let many = Work { plugin: "many", jobs, spread_ms: DAY_MS, per_device: JOBS_PER_DEVICE, then_ms: None };
    let begun = now_ns();
    many.drop_into(&site, FAR_MS);
    many.planned(&host);
    let first = ms_between(begun, now_ns()) / 1e3;

    let (mut midnight, mut at_midnight) = (Vec::new(), Vec::new());
    let (mut host, mut changed, mut at_change) = (Some(host), Vec::new(), Vec::new());
    for plugin in ["tick", "tick-2"] {
        let subscriber = Subscriber::new(broker.port, &format!("{plugin}/#"));
        let running = host.take().expect("it runs");
        let t0_ns = ticks(plugin, 40).drop_into(&site, 3_000);
        ticks(plugin, 40).planned(&running);
        running.stop();
        // The database has the time of each device's next plan, its next midnight: it is moved nearer.
        let midnight_ns = in_ms(2_000).max(t0_ns + 500_000_000);
        site.execute(&format!("UPDATE devices SET replan_at = {}", midnight_ns / 1_000_000));
        let running = site.start(&broker);
        sleep_until(midnight_ns);
        wait_until_planned(&site, midnight_ns);
        let done = now_ns();
        midnight.push(ms_between(midnight_ns, done) / 1e3);
        thread::sleep(Duration::from_millis(500));
        at_midnight.push(lateness(&due_between(&subscriber.so_far(), midnight_ns, done)));

        let begun = now_ns();
        let from = running.log.count();
        site.settings(many.plugin, &many.settings(in_ms(FAR_MS)));
        running.log.wait_for(from, &format!("jobs of `many`: 0 new, {jobs} changed"));
        let done = now_ns();
        changed.push(ms_between(begun, done) / 1e3);
        thread::sleep(Duration::from_millis(500));
        at_change.push(lateness(&due_between(&subscriber.so_far(), begun, done)));
        host = Some(running);
    }
    let late = |rounds: &[[f64; 3]], part: usize| rounds.iter().map(|round| round[part]).collect();
    vec![
        Figure::lower("first load", "s", vec![first]),
        Figure::lower("at midnight, all planned again", "s", midnight),
        Figure::lower("at midnight, others' lateness, p99", "ms", late(&at_midnight, 1)),
        Figure::lower("at midnight, others' lateness, largest", "ms", late(&at_midnight, 2)),
        Figure::lower("new settings, all jobs changed", "s", changed),
        Figure::lower("new settings, others' lateness, p99", "ms", late(&at_change, 1)),
        Figure::lower("new settings, others' lateness, largest", "ms", late(&at_change, 2)),
    ]
}

/// Waits until each device has its next plan in the future again.
fn wait_until_planned(site: &Site, midnight_ns: i64) {
    let left = format!("SELECT count(*) FROM devices WHERE replan_at <= {}", midnight_ns / 1_000_000);
    while site.query(&left) > 0 {
        thread::sleep(Duration::from_millis(50));
    }
}
