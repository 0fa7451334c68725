//! Metrics in the text format of Prometheus: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::{Display, Write as _};

use axum::{
    extract::State,
    http::{HeaderName, header},
};
use roost_scheduler::{names::PluginName, scheduler::Scheduler};

use super::{limits, problem::Problem, state::ApiState};
use crate::{
    clock,
    metrics::{BOUNDS_MS, Counts, Histogram},
    mqtt::BuiltInHealth,
    plugins::{PluginStatus, Usage},
    process::{self, Process},
};

/// Values that are read from the scheduler.
struct Snapshot {
    plugins: usize,
    devices: usize,
    jobs: usize,
    runs: usize,
    ready: usize,
    attempts: usize,
    is_up: bool,
    can_keep: bool,
}

impl From<&Scheduler> for Snapshot {
    fn from(scheduler: &Scheduler) -> Self {
        Self {
            plugins: scheduler.plugin_count(),
            devices: scheduler.device_count(),
            jobs: scheduler.job_count(),
            runs: scheduler.run_count(),
            ready: scheduler.ready_count(),
            attempts: scheduler.attempts_under_way(),
            is_up: scheduler.link_since().is_some(),
            can_keep: scheduler.can_keep(),
        }
    }
}

/// Get the metrics of the host, for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "host",
    responses((status = 200, body = String, content_type = "text/plain", description = "Version 0.0.4 of the text format")))]
