//! Work for a host: jobs of the guest `burst`.

use std::fs;

use roost_tests::{Broker, Roost, Site, guest};

use crate::clock::{in_ms, now_ns};

/// The time that a host may take to start and to plan before the first job is due: a fixed part, …
const START_MS: i64 = 1_500;
/// … and a part for each job.
const PLAN_US: i64 = 40;
/// How long a host is left alone between its last plan and the first message.
const REST_MS: i64 = 300;

/// Jobs that are due at once, or evenly spread.
#[derive(Clone, Copy)]
pub(crate) struct Work {
    /// The plugin's name, which is also the first level of its topics.
    pub(crate) plugin: &'static str,
    pub(crate) jobs: u32,
    pub(crate) spread_ms: u32,
    /// The jobs of each device: at most 10,000.
    pub(crate) per_device: u32,
    /// The offset of the second step, if runs have two.
    pub(crate) then_ms: Option<u32>,
}

impl Work {
    /// Returns the topic filter of its messages.
    pub(crate) fn filter(&self) -> String {
        format!("{}/#", self.plugin)
    }

    /// Returns the number of its messages.
    pub(crate) fn messages(&self) -> usize {
        self.jobs as usize * if self.then_ms.is_some() { 2 } else { 1 }
    }

    /// Returns its settings, with as many devices as needed, because plans are bounded.
    pub(crate) fn settings(&self, t0_ns: i64) -> String {
        let Self { plugin, jobs, spread_ms, per_device, then_ms } = self;
        let then = then_ms.map_or(String::new(), |then_ms| format!("then_ms = {then_ms}\n"));
        let t0_ms = t0_ns / 1_000_000;
        let shared =
            format!("[config]\ntotal = {jobs}\nt0_ms = {t0_ms}\nspread_ms = {spread_ms}\ntopic = \"{plugin}\"\n{then}");
        let device = |first: u32| {
            let count = per_device.min(&(jobs - first)).to_owned();
            format!("\n[[device]]\nname = \"at-{first}\"\nconfig = {{ first = {first}, jobs = {count} }}\n")
        };
        let devices: String = (0..*jobs).step_by(*per_device as usize).map(device).collect();
        shared + &devices
    }

    /// Installs it into a site, due `lead_ms` from now. Returns when the first job is due.
    pub(crate) fn drop_into(&self, site: &Site, lead_ms: i64) -> i64 {
        let t0_ns = in_ms(lead_ms);
        site.settings(self.plugin, &self.settings(t0_ns));
        site.drop_in(&guest("burst"), self.plugin);
        t0_ns
    }

    /// Waits until a host has stored its plan.
    pub(crate) fn planned(&self, host: &Roost) {
        host.wait_for_log(&format!("jobs of `{}`: {} new", self.plugin, self.jobs));
    }

    /// Starts a new host, and waits until it has planned the work. Returns also when the first job is due.
    pub(crate) fn ready(&self, broker: &Broker) -> (Site, Roost, i64) {
        self.ready_with(broker, &[])
    }

    /// As [`Self::ready`], with more arguments for the host.
    pub(crate) fn ready_with(&self, broker: &Broker, arguments: &[&str]) -> (Site, Roost, i64) {
        let mut lead_ms = START_MS + PLAN_US * i64::from(self.jobs) / 1_000;
        loop {
            let site = Site::new();
            // As an operator with so many devices would allow it.
            let rates = format!("[rates]\nburst = {}\n", self.jobs.max(10_000));
            fs::write(site.path().join("roost.toml"), rates).expect("a file");
            let t0_ns = self.drop_into(&site, lead_ms);
            let host = site.start_with(&[&["--mqtt", &broker.url()], arguments].concat());
            self.planned(&host);
            if now_ns() + REST_MS * 1_000_000 < t0_ns {
                return (site, host, t0_ns);
            }
            // On a slow machine, try again with more time.
            lead_ms *= 2;
        }
    }
}
