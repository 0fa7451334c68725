//! The description by which Home Assistant discovers a device and its entities: one message for all of them.

use std::collections::BTreeMap;

use roost_scheduler::names::{JobId, PluginName};
use serde_json::{Map, Value, json};

use super::{
    device_view::{DeviceView, Job},
    limits,
    topics::{Name, Subject, Topics, key},
};
use crate::{config::HomeAssistant, http::TaskDescriptionRecord};

/// The platforms of components, by their keys.
pub(super) type Platforms = BTreeMap<String, String>;

/// A description of the host or a device.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Description {
    device: Value,
    state_topic: String,
    components: BTreeMap<String, Value>,
}

/// Builds components, which share what every one of them has.
struct Builder<'a> {
    topics: &'a Topics,
    status_topic: Option<&'a str>,
    subject: &'a Subject,
    components: BTreeMap<String, Value>,
}

impl Builder<'_> {
    /// Adds a component with this platform, which is available while the host is.
    fn add(&mut self, key: &str, platform: &str, mut own: Value) {
        if let Some(topic) = self.status_topic {
            own["availability_topic"] = topic.into();
        }
        self.add_always_available(key, platform, own);
    }

    fn add_always_available(&mut self, key: &str, platform: &str, mut own: Value) {
        own["platform"] = platform.into();
        own["unique_id"] = format!("{}_{key}", self.topics.id(self.subject)).into();
        self.components.insert(key.to_owned(), own);
    }

    fn command(&self, what: &str) -> String {
        self.topics.command(self.subject, what)
    }
}

/// The outcomes of runs, as Home Assistant shows them.
const OUTCOMES: [&str; 6] = ["succeeded", "failed", "missed", "skipped", "cancelled", "denied"];

/// Describes a device.
pub(super) fn of_device(
    (topics, status_topic): (&Topics, Option<&str>),
    name: &Name,
    view: &DeviceView,
    tasks: &[TaskDescriptionRecord],
    settings: &HomeAssistant,
) -> Description {
    let subject = Subject::Device(name.clone());
    let mut all = Builder { topics, status_topic, subject: &subject, components: BTreeMap::new() };
    if settings.commands {
        all.add(
            "enabled",
            "switch",
            json!({
                "name": null,
                "value_template": "{{ 'OFF' if value_json.paused else 'ON' }}",
                "command_topic": all.command("enabled"),
                "icon": "mdi:calendar-clock",
            }),
        );
        for job in &view.jobs {
            add_button(&mut all, job);
            // Not for all to have and disabled: Home Assistant keeps what is disabled of a job that is gone.
            if settings.job_switches {
                add_switch(&mut all, job);
            }
        }
        for task in tasks.iter().take(limits::TASKS) {
            add_task(&mut all, task);
        }
    } else {
        // Not by the key of the switch: Home Assistant would keep that.
        all.add(
            "active",
            "binary_sensor",
            json!({
                "name": null,
                "value_template": "{{ 'OFF' if value_json.paused else 'ON' }}",
                "icon": "mdi:calendar-clock",
            }),
        );
    }
    add_sensors(&mut all);
    all.add(
        "event",
        "event",
        json!({
            "name": "Run",
            "state_topic": topics.event(&subject),
            "event_types": OUTCOMES,
        }),
    );
    let (plugin, device) = name;
    Description {
        device: json!({
            "identifiers": [topics.id(&subject)],
            "name": if plugin.as_str() == device.as_str() { plugin.to_string() } else { format!("{plugin} {device}") },
            "manufacturer": "Roost",
            "model": plugin.as_str(),
            "via_device": topics.id(&Subject::Host),
        }),
        state_topic: topics.state(&subject),
        components: all.components,
    }
}

/// Adds what every device has.
fn add_sensors(all: &mut Builder<'_>) {
    add_next(all);
    all.add(
        "last",
        "sensor",
        json!({
            "name": "Last run",
            "device_class": "enum",
            "options": OUTCOMES,
            "value_template": "{{ value_json.last.outcome if value_json.last else None }}",
            "json_attributes_topic": all.topics.state(all.subject),
            "json_attributes_template": "{{ (value_json.last or {}) | tojson }}",
        }),
    );
    add_problem(all, "{{ {'reason': value_json.problem} | tojson }}");
    all.add(
        "running",
        "binary_sensor",
        json!({
            "name": "Running",
            "device_class": "running",
            "value_template": "{{ 'ON' if value_json.running else 'OFF' }}",
        }),
    );
}