pub(super) async fn metrics(
    State(state): State<ApiState>,
) -> Result<([(HeaderName, &'static str); 1], String), Problem> {
    // Before the query below, which would count itself.
    let queries = state.waiting_queries();
    let snapshot = state.inspect(|scheduler| Snapshot::from(scheduler)).await?;
    let mut text = Text::default();
    text.gauge("roost_info", "The version of the host", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let started = state.started().millis() as f64 / 1e3;
    text.gauge("roost_start_time_seconds", "When the host started", &[], started);
    of_scheduler(&mut text, &snapshot);
    text.gauge("roost_looks_waiting", "Queries of the HTTP API that wait for the loop", &[], queries);
    of_counts(&mut text, state.metrics());
    of_plugins(&mut text, &state.plugins().statuses.plugins_after(None, limits::PLUGINS_MEASURED));
    text.gauge("roost_event_streams", "Open streams of events", &[], state.event_log().subscriber_count());
    text.gauge("roost_event_streams_limit", "Maximum number of open streams of events", &[], limits::STREAMS);
    text.counter("roost_events_total", "Events, as reported by the streams of events", state.event_log().last());
    if let Some(broker) = state.broker() {
        of_broker(&mut text, broker);
    }
    if let Some(process) = process::look() {
        of_process(&mut text, &process);
    }
    text.gauge("roost_clock_seconds", "The host's clock", &[], clock::now().millis() as f64 / 1e3);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text.0))
}

fn of_scheduler(text: &mut Text, snapshot: &Snapshot) {
    text.gauge("roost_plugins", "Loaded plugins", &[], snapshot.plugins);
    text.gauge("roost_devices", "Devices of the loaded plugins", &[], snapshot.devices);
    text.gauge("roost_jobs", "Planned and ad-hoc jobs", &[], snapshot.jobs);
    text.gauge("roost_runs", "Runs that have not ended", &[], snapshot.runs);
    text.gauge("roost_runs_ready", "Runs that are ready to send and wait for their turn", &[], snapshot.ready);
    text.gauge("roost_attempts", "Messages that the broker has not acknowledged yet", &[], snapshot.attempts);
    text.gauge("roost_link_up", "Whether the host is connected to the broker", &[], u8::from(snapshot.is_up));
    text.gauge("roost_store_up", "Whether the database can be written", &[], u8::from(snapshot.can_keep));
}

fn of_counts(text: &mut Text, counts: &Counts) {
    text.head("roost_runs_total", "Runs that have ended", "counter");
    for (outcome, count) in counts.ended() {
        text.line("roost_runs_total", &[("outcome", outcome)], count);
    }
    text.counter("roost_messages_total", "Messages that were passed to the link", counts.published.get());
    let late = "Lateness of messages when they were first passed to the link";
    text.histogram("roost_lateness_seconds", late, &counts.lateness);
    text.histogram("roost_commit_seconds", "Time until decisions were durable", &counts.commits);
    text.gauge(
        "roost_changes_waiting",
        "Changes that wait to be written to the disk",
        &[],
        counts.changes_waiting.get(),
    );
    text.counter("roost_links_total", "Connections to the broker that were established", counts.links.get());
    text.counter("roost_plans_total", "Plans that were requested from running plugins", counts.plans.get());
    text.counter("roost_plans_failed_total", "Requested plans that were refused", counts.plans_failed.get());
    text.counter("roost_tasks_total", "Calls of tasks", counts.tasks.get());
    text.counter("roost_tasks_failed_total", "Calls of tasks that failed", counts.tasks_failed.get());
    text.head("roost_http_requests_total", "Requests to the HTTP API", "counter");
    for (status, count) in counts.requests() {
        text.line("roost_http_requests_total", &[("status", &status.to_string())], count);
    }
}

/// Adds the resource usage of each plugin.
fn of_plugins(text: &mut Text, plugins: &[(PluginName, PluginStatus)]) {
    let mut of_each = |name: &str, help: &str, kind: &str, value: fn(&Usage) -> Option<f64>| {
        text.head(name, help, kind);
        for (plugin, status) in plugins {
            if let Some(value) = value(&status.used) {
                text.line(name, &[("plugin", plugin.as_str())], value);
            }
        }
    };
    of_each("roost_plugin_calls_total", "Calls of a plugin", "counter", |usage| Some(usage.calls as f64));
    of_each("roost_plugin_calls_failed_total", "Calls of a plugin that failed", "counter", |usage| {
        Some(usage.failed as f64)
    });
    of_each("roost_plugin_plan_seconds", "Duration of the plugin's last plan", "gauge", |usage| {
        usage.plan_ms.map(|ms| ms as f64 / 1e3)
    });
    of_each("roost_plugin_longest_plan_seconds", "Duration of the plugin's longest plan", "gauge", |usage| {
        usage.longest_plan_ms.map(|ms| ms as f64 / 1e3)
    });
    of_each("roost_plugin_memory_bytes", "Peak memory of the plugin's calls", "gauge", |usage| {
        Some(usage.memory_bytes as f64)
    });
}

fn of_broker(text: &mut Text, broker: &BuiltInHealth) {
    let totals = broker.totals();
    let is_up = broker.problem().is_none();
    text.gauge("roost_broker_up", "Whether the built-in broker responds", &[], u8::from(is_up));
    text.counter("roost_broker_restarts_total", "Restarts of the built-in broker", broker.restarts());
    text.gauge("roost_broker_clients", "Clients connected to the built-in broker", &[], totals.clients);
    text.gauge(
        "roost_broker_sessions",
        "Sessions of the built-in broker, including those of disconnected clients",
        &[],
        totals.sessions,
    );
    text.gauge("roost_broker_retained", "Messages that the built-in broker retains", &[], totals.retained);
    text.gauge(
        "roost_broker_queued_bytes",
        "Data that is queued for clients or awaits their acknowledgement",
        &[],
        totals.queue_bytes,
    );
    text.counter(
        "roost_broker_dropped_total",
        "Messages that were dropped because a client was too slow, or disconnected for too long",
        totals.dropped,
    );
}

fn of_process(text: &mut Text, process: &Process) {
    let Process { cpu_s, resident_bytes, virtual_bytes, threads, files } = *process;
    text.counter("process_cpu_seconds_total", "CPU time, without that of compilation processes", cpu_s);
    text.gauge("process_resident_memory_bytes", "Resident memory", &[], resident_bytes);
    text.gauge("process_virtual_memory_bytes", "Virtual memory", &[], virtual_bytes);
    text.gauge("process_threads", "Threads", &[], threads);
    text.gauge("process_open_fds", "Open file descriptors", &[], files);
}

/// Figures of one of the hosts that share a database.
pub(crate) struct HostFigures<'f> {
    pub(crate) name: &'f str,
    pub(crate) is_owner: bool,
    /// The cell: how often it was taken over, and for how many seconds this host has seen no sign of its owner.
    pub(crate) cell: Option<(i64, f64)>,
    pub(crate) clock_ahead_ms: Option<i64>,
    pub(crate) database_up: bool,
}

/// Returns the metrics of a host that shares a database, without those of its work.
pub(crate) fn host_metrics(figures: &HostFigures<'_>) -> String {
    let HostFigures { name, is_owner, cell, clock_ahead_ms, database_up } = figures;
    let mut text = Text::default();
    let labels = [("name", *name), ("version", env!("CARGO_PKG_VERSION"))];
    text.gauge("roost_host_info", "The name and the version of this host", &labels, 1);
    text.gauge("roost_host_owner", "Whether this host is the owner", &[], u8::from(*is_owner));
    text.gauge("roost_host_database_up", "Whether this host reaches the database", &[], u8::from(*database_up));
    if let Some((epoch, beat_age_s)) = cell {
        text.gauge("roost_cell_epoch", "How often the cell was taken over", &[], epoch);
        text.gauge("roost_cell_beat_age_seconds", "Time since the last sign of life of the owner", &[], beat_age_s);
    }
    if let Some(ahead) = clock_ahead_ms {
        let seconds = *ahead as f64 / 1e3;
        text.gauge("roost_host_clock_ahead_seconds", "The host's clock less the database's", &[], seconds);
    }
    text.0
}

