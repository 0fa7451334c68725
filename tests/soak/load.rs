//! The jobs of the guest `soak`, and their allowed ends.

use roost_scheduler::time::Instant;

/// The devices, with the offset of their jobs from whole seconds, so that runs are under way whenever the host is
/// killed.
pub(crate) const DEVICES: [(&str, i64); 4] = [("one", 0), ("two", 250), ("three", 500), ("four", 750)];

/// The number of jobs of the simplest kind, for each device.
const TICKS: u32 = 20;

/// The required end of each occurrence of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Must {
    /// It succeeds, unless the host was killed after its start and the reason is that: its second step's time had come,
    /// or a step marked `once` was armed on disk.
    Succeed,
    /// It has any recorded end, of its own or with others.
    End,
}

/// A job of each device.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) period_ms: i64,
    shift_ms: i64,
    /// The payloads of its steps.
    pub(crate) words: &'static [&'static str],
    pub(crate) must: Must,
}

/// Returns all jobs, as in `tests/guests/soak.rs`.
pub(crate) fn jobs() -> Vec<Job> {
    let job = |id: &str, period_ms, shift_ms, words, must| Job { id: id.to_owned(), period_ms, shift_ms, words, must };
    let ticks = (0..TICKS).map(|number| job(&format!("tick-{number}"), 1_000, 0, &["tick"], Must::Succeed));
    let others = [
        job("valve", 2_000, 0, &["on", "off"], Must::Succeed),
        job("feed", 1_000, 0, &["once"], Must::Succeed),
        job("dose", 2_000, 0, &["ready", "once"], Must::Succeed),
        job("pump", 2_000, 0, &["on", "off"], Must::Succeed),
        job("queue", 1_000, 0, &["on", "off"], Must::End),
        job("open", 2_000, 0, &["open", "stop"], Must::End),
        job("close", 2_000, 1_000, &["close"], Must::End),
        job("raise", 2_000, 0, &["raise", "once"], Must::End),
        job("lower", 2_000, 1_000, &["lower"], Must::End),
    ];
    ticks.chain(others).collect()
}

/// Returns the contents of `plugins/soak.toml`.
pub(crate) fn settings() -> String {
    let device = |(name, offset_ms): (&str, i64)| {
        format!("[[device]]\nname = \"{name}\"\nconfig = {{ offset_ms = {offset_ms}, ticks = {TICKS} }}\n")
    };
    DEVICES.map(device).concat()
}

/// Returns the contents of `roost.toml` for one of the hosts, counted from 0. Each has its own status topic: the broker
/// passes on the host's `online` before its messages, so that it is known of each message which host has sent it,
/// however late it arrives.
pub(crate) fn settings_of_host(host: usize) -> String {
    format!("[mqtt]\nstatus_topic = \"{STATUS}{host}\"\n{PUMP}")
}

/// The resource of the jobs `pump`.
pub(crate) const PUMP: &str = "[[resource]]\nname = \"pump\"\ncapacity = 1\nplugins = [\"soak\"]\n";

/// How the topic begins on which a host states that it is online; its number follows.
pub(crate) const STATUS: &str = "host/";

impl Job {
    /// Returns its occurrences for a device, from one instant on and before another.
    pub(crate) fn occurrences(&self, offset_ms: i64, from: Instant, until: Instant) -> impl Iterator<Item = Instant> {
        let (period_ms, anchor_ms) = (self.period_ms, offset_ms + self.shift_ms);
        let first_ms = from.millis() + (anchor_ms - from.millis()).rem_euclid(period_ms);
        (0..)
            .map(move |number| Instant::from_millis_clamped(first_ms + number * period_ms))
            .take_while(move |due| *due < until)
    }
}