/// Adds whether there is a problem, with these attributes.
fn add_problem(all: &mut Builder<'_>, attributes: &str) {
    all.add(
        "problem",
        "binary_sensor",
        json!({
            "name": "Problem",
            "device_class": "problem",
            "entity_category": "diagnostic",
            "value_template": "{{ 'ON' if value_json.problem else 'OFF' }}",
            "json_attributes_topic": all.topics.state(all.subject),
            "json_attributes_template": attributes,
        }),
    );
}

/// Adds the next run.
fn add_next(all: &mut Builder<'_>) {
    all.add(
        "next",
        "sensor",
        json!({
            "name": "Next run",
            "device_class": "timestamp",
            "value_template": "{{ value_json.next.at if value_json.next else None }}",
            "json_attributes_topic": all.topics.state(all.subject),
            "json_attributes_template": "{{ (value_json.next or {}) | tojson }}",
        }),
    );
}

/// Adds the button that runs a job.
fn add_button(all: &mut Builder<'_>, Job { id, label, .. }: &Job) {
    all.add(
        &key("run", id.as_str()),
        "button",
        json!({
            "name": label,
            "command_topic": all.command(&format!("run/{id}")),
            "payload_press": "RUN",
        }),
    );
}

/// Adds what skips and pauses a job.
fn add_switch(all: &mut Builder<'_>, Job { id, label, .. }: &Job) {
    all.add(
        &key("skip", id.as_str()),
        "button",
        json!({
            "name": format!("Skip {label}"),
            "command_topic": all.command(&format!("skip/{id}")),
            "payload_press": "SKIP",
            "entity_category": "config",
        }),
    );
    all.add(
        &key("enabled", id.as_str()),
        "switch",
        json!({
            "name": format!("{label} enabled"),
            "value_template": enabled_template(id),
            "command_topic": all.command(&format!("enabled/{id}")),
            "entity_category": "config",
        }),
    );
}

/// The names of jobs have no characters that end a text of a template.
fn enabled_template(id: &JobId) -> String {
    format!("{{{{ 'OFF' if '{id}' in value_json.paused_jobs else 'ON' }}}}")
}

fn add_task(all: &mut Builder<'_>, TaskDescriptionRecord { task, args_schema, .. }: &TaskDescriptionRecord) {
    let command = all.command(&format!("task/{task}"));
    if needs_arguments(args_schema.as_ref()) {
        all.add(&key("notify", task), "notify", json!({ "name": task, "command_topic": command }));
    } else {
        all.add(
            &key("task", task),
            "button",
            json!({ "name": task, "command_topic": command, "payload_press": "RUN" }),
        );
    }
}

/// Checks whether a task needs arguments, as far as its schema says.
fn needs_arguments(schema: Option<&Value>) -> bool {
    let required = schema.and_then(|schema| schema.get("required")?.as_array());
    required.is_some_and(|names| !names.is_empty())
}

/// Describes the host.
pub(super) fn of_host((topics, status_topic): (&Topics, Option<&str>)) -> Description {
    let subject = Subject::Host;
    let mut all = Builder { topics, status_topic, subject: &subject, components: BTreeMap::new() };
    add_connected(&mut all);
    add_problem(&mut all, "{{ {'reason': value_json.problem, 'faults': value_json.faults} | tojson }}");
    add_next(&mut all);
    all.add(
        "failed",
        "sensor",
        json!({
            "name": "Failed runs",
            "state_class": "total_increasing",
            "entity_category": "diagnostic",
            "value_template": "{{ value_json.failed }}",
        }),
    );
    add_figure(&mut all, "lateness", "Lateness, 99th percentile", "lateness_p99_ms");
    for (key, name) in [("plugins", "Plugins"), ("devices", "Devices"), ("jobs", "Jobs")] {
        add_figure(&mut all, key, name, key);
    }
    let device = json!({
        "identifiers": [topics.id(&subject)],
        "name": if topics.own == "roost" { "Roost".to_owned() } else { format!("Roost {}", topics.own) },
        "manufacturer": "Roost",
        "model": "Host",
        "sw_version": env!("CARGO_PKG_VERSION"),
    });
    Description { device, state_topic: topics.state(&subject), components: all.components }
}