/// An exposition text under construction.
#[derive(Default)]
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        let _ = write!(self.0, "# HELP {name} {help}.\n# TYPE {name} {kind}\n");
    }

    /// Adds a sample. The values of labels must not need escapes.
    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{value}\"", if index == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: impl Display) {
        self.head(name, help, "gauge");
        self.line(name, labels, value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help, "counter");
        self.line(name, &[], value);
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, help, "histogram");
        let cumulative = histogram.cumulative();
        for (bound, count) in BOUNDS_MS.iter().zip(cumulative) {
            let bound = (f64::from(*bound) / 1e3).to_string();
            self.line(&format!("{name}_bucket"), &[("le", &bound)], count);
        }
        let count = cumulative[BOUNDS_MS.len()];
        self.line(&format!("{name}_bucket"), &[("le", "+Inf")], count);
        self.line(&format!("{name}_sum"), &[], histogram.sum());
        self.line(&format!("{name}_count"), &[], count);
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use super::*;

    /// Checks each line, and returns the value of each series.
    fn parse(text: &str) -> HashMap<String, f64> {
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:".contains(&byte))
        };
        let (mut kinds, mut series) = (HashMap::new(), HashMap::new());
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                assert!(is_name(help.split_once(' ').unwrap().0), "{line}");
                continue;
            }
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert!(["gauge", "counter", "histogram"].contains(&kind), "{line}");
                assert!(kinds.insert(name, kind).is_none(), "twice: {line}");
                continue;
            }
            let (what, value) = line.rsplit_once(' ').unwrap();
            let name = what.split('{').next().unwrap();
            assert!(is_name(name), "{line}");
            if let Some(labels) = what.strip_prefix(name).filter(|labels| !labels.is_empty()) {
                let inside = labels.strip_prefix('{').and_then(|labels| labels.strip_suffix('}')).unwrap();
                for label in inside.split(',') {
                    let (key, value) = label.split_once('=').unwrap();
                    let is_quoted = value.len() >= 2 && value.starts_with('"') && value.ends_with('"');
                    assert!(is_name(key) && is_quoted, "{line}");
                }
            }
            let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let family = of_histogram.filter(|name| kinds.get(name) == Some(&"histogram")).unwrap_or(name);
            assert!(kinds.contains_key(family), "without a type: {line}");
            assert!(kinds[family] != "counter" || name.ends_with("_total"), "{line}");
            let value = if value == "+Inf" { f64::INFINITY } else { value.parse().unwrap() };
            assert!(series.insert(what.to_owned(), value).is_none(), "twice: {line}");
        }
        series
    }

    #[test]
    fn counts_are_in_the_text() {
        let counts = Counts::default();
        counts.count_end(&roost_scheduler::outcome::Outcome::Succeeded(roost_scheduler::outcome::Success::PLAIN));
        counts.lateness.observe(Duration::from_millis(7));
        counts.count_request(200);
        counts.count_request(404);
        let mut text = Text::default();
        of_counts(&mut text, &counts);
        of_process(&mut text, &process::look().unwrap());
        of_broker(&mut text, &BuiltInHealth::default());
        text.gauge("roost_info", "It", &[("version", "1"), ("other", "2")], 1);
        let series = parse(&text.0);
        for (what, value) in [
            ("roost_runs_total{outcome=\"succeeded\"}", 1.0),
            ("roost_runs_total{outcome=\"denied\"}", 0.0),
            ("roost_lateness_seconds_bucket{le=\"0.005\"}", 0.0),
            ("roost_lateness_seconds_bucket{le=\"0.01\"}", 1.0),
            ("roost_lateness_seconds_bucket{le=\"+Inf\"}", 1.0),
            ("roost_lateness_seconds_sum", 0.007),
            ("roost_http_requests_total{status=\"404\"}", 1.0),
            ("roost_broker_up", 1.0),
            ("roost_info{version=\"1\",other=\"2\"}", 1.0),
        ] {
            assert_eq!(series.get(what), Some(&value), "{what}: {series:?}");
        }
        assert!(series["process_resident_memory_bytes"] > 1e6);
    }
}