/// Adds whether the host is connected, which is known also while it is not.
fn add_connected(all: &mut Builder<'_>) {
    let Some(topic) = all.status_topic else { return };
    all.add_always_available(
        "connected",
        "binary_sensor",
        json!({
            "name": "Connected",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            "state_topic": topic,
            "payload_on": "online",
            "payload_off": "offline",
        }),
    );
}

/// Adds a number for operators, which is disabled until it is enabled.
fn add_figure(all: &mut Builder<'_>, key: &str, name: &str, field: &str) {
    let mut figure = json!({
        "name": name,
        "state_class": "measurement",
        "entity_category": "diagnostic",
        "enabled_by_default": false,
        "value_template": format!("{{{{ value_json.{field} }}}}"),
    });
    if field.ends_with("_ms") {
        figure["device_class"] = "duration".into();
        figure["unit_of_measurement"] = "ms".into();
    }
    all.add(key, "sensor", figure);
}

impl Description {
    /// Returns the platforms of its components.
    pub(super) fn platforms(&self) -> Platforms {
        let platform = |component| platform(component).unwrap_or_default().to_owned();
        self.components.iter().map(|(key, component)| (key.clone(), platform(component))).collect()
    }

    /// Writes the message. Components that were described `before` and are gone are named by their platform alone, which
    /// removes them: Home Assistant keeps those that are only left out.
    pub(super) fn write(&self, before: &Platforms) -> Vec<u8> {
        let mut components: Map<String, Value> = self.components.clone().into_iter().collect();
        for (key, platform) in before {
            if !components.contains_key(key) {
                components.insert(key.clone(), json!({ "platform": platform }));
            }
        }
        let whole = json!({
            "device": self.device,
            "origin": { "name": "Roost", "sw_version": env!("CARGO_PKG_VERSION") },
            "state_topic": self.state_topic,
            "components": components,
        });
        whole.to_string().into_bytes()
    }

    /// Reads what an earlier message described: the topic of the state, and the platforms of the components.
    pub(super) fn read(payload: &[u8]) -> Option<(String, Platforms)> {
        let whole: Value = serde_json::from_slice(payload).ok()?;
        let components = whole.get("components")?.as_object()?.iter().take(limits::COMPONENTS);
        let platforms = components.filter_map(|(key, component)| Some((key.clone(), platform(component)?.to_owned())));
        Some((whole.get("state_topic")?.as_str()?.to_owned(), platforms.collect()))
    }
}

/// Returns a component's platform: `sensor`.
fn platform(component: &Value) -> Option<&str> {
    component.get("platform")?.as_str()
}

/// Returns whether a plugin's devices are described: not the host's own, which has only jobs made by hand.
pub(super) fn is_described(plugin: &PluginName) -> bool {
    *plugin != PluginName::host()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use roost_scheduler::{names::DeviceName, zone::Zone};

    use super::*;

    fn topics() -> Topics {
        Topics { own: "roost".into(), discovery: "homeassistant".into() }
    }

    fn name() -> Name {
        (PluginName::parse("coop-door").unwrap(), DeviceName::parse("north").unwrap())
    }

    fn task(task: &str, args_schema: Value) -> TaskDescriptionRecord {
        TaskDescriptionRecord { task: task.into(), summary: String::new(), args_schema: Some(args_schema) }
    }

    fn shown(payload: &[u8]) -> String {
        let whole: Value = serde_json::from_slice(payload).unwrap();
        let mut lines = Vec::new();
        for (key, value) in whole.as_object().unwrap() {
            match value.as_object() {
                Some(components) if key == "components" => {
                    lines.extend(components.iter().map(|(key, component)| format!("{key}: {component}")));
                }
                _ => lines.push(format!("{key}: {value}")),
            }
        }
        lines.join("\n")
    }

    fn settings() -> HomeAssistant {
        let mut settings = HomeAssistant::default();
        settings.job_switches = true;
        settings
    }

    fn described(jobs: &[&str], settings: &HomeAssistant) -> Description {
        let mut view = DeviceView::new(Zone::UTC);
        let job = |id: &&str| Job { id: JobId::parse(id).unwrap(), label: format!("Do {id}"), is_paused: false };
        view.jobs = jobs.iter().map(job).collect();
        let tasks = [task("open", json!({ "properties": {} })), task("water", json!({ "required": ["minutes"] }))];
        of_device((&topics(), Some("roost/status")), &name(), &view, &tasks, settings)
    }

    #[test]
    fn a_device_has_a_component_for_each_thing_that_can_be_seen_or_pressed() {
        expect![[r#"
            enabled: {"availability_topic":"roost/status","command_topic":"roost/set/coop-door/north/enabled","icon":"mdi:calendar-clock","name":null,"platform":"switch","unique_id":"roost_coop-door_north_enabled","value_template":"{{ 'OFF' if value_json.paused else 'ON' }}"}
            enabled_close: {"availability_topic":"roost/status","command_topic":"roost/set/coop-door/north/enabled/close","entity_category":"config","name":"Do close enabled","platform":"switch","unique_id":"roost_coop-door_north_enabled_close","value_template":"{{ 'OFF' if 'close' in value_json.paused_jobs else 'ON' }}"}
            event: {"availability_topic":"roost/status","event_types":["succeeded","failed","missed","skipped","cancelled","denied"],"name":"Run","platform":"event","state_topic":"roost/event/coop-door/north","unique_id":"roost_coop-door_north_event"}
            last: {"availability_topic":"roost/status","device_class":"enum","json_attributes_template":"{{ (value_json.last or {}) | tojson }}","json_attributes_topic":"roost/state/coop-door/north","name":"Last run","options":["succeeded","failed","missed","skipped","cancelled","denied"],"platform":"sensor","unique_id":"roost_coop-door_north_last","value_template":"{{ value_json.last.outcome if value_json.last else None }}"}
            next: {"availability_topic":"roost/status","device_class":"timestamp","json_attributes_template":"{{ (value_json.next or {}) | tojson }}","json_attributes_topic":"roost/state/coop-door/north","name":"Next run","platform":"sensor","unique_id":"roost_coop-door_north_next","value_template":"{{ value_json.next.at if value_json.next else None }}"}
            notify_water: {"availability_topic":"roost/status","command_topic":"roost/set/coop-door/north/task/water","name":"water","platform":"notify","unique_id":"roost_coop-door_north_notify_water"}
            problem: {"availability_topic":"roost/status","device_class":"problem","entity_category":"diagnostic","json_attributes_template":"{{ {'reason': value_json.problem} | tojson }}","json_attributes_topic":"roost/state/coop-door/north","name":"Problem","platform":"binary_sensor","unique_id":"roost_coop-door_north_problem","value_template":"{{ 'ON' if value_json.problem else 'OFF' }}"}
            run_close: {"availability_topic":"roost/status","command_topic":"roost/set/coop-door/north/run/close","name":"Do close","payload_press":"RUN","platform":"button","unique_id":"roost_coop-door_north_run_close"}
            running: {"availability_topic":"roost/status","device_class":"running","name":"Running","platform":"binary_sensor","unique_id":"roost_coop-door_north_running","value_template":"{{ 'ON' if value_json.running else 'OFF' }}"}
            skip_close: {"availability_topic":"roost/status","command_topic":"roost/set/coop-door/north/skip/close","entity_category":"config","name":"Skip Do close","payload_press":"SKIP","platform":"button","unique_id":"roost_coop-door_north_skip_close"}
            task_open: {"availability_topic":"roost/status","command_topic":"roost/set/coop-door/north/task/open","name":"open","payload_press":"RUN","platform":"button","unique_id":"roost_coop-door_north_task_open"}
            device: {"identifiers":["roost_coop-door_north"],"manufacturer":"Roost","model":"coop-door","name":"coop-door north","via_device":"roost"}
            origin: {"name":"Roost","sw_version":"0.1.0"}
            state_topic: "roost/state/coop-door/north""#]].assert_eq(&shown(&described(&["close"], &settings()).write(&Platforms::new())));
    }

    #[test]
    fn a_host_is_always_connected_or_not() {
        expect![[r#"
            connected: {"device_class":"connectivity","entity_category":"diagnostic","name":"Connected","payload_off":"offline","payload_on":"online","platform":"binary_sensor","state_topic":"roost/status","unique_id":"roost_connected"}
            devices: {"availability_topic":"roost/status","enabled_by_default":false,"entity_category":"diagnostic","name":"Devices","platform":"sensor","state_class":"measurement","unique_id":"roost_devices","value_template":"{{ value_json.devices }}"}
            failed: {"availability_topic":"roost/status","entity_category":"diagnostic","name":"Failed runs","platform":"sensor","state_class":"total_increasing","unique_id":"roost_failed","value_template":"{{ value_json.failed }}"}
            jobs: {"availability_topic":"roost/status","enabled_by_default":false,"entity_category":"diagnostic","name":"Jobs","platform":"sensor","state_class":"measurement","unique_id":"roost_jobs","value_template":"{{ value_json.jobs }}"}
            lateness: {"availability_topic":"roost/status","device_class":"duration","enabled_by_default":false,"entity_category":"diagnostic","name":"Lateness, 99th percentile","platform":"sensor","state_class":"measurement","unique_id":"roost_lateness","unit_of_measurement":"ms","value_template":"{{ value_json.lateness_p99_ms }}"}
            next: {"availability_topic":"roost/status","device_class":"timestamp","json_attributes_template":"{{ (value_json.next or {}) | tojson }}","json_attributes_topic":"roost/state","name":"Next run","platform":"sensor","unique_id":"roost_next","value_template":"{{ value_json.next.at if value_json.next else None }}"}
            plugins: {"availability_topic":"roost/status","enabled_by_default":false,"entity_category":"diagnostic","name":"Plugins","platform":"sensor","state_class":"measurement","unique_id":"roost_plugins","value_template":"{{ value_json.plugins }}"}
            problem: {"availability_topic":"roost/status","device_class":"problem","entity_category":"diagnostic","json_attributes_template":"{{ {'reason': value_json.problem, 'faults': value_json.faults} | tojson }}","json_attributes_topic":"roost/state","name":"Problem","platform":"binary_sensor","unique_id":"roost_problem","value_template":"{{ 'ON' if value_json.problem else 'OFF' }}"}
            device: {"identifiers":["roost"],"manufacturer":"Roost","model":"Host","name":"Roost","sw_version":"0.1.0"}
            origin: {"name":"Roost","sw_version":"0.1.0"}
            state_topic: "roost/state""#]].assert_eq(&shown(&of_host((&topics(), Some("roost/status"))).write(&Platforms::new())));
    }

    #[test]
    fn a_component_that_goes_is_named_by_its_platform_alone() {
        let (before, now) = (described(&["close", "open"], &settings()), described(&["open"], &settings()));
        let payload = now.write(&before.platforms());
        let whole: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(whole["components"]["run_close"], json!({ "platform": "button" }));
        assert_eq!(whole["components"]["enabled_close"], json!({ "platform": "switch" }));
        let (state_topic, platforms) = Description::read(&payload).unwrap();
        assert_eq!((state_topic.as_str(), &platforms), ("roost/state/coop-door/north", &before.platforms()));
        assert_eq!(now.write(&now.platforms()), now.write(&Platforms::new()));
    }

    #[test]
    fn only_so_many_components_of_a_description_are_read() {
        let components: Map<String, Value> =
            (0..10_000).map(|number| (format!("c{number}"), json!({ "platform": "sensor" }))).collect();
        let payload = json!({ "state_topic": "roost/state/a/b", "components": components }).to_string();
        let (_, platforms) = Description::read(payload.as_bytes()).unwrap();
        assert_eq!(platforms.len(), limits::COMPONENTS);
        let jobs: Vec<String> = (0..limits::JOBS).map(|number| format!("job{number}")).collect();
        let most = described(&jobs.iter().map(String::as_str).collect::<Vec<_>>(), &settings()).platforms().len();
        assert!(2 * (most + limits::TASKS) < limits::COMPONENTS, "{most}");
    }

    #[test]
    fn without_commands_there_is_nothing_to_press() {
        let mut settings = HomeAssistant::default();
        settings.commands = false;
        let platforms = described(&["close"], &settings).platforms();
        assert_eq!(
            platforms.values().filter(|platform| ["button", "switch", "notify"].contains(&platform.as_str())).count(),
            0
        );
    }

    #[test]
    fn jobs_have_switches_only_if_the_settings_say_so() {
        let platforms = described(&["close"], &HomeAssistant::default()).platforms();
        let of_job = platforms.keys().filter(|key| key.contains("close"));
        assert_eq!(of_job.collect::<Vec<_>>(), ["run_close"]);
    }

    #[test]
    fn another_programs_description_is_none_of_ours() {
        assert_eq!(Description::read(b"not JSON"), None);
        assert_eq!(Description::read(br#"{"state_topic": "a/b"}"#), None);
    }
}
